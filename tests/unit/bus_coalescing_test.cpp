// How long a consumer waits for more: long where records come quickly, and not at all where they do not.
#include <gtest/gtest.h>

#include <algorithm>

#include "bus/coalescing.h"

namespace arus::test {
namespace {

using detail::Coalescing;

constexpr std::size_t kMost = 256;      // records in a batch
constexpr std::uint64_t kPause = 26;    // ns
constexpr std::uint64_t kPolling = 30;  // ns, of a poll that finds something

// A consumer of records that come one each `gap` ns, for so many polls.
void consume(Coalescing& coalescing, double gap, int polls) {
  double there = 0;
  for (int i = 0; i < polls; ++i) {
    const std::uint64_t waited = coalescing.before_look() * kPause;
    there += static_cast<double>(waited + kPolling) / gap;
    const bool in_vain = there < 1;
    while (there < 1) there += static_cast<double>(coalescing.between_looks() * kPause) / gap;
    const std::size_t taken = std::min(static_cast<std::size_t>(there), kMost);
    there -= static_cast<double>(taken);
    coalescing.had(taken, waited, in_vain);
  }
}

TEST(Coalescing, WaitsWhereRecordsComeQuickly) {
  Coalescing coalescing(true, kMost);
  consume(coalescing, 8, 100);
  EXPECT_GT(coalescing.between_looks() * kPause, 3'000U);
  EXPECT_LE(coalescing.between_looks() * kPause, Coalescing::kLongestWait);
}

TEST(Coalescing, DoesNotWhereTheyComeSlowly) {
  for (const double gap : {200., 250., 1'000., 100'000.}) {
    Coalescing coalescing(true, kMost);
    consume(coalescing, gap, 100);
    EXPECT_TRUE(coalescing.hastes()) << gap;
    consume(coalescing, 8, 100);
    EXPECT_FALSE(coalescing.hastes());
    consume(coalescing, gap, 100);
    EXPECT_TRUE(coalescing.hastes()) << "behind a burst, every " << gap << " ns";
    EXPECT_EQ(coalescing.before_look(), 0U);
  }
}

Coalescing one_that_waits(std::size_t most = kMost) {
  Coalescing coalescing(true, most);
  for (int i = 0; i < 9; ++i) coalescing.had(most - 1, coalescing.before_look() * kPause, false);
  return coalescing;
}

TEST(Coalescing, BehindAFullBatchThereIsMore) {
  Coalescing coalescing = one_that_waits();
  const std::uint32_t before = coalescing.before_look();
  EXPECT_GT(before, 0U);
  coalescing.had(kMost, before * kPause, false);
  EXPECT_EQ(coalescing.before_look(), 0U);
  coalescing.had(kMost, 0, false);
  EXPECT_EQ(coalescing.before_look(), 0U);
  coalescing.had(kMost - 1, 0, false);
  EXPECT_EQ(coalescing.before_look(), before);
}

// Bursts with nothing in between, of just as many as are taken at once: each wait is in vain.
TEST(Coalescing, FullBatchesNowAndThenAreNotWaitedFor) {
  Coalescing coalescing = one_that_waits();
  for (int i = 0; i < 20; ++i) coalescing.had(kMost, coalescing.before_look() * kPause, true);
  EXPECT_TRUE(coalescing.hastes());
}

TEST(Coalescing, BatchesOfOne) {
  Coalescing coalescing(true, 1);
  for (int i = 0; i < 5; ++i) coalescing.had(0, 0, true);
  for (int i = 0; i < 5; ++i) coalescing.had(1, 0, true);
  EXPECT_EQ(coalescing.between_looks(), 1U);
}

TEST(Coalescing, WaitsInVainBecomeShort) {
  Coalescing coalescing = one_that_waits();
  for (int i = 0; i < 20; ++i) coalescing.had(0, coalescing.before_look() * kPause, true);
  EXPECT_EQ(coalescing.between_looks(), 1U);
  coalescing = one_that_waits();
  for (int i = 0; i < 20; ++i) coalescing.had(0, 0, true);  // polls that may not wait
  EXPECT_EQ(coalescing.between_looks(), 1U);
}

TEST(Coalescing, PausesOfAnyLength) {
  for (const std::uint64_t pause : {1U, 3U, 26U, 50U, 1'000U, 100'000U}) {
    Coalescing coalescing(true, kMost);
    for (int i = 0; i < 1'000; ++i) {
      coalescing.had(kMost - 1, coalescing.before_look() * pause, false);
      EXPECT_LE(coalescing.before_look() * pause, std::max(Coalescing::kLongestWait, 8 * pause)) << pause;
    }
  }
}

TEST(Coalescing, Off) {
  Coalescing coalescing(false, kMost);
  consume(coalescing, 8, 100);
  EXPECT_EQ(coalescing.before_look(), 0U);
  EXPECT_EQ(coalescing.between_looks(), 1U);
}

}  // namespace
}  // namespace arus::test
