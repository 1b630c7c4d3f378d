// Share groups: who gets which record, what becomes of it, what holds producers back, and what deaths leave.
#include <map>
#include <set>
#include <thread>

#include "api_support.h"
#include "bus/state.h"
#include "group/share_layout.h"
#include "ring/room.h"

namespace arus::test {
namespace {

class ApiShare : public ApiTest {
 protected:
  ShareConsumer work(ShareConfig config = {}, const std::string& topic = "jobs") { return work_on(bus, std::move(config), topic); }
  static ShareConsumer work_on(Bus& bus, ShareConfig config = {}, const std::string& topic = "jobs") {
    if (config.group.empty()) config.group = "workers";
    ShareConsumer consumer = must(bus.share_consumer(config));
    must(consumer.subscribe({topic}));
    return consumer;
  }
  static void send(Producer& producer, int from, int to) {
    for (int i = from; i < to; ++i) must(producer.send(bytes(std::to_string(i))));
  }
  static int fill(Producer& producer) {
    const std::string value(1000, 'x');
    int count = 0;
    while (count < 1000 && producer.try_send(bytes(value))) ++count;
    return count;
  }
  // "0 1*2 2": a number behind a star is a delivery count above 1.
  static std::string words(const ShareBatch& batch) {
    std::string all;
    for (const SharedRecord& job : batch) {
      all += std::string(text(job.value()));
      if (job.delivery_count() != 1) all += '*' + std::to_string(job.delivery_count());
      all += ' ';
    }
    if (!all.empty()) all.pop_back();
    return all;
  }
  static std::string now(ShareConsumer& consumer) { return words(must(consumer.poll(0ns))); }
  SharePartition info(const std::string& group = "workers") const { return must(bus.share_group(group)).partitions.at(0); }
  void evict_by_hand() {
    const auto state = std::make_shared<detail::BusState>(must(log::BusDirectory::open(path())));
    const auto topic = must(detail::TopicState::open(state, "jobs"));
    const auto table = must(topic->groups(platform::Access::write));
    ASSERT_TRUE(ring::evict_by_hand(table->cursors(0)[table->find("workers").value()]));
  }
  // A member in another process that takes what is there, and stays.
  Child worker(ShareConfig config = {}) const {
    return Child([this, config](const Child::Side& side) {
      Bus own = must(Bus::open(path()));
      ShareConsumer consumer = work_on(own, config);
      EXPECT_FALSE(must(consumer.poll(kSoon)).empty());
      side.arrive_and_wait();
    });
  }
};

TEST_F(ApiShare, EachRecordGoesToOneMember) {
  Producer producer = must(create("jobs", {.partitions = 3}).producer());
  ShareConsumer a = work({.max_records = 3});
  ShareConsumer b = work({.max_records = 2});
  send(producer, 0, 100);
  std::map<std::string, int> seen;
  for (int idle = 0; idle < 2;) {
    idle = 2;
    for (ShareConsumer* one : {&a, &b}) {
      const ShareBatch batch = must(one->poll(0ns));
      if (!batch.empty()) idle = 0;
      for (const SharedRecord& job : batch) {
        ++seen[std::string(text(job.value()))];
        EXPECT_EQ(job.delivery_count(), 1u);
      }
      must(one->accept(batch));
    }
  }
  EXPECT_EQ(seen.size(), 100u);
  for (const auto& [value, times] : seen) EXPECT_EQ(times, 1) << value;
  const ShareInfo info = must(bus.share_group("workers"));
  std::uint64_t accepted = 0;
  for (const SharePartition& one : info.partitions) {
    accepted += one.accepted;
    EXPECT_EQ(one.settled_before, one.end);
    EXPECT_EQ(one.available + one.acquired + one.redelivered + one.lost, 0u);
  }
  EXPECT_EQ(accepted, 100u);
  EXPECT_EQ(info.members.size(), 2u);
  EXPECT_EQ(must(bus.share_groups()), std::vector<std::string>{"workers"});
}

TEST_F(ApiShare, ReleasedComesAgain) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 3);
  ShareConsumer a = work();
  ShareConsumer b = work();
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(words(batch), "0 1 2");
  EXPECT_EQ(now(b), "");
  must(a.release(batch[1]));
  const ShareBatch again = must(b.poll(0ns));
  ASSERT_EQ(words(again), "1*2");
  EXPECT_EQ(again[0].offset(), 1u);
  must(a.accept(batch[2]));
  EXPECT_EQ(info().settled_before, 0u) << "the first is still held";
  must(a.accept(batch[0]));
  EXPECT_EQ(info().settled_before, 1u);
  must(b.accept(again));
  EXPECT_EQ(info().settled_before, 3u);
  EXPECT_EQ(info().redelivered, 1u);
  EXPECT_EQ(now(a) + now(b), "");
}

TEST_F(ApiShare, WhatWasSettledIsNotHeldAnyMore) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 2);
  ShareConsumer a = work();
  ShareConsumer b = work();
  ShareConsumer other = work({.group = "others"});
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(must(other.poll(0ns)).size(), 2u);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_TRUE(fails(b.accept(batch[0]), Errc::invalid_argument));
  EXPECT_TRUE(fails(other.accept(batch[0]), Errc::invalid_argument, {"does not come from"}));
  EXPECT_TRUE(fails(a.accept(SharedRecord{}), Errc::invalid_argument));
  must(a.accept(batch[0]));
  EXPECT_TRUE(fails(a.accept(batch[0]), Errc::invalid_argument, {"offset 0", "'jobs'"}));
  EXPECT_TRUE(fails(a.release(batch[0]), Errc::invalid_argument));
  EXPECT_TRUE(fails(a.reject(batch[0]), Errc::invalid_argument));
  EXPECT_EQ(a.acquired(), 1u);
  EXPECT_EQ(other.acquired(), 2u);
}

TEST_F(ApiShare, RejectedAndWornOutGoToTheDeadLetters) {
  create("dead");
  Topic jobs = create("jobs");
  Producer producer = must(jobs.producer());
  const std::vector<Header> headers{{"trace", bytes("7")}, {"null", kNull}};
  must(producer.send(bytes("bad"), {.key = bytes("k"), .headers = headers, .timestamp = 12345}));
  must(producer.send(kNull, {}));
  ShareConsumer a = work({.max_deliveries = 2, .dead_letter_topic = "dead"});
  Consumer dead = observe("dead");
  {
    const ShareBatch batch = must(a.poll(0ns));
    ASSERT_EQ(batch.size(), 2u);
    must(a.reject(batch[0]));
    must(a.release(batch[1]));
    const ShareBatch again = must(a.poll(0ns));
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0].delivery_count(), 2u);
    must(a.release(again[0]));
  }
  EXPECT_EQ(now(a), "") << "it was delivered twice";
  EXPECT_EQ(a.acquired(), 0u);
  const Batch buried = must(dead.poll(0ns));
  ASSERT_EQ(buried.size(), 2u);
  const auto header = [](const Record& record, std::string_view name) {
    const auto value = record.headers().find("dead-letter." + std::string(name));
    return value ? std::string(text(*value)) : "none";
  };
  EXPECT_EQ(text(buried[0].value()), "bad");
  EXPECT_EQ(text(buried[0].key()), "k");
  EXPECT_EQ(buried[0].timestamp(), 12345);
  EXPECT_EQ(text(*buried[0].headers().find("trace")), "7");
  EXPECT_EQ(buried[0].headers().find("null")->data(), nullptr);
  EXPECT_EQ(header(buried[0], "reason") + ' ' + header(buried[0], "deliveries"), "rejected 1");
  EXPECT_EQ(header(buried[1], "reason") + ' ' + header(buried[1], "deliveries"), "deliveries 2");
  EXPECT_EQ(header(buried[1], "topic") + header(buried[1], "partition") + header(buried[1], "offset"), "jobs01");
  EXPECT_EQ(header(buried[1], "group"), "workers");
  EXPECT_EQ(buried[1].value().data(), nullptr);
  EXPECT_EQ(info().dead_lettered, 2u);
  EXPECT_EQ(info().rejected, 1u);
  EXPECT_EQ(info().settled_before, 2u);
}

TEST_F(ApiShare, WithoutDeadLettersTheyAreDropped) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 2);
  ShareConsumer a = work({.max_deliveries = 1});
  const ShareBatch batch = must(a.poll(0ns));
  must(a.reject(batch[0]));
  must(a.release(batch[1]));
  EXPECT_EQ(now(a), "");
  EXPECT_EQ(info().discarded, 2u);
  EXPECT_EQ(info().settled_before, 2u);
}

TEST_F(ApiShare, AFullDeadLetterTopicHoldsNobodyUp) {
  Producer dead = must(create("dead").producer());
  Producer producer = must(create("jobs").producer());
  Consumer reader = join("dead", "g");
  fill(dead);
  while (dead.try_send(bytes("x"))) {
  }
  send(producer, 0, 4);
  ShareConsumer a = work({.max_records = 3, .max_deliveries = 1, .dead_letter_topic = "dead"});
  ShareConsumer b = work({.max_deliveries = 1, .dead_letter_topic = "dead"});
  {
    const ShareBatch batch = must(a.poll(0ns));
    ASSERT_EQ(words(batch), "0 1 2");
    must(a.reject(batch[0]));
    must(a.release(batch[1]));
    must(a.accept(batch[2]));
  }
  EXPECT_EQ(now(b), "3");
  EXPECT_EQ(now(a), "");
  EXPECT_EQ(a.acquired(), 0u);
  EXPECT_EQ(b.acquired(), 1u);
  EXPECT_EQ(info().dead_lettered, 0u);
  while (!must(reader.poll(0ns)).empty()) {
  }
  for (int i = 0; i < 1000 && info().dead_lettered != 2; ++i)
    for (ShareConsumer* one : {&a, &b}) EXPECT_EQ(words(must(one->poll(5ms))), "");
  EXPECT_EQ(info().dead_lettered, 2u);
  EXPECT_EQ(info().rejected, 1u);
  const Batch buried = must(reader.poll(0ns));
  EXPECT_EQ(buried.size(), 2u);
}

TEST_F(ApiShare, WhatADeadMemberHeldComesAgain) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 5);
  Child child = worker({.max_records = 3});
  ASSERT_TRUE(child.await());
  ShareConsumer a = work();
  ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(words(batch), "3 4") << "the others are held";
  must(a.accept(batch));
  EXPECT_EQ(must(bus.share_group("workers")).members.size(), 2u);
  child.stop();
  EXPECT_EQ(words(must(a.poll(30ms))), "") << "a stopped one is alive";
  child.kill();
  batch = must(a.poll(kSoon));
  EXPECT_EQ(words(batch), "0*2 1*2 2*2");
  must(a.accept(batch));
  EXPECT_EQ(info().settled_before, 5u);
  EXPECT_EQ(must(bus.share_group("workers")).members.size(), 1u);
}

TEST_F(ApiShare, ASleeperHearsOfADeathAndOfARelease) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 1);
  Child child = worker();
  ASSERT_TRUE(child.await());
  std::thread death([&] {
    std::this_thread::sleep_for(50ms);
    child.kill();
  });
  ShareConsumer a = work({.wait = Wait::sleeping()});
  const ShareBatch batch = must(a.poll(kSoon));
  death.join();
  ASSERT_EQ(words(batch), "0*2");
  std::thread other([&] {
    Bus own = must(Bus::open(path()));
    ShareConsumer b = work_on(own, {.wait = Wait::sleeping()});
    const ShareBatch again = must(b.poll(kSoon));
    EXPECT_EQ(words(again), "0*3");
    must(b.accept(again));
  });
  std::this_thread::sleep_for(50ms);
  must(a.release(batch[0]));
  other.join();
  EXPECT_EQ(info().settled_before, 1u);
}

TEST_F(ApiShare, HoldsProducersAtWhatIsNotSettled) {
  Producer producer = must(create("jobs").producer());
  ShareConsumer a = work({.max_records = 10});
  const int room = fill(producer);
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(batch.size(), 10u);
  const SharedRecord first = batch[0];
  std::vector<SharedRecord> rest(batch.begin() + 1, batch.end());
  for (const SharedRecord& job : rest) must(a.accept(job));
  for (;;) {
    const ShareBatch more = must(a.poll(0ns));
    if (more.empty()) break;
    must(a.accept(more));
  }
  EXPECT_FALSE(producer.try_send(bytes(std::string(1000, 'x'))));
  EXPECT_EQ(text(first.value()), std::string(1000, 'x'));
  must(a.accept(first));
  EXPECT_EQ(info().settled_before, static_cast<std::uint64_t>(room));
  EXPECT_EQ(fill(producer), room);
}

TEST_F(ApiShare, GoesOnWhereItWas) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 4);
  {
    ShareConsumer a = work();
    const ShareBatch batch = must(a.poll(0ns));
    ASSERT_EQ(batch.size(), 4u);
    must(a.accept(batch[0]));
    must(a.accept(batch[2]));
  }
  send(producer, 4, 5);
  ShareConsumer a = work({.start = Start::latest});
  const ShareBatch batch = must(a.poll(0ns));
  EXPECT_EQ(words(batch), "1*2 3*2 4");
  must(a.accept(batch));
  EXPECT_EQ(info().settled_before, 5u);
}

TEST_F(ApiShare, BeginsWhereItIsTold) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 4);
  ShareConsumer latest = work({.group = "latest", .start = Start::latest});
  ShareConsumer at = work({.group = "at", .start = Start::offset(2)});
  EXPECT_EQ(now(latest), "");
  EXPECT_EQ(now(at), "2 3");
  send(producer, 4, 5);
  EXPECT_EQ(now(latest), "4");
  ShareConsumer bad = must(bus.share_consumer({.group = "bad", .start = Start::offset(9)}));
  EXPECT_TRUE(fails(bad.subscribe({"jobs"}), Errc::out_of_range));
  EXPECT_EQ(must(bad.poll(0ns)).size(), 0u);
  ShareConsumer good = work({.group = "bad"});
  EXPECT_EQ(now(good), "0 1 2 3 4");
}

TEST_F(ApiShare, PassesOverWhatWasAborted) {
  Producer producer = must(create("jobs").producer());
  ShareConsumer a = work();
  for (int i = 0; i < 200; ++i) {  // nine times the ring
    must(producer.loan(3000)).abort();
    EXPECT_EQ(now(a), "");
  }
  must(producer.send(bytes("x")));
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(words(batch), "x");
  EXPECT_EQ(batch[0].offset(), 200u);
  must(a.accept(batch));
  EXPECT_EQ(info().settled_before, 201u);
}

TEST_F(ApiShare, AFullWindowWaitsForItsOldest) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 40);
  ShareConsumer a = work({.window = 16});
  ShareConsumer b = work({.window = 16});
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(batch.size(), 16u);
  EXPECT_EQ(now(b), "");
  must(a.accept(batch[3]));
  EXPECT_EQ(now(b), "");
  must(a.accept(batch[0]));
  EXPECT_EQ(now(b), "16");
  std::thread other([&] {
    const ShareBatch more = must(b.poll(kSoon));
    EXPECT_FALSE(more.empty());
  });
  std::this_thread::sleep_for(20ms);
  for (const SharedRecord& job : batch)
    if (job.offset() != 0 && job.offset() != 3) must(a.accept(job));
  other.join();
}

TEST_F(ApiShare, AMemberHoldsSoMuchAndNoMore) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 10);
  ShareConsumer a = work({.max_acquired = 4});
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(batch.size(), 4u);
  const std::vector<SharedRecord> held(batch.begin(), batch.end());
  EXPECT_TRUE(fails(a.poll(0ns), Errc::limit_reached, {"'workers'", "4"}));
  must(a.accept(held[2]));
  EXPECT_EQ(now(a), "4");
}

TEST_F(ApiShare, OneNameOneKindOfGroup) {
  create("jobs");
  ShareConsumer a = work();
  Consumer reader = must(bus.consumer({.group = "workers"}));
  EXPECT_TRUE(fails(reader.subscribe({"jobs"}), Errc::config_mismatch, {"'workers'", "share group"}));
  Consumer partitions = join("jobs", "readers");
  ShareConsumer b = must(bus.share_consumer({.group = "readers"}));
  EXPECT_TRUE(fails(b.subscribe({"jobs"}), Errc::config_mismatch, {"'readers'", "partitions"}));
  EXPECT_TRUE(fails(bus.share_group("readers"), Errc::not_found));
}

TEST_F(ApiShare, MembersAgree) {
  create("jobs");
  create("dead");
  create("open", {.back_pressure = false});
  ShareConsumer a = work();
  const auto refused = [&](ShareConfig config) {
    config.group = "workers";
    ShareConsumer one = must(bus.share_consumer(config));
    return one.subscribe({"jobs"});
  };
  EXPECT_TRUE(fails(refused({.max_deliveries = 7}), Errc::config_mismatch, {"max_deliveries is 7 and not 5"}));
  EXPECT_TRUE(fails(refused({.dead_letter_topic = "dead"}), Errc::config_mismatch, {"'dead'"}));
  EXPECT_TRUE(fails(refused({.window = 64}), Errc::config_mismatch, {"window"}));
  EXPECT_TRUE(fails(refused({.grace = 1s}), Errc::config_mismatch, {"grace"}));
  EXPECT_TRUE(fails(bus.share_consumer({}), Errc::invalid_argument));
  EXPECT_TRUE(fails(bus.share_consumer({.group = "g", .max_deliveries = 0}), Errc::invalid_argument, {"max_deliveries"}));
  EXPECT_TRUE(fails(bus.share_consumer({.group = "g", .window = 100}), Errc::invalid_argument, {"window"}));
  EXPECT_TRUE(fails(bus.share_consumer({.group = "g", .dead_letter_topic = "none"}), Errc::not_found, {"'none'"}));
  EXPECT_TRUE(fails(bus.share_consumer({.group = "g", .grace = -1ns}), Errc::invalid_argument, {"grace"}));
  ShareConsumer b = must(bus.share_consumer({.group = "g", .dead_letter_topic = "dead"}));
  EXPECT_TRUE(fails(b.subscribe({"dead"}), Errc::invalid_argument, {"dead-letter"}));
  EXPECT_TRUE(fails(b.subscribe({"open"}), Errc::forbidden, {"'open'"}));
  EXPECT_TRUE(fails(b.subscribe({"nothing"}), Errc::not_found));
  create("large", {.partition_bytes = 128 << 10});
  EXPECT_TRUE(fails(b.subscribe({"large"}), Errc::invalid_argument, {"'large'", "'dead'"}));
}

TEST_F(ApiShare, ADeathEvictsNobodyWhoIsThere) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 4);
  Child first = worker({.max_records = 1, .grace = 50ms});
  ASSERT_TRUE(first.await());
  ShareConsumer a = work({.max_records = 1, .grace = 50ms});
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(words(batch), "1");
  const SharedRecord job = batch[0];
  first.kill();
  fill(producer);
  std::this_thread::sleep_for(100ms);
  fill(producer);
  EXPECT_EQ(text(job.value()), "1");
  EXPECT_TRUE(good(a.accept(job)));
  EXPECT_EQ(now(a), "0*2") << "found dead by the first look";
  EXPECT_EQ(info().lost, 0u);
}

TEST_F(ApiShare, AGroupThatIsGoneIsEvictedAndGoesOn) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 4);
  {
    ShareConsumer a = work({.max_records = 2, .grace = 0ns});
    const ShareBatch batch = must(a.poll(0ns));
    must(a.accept(batch[0]));
  }
  for (int i = 0; i < 200; ++i) must(producer.send(bytes(std::string(1000, 'x'))));
  ShareConsumer a = work({.grace = 0ns});
  std::uint64_t least = ~0ull;
  std::uint64_t count = 0;
  for (;;) {
    const ShareBatch batch = must(a.poll(0ns));
    if (batch.empty()) break;
    for (const SharedRecord& job : batch) {
      least = std::min(least, job.offset());
      EXPECT_EQ(text(job.value()), std::string(1000, 'x'));
      EXPECT_EQ(job.delivery_count(), 1u);
      ++count;
    }
    must(a.accept(batch));
  }
  EXPECT_EQ(info().lost, least - 1) << "all but the one that was accepted";
  EXPECT_EQ(count, 204 - least);
  EXPECT_EQ(info().settled_before, 204u);
}

TEST_F(ApiShare, EvictionByHandIsReported) {
  Producer producer = must(create("jobs").producer());
  ShareConsumer a = work({.max_records = 4});
  send(producer, 0, 4);
  ShareBatch batch = must(a.poll(0ns));
  const std::vector<SharedRecord> held(batch.begin(), batch.end());
  ASSERT_EQ(held.size(), 4u);
  evict_by_hand();
  for (int i = 0; i < 200; ++i) must(producer.send(bytes(std::string(1000, 'x'))));
  EXPECT_TRUE(fails(a.poll(0ns), Errc::evicted, {"'workers'", "from offset 0 on"}));
  EXPECT_TRUE(fails(a.accept(held[1]), Errc::evicted));
  EXPECT_EQ(a.acquired(), 0u);
  std::set<std::uint64_t> offsets;
  for (;;) {
    batch = must(a.poll(0ns));
    if (batch.empty()) break;
    for (const SharedRecord& job : batch) offsets.insert(job.offset());
    must(a.accept(batch));
  }
  EXPECT_EQ(*offsets.rbegin(), 203u);
  EXPECT_EQ(offsets.size() + info().lost, 204u);
  // Where nothing was overwritten nothing is lost.
  send(producer, 0, 2);
  batch = must(a.poll(0ns));
  ASSERT_EQ(words(batch), "0 1");
  evict_by_hand();
  const SharedRecord first = batch[0];
  EXPECT_EQ(now(a), "");
  EXPECT_TRUE(good(a.accept(first)));
}

TEST_F(ApiShare, TheEndOfAGroup) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 2);
  std::optional<ShareConsumer> a = work();
  EXPECT_TRUE(fails(bus.remove_share_group("workers"), Errc::in_use, {"'workers'", "pid"}));
  EXPECT_TRUE(fails(bus.remove_share_group("nobody"), Errc::not_found));
  a.reset();
  must(bus.remove_share_group("workers"));
  EXPECT_TRUE(fails(bus.share_group("workers"), Errc::not_found));
  Consumer reader = join("jobs", "workers");
  EXPECT_EQ(test::now(reader), "0 1") << "the name is free";
}

TEST_F(ApiShare, ATopicThatGoesAway) {
  create("jobs");
  ShareConsumer a = work();
  must(bus.remove("jobs"));
  EXPECT_TRUE(fails(a.poll(kSoon), Errc::deleted, {"'jobs'"}));
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 1);
  ShareConsumer b = work();
  EXPECT_EQ(now(b), "0") << "the new topic has a new group";
}

TEST_F(ApiShare, BelongsToItsProcess) {
  Producer producer = must(create("jobs").producer());
  send(producer, 0, 2);
  std::optional<ShareConsumer> a = work();
  const ShareBatch batch = must(a->poll(0ns));
  EXPECT_EQ(in_child([&] {
              EXPECT_TRUE(fails(a->poll(0ns), Errc::forked));
              EXPECT_TRUE(fails(a->accept(batch), Errc::forked));
              EXPECT_TRUE(fails(a->release(batch[0]), Errc::forked));
              EXPECT_TRUE(fails(a->subscribe({"jobs"}), Errc::forked));
              EXPECT_TRUE(fails(a->descriptor(), Errc::forked));
              a.reset();
            }),
            0);
  EXPECT_EQ(info().acquired, 2u);
  must(a->accept(batch));
}

TEST_F(ApiShare, ADescriptorTells) {
  Producer producer = must(create("jobs").producer());
  ShareConsumer a = work();
  const int descriptor = must(a.descriptor());
  while (readable(descriptor, 0)) EXPECT_EQ(now(a), "");
  send(producer, 0, 1);
  ASSERT_TRUE(readable(descriptor, 20'000));
  const ShareBatch batch = must(a.poll(0ns));
  ASSERT_EQ(batch.size(), 1u);
  ShareConsumer b = work();
  const int other = must(b.descriptor());
  while (readable(other, 0)) EXPECT_EQ(now(b), "");
  must(a.release(batch[0]));
  ASSERT_TRUE(readable(other, 20'000));
  EXPECT_EQ(now(b), "0*2");
}

// Whatever stands in the segment: errors, and no crash and no endless loop.
TEST_F(ApiShare, NoiseInTheSegment) {
  Producer producer = must(create("jobs").producer());
  std::uint64_t random = 88172645463325252u;
  const auto next = [&] {
    random ^= random << 13;
    random ^= random >> 7;
    return random ^= random << 17;
  };
  for (int round = 0; round < 60; ++round) {
    const std::string group = "g" + std::to_string(round);
    std::optional<ShareConsumer> a = work({.group = group, .max_records = 5, .window = 16});
    for (int i = 0; i < 20; ++i) (void)producer.try_send(bytes("x"));
    ShareBatch batch = must(a->poll(0ns));
    std::string file;
    for (const auto& entry : std::filesystem::directory_iterator(path() + "/groups"))
      if (entry.path().filename().string().starts_with(group + ".share-")) file = entry.path();
    std::FILE* opened = std::fopen(file.c_str(), "r+b");
    ASSERT_NE(opened, nullptr);
    const auto size = static_cast<std::uint64_t>(std::filesystem::file_size(file));
    for (int i = 0; i < (round % 2 == 0 ? 3 : 40); ++i) {
      const std::uint64_t from = group::kHoldersAt + (round % 3 == 0 ? sizeof(group::Word) * group::kHolders : 0);
      const std::uint64_t at = from + next() % ((size - from) / 8) * 8;
      std::uint64_t word = 0;
      std::fseek(opened, static_cast<long>(at), SEEK_SET);
      ASSERT_EQ(std::fread(&word, sizeof word, 1, opened), 1u);
      word = round % 4 < 2 ? next() : word ^ (1ull << next() % 64);
      std::fseek(opened, static_cast<long>(at), SEEK_SET);
      ASSERT_EQ(std::fwrite(&word, sizeof word, 1, opened), 1u);
    }
    std::fclose(opened);
    for (int i = 0; i < 20; ++i) {
      if (!batch.empty()) (void)a->accept(batch[0]);
      auto polled = a->poll(0ns);
      batch = polled ? *polled : ShareBatch();
      if (!batch.empty()) (void)a->release(batch[0]);
    }
    (void)bus.share_group(group);
    a.reset();
    ShareConsumer b = must(bus.share_consumer({.group = group, .window = 16}));
    (void)b.subscribe({"jobs"});
    (void)b.poll(0ns);
    { const ShareConsumer end = std::move(b); }
    EXPECT_TRUE(good(bus.remove_share_group(group))) << round;
  }
}

}  // namespace
}  // namespace arus::test
