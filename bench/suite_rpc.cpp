// Calls behind the suite's interface: an echo, against the ring's own ping-pong of the same size.
#include <arus/arus.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "scratch.h"
#include "suite.h"

namespace bench {

namespace {

using std::chrono_literals::operator""s;

template <class T, class E>
T value_of(tl::expected<T, E> result, const char* call) {
  if (!result) fail("%s: %s", call, std::string(result.error().message()).c_str());
  return std::move(*result);
}

constexpr const char* kService = "bench";
constexpr const char* kMethod = "echo";

// A server that shows every request to whoever polls it, and gives it back.
class Answering {
 public:
  Answering(const std::string& directory, arus::Wait wait)
      : server_(value_of(value_of(arus::Bus::open(directory), "bus").server(kService, {.wait = wait}), "server")) {
    value_of(server_.method(kMethod,
                            [this](const arus::rpc::Incoming& request) {
                              on_request_(request.body());
                              return request.body();
                            }),
             "method");
    value_of(server_.start(), "start");
  }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

  template <class Each>
  std::size_t poll(Each&& each) {
    on_request_ = std::ref(each);
    return value_of(server_.poll(1s), "poll");
  }

 private:
  arus::rpc::Server server_;
  std::function<void(Bytes)> on_request_;
};

arus::rpc::Client calling(const std::string& directory, arus::Wait wait, std::uint32_t in_flight = 1) {
  arus::rpc::Client client = value_of(
      value_of(arus::Bus::open(directory), "bus").client(kService, {.timeout = 10s, .max_in_flight = in_flight, .wait = wait}),
      "client");
  value_of(client.wait_for_server(10s), "wait for server");
  return client;
}

// One blocking client, one polling server. What the workload would answer with is passed over: the answer is the request.
template <arus::Wait::Mode kWait>
class RpcEcho {
 public:
  explicit RpcEcho(const Shape&) { value_of(arus::Bus::open_or_create({.directory = scratch_.path()}), "bus"); }

  class End {
   public:
    End(const std::string& directory, std::size_t role) {
      if (role == 0)
        client_.emplace(calling(directory, {.mode = kWait}));
      else
        server_ = std::make_unique<Answering>(directory, arus::Wait{.mode = kWait});
    }
    bool try_send(Bytes message) {
      if (client_) request_.assign(message.begin(), message.end());  // the source makes others in its place
      return true;
    }
    template <class Each>
    std::size_t poll(Each&& each) {
      if (server_) return server_->poll(each);
      each(value_of(client_->call(kMethod, request_), "call").body());
      return 1;
    }

   private:
    std::optional<arus::rpc::Client> client_;
    std::unique_ptr<Answering> server_;
    std::vector<std::byte> request_;
  };
  End end(std::size_t role) { return {scratch_.path(), role}; }

 private:
  ScratchDirectory scratch_;
};

// Role 0 keeps so many calls in flight.
class Pipelined final : public Segment {
 public:
  Pipelined(std::size_t bytes, std::uint32_t in_flight) : bytes_(bytes), in_flight_(in_flight) {
    value_of(arus::Bus::open_or_create({.directory = scratch_.path()}), "bus");
  }
  void attach(std::size_t role) override {
    if (role == 0)
      client_.emplace(calling(scratch_.path(), arus::Wait::spinning(), in_flight_));
    else
      server_.emplace(scratch_.path(), arus::Wait::spinning());
  }
  void detach(std::size_t) override {
    client_.reset();
    server_.reset();
  }
  void run(std::size_t role, Recorder& recorder) override { role == 0 ? ask(recorder) : answer(recorder); }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    return {rate(bytes_, results[0]->received, results[0]->ticks)};
  }

 private:
  void ask(Recorder& recorder) {
    MessageSource source(bytes_);
    MessageCheck check(bytes_);
    std::vector<std::optional<arus::rpc::Call>> calls(in_flight_);
    const std::uint64_t started = ticks();
    std::uint64_t sent = 0;
    const auto take_oldest = [&](std::uint64_t number) {
      auto& call = calls[number % in_flight_];
      check(value_of(call->get(), "call").body());
      call.reset();
    };
    std::uint64_t now = started;
    do {
      recorder.checkpoint(now);
      for (int i = 0; i < 64; ++i, ++sent) {
        if (sent >= in_flight_) take_oldest(sent);
        calls[sent % in_flight_].emplace(client_->call_async(kMethod, source.take()));
      }
      now = ticks();
    } while (now < started + recorder.length());
    for (std::uint64_t i = 0; i < in_flight_; ++i) take_oldest(sent + i);
    recorder.result.ticks = ticks() - started;
    recorder.result.received = check.next() - 1;
    check(value_of(client_->call(kMethod, source.last()), "call").body());
  }

  void answer(Recorder& recorder) {
    MessageCheck check(bytes_);
    bool last = false;
    while (!last) server_->poll([&](Bytes request) { last = check(request); });
    recorder.result.received = check.next() - 1;
  }

  std::size_t bytes_;
  std::uint32_t in_flight_;
  ScratchDirectory scratch_;
  std::optional<arus::rpc::Client> client_;
  std::optional<Answering> server_;
};

}  // namespace

std::string rpc_echo_scenario(std::size_t bytes, const std::string& wait) { return "rpc-echo/" + size_name(bytes) + "/" + wait; }

Contestant rpc_echo(bool spin_first) {
  if (spin_first) return contestant<RoundTrip<RpcEcho<arus::Wait::Mode::spin_then_sleep>>>("arus rpc", {64});
  return contestant<RoundTrip<RpcEcho<arus::Wait::Mode::sleep>>>("arus rpc", {64});
}

Contestant rpc_echo_spinning() { return contestant<RoundTrip<RpcEcho<arus::Wait::Mode::spin>>>("arus rpc", {64}); }

void add_rpc(Suite& suite) {
  for (const std::size_t bytes : {32u, 64u}) {
    suite.push_back({rpc_echo_scenario(bytes, "spin"), contestant<RoundTrip<RpcEcho<arus::Wait::Mode::spin>>>("arus rpc", {bytes}),
                     arus_round_trip(bytes), bytes == 64 ? kFigure : kForOrientation});
  }
  suite.push_back({rpc_echo_scenario(64, "sleep"), rpc_echo(false), futex_floor(false)});
  suite.push_back({rpc_echo_scenario(64, "spin-then-sleep"), rpc_echo(true), futex_floor(true)});
  for (const std::uint32_t in_flight : {1u, 8u, 64u}) {
    suite.push_back({"rpc-calls/64B/" + std::to_string(in_flight) + "-in-flight",
                     {"arus rpc", [in_flight]() -> std::unique_ptr<Segment> { return std::make_unique<Pipelined>(64, in_flight); }},
                     {}});
  }
}

}  // namespace bench
