// What the command writes: results to stdout through a buffer of its own, everything else to stderr.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace arus::tool {

// "arus: message" on stderr.
void warn(std::string_view message);

// Nobody reads stdout any more (only known for pipes and sockets).
bool output_is_closed() noexcept;
bool is_terminal(int descriptor) noexcept;

struct Screen {
  int columns = 80;
  int rows = 24;
};
Screen screen_of(int descriptor) noexcept;

// stdout, buffered. Throws OutputClosed when the reader is gone and a Failure for any other error.
class Output {
 public:
  fmt::memory_buffer& buffer() noexcept { return buffer_; }
  void append(std::string_view text) { buffer_.append(text); }
  template <class... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(fmt::appender(buffer_), format, std::forward<Args>(args)...);
  }
  // To be called between records: keeps the buffer small without a system call for each record.
  void flush_if_large() {
    if (buffer_.size() >= kLarge) flush();
  }
  void flush();

 private:
  static constexpr std::size_t kLarge = 64 << 10;
  fmt::memory_buffer buffer_;
};

// Writes a whole result and flushes it.
template <class... Args>
void emit(fmt::format_string<Args...> format, Args&&... args) {
  Output output;
  output.print(format, std::forward<Args>(args)...);
  output.flush();
}

// Creates or replaces a file. Throws a Failure.
void write_file(const std::string& path, std::string_view text);

// One line on stderr that is rewritten in place: shown on a terminal only, from the third second on.
class Progress {
 public:
  explicit Progress(bool wanted);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Whether it is time to show something new; then call show().
  [[nodiscard]] bool due() const noexcept;
  void show(std::string_view line);

 private:
  bool wanted_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace arus::tool
