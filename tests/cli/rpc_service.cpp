// Serves what no shell command can: typed methods, a stream, and replies that come later.
#include <arus/arus.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <vector>

int main() {
  using arus::rpc::Incoming;
  using arus::rpc::Responder;
  auto bus = arus::Bus::open_or_create().value();
  auto server = bus.server("helper").value();
  std::vector<Responder> kept;

  server.method<std::uint32_t, std::uint64_t>("twice", [](const std::uint32_t& n) { return std::uint64_t{n} * 2; }).value();
  server
      .method("count",
              [](const Incoming& request, Responder responder) {
                const std::string_view text = arus::text(request.body());
                int most = 0;
                std::from_chars(text.data(), text.data() + text.size(), most);
                for (int i = 1; i <= most; ++i) {
                  if (!responder.write(arus::bytes(std::to_string(i)))) return;
                }
                static_cast<void>(most < 0 ? responder.fail(arus::rpc::Status(arus::rpc::Code::out_of_range, "below zero"))
                                           : responder.finish());
              },
              {.streaming = true})
      .value();
  server.method("never", [&](const Incoming&, Responder responder) { kept.push_back(std::move(responder)); }).value();
  server.method("throws", [](const Incoming&) -> std::string { throw std::runtime_error("as it should"); }, {.idempotent = true})
      .value();
  server.run().value();
}
