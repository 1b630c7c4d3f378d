#include "connect/sensor_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <utility>

namespace arus::connect {
namespace {

constexpr std::string_view kWhiteSpace(" \t\n\r\v\f\0", 7);  // some drivers end their text with a NUL
constexpr std::size_t kFirstTableBytes = 8u << 10;
constexpr std::size_t kMostTableBytes = 4u << 20;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

struct ReadCount {
  std::size_t bytes = 0;
  int error = 0;
};

ReadCount read_at(int descriptor, std::span<char> buffer, std::size_t offset) noexcept {
  for (;;) {
    const ssize_t n = ::pread(descriptor, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (n >= 0) return {.bytes = static_cast<std::size_t>(n)};
    if (errno != EINTR) return {.error = errno};
  }
}

// Takes a run of digits without its leading zeros: of two such runs the longer is the larger number.
std::string_view take_digits(std::string_view& text) noexcept {
  while (text.size() > 1 && text[0] == '0' && is_digit(text[1])) text.remove_prefix(1);
  std::size_t n = 0;
  while (n < text.size() && is_digit(text[n])) ++n;
  const std::string_view digits = text.substr(0, n);
  text.remove_prefix(n);
  return digits;
}

}  // namespace

SensorFile::SensorFile(SensorFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

SensorFile& SensorFile::operator=(SensorFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

int SensorFile::open(const std::string& path) noexcept {
  close();
  // Non-blocking so that a FIFO in a tree given by the user cannot hang us.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  return descriptor_ >= 0 ? 0 : errno;
}

void SensorFile::close() noexcept {
  if (is_open()) ::close(std::exchange(descriptor_, -1));
}

FileText SensorFile::read(std::span<char> buffer) const noexcept {
  const ReadCount count = read_at(descriptor_, buffer, 0);
  if (count.error != 0) return {.text = {}, .error = count.error};
  if (count.bytes == buffer.size()) return {.text = {}, .error = EOVERFLOW};
  return {.text = {buffer.data(), count.bytes}};
}

FileText SensorFile::read_all(std::vector<char>& buffer) const {
  if (buffer.empty()) buffer.resize(kFirstTableBytes);
  // A table comes in pieces of about a page however large the buffer is: only an empty piece is its end.
  for (std::size_t filled = 0;;) {
    const ReadCount count = read_at(descriptor_, std::span(buffer).subspan(filled), filled);
    if (count.error != 0) return {.text = {}, .error = count.error};
    if (count.bytes == 0) return {.text = {buffer.data(), filled}};
    filled += count.bytes;
    if (filled < buffer.size()) continue;
    if (filled >= kMostTableBytes) return {.text = {}, .error = EOVERFLOW};
    buffer.resize(2 * buffer.size());
  }
}

std::optional<std::string> read_text(const std::string& path) {
  SensorFile file;
  std::array<char, 4096 + 1> buffer;
  if (file.open(path) != 0) return std::nullopt;
  const FileText content = file.read(buffer);
  if (content.error != 0) return std::nullopt;
  return std::string(trim(content.text));
}

std::string_view trim(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

std::optional<double> parse_number(std::string_view text) noexcept {
  text = trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_counter(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view take_word(std::string_view& line) noexcept {
  const std::size_t first = line.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return line = {};
  line.remove_prefix(first);
  const std::string_view word = line.substr(0, line.find_first_of(kWhiteSpace));
  line.remove_prefix(word.size());
  return word;
}

std::string_view take_line(std::string_view& text) noexcept {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(line.size() < text.size() ? line.size() + 1 : line.size());
  return line;
}

bool natural_less(std::string_view a, std::string_view b) noexcept {
  while (!a.empty() && !b.empty()) {
    if (is_digit(a[0]) && is_digit(b[0])) {
      const std::string_view x = take_digits(a);
      const std::string_view y = take_digits(b);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[0] != b[0]) return a[0] < b[0];
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
  }
  return a.size() < b.size();
}

}  // namespace arus::connect
