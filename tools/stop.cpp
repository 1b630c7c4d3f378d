#include "stop.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <thread>
#include <utility>

namespace arus::tool {
namespace {

struct State {
  std::atomic<int> signal{0};
  int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::mutex mutex;
  std::function<void()> wake;
};

// Never destroyed: the thread may outlive main().
State& state() {
  static State& state = *new State;
  return state;
}

void wait_for_signals(sigset_t signals) {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) return;
    int none = 0;
    if (!state().signal.compare_exchange_strong(none, signal)) _exit(128 + signal);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(state().event, &one, sizeof one);
    const std::lock_guard lock(state().mutex);
    if (state().wake) state().wake();
  }
}

}  // namespace

void Stop::install() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), see Output
  state();
  std::thread(wait_for_signals, signals).detach();
}

bool Stop::requested() noexcept { return signal() != 0; }
int Stop::signal() noexcept { return state().signal.load(std::memory_order_relaxed); }
int Stop::descriptor() noexcept { return state().event; }

bool Stop::sleep_until(std::chrono::steady_clock::time_point when) noexcept {
  while (!requested()) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(when - std::chrono::steady_clock::now()).count();
    if (left <= 0) break;
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
    pollfd event{state().event, POLLIN, 0};
    ppoll(&event, 1, &timeout, nullptr);
  }
  return requested();
}

Stop::Hook::Hook(std::function<void()> wake) {
  const std::lock_guard lock(state().mutex);
  state().wake = std::move(wake);
  if (requested() && state().wake) state().wake();
}

Stop::Hook::~Hook() {
  const std::lock_guard lock(state().mutex);
  state().wake = nullptr;
}

}  // namespace arus::tool
