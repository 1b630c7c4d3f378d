#include "ring/index.h"

namespace arus::ring {
namespace {

// Any mixing will do: it need only tell the words of one boundary from a mixture of two.
std::uint64_t check_of(std::uint64_t position, std::uint64_t offset, std::uint64_t timestamp) noexcept {
  std::uint64_t sum = position * 0x9E3779B97F4A7C15u;
  sum = (sum ^ sum >> 29 ^ offset) * 0xBF58476D1CE4E5B9u;
  sum = (sum ^ sum >> 32 ^ timestamp) * 0x94D049BB133111EBu;
  return sum ^ sum >> 31;
}

}  // namespace

void note_boundary(const Ring& ring, std::uint64_t end, const Boundary& boundary) noexcept {
  IndexEntry& entry = ring.index[(end & ring.mask) / ring.slice];
  const auto timestamp = static_cast<std::uint64_t>(boundary.largest_timestamp);
  entry.check.store(0, std::memory_order_relaxed);
  platform::fence_release();
  entry.position.store(boundary.position, std::memory_order_relaxed);
  entry.offset.store(boundary.offset, std::memory_order_relaxed);
  entry.largest_timestamp.store(timestamp, std::memory_order_relaxed);
  entry.check.store(check_of(boundary.position, boundary.offset, timestamp), std::memory_order_release);
  // By the time that it is written a lap has gone through the cache, and a commit would wait for it.
  platform::prefetch_for_write(&ring.index[((end & ring.mask) / ring.slice + 1) % kIndexEntries]);
}

std::optional<Boundary> read_boundary(const Ring& ring, std::uint32_t i) noexcept {
  const IndexEntry& entry = ring.index[i];
  const std::uint64_t check = entry.check.load(std::memory_order_acquire);
  const std::uint64_t position = entry.position.load(std::memory_order_relaxed);
  const std::uint64_t offset = entry.offset.load(std::memory_order_relaxed);
  const std::uint64_t timestamp = entry.largest_timestamp.load(std::memory_order_relaxed);
  if (position < ring.cells || check != check_of(position, offset, timestamp)) return std::nullopt;
  if (position >= ring.tail()) return std::nullopt;
  const Mark mark = ring.mark(position);
  const std::uint64_t h1 = ring.at(position).h1.load(std::memory_order_relaxed);
  platform::fence_acquire();
  if (!ring.valid(mark, position) || offset_of(h1) != offset || ring.low() > position) return std::nullopt;
  return Boundary{position, offset, static_cast<std::int64_t>(timestamp)};
}

}  // namespace arus::ring
