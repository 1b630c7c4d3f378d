#include "connect/time_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <string>

#include "connect/sensor_file.h"

namespace arus::connect {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Takes `digits` digits off the front of a text.
std::optional<int> take(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int number = 0;
  for (const char c : text.substr(0, digits)) {
    if (!is_digit(c)) return std::nullopt;
    number = number * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return number;
}
bool skip(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// The digits after the point in units of 10^-9, whatever their number.
std::optional<std::int64_t> take_fraction(std::string_view& text) {
  std::int64_t fraction = 0;
  std::int64_t unit = 100'000'000;
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), unit /= 10) fraction += unit * (text.front() - '0');
  return fraction;
}

// Seconds east of Greenwich: Z, +02, +0200, +02:00.
std::optional<std::int64_t> take_zone(std::string_view& text) {
  if (skip(text, 'Z') || skip(text, 'z')) return 0;
  const bool west = text.starts_with('-');
  if (!skip(text, '+') && !skip(text, '-')) return std::nullopt;
  const auto hours = take(text, 2);
  skip(text, ':');
  const auto minutes = text.empty() ? std::optional<int>(0) : take(text, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const std::int64_t seconds = (std::int64_t{*hours} * 60 + *minutes) * 60;
  return west ? -seconds : seconds;
}

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

std::int64_t nanoseconds_of(TimeUnit unit, std::int64_t number) noexcept {
  switch (unit) {
    case TimeUnit::seconds: return kNsPerSecond;
    case TimeUnit::milliseconds: return 1'000'000;
    case TimeUnit::microseconds: return 1'000;
    case TimeUnit::nanoseconds: return 1;
    case TimeUnit::guess: break;
  }
  const std::int64_t size = number < 0 ? -(number + 1) : number;
  if (size < 100'000'000'000) return kNsPerSecond;
  if (size < 100'000'000'000'000) return 1'000'000;
  return size < 100'000'000'000'000'000 ? 1'000 : 1;
}

}  // namespace

std::optional<Timestamp> parse_iso_time(std::string_view text) {
  const auto year = take(text, 4);
  if (!year || !skip(text, '-')) return std::nullopt;
  const auto month = take(text, 2);
  if (!month || !skip(text, '-')) return std::nullopt;
  const auto day = take(text, 2);
  if (!day) return std::nullopt;

  std::array<int, 3> clock{};  // hour, minute, second
  std::int64_t fraction = 0;
  if (skip(text, 'T') || skip(text, 't') || skip(text, ' ')) {
    for (std::size_t i = 0; i < clock.size(); ++i) {
      if (i > 0 && !skip(text, ':')) {
        if (i == 2) break;  // seconds may be left out
        return std::nullopt;
      }
      const auto number = take(text, 2);
      if (!number) return std::nullopt;
      clock[i] = *number;
    }
    if (skip(text, '.') || skip(text, ',')) {
      const auto nanoseconds = take_fraction(text);
      if (!nanoseconds) return std::nullopt;
      fraction = *nanoseconds;
    }
  }

  const std::chrono::year_month_day date(std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok() || clock[0] > 23 || clock[1] > 59 || clock[2] > 60) return std::nullopt;

  std::int64_t seconds = 0;
  if (text.empty()) {
    std::tm local{};
    local.tm_year = *year - 1900;
    local.tm_mon = *month - 1;
    local.tm_mday = *day;
    local.tm_hour = clock[0];
    local.tm_min = clock[1];
    local.tm_sec = clock[2];
    local.tm_isdst = -1;
    seconds = std::mktime(&local);
  } else {
    const auto zone = take_zone(text);
    if (!zone || !text.empty()) return std::nullopt;
    seconds = std::int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86'400 + std::int64_t{clock[0]} * 3600 +
              std::int64_t{clock[1]} * 60 + clock[2] - *zone;
  }
  if (std::abs(seconds) > 9'000'000'000) return std::nullopt;  // what 63 bits of nanoseconds hold: until 2255
  return seconds * kNsPerSecond + fraction;
}

std::optional<Timestamp> parse_epoch(std::string_view text, TimeUnit unit) {
  const std::string_view all = text;
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  std::int64_t whole = 0;
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  std::int64_t billionths = 0;
  if (skip(text, '.')) {
    const auto fraction = take_fraction(text);
    if (!fraction) return std::nullopt;
    billionths = *fraction;
  }
  const std::int64_t factor = nanoseconds_of(unit, whole);
  if (!text.empty()) {  // an exponent: as exact as a double is
    const auto number = parse_number(all);
    if (!number) return std::nullopt;
    if (std::abs(*number) > 9e18) return std::nullopt;
    const double ns = *number * static_cast<double>(nanoseconds_of(unit, static_cast<std::int64_t>(*number)));
    if (std::abs(ns) > 9e18) return std::nullopt;
    return static_cast<Timestamp>(ns);
  }
  std::int64_t ns = 0;
  if (__builtin_mul_overflow(whole, factor, &ns) || __builtin_add_overflow(ns, billionths * factor / kNsPerSecond, &ns)) {
    return std::nullopt;
  }
  return negative ? -ns : ns;
}

std::optional<Timestamp> parse_any_time(std::string_view text, TimeUnit unit) {
  text = trim(text);
  if (const auto number = parse_epoch(text, unit)) return number;
  return parse_iso_time(text);
}

}  // namespace arus::connect
