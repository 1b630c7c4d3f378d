// Records and gaps as text: kcat's format strings, and one JSON object per line.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arus/record.h"

namespace arus::tool {

// A compiled format string.
//   %t topic   %p partition   %o offset   %k key   %K its length, -1 for null   %s value   %S its length, -1 for null
//   %R the value's length as 4 bytes, big-endian   %T timestamp in ms   %N in ns   %I as ISO 8601   %h headers   %% a percent sign
//   \n \t \r \\ \0 \NNN \xHH
class RecordFormat {
 public:
  // Throws a usage error. `null_text` stands for null keys and values.
  RecordFormat(std::string_view format, std::string null_text);

  void append(fmt::memory_buffer& out, const Record& record) const;

 private:
  struct Part {
    char field;  // 0: the text itself
    std::string text;
  };
  std::vector<Part> parts_;
  std::string null_text_;
};

// {"topic","partition","offset","timestamp","key","value","headers":[{"name","value"}]}, without a line feed. What is not UTF-8 is
// written in base64 and marked by "key_encoding":"base64", "value_encoding":"base64".
void append_json(fmt::memory_buffer& out, const Record& record);

std::string_view to_string(Gap::Kind kind) noexcept;
// {"gap":"lost"|"uncommitted","topic","partition","from","to"}: the offsets [from, to).
void append_json(fmt::memory_buffer& out, const Gap& gap);
// For people.
std::string to_text(const Gap& gap);

}  // namespace arus::tool
