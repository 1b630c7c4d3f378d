// nng: a pair of sockets over a Unix socket, with threads in each process that share the core of its role.
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "scratch.h"
#include "suite_rivals.h"

namespace bench {

namespace {

void check(int result, const char* call) {
  if (result != 0) fail("%s: %s", call, ::nng_strerror(result));
}

// Made in the children: its threads would not survive a fork.
class End {
 public:
  End(const std::string& address, bool listens, std::size_t slots) : socket_(new nng_socket{}) {
    check(::nng_pair0_open(socket_.get()), "nng_pair0_open");
    const int most = static_cast<int>(std::min(slots, kMostBuffered));
    check(::nng_socket_set_int(*socket_, NNG_OPT_SENDBUF, most), "NNG_OPT_SENDBUF");
    check(::nng_socket_set_int(*socket_, NNG_OPT_RECVBUF, most), "NNG_OPT_RECVBUF");
    check(::nng_socket_set_size(*socket_, NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");
    if (listens) {
      check(::nng_listen(*socket_, address.c_str(), nullptr, 0), "nng_listen");
      poll([](Bytes) {});  // now both are there
    } else {
      constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
      while (::nng_dial(*socket_, address.c_str(), nullptr, 0) != 0) ::nanosleep(&kPause, nullptr);
      const std::byte hello{};
      try_send(Bytes(&hello, 1));
    }
  }
  bool try_send(Bytes message) {
    nng_msg* copy = nullptr;
    check(::nng_msg_alloc(&copy, message.size()), "nng_msg_alloc");
    std::memcpy(::nng_msg_body(copy), message.data(), message.size());
    check(::nng_sendmsg(*socket_, copy, 0), "nng_sendmsg");
    return true;
  }

  template <class Each>
  std::size_t poll(Each&& each) {
    nng_msg* message = nullptr;
    check(::nng_recvmsg(*socket_, &message, 0), "nng_recvmsg");
    each(Bytes(static_cast<const std::byte*>(::nng_msg_body(message)), ::nng_msg_len(message)));
    ::nng_msg_free(message);
    return 1;
  }

 private:
  static constexpr std::size_t kMostBuffered = 8192;  // what nng allows
  struct Close {
    void operator()(nng_socket* socket) const noexcept {
      ::nng_close(*socket);
      delete socket;
    }
  };
  std::unique_ptr<nng_socket, Close> socket_;
};

class Nng {
 public:
  explicit Nng(const Shape& shape) : slots_(shape.slots) {}
  End sender() { return end(0); }
  End receiver() { return end(1); }
  End end(std::size_t role) { return {"ipc://" + scratch_.path() + "/socket", role == 0, slots_}; }

 private:
  std::size_t slots_;
  ScratchDirectory scratch_;
};

}  // namespace

// It sleeps everywhere: one that spun would keep its own threads from the core.
void add_nng(Suite& suite) {
  add_round_trip<WithThreads<RoundTrip<Nng>>>(suite, "nng", "sleep");
  add_one_way<WithThreads<OneWay<Nng>>>(suite, "nng");
}

}  // namespace bench
