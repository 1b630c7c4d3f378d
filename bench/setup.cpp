// arus-bench-setup: what it costs to have topics, to come to them, and to have nothing to do. No control; medians over fresh processes.
//
// JSON: {"environment": {...},
//        "attach":    [{"topics", "endpoint", "repetitions", "open_us", "attach_us", "total_us": {"least", "q1", "median", "q3", "most"},
//                       "resident_kib"}],
//        "topics":    [{"topics", "create_us_per_topic", "kib_per_topic", "files_per_topic"}],
//        "partition": {"kib", "first_kib"},                       of one more partition of 64 KiB, and of a topic with one
//        "traffic":   [{"topics", "attached", "send_ns", "poll_ns", "empty_poll_ns"} or {"topics", "attached", "error"}],
//        "idle":      [{"process", "seconds", "wakeups_per_second", "cpu_us_per_second"}]}
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "environment.h"
#include "scratch.h"
#include "setup_scenes.h"

namespace {

using namespace bench;

struct Options {
  bool quick = false;
  bool json = false;
  unsigned topics = 10'000;
  double idle_seconds = 10;

  [[nodiscard]] int repetitions() const { return quick ? 2 : 15; }
  [[nodiscard]] unsigned records() const { return quick ? 1'000 : 100'000; }
};

constexpr const char* kExamples = R"(Examples:
  arus-bench-setup                  all of it, about a minute
  arus-bench-setup --topics 1000    no more topics than that (10,000 take about 2 GiB of shared memory)
  arus-bench-setup --json           for programs
  arus-bench-setup --quick          does everything run?

Exit status: 0 measured; 1 a scene failed; 2 wrong usage; 3 this build cannot measure.)";

class Programme {
 public:
  explicit Programme(const Options& options) : options_(options) {}

  nlohmann::ordered_json run() {
    say("\n{:<10}{:<20}{:>10}{:>12}{:>12}{:>14}\n", "topics", "endpoint", "open µs", "attach µs", "total µs", "resident KiB");
    const ScratchDirectory scratch;
    const std::string bus = scratch.path() + "/bus";
    unsigned there = 0;
    for (const unsigned topics : {1u, 10u, 100u, 1'000u, 10'000u}) {
      if (topics > options_.topics) break;
      grow(bus, std::exchange(there, topics), topics);
      for (const Endpoint endpoint : kEndpoints) come(bus, topics, endpoint);
    }
    say("\n{:<10}{:>18}{:>16}{:>16}\n", "topics", "create µs/topic", "KiB/topic", "files/topic");
    for (const auto& one : json_["topics"]) {
      say("{:<10}{:>18.1f}{:>16.1f}{:>16.1f}\n", one["topics"].get<unsigned>(), one["create_us_per_topic"].get<double>(),
          one["kib_per_topic"].get<double>(), one["files_per_topic"].get<double>());
    }
    const double one = footprint_of_topic(scratch.path() + "/one", 1).bytes / 1024;
    const double more = (footprint_of_topic(scratch.path() + "/many", 17).bytes / 1024 - one) / 16;
    json_["partition"] = {{"kib", more}, {"first_kib", one}};
    say("a topic of one partition of 64 KiB takes {:.0f} KiB, each further partition {:.0f} KiB\n", one, more);

    say("\n{:<10}{:<10}{:>10}{:>10}{:>16}\n", "topics", "attached", "send ns", "poll ns", "empty poll ns");
    for (unsigned attached = 1; attached <= there; attached *= 10) move(bus, there, attached);

    say("\n{:<28}{:>18}{:>16}\n", "idle", "wake-ups/s", "CPU µs/s");
    for (const Idle& idler : idle(scratch.path() + "/idle", options_.idle_seconds)) {
      json_["idle"].push_back({{"process", idler.process},
                               {"seconds", options_.idle_seconds},
                               {"wakeups_per_second", idler.wakeups_per_second},
                               {"cpu_us_per_second", idler.cpu_us_per_second}});
      say("{:<28}{:>18.2f}{:>16.1f}\n", idler.process, idler.wakeups_per_second, idler.cpu_us_per_second);
    }
    return json_;
  }

 private:
  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (options_.json) return;
    fmt::print(format, std::forward<Args>(args)...);
    std::fflush(stdout);
  }

  void grow(const std::string& bus, unsigned from, unsigned topics) {
    const Footprint before = from == 0 ? Footprint{} : footprint(bus);
    const double ns = create_topics(bus, from, topics);
    const Footprint after = footprint(bus);
    const double more = topics - from;
    json_["topics"].push_back({{"topics", topics},
                               {"create_us_per_topic", ns / 1e3},
                               {"kib_per_topic", (after.bytes - before.bytes) / 1024 / more},
                               {"files_per_topic", (after.files - before.files) / more}});
  }

  void come(const std::string& bus, unsigned topics, Endpoint endpoint) {
    std::vector<double> open;
    std::vector<double> attached;
    std::vector<double> total;
    std::vector<double> resident;
    for (int i = 0; i < options_.repetitions(); ++i) {
      const Attached one = attach(bus, topics, endpoint);
      open.push_back(one.open_ns / 1e3);
      attached.push_back(one.attach_ns / 1e3);
      total.push_back((one.open_ns + one.attach_ns) / 1e3);
      resident.push_back(one.resident_bytes / 1024);
    }
    json_["attach"].push_back({{"topics", topics},
                               {"endpoint", to_string(endpoint)},
                               {"repetitions", options_.repetitions()},
                               {"open_us", spread(open)},
                               {"attach_us", spread(attached)},
                               {"total_us", spread(total)},
                               {"resident_kib", spread(resident)["median"]}});
    const auto& said = json_["attach"].back();
    say("{:<10}{:<20}{:>10.0f}{:>12.0f}{:>12.0f}{:>14.0f}\n", topics, to_string(endpoint), said["open_us"]["median"].get<double>(),
        said["attach_us"]["median"].get<double>(), said["total_us"]["median"].get<double>(), said["resident_kib"].get<double>());
  }

  void move(const std::string& bus, unsigned topics, unsigned attached) {
    nlohmann::ordered_json& found = json_["traffic"].emplace_back();
    found = {{"topics", topics}, {"attached", attached}};
    try {
      const Traffic measured = traffic(bus, attached, options_.records());
      found.update({{"send_ns", measured.send_ns}, {"poll_ns", measured.poll_ns}, {"empty_poll_ns", measured.empty_poll_ns}});
      say("{:<10}{:<10}{:>10.1f}{:>10.1f}{:>16.1f}\n", topics, attached, measured.send_ns, measured.poll_ns,
          measured.empty_poll_ns);
    } catch (const SceneFailed& why) {
      if (attached < 1'000) throw;  // what one process can map is limited (vm.max_map_count, open files): a finding, no failure
      found["error"] = why.what();
      say("{:<10}{:<10}  {}\n", topics, attached, why.what());
    }
  }

  static nlohmann::ordered_json spread(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const auto at = [&](double share) {
      return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
    };
    return {{"least", at(0)}, {"q1", at(0.25)}, {"median", at(0.5)}, {"q3", at(0.75)}, {"most", at(1)}};
  }

  const Options& options_;
  nlohmann::ordered_json json_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"What topics cost: to make, to come to, to have, and to wait for."};
  app.footer(kExamples);
  app.add_flag("--quick", options.quick, "a few of everything; its times mean nothing");
  app.add_option("--topics", options.topics, "the most topics in the bus")->check(CLI::Range(1, 100'000))->capture_default_str();
  app.add_option("--idle-seconds", options.idle_seconds, "how long to watch idle processes")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", options.json, "print JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (const std::string why = unfit_for_measuring(); !why.empty()) {
    fmt::print(stderr, "arus-bench-setup: this program measures nothing: {}. Build it with: cmake --preset release\n", why);
    return 3;
  }
  if (options.quick) {
    options.topics = std::min(options.topics, 100u);
    options.idle_seconds = 0.2;
  }
  try {
    nlohmann::ordered_json json;
    for (const auto& [name, value] : environment({})) {
      json["environment"][name] = value;
      if (!options.json) fmt::print("{:<20} {}\n", name, value);
    }
    json.update(Programme(options).run());
    if (options.json) fmt::print("{}\n", json.dump(2));
  } catch (const std::exception& error) {
    fmt::print(stderr, "arus-bench-setup: {}\n", error.what());
    return 1;
  }
  return 0;
}
