#include "platform/clock.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <limits>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace arus::platform {
namespace {

std::int64_t read_clock(clockid_t id) noexcept {
  timespec time{};
  clock_gettime(id, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

#if defined(__x86_64__)
bool counter_is_steady() noexcept {
  // "Invariant TSC": CPUID 8000_0007h, EDX bit 8 (AMD64 manual volume 3, appendix E; Intel SDM 17.17.1).
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}
#endif

struct Anchor {
  std::uint64_t ticks;
  std::int64_t ns;
};

// The counter and a clock at the same moment: of several tries the one with the least time between two readings of the counter.
Anchor read_together(clockid_t id) noexcept {
  Anchor best{};
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = ticks();
    const std::int64_t ns = read_clock(id);
    const std::uint64_t after = ticks();
    if (after - before < least) {
      least = after - before;
      best = {before + (after - before) / 2, ns};
    }
  }
  return best;
}

#if defined(__x86_64__)
// The rate is not known until enough time has passed since the first call; nobody waits for that. An error of some 10^-5, see Stamper.
std::uint64_t measured_rate() noexcept {
  constexpr std::int64_t kLongEnough = 2'000'000;  // ns
  static const bool steady = counter_is_steady();
  static const Anchor first = read_together(CLOCK_MONOTONIC_RAW);
  static std::atomic<std::uint64_t> rate{0};
  if (const std::uint64_t known = rate.load(std::memory_order_relaxed); known != 0 || !steady) return known;
  const Anchor now = read_together(CLOCK_MONOTONIC_RAW);
  if (now.ns - first.ns < kLongEnough || now.ticks <= first.ticks) return 0;
  __extension__ using Wide = unsigned __int128;
  const auto found =
      static_cast<std::uint64_t>((Wide(static_cast<std::uint64_t>(now.ns - first.ns)) << 32) / (now.ticks - first.ticks));
  rate.store(found, std::memory_order_relaxed);
  return found;
}
#endif

}  // namespace

std::int64_t boot_time() noexcept { return read_clock(CLOCK_BOOTTIME); }
std::int64_t wall_time() noexcept { return read_clock(CLOCK_REALTIME); }

std::array<std::uint64_t, 2> boot_id() noexcept {
  static const std::array<std::uint64_t, 2> id = [] {
    std::array<std::uint64_t, 2> words{};
    const int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file < 0) return words;
    std::array<char, 64> text{};
    const ssize_t size = read(file, text.data(), text.size());
    close(file);
    unsigned digits = 0;
    for (ssize_t i = 0; i < size && digits < 32; ++i) {
      const char c = text[static_cast<std::size_t>(i)];
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) continue;
      words[digits / 16] = words[digits / 16] << 4 | static_cast<std::uint64_t>(digit);
      ++digits;
    }
    return words;
  }();
  return id;
}

std::uint64_t ticks_to_ns() noexcept {
#if defined(__x86_64__)
  return measured_rate();
#elif defined(__aarch64__)
  std::uint64_t frequency = 0;
  asm volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
  return frequency == 0 ? 0 : static_cast<std::uint64_t>((1'000'000'000ull << 32) / frequency);
#endif
}

std::int64_t Stamper::anchor() noexcept {
  factor_ = ticks_to_ns();
  const clockid_t id = clock_ == Of::wall ? CLOCK_REALTIME : CLOCK_BOOTTIME;
  if (factor_ == 0) return read_clock(id);  // valid_for_ stays 0: asks every time
  const Anchor now = read_together(id);
  anchor_ticks_ = now.ticks;
  anchor_time_ = now.ns;
  valid_for_ = (kAnchorEvery << 32) / factor_;
  back_ = (valid_for_ << 32) / kAnchorEvery;
  quiet_for_ = 0;
  return now.ns;
}

Deadline Deadline::after(std::int64_t ns) noexcept {
  const std::int64_t now = boot_time();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  return Deadline(ns > kMax - now ? kMax : now + ns);
}

}  // namespace arus::platform
