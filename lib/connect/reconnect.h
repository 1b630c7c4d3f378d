// What a source that comes and goes remembers: when to try again, whether people were told that it is away, how often it came back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "connect/backoff.h"
#include "connect/source.h"

namespace arus::connect {

class Reconnect {
 public:
  explicit Reconnect(std::chrono::nanoseconds longest_pause) noexcept : backoff_(longest_pause) {}

  // Whether to try now. Before it is time: waits for it, for `timeout` at most or until `interrupt` is readable, and says no.
  [[nodiscard]] bool due(int interrupt, std::chrono::nanoseconds timeout) const noexcept {
    if (backoff_.due()) return true;
    wait_readable(-1, interrupt, std::min(timeout, backoff_.left()));
    return false;
  }
  // It is there. Whether people are to be told: it was there before.
  [[nodiscard]] bool connected() noexcept {
    told_ = false;
    backoff_.succeeded();
    if (ever_) ++count_;
    return std::exchange(ever_, true);
  }
  // It has gone, or could not be reached; due() says when to try again. Whether people are to be told: they were not yet.
  [[nodiscard]] bool lost() noexcept {
    backoff_.failed();
    return !std::exchange(told_, true);
  }

  [[nodiscard]] bool ever_connected() const noexcept { return ever_; }
  // Connections after the first one.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  Backoff backoff_;
  bool ever_ = false;
  bool told_ = false;
  std::uint64_t count_ = 0;
};

}  // namespace arus::connect
