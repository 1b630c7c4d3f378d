// Claiming and registering, word by word: what each step leaves in tail, slot and header, and what it makes of what it finds there.
#include <vector>

#include "ring/index.h"
#include "ring_support.h"

namespace arus::test {
namespace {

using ring::Appender;
using ring::Claimed;

constexpr std::uint64_t C = RawRing::kC;

TEST(RingClaim, WritesTailSlotAndHeader) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  ASSERT_EQ(appender.id(), 0u);
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(3, 2, 77, 0, claimed));
  EXPECT_EQ(claimed.position, C);
  EXPECT_EQ(claimed.offset, 0u);
  EXPECT_EQ(claimed.cells, 3u);
  EXPECT_EQ(raw.ring.header->tail.w0, (C + 3) << 12 | 0);
  EXPECT_EQ(raw.ring.header->tail.w1, 2u);
  EXPECT_EQ(raw.ring.slots[0].w0, C << 12 | ring::kNoOwner);
  EXPECT_EQ(raw.ring.slots[0].w1, 0u);
  EXPECT_EQ(raw.ring.slots[0].w2, 3ull << 32 | 2);
  EXPECT_EQ(raw.ring.slots[0].largest_timestamp, 77u);
  EXPECT_EQ(raw.ring.slots[0].incarnation, raw.alive());
  EXPECT_EQ(raw.ring.at(C).h1, ring::kNoOwner);
  const Mark mark = raw.ring.mark(C);
  EXPECT_EQ(mark.state(), State::claimed);
  EXPECT_EQ(mark.lap(), 1u);
  EXPECT_EQ(mark.owner(), 0u);
  EXPECT_EQ(mark.cells(), 3u);
  appender.commit(claimed);
  EXPECT_EQ(raw.ring.mark(C).word, mark.word + 1);  // the state only
}

TEST(RingClaim, NamesThePredecessorsOwner) {
  const RawRing raw;
  Appender first = must(Appender::enlist(raw.ring, raw.alive()));
  Appender second = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed a{};
  Claimed b{};
  Claimed c{};
  ASSERT_TRUE(first.claim(1, 1, 0, 0, a));
  ASSERT_TRUE(second.claim(2, 1, 0, 0, b));
  ASSERT_TRUE(second.claim(1, 1, 0, 0, c));
  EXPECT_EQ(ring::previous_of(raw.ring.at(b.position).h1), 0u);
  EXPECT_EQ(ring::previous_of(raw.ring.at(c.position).h1), 1u);
  EXPECT_EQ(b.offset, 1u);
  EXPECT_EQ(c.position, C + 3);
}

// A producer makes room over what it has settled itself without looking, up to anything that is another's or open.
class RingClaimRoom : public testing::Test {
 protected:
  // Claims of 16 cells, settled, until so many of them are made.
  static void fill(Appender& appender, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      Claimed claimed{};
      ASSERT_TRUE(appender.claim(16, 1, 0, 0, claimed)) << i;
      appender.commit(claimed);
    }
  }
  static constexpr std::uint64_t kRound = C / 16;  // such claims in the ring
  RawRing raw_;
  Appender first_ = must(Appender::enlist(raw_.ring, raw_.alive()));
  Appender second_ = must(Appender::enlist(raw_.ring, raw_.alive()));
  Claimed open_{};
};

TEST_F(RingClaimRoom, RoundAndRoundAlone) {
  fill(first_, 5 * kRound);
  EXPECT_GT(raw_.ring.low(), 4 * C);
  EXPECT_LE(raw_.ring.low(), raw_.ring.tail());
}

TEST_F(RingClaimRoom, NotOverAnothersOpenClaim) {
  fill(first_, 3);
  ASSERT_TRUE(second_.claim(16, 1, 0, 0, open_));
  fill(first_, kRound - 4);
  Claimed claimed{};
  ASSERT_TRUE(first_.claim(16, 1, 0, 0, claimed)) << "as far as that claim there is room";
  first_.commit(claimed);
  fill(first_, 2);
  EXPECT_FALSE(first_.claim(16, 1, 0, 0, claimed));
  EXPECT_EQ(first_.refusal().why, ring::Refusal::Why::open_claim);
  EXPECT_EQ(first_.refusal().position, open_.position);
  EXPECT_EQ(raw_.ring.low(), open_.position);
}

TEST_F(RingClaimRoom, NotOverItsOwnOpenClaim) {
  fill(first_, 3);
  ASSERT_TRUE(first_.claim(16, 1, 0, 0, open_));
  fill(first_, kRound - 4 + 3);
  Claimed claimed{};
  EXPECT_FALSE(first_.claim(16, 1, 0, 0, claimed));
  EXPECT_EQ(first_.refusal().why, ring::Refusal::Why::open_claim);
  EXPECT_EQ(raw_.ring.low(), open_.position);
  first_.commit(open_);
  fill(first_, kRound);
}

TEST_F(RingClaimRoom, NotOverWhatTheSlotsEarlierOwnerLeft) {
  ASSERT_TRUE(first_.claim(16, 1, 0, 0, open_));
  Claimed last{};
  ASSERT_TRUE(first_.claim(16, 1, 0, 0, last));
  first_.commit(last);
  raw_.ring.slots[0].incarnation = RawRing::kDead;
  second_.resign();
  raw_.ring.slots[1].incarnation = raw_.alive();  // so that the dead one's is all there is
  for (std::uint32_t i = 2; i < raw_.ring.slot_count; ++i) raw_.ring.slots[i].incarnation = raw_.alive();
  Appender heir = must(Appender::enlist(raw_.ring, raw_.alive()));
  ASSERT_EQ(heir.id(), first_.id());
  fill(heir, 2 * kRound);
  EXPECT_EQ(raw_.look(last.position), Found::nothing) << "overwritten by now";
}

TEST(RingClaim, AnAbortedClaimIsSkipped) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(5, 1, 0, 0, claimed));
  appender.abort(claimed);
  ring::View view{};
  EXPECT_EQ(ring::look(raw.ring, C, view), Found::skip);
  EXPECT_EQ(view.cells, 5u);
  EXPECT_EQ(view.offset, 0u);
}

// C3: the cell behind a claim must not look marked already, else its next owner's hole would be read as a record.
TEST(RingClaim, PadsWhereTheNextBoundaryLooksMarked) {
  for (const State state : {State::claimed, State::committed, State::skip}) {
    const RawRing raw;
    Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
    raw.ring.set_mark(C + 4, state, 3, 1);
    Claimed claimed{};
    ASSERT_TRUE(appender.claim(4, 1, 0, 0, claimed));
    EXPECT_EQ(claimed.cells, 5u);
    EXPECT_EQ(raw.ring.mark(C).cells(), 5u);
    EXPECT_EQ(raw.ring.tail(), C + 5);
    EXPECT_EQ(ring::extent_cells(raw.ring.slots[0].w2), 5u);
  }
}

// Payload that is the same everywhere, in the lap that it happens to imitate: wherever a claim would end, but where a record began a lap ago.
TEST(RingClaim, PadsUpToWhereARecordBegan) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  const std::uint64_t imitation = Mark::make(State::committed, 2, 3, 1).word ^ raw.ring.salt;
  const auto append = [&](std::uint64_t cells) {
    Claimed claimed{};
    EXPECT_TRUE(appender.claim(cells, 1, 0, 0, claimed)) << cells;
    for (std::uint64_t i = 1; i < claimed.cells; ++i) raw.ring.at(claimed.position + i).h0 = imitation;
    appender.commit(claimed);
    return claimed.cells;
  };
  while (raw.ring.tail() + 40 <= 2 * C) append(40);
  append(2 * C - raw.ring.tail());
  for (const std::uint64_t cells : {1u, 7u, 39u, 40u, 41u, 100u}) EXPECT_EQ(append(cells), (cells + 39) / 40 * 40);
  // 520 would be more than a claim may have: the largest gap instead, and with it the lap is over.
  const std::uint64_t before = raw.ring.tail();
  EXPECT_EQ(append(ring::most_cells(C)), ring::most_cells(C));
  EXPECT_EQ(raw.look(before), Found::skip);
  EXPECT_EQ(raw.ring.mark(before).cells(), 480u);
}

TEST(RingClaim, LeavesAGapWhereNoClaimOfThatSizeCanEnd) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  constexpr std::uint64_t kLargest = ring::most_cells(C);
  for (std::uint64_t i = 1; i <= C / 2; ++i)
    if (i != 3) raw.ring.set_mark(C + i, State::committed, 3, 1);
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(kLargest, 1, 0, 0, claimed));
  EXPECT_EQ(claimed.position, C + 3);
  EXPECT_EQ(claimed.offset, 1u) << "the gap's own is reported as never committed";
  EXPECT_EQ(raw.look(C), Found::skip);
  raw.low(claimed.position + claimed.cells);
  for (std::uint64_t i = 1; i <= C / 2; ++i) raw.ring.set_mark(claimed.position + claimed.cells + i, State::committed, 3, 1);
  const std::uint64_t tail = raw.ring.tail();
  EXPECT_FALSE(appender.claim(2, 1, 0, 0, claimed));
  EXPECT_EQ(appender.refusal().why, Refusal::Why::corrupt) << "half a ring of them is no accident";
  EXPECT_EQ(raw.ring.tail(), tail) << "nothing was claimed";
}

TEST(RingClaim, AStaleLapAtTheNextBoundaryIsNoImitation) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  raw.ring.set_mark(4, State::committed, 3, 1);  // the same cell as C + 4, a lap before
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(4, 1, 0, 0, claimed));
  EXPECT_EQ(claimed.cells, 4u);
}

TEST(RingClaim, RunsOverTheMirroredEnd) {
  const RawRing raw;
  raw.low(2 * C - 2);
  raw.tail(2 * C - 2, 0, 9);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(5, 1, 0, 0, claimed));
  auto* bytes = reinterpret_cast<unsigned char*>(&raw.ring.at(claimed.position));
  for (unsigned i = 32; i < 5 * 64; ++i) bytes[i] = static_cast<unsigned char>(i);
  raw.ring.at(claimed.position).h3 = Lengths{5 * 64 - 32, 0, 0, 0}.word();
  appender.commit(claimed);
  ring::View view{};
  ASSERT_EQ(ring::look(raw.ring, 2 * C - 2, view), Found::record);
  EXPECT_EQ(view.offset, 9u);
  EXPECT_EQ(static_cast<unsigned char>(raw.ring.base[0]), 128);   // the third cell is the ring's first
  EXPECT_EQ(static_cast<unsigned char>(raw.ring.base[191]), 63);  // 319 mod 256
  EXPECT_EQ(static_cast<unsigned char>(raw.ring.base[192]), 0);
  EXPECT_EQ(raw.ring.mark(2 * C - 2).lap(), 1u) << "the lap of its first cell";
  ASSERT_TRUE(appender.claim(1, 1, 0, 0, claimed));
  EXPECT_EQ(raw.ring.mark(2 * C + 3).lap(), 2u);
}

TEST(RingClaim, TheLargestFitsTwiceInALapAndNoMore) {
  RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  raw.join(0, C, raw.alive());  // nobody reads on
  Claimed claimed{};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(appender.claim(ring::most_cells(C), 1, 0, 0, claimed));
    appender.commit(claimed);
  }
  EXPECT_FALSE(appender.claim(5, 1, 0, 0, claimed)) << "4 cells are left";
  EXPECT_EQ(appender.refusal().why, Refusal::Why::group);
  ASSERT_TRUE(appender.claim(4, 1, 0, 0, claimed));
  EXPECT_FALSE(appender.claim(1, 1, 0, 0, claimed));
  EXPECT_EQ(raw.ring.tail(), 2 * C);
}

TEST(RingClaim, PositionsEndBeforeTheyWrap) {
  const RawRing raw;
  const std::uint64_t last = (1ull << 52) - C;  // no claim reaches this
  raw.low(last - 10);
  raw.tail(last - 10, 0, 5);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(9, 1, 0, 0, claimed));
  EXPECT_EQ(claimed.position, last - 10);
  appender.commit(claimed);
  raw.ring.at(claimed.position).h3 = Lengths{1, 0, 0, 0}.word();
  EXPECT_EQ(raw.look(last - 10), Found::record);
  Appender other = must(Appender::enlist(raw.ring, raw.alive()));  // its limit is fresh
  EXPECT_FALSE(other.claim(1, 1, 0, 0, claimed));
  EXPECT_EQ(other.refusal().why, Refusal::Why::exhausted);
  EXPECT_EQ(raw.ring.tail(), last - 1);
}

TEST(RingClaim, OffsetsEndBeforeTheyOverflow) {
  const RawRing raw;
  raw.tail(C, 0, (1ull << 52) - C);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed claimed{};
  EXPECT_FALSE(appender.claim(1, 1, 0, 0, claimed));
  EXPECT_EQ(appender.refusal().why, Refusal::Why::exhausted);
}

TEST(RingClaim, NotesABoundaryPerSlice) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed claimed{};
  for (std::int64_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(appender.claim(10, 1, 100 + i, 0, claimed));
    appender.commit(claimed);
  }
  // 16 cells in a slice: 10..20 passes into slice 1, 30..40 into 2, 40..50 into 3, 60..70 into 4.
  const auto first = ring::read_boundary(raw.ring, 1);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->position, C + 10);
  EXPECT_EQ(first->offset, 1u);
  EXPECT_EQ(first->largest_timestamp, 101);
  EXPECT_EQ(ring::read_boundary(raw.ring, 4)->position, C + 60);
  EXPECT_FALSE(ring::read_boundary(raw.ring, 0));
  EXPECT_FALSE(ring::read_boundary(raw.ring, 6));
}

// ---- one producer only ---------------------------------------------------------------------------------------------------------

TEST(RingSingle, ATornTailIsPutBack) {
  const RawRing raw(true);
  raw.record(C, State::committed, 0, 2, 0);
  // Died at C5 between its two stores: w1 is ahead, w0 is not.
  raw.slot(0, RawRing::kDead, C + 2, 0, 1, 4);
  raw.tail(C + 2, 0, 4);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  EXPECT_EQ(raw.ring.header->tail.w1, 1u);
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(1, 1, 0, 0, claimed));
  EXPECT_EQ(claimed.position, C + 2);
  EXPECT_EQ(claimed.offset, 1u);
}

TEST(RingSingle, AnUnmarkedHoleOfThePredecessorIsSkipped) {
  const RawRing raw(true);
  raw.slot(0, RawRing::kDead, C, ring::kNoOwner, 0, 4);
  raw.tail(C + 4, 0, 3);  // died between C5 and C7
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  EXPECT_EQ(raw.look(C), Found::skip);
  EXPECT_EQ(raw.ring.header->tail.w1, 3u);
  EXPECT_EQ(raw.ring.slots[0].born, C + 4);
}

TEST(RingSingle, ThereIsOneAtATime) {
  const RawRing raw(true);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  EXPECT_TRUE(fails(Appender::enlist(raw.ring, raw.alive()), Errc::in_use, {raw.path(), "pid " + std::to_string(getpid())}));
  appender.resign();
  EXPECT_TRUE(good(Appender::enlist(raw.ring, raw.alive())));
}

// ---- registration --------------------------------------------------------------------------------------------------------------

TEST(RingEnlist, TakesFreeSlotsThenRefuses) {
  const RawRing raw;
  std::vector<Appender> appenders;
  for (std::uint32_t i = 0; i < 4; ++i) {
    appenders.push_back(must(Appender::enlist(raw.ring, raw.alive())));
    EXPECT_EQ(appenders.back().id(), i);
  }
  EXPECT_TRUE(fails(Appender::enlist(raw.ring, raw.alive()), Errc::limit_reached, {"4", raw.path(), "max_producers"}));
  appenders[2].resign();
  EXPECT_EQ(must(Appender::enlist(raw.ring, raw.alive())).id(), 2u);
}

TEST(RingEnlist, ADeadSlotIsSettledAndBornAgain) {
  const RawRing raw;
  for (std::uint32_t i = 0; i < 4; ++i) raw.slot(i, raw.alive(), C, ring::kNoOwner, 0, 1);
  raw.record(C, State::claimed, 1, 2, 0);
  raw.tail(C + 2, 1, 1);
  raw.slot(1, RawRing::kDead, C, ring::kNoOwner, 0, 2);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  EXPECT_EQ(appender.id(), 1u);
  EXPECT_EQ(raw.look(C), Found::skip);
  EXPECT_EQ(raw.ring.slots[1].born, C + 2);
  EXPECT_EQ(raw.ring.slots[1].w0, ring::kNoIntent);
  EXPECT_EQ(raw.ring.slots[1].incarnation, raw.alive());
}

TEST(RingEnlist, ASlotThatCannotBeSettledIsPassedOver) {
  const RawRing raw;
  // An unmarked hole with two candidates and no evidence: nobody's, for now.
  raw.tail(C + 9, 3, 2);
  raw.slot(0, RawRing::kDead, C, ring::kNoOwner, 0, 2);
  raw.slot(1, RawRing::kDead, C, ring::kNoOwner, 0, 3);
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  EXPECT_EQ(appender.id(), 2u);
  EXPECT_EQ(raw.look(C), Found::nothing);
}

TEST(RingEnlist, KeepsTheSlotsLargestTimestamp) {
  const RawRing raw;
  raw.ring.slots[0].largest_timestamp = 500;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed claimed{};
  ASSERT_TRUE(appender.claim(1, 1, 400, 0, claimed));
  EXPECT_EQ(raw.ring.slots[0].largest_timestamp, 500u);
}

TEST(RingEnlist, AStoppedRegistrarIsNamed) {
  const RawRing raw;
  const auto lock = platform::FileLock::try_lock(raw.path(), ring::kRegistrationLock);
  ASSERT_TRUE(lock);
  raw.ring.header->holders.registration = raw.alive();
  EXPECT_TRUE(fails(Appender::enlist(raw.ring, raw.alive()), Errc::timed_out, {"registering", "pid " + std::to_string(getpid())}));
}

// ---- looking after others ------------------------------------------------------------------------------------------------------

TEST(RingClaim, AClaimerRepairsWhatADeadOneLeftOpen) {
  const RawRing raw;
  Appender dead = must(Appender::enlist(raw.ring, raw.alive()));
  Appender alive = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed open{};
  ASSERT_TRUE(dead.claim(2, 1, 0, 0, open));
  raw.ring.slots[dead.id()].incarnation = RawRing::kDead;
  Claimed claimed{};
  for (std::int64_t ms = 0; ms < 5 && raw.look(open.position) == Found::open; ++ms) {
    ASSERT_TRUE(alive.claim(1, 1, 0, ms * 1'000'000, claimed));  // `now` as the clock would be
    alive.commit(claimed);
  }
  EXPECT_EQ(raw.look(open.position), Found::skip);
}

// Of several claims that a producer had open when it died its slot names only the last, which need not even be open. A read-only observer
// depends on others to find the rest (model look.pml).
TEST(RingClaim, AClaimerRepairsTheOlderClaimsOfADeadOne) {
  const RawRing raw;
  Appender dead = must(Appender::enlist(raw.ring, raw.alive()));
  Appender alive = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed oldest{};
  Claimed middle{};
  Claimed settled{};
  ASSERT_TRUE(dead.claim(2, 1, 0, 0, oldest));
  ASSERT_TRUE(dead.claim(1, 1, 0, 0, middle));
  ASSERT_TRUE(dead.claim(1, 1, 0, 0, settled));
  dead.commit(settled);
  Claimed claimed{};
  std::int64_t ms = 0;
  const auto look = [&] {
    ASSERT_TRUE(alive.claim(1, 1, 0, ms++ * 1'000'000, claimed));  // `now` as the clock would be
    alive.commit(claimed);
  };
  for (int i = 0; i < 5; ++i) look();
  EXPECT_EQ(raw.look(oldest.position), Found::open) << "its owner lives";
  raw.ring.slots[dead.id()].incarnation = RawRing::kDead;
  for (int i = 0; i < 5; ++i) look();
  EXPECT_EQ(raw.look(oldest.position), Found::skip);
  EXPECT_EQ(raw.look(middle.position), Found::skip);
  EXPECT_EQ(raw.look(settled.position), Found::record);
}

TEST(RingEnlist, OlderClaimsOfADeadOwnerAreSettledFirst) {
  const RawRing raw(false, 1);
  Claimed oldest{};
  Claimed last{};
  {
    Appender dead = must(Appender::enlist(raw.ring, raw.alive()));
    ASSERT_TRUE(dead.claim(2, 1, 0, 0, oldest));
    ASSERT_TRUE(dead.claim(1, 1, 0, 0, last));
  }
  raw.ring.slots[0].incarnation = RawRing::kDead;
  Appender next = must(Appender::enlist(raw.ring, raw.alive()));
  EXPECT_EQ(raw.look(oldest.position), Found::skip);
  EXPECT_EQ(raw.look(last.position), Found::skip);
  EXPECT_EQ(raw.ring.slots[0].open_since, 0u);
}

TEST(RingClaim, TheNoteOfOlderClaimsEndsWithTheLastOfThem) {
  const RawRing raw;
  Appender appender = must(Appender::enlist(raw.ring, raw.alive()));
  Claimed first{};
  Claimed second{};
  ASSERT_TRUE(appender.claim(1, 1, 0, 0, first));
  EXPECT_EQ(raw.ring.slots[0].open_since, 0u) << "the intent names it";
  ASSERT_TRUE(appender.claim(1, 1, 0, 0, second));
  EXPECT_EQ(raw.ring.slots[0].open_since, first.position);
  appender.commit(first);
  EXPECT_EQ(raw.ring.slots[0].open_since, first.position);
  appender.abort(second);
  EXPECT_EQ(raw.ring.slots[0].open_since, 0u);
}

}  // namespace
}  // namespace arus::test
