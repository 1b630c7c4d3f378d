// ZeroMQ: a PAIR of sockets over a Unix socket, with one I/O thread in each process, which shares the core of its role.
#include <zmq.h>

#include <memory>
#include <string>

#include "scratch.h"
#include "suite_rivals.h"

namespace bench {

namespace {

void check(int result, const char* call) {
  if (result < 0) fail("%s: %s", call, ::zmq_strerror(::zmq_errno()));
}

struct CloseContext {
  void operator()(void* context) const noexcept { ::zmq_ctx_term(context); }
};
struct CloseSocket {
  void operator()(void* socket) const noexcept { ::zmq_close(socket); }
};

class Message {
 public:
  Message() { ::zmq_msg_init(&message_); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { ::zmq_msg_close(&message_); }
  // Takes the place of what it held.
  void receive(void* socket) { check(::zmq_msg_recv(&message_, socket, 0), "zmq_msg_recv"); }
  [[nodiscard]] Bytes bytes() noexcept {
    return {static_cast<const std::byte*>(::zmq_msg_data(&message_)), ::zmq_msg_size(&message_)};
  }

 private:
  zmq_msg_t message_;
};

// Made in the children: its I/O thread would not survive a fork.
class End {
 public:
  End(const std::string& address, bool listens, std::size_t slots)
      : context_(::zmq_ctx_new()), socket_(::zmq_socket(context_.get(), ZMQ_PAIR)), message_(std::make_unique<Message>()) {
    const int most = static_cast<int>(slots);
    const int quickly = 1;
    const int at_once = 0;
    check(::zmq_setsockopt(socket_.get(), ZMQ_SNDHWM, &most, sizeof most), "ZMQ_SNDHWM");
    check(::zmq_setsockopt(socket_.get(), ZMQ_RCVHWM, &most, sizeof most), "ZMQ_RCVHWM");
    check(::zmq_setsockopt(socket_.get(), ZMQ_RECONNECT_IVL, &quickly, sizeof quickly), "ZMQ_RECONNECT_IVL");
    check(::zmq_setsockopt(socket_.get(), ZMQ_LINGER, &at_once, sizeof at_once), "ZMQ_LINGER");
    if (listens) {
      check(::zmq_bind(socket_.get(), address.c_str()), "zmq_bind");
      message_->receive(socket_.get());  // now both are there
    } else {
      check(::zmq_connect(socket_.get(), address.c_str()), "zmq_connect");
      check(::zmq_send(socket_.get(), "", 0, 0), "zmq_send");
    }
  }

  bool try_send(Bytes message) {
    check(::zmq_send(socket_.get(), message.data(), message.size(), 0), "zmq_send");
    return true;
  }

  template <class Each>
  std::size_t poll(Each&& each) {
    message_->receive(socket_.get());
    each(message_->bytes());
    return 1;
  }

 private:
  std::unique_ptr<void, CloseContext> context_;
  std::unique_ptr<void, CloseSocket> socket_;
  std::unique_ptr<Message> message_;
};

class ZeroMq {
 public:
  explicit ZeroMq(const Shape& shape) : slots_(shape.slots) {}
  End sender() { return end(0); }
  End receiver() { return end(1); }
  End end(std::size_t role) { return {"ipc://" + scratch_.path() + "/socket", role == 0, slots_}; }

 private:
  std::size_t slots_;
  ScratchDirectory scratch_;
};

}  // namespace

// It sleeps everywhere: one that spun would keep its own I/O thread from the core.
void add_zeromq(Suite& suite) {
  add_round_trip<WithThreads<RoundTrip<ZeroMq>>>(suite, "ZeroMQ", "sleep");
  add_one_way<WithThreads<OneWay<ZeroMq>>>(suite, "ZeroMQ");
}

}  // namespace bench
