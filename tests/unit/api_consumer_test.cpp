// What include/arus/consumer.h promises of observers, batches, positions and waiting. Groups: api_group_test.cpp.
#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "api_support.h"

namespace arus::test {
namespace {

class ApiConsumer : public ApiTest {
 protected:
  void send(Producer& producer, std::initializer_list<std::string_view> values) {
    for (const std::string_view value : values) must(producer.send(bytes(value)));
  }
};

// ---- starting places -----------------------------------------------------------------------------------------------------------

TEST_F(ApiConsumer, StartsWhereItIsTold) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  for (int i = 0; i < 5; ++i) must(producer.send(bytes(std::to_string(i)), {.timestamp = 100 + i}));
  const auto from = [&](Start start) {
    Consumer consumer = observe("t", {.start = start});
    return now(consumer);
  };
  EXPECT_EQ(from(Start::earliest), "0 1 2 3 4");
  EXPECT_EQ(from(Start::latest), "");
  EXPECT_EQ(from(Start::offset(3)), "3 4");
  EXPECT_EQ(from(Start::offset(5)), "");
  EXPECT_EQ(from(Start::last(2)), "3 4");
  EXPECT_EQ(from(Start::last(99)), "0 1 2 3 4");
  EXPECT_EQ(from(Start::time(102)), "2 3 4");
  EXPECT_EQ(from(Start::time(1000)), "");
  Consumer consumer = must(bus.consumer({.start = Start::offset(6)}));
  EXPECT_TRUE(fails(consumer.subscribe({"t"}), Errc::out_of_range, {"offset 6", "0 to 5"}));
  Consumer late = observe("t", {.start = Start::latest});
  EXPECT_EQ(must(late.position("t", 0)), 5u);
  send(producer, {"new"});
  EXPECT_EQ(now(late), "new");
}

TEST_F(ApiConsumer, AnOffsetThatWasOverwrittenIsReportedLost) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  const std::string value(1000, 'x');
  for (int i = 0; i < 200; ++i) must(producer.send(bytes(value)));
  const std::uint64_t first = must(topic.describe()).partitions[0].start_offset;
  ASSERT_GT(first, 100u);
  Consumer consumer = observe("t", {.start = Start::offset(50)});
  const Batch batch = must(consumer.poll(0ns));
  ASSERT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(describe(batch.gaps()[0]), "lost 0 [50," + std::to_string(first) + ")");
  EXPECT_EQ(batch.gaps()[0].topic, "t");
  EXPECT_EQ(batch[0].offset(), first);
}

// ---- gaps ----------------------------------------------------------------------------------------------------------------------

TEST_F(ApiConsumer, ALappedObserverIsToldTheExactRange) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  const std::string value(500, 'x');
  Account account;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 37 * (round % 7); ++i) {
      if (i % 11 == 3)
        must(producer.loan(100)).abort();
      else
        must(producer.send(bytes(value)));
    }
    for (int polls = round % 3; polls > 0; --polls) ASSERT_TRUE(account.add(must(consumer.poll(0ns))));
  }
  must(producer.send(bytes("end")));
  for (;;) {
    const Batch batch = must(consumer.poll(0ns));
    ASSERT_TRUE(account.add(batch));
    if (batch.empty()) break;
  }
  EXPECT_EQ(account.next(), must(topic.describe()).partitions[0].end_offset);
  EXPECT_EQ(account.delivered + account.lost + account.uncommitted, account.next());
  EXPECT_GT(account.lost, 0u);
  EXPECT_GT(account.uncommitted, 0u);
  EXPECT_GT(account.delivered, 0u);
}

// It goes on a quarter of the ring above what may be overwritten next, so as not to be lapped again at once.
TEST_F(ApiConsumer, ALappedObserverGoesOnAboveTheOldest) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  const std::string value(500, 'x');
  for (int i = 0; i < 1000; ++i) must(producer.send(bytes(value)));
  const std::uint64_t oldest = must(topic.describe()).partitions[0].start_offset;
  const Batch batch = must(consumer.poll(0ns));
  EXPECT_GT(batch[0].offset(), oldest + 10);
  EXPECT_LT(batch[0].offset(), oldest + 40);
  EXPECT_EQ(describe(batch.gaps()[0]), "lost 0 [0," + std::to_string(batch[0].offset()) + ")");
}

TEST_F(ApiConsumer, ATrailingHoleIsReportedWithWhatComesAfter) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  send(producer, {"0"});
  must(producer.loan(10)).abort();
  EXPECT_EQ(now(consumer), "0");
  EXPECT_EQ(must(consumer.lag("t", 0)), 0u) << "nothing is left to read";
  send(producer, {"2"});
  const Batch batch = must(consumer.poll(0ns));
  EXPECT_EQ(words(batch), "2");
  EXPECT_EQ(describe(batch.gaps()[0]), "uncommitted 0 [1,2)");
  EXPECT_EQ(must(consumer.position("t", 0)), 3u);
}

// ---- batches -------------------------------------------------------------------------------------------------------------------

TEST_F(ApiConsumer, BatchesAreLimited) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t", {.start = Start::earliest, .max_records = 3});
  send(producer, {"0", "1", "2", "3", "4", "5", "6"});
  EXPECT_EQ(now(consumer), "0 1 2");
  EXPECT_EQ(now(consumer), "3 4 5");
  EXPECT_EQ(must(consumer.position("t", 0)), 6u);
  EXPECT_EQ(must(consumer.lag("t", 0)), 1u);
  EXPECT_EQ(now(consumer), "6");
  EXPECT_EQ(now(consumer), "");
  EXPECT_TRUE(fails(bus.consumer({.max_records = 0}), Errc::invalid_argument, {"max_records is 0"}));
  EXPECT_TRUE(fails(bus.consumer({.max_records = (1u << 20) + 1}), Errc::invalid_argument, {"1048576"}));
}

TEST_F(ApiConsumer, ACopiedBatchStaysWholeWhenTheRingMovesOn) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  send(producer, {"a", "b", "c"});
  const Batch batch = must(consumer.poll(0ns));
  const std::string junk(1000, '!');
  for (int i = 0; i < 200; ++i) must(producer.send(bytes(junk)));
  EXPECT_EQ(words(batch), "a b c");
  EXPECT_TRUE(batch.intact());
}

TEST_F(ApiConsumer, ABatchInPlaceSaysWhetherItIsIntact) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t", {.start = Start::earliest, .in_place = true});
  send(producer, {"a", "b", "c"});
  const Batch batch = must(consumer.poll(0ns));
  EXPECT_EQ(words(batch), "a b c");
  EXPECT_TRUE(batch.intact());
  const std::string junk(1000, '!');
  for (int i = 0; i < 20; ++i) must(producer.send(bytes(junk)));
  EXPECT_TRUE(batch.intact()) << "nobody came so far";
  for (int i = 0; i < 200; ++i) must(producer.send(bytes(junk)));
  EXPECT_FALSE(batch.intact());
  const Batch next = must(consumer.poll(0ns));
  EXPECT_TRUE(next.intact());
  EXPECT_EQ(next.gaps()[0].from, 3u);
}

TEST_F(ApiConsumer, SharesTurnsAmongBusyPartitions) {
  Topic topic = create("t", {.partitions = 3});
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t", {.start = Start::earliest, .max_records = 2});
  for (int i = 0; i < 20; ++i)
    for (std::uint32_t p = 0; p < 3; ++p) must(producer.send(bytes("x"), {.partition = p}));
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 3; ++i) {
    const Batch batch = must(consumer.poll(0ns));
    for (const Record& record : batch) seen.insert(record.partition());
  }
  EXPECT_EQ(seen.size(), 3u);
}

// ---- several topics ------------------------------------------------------------------------------------------------------------

TEST_F(ApiConsumer, ReadsSeveralTopics) {
  Producer a = must(create("a").producer());
  Producer b = must(create("b").producer());
  Consumer consumer = must(bus.consumer({.start = Start::earliest}));
  must(consumer.subscribe({"a", "b", "a"}));
  must(consumer.subscribe({"b"}));  // again: no more than once
  send(a, {"a1"});
  send(b, {"b1"});
  const Batch batch = must(consumer.poll(0ns));
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_NE(batch[0].topic(), batch[1].topic());
  must(consumer.unsubscribe("a"));
  send(a, {"a2"});
  send(b, {"b2"});
  EXPECT_EQ(now(consumer), "b2");
  EXPECT_TRUE(fails(consumer.unsubscribe("a"), Errc::not_found, {"'a'"}));
  EXPECT_TRUE(fails(consumer.position("a", 0), Errc::not_found, {"'a'"}));
}

TEST_F(ApiConsumer, OnAnErrorNoneIsAdded) {
  Producer a = must(create("a").producer());
  Consumer consumer = must(bus.consumer({.start = Start::earliest}));
  EXPECT_TRUE(fails(consumer.subscribe({"a", "missing"}), Errc::not_found, {"'missing'"}));
  EXPECT_TRUE(fails(consumer.position("a", 0), Errc::not_found));
  EXPECT_EQ(must(a.readers()), 0u);
  EXPECT_TRUE(fails(consumer.assign({{"a", 0}, {"a", 1}}), Errc::invalid_argument, {"0 to 0, not 1"}));
  EXPECT_TRUE(fails(consumer.position("a", 0), Errc::not_found));
  send(a, {"1"});
  EXPECT_EQ(now(consumer), "");
}

TEST_F(ApiConsumer, AssignsSinglePartitions) {
  Producer producer = must(create("t", {.partitions = 3}).producer());
  Consumer consumer = must(bus.consumer({.start = Start::earliest}));
  must(consumer.assign({{"t", 2}, {"t", 0}, {"t", 2}}));
  must(consumer.assign({{"t", 0}}));
  for (std::uint32_t p = 0; p < 3; ++p) must(producer.send(bytes(std::to_string(p)), {.partition = p}));
  const Batch batch = must(consumer.poll(0ns));
  std::multiset<std::string> seen;
  for (const Record& record : batch) seen.emplace(text(record.value()));
  EXPECT_EQ(seen, (std::multiset<std::string>{"0", "2"})) << "each once";
  EXPECT_TRUE(fails(consumer.position("t", 1), Errc::not_found, {"partition 1"}));
}

// ---- seek, pause ---------------------------------------------------------------------------------------------------------------

TEST_F(ApiConsumer, SeeksBothWays) {
  Producer producer = must(create("t").producer());
  Consumer consumer = observe("t");
  for (int i = 0; i < 6; ++i) must(producer.send(bytes(std::to_string(i)), {.timestamp = 10 * i}));
  EXPECT_EQ(now(consumer), "0 1 2 3 4 5");
  must(consumer.seek("t", 0, Start::offset(2)));
  EXPECT_EQ(must(consumer.position("t", 0)), 2u);
  EXPECT_EQ(must(consumer.lag("t", 0)), 4u);
  EXPECT_EQ(now(consumer), "2 3 4 5");
  must(consumer.seek("t", 0, Start::time(35)));
  EXPECT_EQ(now(consumer), "4 5");
  must(consumer.seek("t", 0, Start::earliest));
  must(consumer.seek("t", 0, Start::latest));
  EXPECT_EQ(now(consumer), "");
  must(consumer.seek("t", 0, Start::last(1)));
  EXPECT_TRUE(fails(consumer.seek("t", 0, Start::offset(99)), Errc::out_of_range, {"99"}));
  EXPECT_EQ(now(consumer), "5") << "a bad target changes nothing";
  EXPECT_TRUE(fails(consumer.seek("t", 1, Start::latest), Errc::not_found));
}

TEST_F(ApiConsumer, PausedPartitionsKeepTheirPosition) {
  Producer producer = must(create("t", {.partitions = 2}).producer());
  Consumer consumer = observe("t");
  must(consumer.pause("t", 0));
  for (std::uint32_t p = 0; p < 2; ++p) must(producer.send(bytes(std::to_string(p)), {.partition = p}));
  EXPECT_EQ(now(consumer), "1");
  const Batch nothing = must(consumer.poll(5ms));
  EXPECT_TRUE(nothing.empty());
  EXPECT_EQ(must(consumer.position("t", 0)), 0u);
  must(consumer.resume("t", 0));
  EXPECT_EQ(now(consumer), "0");
  EXPECT_TRUE(fails(consumer.pause("t", 7), Errc::not_found));
}

// ---- waiting -------------------------------------------------------------------------------------------------------------------

TEST_F(ApiConsumer, WaitsInEveryMode) {
  Topic topic = create("t");
  for (const Wait wait : {Wait{}, Wait::spinning(), Wait::sleeping(), Wait{.spin = 0ns, .coalesce = false}}) {
    Consumer consumer = observe("t", {.start = Start::latest, .wait = wait});
    EXPECT_TRUE(must(consumer.poll(3ms)).empty()) << "time is up";
    std::thread sender([&] {
      Producer producer = must(topic.producer());
      for (int i = 0; i < 300; ++i) {
        if (i % 3 == 0) std::this_thread::sleep_for(200us);
        must(producer.send(bytes(std::to_string(i))));
      }
    });
    for (int next = 0; next < 300;) {
      const Batch batch = must(consumer.poll(kSoon));
      ASSERT_FALSE(batch.empty());
      for (const Record& record : batch) ASSERT_EQ(text(record.value()), std::to_string(next++));
    }
    sender.join();
  }
}

// Every record is answered by another: a wake-up that is lost would stand still until a sleep ends by itself, and the counts of
// polls that came back empty would show it.
TEST_F(ApiConsumer, PingPongBetweenSleepersLosesNoWakeUp) {
  create("ping");
  create("pong");
  constexpr int kRounds = 3000;
  std::atomic<int> empty{0};
  const auto play = [&](const char* in, const char* out, bool first) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic(out)).producer());
    Consumer consumer = must(own.consumer({.start = Start::earliest, .wait = Wait::sleeping()}));
    must(consumer.subscribe({in}));
    if (first) must(producer.send(bytes("ball")));
    for (int i = 0; i < kRounds; ++i) {
      while (must(consumer.poll(10s)).empty()) ++empty;
      if (!first || i + 1 < kRounds) must(producer.send(bytes("ball")));
    }
  };
  std::thread other(play, "ping", "pong", false);
  play("pong", "ping", true);
  other.join();
  EXPECT_EQ(empty, 0);
}

TEST_F(ApiConsumer, IsWokenFromAnotherThread) {
  create("t");
  for (const Wait wait : {Wait{}, Wait::spinning(), Wait::sleeping()}) {
    Consumer consumer = observe("t", {.wait = wait});
    std::thread waker([&] {
      std::this_thread::sleep_for(2ms);
      consumer.wake();
    });
    EXPECT_TRUE(must(consumer.poll(kForever)).empty());
    waker.join();
  }
}

TEST_F(ApiConsumer, WithoutTopicsAPollWaitsItsTime) {
  Consumer consumer = must(bus.consumer());
  EXPECT_TRUE(must(consumer.poll(3ms)).empty());
  EXPECT_TRUE(must(consumer.poll(0ns)).empty());
  EXPECT_TRUE(must(consumer.poll(-5ns)).empty());
}

TEST_F(ApiConsumer, SleepersAreLimitedByTheBus) {
  Bus small = must(Bus::create({.directory = directory_ / "small", .sleepers = 2}));
  std::vector<Consumer> consumers;
  for (int i = 0; i < 2; ++i) consumers.push_back(must(small.consumer()));
  EXPECT_TRUE(fails(small.consumer(), Errc::limit_reached, {"2 sleepers", "BusConfig::sleepers"}));
  consumers.pop_back();
  EXPECT_TRUE(good(small.consumer()));
}

// ---- the descriptor ------------------------------------------------------------------------------------------------------------

class ApiDescriptor : public ApiConsumer {
 protected:
  // Polls as the contract says: until there is nothing more. What was found.
  std::string drain(Consumer& consumer) {
    std::string all;
    for (;;) {
      const std::string found = now(consumer);
      if (found.empty()) return all;
      all += found + ';';
    }
  }
};

TEST_F(ApiDescriptor, IsReadableWhileThereIsSomething) {
  Producer producer = must(create("t").producer());
  Consumer consumer = observe("t", {.start = Start::earliest, .max_records = 2});
  const int descriptor = must(consumer.descriptor());
  EXPECT_EQ(must(consumer.descriptor()), descriptor);
  ASSERT_TRUE(readable(descriptor, 0)) << "at first: the first poll arms it";
  EXPECT_EQ(drain(consumer), "");
  EXPECT_FALSE(readable(descriptor, 0));
  send(producer, {"1", "2", "3"});
  ASSERT_TRUE(readable(descriptor, 20'000));
  EXPECT_EQ(now(consumer), "1 2");
  EXPECT_TRUE(readable(descriptor, 0)) << "not drained yet";
  EXPECT_EQ(drain(consumer), "3;");
  EXPECT_FALSE(readable(descriptor, 0));
}

TEST_F(ApiDescriptor, NoRecordIsMissedInEitherMode) {
  Topic topic = create("t", {.partitions = 2});
  for (const std::uint32_t mode : {std::uint32_t{EPOLLIN}, std::uint32_t{EPOLLIN} | EPOLLET}) {
    Consumer consumer = observe("t", {.start = Start::latest});
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = mode;
    ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, must(consumer.descriptor()), &event), 0);
    constexpr std::size_t kCount = 5000;
    std::thread sender([&] {
      Producer producer = must(topic.producer());
      for (std::size_t i = 0; i < kCount; ++i) {
        if (i % 7 == 0) std::this_thread::yield();
        if (i % 500 == 0) std::this_thread::sleep_for(1ms);
        must(producer.send(bytes("x"), {.partition = static_cast<std::uint32_t>(i % 2)}));
      }
    });
    std::size_t seen = 0;
    while (seen < kCount) {
      ASSERT_EQ(epoll_wait(epoll, &event, 1, 20'000), 1) << seen;
      for (;;) {
        const Batch batch = must(consumer.poll(0ns));
        if (batch.empty()) break;
        seen += batch.size();
      }
    }
    sender.join();
    EXPECT_EQ(seen, kCount);
    close(epoll);
  }
}

TEST_F(ApiDescriptor, TellsOfADeletion) {
  create("t");
  Consumer consumer = observe("t");
  const int descriptor = must(consumer.descriptor());
  EXPECT_EQ(drain(consumer), "");
  must(bus.remove("t"));
  ASSERT_TRUE(readable(descriptor, 20'000));
  EXPECT_TRUE(fails(consumer.poll(0ns), Errc::deleted));
}

TEST_F(ApiDescriptor, WakeMakesItReadable) {
  create("t");
  Consumer consumer = observe("t");
  const int descriptor = must(consumer.descriptor());
  EXPECT_EQ(drain(consumer), "");
  consumer.wake();
  EXPECT_TRUE(readable(descriptor, 20'000));
}

// Behind a claim whose owner died nothing is readable; a consumer that only ever looks (poll(0)) has to repair it all the same.
TEST_F(ApiConsumer, ALookAloneGetsPastADeadProducersClaim) {
  Topic topic = create("t");
  Child child([&](const Child::Side& side) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic("t")).producer());
    const auto loan = must(producer.loan(100));
    side.arrive_and_wait();
  });
  ASSERT_TRUE(child.await());
  Producer producer = must(topic.producer());
  send(producer, {"behind"});
  Consumer consumer = observe("t");
  EXPECT_EQ(now(consumer), "");
  child.kill();
  std::string found;
  for (int i = 0; i < 2000 && found.empty(); ++i) {
    found = now(consumer);
    std::this_thread::sleep_for(100us);
  }
  EXPECT_EQ(found, "behind");
}

TEST_F(ApiConsumer, AWaitingPollGetsPastADeadProducersClaim) {
  Topic topic = create("t");
  Child child([&](const Child::Side& side) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic("t")).producer());
    const auto loan = must(producer.loan(100));
    side.arrive_and_wait();
  });
  ASSERT_TRUE(child.await());
  Producer producer = must(topic.producer());
  send(producer, {"behind"});
  Consumer observer = observe("t");
  Consumer member = join("t", "g");
  EXPECT_EQ(now(observer), "");
  child.kill();
  for (Consumer* consumer : {&observer, &member}) {
    const Batch batch = must(consumer->poll(kSoon));
    EXPECT_EQ(words(batch), "behind");
    ASSERT_EQ(batch.gaps().size(), 1u);
    EXPECT_EQ(describe(batch.gaps()[0]), "uncommitted 0 [0,1)");
  }
}

// `for` keeps a temporary alive, but not what a function of it returned a reference to. poll().value() is no such reference.
static_assert(!std::is_reference_v<decltype(std::declval<Consumer&>().poll(0ns).value())>);
static_assert(!std::is_reference_v<decltype(*std::declval<Consumer&>().poll(0ns))>);

TEST_F(ApiConsumer, LoopingOverATemporaryBatchIsSafe) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer observer = observe("t");
  send(producer, {"one", "two"});
  std::string seen;
  for (const Record& record : observer.poll(kSoon).value()) seen.append(text(record.value())).append(" ");
  EXPECT_EQ(seen, "one two ");
}

TEST_F(ApiConsumer, ATopicOfWhichPartitionsAreAssignedCannotBeSubscribedAsWell) {
  Topic topic = create("t", {.partitions = 2});
  Consumer observer = must(bus.consumer());
  must(observer.assign({{"t", 0}}));
  const auto refused = observer.subscribe({"t"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::invalid_argument);
  must(observer.unsubscribe("t"));
  must(observer.subscribe({"t"}));
  EXPECT_TRUE(observer.position("t", 1));
}

}  // namespace
}  // namespace arus::test
