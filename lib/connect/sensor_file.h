// Files of /proc and /sys as sensors need them: opened once, read again from the start, and parsed without
// trust or locale.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace arus::connect {

struct FileText {
  std::string_view text;
  int error = 0;  // errno; the text is then empty
};

// Move-only owner of one descriptor. None of its calls throws, except that read_all() may have to allocate.
class SensorFile {
 public:
  SensorFile() = default;
  ~SensorFile() { close(); }
  SensorFile(SensorFile&& other) noexcept;
  SensorFile& operator=(SensorFile&& other) noexcept;

  int open(const std::string& path) noexcept;  // 0 or errno
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }

  // An attribute of /sys: one system call. EOVERFLOW if it does not fit into the buffer.
  [[nodiscard]] FileText read(std::span<char> buffer) const noexcept;

  // A table of /proc, whatever its size up to 4 MiB (EOVERFLOW above). The buffer grows and keeps its size
  // for the next time.
  [[nodiscard]] FileText read_all(std::vector<char>& buffer) const;

 private:
  int descriptor_ = -1;
};

// The first 4 KiB of a file without surrounding white space, or nothing: for names, labels and scales.
std::optional<std::string> read_text(const std::string& path);

std::string_view trim(std::string_view text) noexcept;

// All of the text, but for white space around it, is one finite number; or nothing.
std::optional<double> parse_number(std::string_view text) noexcept;
std::optional<std::uint64_t> parse_counter(std::string_view text) noexcept;

// Takes the next word off a line; empty at its end.
std::string_view take_word(std::string_view& line) noexcept;
// Takes the next line off a text, without its newline.
std::string_view take_line(std::string_view& text) noexcept;

// Whether `a` comes before `b` when runs of digits count as numbers: hwmon2 before hwmon10.
bool natural_less(std::string_view a, std::string_view b) noexcept;

}  // namespace arus::connect
