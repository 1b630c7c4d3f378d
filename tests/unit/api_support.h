// A bus of one's own, and short words for what API tests do all the time.
#pragma once

#include <arus/arus.h>

#include <optional>
#include <string>
#include <vector>

#include "unit/support.h"

namespace arus::test {

using namespace std::chrono_literals;

// "Soon": far longer than it takes, so that a test fails rather than hangs. Nothing is asserted about the time it took.
inline constexpr std::chrono::seconds kSoon{20};

class ApiTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return directory_ / "bus"; }
  Topic create(std::string_view name, TopicConfig config = {}) {
    if (config.partition_bytes == TopicConfig{}.partition_bytes) config.partition_bytes = 64 << 10;
    return must(bus.create(name, config));
  }
  Consumer observe(const std::string& topic, ConsumerConfig config = {.start = Start::earliest}) {
    Consumer consumer = must(bus.consumer(config));
    must(consumer.subscribe({topic}));
    return consumer;
  }
  Consumer join(const std::string& topic, const std::string& group, Start start = Start::earliest,
                std::chrono::nanoseconds grace = std::chrono::seconds(10)) {
    return observe(topic, {.group = group, .start = start, .grace = grace});
  }

  Directory directory_;
  Bus bus = must(Bus::create({.directory = path()}));
};

inline std::string words(const Batch& batch) {
  std::string all;
  for (const Record& record : batch) all += std::string(text(record.value())) + ' ';
  if (!all.empty()) all.pop_back();
  return all;
}
// What a poll finds at once.
inline std::string now(Consumer& consumer) {
  const Batch batch = must(consumer.poll(0ns));
  return words(batch);
}
// "lost 0 [3,7)"
inline std::string describe(const Gap& gap) {
  return std::string(gap.kind == Gap::Kind::lost ? "lost " : "uncommitted ") + std::to_string(gap.partition) + " [" +
         std::to_string(gap.from) + ',' + std::to_string(gap.to) + ')';
}
// What a consumer was told in all: each offset of a partition is delivered or in a gap, exactly once and in order.
class Account {
 public:
  explicit Account(std::uint64_t from = 0) noexcept : next_(from) {}
  // Of one partition. False with a message at the first offset that comes twice, too late, or not at all.
  testing::AssertionResult add(const Batch& batch) {
    std::size_t gap = 0;
    const auto gaps = batch.gaps();
    const auto pass = [&](std::uint64_t until) {
      for (; gap < gaps.size() && gaps[gap].from == next_ && gaps[gap].to <= until; ++gap) {
        (gaps[gap].kind == Gap::Kind::lost ? lost : uncommitted) += gaps[gap].to - gaps[gap].from;
        next_ = gaps[gap].to;
      }
    };
    for (const Record& record : batch) {
      pass(record.offset());
      if (record.offset() != next_) return testing::AssertionFailure() << "offset " << record.offset() << ", expected " << next_;
      ++next_;
      ++delivered;
    }
    pass(~0ull);
    if (gap != gaps.size()) return testing::AssertionFailure() << "a gap out of order: " << describe(gaps[gap]) << " at " << next_;
    return testing::AssertionSuccess();
  }
  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;
  std::uint64_t uncommitted = 0;

 private:
  std::uint64_t next_;
};

}  // namespace arus::test
