// Time for benchmarks: the time-stamp counter, calibrated once per run against the kernel's raw clock.
#pragma once

#include <immintrin.h>
#include <time.h>

#include <cstdint>

namespace bench {

// Not serialising on purpose: what is timed here ends with a branch on a value that another core has written, which the
// counter's reading cannot overtake by more than the few instructions behind it.
inline std::uint64_t ticks() noexcept { return __rdtsc(); }

inline void cpu_pause() noexcept { _mm_pause(); }

// Ticks to nanoseconds and back. The counters of all cores are assumed to run alike (`constant_tsc`, `nonstop_tsc`, clock
// source `tsc`: printed with the environment).
class TickScale {
 public:
  // The scale of this run; the first call takes 50 ms and belongs into the parent, before the first fork.
  static const TickScale& get() {
    static const TickScale scale = calibrate();
    return scale;
  }

  [[nodiscard]] double ns(std::uint64_t ticks) const noexcept { return static_cast<double>(ticks) * ns_per_tick_; }
  [[nodiscard]] std::uint64_t ticks(double ns) const noexcept { return static_cast<std::uint64_t>(ns / ns_per_tick_); }
  [[nodiscard]] double ghz() const noexcept { return 1.0 / ns_per_tick_; }

 private:
  struct Pair {
    std::uint64_t ticks;
    std::int64_t ns;
  };

  // Of several readings the one whose two counter readings lie closest together: the others were interrupted.
  static Pair read() noexcept {
    Pair best{};
    std::uint64_t width = UINT64_MAX;
    for (int i = 0; i < 16; ++i) {
      timespec time{};
      const std::uint64_t before = bench::ticks();
      ::clock_gettime(CLOCK_MONOTONIC_RAW, &time);
      const std::uint64_t after = bench::ticks();
      if (after - before >= width) continue;
      width = after - before;
      best = {before + width / 2, time.tv_sec * 1'000'000'000 + time.tv_nsec};
    }
    return best;
  }

  static TickScale calibrate() noexcept {
    const Pair from = read();
    const timespec pause{.tv_sec = 0, .tv_nsec = 50'000'000};
    ::nanosleep(&pause, nullptr);
    const Pair to = read();
    return TickScale(static_cast<double>(to.ns - from.ns) / static_cast<double>(to.ticks - from.ticks));
  }

  explicit TickScale(double ns_per_tick) noexcept : ns_per_tick_(ns_per_tick) {}
  double ns_per_tick_;
};

}  // namespace bench
