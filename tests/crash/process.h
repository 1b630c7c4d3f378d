// Child processes of the crash tests: forked, watched, killed and stopped; none outlives the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>

namespace arus::crash {

// How a process ended, or that it stopped. `hung`: neither, in the time it had.
struct Ending {
  enum class How { exited, killed, stopped, hung };
  How how;
  int code;  // of exit, or the signal
  [[nodiscard]] bool good() const { return how == How::exited && code == 0; }
  [[nodiscard]] bool by(int signal) const { return how == How::killed && code == signal; }
};
std::string to_string(const Ending& ending);

class Process {
 public:
  Process() = default;
  // Runs `body` in a child and exits with 0, or with 9 after printing what it threw. The kernel kills the child when the parent
  // dies, also while it is stopped.
  static Process run(const std::function<void()>& body);
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Process();  // kills what still runs

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running() const { return pid_ > 0; }
  void signal(int number) const;
  // Until it ends or stops. What ended is reaped.
  Ending wait(std::chrono::milliseconds patience = kPatience);
  // Whether it has ended; without waiting.
  bool ended(Ending& ending);

  // A watchdog against hanging, not a measure of speed: many times what the slowest machine needs.
  static constexpr std::chrono::milliseconds kPatience{30'000};

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  bool look(Ending& ending, bool stops);
  pid_t pid_ = 0;
};

void nap(std::chrono::microseconds time);
// Until `condition`, which must come: after kPatience an exception.
void wait_for(const char* what, const std::function<bool()>& condition);

}  // namespace arus::crash
