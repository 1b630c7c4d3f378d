// Commits by the caller: what a successor of the reader begins with.
#include "membership_support.h"

namespace arus::test {
namespace {

class ApiCommit : public ApiMembership {
 protected:
  ApiCommit() {
    create("t", {.partitions = 2});
    for (int i = 0; i < 6; ++i) send(0, std::to_string(i));
  }
  static ConsumerConfig by_hand(std::uint32_t most = 256) {
    ConsumerConfig config = ApiMembership::config();
    config.auto_commit = false;
    config.max_records = most;
    return config;
  }
  // Where a successor starts.
  std::uint64_t committed(std::uint32_t partition = 0) {
    for (const GroupPartition& one : must(must(bus.group("g")).describe()).partitions)
      if (one.partition == partition) return one.committed;
    return ~0ull;
  }
};

TEST_F(ApiCommit, PollsSettleNothingWhenTheCallerCommits) {
  std::optional<Consumer> one = member({"t"}, by_hand(2));
  EXPECT_EQ(now(*one), "0 1");
  EXPECT_EQ(now(*one), "2 3");
  EXPECT_EQ(committed(), 0u);
  one.reset();
  one = member({"t"}, by_hand(2));
  EXPECT_EQ(now(*one), "0 1");
  must(one->commit());
  EXPECT_EQ(committed(), 2u);
  EXPECT_EQ(now(*one), "2 3");
  one.reset();
  one = member({"t"}, by_hand());
  EXPECT_EQ(now(*one), "2 3 4 5");
}

TEST_F(ApiCommit, OneRecordAndWhatCameBefore) {
  std::optional<Consumer> one = member({"t"}, by_hand(4));
  const Batch batch = must(one->poll(kSoon));
  must(one->commit(batch[1]));
  EXPECT_EQ(committed(), 2u);
  EXPECT_EQ(now(*one), "4 5");
  EXPECT_EQ(must(one->position("t", 0)), 6u);
  must(one->commit("t", 0, 3));
  EXPECT_EQ(committed(), 3u);
  must(one->commit("t", 0, 1));
  EXPECT_EQ(committed(), 3u) << "never back";
  must(one->commit("t", 0, 5));
  EXPECT_EQ(committed(), 5u);
  one.reset();
  one = member({"t"}, by_hand());
  EXPECT_EQ(now(*one), "5");
  must(one->commit("t", 0, 6));
  EXPECT_EQ(committed(), 6u);
}

// With thousands of batches in between the steps become coarser, and never wrong.
TEST_F(ApiCommit, ManyBatchesBetweenCommits) {
  Producer producer = must(create("big", {.partition_bytes = 256 << 10}).producer());
  constexpr int kMany = 3000;
  for (int i = 0; i < kMany; ++i) must(producer.send(bytes(std::to_string(i))));
  std::optional<Consumer> one = member({"big"}, by_hand(1));
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(now(*one), std::to_string(i));
  for (const std::uint64_t at : {450u, 451u, 2000u, 2999u}) {
    must(one->commit("big", 0, at));
    EXPECT_EQ(committed(), at);
  }
  one.reset();
  one = member({"big"}, by_hand(1));
  EXPECT_EQ(now(*one), "2999");
}

TEST_F(ApiCommit, BadCommits) {
  Consumer one = member({"t"}, by_hand(2));
  EXPECT_TRUE(fails(one.commit("t", 0, 1), Errc::out_of_range, {"offset 1", "partition 0", "'t'", "next is 0"}));
  EXPECT_EQ(now(one), "0 1");
  EXPECT_TRUE(fails(one.commit("t", 0, 3), Errc::out_of_range, {"offset 3", "next is 2"}));
  EXPECT_TRUE(fails(one.commit("t", 7, 0), Errc::not_found, {"partition 7"}));
  EXPECT_TRUE(fails(one.commit("x", 0, 0), Errc::not_found, {"'x'"}));
  EXPECT_EQ(committed(), 0u);
  Consumer observer = observe("t");
  EXPECT_TRUE(fails(observer.commit("t", 0, 0), Errc::invalid_argument, {"observer"}));
}

// A record of a partition that has moved on meanwhile is not this member's to commit.
TEST_F(ApiCommit, AfterThePartitionHasMoved) {
  Consumer one = member({"t"}, by_hand(1));
  EXPECT_EQ(now(one), "0");
  Consumer two = member({"t"}, by_hand(1));
  ASSERT_TRUE(until({&one, &two}, [&] { return shared({&one, &two}, {1, 1}); }));
  Consumer& other = reads(one) == "t:0" ? two : one;
  EXPECT_TRUE(fails(other.commit("t", 0, 1), Errc::not_found));
}

}  // namespace
}  // namespace arus::test
