// One line of JSON, checked, with the members that a feed wants to know about.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace arus::connect {

struct JsonMembers {
  // Text of the member: a string without quotes and escapes, a number as it stands. Absent: not there, or null.
  std::optional<std::string> key;
  std::optional<std::string> time;
  std::optional<std::string> value;
};

struct JsonLine {
  JsonMembers members;
  std::size_t column = 0;  // where an error is, in bytes from 1
  std::string error;       // empty: none
};

// An empty name asks for nothing. With any name the line must be an object, else any JSON value will do.
JsonLine read_json_line(std::string_view line, std::string_view key, std::string_view time, std::string_view value);

// The text with quotes and escapes; nothing if it is not UTF-8.
std::optional<std::string> json_string(std::string_view text);
// Whether the text is a number in JSON's grammar (no sign +, no leading zeros, no hexadecimal).
bool is_json_number(std::string_view text) noexcept;

}  // namespace arus::connect
