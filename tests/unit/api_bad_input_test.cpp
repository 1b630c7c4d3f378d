// Bad input: files that are missing, of others, of another version, truncated, overwritten; no permission; no space. Each error has a
// code of its own and names the thing and the remedy; the process lives, and nothing half-created stays.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <set>

#include "api_support.h"
#include "log/checksum.h"
#include "platform/file.h"
#include "ring/layout.h"

namespace arus::test {
namespace {

using ring::PartitionHeader;

class ApiBadInput : public ApiTest {
 protected:
  ApiBadInput() {
    Producer producer = must(create("t", {.partitions = 2}).producer());
    for (std::uint32_t i = 0; i < 2; ++i) must(producer.send(bytes("before"), {.partition = i}));
  }
  [[nodiscard]] std::string file(std::string_view name) const { return path() + "/topics/t/" + std::string(name); }
  static void patch(const std::string& path, std::size_t at, const void* data, std::size_t size) {
    const auto file = must(platform::open_file(path, O_RDWR));
    ASSERT_EQ(pwrite(file.get(), data, size, static_cast<off_t>(at)), static_cast<ssize_t>(size));
  }
  template <class T>
  static void patch(const std::string& path, std::size_t at, const T& value) {
    patch(path, at, &value, sizeof value);
  }
  // Changes a partition's header and makes its checksum fit, so that only the field itself is wrong.
  void patch_header(std::string_view partition, const std::function<void(PartitionHeader&)>& change, bool fit = true) const {
    const auto opened = must(platform::open_file(file(partition), O_RDWR));
    alignas(PartitionHeader) std::array<std::byte, sizeof(PartitionHeader)> bytes{};
    ASSERT_EQ(pread(opened.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    auto& header = *reinterpret_cast<PartitionHeader*>(bytes.data());
    change(header);
    if (fit) header.checksum = log::checksum(&header, offsetof(PartitionHeader, checksum));
    ASSERT_EQ(pwrite(opened.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  // What one gets who comes now, with a bus of his own, and wants to read.
  [[nodiscard]] Result<void> attach() const {
    auto own = Bus::open(path());
    if (!own) return tl::unexpected(own.error());
    auto consumer = own->consumer({.start = Start::earliest});
    if (!consumer) return tl::unexpected(consumer.error());
    return consumer->subscribe({"t"});
  }
  // Everything answers with that error, and the topic can be deleted and made anew, as the remedy says.
  void expect_all_and_remedy(Errc code, std::initializer_list<std::string_view> words) {
    EXPECT_TRUE(fails(attach(), code, words));
    Bus own = must(Bus::open(path()));
    if (auto topic = own.topic("t")) {
      EXPECT_TRUE(fails(topic->producer(), code, words));
      EXPECT_TRUE(fails(topic->describe(), code, words));
    } else {
      EXPECT_TRUE(fails(topic, code, words));
    }
    EXPECT_TRUE(good(own.remove("t")));
    EXPECT_TRUE(good(own.create("t", {.partition_bytes = 64 << 10})));
    EXPECT_TRUE(good(attach()));
  }
};

// ---- the bus -------------------------------------------------------------------------------------------------------------------

TEST_F(ApiBadInput, NoBus) {
  const std::string none = directory_ / "none";
  EXPECT_TRUE(fails(Bus::open(none), Errc::not_found, {none, "arus::Bus::open_or_create"}));
  EXPECT_TRUE(fails(Bus::open(path() + "/topics"), Errc::not_found, {path() + "/topics", "not a bus"}));
  EXPECT_TRUE(fails(Bus::open(path() + "/bus"), Errc::not_found, {path() + "/bus"}));
  EXPECT_TRUE(fails(Bus::create({.directory = none + "/deeper"}), Errc::not_found, {none + "/deeper"}));
  EXPECT_FALSE(platform::exists(none));
}

TEST_F(ApiBadInput, ABusOfAnotherKind) {
  patch(path() + "/bus", 0, 'X');
  EXPECT_TRUE(fails(Bus::open(path()), Errc::corrupt, {path() + "/bus", "magic"}));
  EXPECT_TRUE(fails(Bus::open_or_create({.directory = path()}), Errc::corrupt)) << "not made anew over it";
  patch(path() + "/bus", 0, 'A');
  patch(path() + "/bus", 8, std::uint32_t{9});
  EXPECT_TRUE(fails(Bus::open(path()), Errc::version_mismatch, {path() + "/bus", "9", "1"}));
  truncate((path() + "/bus").c_str(), 7);
  EXPECT_TRUE(fails(Bus::open(path()), Errc::corrupt, {"truncated"}));
}

TEST_F(ApiBadInput, ABusThatLacksParts) {
  std::filesystem::rename(path() + "/leases", path() + "/away");
  EXPECT_TRUE(fails(Bus::open(path()), Errc::not_found, {path() + "/leases"}));
  std::filesystem::rename(path() + "/away", path() + "/leases");
  truncate((path() + "/bells").c_str(), 100);
  EXPECT_TRUE(fails(Bus::open(path()), Errc::corrupt, {path() + "/bells", "truncated"}));
  unlink((path() + "/bells").c_str());
  EXPECT_TRUE(fails(Bus::open(path()), Errc::not_found, {path() + "/bells"}));
}

// ---- a topic's small files -----------------------------------------------------------------------------------------------------

TEST_F(ApiBadInput, IdentityMissing) {
  unlink(file("topic").c_str());
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {path() + "/topics/t", "no file 'topic'", "delete"}));
}
TEST_F(ApiBadInput, IdentityOfAnotherKind) {
  patch(file("topic"), 3, 'X');
  expect_all_and_remedy(Errc::corrupt, {file("topic"), "magic", "delete the topic"});
}
TEST_F(ApiBadInput, IdentityOfAnotherVersion) {
  patch(file("topic"), 8, std::uint32_t{2});
  expect_all_and_remedy(Errc::version_mismatch, {file("topic"), "version 2", "reads 1"});
}
TEST_F(ApiBadInput, IdentityTruncated) {
  truncate(file("topic").c_str(), 100);
  expect_all_and_remedy(Errc::corrupt, {file("topic"), "truncated"});
}
TEST_F(ApiBadInput, IdentityCutToNothing) {
  truncate(file("topic").c_str(), 0);
  expect_all_and_remedy(Errc::corrupt, {file("topic"), "0 bytes", "truncated"});
}
TEST_F(ApiBadInput, IdentityOverwritten) {
  patch(file("topic"), 300, 'X');
  expect_all_and_remedy(Errc::corrupt, {file("topic"), "checksum"});
}
TEST_F(ApiBadInput, WaitsTruncated) {
  truncate(file("waits").c_str(), 4096);
  expect_all_and_remedy(Errc::corrupt, {file("waits"), "truncated"});
}
TEST_F(ApiBadInput, WaitsOfAnotherVersion) {
  patch(file("waits"), 8, std::uint32_t{5});
  expect_all_and_remedy(Errc::version_mismatch, {file("waits"), "version 5"});
}
TEST_F(ApiBadInput, WaitsMissing) {
  unlink(file("waits").c_str());
  EXPECT_FALSE(attach());
  EXPECT_TRUE(good(bus.remove("t")));
}
TEST_F(ApiBadInput, GroupsTruncated) {
  truncate(file("groups").c_str(), 4096);
  Consumer consumer = must(bus.consumer({.group = "g"}));
  EXPECT_TRUE(fails(consumer.subscribe({"t"}), Errc::corrupt, {file("groups"), "truncated", "delete the topic"}));
  EXPECT_TRUE(fails(must(bus.topic("t")).producer(), Errc::corrupt, {file("groups")}));
  EXPECT_TRUE(good(attach())) << "an observer needs no groups";
}

// ---- partitions ----------------------------------------------------------------------------------------------------------------

TEST_F(ApiBadInput, PartitionMissing) {
  unlink(file("1").c_str());
  expect_all_and_remedy(Errc::corrupt, {"'t'", "partition 1", file("1"), "delete"});
}
TEST_F(ApiBadInput, PartitionTruncated) {
  truncate(file("1").c_str(), 100'000);
  expect_all_and_remedy(Errc::corrupt, {file("1"), "100000 bytes", "truncated", "delete the topic"});
}
TEST_F(ApiBadInput, PartitionCutIntoItsHeader) {
  truncate(file("1").c_str(), 100);
  expect_all_and_remedy(Errc::corrupt, {file("1"), "100 bytes", "truncated"});
}
TEST_F(ApiBadInput, PartitionOfAnotherKind) {
  patch_header("1", [](PartitionHeader& header) { header.magic ^= 1; });
  expect_all_and_remedy(Errc::corrupt, {file("1"), "magic"});
}
TEST_F(ApiBadInput, PartitionOfAnotherVersion) {
  patch_header("0", [](PartitionHeader& header) { header.version = 77; });
  expect_all_and_remedy(Errc::version_mismatch, {file("0"), "version 77", "delete the topic"});
}
TEST_F(ApiBadInput, PartitionOfAnotherByteOrder) {
  patch_header("0", [](PartitionHeader& header) { header.byte_order = 0x04030201; });
  expect_all_and_remedy(Errc::version_mismatch, {file("0"), "byte order", "0x4030201"});
}
TEST_F(ApiBadInput, PartitionHeaderOverwritten) {
  patch_header(
      "1", [](PartitionHeader& header) { header.boot_id[0] ^= 0xff; }, false);
  expect_all_and_remedy(Errc::corrupt, {file("1"), "checksum", "delete the topic"});
}
TEST_F(ApiBadInput, PartitionWithImpossibleSizes) {
  patch_header("0", [](PartitionHeader& header) { header.ring_bytes = 65537; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {file("0"), "ring_bytes 65537"}));
  patch_header("0", [](PartitionHeader& header) { header.ring_bytes = 1ull << 40; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {"ring_bytes"}));
  patch_header("0", [](PartitionHeader& header) { header.ring_bytes = 64 << 10, header.slots = 0; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {"0 slots"}));
  patch_header("0", [](PartitionHeader& header) { header.slots = 4001; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {"4001 slots"}));
  patch_header("0", [](PartitionHeader& header) { header.slots = 64, header.index_entries = 65; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {"65 index entries"}));
  patch_header("0", [](PartitionHeader& header) { header.index_entries = 64, header.ring_at = 4096; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {"ring_at 4096"}));
  patch_header("0", [](PartitionHeader& header) { header.ring_at = ring::ring_at(64), header.file_bytes = 7; });
  EXPECT_TRUE(fails(attach(), Errc::corrupt, {"truncated"}));
}
TEST_F(ApiBadInput, PartitionsExchanged) {
  std::filesystem::rename(file("0"), file("x"));
  std::filesystem::rename(file("1"), file("0"));
  std::filesystem::rename(file("x"), file("1"));
  expect_all_and_remedy(Errc::corrupt, {file("0"), "another topic or partition"});
}
TEST_F(ApiBadInput, PartitionOfAnotherTopic) {
  create("u", {.partitions = 2});
  std::filesystem::copy_file(path() + "/topics/u/0", file("0"), std::filesystem::copy_options::overwrite_existing);
  expect_all_and_remedy(Errc::corrupt, {file("0"), "another topic"});
}

// Written before the last boot: nothing of it is believed. It is empty, and no offset is given out again.
TEST_F(ApiBadInput, PartitionOfAnotherBoot) {
  { Consumer consumer = join("t", "g"); }
  for (const char* partition : {"0", "1"}) patch_header(partition, [](PartitionHeader& header) { header.boot_id[0] ^= 1; });
  Bus own = must(Bus::open(path()));
  Topic topic = must(own.topic("t"));
  Producer producer = must(topic.producer());
  EXPECT_EQ(must(producer.send(bytes("after"), {.partition = 0})).offset, 1u);
  Consumer observer = must(own.consumer({.start = Start::earliest}));
  must(observer.subscribe({"t"}));
  EXPECT_EQ(now(observer), "after");
  Consumer member = must(own.consumer({.group = "g"}));
  must(member.subscribe({"t"}));
  const Batch batch = must(member.poll(0ns));
  EXPECT_EQ(words(batch), "after");
  ASSERT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(describe(batch.gaps()[0]), "lost 0 [0,1)");
}

// ---- permission ----------------------------------------------------------------------------------------------------------------

class ApiPermission : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to become nobody";
    chmod(directory_.path().c_str(), 0755);
  }
  Bus make(std::uint32_t bus_mode, std::uint32_t topic_mode) {
    Bus bus = must(Bus::create({.directory = path_, .mode = bus_mode}));
    Producer producer = must(must(bus.create("t", {.partition_bytes = 64 << 10, .mode = topic_mode})).producer());
    must(producer.send(bytes("public")));
    return bus;
  }
  static std::string read(Bus& bus, const ConsumerConfig& config = {.start = Start::earliest}) {
    Consumer consumer = must(bus.consumer(config));
    must(consumer.subscribe({"t"}));
    return now(consumer);
  }
  Directory directory_;
  std::string path_ = directory_ / "bus";
};

TEST_F(ApiPermission, APrivateBus) {
  make(0700, 0644);
  EXPECT_EQ(as_nobody([&] {
              EXPECT_TRUE(fails(Bus::open(path_), Errc::permission_denied, {path_, "root:root", "0700", "ask its owner"}));
              EXPECT_TRUE(fails(Bus::open_or_create({.directory = path_}), Errc::permission_denied));
              EXPECT_TRUE(fails(Bus::create({.directory = directory_ / "mine"}), Errc::permission_denied, {"mine", "0755"}));
            }),
            0);
}

TEST_F(ApiPermission, APrivateTopicOnASharedBus) {
  make(01777, 0600);
  EXPECT_EQ(as_nobody([&] {
              Bus bus = must(Bus::open(path_));
              EXPECT_EQ(must(bus.topics()).size(), 1u);
              EXPECT_TRUE(fails(bus.topic("t"), Errc::permission_denied, {path_ + "/topics/t", "root:root"}));
              EXPECT_TRUE(fails(bus.remove("t"), Errc::permission_denied, {path_ + "/topics/t"}));
              EXPECT_TRUE(good(bus.create("mine", {.partition_bytes = 64 << 10})));
            }),
            0);
}

TEST_F(ApiPermission, ATopicThatMayBeRead) {
  make(01777, 0644);
  EXPECT_EQ(as_nobody([&] {
              Bus bus = must(Bus::open(path_));
              Topic topic = must(bus.topic("t"));
              EXPECT_EQ(read(bus), "public");
              EXPECT_EQ(read(bus, {.group = "g", .start = Start::earliest}), "public") << "who may read may join a group";
              EXPECT_EQ(must(topic.last(0))->value, "public");
              EXPECT_TRUE(good(topic.describe()));
              EXPECT_TRUE(fails(topic.producer(), Errc::permission_denied, {path_ + "/topics/t/0", "0644"}));
              Consumer consumer = must(bus.consumer());
              must(consumer.subscribe({"t"}));
              EXPECT_TRUE(good(consumer.descriptor()));
            }),
            0);
}

// An observer needs read permission only; what needs more says so.
TEST_F(ApiPermission, ABusThatMayOnlyBeRead) {
  Bus bus = make(0755, 0644);
  Child child([&](const Child::Side& side) {
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) throw std::runtime_error("cannot become nobody");
    Bus own = must(Bus::open(path_));
    EXPECT_EQ(read(own), "public");
    Consumer consumer = must(own.consumer());
    must(consumer.subscribe({"t"}));
    side.arrive();
    const Batch batch = must(consumer.poll(kSoon));  // sleeps in small steps
    EXPECT_EQ(words(batch), "more");
    EXPECT_TRUE(fails(consumer.descriptor(), Errc::permission_denied, {"write permission", path_}));
  });
  if (!child.await()) FAIL() << "the child died";
  Producer producer = must(must(bus.topic("t")).producer());
  must(producer.send(bytes("more")));
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(as_nobody([&] {
              Bus own = must(Bus::open(path_));
              Topic topic = must(own.topic("t"));
              EXPECT_TRUE(good(topic.describe()));
              EXPECT_TRUE(fails(own.consumer({.group = "g"}), Errc::permission_denied, {"group", path_ + "/leases"}));
              EXPECT_TRUE(fails(topic.producer(), Errc::permission_denied, {"producing", path_ + "/leases", "0755"}));
              EXPECT_TRUE(fails(own.create("mine"), Errc::permission_denied, {"creating a topic", path_ + "/leases"}));
              EXPECT_TRUE(fails(own.remove("t"), Errc::permission_denied, {"deleting a topic"}));
            }),
            0);
}

// Somebody has changed the mode of one file: a lease can be had, a bell cannot.
TEST_F(ApiPermission, BellsThatMayNotBeWritten) {
  make(01777, 0666);
  chmod((path_ + "/bells").c_str(), 0600);
  EXPECT_EQ(as_nobody([&] {
              Bus bus = must(Bus::open(path_));
              EXPECT_EQ(read(bus), "public");
              EXPECT_TRUE(fails(must(bus.topic("t")).producer(), Errc::permission_denied, {path_ + "/bells", "0600"}));
              EXPECT_TRUE(fails(bus.create("mine"), Errc::permission_denied, {path_ + "/bells"}));
            }),
            0);
}

// ---- space ---------------------------------------------------------------------------------------------------------------------

class ApiSpace : public testing::Test {
 protected:
  // Runs `body` where `directory_` is a tmpfs of that size.
  template <class Body>
  void on_tmpfs(const char* options, Body body) {
    const int code = in_child([&] {
      if (!mount_own_tmpfs(directory_.path(), options)) _exit(kNotPermitted);
      body();
    });
    if (code == kNotPermitted) GTEST_SKIP() << "may not mount a tmpfs of its own (needs CAP_SYS_ADMIN)";
    EXPECT_EQ(code, 0);
  }
  [[nodiscard]] static std::set<std::string> everything(const std::string& path) {
    std::set<std::string> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
      if (entry.path().parent_path().filename() != "leases") all.insert(entry.path().string().substr(path.size() + 1));
    return all;
  }
  Directory directory_;
};

TEST_F(ApiSpace, ATopicThatDoesNotFitLeavesNothing) {
  on_tmpfs("size=2m", [&] {
    Bus bus = must(Bus::create({.directory = directory_ / "bus"}));
    const auto before = everything(directory_.path());
    EXPECT_TRUE(fails(bus.create("t", {}), Errc::no_space, {"'t'", "8454144", "bytes", "smaller partitions", directory_ / "bus"}));
    EXPECT_TRUE(fails(bus.create("t", {.partitions = 100, .partition_bytes = 64 << 10}), Errc::no_space));
    EXPECT_EQ(everything(directory_.path()), before);
    EXPECT_TRUE(must(bus.topics()).empty());
    EXPECT_TRUE(good(bus.create("t", {.partition_bytes = 64 << 10})));
    Producer producer = must(must(bus.topic("t")).producer());
    for (int i = 0; i < 5000; ++i) must(producer.send(bytes("pages are reserved")));
  });
}

// Room for the partitions, not for what stands beside them.
TEST_F(ApiSpace, WhatRunsOutInTheMiddleLeavesNothing) {
  on_tmpfs("size=1m", [&] {
    Bus bus = must(Bus::create({.directory = directory_ / "bus"}));
    const auto before = everything(directory_.path());
    int failed = 0;
    for (std::size_t filler = 0; filler < 40; ++filler) {
      const std::string path = directory_ / "filler";
      { std::ofstream(path) << std::string(700'000 + filler * 4096, 'x'); }
      const auto made = bus.create("t", {.partition_bytes = 64 << 10, .max_groups = 256});
      if (made) {
        must(bus.remove("t"));
      } else {
        ++failed;
        EXPECT_TRUE(fails(made, Errc::no_space));
      }
      unlink(path.c_str());
      EXPECT_EQ(everything(directory_.path()), before) << filler;
    }
    EXPECT_GT(failed, 5);
    EXPECT_LT(failed, 40);
  });
}

TEST_F(ApiSpace, ABusThatDoesNotFitLeavesNothing) {
  on_tmpfs("size=40k", [&] {
    { std::ofstream(directory_ / "filler") << std::string(32 << 10, 'x'); }
    EXPECT_TRUE(fails(Bus::create({.directory = directory_ / "bus"}), Errc::no_space, {directory_ / "bus"}));
    EXPECT_TRUE(fails(Bus::open_or_create({.directory = directory_ / "bus"}), Errc::no_space));
    EXPECT_EQ(everything(directory_.path()), (std::set<std::string>{"filler"}));
    EXPECT_TRUE(fails(Bus::create({.directory = directory_.path()}), Errc::no_space)) << "into a directory that is there";
    EXPECT_EQ(everything(directory_.path()), (std::set<std::string>{"filler"}));
    unlink((directory_ / "filler").c_str());
    EXPECT_TRUE(good(Bus::create({.directory = directory_.path()})));
  });
}

// No inode left: an error as well, of a different kind of fullness.
TEST_F(ApiSpace, NoInodes) {
  on_tmpfs("size=4m,nr_inodes=14", [&] {
    Bus bus = must(Bus::create({.directory = directory_ / "bus"}));
    const auto before = everything(directory_.path());
    EXPECT_TRUE(fails(bus.create("t", {.partitions = 8, .partition_bytes = 64 << 10}), Errc::no_space));
    EXPECT_EQ(everything(directory_.path()), before);
  });
}

}  // namespace
}  // namespace arus::test
