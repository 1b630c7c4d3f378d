// Text becomes records-to-be: lines, CSV with a header, or one JSON value per line (NDJSON).
//
//   lines    the value is the line; with a key delimiter, what stands before it is the key
//   csv      the value is one column, or a JSON object of all columns but those of key and time; numbers stay numbers, an empty
//            field is null
//   ndjson   the value is the line as it came, or one member of its object
//
// What is malformed is refused with its line, column and what was expected; the rest goes on.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arus/result.h"
#include "connect/csv_reader.h"
#include "connect/source.h"
#include "connect/time_text.h"

namespace arus::connect {

struct TextFormat {
  enum class Kind : std::uint8_t { lines, csv, ndjson };
  Kind kind = Kind::lines;
  std::string key_delimiter{};         // lines only
  char separator = ',';                // csv only
  std::vector<std::string> columns{};  // csv only: the names, for input without a header
  // Names of columns (csv) or of members of the object (ndjson); empty: none, and for the value all.
  std::string key_field{};
  std::string time_field{};
  std::string value_field{};
  TimeUnit time_unit = TimeUnit::guess;
  std::size_t longest = 1 << 20;  // bytes of a line or row
};

class TextDecoder {
 public:
  // Errors: `invalid_argument`, for settings that contradict each other.
  static Result<TextDecoder> make(TextFormat format);

  // Decodes what is complete by now. Refusals go to `notices`. An error (a header without a column that was asked for) ends it.
  Result<void> feed(std::string_view input, ItemBuffer& items, std::vector<Notice>& notices);
  // The same at the end of the input: a last line needs no line feed.
  Result<void> finish(ItemBuffer& items, std::vector<Notice>& notices);
  // Forgets a line that was begun, because its other half will not come. Returns how many bytes that were.
  std::size_t reset();

  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  explicit TextDecoder(TextFormat format) : format_(std::move(format)), csv_(format_.separator, format_.longest) {}

  Result<void> read_rows(std::string_view input, bool last, ItemBuffer& items, std::vector<Notice>& notices);
  Result<void> take_header(const std::vector<CsvField>& fields);
  Result<void> resolve_columns();
  void take_row(ItemBuffer& items, std::vector<Notice>& notices);
  // The row as a JSON object, in value_; false if a field is not UTF-8, which column_ then names.
  bool make_object(const std::vector<CsvField>& fields);
  void take_line(std::string_view line, ItemBuffer& items, std::vector<Notice>& notices);
  void take_json(std::string_view line, ItemBuffer& items, std::vector<Notice>& notices);
  void refuse(std::uint64_t line, std::string_view why, std::vector<Notice>& notices);

  TextFormat format_;
  CsvReader csv_;
  bool header_known_ = false;
  std::vector<std::string> names_;     // of the columns, as JSON strings with quotes
  std::optional<std::size_t> key_at_;  // columns
  std::optional<std::size_t> time_at_;
  std::optional<std::size_t> value_at_;
  std::string value_;
  std::uint64_t bad_column_ = 0;
  std::string pending_;         // a line that is not complete yet
  std::uint64_t too_long_ = 0;  // bytes of it that were dropped because it is too long
  std::uint64_t line_ = 0;      // the latest complete line
  std::uint64_t refused_ = 0;
};

}  // namespace arus::connect
