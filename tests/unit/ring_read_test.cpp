// What a reader makes of bytes that were laid out by hand: every state, stale laps, impossible content, and the index.
#include <random>

#include "ring/index.h"
#include "ring_support.h"

namespace arus::test {
namespace {

constexpr std::uint64_t C = RawRing::kC;

TEST(RingRead, ZeroedMemoryHoldsNothing) {
  const RawRing raw;
  for (std::uint64_t p = C; p < 2 * C; ++p) ASSERT_EQ(raw.look(p), Found::nothing) << p;
}

TEST(RingRead, EachStateIsToldApart) {
  const RawRing raw;
  raw.record(C, State::claimed, 1, 2, 7);
  EXPECT_EQ(raw.look(C), Found::open);
  raw.record(C, State::skip, 1, 2, 7);
  EXPECT_EQ(raw.look(C), Found::skip);
  raw.record(C, State::committed, 1, 2, 7);
  EXPECT_EQ(raw.look(C), Found::record);
  raw.record(C, State::none, 1, 2, 7);
  EXPECT_EQ(raw.look(C), Found::nothing);
}

// A hint beside an open claim, and nothing but noise beside everything else.
TEST(RingRead, AClaimThatIsFilledInPlace) {
  const RawRing raw;
  const auto is = [&](State state, std::uint64_t lengths, std::uint64_t lap_of) {
    raw.record(C, state, 1, 2, 7);
    raw.ring.at(C).h3 = lengths;
    return ring::is_filled_in_place(raw.ring.at(C), raw.ring.lap_word(lap_of));
  };
  EXPECT_TRUE(is(State::claimed, Lengths::kFilledInPlace, C));
  EXPECT_EQ(raw.look(C), Found::open);
  EXPECT_FALSE(is(State::claimed, Lengths::kFilledInPlace, 2 * C)) << "a lap ago";
  EXPECT_FALSE(is(State::claimed, Lengths::single(64, 0, 0, 0).word(), C));
  EXPECT_FALSE(is(State::skip, Lengths::kFilledInPlace, C));
  EXPECT_EQ(raw.look(C), Found::skip);
  EXPECT_FALSE(is(State::committed, Lengths::kFilledInPlace, C));
  EXPECT_EQ(raw.look(C), Found::corrupt);
}

TEST(RingRead, AViewShowsTheHeadersFields) {
  const RawRing raw;
  raw.record(C + 3, State::committed, 2, 4, (1ull << 52) - 2, 5);
  ring::RecordHeader& header = raw.ring.at(C + 3);
  header.h2 = static_cast<std::uint64_t>(-12);  // before 1970
  header.h3 = Lengths{100, 7, 9, Lengths::kNullValue}.word();
  ring::View view{};
  ASSERT_EQ(ring::look(raw.ring, C + 3, view), Found::record);
  EXPECT_EQ(view.cells, 4u);
  EXPECT_EQ(view.offset, (1ull << 52) - 2);
  EXPECT_EQ(view.timestamp, -12);
  EXPECT_EQ(view.lengths.value, 100u);
  EXPECT_EQ(view.lengths.key, 7u);
  EXPECT_EQ(view.lengths.headers, 9u);
  EXPECT_EQ(view.lengths.flags, Lengths::kNullValue);
  EXPECT_EQ(view.lengths.value_at(), 48u);  // 32 + 7 + 9
  EXPECT_EQ(view.data, raw.ring.base + 3 * 64);
}

// A large value starts on a cell, whatever stands in front of it; and stays there if less of it is committed.
TEST(RingRead, ALargeValueStartsOnACell) {
  constexpr std::uint64_t kLarge = Lengths::kAlignedFrom;
  EXPECT_EQ(Lengths::single(kLarge - 1, 0, 0, Lengths::kNullKey).value_at(), 32u);
  EXPECT_EQ(Lengths::single(kLarge, 0, 0, Lengths::kNullKey).value_at(), 64u);
  EXPECT_EQ(Lengths::single(kLarge, 32, 0, 0).value_at(), 64u);
  EXPECT_EQ(Lengths::single(kLarge, 32, 1, 0).value_at(), 128u);
  Lengths shorter = Lengths::single(kLarge, 0, 0, Lengths::kNullKey);
  shorter.value = 1;
  EXPECT_EQ(Lengths::of(shorter.word()).value_at(), 64u);
  EXPECT_FALSE(shorter.is_growing());
  // As much as a ring says that it takes, in each way of filling it.
  const std::uint64_t most = ring::most_bytes(C);
  for (std::uint64_t key = 0; key < 64; ++key)
    EXPECT_LE(Lengths::single(most - key, key, 0, 0).cells(), ring::most_cells(C)) << key;
  // One more than it has cells for is no record.
  const RawRing raw;
  raw.record(C, State::committed, 0, 65, 1);
  raw.ring.at(C).h3 = Lengths::single(kLarge, 0, 0, 0).word();
  EXPECT_EQ(raw.look(C), Found::record);
  raw.ring.at(C).h3 = Lengths::single(kLarge + 1, 0, 0, 0).word();
  EXPECT_EQ(raw.look(C), Found::corrupt);
}

// The lap is what tells this round's record from what an earlier round left in the same cells.
TEST(RingRead, AnotherLapIsNothing) {
  const RawRing raw;
  raw.record(C + 5, State::committed, 0, 1, 5);
  EXPECT_EQ(raw.look(C + 5), Found::record);
  EXPECT_EQ(raw.look(2 * C + 5), Found::nothing);
  EXPECT_EQ(raw.look(5), Found::nothing);
  EXPECT_EQ(raw.look(C + 5 + (C << 21)), Found::nothing);
  // The lap has 22 bits. Nothing but the claim's look at its next boundary (C3) protects from what is exactly so many laps old.
  EXPECT_EQ(raw.look(C + 5 + (C << 22)), Found::record);
}

TEST(RingRead, ExtentsThatNoClaimCanHaveAreCorrupt) {
  const RawRing raw;
  for (const State state : {State::claimed, State::committed, State::skip})
    for (const std::uint64_t cells : {std::uint64_t{0}, C / 2 + 1, C, (std::uint64_t{1} << 28) - 1}) {
      raw.ring.set_mark(C, state, 0, cells);
      EXPECT_EQ(raw.look(C), Found::corrupt) << cells;
    }
  raw.record(C, State::committed, 0, C / 2, 0);
  EXPECT_EQ(raw.look(C), Found::record);
}

TEST(RingRead, LengthsBeyondTheExtentAreCorrupt) {
  const RawRing raw;
  const auto with = [&](const Lengths& lengths) {
    raw.record(C, State::committed, 0, 2, 0);
    raw.ring.at(C).h3 = lengths.word();
    return raw.look(C);
  };
  EXPECT_EQ(with({96, 0, 0, 0}), Found::record);  // 32 + 96 fill two cells
  EXPECT_EQ(with({97, 0, 0, 0}), Found::corrupt);
  EXPECT_EQ(with({80, 16, 0, 0}), Found::record);
  EXPECT_EQ(with({80, 17, 0, 0}), Found::corrupt);  // the value moves on to 16 bytes
  EXPECT_EQ(with({80, 0, 17, 0}), Found::corrupt);
  EXPECT_EQ(with({0, 96, 0, 0}), Found::record);
  EXPECT_EQ(with({0, 97, 0, 0}), Found::corrupt);
  EXPECT_EQ(with({0, Lengths::kMostKey, 0, 0}), Found::corrupt);
  EXPECT_EQ(with({0, 0, Lengths::kMostHeaders, 0}), Found::corrupt);
  EXPECT_EQ(with({Lengths::kMostValue, Lengths::kMostKey, Lengths::kMostHeaders, 15}), Found::corrupt);
}

TEST(RingRead, PackedOnesThatCannotBeAreCorrupt) {
  const RawRing raw;
  const auto with = [&](const Lengths& lengths) {
    raw.record(C, State::committed, 0, 2, 0);
    raw.ring.at(C).h3 = lengths.word();
    return raw.look(C);
  };
  EXPECT_EQ(with(Lengths::packed(16, 6)), Found::record);  // 32 + 6 * 16 fill two cells
  EXPECT_EQ(with(Lengths::packed(16, 7)), Found::corrupt);
  EXPECT_EQ(with(Lengths::packed(17, 3)), Found::record);  // each on 16 bytes
  EXPECT_EQ(with(Lengths::packed(17, 4)), Found::corrupt);
  EXPECT_EQ(with(Lengths::packed(16, 0)), Found::corrupt);
  EXPECT_EQ(with(Lengths::packed(0, Lengths::kMostPacked)), Found::record);
  EXPECT_EQ(with(Lengths::packed(0, Lengths::kMostPacked + 1)), Found::corrupt);
  EXPECT_EQ(with({16, 2, 1, Lengths::kPacked}), Found::corrupt) << "headers";
  EXPECT_EQ(with(Lengths::packed(Lengths::kMostValue, Lengths::kMostPacked)), Found::corrupt);
}

// Whatever the four words are, what is reported as a record lies inside the mapping.
TEST(RingRead, GarbageNeverPointsOutside) {
  const RawRing raw;
  std::mt19937_64 random(20240607);
  const std::byte* const end = raw.ring.base + 2 * ring::kSmallestRing;  // with the mirror
  unsigned records = 0;
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t p = C + random() % C;
    ring::RecordHeader& header = raw.ring.at(p);
    // Half of them with a plausible commit word, so that the other words are reached.
    const std::uint64_t word = i % 2 == 0 ? random() : Mark::make(State::committed, raw.ring.lap(p), 1, random() % C).word;
    header.h0 = word ^ raw.ring.salt;
    header.h1 = random();
    header.h2 = random();
    header.h3 = random() >> random() % 64;
    ring::View view{};
    if (ring::look(raw.ring, p, view) != Found::record) continue;
    ++records;
    ASSERT_TRUE(view.lengths.fit(view.cells));
    if (view.lengths.is_packed()) view = ring::unpacked(view, view.lengths.records() - 1);
    ASSERT_LE(view.data + view.lengths.value_at() + view.lengths.value, end);
  }
  EXPECT_GT(records, 1000u);
}

TEST(RingRead, StillThereUntilLowPasses) {
  const RawRing raw;
  raw.low(C + 10);
  EXPECT_TRUE(ring::still_there(raw.ring, C + 10));
  EXPECT_TRUE(ring::still_there(raw.ring, C + 11));
  EXPECT_FALSE(ring::still_there(raw.ring, C + 9));
}

// What runs over the end of the ring goes on at its beginning.
TEST(RingRead, TheMappingIsMirrored) {
  const RawRing raw;
  std::byte* const base = raw.ring.base;
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{ring::kSmallestRing - 1}}) {
    base[ring::kSmallestRing + at] = std::byte{0x5a};
    EXPECT_EQ(base[at], std::byte{0x5a}) << at;
    base[at] = std::byte{0xa5};
    EXPECT_EQ(base[ring::kSmallestRing + at], std::byte{0xa5}) << at;
  }
}

// ---- the index -----------------------------------------------------------------------------------------------------------------

class RingIndex : public testing::Test {
 protected:
  RingIndex() {
    for (std::uint64_t i = 0; i < 64; ++i) raw_.record(C + 16 * i, State::committed, 0, 16, i);
    raw_.tail(2 * C, 0, 64);
  }
  void note(std::uint64_t i, std::int64_t timestamp) const {
    ring::note_boundary(raw_.ring, C + 16 * i + 16, {C + 16 * i, i, timestamp});
  }
  [[nodiscard]] std::optional<ring::Boundary> entry(std::uint64_t i) const {
    return ring::read_boundary(raw_.ring, static_cast<std::uint32_t>((i + 1) % 64));
  }
  RawRing raw_;
};

TEST_F(RingIndex, AnEntryNamesItsRecord) {
  EXPECT_FALSE(entry(5));
  note(5, 99);
  const auto boundary = entry(5);
  ASSERT_TRUE(boundary);
  EXPECT_EQ(boundary->position, C + 80);
  EXPECT_EQ(boundary->offset, 5u);
  EXPECT_EQ(boundary->largest_timestamp, 99);
}

TEST_F(RingIndex, ATornEntryIsIgnored) {
  note(5, 99);
  ring::IndexEntry& torn = raw_.ring.index[6];
  for (ring::Word* word : {&torn.position, &torn.offset, &torn.largest_timestamp, &torn.check}) {
    const std::uint64_t whole = word->load();
    for (const std::uint64_t other : {whole + 1, whole ^ std::uint64_t{1} << 40, std::uint64_t{0}, ~std::uint64_t{0}}) {
      *word = other;
      EXPECT_FALSE(entry(5)) << word - &torn.position << ' ' << other;
    }
    *word = whole;
  }
  EXPECT_TRUE(entry(5));
}

TEST_F(RingIndex, AnEntryWhoseRecordIsGoneIsIgnored) {
  note(5, 99);
  raw_.low(C + 81);
  EXPECT_FALSE(entry(5)) << "below low";
  raw_.low(C + 80);
  EXPECT_TRUE(entry(5));
  raw_.tail(C + 80, 0, 5);
  EXPECT_FALSE(entry(5)) << "not below the tail";
  raw_.tail(2 * C, 0, 64);
  raw_.ring.at(C + 80).h1 = ring::chain_word(6, 0);
  EXPECT_FALSE(entry(5)) << "another offset stands there";
  raw_.ring.at(C + 80).h1 = ring::chain_word(5, 0);
  raw_.record(2 * C + 80, State::committed, 0, 16, 69);
  EXPECT_FALSE(entry(5)) << "overwritten in the next lap";
}

TEST_F(RingIndex, TheLastBoundaryBeforeSomething) {
  for (const std::uint64_t i : {3u, 40u, 20u}) note(i, static_cast<std::int64_t>(i) * 100);
  const auto below = [&](std::uint64_t offset) {
    return ring::last_boundary(raw_.ring, [&](const ring::Boundary& boundary) { return boundary.offset <= offset; });
  };
  EXPECT_FALSE(below(2));
  EXPECT_EQ(below(3)->offset, 3u);
  EXPECT_EQ(below(39)->offset, 20u);
  EXPECT_EQ(below(1000)->offset, 40u);
}

}  // namespace
}  // namespace arus::test
