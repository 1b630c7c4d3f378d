#include <arus/arus.h>

#include <string>

int main() {
  auto bus = arus::Bus::open().value();
  auto host = bus.topic("host").value();  // kept fresh by: arus ingest host --topic host --create
  auto station = bus.server("weather").value();

  const auto latest = [&](const arus::rpc::Incoming& request) -> arus::rpc::Outcome<std::string> {
    const auto reading = host.last(request.body());  // the newest record of a key
    if (!reading) return tl::unexpected(arus::rpc::Status(reading.error()));
    if (!*reading) return tl::unexpected(arus::rpc::Status(arus::rpc::Code::not_found, "no reading of that sensor"));
    return (*reading)->value.value_or("");
  };
  station.method("latest", latest, {.idempotent = true}).value();
  station.run().value();  // until station.stop()
}
