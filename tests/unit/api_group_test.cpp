// Lossless readers under a group's name: what holds producers back, where a successor starts, eviction, and who is refused.
#include <atomic>
#include <thread>

#include "api_support.h"

namespace arus::test {
namespace {

class ApiGroup : public ApiTest {
 protected:
  // A reader in another process that takes `batches` batches of one record each, settles all but the last, and stays.
  void read_elsewhere(const Child::Side& side, int batches, std::chrono::nanoseconds grace = 10s) const {
    Bus own = must(Bus::open(path()));
    Consumer consumer = must(own.consumer({.group = "g", .start = Start::earliest, .max_records = 1, .grace = grace}));
    must(consumer.subscribe({"t"}));
    for (int i = 0; i < batches; ++i) EXPECT_EQ(must(consumer.poll(kSoon)).size(), 1u);
    side.arrive_and_wait();
  }
  static void send(Producer& producer, int from, int to) {
    for (int i = from; i < to; ++i) must(producer.send(bytes(std::to_string(i))));
  }
  // Until there is no room for it.
  static int fill(Producer& producer) {
    const std::string value(1000, 'x');
    int count = 0;
    while (producer.try_send(bytes(value))) ++count;
    return count;
  }
};

TEST_F(ApiGroup, GoesOnWhereItWasSettled) {
  Producer producer = must(create("t").producer());
  send(producer, 0, 6);
  {
    Consumer consumer = observe("t", {.group = "g", .start = Start::earliest, .max_records = 2});
    EXPECT_EQ(now(consumer), "0 1");
    EXPECT_EQ(now(consumer), "2 3");  // settles the first two
  }
  {
    Consumer consumer = join("t", "g", Start::latest);
    EXPECT_EQ(must(consumer.position("t", 0)), 2u) << "the start is only for those without committed offset";
    EXPECT_EQ(now(consumer), "2 3 4 5");
    must(consumer.commit());
  }
  Consumer consumer = join("t", "g");
  EXPECT_EQ(now(consumer), "");
  send(producer, 6, 7);
  EXPECT_EQ(now(consumer), "6");
}

TEST_F(ApiGroup, GoesOnAfterAKill) {
  Producer producer = must(create("t").producer());
  send(producer, 0, 5);
  Child child([&](const Child::Side& side) { read_elsewhere(side, 3); });
  ASSERT_TRUE(child.await());
  Consumer consumer = must(bus.consumer({.group = "g", .start = Start::latest}));
  must(consumer.subscribe({"t"}));
  EXPECT_TRUE(consumer.assignment().empty()) << "the other one lives, and reads";
  child.stop();
  EXPECT_EQ(now(consumer), "");
  EXPECT_TRUE(consumer.assignment().empty()) << "stopped is alive";
  child.kill();
  EXPECT_EQ(words(must(consumer.poll(kSoon))), "2 3 4") << "what it had not settled comes again";
}

TEST_F(ApiGroup, SinglePartitionsWithoutSharing) {
  create("t", {.partitions = 2});
  Producer producer = must(must(bus.topic("t")).producer());
  Consumer first = must(bus.consumer({.group = "g", .start = Start::earliest}));
  Consumer second = must(bus.consumer({.group = "g", .start = Start::earliest}));
  must(first.assign({{"t", 0}}));
  EXPECT_TRUE(fails(second.assign({{"t", 0}}), Errc::in_use, {"partition 0", "'t'", "'g'", "pid " + std::to_string(getpid())}));
  must(second.assign({{"t", 1}}));
  must(producer.send(bytes("a"), {.partition = 0}));
  must(producer.send(bytes("b"), {.partition = 1}));
  EXPECT_EQ(now(first), "a");
  EXPECT_EQ(now(second), "b");
  must(first.commit());
  must(first.unsubscribe("t"));
  must(second.assign({{"t", 0}}));
  EXPECT_EQ(must(second.position("t", 0)), 1u);
}

TEST_F(ApiGroup, LimitsAndNames) {
  create("t", {.max_groups = 2});
  const Consumer a = join("t", "a");
  const Consumer b = join("t", "b");
  Consumer c = must(bus.consumer({.group = "c"}));
  EXPECT_TRUE(fails(c.subscribe({"t"}), Errc::limit_reached, {"2 groups", "max_groups"}));
  EXPECT_TRUE(fails(bus.consumer({.group = std::string(256, 'g')}), Errc::invalid_argument, {"255", "256"}));
  EXPECT_TRUE(good(bus.consumer({.group = std::string(255, 'g')})));
}

TEST_F(ApiGroup, ATopicCanForbidThem) {
  Producer producer = must(create("t", {.back_pressure = false}).producer());
  Consumer consumer = must(bus.consumer({.group = "g"}));
  EXPECT_TRUE(fails(consumer.subscribe({"t"}), Errc::forbidden, {"'t'", "'g'", "back-pressure", "observe"}));
  Consumer observer = observe("t");
  send(producer, 0, 2);
  EXPECT_EQ(now(observer), "0 1");
}

// A subscription that fails leaves no trace: the name is free, and the group is as new.
TEST_F(ApiGroup, ABadStartLeavesTheNameFree) {
  Producer producer = must(create("t", {.partitions = 3}).producer());
  must(producer.send(bytes("0"), {.partition = 0}));
  Consumer consumer = must(bus.consumer({.group = "g", .start = Start::offset(1)}));
  EXPECT_TRUE(fails(consumer.subscribe({"t"}), Errc::out_of_range)) << "partition 1 has no offset 1";
  Consumer second = must(bus.consumer({.group = "g", .start = Start::earliest}));
  ASSERT_TRUE(good(second.subscribe({"t"})));
  EXPECT_EQ(now(second), "0") << "it begins where its own start says";
}

TEST_F(ApiGroup, StartsWhereItIsTold) {
  Producer producer = must(create("t").producer());
  for (int i = 0; i < 5; ++i) must(producer.send(bytes(std::to_string(i)), {.timestamp = 100 + i}));
  int count = 0;
  const auto from = [&](Start start) {
    Consumer consumer = join("t", "g" + std::to_string(count++), start);
    return now(consumer);
  };
  EXPECT_EQ(from(Start::earliest), "0 1 2 3 4");
  EXPECT_EQ(from(Start::latest), "");
  EXPECT_EQ(from(Start::offset(3)), "3 4");
  EXPECT_EQ(from(Start::last(2)), "3 4");
  EXPECT_EQ(from(Start::time(102)), "2 3 4");
  Consumer late = join("t", "late", Start::latest);
  EXPECT_EQ(must(late.position("t", 0)), 5u);
  EXPECT_EQ(must(late.lag("t", 0)), 0u);
}

TEST_F(ApiGroup, SeeksBothWays) {
  Producer producer = must(create("t").producer());
  Consumer consumer = join("t", "g");
  send(producer, 0, 6);
  EXPECT_EQ(now(consumer), "0 1 2 3 4 5");
  must(consumer.seek("t", 0, Start::offset(2)));
  EXPECT_EQ(must(consumer.position("t", 0)), 2u);
  EXPECT_EQ(now(consumer), "2 3 4 5");
  must(consumer.seek("t", 0, Start::last(1)));
  EXPECT_EQ(now(consumer), "5");
  must(consumer.seek("t", 0, Start::earliest));
  EXPECT_EQ(now(consumer), "0 1 2 3 4 5");
  EXPECT_TRUE(fails(consumer.seek("t", 0, Start::offset(7)), Errc::out_of_range));
  must(consumer.seek("t", 0, Start::offset(4)));
  consumer = join("t", "h");  // gives "g" up
  Consumer successor = join("t", "g");
  EXPECT_EQ(now(successor), "4 5") << "a seek is where a successor starts";
}

// After a seek back everything from there on is kept, also what had been settled before.
TEST_F(ApiGroup, ASeekBackHoldsProducersBackFromThere) {
  Producer producer = must(create("t").producer());
  Consumer consumer = join("t", "g");
  const int count = fill(producer);
  while (!must(consumer.poll(0ns)).empty()) {
  }
  must(consumer.seek("t", 0, Start::earliest));
  EXPECT_TRUE(fails(producer.try_send(bytes(std::string(1000, 'x'))), Errc::full));
  EXPECT_EQ(must(consumer.poll(0ns)).size(), static_cast<std::size_t>(count));
  must(consumer.commit());
  EXPECT_TRUE(good(producer.try_send(bytes("x"))));
}

TEST_F(ApiGroup, NothingIsLostBehindASlowReader) {
  Topic topic = create("t");
  Consumer consumer = join("t", "g");
  constexpr int kCount = 20'000;
  std::thread sender([&] {
    Producer producer = must(topic.producer());
    for (int i = 0; i < kCount; ++i) {
      if (i % 100 == 99) must(producer.loan(20)).abort();
      const std::string value = std::to_string(i) + std::string(static_cast<std::size_t>(i % 50), '.');
      must(producer.send(bytes(value), {}, kSoon));
    }
  });
  Account account;
  int next = 0;
  while (next < kCount) {
    const Batch batch = must(consumer.poll(kSoon));
    ASSERT_FALSE(batch.empty());
    ASSERT_TRUE(account.add(batch));
    for (const Record& record : batch) ASSERT_EQ(std::stoi(std::string(text(record.value()))), next++);
  }
  sender.join();
  EXPECT_EQ(account.lost, 0u);
  EXPECT_EQ(account.uncommitted, kCount / 100u);
}

// Skips in front of the first record must not keep producers out although there is nothing to hand out.
TEST_F(ApiGroup, AbortsAloneDoNotFillTheRing) {
  Topic topic = create("t");
  Consumer consumer = join("t", "g");
  std::thread sender([&] {
    Producer producer = must(topic.producer());
    for (int i = 0; i < 300; ++i) must(producer.loan(1000, {}, kSoon)).abort();
    must(producer.send(bytes("end"), {}, kSoon));
  });
  const Batch batch = must(consumer.poll(kSoon));
  EXPECT_EQ(words(batch), "end");
  EXPECT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(describe(batch.gaps()[0]), "uncommitted 0 [0,300)");
  sender.join();
}

TEST_F(ApiGroup, IsDescribed) {
  Topic topic = create("t", {.partitions = 2});
  Producer producer = must(topic.producer());
  {
    Consumer consumer = join("t", "g");
    for (int i = 0; i < 6; ++i) must(producer.send(bytes("x"), {.partition = static_cast<std::uint32_t>(i % 2)}));
    must(consumer.poll(0ns));
    must(consumer.commit());
    must(producer.send(bytes("x"), {.partition = 1}));
    const TopicInfo info = must(topic.describe());
    ASSERT_EQ(info.groups.size(), 1u);
    EXPECT_EQ(info.groups[0].name, "g");
    EXPECT_TRUE(info.groups[0].alive);
    EXPECT_FALSE(info.groups[0].evicted);
    EXPECT_EQ(info.groups[0].committed, (std::vector<std::uint64_t>{3, 3}));
    EXPECT_EQ(info.groups[0].lag, (std::vector<std::uint64_t>{0, 1}));
    EXPECT_EQ(info.partitions[1].end_offset, 4u);
    EXPECT_EQ(info.partitions[1].start_offset, 0u);
    EXPECT_EQ(info.partitions[1].bytes_used, 4 * 64u);
    EXPECT_EQ(info.readers, 1u);
  }
  EXPECT_FALSE(must(topic.describe()).groups[0].alive);
}

// ---- without a live reader -----------------------------------------------------------------------------------------------------

TEST_F(ApiGroup, ADeadOneHoldsBackForItsGrace) {
  Producer producer = must(create("t").producer());
  Child child([&](const Child::Side& side) { read_elsewhere(side, 0, 1h); });
  ASSERT_TRUE(child.await());
  fill(producer);
  EXPECT_TRUE(
      fails(producer.send(bytes(std::string(1000, 'x')), {}, 5ms), Errc::timed_out, {"'g'", "pid " + std::to_string(child.pid())}));
  child.kill();
  EXPECT_TRUE(fails(producer.send(bytes(std::string(1000, 'x')), {}, 5ms), Errc::timed_out, {"'g'", "dead"}));
  Consumer successor = join("t", "g");
  EXPECT_EQ(must(successor.poll(0ns))[0].offset(), 0u) << "nothing was lost";
}

TEST_F(ApiGroup, ADeadOneIsEvictedAndToldWhatItLost) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Child child([&](const Child::Side& side) { read_elsewhere(side, 3, 1ms); });
  send(producer, 0, 4);
  ASSERT_TRUE(child.await());  // two are settled
  child.kill();
  const std::string value(1000, 'x');
  for (int i = 0; i < 300; ++i) must(producer.send(bytes(value), {}, kSoon));
  EXPECT_TRUE(must(topic.describe()).groups[0].evicted);
  const std::uint64_t first = must(topic.describe()).partitions[0].start_offset;
  ASSERT_GT(first, 100u);
  Consumer successor = join("t", "g");
  const Batch batch = must(successor.poll(0ns));
  ASSERT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(describe(batch.gaps()[0]), "lost 0 [2," + std::to_string(batch[0].offset()) + ")");
  EXPECT_EQ(batch[0].offset(), first);
  EXPECT_FALSE(must(topic.describe()).groups[0].evicted);
  EXPECT_GT(fill(producer), -1);
  EXPECT_TRUE(fails(producer.try_send(bytes(value)), Errc::full)) << "it holds back again";
}

TEST_F(ApiGroup, AClosedOneIsEvictedToo) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  { const Consumer consumer = join("t", "g", Start::earliest, 1ms); }
  const std::string value(1000, 'x');
  for (int i = 0; i < 300; ++i) must(producer.send(bytes(value), {}, kSoon));
  EXPECT_TRUE(must(topic.describe()).groups[0].evicted);
}

TEST_F(ApiGroup, AStoppedOneIsNeverEvicted) {
  Producer producer = must(create("t").producer());
  Child child([&](const Child::Side& side) { read_elsewhere(side, 0, 0ns); });
  ASSERT_TRUE(child.await());
  child.stop();
  fill(producer);
  EXPECT_TRUE(fails(producer.send(bytes(std::string(1000, 'x')), {}, 30ms), Errc::timed_out,
                    {"'g'", "pid " + std::to_string(child.pid())}));
  child.resume();
  child.go_on();
  EXPECT_EQ(child.join(), 0);
  EXPECT_TRUE(good(producer.send(bytes(std::string(1000, 'x')), {}, kSoon))) << "gone, without grace";
}

// An observer never holds anybody back, whatever a group does.
TEST_F(ApiGroup, ObserversDoNotHoldBack) {
  Producer producer = must(create("t").producer());
  Consumer observer = observe("t");
  Consumer member = join("t", "g");
  const int count = fill(producer);
  while (!must(member.poll(0ns)).empty()) {
  }
  EXPECT_GT(fill(producer), 10);
  const Batch batch = must(observer.poll(0ns));
  ASSERT_FALSE(batch.gaps().empty());
  EXPECT_EQ(batch.gaps()[0].kind, Gap::Kind::lost);
  EXPECT_LE(batch.gaps()[0].to, static_cast<std::uint64_t>(2 * count));
}

}  // namespace
}  // namespace arus::test
