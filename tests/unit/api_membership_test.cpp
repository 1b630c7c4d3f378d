// Members of a group that share partitions: who reads what when they come, go, die, stop and come back. What a group is to producers
// stands in api_delivery_test.cpp.
#include <sys/prctl.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "group/group_file.h"
#include "membership_support.h"

namespace arus::test {
namespace {

// ---- sharing ---------------------------------------------------------------------------------------------------------------------

TEST_F(ApiMembership, TwoShareATopic) {
  create("t", {.partitions = 4});
  Consumer one = member({"t"});
  EXPECT_EQ(reads(one), "t:0 t:1 t:2 t:3") << "at once, not with the first poll";
  Consumer two = member({"t"});
  EXPECT_EQ(reads(two), "") << "all are read still";
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {2, 2}); }));
  for (std::uint32_t i = 0; i < 4; ++i) send(i, std::to_string(i));
  std::set<std::string> got;
  const auto collect = [&](Consumer& consumer) {
    const std::string mine = reads(consumer);
    for (const Record& record : must(consumer.poll(1ms))) {
      EXPECT_NE(mine.find("t:" + std::to_string(record.partition())), std::string::npos);
      EXPECT_TRUE(got.insert(std::string(text(record.value()))).second) << "twice";
    }
  };
  while (got.size() < 4) {
    collect(one);
    collect(two);
  }
}

TEST_F(ApiMembership, ThreeShareSeveralTopics) {
  create("a", {.partitions = 3});
  create("b", {.partitions = 3});
  create("c", {.partitions = 3});
  const std::vector<std::string> all{"a", "b", "c"};
  Consumer one = member(all);
  Consumer two = member(all);
  Consumer three = member(all);
  ASSERT_TRUE(until({&one, &two, &three}, [&] { return shared({&one, &two, &three}, {3, 3, 3}); }));
  const std::string before = reads(one);
  three = must(bus.consumer({}));  // leaves
  ASSERT_TRUE(until({&one, &two}, [&] { return one.assignment().size() + two.assignment().size() == 9; }));
  EXPECT_TRUE(shared({&one, &two}, {4, 5}) || shared({&one, &two}, {5, 4}));
  for (const TopicPartition& mine : one.assignment()) EXPECT_FALSE(mine.topic.empty());
  std::size_t kept = 0;
  for (const TopicPartition& mine : one.assignment())
    kept += before.find(mine.topic + ':' + std::to_string(mine.partition)) != std::string::npos ? 1 : 0;
  EXPECT_EQ(kept, 3u) << "sticky: what it had, it has still";
}

TEST_F(ApiMembership, RangesMeetAcrossTopics) {
  create("a", {.partitions = 3});
  create("b", {.partitions = 3});
  ConsumerConfig range = config();
  range.assignor = Assignor::range;
  Consumer one = member({"a", "b"}, range);
  Consumer two = member({"a", "b"}, range);
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {4, 2}); }));
  EXPECT_EQ(reads(one), "a:0 a:1 b:0 b:1");
  EXPECT_EQ(reads(two), "a:2 b:2");
}

TEST_F(ApiMembership, SubscriptionsMayDiffer) {
  create("a", {.partitions = 2});
  create("b", {.partitions = 2});
  Consumer one = member({"a"});
  Consumer two = member({"a", "b"});
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {2, 2}); }));
  EXPECT_EQ(reads(one), "a:0 a:1");
  EXPECT_EQ(reads(two), "b:0 b:1");
  must(one.subscribe({"b"}));
  must(two.unsubscribe("b"));
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {2, 2}) && reads(one) == "b:0 b:1"; }));
  EXPECT_EQ(reads(two), "a:0 a:1");
}

TEST_F(ApiMembership, MoreMembersThanPartitions) {
  create("t");
  Consumer one = member({"t"});
  Consumer two = member({"t"});
  EXPECT_TRUE(until({&one, &two}, [&] { return true; }));
  must(two.poll(5ms));
  EXPECT_EQ(reads(two), "") << "in reserve";
  { const Consumer gone = std::move(one); }
  ASSERT_TRUE(until({&two}, [&] { return reads(two) == "t:0"; }));
}

// ---- hand-over -------------------------------------------------------------------------------------------------------------------

// A partition that moves stops; those that stay do not.
TEST_F(ApiMembership, WhoKeepsAPartitionReadsOnWhileAnotherMoves) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  Child other([&](const Child::Side& side) {
    Consumer two = member({"t"});
    side.arrive_and_wait();  // a member that takes nothing yet
    std::string got;
    while (got.empty()) got = words(must(two.poll(kSoon)));
    EXPECT_EQ(reads(two), "t:1");
    EXPECT_EQ(got, "b");
    must(two.commit());
    side.arrive_and_wait();
  });
  ASSERT_TRUE(other.await());
  other.stop();
  send(0, "a");
  send(1, "b");
  const Batch batch = must(one.poll(kSoon));
  EXPECT_EQ(words(batch), "a") << "partition 1 was let go in that poll, and 0 is read on";
  EXPECT_EQ(reads(one), "t:0");
  send(0, "c");
  EXPECT_EQ(words(must(one.poll(kSoon))), "c") << "the new reader is stopped: that concerns its partition alone";
  other.resume();
  other.go_on();
  ASSERT_TRUE(other.await());
  send(0, "d");
  EXPECT_EQ(words(must(one.poll(kSoon))), "d");
}

// A stopped member keeps what it has, whoever joins; it gives it when it goes on.
TEST_F(ApiMembership, AStoppedOneKeepsItsPartitions) {
  create("t", {.partitions = 2});
  Child other([&](const Child::Side& side) {
    Consumer two = member({"t"});
    side.arrive_and_wait();
    while (two.assignment().size() != 1) must(two.poll(1ms));
    side.arrive_and_wait();
  });
  ASSERT_TRUE(other.await());
  other.stop();
  Consumer one = member({"t"});
  must(one.poll(30ms));
  EXPECT_EQ(reads(one), "");
  other.resume();
  other.go_on();
  ASSERT_TRUE(other.await());
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 1; }));
}

TEST_F(ApiMembership, TheDeadAreReplacedAndWhatTheyDidNotSettleComesAgain) {
  create("t", {.partitions = 2});
  send(0, "a0");
  send(1, "a1");
  Child other([&](const Child::Side& side) {
    Consumer two = member({"t"});
    std::size_t seen = 0;
    while (seen < 2) seen += must(two.poll(kSoon)).size();
    must(two.commit());
    side.arrive_and_wait();
    while (seen < 4) seen += must(two.poll(kSoon)).size();
    side.arrive_and_wait();  // b0 and b1 are handed out and not settled
  });
  ASSERT_TRUE(other.await());
  send(0, "b0");
  send(1, "b1");
  other.go_on();
  ASSERT_TRUE(other.await());
  Consumer one = member({"t"});
  other.kill();
  ASSERT_TRUE(until({&one}, [&] { return heard.find("b0") != std::string::npos && heard.find("b1") != std::string::npos; }));
  EXPECT_EQ(heard.find('a'), std::string::npos) << heard;
  EXPECT_EQ(must(must(bus.group("g")).describe()).members.size(), 1u);
}

// Nobody waits for its partitions, and nobody is woken by its death; it is taken out nevertheless.
TEST_F(ApiMembership, ADeadOneOfOtherTopicsIsTakenOut) {
  create("t", {.partitions = 2});
  create("u", {.partitions = 2});
  Child other([&](const Child::Side& side) { member_elsewhere(side, {"u"}); });
  ASSERT_TRUE(other.await());
  Consumer one = member({"t"});
  const auto members = [&] { return must(must(bus.group("g")).describe()).members.size(); };
  ASSERT_EQ(members(), 2u);
  other.kill();
  EXPECT_TRUE(until({&one}, [&] { return members() == 1; }));
  EXPECT_EQ(reads(one), "t:0 t:1");
}

// A change that its author did not live to tell of is noticed all the same.
TEST_F(ApiMembership, AStateThatNobodyWasToldOfIsFollowed) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  Child other([&](const Child::Side& side) { member_elsewhere(side, {"t"}); });
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 1; }));
  ASSERT_TRUE(other.await());
  other.stop();
  // As if the other had left, and died between the renaming of the state and the telling.
  const auto directory = must(log::BusDirectory::open(path()));
  group::GroupState state = must(group::GroupFile::read(*directory, "g"));
  ASSERT_EQ(state.members.size(), 2u);
  state.members.pop_back();
  for (std::uint64_t& id : state.targets[0].members) id = state.members[0].id;
  ++state.generation;
  std::ofstream(directory->groups_path() + "/g.state.new", std::ios::binary) << group::encode(state);
  std::filesystem::rename(directory->groups_path() + "/g.state.new", directory->groups_path() + "/g.state");
  other.kill();
  EXPECT_TRUE(until({&one}, [&] { return one.assignment().size() == 2; }));
}

// ---- what members are told -----------------------------------------------------------------------------------------------------

class ApiListener : public ApiMembership {
 protected:
  AssignmentListener listener(const std::string& name) {
    const auto write = [this, name](const char* what) {
      return [this, name, what](std::span<const TopicPartition> partitions) {
        told += name + what;
        for (const TopicPartition& one : partitions) told += one.topic + std::to_string(one.partition);
        told += ' ';
      };
    };
    return {.assigned = write("+"), .revoked = write("-")};
  }
  std::string told;
};

TEST_F(ApiListener, IsToldWhatComesAndGoes) {
  create("t", {.partitions = 2});
  Consumer one = must(must(Bus::open(path())).consumer(config()));
  one.on_assignment(listener("a"));
  must(one.subscribe({"t"}));
  EXPECT_EQ(told, "a+t0t1 ");
  Consumer two = must(must(Bus::open(path())).consumer(config()));
  two.on_assignment(listener("b"));
  must(two.subscribe({"t"}));
  ASSERT_TRUE(until({&one, &two}, [&] { return two.assignment().size() == 1; }));
  EXPECT_EQ(told, "a+t0t1 a-t1 b+t1 ");
  must(two.unsubscribe("t"));
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 2; }));
  EXPECT_EQ(told, "a+t0t1 a-t1 b+t1 b-t1 a+t1 ");
}

TEST_F(ApiListener, MayCommitBeforeItLosesAPartition) {
  create("t", {.partitions = 2});
  ConsumerConfig by_hand = config();
  by_hand.auto_commit = false;
  Consumer one = member({"t"}, by_hand);
  send(1, "x");
  ASSERT_EQ(words(must(one.poll(kSoon))), "x");
  one.on_assignment({.assigned = {}, .revoked = [&](std::span<const TopicPartition>) { must(one.commit()); }});
  Consumer two = member({"t"}, by_hand);
  ASSERT_TRUE(until({&one, &two}, [&] { return reads(two) == "t:1"; }));
  EXPECT_EQ(must(two.position("t", 1)), 1u);
  EXPECT_EQ(heard, "");
}

TEST_F(ApiListener, ThatThrowsIsAnError) {
  create("t", {.partitions = 2});
  Consumer one = must(must(Bus::open(path())).consumer(config()));
  one.on_assignment({.assigned = [](std::span<const TopicPartition>) { throw std::runtime_error("oh no"); }, .revoked = {}});
  EXPECT_TRUE(fails(one.subscribe({"t"}), Errc::invalid_argument, {"listener", "oh no"}));
  one.on_assignment({});
  must(one.subscribe({"t"}));
  EXPECT_EQ(one.assignment().size(), 2u);
}

// ---- leaving -------------------------------------------------------------------------------------------------------------------

TEST_F(ApiMembership, LeavingHandsOverWhereItWasSettled) {
  create("t", {.partitions = 2});
  for (int i = 0; i < 3; ++i) send(0, "v" + std::to_string(i));
  ConsumerConfig small = config();
  small.max_records = 1;
  Consumer one = member({"t"}, small);
  ASSERT_EQ(words(must(one.poll(kSoon))), "v0");
  ASSERT_EQ(words(must(one.poll(kSoon))), "v1");  // settles v0
  Consumer two = member({"t"});
  { const Consumer gone = std::move(one); }
  ASSERT_TRUE(until({&two}, [&] { return two.assignment().size() == 2 && heard.size() >= 6; }));
  EXPECT_EQ(heard, "v1 v2 ");
}

TEST_F(ApiMembership, AMemberThatHasLeftCanComeBack) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  for (int i = 0; i < 3; ++i) {
    must(one.unsubscribe("t"));
    EXPECT_EQ(reads(one), "");
    EXPECT_TRUE(must(must(bus.group("g")).describe()).members.empty());
    EXPECT_TRUE(must(one.poll(1ms)).empty());
    must(one.subscribe({"t"}));
    EXPECT_EQ(reads(one), "t:0 t:1");
  }
}

// Everything but a partition's reader may come and go in any order, and each time somebody reads.
TEST_F(ApiMembership, AllReadAgainAfterAnUnsubscribe) {
  create("a", {.partitions = 2});
  create("b");
  Consumer one = member({"a"});
  Consumer two = member({"a", "b"});
  must(two.poll(0ns));
  must(two.unsubscribe("b"));  // its share of "a" is read by the other one still
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {1, 1}); }));
}

// ---- static members ------------------------------------------------------------------------------------------------------------

TEST_F(ApiMembership, AStaticOneTakesItsPartitionsBack) {
  create("t", {.partitions = 4});
  Consumer one = member({"t"}, config("one"));
  std::optional<Child> other;
  other.emplace([&](const Child::Side& side) {
    Consumer two = member({"t"}, config("two"));
    while (two.assignment().size() != 2) must(two.poll(1ms));
    side.arrive_and_wait();
  });
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 2; }));
  ASSERT_TRUE(other->await());
  Consumer same = must(must(Bus::open(path())).consumer(config("two")));
  EXPECT_TRUE(fails(same.subscribe({"t"}), Errc::in_use, {"'two'", "'g'", "pid " + std::to_string(other->pid())}));
  const std::string mine = reads(one);
  other->kill();
  must(one.poll(50ms));
  EXPECT_EQ(reads(one), mine) << "kept for the one that will come back";
  must(same.subscribe({"t"}));
  EXPECT_EQ(same.assignment().size(), 2u) << "at once";
  must(one.poll(5ms));
  EXPECT_EQ(reads(one), mine) << "nothing moved";
  EXPECT_TRUE(shared({&one, &same}, {2, 2}));
}

TEST_F(ApiMembership, AStaticOneThatLeavesIsAwaitedAsWell) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"}, config("one"));
  std::optional<Consumer> two = member({"t"}, config("two"));
  ASSERT_TRUE(until({&one, &*two}, [&] { return shared({&one, &*two}, {1, 1}); }));
  const std::string its = reads(*two);
  two.reset();
  must(one.poll(20ms));
  EXPECT_EQ(one.assignment().size(), 1u);
  two = member({"t"}, config("two"));
  EXPECT_EQ(reads(*two), its);
}

TEST_F(ApiMembership, AfterTheGraceOthersTakeOver) {
  create("t", {.partitions = 2});
  ConsumerConfig brief = config("one");
  brief.grace = 30ms;
  Consumer one = member({"t"}, brief);
  brief.instance = "two";
  std::optional<Consumer> two = member({"t"}, brief);
  ASSERT_TRUE(until({&one, &*two}, [&] { return shared({&one, &*two}, {1, 1}); }));
  two.reset();
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 2; }));
  // And if it comes then, it is a member as any other.
  two = member({"t"}, brief);
  ASSERT_TRUE(until({&one, &*two}, [&] { return shared({&one, &*two}, {1, 1}); }));
}

TEST_F(ApiMembership, AGraceForEverIsOne) {
  create("t", {.partitions = 2});
  ConsumerConfig patient = config("one");
  patient.grace = kForever;
  Consumer one = member({"t"}, patient);
  patient.instance = "two";
  std::optional<Consumer> two = member({"t"}, patient);
  ASSERT_TRUE(until({&one, &*two}, [&] { return shared({&one, &*two}, {1, 1}); }));
  two.reset();
  must(one.poll(30ms));
  EXPECT_EQ(one.assignment().size(), 1u);
}

// ---- patterns ------------------------------------------------------------------------------------------------------------------

TEST_F(ApiMembership, APatternFollowsTopicsThatComeAndGo) {
  create("a1", {.partitions = 2});
  create("a2");
  create("xa1");
  Consumer one = must(must(Bus::open(path())).consumer(config()));
  must(one.subscribe_pattern("a[0-9]+"));
  EXPECT_EQ(reads(one), "a1:0 a1:1 a2:0");
  Consumer two = must(must(Bus::open(path())).consumer(config()));
  must(two.subscribe_pattern("a[0-9]+"));
  ASSERT_TRUE(
      until({&one, &two}, [&] { return one.assignment().size() + two.assignment().size() == 3 && !two.assignment().empty(); }));
  create("a33");
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {2, 2}); }));
  send(0, "new", "a33");
  ASSERT_TRUE(until({&one, &two}, [&] { return heard == "new "; }));
  must(bus.remove("a1"));
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {1, 1}); })) << "without an error";
  EXPECT_TRUE(fails(one.subscribe({"xa1"}), Errc::invalid_argument, {"pattern"}));
}

TEST_F(ApiMembership, BadPatterns) {
  create("t");
  Consumer one = must(bus.consumer(config()));
  EXPECT_TRUE(fails(one.subscribe_pattern("a["), Errc::invalid_argument, {"'a['"}));
  must(one.subscribe_pattern("nothing-yet"));
  EXPECT_EQ(reads(one), "");
  EXPECT_TRUE(must(one.poll(1ms)).empty());
  Consumer two = must(bus.consumer(config()));
  must(two.subscribe({"t"}));
  EXPECT_TRUE(fails(two.subscribe_pattern("t"), Errc::invalid_argument, {"by name"}));
}

// ---- settings --------------------------------------------------------------------------------------------------------------------

TEST_F(ApiMembership, LiveMembersAgreeOnTheGroup) {
  create("t");
  std::optional<Consumer> one = member({"t"});
  const auto differs = [&](const std::function<void(ConsumerConfig&)>& change, std::string_view what) {
    ConsumerConfig other = config();
    change(other);
    Consumer consumer = must(must(Bus::open(path())).consumer(other));
    EXPECT_TRUE(fails(consumer.subscribe({"t"}), Errc::config_mismatch, {"'g'", what}));
  };
  differs([](ConsumerConfig& other) { other.delivery = Delivery::lossy; }, "delivery is lossy and not lossless");
  differs([](ConsumerConfig& other) { other.assignor = Assignor::range; }, "assignor is range and not sticky");
  differs([](ConsumerConfig& other) { other.evict_behind_records = 5; }, "evict_behind_records is 5 and not 0");
  differs([](ConsumerConfig& other) { other.evict_behind_bytes = 5; }, "evict_behind_bytes is 5 and not 0");
  differs([](ConsumerConfig& other) { other.stall_limit = 1s; }, "stall_limit");
  differs([](ConsumerConfig& other) { other.grace = 1s; }, "grace");
  differs([](ConsumerConfig& other) { other.offsets_kept = 1s; }, "offsets_kept");
  EXPECT_EQ(must(must(bus.group("g")).describe()).members.size(), 1u) << "who was refused has left nothing";
  one.reset();
  ConsumerConfig lossy = config();
  lossy.delivery = Delivery::lossy;
  const Consumer two = member({"t"}, lossy);
  EXPECT_EQ(must(must(bus.group("g")).describe()).delivery, Delivery::lossy) << "nobody was there to disagree";
}

TEST_F(ApiMembership, ImpossibleSettings) {
  EXPECT_TRUE(fails(bus.consumer({.group = "g", .evict_behind_records = 1, .evict_behind_bytes = 1}), Errc::invalid_argument,
                    {"evict_behind_records", "evict_behind_bytes"}));
  EXPECT_TRUE(fails(bus.consumer({.group = "g", .grace = -1s}), Errc::invalid_argument, {"grace"}));
  EXPECT_TRUE(fails(bus.consumer({.group = std::string("a\0b", 3)}), Errc::invalid_argument, {"zero byte"}));
}

TEST_F(ApiMembership, OffsetsAreKeptAsLongAsConfigured) {
  create("t");
  for (const bool kept : {true, false}) {
    SCOPED_TRACE(kept);
    ConsumerConfig with = config();
    with.group = kept ? "kept" : "forgotten";
    with.offsets_kept = kept ? std::chrono::nanoseconds(1h) : 0ns;
    send(0, "x");
    {
      Consumer one = member({"t"}, with);
      while (must(one.position("t", 0)) == 0) must(one.poll(kSoon));
      must(one.commit());
    }
    std::this_thread::sleep_for(1ms);
    Consumer two = member({"t"}, with);
    if (kept)
      EXPECT_GT(must(two.position("t", 0)), 0u);
    else
      EXPECT_EQ(must(two.position("t", 0)), 0u);
  }
}

// Whoever reads single partitions is no member; a group without members whose offsets are to be forgotten keeps those.
TEST_F(ApiMembership, WhatIsReadByHandIsNotForgotten) {
  create("t", {.partitions = 2});
  ConsumerConfig brief = config();
  brief.offsets_kept = 0ns;
  { const Consumer first = member({"t"}, brief); }
  Consumer hand = must(must(Bus::open(path())).consumer(brief));
  must(hand.assign({{"t", 0}}));
  send(0, "x");
  ASSERT_EQ(words(must(hand.poll(kSoon))), "x");
  must(hand.commit());
  Consumer one = member({"t"}, brief);
  EXPECT_EQ(reads(one), "t:1");
  send(0, "y");
  ASSERT_EQ(words(must(hand.poll(kSoon))), "y");
  EXPECT_TRUE(good(hand.commit()));
}

// ---- fenced, forked, other namespaces --------------------------------------------------------------------------------------------

TEST_F(ApiMembership, ADeletedGroupFencesItsMembers) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  send(0, "a");
  ASSERT_EQ(words(must(one.poll(kSoon))), "a");
  must(one.commit());
  std::filesystem::remove(path() + "/groups/g.state");
  Polled polled{Batch()};
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (polled && std::chrono::steady_clock::now() < deadline) polled = one.poll(10ms);
  EXPECT_TRUE(fails(polled, Errc::fenced, {"'g'", "subscribe again"}));
  EXPECT_EQ(reads(one), "") << "subscribed to nothing";
  EXPECT_TRUE(must(one.poll(1ms)).empty());
  send(0, "b");
  must(one.subscribe({"t"}));
  EXPECT_EQ(words(must(one.poll(kSoon))), "b") << "the topic has kept what was committed";
}

TEST_F(ApiMembership, AnotherDeathWakesADescriptor) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  Child other([&](const Child::Side& side) { member_elsewhere(side, {"t"}); });
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 1; }));
  ASSERT_TRUE(other.await());
  const int descriptor = must(one.descriptor());
  const auto drain = [&] {
    while (readable(descriptor, 0)) must(one.poll(0ns));
  };
  drain();
  other.kill();
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (one.assignment().size() != 2 && std::chrono::steady_clock::now() < deadline) {
    ASSERT_TRUE(readable(descriptor, 20'000)) << "without being asked once a second";
    must(one.poll(0ns));
  }
  EXPECT_EQ(one.assignment().size(), 2u);
  drain();
  send(0, "x");
  EXPECT_TRUE(readable(descriptor, 20'000));
}

TEST_F(ApiMembership, AForkedChildIsNoMemberAndDoesNotLeave) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  Consumer two = member({"t"});
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {1, 1}); }));
  must(one.descriptor());
  EXPECT_EQ(in_child([&] {
              EXPECT_TRUE(fails(one.poll(0ns), Errc::forked));
              EXPECT_TRUE(fails(one.commit(), Errc::forked));
              EXPECT_TRUE(fails(one.commit("t", 0, 0), Errc::forked));
              EXPECT_TRUE(fails(one.subscribe({"t"}), Errc::forked));
              EXPECT_TRUE(fails(one.subscribe_pattern("t"), Errc::forked));
              EXPECT_TRUE(fails(one.unsubscribe("t"), Errc::forked));
              EXPECT_TRUE(fails(one.descriptor(), Errc::forked));
              const Consumer gone = std::move(one);
            }),
            0);
  EXPECT_EQ(must(must(bus.group("g")).describe()).members.size(), 2u);
  for (std::uint32_t i = 0; i < 2; ++i) send(i, "x");
  ASSERT_TRUE(until({&one, &two}, [&] { return heard == "x x "; }));
  EXPECT_TRUE(shared({&one, &two}, {1, 1}));
}

// A member whose processes are numbered by themselves: a pid says nothing here, and nobody asks for one.
TEST_F(ApiMembership, MembersLiveInOtherPidNamespaces) {
  create("t", {.partitions = 2});
  Consumer one = member({"t"});
  Child other([&](const Child::Side& side) {
    if (unshare(CLONE_NEWPID) != 0) _exit(kNotPermitted);
    const pid_t first = fork();
    if (first == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      Consumer two = member({"t"});
      while (two.assignment().size() != 1) must(two.poll(1ms));
      if (getpid() == 1) side.arrive();
      pause();
      _exit(0);
    }
    side.wait();
    ::kill(first, SIGKILL);
    waitpid(first, nullptr, 0);
    side.arrive_and_wait();
  });
  ASSERT_TRUE(until({&one}, [&] {
    siginfo_t gone{};
    waitid(P_PID, static_cast<id_t>(other.pid()), &gone, WEXITED | WNOHANG | WNOWAIT);
    return one.assignment().size() == 1 || gone.si_pid != 0;
  }));
  if (one.assignment().size() != 1) {
    ASSERT_EQ(other.join(), kNotPermitted);
    GTEST_SKIP() << "this process may not make a pid namespace";
  }
  ASSERT_TRUE(other.await());
  must(one.poll(50ms));
  EXPECT_EQ(one.assignment().size(), 1u) << "it lives";
  other.go_on();
  ASSERT_TRUE(other.await());
  ASSERT_TRUE(until({&one}, [&] { return one.assignment().size() == 2; }));
}

}  // namespace
}  // namespace arus::test
