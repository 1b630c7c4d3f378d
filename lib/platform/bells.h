// Waking sleepers of other processes. A bell belongs to one waiter (a consumer, or a producer that is out of room): a word in shared
// memory to sleep on and, if the waiter wants a descriptor for epoll, a FIFO in the bus directory.
//
// All bells of a bus are in one segment; which bell wants to hear of what stands with the thing waited for (ring/wake.h). A dead
// waiter's bell is taken over by the next who needs one; ringing it meanwhile does no harm.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "platform/lease.h"
#include "platform/segment.h"

namespace arus::platform {

// How long somebody sleeps who waits for nothing but a bell: a wake-up that died with its sender is made up for after this. Not a second:
// what is done then may block as well, in the kernel, and all of it together is to be at most once a second. In ns.
inline constexpr std::int64_t kIdleSleep = 1'250'000'000;

class Bells {
 public:
  static Result<void> create(const std::string& path, std::uint32_t count, const Ownership& ownership);
  // `fifos`: the directory for FIFOs. Fails with `permission_denied` when it may not be written: such a process sleeps in bounded steps.
  static Result<std::shared_ptr<Bells>> open(const std::string& path, std::string fifos, std::shared_ptr<Leases> leases);

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  // Wakes the owner of a bell. An index beyond the end does nothing. Thread-safe.
  void ring(std::uint32_t index) noexcept;
  // How many FIFOs dead owners left, and (with `remove`) their removal. Whoever takes over the bell removes that of its last owner, too.
  [[nodiscard]] Result<std::uint64_t> abandoned_fifos(bool remove);

 private:
  friend class Bell;
  struct Header;
  struct alignas(64) Line {  // in shared memory
    std::atomic<std::uint64_t> incarnation;
    std::atomic<std::uint64_t> fifo;  // 0: none, else part of its name
    std::atomic<std::uint32_t> rings;
  };
  static_assert(sizeof(Line) == 64);

  Bells(Segment segment, std::string fifos, std::shared_ptr<Leases> leases, std::uint32_t count);
  [[nodiscard]] Line& line(std::uint32_t index) const noexcept;
  [[nodiscard]] std::string fifo_path(std::uint32_t index, std::uint64_t fifo) const;
  void ring_fifo(std::uint32_t index, std::uint64_t fifo) noexcept;

  Segment segment_;
  std::string fifos_;
  std::shared_ptr<Leases> leases_;
  std::uint32_t count_;
  std::mutex mutex_;  // guards the cache of opened FIFOs: only a process that wakes a FIFO comes here
  struct Opened {
    std::uint64_t fifo = 0;
    Descriptor file;
  };
  std::vector<Opened> opened_;
};

// A waiter's own bell. One thread, but for wake().
class Bell {
 public:
  // Errors: `limit_reached` when all belong to live processes.
  static Result<std::unique_ptr<Bell>> take(std::shared_ptr<Bells> bells, std::uint64_t incarnation);
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  // The order of a sleep: rings(), arm, fence, look again, sleep(rings).
  [[nodiscard]] std::uint32_t rings() const noexcept;
  // Until the bell has been rung since `rings`, for `ns` at most.
  void sleep(std::uint32_t rings, std::int64_t ns) const noexcept;
  void wake() const noexcept;
  // The same, but also until `other` is readable; needs descriptor() to have been called, and drain() before rings().
  void sleep_beside(int other, std::int64_t ns) const noexcept;

  // The reading end of the FIFO, made at the first call; and taking out what was written to it.
  Result<int> descriptor();
  void drain() const noexcept;
  [[nodiscard]] bool has_descriptor() const noexcept { return fifo_.valid(); }

 private:
  Bell(std::shared_ptr<Bells> bells, std::uint32_t index, std::uint64_t incarnation, std::uint64_t generation) noexcept
      : bells_(std::move(bells)), index_(index), incarnation_(incarnation), generation_(generation) {}
  std::shared_ptr<Bells> bells_;
  std::uint32_t index_;
  std::uint64_t incarnation_;
  std::uint64_t generation_;  // of fork
  Descriptor fifo_;
};

}  // namespace arus::platform
