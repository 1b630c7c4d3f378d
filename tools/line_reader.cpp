#include "line_reader.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "errors.h"
#include "stop.h"

namespace arus::tool {
namespace {

constexpr std::size_t kReadAtLeast = 64 << 10;

}  // namespace

LineReader::LineReader(int descriptor, std::string delimiter, std::size_t longest)
    : descriptor_(descriptor), delimiter_(std::move(delimiter)), longest_(longest), buffer_(4 * kReadAtLeast) {}

LineReader::State LineReader::fill() {
  if (at_end_) return State::end;
  std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.begin() + static_cast<std::ptrdiff_t>(end_),
            buffer_.begin());
  end_ -= begin_;
  scanned_ -= begin_;
  begin_ = 0;
  if (end_ > longest_ + delimiter_.size()) {
    // Too long in any case. Its tail may hold the first part of a delimiter.
    const std::size_t kept = delimiter_.size() - 1;
    dropped_ += end_ - kept;
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(end_ - kept), buffer_.begin() + static_cast<std::ptrdiff_t>(end_),
              buffer_.begin());
    end_ = kept;
    scanned_ = 0;
  }
  if (buffer_.size() - end_ < kReadAtLeast) buffer_.resize(std::max(2 * buffer_.size(), end_ + kReadAtLeast));

  for (;;) {
    std::array<pollfd, 2> waits{pollfd{descriptor_, POLLIN, 0}, pollfd{Stop::descriptor(), POLLIN, 0}};
    if (poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) break;
    if (Stop::requested()) return State::stopped;
    const ssize_t got = read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
    if (got > 0) {
      end_ += static_cast<std::size_t>(got);
      return State::lines;
    }
    if (got == 0) {
      at_end_ = true;
      return State::lines;  // perhaps a last one
    }
    if (errno != EINTR && errno != EAGAIN) break;
  }
  throw Failure(ExitCode::failed, "system", fmt::format("cannot read the input: {}", std::strerror(errno)));
}

std::optional<Line> LineReader::next() {
  const std::string_view rest(buffer_.data() + begin_, end_ - begin_);
  const auto found = rest.find(delimiter_, scanned_ - begin_);
  if (found != std::string_view::npos) {
    const Line line = finish(rest.substr(0, found));
    begin_ = scanned_ = begin_ + found + delimiter_.size();
    return line;
  }
  scanned_ = std::max(begin_, end_ - std::min(end_, delimiter_.size() - 1));
  if (!at_end_ || (rest.empty() && dropped_ == 0)) return std::nullopt;
  const Line line = finish(rest);
  begin_ = scanned_ = end_;
  return line;
}

Line LineReader::finish(std::string_view text) {
  Line line{text, ++number_, std::exchange(dropped_, 0) + text.size()};
  if (line.size > longest_) line.text = {};
  return line;
}

}  // namespace arus::tool
