// ReaderDistance: when large values are to go past this core's caches.
#include "ring/distance.h"
#include "ring_support.h"

namespace arus::test {
namespace {

using ring::ReaderDistance;

constexpr std::uint64_t kNear = 45;  // ns
constexpr std::uint64_t kFar = 140;

TEST(RingDistance, FarIfLinesComeSlowlySeveralTimesInARow) {
  ReaderDistance distance;
  std::uint64_t position = 1;
  EXPECT_FALSE(distance.is_far());
  for (int i = 0; i < 3; ++i) distance.note(++position, kFar);
  EXPECT_FALSE(distance.is_far());
  distance.note(++position, kNear);
  for (int i = 0; i < 3; ++i) distance.note(++position, kFar);
  EXPECT_FALSE(distance.is_far()) << "an interrupt now and then";
  distance.note(++position, kFar);
  EXPECT_TRUE(distance.is_far());
  for (int i = 0; i < 100; ++i) distance.note(++position, 1'000'000'000);
  EXPECT_TRUE(distance.is_far());
  distance.note(++position, kNear);
  EXPECT_FALSE(distance.is_far()) << "it has come nearer";
}

TEST(RingDistance, AReaderThatStandsStillSaysNothing) {
  ReaderDistance distance;
  for (std::uint64_t position = 1; position <= 4; ++position) {
    distance.note(position, kFar);
    for (int i = 0; i < 100; ++i) distance.note(position, 2);  // its line is here already
  }
  EXPECT_TRUE(distance.is_far());
}

TEST(RingDistance, AClockThatIsNotKnownSaysNear) {
  ReaderDistance distance;
  for (std::uint64_t position = 1; position <= 100; ++position) distance.note(position, 0);
  EXPECT_FALSE(distance.is_far());
}

// Whoever stands at 0 is far.
class RingDistanceOfOne : public testing::Test {
 protected:
  RingDistanceOfOne() {
    raw_.join(0, RawRing::kC, raw_.alive());
    for (std::uint64_t i = 1; i < 10; ++i) distance_.note(i, kFar);
    EXPECT_TRUE(distance_.is_far());
  }
  RawRing raw_;
  ReaderDistance distance_;
};

TEST_F(RingDistanceOfOne, WhoComesAfterwardsIsNearAtFirst) {
  raw_.cursor(0).state = 0;
  distance_.look(raw_.ring);
  EXPECT_FALSE(distance_.is_far());
}

TEST_F(RingDistanceOfOne, WhatWasReadMeanwhileSaysNothing) {
  raw_.cursor(0).position = RawRing::kC + 5;
  distance_.saw(raw_.ring);
  distance_.look(raw_.ring);
  EXPECT_TRUE(distance_.is_far()) << "a line that is here is not near for that";
}

TEST(RingDistance, WatchesAReaderThatIsThereAndMoves) {
  RawRing raw;
  ReaderDistance distance;
  const auto look = [&] {
    static_cast<void>(distance.is_far());
    distance.look(raw.ring);
  };
  raw.join(1, RawRing::kC, raw.alive());
  look();
  EXPECT_EQ(distance.watched(), 1u) << "nobody is at 0";
  for (std::uint64_t i = 1; i < 10; ++i) {
    raw.cursor(1).position = RawRing::kC + i;
    look();
    EXPECT_EQ(distance.watched(), 1u);
  }
  for (int i = 0; i < 2'000 && distance.watched() == 1; ++i) look();
  EXPECT_EQ(distance.watched(), 2u) << "another one may move";
  distance.look(raw.ring);
  EXPECT_EQ(distance.watched(), 2u) << "nobody has asked";
  look();
  EXPECT_EQ(distance.watched(), 0u);
  raw.ring.cursor_count = 0;
  look();
}

}  // namespace
}  // namespace arus::test
