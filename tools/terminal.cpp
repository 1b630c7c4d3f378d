#include "terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "errors.h"
#include "text.h"

namespace arus::tool {
namespace {

bool progress_shown = false;  // the cursor stands behind a progress line

void write_to_stderr(std::string_view text) {
  while (!text.empty()) {
    const auto written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody to tell
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

void warn(std::string_view message) {
  write_to_stderr(fmt::format("{}arus: {}\n", std::exchange(progress_shown, false) ? "\r\x1b[K" : "", message));
}

bool output_is_closed() noexcept {
  pollfd output{STDOUT_FILENO, 0, 0};
  return ::poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

bool is_terminal(int descriptor) noexcept { return isatty(descriptor) == 1; }

Screen screen_of(int descriptor) noexcept {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

void Output::flush() {
  std::string_view rest(buffer_.data(), buffer_.size());
  while (!rest.empty()) {
    const auto written = write(STDOUT_FILENO, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // somebody made our stdout non-blocking
      pollfd output{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&output, 1, -1);
    } else if (errno != EINTR) {
      const int error = errno;
      buffer_.clear();
      if (error == EPIPE) throw OutputClosed{};
      throw Failure(error == ENOSPC ? ExitCode::no_space : ExitCode::failed, "system",
                    fmt::format("cannot write the output: {}", std::strerror(error)));
    }
  }
  buffer_.clear();
}

void write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) throw Failure(ExitCode::failed, "system", fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

Progress::Progress(bool wanted)
    : wanted_(wanted && is_terminal(STDERR_FILENO)), next_(std::chrono::steady_clock::now() + std::chrono::seconds(2)) {}

Progress::~Progress() {
  if (wanted_ && std::exchange(progress_shown, false)) write_to_stderr("\r\x1b[K");
}

bool Progress::due() const noexcept { return wanted_ && std::chrono::steady_clock::now() >= next_; }

void Progress::show(std::string_view line) {
  next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(250);
  const auto columns = static_cast<std::size_t>(screen_of(STDERR_FILENO).columns);
  write_to_stderr(fmt::format("\r{}\x1b[K", fit(line, std::max<std::size_t>(columns, 2) - 1)));
  progress_shown = true;
}

}  // namespace arus::tool
