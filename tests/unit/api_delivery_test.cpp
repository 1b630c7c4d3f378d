// What a group is to producers: lossless, lossy, evicted when it is too far behind or stands still; and what its reader is told then. Each
// offset is delivered or reported as lost, exactly once.
#include <functional>
#include <thread>

#include "api_support.h"
#include "group/group_file.h"

namespace arus::test {
namespace {

class ApiDelivery : public ApiTest {
 protected:
  ApiDelivery() : producer_(must(create("t").producer())) {}
  // A kilobyte each; never longer than it must wait for an eviction.
  void send(int count) {
    const std::string value(1000, 'x');
    for (int i = 0; i < count; ++i) must(producer_.send(bytes(value), {}, kSoon));
  }
  Consumer join(const ConsumerConfig& config) {
    Consumer consumer = must(must(Bus::open(path())).consumer(config));
    must(consumer.subscribe({"t"}));
    return consumer;
  }
  [[nodiscard]] std::uint64_t end() { return must(must(must(Bus::open(path())).topic("t")).describe()).partitions[0].end_offset; }
  GroupPartition group() { return must(must(bus.group("g")).describe()).partitions.at(0); }
  // Reads to the end; the number of times it was told that it was evicted.
  int read_on(Consumer& consumer, Account& account) {
    int evicted = 0;
    for (const std::uint64_t last = end(); account.next() < last;) {
      const Polled batch = consumer.poll(kSoon);
      if (batch) {
        EXPECT_TRUE(account.add(*batch));
        if (batch->empty() && batch->gaps().empty()) {
          ADD_FAILURE() << "nothing comes behind offset " << account.next() << " of " << last;
          break;
        }
      } else {
        EXPECT_TRUE(fails(batch, Errc::evicted, {"'g'", "partition 0", "'t'"}));
        if (batch.error().code() != Errc::evicted) break;
        ++evicted;
      }
    }
    return evicted;
  }
  static constexpr int kLap = 80;  // records: more than the ring has
  Producer producer_;
};

TEST_F(ApiDelivery, ALossyGroupIsLappedAndToldExactly) {
  const ConsumerConfig lossy{.group = "g", .start = Start::earliest, .delivery = Delivery::lossy};
  Account account;
  {
    Consumer consumer = join(lossy);
    send(3);
    read_on(consumer, account);
    EXPECT_EQ(account.lost, 0u);
    send(3 * kLap);
    EXPECT_EQ(read_on(consumer, account), 0) << "nobody was evicted";
    EXPECT_GT(account.lost, 0u);
    EXPECT_EQ(account.delivered + account.lost, end());
    EXPECT_EQ(group().lost, account.lost);
    EXPECT_EQ(group().status, GroupStatus::lossy);
    must(consumer.commit());
  }
  send(2);
  {
    Consumer consumer = join(lossy);
    EXPECT_EQ(must(consumer.poll(kSoon)).size(), 2u) << "from where it was settled";
    must(consumer.commit());
  }
  Account later(end());
  send(2 * kLap);
  Consumer consumer = join(lossy);
  read_on(consumer, later);
  EXPECT_GT(later.lost, 0u);
  EXPECT_EQ(group().lost, account.lost + later.lost) << "counted across readers";
}

TEST_F(ApiDelivery, ALossyGroupReadsWhereBackPressureIsForbidden) {
  must(bus.create("free", {.partition_bytes = 64 << 10, .back_pressure = false}));
  Consumer consumer = must(bus.consumer({.group = "g", .start = Start::earliest, .delivery = Delivery::lossy}));
  must(consumer.subscribe({"free"}));
  must(must(must(bus.topic("free")).producer()).send(bytes("x")));
  EXPECT_EQ(words(must(consumer.poll(kSoon))), "x");
}

// Whatever is in between: a successor finds what was sought, and what lies behind it.
TEST_F(ApiDelivery, ALossyGroupKeepsWhatItSought) {
  const ConsumerConfig lossy{.group = "g", .start = Start::earliest, .delivery = Delivery::lossy};
  send(10);
  for (const std::uint64_t to : {2u, 8u, 0u, 5u}) {
    Consumer consumer = join(lossy);
    while (must(consumer.position("t", 0)) < 10) must(consumer.poll(kSoon));
    must(consumer.commit());
    must(consumer.seek("t", 0, Start::offset(to)));
    consumer = must(bus.consumer({}));
    consumer = join(lossy);
    const Batch batch = must(consumer.poll(kSoon));
    EXPECT_TRUE(batch.gaps().empty()) << describe(batch.gaps()[0]);
    ASSERT_EQ(batch.size(), 10 - to);
    EXPECT_EQ(batch[0].offset(), to);
  }
}

class ApiEvicted : public ApiDelivery, public testing::WithParamInterface<bool> {
 protected:
  static ConsumerConfig limited(std::uint64_t records) {
    ConsumerConfig config{.group = "g", .start = Start::earliest, .max_records = 8};
    (GetParam() ? config.evict_behind_records : config.evict_behind_bytes) = GetParam() ? records : records * 1088;
    return config;
  }
};

TEST_P(ApiEvicted, WhenItIsTooFarBehind) {
  Consumer consumer = join(limited(20));
  Account account;
  send(20);
  EXPECT_EQ(read_on(consumer, account), 0) << "within its limit";
  must(consumer.commit());
  EXPECT_EQ(group().status, GroupStatus::holding);
  send(2 * kLap);
  EXPECT_EQ(group().status, GroupStatus::evicted_behind);
  EXPECT_EQ(read_on(consumer, account), 1);
  EXPECT_GT(account.lost, 0u);
  EXPECT_EQ(account.delivered + account.lost, end());
  EXPECT_EQ(group().lost, account.lost);
  must(consumer.commit());
  EXPECT_EQ(group().status, GroupStatus::holding) << "it has caught up";
  send(20);
  EXPECT_EQ(read_on(consumer, account), 0);
}

// Evicted, and nothing of what it has not read is overwritten yet: then nothing is lost.
TEST_P(ApiEvicted, WithoutALoss) {
  send(30);
  Consumer consumer = join(limited(5));
  Account account;
  EXPECT_TRUE(account.add(must(consumer.poll(kSoon))));
  send(25);
  read_on(consumer, account);
  EXPECT_EQ(account.delivered, end());
  EXPECT_EQ(group().lost, 0u);
}

// A group that begins at the end is behind nothing, however much there is before.
TEST_P(ApiEvicted, NotAtItsBeginning) {
  send(kLap);
  ConsumerConfig config = limited(20);
  config.start = Start::latest;
  Consumer consumer = join(config);
  EXPECT_TRUE(must(consumer.poll(1ms)).empty());
  Account account(end());
  for (int i = 0; i < 10; ++i) {
    send(15);
    EXPECT_EQ(read_on(consumer, account), 0) << i;
    must(consumer.commit());
  }
  EXPECT_EQ(account.lost, 0u);
}

// While producers run away from it all the time: told once for a while in which it is behind, and every offset is accounted for.
TEST_P(ApiEvicted, ASlowReaderIsAccountedFor) {
  Consumer consumer = join(limited(10));
  std::thread sender([&] {
    Producer own = must(must(bus.topic("t")).producer());
    const std::string value(1000, 'x');
    for (int i = 0; i < 20'000; ++i) must(own.send(bytes(value), {}, kSoon));
  });
  Account account;
  while (account.next() < 20'000) {
    const Polled batch = consumer.poll(kSoon);
    if (batch)
      EXPECT_TRUE(account.add(*batch));
    else
      ASSERT_TRUE(fails(batch, Errc::evicted));
    if (HasFailure()) break;
  }
  sender.join();
  EXPECT_EQ(account.delivered + account.lost, 20'000u);
  EXPECT_EQ(group().lost, account.lost);
}
INSTANTIATE_TEST_SUITE_P(Limit, ApiEvicted, testing::Bool(),
                         [](const auto& one) { return std::string(one.param ? "InRecords" : "InBytes"); });

// Alive, and it does not read.
TEST_F(ApiDelivery, AStallLimitEvictsTheLiving) {
  Consumer consumer = join({.group = "g", .start = Start::earliest, .max_records = 8, .stall_limit = 20ms});
  Account account;
  send(2 * kLap);
  EXPECT_EQ(group().status, GroupStatus::evicted_stalled);
  EXPECT_LE(read_on(consumer, account), 1) << "told once";
  EXPECT_GT(account.lost, 0u);
  EXPECT_EQ(account.delivered + account.lost, end());
  must(consumer.commit());
  EXPECT_EQ(group().lost, account.lost);
  send(5);
  EXPECT_EQ(read_on(consumer, account), 0);
  must(consumer.commit());
  EXPECT_EQ(group().status, GroupStatus::holding) << "it holds producers back again";
}

TEST_F(ApiDelivery, AStoppedOneIsEvictedAfterItsStallLimitAndGoesOn) {
  Child child([&](const Child::Side& side) {
    Consumer consumer = join({.group = "g", .start = Start::earliest, .max_records = 8, .stall_limit = 20ms});
    Account account;
    side.arrive_and_wait();
    read_on(consumer, account);
    EXPECT_GT(account.lost, 0u);
    EXPECT_EQ(account.delivered + account.lost, end());
  });
  ASSERT_TRUE(child.await());
  child.stop();
  send(2 * kLap);
  child.resume();
  child.go_on();
  EXPECT_EQ(child.join(), 0);
}

TEST_F(ApiDelivery, EvictedByHand) {
  Consumer consumer = join({.group = "g", .start = Start::earliest});
  send(5);
  EXPECT_TRUE(fails(must(bus.group("g")).evict(), Errc::in_use));
  EXPECT_EQ(must(must(bus.group("g")).evict(true)), 1u);
  Account account;
  send(2 * kLap);
  read_on(consumer, account);
  EXPECT_EQ(account.delivered + account.lost, end());
}

// ---- the committed offset is gone ------------------------------------------------------------------------------------------------

class ApiOnLost : public ApiDelivery {
 protected:
  // Three are settled, and what follows is overwritten.
  void lose() {
    {
      Consumer consumer = join({.group = "g", .start = Start::earliest, .max_records = 3, .grace = 1ms});
      send(3);
      ASSERT_EQ(must(consumer.poll(kSoon)).size(), 3u);
      must(consumer.commit());
    }
    send(2 * kLap);
    first_ = must(must(bus.topic("t")).describe()).partitions[0].start_offset;
    ASSERT_GT(first_, 3u);
  }
  static ConsumerConfig going_on(OnLost how) { return {.group = "g", .start = Start::earliest, .on_lost = how, .grace = 1ms}; }
  std::uint64_t first_ = 0;
};

TEST_F(ApiOnLost, EarliestGoesOnWithWhatIsLeft) {
  lose();
  Consumer consumer = join(going_on(OnLost::earliest));
  const Batch batch = must(consumer.poll(kSoon));
  ASSERT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(describe(batch.gaps()[0]), "lost 0 [3," + std::to_string(first_) + ")");
  EXPECT_EQ(batch[0].offset(), first_);
  EXPECT_EQ(group().lost, first_ - 3);
}

TEST_F(ApiOnLost, LatestGoesOnAtTheEnd) {
  lose();
  Consumer consumer = join(going_on(OnLost::latest));
  const Batch batch = must(consumer.poll(kSoon));
  ASSERT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(batch.gaps()[0].from, 3u);
  EXPECT_EQ(batch.gaps()[0].kind, Gap::Kind::lost);
  EXPECT_EQ(batch.size(), 0u);
  must(consumer.commit());
  const std::uint64_t last = end();
  send(1);
  const Batch next = must(consumer.poll(kSoon));
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].offset(), last);
}

TEST_F(ApiOnLost, FailWaitsToBeToldWhere) {
  lose();
  {
    Consumer consumer = join(going_on(OnLost::fail));
    EXPECT_TRUE(fails(consumer.poll(1ms), Errc::out_of_range, {"'g'", "offset 3", "seek"}));
    EXPECT_TRUE(fails(consumer.poll(1ms), Errc::out_of_range)) << "as long as it is not told";
  }
  Consumer consumer = join(going_on(OnLost::fail));
  EXPECT_TRUE(fails(consumer.poll(1ms), Errc::out_of_range)) << "and the next one as well";
  must(consumer.seek("t", 0, Start::offset(first_)));
  const Batch batch = must(consumer.poll(kSoon));
  ASSERT_FALSE(batch.empty());
  EXPECT_EQ(batch[0].offset(), first_);
  EXPECT_TRUE(batch.gaps().empty());
}

TEST_F(ApiOnLost, NothingIsLostNothingIsSaid) {
  for (const OnLost how : {OnLost::latest, OnLost::fail}) {
    Consumer consumer = join(going_on(how));
    send(3);
    const Batch batch = must(consumer.poll(kSoon));
    EXPECT_EQ(batch.size(), 3u);
    EXPECT_TRUE(batch.gaps().empty());
    must(consumer.commit());
  }
}

// ---- without members ---------------------------------------------------------------------------------------------------------------

// Whoever the last one was, and whoever it meant its partition for: without a member producers wait for the grace, and no longer.
class ApiGrace : public ApiDelivery {
 protected:
  static ConsumerConfig brief(std::string instance = {}) {
    return {.group = "g", .start = Start::earliest, .instance = std::move(instance), .grace = 1ms};
  }
};

TEST_F(ApiGrace, OfAStaticOneThatLeftInAProcessThatLives) {
  { const Consumer consumer = join(brief("one")); }
  send(2 * kLap);
  EXPECT_EQ(group().status, GroupStatus::evicted_abandoned);
}

TEST_F(ApiGrace, OfAPartitionThatWasMeantForOneWhoLeft) {
  std::optional<Bus> life = must(Bus::open(path()));
  std::optional<Consumer> two;
  {
    const Consumer one = join(brief());
    two = must(life->consumer(brief()));
    must(two->subscribe({"t"}));
  }  // lets the partition go to the other one …
  EXPECT_TRUE(two->assignment().empty());
  two.reset();  // … which never takes it, and whose process lives
  send(2 * kLap);
  EXPECT_EQ(group().status, GroupStatus::evicted_abandoned);
}

// As long as a member lives, nothing of what is kept for another one that is away is lost, or of what the dead have left.
TEST_F(ApiGrace, IsForGroupsWithoutMembers) {
  for (const bool dies : {true, false}) {
    const std::string topic = dies ? "dies" : "leaves";
    Producer producer = must(create(topic, {.partitions = 2}).producer());
    ConsumerConfig config = brief("one");
    config.group = topic;
    config.grace = 10ms;
    const auto subscribed = [&](const std::string& instance) {
      config.instance = instance;
      Consumer consumer = must(must(Bus::open(path())).consumer(config));
      must(consumer.subscribe({topic}));
      return consumer;
    };
    Consumer one = subscribed("one");
    Child other([&](const Child::Side& side) {
      Consumer two = subscribed("two");
      while (two.assignment().size() != 1) must(two.poll(1ms));
      side.arrive_and_wait();
    });
    while (one.assignment().size() != 1) must(one.poll(1ms));
    ASSERT_TRUE(other.await());
    if (dies) {
      other.kill();
    } else {
      other.go_on();
      ASSERT_EQ(other.join(), 0);
    }
    const auto away = [&] {
      const auto members = must(must(bus.group(topic)).describe()).members;
      return members.size() == 2 && members[1].away;
    };
    while (!away() && one.assignment().size() == 1) must(one.poll(1ms));
    must(one.poll(0ns));
    const std::string value(1000, 'x');
    for (std::uint32_t partition = 0; partition < 2; ++partition)
      while (producer.send(bytes(value), {.partition = partition}, 50ms)) {
      }
    for (const GroupPartition& partition : must(must(bus.group(topic)).describe()).partitions)
      EXPECT_EQ(partition.status, GroupStatus::holding) << topic << ' ' << partition.partition;
    std::uint64_t got = 0;
    while (got < 2) {
      const Batch batch = must(one.poll(kSoon));
      EXPECT_TRUE(batch.gaps().empty());
      for (const Record& record : batch) got += record.offset() == 0 ? 1 : 0;
    }
  }
}

TEST_F(ApiGrace, OfOneThatCouldNotSayGoodbye) {
  std::optional<Consumer> one = join(brief());
  Child holder([&](const Child::Side& side) {
    const auto own = must(log::BusDirectory::open(path()));
    must(must(group::GroupFile::open(*own, "g"))->change([&](group::GroupState&) -> Result<bool> {
      side.arrive_and_wait();
      return false;
    }));
  });
  ASSERT_TRUE(holder.await());
  holder.stop();
  one.reset();  // whoever changes the group is stopped
  send(2 * kLap);
  EXPECT_EQ(group().status, GroupStatus::evicted_abandoned);
  holder.kill();
  Consumer next = join(brief());
  EXPECT_EQ(must(must(bus.group("g")).describe()).members.size(), 1u) << "it has left all the same";
  EXPECT_EQ(next.assignment().size(), 1u);
  for (const auto& file : std::filesystem::directory_iterator(path() + "/groups"))
    EXPECT_EQ(file.path().string().find(".left-"), std::string::npos) << file.path();
}

// A reader that was evicted may be evicted once more, or be gone, before it has come to a record: then the committed offset and the cursor are
// two places, and what lies between was lost. Nothing is ever uncommitted here.
TEST_F(ApiDelivery, WhoFollowsAnEvictedReaderTellsWhatWasLost) {
  std::uint64_t next = 0;
  const auto look = [&](Consumer& consumer) {
    const Polled batch = consumer.poll(0ns);
    if (!batch) {
      EXPECT_TRUE(fails(batch, Errc::evicted));
      return;
    }
    for (const Gap& gap : batch->gaps()) {
      EXPECT_EQ(gap.kind, Gap::Kind::lost) << describe(gap);
      next = gap.to;
    }
    for (const Record& record : *batch) next = record.offset() + 1;
  };
  ConsumerConfig limited{.group = "limited", .start = Start::earliest, .evict_behind_records = 4};
  ConsumerConfig lossy{.group = "lossy", .start = Start::earliest, .delivery = Delivery::lossy};
  for (ConsumerConfig config : {limited, lossy}) {
    for (const bool auto_commit : {true, false}) {
      config.auto_commit = auto_commit;
      config.group += auto_commit ? "" : "-by-hand";
      for (int more = 1; more <= 40 && !HasFailure(); ++more) {
        SCOPED_TRACE(config.group + ", " + std::to_string(more));
        Consumer consumer = join(config);
        send(1);
        for (int i = 0; i < 10 && next != end(); ++i) look(consumer);
        ASSERT_EQ(next, end());
        must(consumer.commit());
        send(more);  // handed out, and not committed
        look(consumer);
        send(2 * kLap);
        look(consumer);
        if (more % 3 == 0 && config.delivery == Delivery::lossless) must(must(bus.group(config.group)).evict(true));
        send(more % 20);
        look(consumer);
      }
    }
  }
}

// The same of a place that is gone, and of a reader that has not come to a record yet.
TEST_F(ApiDelivery, WhoFollowsOneThatBeganAtALostOffsetTellsSo) {
  send(3 * kLap);
  const auto first_gap = [&](const ConsumerConfig& config) {
    Consumer follower = join(config);
    const Batch batch = must(follower.poll(0ns));
    return batch.gaps().empty() ? std::string("none") : describe(batch.gaps()[0]);
  };
  for (const Delivery delivery : {Delivery::lossless, Delivery::lossy}) {
    ConsumerConfig config{.group = "g", .start = Start::offset(2), .delivery = delivery};
    config.group += delivery == Delivery::lossy ? "-lossy" : "";
    must(join(config).commit());
    EXPECT_EQ(first_gap(config).substr(0, 10), "lost 0 [2,");
    {
      Consumer consumer = join(config);
      must(consumer.poll(0ns));
      must(consumer.seek("t", 0, Start::offset(5)));
    }
    EXPECT_EQ(first_gap(config).substr(0, 10), "lost 0 [5,");
  }
}

// What was handed out before an eviction can be committed after it, and is not lost to a successor.
TEST_F(ApiDelivery, WhatWasHandedOutIsCommittedBehindAnEviction) {
  ConsumerConfig config{.group = "g", .start = Start::earliest, .evict_behind_records = 30};
  config.auto_commit = false;
  std::uint64_t begin = 0;
  for (const std::uint64_t of_twenty : {20u, 15u}) {
    auto consumer = std::make_unique<Consumer>(join(config));
    Account account(begin);
    send(20);
    read_on(*consumer, account);
    const std::uint64_t committed = account.next() - 20 + of_twenty;
    send(2 * kLap);
    EXPECT_TRUE(fails(consumer->poll(0ns), Errc::evicted));
    must(consumer->commit("t", 0, committed));
    EXPECT_EQ(group().committed, committed);
    consumer.reset();
    Consumer follower = join(config);
    Account rest(committed);
    read_on(follower, rest);
    EXPECT_EQ(rest.uncommitted, 0u);
    EXPECT_GT(rest.lost, 0u);
    must(follower.commit());
    begin = rest.next();
  }
}

}  // namespace
}  // namespace arus::test
