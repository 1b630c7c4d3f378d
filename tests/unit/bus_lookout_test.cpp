// Lookout: which way of waiting brings records soonest, by what they take.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "bus/lookout.h"

namespace arus::test {
namespace {

using detail::Lookout;
using Way = Lookout::Way;

constexpr std::uint64_t kOneToOne = 1ull << 32;  // a tick is a nanosecond

class BusLookout : public testing::Test {
 protected:
  // So many rounds, in which a record takes as long as its way says. How many rounds were spent with the way that takes the least.
  std::size_t go(std::size_t rounds, const std::array<std::uint64_t, Lookout::kWays>& takes) {
    std::size_t best = 0;
    const std::uint64_t least = *std::min_element(takes.begin(), takes.end());
    for (std::size_t i = 0; i < rounds; ++i) {
      const std::uint64_t each = takes[static_cast<std::size_t>(lookout_.way())];
      if (each == least) ++best;
      round(each * Lookout::kRecords);
    }
    return best;
  }
  void round(std::uint64_t ns, std::uint64_t records = Lookout::kRecords) {
    offset_ += records;
    now_ += ns;
    lookout_.compare(offset_, now_, kOneToOne);
  }

  Lookout lookout_;
  std::uint64_t offset_ = 1'000;
  std::uint64_t now_ = 1'000'000;
};

TEST_F(BusLookout, FindsTheQuickestWayAndKeepsToIt) {
  for (const auto& takes : {std::array<std::uint64_t, 3>{190, 300, 230}, {560, 440, 690}, {220, 310, 170}}) {
    go(200, takes);
    EXPECT_GE(go(1'000, takes), 970u) << takes[0] << ' ' << takes[1] << ' ' << takes[2];
  }
}

TEST_F(BusLookout, FollowsCoresThatMove) {
  const std::array<std::uint64_t, 3> near{190, 300, 230};
  const std::array<std::uint64_t, 3> far{560, 440, 590};
  for (int i = 0; i < 10; ++i) {
    EXPECT_GE(go(2'000, near), 1'300u);
    EXPECT_GE(go(2'000, far), 1'300u);
  }
}

TEST_F(BusLookout, ALittleIsNoReasonToChange) {
  go(100, {200, 300, 230});
  EXPECT_EQ(lookout_.way(), Way::latest);
  std::size_t left = 0;
  for (int i = 0; i < 1'000; ++i) {
    go(1, {200, 300, 196});
    left += lookout_.way() == Way::latest ? 0 : 1;
  }
  EXPECT_LE(left, 20u) << "but to try";
}

TEST_F(BusLookout, RecordsThatComeWhenTheyComeAreNoReason) {
  std::minstd_rand random(1);
  std::uniform_int_distribution<std::uint64_t> jitter(500, 1'500);
  std::size_t left = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    std::uint64_t ns = 0;
    for (std::uint64_t each = 0; each < Lookout::kRecords; ++each) ns += jitter(random);
    round(ns);
    left += lookout_.way() == Way::latest ? 0 : 1;
  }
  EXPECT_LE(left, 60'000u);
}

TEST_F(BusLookout, FindsATenthThoughItVaries) {
  std::minstd_rand random(1);
  std::uniform_int_distribution<std::uint64_t> jitter(95, 105);  // percent
  std::size_t quick = 0;
  for (int i = 0; i < 10'000; ++i) {
    round((lookout_.way() == Way::log ? 580u : 640u) * Lookout::kRecords * jitter(random) / 100);
    quick += lookout_.way() == Way::log ? 1 : 0;
  }
  EXPECT_GE(quick, 9'000u);
}

TEST_F(BusLookout, SomebodyWhoIsKeptOffACoreIsNoReasonEither) {
  const std::array<std::uint64_t, 3> takes{190, 300, 230};
  go(200, takes);
  std::size_t best = 0;
  for (int i = 0; i < 100; ++i) {
    best += go(9, takes);
    round(4'000'000);
  }
  EXPECT_GE(best, 850u);
}

TEST_F(BusLookout, NorDoesItKeepABetterWayFromBeingFound) {
  const auto interrupted = [&](const std::array<std::uint64_t, 3>& takes) {
    std::size_t best = 0;
    for (int i = 0; i < 100; ++i) {
      best += go(10, takes);
      round(4'000'000);
    }
    return best;
  };
  EXPECT_GE(interrupted({230, 190, 300}), 700u);
  EXPECT_GE(interrupted({230, 300, 190}), 600u) << "the way that was the best one is not any more";
}

TEST_F(BusLookout, ATryInVainDoesNotCount) {
  for (int i = 0; i < 10'000; ++i) {
    round(200 * Lookout::kRecords);
    if (lookout_.way() == Way::latest) continue;
    lookout_.in_vain();
    EXPECT_EQ(lookout_.way(), Way::latest);
  }
  EXPECT_GE(go(1'000, {200, 300, 230}), 950u);
}

TEST_F(BusLookout, WhatWasNotWaitedForSaysNothing) {
  go(200, {190, 300, 230});
  for (int i = 0; i < 1'000; ++i) round(1, 100 * Lookout::kRecords);
  EXPECT_GE(go(1'000, {190, 300, 230}), 950u);
}

TEST_F(BusLookout, ACounterThatIsNoClockChangesNothing) {
  for (int i = 0; i < 1'000; ++i) {
    lookout_.compare(offset_ += Lookout::kRecords, now_ += 100, 0);
    EXPECT_EQ(lookout_.way(), Way::latest);
  }
}

TEST_F(BusLookout, LooksRarelyByTheClock) {
  round(1);
  round(1, 0);
  EXPECT_EQ(lookout_.between_looks(), 120u);
  lookout_.compare(offset_, now_, kOneToOne / 2);
  EXPECT_EQ(lookout_.between_looks(), 240u) << "ticks of half a nanosecond";
}

TEST_F(BusLookout, OffsetsThatGoBackAreNoHarm) {
  for (int i = 0; i < 100; ++i) lookout_.compare(static_cast<std::uint64_t>(100 - i), now_ += 5, kOneToOne);
  EXPECT_GE(go(1'000, {190, 300, 230}), 900u);
}

}  // namespace
}  // namespace arus::test
