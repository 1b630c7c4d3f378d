// Looking for every open claim of a partition, and settling those of the dead.
#include "ring/sweep.h"
#include "ring_support.h"

namespace arus::test {
namespace {

using Owner = ring::OpenClaim::Owner;
constexpr std::uint64_t C = RawRing::kC;
constexpr std::uint64_t kDead = RawRing::kDead;

TEST(RingSweep, NothingIsOpenInAnEmptyOrSettledRing) {
  const RawRing raw;
  EXPECT_TRUE(ring::open_claims(raw.ring).empty());
  raw.record(C, State::committed, 0, 2, 0);
  raw.record(C + 2, State::skip, 0, 1, 1);
  raw.tail(C + 3, 0, 2);
  EXPECT_TRUE(ring::open_claims(raw.ring).empty());
  EXPECT_EQ(ring::settle_dead_claims(raw.ring, raw.alive()), 0u);
}

// committed | claimed by the living | committed | claimed by the dead | claimed by the dead and not marked | committed
TEST(RingSweep, EveryOpenClaimIsFoundAndThoseOfTheDeadAreSettled) {
  const RawRing raw;
  raw.record(C, State::committed, 0, 2, 0);
  raw.record(C + 2, State::claimed, 0, 3, 1);
  raw.record(C + 5, State::committed, 1, 1, 2);
  raw.record(C + 6, State::claimed, 1, 2, 3);
  raw.record(C + 12, State::committed, 3, 1, 5);
  raw.slot(0, raw.alive(), C + 2, ring::kNoOwner, 1, 3);
  raw.slot(1, kDead, C + 6, 1, 3, 2);
  raw.slot(2, kDead, C + 8, 1, 4, 4);
  raw.tail(C + 13, 3, 6);

  const auto found = ring::open_claims(raw.ring);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].position, C + 2);
  EXPECT_EQ(found[0].owner, Owner::alive);
  EXPECT_EQ(found[0].incarnation, raw.alive());
  EXPECT_EQ(found[1].position, C + 6);
  EXPECT_EQ(found[1].owner, Owner::dead);
  EXPECT_EQ(found[1].offset, 3u);
  EXPECT_EQ(found[2].position, C + 8);
  EXPECT_EQ(found[2].owner, Owner::dead);
  EXPECT_EQ(found[2].cells, 4u);
  EXPECT_EQ(ring::open_claims(raw.ring, 2).size(), 2u);

  EXPECT_EQ(ring::settle_dead_claims(raw.ring, raw.alive()), 2u);
  EXPECT_EQ(raw.look(C + 2), Found::open) << "of the living: left alone";
  EXPECT_EQ(raw.look(C + 6), Found::skip);
  EXPECT_EQ(raw.look(C + 8), Found::skip);
  EXPECT_EQ(ring::settle_dead_claims(raw.ring, raw.alive()), 0u) << "a second time there is nothing to do";
  EXPECT_EQ(ring::open_claims(raw.ring).size(), 1u);
}

// Two slots stand at one position: the loser's intent is stale. The next boundary names the winner, which recover() looks up.
TEST(RingSweep, WhatIsUnclearEndsTheListAndIsSettledOnTheWay) {
  const RawRing raw;
  raw.slot(0, kDead, C, ring::kNoOwner, 0, 2);
  raw.slot(1, kDead, C, ring::kNoOwner, 0, 5);
  raw.record(C + 5, State::claimed, 2, 1, 1, 1);
  raw.slot(2, kDead, C + 5, 1, 1, 1);
  raw.tail(C + 6, 2, 2);
  const auto found = ring::open_claims(raw.ring);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].owner, Owner::unclear);
  EXPECT_EQ(ring::settle_dead_claims(raw.ring, raw.alive()), 2u);
  EXPECT_TRUE(ring::open_claims(raw.ring).empty());
}

TEST(RingSweep, WhatIsBelowLowIsNotLookedAt) {
  const RawRing raw;
  raw.record(C, State::claimed, 1, 2, 0);
  raw.record(C + 2, State::committed, 1, 2, 1);
  raw.slot(1, kDead, C, ring::kNoOwner, 0, 2);
  raw.tail(C + 4, 1, 2);
  raw.low(C + 2);
  EXPECT_TRUE(ring::open_claims(raw.ring).empty());
}

TEST(RingSweep, ImpossibleContentEndsIt) {
  const RawRing raw;
  raw.record(C, State::committed, 1, C, 0);
  raw.tail(C + 4, 1, 2);
  EXPECT_TRUE(ring::open_claims(raw.ring).empty());
  raw.record(C, State::claimed, ring::kNoOwner, 4, 0);
  const auto found = ring::open_claims(raw.ring);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].owner, Owner::unclear);
  EXPECT_EQ(ring::settle_dead_claims(raw.ring, raw.alive()), 0u) << "recover() finds it corrupt and leaves it";
}

}  // namespace
}  // namespace arus::test
