// A call with client and server on one thread: what both sides compute for it, without the way between two cores.
#include <chrono>
#include <cstring>

#include "parts.h"

namespace bench {
namespace {

using std::chrono::nanoseconds;
using std::chrono_literals::operator""s;

class OneService {
 public:
  explicit OneService(const arus::rpc::ServerConfig& config = {})
      : bus_(arus::Bus::open_or_create({.directory = scratch_.path()}).value()), server(bus_.server("service", config).value()) {
    server.method("echo", [](const arus::rpc::Incoming& request) { return request.body(); }).value();
    server.method<std::uint64_t, std::uint64_t>("next", [](const std::uint64_t& number) { return number + 1; }).value();
    server
        .method("deferred", [](const arus::rpc::Incoming& request,
                               arus::rpc::Responder responder) { responder.finish(request.body()).value(); })
        .value();
    server.start().value();
  }
  arus::rpc::Client client(std::uint32_t in_flight = 128) {
    arus::rpc::Client client = bus_.client("service", {.timeout = 10s, .max_in_flight = in_flight}).value();
    client.wait_for_server(10s).value();
    return client;
  }

 private:
  ScratchDirectory scratch_;
  arus::Bus bus_;

 public:
  arus::rpc::Server server;
};

void dispatch(benchmark::State& state, const char* method) {
  OneService service;
  arus::rpc::Client client = service.client();
  const std::vector<std::byte> request(static_cast<std::size_t>(state.range(0)), std::byte{1});
  for (auto _ : state) {
    arus::rpc::Call call = client.call_async(method, request);
    service.server.poll(nanoseconds(0)).value();
    benchmark::DoNotOptimize(call.get().value().body().data());
  }
  count(state, state.iterations(), 0);
}
BENCHMARK_CAPTURE(dispatch, echo, "echo")->Arg(8)->Arg(64)->Arg(1 << 10)->Arg(64 << 10)->ArgName("bytes");
BENCHMARK_CAPTURE(dispatch, deferred, "deferred")->Arg(64)->ArgName("bytes");
BENCHMARK_CAPTURE(dispatch, typed, "next")->Arg(8)->ArgName("bytes");

// Of a server with so many clients that are silent, and one that calls.
void dispatch_among(benchmark::State& state) {
  OneService service({.max_clients = 128});
  std::vector<arus::rpc::Client> silent;
  for (std::int64_t i = 1; i < state.range(0); ++i) silent.push_back(service.client(16));
  arus::rpc::Client client = service.client();
  service.server.poll(nanoseconds(0)).value();
  const std::vector<std::byte> request(64, std::byte{1});
  for (auto _ : state) {
    arus::rpc::Call call = client.call_async("echo", request);
    service.server.poll(nanoseconds(0)).value();
    benchmark::DoNotOptimize(call.get().value().body().data());
  }
  count(state, state.iterations(), 0);
}
BENCHMARK(dispatch_among)->Arg(1)->Arg(4)->Arg(8)->Arg(9)->Arg(16)->Arg(64)->ArgName("clients");

}  // namespace
}  // namespace bench
