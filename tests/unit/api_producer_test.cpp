// What include/arus/producer.h promises, but for batches.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include "api_support.h"

namespace arus::test {
namespace {

class ApiProducer : public ApiTest {};

// ---- sending -------------------------------------------------------------------------------------------------------------------

TEST_F(ApiProducer, SendsAndNamesThePlace) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  for (std::uint64_t i = 0; i < 3; ++i) {
    const Placed placed = must(producer.send(bytes(std::to_string(i))));
    EXPECT_EQ(placed.partition, 0u);
    EXPECT_EQ(placed.offset, i);
  }
  Consumer consumer = observe("t");
  EXPECT_EQ(now(consumer), "0 1 2");
}

TEST_F(ApiProducer, CarriesKeyHeadersAndTime) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  const std::array<Header, 4> headers{Header{"type", bytes("json")}, Header{"empty", bytes("")}, Header{"null", kNull},
                                      Header{"", bytes("nameless")}};
  must(producer.send(bytes("v"), {.key = bytes("k"), .headers = headers, .timestamp = -1'234'567}));
  Consumer consumer = observe("t");
  const Batch batch = must(consumer.poll(kSoon));
  ASSERT_EQ(batch.size(), 1u);
  const Record& record = batch[0];
  EXPECT_EQ(record.topic(), "t");
  EXPECT_EQ(text(record.key()), "k");
  EXPECT_EQ(text(record.value()), "v");
  EXPECT_EQ(record.timestamp(), -1'234'567);
  std::vector<std::pair<std::string, std::optional<std::string>>> found;
  for (const Header header : record.headers())
    found.emplace_back(header.name, header.value.data() == nullptr ? std::nullopt : std::optional<std::string>(text(header.value)));
  EXPECT_EQ(found, (decltype(found){{"type", "json"}, {"empty", ""}, {"null", std::nullopt}, {"", "nameless"}}));
  EXPECT_EQ(text(*record.headers().find("type")), "json");
  EXPECT_EQ(record.headers().find("null")->data(), nullptr);
  EXPECT_FALSE(record.headers().find("none"));
  EXPECT_FALSE(record.headers().empty());
}

TEST_F(ApiProducer, NullAndEmptyDiffer) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  for (const Bytes key : {kNull, bytes("")})
    for (const Bytes value : {kNull, bytes("")}) must(producer.send(value, {.key = key}));
  Consumer consumer = observe("t");
  const Batch batch = must(consumer.poll(kSoon));
  ASSERT_EQ(batch.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(batch[i].key().data() == nullptr, i < 2) << i;
    EXPECT_EQ(batch[i].value().data() == nullptr, i % 2 == 0) << i;
    EXPECT_TRUE(batch[i].key().empty() && batch[i].value().empty() && batch[i].headers().empty());
  }
}

TEST_F(ApiProducer, StampsWithTheWallClock) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  const auto wall = [] { return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count(); };
  const Timestamp before = wall();
  must(producer.send(bytes("x")));
  const Timestamp after = wall();
  Consumer consumer = observe("t");
  const Batch batch = must(consumer.poll(kSoon));
  EXPECT_GE(batch[0].timestamp(), before - 1'000'000);
  EXPECT_LE(batch[0].timestamp(), after + 1'000'000);
}

// Every size around the borders of cells and alignment, up to the largest; the bytes come out as they went in, on 16.
TEST_F(ApiProducer, AllSizesFromNothingToTheLargest) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  const std::size_t most = producer.max_record_bytes();
  EXPECT_EQ(most, must(topic.describe()).max_record_bytes);
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 200; ++i) sizes.push_back(i);
  for (const std::size_t size : {most / 2, most - 65, most - 64, most - 63, most - 17, most - 1, most}) sizes.push_back(size);
  for (const bool in_group : {false, true}) {
    Consumer consumer = in_group ? join("t", "g") : observe("t", {.start = Start::latest});
    if (in_group) must(consumer.seek("t", 0, Start::latest));
    for (const std::size_t size : sizes)
      for (const std::size_t key : {std::size_t{0}, std::size_t{1}, std::size_t{31}}) {
        if (key > size) continue;
        std::string all(size, '\0');
        for (std::size_t i = 0; i < size; ++i) all[i] = static_cast<char>(i * 7 + size + key);
        const std::string_view name = std::string_view(all).substr(0, key);
        const std::string_view value = std::string_view(all).substr(key);
        must(producer.send(bytes(value), {.key = key != 0 ? bytes(name) : kNull}, kSoon));
        const Batch batch = must(consumer.poll(kSoon));
        ASSERT_EQ(batch.size(), 1u);
        ASSERT_EQ(text(batch[0].value()), value) << size;
        ASSERT_EQ(text(batch[0].key()), name) << size;
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(batch[0].value().data()) % 16, 0u);
      }
  }
  EXPECT_TRUE(fails(producer.send(bytes(std::string(most + 1, 'x'))), Errc::too_large,
                    {std::to_string(most + 1), std::to_string(most), "'t'", "larger partitions"}));
  EXPECT_TRUE(fails(producer.loan(most + 1), Errc::too_large));
  EXPECT_TRUE(fails(producer.loan(~std::size_t{0}), Errc::too_large)) << "sizes that would overflow a sum";
  EXPECT_TRUE(fails(producer.loan(~std::size_t{0} - 3, {.key = bytes("12345678")}), Errc::too_large));
}

TEST_F(ApiProducer, LimitsOfKeyAndHeaders) {
  Topic topic = create("t", {.partition_bytes = 1 << 20});
  Producer producer = must(topic.producer());
  const std::string key(65535, 'k');
  const std::string value(65535 - 5, 'h');
  const std::array<Header, 1> headers{Header{"n", bytes(value)}};
  must(producer.send(bytes("v"), {.key = bytes(key), .headers = headers}));
  Consumer consumer = observe("t");
  const Batch batch = must(consumer.poll(kSoon));
  EXPECT_EQ(text(batch[0].key()), key);
  EXPECT_EQ(text(*batch[0].headers().find("n")), value);
  EXPECT_TRUE(fails(producer.send(bytes("v"), {.key = bytes(key + 'k')}), Errc::too_large, {"key", "65535", "65536"}));
  const std::array<Header, 2> more{headers[0], Header{"", bytes("")}};
  EXPECT_TRUE(fails(producer.send(bytes("v"), {.headers = more}), Errc::too_large, {"headers", "65535", "65539"}));
}

TEST_F(ApiProducer, TypedValues) {
  struct Frame {
    std::uint64_t id;
    double value;
  };
  Topic topic = create("t", {.schema = "frame", .record_size = sizeof(Frame)});
  Producer producer = must(topic.producer({.schema = "frame"}));
  must(producer.send_value(Frame{7, 1.5}));
  auto loan = must(producer.loan(sizeof(Frame)));
  loan.as<Frame>() = {8, 2.5};
  must(loan.commit());
  Consumer consumer = observe("t");
  const Batch batch = must(consumer.poll(kSoon));
  EXPECT_EQ(batch[0].as<Frame>()->id, 7u);
  EXPECT_EQ(batch[1].as<Frame>()->value, 2.5);
  EXPECT_FALSE(batch[0].as<int>()) << "another size";
  EXPECT_TRUE(fails(producer.send(bytes("short")), Errc::schema_mismatch, {"'t'", "16 bytes", "'frame'", "5"}));
  EXPECT_TRUE(fails(producer.loan(17), Errc::schema_mismatch));
  auto wrong = must(producer.loan(16));
  EXPECT_TRUE(fails(wrong.commit(8), Errc::invalid_argument, {"aborted"})) << "a shorter value is not of the schema's size";
  EXPECT_TRUE(fails(topic.producer({.schema = "other"}), Errc::schema_mismatch, {"'frame'", "'other'"}));
}

// ---- placement -----------------------------------------------------------------------------------------------------------------

TEST_F(ApiProducer, KeysKeepTheirPartition) {
  Topic topic = create("t", {.partitions = 5});
  Producer producer = must(topic.producer());
  EXPECT_EQ(producer.partitions(), 5u);
  for (int i = 0; i < 100; ++i) {
    const std::string key = "key-" + std::to_string(i);
    EXPECT_EQ(must(producer.send(key, bytes("v"))).partition, partition_of(bytes(key), 5));
  }
  for (std::uint32_t i = 0; i < 5; ++i)
    EXPECT_EQ(must(producer.send(bytes("v"), {.key = bytes("key-1"), .partition = i})).partition, i) << "explicit";
  EXPECT_TRUE(fails(producer.send(bytes("v"), {.partition = 5}), Errc::invalid_argument, {"'t'", "0 to 4", "partition 5"}));
}

TEST_F(ApiProducer, KeylessRecordsStayFor16KiB) {
  Topic topic = create("t", {.partitions = 3, .back_pressure = false});
  Producer producer = must(topic.producer());
  const std::string value(1024, 'x');
  std::vector<std::uint32_t> runs;
  std::uint32_t last = 99;
  for (int i = 0; i < 16 * 9; ++i) {
    const std::uint32_t partition = must(producer.send(bytes(value))).partition;
    if (partition == last) {
      ++runs.back();
    } else {
      runs.push_back(1);
      if (last != 99) {
        EXPECT_EQ(partition, (last + 1) % 3);
      }
    }
    last = partition;
  }
  EXPECT_EQ(runs, std::vector<std::uint32_t>(9, 16));
}

TEST_F(ApiProducer, OneOfOnePartitionWritesToThatOnly) {
  Topic topic = create("t", {.partitions = 3, .max_producers = 1});
  Producer producer = must(topic.producer({.partition = 1}));
  EXPECT_EQ(must(producer.send(bytes("v"))).partition, 1u);
  EXPECT_EQ(must(producer.send("any-key", bytes("v"))).partition, 1u);
  EXPECT_TRUE(fails(producer.send(bytes("v"), {.partition = 2}), Errc::invalid_argument, {"partition 1 only", "partition 2"}));
  EXPECT_TRUE(good(topic.producer({.partition = 2}))) << "the others are free";
  EXPECT_TRUE(fails(topic.producer({.partition = 3}), Errc::invalid_argument, {"0 to 2", "3"}));
}

// ---- loans ---------------------------------------------------------------------------------------------------------------------

TEST_F(ApiProducer, ALoanIsSeenWhenItIsCommitted) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  auto loan = must(producer.loan(100, {.key = bytes("k")}));
  EXPECT_EQ(loan.data().size(), 100u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loan.data().data()) % 16, 0u);
  std::memset(loan.data().data(), 'a', 100);
  EXPECT_EQ(now(consumer), "");
  EXPECT_EQ(must(loan.commit()).offset, 0u);
  EXPECT_EQ(now(consumer), std::string(100, 'a'));
  EXPECT_TRUE(fails(loan.commit(), Errc::invalid_argument, {"already"}));
  loan.abort();  // there is none left
}

// Several at a time, with records in between, small and large ones, committed shorter and in another order: once the producer has lent so many before and
// knows its clock, all by the short way.
TEST_F(ApiProducer, LoansInAnyOrder) {
  Topic topic = create("t", {.partition_bytes = 1 << 20});
  Producer producer = must(topic.producer());
  Consumer consumer = must(bus.consumer({.group = "g", .start = Start::earliest}));
  must(consumer.subscribe({"t"}));
  std::vector<std::string> sent;
  const auto received = [&] {
    std::vector<std::string> values;
    for (Batch batch = must(consumer.poll(0ns)); !batch.empty(); batch = must(consumer.poll(0ns)))
      for (const Record& record : batch) values.emplace_back(text(record.value()));
    return values;
  };
  const auto until = std::chrono::steady_clock::now() + 20ms;  // the clock is known after two
  for (int round = 0; std::chrono::steady_clock::now() < until || round < 100; ++round) {
    sent.clear();
    std::vector<Loan> loans;
    for (const std::size_t size : {std::size_t{0}, std::size_t{64}, std::size_t{4096}, std::size_t{9000}}) {
      loans.push_back(must(producer.loan(size)));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loans.back().data().data()) % 64, size < 4096 ? 32U : 0U);
      std::memset(loans.back().data().data(), 'a' + round % 26, size);
      sent.push_back(std::string(size - size / 3, static_cast<char>('a' + round % 26)));
      sent.push_back("between " + std::to_string(round));
      must(producer.send(bytes(sent.back())));
    }
    for (const std::size_t i : {2U, 0U, 3U}) must(loans[i].commit(sent[2 * i].size()));
    EXPECT_EQ(received(), (std::vector<std::string>{sent[0], sent[1]})) << "the second one is open";
    must(loans[1].commit(sent[2].size()));
    EXPECT_EQ(received(), std::vector<std::string>(sent.begin() + 2, sent.end()));
  }
}

TEST_F(ApiProducer, ALoanIsCommittedShorter) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  for (const std::size_t size : {1000u, 999u, 500u, 1u, 0u}) {
    auto loan = must(producer.loan(1000));
    std::memset(loan.data().data(), 'b', 1000);
    must(loan.commit(size));
    const Batch batch = must(consumer.poll(0ns));
    ASSERT_EQ(batch.size(), 1u);
    EXPECT_EQ(text(batch[0].value()), std::string(size, 'b'));
    EXPECT_NE(batch[0].value().data(), nullptr);
  }
  auto loan = must(producer.loan(10));
  EXPECT_TRUE(fails(loan.commit(11), Errc::invalid_argument, {"10 bytes", "11"}));
  must(producer.send(bytes("next")));
  const Batch batch = must(consumer.poll(0ns));
  EXPECT_EQ(words(batch), "next");
  ASSERT_EQ(batch.gaps().size(), 1u);
  EXPECT_EQ(describe(batch.gaps()[0]), "uncommitted 0 [5,6)");
}

// In whatever way it is sent: read in place on a cache line, and copied whole.
TEST_F(ApiProducer, ALargeValueStartsOnACacheLine) {
  Topic topic = create("t", {.partition_bytes = 1 << 20});
  Producer producer = must(topic.producer());
  Consumer observer = observe("t");
  Consumer member = must(bus.consumer({.group = "g", .start = Start::earliest}));
  must(member.subscribe({"t"}));
  std::vector<std::string> sent;
  for (const std::size_t size : {4095u, 4096u, 4097u, 20000u}) {
    std::string value(size, '\0');
    for (std::size_t i = 0; i < size; ++i) value[i] = static_cast<char>(i * 31 + size);
    const std::array<Header, 1> headers{Header{"name", bytes("a value of some bytes")}};
    must(producer.send(bytes(value)));
    must(producer.send(bytes(value), {.key = bytes("key"), .headers = headers}));
    ASSERT_EQ(must(producer.send_values(std::vector<Bytes>(3, bytes(value)))), 3u);
    ASSERT_EQ(must(producer.send_many(std::vector<Message>(3, Message{bytes(value), {.key = bytes("k")}}))), 3u);
    Loan loan = must(producer.loan(size, {.key = bytes("key")}));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loan.data().data()) % 64, size < 4096 ? 48u : 0u);
    std::memcpy(loan.data().data(), value.data(), size);
    must(loan.commit(size - 100));
    sent.insert(sent.end(), 8, value);
    sent.push_back(value.substr(0, size - 100));
  }
  for (Consumer* const consumer : {&observer, &member}) {
    std::size_t at = 0;
    while (at < sent.size()) {
      const Batch batch = must(consumer->poll(kSoon));
      ASSERT_FALSE(batch.empty());
      for (const Record& record : batch) {
        ASSERT_LT(at, sent.size());
        EXPECT_EQ(text(record.value()), sent[at]) << at;
        const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(record.value().data());
        EXPECT_EQ(place % (consumer == &member && sent[at].size() >= 4096 ? 64 : 16), 0u) << at;
        ++at;
      }
    }
  }
}

TEST_F(ApiProducer, AbortedAndDroppedLoansLeaveAnUncommittedGap) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  must(producer.send(bytes("0")));
  must(producer.loan(10)).abort();
  { auto dropped = must(producer.loan(3000)); }
  must(producer.send(bytes("3")));
  auto replaced = must(producer.loan(10));
  auto kept = must(producer.loan(1));
  *kept.data().data() = std::byte{'5'};
  replaced = std::move(kept);
  kept.abort();  // what `replaced` held: assignment exchanges
  must(replaced.commit());
  const Batch batch = must(consumer.poll(0ns));
  EXPECT_EQ(words(batch), "0 3 5");
  ASSERT_EQ(batch.gaps().size(), 2u);
  EXPECT_EQ(describe(batch.gaps()[0]), "uncommitted 0 [1,3)");
  EXPECT_EQ(describe(batch.gaps()[1]), "uncommitted 0 [4,5)");
}

TEST_F(ApiProducer, LoansAreDeliveredInTheOrderTheyWereTaken) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Consumer consumer = observe("t");
  std::vector<Loan> loans;
  for (char c = 'a'; c < 'e'; ++c) {
    loans.push_back(must(producer.loan(1)));
    *loans.back().data().data() = std::byte(c);
  }
  must(loans[2].commit());
  must(loans[1].commit());
  EXPECT_EQ(now(consumer), "");
  must(loans[0].commit());
  EXPECT_EQ(now(consumer), "a b c");
  must(loans[3].commit());
  EXPECT_EQ(now(consumer), "d");
}

TEST_F(ApiProducer, ALoanOutlivesItsProducer) {
  Topic topic = create("t", {.max_producers = 1});
  std::optional<Producer> producer = must(topic.producer());
  auto first = must(producer->loan(1));
  auto second = must(producer->loan(1));
  *first.data().data() = std::byte{'x'};
  producer.reset();
  EXPECT_TRUE(fails(topic.producer(), Errc::limit_reached)) << "its slot is held by the loans";
  must(first.commit());
  second.abort();
  EXPECT_TRUE(good(topic.producer()));
  Consumer consumer = observe("t");
  EXPECT_EQ(now(consumer), "x");
}

TEST_F(ApiProducer, MovedHandles) {
  Topic topic = create("t");
  Producer producer = must(topic.producer());
  Producer moved = std::move(producer);
  must(moved.send(bytes("1")));
  auto loan = must(moved.loan(1));
  Loan other = std::move(loan);
  loan.abort();  // NOLINT(bugprone-use-after-move): a moved-from loan is none
  EXPECT_TRUE(fails(loan.commit(), Errc::invalid_argument));
  *other.data().data() = std::byte{'2'};
  must(other.commit());
  Producer assigned = must(topic.producer());
  assigned = std::move(moved);
  must(assigned.send(bytes("3")));
  Consumer consumer = observe("t");
  EXPECT_EQ(now(consumer), "1 2 3");
  Consumer taken = std::move(consumer);
  consumer = std::move(taken);
  must(assigned.send(bytes("4")));
  EXPECT_EQ(now(consumer), "4");
}  // destructors of what was moved from

// ---- no room -------------------------------------------------------------------------------------------------------------------

class ApiFull : public ApiProducer {
 protected:
  ApiFull() {
    for (;;)
      if (auto sent = producer_.try_send(bytes(value_)); !sent) {
        EXPECT_TRUE(fails(sent, Errc::full));
        break;
      }
  }
  Topic topic_ = create("t", {.partitions = 2});
  Consumer consumer_ = join("t", "slow");
  Producer producer_ = must(topic_.producer({.timeout = 30ms, .partition = 1}));
  std::string value_ = std::string(1000, 'x');
};

TEST_F(ApiFull, TheFormsSayWhatHoldsThemBack) {
  EXPECT_TRUE(fails(producer_.try_send(bytes(value_)), Errc::full));
  EXPECT_TRUE(fails(producer_.try_loan(1000), Errc::full));
  const std::string pid = "pid " + std::to_string(getpid());
  EXPECT_TRUE(fails(producer_.send(bytes(value_)), Errc::timed_out, {"30 ms", "partition 1 of topic 't'", "'slow'", pid}));
  EXPECT_TRUE(fails(producer_.send(bytes(value_), {}, 5ms), Errc::timed_out, {"5 ms", "'slow'"}));
  EXPECT_TRUE(fails(producer_.loan(1000, {}, 5ms), Errc::timed_out, {"'slow'", pid}));
  EXPECT_TRUE(fails(producer_.loan(1000), Errc::timed_out));
  Producer other = must(topic_.producer({.partition = 0}));
  EXPECT_TRUE(good(other.try_send(bytes(value_)))) << "the other partition has room";
}

TEST_F(ApiFull, ABlockedProducerGoesOnWhenTheGroupReads) {
  for (const Wait::Mode mode : {Wait::Mode::sleep, Wait::Mode::spin_then_sleep, Wait::Mode::spin}) {
    while (producer_.try_send(bytes(value_))) {
    }
    std::atomic<bool> sent{false};
    std::thread sender([&] {
      Producer waiting = must(topic_.producer({.timeout = kForever, .wait = {.mode = mode}, .partition = 1}));
      must(waiting.send(bytes(value_)));
      sent = true;
    });
    std::this_thread::sleep_for(5ms);
    EXPECT_FALSE(sent);
    while (!sent) must(consumer_.poll(1ms));
    sender.join();
  }
}

TEST_F(ApiFull, OneThatReadButDidNotSettleStillHoldsBack) {
  ASSERT_FALSE(must(consumer_.poll(kSoon)).empty());
  EXPECT_TRUE(fails(producer_.try_send(bytes(value_)), Errc::full)) << "the batch is in its hands";
  must(consumer_.commit());
  EXPECT_TRUE(good(producer_.try_send(bytes(value_))));
}

TEST_F(ApiProducer, WaitingForOnesOwnLoanWouldDeadlock) {
  Topic topic = create("t", {.partitions = 2, .back_pressure = false});
  Producer producer = must(topic.producer());
  auto loan = must(producer.loan(20'000, {.partition = 0}));
  const std::string value(20'000, 'x');
  must(producer.send(bytes(value), {.partition = 0}));
  must(producer.send(bytes(value), {.partition = 0}));
  EXPECT_TRUE(fails(producer.try_send(bytes(value), {.partition = 0}), Errc::full));
  EXPECT_TRUE(fails(producer.send(bytes(value), {.partition = 0}), Errc::would_deadlock,
                    {"1 open loan", "partition 0", "commit or abort"}));
  EXPECT_TRUE(fails(producer.loan(20'000, {.partition = 0}, kForever), Errc::would_deadlock));
  EXPECT_TRUE(good(producer.send(bytes(value), {.partition = 1}))) << "another partition";
  loan.abort();
  EXPECT_TRUE(good(producer.send(bytes(value), {.partition = 0})));
}

TEST_F(ApiProducer, AnothersOpenLoanIsNamed) {
  Topic topic = create("t", {.back_pressure = false});
  Producer slow = must(topic.producer());
  Producer producer = must(topic.producer());
  auto loan = must(slow.loan(20'000));
  const std::string value(20'000, 'x');
  must(producer.send(bytes(value)));
  must(producer.send(bytes(value)));
  EXPECT_TRUE(fails(producer.send(bytes(value), {}, 5ms), Errc::timed_out,
                    {"still being written", "pid " + std::to_string(getpid()), "partition 0 of topic 't'"}));
  std::thread later([&] {
    std::this_thread::sleep_for(5ms);
    must(loan.commit());
  });
  EXPECT_TRUE(good(producer.send(bytes(value), {}, kSoon)));
  later.join();
}

// ---- how many ------------------------------------------------------------------------------------------------------------------

TEST_F(ApiProducer, ASingleProducersTopicHasOne) {
  Topic topic = create("t", {.partitions = 2, .producers = Producers::single});
  std::optional<Producer> producer = must(topic.producer());
  EXPECT_TRUE(
      fails(topic.producer(), Errc::in_use, {"single producer", "pid " + std::to_string(getpid()), "create the topic for many"}));
  for (int i = 0; i < 2000; ++i) must(producer->send(bytes(std::to_string(i)), {.partition = 1}));
  must(producer->loan(5, {.partition = 1})).abort();
  must(producer->send(bytes("last"), {.partition = 1}));
  producer.reset();
  EXPECT_TRUE(good(topic.producer()));
  Consumer consumer = observe("t");
  Account account(must(topic.describe()).partitions[1].start_offset);
  std::string last;
  for (;;) {
    const Batch batch = must(consumer.poll(0ns));
    if (batch.empty() && batch.gaps().empty()) break;
    ASSERT_TRUE(account.add(batch));
    last = text(batch[batch.size() - 1].value());
  }
  EXPECT_EQ(last, "last");
  EXPECT_EQ(account.uncommitted, 1u);
  EXPECT_EQ(account.next(), 2002u);
}

TEST_F(ApiProducer, MoreThanThereAreSlots) {
  Topic topic = create("t", {.partitions = 2, .max_producers = 2});
  std::vector<Producer> producers;
  for (int i = 0; i < 2; ++i) producers.push_back(must(topic.producer()));
  EXPECT_TRUE(fails(topic.producer(), Errc::limit_reached, {"2 producer slots", "max_producers"}));
  EXPECT_EQ(must(topic.describe()).partitions[0].producers, 2u);
  producers.pop_back();
  EXPECT_EQ(must(topic.describe()).partitions[1].producers, 1u);
  EXPECT_TRUE(good(topic.producer()));
  // Of a dead process: free at once.
  Child child([&](const Child::Side& side) {
    Bus own = must(Bus::open(path()));
    Producer one = must(must(own.topic("t")).producer());
    side.arrive_and_wait();
  });
  ASSERT_TRUE(child.await());
  EXPECT_TRUE(fails(topic.producer(), Errc::limit_reached));
  child.kill();
  EXPECT_TRUE(good(topic.producer()));
}

TEST_F(ApiProducer, KnowsItsReaders) {
  Topic topic = create("t", {.partitions = 3});
  Producer producer = must(topic.producer());
  EXPECT_EQ(must(producer.readers()), 0u);
  {
    Consumer observer = observe("t");
    Consumer member = join("t", "g");
    Consumer assigned = must(bus.consumer());
    must(assigned.assign({{"t", 0}, {"t", 2}}));
    EXPECT_EQ(must(producer.readers()), 3u) << "one consumer counts once, however many partitions it reads";
    must(assigned.unsubscribe("t"));
    EXPECT_EQ(must(topic.readers()), 2u);
  }
  EXPECT_EQ(must(producer.readers()), 0u);
  Child child([&](const Child::Side& side) {
    Bus own = must(Bus::open(path()));
    Consumer consumer = must(own.consumer());
    must(consumer.subscribe({"t"}));
    side.arrive_and_wait();
  });
  ASSERT_TRUE(child.await());
  EXPECT_EQ(must(producer.readers()), 1u);
  EXPECT_EQ(must(topic.describe()).readers, 1u);
  child.kill();
  EXPECT_EQ(must(producer.readers()), 0u) << "alive ones only";
}

}  // namespace
}  // namespace arus::test
