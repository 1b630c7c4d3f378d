// Clocks. Every duration is in nanoseconds.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "platform/cpu.h"

namespace arus::platform {

// CLOCK_BOOTTIME: goes on in suspend, the same for all processes of the host; for deadlines and for "dead since".
std::int64_t boot_time() noexcept;
// CLOCK_REALTIME.
std::int64_t wall_time() noexcept;
// Of the kernel's current boot; what was shared under another one is stale.
std::array<std::uint64_t, 2> boot_id() noexcept;

// Ticks of the counter in a nanosecond, as a fixed-point factor with 32 fractional bits: ns = ticks * factor >> 32. Zero where the
// counter does not run at a constant rate through all states, and for 2 ms from the first call on; then Stamper asks the kernel every time.
std::uint64_t ticks_to_ns() noexcept;

// Time stamps of a clock at the cost of reading the counter (measured: 4 against 18 ns for clock_gettime). Anchored anew every few
// milliseconds, so that it follows adjustments of the clock and the factor's error stays below a microsecond. One thread.
class Stamper {
 public:
  enum class Of : std::uint8_t { wall, boot };
  explicit Stamper(Of clock = Of::wall) noexcept : clock_(clock) {}
  std::int64_t now() noexcept {
    const std::uint64_t elapsed = ticks() - anchor_ticks_;
    return elapsed < valid_for_ ? anchor_time_ + to_ns(elapsed) : anchor();
  }
  // The same for those who have something else to do now and then: false when that is due, or the clock is to be anchored. Then now(), and
  // quiet_for(), which says how long from that time on nothing is due.
  bool now_if_quiet(std::int64_t& time) const noexcept {
    const std::uint64_t elapsed = ticks() - anchor_ticks_;
    time = anchor_time_ + to_ns(elapsed);
    return elapsed < quiet_for_;
  }
  // What now_if_quiet() tells is not later than this.
  [[nodiscard]] std::int64_t quiet_until() const noexcept { return anchor_time_ + to_ns(quiet_for_); }
  // Some time from one on that now_if_quiet() told, as far as it is quiet: for a look at it that costs nothing but reading the counter.
  struct Span {
    std::uint64_t from = 0;
    std::uint64_t ticks = 0;
  };
  [[nodiscard]] Span span(std::int64_t now, std::uint64_t ns) const noexcept {
    const std::uint64_t from = to_ticks(static_cast<std::uint64_t>(now - anchor_time_));
    return {anchor_ticks_ + from, std::min(to_ticks(ns), quiet_for_ - std::min(quiet_for_, from))};
  }
  [[nodiscard]] static bool is_within(const Span& span) noexcept { return ticks() - span.from < span.ticks; }
  void be_loud() noexcept { quiet_for_ = 0; }
  void quiet_for(std::int64_t now, std::uint64_t ns) noexcept {
    const auto since = static_cast<std::uint64_t>(now - anchor_time_);  // below 2^32, as is what of `ns` counts
    quiet_for_ = valid_for_ == 0 ? 0 : std::min(valid_for_, ((since + std::min(ns, kAnchorEvery)) << 32) / factor_);
  }

 private:
  std::int64_t to_ns(std::uint64_t elapsed) const noexcept {
    return static_cast<std::int64_t>(elapsed * factor_ >> 32);  // elapsed < valid_for_ keeps the product below 2^64
  }
  std::uint64_t to_ticks(std::uint64_t ns) const noexcept { return ns * back_ >> 32; }  // of what is below kAnchorEvery
  std::int64_t anchor() noexcept;

  static constexpr std::uint64_t kAnchorEvery = 5'000'000;  // ns
  std::uint64_t anchor_ticks_ = 0;
  std::uint64_t valid_for_ = 0;
  std::uint64_t quiet_for_ = 0;  // at most valid_for_
  std::uint64_t factor_ = 0;
  std::uint64_t back_ = 0;  // its reciprocal
  std::int64_t anchor_time_ = 0;
  Of clock_;
};

// A point in time to wait for, and a cheap look at whether it has come.
class Deadline {
 public:
  // Forever for a duration that reaches past the clock's range.
  static Deadline after(std::int64_t ns) noexcept;
  [[nodiscard]] bool passed() const noexcept { return boot_time() >= at_; }
  [[nodiscard]] std::int64_t left() const noexcept {
    const std::int64_t now = boot_time();
    return at_ > now ? at_ - now : 0;
  }

 private:
  explicit Deadline(std::int64_t at) noexcept : at_(at) {}
  std::int64_t at_;
};

}  // namespace arus::platform
