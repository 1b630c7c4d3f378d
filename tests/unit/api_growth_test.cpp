// Values that are sent one by one, in quick succession, grow into one packed record. Nobody is to notice but by the room they take. Against the
// library with kill points, where a burst is slower and sooner taken for one, and where tests get in between its steps.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <set>
#include <thread>

#include "api_support.h"
#include "bus/growth.h"
#include "platform/clock.h"
#include "platform/kill_point.h"

namespace arus::test {
namespace {

std::function<void()> at_point;  // NOLINT: what to do at `point`, once
std::string_view point;          // NOLINT

void once_at(std::string_view where, std::function<void()> what) {
  point = where;
  at_point = std::move(what);
  platform::kill_hook = [](const char* passed) {
    if (point != passed) return;
    point = {};
    std::exchange(at_point, nullptr)();
  };
}

class ApiGrowth : public ApiTest {
 protected:
  // Until the counter is calibrated nothing is sent in the short way.
  void SetUp() override {
    while (platform::ticks_to_ns() == 0) {
    }
  }
  void TearDown() override { platform::kill_hook = nullptr; }
  static std::string numbered(std::uint64_t number, std::size_t size = 20) {
    const std::string digits = std::to_string(number);
    return std::string(size - digits.size(), '0') + digits;
  }
  void send(Producer& producer, std::size_t count = 1, std::size_t size = 20) {
    for (std::size_t i = 0; i < count; ++i, ++sent_) ASSERT_EQ(must(producer.send(bytes(numbered(sent_, size)))).offset, sent_);
  }
  std::uint64_t used() { return must(must(bus.topic("t")).describe()).partitions.at(0).bytes_used; }
  // Sends until another value costs no room, so that there is a record that grows.
  void grow(Producer& producer) {
    for (int i = 0; i < 10'000; ++i) {
      const std::uint64_t before = used();
      send(producer);
      if (used() == before) return;
    }
    FAIL() << "nothing grows";
  }
  // What a poll finds at once: the numbers of all values, which must be their offsets.
  static std::vector<std::uint64_t> take(Consumer& reader) {
    const Batch batch = must(reader.poll(0ns));
    EXPECT_TRUE(batch.gaps().empty());
    EXPECT_TRUE(batch.intact());
    std::vector<std::uint64_t> offsets;
    for (const Record& record : batch) {
      EXPECT_EQ(text(record.value()), numbered(record.offset()));
      offsets.push_back(record.offset());
    }
    return offsets;
  }
  // Everything up to the end, in order from `next`.
  void drain(Consumer& reader, std::uint64_t next) {
    while (next < sent_) {
      const auto offsets = take(reader);
      ASSERT_FALSE(offsets.empty()) << next;
      for (const std::uint64_t offset : offsets) ASSERT_EQ(offset, next++);
    }
    EXPECT_TRUE(take(reader).empty());
  }

  std::uint64_t sent_ = 0;
};

TEST_F(ApiGrowth, EachIsThereAtOnceForEveryReader) {
#if defined(ARUS_EMULATED)
  GTEST_SKIP() << "under emulation four polls take longer than a record grows";
#endif
  for (const std::uint32_t most : {1u, 3u, 256u, 257u}) {
    const Producers producers = most % 2 != 0 ? Producers::single : Producers::many;
    Producer producer = must(create("t", {.partition_bytes = 1 << 20, .producers = producers}).producer());
    Consumer group = observe("t", {.group = "g", .start = Start::earliest, .max_records = most});
    Consumer evictable = observe("t", {.group = "e", .start = Start::earliest, .max_records = most, .stall_limit = 1h});
    Consumer observer = observe("t", {.start = Start::earliest, .max_records = most});
    Consumer watcher = observe("t", {.start = Start::earliest, .max_records = most, .in_place = true});
    sent_ = 0;
    // A record grows for a moment only, and how many values a machine adds to it meanwhile is its own affair: as often as it takes. A value that is
    // added costs no room.
    int added = 0;
    for (int round = 0; added < 100; ++round) {
      ASSERT_LT(round, 1000) << "they hardly grow: " << added;
      const std::uint64_t from = sent_;
      grow(producer);
      for (Consumer* reader : {&group, &evictable, &observer, &watcher}) drain(*reader, from);
      for (int i = 0; i < 100; ++i) {
        const std::uint64_t before = used();
        send(producer);
        added += used() == before ? 1 : 0;
        for (Consumer* reader : {&group, &evictable, &observer, &watcher})
          ASSERT_EQ(take(*reader), std::vector<std::uint64_t>{sent_ - 1});
      }
    }
    const std::uint64_t from = sent_;
    send(producer, 700);
    for (Consumer* reader : {&group, &evictable, &observer, &watcher}) drain(*reader, from);
    for (const GroupPartition& part : must(must(bus.group("g")).describe()).partitions) EXPECT_EQ(part.lag, 0u);
    must(group.unsubscribe("t"));
    must(evictable.unsubscribe("t"));
    must(bus.remove("t"));
  }
}

TEST_F(ApiGrowth, EverySize) {
  Producer producer = must(create("t", {.partition_bytes = 4 << 20}).producer());
  Consumer reader = join("t", "g");
  for (const std::size_t size : {8u, 9u, 16u, 17u, 31u, 32u, 33u, 64u, 100u, 255u, 256u, 257u, 1000u}) {
    const std::uint64_t from = sent_;
    send(producer, 300, size);
    for (std::uint64_t next = from; next < sent_;) {
      const Batch batch = must(reader.poll(0ns));
      ASSERT_FALSE(batch.empty());
      for (const Record& record : batch) {
        ASSERT_EQ(record.offset(), next);
        ASSERT_EQ(text(record.value()), numbered(next++, size));
        ASSERT_EQ(record.key().data(), nullptr);
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(record.value().data()) % 16, 0u);
      }
    }
  }
}

// Whatever comes in between, from the same producer or another one.
TEST_F(ApiGrowth, OthersEndIt) {
  Topic topic = create("t", {.partition_bytes = 1 << 20});
  Producer producer = must(topic.producer());
  Producer other = must(topic.producer());
  Consumer reader = join("t", "g");
  Consumer observer = observe("t");
  for (int round = 0; round < 8; ++round) {
    grow(producer);
    const std::string value = numbered(sent_);
    switch (round) {
      case 0: must(other.send(bytes(value))); break;
      case 1: must(producer.send(bytes(value), {.key = bytes("key")})); break;
      case 2: must(producer.send_values(std::vector<Bytes>{bytes(value)})); break;
      case 3: {
        Loan loan = must(producer.loan(value.size()));
        std::memcpy(loan.data().data(), value.data(), value.size());
        must(loan.commit());
        break;
      }
      case 4: must(other.send(bytes(value), {.key = bytes("key")})); break;
      case 5: must(producer.send(bytes(value), {.timestamp = 7})); break;
      case 6: {
        Loan loan = must(other.loan(value.size()));
        std::memcpy(loan.data().data(), value.data(), value.size());
        ++sent_;
        send(producer, 3);  // behind it
        EXPECT_EQ(must(loan.commit()).offset, sent_ - 4);
        continue;
      }
      default: must(must(topic.producer()).send(bytes(value)));
    }
    ++sent_;
    send(producer, 5);
  }
  drain(reader, 0);
  drain(observer, 0);
}

// A reader that begins at the end begins in the middle of what grows.
TEST_F(ApiGrowth, BeginningAtTheEnd) {
  Producer producer = must(create("t", {.partition_bytes = 1 << 20, .producers = Producers::single}).producer());
  grow(producer);
  send(producer);
  const std::uint64_t from = sent_;
  std::vector<Consumer> readers;
  readers.push_back(observe("t", {.start = Start::latest}));
  readers.push_back(observe("t", {.start = Start::latest, .in_place = true}));
  readers.push_back(observe("t", {.group = "lossless", .start = Start::latest}));
  readers.push_back(observe("t", {.group = "lossy", .start = Start::latest, .delivery = Delivery::lossy}));
  readers.push_back(observe("t", {.group = "offset", .start = Start::offset(from)}));
  Consumer last = observe("t", {.start = Start::last(2)});
  EXPECT_EQ(take(last), (std::vector<std::uint64_t>{from - 2, from - 1}));
  for (Consumer& reader : readers) EXPECT_TRUE(take(reader).empty());
  send(producer);
  for (Consumer& reader : readers) EXPECT_EQ(take(reader), std::vector<std::uint64_t>{from});
  send(producer, 100);
  for (Consumer& reader : readers) drain(reader, from + 1);
}

TEST_F(ApiGrowth, ASuccessorBeginsInTheMiddle) {
  Producer producer = must(create("t").producer());
  grow(producer);
  std::uint64_t next = 0;
  for (int life = 0; life < 40; ++life) {
    Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .max_records = 5});
    const auto offsets = take(reader);
    for (const std::uint64_t offset : offsets) ASSERT_EQ(offset, next++);
    must(reader.commit());
    send(producer, 3);
    EXPECT_EQ(must(must(bus.group("g")).describe()).partitions.at(0).lag, sent_ - next);
  }
}

// One that is granted and not there yet: nobody is given what is behind it, and nobody takes it for lost.
TEST_F(ApiGrowth, WhatIsGrantedIsWaitedFor) {
  Topic topic = create("t", {.partition_bytes = 1 << 20});
  Producer producer = must(topic.producer());
  Producer other = must(topic.producer());
  Consumer reader = join("t", "g");
  Consumer observer = observe("t");
  grow(producer);
  drain(reader, 0);
  drain(observer, 0);
  for (const char* const step : {"G1", "G2"}) {
    grow(producer);
    bool came_by = false;
    once_at(step, [&] {
      came_by = true;
      EXPECT_EQ(must(other.send(bytes(numbered(sent_ + 1)))).offset, sent_ + 1);
      EXPECT_TRUE(take(reader).empty());
      EXPECT_TRUE(take(observer).empty());
      Consumer late = observe("t", {.start = Start::latest});
      EXPECT_TRUE(take(late).empty());
    });
    std::uint64_t granted = sent_;
    for (int i = 0; i < 1000 && !came_by; ++i) {  // the record may have been full
      while (!take(reader).empty()) {
      }
      while (!take(observer).empty()) {
      }
      granted = sent_;
      send(producer);
    }
    ASSERT_TRUE(came_by);
    ++sent_;
    EXPECT_EQ(take(reader), (std::vector<std::uint64_t>{granted, granted + 1}));
    EXPECT_EQ(take(observer), (std::vector<std::uint64_t>{granted, granted + 1}));
  }
}

// One dies between the grant and the value, and others have gone on when a reader comes by: it is told of one that was never committed.
TEST_F(ApiGrowth, WhatADeadProducerWasGrantedIsReported) {
  for (const bool grows_behind : {false, true}) {
    Topic topic = create("t", {.partition_bytes = 1 << 20});
    Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .max_records = 7});
    Consumer observer = observe("t");
    {
      Producer first = must(topic.producer());
      sent_ = 0;
      send(first, 3);
    }
    EXPECT_EQ(take(reader).size(), 3u);  // from now on the usual way
    const pid_t child = fork();
    if (child == 0) {
      Bus own = must(Bus::open(path()));
      Producer dying = must(must(own.topic("t")).producer());
      once_at("G1", [] { raise(SIGKILL); });
      for (std::uint64_t i = sent_;; ++i) static_cast<void>(dying.try_send(bytes(numbered(i))));
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    Producer next = must(topic.producer());
    sent_ = must(topic.describe()).partitions.at(0).end_offset;
    const std::uint64_t missing = sent_ - 1;
    send(next, grows_behind ? 100 : 1);
    for (Consumer* one : {&observer, &reader}) {  // the observer repairs it
      std::uint64_t told = 0;
      for (std::uint64_t expected = one == &reader ? 3 : 0; expected < sent_;) {
        const Batch batch = must(one->poll(1s));
        ASSERT_FALSE(batch.empty() && batch.gaps().empty()) << expected;
        for (const Gap& gap : batch.gaps()) {
          EXPECT_EQ(describe(gap), "uncommitted 0 [" + std::to_string(missing) + "," + std::to_string(missing + 1) + ")");
          ++told;
        }
        for (const Record& record : batch) {
          if (expected == missing) ++expected;
          ASSERT_EQ(record.offset(), expected);
          ASSERT_EQ(text(record.value()), numbered(expected++));
        }
      }
      EXPECT_EQ(told, 1u);
    }
    must(reader.unsubscribe("t"));
    must(bus.remove("t"));
  }
}

// Who sleeps at the end of a record that grows is woken by what is added, and sleeps soundly until then.
TEST_F(ApiGrowth, WakesWhoSleeps) {
  Producer producer = must(create("t", {.partition_bytes = 1 << 20}).producer());
  for (int round = 0; round < 20; ++round) {
    grow(producer);
    std::atomic<bool> asleep = false;
    std::thread sleeper([&, from = sent_] {
      Bus own = must(Bus::open(path()));
      Consumer reader = must(own.consumer({.start = Start::latest, .wait = Wait::sleeping()}));
      must(reader.subscribe({"t"}));
      asleep = true;
      const Batch batch = must(reader.poll(kSoon));
      ASSERT_EQ(batch.size(), 1u);
      EXPECT_EQ(batch[0].offset(), from);
    });
    while (!asleep) std::this_thread::yield();
    std::this_thread::sleep_for(5ms);
    send(producer);
    sleeper.join();
  }
}

TEST_F(ApiGrowth, TheRingFillsUpAndWraps) {
  Producer producer = must(create("t", {.producers = Producers::single}).producer());
  Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .max_records = 100});
  std::uint64_t next = 0;
  for (int lap = 0; lap < 20; ++lap) {
    for (;;) {
      const auto placed = producer.try_send(bytes(numbered(sent_)));
      if (!placed) {
        ASSERT_EQ(placed.error().code(), Errc::full);
        break;
      }
      ASSERT_EQ(placed->offset, sent_++);
    }
    for (int i = 0; i < 7; ++i)
      for (const std::uint64_t offset : take(reader)) ASSERT_EQ(offset, next++);
  }
  drain(reader, next);
}

TEST_F(ApiGrowth, LappedReadersAreToldExactly) {
  Producer producer = must(create("t", {.back_pressure = false}).producer());
  Consumer observer = observe("t");
  Consumer lossy = observe("t", {.group = "g", .start = Start::earliest, .delivery = Delivery::lossy});
  Account first;
  Account second;
  for (int round = 0; round < 60; ++round) {
    send(producer, static_cast<std::size_t>(round) * 71);
    while (first.next() < sent_) ASSERT_TRUE(first.add(must(observer.poll(0ns))));
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(second.add(must(lossy.poll(0ns))));
  }
  while (second.next() < sent_) ASSERT_TRUE(second.add(must(lossy.poll(0ns))));
  EXPECT_GT(first.lost, 0u);
  EXPECT_EQ(first.delivered + first.lost, sent_);
  EXPECT_EQ(second.delivered + second.lost, sent_);
}

// Who has read everything is not behind, however much room is claimed for more.
TEST_F(ApiGrowth, NobodyIsEvictedForRoomThatIsNotFilled) {
  Producer producer = must(create("t").producer());
  Consumer reader = observe("t", {.group = "g", .start = Start::earliest, .evict_behind_bytes = 128});
  std::uint64_t next = 0;
  for (int i = 0; i < 5000; ++i) {
    send(producer);
    for (const std::uint64_t offset : take(reader)) ASSERT_EQ(offset, next++);
    ASSERT_EQ(next, sent_);
    static_cast<void>(take(reader));  // settles
  }
}

TEST_F(ApiGrowth, AShareGroupWorksOnEach) {
  Producer producer = must(create("t").producer());
  ShareConsumer first = must(bus.share_consumer({.group = "w", .max_records = 3, .window = 16}));
  ShareConsumer second = must(bus.share_consumer({.group = "w", .max_records = 4, .window = 16}));
  must(first.subscribe({"t"}));
  must(second.subscribe({"t"}));
  std::set<std::uint64_t> settled;
  for (int round = 0; round < 600; ++round) {
    send(producer, static_cast<std::size_t>(round % 7));
    for (ShareConsumer* one : {&first, &second}) {
      const ShareBatch batch = must(one->poll(0ns));
      for (const SharedRecord& job : batch) {
        ASSERT_EQ(text(job.value()), numbered(job.offset()));
        if (job.delivery_count() == 1 && job.offset() % 5 == 0) {
          must(one->release(job));
        } else {
          must(one->accept(job));
          ASSERT_TRUE(settled.insert(job.offset()).second);
        }
      }
    }
  }
  for (int i = 0; i < 2000 && settled.size() < sent_; ++i)
    for (ShareConsumer* one : {&first, &second}) {
      const ShareBatch batch = must(one->poll(0ns));
      for (const SharedRecord& job : batch) {
        must(one->accept(job));
        ASSERT_TRUE(settled.insert(job.offset()).second);
      }
    }
  EXPECT_EQ(settled.size(), sent_);
  static_cast<void>(must(first.poll(0ns)));
  const SharePartition info = must(bus.share_group("w")).partitions.at(0);
  EXPECT_EQ(info.settled_before, sent_);
  EXPECT_EQ(info.accepted, sent_);
  EXPECT_EQ(info.available + info.acquired + info.lost, 0u);
}

// Values for several partitions, which change after so many bytes.
TEST_F(ApiGrowth, SeveralPartitions) {
  Producer producer = must(create("t", {.partitions = 3, .partition_bytes = 1 << 20}).producer());
  Consumer reader = join("t", "g");
  std::set<std::string> values;
  for (int i = 0; i < 5000; ++i) must(producer.send(bytes(numbered(static_cast<std::uint64_t>(i), i % 1000 < 500 ? 20 : 40))));
  while (values.size() < 5000) {
    const Batch batch = must(reader.poll(0ns));
    ASSERT_FALSE(batch.empty());
    EXPECT_TRUE(batch.gaps().empty());
    for (const Record& record : batch) ASSERT_TRUE(values.insert(std::string(text(record.value()))).second);
  }
}

// A value has a time that is not after it was sent, and times do not fall.
TEST_F(ApiGrowth, TimesDoNotFall) {
  Producer producer = must(create("t", {.partition_bytes = 1 << 20}).producer());
  send(producer, 3000);
  Consumer reader = join("t", "g");
  Timestamp before = 0;
  for (std::uint64_t next = 0; next < sent_;)
    for (const Record& record : must(reader.poll(0ns))) {
      EXPECT_GE(record.timestamp(), before);
      before = record.timestamp();
      ++next;
    }
  Consumer again = observe("t", {.start = Start::time(before)});
  const auto offsets = take(again);
  ASSERT_FALSE(offsets.empty());
  EXPECT_LE(offsets.front(), sent_ - 1);
}

// At a steady pace each record is soon filled, and nothing of it left over: both sides stumble over what is.
TEST(Growth, RecordsAreFilledAtAnyPace) {
  constexpr std::uint64_t kMost = 88;   // values in a record
  constexpr std::uint64_t kFor = 1000;  // ns
  for (std::uint64_t pace = 3; pace <= 60; ++pace) {
    std::uint64_t wanted = detail::kFewestGrowing;
    for (int record = 0; record < 40; ++record) {
      const std::uint64_t room = std::min(wanted, kMost);
      const std::uint64_t came = std::min(room, kFor / pace);
      if (record >= 20) {
        EXPECT_EQ(came, room) << pace << " ns, record " << record;
        EXPECT_GE(came, std::min(kMost, kFor / pace) * 3 / 4) << pace << " ns, record " << record;
      }
      wanted = detail::next_growth(wanted, came, room, came * pace + (came < room ? kFor - came * pace + pace : 0), kFor);
    }
  }
}

TEST(Growth, OneThatIsNotFilledIsFollowedByASmallerOne) {
  EXPECT_EQ(detail::next_growth(64, 40, 64, 1010, 1000), 35U);
  EXPECT_EQ(detail::next_growth(64, 3, 64, 1'000'000, 1000), detail::kFewestGrowing);
}

TEST(Growth, WhatIsFilledQuicklyIsFollowedByOneAtMostTwiceAsLarge) {
  EXPECT_EQ(detail::next_growth(8, 8, 8, 10, 1000), 16U);
  EXPECT_EQ(detail::next_growth(40, 20, 20, 500, 1000), 40U);  // less only because a slice of the index ended
  EXPECT_EQ(detail::next_growth(64, 64, 64, 800, 1000), 70U);
  EXPECT_EQ(detail::next_growth(64, 64, 64, 950, 1000), 58U);    // all but too late
  EXPECT_EQ(detail::next_growth(64, 64, 64, 5000, 1000), 64U);   // the caller has paused
  EXPECT_EQ(detail::next_growth(64, 64, 64, ~0ULL, 1000), 64U);  // the clock was set back
  EXPECT_EQ(detail::next_growth(64, 64, 64, 0, 1000), 128U);
}

}  // namespace
}  // namespace arus::test
