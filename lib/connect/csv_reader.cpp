// Each byte is looked at once. raw_ is kept so that a row which turns out to be malformed in a later line can be read again from its
// second one: at most `longest` bytes for each malformed line.
#include "connect/csv_reader.h"

#include <utility>

#include "platform/error.h"

namespace arus::connect {
namespace {

using platform::format;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

CsvReader::Step CsvReader::next(std::string_view& input, bool last) {
  for (;;) {
    char c = 0;
    if (again_at_ < again_.size()) {
      c = again_[again_at_++];
    } else if (!input.empty()) {
      c = input.front();
      input.remove_prefix(1);
    } else if (last) {
      const Step step = end_of_input();
      if (step == Step::more && again_at_ < again_.size()) continue;
      return step;
    } else {
      return Step::more;
    }
    if (const Step step = take(c); step != Step::more) return step;
  }
}

CsvReader::Step CsvReader::take(char c) {
  if (state_ == State::skipping) {
    ++column_;
    if (c == '\n') {
      ++line_;
      column_ = 1;
      state_ = State::row_start;
    }
    return Step::more;
  }
  if (state_ == State::row_start) {
    raw_.clear();
    text_.clear();
    parts_.clear();
    row_line_ = line_;
    first_line_bytes_ = 0;
    state_ = State::field_start;
  }
  raw_ += c;
  if (!anything_ && raw_.size() <= kByteOrderMark.size() && kByteOrderMark.starts_with(raw_)) {
    if (raw_ == kByteOrderMark) {
      anything_ = true;
      state_ = State::row_start;
    }
    return Step::more;
  }
  if (!anything_ && raw_.size() > 1 && kByteOrderMark.starts_with(raw_.substr(0, raw_.size() - 1))) {
    // The beginning of a mark that was none: it is text.
    anything_ = true;
    again_ = std::exchange(raw_, {});
    again_at_ = 0;
    state_ = State::row_start;
    return Step::more;
  }
  anything_ = true;
  if (raw_.size() > longest_) return fail(format("expected the row to end within {} bytes", longest_));
  const std::uint64_t column = column_++;

  switch (state_) {
    case State::field_start:
      if (c == '"') {
        if (first_line_bytes_ == 0) quote_column_ = column;
        parts_.push_back({text_.size(), text_.size(), column, true});
        state_ = State::quoted;
        return Step::more;
      }
      parts_.push_back({text_.size(), text_.size(), column, false});
      state_ = State::plain;
      [[fallthrough]];
    case State::plain:
    case State::quote_in_quoted:
      if (c == separator_) {
        close_field();
        state_ = State::field_start;
      } else if (c == '\n') {
        ++line_;
        return finish_row();
      } else if (c == '\r') {
        state_ = State::carriage_return;
      } else if (state_ == State::quote_in_quoted) {
        if (c != '"') {
          return fail(format("column {}: expected '{}' or the end of the line behind the closing quote", column, separator_));
        }
        text_ += '"';
        state_ = State::quoted;
      } else if (c == '"') {
        return fail(format("column {}: expected no quote in a field that does not begin with one; write \"…\"\"…\"", column));
      } else {
        text_ += c;
      }
      return Step::more;
    case State::quoted:
      if (c == '"') {
        state_ = State::quote_in_quoted;
        return Step::more;
      }
      text_ += c;
      if (c == '\n') {
        ++line_;
        column_ = 1;
        if (first_line_bytes_ == 0) first_line_bytes_ = raw_.size();
      }
      return Step::more;
    case State::carriage_return:
      if (c != '\n') return fail(format("column {}: expected a line feed behind the carriage return", column));
      ++line_;
      return finish_row();
    case State::row_start:
    case State::skipping: break;
  }
  return Step::more;
}

CsvReader::Step CsvReader::end_of_input() {
  switch (state_) {
    case State::row_start:
    case State::skipping: return Step::more;
    case State::quoted: return fail(format("column {}: expected a closing quote before the end", quote_column_));
    case State::field_start: parts_.push_back({text_.size(), text_.size(), column_, false}); break;
    case State::plain:
    case State::quote_in_quoted:
    case State::carriage_return: break;
  }
  const Step step = finish_row();
  state_ = State::row_start;
  return step;
}

void CsvReader::close_field() { parts_.back().end = text_.size(); }

CsvReader::Step CsvReader::finish_row() {
  close_field();
  column_ = 1;
  state_ = State::row_start;
  if (parts_.size() == 1 && text_.empty() && !parts_[0].quoted) return Step::more;  // a blank line
  fields_.clear();
  for (const Part& part : parts_) {
    fields_.push_back({std::string_view(text_).substr(part.begin, part.end - part.begin), part.column, part.quoted});
  }
  return Step::row;
}

CsvReader::Step CsvReader::fail(std::string what) {
  if (first_line_bytes_ != 0) {
    // What stands behind the first line has been taken for a quoted field, which it is not.
    const std::string rest = again_.substr(again_at_);
    again_ = raw_.substr(first_line_bytes_) + rest;
    again_at_ = 0;
    line_ = row_line_ + 1;
    column_ = 1;
    state_ = State::row_start;
    error_ = format("column {}: expected the quote that opens here to be closed in its line, or the row to be well-formed ({})",
                    quote_column_, what);
    return Step::malformed;
  }
  const bool ended = raw_.ends_with('\n');
  if (ended) {
    ++line_;
    column_ = 1;
  }
  state_ = ended ? State::row_start : State::skipping;
  error_ = std::move(what);
  return Step::malformed;
}

}  // namespace arus::connect
