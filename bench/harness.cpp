#include "harness.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "message.h"

namespace bench {

namespace {

constexpr std::size_t kMaxSegments = 4;
constexpr std::size_t kProbeBlocks = 8;
constexpr std::uint64_t kTripsPerBlock = 250;

// Round trips of one line on the machine this was written for lie around 30, 70 and 300 ns.
constexpr double kSiblingBelowNs = 45;
constexpr double kNearBelowNs = 140;
// Within one regime the probes of a segment may still differ by this factor.
constexpr double kSteadyFactor = 1.5;

// Kernel threads that take a core for some microseconds are everywhere; what they cost is to stay below what can be measured.
constexpr double kKeptOffShare = 0.005;
constexpr std::uint64_t kUnknown = UINT64_MAX;
constexpr double kGapNs = 200e3;
constexpr std::uint64_t kOutOfTheOrdinary = 10;  // times the mean gap

enum class Step : std::uint32_t { starting, attaching, probing, running, detaching };

constexpr const char* to_string(Step step) {
  constexpr std::array names{"starting", "attaching", "probing", "running", "detaching"};
  return names[static_cast<std::size_t>(step)];
}

}  // namespace

struct SharedPage {
  struct alignas(128) Word {
    std::atomic<std::uint32_t> value;
  };
  Word arrived;
  Word generation;
  Word finished;  // a futex
  alignas(128) std::atomic<std::uint64_t> said;
  alignas(128) std::atomic<std::uint64_t> ball;
  alignas(128) std::array<double, kMaxSegments + 1> probes_ns;
  struct alignas(128) Role {
    std::atomic<Step> step;
    std::atomic<std::uint32_t> segment;
    std::array<char, 256> error;
  };
  std::array<Role, kMaxRoles> roles;
  std::array<std::array<RoleResult, kMaxRoles>, kMaxSegments> results;
};

namespace {

SharedPage::Role* g_role = nullptr;  // of this child; null in the parent
volatile sig_atomic_t g_interrupted = 0;

void remember_interrupt(int) { g_interrupted = 1; }

}  // namespace

void fail(const char* format, ...) {
  std::array<char, 256> text{};
  va_list arguments;
  va_start(arguments, format);
  ::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  if (g_role == nullptr) throw Failure(text.data());
  g_role->error = text;
  ::_exit(1);
}

namespace {

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}
void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, static_cast<int>(kMaxRoles), nullptr, nullptr, 0);
}

}  // namespace

void Recorder::meet() noexcept {
  // A barrier that counts generations: the last to arrive opens the next one. Its stores are acquired by those who spin.
  const std::uint32_t generation = page_.generation.value.load(std::memory_order_acquire);
  if (page_.arrived.value.fetch_add(1, std::memory_order_acq_rel) + 1 == roles_) {
    page_.arrived.value.store(0, std::memory_order_relaxed);
    page_.generation.value.store(generation + 1, std::memory_order_release);
    if (crowded_) futex_wake_all(page_.generation.value);
    return;
  }
  while (crowded_ && page_.generation.value.load(std::memory_order_acquire) == generation) {
    futex_wait(page_.generation.value, generation);
  }
  for (std::uint32_t spins = 1; page_.generation.value.load(std::memory_order_acquire) == generation; ++spins) {
    cpu_pause();
    if (spins % 65536 == 0) ::sched_yield();  // the other one may be waiting for this very core
  }
}

std::uint64_t Recorder::agree(std::size_t role, std::uint64_t said) noexcept {
  if (role == 0) page_.said.store(said, std::memory_order_relaxed);  // ordered by the barrier
  meet();
  return page_.said.load(std::memory_order_relaxed);
}

void Recorder::sleep_until_finished() noexcept {
  while (page_.finished.value.load(std::memory_order_acquire) == 0) futex_wait(page_.finished.value, 0);
  meet();
  page_.finished.value.store(0, std::memory_order_relaxed);  // ordered by the barrier behind every run
}

void Recorder::finish() noexcept {
  page_.finished.value.store(1, std::memory_order_release);
  futex_wake_all(page_.finished.value);
  meet();
}

std::string_view to_string(Regime regime) noexcept {
  constexpr std::array<std::string_view, 3> names{"sibling", "near", "far"};
  return names[static_cast<std::size_t>(regime)];
}

Regime regime_of(double ping_pong_ns) noexcept {
  if (ping_pong_ns < kSiblingBelowNs) return Regime::sibling;
  return ping_pong_ns < kNearBelowNs ? Regime::near : Regime::far;
}

void watch_for_interrupt() {
  struct sigaction action {};
  action.sa_handler = remember_interrupt;  // without SA_RESTART: the parent's poll() is to return
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

namespace {

// ---- in a child ----

// Role 0 serves, role 1 returns, through one word of one line. Others wait at the next barrier. Returns the median of some
// blocks, so that one interruption does not change the regime.
double ping_pong_ns(SharedPage& page, std::size_t role, std::uint64_t probe) {
  if (role > 1) return 0;
  std::array<double, kProbeBlocks> blocks{};
  std::uint64_t ball = probe * 2 * kProbeBlocks * kTripsPerBlock;  // where the last probe left it
  for (double& block : blocks) {
    const std::uint64_t start = ticks();
    for (std::uint64_t i = 0; i < kTripsPerBlock; ++i, ball += 2) {
      if (role == 0) {
        page.ball.store(ball + 1, std::memory_order_release);
        while (page.ball.load(std::memory_order_acquire) != ball + 2) cpu_pause();
      } else {
        while (page.ball.load(std::memory_order_acquire) != ball + 1) cpu_pause();
        page.ball.store(ball + 2, std::memory_order_release);
      }
    }
    block = TickScale::get().ns(ticks() - start) / static_cast<double>(kTripsPerBlock);
  }
  std::nth_element(blocks.begin(), blocks.begin() + kProbeBlocks / 2, blocks.end());
  return blocks[kProbeBlocks / 2];
}

std::uint64_t involuntary_switches() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_nivcsw);
}

// The second number of schedstat. Without that file any involuntary switch counts as long.
std::uint64_t kept_off_ns() {
  unsigned long long ran = 0;
  unsigned long long waited = 0;
  if (FILE* const file = ::fopen("/proc/self/schedstat", "re")) {
    const int got = ::fscanf(file, "%llu %llu", &ran, &waited);
    ::fclose(file);
    if (got == 2) return waited;
  }
  return kUnknown;
}

void pin(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) fail("cannot be pinned to core %d: %s", cpus.front(), ::strerror(errno));
}

class Child {
 public:
  Child(SharedPage& page, std::size_t role, std::vector<std::unique_ptr<Segment>>& segments, const RunConfig& config)
      : page_(page), role_(role), roles_(segments.front()->roles()), segments_(segments), config_(config) {}

  void work() {
    at(Step::starting, 0);
    const std::vector<int> own{config_.cpus[role_ % config_.cpus.size()]};
    pin(own);
    for (std::uint32_t i = 0; i < segments_.size(); ++i) {
      at(Step::attaching, i);
      segments_[i]->attach(role_);
    }
    probe(0);
    for (std::uint32_t i = 0; i < segments_.size(); ++i) {
      if (crowded()) pin(config_.cpus);
      run_one(i);
      if (crowded()) pin(own);
      probe(i + 1);
    }
    for (std::uint32_t i = 0; i < segments_.size(); ++i) {
      at(Step::detaching, i);
      segments_[i]->detach(role_);
    }
  }

 private:
  void at(Step step, std::uint32_t segment) {
    page_.roles[role_].segment.store(segment, std::memory_order_relaxed);
    page_.roles[role_].step.store(step, std::memory_order_relaxed);
  }

  [[nodiscard]] bool crowded() const noexcept { return roles_ > config_.cpus.size(); }
  Recorder recorder(std::uint32_t segment) {
    return {page_, page_.results[segment][role_], TickScale::get().ticks(config_.segment_ns), roles_, crowded()};
  }

  void probe(std::uint32_t index) {
    at(Step::probing, std::min<std::uint32_t>(index, static_cast<std::uint32_t>(segments_.size() - 1)));
    recorder(0).meet();
    const double ns = ping_pong_ns(page_, role_, index);
    if (role_ == 0) page_.probes_ns[index] = ns;
  }

  void run_one(std::uint32_t index) {
    at(Step::running, index);
    Recorder mine = recorder(index);
    mine.meet();
    const std::uint64_t switches = involuntary_switches();
    const std::uint64_t kept_off = kept_off_ns();
    segments_[index]->run(role_, mine);
    mine.result.involuntary = involuntary_switches() - switches;
    mine.result.kept_off_ns = kept_off == kUnknown ? kUnknown : kept_off_ns() - kept_off;
    mine.meet();
  }

  SharedPage& page_;
  std::size_t role_;
  std::size_t roles_;
  std::vector<std::unique_ptr<Segment>>& segments_;
  const RunConfig& config_;
};

[[noreturn]] void child_main(Child child, SharedPage::Role& role, pid_t parent) {
  g_role = &role;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);  // the parent decides
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before the line above
  try {
    child.work();
  } catch (const std::exception& error) {
    fail("%s", error.what());
  }
  ::_exit(0);
}

// ---- in the parent ----

class Mapping {
 public:
  Mapping() {
    void* const memory = ::mmap(nullptr, sizeof(SharedPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw Failure("no memory for the page that the processes share");
    page_ = static_cast<SharedPage*>(memory);  // zero bytes are what each of its members begins with
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(page_, sizeof(SharedPage)); }
  SharedPage& operator*() const noexcept { return *page_; }

 private:
  SharedPage* page_;
};

// The children of one run. None outlives it.
class Children {
 public:
  Children() = default;
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;
  ~Children() {
    for (One& one : all_) {
      if (!one.ended) ::kill(one.pid, SIGKILL);
      if (!one.ended) ::waitpid(one.pid, nullptr, 0);
      ::close(one.descriptor);
    }
  }

  template <class Main>
  void start(Main main) {
    const pid_t pid = ::fork();
    if (pid == 0) main();
    if (pid < 0) throw Failure(std::string("fork: ") + ::strerror(errno));
    const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    all_.push_back({pid, descriptor, false});
    if (descriptor < 0) throw Failure(std::string("pidfd_open: ") + ::strerror(errno));
  }

  // The role of the first child that ended badly, or none when all ended well. Sleeps meanwhile: a parent that looked now and
  // then would preempt what is being measured.
  struct End {
    std::optional<std::size_t> bad_role;
    bool hung = false;
    int status = 0;
  };
  End wait(double timeout_ns) {
    const std::uint64_t deadline = ticks() + TickScale::get().ticks(timeout_ns);
    std::size_t left = all_.size();
    while (left > 0) {
      if (g_interrupted != 0) throw Interrupted();
      const std::uint64_t now = ticks();
      if (now >= deadline) return {.bad_role = first_running(), .hung = true};
      std::vector<pollfd> descriptors;
      for (const One& one : all_) descriptors.push_back({one.ended ? -1 : one.descriptor, POLLIN, 0});
      ::poll(descriptors.data(), descriptors.size(), static_cast<int>(TickScale::get().ns(deadline - now) / 1e6) + 1);
      for (std::size_t role = 0; role < all_.size(); ++role) {
        int status = 0;
        if (all_[role].ended || ::waitpid(all_[role].pid, &status, WNOHANG) == 0) continue;
        all_[role].ended = true;
        --left;
        if (status != 0) return {.bad_role = role, .status = status};
      }
    }
    return {};
  }

 private:
  struct One {
    pid_t pid;
    int descriptor;
    bool ended;
  };
  [[nodiscard]] std::size_t first_running() const {
    const auto it = std::find_if(all_.begin(), all_.end(), [](const One& one) { return !one.ended; });
    return static_cast<std::size_t>(it - all_.begin());
  }
  std::vector<One> all_;
};

std::string describe(const Children::End& end, const SharedPage& page, const std::vector<Contestant>& contestants,
                     std::size_t roles) {
  const SharedPage::Role& bad = page.roles[*end.bad_role];
  std::string text = contestants[bad.segment.load()].name;
  if (end.hung) {
    text += ": hung and was killed";
    for (std::size_t role = 0; role < roles; ++role) {
      text += (role == 0 ? "; role " : ", role ") + std::to_string(role) + " was " + to_string(page.roles[role].step.load());
    }
    return text;
  }
  text += ", role " + std::to_string(*end.bad_role) + ", " + to_string(bad.step.load()) + ": ";
  if (bad.error[0] != '\0') return text + bad.error.data();
  return text + (WIFSIGNALED(end.status) ? "killed by signal " + std::to_string(WTERMSIG(end.status))
                                         : "ended with status " + std::to_string(WEXITSTATUS(end.status)));
}

bool was_preempted(const RoleResult& result, double segment_ns) {
  if (result.involuntary > 0 && static_cast<double>(result.kept_off_ns) > kKeptOffShare * segment_ns) return true;
  if (result.gaps == 0) return false;
  return TickScale::get().ns(result.gap_largest) > kGapNs &&
         result.gap_largest > kOutOfTheOrdinary * (result.gap_sum / result.gaps);
}

Verdict judge(double before_ns, double after_ns, const std::vector<const RoleResult*>& results, double segment_ns,
              bool shares_cores) {
  const bool moved =
      regime_of(before_ns) != regime_of(after_ns) || std::max(before_ns, after_ns) > kSteadyFactor * std::min(before_ns, after_ns);
  if (moved) return Verdict::regime_changed;
  if (shares_cores) return Verdict::valid;
  const bool preempted =
      std::any_of(results.begin(), results.end(), [=](const RoleResult* result) { return was_preempted(*result, segment_ns); });
  return preempted ? Verdict::preempted : Verdict::valid;
}

}  // namespace

RunOutcome run(const std::vector<Contestant>& contestants, const RunConfig& config) {
  TickScale::get();
  std::vector<std::unique_ptr<Segment>> segments;
  segments.reserve(contestants.size());
  for (const Contestant& contestant : contestants) segments.push_back(contestant.make());
  const std::size_t roles = segments.front()->roles();
  const bool fits = segments.size() <= kMaxSegments && roles <= kMaxRoles &&
                    std::all_of(segments.begin(), segments.end(), [&](auto& one) { return one->roles() == roles; });
  if (!fits) throw Failure(contestants.front().name + ": contestants with different numbers of processes");

  const Mapping page;
  RunOutcome outcome;
  {
    Children children;
    const pid_t parent = ::getpid();
    for (std::size_t role = 0; role < roles; ++role) {
      children.start([&] { child_main(Child(*page, role, segments, config), (*page).roles[role], parent); });
    }
    const Children::End end = children.wait(config.timeout_ns);
    if (end.bad_role) throw Failure(describe(end, *page, contestants, roles));
  }

  outcome.probes_ns.assign((*page).probes_ns.begin(), (*page).probes_ns.begin() + static_cast<int>(segments.size()) + 1);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    std::vector<const RoleResult*> results;
    std::uint64_t messages = 0;
    for (std::size_t role = 0; role < roles; ++role) {
      results.push_back(&(*page).results[i][role]);
      messages += results.back()->received;
    }
    if (messages == 0) throw Failure(contestants[i].name + ": not one message arrived");
    std::vector<Metric> metrics;
    try {
      metrics = segments[i]->metrics(results);
    } catch (const Failure& failure) {
      throw Failure(contestants[i].name + ": " + failure.what());
    }
    const Histogram* const latencies = segments[i]->latencies(results);
    const bool shares_cores = segments[i]->has_threads() || roles > config.cpus.size();
    outcome.segments.push_back({judge(outcome.probes_ns[i], outcome.probes_ns[i + 1], results, config.segment_ns, shares_cores),
                                regime_of(outcome.probes_ns[i]), std::move(metrics), messages,
                                latencies == nullptr ? nullptr : std::make_shared<const Histogram>(*latencies)});
  }
  return outcome;
}

std::vector<int> choose_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<int> first;  // one thread of each core
  std::vector<int> rest;
  std::vector<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &set)) continue;
    const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
    std::array<char, 128> siblings{};
    if (FILE* const file = ::fopen(path.c_str(), "re")) {
      if (::fgets(siblings.data(), static_cast<int>(siblings.size()), file) == nullptr) siblings[0] = '\0';
      ::fclose(file);
    }
    const bool new_core = siblings[0] == '\0' || std::find(cores.begin(), cores.end(), siblings.data()) == cores.end();
    (new_core ? first : rest).push_back(cpu);
    if (new_core) cores.emplace_back(siblings.data());
  }
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

}  // namespace bench
