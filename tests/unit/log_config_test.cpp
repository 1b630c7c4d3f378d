// Names, configurations, placement of keys, and the catalogue: creation, deletion, and what they leave.
#include <arus/arus.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>
#include <vector>

#include "log/bus_directory.h"
#include "log/partitioner.h"
#include "support.h"

namespace arus::test {
namespace {

// ---- names and configurations ------------------------------------------------------------------------------------------------

TEST(LogName, FollowsKafkasRule) {
  for (const std::string& name : std::vector<std::string>{"a", "A-b_c.9", "...", "-", "_", std::string(249, 'x')})
    EXPECT_TRUE(good(log::check_topic_name(name))) << name;
  EXPECT_TRUE(fails(log::check_topic_name(""), Errc::invalid_argument, {"empty"}));
  EXPECT_TRUE(fails(log::check_topic_name("."), Errc::invalid_argument, {"'.'"}));
  EXPECT_TRUE(fails(log::check_topic_name(".."), Errc::invalid_argument, {"'..'"}));
  EXPECT_TRUE(fails(log::check_topic_name(std::string(250, 'x')), Errc::invalid_argument, {"250", "249"}));
  for (const std::string_view name : {"ab/c", "ab c", "ab\n", "ab:", "ab\xc3\xa4"})
    EXPECT_TRUE(fails(log::check_topic_name(name), Errc::invalid_argument, {"character 3", "a-z A-Z 0-9 . _ -"})) << name;
  EXPECT_TRUE(fails(log::check_topic_name(std::string_view("a\0b", 3)), Errc::invalid_argument, {"character 2"}));
}

TEST(LogConfig, EachBadFieldIsNamedWithItsLimits) {
  const auto check = [](auto set) {
    TopicConfig config;
    set(config);
    return log::check_config(config);
  };
  constexpr Errc kBad = Errc::invalid_argument;
  EXPECT_TRUE(good(check([](TopicConfig&) {})));
  EXPECT_TRUE(fails(check([](auto& c) { c.partitions = 0; }), kBad, {"partitions is 0", "1 to 10000"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.partitions = 10001; }), kBad, {"partitions is 10001"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.partition_bytes = 32 << 10; }), kBad, {"partition_bytes is 32768", "65536"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.partition_bytes = 1ull << 35; }), kBad, {"partition_bytes", "17179869184"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.partition_bytes = 100'000; }), kBad, {"power of two", "65536 or 131072"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.max_producers = 0; }), kBad, {"max_producers is 0", "1 to 4000"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.max_producers = 4001; }), kBad, {"max_producers is 4001"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.max_groups = 0; }), kBad, {"max_groups is 0", "1 to 1024"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.max_groups = 1025; }), kBad, {"max_groups is 1025"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.partition_bytes = 64 << 10, c.record_size = 40'000; }), kBad, {"record_size is 40000"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.schema = std::string(256, 's'); }), kBad, {"schema", "256", "255"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.mode = 0400; }), kBad, {"mode is 0400"}));
  EXPECT_TRUE(fails(check([](auto& c) { c.mode = 04600; }), kBad, {"mode is 4600"}));
}

TEST(LogConfig, ADifferenceNamesTheFieldAndBothValues) {
  const auto differ = [](auto set) {
    TopicConfig wanted;
    set(wanted);
    return log::difference(wanted, TopicConfig{});
  };
  EXPECT_EQ(differ([](auto&) {}), "");
  EXPECT_EQ(differ([](auto& c) { c.partitions = 4; }), "partitions is 1, not 4");
  EXPECT_EQ(differ([](auto& c) { c.partition_bytes = 65536; }), "partition_bytes is 8388608, not 65536");
  EXPECT_EQ(differ([](auto& c) { c.producers = Producers::single; }), "producers is many, not single");
  EXPECT_EQ(differ([](auto& c) { c.back_pressure = false; }), "back_pressure is true, not false");
  EXPECT_EQ(differ([](auto& c) { c.schema = "s"; }), "schema is '', not 's'");
  EXPECT_EQ(differ([](auto& c) { c.record_size = 8; }), "record_size is 0, not 8");
  EXPECT_EQ(differ([](auto& c) { c.max_producers = 8; }), "max_producers is 64, not 8");
  EXPECT_EQ(differ([](auto& c) { c.max_groups = 8; }), "max_groups is 16, not 8");
  EXPECT_EQ(differ([](auto& c) { c.mode = 0660; }), "mode is 0600, not 0660");
}

TEST(LogConfig, WhoMayReadMayWriteTheFlags) {
  EXPECT_EQ(log::widened({.mode = 0600}).mode, 0600u);
  EXPECT_EQ(log::widened({.mode = 0640}).mode, 0660u);
  EXPECT_EQ(log::widened({.mode = 0644}).mode, 0666u);
}

// ---- placement -----------------------------------------------------------------------------------------------------------------

struct Hashed {
  std::string_view key;
  std::int32_t hash;
};
constexpr char kSixBytes[] = {12, 42, 56, 24, 109, 111};
// org.apache.kafka.common.utils.UtilsTest.testMurmur2 (Apache Kafka, clients/src/test); the six bytes from the vectors that
// burdiyan/kafkautil computed with Kafka's client 1.0.0.
constexpr Hashed kVectors[] = {{"21", -973932308},
                               {"foobar", -790332482},
                               {"a-little-bit-long-string", -985981536},
                               {"a-little-bit-longer-string", -1486304829},
                               {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
                               {"abc", 479470107},
                               {{kSixBytes, 6}, 274204207}};

TEST(LogPartitioner, HashesAsKafkaDoes) {
  for (const Hashed& vector : kVectors)
    EXPECT_EQ(static_cast<std::int32_t>(log::murmur2(bytes(vector.key))), vector.hash) << vector.key;
}

TEST(LogPartitioner, PlacesAsKafkaDoes) {
  for (const std::uint32_t partitions : {1u, 2u, 3u, 7u, 12u, 10000u})
    for (const Hashed& vector : kVectors)
      EXPECT_EQ(partition_of(bytes(vector.key), partitions), static_cast<std::uint32_t>(vector.hash & 0x7fffffff) % partitions);
}

// Keys of every length at every address: the hash must not depend on how they lie.
TEST(LogPartitioner, DoesNotCareForAlignment) {
  std::array<char, 64> buffer{};
  for (std::size_t size = 0; size < 20; ++size)
    for (std::size_t at = 0; at < 8; ++at) {
      for (std::size_t i = 0; i < size; ++i) buffer[at + i] = static_cast<char>(200 + i);
      EXPECT_EQ(log::murmur2(bytes({buffer.data() + at, size})), log::murmur2(bytes(std::string(buffer.data() + at, size))));
    }
}

// ---- the catalogue -------------------------------------------------------------------------------------------------------------

class LogCatalogue : public testing::Test {
 protected:
  LogCatalogue() : bus_(must(Bus::create({.directory = path_}))) {}
  [[nodiscard]] std::vector<std::string> list(std::string_view what) const {
    return must(platform::list_directory(path_ + '/' + std::string(what)));
  }
  Directory directory_;
  std::string path_ = directory_ / "bus";
  Bus bus_;
  TopicConfig small_{.partition_bytes = 64 << 10};
};

TEST_F(LogCatalogue, CreatesListsAndDeletes) {
  EXPECT_TRUE(must(bus_.topics()).empty());
  for (const std::string name : {"b", "a", "C"}) must(bus_.create(name, small_));
  EXPECT_EQ(must(bus_.topics()), (std::vector<std::string>{"C", "a", "b"}));
  EXPECT_TRUE(fails(bus_.create("a", small_), Errc::already_exists, {"'a'", path_, "open_or_create"}));
  must(bus_.remove("a"));
  EXPECT_EQ(must(bus_.topics()), (std::vector<std::string>{"C", "b"}));
  EXPECT_TRUE(fails(bus_.remove("a"), Errc::not_found, {"'a'", "arus topic list"}));
  EXPECT_TRUE(fails(bus_.topic("a"), Errc::not_found, {"'a'", path_, "arus topic create a"}));
  EXPECT_TRUE(fails(bus_.create("x/y", small_), Errc::invalid_argument));
  EXPECT_TRUE(fails(bus_.topic("../bus"), Errc::invalid_argument));
  EXPECT_TRUE(fails(bus_.remove(".."), Errc::invalid_argument));
  EXPECT_TRUE(list("tmp").empty());
}

TEST_F(LogCatalogue, AConfigurationComesBackAsItWasGiven) {
  const TopicConfig config{.partitions = 3,
                           .partition_bytes = 128 << 10,
                           .producers = Producers::single,
                           .back_pressure = false,
                           .schema = "frame/3",
                           .record_size = 24,
                           .max_producers = 5,
                           .max_groups = 2,
                           .mode = 0640,
                           .group = "0"};
  must(bus_.create("t", config));
  const Topic topic = must(must(Bus::open(path_)).topic("t"));
  EXPECT_EQ(log::difference(config, topic.config()), "");
  EXPECT_EQ(topic.config().group, "0");
  const TopicInfo info = must(topic.describe());
  EXPECT_EQ(info.name, "t");
  ASSERT_EQ(info.partitions.size(), 3u);
  EXPECT_EQ(info.partitions[2].partition, 2u);
  EXPECT_EQ(info.partitions[2].end_offset, 0u);
  EXPECT_EQ(info.max_record_bytes, (1022 * 64) - 96u);
  struct stat status {};
  stat((path_ + "/topics/t/1").c_str(), &status);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
  stat((path_ + "/topics/t/waits").c_str(), &status);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(LogCatalogue, OpenOrCreateInsistsOnTheConfiguration) {
  must(bus_.open_or_create("t", small_));
  EXPECT_TRUE(good(bus_.open_or_create("t", small_)));
  EXPECT_TRUE(fails(bus_.open_or_create("t", {}), Errc::config_mismatch, {"'t'", "partition_bytes is 65536, not 8388608"}));
}

TEST_F(LogCatalogue, OfTwoCreatorsOneWins) {
  const Bus other = must(Bus::open(path_));
  for (int round = 0; round < 30; ++round) {
    const std::string name = "t" + std::to_string(round);
    std::atomic<int> made{0};
    std::atomic<int> refused{0};
    const auto create = [&](Bus bus) {
      const auto topic = bus.create(name, small_);
      if (topic) ++made;
      if (!topic && topic.error().code() == Errc::already_exists) ++refused;
      EXPECT_TRUE(good(bus.open_or_create(name, small_)));
    };
    std::thread thread(create, other);
    create(bus_);
    thread.join();
    EXPECT_EQ(made, 1);
    EXPECT_EQ(refused, 1);
  }
  EXPECT_TRUE(list("tmp").empty());
}

// A topic is whole or not there, also for who comes just when it appears or goes.
TEST_F(LogCatalogue, ATopicThatComesAndGoesIsNeverCorrupt) {
  std::atomic<bool> done{false};
  std::thread maker([this, &done] {
    Bus other = must(Bus::open(path_));
    for (int round = 0; round < 300; ++round) {
      EXPECT_TRUE(good(other.create("t", small_)));
      EXPECT_TRUE(good(other.remove("t")));
    }
    done = true;
  });
  while (!done) {
    const auto topic = bus_.topic("t");
    EXPECT_TRUE(topic || topic.error().code() != Errc::corrupt) << topic.error().message();
    if (HasFailure()) break;
  }
  maker.join();
}

TEST_F(LogCatalogue, TwoMakeOneBusAtOnce) {
  for (int round = 0; round < 20; ++round) {
    const std::string path = directory_ / ("bus" + std::to_string(round));
    const auto open = [&] {
      const auto bus = Bus::open_or_create({.directory = path});
      EXPECT_TRUE(good(bus));
      EXPECT_TRUE(good(Bus(must(bus)).open_or_create("t", small_)));
    };
    std::thread thread(open);
    open();
    thread.join();
  }
}

TEST_F(LogCatalogue, AnAttachedReaderOutlivesTheFiles) {
  const Topic topic = must(bus_.create("t", small_));
  Producer producer = must(Topic(topic).producer());
  must(producer.send(bytes("x")));
  Consumer consumer = must(bus_.consumer({.start = Start::earliest}));
  must(consumer.subscribe({"t"}));
  const Batch batch = must(consumer.poll(std::chrono::seconds(10)));
  must(bus_.remove("t"));
  ASSERT_EQ(batch.size(), 1u);
  EXPECT_EQ(text(batch[0].value()), "x") << "mapped still";
  EXPECT_TRUE(fails(topic.describe(), Errc::deleted, {"'t'"}));
  EXPECT_TRUE(list("topics").empty());
  EXPECT_TRUE(list("tmp").empty());
  must(bus_.create("t", small_));
  EXPECT_TRUE(fails(topic.describe(), Errc::deleted, {"made anew"})) << "another topic of that name";
}

TEST_F(LogCatalogue, WhatADeadCreatorLeftIsSwept) {
  Child child([&](const Child::Side& side) {
    const auto directory = must(log::BusDirectory::open(path_));
    auto published = directory->publish("half", {.mode = 0600}, [&](const std::string& scratch) -> Result<void> {
      must(platform::create_file(scratch + "/0", {}));
      side.arrive_and_wait();
      return {};
    });
  });
  ASSERT_TRUE(child.await());
  EXPECT_EQ(list("tmp").size(), 1u);
  must(Bus::open(path_));
  EXPECT_EQ(list("tmp").size(), 1u) << "its maker lives";
  child.kill();
  EXPECT_TRUE(must(bus_.topics()).empty());
  must(Bus::open(path_));
  EXPECT_TRUE(list("tmp").empty());
}

TEST_F(LogCatalogue, ABusIsMadeOnce) {
  EXPECT_TRUE(fails(Bus::create({.directory = path_}), Errc::already_exists, {path_}));
  EXPECT_TRUE(good(Bus::open_or_create({.directory = path_})));
  EXPECT_TRUE(good(Bus::open(path_ + "///")));
  EXPECT_EQ(must(Bus::open(path_ + "/")).directory(), path_);
  EXPECT_TRUE(fails(Bus::create({.directory = directory_ / "x", .sleepers = 0}), Errc::invalid_argument, {"sleepers is 0"}));
  EXPECT_TRUE(fails(Bus::create({.directory = directory_ / "x", .sleepers = 4033}), Errc::invalid_argument, {"4032"}));
  EXPECT_TRUE(fails(Bus::create({.directory = directory_ / "x", .mode = 0600}), Errc::invalid_argument, {"mode", "0600"}));
  EXPECT_TRUE(fails(Bus::create({.directory = directory_ / "x", .group = "no-such-group"}), Errc::invalid_argument));
  EXPECT_FALSE(platform::exists(directory_ / "x"));
}

TEST_F(LogCatalogue, TheDefaultDirectoryIsTheEnvironments) {
  setenv("ARUS_DIR", (directory_ / "default").c_str(), 1);
  EXPECT_EQ(must(Bus::open()).directory(), directory_ / "default");
  EXPECT_EQ(must(Bus::open_or_create()).directory(), directory_ / "default");
  unsetenv("ARUS_DIR");
  EXPECT_EQ(log::default_bus_directory().find(access("/run/arus", W_OK) == 0 ? "/run/arus" : "/dev/shm/arus-"), 0u);
}

}  // namespace
}  // namespace arus::test
