// arus-bench: the cross-process suite. See README.md for the method.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>
#include <regex>

#include "clock.h"
#include "environment.h"
#include "harness.h"
#include "report.h"
#include "schedule.h"
#include "suite.h"

namespace {

using namespace bench;

enum Exit { kOk = 0, kFailed = 1, kUsage = 2, kUnfit = 3, kInterrupted = 130 };

struct Options {
  bool quick = false;
  bool list = false;
  std::string only;
  std::string json;
  double seconds = 180;
  double segment_ms = 40;
  std::vector<int> cpus;
};

constexpr const char* kExamples = R"(Examples:
  arus-bench                                       everything, about three minutes
  arus-bench --only '^one-way/64B' --seconds 20    some of it
  arus-bench --quick                               each once and briefly: does every message arrive?
  arus-bench --json result.json                    also for programs

Exit status: 0 all ran and every message arrived; 1 one did not; 2 wrong usage; 3 this build or machine cannot measure.)";

// The exit status, if the program is to end here.
std::optional<int> parse(Options& options, int argc, char** argv) {
  CLI::App app{"Latency and throughput between two processes, each figure next to a control."};
  app.footer(kExamples);
  app.add_flag("--quick", options.quick, "one short repetition of everything; its times mean nothing");
  app.add_flag("--list", options.list, "show the pairs and exit");
  app.add_option("--only", options.only, "pairs whose \"SCENARIO CANDIDATE\" matches this expression")->type_name("REGEX");
  app.add_option("--json", options.json, "also write the results to this file")->type_name("FILE");
  app.add_option("--seconds", options.seconds, "how long to measure in all")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--segment-ms", options.segment_ms, "length of one measurement; shorter ones find gaps on a busy machine")
      ->check(CLI::Range(1.0, 1000.0))
      ->capture_default_str();
  app.add_option("--cpus", options.cpus, "the cores to use, for example 2,4")->delimiter(',');
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  return {};
}

std::string name_of(const Pair& pair, const Contestant& contestant) { return pair.scenario + " " + contestant.name; }

Suite selected(const Options& options) {
  Suite suite;
  add_arus(suite);
  add_load(suite);
  add_crowds(suite);
  add_rpc(suite);
  add_rivals(suite);
  add_controls(suite);
  if (options.only.empty()) return suite;
  const std::regex only(options.only);
  std::erase_if(suite, [&](const Pair& pair) { return !std::regex_search(name_of(pair, pair.candidate), only); });
  return suite;
}

void list(const Suite& suite) {
  for (const Pair& pair : suite) {
    fmt::print("{:<32}{:<20}{}\n", pair.scenario, pair.candidate.name, pair.control ? "against " + pair.control->name : "");
  }
}

// The two segments of a pair in random order; the outcome in the order candidate, control.
RunOutcome run_pair(const Pair& pair, const RunConfig& config, std::mt19937& random) {
  std::vector<Contestant> contestants{pair.candidate};
  if (pair.control) contestants.push_back(*pair.control);
  for (Contestant& one : contestants) one.name = name_of(pair, one);
  const bool control_first = contestants.size() == 2 && (random() & 1) != 0;
  if (control_first) std::swap(contestants[0], contestants[1]);
  RunOutcome outcome = run(contestants, config);
  if (control_first) std::swap(outcome.segments[0], outcome.segments[1]);
  return outcome;
}

// Everything once, so that each pair meets the machine; then what the schedule says until the time is up. What cannot take part is added to
// those left out, each once, by name and reason.
void measure(const Options& options, const Suite& suite, Report& report, std::vector<std::string>& left_out) {
  const RunConfig config{.cpus = options.cpus, .segment_ns = options.quick ? 4e6 : options.segment_ms * 1e6};
  std::mt19937 random(std::random_device{}());
  std::vector<Weight> weights;
  for (const Pair& pair : suite) weights.push_back(pair.weight);
  Schedule schedule(std::move(weights), static_cast<std::uint32_t>(random()));
  Regime now = Regime::near;

  const std::uint64_t start = ticks();
  const auto seconds = [&] { return TickScale::get().ns(ticks() - start) / 1e9; };
  const bool progress = ::isatty(STDERR_FILENO) != 0;
  const auto measure_one = [&](std::size_t i) {
    const Pair& pair = suite[i];
    if (progress) fmt::print(stderr, "\r\x1b[K{:4.0f} s  {:<8}{}", seconds(), to_string(now), name_of(pair, pair.candidate));
    try {
      const RunOutcome outcome = run_pair(pair, config, random);
      schedule.note(i, now, report.add(pair, outcome));
      now = regime_of(outcome.probes_ns.back());
    } catch (const LeftOut& why) {
      schedule.note(i, now, std::nullopt);
      if (std::find(left_out.begin(), left_out.end(), why.what()) == left_out.end()) left_out.emplace_back(why.what());
    }
  };
  std::vector<std::size_t> all(suite.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  if (!options.quick) std::shuffle(all.begin(), all.end(), random);
  for (const std::size_t i : all) measure_one(i);
  while (!options.quick && seconds() < options.seconds) measure_one(schedule.next(now));
  if (progress) fmt::print(stderr, "\r\x1b[K");
}

int main_checked(Options& options) {
  const Suite suite = selected(options);
  if (suite.empty()) {
    fmt::print(stderr, "arus-bench: no pair matches '{}'; --list shows them\n", options.only);
    return kUsage;
  }
  if (options.list) {
    list(suite);
    return kOk;
  }
  if (const std::string why = unfit_for_measuring(); !why.empty()) {
    fmt::print(stderr, "arus-bench: this program measures nothing: {}. Build it with: cmake --preset release\n", why);
    return kUnfit;
  }
  if (options.cpus.empty()) options.cpus = choose_cpus();
  if (options.cpus.size() < 2) {
    fmt::print(stderr, "arus-bench: needs two cores, may use {}\n", options.cpus.size());
    return kUnfit;
  }
  std::ofstream json;
  if (!options.json.empty()) {
    json.open(options.json);
    if (!json) {
      fmt::print(stderr, "arus-bench: cannot write {}\n", options.json);
      return kUsage;
    }
  }

  watch_for_interrupt();
  Environment where = environment(options.cpus);
  for (const auto& [name, value] : where) fmt::print("{:<20} {}\n", name, value);
  std::fflush(stdout);
  std::vector<std::string> left_out = rivals_left_out();
  Report report(suite);
  int status = kOk;
  try {
    measure(options, suite, report, left_out);
  } catch (const Interrupted&) {
    fmt::print(stderr, "\narus-bench: interrupted; what follows is what there was by then\n");
    status = kInterrupted;
  }
  if (!left_out.empty()) {
    where.emplace_back("left out", fmt::format("{}", fmt::join(left_out, "; ")));
    fmt::print("{:<20} {}\n", where.back().first, where.back().second);
  }
  if (!options.quick) fmt::print("{}\n", report.table());
  fmt::print("{}", report.summary());
  if (json.is_open()) json << report.json(where).dump(2) << "\n";
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (const auto status = parse(options, argc, argv)) return *status;
  try {
    return main_checked(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "\narus-bench: {}\n", error.what());
    return kFailed;
  }
}
