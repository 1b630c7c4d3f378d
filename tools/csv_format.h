// Records as CSV (RFC 4180, lines ended by LF): null is an empty field, text without bytes is "".
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "arus/record.h"

namespace arus::tool {

class CsvFormat {
 public:
  // Columns: topic, partition, offset, timestamp (ns), time (ISO 8601), key, value, headers (name=value, …), or .NAME for a member of the
  // JSON object that is the value. Throws a usage error.
  explicit CsvFormat(const std::vector<std::string>& columns);

  void append_header(fmt::memory_buffer& out) const;
  void append(fmt::memory_buffer& out, const Record& record) const;

 private:
  std::vector<std::string> columns_;
  bool wants_members_ = false;
};

}  // namespace arus::tool
