// Every kill point in every role that passes it: the victim dies there, or stops there for a while; the others go on, and the books
// balance. A point that no case reaches fails the suite.
//
//   kill_points_test --table=FILE   also writes what happened to FILE, as tests/crash/README.md
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include "crash/roles.h"
#include "crash/table.h"
#include "crash/trigger.h"
#include "platform/clock.h"

namespace arus::crash {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

struct Case {
  const Role& role;
  std::string_view point;  // empty: only count
  std::uint64_t nth;
  Blow blow;
};

// What the victim was sending when it died at a point of the producer's way; by the protocol's table "What a crash leaves".
enum class InFlight : std::uint8_t { any, nothing, uncommitted, delivered };
InFlight expected(std::string_view point) {
  static const std::set<std::string_view> none{"C3",    "C4",      "C5-torn", "M-own",  "M-walk",
                                               "M-low", "M-fence", "M-limit", "M-dead", "M-evict"};
  static const std::set<std::string_view> open{"C5", "C6", "C7", "batch", "before-settle", "G1", "G2"};
  if (none.contains(point) || point.starts_with("E-")) return InFlight::nothing;
  if (open.contains(point)) return InFlight::uncommitted;
  return point == "settled" || point == "G3" || point.starts_with("L") ? InFlight::delivered : InFlight::any;
}

class Trial {
 public:
  explicit Trial(const Case& what)
      : case_(what), role_(what.role), world_(role_.topic ? &*role_.topic : nullptr), ledger_(world_.ledger()) {}

  // True if the victim came to the point.
  bool go() {
    if (role_.before) role_.before(world_);
    if (role_.reader_before) {
      reader_ = reader();
      wait_for("the reader", [this] { return ledger_.flag(kReading).load() != 0; });
    }
    if (role_.bystander) stand_by();
    if (role_.feeder) feed();
    const std::uint32_t sender = role_.sends ? world_.new_sender() : 0;
    Process victim = Process::run([&] {
      if (case_.point.empty())
        count_passings();
      else
        fire_at(case_.point, case_.nth, case_.blow == Blow::kill ? SIGKILL : SIGSTOP);
      role_.victim(world_, sender);
    });
    pid_ = victim.pid();
    Ending ending = victim.wait();
    const bool fired = ending.how == Ending::How::stopped || ending.by(SIGKILL);
    if (ending.how == Ending::How::stopped) {
      look_while_stopped();
      victim.signal(SIGCONT);
      ending = victim.wait();
    }
    if (!ending.good() && !ending.by(SIGKILL)) ledger_.fail("the victim " + to_string(ending));
    if (role_.after) {
      role_.after(world_);
    } else {
      go_on();
      ledger_.balance(0, end_, role_.lossless, role_.reader_before || role_.feeder);
      world_.check_ring();
    }
    if (fired && ledger_.failure().empty()) note_outcome(case_.point, role_.family, role_.name, case_.blow, outcome(sender));
    EXPECT_EQ(ledger_.failure(), "") << role_.name << ", " << (case_.blow == Blow::kill ? "killed" : "stopped") << " at passing "
                                     << case_.nth << " of " << case_.point;
    return fired;
  }

 private:
  Process reader() {
    return Process::run([this] { world_.read(0, role_.topic->back_pressure ? grouped() : observing()); });
  }
  void stand_by() {
    bystander_number_ = world_.new_sender();
    bystander_ = Process::run([this] { world_.stand_by({.sender = bystander_number_, .count = 150, .pause_every_8th = calm()}); });
    wait_for("the bystander", [this] { return ledger_.flag(kReady).load() == 1; });
  }
  // Begins when there is a reader, so that the reader misses nothing.
  void feed() {
    const std::uint32_t sender = world_.new_sender();
    feeder_ = Process::run([this, sender] {
      wait_for("a reader", [this] { return ledger_.flag(kReading).load() != 0; });
      world_.send({.sender = sender, .count = 300, .pause_every_8th = calm()});
    });
  }
  // Observers keep up, mostly, so that the table can say what became of the victim's record.
  microseconds calm() const { return microseconds(role_.topic->back_pressure ? 0 : 500); }

  bool is_named() const {
    const std::string text(ledger_.sender(bystander_number_).refusal.data());
    return text.find(fmt::format("pid {} ", pid_)) != std::string::npos;
  }
  // A refusal that names somebody else is of a moment when the reader was slower than the bystander.
  void look_while_stopped() {
    const bool holds_up = role_.sends && role_.bystander && expected(case_.point) == InFlight::uncommitted;
    ledger_.flag(kProbe).store(1);
    if (holds_up)
      wait_for("a refusal that names the one that is stopped", [this] { return is_named(); });
    else
      nap(milliseconds(role_.bystander ? 25 : 10));
    ledger_.flag(kProbe).store(0);
    if (!role_.bystander) return;
    nap(milliseconds(5));  // the last attempt may still wait
    named_ = is_named();
    if (role_.sends && !holds_up && named_ && !case_.point.starts_with("R"))
      ledger_.fail(fmt::format("the one that is stopped is blamed: '{}'", ledger_.sender(bystander_number_).refusal.data()));
  }

  void end(Process& process, std::string_view name) {
    if (!process.running()) return;
    if (const Ending how = process.wait(); !how.good()) ledger_.fail(fmt::format("the {} {}", name, to_string(how)));
  }
  void go_on() {
    ledger_.flag(kGo).store(1);
    const bool single = role_.topic->producers == Producers::single;
    if (!reader_.running() && role_.feeder) {
      const std::uint64_t before = ledger_.flag(kReading).load();
      reader_ = reader();
      wait_for("the successor", [this, before] { return ledger_.flag(kReading).load() > before; });
    }
    if (single) end(feeder_, "feeder");  // there can be no other producer before
    const std::uint32_t number = world_.new_sender();
    Process late = Process::run([this, number] { world_.send({.sender = number, .count = 100, .pause_every_8th = calm()}); });
    if (!reader_.running()) reader_ = reader();
    end(late, "late producer");
    end(feeder_, "feeder");
    end(bystander_, "bystander");
    end_ = world_.end_offset();  // nobody sends any more
    ledger_.flag(kTarget).store(end_);
    end(reader_, "reader");
  }

  std::string outcome(std::uint32_t number) {
    if (case_.blow == Blow::stop)
      return !role_.bystander ? "goes on after SIGCONT" : named_ ? "refused, naming it" : "others not held up";
    if (!role_.sends || !role_.reader_before) return "others go on";
    const Ledger::Sender& sender = ledger_.sender(number);
    const std::uint64_t in_flight = sender.attempted.load() - sender.returned.load();
    if (in_flight == 0) return "others go on";
    const bool aborted = sender.aborts.load() != 0 && is_aborted(sender.returned.load());
    const std::uint64_t delivered = ledger_.delivered(0, end_, number);
    std::uint64_t committed = 0;
    std::uint64_t aborts = 0;
    for (std::uint64_t i = 0; i < sender.returned.load(); ++i)
      (sender.aborts.load() != 0 && is_aborted(i) ? aborts : committed) += 1;
    const std::uint64_t uncommitted = ledger_.count(0, end_, Ledger::Fate::uncommitted) - aborts;
    const bool lossy = ledger_.count(0, end_, Ledger::Fate::lost) != 0;
    InFlight fate = delivered > committed ? InFlight::delivered : uncommitted != 0 ? InFlight::uncommitted : InFlight::nothing;
    InFlight wanted = expected(case_.point);
    if (wanted == InFlight::delivered && aborted) wanted = InFlight::uncommitted;
    if (!lossy && wanted != InFlight::any && fate != wanted)
      ledger_.fail(fmt::format("what was in flight: {}, expected {} ({} delivered of {} committed, {} uncommitted)",
                               static_cast<int>(fate), static_cast<int>(wanted), delivered, committed, uncommitted));
    if (!lossy && fate == InFlight::uncommitted && uncommitted != in_flight)
      ledger_.fail(fmt::format("{} records were in flight, {} are reported as uncommitted", in_flight, uncommitted));
    if (lossy) fate = wanted;
    switch (fate) {
      case InFlight::any: return "others go on";
      case InFlight::nothing: return "nothing claimed";
      case InFlight::delivered: return "delivered";
      case InFlight::uncommitted: return aborted && expected(case_.point) != InFlight::uncommitted ? "delivered" : "uncommitted";
    }
    return {};
  }

  const Case& case_;
  const Role& role_;
  World world_;
  const Ledger& ledger_;
  Process reader_;
  Process bystander_;
  Process feeder_;
  std::uint32_t bystander_number_ = 0;
  pid_t pid_ = 0;
  bool named_ = false;
  std::uint64_t end_ = 0;
};

class KillPoints : public testing::TestWithParam<Role> {};

TEST_P(KillPoints, OthersGoOnAndTheBooksBalance) {
  const Role& role = GetParam();
  forget_passings();
  {
    const Case count{role, {}, 0, Blow::kill};
    Trial(count).go();
  }
  if (HasFailure()) return;
  std::vector<std::uint64_t> passed;
  for (const std::string_view point : points()) passed.push_back(passings(point));
  std::size_t cases = 0;
  for (std::size_t i = 0; i < passed.size(); ++i) {
    if (passed[i] == 0 || (role.concerns && !role.concerns(points()[i]))) continue;
    // The first passing, and one in the middle of things; how many there are may differ from run to run.
    std::set<std::uint64_t> which{1};
    if (passed[i] > 3) which.insert(passed[i] / 2);
    for (const std::uint64_t nth : which) {
      cases += Trial(Case{role, points()[i], nth, Blow::kill}).go() ? 1 : 0;
      if (nth == *which.rbegin()) cases += Trial(Case{role, points()[i], nth, Blow::stop}).go() ? 1 : 0;
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GT(cases, 0u) << "this role passes no point";
}

// Registration is the one lock that producers wait for: two seconds, then they say who holds it.
TEST(StoppedWhileRegistering, IsNamedToOthersWhoRegister) {
  const TopicConfig config{.partition_bytes = 64 << 10, .max_producers = 4};
  World world(&config);
  const std::uint32_t sender = world.new_sender();
  Process victim = Process::run([&] {
    fire_at("E-born", 1, SIGSTOP);
    world.send({.sender = sender, .count = 10});
  });
  ASSERT_EQ(victim.wait().how, Ending::How::stopped);
  const auto refused = world.open().topic(kTopic).value().producer();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::timed_out);
  EXPECT_NE(refused.error().message().find(fmt::format("pid {} ", victim.pid())), std::string_view::npos)
      << refused.error().message();
  victim.signal(SIGCONT);
  EXPECT_TRUE(victim.wait().good());
  EXPECT_TRUE(world.open().topic(kTopic).value().producer());
}

std::string as_test_name(const testing::TestParamInfo<Role>& info) {
  std::string name = info.param.name;
  std::erase(name, ',');
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Roles, KillPoints, testing::ValuesIn(roles()), as_test_name);

std::string table_file;

// After all tests, if all ran.
class EveryPointIsReached : public testing::Environment {
 public:
  void TearDown() override {
    const auto& unit = *testing::UnitTest::GetInstance();
    if (!table_file.empty()) std::ofstream(table_file) << outcomes();
    if (unit.test_to_run_count() != unit.total_test_count()) return;
    for (const std::string_view point : points()) EXPECT_GT(fired(point), 0u) << "no case reached kill point " << point;
  }
};

}  // namespace
}  // namespace arus::crash

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  for (int i = 1; i < count; ++i)
    if (const std::string_view argument = arguments[i]; argument.starts_with("--table="))
      arus::crash::table_file = argument.substr(8);
  arus::platform::ticks_to_ns();  // once, instead of in every child
  testing::AddGlobalTestEnvironment(new arus::crash::EveryPointIsReached);
  return RUN_ALL_TESTS();
}
