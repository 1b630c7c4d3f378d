// arus bench rpc: calls of an echo method in another process, one at a time.
#include <cstring>
#include <memory>

#include "bench_peer.h"
#include "cmd_bench.h"
#include "stop.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

void serve(Bus& bus, const std::string& name, Wait wait, Peer& self) {
  auto server = must(bus.server(name, {.wait = wait}));
  must(server.method("echo", [](const rpc::Incoming& request) { return request.body(); }));
  must(server.method("end", [&](const rpc::Incoming&) {
    server.stop();
    return kNull;
  }));
  must(server.start());
  self.tell('r');
  must(server.run());
}

[[noreturn]] void throw_status(const rpc::Status& status) {
  throw Failure(ExitCode::failed, "rpc", fmt::format("a call ended with {}: {}", to_string(status.code()), status.message()));
}

}  // namespace

Measurement measure_rpc(const Command& command, const BenchOptions& options) {
  constexpr std::uint64_t kWarmUp = 1000;
  const auto cpus = choose_cpus();
  const std::string name = scratch_name("rpc");
  Scratch scratch;
  Peer peer([&](Peer& self) {
    const Pinned pinned(cpus, 1);
    Bus own = open_bus(command);
    serve(own, name, options.wait, self);
  });
  Bus bus = open_or_create_bus(command);
  scratch.will_serve(bus, name);
  peer.go();
  peer.hear<char>();
  const Pinned pinned(cpus, 0);

  auto client = must(bus.client(name, {.timeout = 5s, .wait = options.wait}));
  const auto latencies = std::make_unique<bench::Histogram>();
  std::vector<std::byte> body(options.size);
  const auto began = Clock::now();
  const auto until = began + options.duration;
  std::uint64_t number = 0;
  for (; !Stop::requested(); ++number) {
    std::memcpy(body.data(), &number, sizeof number);
    const auto sent = Clock::now();
    if (sent >= until && latencies->total() > 0) break;
    const auto reply = client.call("echo", Bytes(body));
    const auto now = Clock::now();
    if (!reply) throw_status(reply.error());
    if (reply->body().size() != body.size() || std::memcmp(reply->body().data(), body.data(), body.size()) != 0)
      throw Failure(ExitCode::failed, "internal", "a reply to another request");
    if (number >= kWarmUp) latencies->add(static_cast<std::uint64_t>((now - sent).count()));
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (auto ended = client.call("end", kNull); !ended) throw_status(ended.error());
  peer.wait();
  if (latencies->total() == 0) throw Peer::Stopped{};

  const double rate = static_cast<double>(number) / seconds;
  Json json{{"bench", "rpc"}, {"calls", number}, {"calls_per_second", rate}, {"message_bytes", options.size}, {"cpus", cpus}};
  add_latencies(json, *latencies);
  return {.json = std::move(json),
          .text = fmt::format("call        {}\n"
                              "            {} calls of {} B, {}/s one after the other, on {}\n",
                              latency_text(*latencies), human_count(static_cast<double>(number)), options.size, human_count(rate),
                              cpu_text(cpus)),
          .curves = {curve_of(fmt::format("call, {} B", options.size), *latencies)}};
}

}  // namespace arus::tool
