// Clocks, bells and wait sets. That no wake-up is lost is shown by thousands of sleeps that would never end by themselves.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

#include "platform/bells.h"
#include "platform/clock.h"
#include "ring/wake.h"
#include "support.h"

namespace arus::test {
namespace {

using platform::Bell;
using platform::Bells;
using platform::Deadline;
using platform::Leases;

// ---- clocks --------------------------------------------------------------------------------------------------------------------

TEST(PlatformClock, StampsRiseWithinAnAnchorAndFollowTheWallClock) {
  platform::Stamper stamper;
  int backwards = 0;
  std::int64_t last = stamper.now();
  const std::int64_t end = platform::boot_time() + 100'000'000;  // 20 anchors
  while (platform::boot_time() < end) {
    const std::int64_t before = platform::wall_time();
    const std::int64_t now = stamper.now();
    const std::int64_t after = platform::wall_time();
    if (after - before < 50'000) {  // not preempted in between
      EXPECT_GE(now, before - 50'000);
      EXPECT_LE(now, after + 50'000);
    }
    if (now < last) {
      ++backwards;
      EXPECT_LT(last - now, 50'000) << "a new anchor may correct by the error of the factor, not by more";
    }
    last = now;
  }
  EXPECT_LE(backwards, 40);
}

TEST(PlatformClock, ADeadlinePassesOnceAndForeverNever) {
  const Deadline past = Deadline::after(-1);
  EXPECT_TRUE(past.passed());
  EXPECT_EQ(past.left(), 0);
  const Deadline hour = Deadline::after(3'600'000'000'000);
  EXPECT_FALSE(hour.passed());
  EXPECT_GT(hour.left(), 3'500'000'000'000);
  EXPECT_FALSE(Deadline::after(std::numeric_limits<std::int64_t>::max()).passed());
}

TEST(PlatformClock, TheBootHasAnId) {
  EXPECT_NE(platform::boot_id(), (std::array<std::uint64_t, 2>{}));
  EXPECT_EQ(platform::boot_id(), platform::boot_id());
}

// ---- bells ---------------------------------------------------------------------------------------------------------------------

constexpr std::int64_t kNever = 3'600'000'000'000;  // ns: a sleep that ends by being woken, or not at all
constexpr std::uint64_t kDead = 0xdead'beef;

class PlatformBells : public testing::Test {
 protected:
  static constexpr std::uint32_t kBells = 70;  // more than one word of a wait set
  PlatformBells() {
    must(platform::make_directory(directory_ / "leases", {.mode = 0700}));
    must(platform::make_directory(directory_ / "fifos", {.mode = 0700}));
    leases_ = must(Leases::open(directory_ / "leases"));
    lease_ = must(platform::Lease::take(*leases_));
    must(Bells::create(directory_ / "bells", kBells, {}));
    bells_ = open();
  }
  std::shared_ptr<Bells> open() { return must(Bells::open(directory_ / "bells", directory_ / "fifos", leases_)); }
  std::unique_ptr<Bell> take(std::uint64_t incarnation = 0) {
    return must(Bell::take(bells_, incarnation != 0 ? incarnation : lease_->incarnation()));
  }
  Directory directory_;
  std::shared_ptr<Leases> leases_;
  std::unique_ptr<platform::Lease> lease_;
  std::shared_ptr<Bells> bells_;
};

TEST_F(PlatformBells, RingingEndsASleep) {
  const auto bell = take();
  const std::uint32_t rings = bell->rings();
  bells_->ring(bell->index());
  bell->sleep(rings, kNever);  // rung since: does not sleep at all
  EXPECT_NE(bell->rings(), rings);
  bells_->ring(kBells);  // there is none: nothing happens
  bells_->ring(~0u);
}

TEST_F(PlatformBells, AreLimitedAndTakenOverFromTheDead) {
  std::vector<std::unique_ptr<Bell>> bells;
  for (std::uint32_t i = 0; i + 1 < kBells; ++i) bells.push_back(take());
  auto dead = take(kDead);
  EXPECT_EQ(take()->index(), dead->index()) << "the dead one's";
  // `dead` gave nothing up; whoever took the bell over has given it back, so it is free now.
  bells.push_back(take());
  EXPECT_TRUE(fails(Bell::take(bells_, lease_->incarnation()), Errc::limit_reached, {"70", "sleepers", directory_ / "bells"}));
  bells.erase(bells.begin() + 3);
  EXPECT_EQ(take()->index(), 3u);
}

TEST_F(PlatformBells, TwoThreadsPingPongWithoutLosingAWakeUp) {
  constexpr int kRounds = 20'000;
  std::vector<std::byte> memory(2 * ring::WaitSet::bytes(kBells) + 64);
  auto* aligned = reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) & ~std::uintptr_t{63});
  const std::array<ring::WaitSet, 2> sets{ring::WaitSet(aligned, bells_.get()),
                                          ring::WaitSet(aligned + ring::WaitSet::bytes(kBells), bells_.get())};
  std::vector<std::unique_ptr<Bell>> others;
  for (int i = 0; i < 60; ++i) others.push_back(take());
  std::array<std::atomic<int>, 2> counts{};
  const auto play = [&](std::size_t me) {
    std::unique_ptr<Bell> bell;
    for (int i = 0; i < 5; ++i) bell = take();  // one in either word of the set, as it comes
    const std::size_t you = 1 - me;
    for (int round = 1; round <= kRounds; ++round) {
      if (me == 0) {
        counts[0].store(round, std::memory_order_release);
        sets[0].wake();
      }
      // The order of ring/wake.h: read the bell, arm, fence (in arm), look again, sleep.
      while (counts[you].load(std::memory_order_acquire) < round) {
        const std::uint32_t rings = bell->rings();
        sets[you].arm(bell->index());
        if (counts[you].load(std::memory_order_acquire) >= round) break;
        bell->sleep(rings, kNever);
      }
      if (me == 1) {
        counts[1].store(round, std::memory_order_release);
        sets[1].wake();
      }
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  EXPECT_EQ(counts[0], kRounds);
  EXPECT_EQ(counts[1], kRounds);
}

TEST_F(PlatformBells, AWaitSetWakesEachWhoArmedOnce) {
  alignas(64) std::array<std::byte, 128> memory{};
  ASSERT_LE(ring::WaitSet::bytes(kBells), memory.size());
  const ring::WaitSet set(memory.data(), bells_.get());
  std::vector<std::unique_ptr<Bell>> bells;
  for (std::uint32_t i = 0; i < kBells; ++i) bells.push_back(take());
  std::vector<std::uint32_t> before;
  for (const auto& bell : bells) before.push_back(bell->rings());
  for (const std::uint32_t i : {0u, 64u, 69u}) set.arm(bells[i]->index());
  set.wake();
  set.wake();
  for (std::uint32_t i = 0; i < kBells; ++i) EXPECT_EQ(bells[i]->rings() - before[i], i == 0 || i == 64 || i == 69 ? 1u : 0u) << i;
  // Noise where the flags are rings whom it may, and nobody else.
  memory.fill(std::byte{0xff});
  set.wake();
  EXPECT_EQ(bells[5]->rings() - before[5], 1u);
  ring::WaitSet().wake();  // no flags, nobody to wake
}

TEST_F(PlatformBells, ADescriptorWakesEpoll) {
  const auto bell = take();
  const int descriptor = must(bell->descriptor());
  EXPECT_EQ(must(bell->descriptor()), descriptor) << "the same every time";
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{EPOLLIN, {}};
  ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event), 0);
  EXPECT_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  const auto elsewhere = open();  // as another process would
  std::thread other([&] { elsewhere->ring(bell->index()); });
  EXPECT_EQ(epoll_wait(epoll, &event, 1, -1), 1);
  other.join();
  bell->drain();
  EXPECT_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  for (int i = 0; i < 100'000; ++i) elsewhere->ring(bell->index());  // a full FIFO is no obstacle
  EXPECT_EQ(epoll_wait(epoll, &event, 1, 0), 1);
  bell->drain();
  EXPECT_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  close(epoll);
}

TEST_F(PlatformBells, AFifoGoesWithItsBell) {
  auto bell = take();
  must(bell->descriptor());
  EXPECT_EQ(must(platform::list_directory(directory_ / "fifos")).size(), 1u);
  const std::uint32_t index = bell->index();
  bells_->ring(index);
  bell.reset();
  EXPECT_TRUE(must(platform::list_directory(directory_ / "fifos")).empty());
  bells_->ring(index);  // nobody's now
  // Of a reader that died: the next owner of the bell removes it.
  Child child([&](const Child::Side& side) {
    const auto lease = must(platform::Lease::take(*leases_));
    const auto own = must(Bell::take(bells_, lease->incarnation()));
    must(own->descriptor());
    side.arrive_and_wait();
  });
  ASSERT_TRUE(child.await());
  child.kill();
  EXPECT_EQ(must(platform::list_directory(directory_ / "fifos")).size(), 1u);
  bells_->ring(index);  // no SIGPIPE
  std::vector<std::unique_ptr<Bell>> all;
  for (std::uint32_t i = 0; i < kBells; ++i) all.push_back(take());
  EXPECT_TRUE(must(platform::list_directory(directory_ / "fifos")).empty());
}

TEST_F(PlatformBells, AForkedChildLeavesItAlone) {
  auto bell = take();
  must(bell->descriptor());
  EXPECT_EQ(in_child([&] { bell.reset(); }), 0);
  EXPECT_EQ(must(platform::list_directory(directory_ / "fifos")).size(), 1u);
  EXPECT_NE(take()->index(), bell->index());
}

TEST_F(PlatformBells, ABadSegmentIsNamed) {
  const std::string path = directory_ / "bells";
  const auto patched = [&](off_t at, std::uint32_t value) {
    const auto file = must(platform::open_file(path, O_RDWR));
    std::uint32_t old = 0;
    EXPECT_EQ(pread(file.get(), &old, 4, at), 4);
    EXPECT_EQ(pwrite(file.get(), &value, 4, at), 4);
    auto result = Bells::open(path, directory_ / "fifos", leases_);
    EXPECT_EQ(pwrite(file.get(), &old, 4, at), 4);
    return result;
  };
  EXPECT_TRUE(fails(patched(0, 1), Errc::corrupt, {path, "magic"}));
  EXPECT_TRUE(fails(patched(8, 77), Errc::version_mismatch, {path, "77"}));
  EXPECT_TRUE(fails(patched(12, 71), Errc::corrupt, {path, "71", "truncated"}));
  truncate(path.c_str(), 20);
  EXPECT_TRUE(fails(Bells::open(path, directory_ / "fifos", leases_), Errc::corrupt, {path, "truncated"}));
}

}  // namespace
}  // namespace arus::test
