#include "cmd_top_view.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "text.h"

namespace arus::tool {
namespace {

using Align = Table::Align;

// Without anything beyond ASCII: the terminal may be a serial line.
std::string cut(std::string_view text, std::size_t columns) {
  std::string result;
  for (const char c : text) result += static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~' ? '?' : c;
  if (result.size() > columns) {
    result.resize(columns);
    if (columns > 0) result.back() = '~';
  }
  return result;
}

struct Column {
  std::string_view title;
  std::size_t width;  // 0: shares what is left
  Align align;
};

// A table whose columns have fixed widths, so that nothing jumps from one second to the next.
class Grid {
 public:
  Grid(std::vector<Column> columns, std::size_t width) : columns_(std::move(columns)) {
    std::size_t used = columns_.size() - 1;
    std::size_t open = 0;
    for (const auto& column : columns_) {
      used += column.width;
      open += column.width == 0 ? 1 : 0;
    }
    std::size_t left = width > used ? width - used : 0;
    for (auto& column : columns_) {
      if (column.width != 0) continue;
      column.width = std::clamp<std::size_t>(left / open, 6, 48);
      left -= std::min(left, column.width);
      --open;
    }
  }

  [[nodiscard]] Line header() const {
    std::vector<std::string> titles;
    for (const auto& column : columns_) titles.emplace_back(column.title);
    return {row(titles), Style::header};
  }
  [[nodiscard]] std::string row(const std::vector<std::string>& cells) const {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string cell = cut(cells[i], columns_[i].width);
      const std::string padding(columns_[i].width - cell.size(), ' ');
      line += (i == 0 ? "" : " ") + (columns_[i].align == Align::left ? cell + padding : padding + cell);
    }
    return line;
  }

 private:
  std::vector<Column> columns_;
};

std::string count(std::uint64_t number) {
  return number < 10'000 ? std::to_string(number) : human_count(static_cast<double>(number));
}
std::string per_second(double number) {
  return number == 0 ? "0" : human_count(number < 10 ? std::round(number * 10) / 10 : number);
}
std::string bytes_per_second(double bytes) { return bytes == 0 ? "0" : human_count(std::round(bytes)) + "B"; }
std::string percent(double part) { return fmt::format("{:.0f}%", 100 * part); }
std::string trend(double per_second_now) {
  if (std::abs(per_second_now) < 0.05) return "=";
  return (per_second_now > 0 ? "+" : "-") + per_second(std::abs(per_second_now));
}
std::string latency(std::chrono::nanoseconds ns) {
  if (ns.count() == 0) return "-";
  std::string text = human_duration(ns);
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}
std::string kept(const std::optional<std::int64_t>& ns) { return ns ? short_age(*ns) : "-"; }

std::string state_of(const GroupSample& group) {
  if (group.holds_back) return group.info.alive ? "HOLDS BACK" : "HOLDS, DEAD";
  if (group.info.evicted) return "evicted";
  return group.info.alive ? "live" : "no reader";
}

std::uint64_t lag_of(const TopicSample& topic) {
  std::uint64_t most = 0;
  for (const auto& group : topic.groups) most = std::max(most, group.info.evicted ? 0 : group.lag);
  return most;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

bool contains(std::string_view text, std::string_view part) { return lower(text).find(lower(part)) != std::string::npos; }

}  // namespace

std::string short_age(std::int64_t ns) {
  const double seconds = static_cast<double>(ns) / 1e9;
  if (seconds < 10) return fmt::format("{:.1f}s", seconds);
  if (seconds < 100) return fmt::format("{:.0f}s", seconds);
  if (seconds < 6000) return fmt::format("{:.0f}m", seconds / 60);
  if (seconds < 172'800) return fmt::format("{:.1f}h", seconds / 3600);
  return fmt::format("{:.0f}d", seconds / 86'400);
}

void TopView::take(BusSample sample) {
  sample_ = std::move(sample);
  arrange();
}

bool TopView::shown(std::string_view name) const { return filter_.empty() || contains(name, filter_); }

void TopView::arrange() {
  topics_.clear();
  for (const auto& topic : sample_.topics) {
    if (shown(topic.name)) topics_.push_back(&topic);
  }
  const auto value = [this](const TopicSample& topic) {
    switch (sort_) {
      case Sort::records: return topic.records_per_second;
      case Sort::bytes: return topic.bytes_per_second;
      case Sort::fill: return topic.fill;
      case Sort::lag: return static_cast<double>(lag_of(topic));
      case Sort::name: break;
    }
    return 0.0;
  };
  // Numbers begin with the largest, names with A; the sample is in order of name.
  std::stable_sort(topics_.begin(), topics_.end(), [&](const auto* a, const auto* b) { return value(*a) > value(*b); });
  if (reversed_) std::reverse(topics_.begin(), topics_.end());
}

// ---- keys -------------------------------------------------------------------------------------------------------------------

void TopView::go(std::int64_t rows) {
  if (page_ != Page::overview) {
    first_ = rows < 0 ? first_ - std::min(first_, static_cast<std::size_t>(-rows)) : first_ + static_cast<std::size_t>(rows);
    return;
  }
  if (topics_.empty()) return;
  const auto now = std::find_if(topics_.begin(), topics_.end(), [&](const auto* topic) { return topic->name == selected_; });
  const std::int64_t at = now == topics_.end() ? 0 : now - topics_.begin();
  const std::int64_t last = static_cast<std::int64_t>(topics_.size()) - 1;
  selected_ = topics_[static_cast<std::size_t>(std::clamp<std::int64_t>(at + rows, 0, last))]->name;
}

bool TopView::press_filter(TopKey key, char character) {
  if (key == TopKey::character && filter_.size() < 64) filter_ += character;
  if (key == TopKey::backspace && !filter_.empty()) filter_.pop_back();
  if (key == TopKey::escape) filter_.clear();
  if (key == TopKey::escape || key == TopKey::enter) typing_ = false;
  arrange();
  return true;
}

bool TopView::press(TopKey key, char character) {
  if (typing_) return press_filter(key, character);
  if (page_ == Page::help) {  // any key leads back
    page_ = before_help_;
    return key != TopKey::character || character != 'q';
  }
  const auto page = static_cast<std::int64_t>(page_rows_);
  switch (key) {
    case TopKey::up: go(-1); return true;
    case TopKey::down: go(1); return true;
    case TopKey::page_up: go(-page); return true;
    case TopKey::page_down: go(page); return true;
    case TopKey::home: go(-1'000'000); return true;
    case TopKey::end: go(1'000'000); return true;
    case TopKey::enter:
      if (page_ == Page::overview && !selected_.empty()) {
        page_ = Page::topic;
        first_ = 0;
      }
      return true;
    case TopKey::escape:
    case TopKey::backspace:
      if (page_ == Page::overview) filter_.clear();
      page_ = Page::overview;
      first_ = 0;
      arrange();
      return true;
    case TopKey::character: break;
  }
  switch (character) {
    case 'q': return false;
    case 'k': go(-1); break;
    case 'j': go(1); break;
    case 's':
      sort_ = static_cast<Sort>((static_cast<unsigned>(sort_) + 1) % 5);
      arrange();
      break;
    case 'r':
      reversed_ = !reversed_;
      arrange();
      break;
    case '/':
      page_ = Page::overview;
      typing_ = true;
      break;
    case 'p':
    case ' ': paused_ = !paused_; break;
    case 'h':
    case '?':
      before_help_ = page_;
      page_ = Page::help;
      break;
    default: break;
  }
  return true;
}

// ---- lines ------------------------------------------------------------------------------------------------------------------

Line TopView::title() const {
  double records = 0;
  double bytes = 0;
  for (const auto& topic : sample_.topics) {
    records += topic.records_per_second;
    bytes += topic.bytes_per_second;
  }
  return {fmt::format("arus top  {}Z{}  {} topic{}  {} rec/s  {}/s  {}", iso_time(sample_.time).substr(11, 8),
                      paused_ ? "  PAUSED" : "", sample_.topics.size(), plural(sample_.topics.size()), per_second(records),
                      bytes == 0 ? "0 B" : human_count(std::round(bytes)) + "B", sample_.bus),
          Style::title};
}

Line TopView::status() const {
  if (typing_) return {fmt::format("filter: {}_", filter_), Style::header};
  for (const auto& topic : sample_.topics) {
    for (const auto& group : topic.groups) {
      if (!group.holds_back) continue;
      return {
          fmt::format("! group {} holds back the producers of {}; {}", group.info.name, topic.name,
                      group.readers.empty() ? "it has no live reader" : fmt::format("{} reads", fmt::join(group.readers, ", "))),
          Style::alarm};
    }
  }
  for (const auto& topic : sample_.topics) {
    if (topic.error) return {fmt::format("! {}: {}", topic.name, topic.error->message()), Style::alarm};
  }
  static constexpr std::array kSorts{"name", "records/s", "bytes/s", "fill", "lag"};
  return {fmt::format("sorted by {}{}{}", kSorts[static_cast<std::size_t>(sort_)], reversed_ ? ", reversed" : "",
                      filter_.empty() ? "" : fmt::format("  filter: {}", filter_)),
          Style::faint};
}

Line TopView::keys() const {
  if (typing_) return {"Enter keep the filter  Esc clear it", Style::title};
  switch (page_) {
    case Page::overview: return {"q quit  Up/Dn select  Enter topic  s sort  r reverse  / filter  p pause  h help", Style::title};
    case Page::topic: return {"q quit  Esc back  Up/Down scroll  p pause  h help", Style::title};
    case Page::help: break;
  }
  return {"any key goes back", Style::title};
}

std::vector<Line> TopView::overview(std::size_t columns, std::size_t rows) {
  const bool wide = columns >= 110;
  std::vector<Column> titles{{"TOPIC", 0, Align::left}};
  if (wide) titles.insert(titles.end(), {{"PARTITIONS", 10, Align::right}, {"RECORDS", 9, Align::right}});
  titles.insert(titles.end(), {{"REC/S", 7, Align::right},
                               {"BYTES/S", 8, Align::right},
                               {"FILL", 4, Align::right},
                               {"KEPT", 5, Align::right},
                               {"P/C", 5, Align::right},
                               {"LAG", 7, Align::right},
                               {"HELD BY", 0, Align::left}});
  const Grid grid(std::move(titles), columns);
  std::vector<Line> table;
  std::size_t selected_row = 0;
  const auto is_selected = [this](const auto* topic) { return topic->name == selected_; };
  if (!topics_.empty() && std::none_of(topics_.begin(), topics_.end(), is_selected)) selected_ = topics_.front()->name;
  for (const auto* topic : topics_) {
    const bool chosen = topic->name == selected_;
    if (chosen) selected_row = table.size();
    if (topic->error) {
      table.push_back(
          {cut(fmt::format("{}: {}", topic->name, topic->error->message()), columns), chosen ? Style::selected : Style::alarm});
      continue;
    }
    const std::string held_by = topic->held_by();
    std::vector<std::string> cells{topic->name};
    if (wide) cells.insert(cells.end(), {std::to_string(topic->info.config.partitions), count(topic->records)});
    cells.insert(cells.end(),
                 {per_second(topic->records_per_second), bytes_per_second(topic->bytes_per_second), percent(topic->fill),
                  kept(topic->retained_ns), fmt::format("{}/{}", topic->producers, topic->info.readers),
                  topic->groups.empty() ? "-" : count(lag_of(*topic)), held_by.empty() ? "-" : held_by});
    table.push_back({grid.row(cells), chosen ? Style::selected : held_by.empty() ? Style::normal : Style::alarm});
  }
  if (table.empty()) {
    table.push_back(
        {filter_.empty() ? "no topics; create one: arus topic create NAME" : "no topic matches the filter", Style::faint});
  }

  std::vector<std::pair<const TopicSample*, const GroupSample*>> groups;
  for (const auto& topic : sample_.topics) {
    for (const auto& group : topic.groups) {
      if (shown(topic.name) || shown(group.info.name)) groups.emplace_back(&topic, &group);
    }
  }
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->holds_back, a.second->lag) > std::pair(b.second->holds_back, b.second->lag);
  });
  const Grid group_grid({{"GROUP", 0, Align::left},
                         {"TOPIC", 0, Align::left},
                         {"LAG", 8, Align::right},
                         {"TREND/S", 9, Align::right},
                         {"READ/S", 8, Align::right},
                         {"STATE", 11, Align::left}},
                        columns);
  std::vector<Line> group_table;
  for (const auto& [topic, group] : groups) {
    group_table.push_back({group_grid.row({group->info.name, topic->name, count(group->lag), trend(group->lag_per_second),
                                           per_second(group->records_per_second), state_of(*group)}),
                           group->holds_back   ? Style::alarm
                           : group->info.alive ? Style::normal
                                               : Style::faint});
  }

  const Grid service_grid({{"SERVICE", 0, Align::left},
                           {"SERVERS", 7, Align::right},
                           {"OPEN", 6, Align::right},
                           {"CALLS/S", 8, Align::right},
                           {"FAILED/S", 8, Align::right},
                           {"P50", 7, Align::right},
                           {"P99", 7, Align::right}},
                          columns);
  std::vector<Line> service_table;
  for (const auto& service : sample_.services) {
    if (!shown(service.info.name)) continue;
    service_table.push_back({service_grid.row({service.info.name, std::to_string(service.live), count(service.outstanding),
                                               per_second(service.calls_per_second), per_second(service.failed_per_second),
                                               latency(service.p50), latency(service.p99)}),
                             service.live == 0 ? Style::faint : Style::normal});
  }

  // The tables share the rows: the topics get what the others leave, and at least half of it.
  const std::size_t heads = 1 + (group_table.empty() ? 0u : 2u) + (service_table.empty() ? 0u : 2u);
  const std::size_t room = rows > heads ? rows - heads : 1;
  const std::size_t for_others = std::max(room - std::min(room, table.size()), room / 2);
  const std::size_t for_services =
      std::min(service_table.size(), std::max(for_others / 2, for_others - std::min(for_others, group_table.size())));
  const std::size_t for_groups = std::min(group_table.size(), for_others - for_services);
  page_rows_ = std::max<std::size_t>(room - for_groups - for_services, 1);
  first_ = std::min(first_, selected_row);
  if (selected_row >= first_ + page_rows_) first_ = selected_row + 1 - page_rows_;
  if (table.size() <= page_rows_) first_ = 0;

  std::vector<Line> lines{grid.header()};
  for (std::size_t i = first_; i < table.size() && i < first_ + page_rows_; ++i) lines.push_back(table[i]);
  const auto add = [&lines](const Grid& titles_of, std::vector<Line>& from, std::size_t most, std::string_view what) {
    if (from.empty()) return;
    lines.push_back({});
    lines.push_back(titles_of.header());
    if (most < from.size() && most > 0)
      from[most - 1] = {fmt::format("and {} more {}", from.size() - most + 1, what), Style::faint};
    lines.insert(lines.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(most));
  };
  add(group_grid, group_table, for_groups, "groups");
  add(service_grid, service_table, for_services, "services");
  return lines;
}

std::vector<Line> TopView::topic_page(std::size_t columns, std::size_t rows) {
  const auto found = std::find_if(sample_.topics.begin(), sample_.topics.end(),
                                  [&](const auto& candidate) { return candidate.name == selected_; });
  if (found == sample_.topics.end()) return {{fmt::format("topic {} is not there any more", selected_), Style::alarm}};
  const TopicSample& topic = *found;
  if (topic.error) return {{std::string(topic.error->message()), Style::alarm}};

  const TopicConfig& config = topic.info.config;
  std::vector<Line> lines;
  lines.push_back({fmt::format("topic {}", topic.name), Style::header});
  lines.push_back({fmt::format("{} partition{} of {}, records of at most {}, schema {}", config.partitions,
                               plural(config.partitions), human_bytes(config.partition_bytes),
                               human_bytes(topic.info.max_record_bytes), config.schema.empty() ? "any" : config.schema)});
  lines.push_back(
      {fmt::format("{}; {}; {} live reader{}", config.producers == Producers::many ? "many producers" : "one producer at a time",
                   config.back_pressure ? "lossless groups hold producers back" : "producers never wait", topic.info.readers,
                   plural(topic.info.readers))});
  lines.push_back({});
  const Grid grid({{"PARTITION", 9, Align::right},
                   {"START", 10, Align::right},
                   {"END", 10, Align::right},
                   {"REC/S", 8, Align::right},
                   {"BYTES/S", 8, Align::right},
                   {"FILL", 4, Align::right},
                   {"KEPT", 5, Align::right},
                   {"PRODUCERS", 9, Align::right}},
                  columns);
  lines.push_back(grid.header());
  for (const auto& partition : topic.partitions) {
    const PartitionInfo& info = partition.info;
    lines.push_back(
        {grid.row({std::to_string(info.partition), std::to_string(info.start_offset), std::to_string(info.end_offset),
                   per_second(partition.records_per_second), bytes_per_second(partition.bytes_per_second), percent(partition.fill),
                   info.oldest == 0 ? "-" : short_age(std::max<std::int64_t>(sample_.time - info.oldest, 0)),
                   std::to_string(info.producers)})});
  }
  if (!topic.groups.empty()) {
    lines.push_back({});
    const Grid group_grid({{"GROUP", 0, Align::left},
                           {"PARTITION", 9, Align::right},
                           {"COMMITTED", 10, Align::right},
                           {"LAG", 7, Align::right},
                           {"BYTES", 8, Align::right},
                           {"LOST", 6, Align::right},
                           {"READER", 0, Align::left}},
                          columns);
    lines.push_back(group_grid.header());
    for (const auto& group : topic.groups) {
      for (const auto& partition : group.info.partitions) {
        lines.push_back({group_grid.row({group.info.name, std::to_string(partition.partition), std::to_string(partition.committed),
                                         count(partition.lag), human_count(static_cast<double>(partition.lag_bytes)) + "B",
                                         count(partition.lost), partition.process.empty() ? "-" : partition.process}),
                         partition.holds_back ? Style::alarm : Style::normal});
      }
    }
  }
  page_rows_ = std::max<std::size_t>(rows, 1);
  first_ = std::min(first_, lines.size() > rows ? lines.size() - rows : 0);
  lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(first_));
  return lines;
}

std::vector<Line> TopView::help_page() const {
  std::vector<Line> lines{{"Keys", Style::header}};
  for (const char* text :
       {"  Up Down PgUp PgDn Home End   select a topic, or scroll      (also k and j)",
        "  Enter                        show the selected topic", "  Esc or Backspace             back; clears the filter",
        "  s   r                        sort by another column; reverse the order",
        "  /                            show only names that contain a text", "  p or Space                   pause",
        "  q                            quit", ""}) {
    lines.push_back({text});
  }
  lines.push_back({"Columns", Style::header});
  for (const char* text :
       {"  FILL     of the fullest partition's ring; full is normal, old records make room",
        "  KEPT     age of the oldest record that is still there", "  P/C      live producers / live consumers",
        "  LAG      records behind, of the group that is furthest behind", "  HELD BY  groups for which producers wait",
        "  TREND/S  how the lag changes; + falls behind, - catches up",
        "  OPEN     calls of a service that are not answered yet; P50 and P99 of its slowest method"}) {
    lines.push_back({text});
  }
  return lines;
}

std::vector<Line> TopView::lines(int columns, int rows) {
  const auto width = static_cast<std::size_t>(std::max(columns, 20));
  const auto height = static_cast<std::size_t>(std::max(rows, 4));
  std::vector<Line> all{title(), status()};
  const std::size_t room = height - 3;
  std::vector<Line> body = page_ == Page::help    ? help_page()
                           : page_ == Page::topic ? topic_page(width, room)
                                                  : overview(width, room);
  body.resize(room);
  all.insert(all.end(), std::make_move_iterator(body.begin()), std::make_move_iterator(body.end()));
  all.push_back(keys());
  for (auto& line : all) line.text = cut(line.text, static_cast<std::size_t>(std::max(columns, 1)));
  all.resize(static_cast<std::size_t>(std::max(rows, 1)));
  return all;
}

}  // namespace arus::tool
