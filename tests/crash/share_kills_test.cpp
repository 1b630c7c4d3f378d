// Share groups: members killed or stopped at every kill point of theirs, in every role that passes it. Others go on, and the books balance: no
// record is accepted twice, none is left over, and rejected ones are among the dead letters. A point that no case reaches fails the suite.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <functional>
#include <set>
#include <stdexcept>

#include "crash/world.h"
#include "crash_points.h"
#include "platform/clock.h"
#include "platform/kill_point.h"

namespace arus::crash {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::string_view kWorkers = "workers";
constexpr std::string_view kDead = "dead";
constexpr std::uint32_t kDone = kFree;  // a flag: the survivors may end
constexpr std::size_t kMostRecords = 1024;

// What all processes of a case write down, by the sequence of a record with its one sender.
struct Books {
  std::array<std::atomic<std::uint32_t>, kMostRecords> delivered, attempted, accepted, dead;
  std::atomic<std::uint32_t> handled;
  std::array<std::atomic<std::uint64_t>, kSharePoints.size()> passed;
};

template <class T>
T& shared() {
  static T* instance = [] {
    void* memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }();
  return *instance;
}
Books& books() { return shared<Books>(); }
void new_books() { std::memset(static_cast<void*>(&books()), 0, sizeof(Books)); }

struct Fired {
  std::array<std::atomic<std::uint64_t>, kSharePoints.size()> at;
};

std::size_t number_of(std::string_view point) {
  return static_cast<std::size_t>(std::find(kSharePoints.begin(), kSharePoints.end(), point) - kSharePoints.begin());
}

// Of a victim: a process has one.
std::size_t target = 0;
std::uint64_t left = 0;
int raised = 0;

void count_passings() {
  platform::kill_hook = [](const char* point) {
    if (const std::size_t i = number_of(point); i < kSharePoints.size()) books().passed[i].fetch_add(1);
  };
}
void fire_at(std::string_view point, std::uint64_t nth, int signal) {
  target = number_of(point);
  left = nth;
  raised = signal;
  platform::kill_hook = [](const char* passed) {
    if (kSharePoints[target] != passed || left == 0 || --left != 0) return;
    shared<Fired>().at[target].fetch_add(1);
    raise(raised);
  };
}

// What becomes of a record is up to its sequence.
bool is_rejected(std::uint64_t sequence) { return sequence % 11 == 5; }
bool is_released_first(std::uint64_t sequence) { return sequence % 7 == 3; }

struct Working {
  nanoseconds grace = std::chrono::seconds(10);
  std::uint32_t max_records = 3;
  std::uint32_t enough = ~0u;  // ends when it has handled so many, or finds no more
  bool dies_holding = false;   // with its first batch
};

void work(const World& world, const Working& how) {
  Bus bus = world.open();
  ShareConsumer consumer = bus.share_consumer({.group = std::string(kWorkers),
                                               .wait = Wait::sleeping(),
                                               .max_records = how.max_records,
                                               .max_deliveries = 1000,
                                               .dead_letter_topic = std::string(kDead),
                                               .window = 16,
                                               .grace = how.grace})
                               .value();
  if (auto done = consumer.subscribe({std::string(kTopic)}); !done) throw std::runtime_error(std::string(done.error().message()));
  world.ledger().flag(kReady).fetch_add(1);
  std::uint32_t handled = 0;
  for (int idle = 0; world.ledger().flag(kDone).load() == 0 && handled < how.enough && (how.enough == ~0u || idle < 40);) {
    const auto polled = consumer.poll(milliseconds(5));
    if (!polled && polled.error().code() == Errc::evicted) continue;
    const ShareBatch batch = polled.value();
    idle = batch.empty() ? idle + 1 : 0;
    if (!batch.empty() && how.dies_holding) raise(SIGKILL);
    for (const SharedRecord& job : batch) {
      const auto identity = check_value(job.value());
      if (!identity) throw std::runtime_error(fmt::format("offset {} is not as it was written", job.offset()));
      const std::uint64_t sequence = identity->sequence;
      books().delivered[sequence].fetch_add(1);
      if (is_released_first(sequence) && job.delivery_count() == 1) {
        consumer.release(job).value();
      } else if (is_rejected(sequence)) {
        consumer.reject(job).value();
      } else {
        books().attempted[sequence].fetch_add(1);
        const auto accepted = consumer.accept(job);
        if (accepted) books().accepted[sequence].fetch_add(1);
        if (!accepted && accepted.error().code() != Errc::evicted)
          throw std::runtime_error(std::string(accepted.error().message()));
      }
      ++handled;
      books().handled.fetch_add(1);
    }
  }
}

struct ShareRole {
  std::string name;
  nanoseconds grace = std::chrono::seconds(10);
  bool lossless = true;
  std::function<void(World&)> before{};
  std::function<void(World&)> victim;
  Act act = Act::send;
};

void send_now(World& world, std::uint64_t count) {
  if (Process process = Process::run([&] { world.send({.sender = 0, .count = count}); }); !process.wait().good())
    throw std::runtime_error("a producer failed");
}
void die_holding(World& world, nanoseconds grace) {
  Process process = Process::run([&] { work(world, {.grace = grace, .dies_holding = true}); });
  if (const Ending ending = process.wait(); !ending.by(SIGKILL))
    throw std::runtime_error("the one that was to die: " + to_string(ending));
}

std::vector<ShareRole> share_roles() {
  std::vector<ShareRole> all;
  all.push_back({.name = "member",
                 .before = [](World& world) { send_now(world, 12); },
                 .victim = [](World& world) { work(world, {.enough = 60}); }});
  all.push_back({.name = "member in a burst", .victim = [](World& world) { work(world, {.enough = 120}); }, .act = Act::burst});
  ShareRole successor{.name = "member after a dead one", .victim = [](World& world) { work(world, {.enough = 20}); }};
  successor.before = [](World& world) {
    send_now(world, 12);
    die_holding(world, Working{}.grace);
  };
  all.push_back(successor);
  ShareRole evicted{
      .name = "member after an eviction", .grace = nanoseconds::zero(), .lossless = false, .victim = [](World& world) {
        work(world, {.grace = nanoseconds::zero(), .enough = 20});
      }};
  evicted.before = [](World& world) {
    send_now(world, 30);
    die_holding(world, nanoseconds::zero());
    send_now(world, 250);
  };
  all.push_back(evicted);
  return all;
}

struct ShareCase {
  const ShareRole& role;
  std::string_view point;  // empty: only count
  std::uint64_t nth;
  int signal;
};

class ShareTrial {
 public:
  explicit ShareTrial(const ShareCase& what)
      : case_(what), config_{.partition_bytes = 64 << 10, .max_groups = 4}, world_(&config_) {
    world_.open().create(kDead, {.partition_bytes = 1 << 20}).value();
  }
  void go() {
    new_books();
    const ShareRole& role = case_.role;
    if (role.before) role.before(world_);
    world_.ledger().flag(kReady).store(0);
    Process feeder = Process::run([this] {
      wait_for("a member, who keeps what is sent", [this] { return world_.ledger().flag(kReady).load() != 0; });
      // In a burst members are to come to the end of a record that still grows.
      const std::chrono::microseconds pause(case_.role.act == Act::burst ? 1000 : 0);
      world_.send({.sender = 0, .count = 300, .act = case_.role.act, .pause_every_8th = pause});
    });
    Process victim = Process::run([&] {
      if (case_.point.empty())
        count_passings();
      else
        fire_at(case_.point, case_.nth, case_.signal);
      role.victim(world_);
    });
    Ending ending = victim.wait();
    std::array<Process, 2> survivors;
    for (Process& one : survivors) one = Process::run([&] { work(world_, {.grace = role.grace}); });
    if (ending.how == Ending::How::stopped) {
      nap(milliseconds(20));
      victim.signal(SIGCONT);
      ending = victim.wait();
    }
    const std::string what = fmt::format("{}, {} at passing {} of {}", role.name, case_.signal == SIGKILL ? "killed" : "stopped",
                                         case_.nth, case_.point);
    EXPECT_TRUE(ending.good() || ending.by(SIGKILL)) << what << ": the victim " << to_string(ending);
    EXPECT_TRUE(feeder.wait().good()) << what << ": the feeder";
    Bus bus = world_.open();
    SharePartition state{};
    wait_for("everything to be settled", [&] {
      state = bus.share_group(kWorkers).value().partitions.at(0);
      return state.settled_before == state.end;
    });
    world_.ledger().flag(kDone).store(1);
    for (Process& one : survivors) EXPECT_EQ(to_string(one.wait()), "exited with 0") << what << ": a survivor";
    EXPECT_EQ(state.acquired, 0u) << what;
    EXPECT_EQ(bus.share_group(kWorkers).value().members.size(), 0u) << what;
    balance(bus, state, what);
    world_.check_ring();
    EXPECT_EQ(world_.ledger().failure(), "") << what;
  }

 private:
  void balance(Bus& bus, const SharePartition& state, const std::string& what) {
    Consumer dead = bus.consumer({.start = Start::earliest}).value();
    dead.subscribe({std::string(kDead)}).value();
    for (;;) {
      const Batch batch = dead.poll(nanoseconds::zero()).value();
      if (batch.empty()) break;
      for (const Record& record : batch) {
        const auto identity = check_value(record.value());
        if (identity)
          books().dead[identity->sequence].fetch_add(1);
        else
          ADD_FAILURE() << what << ": a dead letter is not as the record was";
      }
    }
    const std::uint64_t sent = world_.ledger().sender(0).returned.load();
    std::uint64_t missing = 0;
    std::uint64_t unsure = 0;  // the victim was settling it when it died
    for (std::uint64_t i = 0; i < sent; ++i) {
      const std::uint32_t accepted = books().accepted[i].load();
      EXPECT_LE(accepted, 1u) << what << ": record " << i << " was accepted more than once";
      if (is_rejected(i)) {
        EXPECT_EQ(books().attempted[i].load(), 0u);
        missing += books().dead[i].load() == 0 ? 1 : 0;
      } else {
        EXPECT_EQ(books().dead[i].load(), 0u) << what << ": record " << i << " was buried without a reason";
        if (accepted == 0) (books().attempted[i].load() == 0 ? missing : unsure) += 1;
      }
    }
    EXPECT_LE(unsure, case_.signal == SIGKILL ? 1u : 0u) << what;
    if (case_.role.lossless) {
      EXPECT_EQ(missing, 0u) << what;
      EXPECT_EQ(state.lost, 0u) << what;
    } else {
      EXPECT_LE(missing, state.lost) << what;
    }
  }

  ShareCase case_;
  TopicConfig config_;
  World world_;
};

class ShareKills : public testing::TestWithParam<ShareRole> {};

TEST_P(ShareKills, OthersGoOnAndTheBooksBalance) {
  const ShareRole& role = GetParam();
  ShareTrial({role, {}, 0, 0}).go();
  if (HasFailure()) return;
  std::vector<std::uint64_t> passed;
  for (const auto& count : books().passed) passed.push_back(count.load());
  for (std::size_t i = 0; i < passed.size(); ++i) {
    if (passed[i] == 0) continue;
    std::set<std::uint64_t> which{1};
    if (passed[i] > 3) which.insert(passed[i] / 2);
    for (const std::uint64_t nth : which) {
      ShareTrial({role, kSharePoints[i], nth, SIGKILL}).go();
      if (nth == *which.rbegin()) ShareTrial({role, kSharePoints[i], nth, SIGSTOP}).go();
      if (HasFailure()) return;
    }
  }
}

std::string as_test_name(const testing::TestParamInfo<ShareRole>& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Roles, ShareKills, testing::ValuesIn(share_roles()), as_test_name);

// One that is stopped keeps what it has acquired, and nothing else.
TEST(ShareStops, OthersGoOnBesideOneThatIsStopped) {
  for (const std::string_view point :
       {"S-filled", "S-counted", "S-acquired", "S-settled", "S-base", "S-committed", "S-moved", "S-put-back", "S-buried"}) {
    const TopicConfig config{.partition_bytes = 64 << 10, .max_groups = 4};
    World world(&config);
    world.open().create(kDead, {.partition_bytes = 1 << 20}).value();
    new_books();
    constexpr std::uint32_t kCount = 12;  // one is rejected, two are released
    send_now(world, kCount);
    Process victim = Process::run([&] {
      fire_at(point, 1, SIGSTOP);
      work(world, {.max_records = 1});
    });
    ASSERT_EQ(victim.wait().how, Ending::How::stopped) << point;
    Process other = Process::run([&] { work(world, {}); });
    const auto settled = [] {
      std::uint32_t count = 0;
      for (std::uint64_t i = 0; i < kCount; ++i)
        if (is_rejected(i) ? books().delivered[i].load() != 0 : books().accepted[i].load() != 0) ++count;
      return count;
    };
    wait_for("the others", [&] { return settled() >= kCount - 1; });
    victim.signal(SIGCONT);
    wait_for("the one that was stopped", [&] { return settled() == kCount; });
    world.ledger().flag(kDone).store(1);
    EXPECT_TRUE(victim.wait().good()) << point;
    EXPECT_TRUE(other.wait().good()) << point;
  }
}

// The end of a group, killed in the middle: whoever says it again gets it done, and the name is free.
TEST(ShareRemoval, IsFinishedByTheNext) {
  const TopicConfig config{.partition_bytes = 64 << 10, .max_groups = 4};
  World world(&config);
  world.open().create(kDead, {.partition_bytes = 1 << 20}).value();
  new_books();
  send_now(world, 12);
  Process member = Process::run([&] { work(world, {.enough = 4}); });
  ASSERT_TRUE(member.wait().good());
  Process victim = Process::run([&] {
    fire_at("S-removed", 1, SIGKILL);
    world.open().remove_share_group(kWorkers).value();
  });
  ASSERT_TRUE(victim.wait().by(SIGKILL));
  Bus bus = world.open();
  bus.remove_share_group(kWorkers).value();
  EXPECT_TRUE(bus.share_groups().value().empty());
  Process fresh = Process::run([&] { work(world, {.enough = 12}); });
  EXPECT_TRUE(fresh.wait().good());
  EXPECT_GT(books().delivered[0].load(), 1u) << "a new group begins anew";
}

// After all tests, if all ran.
class EveryPointIsReached : public testing::Environment {
 public:
  void TearDown() override {
    const auto& unit = *testing::UnitTest::GetInstance();
    if (unit.test_to_run_count() != unit.total_test_count()) return;
    for (std::size_t i = 0; i < kSharePoints.size(); ++i)
      EXPECT_GT(shared<Fired>().at[i].load(), 0u) << "no case reached kill point " << kSharePoints[i];
  }
};

}  // namespace
}  // namespace arus::crash

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  arus::platform::ticks_to_ns();  // once, instead of in every child
  arus::crash::shared<arus::crash::Fired>();
  arus::crash::books();
  testing::AddGlobalTestEnvironment(new arus::crash::EveryPointIsReached);
  return RUN_ALL_TESTS();
}
