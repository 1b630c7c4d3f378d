// The rivals beside arus: those of the kernel and of Boost, which every machine has, and whatever else was there when this was built.
#include "suite_rivals.h"

#include <array>

#include "rival_boost.h"
#include "rival_kernel.h"

namespace bench {

namespace {

template <template <Blocking> class Channel>
void add_channel(Suite& suite, const std::string& name) {
  add_round_trip<RoundTrip<TwoChannels<Channel<Blocking::no>>>>(suite, name, "spin");
  add_round_trip<RoundTrip<TwoChannels<Channel<Blocking::yes>>>>(suite, name, "sleep");
  add_one_way<OneWay<Channel<Blocking::no>>>(suite, name);
}

void add_calls(Suite& suite) {
  for (const bool spin_first : {false, true}) {
    const std::string scenario = rpc_echo_scenario(64, spin_first ? "spin-then-sleep" : "sleep");
    suite.push_back({scenario, contestant<RoundTrip<SeqpacketSocket<Blocking::yes>>>("seqpacket", {64}), rpc_echo(spin_first)});
    if constexpr (ARUS_BENCH_GRPC) suite.push_back({scenario, grpc_echo(64), rpc_echo(spin_first)});
  }
}

}  // namespace

void add_rivals(Suite& suite) {
  const std::size_t before = suite.size();
  add_channel<Pipe>(suite, "pipe");
  add_channel<StreamSocket>(suite, "stream socket");
  add_channel<SeqpacketSocket>(suite, "seqpacket");
  add_channel<PosixQueue>(suite, "POSIX queue");
  add_channel<BoostQueue>(suite, "Boost");
  add_calls(suite);
  if constexpr (ARUS_BENCH_ICEORYX) add_iceoryx(suite);
  if constexpr (ARUS_BENCH_ZEROMQ) add_zeromq(suite);
  if constexpr (ARUS_BENCH_NNG) add_nng(suite);
  for (std::size_t i = before; i < suite.size(); ++i) suite[i].weight = kRival;
  if constexpr (ARUS_BENCH_THREADS) add_threads(suite);
}

std::vector<std::string> rivals_left_out() {
  struct Rival {
    bool built;
    const char* name;
    const char* packages;
  };
  constexpr std::array kRivals{
      Rival{ARUS_BENCH_GRPC, "gRPC", "libgrpc++-dev"}, Rival{ARUS_BENCH_ICEORYX, "iceoryx", "libiceoryx-posh-dev, iceoryx"},
      Rival{ARUS_BENCH_ZEROMQ, "ZeroMQ", "libzmq3-dev"}, Rival{ARUS_BENCH_NNG, "nng", "libnng-dev"},
      Rival{ARUS_BENCH_THREADS, "moodycamel's queues", "libreaderwriterqueue-dev, libconcurrentqueue-dev"}};
  std::vector<std::string> names;
  for (const Rival& rival : kRivals) {
    if (!rival.built) names.push_back(std::string(rival.name) + " was not there when this was built (" + rival.packages + ")");
  }
  return names;
}

}  // namespace bench
