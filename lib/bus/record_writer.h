// What a producer writes into a record that it has claimed, but for the marks: header words, key, headers, value.
#pragma once

#include <arus/producer.h>

#include "bus/headers.h"
#include "platform/cpu.h"
#include "ring/claim.h"

namespace arus::detail {

// Header words of a claimed record. Returns where its value goes.
[[gnu::always_inline]] inline std::byte* write_words(ring::RecordHeader& header, const ring::Lengths& lengths,
                                                     Timestamp timestamp) noexcept {
  header.h2.store(static_cast<std::uint64_t>(timestamp), std::memory_order_relaxed);
  header.h3.store(lengths.word(), std::memory_order_relaxed);
  return reinterpret_cast<std::byte*>(&header) + lengths.value_at();
}
// The same, key and headers.
[[gnu::always_inline]] inline std::byte* write_front(ring::RecordHeader& header, const ring::Lengths& lengths,
                                                     const Envelope& envelope, Timestamp timestamp) noexcept {
  auto* bytes = reinterpret_cast<std::byte*>(&header);
  std::byte* behind = bytes + ring::kRecordHeader;
  if (lengths.key != 0) platform::copy(behind, envelope.key.data(), lengths.key);
  if (lengths.headers != 0) [[unlikely]]
    encode_headers(envelope.headers, behind + lengths.key);
  return write_words(header, lengths, timestamp);
}

// Anything that a value alone does not have.
inline bool says_something(const Envelope& envelope) noexcept {
  return (static_cast<std::size_t>(envelope.key.data() != nullptr) | envelope.headers.size() |
          static_cast<std::size_t>(envelope.timestamp.has_value()) | static_cast<std::size_t>(envelope.partition.has_value())) != 0;
}

// What is large goes past the caches where those who read are far: whoever writes a value goes this way.
inline void copy_value(ring::Appender& by, std::byte* to, Bytes value) noexcept {
  if (platform::kPastCaches && value.size() >= ring::Lengths::kAlignedFrom && by.readers_are_far()) [[unlikely]]
    platform::copy_past_caches(to, value.data(), value.size());
  else
    platform::copy(to, value.data(), value.size());
}

// The same for a value alone, and the value.
constexpr ring::Lengths plain(std::size_t size) noexcept { return ring::Lengths::single(size, 0, 0, ring::Lengths::kNullKey); }
constexpr std::uint64_t plain_at(std::size_t size) noexcept {
  return size < ring::Lengths::kAlignedFrom ? ring::kRecordHeader : ring::kCell;
}
constexpr std::uint64_t plain_cells(std::size_t size) noexcept {
  return (plain_at(size) + size + ring::kCell - 1) >> ring::kCellShift;
}
static_assert(plain_at(0) == plain(0).value_at() && plain_at(1 << 20) == plain(1 << 20).value_at());
[[gnu::always_inline]] inline void write_plain(ring::Appender& by, ring::RecordHeader& header, Bytes value,
                                               Timestamp timestamp) noexcept {
  write_words(header, plain(value.size()), timestamp);
  copy_value(by, reinterpret_cast<std::byte*>(&header) + plain_at(value.size()), value);
}

}  // namespace arus::detail
