// Times as people, files and devices write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "arus/record.h"

namespace arus::connect {

// ISO 8601: 2024-05-01, optionally with a time behind T or a blank, a fraction of any length, and a zone (Z, +02, +0200, +02:00;
// without one it is local time).
std::optional<Timestamp> parse_iso_time(std::string_view text);

enum class TimeUnit : std::uint8_t {
  guess,  // by the size of the number: below 10^11 seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds
  seconds,
  milliseconds,
  microseconds,
  nanoseconds,
};

// A number of units since 1970, with or without a fraction, exact to the nanosecond.
std::optional<Timestamp> parse_epoch(std::string_view text, TimeUnit unit);

// Either of them; white space around it does not count.
std::optional<Timestamp> parse_any_time(std::string_view text, TimeUnit unit);

}  // namespace arus::connect
