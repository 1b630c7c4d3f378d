#include "child_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "errors.h"
#include "stop.h"
#include "terminal.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kPatience = 5s;

Failure system_failure(const char* call) {
  return {ExitCode::failed, "system", fmt::format("--exec: {}: {}", call, std::strerror(errno))};
}

std::string status_text(int status) {
  return status > 128 ? fmt::format("signal {} ({})", status - 128, strsignal(status - 128)) : fmt::format("exit code {}", status);
}

}  // namespace

ChildCommand::ChildCommand(std::string command, std::string preamble, bool restart)
    : command_(std::move(command)), preamble_(std::move(preamble)), restart_(restart) {
  start();
}

ChildCommand::~ChildCommand() {
  stop_writing();
  if (process_ >= 0) close(process_);
}

void ChildCommand::stop_writing() {
  if (pipe_ >= 0) close(std::exchange(pipe_, -1));
}

void ChildCommand::start() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw system_failure("pipe");
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  posix_spawnattr_init(&attributes);
  // We block signals and ignore SIGPIPE (see stop.h); the command is to find everything as usual.
  sigset_t none;
  sigset_t usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string shell = "sh";
  std::string flag = "-c";
  std::array<char*, 4> arguments{shell.data(), flag.data(), command_.data(), nullptr};
  const int error = posix_spawn(&pid_, "/bin/sh", &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[0]);
  pipe_ = ends[1];
  if (error != 0) {
    errno = error;
    throw system_failure("cannot start /bin/sh");
  }
  process_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (process_ < 0) throw system_failure("pidfd_open");
  capacity_ = static_cast<std::size_t>(std::max(fcntl(pipe_, F_GETPIPE_SZ), 4096));
  backoff_.succeeded();
  // The pipe is empty: it takes some kilobytes at once.
  if (!preamble_.empty() && write(pipe_, preamble_.data(), preamble_.size()) != static_cast<ssize_t>(preamble_.size()) &&
      errno != EPIPE) {
    throw system_failure("write to the command");
  }
}

void ChildCommand::add(std::string_view record) {
  kept_.append(record);
  ends_.push_back(kept_.size());
}

bool ChildCommand::wait(bool for_room) {
  const auto stop_at = Clock::now() + kPatience;
  for (;;) {
    const bool stopping = Stop::requested();
    std::array<pollfd, 3> waits{pollfd{for_room ? pipe_ : -1, POLLOUT, 0}, pollfd{process_, POLLIN, 0},
                                pollfd{stopping ? -1 : Stop::descriptor(), POLLIN, 0}};
    if (poll(waits.data(), waits.size(), 100) < 0 && errno != EINTR) throw system_failure("poll");
    if ((waits[0].revents & POLLERR) != 0 || waits[1].revents != 0) return false;
    if (waits[0].revents != 0) return true;
    if (stopping && Clock::now() >= stop_at) {
      throw Failure(ExitCode::failed, "command",
                    for_room ? fmt::format("stopped while the command '{}' does not read on: {} bytes were not taken by it",
                                           command_, waiting())
                             : fmt::format("the command '{}' does not end", command_));
    }
  }
}

void ChildCommand::deliver() {
  while (waiting() > 0) {
    if (!wait(true)) {
      ended();
      continue;
    }
    const ssize_t written = write(pipe_, kept_.data() + written_, waiting());
    if (written > 0) {
      written_ += static_cast<std::size_t>(written);
    } else if (errno == EPIPE) {
      ended();
    } else if (errno != EAGAIN && errno != EINTR) {
      throw system_failure("write to the command");
    }
  }
  if (kept_.size() > 4 * capacity_) forget_what_was_read();
}

void ChildCommand::forget_what_was_read() {
  // Unread can only be what the pipe has room for.
  forget(written_ - std::min(written_, capacity_));
}

void ChildCommand::forget(std::size_t read) {
  std::size_t cut = 0;
  while (!ends_.empty() && ends_.front() <= read) {
    cut = ends_.front();
    ends_.pop_front();
  }
  kept_.erase(0, cut);
  written_ -= cut;
  for (auto& end : ends_) end -= cut;
}

int ChildCommand::reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  close(std::exchange(process_, -1));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ChildCommand::look() {
  pollfd process{process_, POLLIN, 0};
  if (poll(&process, 1, 0) == 1) ended();
}

void ChildCommand::ended() {
  wait(false);  // its stdin may be closed before it ends
  const int status = reap();
  int unread = 0;
  if (ioctl(pipe_, FIONREAD, &unread) != 0) unread = 0;
  stop_writing();
  // The last bytes that were written are the ones that are unread. (Some of them may be the preamble's, which is not kept.)
  forget(written_ - std::min(written_, static_cast<std::size_t>(unread)));
  written_ = 0;
  if (!restart_) {
    if (status == 0) throw OutputClosed{};
    throw Failure(
        ExitCode::failed, "command",
        fmt::format("the command '{}' ended with {} and left {} record{} unread; --restart would give them to its next start",
                    command_, status_text(status), ends_.size(), ends_.size() == 1 ? "" : "s"));
  }
  const auto pause = backoff_.failed();
  warn(fmt::format("the command '{}' ended with {}; starting it again in {:.1f} s", command_, status_text(status),
                   std::chrono::duration<double>(pause).count()));
  if (Stop::sleep_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(pause))) {
    throw Failure(ExitCode::failed, "command",
                  fmt::format("stopped while the command was away: {} bytes were not taken by it", waiting()));
  }
  start();
}

void ChildCommand::finish() {
  for (;;) {
    deliver();
    // Its end of file comes when it has read everything, and needs the pipe closed; through a read end of our own we see what it left.
    const int left = open(fmt::format("/proc/self/fd/{}", pipe_).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    stop_writing();
    pipe_ = left;
    wait(false);
    int unread = 0;
    if (pipe_ < 0 || ioctl(pipe_, FIONREAD, &unread) != 0) unread = 0;
    if (unread > 0) {
      ended();  // starts it again, or throws
      continue;
    }
    const int status = reap();
    stop_writing();
    if (status != 0) {
      throw Failure(ExitCode::failed, "command", fmt::format("the command '{}' ended with {}", command_, status_text(status)));
    }
    return;
  }
}

}  // namespace arus::tool
