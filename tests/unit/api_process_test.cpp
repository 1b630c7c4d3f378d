// What a deletion, a vanished directory and a fork do to those who are attached.
#include <sys/resource.h>

#include <thread>

#include "api_support.h"

namespace arus::test {
namespace {

class ApiDeletion : public ApiTest {
 protected:
  // Until the error shows: a deletion through the API shows at once, an `rm -r` within a second or two.
  template <class Call>
  static testing::AssertionResult turns(Call call, Errc code, std::initializer_list<std::string_view> names) {
    for (int i = 0; i < 20'000; ++i) {
      if (const auto result = call(); !result) return fails(result, code, names);
      std::this_thread::sleep_for(1ms);
    }
    return testing::AssertionFailure() << "nothing was noticed";
  }
};

TEST_F(ApiDeletion, OfATopicIsToldToAllAttached) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  must(producer.send(bytes("read")));
  Consumer observer = observe("t");
  Consumer member = join("t", "g");
  auto loan = must(producer.loan(10));
  must(bus.remove("t"));
  EXPECT_TRUE(fails(producer.try_send(bytes("x")), Errc::deleted, {"'t'"}));
  EXPECT_TRUE(fails(producer.send(bytes("x")), Errc::deleted));
  EXPECT_TRUE(fails(producer.loan(1), Errc::deleted));
  const std::array<Message, 1> messages{Message{bytes("x"), {}}};
  EXPECT_TRUE(fails(producer.send_many(messages), Errc::deleted));
  EXPECT_TRUE(fails(loan.commit(), Errc::deleted));
  EXPECT_TRUE(fails(producer.readers(), Errc::deleted));
  EXPECT_TRUE(fails(topic.producer(), Errc::deleted));
  EXPECT_TRUE(fails(topic.last(0), Errc::deleted));
  EXPECT_TRUE(fails(topic.readers(), Errc::deleted));
  for (Consumer* consumer : {&observer, &member}) {
    for (int i = 0; i < 3; ++i)
      if (const auto batch = consumer->poll(kSoon); !batch) break;  // what was there comes first
    EXPECT_TRUE(fails(consumer->poll(kSoon), Errc::deleted, {"'t'"}));
    EXPECT_TRUE(good(consumer->unsubscribe("t")));
    EXPECT_TRUE(must(consumer->poll(0ns)).empty()) << "and goes on without it";
  }
}

TEST_F(ApiDeletion, OfATopicWakesSleepers) {
  Topic topic = create("t");
  Consumer slow = join("t", "slow");
  Producer producer = must(topic.producer());
  const std::string value(1000, 'x');
  while (producer.try_send(bytes(value))) {
  }
  std::thread sender([&] { EXPECT_TRUE(fails(producer.send(bytes(value), {}, kForever), Errc::deleted)); });
  std::thread reader([&] {
    Consumer consumer = observe("t", {.start = Start::latest, .wait = Wait::sleeping()});
    EXPECT_TRUE(fails(consumer.poll(kForever), Errc::deleted));
  });
  std::this_thread::sleep_for(20ms);
  must(bus.remove("t"));
  sender.join();
  reader.join();
}

TEST_F(ApiDeletion, ATopicMadeAnewIsAnother) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  must(bus.remove("t"));
  Producer fresh = must(create("t").producer());
  must(fresh.send(bytes("new")));
  EXPECT_TRUE(fails(producer.send(bytes("old")), Errc::deleted));
  EXPECT_TRUE(fails(consumer.poll(0ns), Errc::deleted));
  EXPECT_TRUE(fails(topic.producer(), Errc::deleted, {"made anew"}));
  Consumer second = observe("t");
  EXPECT_EQ(now(second), "new");
}

TEST_F(ApiDeletion, OfTheDirectoryUnderneath) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer observer = observe("t");
  Consumer member = join("t", "g");
  must(producer.send(bytes("x")));
  std::filesystem::remove_all(path());
  EXPECT_TRUE(fails(bus.topics(), Errc::deleted, {path(), "make it anew"}));
  EXPECT_TRUE(fails(bus.topic("t"), Errc::deleted, {path()}));
  EXPECT_TRUE(fails(bus.create("u"), Errc::deleted));
  EXPECT_TRUE(fails(bus.open_or_create("u"), Errc::deleted));
  EXPECT_TRUE(fails(bus.remove("t"), Errc::deleted));
  EXPECT_TRUE(fails(bus.consumer(), Errc::deleted));
  EXPECT_TRUE(fails(topic.describe(), Errc::deleted));
  EXPECT_TRUE(fails(topic.producer(), Errc::deleted));
  EXPECT_TRUE(fails(observer.subscribe({"u"}), Errc::deleted));
  EXPECT_TRUE(turns([&] { return producer.try_send(bytes("x")); }, Errc::deleted, {path()}));
  EXPECT_TRUE(turns([&] { return observer.poll(10ms); }, Errc::deleted, {path()}));
  EXPECT_TRUE(turns([&] { return member.poll(10ms); }, Errc::deleted, {path()}));
  EXPECT_TRUE(fails(Bus::open(path()), Errc::not_found, {path(), "open_or_create"}));
  Bus anew = must(Bus::create({.directory = path()}));
  EXPECT_TRUE(good(anew.create("t", {.partition_bytes = 64 << 10})));
  EXPECT_TRUE(fails(bus.topics(), Errc::deleted)) << "the old handle stays with the old directory";
}

// ---- fork ----------------------------------------------------------------------------------------------------------------------

class ApiFork : public ApiTest {};

TEST_F(ApiFork, EveryCallOfAChildAnswersForked) {
  Topic topic = create("t");
  std::optional<Producer> producer = must(topic.producer());
  std::optional<Consumer> observer = observe("t");
  std::optional<Consumer> member = join("t", "g");
  std::optional<Loan> loan = must(producer->loan(10));
  std::optional<Loan> dropped = must(producer->loan(10));
  must(observer->descriptor());
  EXPECT_EQ(in_child([&] {
              constexpr Errc kForked = Errc::forked;
              EXPECT_TRUE(fails(producer->send(bytes("x")), kForked));
              EXPECT_TRUE(fails(producer->try_send(bytes("x")), kForked));
              EXPECT_TRUE(fails(producer->loan(1), kForked));
              const std::array<Message, 1> messages{Message{bytes("x"), {}}};
              EXPECT_TRUE(fails(producer->send_many(messages), kForked));
              EXPECT_TRUE(fails(producer->readers(), kForked));
              EXPECT_TRUE(fails(loan->commit(), kForked));
              for (Consumer* consumer : {&*observer, &*member}) {
                EXPECT_TRUE(fails(consumer->poll(0ns), kForked, {"anew"}));
                EXPECT_TRUE(fails(consumer->commit(), kForked));
                EXPECT_TRUE(fails(consumer->subscribe({"t"}), kForked));
                EXPECT_TRUE(fails(consumer->assign({{"t", 0}}), kForked));
                EXPECT_TRUE(fails(consumer->unsubscribe("t"), kForked));
                EXPECT_TRUE(fails(consumer->seek("t", 0, Start::latest), kForked));
                EXPECT_TRUE(fails(consumer->position("t", 0), kForked));
                EXPECT_TRUE(fails(consumer->lag("t", 0), kForked));
                EXPECT_TRUE(fails(consumer->pause("t", 0), kForked));
                EXPECT_TRUE(fails(consumer->resume("t", 0), kForked));
                EXPECT_TRUE(fails(consumer->descriptor(), kForked));
              }
              EXPECT_TRUE(fails(topic.describe(), kForked, {"anew"}));
              EXPECT_TRUE(fails(topic.producer(), kForked));
              EXPECT_TRUE(fails(topic.last(0), kForked));
              EXPECT_TRUE(fails(topic.last(bytes("k")), kForked));
              EXPECT_TRUE(fails(topic.readers(), kForked));
              EXPECT_TRUE(fails(bus.topics(), kForked));
              EXPECT_TRUE(fails(bus.topic("t"), kForked));
              EXPECT_TRUE(fails(bus.create("u"), kForked));
              EXPECT_TRUE(fails(bus.open_or_create("u"), kForked));
              EXPECT_TRUE(fails(bus.remove("t"), kForked));
              EXPECT_TRUE(fails(bus.consumer(), kForked));
              // Destructors do nothing, in any order.
              producer.reset();
              dropped.reset();
              member.reset();
              observer.reset();
              loan.reset();
              // A bus of its own works, also on the same topic.
              Bus own = must(Bus::open(path()));
              EXPECT_TRUE(good(must(own.topic("t")).producer()));
              EXPECT_TRUE(fails(must(own.consumer({.group = "g"})).assign({{"t", 0}}), Errc::in_use)) << "the parent's";
            }),
            0);
  // Nothing of it was felt here.
  must(loan->commit());
  dropped.reset();
  must(producer->send(bytes("x")));
  EXPECT_EQ(must(observer->poll(0ns)).size(), 2u);
  EXPECT_EQ(must(member->poll(0ns)).size(), 2u);
  EXPECT_TRUE(good(member->commit()));
}

TEST_F(ApiFork, AChildOnItsOwnBusTalksToItsParent) {
  create("t");
  Consumer consumer = observe("t");
  Child child([&](const Child::Side&) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic("t")).producer());
    for (int i = 0; i < 1000; ++i) must(producer.send(bytes("from the child")));
  });
  Account account;
  while (account.next() < 1000) ASSERT_TRUE(account.add(must(consumer.poll(kSoon))));
  EXPECT_EQ(child.join(), 0);
}

// A child that lives on must not keep its dead parent's endpoints alive.
TEST_F(ApiFork, AParentsDeathIsSeenAlthoughItsChildLives) {
  Topic topic = create("t", {.producers = Producers::single});
  Child parent([&](const Child::Side& side) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic("t")).producer());
    Consumer consumer = must(own.consumer({.group = "g"}));
    must(consumer.subscribe({"t"}));
    const Child grandchild([](const Child::Side& one) { one.arrive_and_wait(); });
    EXPECT_TRUE(grandchild.await());
    side.arrive_and_wait();
  });
  ASSERT_TRUE(parent.await());
  EXPECT_TRUE(fails(topic.producer(), Errc::in_use));
  parent.kill();
  EXPECT_TRUE(good(topic.producer()));
  EXPECT_TRUE(good(must(bus.consumer({.group = "g"})).subscribe({"t"})));
}

// ---- several handles in one process --------------------------------------------------------------------------------------------

TEST_F(ApiFork, EndpointsKeepTheirBusAlive) {
  std::optional<Bus> own = must(Bus::open(path()));
  Topic topic = must(own->create("t", {.partition_bytes = 64 << 10}));
  Producer producer = must(topic.producer());
  Consumer consumer = must(own->consumer({.start = Start::earliest}));
  must(consumer.subscribe({"t"}));
  own.reset();
  must(producer.send(bytes("x")));
  EXPECT_EQ(now(consumer), "x");
}

TEST_F(ApiFork, ManyOpenAndCloseWithoutLeavingAnything) {
  create("t");
  const auto count = [](const std::string& directory) {
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++files;
    return files;
  };
  const std::size_t descriptors = count("/proc/self/fd");
  for (int i = 0; i < 100; ++i) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic("t")).producer());
    Consumer consumer = must(own.consumer({.group = "g"}));
    must(consumer.subscribe({"t"}));
    must(consumer.descriptor());
    must(producer.send(bytes("x")));
  }
  EXPECT_EQ(count("/proc/self/fd"), descriptors);
  EXPECT_EQ(count(path() + "/leases"), 1u);
  EXPECT_EQ(count(path() + "/fifos"), 0u);
  EXPECT_EQ(count(path() + "/tmp"), 0u);
}

TEST_F(ApiFork, TooManyOpenFilesIsAnError) {
  create("t", {.partitions = 64});
  EXPECT_EQ(in_child([&] {
              const rlimit few{20, 20};
              setrlimit(RLIMIT_NOFILE, &few);
              std::vector<Bus> buses;
              for (int i = 0; i < 30; ++i) {
                auto own = Bus::open(path());
                if (!own) {
                  EXPECT_TRUE(fails(own, Errc::limit_reached, {"ulimit -n"}));
                  return;
                }
                buses.push_back(*own);
              }
              ADD_FAILURE() << "no limit was met";
            }),
            0);
}

}  // namespace
}  // namespace arus::test
