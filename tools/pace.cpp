#include "pace.h"

#include <algorithm>

#include "stop.h"

namespace arus::tool {

namespace {

// False when a stop or the end came first.
bool wait_until(Pace::Clock::time_point when, Pace::Clock::time_point end) {
  return !Stop::sleep_until(std::min(when, end)) && when <= end;
}

}  // namespace

Pace Pace::evenly(double per_second) {
  Pace pace;
  pace.period_ = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / per_second));
  return pace;
}

Pace Pace::replay(double speed) {
  Pace pace;
  pace.speed_ = speed;
  return pace;
}

std::size_t Pace::take(std::span<const Message> ready, Clock::time_point end) {
  if (speed_ > 0) return take_recorded(ready, end);
  return period_ > Clock::duration::zero() ? take_evenly(ready.size(), end) : ready.size();
}

std::size_t Pace::take_evenly(std::size_t ready, Clock::time_point end) {
  const auto idle = Clock::now() - next_;
  if (idle > period_) next_ = Clock::now();  // what was not sent in time is not made up for in a burst
  if (!wait_until(next_, end)) return 0;
  const auto due = static_cast<std::size_t>((Clock::now() - next_) / period_) + 1;
  const std::size_t count = std::min(ready, due);
  next_ += period_ * static_cast<std::int64_t>(count);
  return count;
}

Pace::Clock::time_point Pace::due(const Message& message) const {
  const std::chrono::duration<double, std::nano> after(static_cast<double>(*message.envelope.timestamp - *first_) / speed_);
  return began_ + std::chrono::duration_cast<Clock::duration>(after);
}

std::size_t Pace::take_recorded(std::span<const Message> ready, Clock::time_point end) {
  if (!first_) {
    first_ = ready.front().envelope.timestamp;
    began_ = Clock::now();
  }
  if (!wait_until(due(ready.front()), end)) return 0;
  const auto now = Clock::now();
  const auto later = std::find_if(ready.begin() + 1, ready.end(), [&](const Message& message) { return due(message) > now; });
  return static_cast<std::size_t>(later - ready.begin());
}

}  // namespace arus::tool
