// Files, segments, locks and leases: what the kernel is asked for, and each error.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "platform/fork.h"
#include "platform/lease.h"
#include "platform/segment.h"
#include "support.h"

namespace arus::test {
namespace {

using platform::Access;
using platform::FileLock;
using platform::Held;
using platform::Lease;
using platform::Leases;
using platform::Segment;

// ---- files ---------------------------------------------------------------------------------------------------------------------

TEST(PlatformFile, ModesAreExactWhateverTheUmask) {
  const Directory directory;
  const mode_t old = umask(0777);
  auto file = platform::create_file(directory / "file", {.mode = 0642});
  auto made = platform::make_directory(directory / "directory", {.mode = 01777});
  umask(old);
  ASSERT_TRUE(good(file));
  ASSERT_TRUE(good(made));
  struct stat status {};
  stat((directory / "file").c_str(), &status);
  EXPECT_EQ(status.st_mode & 07777, 0642u);
  stat((directory / "directory").c_str(), &status);
  EXPECT_EQ(status.st_mode & 07777, 01777u);
}

TEST(PlatformFile, ErrorsNameCallAndPath) {
  const Directory directory;
  EXPECT_TRUE(fails(platform::open_file(directory / "none", O_RDONLY), Errc::not_found, {"open", directory / "none"}));
  must(platform::create_file(directory / "file", {}));
  EXPECT_TRUE(fails(platform::create_file(directory / "file", {}), Errc::already_exists, {"create", directory / "file"}));
  EXPECT_TRUE(fails(platform::make_directory(directory / "file/x", {}), Errc::not_found, {"create directory"}));
  EXPECT_TRUE(fails(platform::group_id("no-such-group"), Errc::invalid_argument, {"no-such-group", "getent group"}));
  EXPECT_EQ(must(platform::group_id("")), -1);
  EXPECT_EQ(must(platform::group_id("17")), 17);
  EXPECT_EQ(must(platform::group_id("root")), 0);
}

TEST(PlatformFile, APermissionErrorNamesOwnerAndMode) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become nobody";
  const Directory directory;
  chmod(directory.path().c_str(), 0755);
  must(platform::create_file(directory / "secret", {.mode = 0640}));
  EXPECT_EQ(as_nobody([&] {
              EXPECT_TRUE(fails(platform::open_file(directory / "secret", O_RDONLY), Errc::permission_denied,
                                {directory / "secret", "root:root", "0640", "ask its owner"}));
              EXPECT_TRUE(fails(platform::create_file(directory / "mine", {}), Errc::permission_denied, {"0755"}));
            }),
            0);
}

// ---- segments ------------------------------------------------------------------------------------------------------------------

TEST(PlatformSegment, IsReservedAndZero) {
  const Directory directory;
  const Segment segment = must(Segment::create(directory / "s", 3 << 20, {.mode = 0600}));
  struct stat status {};
  stat((directory / "s").c_str(), &status);
  EXPECT_EQ(status.st_size, 3 << 20);
  EXPECT_GE(status.st_blocks * 512, 3 << 20) << "every page is reserved";
  for (std::size_t i = 0; i < segment.size(); i += 4096) ASSERT_EQ(segment.data()[i], std::byte{0});
  EXPECT_TRUE(fails(Segment::create(directory / "s", 4096, {}), Errc::already_exists));
}

TEST(PlatformSegment, TwoMappingsShareTheFile) {
  const Directory directory;
  const Segment one = must(Segment::create(directory / "s", 8192, {}));
  const Segment two = must(Segment::open(directory / "s", Access::read));
  one.data()[5000] = std::byte{7};
  EXPECT_EQ(two.data()[5000], std::byte{7});
  unlink((directory / "s").c_str());
  one.data()[5001] = std::byte{8};
  EXPECT_EQ(two.data()[5001], std::byte{8}) << "deleted, and still there for those who have it";
}

TEST(PlatformSegment, MirrorsItsEnd) {
  const Directory directory;
  constexpr std::size_t kPage = 64 << 10;
  must(Segment::create(directory / "s", 3 * kPage, {}));
  for (const bool populate : {false, true}) {
    const Segment segment = must(Segment::open_mirrored(directory / "s", Access::write, kPage, populate));
    EXPECT_EQ(segment.size(), 3 * kPage);
    std::byte* const data = segment.data();
    data[3 * kPage] = std::byte{1};  // the mirror's first byte
    EXPECT_EQ(data[kPage], std::byte{1});
    data[3 * kPage - 1] = std::byte{2};
    EXPECT_EQ(data[5 * kPage - 1], std::byte{2});
    std::memset(data + 3 * kPage - 8, 0x33, 16);  // over the end in one go
    EXPECT_EQ(data[kPage + 7], std::byte{0x33});
    EXPECT_EQ(data[kPage + 8], std::byte{0});
    EXPECT_EQ(data[0], std::byte{0}) << "what is before the ring has no mirror";
    std::memset(data, 0, 3 * kPage);
  }
}

TEST(PlatformSegment, WhatCannotBeMappedIsNamed) {
  const Directory directory;
  const auto open = [](const std::string& path) { return Segment::open(path, Access::read); };
  EXPECT_TRUE(fails(open(directory / "none"), Errc::not_found, {directory / "none"}));
  must(platform::create_file(directory / "empty", {}));
  EXPECT_TRUE(fails(open(directory / "empty"), Errc::corrupt, {directory / "empty", "truncated"}));
  EXPECT_TRUE(fails(open(directory.path()), Errc::corrupt, {"not a file"}));
  must(Segment::create(directory / "s", 12288, {}));
  for (const std::size_t at : {std::size_t{12288}, std::size_t{16384}, std::size_t{100}})
    EXPECT_TRUE(fails(Segment::open_mirrored(directory / "s", Access::read, at, false), Errc::corrupt, {"12288", "truncated"}));
  truncate((directory / "s").c_str(), 5000);
  EXPECT_TRUE(fails(Segment::open_mirrored(directory / "s", Access::read, 4096, false), Errc::corrupt, {"5000"}));
}

TEST(PlatformSegment, NeedAndHaveWhenThereIsNoSpace) {
  const Directory directory;
  const int code = in_child([&] {
    if (!mount_own_tmpfs(directory.path(), "size=1m")) _exit(kNotPermitted);
    EXPECT_EQ(platform::space_left(directory.path()), 1u << 20);
    EXPECT_TRUE(fails(Segment::create(directory / "s", 2 << 20, {}), Errc::no_space, {directory / "s", "2097152", "1048576"}));
    EXPECT_FALSE(platform::exists(directory / "s"));
    EXPECT_TRUE(good(Segment::create(directory / "t", 1 << 20, {})));
  });
  if (code == kNotPermitted) GTEST_SKIP() << "may not mount a tmpfs of its own (needs CAP_SYS_ADMIN)";
  EXPECT_EQ(code, 0);
}

// ---- locks ---------------------------------------------------------------------------------------------------------------------

TEST(PlatformLock, IsOnePerByteEvenWithinAProcess) {
  const Directory directory;
  must(platform::create_file(directory / "f", {}));
  auto lock = FileLock::try_lock(directory / "f", 0);
  ASSERT_TRUE(good(lock));
  EXPECT_TRUE(fails(FileLock::try_lock(directory / "f", 0), Errc::in_use));
  EXPECT_TRUE(good(FileLock::try_lock(directory / "f", 1)));
  EXPECT_EQ(in_child([&] { EXPECT_TRUE(fails(FileLock::try_lock(directory / "f", 0), Errc::in_use)); }), 0);
  const auto file = must(platform::open_file(directory / "f", O_RDONLY));
  EXPECT_EQ(platform::is_locked(file.get(), 0), Held::yes);
  EXPECT_EQ(platform::is_locked(file.get(), 1), Held::no);
  EXPECT_EQ(platform::is_locked(-1, 0), Held::unknown);
  {
    const FileLock moved = std::move(*lock);
    EXPECT_TRUE(fails(FileLock::try_lock(directory / "f", 0), Errc::in_use));
  }
  EXPECT_TRUE(good(FileLock::try_lock(directory / "f", 0)));
}

TEST(PlatformLock, WaitsForAWhileAndSaysSo) {
  const Directory directory;
  must(platform::create_file(directory / "f", {}));
  {
    const auto lock = must(FileLock::try_lock(directory / "f", 0));
    EXPECT_TRUE(fails(FileLock::lock(directory / "f", 0, 20'000'000), Errc::timed_out, {directory / "f", "20 ms", "stopped"}));
  }
  EXPECT_TRUE(good(FileLock::lock(directory / "f", 0, 0)));
  EXPECT_TRUE(fails(FileLock::lock(directory / "none", 0, 1'000'000), Errc::not_found));
}

TEST(PlatformLock, IsReleasedByDeath) {
  const Directory directory;
  must(platform::create_file(directory / "f", {}));
  Child child([&](const Child::Side& side) {
    const auto lock = must(FileLock::try_lock(directory / "f", 0));
    side.arrive_and_wait();
  });
  ASSERT_TRUE(child.await());
  child.stop();
  EXPECT_TRUE(fails(FileLock::try_lock(directory / "f", 0), Errc::in_use)) << "stopped is not dead";
  child.kill();
  EXPECT_TRUE(good(FileLock::try_lock(directory / "f", 0)));
}

// A child that was forked while the lock was held shares its open file description; it must not keep the lock.
TEST(PlatformLock, DoesNotLiveOnInAForkedChild) {
  const Directory directory;
  platform::fork_generation();
  must(platform::create_file(directory / "f", {}));
  std::optional<FileLock> lock = must(FileLock::try_lock(directory / "f", 0));
  Child child([](const Child::Side& side) { side.arrive_and_wait(); });
  ASSERT_TRUE(child.await());
  lock.reset();
  EXPECT_TRUE(good(FileLock::try_lock(directory / "f", 0)));
  child.go_on();
  EXPECT_EQ(child.join(), 0);
}

// An application's handlers of fork() that were there first run while this thread holds what the library's hold.
std::string locked_by_handlers;  // "": nothing is
void lock_it() {
  if (locked_by_handlers.empty()) return;
  EXPECT_TRUE(good(FileLock::try_lock(locked_by_handlers, 0)));
  EXPECT_NE(platform::fork_generation(), 0u);
}
const int kHandlers = pthread_atfork(lock_it, lock_it, lock_it);

TEST(PlatformLock, IsTakenInHandlersOfForkAsWell) {
  ASSERT_EQ(kHandlers, 0);
  const Directory directory;
  must(platform::create_file(directory / "f", {}));
  must(platform::create_file(directory / "g", {}));
  locked_by_handlers = directory / "f";
  EXPECT_EQ(in_child([&] {
              locked_by_handlers.clear();
              EXPECT_TRUE(good(FileLock::try_lock(directory / "g", 0)));
            }),
            0);
  locked_by_handlers.clear();
  EXPECT_EQ(in_child([] {}), 0) << "and nothing is held for ever";
}

// Another thread may be in the middle of taking or of giving up a lock when this one forks.
TEST(PlatformLock, NoChildHasItsFileWheneverItIsForked) {
  const Directory directory;
  const std::string created = directory / "f";
  must(platform::create_file(created, {}));
  const std::filesystem::path path = std::filesystem::canonical(created);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> taken{0};
  std::thread locks([&] {
    while (!stop) {
      if (const auto lock = FileLock::try_lock(path, 0)) ++taken;  // else a child has it still, for a moment
    }
  });
  while (taken == 0) std::this_thread::yield();
  int with_it = 0;
  for (int i = 0; i < 300; ++i)
    with_it += in_child([&] {
                 for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
                   std::error_code gone;  // the directory's own
                   EXPECT_NE(std::filesystem::read_symlink(entry.path(), gone), path);
                 }
               }) != 0;
  stop = true;
  locks.join();
  EXPECT_EQ(with_it, 0);
}

// ---- leases --------------------------------------------------------------------------------------------------------------------

class PlatformLease : public testing::Test {
 protected:
  PlatformLease() : leases_(must(Leases::open(directory_.path()))) {}
  // A child with a lease; its incarnation is the one name in the directory that was not there before.
  std::uint64_t incarnation_of(const Child& child) {
    if (!child.await()) throw std::runtime_error("the child died");
    for (const std::string& name : must(platform::list_directory(directory_.path()))) {
      const std::uint64_t incarnation = std::stoull(name, nullptr, 16);
      if (leases_->describe(incarnation).find("pid " + std::to_string(child.pid())) == 0) return incarnation;
    }
    throw std::runtime_error("no lease of the child");
  }
  static void hold(const std::string& directory, const Child::Side& side) {
    const auto leases = must(Leases::open(directory));
    const auto lease = must(Lease::take(*leases));
    side.arrive_and_wait();
  }
  Directory directory_;
  std::shared_ptr<Leases> leases_;
};

TEST_F(PlatformLease, LivesAsLongAsItIsHeld) {
  auto lease = must(Lease::take(*leases_));
  const std::uint64_t incarnation = lease->incarnation();
  EXPECT_FALSE(leases_->dead(incarnation));
  EXPECT_EQ(leases_->describe(incarnation).find("pid " + std::to_string(getpid()) + " ("), 0u) << leases_->describe(incarnation);
  lease.reset();
  EXPECT_TRUE(leases_->dead(incarnation));
  EXPECT_TRUE(must(platform::list_directory(directory_.path())).empty());
  EXPECT_NE(leases_->describe(incarnation).find("gone"), std::string::npos);
}

TEST_F(PlatformLease, NobodyAndStrangersAreDead) {
  EXPECT_TRUE(leases_->dead(platform::kNoIncarnation));
  EXPECT_TRUE(leases_->dead(0x123456789abcdef));
  EXPECT_EQ(leases_->describe(platform::kNoIncarnation), "nobody");
}

TEST_F(PlatformLease, IncarnationsDiffer) {
  const auto one = must(Lease::take(*leases_));
  const auto two = must(Lease::take(*leases_));
  EXPECT_NE(one->incarnation(), two->incarnation());
  EXPECT_FALSE(leases_->dead(one->incarnation()));
  EXPECT_FALSE(leases_->dead(two->incarnation()));
}

TEST_F(PlatformLease, AStoppedProcessIsAliveAndAKilledOneIsDead) {
  Child child([&](const Child::Side& side) { hold(directory_.path(), side); });
  const std::uint64_t incarnation = incarnation_of(child);
  EXPECT_FALSE(leases_->dead(incarnation));
  child.stop();
  EXPECT_FALSE(leases_->dead(incarnation));
  child.kill();
  EXPECT_TRUE(leases_->dead(incarnation));
  EXPECT_NE(leases_->describe(incarnation).find(", dead"), std::string::npos);
}

TEST_F(PlatformLease, SweepingRemovesTheDeadOnly) {
  const auto mine = must(Lease::take(*leases_));
  Child child([&](const Child::Side& side) { hold(directory_.path(), side); });
  const std::uint64_t dead = incarnation_of(child);
  child.kill();
  std::ofstream(directory_ / "new-0123456789abcdef");  // of a process that died while it made its lease
  leases_->sweep();
  EXPECT_FALSE(platform::exists(leases_->path(dead)));
  EXPECT_FALSE(platform::exists(directory_ / "new-0123456789abcdef"));
  EXPECT_TRUE(platform::exists(leases_->path(mine->incarnation())));
  EXPECT_TRUE(leases_->dead(dead));
  EXPECT_FALSE(leases_->dead(mine->incarnation()));
}

// The child has copies of all descriptors; the parent's lease must not depend on it.
TEST_F(PlatformLease, DoesNotLiveOnInAForkedChild) {
  Child parent([&](const Child::Side& side) {
    const auto leases = must(Leases::open(directory_.path()));
    const auto lease = must(Lease::take(*leases));
    const Child grandchild([](const Child::Side& own) { own.arrive_and_wait(); });
    EXPECT_TRUE(grandchild.await());
    side.arrive();
    side.wait();  // killed here; the grandchild reads end of file and goes too
  });
  const std::uint64_t incarnation = incarnation_of(parent);
  EXPECT_FALSE(leases_->dead(incarnation));
  parent.kill();
  EXPECT_TRUE(leases_->dead(incarnation));
}

TEST_F(PlatformLease, AForkedChildDoesNotEndItsParentsLease) {
  auto lease = must(Lease::take(*leases_));
  EXPECT_EQ(in_child([&] { lease.reset(); }), 0);
  EXPECT_FALSE(leases_->dead(lease->incarnation()));
  EXPECT_TRUE(platform::exists(leases_->path(lease->incarnation())));
}

TEST_F(PlatformLease, InDoubtNobodyIsDead) {
  const auto lease = must(Lease::take(*leases_));
  std::filesystem::remove_all(directory_.path());
  EXPECT_TRUE(leases_->gone());
  EXPECT_FALSE(leases_->dead(lease->incarnation())) << "the directory was deleted: nothing is known";
}

// ---- fork ----------------------------------------------------------------------------------------------------------------------

TEST(PlatformFork, AChildIsAnotherProcess) {
  const std::uint64_t generation = platform::fork_generation();
  EXPECT_NE(generation, 0u);
  EXPECT_EQ(platform::fork_generation(), generation);
  EXPECT_TRUE(platform::same_process(generation));
  EXPECT_EQ(in_child([&] {
              EXPECT_FALSE(platform::same_process(generation));
              const std::uint64_t own = platform::fork_generation();
              EXPECT_NE(own, generation);
              EXPECT_TRUE(platform::same_process(own));
              EXPECT_FALSE(platform::same_process(generation));
              EXPECT_EQ(in_child([&] { EXPECT_FALSE(platform::same_process(own)); }), 0);
            }),
            0);
  EXPECT_TRUE(platform::same_process(generation));
}

// As where the kernel takes MADV_WIPEONFORK and does nothing.
TEST(PlatformFork, AChildIsAnotherProcessAlsoWithoutTheKernel) {
  const std::uint64_t generation = platform::fork_generation();
  const auto page = reinterpret_cast<std::uintptr_t>(platform::detail::fork_page.load()) & ~std::uintptr_t{4095};
  const auto advise = [&](int advice) { return madvise(reinterpret_cast<void*>(page), 4096, advice); };
  ASSERT_EQ(advise(MADV_KEEPONFORK), 0);
  EXPECT_EQ(in_child([&] {
              EXPECT_FALSE(platform::same_process(generation));
              EXPECT_NE(platform::fork_generation(), generation);
            }),
            0);
  ASSERT_EQ(advise(MADV_WIPEONFORK), 0);
  EXPECT_TRUE(platform::same_process(generation));
}

TEST(PlatformFork, DescriptorsThatAreNotToLiveOnAreClosed) {
  platform::fork_generation();
  const Directory directory;
  auto closed = must(platform::create_file(directory / "closed", {}));
  auto kept = must(platform::create_file(directory / "kept", {}));
  platform::close_in_child(closed.get());
  platform::close_in_child(kept.get());
  platform::keep_in_child(kept.get());
  EXPECT_EQ(in_child([&] {
              EXPECT_EQ(fcntl(closed.get(), F_GETFD), -1);
              EXPECT_NE(fcntl(kept.get(), F_GETFD), -1);
              closed.release();
            }),
            0);
  EXPECT_NE(fcntl(closed.get(), F_GETFD), -1);
  platform::keep_in_child(closed.get());
}

}  // namespace
}  // namespace arus::test
