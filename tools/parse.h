// Arguments as people write them. Every function throws a usage error that names the option, what was given and what is expected.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arus/config.h"

namespace arus::tool {

// "65536", "64K", "8M", "8MiB", "1G": powers of 1024.
std::uint64_t parse_size(std::string_view text, std::string_view option);
// "250ms", "3", "3s", "10m", "2h", "1d": seconds without a unit.
std::chrono::nanoseconds parse_duration(std::string_view text, std::string_view option);
// Octal permission bits: "640", "0640", "2770".
std::uint32_t parse_mode(std::string_view text, std::string_view option);
// A positive number, such as records per second.
double parse_rate(std::string_view text, std::string_view option);

// Milliseconds since 1970, an ISO 8601 time (without a zone: local time), or "-10m": so long ago.
Timestamp parse_time(std::string_view text, std::string_view option);
// kcat's offsets: beginning, end, N, -N, @time (also s@time).
Start parse_start(std::string_view text);

Wait parse_wait(std::string_view text);

// A delimiter or a text between format fields: \n \t \r \\ \0 \123 \x1F stand for one byte.
std::string unescape(std::string_view text, std::string_view option);

// "name=value"; without '=' the value is null.
struct HeaderArgument {
  std::string name;
  std::optional<std::string> value;
};
HeaderArgument parse_header(std::string_view text);

}  // namespace arus::tool
