// Keeps the sensors known now: their names, states and counts, the readings of the current sample and what
// changed in it. The sources (/proc, /sys) add and remove sensors and report each outcome here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "connect/host_sensors.h"

namespace arus::connect {

// `text` as a part of a name: white space around it removed, each run of other characters than [a-zA-Z0-9._-]
// an underscore, at most 64 characters. May be empty.
std::string sanitize(std::string_view text);

// `name`, or the first of name-2, name-3, … that `taken` does not hold.
template <class Taken>
std::string unique_name(std::string name, const Taken& taken) {
  if (!taken(name)) return name;
  for (unsigned i = 2;; ++i) {
    std::string numbered = name + '-' + std::to_string(i);
    if (!taken(numbered)) return numbered;
  }
}

class SensorRegistry {
 public:
  struct Entry : Sensor {
    unsigned failures_in_a_row = 0;
  };

  // The entry stays where it is until it is removed. The name is made unique.
  Entry& add(Sensor sensor);
  void remove(Entry& entry);  // reported as vanished, unless it was gone already

  void succeed(Entry& entry, double value);
  void fail(Entry& entry, int error);  // rests after kFailuresUntilRest in a row
  void rest(Entry& entry, int error);  // a failure that will not go away by trying again soon
  void lose(Entry& entry, int error);  // its device is gone: a failure after which it is not read any more
  void count_malformed_line() noexcept { ++totals_.malformed_lines; }

  // Readings and changes are of one sample; removed names live on until the next, since readings may refer to
  // them.
  void begin_sample();
  void forget_readings();  // of the start, which nobody was given
  [[nodiscard]] const std::vector<Reading>& readings() const noexcept { return readings_; }
  [[nodiscard]] const std::vector<SensorChange>& changes() const noexcept { return changes_; }

  [[nodiscard]] std::vector<Sensor> snapshot() const;
  [[nodiscard]] const SensorTotals& totals() const noexcept { return totals_; }

 private:
  void count_failure(Entry& entry, int error) noexcept;
  void become_resting(Entry& entry);
  void report(SensorChange::Kind kind, const Entry& entry, int error = 0);

  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<std::unique_ptr<Entry>> removed_;
  std::unordered_set<std::string> names_;
  std::vector<Reading> readings_;
  std::vector<SensorChange> changes_;
  SensorTotals totals_;
};

}  // namespace arus::connect
