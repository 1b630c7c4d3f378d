// A cursor's way from reader to reader: taken, let go, promised, evicted, forgotten; and where the next one begins after each.
#include "group/cursor.h"
#include "ring_support.h"

namespace arus::test {
namespace {

using group::Policy;
using group::Resumption;
using ring::Cursor;
using ring::CursorStatus;
using From = Resumption::From;

constexpr std::uint64_t C = RawRing::kC;

class GroupCursor : public testing::Test {
 protected:
  // Ten records of 16 cells.
  GroupCursor() {
    for (std::uint64_t i = 0; i < 10; ++i) raw_.record(at(i), State::committed, 0, 16, i);
    raw_.tail(at(10), 0, 10);
  }
  static constexpr std::uint64_t at(std::uint64_t i) { return C + 16 * i; }
  bool take(std::uint64_t incarnation, std::uint64_t member = 1) {
    return group::take(cursor_, incarnation, member, raw_.leases());
  }
  Resumption resume(const Policy& policy = {}) { return group::resume(raw_.ring, cursor_, policy); }
  // A reader begins at `offset`, and settles up to `end`.
  void read(std::uint64_t offset, std::uint64_t end) {
    ASSERT_TRUE(take(raw_.alive()));
    ASSERT_EQ(resume().from, From::start);
    group::begin_committed(cursor_, offset);
    cursor_.committed = end;
    cursor_.position = at(end);
  }
  [[nodiscard]] CursorStatus status() const { return ring::cursor_status(cursor_.state); }

  RawRing raw_;
  Cursor& cursor_ = raw_.cursor(0);
};

TEST_F(GroupCursor, IsTakenFromNobodyAndFromTheDead) {
  EXPECT_TRUE(group::is_takeable(cursor_, raw_.leases()));
  EXPECT_TRUE(take(RawRing::kDead, 5));
  EXPECT_EQ(cursor_.member, 5u);
  EXPECT_TRUE(group::is_takeable(cursor_, raw_.leases()));
  EXPECT_TRUE(take(raw_.alive(), 6));
  EXPECT_EQ(cursor_.member, 6u);
  EXPECT_FALSE(group::is_takeable(cursor_, raw_.leases()));
  EXPECT_FALSE(take(raw_.alive(), 7)) << "not even by another consumer of that process";
  EXPECT_FALSE(take(RawRing::kDead, 7));
  EXPECT_EQ(cursor_.member, 6u);
  EXPECT_EQ(cursor_.owner, raw_.alive());
}

TEST_F(GroupCursor, APromiseIsFreeForAll) {
  ASSERT_TRUE(take(raw_.alive()));
  group::let_go(cursor_, raw_.alive(), raw_.alive());
  EXPECT_EQ(cursor_.owner, raw_.alive() | ring::kReserved);
  EXPECT_EQ(ring::incarnation_of(cursor_.owner), raw_.alive());
  EXPECT_EQ(cursor_.member, 0u);
  EXPECT_TRUE(group::is_takeable(cursor_, raw_.leases()));
  EXPECT_TRUE(take(RawRing::kDead));
}

TEST_F(GroupCursor, APromiseThatWillNotBeKeptIsPassedOn) {
  ASSERT_TRUE(take(raw_.alive()));
  group::renounce(cursor_, raw_.alive(), platform::kNoIncarnation);
  EXPECT_EQ(cursor_.owner, raw_.alive()) << "taken, and no promise";
  group::let_go(cursor_, raw_.alive(), RawRing::kDead);
  group::renounce(cursor_, raw_.alive(), platform::kNoIncarnation);
  EXPECT_EQ(cursor_.owner, RawRing::kDead | ring::kReserved) << "somebody else's";
  group::renounce(cursor_, RawRing::kDead, raw_.alive());
  EXPECT_EQ(cursor_.owner, raw_.alive() | ring::kReserved);
  group::renounce(cursor_, raw_.alive(), platform::kNoIncarnation);
  EXPECT_EQ(cursor_.owner, platform::kNoIncarnation);
}

TEST_F(GroupCursor, IsLetGoByItsOwnerOnly) {
  ASSERT_TRUE(take(raw_.alive(), 3));
  group::let_go(cursor_, RawRing::kDead, platform::kNoIncarnation);
  EXPECT_EQ(cursor_.owner, raw_.alive());
  EXPECT_EQ(cursor_.member, 3u);
  group::let_go(cursor_, raw_.alive(), platform::kNoIncarnation);
  EXPECT_EQ(cursor_.owner, platform::kNoIncarnation);
  EXPECT_EQ(cursor_.member, 0u);
}

TEST_F(GroupCursor, BeginsAndGoesOn) {
  const Policy policy{.records_behind = 0, .bytes_behind = 200, .stall_ns = 5, .grace_ns = 6};
  ASSERT_TRUE(take(raw_.alive()));
  const Resumption first = resume(policy);
  EXPECT_EQ(first.from, From::start);
  EXPECT_EQ(first.position, C);
  EXPECT_EQ(cursor_.state, first.state);
  EXPECT_EQ(status(), CursorStatus::active);
  EXPECT_EQ(cursor_.grace, 6u);
  EXPECT_EQ(cursor_.stall, 5u);
  group::begin_committed(cursor_, 4);
  group::set_limit(cursor_, policy, 0);
  EXPECT_EQ(cursor_.limit, 4u << 1) << "200 bytes are four cells";
  EXPECT_EQ(cursor_.rejoined, 0u);
  cursor_.committed = 5;
  cursor_.position = at(5);
  group::let_go(cursor_, raw_.alive(), platform::kNoIncarnation);
  ASSERT_TRUE(take(raw_.alive()));
  const Resumption second = resume();
  EXPECT_EQ(second.from, From::committed);
  EXPECT_EQ(second.position, at(5));
  EXPECT_EQ(second.committed, 5u);
  EXPECT_EQ(second.state >> 8, (first.state >> 8) + 1) << "a generation of its own";
  EXPECT_EQ(cursor_.limit, 0u) << "the policy of now";
}

TEST_F(GroupCursor, ALimitInRecordsIsMarkedAsOne) {
  ASSERT_TRUE(take(raw_.alive()));
  resume({.records_behind = 7});
  EXPECT_EQ(cursor_.limit, 0u);
  group::begin_committed(cursor_, 0);
  group::set_limit(cursor_, {.records_behind = 7}, 10);
  EXPECT_EQ(cursor_.limit, 7u << 1 | 1);
}

// A limit counts from where the group begins: before that is known, it is behind nothing.
TEST_F(GroupCursor, ANewGroupIsNotBehindBeforeItHasBegun) {
  ASSERT_TRUE(take(raw_.alive()));
  const Resumption first = resume({.records_behind = 3});
  Refusal refusal;
  EXPECT_NE(ring::make_room(raw_.ring, at(11), raw_.alive(), refusal), 0u);
  EXPECT_EQ(cursor_.state, first.state) << "it is to begin at the end, and ten records are there";
  group::begin_committed(cursor_, 10);
  group::set_limit(cursor_, {.records_behind = 3}, 0);
  EXPECT_NE(ring::make_room(raw_.ring, at(11), raw_.alive(), refusal), 0u);
  EXPECT_EQ(cursor_.state, first.state);
}

TEST_F(GroupCursor, AnEvictedOneBeginsAtWhatIsLeft) {
  read(0, 3);
  cursor_.state = ring::cursor_state(cursor_.state >> 8, CursorStatus::evicted_abandoned);
  raw_.low(at(6));
  ASSERT_FALSE(take(RawRing::kDead));
  group::let_go(cursor_, raw_.alive(), platform::kNoIncarnation);
  ASSERT_TRUE(take(raw_.alive()));
  const Resumption next = resume();
  EXPECT_EQ(next.from, From::evicted);
  EXPECT_EQ(next.position, at(6));
  EXPECT_EQ(next.committed, 3u);
  EXPECT_EQ(status(), CursorStatus::active);
  // Its reader dies before it has settled anything: for the next one nothing has changed.
  const Resumption third = resume();
  EXPECT_EQ(third.from, From::evicted);
  EXPECT_EQ(third.position, at(6));
  EXPECT_EQ(third.committed, 3u);
  cursor_.committed = 8;
  cursor_.position = at(8);
  EXPECT_EQ(resume().from, From::committed) << "something was settled";
}

// What is committed and where the cursor stands are two places, and stay so until something is settled.
TEST_F(GroupCursor, WhatStandsApartWasLostInBetween) {
  read(0, 3);
  EXPECT_FALSE(group::stands_apart(cursor_));
  group::commit_apart(cursor_, 2, at(6));
  EXPECT_TRUE(group::stands_apart(cursor_));
  for (int successor = 0; successor < 2; ++successor) {
    const Resumption next = resume();
    EXPECT_EQ(next.from, From::evicted);
    EXPECT_EQ(next.position, at(6));
    EXPECT_EQ(next.committed, 2u);
  }
  group::begin_committed(cursor_, 7);
  EXPECT_EQ(resume().from, From::committed);
}

// Its reader dies while it moves: the next one says where, so that what is settled behind that counts.
TEST_F(GroupCursor, WhereItWasMovingToIsSaidByTheNextOne) {
  read(0, 3);
  group::begin_moving(cursor_);
  cursor_.position = at(5);
  EXPECT_EQ(resume().from, From::evicted);
  EXPECT_EQ(resume().from, From::evicted) << "nothing was settled";
  cursor_.committed = 6;
  cursor_.position = at(6);
  EXPECT_EQ(resume().from, From::committed);
}

// As before it has begun: a beginning that was cut short.
TEST_F(GroupCursor, AFreshOneThatMovesBeginsAnew) {
  ASSERT_TRUE(take(raw_.alive()));
  EXPECT_EQ(resume().from, From::start);
  group::begin_moving(cursor_);
  EXPECT_EQ(resume().from, From::start);
  EXPECT_EQ(resume().from, From::start);
}

// The first reader dies between joining and its beginning: the next one decides where to begin.
TEST_F(GroupCursor, ABeginningThatWasCutShortBeginsAnew) {
  ASSERT_TRUE(take(RawRing::kDead));
  EXPECT_EQ(resume().from, From::start);
  ASSERT_TRUE(take(raw_.alive()));
  EXPECT_EQ(resume().from, From::start);
  cursor_.rejoined = 1ull << 63 | (ring::kMostPositions - 1);  // as it is before the position stands
  EXPECT_EQ(resume().from, From::start);
  group::begin_committed(cursor_, 2);
  EXPECT_EQ(resume().from, From::committed);
}

TEST_F(GroupCursor, ALossyOneHoldsNothing) {
  const Policy lossy{.delivery = Delivery::lossy};
  ASSERT_TRUE(take(raw_.alive()));
  EXPECT_EQ(resume(lossy).from, From::start);
  EXPECT_EQ(status(), CursorStatus::lossy);
  group::begin_committed(cursor_, 0);
  cursor_.committed = 2;
  cursor_.position = at(2);
  Resumption next = resume(lossy);
  EXPECT_EQ(next.from, From::committed);
  EXPECT_EQ(next.position, at(2));
  raw_.low(at(5));
  next = resume(lossy);
  EXPECT_EQ(next.from, From::evicted) << "lapped";
  EXPECT_EQ(next.position, at(5));
  // A lossless policy from now on: what is between may be gone already.
  next = resume();
  EXPECT_EQ(next.from, From::evicted);
  EXPECT_EQ(status(), CursorStatus::active);
  EXPECT_EQ(next.committed, 2u);
}

TEST_F(GroupCursor, NoiseInItsWordsIsNotFollowed) {
  read(0, 3);
  for (const std::uint64_t position : {std::uint64_t{0}, at(11), ~std::uint64_t{0}, ring::kMostPositions}) {
    cursor_.position = position;
    const Resumption next = resume();
    EXPECT_EQ(next.from, From::evicted) << position;
    EXPECT_EQ(next.position, C);
  }
  for (const std::uint64_t status : {8u, 77u, 255u}) {
    cursor_.state = status;
    EXPECT_EQ(resume().position, C);
  }
}

TEST_F(GroupCursor, ForgettingLeavesItAsNew) {
  read(0, 3);
  const std::uint64_t before = cursor_.state;
  group::forget(cursor_);
  EXPECT_EQ(status(), CursorStatus::free);
  EXPECT_GT(cursor_.state, before) << "who was evicting the old one fails";
  EXPECT_EQ(cursor_.committed, 0u);
  EXPECT_EQ(cursor_.owner, platform::kNoIncarnation);
  ASSERT_TRUE(take(raw_.alive()));
  EXPECT_EQ(resume().from, From::start);
}

TEST_F(GroupCursor, ATakenBackBeginningHoldsNobody) {
  ASSERT_TRUE(take(raw_.alive()));
  resume();
  group::begin_committed(cursor_, 4);
  group::forget_beginning(cursor_);
  EXPECT_TRUE(ring::is_evicted(status()));
  EXPECT_EQ(resume().from, From::start) << "as if it had never begun";
}

}  // namespace
}  // namespace arus::test
