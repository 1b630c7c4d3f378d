// recover(p): every outcome of R1 to R11, each from a layout made by hand; and that nothing is written where nothing may be.
#include <memory>
#include <thread>

#include "ring_support.h"

namespace arus::test {
namespace {

constexpr std::uint64_t C = RawRing::kC;
constexpr std::uint64_t kDead = RawRing::kDead;

TEST(RingRepair, WhatIsNotOpenIsLeftAlone) {
  const RawRing raw;
  raw.record(C, State::committed, 0, 2, 0);
  raw.record(C + 2, State::skip, 0, 1, 1);
  raw.tail(C + 3, 0, 2);
  raw.slot(0, kDead, C + 2, 0, 1, 1);
  for (const std::uint64_t p : {C, C + 2, C + 3, 3 * C}) {
    const auto before = raw.words(p);
    EXPECT_EQ(raw.recover(p), Repaired::settled) << p;
    EXPECT_EQ(raw.words(p), before) << p;
  }
  raw.record(C, State::claimed, 0, 2, 0);
  raw.low(C + 2);
  EXPECT_EQ(raw.recover(C), Repaired::settled) << "below low";
  EXPECT_EQ(raw.look(C), Found::open);
}

TEST(RingRepair, AClaimOfALiveOwnerStands) {
  const RawRing raw;
  raw.record(C, State::claimed, 2, 3, 0);
  raw.slot(2, raw.alive(), C, ring::kNoOwner, 0, 3);
  raw.tail(C + 3, 2, 1);
  const auto before = raw.words(C);
  const ring::Repair repair = ring::recover(raw.ring, C, 1);
  EXPECT_EQ(repair.outcome, Repaired::alive);
  EXPECT_EQ(repair.incarnation, raw.alive());
  EXPECT_EQ(raw.words(C), before);
  EXPECT_EQ(raw.ring.header->holders.repair, 0u);
}

TEST(RingRepair, AClaimOfADeadOwnerIsSkippedWhole) {
  const RawRing raw;
  raw.record(C, State::claimed, 2, 3, 0);
  raw.slot(2, kDead, C, ring::kNoOwner, 0, 3);
  raw.tail(C + 3, 2, 1);
  EXPECT_EQ(raw.recover(C), Repaired::settled);
  ring::View view{};
  ASSERT_EQ(ring::look(raw.ring, C, view), Found::skip);
  EXPECT_EQ(view.cells, 3u);
  EXPECT_EQ(raw.ring.mark(C).owner(), 2u);
}

// The slot has a new, living owner: a claim below its birth is not his.
TEST(RingRepair, AClaimFromBeforeTheSlotsOwnerWasBornIsADeadOnes) {
  const RawRing raw;
  raw.record(C, State::claimed, 2, 3, 0);
  raw.tail(C + 3, 2, 1);
  raw.slot(2, raw.alive(), C, ring::kNoOwner, 0, 3, C);
  EXPECT_EQ(raw.recover(C), Repaired::alive);
  raw.ring.slots[2].born = C + 3;
  EXPECT_EQ(raw.recover(C), Repaired::settled);
  EXPECT_EQ(raw.look(C), Found::skip);
}

TEST(RingRepair, ImpossibleClaimsAreReported) {
  const RawRing raw;
  raw.tail(C + 3, 2, 1);
  for (std::uint32_t i = 0; i < 4; ++i) raw.slot(i, kDead, 3 * C, ring::kNoOwner, 0, 1);
  const auto with = [&](std::uint32_t owner, std::uint64_t cells) {
    raw.ring.set_mark(C, State::claimed, owner, cells);
    const auto before = raw.words(C);
    const Repaired outcome = raw.recover(C);
    if (outcome == Repaired::corrupt) {
      EXPECT_EQ(raw.words(C), before);
    }
    return outcome;
  };
  EXPECT_EQ(with(4, 3), Repaired::corrupt) << "there is no such slot";
  EXPECT_EQ(with(ring::kNoOwner, 3), Repaired::corrupt);
  EXPECT_EQ(with(2, 0), Repaired::corrupt);
  EXPECT_EQ(with(2, C / 2 + 1), Repaired::corrupt);
  EXPECT_EQ(with(2, 4), Repaired::corrupt) << "reaches past the tail";
  EXPECT_EQ(with(2, 3), Repaired::settled);
}

// ---- unmarked holes ------------------------------------------------------------------------------------------------------------

TEST(RingRepair, AnUnmarkedHoleWithoutCandidateIsUnclear) {
  const RawRing raw;
  raw.tail(C + 3, 2, 1);
  raw.slot(2, kDead, C + 1, ring::kNoOwner, 0, 3);  // another position
  EXPECT_EQ(raw.recover(C), Repaired::unclear);
  EXPECT_EQ(raw.look(C), Found::nothing);
}

TEST(RingRepair, AnUnmarkedHoleOfTheOnlyCandidateIsSkipped) {
  const RawRing raw;
  raw.tail(C + 6, 0, 9);
  raw.slot(2, kDead, C, 1, 7, 3);
  ASSERT_EQ(raw.recover(C), Repaired::settled);
  ring::View view{};
  ASSERT_EQ(ring::look(raw.ring, C, view), Found::skip);
  EXPECT_EQ(view.cells, 3u);
  EXPECT_EQ(view.offset, 7u);
  EXPECT_EQ(ring::previous_of(raw.ring.at(C).h1), 1u);
  EXPECT_EQ(raw.ring.mark(C).owner(), 2u);
}

TEST(RingRepair, AnUnmarkedHoleOfALiveCandidateStands) {
  const RawRing raw;
  raw.tail(C + 3, 2, 8);
  raw.slot(2, raw.alive(), C, 1, 7, 3);
  const ring::Repair repair = ring::recover(raw.ring, C, 1);
  EXPECT_EQ(repair.outcome, Repaired::alive);
  EXPECT_EQ(repair.incarnation, raw.alive());
  raw.ring.slots[2].born = C + 1;
  EXPECT_EQ(raw.recover(C), Repaired::settled) << "not his: born later";
}

TEST(RingRepair, AnUnmarkedHoleWithAnImpossibleExtentIsReported) {
  for (const std::uint64_t cells : {std::uint64_t{0}, C / 2 + 1, std::uint64_t{4}, std::uint64_t{0xffffffff}}) {
    const RawRing raw;
    raw.tail(C + 3, 2, 8);
    raw.slot(2, kDead, C, 1, 7, cells);
    EXPECT_EQ(raw.recover(C), Repaired::corrupt) << cells;
    EXPECT_EQ(raw.look(C), Found::nothing);
  }
}

// Slot 1 won the position C with 3 cells and died before it marked it; slot 0 is a loser whose intent is still there. A fixture per
// kind of evidence for the winner.
class RingEvidence : public testing::Test {
 protected:
  static constexpr std::uint64_t kQ = C + 3;  // the next boundary, if the winner's extent is right
  RingEvidence() {
    raw_.slot(0, raw_.alive(), C, ring::kNoOwner, 0, 5);
    raw_.slot(1, kDead, C, ring::kNoOwner, 0, 3);
  }
  void expect_skipped() const {
    EXPECT_EQ(raw_.recover(C), Repaired::settled);
    EXPECT_EQ(raw_.look(C), Found::skip);
    EXPECT_EQ(raw_.ring.mark(C).owner(), 1u);
    EXPECT_EQ(raw_.ring.mark(C).cells(), 3u);
  }
  void expect_unclear() const {
    EXPECT_EQ(raw_.recover(C), Repaired::unclear);
    EXPECT_EQ(raw_.look(C), Found::nothing);
  }
  RawRing raw_;
};

TEST_F(RingEvidence, TheTailNamesTheWinner) {
  raw_.tail(kQ, 1, 1);
  expect_skipped();
}
TEST_F(RingEvidence, TheTailNamesAnother) {
  raw_.tail(kQ, 2, 1);
  expect_unclear();
}
TEST_F(RingEvidence, ASlotNamesTheWinner) {
  raw_.tail(kQ + 7, 2, 2);
  raw_.slot(2, raw_.alive(), kQ, 1, 1, 7);
  expect_skipped();
}
TEST_F(RingEvidence, ASlotNamesAnother) {
  raw_.tail(kQ + 7, 2, 2);
  raw_.slot(2, raw_.alive(), kQ, 3, 1, 7);
  expect_unclear();
}
TEST_F(RingEvidence, TheNextHeaderNamesTheWinner) {
  raw_.tail(kQ + 7, 2, 2);
  raw_.record(kQ, State::committed, 2, 7, 1, 1);
  expect_skipped();
}
TEST_F(RingEvidence, TheNextHeaderNamesAnother) {
  raw_.tail(kQ + 7, 2, 2);
  raw_.record(kQ, State::committed, 2, 7, 1, 3);
  expect_unclear();
}
TEST_F(RingEvidence, AStaleNextHeaderNamesNobody) {
  raw_.tail(kQ + 7, 2, 2);
  raw_.record(kQ - C, State::committed, 2, 7, 1, 1);  // a lap ago
  expect_unclear();
}
TEST_F(RingEvidence, NoEvidence) {
  raw_.tail(kQ + 20, 2, 2);
  expect_unclear();
}
TEST_F(RingEvidence, AnExtentBeyondTheTailIsNoEvidence) {
  raw_.tail(C + 2, 1, 1);
  expect_unclear();
}
// Forged: both are confirmed. Nothing is done until one of them moves.
TEST_F(RingEvidence, TwoConfirmedAreUnclear) {
  raw_.tail(C + 5, 0, 2);
  raw_.record(kQ, State::committed, 2, 2, 1, 1);
  expect_unclear();
  raw_.slot(0, raw_.alive(), C + 5, 0, 2, 1);  // the loser moves on
  expect_skipped();
}
TEST_F(RingEvidence, ALiveWinnerStands) {
  raw_.tail(C + 5, 0, 1);
  EXPECT_EQ(raw_.recover(C), Repaired::alive);
  EXPECT_EQ(raw_.look(C), Found::nothing);
}
// Three candidates, the tail names one.
TEST_F(RingEvidence, AmongThree) {
  raw_.slot(3, kDead, C, ring::kNoOwner, 0, 4);
  raw_.tail(kQ, 1, 1);
  expect_skipped();
}

// ---- the repair lock -----------------------------------------------------------------------------------------------------------

TEST(RingRepair, AnotherRepairerIsNamed) {
  const RawRing raw;
  raw.record(C, State::claimed, 2, 3, 0);
  raw.slot(2, kDead, C, ring::kNoOwner, 0, 3);
  raw.tail(C + 3, 2, 1);
  {
    const auto lock = platform::FileLock::try_lock(raw.path(), ring::kRepairLock);
    ASSERT_TRUE(lock);
    raw.ring.header->holders.repair = 4711;
    const ring::Repair repair = ring::recover(raw.ring, C, raw.alive());
    EXPECT_EQ(repair.outcome, Repaired::busy);
    EXPECT_EQ(repair.incarnation, 4711u);
    EXPECT_EQ(raw.look(C), Found::open);
  }
  EXPECT_EQ(raw.recover(C), Repaired::settled);
  EXPECT_EQ(raw.ring.header->holders.repair, 0u);
}

// A producer that comes while somebody else repairs what the last one has left.
TEST(RingRepair, ANewProducerWaitsForAnotherRepairer) {
  for (const bool single : {true, false}) {
    RawRing raw;
    raw.ring.single_producer = single;
    raw.ring.slot_count = 1;
    raw.slot(0, kDead, C, ring::kNoOwner, 0, 3);
    raw.tail(C + 3, 0, 1);
    auto lock = std::make_unique<platform::FileLock>(must(platform::FileLock::try_lock(raw.path(), ring::kRepairLock)));
    EXPECT_TRUE(fails(ring::Appender::enlist(raw.ring, raw.alive()), single ? Errc::timed_out : Errc::limit_reached));
    EXPECT_EQ(raw.ring.slots[0].incarnation, kDead);
    std::thread repairer([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      lock.reset();
    });
    EXPECT_TRUE(ring::Appender::enlist(raw.ring, raw.alive()));
    repairer.join();
    EXPECT_EQ(raw.ring.slots[0].incarnation, raw.alive());
    EXPECT_EQ(raw.look(C), Found::skip);
  }
}

TEST(RingRepair, AReaderWithoutWritePermissionIsDenied) {
  RawRing raw;
  raw.record(C, State::claimed, 2, 3, 0);
  raw.slot(2, kDead, C, ring::kNoOwner, 0, 3);
  raw.tail(C + 3, 2, 1);
  raw.ring.writable = false;
  EXPECT_EQ(raw.recover(C), Repaired::denied);
  EXPECT_EQ(raw.look(C), Found::open);
}

}  // namespace
}  // namespace arus::test
