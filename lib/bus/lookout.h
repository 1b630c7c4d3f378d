// Where who waits for one record after the other looks, and how often: the way that brings them soonest, found by trying each.
//
// No rule of ours holds on all machines: a producer's Latest (ring/latest.h) is a quarter quicker than the log on one processor and a quarter slower
// on the next, and looking more rarely wins only where the producer's core is far ("Tried" in lib/README.md has the figures). On a virtual machine
// that changes many times a second. What is compared is the time from one record to the next: a round trip, as this is for threads that send as well.
// Each end finds its own way, beginning at Latest: where both begin at the log, one alone that leaves it may gain nothing, though both would. One thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "platform/clock.h"
#include "platform/cpu.h"

namespace arus::detail {

class Lookout {
 public:
  enum class Way : std::uint8_t {
    latest,  // the producer's Latest, one look a pause; at first
    latest_rarely,  // the same once in between_looks(): what is asked for more often is taken from a far producer that was about to write it
    log,
  };
  static constexpr std::size_t kWays = 3;
  static constexpr std::uint64_t kRecords = 16;     // a way is tried for so many …
  static constexpr std::uint32_t kWhileUnsure = 4;  // … after the best one has been that often
  static constexpr std::uint32_t kOnceSure = 64;
  static constexpr int kSure = 4;  // it was worse, or better, so many times more

  // Tests of one way set it, to be left with that.
  static constexpr std::uint8_t kAny = kWays;
  static inline std::atomic<std::uint8_t> only{kAny};

  [[nodiscard]] Way way() const noexcept { return way_; }
  // In ticks.
  [[nodiscard]] std::uint64_t between_looks() const noexcept { return between_looks_; }
  // What was waited for has come; `next`: the offset behind it.
  void came(std::uint64_t next) noexcept {
    if (next - from_ >= kRecords) [[unlikely]]
      compare(next, platform::ticks(), platform::ticks_to_ns());
  }
  // As came() at that time; `ticks_to_ns`: as platform::ticks_to_ns(), 0: nobody knows yet.
  [[gnu::noinline]] void compare(std::uint64_t next, std::uint64_t now, std::uint64_t ticks_to_ns) noexcept;
  // What was waited for has not come where this way looks: its round does not count.
  void in_vain() noexcept {
    if (way_ != best_) judge(0);
    began_ = 0;
  }

 private:
  static constexpr std::uint64_t kBetweenLooks = 120;  // ns
  void judge(std::uint64_t took) noexcept;

  Way way_ = Way::latest;
  Way best_ = Way::latest;
  Way other_ = Way::log;      // that is tried next
  std::uint32_t rounds_ = 0;  // of the best one since the last try
  std::uint64_t from_ = 0;    // offset and time of where this round began
  std::uint64_t began_ = 0;
  std::uint64_t between_looks_ = 0;
  std::uint64_t best_took_ = 0;      // ticks for kRecords in its last round; 0: nobody knows
  std::uint64_t varies_ = 0;         // by so many from one of its rounds to the next
  std::array<int, kWays> better_{};  // than the best one, that many times more than not
};

}  // namespace arus::detail
