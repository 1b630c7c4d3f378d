// CSV as in RFC 4180, piece by piece: quoted fields may hold separators, quotes ("") and line ends; lines end with LF or CR LF.
//
// A malformed row is reported with line, column and what was expected, and the rows after it go on. If it had run over several lines
// (most likely a quote that nobody closed) it is the first line that counts as malformed, and reading resumes with the second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace arus::connect {

struct CsvField {
  std::string_view text;
  std::uint64_t column;  // its first byte in its line, from 1
  bool quoted;           // so that "" can be told from nothing
};

class CsvReader {
 public:
  enum class Step : std::uint8_t {
    row,        // fields() and line() have it
    malformed,  // error() says where and why
    more,       // all input is used up
  };

  // `longest`: bytes of a row, quotes and separators included.
  explicit CsvReader(char separator = ',', std::size_t longest = 1 << 20) : separator_(separator), longest_(longest) {}

  // Takes from the front of `input` as much as makes one step. `last`: no input follows this one. Blank lines are passed over.
  Step next(std::string_view& input, bool last);

  // Of the latest row, valid until next().
  [[nodiscard]] const std::vector<CsvField>& fields() const noexcept { return fields_; }
  [[nodiscard]] std::uint64_t line() const noexcept { return row_line_; }  // where the row (or the error) began, from 1
  [[nodiscard]] const std::string& error() const noexcept { return error_; }
  // Bytes of a row that was begun.
  [[nodiscard]] std::size_t pending() const noexcept { return state_ == State::row_start ? 0 : raw_.size(); }

 private:
  enum class State : std::uint8_t { row_start, field_start, plain, quoted, quote_in_quoted, carriage_return, skipping };
  struct Part {
    std::size_t begin;
    std::size_t end;
    std::uint64_t column;
    bool quoted;
  };

  Step take(char c);
  Step end_of_input();
  Step finish_row();
  Step fail(std::string what);
  void close_field();

  char separator_;
  std::size_t longest_;
  State state_ = State::row_start;
  std::string raw_;   // the row as it came
  std::string text_;  // without quotes
  std::vector<Part> parts_;
  std::vector<CsvField> fields_;
  std::string again_;  // input that is read once more, before what comes
  std::size_t again_at_ = 0;
  std::string error_;
  std::uint64_t line_ = 1;  // of the next byte
  std::uint64_t column_ = 1;
  std::uint64_t row_line_ = 1;
  std::uint64_t first_line_bytes_ = 0;  // of raw_, with its line end; 0: the row is in its first line
  std::uint64_t quote_column_ = 0;      // of the quoted field, or of the one that ran over the end of the first line
  bool anything_ = false;               // was read: a byte order mark can only come first
};

}  // namespace arus::connect
