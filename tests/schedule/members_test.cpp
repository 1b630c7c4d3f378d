// Members of a group as threads, each with a bus and so with a life of its own: they join, read, commit and leave at random while others
// send. Every record comes to at least one of them, and none of a partition to two at once.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "unit/api_support.h"

namespace arus::test {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kRecords = 2'000;  // of each producer
#else
constexpr std::uint64_t kRecords = 100'000;
#endif
constexpr std::uint32_t kPartitions = 3;
constexpr std::uint64_t kProducers = 2;

class Members : public ApiTest, public testing::WithParamInterface<Assignor> {
 protected:
  void produce(std::uint64_t me) {
    Producer producer = must(must(must(Bus::open(path())).topic("t")).producer({.timeout = kSoon}));
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      const Envelope envelope{.partition = static_cast<std::uint32_t>((i + me) % kPartitions)};
      if (i % 50 == 7) must(producer.loan(40, envelope)).abort();
      must(producer.send(bytes(std::to_string(i)), envelope));
    }
  }
  // One life. False when everything has come.
  bool live(std::mt19937_64& random) {
    const bool by_hand = random() % 3 == 0;
    const ConsumerConfig config{.group = "g",
                                .start = Start::earliest,
                                .wait = random() % 2 == 0 ? Wait::sleeping() : Wait{},
                                .max_records = 1u << random() % 8,
                                .auto_commit = !by_hand,
                                .assignor = GetParam()};
    Consumer consumer = must(must(Bus::open(path())).consumer(config));
    std::map<std::uint32_t, std::uint64_t> next;
    const auto pass = [&](std::uint32_t partition, std::uint64_t from, std::uint64_t to) {
      const auto expected = next.find(partition);
      if (expected != next.end()) {
        EXPECT_EQ(expected->second, from);
      }
      for (std::uint64_t offset = from; offset < to && offset < kMost; ++offset)
        seen_[partition][offset].store(true, std::memory_order_relaxed);
      next[partition] = to;
    };
    consumer.on_assignment({.assigned =
                                [&](std::span<const TopicPartition> partitions) {
                                  for (const TopicPartition& one : partitions) {
                                    next.erase(one.partition);
                                    EXPECT_EQ(readers_[one.partition].fetch_add(1), 0) << "two read partition " << one.partition;
                                  }
                                },
                            .revoked =
                                [&](std::span<const TopicPartition> partitions) {
                                  for (const TopicPartition& one : partitions) readers_[one.partition].fetch_sub(1);
                                }});
    must(consumer.subscribe({"t"}));
    bool all = false;
    for (std::uint64_t polls = 5 + random() % 60; polls > 0 && !all; --polls) {
      const Batch batch = must(consumer.poll(1ms));
      std::vector<bool> told(batch.gaps().size());
      const auto tell = [&](std::uint32_t partition, std::uint64_t before) {
        for (std::size_t i = 0; i < told.size(); ++i) {
          const Gap& gap = batch.gaps()[i];
          if (told[i] || gap.partition != partition || gap.from >= before) continue;
          told[i] = true;
          EXPECT_EQ(gap.kind, Gap::Kind::uncommitted);
          pass(partition, gap.from, gap.to);
        }
      };
      for (const Record& record : batch) {
        tell(record.partition(), record.offset());
        pass(record.partition(), record.offset(), record.offset() + 1);
      }
      for (const Gap& gap : batch.gaps()) tell(gap.partition, ~0ull);
      if (by_hand && random() % 4 == 0) {
        if (batch.empty())
          must(consumer.commit());
        else
          must(consumer.commit(batch[random() % batch.size()]));
      }
      all = complete();
    }
    for (const TopicPartition& one : consumer.assignment()) readers_[one.partition].fetch_sub(1);
    return !all;
  }
  // Where one is missing; nothing when all have come.
  std::optional<std::pair<std::uint32_t, std::uint64_t>> missing() {
    for (std::uint32_t i = 0; i < kPartitions; ++i) {
      const std::uint64_t end = ends_[i];
      if (end == 0) return {{i, 0}};
      for (std::uint64_t offset = 0; offset < end; ++offset)
        if (!seen_[i][offset].load(std::memory_order_relaxed)) return {{i, offset}};
    }
    return {};
  }
  bool complete() {
    const auto first = missing();
    if (!first) return true;
    if (given_up_.load() != 0 && std::chrono::steady_clock::now().time_since_epoch().count() > given_up_.load()) {
      ADD_FAILURE() << "partition " << first->first << ", offset " << first->second << " of " << ends_[first->first]
                    << " came to nobody";
      return true;
    }
    return false;
  }

  static constexpr std::uint64_t kMost = kProducers * kRecords + 1000;
  std::array<std::vector<std::atomic<bool>>, kPartitions> seen_{
      std::vector<std::atomic<bool>>(kMost), std::vector<std::atomic<bool>>(kMost), std::vector<std::atomic<bool>>(kMost)};
  std::array<std::atomic<int>, kPartitions> readers_{};
  std::array<std::atomic<std::uint64_t>, kPartitions> ends_{};
  std::atomic<std::int64_t> given_up_{0};
};

TEST_P(Members, EveryRecordComesToOneOfThem) {
  Topic topic = create("t", {.partitions = kPartitions});
  {  // From here on the group holds producers back: without a cursor, the ring would be overwritten before the first member comes.
    Consumer first = must(bus.consumer({.group = "g", .start = Start::earliest}));
    must(first.subscribe({"t"}));
  }
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      std::mt19937_64 random(i);
      EXPECT_NO_THROW({
        while (live(random)) {
        }
      });
    });
  std::vector<std::thread> producers;
  for (std::uint64_t i = 0; i < kProducers; ++i) producers.emplace_back([&, i] { EXPECT_NO_THROW(produce(i)); });
  for (std::thread& producer : producers) producer.join();
  Producer last = must(topic.producer({.timeout = kSoon}));
  for (std::uint32_t i = 0; i < kPartitions; ++i) must(last.send(bytes("end"), {.partition = i}));
  for (const PartitionInfo& one : must(topic.describe()).partitions) ends_[one.partition] = one.end_offset;
  given_up_ = (std::chrono::steady_clock::now() + kSoon).time_since_epoch().count();
  for (std::thread& thread : threads) thread.join();
}
INSTANTIATE_TEST_SUITE_P(All, Members, testing::Values(Assignor::range, Assignor::sticky),
                         [](const auto& one) { return std::string(one.param == Assignor::range ? "Range" : "Sticky"); });

}  // namespace
}  // namespace arus::test
