#include "text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <iterator>

namespace arus::tool {
namespace {

// Three significant digits, without zeros that say nothing.
std::string three_digits(double value) {
  if (value >= 100) return fmt::format("{:.0f}", value);
  std::string text = fmt::format("{:.{}f}", value, value >= 10 ? 1 : 2);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

bool is_continuation(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{} {}", three_digits(value), kUnits[unit]);
}

std::string human_count(double count) {
  static constexpr std::array kUnits{"", " k", " M", " G", " T"};
  std::size_t unit = 0;
  for (; std::abs(count) >= 1000 && unit + 1 < kUnits.size(); ++unit) count /= 1000;
  return three_digits(count) + kUnits[unit];
}

std::string human_duration(std::chrono::nanoseconds duration) {
  const auto ns = static_cast<double>(duration.count());
  if (ns < 1e3) return fmt::format("{:.0f} ns", ns);
  if (ns < 1e6) return fmt::format("{} us", three_digits(ns / 1e3));
  if (ns < 1e9) return fmt::format("{} ms", three_digits(ns / 1e6));
  if (ns < 120e9) return fmt::format("{} s", three_digits(ns / 1e9));
  const auto seconds = duration.count() / 1'000'000'000;
  if (seconds < 7200) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  if (seconds < 172'800) return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{} d {} h", seconds / 86'400, seconds / 3600 % 24);
}

std::string iso_time(Timestamp timestamp) {
  constexpr Timestamp kSecond = 1'000'000'000;
  const Timestamp fraction = (timestamp % kSecond + kSecond) % kSecond;
  const std::time_t seconds = (timestamp - fraction) / kSecond;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                     utc.tm_min, utc.tm_sec, fraction);
}

Timestamp wall_clock_now() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return Timestamp{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::size_t width_of(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::string fit(std::string_view text, std::size_t columns) {
  std::string result;
  std::size_t width = 0;
  const bool too_wide = width_of(text) > columns;
  const std::size_t room = too_wide && columns > 0 ? columns - 1 : columns;
  for (const char c : text) {
    if (!is_continuation(c) && ++width > room) break;
    result += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '.' : c;
  }
  if (too_wide && columns > 0) result += "…";
  return result;
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const auto& column : columns_) widths_.push_back(width_of(column.title));
}

void Table::add(std::vector<std::string> row) {
  row.resize(columns_.size());
  for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], width_of(row[i]));
  rows_.push_back(std::move(row));
}

std::vector<std::string> Table::lines() const {
  std::vector<std::string> lines;
  const auto add = [&](auto cell_of) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string& cell = cell_of(i);
      const std::string padding(widths_[i] - width_of(cell), ' ');
      line += columns_[i].align == Align::left ? cell + padding : padding + cell;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(line + "\n");
  };
  add([&](std::size_t i) -> const std::string& { return columns_[i].title; });
  for (const auto& row : rows_) add([&](std::size_t i) -> const std::string& { return row[i]; });
  return lines;
}

std::string Table::text(std::string_view indent) const {
  std::string text;
  for (const auto& line : lines()) text.append(indent).append(line);
  return text;
}

bool is_utf8(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned first = byte(i);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() - i < size) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if (!is_continuation(text[i + k])) return false;
    }
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    const unsigned second = byte(i + 1);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += size;
  }
  return true;
}

void append_json_string(fmt::memory_buffer& out, std::string_view text) {
  out.push_back('"');
  auto clean_from = text.begin();
  for (auto c = text.begin(); c != text.end(); ++c) {
    if (static_cast<unsigned char>(*c) >= ' ' && *c != '"' && *c != '\\') continue;
    out.append(clean_from, c);
    clean_from = std::next(c);
    switch (*c) {
      case '"': out.append(std::string_view("\\\"")); break;
      case '\\': out.append(std::string_view("\\\\")); break;
      case '\n': out.append(std::string_view("\\n")); break;
      case '\r': out.append(std::string_view("\\r")); break;
      case '\t': out.append(std::string_view("\\t")); break;
      default: fmt::format_to(fmt::appender(out), "\\u{:04x}", static_cast<unsigned>(*c));
    }
  }
  out.append(clean_from, text.end());
  out.push_back('"');
}

void append_base64(fmt::memory_buffer& out, std::string_view data) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < data.size(); i += 3) {
    const std::size_t size = std::min<std::size_t>(3, data.size() - i);
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < size ? static_cast<unsigned char>(data[i + k]) : 0u);
    for (unsigned k = 0; k < 4; ++k) out.push_back(k <= size ? kDigits[bits >> (18 - 6 * k) & 63] : '=');
  }
}

}  // namespace arus::tool
