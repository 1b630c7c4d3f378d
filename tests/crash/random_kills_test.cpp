// SIGKILL at random instants: two producers, a lossless reader and an observer work at full speed, and every few milliseconds one of them
// is killed and started again. At the end of each round the books must balance.
//
// A thousand kills by default, ten thousand with ARUS_TEST_LONG=1. The seed is printed; ARUS_TEST_SEED=n begins with the same choices.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>

#include "crash/world.h"
#include "platform/clock.h"

namespace arus::crash {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Kind {
  const char* name;
  Producers producers;
  bool lossless;
  std::uint64_t ring;
};
constexpr Kind kKinds[] = {
    {"many producers, lossless", Producers::many, true, 64 << 10},
    {"a single producer, lossless", Producers::single, true, 64 << 10},
    {"many producers, lossy", Producers::many, false, 64 << 10},
    {"many producers, lossless, larger ring", Producers::many, true, 1 << 20},
    {"a single producer, lossy", Producers::single, false, 64 << 10},
};

class Round {
 public:
  Round(const Kind& kind, std::mt19937_64& random, std::uint32_t kills)
      : kind_(kind),
        random_(random),
        kills_(kills),
        config_{.partition_bytes = kind.ring,
                .producers = kind.producers,
                .back_pressure = kind.lossless,
                .max_producers = kind.producers == Producers::single ? 1u : 3u,
                .max_groups = 2},
        world_(&config_, kills + 8, 1u << 25) {}

  // Records that were claimed.
  std::uint64_t go() {
    const auto reads = [this] { world_.read(0, kind_.lossless ? grouped() : observing()); };
    workers_.push_back({"reader", reads});
    start(workers_[0]);
    wait_for("the reader", [this] { return world_.ledger().flag(kReading).load() != 0; });
    workers_.push_back({"observer", [this] { world_.read(1, observing()); }});
    const std::size_t producers = kind_.producers == Producers::single ? 1 : 2;
    for (std::size_t i = 0; i < producers; ++i) workers_.push_back({"producer", {}});
    for (std::size_t i = 1; i < workers_.size(); ++i) start(workers_[i]);

    std::uint32_t killed = 0;
    for (; killed < kills_ && world_.ledger().failure().empty(); ++killed) {
      // Half of them early: while it opens the bus, registers, repairs what the last one left.
      nap(microseconds(random_() % (random_() % 2 == 0 ? 2'000 : 12'000)));
      Worker& worker = workers_[random_() % workers_.size()];
      kill(worker);
      start(worker);
    }
    for (Worker& worker : workers_)
      if (worker.name != std::string_view("reader")) kill(worker);
    const std::uint32_t late = world_.new_sender();
    Process last = Process::run([this, late] { world_.send({.sender = late, .count = 50}); });
    if (const Ending how = last.wait(); !how.good()) world_.ledger().fail("the last producer " + to_string(how));
    const std::uint64_t end = world_.end_offset();
    world_.ledger().flag(kTarget).store(end);
    if (const Ending how = workers_[0].process.wait(); !how.good()) world_.ledger().fail("the reader " + to_string(how));
    // An observer that is killed misses what comes until its successor is there.
    if (kind_.lossless) world_.ledger().balance(0, end, true);
    world_.check_ring();
    EXPECT_EQ(world_.ledger().failure(), "") << kind_.name << ", after " << killed << " kills";
    return end;
  }

 private:
  struct Worker {
    const char* name;
    std::function<void()> body;  // empty: a producer, each life of which has a number of its own
    Process process{};
  };

  void start(Worker& worker) {
    if (worker.body) {
      worker.process = Process::run(worker.body);
      return;
    }
    const std::uint32_t sender = world_.new_sender();
    const Act acts[] = {Act::send, Act::batch, Act::loan, Act::burst};
    const Act act = acts[random_() % 4];
    worker.process = Process::run(
        [this, sender, act] { world_.send({.sender = sender, .count = 1u << 30, .act = act, .patience = std::chrono::hours(1)}); });
  }
  void kill(Worker& worker) {
    if (!worker.process.running()) return;
    worker.process.signal(SIGKILL);
    if (const Ending how = worker.process.wait(); !how.by(SIGKILL))
      world_.ledger().fail(fmt::format("a {} was not killed, but {}", worker.name, to_string(how)));
  }

  const Kind& kind_;
  std::mt19937_64& random_;
  std::uint32_t kills_;
  TopicConfig config_;
  World world_;
  std::vector<Worker> workers_;
};

TEST(RandomKills, OthersGoOnAndTheBooksBalance) {
  const bool is_long = std::getenv("ARUS_TEST_LONG") != nullptr;
  const char* given = std::getenv("ARUS_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  fmt::print("seed {} (ARUS_TEST_SEED={} begins with the same choices)\n", seed, seed);
  std::mt19937_64 random(seed);
  const std::uint32_t rounds = is_long ? 100 : 10;
  constexpr std::uint32_t kKills = 100;
  const auto until = steady_clock::now() + std::chrono::seconds(is_long ? 600 : 45);
  std::uint64_t kills = 0;
  std::uint64_t records = 0;
  for (std::uint32_t i = 0; i < rounds && !HasFailure() && steady_clock::now() < until; ++i) {
    const auto began = steady_clock::now();
    records += Round(kKinds[i % std::size(kKinds)], random, kKills).go();
    kills += kKills;
    fmt::print("{}: {} kills and {} offsets in all, this round {} ms\n", kKinds[i % std::size(kKinds)].name, kills, records,
               std::chrono::duration_cast<milliseconds>(steady_clock::now() - began).count());
  }
  EXPECT_GT(records, kills);
}

}  // namespace
}  // namespace arus::crash

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  arus::platform::ticks_to_ns();  // once, instead of in every child
  return RUN_ALL_TESTS();
}
