// Records that grow, word by word: what granting, filling and publishing leave; who may pass them, and when; what is repaired.
#include "ring/sweep.h"
#include "ring_support.h"

namespace arus::test {
namespace {

using ring::Appender;
using ring::Claimed;

constexpr std::uint64_t C = RawRing::kC;
constexpr std::uint64_t kCells = 5;  // 32 bytes of header, 18 values of 16 bytes
constexpr std::uint64_t kMost = 18;

class RingGrowth : public testing::Test {
 protected:
  // A record at C that may grow, with one value.
  void begin(Appender& appender) {
    Claimed claimed{};
    if (!appender.claim_growing(kCells, claimed)) {  // the first claim looks for room
      ASSERT_TRUE(appender.insist(1, 1, claimed));
      appender.commit(claimed);
      ASSERT_TRUE(appender.claim_growing(kCells, claimed));
    }
    at_ = claimed.position;
    first_ = claimed.offset;
    appender.let_grow(claimed, 16, kMost);
    appender.commit(claimed);
  }
  bool add(Appender& appender) {
    std::uint64_t offset = 0;
    if (appender.grow(offset) == nullptr) return false;
    appender.grown();
    return true;
  }
  [[nodiscard]] ring::View look() const {
    ring::View view{};
    EXPECT_EQ(ring::look(raw_.ring, at_, view), Found::record);
    return view;
  }
  [[nodiscard]] std::uint64_t w1() const { return raw_.ring.header->tail.w1; }

  RawRing raw_;
  std::uint64_t at_ = 0;
  std::uint64_t first_ = 0;
};

TEST_F(RingGrowth, GrantsFillsAndPublishes) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  begin(appender);
  EXPECT_EQ(ring::next_offset_of(w1()), first_ + 1);
  EXPECT_EQ(ring::growing_cells_of(w1()), kCells);
  EXPECT_EQ(raw_.ring.tail(), at_ + kCells);
  EXPECT_EQ(look().lengths.records(), 1u);
  EXPECT_TRUE(look().grows);
  EXPECT_FALSE(ring::open_claim_at(raw_.ring, at_));
  std::uint64_t offset = 0;
  std::byte* const room = appender.grow(offset);
  ASSERT_EQ(room, reinterpret_cast<std::byte*>(&raw_.ring.at(at_)) + 32 + 16);
  EXPECT_EQ(offset, first_ + 1);
  EXPECT_EQ(ring::next_offset_of(w1()), first_ + 2) << "granted";
  EXPECT_EQ(look().lengths.records(), 1u) << "and not there yet";
  EXPECT_TRUE(ring::lacks_some(raw_.ring, at_));
  EXPECT_TRUE(ring::open_claim_at(raw_.ring, at_));
  appender.grown();
  EXPECT_EQ(look().lengths.records(), 2u);
  EXPECT_FALSE(ring::lacks_some(raw_.ring, at_));
  EXPECT_FALSE(ring::open_claim_at(raw_.ring, at_));
  EXPECT_EQ(appender.may_add(), kMost - 2);
}

TEST_F(RingGrowth, QuietCellsAreTheMostThatCanBeClaimed) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  Claimed claimed{};
  EXPECT_EQ(appender.quiet_cells(), 0u) << "nobody has looked for room";
  EXPECT_FALSE(appender.claim_growing(1, claimed));
  const auto insist = [&] {
    ASSERT_TRUE(appender.insist(1, 1, claimed));
    appender.commit(claimed);
  };
  insist();
  for (int round = 0; round < 5; ++round) {
    const std::uint64_t most = appender.quiet_cells();
    ASSERT_FALSE(appender.claim_growing(most + 1, claimed)) << most;
    if (most == 0) {
      insist();  // over the end of the slice
      continue;
    }
    ASSERT_TRUE(appender.claim_growing(most, claimed)) << most;
    appender.let_grow(claimed, 16, 1);
    appender.commit(claimed);
    ASSERT_EQ(appender.quiet_cells(), 0u);
    insist();
  }
}

TEST_F(RingGrowth, EndsWhereSomebodyClaimsBehindIt) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  Appender other = must(Appender::enlist(raw_.ring, raw_.alive()));
  begin(appender);
  ASSERT_TRUE(add(appender));
  Claimed behind{};
  ASSERT_TRUE(other.claim(1, 1, 0, 0, behind));
  EXPECT_EQ(behind.position, at_ + kCells);
  EXPECT_EQ(behind.offset, first_ + 2);
  EXPECT_EQ(ring::growing_cells_of(w1()), 0u);
  EXPECT_FALSE(look().grows);
  EXPECT_FALSE(add(appender));
  EXPECT_EQ(ring::next_offset_of(w1()), first_ + 3);
  EXPECT_EQ(look().lengths.records(), 2u);
}

// Whoever claims behind a value that was granted and has not come: readers and `low` wait for it.
TEST_F(RingGrowth, IsNotPassedBeforeWhatWasGrantedIsThere) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  Appender other = must(Appender::enlist(raw_.ring, raw_.alive()));
  begin(appender);
  std::uint64_t offset = 0;
  ASSERT_NE(appender.grow(offset), nullptr);
  Claimed behind{};
  ASSERT_TRUE(other.claim(1, 1, 0, 0, behind));
  EXPECT_EQ(behind.offset, first_ + 2);
  other.commit(behind);
  EXPECT_TRUE(look().grows);
  EXPECT_EQ(raw_.recover(at_), Repaired::alive);
  // Room that only passing it would give.
  Refusal refusal;
  const std::uint64_t tail = raw_.ring.tail();
  EXPECT_EQ(ring::make_room(raw_.ring, at_ + C + 1, raw_.alive(), refusal), 0u);
  EXPECT_EQ(refusal.why, Refusal::Why::open_claim);
  EXPECT_EQ(refusal.position, at_);
  EXPECT_EQ(refusal.incarnation, raw_.alive());
  EXPECT_EQ(raw_.ring.low(), at_);
  EXPECT_EQ(raw_.ring.tail(), tail);
  appender.grown();
  EXPECT_FALSE(look().grows);
  EXPECT_NE(ring::make_room(raw_.ring, at_ + C + 1, raw_.alive(), refusal), 0u);
  EXPECT_GT(raw_.ring.low(), at_);
}

TEST_F(RingGrowth, LowStopsAtOneThatMayGrow) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  begin(appender);
  Refusal refusal;
  EXPECT_NE(ring::make_room(raw_.ring, at_ + C - 1, raw_.alive(), refusal), 0u);
  EXPECT_LE(raw_.ring.low(), at_);
  EXPECT_EQ(ring::make_room(raw_.ring, at_ + C + 1, raw_.alive(), refusal), 0u) << "further than any claim behind it needs";
  EXPECT_TRUE(add(appender));
}

// Its owner died between granting and publishing: it ends with what there is, and the rest was never committed.
TEST_F(RingGrowth, OfADeadOwnerEndsWithWhatIsThere) {
  for (const bool claimed_behind : {false, true}) {
    RawRing raw;
    constexpr std::uint64_t at = C;
    raw.record(at, State::committed, 0, kCells, 0);
    Lengths lengths = Lengths::packed(16, 2);
    lengths.flags |= Lengths::kGrows;
    raw.ring.at(at).h3 = lengths.word();
    raw.slot(0, RawRing::kDead, at, ring::kNoOwner, 0, kCells);
    raw.slot(1, raw.alive(), at + kCells, 0, 3, 1, at + kCells);
    raw.low(C);
    if (claimed_behind) {
      raw.record(at + kCells, State::committed, 1, 1, 3, 0);
      raw.tail(at + kCells + 1, 1, 4);
    } else {
      raw.tail(at + kCells, 0, 3 | kCells << ring::kGrowingShift);
    }
    const auto open = ring::open_claims(raw.ring);
    ASSERT_EQ(open.size(), 1u);
    EXPECT_EQ(open[0].position, at);
    EXPECT_EQ(open[0].offset, 2u);
    EXPECT_EQ(open[0].owner, ring::OpenClaim::Owner::dead);
    EXPECT_EQ(ring::settle_dead_claims(raw.ring, raw.alive()), 1u);
    ring::View view{};
    ASSERT_EQ(ring::look(raw.ring, at, view), Found::record);
    EXPECT_EQ(view.lengths.records(), 2u);
    EXPECT_TRUE(view.lengths.is_torn());
    EXPECT_FALSE(view.grows);
    const auto words = raw.words(at);
    EXPECT_EQ(raw.recover(at), Repaired::settled);
    EXPECT_EQ(raw.words(at), words);
  }
}

// What is in the way may be the claim behind it, which is not marked, so that nobody can tell where the record ends.
TEST_F(RingGrowth, AnUnmarkedClaimBehindItIsWhatIsRepaired) {
  constexpr std::uint64_t at = C;
  raw_.record(at, State::committed, 0, kCells, 0);
  Lengths lengths = Lengths::packed(16, 2);
  lengths.flags |= Lengths::kGrows;
  raw_.ring.at(at).h3 = lengths.word();
  raw_.slot(0, raw_.alive(), at, ring::kNoOwner, 0, kCells);
  raw_.slot(1, RawRing::kDead, at + kCells, 0, 2, 1);
  raw_.tail(at + kCells + 1, 1, 3);
  raw_.low(C);
  EXPECT_TRUE(ring::open_claim_at(raw_.ring, at));
  EXPECT_EQ(raw_.recover(at), Repaired::settled);
  EXPECT_EQ(raw_.look(at + kCells), Found::skip);
  ring::View view{};
  ASSERT_EQ(ring::look(raw_.ring, at, view), Found::record);
  EXPECT_FALSE(view.grows);
}

// Until the claim behind it is marked nobody knows whether one is missing: its owner's slot must go on naming it.
TEST_F(RingGrowth, ASlotIsKeptWhileItIsNotClearWhatIsMissing) {
  RawRing raw(false, 2);
  raw.record(C, State::committed, 0, kCells, 0);
  Lengths lengths = Lengths::packed(16, 2);
  lengths.flags |= Lengths::kGrows;
  raw.ring.at(C).h3 = lengths.word();
  raw.slot(0, RawRing::kDead, C, ring::kNoOwner, 0, kCells);
  raw.slot(1, raw.alive(), C + kCells, 0, 3, 1);
  raw.tail(C + kCells + 1, 1, 4);
  raw.low(C);
  EXPECT_TRUE(fails(Appender::enlist(raw.ring, raw.alive()), Errc::limit_reached));
  raw.record(C + kCells, State::committed, 1, 1, 3, 0);
  EXPECT_EQ(must(Appender::enlist(raw.ring, raw.alive())).id(), 0u);
  ring::View view{};
  ASSERT_EQ(ring::look(raw.ring, C, view), Found::record);
  EXPECT_TRUE(view.lengths.is_torn());
}

// Room is looked for past records that only seem to grow.
TEST_F(RingGrowth, NoiseInTheWayIsRefused) {
  const auto room_with = [](const Lengths& lengths, std::uint64_t cells, std::uint64_t next_offset) {
    const RawRing raw;
    raw.record(C, State::committed, 0, cells, 10);
    raw.ring.at(C).h3 = lengths.word();
    raw.slot(0, raw.alive(), C, ring::kNoOwner, 10, cells);
    std::uint64_t p = C + 2;
    for (; p < 2 * C; p += 2) raw.record(p, State::committed, 0, 2, next_offset++, 0);
    raw.tail(p, 0, next_offset);
    raw.low(C);
    Refusal refusal;
    EXPECT_EQ(ring::make_room(raw.ring, p + 4, raw.alive(), refusal), 0u);
    return refusal.why;
  };
  const auto growing = [](std::uint64_t records) {
    return Lengths{16, records, 0, Lengths::kNullKey | Lengths::kGrows | Lengths::kPacked};
  };
  EXPECT_EQ(room_with(growing(9), 2, 13), Refusal::Why::corrupt) << "more than fit";
  EXPECT_EQ(room_with(growing(3), 2, 12), Refusal::Why::corrupt) << "fewer granted than there are";
  EXPECT_EQ(room_with(growing(3), 2, 99), Refusal::Why::corrupt) << "more granted than fit";
  EXPECT_EQ(room_with(growing(3), C / 2, 13), Refusal::Why::open_claim) << "over others, so that some seem to be missing";
}

TEST_F(RingGrowth, WhatCannotBeIsCorrupt) {
  const auto with = [&](const Lengths& lengths, std::uint64_t next_offset) {
    raw_.record(C, State::committed, 0, 2, 10);
    raw_.ring.at(C).h3 = lengths.word();
    raw_.record(C + 2, State::committed, 0, 1, next_offset);
    return raw_.look(C);
  };
  const auto growing = [](std::uint64_t records) {
    Lengths lengths = Lengths::packed(16, records);
    lengths.flags |= Lengths::kGrows;
    return lengths;
  };
  EXPECT_EQ(with(growing(3), 13), Found::record);
  EXPECT_EQ(with(growing(3), 12), Found::corrupt) << "fewer were granted than there are";
  EXPECT_EQ(with(growing(3), 16), Found::record);
  EXPECT_EQ(with(growing(3), 17), Found::corrupt) << "more were granted than there is room for";
  EXPECT_EQ(with(growing(3), 5), Found::corrupt) << "before its own";
  EXPECT_EQ(with(growing(7), 17), Found::corrupt);
  // The tail may say anything.
  raw_.ring.at(C + 2).h0 = 0;
  for (const std::uint64_t w1 : {~0ull, 0ull, 3ull, 14ull}) {
    raw_.record(C, State::committed, 0, 2, 10);
    raw_.ring.at(C).h3 = growing(3).word();
    raw_.tail(C + 2, 0, w1);
    ring::View view{};
    EXPECT_EQ(ring::look(raw_.ring, C, view), Found::record);
    EXPECT_TRUE(view.grows);
    static_cast<void>(ring::open_claim_at(raw_.ring, C));
    static_cast<void>(raw_.recover(C));
    EXPECT_EQ(raw_.look(C), Found::record);
  }
}

}  // namespace
}  // namespace arus::test
