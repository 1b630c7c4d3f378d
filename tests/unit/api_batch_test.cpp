// Many records at once: what include/arus/producer.h promises of send_many and send_values.
#include <array>

#include "api_support.h"

namespace arus::test {
namespace {

class ApiBatch : public ApiTest {};

TEST_F(ApiBatch, SendsManyInOrder) {
  Topic topic = create("t", {.partition_bytes = 1 << 20});
  Producer producer = must(topic.producer());
  std::vector<std::string> values;
  for (int i = 0; i < 2000; ++i) values.push_back(std::to_string(i) + std::string(static_cast<std::size_t>(i % 150), '.'));
  std::vector<Message> messages;
  for (const std::string& value : values) messages.push_back({bytes(value), {.key = bytes("k"), .timestamp = 5}});
  EXPECT_EQ(must(producer.send_many(messages)), 2000u);
  EXPECT_EQ(must(producer.send_many({})), 0u);
  Consumer consumer = observe("t");
  std::size_t count = 0;
  while (count < values.size()) {
    const Batch batch = must(consumer.poll(0ns));
    ASSERT_FALSE(batch.empty());
    for (const Record& record : batch) {
      ASSERT_EQ(record.offset(), count);
      ASSERT_EQ(text(record.value()), values[count]);
      ASSERT_EQ(record.timestamp(), 5);
      ++count;
    }
  }
}

TEST_F(ApiBatch, SendsManyToMixedPartitions) {
  Topic topic = create("t", {.partitions = 4});
  Producer producer = must(topic.producer());
  std::vector<std::string> keys;
  for (int i = 0; i < 300; ++i) keys.push_back("k" + std::to_string(i / 3));
  std::vector<Message> messages;
  for (const std::string& key : keys) messages.push_back({bytes(key), {.key = bytes(key)}});
  EXPECT_EQ(must(producer.send_many(messages)), 300u);
  Consumer consumer = observe("t", {.start = Start::earliest, .max_records = 1000});
  const Batch batch = must(consumer.poll(0ns));
  EXPECT_EQ(batch.size(), 300u);
  std::map<std::string, int> seen;
  for (const Record& record : batch) {
    EXPECT_EQ(record.partition(), partition_of(record.key(), 4));
    ++seen[std::string(text(record.key()))];
  }
  EXPECT_EQ(seen.size(), 100u);
}

// Values alone: over partitions and laps, with empty and null ones among them.
TEST_F(ApiBatch, SendsManyValues) {
  Topic topic = create("t", {.partitions = 2});
  Producer producer = must(topic.producer());
  Consumer consumer = join("t", "g");
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::array<std::map<std::uint64_t, std::string>, 2> seen;
  while (sent < 5'000) {
    std::vector<std::string> texts;
    for (std::uint64_t i = 0; i < 1 + sent % 40; ++i) texts.push_back(std::string((sent + i) % 150, 'v'));
    std::vector<Bytes> values;
    for (const std::string& text : texts) values.push_back(bytes(text));
    if (sent % 3 == 0) values.back() = kNull;
    ASSERT_EQ(must(producer.send_values(values)), values.size());
    sent += values.size();
    for (;;) {
      const Batch batch = must(consumer.poll(0ns));
      if (batch.empty()) break;
      for (const Record& record : batch) {
        seen[record.partition()].emplace(record.offset(), text(record.value()));
        if (record.value().data() == nullptr) ++received;
      }
    }
  }
  EXPECT_EQ(seen[0].size() + seen[1].size(), sent);
  EXPECT_GT(seen[0].size(), 0u);
  EXPECT_GT(seen[1].size(), 0u);
  EXPECT_GT(received, 0u);
  const std::byte somewhere{};  // it is refused by its size, unread
  const std::vector<Bytes> too_large(1, Bytes(&somewhere, 1u << 30));
  EXPECT_TRUE(fails(producer.try_send_values(too_large), Errc::too_large, {"topic 't'"}));
}

// More than the ring holds: as much as there is room for, then the rest as a reader goes on.
TEST_F(ApiBatch, SendsMoreThanTheRingHolds) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = join("t", "g");
  const std::string value(1000, 'v');
  const std::vector<Message> messages(500, Message{bytes(value), {}});  // half a megabyte into 64 KiB
  const std::size_t sent = must(producer.try_send_many(messages));
  EXPECT_GT(sent, 30u);
  EXPECT_LE(sent, 64u);
  EXPECT_TRUE(fails(producer.try_send_many(messages), Errc::full));
  EXPECT_TRUE(fails(producer.send_many(messages, 10ms), Errc::timed_out, {"'g'", "pid " + std::to_string(getpid())}));
  std::thread sender([&] { EXPECT_EQ(must(producer.send_many(messages, kSoon)), 500u); });
  Account account;
  while (account.delivered < sent + 500) {
    const Batch batch = must(consumer.poll(kSoon));
    ASSERT_FALSE(batch.empty());
    ASSERT_TRUE(account.add(batch));
  }
  sender.join();
  EXPECT_EQ(account.next(), sent + 500);
}

TEST_F(ApiBatch, ABadMessageEndsABatch) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  const std::string large(40'000, 'x');
  const std::array<Message, 3> messages{Message{bytes("a"), {}}, Message{bytes(large), {}}, Message{bytes("c"), {}}};
  EXPECT_EQ(must(producer.send_many(messages)), 1u) << "those before it";
  EXPECT_TRUE(fails(producer.send_many(std::span(messages).subspan(1)), Errc::too_large, {"40000"}));
  const std::array<Message, 2> misplaced{Message{bytes("a"), {.partition = 1}}, Message{bytes("b"), {}}};
  EXPECT_TRUE(fails(producer.send_many(misplaced), Errc::invalid_argument));
  Consumer consumer = observe("t");
  EXPECT_EQ(now(consumer), "a");
}

TEST_F(ApiBatch, ABatchOfOneLargeRecordEach) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  const std::string large(producer.max_record_bytes(), 'l');
  const std::vector<Message> messages(5, Message{bytes(large), {}});
  EXPECT_EQ(must(producer.send_many(messages)), 5u) << "nobody holds them back";
  Consumer consumer = observe("t", {.start = Start::last(1)});
  EXPECT_EQ(now(consumer), large);
}

}  // namespace
}  // namespace arus::test
