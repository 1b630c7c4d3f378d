// make_room and join: how far producers may claim, over settled, open, dead and impossible records, and behind groups.
#include "ring_support.h"

namespace arus::test {
namespace {

constexpr std::uint64_t C = RawRing::kC;
constexpr std::uint64_t kDead = RawRing::kDead;

// A full ring: 64 records of 16 cells in [C, 2C), each committed.
class RingRoom : public testing::Test {
 protected:
  RingRoom() {
    for (std::uint64_t i = 0; i < 64; ++i) raw_.record(at(i), State::committed, 0, 16, i);
    raw_.tail(2 * C, 0, 64);
    for (std::uint32_t i = 0; i < 4; ++i) raw_.slot(i, raw_.alive(), at(i), 0, 0, 16);
  }
  static constexpr std::uint64_t at(std::uint64_t i) { return C + 16 * i; }
  std::uint64_t room(std::uint64_t need) { return ring::make_room(raw_.ring, need, raw_.alive(), refusal_); }
  // Refused, and for this reason.
  void expect_refused(std::uint64_t need, Refusal::Why why) {
    EXPECT_EQ(room(need), 0u);
    EXPECT_EQ(refusal_.why, why);
  }
  RawRing raw_;
  Refusal refusal_;
};

TEST_F(RingRoom, AFreshRingIsAllRoom) {
  raw_.tail(C, ring::kNoOwner, 0);
  EXPECT_EQ(room(C + 1), 2 * C);
  EXPECT_EQ(room(2 * C), 2 * C);
  EXPECT_EQ(raw_.ring.low(), C);
}

TEST_F(RingRoom, LowWalksOverRecordsAndSkips) {
  raw_.record(at(1), State::skip, 0, 16, 1);
  const std::uint64_t limit = room(2 * C + 20);
  EXPECT_GE(limit, 2 * C + 20);
  EXPECT_EQ(refusal_.why, Refusal::Why::none);
  EXPECT_EQ(limit, raw_.ring.low() + C);
  EXPECT_EQ((raw_.ring.low() - C) % 16, 0u) << "a record's boundary";
  EXPECT_GE(raw_.ring.low(), at(2));
  EXPECT_LE(raw_.ring.low(), at(8)) << "coarse, but not the whole ring";
}

TEST_F(RingRoom, WhatTheCallerHasSettledNeedsNoLook) {
  const ring::Settled all{C, 2 * C};
  const std::uint64_t limit = ring::make_room(raw_.ring, 2 * C + 20, raw_.alive(), refusal_, all);
  EXPECT_EQ(refusal_.why, Refusal::Why::none);
  EXPECT_GE(limit, 2 * C + 20);
  EXPECT_EQ(limit, raw_.ring.low() + C);
  EXPECT_EQ((raw_.ring.low() - C) % 16, 0u) << "a record's boundary";
  EXPECT_LE(raw_.ring.low(), at(8)) << "not the whole ring";
}

TEST_F(RingRoom, WhatTheCallerHasNotSettledIsLookedAt) {
  raw_.record(at(1), State::claimed, 2, 16, 1);
  for (const ring::Settled some : {ring::Settled{}, {at(2), 2 * C}, {C, at(1)}, {at(1), at(1)}, {2 * C, C}}) {
    EXPECT_EQ(ring::make_room(raw_.ring, 2 * C + 20, raw_.alive(), refusal_, some), 0u) << some.from << " to " << some.to;
    EXPECT_EQ(refusal_.why, Refusal::Why::open_claim);
    EXPECT_EQ(raw_.ring.low(), at(1));
  }
}

TEST_F(RingRoom, LowNeverFalls) {
  raw_.ring.header->low.position = at(40);
  EXPECT_GE(ring::make_room(raw_.ring, 2 * C + 20, raw_.alive(), refusal_, {C, at(20)}), 2 * C + 20);
  EXPECT_EQ(raw_.ring.low(), at(40));
}

TEST_F(RingRoom, AnOpenClaimOfALiveOwnerIsNotWalkedOver) {
  raw_.record(at(1), State::claimed, 2, 16, 1);
  expect_refused(2 * C + 20, Refusal::Why::open_claim);
  EXPECT_EQ(refusal_.incarnation, raw_.alive());
  EXPECT_EQ(refusal_.position, at(1));
  EXPECT_EQ(raw_.ring.low(), at(1)) << "what is before it may go";
  EXPECT_GE(room(2 * C + 16), 2 * C + 16) << "and is room";
}

TEST_F(RingRoom, AnOpenClaimOfADeadOwnerIsRepairedOnTheWay) {
  raw_.record(at(1), State::claimed, 2, 16, 1);
  raw_.ring.slots[2].incarnation = kDead;
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
  EXPECT_EQ(raw_.look(at(1)), Found::skip);
}

TEST_F(RingRoom, AnUnmarkedHoleOfADeadOwnerIsRepairedOnTheWay) {
  raw_.ring.at(at(1)).h0 = 0;
  raw_.slot(0, raw_.alive(), at(50), 0, 0, 16);
  raw_.slot(1, kDead, at(1), 0, 1, 16);
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
  EXPECT_EQ(raw_.look(at(1)), Found::skip);
}

TEST_F(RingRoom, AHoleOfNobodyIsUnclear) {
  raw_.ring.at(at(1)).h0 = 0;
  raw_.slot(1, raw_.alive(), at(50), 0, 0, 16);
  expect_refused(2 * C + 20, Refusal::Why::unclear);
}

TEST_F(RingRoom, ARepairUnderWayIsNamed) {
  raw_.record(at(1), State::claimed, 2, 16, 1);
  raw_.ring.slots[2].incarnation = kDead;
  const auto lock = platform::FileLock::try_lock(raw_.path(), ring::kRepairLock);
  raw_.ring.header->holders.repair = 99;
  expect_refused(2 * C + 20, Refusal::Why::repairing);
  EXPECT_EQ(refusal_.incarnation, 99u);
}

TEST_F(RingRoom, ImpossibleExtentsAreReported) {
  for (const std::uint64_t cells : {std::uint64_t{0}, C / 2 + 1, C, (std::uint64_t{1} << 28) - 1}) {
    raw_.ring.set_mark(at(1), State::committed, 0, cells);
    expect_refused(2 * C + 20, Refusal::Why::corrupt);
    EXPECT_EQ(refusal_.position, at(1)) << cells;
  }
}

TEST_F(RingRoom, AnExtentPastTheTailIsReported) {
  raw_.tail(at(2) - 1, 0, 2);
  expect_refused(2 * C + 17, Refusal::Why::corrupt);
}

// Noise: a limit that wraps would send the claimer round for ever.
TEST_F(RingRoom, ALowBeyondTheTailIsReported) {
  for (const std::uint64_t low : {2 * C + 1, std::uint64_t{1} << 52, ~std::uint64_t{0} - C, ~std::uint64_t{0}}) {
    raw_.low(low);
    expect_refused(2 * C + 20, Refusal::Why::corrupt);
    EXPECT_EQ(refusal_.position, low);
  }
}

TEST_F(RingRoom, ADeletedTopicHasNoRoom) {
  raw_.ring.header->status.deleted = 1;
  expect_refused(2 * C + 20, Refusal::Why::deleted);
}

// ---- groups --------------------------------------------------------------------------------------------------------------------

TEST_F(RingRoom, TheSlowestGroupHoldsProducersBack) {
  raw_.join(0, at(40), raw_.alive());
  raw_.join(2, at(1), raw_.alive());
  expect_refused(2 * C + 17, Refusal::Why::group);
  EXPECT_EQ(refusal_.index, 2u);
  EXPECT_EQ(refusal_.incarnation, raw_.alive());
  EXPECT_EQ(refusal_.position, at(1));
  EXPECT_EQ(room(2 * C + 16), 2 * C + 16) << "as far as it has read";
  EXPECT_EQ(raw_.ring.low(), at(1));
}

TEST_F(RingRoom, LowFollowsOnlyAsFarAsNeeded) {
  raw_.join(0, 2 * C, raw_.alive());  // has read everything
  EXPECT_GE(room(2 * C + 1), 2 * C + 1);
  EXPECT_GE(raw_.ring.low(), at(1));
  EXPECT_LE(raw_.ring.low(), at(8)) << "what was read stays for observers";
  EXPECT_EQ((raw_.ring.low() - C) % 16, 0u);
}

// A group that has read all it could waits for the open claim at its cursor, as the producers do: that is what is named, or repaired.
TEST_F(RingRoom, AGroupBehindAnOpenClaimNamesTheClaim) {
  raw_.record(at(1), State::claimed, 2, 16, 1);
  raw_.join(0, at(1), raw_.alive());
  expect_refused(2 * C + 17, Refusal::Why::open_claim);
  EXPECT_EQ(refusal_.position, at(1));
  raw_.ring.slots[2].incarnation = kDead;
  expect_refused(2 * C + 17, Refusal::Why::group);
  EXPECT_EQ(raw_.look(at(1)), Found::skip);
}

TEST_F(RingRoom, AFreeOrEvictedCursorHoldsNobodyBack) {
  raw_.cursor(0).position = C;
  raw_.cursor(1).position = C;
  raw_.cursor(1).state = ring::cursor_state(7, ring::CursorStatus::evicted_abandoned);
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
}

TEST_F(RingRoom, ACursorBeyondTheTailIsReported) {
  raw_.join(0, 5 * C, raw_.alive());
  expect_refused(2 * C + 20, Refusal::Why::corrupt);
}

TEST_F(RingRoom, ADeadGroupIsEvictedWhenItsGraceIsOver) {
  raw_.join(0, C, kDead);
  expect_refused(2 * C + 20, Refusal::Why::group);
  const std::uint64_t since = raw_.cursor(0).held_since;
  EXPECT_NE(since, 0u) << "from when its death was first seen";
  expect_refused(2 * C + 20, Refusal::Why::group);
  EXPECT_EQ(raw_.cursor(0).held_since, since);
  raw_.cursor(0).grace = 0;
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
  EXPECT_EQ(raw_.cursor(0).state, ring::cursor_state(1, ring::CursorStatus::evicted_abandoned));
}

TEST_F(RingRoom, ALiveGroupIsNeverEvicted) {
  raw_.join(0, C, raw_.alive(), 0);
  for (int i = 0; i < 3; ++i) expect_refused(2 * C + 20, Refusal::Why::group);
  EXPECT_NE(raw_.cursor(0).held_since, 0u) << "but it is known who is in the way";
  EXPECT_TRUE(ring::holds_back(raw_.cursor(0)));
  raw_.cursor(0).position = at(1);
  EXPECT_FALSE(ring::holds_back(raw_.cursor(0))) << "not where it is now";
}

TEST_F(RingRoom, ALiveGroupIsEvictedWhenItsStallLimitIsOver) {
  raw_.join(0, C, raw_.alive(), 0);
  raw_.cursor(0).stall = 1;
  expect_refused(2 * C + 20, Refusal::Why::group);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
  EXPECT_EQ(raw_.cursor(0).state, ring::cursor_state(1, ring::CursorStatus::evicted_stalled));
}

TEST_F(RingRoom, AStallCountsFromWhereTheReaderIsNow) {
  raw_.join(0, C, raw_.alive(), 0);
  raw_.cursor(0).stall = 60'000'000'000;
  expect_refused(2 * C + 20, Refusal::Why::group);
  // As if that had been noted long ago: of this place it counts, of the next it does not.
  raw_.cursor(0).held_since = raw_.cursor(0).held_since & 0xffffff;
  raw_.cursor(0).position = at(1);
  expect_refused(2 * C + 60, Refusal::Why::group);
  raw_.cursor(0).held_since = raw_.cursor(0).held_since & 0xffffff;
  EXPECT_GE(room(2 * C + 60), 2 * C + 60);
}

TEST_F(RingRoom, AGroupFurtherBehindThanItsLimitIsEvicted) {
  raw_.join(0, C, raw_.alive(), 0);
  raw_.cursor(0).limit = C << 1;  // in cells: not yet
  expect_refused(2 * C + 20, Refusal::Why::group);
  raw_.cursor(0).limit = (C - 1) << 1;
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
  EXPECT_EQ(raw_.cursor(0).state, ring::cursor_state(1, ring::CursorStatus::evicted_behind));
  raw_.join(1, C, raw_.alive(), 0);
  raw_.cursor(1).limit = raw_.ring.header->tail.w1 << 1 | 1;  // in records
  expect_refused(3 * C, Refusal::Why::group);
  raw_.cursor(1).limit = (raw_.ring.header->tail.w1 - 1) << 1 | 1;
  EXPECT_GE(room(2 * C + 20), 2 * C + 20);
}

TEST_F(RingRoom, JoiningTakesTheLowestPositionThatIsKept) {
  raw_.low(at(9));
  const std::uint64_t state = ring::cursor_state(3, ring::CursorStatus::active);
  EXPECT_EQ(ring::join(raw_.ring, raw_.cursor(1), state), at(9));
  EXPECT_EQ(raw_.cursor(1).position, at(9));
  EXPECT_EQ(raw_.cursor(1).state, state);
}

}  // namespace
}  // namespace arus::test
