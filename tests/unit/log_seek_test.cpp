// Finding records in rings that have wrapped, while producers go on: by offset, by time (also times that are not monotone), from the
// end, the last value of a topic and of a key. Each answer is compared with a plain search through all that is there.
#include <arus/arus.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "bus/state.h"
#include "log/seek.h"
#include "support.h"

namespace arus::test {
namespace {

using log::Place;

class LogSeek : public testing::Test {
 protected:
  LogSeek() {
    must(bus_.create("t", {.partition_bytes = 64 << 10}));
    producer_.emplace(must(must(bus_.topic("t")).producer()));
    auto directory = must(log::BusDirectory::open(bus_.directory()));
    state_ = std::make_shared<detail::BusState>(std::move(directory));
    topic_ = must(detail::TopicState::open(state_, "t"));
    open_ = must(topic_->partition(0, platform::Access::read));
  }
  void send(Timestamp timestamp, std::size_t size = 40) {
    const std::string value(size, 'v');
    must(producer_->send(bytes(value), {.timestamp = timestamp}));
    times_.push_back(timestamp);
  }
  [[nodiscard]] const ring::Ring& ring() const { return open_.ring; }
  [[nodiscard]] std::uint64_t first() const { return must(log::earliest(ring())).offset; }
  [[nodiscard]] std::uint64_t end() const { return log::latest(ring()).offset; }
  // Kafka's offsetsForTimes: the first retained record, in the order of offsets, that is not older.
  [[nodiscard]] std::uint64_t expected_at(Timestamp time) const {
    for (std::uint64_t offset = first(); offset < times_.size(); ++offset)
      if (times_[offset] >= time) return offset;
    return times_.size();
  }

  Directory directory_;
  Bus bus_ = must(Bus::create({.directory = directory_ / "bus"}));
  std::optional<Producer> producer_;
  std::shared_ptr<detail::BusState> state_;
  std::shared_ptr<detail::TopicState> topic_;
  detail::OpenPartition open_;
  std::vector<Timestamp> times_;  // by offset
};

TEST_F(LogSeek, AnEmptyPartition) {
  EXPECT_EQ(first(), 0u);
  EXPECT_EQ(end(), 0u);
  EXPECT_EQ(must(log::at_time(ring(), 5)).offset, 0u);
  EXPECT_EQ(must(log::at_start(ring(), Start::last(10))).offset, 0u);
  EXPECT_EQ(must(log::at_start(ring(), Start::offset(0))).offset, 0u);
  EXPECT_TRUE(fails(log::at_start(ring(), Start::offset(1)), Errc::out_of_range, {"offset 1", "0 to 0"}));
  EXPECT_FALSE(must(log::last_record(ring(), [](const ring::View&) { return true; })));
}

TEST_F(LogSeek, EveryOffsetOfAWrappedRing) {
  std::mt19937 random(1);
  for (int i = 0; i < 5000; ++i) {
    send(i, random() % 300);
    if (i % 97 != 0) continue;
    for (int j = 0; j < 5; ++j) {
      const std::uint64_t wanted = random() % (end() + 1);
      const Place place = must(log::at_offset(ring(), wanted));
      ASSERT_EQ(place.offset, std::max(wanted, first()));
      if (place.offset == end()) continue;
      ring::View view{};
      ASSERT_EQ(ring::look(ring(), place.position, view), ring::Found::record);
      ASSERT_EQ(view.offset, place.offset);
    }
  }
  EXPECT_GT(first(), 4000u) << "the ring has wrapped";
  EXPECT_TRUE(
      fails(log::at_start(ring(), Start::offset(5001)), Errc::out_of_range, {"offset 5001", std::to_string(first()), "5000"}));
  EXPECT_EQ(must(log::at_start(ring(), Start::last(7))).offset, 4993u);
  EXPECT_EQ(must(log::at_start(ring(), Start::last(1'000'000))).offset, first());
  EXPECT_EQ(must(log::at_start(ring(), Start::last(0))).offset, 5000u);
  EXPECT_EQ(must(log::at_start(ring(), Start::earliest)).offset, first());
  EXPECT_EQ(must(log::at_start(ring(), Start::latest)).offset, 5000u);
}

TEST_F(LogSeek, TimesThatRise) {
  for (int i = 0; i < 3000; ++i) send(1'000'000 + 10 * i);
  for (const Timestamp time : {Timestamp{0}, Timestamp{1'000'000}, Timestamp{1'029'990}, Timestamp{1'029'991}, Timestamp{1 << 30},
                               Timestamp{-5}, times_[first()], times_[first()] + 1, times_[2500], times_[2500] - 3})
    EXPECT_EQ(must(log::at_time(ring(), time)).offset, expected_at(time)) << time;
}

TEST_F(LogSeek, TimesThatDoNot) {
  std::mt19937 random(2);
  for (int i = 0; i < 4000; ++i)
    send(static_cast<Timestamp>(100 * i + static_cast<int>(random() % 20'000) - 10'000), random() % 100);
  for (int i = 0; i < 300; ++i) {
    const auto time = static_cast<Timestamp>(random() % 420'000) - 10'000;
    ASSERT_EQ(must(log::at_time(ring(), time)).offset, expected_at(time)) << time;
  }
}

// One far in the future must not hide those that come after it, nor be missed.
TEST_F(LogSeek, AnOutlierInTime) {
  for (int i = 0; i < 300; ++i) send(i == 100 ? 1'000'000 : i);
  for (const Timestamp time : {50, 100, 101, 250, 299, 300, 1'000'000, 1'000'001})
    EXPECT_EQ(must(log::at_time(ring(), time)).offset, expected_at(time)) << time;
}

TEST_F(LogSeek, TimesBefore1970) {
  for (int i = 0; i < 300; ++i) send(-1000 + i);
  for (const Timestamp time : {-2000, -1000, -900, -701, -700, 0})
    EXPECT_EQ(must(log::at_time(ring(), time)).offset, expected_at(time)) << time;
}

TEST_F(LogSeek, HolesArePassedOver) {
  for (int i = 0; i < 50; ++i) {
    send(i);
    auto loan = must(producer_->loan(100));
    loan.abort();
    times_.push_back(std::numeric_limits<Timestamp>::min());  // nothing there
  }
  EXPECT_EQ(end(), 100u);
  EXPECT_EQ(must(log::at_time(ring(), 30)).offset, 60u);
  const Place place = must(log::at_offset(ring(), 61));
  ring::View view{};
  EXPECT_EQ(ring::look(ring(), place.position, view), ring::Found::skip);
  EXPECT_EQ(must(log::last_record(ring(), [](const ring::View&) { return true; }))->view.offset, 98u);
}

// Packed ones under one header: each is found.
TEST_F(LogSeek, PackedOnes) {
  std::mt19937 random(4);
  while (times_.size() < 20'000) {
    const std::string value(1 + random() % 60, 'v');
    const std::vector<Bytes> values(2 + random() % 50, bytes(value));
    must(producer_->send_values(values));
    times_.resize(times_.size() + values.size());
    if (random() % 4 == 0) send(1'000'000'000, 100);
    const std::uint64_t wanted = first() + random() % (end() - first());
    const Place place = must(log::at_offset(ring(), wanted));
    ASSERT_EQ(place.offset, wanted);
    ring::View view{};
    ASSERT_EQ(ring::look(ring(), place.position, view), ring::Found::record);
    ASSERT_LT(wanted - view.offset, view.lengths.records());
    ASSERT_EQ(must(log::last_record(ring(), [](const ring::View&) { return true; }))->view.offset, end() - 1);
  }
  EXPECT_GT(first(), 10'000u) << "the ring has wrapped";
}

TEST_F(LogSeek, AnOpenClaimIsTheEnd) {
  for (int i = 0; i < 10; ++i) send(i);
  auto loan = must(producer_->loan(100, {.timestamp = 50}));
  EXPECT_EQ(must(log::at_time(ring(), 50)).offset, 10u) << "where it will be";
  EXPECT_EQ(must(log::last_record(ring(), [](const ring::View&) { return true; }))->view.offset, 9u);
  must(loan.commit());
  EXPECT_EQ(must(log::last_record(ring(), [](const ring::View&) { return true; }))->view.offset, 10u);
}

// ---- the last value ------------------------------------------------------------------------------------------------------------

TEST_F(LogSeek, TheLastOfTheTopicAndOfAKey) {
  const Topic topic = must(bus_.topic("t"));
  EXPECT_FALSE(must(topic.last(0)));
  EXPECT_FALSE(must(topic.last(bytes("k1"))));
  EXPECT_TRUE(fails(topic.last(1), Errc::invalid_argument, {"0 to 0"}));
  std::map<std::string, std::string> last;
  std::mt19937 random(3);
  must(producer_->send("rare", bytes("seldom")));
  for (int i = 0; i < 700; ++i) {
    const std::string key = "k" + std::to_string(random() % 20);
    last[key] = std::to_string(i);
    const std::array<Header, 1> headers{Header{"n", bytes(last[key])}};
    must(producer_->send(bytes(last[key]), {.key = bytes(key), .headers = headers, .timestamp = i}));
    if (i % 50 != 49) continue;
    EXPECT_EQ(must(topic.last(0))->value, last[key]);
    for (const auto& [name, value] : last) EXPECT_EQ(must(topic.last(bytes(name)))->value, value);
  }
  const OwnedRecord record = *must(topic.last(bytes("k7")));
  EXPECT_EQ(record.key, "k7");
  EXPECT_EQ(record.headers, (std::vector<std::pair<std::string, std::optional<std::string>>>{{"n", last["k7"]}}));
  EXPECT_EQ(record.timestamp, std::stoi(last["k7"]));
  EXPECT_EQ(must(topic.last(bytes("rare")))->value, "seldom");
  EXPECT_FALSE(must(topic.last(bytes("never"))));
  must(producer_->send(kNull, {.key = bytes("k7")}));
  EXPECT_FALSE(must(topic.last(bytes("k7")))->value) << "a tombstone";
  for (int i = 0; i < 3000; ++i) must(producer_->send("k1", bytes("x")));
  EXPECT_FALSE(must(topic.last(bytes("rare")))) << "overwritten";
}

// ---- while a producer goes on --------------------------------------------------------------------------------------------------

TEST_F(LogSeek, WhileAProducerGoesOn) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (Timestamp i = 0; !stop; ++i)
      must(producer_->send(bytes_of(i), {.key = bytes(i % 2 == 0 ? "even" : "odd"), .timestamp = i}));
  });
  const Topic topic = must(bus_.topic("t"));
  while (end() < 5000) std::this_thread::yield();
  std::uint64_t last_seen = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t before = end();
    // Half a ring before the end: still there, as a rule; if it was overtaken, what comes is later, never earlier.
    EXPECT_GE(must(log::at_offset(ring(), before - 300)).offset, before - 300);
    EXPECT_GE(must(log::at_time(ring(), static_cast<Timestamp>(before - 300))).offset, before - 300);
    const auto place = must(log::at_start(ring(), Start::last(100)));
    EXPECT_GE(place.offset, before - 100);
    if (i % 10 != 0) continue;
    const auto record = must(topic.last(0));
    if (record) {  // empty only if it was overtaken every time
      EXPECT_EQ(*record->value, std::string(text(bytes_of(static_cast<Timestamp>(record->offset)))));
      EXPECT_GE(record->offset, last_seen);
      last_seen = record->offset;
    }
    if (const auto odd = must(topic.last(bytes("odd")))) {
      EXPECT_EQ(odd->offset % 2, 1u);
    }
  }
  stop = true;
  writer.join();
  EXPECT_GT(last_seen, 0u);
}

}  // namespace
}  // namespace arus::test
