// arus-bench-takeover: how long others wait when a process dies. From just before SIGKILL to the first record in the hands of
//   member    the one who takes a dead member's partition over: the record that the dead one had not settled
//   producer  a reader behind a claim that its producer died in: the record behind it
// each for a reader that sleeps and for one that spins. Every death is a scene of its own: fresh processes, a fresh group or topic.
#include <arus/arus.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "environment.h"
#include "scratch.h"

namespace {

using namespace std::chrono_literals;

std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}
void nap(std::chrono::milliseconds time) { ::usleep(static_cast<useconds_t>(time.count() * 1000)); }

struct Stage {  // in memory that all processes of a scene share
  std::atomic<std::uint32_t> victim_ready;
  std::atomic<std::uint32_t> reader_ready;
  std::atomic<std::int64_t> read_at;
};
Stage& stage() {
  static auto* shared =
      static_cast<Stage*>(::mmap(nullptr, sizeof(Stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (shared == MAP_FAILED) throw std::runtime_error("no shared memory");
  return *shared;
}
void await(const char* what, const std::function<bool()>& condition) {
  const std::int64_t until = now() + 30'000'000'000;
  while (!condition()) {
    if (now() > until) throw std::runtime_error(fmt::format("waited 30 s for {}", what));
    ::usleep(200);
  }
}

class Actor {
 public:
  explicit Actor(const std::function<void()>& body) {
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      body();
    } catch (const std::exception& error) {
      fmt::print(stderr, "arus-bench-takeover: {}\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  ~Actor() {
    if (pid_ > 0) die();
  }
  void die() {
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_;
};

arus::Wait waiting(bool spins) { return spins ? arus::Wait::spinning() : arus::Wait::sleeping(); }
// Until it is asleep, if it sleeps, and over whatever its beginning left to do.
constexpr auto kSettle = 60ms;

// Polls until a record comes, and notes when.
void read_first(arus::Consumer& consumer) {
  stage().reader_ready.store(1);
  for (;;) {
    if (consumer.poll(10s).value().empty()) continue;
    stage().read_at.store(now());
    return;
  }
}

std::int64_t when_read(std::int64_t killed_at) {
  await("the first record", [] { return stage().read_at.load() != 0; });
  return stage().read_at.load() - killed_at;
}

// A member with one unsettled record dies; another one is in reserve.
std::int64_t member_dies(const std::string& bus, bool spins, int number) {
  const std::string topic = fmt::format("member-{}", number);
  arus::Bus own = arus::Bus::open(bus).value();
  own.create(topic, {.partition_bytes = 64 << 10}).value().producer().value().send(arus::bytes("x")).value();
  const arus::ConsumerConfig config{.group = topic, .start = arus::Start::earliest, .wait = waiting(spins)};
  Actor victim([&] {
    arus::Consumer consumer = arus::Bus::open(bus).value().consumer(config).value();
    consumer.subscribe({topic}).value();
    while (consumer.poll(1s).value().empty()) {
    }
    stage().victim_ready.store(1);
    ::pause();
  });
  await("the member", [] { return stage().victim_ready.load() != 0; });
  Actor successor([&] {
    arus::Consumer consumer = arus::Bus::open(bus).value().consumer(config).value();
    consumer.subscribe({topic}).value();
    read_first(consumer);
  });
  await("its successor", [] { return stage().reader_ready.load() != 0; });
  nap(kSettle);
  const std::int64_t killed_at = now();
  ::kill(victim.pid(), SIGKILL);
  const std::int64_t took = when_read(killed_at);
  own.remove(topic).value();
  return took;
}

// A producer dies with an open loan; behind it stands another one's record.
std::int64_t producer_dies(const std::string& bus, bool spins, int number) {
  const std::string topic = fmt::format("producer-{}", number);
  arus::Bus own = arus::Bus::open(bus).value();
  arus::Producer other = own.create(topic, {.partition_bytes = 64 << 10}).value().producer().value();
  Actor victim([&] {
    arus::Producer producer = arus::Bus::open(bus).value().topic(topic).value().producer().value();
    const auto loan = producer.loan(100);
    stage().victim_ready.store(loan ? 1 : 0);
    ::pause();
  });
  await("the producer", [] { return stage().victim_ready.load() != 0; });
  other.send(arus::bytes("behind")).value();
  Actor reader([&] {
    arus::Consumer consumer =
        arus::Bus::open(bus).value().consumer({.group = topic, .start = arus::Start::earliest, .wait = waiting(spins)}).value();
    consumer.subscribe({topic}).value();
    read_first(consumer);
  });
  await("the reader", [] { return stage().reader_ready.load() != 0; });
  nap(kSettle);
  const std::int64_t killed_at = now();
  ::kill(victim.pid(), SIGKILL);
  const std::int64_t took = when_read(killed_at);
  own.remove(topic).value();
  return took;
}

struct Scene {
  const char* name;
  std::int64_t (*play)(const std::string& bus, bool spins, int number);
  bool spins;
};
constexpr Scene kScenes[] = {{"member, successor sleeps", member_dies, false},
                             {"member, successor spins", member_dies, true},
                             {"producer, reader sleeps", producer_dies, false},
                             {"producer, reader spins", producer_dies, true}};

double quantile(const std::vector<std::int64_t>& sorted, double part) {
  return static_cast<double>(sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1) + 0.5)]) / 1e3;
}

constexpr const char* kExamples = R"(Examples:
  arus-bench-takeover                  30 deaths of each kind, about half a minute
  arus-bench-takeover --deaths 200
  arus-bench-takeover --json           for programs

Exit status: 0 measured; 1 a scene failed; 2 wrong usage; 3 this build cannot measure.)";

}  // namespace

int main(int argc, char** argv) {
  int deaths = 30;
  bool as_json = false;
  CLI::App app{"Time from a death to the next record read, in microseconds."};
  app.footer(kExamples);
  app.add_option("--deaths", deaths, "of each kind")->check(CLI::Range(1, 100'000))->capture_default_str();
  app.add_flag("--json", as_json, "print JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (const std::string why = bench::unfit_for_measuring(); !why.empty()) {
    fmt::print(stderr, "arus-bench-takeover: this program measures nothing: {}. Build it with: cmake --preset release\n", why);
    return 3;
  }
  try {
    nlohmann::ordered_json json;
    for (const auto& [name, value] : bench::environment({})) {
      json["environment"][name] = value;
      if (!as_json) fmt::print("{:<20} {}\n", name, value);
    }
    if (!as_json)
      fmt::print("\n{:<28}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}  µs\n", "who dies", "deaths", "least", "25 %", "median", "75 %",
                 "most");
    const bench::ScratchDirectory directory;
    const std::string bus = directory.path() + "/bus";
    const arus::Bus made = arus::Bus::create({.directory = bus}).value();
    int number = 0;
    for (const Scene& scene : kScenes) {
      std::vector<std::int64_t> took;
      for (int i = 0; i < deaths; ++i) {
        stage().victim_ready.store(0);
        stage().reader_ready.store(0);
        stage().read_at.store(0);
        took.push_back(scene.play(bus, scene.spins, ++number));
      }
      std::sort(took.begin(), took.end());
      const std::pair<const char*, double> figures[] = {{"least", quantile(took, 0)},
                                                        {"q25", quantile(took, 0.25)},
                                                        {"median", quantile(took, 0.5)},
                                                        {"q75", quantile(took, 0.75)},
                                                        {"most", quantile(took, 1)}};
      if (!as_json) fmt::print("{:<28}{:>8}", scene.name, deaths);
      for (const auto& [name, value] : figures) {
        json["scenes"][scene.name][name] = value;
        if (!as_json) fmt::print("{:>10.0f}", value);
      }
      json["scenes"][scene.name]["deaths"] = deaths;
      if (!as_json) fmt::print("\n");
      std::fflush(stdout);
    }
    if (as_json) fmt::print("{}\n", json.dump(2));
  } catch (const std::exception& error) {
    fmt::print(stderr, "arus-bench-takeover: {}\n", error.what());
    return 1;
  }
  return 0;
}
