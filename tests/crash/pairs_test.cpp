// Two victims at once: two producers that race for one position and stop between any two steps of it, and a producer beside a
// repairer. Each of the two is killed or goes on, in either order; a third producer and a reader must get by in all cases.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>

#include "crash/trigger.h"
#include "crash/world.h"
#include "platform/clock.h"

namespace arus::crash {
namespace {

using std::chrono::milliseconds;

TopicConfig small(bool lossless) {
  return {.partition_bytes = 64 << 10, .back_pressure = lossless, .max_producers = 6, .max_groups = 2};
}

// Survivors: a reader from the beginning, and a producer that is registered from the beginning.
class Survivors {
 public:
  Survivors(World& world, bool lossless) : world_(world), lossless_(lossless) {
    reader_ = Process::run([this] { world_.read(0, lossless_ ? grouped() : observing()); });
    const std::uint32_t number = world_.new_sender();
    bystander_ = Process::run([this, number] {
      world_.stand_by({.sender = number, .count = 200, .pause_every_8th = std::chrono::microseconds(lossless_ ? 0 : 500)});
    });
    wait_for("the survivors",
             [this] { return world_.ledger().flag(kReading).load() != 0 && world_.ledger().flag(kReady).load() != 0; });
    // It reads on when the two are done with each other: what one of them may spoil behind the other is still unread.
    reader_.signal(SIGSTOP);
    if (const Ending how = reader_.wait(); how.how != Ending::How::stopped) world_.ledger().fail("the reader " + to_string(how));
  }
  void send() {
    if (!bystander_.running()) return;
    reader_.signal(SIGCONT);
    world_.ledger().flag(kGo).store(1);
    if (const Ending how = bystander_.wait(); !how.good()) world_.ledger().fail("the third producer " + to_string(how));
  }
  void finish() {
    const std::uint32_t late = world_.new_sender();  // reports a hole at the end, if there is one
    if (Process process = Process::run([this, late] { world_.send({.sender = late, .count = 1}); }); !process.wait().good())
      world_.ledger().fail("the last producer failed");
    const std::uint64_t end = world_.end_offset();
    world_.ledger().flag(kTarget).store(end);
    if (const Ending how = reader_.wait(); !how.good()) world_.ledger().fail("the reader " + to_string(how));
    world_.ledger().balance(0, end, lossless_);
    world_.check_ring();
  }

 private:
  World& world_;
  bool lossless_;
  Process reader_;
  Process bystander_;
};

enum class Then : std::uint8_t { kill_first, kill_second, kill_both, kill_both_in_reverse, go_on, go_on_in_reverse };
constexpr Then kThen[] = {Then::kill_first,           Then::kill_second, Then::kill_both,
                          Then::kill_both_in_reverse, Then::go_on,       Then::go_on_in_reverse};

struct Victim {
  std::string_view point;
  std::uint64_t nth;
  World::Sending sending;
  Process process{};

  // Stopped there, this one has a claim that others must wait for.
  [[nodiscard]] bool holds() const {
    return point == "C5" || point == "C6" || point == "C7" || point == "before-settle" || point.starts_with("R");
  }
  // Begins, and is waited for at its point. False: it came to its end without passing it.
  bool begin(const World& world) {
    process = Process::run([this, &world] {
      fire_at(point, nth, SIGSTOP);
      world.send(sending);
    });
    const Ending ending = process.wait();
    if (ending.how == Ending::How::stopped) return true;
    if (!ending.good()) world.ledger().fail("a victim " + to_string(ending));
    return false;
  }
  void die(const World& world) {
    process.signal(SIGKILL);
    if (const Ending ending = process.wait(); !ending.by(SIGKILL)) world.ledger().fail("a killed victim " + to_string(ending));
  }
  void go_on(const World& world) {
    process.signal(SIGCONT);
    if (const Ending ending = process.wait(); !ending.good()) world.ledger().fail("a victim that went on " + to_string(ending));
  }
};

// `first` stops, then `second`; then what `then` says. The third producer sends more than a ring as soon as neither holds it up, if
// need be while one of them is still stopped. True if both came to their points.
bool run(bool lossless, Victim first, Victim second, Then then) {
  const TopicConfig config = small(lossless);
  World world(&config);
  first.sending.sender = world.new_sender();
  second.sending.sender = world.new_sender();
  Survivors survivors(world, lossless);
  const bool both = first.begin(world) && second.begin(world);
  const auto one_dies = [&](Victim& dead, Victim& stays) {
    dead.die(world);
    if (stays.holds()) {
      stays.go_on(world);
      survivors.send();
    } else {
      survivors.send();
      stays.go_on(world);
    }
  };
  if (both) switch (then) {
      case Then::kill_first: one_dies(first, second); break;
      case Then::kill_second: one_dies(second, first); break;
      case Then::kill_both:
        first.die(world);
        second.die(world);
        break;
      case Then::kill_both_in_reverse:
        second.die(world);
        first.die(world);
        break;
      case Then::go_on:
        first.go_on(world);
        second.go_on(world);
        break;
      case Then::go_on_in_reverse:
        // The second may need what the first holds: it is let go, and its end is waited for after the first's.
        second.process.signal(SIGCONT);
        nap(milliseconds(2));
        first.go_on(world);
        second.go_on(world);
        break;
    }
  else if (first.process.running())
    first.go_on(world);
  survivors.send();
  survivors.finish();
  EXPECT_EQ(world.ledger().failure(), "") << (lossless ? "lossless" : "lossy") << ", stopped at " << first.point << " and at "
                                          << second.point << ", then " << static_cast<int>(then);
  return both;
}

class Pairs : public testing::TestWithParam<std::tuple<bool, Then>> {};

TEST_P(Pairs, TwoProducers) {
  const auto [lossless, then] = GetParam();
  constexpr std::string_view kPoints[] = {"C3", "C4", "C5", "C6", "C7", "before-settle"};
  for (const std::string_view first : kPoints)
    for (const std::string_view second : kPoints)
      EXPECT_TRUE(run(lossless, {first, 5, {.sender = 0, .count = 10}}, {second, 1, {.sender = 0, .count = 10}}, then));
}

// The second looks after the first, whose claim has been open for long, and stops while it does; what it has seen by then no longer
// holds when it goes on.
TEST_P(Pairs, ProducerAndRepairer) {
  const auto [lossless, then] = GetParam();
  const World::Sending looking{.sender = 0, .count = 40, .pause_every_8th = std::chrono::microseconds(1500)};
  for (const std::string_view first : {"C5", "C6", "C7", "before-settle"})
    for (const std::string_view second : {"R0", "R1", "R2-marked", "R6"}) {
      const bool marked = first != "C5" && first != "C6";
      if ((second == "R6" && marked) || (second == "R2-marked" && !marked)) continue;
      EXPECT_TRUE(run(lossless, {first, 5, {.sender = 0, .count = 10}}, {second, 1, looking}, then));
    }
}

INSTANTIATE_TEST_SUITE_P(Orders, Pairs, testing::Combine(testing::Bool(), testing::ValuesIn(kThen)));

}  // namespace
}  // namespace arus::crash

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  arus::platform::ticks_to_ns();  // once, instead of in every child
  return RUN_ALL_TESTS();
}
