// Whether the harness notices what it promises to notice: a benchmark that counts messages which did not arrive is worse than
// none.
#include "harness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "controls.h"
#include "controls_kernel.h"
#include "histogram.h"
#include "message.h"
#include "report.h"
#include "schedule.h"
#include "suite.h"
#include "workloads.h"

namespace bench {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kUnluckyMessage = 10;

enum class Mistake { none, loses, doubles, tears, truncates, stops, dies };

// A good transport whose sender makes one mistake at the unlucky message.
template <Mistake kMistake>
class Mistaken {
 public:
  static constexpr std::size_t kBytes = 64;
  using Good = BareRing<kBytes, PauseWait>;

  explicit Mistaken(const Shape& shape) : good_(shape) {}

  struct Sender {
    typename Good::Sender good;
    std::array<std::byte, kBytes> held{};

    bool try_send(Bytes message) {
      if (Ticket::of(message).sequence() != kUnluckyMessage) return good.try_send(message);
      switch (kMistake) {
        case Mistake::loses: return true;
        case Mistake::doubles: return good.try_send(message) && good.try_send(message);
        case Mistake::tears:
          std::memcpy(held.data(), message.data(), kBytes);
          held[kBytes - 1] ^= std::byte{1};
          return good.try_send(held);
        case Mistake::stops:
          for (;;) ::pause();
        case Mistake::dies: ::raise(SIGKILL); return false;
        default: return good.try_send(message);
      }
    }
  };

  struct Receiver {
    typename Good::Receiver good;
    template <class Each>
    std::size_t poll(Each&& each) {
      return good.poll([&](Bytes message) {
        const bool shorten = kMistake == Mistake::truncates && Ticket::of(message).sequence() == kUnluckyMessage;
        each(shorten ? message.first(kBytes / 2) : message);
      });
    }
  };
  Sender sender() { return {good_.sender()}; }
  Receiver receiver() { return {good_.receiver()}; }

 private:
  Good good_;
};

RunConfig brief() { return {.cpus = choose_cpus(), .segment_ns = 5e6, .timeout_ns = 20e9}; }

std::string failure_of(const Contestant& contestant, RunConfig config = brief()) {
  try {
    run({contestant}, config);
    return "";
  } catch (const Failure& failure) {
    return failure.what();
  }
}

template <Mistake kMistake>
Contestant mistaken() {
  return contestant<OneWay<Mistaken<kMistake>>>("unlucky", {.bytes = 64});
}

class HarnessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (choose_cpus().size() < 2) GTEST_SKIP() << "needs two cores";
  }
  void TearDown() override {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(errno, ECHILD);
  }
};

TEST_F(HarnessTest, RunsBothSegmentsAndProbesAroundThem) {
  const RunOutcome outcome = run({mistaken<Mistake::none>(), bare(64)}, brief());
  ASSERT_EQ(outcome.segments.size(), 2u);
  ASSERT_EQ(outcome.probes_ns.size(), 3u);
  for (const double ns : outcome.probes_ns) EXPECT_GT(ns, 1);
  for (const SegmentOutcome& segment : outcome.segments) {
    EXPECT_GT(segment.messages, kUnluckyMessage);
    ASSERT_EQ(segment.metrics.size(), 1u);
    EXPECT_GT(segment.metrics[0].value, 0);
  }
}

TEST_F(HarnessTest, NoticesALostMessage) {
  EXPECT_THAT(failure_of(mistaken<Mistake::loses>()),
              HasSubstr("unlucky, role 1, running: message 11 of sender 0 where 10 was due"));
}
TEST_F(HarnessTest, NoticesADoubledMessage) {
  EXPECT_THAT(failure_of(mistaken<Mistake::doubles>()), HasSubstr("message 10 of sender 0 where 11 was due"));
}
TEST_F(HarnessTest, NoticesATornMessage) {
  EXPECT_THAT(failure_of(mistaken<Mistake::tears>()), HasSubstr("message 10 of sender 0 is not whole"));
}
TEST_F(HarnessTest, NoticesAShortenedMessage) {
  EXPECT_THAT(failure_of(mistaken<Mistake::truncates>()), HasSubstr("a message of 32 bytes instead of 64"));
}
TEST_F(HarnessTest, KillsAndNamesWhatHangs) {
  RunConfig config = brief();
  config.timeout_ns = 1e9;
  EXPECT_THAT(failure_of(mistaken<Mistake::stops>(), config),
              AllOf(HasSubstr("unlucky: hung"), HasSubstr("role 0 was running, role 1 was running")));
}
TEST_F(HarnessTest, NamesWhatDies) {
  EXPECT_THAT(failure_of(mistaken<Mistake::dies>()), HasSubstr("unlucky, role 0, running: killed by signal 9"));
}

TEST_F(HarnessTest, ReportsWhatAttachingThrows) {
  struct Unwilling : Segment {
    void attach(std::size_t) override { throw std::runtime_error("no wish to"); }
    void run(std::size_t, Recorder&) override {}
    void detach(std::size_t) override {}
    std::vector<Metric> metrics(const std::vector<const RoleResult*>&) const override { return {}; }
  };
  EXPECT_THAT(failure_of({"unlucky", [] { return std::make_unique<Unwilling>(); }}), HasSubstr("attaching: no wish to"));
}

// More roles than cores: barriers sleep, everybody learns what role 0 said, and being kept off the cores is no reason to drop anything.
TEST_F(HarnessTest, MoreRolesThanCoresMeet) {
  struct Crowd : Segment {
    std::size_t roles() const noexcept override { return 7; }
    void attach(std::size_t) override {}
    void run(std::size_t role, Recorder& recorder) override {
      for (std::uint64_t i = 1; i <= 50; ++i) {
        if (recorder.agree(role, role == 0 ? i << 40 : 0) != i << 40) fail("not what role 0 said");
        recorder.meet();
      }
      recorder.result.received = 1;
    }
    void detach(std::size_t) override {}
    std::vector<Metric> metrics(const std::vector<const RoleResult*>&) const override { return {{"rate", "M/s", 1}}; }
  };
  RunConfig config = brief();
  config.cpus.resize(2);
  const RunOutcome outcome = run({{"crowd", [] { return std::make_unique<Crowd>(); }}}, config);
  EXPECT_EQ(outcome.segments[0].messages, 7u);
  EXPECT_NE(outcome.segments[0].verdict, Verdict::preempted);
}

TEST_F(HarnessTest, AnInterruptEndsTheChildren) {
  watch_for_interrupt();
  RunConfig config = brief();
  config.segment_ns = 10e9;
  std::thread interrupter([parent = ::getpid()] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ::kill(parent, SIGINT);
  });
  EXPECT_THROW(run({bare(64)}, config), Interrupted);
  interrupter.join();
}

TEST(MessageTest, EveryMessageOfEverySizeIsWholeAndDifferent) {
  for (const std::size_t bytes : {16u, 32u, 64u, 256u, 4096u, 65536u, 1u << 20}) {
    for (const std::size_t batch : {1u, 32u}) {
      if (batch * bytes > 1 << 20) continue;
      MessageSource source(bytes, batch);
      MessageCheck check(bytes);
      for (std::uint64_t i = 0; i < 5; ++i) {
        for (const Bytes message : source.take_batch()) EXPECT_FALSE(check(message));
      }
      EXPECT_TRUE(check(source.last()));
      EXPECT_EQ(check.next(), 5 * batch + 2);
    }
  }
}

TEST(MessageTest, OnlyWhatWasReportedAsLostMayBeMissing) {
  MessageSource source(64);
  MessageCheck check(64);
  EXPECT_FALSE(check(source.take()));
  for (int lost = 0; lost < 5; ++lost) source.take();
  check.lost(2, 7);
  EXPECT_FALSE(check(source.take()));
  EXPECT_THROW(check.lost(7, 9), Failure);  // it is 8 that is due
  EXPECT_THROW(check.lost(9, 10), Failure);
  EXPECT_THROW(check.lost(8, 8), Failure);
}
TEST(MessageTest, WhereOthersReadTheRestNumbersRise) {
  MessageSource source(64);
  MessageCheck check(64);
  check.allow_holes();
  for (const std::uint64_t skipped : {0u, 3u, 1u}) {
    for (std::uint64_t i = 0; i < skipped; ++i) source.take();
    EXPECT_FALSE(check(source.take()));
  }
  EXPECT_EQ(check.next(), 8u);
  EXPECT_TRUE(check(source.last()));
}

TEST(HistogramTest, AddsUp) {
  Histogram low;
  Histogram high;
  for (int i = 0; i < 100; ++i) {
    low.add(10);
    high.add(1000);
  }
  low.add(high);
  EXPECT_EQ(low.total(), 200u);
  EXPECT_EQ(low.quantile(0.5), 10);
  EXPECT_NEAR(low.quantile(0.51), 1000, 5);
}

TEST(HistogramTest, QuantilesAreExactToHalfAPercent) {
  Histogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), 0);
  for (std::uint64_t value = 1; value <= 1'000'000; ++value) histogram.add(value);
  for (const double share : {0.001, 0.5, 0.99, 0.999}) {
    EXPECT_NEAR(histogram.quantile(share) / (share * 1e6), 1, 0.005) << share;
  }
  Histogram extreme;
  extreme.add(UINT64_MAX);
  EXPECT_GT(extreme.quantile(0.5), 1e12);
}

TEST(SamplesTest, MedianAndQuartilesNeedFiveValuesToBeEstablished) {
  Samples samples;
  for (const double value : {4.0, 1.0, 3.0, 2.0}) samples.add(value);
  EXPECT_FALSE(samples.established());
  samples.add(5);
  EXPECT_TRUE(samples.established());
  EXPECT_EQ(samples.median(), 3);
  EXPECT_EQ(samples.quantile(0.25), 2);
  EXPECT_EQ(samples.quantile(0.75), 4);
}

TEST(RegimeTest, FollowsTheRoundTripOfOneLine) {
  EXPECT_EQ(regime_of(30), Regime::sibling);
  EXPECT_EQ(regime_of(70), Regime::near);
  EXPECT_EQ(regime_of(300), Regime::far);
}

// A row counts ratios only of segments that were both valid, in the same regime.
TEST(ReportTest, PairsOnlyValidSegmentsOfOneRegime) {
  const Pair pair{"scenario", {"mine", {}}, Contestant{"control", {}}};
  const auto segment = [](Verdict verdict, Regime regime, double ns) {
    return SegmentOutcome{verdict, regime, {{"p50", "ns", ns}}, 10};
  };
  Report report({pair});
  for (int i = 0; i < 5; ++i) {
    const auto good =
        report.add(pair, {{segment(Verdict::valid, Regime::near, 200), segment(Verdict::valid, Regime::near, 100)}, {70, 70, 70}});
    EXPECT_EQ(good, Regime::near);
    const auto moved =
        report.add(pair, {{segment(Verdict::valid, Regime::near, 900), segment(Verdict::valid, Regime::far, 100)}, {70, 70, 300}});
    EXPECT_EQ(moved, std::nullopt);
    const auto preempted = report.add(
        pair, {{segment(Verdict::valid, Regime::near, 900), segment(Verdict::preempted, Regime::near, 1)}, {70, 70, 70}});
    EXPECT_EQ(preempted, std::nullopt);
  }
  const nlohmann::ordered_json json = report.json({});
  const auto& mine = json["results"][1];
  EXPECT_EQ(mine["transport"], "mine");
  EXPECT_EQ(mine["regimes"]["near"]["values"]["p50"]["repetitions"], 15);
  EXPECT_EQ(mine["regimes"]["near"]["ratios"]["control"]["p50"]["repetitions"], 5);
  EXPECT_EQ(mine["regimes"]["near"]["ratios"]["control"]["p50"]["median"], 2.0);
  EXPECT_EQ(json["segments"]["preempted"], 5);
  EXPECT_EQ(json["messages"], 300);
}

// As on a machine that is near nearly always: the little that it is far goes to what lacks it, one after the other.
TEST(ScheduleTest, WhatIsNotEstablishedInARegimeComesFirstWhereTheMachineIsInIt) {
  const std::vector<Weight> weights{kForOrientation, kRival, kRival, kFigure, kFigure};
  Schedule schedule(weights, 1);
  std::array<std::array<int, 5>, kRegimes.size()> runs{};
  for (int run = 0; run < 100; ++run) {
    const Regime now = run % 7 == 0 ? Regime::far : Regime::near;  // 15 times
    const std::size_t pair = schedule.next(now);
    schedule.note(pair, now, now);
    ++runs[static_cast<std::size_t>(now)][pair];
  }
  for (const int near : runs[static_cast<std::size_t>(Regime::near)]) EXPECT_GE(near, 5);
  const auto& far = runs[static_cast<std::size_t>(Regime::far)];
  EXPECT_EQ(far[3] + far[4], 10);
  EXPECT_EQ(std::max(far[1], far[2]), 5);
  EXPECT_EQ(far[0], 0);
}

TEST(ScheduleTest, WhatIsAlwaysDroppedKeepsNobodyFromItsTurn) {
  Schedule schedule({kFigure, kFigure}, 1);
  std::array<int, 2> runs{};
  for (int run = 0; run < 300; ++run) {
    const std::size_t pair = schedule.next(Regime::near);
    schedule.note(pair, Regime::near, pair == 0 ? std::nullopt : std::optional(Regime::near));
    ++runs[pair];
  }
  EXPECT_GT(runs[0], 20);
  EXPECT_GT(runs[1], 20);
}

TEST(ReportTest, AddsTheLatenciesOfValidSegmentsUpToACurve) {
  const Pair pair{"scenario", {"mine", {}}, {}};
  const auto outcome = [](Verdict verdict, std::uint64_t ticks) {
    auto latencies = std::make_shared<Histogram>();
    for (int i = 0; i < 100; ++i) latencies->add(ticks);
    return RunOutcome{{{verdict, Regime::near, {{"p50", "ns", 1}}, 100, latencies}}, {70, 70}};
  };
  Report report({pair});
  report.add(pair, outcome(Verdict::valid, 1000));
  report.add(pair, outcome(Verdict::valid, 3000));
  report.add(pair, outcome(Verdict::preempted, 1'000'000));
  const nlohmann::ordered_json json = report.json({});
  const auto& curve = json["results"][0]["regimes"]["near"]["curve"];
  EXPECT_EQ(curve["count"], 200);
  const auto& points = curve["points"];
  EXPECT_EQ(points.front()[0], 0);
  EXPECT_EQ(points.back()[0], 100);
  EXPECT_NEAR(points.back()[1].get<double>(), TickScale::get().ns(3000), 0.01 * TickScale::get().ns(3000));
  for (std::size_t i = 1; i < points.size(); ++i) EXPECT_GE(points[i][0], points[i - 1][0]);
}

}  // namespace
}  // namespace bench
