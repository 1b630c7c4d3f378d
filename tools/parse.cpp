#include "parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "connect/time_text.h"
#include "errors.h"
#include "text.h"

namespace arus::tool {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool all_digits(std::string_view text) noexcept { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); }

template <class Number>
std::optional<Number> to_number(std::string_view text, int base = 10) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<double> to_double(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

// The number at the start of a text, and what follows it.
struct Measure {
  std::string_view number;
  std::string unit;
};
Measure split_unit(std::string_view text) {
  const auto digits = static_cast<std::size_t>(
      std::find_if_not(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; }) - text.begin());
  std::string unit(text.substr(digits));
  unit.erase(0, std::min(unit.find_first_not_of(' '), unit.size()));
  return {text.substr(0, digits), std::move(unit)};
}

}  // namespace

std::uint64_t parse_size(std::string_view text, std::string_view option) {
  const auto fail = [&] {
    return usage_error(fmt::format("{}: '{}' is not a size; give bytes, or a number with K, M or G, such as 8M", option, text));
  };
  auto [number, unit] = split_unit(text);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  static constexpr std::string_view kPrefixes = "kmgt";
  double factor = 1;
  if (!unit.empty() && unit != "b") {
    const auto prefix = kPrefixes.find(unit[0]);
    if (prefix == std::string_view::npos || (unit.size() > 1 && unit.substr(1) != "ib" && unit.substr(1) != "b")) throw fail();
    factor = std::ldexp(1.0, 10 * (static_cast<int>(prefix) + 1));
  }
  if (factor == 1) {
    const auto bytes = to_number<std::uint64_t>(number);
    if (!bytes) throw fail();
    return *bytes;
  }
  const auto value = to_double(number);
  if (!value || *value * factor >= std::ldexp(1.0, 63)) throw fail();
  return static_cast<std::uint64_t>(*value * factor);
}

std::chrono::nanoseconds parse_duration(std::string_view text, std::string_view option) {
  const auto [number, unit] = split_unit(text);
  const auto value = to_double(number);
  double seconds = -1;
  if (unit.empty() || unit == "s") seconds = 1;
  if (unit == "us") seconds = 1e-6;
  if (unit == "ms") seconds = 1e-3;
  if (unit == "m" || unit == "min") seconds = 60;
  if (unit == "h") seconds = 3600;
  if (unit == "d") seconds = 86'400;
  if (!value || seconds < 0 || *value * seconds > 9e9) {
    throw usage_error(fmt::format("{}: '{}' is not a duration; give seconds, or a number with ms, s, m, h or d", option, text));
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(*value * seconds * 1e9));
}

std::uint32_t parse_mode(std::string_view text, std::string_view option) {
  const auto mode = to_number<std::uint32_t>(text, 8);
  if (!mode || *mode > 07777) {
    throw usage_error(fmt::format("{}: '{}' is not a mode; give permission bits in octal, such as 0640", option, text));
  }
  return *mode;
}

double parse_rate(std::string_view text, std::string_view option) {
  const auto rate = to_double(text);
  if (!rate || *rate < 1e-6 || *rate > 1e9) {
    throw usage_error(fmt::format("{}: '{}' is not a rate; give a positive number per second, such as 0.5 or 1000", option, text));
  }
  return *rate;
}

Timestamp parse_time(std::string_view text, std::string_view option) {
  if (text.starts_with('-')) return wall_clock_now() - parse_duration(text.substr(1), option).count();
  if (all_digits(text)) {
    const auto milliseconds = to_number<std::int64_t>(text);
    if (milliseconds && *milliseconds <= std::numeric_limits<std::int64_t>::max() / 1'000'000) return *milliseconds * 1'000'000;
  } else if (const auto time = connect::parse_iso_time(text)) {
    return *time;
  }
  throw usage_error(
      fmt::format("{}: '{}' is not a time; give an ISO 8601 time such as 2024-05-01T12:00:00Z (without a zone: local "
                  "time), milliseconds since 1970, or -10m for ten minutes ago",
                  option, text));
}

Start parse_start(std::string_view text) {
  if (text == "beginning" || text == "earliest" || text == "start") return Start::earliest;
  if (text == "end" || text == "latest") return Start::latest;
  if (text.starts_with("s@")) return Start::time(parse_time(text.substr(2), "-o s@"));
  if (text.starts_with('@')) return Start::time(parse_time(text.substr(1), "-o @"));
  const bool from_end = text.starts_with('-');
  const auto number = to_number<std::uint64_t>(text.substr(from_end ? 1 : 0));
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!number || *number > kMost) {
    throw usage_error(fmt::format("-o: '{}' is not an offset; give beginning, end, N, -N (the last N), or @TIME", text));
  }
  return from_end ? Start::last(*number) : Start::offset(*number);
}

Wait parse_wait(std::string_view text) {
  if (text == "spin") return Wait::spinning();
  if (text == "spin-then-sleep") return Wait{};
  if (text == "sleep") return Wait::sleeping();
  throw usage_error(fmt::format("--wait: '{}' is not a way to wait; give spin, spin-then-sleep or sleep", text));
}

std::string unescape(std::string_view text, std::string_view option) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'n' || c == 't' || c == 'r') {
      result += c == 'n' ? '\n' : c == 't' ? '\t' : '\r';
    } else if (c == 'x' || is_digit(c)) {
      const int base = c == 'x' ? 16 : 8;
      const std::size_t first = c == 'x' ? i + 1 : i;
      unsigned byte = 0;
      const char* begin = text.data() + first;
      const char* limit = begin + std::min<std::size_t>(text.size() - first, base == 16 ? 2 : 3);
      const auto [end, error] = std::from_chars(begin, limit, byte, base);
      if (error != std::errc() || byte > 255) {
        throw usage_error(fmt::format("{}: '\\{}' is not a byte; write \\xHH (two hexadecimal digits), \\0 or \\NNN (octal)",
                                      option, text.substr(i, 4)));
      }
      result += static_cast<char>(byte);
      i = first + static_cast<std::size_t>(end - begin) - 1;
    } else {
      result += c;
    }
  }
  return result;
}

HeaderArgument parse_header(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == 0 || text.empty()) {
    throw usage_error(fmt::format("-H: '{}' has no name; give name=value, or name alone for a null value", text));
  }
  if (equals == std::string_view::npos) return {std::string(text), std::nullopt};
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

}  // namespace arus::tool
