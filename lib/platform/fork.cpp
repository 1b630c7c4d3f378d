#include "platform/fork.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <utility>

namespace arus::platform {

namespace {
constinit std::atomic<std::uint64_t> no_generation{~0ull};  // until there is a page
}
namespace detail {
constinit std::atomic<const std::atomic<std::uint64_t>*> fork_page{&no_generation};
}

namespace {

std::atomic<std::uint64_t> generations{0};
constinit std::atomic<std::atomic<std::uint64_t>*> own_page{nullptr};  // that in_child() may use; null: there is none

// A fixed table, so that the handler in the child (where only async-signal-safe calls are allowed) neither locks nor allocates.
constexpr std::size_t kMostDescriptors = 1024;
std::array<std::atomic<int>, kMostDescriptors> to_close{};  // descriptor + 1; 0 is free

// Held across a fork as well, so that it is no other thread's in the child. `holds`: this thread has it, or is about to. (Not a recursive mutex: that
// belongs to a thread by its number, which is another one in the child.)
constinit std::mutex forks;
constinit thread_local bool holds = false;
constinit thread_local bool holds_for_fork = false;

// Whether leave() is due.
bool enter() noexcept {
  if (std::exchange(holds, true)) return false;
  forks.lock();
  return true;
}
void leave() noexcept {
  forks.unlock();
  holds = false;
}

void before_fork() { holds_for_fork = enter(); }
void after_fork() {
  if (std::exchange(holds_for_fork, false)) leave();
}
// (The page is wiped once more: QEMU's user emulation takes MADV_WIPEONFORK and does nothing, and a sandbox's kernel may not know it.)
void in_child() {
  if (auto* const page = own_page.load(std::memory_order_relaxed); page != nullptr) page->store(0, std::memory_order_relaxed);
  for (auto& entry : to_close) {
    const int descriptor = entry.exchange(0, std::memory_order_relaxed) - 1;
    if (descriptor >= 0) close(descriptor);
  }
  after_fork();
}

std::atomic<std::uint64_t>* new_page() {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  madvise(page, 4096, MADV_WIPEONFORK);
  own_page.store(::new (page) std::atomic<std::uint64_t>(0), std::memory_order_relaxed);
  return own_page.load(std::memory_order_relaxed);
}

}  // namespace

std::uint64_t fork_generation() {
  static std::atomic<std::uint64_t>* page = [] {
    pthread_atfork(before_fork, after_fork, in_child);
    return new_page();
  }();
  const NoFork naming;
  if (page == nullptr) return 0;
  std::uint64_t generation = page->load(std::memory_order_relaxed);
  if (generation == 0) {  // the first call, or the first in this child: the kernel has wiped the page
    generation = generations.fetch_add(1, std::memory_order_relaxed) + 1;
    page->store(generation, std::memory_order_relaxed);
    detail::fork_page.store(page, std::memory_order_release);
  }
  return generation;
}

void close_in_child(int descriptor) {
  for (auto& entry : to_close) {
    int free = 0;
    if (entry.compare_exchange_strong(free, descriptor + 1, std::memory_order_relaxed)) return;
  }
}

void keep_in_child(int descriptor) {
  for (auto& entry : to_close) {
    int held = descriptor + 1;
    if (entry.compare_exchange_strong(held, 0, std::memory_order_relaxed)) return;
  }
}

NoFork::NoFork() noexcept : first_(enter()) {}
NoFork::~NoFork() {
  if (first_) leave();
}

}  // namespace arus::platform
