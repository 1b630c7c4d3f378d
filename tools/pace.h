// Spreads records over time: evenly, or as their own timestamps are apart.
#pragma once

#include <chrono>
#include <optional>
#include <span>

#include "arus/producer.h"

namespace arus::tool {

class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  // As fast as possible.
  Pace() = default;
  static Pace evenly(double per_second);
  // Twice as fast as it was for `speed` 2. The messages need timestamps; one that is before its predecessor goes at once.
  static Pace replay(double speed);

  // How many of the first messages (there is at least one) may go now; waits until one may. Zero: a stop was requested, or it is `end`.
  std::size_t take(std::span<const Message> ready, Clock::time_point end = Clock::time_point::max());

 private:
  std::size_t take_evenly(std::size_t ready, Clock::time_point end);
  std::size_t take_recorded(std::span<const Message> ready, Clock::time_point end);
  [[nodiscard]] Clock::time_point due(const Message& message) const;

  Clock::duration period_{};  // zero: not evenly
  double speed_ = 0;          // zero: not by timestamps
  Clock::time_point next_ = Clock::now();
  std::optional<Timestamp> first_;
  Clock::time_point began_{};
};

}  // namespace arus::tool
