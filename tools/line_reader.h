// Lines from a descriptor, as soon as they are complete, without a copy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace arus::tool {

struct Line {
  std::string_view text;  // without its delimiter; of a line that is too long, nothing
  std::uint64_t number;   // from 1
  std::uint64_t size;     // in bytes; larger than the text when the line is too long to be kept
};

// Keeps at most one line of `longest` bytes and what was read with it: a longer one is counted and dropped as it comes.
class LineReader {
 public:
  enum class State : std::uint8_t { lines, end, stopped };

  LineReader(int descriptor, std::string delimiter, std::size_t longest);

  // Waits for input (or a stop) and reads it. The lines that next() gave before are gone. A last line without a delimiter comes
  // with the end. Throws a Failure if reading fails.
  State fill();
  // The next complete line; valid until fill().
  std::optional<Line> next();

 private:
  Line finish(std::string_view text);

  int descriptor_;
  std::string delimiter_;
  std::size_t longest_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;    // of the first line not yet handed out
  std::size_t scanned_ = 0;  // up to here there is no delimiter that begins behind begin_
  std::size_t end_ = 0;      // of what was read
  std::uint64_t number_ = 0;
  std::uint64_t dropped_ = 0;  // bytes of the current line that were not kept
  bool at_end_ = false;
};

}  // namespace arus::tool
