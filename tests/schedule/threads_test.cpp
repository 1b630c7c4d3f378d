// Producers and consumers as threads over one topic, each with a bus of its own, as processes would have (within a process their
// partitions share one mapping, which is what lets ThreadSanitizer see both sides). Every record is checked: its checksum, its place in
// its producer's order, its offset; delivered + lost + uncommitted = claimed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "platform/cpu.h"
#include "unit/api_support.h"

namespace arus::test {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kRecords = 3'000;  // of each producer
#else
constexpr std::uint64_t kRecords = 200'000;
#endif

// What is in a value: who sent it, its number there, and bytes that follow from both.
struct Prefix {
  std::uint64_t producer;
  std::uint64_t number;
  std::uint64_t checksum;
};

std::uint64_t fill(std::byte* to, std::size_t size, std::uint64_t seed) {
  std::uint64_t sum = seed * 0x9E3779B97F4A7C15u;
  for (std::size_t i = 0; i < size; ++i) {
    to[i] = static_cast<std::byte>(sum >> 56);
    sum = sum * 6364136223846793005u + 1442695040888963407u;
  }
  return sum;
}

std::string make(std::uint64_t producer, std::uint64_t number) {
  std::string value(sizeof(Prefix) + (number * 13 + producer) % 150, '\0');
  auto* data = reinterpret_cast<std::byte*>(value.data());
  const std::uint64_t sum = fill(data + sizeof(Prefix), value.size() - sizeof(Prefix), producer << 40 | number);
  const Prefix prefix{producer, number, sum};
  std::memcpy(data, &prefix, sizeof prefix);
  return value;
}

struct Plan {
  const char* name;
  std::uint32_t producers;
  std::uint32_t partitions;
  Producers kind;
  bool lossless;  // a group and no observer, or observers and no group
  bool loans;     // some records by loan
};

class Threads : public ApiTest, public testing::WithParamInterface<Plan> {
 protected:
  void produce(std::uint64_t me) {
    Bus own = must(Bus::open(path()));
    Producer producer = must(must(own.topic("t")).producer({.timeout = kSoon}));
    std::mt19937_64 random(me);
    std::uint64_t number = 0;
    while (number < kRecords) {
      const auto partition = static_cast<std::uint32_t>(number / 1000 % GetParam().partitions);
      const Envelope envelope{.partition = partition};
      switch (random() % 8) {
        case 0: {  // a batch
          std::vector<std::string> values;
          for (std::uint64_t i = 0; i < 7 && number + i < kRecords; ++i) values.push_back(make(me, number + i));
          std::vector<Message> messages;
          for (const std::string& value : values) messages.push_back({bytes(value), envelope});
          for (std::span<const Message> rest = messages; !rest.empty();) rest = rest.subspan(must(producer.send_many(rest)));
          number += values.size();
          break;
        }
        case 1: {
          if (!GetParam().loans) break;
          const std::string value = make(me, number++);
          auto loan = must(producer.loan(value.size() + 20, envelope));
          // By the library's copy: another producer may look at a word here as at a header that stood here a lap ago, and find out
          // afterwards that it was too late. ThreadSanitizer would take plain stores for a mistake.
          platform::copy(loan.data().data(), value.data(), value.size());
          must(loan.commit(value.size()));
          break;
        }
        case 2:
          if (random() % 4 == 0) must(producer.loan(100, envelope)).abort();
          break;
        default: must(producer.send(bytes(make(me, number++)), envelope));
      }
    }
  }

  struct Books {  // of one consumer
    std::uint64_t delivered = 0;
    std::uint64_t lost = 0;
    std::uint64_t uncommitted = 0;
    std::map<std::uint32_t, std::uint64_t> next;                                        // offset, by partition
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> next_of_producer;  // number, by partition and producer
  };

  // False with a message at the first thing that is wrong.
  static testing::AssertionResult check(const Batch& batch, Books& books) {
    // Gaps stand in order of offset within their partition, each before the records of higher offsets.
    std::size_t gap = 0;
    std::map<std::uint32_t, std::vector<Gap>> gaps;
    for (; gap < batch.gaps().size(); ++gap) gaps[batch.gaps()[gap].partition].push_back(batch.gaps()[gap]);
    const auto pass = [&](std::uint32_t partition) {
      auto& open = gaps[partition];
      while (!open.empty() && open.front().from == books.next[partition]) {
        const Gap one = open.front();
        (one.kind == Gap::Kind::lost ? books.lost : books.uncommitted) += one.to - one.from;
        books.next[partition] = one.to;
        open.erase(open.begin());
      }
    };
    for (const Record& record : batch) {
      const std::uint32_t partition = record.partition();
      if (books.next[partition] != record.offset()) pass(partition);
      if (books.next[partition] != record.offset())
        return testing::AssertionFailure() << "offset " << record.offset() << ", expected " << books.next[partition];
      ++books.next[partition];
      ++books.delivered;
      const Bytes value = record.value();
      Prefix prefix{};
      if (value.size() < sizeof prefix) return testing::AssertionFailure() << "a value of " << value.size() << " bytes";
      std::memcpy(&prefix, value.data(), sizeof prefix);
      const std::string wanted = make(prefix.producer, prefix.number);
      if (text(value) != wanted) return testing::AssertionFailure() << "bytes of producer " << prefix.producer << " differ";
      std::uint64_t& next = books.next_of_producer[{partition, prefix.producer}];
      if (prefix.number < next)
        return testing::AssertionFailure() << "number " << prefix.number << " of producer " << prefix.producer << " after " << next;
      next = prefix.number + 1;
    }
    for (auto& [partition, open] : gaps) {
      pass(partition);
      if (!open.empty()) return testing::AssertionFailure() << "a gap that does not fit: " << describe(open.front());
    }
    return testing::AssertionSuccess();
  }

  void consume(const ConsumerConfig& config, const std::atomic<bool>& over, Books& books) {
    Bus own = must(Bus::open(path()));
    Consumer consumer = must(own.consumer(config));
    must(consumer.subscribe({"t"}));
    ready_.fetch_add(1);
    for (;;) {
      const bool last = over;
      const Batch batch = must(consumer.poll(last ? 0ns : std::chrono::nanoseconds(2ms)));
      const testing::AssertionResult right = check(batch, books);
      EXPECT_TRUE(right);
      if (!right) {
        failed_ = true;
        if (config.group.empty()) return;  // a group reads on, so that the producers come to their end
      }
      if (last && batch.empty() && batch.gaps().empty()) return;
    }
  }
  std::atomic<unsigned> ready_{0};
  std::atomic<bool> failed_{false};
};

TEST_P(Threads, EveryRecordIsAccountedFor) {
  const Plan& plan = GetParam();
  Topic topic = create("t", {.partitions = plan.partitions, .producers = plan.kind, .back_pressure = plan.lossless});
  std::atomic<bool> over{false};
  std::vector<Books> books(2);
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < books.size(); ++i)
    readers.emplace_back([&, i] {
      ConsumerConfig config{.start = Start::earliest, .wait = i == 0 ? Wait::sleeping() : Wait{}};
      if (plan.lossless) config.group = "g" + std::to_string(i);
      EXPECT_NO_THROW(consume(config, over, books[i]));
    });
  while (ready_ < books.size()) std::this_thread::yield();
  std::vector<std::thread> writers;
  for (std::uint64_t i = 0; i < plan.producers; ++i) writers.emplace_back([&, i] { EXPECT_NO_THROW(produce(i)); });
  for (std::thread& writer : writers) writer.join();
  {
    // Behind a trailing hole: a last record in each partition, so that every offset is reported.
    Producer producer = must(topic.producer({.timeout = kSoon}));
    for (std::uint32_t i = 0; i < plan.partitions; ++i) must(producer.send(bytes(make(99, i)), {.partition = i}));
  }
  over = true;
  for (std::thread& reader : readers) reader.join();
  ASSERT_FALSE(failed_);
  std::uint64_t claimed = 0;
  for (const PartitionInfo& partition : must(topic.describe()).partitions) claimed += partition.end_offset;
  for (const Books& one : books) {
    EXPECT_EQ(one.delivered + one.lost + one.uncommitted, claimed);
    EXPECT_GT(one.uncommitted, 0u);
    if (plan.lossless) {
      EXPECT_EQ(one.lost, 0u);
      EXPECT_EQ(one.delivered, plan.producers * kRecords + plan.partitions);
    }
    RecordProperty("delivered", std::to_string(one.delivered));
    RecordProperty("lost", std::to_string(one.lost));
  }
}

constexpr std::array<Plan, 6> kPlans{{
    {"OneToGroups", 1, 1, Producers::single, true, true},
    {"OneToObservers", 1, 1, Producers::single, false, true},
    {"ManyToGroups", 4, 1, Producers::many, true, true},
    {"ManyToObservers", 4, 1, Producers::many, false, true},
    {"PartitionsToGroups", 3, 3, Producers::many, true, true},
    {"PartitionsToObservers", 3, 3, Producers::many, false, true},
}};
INSTANTIATE_TEST_SUITE_P(All, Threads, testing::ValuesIn(kPlans), [](const auto& one) { return std::string(one.param.name); });

// Seeking and looking at the last value, creating and deleting, describing: while records flow.
using ThreadsApi = ApiTest;

TEST_F(ThreadsApi, LookingOnMeanwhile) {
  Topic topic = create("t", {.partitions = 2, .back_pressure = false});
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      Bus own = must(Bus::open(path()));
      Producer producer = must(must(own.topic("t")).producer());
      for (std::uint64_t n = 0; !over; ++n) must(producer.send_value(n, {.key = bytes(n % 2 == 0 ? "even" : "odd")}));
    });
  for (int i = 0; i < 300; ++i) {
    must(topic.describe());
    must(topic.readers());
    if (const auto last = must(topic.last(bytes("odd")))) {
      std::uint64_t n = 0;
      ASSERT_EQ(last->value->size(), sizeof n);
      std::memcpy(&n, last->value->data(), sizeof n);
      EXPECT_EQ(n % 2, 1u);
    }
    Consumer consumer = observe("t", {.start = i % 2 == 0 ? Start::last(50) : Start::latest});
    must(consumer.poll(1ms));
    must(consumer.seek("t", 0, Start::earliest));
    must(consumer.poll(0ns));
    if (i % 10 == 0) {
      must(bus.create("short-lived", {.partition_bytes = 64 << 10}));
      must(bus.remove("short-lived"));
    }
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace arus::test
