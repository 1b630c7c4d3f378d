// Runs benchmarks across processes on a machine whose cores move: two segments, a candidate's and its control's, back to back
// in the same pair of pinned processes, with the distance of the cores probed before, between and after them.
//
//   parent   maps a page that is shared with the children, makes both segments, forks one child per role, waits, reads
//   child    pins itself, attaches to both segments, then: probe, run, probe, run, probe, exit
//
// With more roles than cores the machine is *crowded*: then nobody is pinned while a segment runs, barriers sleep, and a process
// that is kept off the cores is what is measured and no reason to drop the segment.
//
// The children meet in barriers on the shared page. A child that finds a wrong message fails by name; one that hangs is killed
// by the parent and reported by name. Children die with the parent.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "clock.h"
#include "histogram.h"

namespace bench {

inline constexpr std::size_t kMaxRoles = 16;

// What one process saw of one segment. In the shared page; starts as zero bytes.
struct RoleResult {
  std::uint64_t sent;
  std::uint64_t received;     // and checked
  std::uint64_t ticks;        // what is to be divided by, by this role's clock
  std::uint64_t involuntary;  // context switches it did not ask for
  std::uint64_t kept_off_ns;  // time it could have run and did not
  std::uint64_t gap_largest;  // between two checkpoints, ticks
  std::uint64_t gap_sum;
  std::uint64_t gaps;
  std::uint64_t block;  // round trips per entry of `blocks`
  Histogram blocks;     // ticks of a block of round trips
  Histogram singles;    // ticks of a round trip
};

struct SharedPage;

// What a segment's code may use while it runs in a child.
class Recorder {
 public:
  Recorder(SharedPage& page, RoleResult& into, std::uint64_t length_ticks, std::size_t roles, bool crowded) noexcept
      : result(into), length_(length_ticks), page_(page), roles_(roles), crowded_(crowded) {}

  RoleResult& result;

  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }  // of the measured time, ticks

  // Call at regular points of the work: a gap between two of them that is out of the ordinary means that the core was away.
  void checkpoint(std::uint64_t now) noexcept {
    if (last_checkpoint_ != 0) {
      const std::uint64_t gap = now - last_checkpoint_;
      result.gap_largest = std::max(result.gap_largest, gap);
      result.gap_sum += gap;
      ++result.gaps;
    }
    last_checkpoint_ = now;
  }
  // For a second thread of this process, with a result of its own.
  [[nodiscard]] Recorder into(RoleResult& other) const noexcept { return {page_, other, length_, roles_, crowded_}; }
  // What follows is not to be compared with what was.
  void restart_checkpoints() noexcept { last_checkpoint_ = 0; }

  // All roles meet: spinning, or asleep where it is crowded.
  void meet() noexcept;
  // All roles meet and learn what role 0 said.
  [[nodiscard]] std::uint64_t agree(std::size_t role, std::uint64_t said) noexcept;
  // For a role that has nothing to do: sleeps, so that it takes nothing from the others, until one of them says finish().
  void sleep_until_finished() noexcept;
  void finish() noexcept;

 private:
  std::uint64_t length_;
  std::uint64_t last_checkpoint_ = 0;
  SharedPage& page_;
  std::size_t roles_;
  bool crowded_;
};

struct Metric {
  std::string name;  // as in the JSON file: "p50", "rate"
  std::string unit;
  double value;
};

// One workload over one transport. Made in the parent, before the children are forked; destroyed there after their end.
class Segment {
 public:
  virtual ~Segment() = default;
  [[nodiscard]] virtual std::size_t roles() const noexcept { return 2; }
  // Whether its transport has threads that work on the core of their role: then being kept off that core is a part of what it
  // costs, and no reason to drop the segment.
  [[nodiscard]] virtual bool has_threads() const noexcept { return false; }
  // In each child, before anything is measured: map, open, pre-fault.
  virtual void attach(std::size_t role) = 0;
  // In each child: the measured work, about recorder.length() long.
  virtual void run(std::size_t role, Recorder& recorder) = 0;
  // In each child, after the last measurement: close what attach() opened.
  virtual void detach(std::size_t role) = 0;
  // In the parent, from the results of all roles. The first one is the figure that everything else explains. May fail().
  [[nodiscard]] virtual std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const = 0;
  // The latencies of single messages in ticks, if it has them: the report adds those of valid segments up to a curve.
  [[nodiscard]] virtual const Histogram* latencies(const std::vector<const RoleResult*>&) const { return nullptr; }
};

using MakeSegment = std::function<std::unique_ptr<Segment>()>;

// How far apart the cores of this moment are, by the round trip of one cache line.
enum class Regime : std::uint8_t { sibling, near, far };
inline constexpr std::array kRegimes{Regime::sibling, Regime::near, Regime::far};
std::string_view to_string(Regime regime) noexcept;
Regime regime_of(double ping_pong_ns) noexcept;

enum class Verdict : std::uint8_t { valid, regime_changed, preempted };

struct SegmentOutcome {
  Verdict verdict;
  Regime regime;
  std::vector<Metric> metrics;
  std::uint64_t messages;                        // received and checked
  std::shared_ptr<const Histogram> latencies{};  // ticks; null: none
};

struct Contestant {
  std::string name;  // for messages: "one-way/64B bare"
  MakeSegment make;
};

struct RunConfig {
  std::vector<int> cpus;  // one per role; with fewer it is crowded
  double segment_ns = 80e6;
  double timeout_ns = 20e9;  // of a whole run(); then it counts as hung
};

// A run that found a wrong message, hung or died. what() names the segment and the role.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A transport that cannot be had on this machine, by name and reason. Thrown where a segment is made.
struct LeftOut : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

struct RunOutcome {
  std::vector<SegmentOutcome> segments;  // in the order of the contestants
  std::vector<double> probes_ns;         // before, between and after them
};

// Runs the contestants' segments one after the other in the same processes. Throws Failure or Interrupted.
RunOutcome run(const std::vector<Contestant>& contestants, const RunConfig& config);

// From now on SIGINT and SIGTERM make run() throw Interrupted, after its children are gone.
void watch_for_interrupt();

// The cores to pin the roles to: one for each where possible, and not two hyperthreads of one core if that can be avoided.
std::vector<int> choose_cpus();

}  // namespace bench
