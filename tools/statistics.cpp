#include "statistics.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "terminal.h"

namespace arus::tool {
namespace {

std::optional<double> number_in(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n+");
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

// Large numbers with a decimal prefix, which reads on into the unit: 16.78 G  B.
std::string short_number(double number) {
  static constexpr std::array kPrefixes{"", " k", " M", " G", " T", " P"};
  if (std::abs(number) < 1e5) return fmt::format("{:.5g}", number);
  std::size_t prefix = 0;
  for (; std::abs(number) >= 1000 && prefix + 1 < kPrefixes.size(); ++prefix) number /= 1000;
  return fmt::format("{:.4g}{}", number, kPrefixes[prefix]);
}

double per_second(std::uint64_t count, Statistics::Clock::duration time) {
  const double seconds = std::chrono::duration<double>(time).count();
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

Measurement measure(std::string_view value, const std::string& field) {
  if (value.empty() || value.front() != '{') return {number_in(value), {}};
  const auto json = nlohmann::json::parse(value, nullptr, false);
  Measurement measurement;
  if (const auto member = json.find(field); member != json.end()) {
    if (member->is_number()) measurement.number = member->get<double>();
    if (member->is_string()) measurement.number = number_in(member->get_ref<const std::string&>());
    if (member->is_boolean()) measurement.number = member->get<bool>() ? 1 : 0;
  }
  if (const auto unit = json.find("u"); unit != json.end() && unit->is_string()) measurement.unit = unit->get<std::string>();
  return measurement;
}

Statistics::Statistics(std::string field, Clock::time_point now) : field_(std::move(field)), started_(now), shown_(now) {}

Statistics::Series& Statistics::series_of(std::string_view key) {
  if (const auto known = keys_.find(key); known != keys_.end()) return known->second;
  return keys_[keys_.size() < kMostKeys ? std::string(key) : "(other keys)"];
}

void Statistics::add(const Record& record) {
  ++records_;
  bytes_ += record.value().size();
  Series& series = series_of(record.key().data() == nullptr ? "(no key)" : text(record.key()));
  ++series.records;
  Measurement measurement = measure(text(record.value()), field_);
  if (!measurement.number) return;
  const double number = *measurement.number;
  ++series.numbers;
  series.min = std::min(series.min, number);
  series.max = std::max(series.max, number);
  series.mean += (number - series.mean) / static_cast<double>(series.numbers);
  series.last = number;
  if (series.unit != measurement.unit) series.unit = std::move(measurement.unit);
}

void Statistics::add(const Gap& gap) { (gap.kind == Gap::Kind::lost ? lost_ : uncommitted_) += gap.to - gap.from; }

Table Statistics::table(Clock::time_point now, bool last) {
  using enum Table::Align;
  Table table({{"KEY", left}, {"COUNT"}, {"RATE/s"}, {"MIN"}, {"MEAN"}, {"MAX"}, {"LAST"}, {"UNIT", left}});
  for (auto& entry : keys_) {
    const std::string& key = entry.first;
    Series& series = entry.second;
    const double rate =
        last ? per_second(series.records, now - started_) : per_second(series.records - series.records_before, now - shown_);
    series.records_before = series.records;
    const auto number = [&](double value) { return series.numbers == 0 ? "-" : short_number(value); };
    table.add({fit(key, 40), std::to_string(series.records), fmt::format("{:.1f}", rate), number(series.min), number(series.mean),
               number(series.max), number(series.last), fit(series.unit, 8)});
  }
  shown_ = now;
  return table;
}

std::string Statistics::headline(Clock::time_point now) const {
  const auto time = now - started_;
  return fmt::format("{} record{} in {:.1f} s, {}/s, {} key{}, lost {}, uncommitted {}", records_, plural(records_),
                     std::chrono::duration<double>(time).count(), human_count(per_second(records_, time)), keys_.size(),
                     plural(keys_.size()), lost_, uncommitted_);
}

Json Statistics::summary(Clock::time_point now) const {
  const auto time = now - started_;
  Json json{{"records", records_},
            {"bytes", bytes_},
            {"seconds", std::chrono::duration<double>(time).count()},
            {"rate", per_second(records_, time)},
            {"gaps", {{"lost", lost_}, {"uncommitted", uncommitted_}}},
            {"keys", Json::array()}};
  for (const auto& [key, series] : keys_) {
    Json entry{{"key", key}, {"count", series.records}, {"rate", per_second(series.records, time)}, {"numbers", series.numbers}};
    if (series.numbers > 0) {
      entry["min"] = series.min;
      entry["mean"] = series.mean;
      entry["max"] = series.max;
      entry["last"] = series.last;
      entry["unit"] = series.unit;
    }
    json["keys"].push_back(std::move(entry));
  }
  return json;
}

StatisticsView::StatisticsView(std::chrono::nanoseconds interval)
    : in_place_(is_terminal(STDOUT_FILENO)), interval_(interval), next_(Statistics::Clock::now() + interval) {}

void StatisticsView::show(Statistics& statistics, bool last) {
  const auto now = Statistics::Clock::now();
  next_ = now + interval_;
  std::vector<std::string> lines = statistics.table(now, last).lines();
  Output output;
  if (!in_place_) {
    for (const auto& line : lines) output.append(line);
    output.print("{}\n{}", statistics.headline(now), last ? "" : "\n");
    output.flush();
    return;
  }
  // The cursor goes back to where the previous table began. While it grows it must fit on the screen, or its first lines would have
  // scrolled out of reach; the last one is not redrawn and is shown whole.
  const Screen screen = screen_of(STDOUT_FILENO);
  const auto rows = static_cast<std::size_t>(std::max(screen.rows, 5));
  if (!last && lines.size() + 2 > rows) {
    const std::size_t hidden = lines.size() + 3 - rows;
    lines.resize(rows - 3);
    lines.push_back(fmt::format("… {} more keys\n", hidden));
  }
  if (lines_shown_ > 0) output.print("\x1b[{}A", lines_shown_);
  for (auto& line : lines) {
    line.pop_back();
    output.print("{}\x1b[K\n", fit(line, static_cast<std::size_t>(screen.columns)));
  }
  output.print("{}\x1b[K\n\x1b[J", fit(statistics.headline(now), static_cast<std::size_t>(screen.columns)));
  lines_shown_ = lines.size() + 1;
  output.flush();
}

}  // namespace arus::tool
