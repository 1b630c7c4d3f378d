// Controls that go through the kernel: a futex on shared memory (the floor of everything that sleeps), a pipe, and a Unix
// socket that keeps message boundaries. The latter two either spin on a descriptor that does not block, or block.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "clock.h"
#include "controls.h"
#include "message.h"
#include "workloads.h"

namespace bench {

// A mailbox of one message whose reader spins for kSpinNs and then sleeps on its counter. Without a system call unless the
// reader sleeps or is about to.
template <std::size_t kBytes, std::uint32_t kSpinNs>
class FutexLine {
 public:
  explicit FutexLine(const Shape&) : memory_(2 * kApart) {}

  struct Signal {
    std::atomic<std::uint32_t> count;
    std::atomic<std::uint32_t> asleep;
  };

  class End {
   public:
    explicit End(std::byte* memory) noexcept
        : signal_(reinterpret_cast<Signal*>(memory)), message_(memory + kApart), spin_(TickScale::get().ticks(kSpinNs)) {}

    bool try_send(Bytes message) noexcept {
      std::memcpy(message_, message.data(), kBytes);
      // Sequentially consistent, as in poll(): either the reader sees the count, or its flag is seen here.
      signal_->count.store(++seen_, std::memory_order_seq_cst);
      if (signal_->asleep.load(std::memory_order_seq_cst) != 0) {
        ::syscall(SYS_futex, &signal_->count, FUTEX_WAKE, 1, nullptr, nullptr, 0);
      }
      return true;
    }

    template <class Each>
    std::size_t poll(Each&& each) noexcept {
      wait();
      ++seen_;
      each(Bytes(message_, kBytes));
      return 1;
    }

   private:
    [[nodiscard]] bool nothing(std::memory_order order) const noexcept { return signal_->count.load(order) == seen_; }

    void wait() noexcept {
      if (!nothing(std::memory_order_acquire)) return;
      for (const std::uint64_t end = ticks() + spin_; ticks() < end; cpu_pause()) {
        if (!nothing(std::memory_order_acquire)) return;
      }
      signal_->asleep.store(1, std::memory_order_seq_cst);
      while (nothing(std::memory_order_seq_cst)) {
        ::syscall(SYS_futex, &signal_->count, FUTEX_WAIT, seen_, nullptr, nullptr, 0);
      }
      signal_->asleep.store(0, std::memory_order_relaxed);
    }

    Signal* signal_;
    std::byte* message_;
    std::uint64_t spin_;
    std::uint32_t seen_ = 0;
  };
  End sender() { return open(); }
  End receiver() { return open(); }

 private:
  End open() {
    memory_.prefault();
    return End(memory_.data());
  }
  SharedMemory memory_;
};

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

template <Blocking kBlocking>
class Pipe {
 public:
  explicit Pipe(const Shape& shape) : bytes_(shape.bytes) {
    Descriptors::check(::pipe2(pipe_.all.data(), O_CLOEXEC | (kBlocking == Blocking::no ? O_NONBLOCK : 0)), "pipe2");
    ::fcntl(pipe_.all[1], F_SETPIPE_SZ, kPipeBytes);  // as large as an ordinary user may have it; a smaller one works too
  }

  class Sender {
   public:
    explicit Sender(int descriptor) noexcept : descriptor_(descriptor) {}
    // What was begun is finished: a pipe takes large messages in parts.
    bool try_send(Bytes message) {
      std::size_t written = 0;
      while (written < message.size()) {
        const ssize_t got = ::write(descriptor_, message.data() + written, message.size() - written);
        if (got > 0) written += static_cast<std::size_t>(got);
        if (got < 0 && !not_now()) fail("write to a pipe: %s", std::strerror(errno));
        if (got < 0 && written == 0) return false;
        if (got < 0) cpu_pause();
      }
      return true;
    }

   private:
    int descriptor_;
  };

  // Takes as much as there is, up to the whole pipe, and keeps the beginning of a message that is not complete.
  class Receiver {
   public:
    Receiver(int descriptor, std::size_t bytes)
        : descriptor_(descriptor), bytes_(bytes), size_(kPipeBytes + bytes), buffer_(new std::byte[size_]()) {}

    template <class Each>
    std::size_t poll(Each&& each) {
      const ssize_t got = ::read(descriptor_, buffer_.get() + filled_, size_ - filled_);
      if (got < 0 && !not_now()) fail("read from a pipe: %s", std::strerror(errno));
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

  Sender sender() { return Sender(pipe_.all[1]); }
  Receiver receiver() { return {pipe_.all[0], bytes_}; }

 private:
  static constexpr std::size_t kPipeBytes = 1 << 20;
  std::size_t bytes_;
  Descriptors pipe_;
};

// Messages of up to 64 KiB: a packet must fit the socket's buffer.
template <Blocking kBlocking>
class SeqpacketSocket {
 public:
  explicit SeqpacketSocket(const Shape& shape) : bytes_(shape.bytes) {
    Descriptors::check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair_.all.data()), "socketpair");
  }

  class Sender {
   public:
    explicit Sender(int descriptor) noexcept : descriptor_(descriptor) {}
    bool try_send(Bytes message) {
      if (::send(descriptor_, message.data(), message.size(), kFlags) >= 0) return true;
      if (!not_now()) fail("send to a socket: %s", std::strerror(errno));
      return false;
    }

   private:
    int descriptor_;
  };

  class Receiver {
   public:
    Receiver(int descriptor, std::size_t bytes) : descriptor_(descriptor), bytes_(bytes), buffer_(new std::byte[bytes]()) {}
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

  Sender sender() { return Sender(pair_.all[1]); }
  Receiver receiver() { return {pair_.all[0], bytes_}; }

 private:
  static constexpr int kFlags = kBlocking == Blocking::no ? MSG_DONTWAIT : 0;
  std::size_t bytes_;
  Descriptors pair_;
};

}  // namespace bench
