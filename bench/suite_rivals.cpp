// The same echo by others, beside arus's calls: a bare Unix socket, and gRPC over one (suite_grpc.cpp, where it is installed).
#include "controls_kernel.h"
#include "suite.h"

namespace bench {

namespace {

// One socket that keeps message boundaries, both ends blocking: what a call over the kernel costs at least.
class SocketEcho {
  using Socket = SeqpacketSocket<Blocking::yes>;

 public:
  explicit SocketEcho(const Shape& shape) : bytes_(shape.bytes) {
    Descriptors::check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair_.all.data()), "socketpair");
  }

  struct End {
    Socket::Sender out;
    Socket::Receiver in;
    bool try_send(Bytes message) { return out.try_send(message); }
    template <class Each>
    std::size_t poll(Each&& each) {
      return in.poll(std::forward<Each>(each));
    }
  };
  End end(std::size_t role) { return {Socket::Sender(pair_.all[role]), Socket::Receiver(pair_.all[role], bytes_)}; }

 private:
  std::size_t bytes_;
  Descriptors pair_;
};

}  // namespace

void add_rivals(Suite& suite) {
  for (const bool spin_first : {false, true}) {
    const std::string scenario = rpc_echo_scenario(64, spin_first ? "spin-then-sleep" : "sleep");
    suite.push_back({scenario, contestant<RoundTrip<SocketEcho>>("seqpacket", {64}), rpc_echo(spin_first)});
#ifdef ARUS_BENCH_GRPC
    suite.push_back({scenario, grpc_echo(64), rpc_echo(spin_first)});
#endif
  }
}

std::string rivals_left_out() {
#ifdef ARUS_BENCH_GRPC
  return {};
#else
  return "gRPC was not there when this was built (libgrpc++-dev)";
#endif
}

}  // namespace bench
