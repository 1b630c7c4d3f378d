#include <arus/arus.h>

struct Sensor {
  std::uint32_t number;
};
struct Reading {
  double celsius;
  std::int64_t time;
};

int main() {
  auto bus = arus::Bus::open().value();
  auto server = bus.server("weather").value();

  // Typed: sizes are checked on both sides. A handler returns the reply or a status; what it throws becomes `internal`.
  server
      .method<Sensor, Reading>(
          "latest",
          [](const Sensor& sensor) -> arus::rpc::Outcome<Reading> {
            if (sensor.number > 9)
              return tl::unexpected(arus::rpc::Status(arus::rpc::Code::not_found, "sensors are numbered 0 to 9"));
            return Reading{20.0 + sensor.number, 0};
          },
          {.idempotent = true})
      .value();
  // Bytes, and any number of replies.
  server
      .method("follow",
              [](const arus::rpc::Incoming&, arus::rpc::Responder reply) {
                for (const char* celsius : {"20.5", "20.7", "20.6"})
                  if (!reply.write(arus::bytes(celsius))) return;  // cancelled, or the client is gone
                static_cast<void>(reply.finish());
              },
              {.streaming = true})
      .value();
  server.run().value();  // until server.stop()
}
