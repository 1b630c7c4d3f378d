// Appending to a topic that nobody reads: the cost of the producer's side alone.
#include <array>
#include <atomic>
#include <cstring>

#include "clock.h"
#include "parts.h"

namespace bench {
namespace {

void send_to(benchmark::State& state, arus::TopicConfig config) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  config.partition_bytes = room_for(bytes).partition_bytes;
  OneTopic one(config);
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> value(bytes);
  for (auto _ : state) producer.send(value).value();
  count(state, state.iterations(), state.range(0));
}

void send(benchmark::State& state) { send_to(state, {}); }
BENCHMARK(send)->Apply(sizes);

// What is under every send of a value alone, without arus: a copy of 64 bytes, a look at the counter, a locked instruction.
template <bool kCounter, bool kLocked>
void under_send(benchmark::State& state) {
  std::vector<std::byte> room(64 << 10);
  const std::array<std::byte, 64> value{};
  std::atomic<std::uint64_t> word{0};
  std::uint64_t expected = 0;
  std::size_t at = 0;
  for (auto _ : state) {
    if constexpr (kCounter) benchmark::DoNotOptimize(ticks());
    if constexpr (kLocked) word.compare_exchange_strong(expected, expected + 1);
    std::memcpy(room.data() + at, value.data(), value.size());
    at = (at + value.size()) % room.size();
    benchmark::ClobberMemory();
  }
  count(state, state.iterations(), 64);
}
BENCHMARK_TEMPLATE2(under_send, false, false)->Name("under_send/copy");
BENCHMARK_TEMPLATE2(under_send, true, false)->Name("under_send/copy+counter");
BENCHMARK_TEMPLATE2(under_send, false, true)->Name("under_send/copy+locked");
BENCHMARK_TEMPLATE2(under_send, true, true)->Name("under_send/copy+counter+locked");

void send_single_producer(benchmark::State& state) { send_to(state, {.producers = arus::Producers::single}); }
BENCHMARK(send_single_producer)->Apply(sizes);

// The record is filled in place, by a copy from elsewhere.
void loan_commit(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  OneTopic one(room_for(bytes));
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> value(bytes);
  for (auto _ : state) {
    arus::Loan loan = producer.loan(bytes).value();
    std::memcpy(loan.data().data(), value.data(), bytes);
    loan.commit().value();
  }
  count(state, state.iterations(), state.range(0));
}
BENCHMARK(loan_commit)->Apply(sizes);

// The protocol alone: nothing is written into the record.
void loan_commit_unfilled(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  OneTopic one(room_for(bytes));
  arus::Producer producer = one.topic.producer().value();
  for (auto _ : state) producer.loan(bytes).value().commit().value();
  count(state, state.iterations(), state.range(0));
}
BENCHMARK(loan_commit_unfilled)->Arg(64)->Arg(64 << 10)->ArgName("bytes");

void send_many_32(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t kBatch = 32;
  OneTopic one(room_for(bytes));
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> value(bytes);
  const std::vector<arus::Message> batch(kBatch, arus::Message{.value = value});
  std::int64_t sent = 0;
  for (auto _ : state) sent += static_cast<std::int64_t>(producer.send_many(batch).value());
  if (sent != state.iterations() * static_cast<std::int64_t>(kBatch)) state.SkipWithError("a batch was not sent whole");
  count(state, sent, state.range(0));
}
BENCHMARK(send_many_32)->Arg(16)->Arg(64)->Arg(256)->Arg(1 << 10)->ArgName("bytes");

// So many of them, one behind the other in memory.
void send_values(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const auto batch_size = static_cast<std::size_t>(state.range(1));
  OneTopic one(room_for(bytes));
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> pool(bytes * batch_size);
  std::vector<arus::Bytes> batch;
  for (std::size_t i = 0; i < batch_size; ++i) batch.emplace_back(pool.data() + i * bytes, bytes);
  std::int64_t sent = 0;
  for (auto _ : state) sent += static_cast<std::int64_t>(producer.send_values(batch).value());
  count(state, sent, state.range(0));
}
BENCHMARK(send_values)->ArgsProduct({{16, 64}, {2, 32}})->ArgNames({"bytes", "batch"});

// With a key of 16 bytes, over so many partitions.
void send_keyed(benchmark::State& state) {
  OneTopic one({.partitions = static_cast<std::uint32_t>(state.range(0)), .partition_bytes = 1 << 20});
  arus::Producer producer = one.topic.producer().value();
  const std::vector<std::byte> value(64);
  // Made before: a key whose last byte has just been stored is not what is measured.
  std::array<std::string, 16> keys;
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = "sensor-00000000" + std::string(1, static_cast<char>('a' + i));
  std::size_t next = 0;
  for (auto _ : state) producer.send(value, {.key = arus::bytes(keys[next++ % keys.size()])}).value();
  count(state, state.iterations(), 64);
}
BENCHMARK(send_keyed)->Arg(1)->Arg(4)->Arg(16)->ArgName("partitions");

void key_placement(benchmark::State& state) {
  const std::vector<std::byte> key(static_cast<std::size_t>(state.range(0)), std::byte{'k'});
  for (auto _ : state) {
    arus::Bytes bytes = key;
    benchmark::DoNotOptimize(bytes);
    benchmark::DoNotOptimize(arus::partition_of(bytes, 16));
  }
  count(state, state.iterations(), state.range(0));
}
BENCHMARK(key_placement)->Arg(4)->Arg(16)->Arg(64)->Arg(256)->ArgName("key_bytes");

}  // namespace
}  // namespace bench
