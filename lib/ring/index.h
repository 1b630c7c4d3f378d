// The index: record boundaries that producers note as they pass into another 64th of the ring. Seeks start there.
//
// An entry is a hint. Two producers may write one entry at a time (one of them delayed by a lap), so it carries a check over its
// words, and the record it names must stand where it says, with the offset it says. largest_timestamp covers all records before the
// boundary (and perhaps some behind it): the producers' slots are read after the claim, whose compare-and-swap made every earlier
// claimer's slot visible. Crash while writing: the check fails, and the entry is passed over until it is written again.
#pragma once

#include <cstdint>
#include <optional>

#include "ring/ring.h"

namespace arus::ring {

struct Boundary {
  std::uint64_t position;
  std::uint64_t offset;
  std::int64_t largest_timestamp;
};

// Writes the entry of the slice that `end` lies in.
void note_boundary(const Ring& ring, std::uint64_t end, const Boundary& boundary) noexcept;

// Entry `i` if it is whole and its record still stands.
std::optional<Boundary> read_boundary(const Ring& ring, std::uint32_t i) noexcept;

// The last boundary for which `before(boundary)` holds; it must hold for every boundary before one for which it holds.
template <class Before>
std::optional<Boundary> last_boundary(const Ring& ring, Before before) noexcept {
  std::optional<Boundary> best;
  for (std::uint32_t i = 0; i < kIndexEntries; ++i) {
    const auto entry = read_boundary(ring, i);
    if (entry && before(*entry) && (!best || entry->position > best->position)) best = entry;
  }
  return best;
}

}  // namespace arus::ring
