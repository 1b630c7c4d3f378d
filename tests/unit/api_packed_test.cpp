// Values alone of one size that are sent together stand packed under one header. Nobody is to notice but by the room they take: each of them is
// a record with an offset of its own, where a reader may stop, be replaced, begin, or be overtaken.
#include <cstdio>
#include <map>
#include <memory>
#include <set>

#include "api_support.h"
#include "bus/state.h"
#include "ring/room.h"

namespace arus::test {
namespace {

class ApiPacked : public ApiTest {
 protected:
  // "0000000", "0000001", …, each as long as the others.
  static std::string numbered(std::uint64_t number, std::size_t size = 20) {
    std::string digits = std::to_string(number);
    return std::string(size - std::min(size, digits.size()), '0') + digits.substr(digits.size() - std::min(size, digits.size()));
  }
  static std::uint64_t number(const Record& record) { return std::stoull(std::string(text(record.value()))); }
  void send(Producer& producer, std::size_t count, std::size_t size = 20) {
    std::vector<std::string> texts(count);
    std::vector<Bytes> values(count);
    for (std::size_t i = 0; i < count; ++i) {
      texts[i] = numbered(sent_ + i, size);
      values[i] = bytes(texts[i]);
    }
    ASSERT_EQ(must(producer.send_values(values)), count);
    sent_ += count;
  }
  std::uint64_t used() { return must(must(bus.topic("t")).describe()).partitions.at(0).bytes_used; }

  std::uint64_t sent_ = 0;
};

TEST_F(ApiPacked, EverySizeEveryCountEveryReader) {
  for (const std::size_t size : {1u, 7u, 8u, 15u, 16u, 17u, 20u, 32u, 33u, 64u, 100u, 255u, 257u, 1024u, 1025u})
    for (const std::uint32_t most : {1u, 3u, 256u}) {
      create("t", {.partition_bytes = 1 << 20});
      Producer producer = must(must(bus.topic("t")).producer());
      Consumer group = observe("t", {.group = "g", .start = Start::earliest, .max_records = most});
      Consumer observer = observe("t", {.start = Start::earliest, .max_records = most});
      Consumer watcher = observe("t", {.start = Start::earliest, .max_records = most, .in_place = true});
      sent_ = 0;
      for (const std::size_t count : {2u, 3u, 31u, 32u, 33u, 300u}) send(producer, count, size);
      for (Consumer* reader : {&group, &observer, &watcher}) {
        std::uint64_t next = 0;
        Timestamp before = 0;
        while (next < sent_) {
          const Batch batch = must(reader->poll(0ns));
          ASSERT_FALSE(batch.empty()) << size << " bytes, " << next;
          EXPECT_TRUE(batch.gaps().empty());
          EXPECT_TRUE(batch.intact());
          for (const Record& record : batch) {
            ASSERT_EQ(record.offset(), next);
            ASSERT_EQ(text(record.value()), numbered(next, size));
            ASSERT_EQ(reinterpret_cast<std::uintptr_t>(record.value().data()) % 16, 0u);
            ASSERT_EQ(record.key().data(), nullptr);
            ASSERT_TRUE(record.headers().empty());
            ASSERT_GE(record.timestamp(), before);
            before = record.timestamp();
            ++next;
          }
        }
        EXPECT_TRUE(must(reader->poll(0ns)).empty());
      }
      must(bus.remove("t"));
    }
}

TEST_F(ApiPacked, TakesTheRoomOfItsValues) {
  Producer producer = must(create("t").producer());
  send(producer, 100, 16);
  EXPECT_EQ(used(), (32 + 100 * 16 + 63) / 64 * 64u);
}

// Sizes change, tombstones and keys come in between: as few headers as there can be, in the order of the call.
TEST_F(ApiPacked, RunsOfSizesWithOthersBetween) {
  Producer producer = must(create("t", {.partition_bytes = 1 << 20}).producer());
  Consumer reader = join("t", "g");
  std::vector<std::string> texts;
  for (std::size_t run = 0; run < 40; ++run)
    for (std::size_t i = 0; i < run % 7; ++i) texts.push_back(numbered(texts.size(), 10 + run % 3 * 20));
  std::vector<Message> messages;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    messages.push_back({bytes(texts[i]), {}});
    if (i % 13 == 5) messages.back().envelope.key = bytes("k");
    if (i % 17 == 3) messages.back().value = kNull;
    if (i % 19 == 2) messages.back().envelope.timestamp = 7;
  }
  ASSERT_EQ(must(producer.send_many(messages)), messages.size());
  std::size_t next = 0;
  while (next < messages.size()) {
    const Batch batch = must(reader.poll(0ns));
    ASSERT_FALSE(batch.empty());
    for (const Record& record : batch) {
      ASSERT_EQ(record.offset(), next);
      ASSERT_EQ(text(record.value()), text(messages[next].value));
      ASSERT_EQ(text(record.key()), text(messages[next].envelope.key));
      ASSERT_EQ(record.timestamp() == 7, messages[next].envelope.timestamp.has_value());
      ++next;
    }
  }
}

TEST_F(ApiPacked, ASuccessorGoesOnInTheMiddle) {
  Producer producer = must(create("t").producer());
  send(producer, 20);
  const auto successor_begins_at = [&](const std::string& group) {
    Consumer successor = join("t", group);
    const Batch batch = must(successor.poll(0ns));
    EXPECT_TRUE(batch.gaps().empty());
    EXPECT_EQ(number(batch[batch.size() - 1]), 19u);
    return number(batch[0]);
  };
  {
    Consumer consumer = observe("t", {.group = "polls", .start = Start::earliest, .max_records = 5});
    EXPECT_EQ(must(consumer.poll(0ns)).size(), 5u);
    EXPECT_EQ(must(consumer.poll(0ns)).size(), 5u) << "which settles the first five";
    EXPECT_EQ(must(consumer.lag("t", 0)), 10u);
  }
  EXPECT_EQ(successor_begins_at("polls"), 5u);
  const auto by_hand = [&](const std::string& group, std::initializer_list<std::size_t> committed) {
    Consumer consumer = observe("t", {.group = group, .start = Start::earliest, .max_records = 5, .auto_commit = false});
    const Batch batch = must(consumer.poll(0ns));
    ASSERT_EQ(batch.size(), 5u);
    for (const std::size_t i : committed) must(consumer.commit(batch[i]));
  };
  by_hand("one", {2});
  EXPECT_EQ(successor_begins_at("one"), 3u);
  by_hand("more", {0, 2, 4});
  EXPECT_EQ(successor_begins_at("more"), 5u);
}

TEST_F(ApiPacked, BeginsAndSeeksInTheMiddle) {
  Producer producer = must(create("t", {.max_groups = 64}).producer());
  int groups = 0;
  send(producer, 10);
  must(producer.send(bytes(numbered(sent_++))));
  send(producer, 10);
  for (std::uint64_t offset = 0; offset < 21; ++offset) {
    for (const bool in_group : {false, true})
      for (const Start start : {Start::offset(offset), Start::last(21 - offset)}) {
        Consumer reader = observe("t", {.group = in_group ? "g" + std::to_string(groups++) : "", .start = start});
        const Batch batch = must(reader.poll(0ns));
        ASSERT_EQ(batch.size(), 21 - offset);
        ASSERT_EQ(number(batch[0]), offset);
        EXPECT_TRUE(batch.gaps().empty());
        must(reader.seek("t", 0, Start::offset(20 - offset)));
        ASSERT_EQ(number(must(reader.poll(0ns))[0]), 20 - offset);
      }
  }
  EXPECT_EQ(must(must(bus.topic("t")).last(0))->value, numbered(20));
}

// Producers get the room back when all of it is read, not before; and no earlier reader is in the way of a later one.
TEST_F(ApiPacked, HoldsBackUntilAllOfItIsRead) {
  Producer producer = must(create("t").producer());
  Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .max_records = 1});
  const std::string value(1000, 'v');
  const std::vector<Bytes> values(15, bytes(value));
  std::uint64_t sent = 0;
  for (;;) {
    const auto more = producer.try_send_values(values);
    if (!more) break;
    sent += *more;
  }
  EXPECT_EQ(sent % 15, 0u) << "what goes to one partition goes together";
  Account account;
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(account.add(must(reader.poll(0ns))));
    if (const auto more = producer.try_send_values(values)) sent += *more;
  }
  while (account.next() < sent) ASSERT_TRUE(account.add(must(reader.poll(0ns))));
  EXPECT_EQ(account.delivered, sent);
}

TEST_F(ApiPacked, WhoIsLappedIsToldExactly) {
  Producer producer = must(create("t").producer());
  Consumer observer = observe("t", {.start = Start::earliest, .max_records = 7});
  Consumer lossy = observe("t", {.group = "g", .start = Start::earliest, .max_records = 7, .delivery = Delivery::lossy});
  Account seen;
  Account group;
  for (int i = 0; i < 3000; ++i) {
    send(producer, 2 + static_cast<std::size_t>(i % 90));
    if (i % 3 != 0) continue;
    ASSERT_TRUE(seen.add(must(observer.poll(0ns))));
    ASSERT_TRUE(group.add(must(lossy.poll(0ns))));
  }
  for (Consumer* reader : {&observer, &lossy}) {
    Account& account = reader == &observer ? seen : group;
    while (account.next() < sent_) {
      const Batch batch = must(reader->poll(0ns));
      ASSERT_TRUE(account.add(batch));
      for (const Record& record : batch) ASSERT_EQ(number(record), record.offset());
    }
    EXPECT_EQ(account.delivered + account.lost, sent_);
    EXPECT_GT(account.lost, 0u);
    EXPECT_GT(account.delivered, 1000u);
  }
}

// Evicted when it has read four of twenty: what is still there comes next, and what is not is reported.
TEST_F(ApiPacked, AnEvictedGroupGoesOnInTheMiddle) {
  for (const std::size_t more : {std::size_t{30}, std::size_t{10'000}}) {
    Producer producer = must(create("t").producer());
    Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .max_records = 4, .evict_behind_records = 25});
    sent_ = 0;
    send(producer, 20);
    Account account;
    ASSERT_TRUE(account.add(must(reader.poll(0ns))));
    for (std::size_t i = 0; i < more; i += 10) send(producer, 10);
    int evictions = 0;
    while (account.next() < sent_) {
      const Polled batch = reader.poll(0ns);
      if (batch)
        ASSERT_TRUE(account.add(*batch));
      else
        ASSERT_TRUE(fails(batch, Errc::evicted) && ++evictions == 1);
    }
    EXPECT_EQ(account.delivered + account.lost, sent_);
    EXPECT_EQ(account.lost != 0, more > 30);
    must(reader.unsubscribe("t"));
    must(bus.remove("t"));
  }
}

// What its caller commits after an eviction counts, also where the cursor has come back to the very header that was begun.
TEST_F(ApiPacked, ACommitInTheMiddleAfterAnEviction) {
  Producer producer = must(create("t").producer());
  send(producer, 20);
  {
    Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .max_records = 5, .auto_commit = false});
    EXPECT_EQ(must(reader.poll(0ns)).size(), 5u);
    const auto topic =
        must(detail::TopicState::open(std::make_shared<detail::BusState>(must(log::BusDirectory::open(path()))), "t"));
    const auto table = must(topic->groups(platform::Access::write));
    ASSERT_TRUE(ring::evict_by_hand(table->cursors(0)[table->find("g").value()]));
    EXPECT_TRUE(fails(reader.poll(0ns), Errc::evicted));
    must(reader.commit());
  }
  Consumer successor = join("t", "g");
  EXPECT_EQ(number(must(successor.poll(0ns))[0]), 5u);
}

// Each of them is a job of its own.
TEST_F(ApiPacked, AShareGroupWorksOnEach) {
  Producer producer = must(create("t", {.partition_bytes = 64 << 10}).producer());
  auto first = std::make_unique<ShareConsumer>(must(bus.share_consumer({.group = "w", .max_records = 3})));
  ShareConsumer second = must(bus.share_consumer({.group = "w", .max_records = 4}));
  must(first->subscribe({"t"}));
  must(second.subscribe({"t"}));
  std::map<std::uint64_t, int> settled;
  for (int round = 0; round < 400; ++round) {
    send(producer, 2 + static_cast<std::size_t>(round % 30));
    while (settled.size() < sent_) {
      const ShareBatch one = must(first->poll(0ns));
      for (const SharedRecord& job : one) EXPECT_EQ(std::stoull(std::string(text(job.value()))), job.offset());
      const ShareBatch other = must(second.poll(0ns));
      for (const SharedRecord& job : other) {
        EXPECT_EQ(std::stoull(std::string(text(job.value()))), job.offset());
        if (job.delivery_count() == 1 && job.offset() % 5 == 0) {
          must(second.release(job));
        } else {
          must(second.accept(job));
          ++settled[job.offset()];
        }
      }
      must(first->accept(one));
      for (const SharedRecord& job : one) ++settled[job.offset()];
    }
  }
  for (const auto& [offset, times] : settled) ASSERT_EQ(times, 1) << offset;
  const SharePartition info = must(bus.share_group("w")).partitions.at(0);
  EXPECT_EQ(info.settled_before, sent_);
  EXPECT_EQ(info.accepted, sent_);
  EXPECT_EQ(info.available + info.acquired + info.lost, 0u);

  // What was settled in the middle stays so; what was not comes again.
  send(producer, 9);
  const std::uint64_t from = sent_ - 9;
  const ShareBatch held = must(first->poll(0ns));
  ASSERT_EQ(held.size(), 3u);
  must(first->accept(held[0]));
  EXPECT_EQ(must(bus.share_group("w")).partitions.at(0).settled_before, from + 1);
  first.reset();
  std::set<std::uint64_t> rest;
  for (int i = 0; i < 4; ++i) {
    const ShareBatch batch = must(second.poll(0ns));
    for (const SharedRecord& job : batch) rest.insert(job.offset());
    must(second.accept(batch));
  }
  EXPECT_EQ(rest.size(), 8u);
  EXPECT_EQ(*rest.begin(), from + 1);
  EXPECT_EQ(must(bus.share_group("w")).partitions.at(0).settled_before, sent_);
}

TEST_F(ApiPacked, ByTheOnlyProducer) {
  Producer producer = must(create("t", {.producers = Producers::single}).producer());
  Consumer reader = join("t", "g");
  Account account;
  for (int i = 0; i < 500; ++i) {
    send(producer, 2 + static_cast<std::size_t>(i % 60), 24);
    while (account.next() < sent_) ASSERT_TRUE(account.add(must(reader.poll(0ns))));
  }
  EXPECT_EQ(account.delivered, sent_);
}

}  // namespace
}  // namespace arus::test
