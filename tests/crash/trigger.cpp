#include "crash/trigger.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "crash_points.h"
#include "platform/kill_point.h"

namespace arus::crash {

namespace {

struct Counts {
  std::array<std::atomic<std::uint64_t>, kPoints.size()> passed;
  std::array<std::atomic<std::uint64_t>, kPoints.size()> fired;
};

Counts& counts() {
  static auto* instance = [] {
    void* memory = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return static_cast<Counts*>(memory);
  }();
  return *instance;
}

// Of a victim: a process has one.
std::size_t target = 0;
std::uint64_t left = 0;
int raised = 0;

}  // namespace

std::span<const std::string_view> points() { return kPoints; }

std::size_t index_of(std::string_view point) {
  for (std::size_t i = 0; i < kPoints.size(); ++i)
    if (kPoints[i] == point) return i;
  throw std::out_of_range("no such kill point: " + std::string(point));
}

void forget_passings() {
  for (auto& passed : counts().passed) passed.store(0);
}
std::uint64_t passings(std::string_view point) { return counts().passed[index_of(point)].load(); }
std::uint64_t fired(std::string_view point) { return counts().fired[index_of(point)].load(); }

void count_passings() {
  platform::kill_hook = [](const char* point) { counts().passed[index_of(point)].fetch_add(1); };
}

void fire_at(std::string_view point, std::uint64_t nth, int signal) {
  target = index_of(point);
  left = nth;
  raised = signal;
  platform::kill_hook = [](const char* passed) {
    if (kPoints[target] != passed || left == 0 || --left != 0) return;
    counts().fired[target].fetch_add(1);
    raise(raised);
  };
}

}  // namespace arus::crash
