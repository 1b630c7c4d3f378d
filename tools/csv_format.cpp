#include "csv_format.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "errors.h"
#include "text.h"

namespace arus::tool {
namespace {

constexpr std::array<std::string_view, 8> kColumns{"topic", "partition", "offset", "timestamp", "time", "key", "value", "headers"};

void append_text(fmt::memory_buffer& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }

void append_field(fmt::memory_buffer& out, std::string_view text) {
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos) return append_text(out, text);
  out.push_back('"');
  for (const char c : text) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
}

void append_bytes(fmt::memory_buffer& out, Bytes data) {
  if (data.data() != nullptr) append_field(out, text(data));
}

void append_member(fmt::memory_buffer& out, const nlohmann::json& value, std::string_view name) {
  const auto member = value.is_object() ? value.find(name) : value.end();
  if (member == value.end() || member->is_null()) return;
  append_field(out, member->is_string() ? member->get_ref<const std::string&>()
                                        : member->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string headers_of(const Record& record) {
  std::string text_of_all;
  for (const Header header : record.headers()) {
    if (!text_of_all.empty()) text_of_all += ',';
    text_of_all.append(header.name).append("=").append(text(header.value));
  }
  return text_of_all;
}

}  // namespace

CsvFormat::CsvFormat(const std::vector<std::string>& columns) : columns_(columns) {
  if (columns_.empty()) columns_ = {"topic", "partition", "offset", "timestamp", "key", "value"};
  for (const auto& column : columns_) {
    const bool member = column.size() > 1 && column[0] == '.';
    wants_members_ = wants_members_ || member;
    if (member || std::find(kColumns.begin(), kColumns.end(), column) != kColumns.end()) continue;
    throw usage_error(
        fmt::format("--columns: '{}' is not a column; there are topic, partition, offset, timestamp, time, key, value, headers, "
                    "and .NAME for a member",
                    column));
  }
}

void CsvFormat::append_header(fmt::memory_buffer& out) const {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (i > 0) out.push_back(',');
    append_field(out, std::string_view(columns_[i]).substr(columns_[i][0] == '.' ? 1 : 0));
  }
  out.push_back('\n');
}

void CsvFormat::append(fmt::memory_buffer& out, const Record& record) const {
  const auto value = wants_members_ && record.value().data() != nullptr
                         ? nlohmann::json::parse(text(record.value()), nullptr, false)
                         : nlohmann::json();
  for (const auto& column : columns_) {
    if (&column != &columns_.front()) out.push_back(',');
    if (column[0] == '.') {
      append_member(out, value, std::string_view(column).substr(1));
    } else if (column == "topic") {
      append_field(out, record.topic());
    } else if (column == "partition") {
      fmt::format_to(fmt::appender(out), "{}", record.partition());
    } else if (column == "offset") {
      fmt::format_to(fmt::appender(out), "{}", record.offset());
    } else if (column == "timestamp") {
      fmt::format_to(fmt::appender(out), "{}", record.timestamp());
    } else if (column == "time") {
      append_text(out, iso_time(record.timestamp()));
    } else if (column == "key") {
      append_bytes(out, record.key());
    } else if (column == "value") {
      append_bytes(out, record.value());
    } else if (const std::string headers = headers_of(record); !headers.empty()) {
      append_field(out, headers);
    }
  }
  out.push_back('\n');
}

}  // namespace arus::tool
