// When to try again: at once, then after 0.5, 1, 2, … seconds up to a limit, and anew from the start after a success that lasted.
#pragma once

#include <algorithm>
#include <chrono>

namespace arus::connect {

class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Backoff(std::chrono::nanoseconds longest = std::chrono::seconds(30)) noexcept : longest_(longest) {}

  [[nodiscard]] bool due(Clock::time_point now = Clock::now()) const noexcept { return now >= next_; }
  // Zero when it is due.
  [[nodiscard]] std::chrono::nanoseconds left(Clock::time_point now = Clock::now()) const noexcept {
    return std::max<std::chrono::nanoseconds>(next_ - now, std::chrono::nanoseconds::zero());
  }
  // Returns how long to wait from now on.
  std::chrono::nanoseconds failed(Clock::time_point now = Clock::now()) noexcept {
    // A connection that breaks as soon as it is made must not be made again without a pause.
    if (connected_ && now - since_ >= longest_) wait_ = kShortest;
    connected_ = false;
    const auto wait = std::min(wait_, longest_);
    next_ = now + std::chrono::duration_cast<Clock::duration>(wait);
    wait_ = std::min(2 * wait, longest_);
    return wait;
  }
  void succeeded(Clock::time_point now = Clock::now()) noexcept {
    connected_ = true;
    since_ = now;
  }

 private:
  static constexpr std::chrono::nanoseconds kShortest = std::chrono::milliseconds(500);
  std::chrono::nanoseconds longest_;
  std::chrono::nanoseconds wait_ = kShortest;
  Clock::time_point next_{};
  Clock::time_point since_{};
  bool connected_ = false;
};

}  // namespace arus::connect
