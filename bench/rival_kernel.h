// What the kernel offers: a pipe, a Unix socket (a stream, or one that keeps message boundaries), a POSIX message queue. Each either
// spins on a descriptor that does not block, or blocks. The children inherit the descriptors, so nothing stays behind.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "clock.h"
#include "harness.h"
#include "message.h"
#include "workloads.h"

namespace bench {

enum class Blocking { no, yes };

class Descriptors {
 public:
  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    for (const int descriptor : all) ::close(descriptor);
  }

  static void check(int result, const char* call) {
    if (result < 0) throw std::runtime_error(std::string(call) + ": " + std::strerror(errno));
  }

  std::array<int, 2> all{-1, -1};  // to read from, to write to
};

// Whether a call on a descriptor only has to be repeated.
inline bool not_now() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// As much of the kernel's memory for a socket as it gives.
inline void widen(const Descriptors& sockets, std::size_t bytes) {
  const int wanted = static_cast<int>(bytes);
  for (const int descriptor : sockets.all) {
    if (::setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) == 0) continue;
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  }
}

enum class Stream { pipe, socket };

template <Stream kStream, Blocking kBlocking>
class ByteStream {
 public:
  explicit ByteStream(const Shape& shape) : bytes_(shape.bytes) {
    if constexpr (kStream == Stream::pipe) {
      Descriptors::check(::pipe2(ends_.all.data(), O_CLOEXEC | kNonBlock<O_NONBLOCK>), "pipe2");
      ::fcntl(ends_.all[1], F_SETPIPE_SZ, kBuffer);  // as large as an ordinary user may have it; a smaller one works too
    } else {
      Descriptors::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | kNonBlock<SOCK_NONBLOCK>, 0, ends_.all.data()),
                         "socketpair");
      widen(ends_, kBuffer);
    }
  }

  class Sender {
   public:
    explicit Sender(int descriptor) noexcept : descriptor_(descriptor) {}
    // What was begun is finished: a stream takes large messages in parts.
    bool try_send(Bytes message) {
      std::size_t written = 0;
      while (written < message.size()) {
        const ssize_t got = ::write(descriptor_, message.data() + written, message.size() - written);
        if (got > 0) written += static_cast<std::size_t>(got);
        if (got < 0 && !not_now()) fail("write: %s", std::strerror(errno));
        if (got < 0 && written == 0) return false;
        if (got < 0) cpu_pause();
      }
      return true;
    }

   private:
    int descriptor_;
  };

  // Takes as much as there is, up to the whole buffer, and keeps the beginning of a message that is not complete.
  class Receiver {
   public:
    Receiver(int descriptor, std::size_t bytes)
        : descriptor_(descriptor), bytes_(bytes), size_(kBuffer + bytes), buffer_(new std::byte[size_]()) {}

    template <class Each>
    std::size_t poll(Each&& each) {
      const ssize_t got = ::read(descriptor_, buffer_.get() + filled_, size_ - filled_);
      if (got < 0 && !not_now()) fail("read: %s", std::strerror(errno));
      if (got <= 0) {
        cpu_pause();
        return 0;
      }
      filled_ += static_cast<std::size_t>(got);
      const std::size_t count = filled_ / bytes_;
      for (std::size_t i = 0; i < count; ++i) each(Bytes(buffer_.get() + i * bytes_, bytes_));
      filled_ -= count * bytes_;
      std::memmove(buffer_.get(), buffer_.get() + count * bytes_, filled_);
      return count;
    }

   private:
    int descriptor_;
    std::size_t bytes_;
    std::size_t size_;
    std::size_t filled_ = 0;
    std::unique_ptr<std::byte[]> buffer_;
  };

  Sender sender() { return Sender(ends_.all[1]); }
  Receiver receiver() { return {ends_.all[0], bytes_}; }

 private:
  static constexpr std::size_t kBuffer = 1 << 20;
  template <int kFlag>
  static constexpr int kNonBlock = kBlocking == Blocking::no ? kFlag : 0;
  std::size_t bytes_;
  Descriptors ends_;
};
template <Blocking kBlocking>
using Pipe = ByteStream<Stream::pipe, kBlocking>;
template <Blocking kBlocking>
using StreamSocket = ByteStream<Stream::socket, kBlocking>;

template <Blocking kBlocking>
class SeqpacketSocket {
 public:
  explicit SeqpacketSocket(const Shape& shape) : bytes_(shape.bytes) {
    Descriptors::check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair_.all.data()), "socketpair");
    if (bytes_ < kDefaultHolds) return;
    widen(pair_, 4 * bytes_);
    int holds = 0;
    socklen_t size = sizeof holds;
    Descriptors::check(::getsockopt(pair_.all[1], SOL_SOCKET, SO_SNDBUF, &holds, &size), "getsockopt");
    if (static_cast<std::size_t>(holds) < 2 * bytes_)
      throw LeftOut("seqpacket with " + std::to_string(bytes_) + " B: the kernel gives a socket less (net.core.wmem_max)");
  }

  class End {
   public:
    End(const Descriptors& pair, std::size_t role, std::size_t bytes)
        : descriptor_(pair.all[role]), bytes_(bytes), buffer_(new std::byte[bytes]()) {}

    bool try_send(Bytes message) {
      if (::send(descriptor_, message.data(), message.size(), kFlags) >= 0) return true;
      if (!not_now()) fail("send to a socket: %s", std::strerror(errno));
      return false;
    }

    template <class Each>
    std::size_t poll(Each&& each) {
      const ssize_t got = ::recv(descriptor_, buffer_.get(), bytes_, kFlags);
      if (got < 0 && !not_now()) fail("receive from a socket: %s", std::strerror(errno));
      if (got <= 0) {
        cpu_pause();
        return 0;
      }
      each(Bytes(buffer_.get(), static_cast<std::size_t>(got)));
      return 1;
    }

   private:
    int descriptor_;
    std::size_t bytes_;
    std::unique_ptr<std::byte[]> buffer_;
  };

  End sender() { return end(0); }
  End receiver() { return end(1); }
  End end(std::size_t role) { return {pair_, role, bytes_}; }

 private:
  static constexpr int kFlags = kBlocking == Blocking::no ? MSG_DONTWAIT : 0;
  static constexpr std::size_t kDefaultHolds = 64 << 10;
  std::size_t bytes_;
  Descriptors pair_;
};

template <Blocking kBlocking>
class PosixQueue {
 public:
  // As many messages as fit at once elsewhere, or as many as this user may have.
  explicit PosixQueue(const Shape& shape) : bytes_(shape.bytes) {
    const rlimit wanted{.rlim_cur = kLimit, .rlim_max = kLimit};
    ::setrlimit(RLIMIT_MSGQUEUE, &wanted);  // what an administrator may do; else the limit stays
    static unsigned count = 0;
    const std::string name = "/arus-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    for (std::size_t slots = std::min(shape.slots, kMostSlots); slots > 0; slots /= 2) {
      mq_attr attributes{};
      attributes.mq_maxmsg = static_cast<long>(slots);
      attributes.mq_msgsize = static_cast<long>(bytes_);
      constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | (kBlocking == Blocking::no ? O_NONBLOCK : 0);
      queue_ = ::mq_open(name.c_str(), kFlags, 0600, &attributes);
      if (queue_ == -1) continue;
      ::mq_unlink(name.c_str());
      return;
    }
    throw LeftOut("POSIX queue with " + std::to_string(bytes_) + " B: mq_open: " + std::strerror(errno));
  }
  PosixQueue(const PosixQueue&) = delete;
  PosixQueue& operator=(const PosixQueue&) = delete;
  ~PosixQueue() { ::mq_close(queue_); }

  class Sender {
   public:
    explicit Sender(mqd_t queue) noexcept : queue_(queue) {}
    bool try_send(Bytes message) {
      if (::mq_send(queue_, reinterpret_cast<const char*>(message.data()), message.size(), 0) == 0) return true;
      if (!not_now()) fail("mq_send: %s", std::strerror(errno));
      return false;
    }

   private:
    mqd_t queue_;
  };

  class Receiver {
   public:
    Receiver(mqd_t queue, std::size_t bytes) : queue_(queue), bytes_(bytes), buffer_(new std::byte[bytes]()) {}
    template <class Each>
    std::size_t poll(Each&& each) {
      const ssize_t got = ::mq_receive(queue_, reinterpret_cast<char*>(buffer_.get()), bytes_, nullptr);
      if (got < 0 && !not_now()) fail("mq_receive: %s", std::strerror(errno));
      if (got <= 0) {
        cpu_pause();
        return 0;
      }
      each(Bytes(buffer_.get(), static_cast<std::size_t>(got)));
      return 1;
    }

   private:
    mqd_t queue_;
    std::size_t bytes_;
    std::unique_ptr<std::byte[]> buffer_;
  };

  Sender sender() { return Sender(queue_); }
  Receiver receiver() { return {queue_, bytes_}; }

 private:
  static constexpr std::size_t kMostSlots = 4096;
  static constexpr rlim_t kLimit = 256 << 20;
  std::size_t bytes_;
  mqd_t queue_ = -1;
};

}  // namespace bench
