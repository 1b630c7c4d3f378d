// What the benchmarks of single parts share: a topic of its own for each.
#pragma once

#include <arus/arus.h>
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "scratch.h"

namespace bench {

// A bus in memory with one topic.
class OneTopic {
 public:
  explicit OneTopic(const arus::TopicConfig& config = {})
      : bus(arus::Bus::open_or_create({.directory = scratch_.path()}).value()), topic(bus.create(kName, config).value()) {}

  arus::Consumer reader(const arus::ConsumerConfig& config) {
    arus::Consumer consumer = bus.consumer(config).value();
    consumer.subscribe({kName}).value();
    return consumer;
  }

  static constexpr const char* kName = "topic";

 private:
  ScratchDirectory scratch_;

 public:
  arus::Bus bus;
  arus::Topic topic;
};

// Room for many records of this size, as in the suite across processes.
inline arus::TopicConfig room_for(std::size_t bytes) {
  arus::TopicConfig config;
  if (bytes > 64) config.partition_bytes = 16 << 20;
  return config;
}

// The sizes of the design: from a sensor's reading to a camera's frame.
inline void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const std::int64_t bytes : {16, 64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20}) benchmark->Arg(bytes);
  benchmark->ArgName("bytes");
}

// Tells how many records were handled, and of how many bytes each where the bytes cost time.
inline void count(benchmark::State& state, std::int64_t records, std::int64_t bytes_each) {
  state.SetItemsProcessed(records);
  if (bytes_each > 0) state.SetBytesProcessed(records * bytes_each);
}

}  // namespace bench
