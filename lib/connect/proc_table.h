// A file of /proc that holds many values, and the two kinds of it: counters, which become rates, and gauges.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "connect/host_sensors.h"
#include "connect/sensor_file.h"
#include "connect/sensor_registry.h"

namespace arus::connect {

class ProcTable {
 public:
  using Clock = HostSensors::Clock;
  using Entry = SensorRegistry::Entry;

  // The file is read at most once per `window`.
  ProcTable(std::string path, SensorRegistry& registry, std::chrono::nanoseconds window);
  virtual ~ProcTable() = default;
  ProcTable(const ProcTable&) = delete;
  ProcTable& operator=(const ProcTable&) = delete;

  // `retry`: open the file if it could not be opened before. The buffer is lent for the time of the call.
  void sample(Clock::time_point now, bool retry, std::vector<char>& buffer);

 protected:
  virtual void parse(std::string_view text, Clock::time_point now) = 0;
  virtual void fail(int error) = 0;  // the whole file could not be read

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] SensorRegistry& registry() noexcept { return registry_; }

 private:
  SensorRegistry& registry_;
  std::string path_;
  std::chrono::nanoseconds window_;
  SensorFile file_;
  std::optional<Clock::time_point> read_at_;
};

// One row per CPU, disk or interface, one sensor per column: the growth of a counter per second. Rows may
// come and go.
class CounterTable : public ProcTable {
 protected:
  static constexpr std::size_t kMostColumns = 8;

  struct Column {
    std::string_view name;
    std::string_view unit;  // "%" is capped at 100
    std::string_view description;
    double factor = 1;  // of the counter's growth
  };

  struct Line {
    enum class Kind : std::uint8_t {
      row,
      broken,   // names a row, but its counters are not what they should be
      unknown,  // not even that
      ignored,  // a heading, or of no interest
      last,     // nothing of interest follows
    };
    Kind kind = Kind::unknown;
    std::string_view name{};
    std::array<std::uint64_t, kMostColumns> counters{};
    std::optional<std::uint64_t> ticks{};  // the row's own clock, if it has one: rates are then per tick
  };

  // `columns` outlives the table.
  CounterTable(std::string path, SensorRegistry& registry, std::chrono::nanoseconds window, std::span<const Column> columns);

  virtual Line parse_line(std::string_view line) const = 0;
  virtual bool wants(std::string_view /*row*/) const { return true; }
  virtual std::string sensor_prefix(std::string_view row) const = 0;  // "disk.vda."
  virtual std::string subject(std::string_view row) const = 0;        // "disk vda", for descriptions

  // Reads the next words of a line into `numbers`; how many it could.
  static std::size_t take_counters(std::string_view line, std::span<std::uint64_t> numbers) noexcept;

 private:
  struct Row {
    std::string name;
    bool seen = true;  // in the file as it is now
    bool wanted = true;
    std::array<Entry*, kMostColumns> sensors{};
    // The baseline of the next rates.
    std::array<std::uint64_t, kMostColumns> counters{};
    std::optional<std::uint64_t> ticks{};
    Clock::time_point time{};
  };

  void parse(std::string_view text, Clock::time_point now) final;
  void fail(int error) final;

  bool take(const Line& line, Clock::time_point now, std::size_t& position);
  Row new_row(const Line& line, Clock::time_point now);
  void advance(Row& row, const Line& line, Clock::time_point now);
  static void set_baseline(Row& row, const Line& line, Clock::time_point now);

  template <class Action>
  static void for_each_sensor(const Row& row, Action action) {
    for (Entry* sensor : row.sensors) {
      if (sensor != nullptr) action(*sensor);
    }
  }

  std::span<const Column> columns_;
  std::vector<Row> rows_;  // in the order of the file
};

// Values that are what they are, each under a fixed name.
class GaugeTable : public ProcTable {
 protected:
  struct Gauge {
    std::string_view name;
    std::string_view unit;
    std::string_view description;
  };
  using Values = std::span<std::optional<double>>;

  GaugeTable(std::string path, SensorRegistry& registry, std::span<const Gauge> gauges);

  // Sets the values it finds, in the order of the gauges; the others are empty.
  virtual void parse_gauges(std::string_view text, Values values) const = 0;

 private:
  struct Slot {
    Gauge gauge;
    Entry* sensor = nullptr;  // there from its first value on
  };

  void parse(std::string_view text, Clock::time_point now) final;
  void fail(int error) final;

  std::vector<Slot> slots_;
  std::vector<std::optional<double>> values_;
};

}  // namespace arus::connect
