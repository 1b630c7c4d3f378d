#include "crash/process.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <stdexcept>

namespace arus::crash {

using std::chrono::steady_clock;

void nap(std::chrono::microseconds time) {
  const timespec request{static_cast<time_t>(time.count() / 1'000'000), static_cast<long>(time.count() % 1'000'000 * 1000)};
  nanosleep(&request, nullptr);
}

void wait_for(const char* what, const std::function<bool()>& condition) {
  const auto deadline = steady_clock::now() + Process::kPatience;
  while (!condition()) {
    if (steady_clock::now() > deadline) throw std::runtime_error(fmt::format("waited in vain for: {}", what));
    nap(std::chrono::microseconds(200));
  }
}

std::string to_string(const Ending& ending) {
  switch (ending.how) {
    case Ending::How::exited: return fmt::format("exited with {}", ending.code);
    case Ending::How::killed: return fmt::format("killed by signal {}", ending.code);
    case Ending::How::stopped: return "stopped";
    case Ending::How::hung: return "hung";
  }
  return {};
}

Process Process::run(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return Process(pid);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(9);  // it died before the line above
  int code = 0;
  try {
    body();
  } catch (const std::exception& error) {
    fmt::print(stderr, "process {}: {}\n", getpid(), error.what());
    code = 9;
  }
  std::fflush(nullptr);
  _exit(code);  // no destructors of the parent's objects, no second run of gtest
}

Process::~Process() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

bool Process::look(Ending& ending, bool stops) {
  int status = 0;
  const pid_t found = waitpid(pid_, &status, WNOHANG | (stops ? WUNTRACED : 0));
  if (found == 0 || (found < 0 && errno == EINTR)) return false;
  if (found < 0) throw std::runtime_error("waitpid failed");
  if (WIFSTOPPED(status)) {
    ending = {Ending::How::stopped, WSTOPSIG(status)};
    return true;
  }
  pid_ = 0;
  ending = WIFEXITED(status) ? Ending{Ending::How::exited, WEXITSTATUS(status)} : Ending{Ending::How::killed, WTERMSIG(status)};
  return true;
}

Ending Process::wait(std::chrono::milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  Ending ending{};
  while (!look(ending, true)) {
    if (steady_clock::now() > deadline) return {Ending::How::hung, 0};
    nap(std::chrono::microseconds(100));
  }
  return ending;
}

bool Process::ended(Ending& ending) { return look(ending, false); }

}  // namespace arus::crash
