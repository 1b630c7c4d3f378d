// Chaos: producers, and the members of three groups (lossless, lossy, lossless until it is too far behind) come, leave, are killed and are
// stopped, all at random, while the others go on. At the end of each round every committed record is accounted for: delivered to the
// lossless group, delivered to the others or inside a gap that was reported.
//
// 40 seconds by default, ten minutes with ARUS_TEST_LONG=1. The seed is printed; ARUS_TEST_SEED=n begins with the same choices.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>

#include "crash/team.h"
#include "platform/clock.h"

namespace arus::crash {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::uint32_t kPartitions = 4;
constexpr std::uint64_t kEach = 1u << 20;
constexpr std::uint32_t kSenders = 4'000;
enum Flags : std::uint32_t { kLeave = kOfScenario };  // and the next: bit i: member i is to leave

struct Kind {
  const char* name;
  ConsumerConfig config;
};
const std::array<Kind, 3>& kinds() {
  static const std::array<Kind, 3> all = [] {
    std::array<Kind, 3> made{{{"lossless", grouped("lossless")}, {"lossy", grouped("lossy")}, {"limited", grouped("limited")}}};
    made[1].config.delivery = Delivery::lossy;
    made[2].config.evict_behind_records = 40;
    made[2].config.assignor = Assignor::range;
    return made;
  }();
  return all;
}

class Round {
 public:
  explicit Round(std::mt19937_64& random)
      : random_(random),
        config_{.partitions = kPartitions, .partition_bytes = 64 << 10, .max_producers = 8, .max_groups = 4},
        world_(&config_, kSenders, kPartitions * kEach),
        team_(world_, kPartitions, kEach) {}

  void go(seconds time) {
    for (std::uint32_t row = 0; row < kinds().size(); ++row) {
      // All groups begin before the first record.
      members_.push_back({.row = row, .number = static_cast<std::uint32_t>(members_.size())});
      start(members_.back());
      wait_for("a group's first member", [&] { return team_.all_read(row); });
      for (int more = 0; more < 2; ++more) members_.push_back({.row = row, .number = static_cast<std::uint32_t>(members_.size())});
    }
    producers_.resize(3);
    for (Process& producer : producers_) start(producer);

    const auto until = steady_clock::now() + time;
    while (steady_clock::now() < until && world_.ledger().failure().empty() && senders_left()) {
      nap(microseconds(random_() % 8'000));
      act();
      look();
    }
    finish();
  }
  [[nodiscard]] std::string summary() const {
    std::string text = fmt::format("{} killed, {} stopped, {} left, {} came;", killed_, stopped_, left_, came_);
    for (std::uint32_t row = 0; row < kinds().size(); ++row)
      text +=
          fmt::format(" {}: {} delivered, {} lost, {} uncommitted;", kinds()[row].name, team_.count(row, Ledger::Fate::delivered),
                      team_.count(row, Ledger::Fate::lost), team_.count(row, Ledger::Fate::uncommitted));
    return text;
  }

 private:
  struct Slot {  // of a member, who may or may not be there
    std::uint32_t row;
    std::uint32_t number;
    Process process{};
  };

  [[nodiscard]] std::uint64_t bit(const Slot& slot) const { return std::uint64_t{1} << slot.number; }
  [[nodiscard]] static bool is_static(const Slot& slot) { return slot.number % 3 == 2; }
  [[nodiscard]] bool senders_left() const { return next_sender_ + 8 < kSenders; }

  void start(Slot& slot) {
    world_.ledger().flag(kLeave).fetch_and(~bit(slot));
    ConsumerConfig config = kinds()[slot.row].config;
    if (is_static(slot)) config.instance = fmt::format("instance-{}", slot.number);
    if (random_() % 2 == 0) config.wait = Wait{};
    config.max_records = 1u << random_() % 8;
    slot.process = Process::run([this, row = slot.row, mine = bit(slot), config] {
      team_.take_part({.row = row, .config = config, .enough = [&](const Consumer&, std::uint64_t) {
                         return (world_.ledger().flag(kLeave).load() & mine) != 0;
                       }});
    });
  }
  void start(Process& producer) {
    next_sender_ = world_.new_sender();
    const microseconds pause(100 + random_() % 900);
    producer = Process::run([this, number = next_sender_, pause] {
      team_.send(number, pause, [this](std::uint64_t) { return world_.ledger().flag(kGo).load() == 0; });
    });
  }
  // That it was stopped in between is not its end.
  static Ending end_of(Process& process) {
    Ending how = process.wait();
    while (how.how == Ending::How::stopped) how = process.wait();
    return how;
  }
  void kill(Process& process) {
    if (!process.running()) return;
    process.signal(SIGKILL);
    if (const Ending how = end_of(process); !how.by(SIGKILL) && !how.good())
      world_.ledger().fail("one that was killed " + to_string(how));
    ++killed_;
  }
  void stop(const Process& process) {
    if (!process.running()) return;
    process.signal(SIGSTOP);
    asleep_.push_back({process.pid(), steady_clock::now() + milliseconds(1 + random_() % 60)});
    ++stopped_;
  }
  void wake(bool all) {
    std::erase_if(asleep_, [&](const auto& one) {
      if (!all && steady_clock::now() < one.second) return false;
      // If it was killed in the meantime its pid is not given out again so soon.
      ::kill(one.first, SIGCONT);
      return true;
    });
  }

  void act() {
    wake(false);
    Slot& slot = members_[random_() % members_.size()];
    Process& producer = producers_[random_() % producers_.size()];
    switch (random_() % 8) {
      case 0:
      case 1:
        kill(producer);
        start(producer);
        break;
      case 2: stop(producer); break;
      case 3: stop(slot.process); break;
      case 4:
        if (slot.process.running()) {  // leaves in order; look() sees its end
          world_.ledger().flag(kLeave).fetch_or(bit(slot));
          ++left_;
        }
        break;
      default:
        if (slot.process.running()) {
          kill(slot.process);
          if (random_() % 3 == 0) break;  // it comes back some time
        }
        start(slot);
        ++came_;
    }
  }
  // Who has left, or failed. A group is never without a member for long, so that no grace is over.
  void look() {
    std::array<bool, 3> there{};
    for (Slot& slot : members_) {
      Ending how{};
      if (slot.process.running() && slot.process.ended(how) && !how.good())
        world_.ledger().fail(fmt::format("a member of {} {}", kinds()[slot.row].name, to_string(how)));
      if (!slot.process.running() && is_static(slot)) start(slot);  // others wait for it
      there[slot.row] |= slot.process.running();
    }
    for (Slot& slot : members_)
      if (!std::exchange(there[slot.row], true)) start(slot);
  }

  void finish() {
    wake(true);
    world_.ledger().flag(kGo).store(1);
    // The last member of a group may be leaving, and a producer may wait for that group still.
    for (Process& producer : producers_) {
      Ending how{};
      while (producer.running() && !producer.ended(how)) {
        look();
        nap(milliseconds(1));
      }
      if (!how.good()) world_.ledger().fail("a producer " + to_string(how));
    }
    // One record behind whatever hole may be at the end of a partition.
    const std::uint32_t last = world_.new_sender();
    if (Process process = Process::run([&] { team_.send(last, {}, [](std::uint64_t sent) { return sent < kPartitions; }); });
        !process.wait().good())
      world_.ledger().fail("the last producer failed");
    team_.end();
    // One more each: those who are there may be leaving, and what is kept for a static member waits for it.
    std::vector<Process> late;
    for (std::uint32_t row = 0; row < kinds().size(); ++row)
      late.push_back(Process::run([&] {
        ConsumerConfig config = kinds()[row].config;
        config.instance = fmt::format("instance-{}", row * 3 + 2);
        team_.take_part({.row = row, .config = config});
      }));
    for (Slot& slot : members_)
      if (slot.process.running())
        if (const Ending how = end_of(slot.process); !how.good())
          world_.ledger().fail(fmt::format("in the end a member of {} {}", kinds()[slot.row].name, to_string(how)));
    for (Process& process : late)
      if (const Ending how = process.wait(); !how.good()) world_.ledger().fail("a late member " + to_string(how));
    for (std::uint32_t row = 0; row < kinds().size(); ++row) team_.balance(row, row == 0);
    EXPECT_EQ(world_.ledger().failure(), "");
  }

  std::mt19937_64& random_;
  TopicConfig config_;
  World world_;
  Team team_;
  std::vector<Slot> members_;
  std::vector<Process> producers_;
  std::vector<std::pair<pid_t, steady_clock::time_point>> asleep_;
  std::uint32_t next_sender_ = 0;
  std::uint64_t killed_ = 0;
  std::uint64_t stopped_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t came_ = 0;
};

TEST(Chaos, EveryCommittedRecordIsAccountedFor) {
  const bool is_long = std::getenv("ARUS_TEST_LONG") != nullptr;
  const char* given = std::getenv("ARUS_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  fmt::print("seed {} (ARUS_TEST_SEED={} begins with the same choices)\n", seed, seed);
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  const auto until = steady_clock::now() + seconds(is_long ? 600 : 40);
  while (steady_clock::now() < until && !HasFailure()) {
    Round round(random);
    round.go(seconds(is_long ? 15 : 9));
    fmt::print("{}\n", round.summary());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace arus::crash

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  arus::platform::ticks_to_ns();  // once, instead of in every child
  return RUN_ALL_TESTS();
}
