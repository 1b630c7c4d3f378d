#include "connect/json_line.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "platform/error.h"

namespace arus::connect {
namespace {

using Json = nlohmann::json;

// Sees the line's tokens go by, and keeps the members of the outermost object that were asked for.
class Reader : public nlohmann::json_sax<Json> {
 public:
  Reader(JsonLine& line, std::string_view key, std::string_view time, std::string_view value)
      : line_(line), key_(key), time_(time), value_(value) {}

  bool null() override { return outermost_is_object(); }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return scalar(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return scalar(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(text); }
  bool string(string_t& value) override { return scalar(value); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override {
    if (depth_ == 0 && wants_members()) return fail("expected a JSON object");
    return open();
  }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (depth_ == 1) name_ = name;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while … - what was wrong"
    std::string_view what = error.what();
    if (const auto at = what.find(": "); at != std::string_view::npos) what.remove_prefix(at + 2);
    line_.column = std::max<std::size_t>(position, 1);
    line_.error = what;
    return false;
  }

 private:
  [[nodiscard]] bool wants_members() const { return !key_.empty() || !time_.empty() || !value_.empty(); }
  bool fail(std::string what) {
    line_.column = 1;
    line_.error = std::move(what);
    return false;
  }
  bool outermost_is_object() {
    if (depth_ == 0 && wants_members()) return fail("expected a JSON object");
    return true;
  }
  bool open() {
    if (depth_++ == 1 && is_wanted()) return fail(platform::format("expected a string or a number as member '{}'", name_));
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }
  [[nodiscard]] bool is_wanted() const { return !name_.empty() && (name_ == key_ || name_ == time_ || name_ == value_); }
  bool scalar(std::string text) {
    if (!outermost_is_object()) return false;
    if (depth_ != 1 || !is_wanted()) return true;
    if (name_ == key_) line_.members.key = text;
    if (name_ == time_) line_.members.time = text;
    if (name_ == value_) line_.members.value = std::move(text);
    return true;
  }

  JsonLine& line_;
  std::string_view key_;
  std::string_view time_;
  std::string_view value_;
  std::string name_;  // of the latest member of the outermost object
  std::size_t depth_ = 0;
};

bool take_digits(std::string_view& text) noexcept {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(digits);
  return digits > 0;
}

}  // namespace

JsonLine read_json_line(std::string_view line, std::string_view key, std::string_view time, std::string_view value) {
  JsonLine result;
  Reader reader(result, key, time, value);
  if (!Json::sax_parse(line, &reader) && result.error.empty()) result.error = "expected JSON";
  return result;
}

std::optional<std::string> json_string(std::string_view text) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

bool is_json_number(std::string_view text) noexcept {
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.starts_with('0')) {
    text.remove_prefix(1);
  } else if (!take_digits(text)) {
    return false;
  }
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  return text.empty();
}

}  // namespace arus::connect
