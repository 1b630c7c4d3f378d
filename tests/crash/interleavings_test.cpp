// Single interleavings that the models found (tests/model) and that no random run meets: at a named point of one process's step another
// takes its own. All in one thread: the kill point's hook is the other process.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "group/cursor.h"
#include "platform/kill_point.h"
#include "unit/ring_support.h"

namespace arus::test {
namespace {

// The first passing of `point` calls `step`, until this ends.
class At {
 public:
  At(std::string_view point, std::function<void()> step) {
    point_ = point;
    step_ = std::move(step);
    platform::kill_hook = [](const char* passed) {
      if (passed != point_ || !step_) return;
      const auto once = std::exchange(step_, nullptr);
      once();
    };
  }
  ~At() {
    platform::kill_hook = nullptr;
    EXPECT_FALSE(std::exchange(step_, nullptr)) << point_ << " was not passed";
  }
  At(const At&) = delete;
  At& operator=(const At&) = delete;

 private:
  inline static std::string_view point_;
  inline static std::function<void()> step_;
};

class Interleavings : public testing::Test {
 protected:
  static constexpr std::uint64_t C = RawRing::kC;
  static constexpr std::int64_t kHour = 3'600'000'000'000;

  // A full ring of settled records of 16 cells.
  void SetUp() override {
    for (std::uint64_t i = 0; i < C / 16; ++i) raw_.record(C + 16 * i, State::committed, 0, 16, i);
    raw_.tail(2 * C, 0, C / 16);
  }
  std::uint64_t room(std::uint64_t need) { return ring::make_room(raw_.ring, need, raw_.alive(), refusal_); }

  RawRing raw_;
  Refusal refusal_;
};

// A producer that looked at the cursors before there was one may raise `low` at any later time. Another that takes its limit must not pair
// that `low` with cursors of before the join (model join.pml, M_CURSORS_FIRST).
TEST_F(Interleavings, AGroupThatJoinsWhileALimitIsTakenIsNotOverrun) {
  std::uint64_t joined = 0;
  const At join("M-limit", [&] {
    joined = ring::join(raw_.ring, raw_.cursor(0), ring::cursor_state(1, ring::CursorStatus::active));
    raw_.low(C + 320);  // by the other producer
  });
  const std::uint64_t limit = room(2 * C + 16);
  EXPECT_LT(joined, C + 320);
  EXPECT_LE(limit, joined + C) << "this producer would write over what the group reads";
}

// A producer has seen the old owner dead, and notes when; by then somebody has taken over (model evict.pml, M_UNTIED). When that one
// dies, an hour passes before it is evicted.
TEST_F(Interleavings, ADeathThatIsNotedLateDoesNotShortenTheGraceOfTheNext) {
  raw_.join(0, C, RawRing::kDead, kHour);
  {
    const At take("M-dead", [&] {
      ASSERT_TRUE(group::take(raw_.cursor(0), raw_.alive(), 1, *raw_.ring.leases));
      const auto taken = group::resume(raw_.ring, raw_.cursor(0), {.grace_ns = kHour});
      EXPECT_EQ(taken.from, group::Resumption::From::committed);
    });
    EXPECT_EQ(room(2 * C + 20), 0u);
  }
  raw_.cursor(0).grace = 0;
  EXPECT_EQ(room(2 * C + 20), 0u) << "the new owner lives";
  raw_.cursor(0).owner = RawRing::kDead;
  raw_.cursor(0).grace = static_cast<std::uint64_t>(kHour);
  const std::uint64_t late = raw_.cursor(0).held_since;
  EXPECT_EQ(room(2 * C + 20), 0u);
  EXPECT_NE(raw_.cursor(0).held_since, late) << "the death of the new owner has a beginning of its own";
}

// A producer that found a live reader where it was a while ago is stopped; when it goes on, the reader has long moved, or stands somewhere else
// for a moment only (model evict.pml, M_CLOCK_LATE).
TEST_F(Interleavings, AReaderThatMovesIsNotEvictedByOneThatLookedLongAgo) {
  raw_.join(0, C, raw_.alive());
  raw_.cursor(0).stall = 50'000'000;
  EXPECT_EQ(room(2 * C + 20), 0u) << "notes since when";
  {
    const At stop("M-dead", [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      raw_.cursor(0).position = C + 320;
    });
    room(2 * C + 20);
  }
  EXPECT_EQ(ring::cursor_status(raw_.cursor(0).state), ring::CursorStatus::active);
}

}  // namespace
}  // namespace arus::test
