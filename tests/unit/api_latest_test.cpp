// Records that come one by one are taken where their producer tells of the last one (ring/latest.h). Nobody is to notice, but by where their bytes
// are: all of them in the same private place, and not in the ring.
#include <atomic>
#include <set>
#include <thread>

#include "api_support.h"
#include "bus/lookout.h"
#include "ring_support.h"

namespace arus::test {
namespace {

using detail::Lookout;

class ApiLatest : public ApiTest {
 protected:
  void SetUp() override {
    Lookout::only = static_cast<std::uint8_t>(Lookout::Way::latest);
    create("asked");
    create("answers");
    answers_.emplace(must(must(bus.topic("answers")).producer()));
    // Until the counter is calibrated nothing is sent in the short way.
    while (platform::ticks_to_ns() == 0) {
    }
  }
  void TearDown() override {
    answers_.reset();
    Lookout::only = Lookout::kAny;
    ApiTest::TearDown();
  }
  Consumer waits_for(const std::string& topic) {
    return observe(topic, {.group = "g", .start = Start::earliest, .wait = {.mode = Wait::Mode::spin}});
  }
  static std::string numbered(std::uint64_t number, std::size_t size) {
    std::string text(size, static_cast<char>('a' + number % 26));
    const std::string digits = std::to_string(number);
    return text.replace(0, std::min(size, digits.size()), digits, 0, std::min(size, digits.size()));
  }
  // What the reader takes next, one record: its text, and whether it came to where the last one of its size was.
  std::string take(Consumer& reader) {
    for (const auto deadline = std::chrono::steady_clock::now() + kSoon; std::chrono::steady_clock::now() < deadline;) {
      const Batch batch = must(reader.poll(100ms));
      for (const Gap& gap : batch.gaps()) EXPECT_EQ(gap.kind, Gap::Kind::uncommitted);
      if (batch.size() == 0) continue;
      EXPECT_EQ(batch.size(), 1u);
      const Record& record = *batch.begin();
      told_ += std::exchange(place_, record.value().data()) == record.value().data() && record.value().size() != 0 ? 1 : 0;
      offset_ = record.offset();
      key_ = record.key().data() == nullptr ? "none" : std::string(text(record.key()));
      timestamp_ = record.timestamp();
      must(answers_->send(bytes("yes")));  // only threads that send look there
      return std::string(text(record.value()));
    }
    return "nothing came";
  }
  // One question after the other, each sent by `send(i)`, which says what it sent; answered by another thread. Until `enough(i)`.
  template <class Send, class Enough>
  void ask(Consumer& reader, Send send, Enough enough) {
    std::atomic<std::uint64_t> taken{0};
    std::atomic<bool> stop{false};
    std::vector<std::string> sent;
    std::thread asker([&] {
      for (std::uint64_t i = 0; !stop; ++i) {
        send(i);
        while (taken <= i && !stop) std::this_thread::yield();
      }
    });
    for (std::uint64_t i = 0; !enough(i); ++i) {
      got_ = take(reader);
      check(i);
      if (HasFailure()) break;
      taken = i + 1;
    }
    stop = true;
    asker.join();
  }
  virtual void check(std::uint64_t i) { EXPECT_EQ(got_, numbered(i, size_of(i))); }
  static std::size_t size_of(std::uint64_t i) { return i % 97; }

  std::optional<Producer> answers_;
  std::string got_;
  std::string key_;
  std::uint64_t offset_ = 0;
  Timestamp timestamp_ = 0;
  const std::byte* place_ = nullptr;
  std::uint64_t told_ = 0;
};

constexpr std::uint64_t kMost = 2'000'000;

TEST_F(ApiLatest, IsWhatTheLogHas) {
  Producer producer = must(must(bus.topic("asked")).producer());
  Consumer reader = waits_for("asked");
  Consumer log = observe("asked", {.start = Start::earliest, .max_records = 1});
  ask(
      reader,
      [&](std::uint64_t i) {
        const Batch batch = i == 0 ? Batch() : must(log.poll(kSoon));
        if (i != 0) {
          EXPECT_EQ(text((*batch.begin()).value()), numbered(i - 1, size_of(i - 1)));
        }
        EXPECT_EQ(must(producer.send(bytes(numbered(i, size_of(i))))).offset, i);
      },
      [&](std::uint64_t i) {
        EXPECT_TRUE(i == 0 || (offset_ == i - 1 && timestamp_ > 0)) << i;
        return i >= kMost || (told_ > 1'000 && i > 5'000);
      });
  EXPECT_GT(told_, 1'000u);
}

TEST_F(ApiLatest, EveryWayBringsTheSame) {
  Producer producer = must(must(bus.topic("asked")).producer());
  Consumer reader = waits_for("asked");
  std::uint64_t from = 0;  // a round of asking counts from 0
  for (std::uint8_t way = 0; way <= Lookout::kAny; ++way) {
    Lookout::only = way;
    ask(
        reader, [&](std::uint64_t i) { EXPECT_EQ(must(producer.send(bytes(numbered(i, size_of(i))))).offset, from + i); },
        [&](std::uint64_t i) {
          EXPECT_TRUE(i == 0 || offset_ == from + i - 1) << i << " of way " << int{way};
          return i >= 1'000;
        });
    // One more may have been asked.
    while (must(reader.poll(0ns)).size() != 0) {
    }
    from = must(producer.send(bytes("between"))).offset + 1;
    take(reader);
  }
}

// It has no round trip to find the better way by.
TEST_F(ApiLatest, WhoOnlyReceivesStaysWithTheLog) {
  Producer producer = must(must(bus.topic("asked")).producer());
  Consumer reader = waits_for("asked");
  std::atomic<std::uint64_t> taken{0};
  std::set<const std::byte*> places;
  constexpr std::uint64_t kRecords = 200;
  std::thread receiver([&] {
    while (taken < kRecords) {
      const Batch batch = must(reader.poll(100ms));
      for (const Record& record : batch) places.insert(record.value().data());
      taken += batch.size();
    }
  });
  for (std::uint64_t i = 0; i < kRecords; ++i) {
    must(producer.send(bytes(numbered(i, 32))));
    while (taken <= i) std::this_thread::yield();
  }
  receiver.join();
  EXPECT_EQ(places.size(), kRecords) << "each where the log has it";
}

// Whatever is sent in between: large, with a key, filled in place, given up, in a batch of one, by somebody else.
TEST_F(ApiLatest, AllElseComesAsWell) {
  Producer producer = must(must(bus.topic("asked")).producer());
  Producer other = must(must(bus.topic("asked")).producer());
  Consumer reader = waits_for("asked");
  ask(
      reader,
      [&](std::uint64_t i) {
        const std::string value = numbered(i, size_of(i));
        switch (i % 61) {
          case 7: must(producer.send(bytes(value), {.key = bytes("k")})); break;
          case 17: must(producer.loan(40)).abort(); [[fallthrough]];
          case 27: {
            Loan loan = must(producer.loan(value.size()));
            std::copy_n(bytes(value).data(), value.size(), loan.data().data());
            must(loan.commit());
            break;
          }
          case 37: {
            const std::array<Bytes, 1> values{bytes(value)};
            EXPECT_EQ(must(producer.send_values(values)), 1u);
            break;
          }
          case 47: must(other.send(bytes(value))); break;
          case 48: must(other.send(bytes(value), {.timestamp = 5})); break;
          default: must(producer.send(bytes(value)));
        }
      },
      [&](std::uint64_t i) {
        EXPECT_TRUE(i == 0 || key_ == ((i - 1) % 61 == 7 ? "k" : "none")) << i << ' ' << key_;
        return i >= kMost || (told_ > 1'000 && i > 10'000);
      });
  EXPECT_GT(told_, 1'000u);
}

// Who takes a producer's place need not tell of anything. (A wait that is in vain is no error: see RingLatest for what ends it.)
TEST_F(ApiLatest, ASuccessorThatTellsOfNothing) {
  std::optional<Producer> producer = must(must(bus.topic("asked")).producer());
  Consumer reader = waits_for("asked");
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t before = told_;
    ask(
        reader, [&](std::uint64_t i) { must(producer->send(bytes(numbered(i, size_of(i))))); },
        [&](std::uint64_t i) { return i >= kMost || told_ > before + 100; });
    while (must(reader.poll(0ns)).size() != 0) {
    }
    producer.reset();
    producer = must(must(bus.topic("asked")).producer());
    ask(
        reader, [&](std::uint64_t i) { must(producer->send(bytes(numbered(i, size_of(i))), {.key = bytes("k")})); },
        [&](std::uint64_t i) {
          EXPECT_TRUE(i == 0 || key_ == "k");
          return i > 1'000;
        });
    while (must(reader.poll(0ns)).size() != 0) {
    }
  }
}

// Its last reader leaves while it is waited for (a pattern that nothing matches any more): nothing is looked at behind it.
TEST_F(ApiLatest, ATopicThatGoesWhileItIsWaitedFor) {
  for (int round = 0; round < 5; ++round) {
    const std::string name = "gone" + std::to_string(round);
    create(name);
    Consumer reader = must(bus.consumer({.group = "p", .start = Start::earliest, .wait = {.mode = Wait::Mode::spin}}));
    must(reader.subscribe_pattern("gone.*"));
    {
      Producer producer = must(must(bus.topic(name)).producer());
      ask(
          reader, [&](std::uint64_t i) { must(producer.send(bytes(numbered(i, size_of(i))))); },
          [&, before = told_](std::uint64_t i) { return i >= kMost || told_ > before + 100; });
    }
    std::thread remover([&] {
      std::this_thread::sleep_for(2ms);
      must(bus.remove(name));
    });
    for (const auto until = std::chrono::steady_clock::now() + 20ms; std::chrono::steady_clock::now() < until;)
      static_cast<void>(must(reader.poll(5ms)).size());
    remover.join();
    EXPECT_TRUE(reader.assignment().empty());
  }
}

// What cannot be is not taken, and does no harm: the log has what comes.
TEST_F(ApiLatest, NothingThereIsTrusted) {
  Producer producer = must(must(bus.topic("asked")).producer());
  Consumer reader = waits_for("asked");
  const std::string path = this->path() + "/topics/asked/0";
  const auto partition = must(platform::Segment::open(path, platform::Access::write));
  const auto& header = *reinterpret_cast<const ring::PartitionHeader*>(partition.data());
  auto& latest = *reinterpret_cast<ring::Latest*>(partition.data() + ring::latest_at(header.slots));
  const auto until_told = [&] {
    const std::uint64_t before = told_;
    ask(
        reader, [&](std::uint64_t i) { must(producer.send(bytes(numbered(i, size_of(i))))); },
        [&](std::uint64_t i) { return i >= kMost || told_ > before + 100; });
    while (offset_ + 1 < ring::next_offset_of(header.tail.w1)) take(reader);  // the asker may have sent one more
  };
  for (int what = 0; what < 6; ++what) {
    until_told();
    const std::uint64_t next = ring::position_of(header.tail.w0);
    const std::uint64_t offset = ring::next_offset_of(header.tail.w1);
    latest.what = offset << 12 | 8;
    switch (what) {
      case 0: latest.what = offset << 12 | 97; break;
      case 1: latest.what = (offset + 1) << 12 | 8; break;
      case 2: latest.what = ~0ull; break;
      case 3: latest.passed = ~0ull; break;
      case 4: latest.what = 0; break;
      default: break;
    }
    latest.position = what == 3 ? 0 : what == 5 ? ~0ull : next + 1;
    EXPECT_EQ(must(reader.poll(5ms)).size(), 0u) << what;
    latest.passed = 0;
    must(producer.send(bytes("this")));
    EXPECT_EQ(take(reader), "this") << what;
  }
}

}  // namespace
}  // namespace arus::test
