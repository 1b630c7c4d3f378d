// A control that goes through the kernel: a futex on shared memory, the floor of everything that sleeps.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

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

}  // namespace bench
