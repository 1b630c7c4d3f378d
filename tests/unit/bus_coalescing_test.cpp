// How long a consumer waits for more: long where records come quickly, and not at all where they do not.
#include <gtest/gtest.h>

#include <algorithm>

#include "bus/coalescing.h"

namespace arus::test {
namespace {

using detail::Coalescing;

constexpr std::size_t kMost = 256;    // records in a batch
constexpr std::uint64_t kPause = 26;  // ns

// A consumer of records that come one each `gap` ns, which may depend on how many ns it waits.
struct Consumer {
  explicit Consumer(std::size_t most_records = kMost) : most(most_records) {}

  template <class Gap>
  void consume(Gap gap, int polls) {
    for (int i = 0; i < polls; ++i) {
      Coalescing::Waited waited{rule.before_look() * kPause, 0};
      const double each = gap(static_cast<double>(rule.between_looks() * kPause));
      there += static_cast<double>(waited.ns + polling) / each;
      now += waited.ns + polling;
      if (waited.ns != 0) waited.until = now;
      const bool in_vain = there < 1;
      for (; there < 1; now += rule.between_looks() * kPause) there += static_cast<double>(rule.between_looks() * kPause) / each;
      const std::size_t taken = std::min(static_cast<std::size_t>(there), most);
      there -= static_cast<double>(taken);
      rule.had(taken, taken == most, waited, in_vain, size);
      waited_for += waited.ns;
    }
  }
  void consume(double gap, int polls) {
    consume([gap](double) { return gap; }, polls);
  }
  // It waits long from here on, until it finds out something else.
  void burst() { consume(8., 100); }
  [[nodiscard]] std::uint64_t waits() const { return rule.between_looks() * kPause; }  // ns

  std::size_t most;
  std::size_t size = 64;       // bytes of a record
  std::uint64_t polling = 30;  // ns, of a poll that finds something
  Coalescing rule{true};
  double there = 0;
  std::uint64_t now = 1;
  std::uint64_t waited_for = 0;
};

// Senders that are held up by a reader that looks often: 8 ns a record at best, 21 at worst.
double held_up(double wait) { return 8 * (1 + 200 / (wait + 100)); }

TEST(Coalescing, WaitsWhereMoreComesOfIt) {
  Consumer consumer;
  consumer.consume(held_up, 20'000);
  for (int i = 0; i < 1'000; ++i) {
    consumer.consume(held_up, 7);
    EXPECT_GT(consumer.waits(), 1'500U) << "also while half of it is tried";
    EXPECT_LE(consumer.waits(), Coalescing::kLongestWait);
  }
}

// What is large comes less often, and is held up all the same.
TEST(Coalescing, WaitsForLargeRecordsThatComeQuickly) {
  for (const std::size_t size : {1u << 10, 4u << 10, 16u << 10}) {
    const double least = static_cast<double>(size) / 24;  // ns
    const auto large_held_up = [&](double wait) { return least * (1 + 400 / (wait + 100)); };
    Consumer consumer;
    consumer.size = size;
    consumer.burst();
    consumer.consume(large_held_up, 20'000);
    for (int i = 0; i < 1'000; ++i) {
      consumer.consume(large_held_up, 7);
      EXPECT_GT(consumer.waits(), 700U) << size;
    }
    consumer.consume(static_cast<double>(size), 100);
    EXPECT_TRUE(consumer.rule.hastes()) << "a byte a ns is not quick";
  }
  Consumer consumer;
  consumer.burst();
  consumer.consume([](double wait) { return 170 * (1 + 400 / (wait + 100)); }, 20'000);
  EXPECT_TRUE(consumer.rule.hastes()) << "small ones as often as large ones of 4 KiB: that has a pace of its own";
}

// As many come in the same time, whatever the consumer does: all that a wait does is to make them late.
TEST(Coalescing, DoesNotWaitLongForWhatHasAPaceOfItsOwn) {
  for (const double gap : {40., 60., 90., 120.}) {
    Consumer consumer;
    consumer.burst();
    EXPECT_GT(consumer.waits(), 1'000U);
    consumer.consume(gap, 2'000);
    consumer.waited_for = 0;
    const std::uint64_t from = consumer.now;
    std::uint64_t long_ones = 0;
    for (int i = 0; i < 100'000; ++i) {
      consumer.consume(gap, 1);
      if (consumer.waits() > 1'000) long_ones += consumer.waits();
    }
    EXPECT_LT(long_ones, (consumer.now - from) / 10) << "of the time in long waits, every " << gap << " ns";
  }
}

// Their senders stop for two microseconds now and then, as interrupts make them: a look is in vain, and finds single records then.
TEST(Coalescing, ShortStopsAreNoReasonToWaitLong) {
  for (const double gap : {30., 40., 45.}) {
    Consumer consumer;
    consumer.polling = 100;
    consumer.burst();
    consumer.consume(gap, 20'000);
    const std::uint64_t from = consumer.now;
    std::uint64_t stop = from;
    std::uint64_t long_ones = 0;
    while (consumer.now < from + 400'000'000) {
      consumer.consume(gap, 1);
      if (consumer.waits() > 1'000) long_ones += consumer.waits();
      if (consumer.now < stop) continue;
      stop = consumer.now + 1'000'000;
      for (int i = 0; i < 3; ++i) consumer.rule.had(1, false, {}, i == 0);
    }
    EXPECT_LT(long_ones, (consumer.now - from) / 20) << "every " << gap << " ns";
  }
}

// The senders stop while the long wait is tried, for whatever time, or the counter does; it is tried again soon all the same.
TEST(Coalescing, AStopInATrialIsNoLongTrial) {
  for (const std::uint64_t stop :
       {std::uint64_t{1'000'000}, std::uint64_t{10'000'000}, std::uint64_t{1'000'000'000}, -std::uint64_t{1'000'000}}) {
    Consumer consumer;
    consumer.burst();
    consumer.consume(60., 100'000);
    EXPECT_LT(consumer.waits(), 1'000U);
    while (consumer.waits() < 1'500) consumer.consume(held_up, 1);
    consumer.consume(held_up, 10);
    consumer.now += stop;
    while (consumer.waits() > 1'500) consumer.consume(held_up, 1);
    const std::uint64_t from = consumer.now;
    while (consumer.waits() < 1'500 && consumer.now - from < 60'000'000) consumer.consume(held_up, 1);
    EXPECT_GT(consumer.waits(), 1'500U) << stop;
  }
}

TEST(Coalescing, FollowsSendersThatChange) {
  Consumer consumer;
  consumer.burst();
  for (int i = 0; i < 5; ++i) {
    consumer.consume(60., 100'000);
    EXPECT_LT(consumer.waits(), 1'000U);
    consumer.consume(held_up, 100'000);
    EXPECT_GT(consumer.waits(), 1'500U);
  }
  consumer.consume(1'000., 100);
  EXPECT_TRUE(consumer.rule.hastes());
  consumer.consume(held_up, 2'000);
  EXPECT_GT(consumer.waits(), 1'500U) << "sooner after a pause";
}

// A hold-up of the senders while half is tried makes it look bad, and one at another time makes it look good.
TEST(Coalescing, GetsOverMistakes) {
  Consumer consumer;
  int polls = 0;
  const auto now_and_then_nothing = [&](double wait) { return ++polls % 1'500 < 40 ? 300 : held_up(wait); };
  double records = 0;
  for (int i = 0; i < 100'000; ++i) {
    consumer.consume(now_and_then_nothing, 1);
    records += 1 / held_up(static_cast<double>(consumer.waits())) / 100'000;
  }
  EXPECT_GT(records, 1. / 8 * 0.85) << "of what the longest wait would bring";
}

TEST(Coalescing, DoesNotWaitWhereRecordsComeSlowly) {
  for (const double gap : {200., 250., 1'000., 100'000.}) {
    Consumer consumer;
    consumer.consume(gap, 100);
    EXPECT_TRUE(consumer.rule.hastes()) << gap;
    consumer.consume(8., 100);
    EXPECT_FALSE(consumer.rule.hastes());
    consumer.consume(gap, 100);
    EXPECT_TRUE(consumer.rule.hastes()) << "behind a burst, every " << gap << " ns";
    EXPECT_EQ(consumer.rule.before_look(), 0U);
  }
}

Coalescing::Waited waited(const Coalescing& coalescing, std::uint64_t pause = kPause) {
  return {coalescing.before_look() * pause, 0};
}
Coalescing one_that_waits(std::size_t most = kMost) {
  Coalescing coalescing(true);
  for (int i = 0; i < 9; ++i) coalescing.had(most - 1, false, waited(coalescing), false);
  return coalescing;
}

TEST(Coalescing, BehindAFullBatchThereIsMore) {
  Coalescing coalescing = one_that_waits();
  const std::uint32_t before = coalescing.before_look();
  EXPECT_GT(before, 0U);
  coalescing.had(kMost, true, {before * kPause, 0}, false);
  EXPECT_EQ(coalescing.before_look(), 0U);
  coalescing.had(kMost, true, {}, false);
  EXPECT_EQ(coalescing.before_look(), 0U);
  coalescing.had(kMost - 1, false, {}, false);
  EXPECT_EQ(coalescing.before_look(), before);
}

// Bursts with nothing in between, of just as many as are taken at once: each wait is in vain.
TEST(Coalescing, FullBatchesNowAndThenAreNotWaitedFor) {
  Coalescing coalescing = one_that_waits();
  for (int i = 0; i < 20; ++i) coalescing.had(kMost, true, waited(coalescing), true);
  EXPECT_TRUE(coalescing.hastes());
}

TEST(Coalescing, BatchesOfOne) {
  Coalescing coalescing(true);
  for (int i = 0; i < 5; ++i) coalescing.had(0, false, {}, true);
  for (int i = 0; i < 5; ++i) coalescing.had(1, true, {}, true);
  EXPECT_EQ(coalescing.between_looks(), 1U);
}

TEST(Coalescing, WaitsInVainBecomeShort) {
  Coalescing coalescing = one_that_waits();
  for (int i = 0; i < 20; ++i) coalescing.had(0, false, waited(coalescing), true);
  EXPECT_EQ(coalescing.between_looks(), 1U);
  coalescing = one_that_waits();
  for (int i = 0; i < 20; ++i) coalescing.had(0, false, {}, true);  // polls that may not wait
  EXPECT_EQ(coalescing.between_looks(), 1U);
}

TEST(Coalescing, PausesOfAnyLength) {
  for (const std::uint64_t pause : {1U, 3U, 26U, 50U, 1'000U, 100'000U}) {
    Coalescing coalescing(true);
    std::uint64_t now = 1;
    for (int i = 0; i < 10'000; ++i) {
      Coalescing::Waited before = waited(coalescing, pause);
      now += before.ns + 30;
      if (before.ns != 0) before.until = now;
      coalescing.had(kMost - 1, false, before, false);
      EXPECT_LE(coalescing.before_look() * pause, std::max(Coalescing::kLongestWait, 8 * pause)) << pause;
    }
  }
}

// Counters of two cores may differ, and one may be set back.
TEST(Coalescing, ACounterThatJumps) {
  Coalescing coalescing(true);
  std::uint64_t word = 1;
  for (int i = 0; i < 100'000; ++i) {
    word = word * 6364136223846793005U + 1442695040888963407U;
    Coalescing::Waited before = waited(coalescing);
    if (before.ns != 0) before.until = word | 1;
    coalescing.had((word >> 33) % kMost, false, before, (word >> 60) == 0);
    EXPECT_LE(coalescing.before_look() * kPause, Coalescing::kLongestWait);
    EXPECT_GE(coalescing.between_looks(), 1U);
  }
}

TEST(Coalescing, Off) {
  Consumer consumer;
  consumer.rule = Coalescing(false);
  consumer.consume(8., 100);
  EXPECT_EQ(consumer.rule.before_look(), 0U);
  EXPECT_EQ(consumer.rule.between_looks(), 1U);
}

}  // namespace
}  // namespace arus::test
