// Numbers per key, as they pass: what `arus consume --stats` shows.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "arus/record.h"
#include "command.h"
#include "text.h"

namespace arus::tool {

// The number that a value carries: the whole text, or a member of a JSON object, whose member "u" names the unit.
struct Measurement {
  std::optional<double> number;
  std::string unit;
};
Measurement measure(std::string_view value, const std::string& field);

class Statistics {
 public:
  using Clock = std::chrono::steady_clock;

  // `field`: the member of a JSON value that holds the number.
  explicit Statistics(std::string field, Clock::time_point now = Clock::now());

  void add(const Record& record);
  void add(const Gap& gap);

  // One row per key. Its rates are those since the previous table, or since the start for a `last` one.
  Table table(Clock::time_point now, bool last);
  [[nodiscard]] std::string headline(Clock::time_point now) const;
  [[nodiscard]] Json summary(Clock::time_point now) const;

 private:
  struct Series {
    std::uint64_t records = 0;
    std::uint64_t records_before = 0;  // when the previous table was made
    std::uint64_t numbers = 0;
    double min = std::numeric_limits<double>::infinity();
    double max = -std::numeric_limits<double>::infinity();
    double mean = 0;
    double last = 0;
    std::string unit;
  };
  // Keys beyond this many share one row, so that a topic without repeating keys does not fill the memory.
  static constexpr std::size_t kMostKeys = 10'000;

  Series& series_of(std::string_view key);

  std::string field_;
  Clock::time_point started_;
  Clock::time_point shown_;
  std::map<std::string, Series, std::less<>> keys_;
  std::uint64_t records_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t uncommitted_ = 0;
};

// Shows the statistics while they grow: redrawn in place on a terminal, else a table now and then.
class StatisticsView {
 public:
  explicit StatisticsView(std::chrono::nanoseconds interval);

  [[nodiscard]] Statistics::Clock::time_point next() const noexcept { return next_; }
  void show(Statistics& statistics, bool last);

 private:
  bool in_place_;
  std::chrono::nanoseconds interval_;
  Statistics::Clock::time_point next_;
  std::size_t lines_shown_ = 0;
};

}  // namespace arus::tool
