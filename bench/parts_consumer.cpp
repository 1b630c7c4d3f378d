// Reading a topic that is already filled, by the same thread: the cost of the consumer's side alone. Filling is not timed.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "parts.h"

namespace bench {
namespace {

using std::chrono::nanoseconds;

// Per iteration some records are sent, and then the time taken in which they are polled, each touched once.
void poll_with(benchmark::State& state, const arus::ConsumerConfig& config) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const arus::TopicConfig topic = room_for(bytes);
  const std::size_t records = std::clamp<std::size_t>(topic.partition_bytes / 4 / (bytes + 64), 2, 1024);
  OneTopic one(topic);
  arus::Consumer consumer = one.reader(config);
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> value(bytes, std::byte{1});
  for (auto _ : state) {
    for (std::size_t i = 0; i < records; ++i) producer.send(value).value();
    std::size_t seen = 0;
    std::uint64_t sum = 0;
    const auto start = std::chrono::steady_clock::now();
    while (seen < records) {
      const arus::Batch batch = consumer.poll(nanoseconds(0)).value();
      for (const arus::Record& record : batch) sum += static_cast<std::uint64_t>(record.value().front());
      seen += batch.size();
    }
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (sum != records) state.SkipWithError("a record is missing or wrong");
  }
  count(state, state.iterations() * static_cast<std::int64_t>(records), 0);
}

// Who reads in place touches a record's header and one word: what is behind them would only make filling, which nobody times, take minutes.
void small_sizes(benchmark::internal::Benchmark* benchmark) {
  for (const std::int64_t bytes : {16, 64, 1 << 10}) benchmark->Arg(bytes);
  benchmark->ArgName("bytes");
}

void poll(benchmark::State& state) { poll_with(state, {.group = "readers", .start = arus::Start::earliest}); }
BENCHMARK(poll)->Apply(small_sizes)->UseManualTime();

void poll_observer(benchmark::State& state) { poll_with(state, {.start = arus::Start::earliest}); }
BENCHMARK(poll_observer)->Apply(sizes)->UseManualTime();

void poll_observer_in_place(benchmark::State& state) { poll_with(state, {.start = arus::Start::earliest, .in_place = true}); }
BENCHMARK(poll_observer_in_place)->Apply(small_sizes)->UseManualTime();

// Nothing there: what a loop pays that looks once.
void poll_empty(benchmark::State& state) {
  OneTopic one({.partitions = static_cast<std::uint32_t>(state.range(0)), .partition_bytes = 64 << 10});
  arus::Consumer consumer = one.reader({.group = "readers"});
  for (auto _ : state) benchmark::DoNotOptimize(consumer.poll(nanoseconds(0)).value());
  count(state, state.iterations(), 0);
}
BENCHMARK(poll_empty)->Arg(1)->Arg(16)->ArgName("partitions");

// In a ring full of records of 64 B, each time to another place.
void seek(benchmark::State& state, arus::Start::At at) {
  OneTopic one;
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> value(64);
  const std::uint64_t records = 2 * one.topic.config().partition_bytes / 128;  // lapped once
  for (std::uint64_t i = 0; i < records; ++i) {
    producer.send(value, {.timestamp = static_cast<arus::Timestamp>(1 + i)}).value();
  }
  arus::Consumer consumer = one.reader({.start = arus::Start::earliest});
  const arus::PartitionInfo partition = one.topic.describe().value().partitions.front();
  const std::uint64_t span = partition.end_offset - partition.start_offset;
  std::uint64_t random = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t place = (random >> 32) % span;
    const auto start = [&] {
      switch (at) {
        case arus::Start::At::offset: return arus::Start::offset(partition.start_offset + place);
        case arus::Start::At::time: return arus::Start::time(static_cast<arus::Timestamp>(1 + partition.start_offset + place));
        case arus::Start::At::last: return arus::Start::last(1 + place);
        case arus::Start::At::latest: return arus::Start::latest;
        default: return arus::Start::earliest;
      }
    }();
    consumer.seek(OneTopic::kName, 0, start).value();
    benchmark::DoNotOptimize(consumer.position(OneTopic::kName, 0).value());
  }
  count(state, state.iterations(), 0);
}
BENCHMARK_CAPTURE(seek, earliest, arus::Start::At::earliest);
BENCHMARK_CAPTURE(seek, latest, arus::Start::At::latest);
BENCHMARK_CAPTURE(seek, offset, arus::Start::At::offset);
BENCHMARK_CAPTURE(seek, time, arus::Start::At::time);
BENCHMARK_CAPTURE(seek, last_n, arus::Start::At::last);

}  // namespace
}  // namespace bench
