// SIGINT, SIGTERM and SIGHUP ask a command to end: it finishes what it holds, reports, and goes. The second one ends it at once.
//
// A thread of its own waits for the signals, so that what it calls need not be async-signal-safe and no system call of the work
// is interrupted. Signals that were ignored when the command started (nohup, background jobs of a script) stay ignored.
#pragma once

#include <chrono>
#include <functional>

namespace arus::tool {

class Stop {
 public:
  // To be called first in main(), while the process has one thread.
  static void install();

  static bool requested() noexcept;
  // The signal that asked for it; 0 if none did.
  static int signal() noexcept;
  // Readable from then on, for poll(2).
  static int descriptor() noexcept;
  // Sleeps until then, or until a stop is requested. Returns requested().
  static bool sleep_until(std::chrono::steady_clock::time_point when) noexcept;

  // While it lives, `wake` is called (by the other thread) when a stop is requested.
  class Hook {
   public:
    explicit Hook(std::function<void()> wake);
    ~Hook();
    Hook(const Hook&) = delete;
    Hook& operator=(const Hook&) = delete;
  };
};

}  // namespace arus::tool
