#include "connect/proc_table.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace arus::connect {

ProcTable::ProcTable(std::string path, SensorRegistry& registry, std::chrono::nanoseconds window)
    : registry_(registry), path_(std::move(path)), window_(window) {}

void ProcTable::sample(Clock::time_point now, bool retry, std::vector<char>& buffer) {
  if (!file_.is_open() && !(retry && file_.open(path_) == 0)) return;
  if (read_at_ && now - *read_at_ < window_) return;
  read_at_ = now;
  const FileText content = file_.read_all(buffer);
  if (content.error == 0) {
    parse(content.text, now);
  } else {
    fail(content.error);
  }
}

CounterTable::CounterTable(std::string path, SensorRegistry& registry, std::chrono::nanoseconds window,
                           std::span<const Column> columns)
    : ProcTable(std::move(path), registry, window), columns_(columns) {}

std::size_t CounterTable::take_counters(std::string_view line, std::span<std::uint64_t> numbers) noexcept {
  std::size_t n = 0;
  while (n < numbers.size()) {
    const auto number = parse_counter(take_word(line));
    if (!number) break;
    numbers[n++] = *number;
  }
  return n;
}

void CounterTable::parse(std::string_view text, Clock::time_point now) {
  for (Row& row : rows_) row.seen = false;
  std::size_t position = 0;  // the rows come in the same order nearly every time
  while (!text.empty()) {
    const Line line = parse_line(take_line(text));
    if (line.kind == Line::Kind::last) break;
    if (line.kind == Line::Kind::ignored) continue;
    if (line.kind == Line::Kind::unknown || !take(line, now, position)) registry().count_malformed_line();
  }
  std::erase_if(rows_, [this](const Row& row) {
    if (!row.seen) for_each_sensor(row, [this](Entry& sensor) { registry().remove(sensor); });
    return !row.seen;
  });
}

void CounterTable::fail(int error) {
  for (const Row& row : rows_) for_each_sensor(row, [&](Entry& sensor) { registry().fail(sensor, error); });
}

// False if the line belongs to no row: it is the second of its name, or the first and broken.
bool CounterTable::take(const Line& line, Clock::time_point now, std::size_t& position) {
  auto row = rows_.begin() + static_cast<std::ptrdiff_t>(position);
  if (row == rows_.end() || row->name != line.name) row = std::ranges::find(rows_, line.name, &Row::name);
  if (row == rows_.end()) {
    if (line.kind == Line::Kind::broken) return false;
    rows_.insert(rows_.begin() + static_cast<std::ptrdiff_t>(position++), new_row(line, now));
    return true;
  }
  if (row->seen) return false;
  row->seen = true;
  position = static_cast<std::size_t>(row - rows_.begin()) + 1;
  if (line.kind == Line::Kind::broken) {
    for_each_sensor(*row, [this](Entry& sensor) { registry().fail(sensor, EBADMSG); });
  } else if (row->wanted) {
    advance(*row, line, now);
  }
  return true;
}

CounterTable::Row CounterTable::new_row(const Line& line, Clock::time_point now) {
  Row row{.name = std::string(line.name), .wanted = wants(line.name)};
  set_baseline(row, line, now);
  for (std::size_t i = 0; row.wanted && i < columns_.size(); ++i) {
    row.sensors[i] = &registry().add({.name = sensor_prefix(line.name).append(columns_[i].name),
                                      .unit = columns_[i].unit,
                                      .source = path(),
                                      .description = subject(line.name).append(": ").append(columns_[i].description)});
  }
  return row;
}

void CounterTable::advance(Row& row, const Line& line, Clock::time_point now) {
  double elapsed = std::chrono::duration<double>(now - row.time).count();
  if (line.ticks) elapsed = *line.ticks < *row.ticks ? -1 : static_cast<double>(*line.ticks - *row.ticks);
  if (elapsed == 0) return;  // the baseline stays until some time has passed by the row's clock
  for (std::size_t i = 0; i < columns_.size() && elapsed > 0; ++i) {
    if (line.counters[i] < row.counters[i]) continue;
    const auto growth = static_cast<double>(line.counters[i] - row.counters[i]);
    const double rate = growth * columns_[i].factor / elapsed;
    // A share of time can come out above the whole: its counter and the clock are not read at the same
    // instant.
    registry().succeed(*row.sensors[i], columns_[i].unit == "%" ? std::min(rate, 100.0) : rate);
  }
  set_baseline(row, line, now);
}

void CounterTable::set_baseline(Row& row, const Line& line, Clock::time_point now) {
  row.counters = line.counters;
  row.ticks = line.ticks;
  row.time = now;
}

GaugeTable::GaugeTable(std::string path, SensorRegistry& registry, std::span<const Gauge> gauges)
    : ProcTable(std::move(path), registry, {}), values_(gauges.size()) {
  for (const Gauge& gauge : gauges) slots_.push_back({.gauge = gauge});
}

void GaugeTable::parse(std::string_view text, Clock::time_point /*now*/) {
  std::ranges::fill(values_, std::nullopt);
  parse_gauges(text, values_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    auto& [gauge, sensor] = slots_[i];
    if (values_[i]) {
      if (sensor == nullptr) {
        sensor = &registry().add(
            {.name = std::string(gauge.name), .unit = gauge.unit, .source = path(), .description = std::string(gauge.description)});
      }
      registry().succeed(*sensor, *values_[i]);
    } else if (sensor != nullptr) {
      registry().fail(*sensor, EBADMSG);
    }
  }
}

void GaugeTable::fail(int error) {
  for (const Slot& slot : slots_) {
    if (slot.sensor != nullptr) registry().fail(*slot.sensor, error);
  }
}

}  // namespace arus::connect
