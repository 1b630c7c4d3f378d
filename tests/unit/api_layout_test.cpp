// The bytes of a partition after some known sends: the wire protocol between builds. A change here needs a new layout version.
#include <cstring>
#include <fstream>
#include <iterator>

#include "api_support.h"

namespace arus::test {
namespace {

class ApiLayout : public ApiTest {
 protected:
  void read() {
    std::ifstream file(path() + "/topics/t/0", std::ios::binary);
    bytes_ = std::string(std::istreambuf_iterator<char>(file), {});
  }
  [[nodiscard]] std::uint64_t word(std::size_t at) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }
  [[nodiscard]] std::uint64_t half(std::size_t at) const { return word(at) & 0xffffffff; }
  std::string bytes_;
};

TEST_F(ApiLayout, OfAPartition) {
  Topic topic = create("t", {.max_producers = 1});
  Producer producer = must(topic.producer());
  must(producer.send(bytes("hello"), {.timestamp = 1000}));
  const std::string long_value(60, 'z');
  const std::array<Header, 1> headers{Header{"n", bytes("v")}};
  must(producer.send(bytes(long_value), {.key = bytes("key"), .headers = headers, .timestamp = -1}));
  must(producer.loan(100, {.timestamp = 5})).abort();
  must(producer.send(kNull, {.key = bytes(""), .timestamp = 7}));
  read();

  constexpr std::size_t kRing = 65536;
  ASSERT_EQ(bytes_.size(), kRing + 65536);
  EXPECT_EQ(bytes_.substr(0, 8), "ARUSPART");
  EXPECT_EQ(half(8), 7u) << "layout version";
  EXPECT_EQ(half(12), 0x01020304u) << "byte order";
  EXPECT_EQ(word(16), bytes_.size());
  EXPECT_EQ(word(24), kRing);
  EXPECT_EQ(word(32), 65536u) << "ring bytes";
  const std::uint64_t salt = word(40);
  EXPECT_EQ(salt & 3, 0u) << "so that zeroes are no mark";
  EXPECT_EQ(word(80), 0u) << "first offset";
  EXPECT_EQ(half(88), 0u) << "partition";
  EXPECT_EQ(half(92), 1u) << "slots";
  EXPECT_EQ(half(96), 64u) << "index entries";
  EXPECT_EQ(half(100), 0u) << "single producer";
  EXPECT_EQ(half(128), 0u) << "deleted";
  EXPECT_EQ(half(132), 1u) << "slots used";
  EXPECT_EQ(word(256), 1031ull << 12 | 0) << "tail: seven cells from 1024 on, last owner 0";
  EXPECT_EQ(word(264), 4u) << "next offset";
  EXPECT_EQ(word(384), 1024u) << "low";

  constexpr std::size_t kSlot = 4096;
  EXPECT_EQ(word(kSlot), 1030ull << 12 | 0) << "intent";
  EXPECT_EQ(word(kSlot + 8), 3u) << "first offset";
  EXPECT_EQ(word(kSlot + 16), 1ull << 32 | 1) << "cells and records";
  EXPECT_EQ(word(kSlot + 24), 1024u) << "born";
  EXPECT_NE(word(kSlot + 32), 0u) << "incarnation";
  EXPECT_EQ(word(kSlot + 40), 1000u) << "largest timestamp";

  std::size_t at = kRing;  // "hello", 1 cell: state committed, lap 1, owner 0
  EXPECT_EQ(word(at) ^ salt, 2u | 1u << 2 | 1ull << 36);
  EXPECT_EQ(word(at + 8), 0ull << 12 | 0xfff) << "the first of all has no predecessor";
  EXPECT_EQ(word(at + 16), 1000u);
  EXPECT_EQ(word(at + 24), 5ull | 1ull << 60) << "null key";
  EXPECT_EQ(bytes_.substr(at + 32, 32), std::string("hello") + std::string(27, '\0'));

  at += 64;  // key, header, value on 16 bytes: 2 cells
  EXPECT_EQ(word(at) ^ salt, 2u | 1u << 2 | 2ull << 36);
  EXPECT_EQ(word(at + 8), 1ull << 12 | 0);
  EXPECT_EQ(word(at + 16), ~std::uint64_t{0});
  EXPECT_EQ(word(at + 24), 60ull | 3ull << 28 | 6ull << 44);
  EXPECT_EQ(bytes_.substr(at + 32, 16), std::string("key\x01\x00\x01\x00nv", 9) + std::string(7, '\0'));
  EXPECT_EQ(bytes_.substr(at + 48, 80), long_value + std::string(20, '\0'));

  at += 128;  // aborted, 3 cells
  EXPECT_EQ(word(at) ^ salt, 3u | 1u << 2 | 3ull << 36);
  EXPECT_EQ(word(at + 8), 2ull << 12 | 0);

  at += 192;  // null value, empty key
  EXPECT_EQ(word(at) ^ salt, 2u | 1u << 2 | 1ull << 36);
  EXPECT_EQ(word(at + 8), 3ull << 12 | 0);
  EXPECT_EQ(word(at + 24), 2ull << 60);

  at += 64;
  EXPECT_EQ(bytes_.substr(at), std::string(bytes_.size() - at, '\0')) << "nothing was touched behind the tail";
}

// From 4 KiB on a value starts on a cell of its own.
TEST_F(ApiLayout, OfLargeValues) {
  Topic topic = create("t", {.max_producers = 1});
  Producer producer = must(topic.producer());
  const std::string value(4096, 'v');
  must(producer.send(bytes(value), {.timestamp = 1}));
  must(producer.send(bytes(value), {.key = bytes("key"), .timestamp = 2}));
  Loan loan = must(producer.loan(4096, {.timestamp = 3}));
  std::memcpy(loan.data().data(), "short", 5);
  must(loan.commit(5));
  read();
  std::size_t at = 65536;
  EXPECT_EQ(word(at) ^ word(40), 2u | 1u << 2 | 65ull << 36) << "cells";
  EXPECT_EQ(word(at + 24), 4096ull | (1ull | 8ull) << 60) << "null key, on a cell";
  EXPECT_EQ(bytes_.substr(at + 32, 32), std::string(32, '\0'));
  EXPECT_EQ(bytes_.substr(at + 64, 4096), value);
  at += 65 * 64;
  EXPECT_EQ(word(at + 24), 4096ull | 3ull << 28 | 8ull << 60);
  EXPECT_EQ(bytes_.substr(at + 32, 32), "key" + std::string(29, '\0'));
  EXPECT_EQ(bytes_.substr(at + 64, 4096), value);
  at += 65 * 64;
  EXPECT_EQ(word(at + 24), 5ull | (1ull | 8ull) << 60);
  EXPECT_EQ(bytes_.substr(at + 64, 5), "short");
}

// As long as a loan is open its readers are told that this may take a while; whether one of the first or later, made by a shorter way.
TEST_F(ApiLayout, OfALoan) {
  Topic topic = create("t", {.max_producers = 1});
  Producer producer = must(topic.producer());
  for (std::size_t at = 65536, i = 0; i < 200; at += 128, ++i) {
    Loan loan = must(producer.loan(64, {}));
    std::memset(loan.data().data(), 'v', 64);
    read();
    EXPECT_EQ(word(at) ^ word(40), 1u | 1u << 2 | 2ull << 36) << "claimed";
    EXPECT_EQ(word(at + 24), ~std::uint64_t{0}) << i;
    must(loan.commit(40));
    read();
    EXPECT_EQ(word(at) ^ word(40), 2u | 1u << 2 | 2ull << 36) << "committed";
    EXPECT_EQ(word(at + 24), 40ull | 1ull << 60) << i;
  }
}

TEST_F(ApiLayout, OfABatch) {
  Topic topic = create("t", {.producers = Producers::single, .max_producers = 1});
  Producer producer = must(topic.producer());
  const std::string value(40, 'b');
  const std::vector<Message> messages(3, Message{bytes(value), {.timestamp = 9}});
  ASSERT_EQ(must(producer.send_many(messages)), 3u);
  read();
  EXPECT_EQ(half(100), 1u) << "single producer";
  const std::uint64_t salt = word(40);
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(word(65536 + 128 * i) ^ salt, 2u | 1u << 2 | 2ull << 36) << i;
    EXPECT_EQ(word(65536 + 128 * i + 8), i << 12 | (i == 0 ? 0xfffu : 0u)) << i;
  }
  EXPECT_EQ(word(4096 + 16), 6ull << 32 | 3) << "one claim";
}

// Values alone and of one size: a header for all of them, and each on 16 bytes.
TEST_F(ApiLayout, OfAPackedBatch) {
  Topic topic = create("t", {.max_producers = 1});
  Producer producer = must(topic.producer());
  std::vector<std::string> texts;
  for (char c = 'a'; c < 'h'; ++c) texts.push_back(std::string(20, c));
  std::vector<Bytes> values;
  for (const std::string& text : texts) values.push_back(bytes(text));
  ASSERT_EQ(must(producer.send_values(values)), 7u);
  must(producer.send(bytes("next")));
  read();
  EXPECT_EQ(word(65536) ^ word(40), 2u | 1u << 2 | 4ull << 36) << "32 + 7 * 32 bytes";
  EXPECT_EQ(word(65536 + 8), 0ull << 12 | 0xfff) << "the first one's offset";
  EXPECT_EQ(word(65536 + 24), 20ull | 7ull << 28 | 5ull << 60) << "size, how many, null key and packed";
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(bytes_.substr(65536 + 32 + 32 * i, 32), texts[i] + std::string(12, '\0')) << i;
  EXPECT_EQ(word(65536 + 256 + 8), 7ull << 12 | 0) << "the next one's offset";
}

// A batch that ends where an earlier lap's payload looks like a mark is claimed with a cell of padding, which belongs to its last record.
TEST_F(ApiLayout, OfABatchBeforeAnImitation) {
  constexpr std::size_t kCell = 64;
  for (const bool alone : {true, false}) {  // values alone, and messages that have more
    create("t", {.max_producers = 1});
    Producer producer = must(must(bus.topic("t")).producer());
    Consumer reader = must(bus.consumer({.group = "g", .start = Start::earliest}));
    must(reader.subscribe({"t"}));
    read();
    const std::uint64_t imitation = word(40) ^ (2u | 2u << 2 | 1ull << 36);  // committed, of the next lap, one cell
    std::string large(16 * kCell - 32, 'x');
    const std::uint64_t cells = alone ? 2 : 3;  // of the batch: values alone are packed
    std::memcpy(large.data() + cells * kCell - 32, &imitation, sizeof imitation);
    for (int i = 0; i < 64; ++i) {
      must(producer.send(bytes(large)));
      ASSERT_EQ(must(reader.poll(kSoon)).size(), 1u);
    }
    const std::vector<Bytes> values(3, bytes("small"));
    const std::vector<Message> messages(3, Message{bytes("small"), {.timestamp = 9}});
    ASSERT_EQ(must(alone ? producer.send_values(values) : producer.send_many(messages)), 3u);
    must(producer.send(bytes("next")));
    read();
    const std::uint64_t last = alone ? 0 : 2;
    for (std::uint64_t i = 0; i <= last; ++i)
      EXPECT_EQ((word(65536 + kCell * i) ^ word(40)) >> 36, alone ? 3u : i == last ? 2u : 1u) << "cells of " << i;
    std::string heard;
    while (heard.find("next") == std::string::npos) {
      const Batch batch = must(reader.poll(kSoon));
      ASSERT_FALSE(batch.empty());
      EXPECT_TRUE(batch.gaps().empty());
      for (const Record& record : batch) heard += std::string(text(record.value())) + ' ';
    }
    EXPECT_EQ(heard, "small small small next ");
    must(reader.unsubscribe("t"));
    must(bus.remove("t"));
  }
}

}  // namespace
}  // namespace arus::test
