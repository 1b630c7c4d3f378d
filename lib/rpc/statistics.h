// Counting calls in shared memory. Written by one server process: by its polling thread alone with plain stores, or by several threads.
#pragma once

#include <bit>
#include <cstdint>

#include "rpc/layout.h"

namespace arus::rpc {

inline void add(Word& word, std::uint64_t n, bool several_threads) noexcept {
  if (several_threads) [[unlikely]]
    word.fetch_add(n, std::memory_order_relaxed);
  else
    word.store(word.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

// Eight buckets for each power of two: bucket 0 is everything below 128 ns, the last one everything above.
constexpr std::size_t latency_bucket(std::int64_t ns) noexcept {
  if (ns < 128) return 0;
  const auto value = static_cast<std::uint64_t>(ns);
  const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;  // 7 and more
  const std::size_t bucket = 1 + (power - 7) * 8 + (value >> (power - 3) & 7);
  return bucket < LatencyHistogram::kBuckets ? bucket : LatencyHistogram::kBuckets - 1;
}
// The largest time of a bucket.
constexpr std::int64_t latency_limit(std::size_t bucket) noexcept {
  if (bucket == 0) return 127;
  const auto power = static_cast<unsigned>((bucket - 1) / 8 + 7);
  return static_cast<std::int64_t>((1ull << power) + (((bucket - 1) % 8 + 1) << (power - 3)) - 1);
}
static_assert(latency_bucket(127) == 0 && latency_bucket(128) == 1 && latency_limit(1) == 143 && latency_bucket(143) == 1);
static_assert(latency_bucket(144) == 2 && latency_bucket(255) == 8 && latency_limit(8) == 255 && latency_bucket(256) == 9);

}  // namespace arus::rpc
