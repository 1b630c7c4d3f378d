// Two members of a group as victims at once: each stops between two steps of joining or taking, and is killed or goes on, in either order.
// A third member is there from the beginning, and a fourth comes in the end; they must be handed everything.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>

#include "crash/team.h"
#include "crash/trigger.h"

namespace arus::crash {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint32_t kPartitions = 4;

enum class Then : std::uint8_t { kill_first, kill_second, kill_both, kill_both_in_reverse, go_on, go_on_in_reverse };

struct Victim {
  std::string_view point;
  Process process{};

  // It holds the group's lock there: others cannot join meanwhile.
  [[nodiscard]] bool locks() const { return point.starts_with("H-"); }
  bool begin(const Team& team, const Ledger& ledger) {
    process = Process::run([this, &team] {
      fire_at(point, 1, SIGSTOP);
      team.take_part({.config = grouped(), .enough = [](const Consumer& consumer, std::uint64_t handed) {
                        return handed > 20 && !consumer.assignment().empty();
                      }});
    });
    const Ending ending = process.wait();
    if (ending.how == Ending::How::stopped) return true;
    if (!ending.good()) ledger.fail("a victim " + to_string(ending));
    return false;
  }
  void die(const Ledger& ledger) {
    process.signal(SIGKILL);
    if (const Ending ending = process.wait(); !ending.by(SIGKILL)) ledger.fail("a killed victim " + to_string(ending));
  }
  void go_on() const { process.signal(SIGCONT); }
  void end(const Ledger& ledger) {
    if (const Ending ending = process.wait(); !ending.good()) ledger.fail("a victim that went on " + to_string(ending));
  }
};

// True if both came to their points.
bool run(Victim first, Victim second, Then then) {
  const TopicConfig config{.partitions = kPartitions, .partition_bytes = 64 << 10, .max_producers = 4, .max_groups = 2};
  World world(&config);
  const Ledger& ledger = world.ledger();
  const Team team(world, kPartitions, 1u << 14);
  Process third = Process::run([&] { team.take_part({.config = grouped()}); });
  wait_for("the third member", [&] { return team.all_read(0); });
  const std::uint32_t sender = world.new_sender();
  Process feeder = Process::run([&] {
    team.send(sender, microseconds(300), [&](std::uint64_t sent) { return sent < 300 || ledger.flag(kGo).load() == 0; });
  });
  const bool both = first.begin(team, ledger) && second.begin(team, ledger);
  // The one that stays is stopped for a while yet, beside those who found the other one dead.
  const auto one_dies = [&](Victim& dead, Victim& stays) {
    dead.die(ledger);
    nap(milliseconds(5));
    stays.go_on();
    stays.end(ledger);
  };
  if (both) switch (then) {
      case Then::kill_first: one_dies(first, second); break;
      case Then::kill_second: one_dies(second, first); break;
      case Then::kill_both:
        first.die(ledger);
        second.die(ledger);
        break;
      case Then::kill_both_in_reverse:
        second.die(ledger);
        first.die(ledger);
        break;
      case Then::go_on:
      case Then::go_on_in_reverse:
        (then == Then::go_on ? first : second).go_on();
        nap(milliseconds(2));
        (then == Then::go_on ? second : first).go_on();
        first.end(ledger);
        second.end(ledger);
        break;
    }
  Process fourth = Process::run([&] { team.take_part({.config = grouped()}); });
  ledger.flag(kGo).store(1);
  const auto must_end = [&](Process& process, std::string_view name) {
    if (const Ending how = process.wait(); !how.good()) ledger.fail(fmt::format("the {} {}", name, to_string(how)));
  };
  must_end(feeder, "feeder");
  team.end();
  must_end(third, "third member");
  must_end(fourth, "fourth member");
  team.balance(0, true);
  if (!world.open().group(kGroup).value().describe().value().members.empty()) ledger.fail("somebody is left in the group");
  EXPECT_EQ(ledger.failure(), "") << "stopped at " << first.point << " and at " << second.point << ", then "
                                  << static_cast<int>(then);
  return both;
}

class MemberPairs : public testing::TestWithParam<Then> {};

TEST_P(MemberPairs, TwoWhoJoin) {
  for (const std::string_view first : {"G-owned", "G-taken"})
    for (const std::string_view second : {"H-locked", "H-written", "H-renamed", "H-told"})
      EXPECT_TRUE(run({first}, {second}, GetParam())) << first << ", " << second;
}

// One who joins stops in the middle of a change, and the member that was there before is killed: nobody can take it out as long as the
// lock is held, and whoever comes when it is free does.
TEST(MemberPair, OneHoldsTheLockAndAnotherDies) {
  for (const std::string_view point : {"H-locked", "H-written", "H-renamed", "H-told"})
    for (const bool kill_it : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, {}", point, kill_it));
      const TopicConfig config{.partitions = kPartitions, .partition_bytes = 64 << 10, .max_producers = 4, .max_groups = 2};
      World world(&config);
      const Ledger& ledger = world.ledger();
      const Team team(world, kPartitions, 1u << 14);
      Process before = Process::run([&] { team.take_part({.config = grouped()}); });
      Process survivor = Process::run([&] { team.take_part({.config = grouped()}); });
      wait_for("two members", [&] { return team.all_read(0); });
      Victim victim{point};
      ASSERT_TRUE(victim.begin(team, ledger));
      before.signal(SIGKILL);
      before.wait();
      const std::uint32_t sender = world.new_sender();
      Process feeder = Process::run([&] { team.send(sender, microseconds(0), [](std::uint64_t sent) { return sent < 200; }); });
      nap(milliseconds(30));  // the survivor tries to take it out
      if (kill_it)
        victim.die(ledger);
      else
        victim.go_on();
      EXPECT_TRUE(feeder.wait().good());
      team.end();
      EXPECT_TRUE(survivor.wait().good());
      if (!kill_it) victim.end(ledger);
      team.balance(0, true);
      EXPECT_EQ(ledger.failure(), "");
    }
}

INSTANTIATE_TEST_SUITE_P(Orders, MemberPairs,
                         testing::Values(Then::kill_first, Then::kill_second, Then::kill_both, Then::kill_both_in_reverse,
                                         Then::go_on, Then::go_on_in_reverse));

}  // namespace
}  // namespace arus::crash
