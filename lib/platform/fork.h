// Knowing that one runs in a forked child. The parent's endpoints must not be used there: their claims, cursors and leases
// belong to the parent. A page that is wiped on fork tells, at the price of one load: by the kernel (MADV_WIPEONFORK), which sees a raw clone() as
// well, and by a handler in the child (pthread_atfork), where the kernel does not. The descriptors of leases and locks are closed in the child, so
// that they do not outlive the parent there.
#pragma once

#include <atomic>
#include <cstdint>

namespace arus::platform {

namespace detail {
extern std::atomic<const std::atomic<std::uint64_t>*> fork_page;
}

// Of this process: a number that differs in a forked child. 0 before the first fork_generation().
// Call once before current_process() is used; cheap afterwards. Thread-safe.
std::uint64_t fork_generation();

// Whether this is still the process in which fork_generation() gave that number.
inline bool same_process(std::uint64_t generation) noexcept {
  return detail::fork_page.load(std::memory_order_relaxed)->load(std::memory_order_relaxed) == generation;
}

// Closes `descriptor` in every child that this process forks, until forgotten. See OwnDescriptor (file.h).
void close_in_child(int descriptor);
void keep_in_child(int descriptor);

// While one lives no other thread of this process forks: for the moment between opening a descriptor and close_in_child(), and between
// keep_in_child() and closing it. This thread may: in a signal's handler, or be in the middle of it, in handlers of others (pthread_atfork).
class NoFork {
 public:
  NoFork() noexcept;
  ~NoFork();
  NoFork(const NoFork&) = delete;
  NoFork& operator=(const NoFork&) = delete;

 private:
  bool first_;  // of this thread
};

}  // namespace arus::platform
