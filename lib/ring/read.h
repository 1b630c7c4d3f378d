// Reading: what stands at a position. Readers only load.
//
// Pairs. The acquire load of h0 with the producer's release store of COMMITTED: h1..h3 and the payload are visible. A lossy reader may
// be overwritten while it reads: it copies, fences, and looks whether `low` has passed what it copied (still_there).
#pragma once

#include <cstdint>

#include "platform/cpu.h"
#include "ring/ring.h"

namespace arus::ring {

enum class Found : std::uint8_t {
  nothing,  // no claim yet, or one whose owner has not marked it yet
  open,     // claimed, not settled
  skip,     // aborted, or its owner died: nothing to deliver
  record,
  corrupt,  // impossible content; or, for a lossy reader, overwritten while it looked
};

struct View {
  std::uint64_t cells;
  std::uint64_t offset;  // of the first, if it is packed
  std::int64_t timestamp;
  Lengths lengths;
  const std::byte* data;  // the record's first byte
};

// The i-th of a packed record, as a record of its own: what stands in front of its value is not its header.
inline View unpacked(const View& packed, std::uint64_t i) noexcept {
  return {packed.cells,
          packed.offset + i,
          packed.timestamp,
          {packed.lengths.value, 0, 0, Lengths::kNullKey},
          packed.data + i * packed.lengths.stride()};
}

inline Found look(const Ring& ring, std::uint64_t position, View& view) noexcept {
  const RecordHeader& header = ring.at(position);
  const Mark mark{header.h0.load(std::memory_order_acquire) ^ ring.salt};
  if (!ring.valid(mark, position)) return Found::nothing;
  if (!ring.plausible(mark.cells())) return Found::corrupt;
  view.cells = mark.cells();
  view.offset = offset_of(header.h1.load(std::memory_order_relaxed));
  if (mark.state() != State::committed) return mark.state() == State::claimed ? Found::open : Found::skip;
  view.timestamp = static_cast<std::int64_t>(header.h2.load(std::memory_order_relaxed));
  view.lengths = Lengths::of(header.h3.load(std::memory_order_relaxed));
  view.data = reinterpret_cast<const std::byte*>(&header);
  return view.lengths.fit(mark.cells()) ? Found::record : Found::corrupt;
}

// Whether a committed record stands there, for those who wait for one.
inline bool is_committed(const RecordHeader& header, std::uint64_t lap_word) noexcept {
  return ((header.h0.load(std::memory_order_acquire) ^ lap_word) & kStateAndLapMask) ==
         static_cast<std::uint64_t>(State::committed);
}

// The same for those who read one record after the other: true if a committed one stands there, in the lap that Ring::lap_word() gave that
// word for. False is anything else; look() says what.
inline bool look_for_record(const Ring& ring, std::uint64_t lap_word, std::uint64_t position, View& view) noexcept {
  const RecordHeader& header = ring.at(position);
  const Mark mark{header.h0.load(std::memory_order_acquire) ^ lap_word};
  if ((mark.word & kStateAndLapMask) != static_cast<std::uint64_t>(State::committed) || !ring.plausible(mark.cells())) return false;
  view.cells = mark.cells();
  view.offset = offset_of(header.h1.load(std::memory_order_relaxed));
  view.timestamp = static_cast<std::int64_t>(header.h2.load(std::memory_order_relaxed));
  view.lengths = Lengths::of(header.h3.load(std::memory_order_relaxed));
  view.data = reinterpret_cast<const std::byte*>(&header);
  return view.lengths.fit(mark.cells());
}

// Whether what was read at `position` before this call was whole: nobody may have begun to overwrite it.
inline bool still_there(const Ring& ring, std::uint64_t position) noexcept {
  platform::fence_acquire();
  return ring.header->low.position.load(std::memory_order_relaxed) <= position;
}

}  // namespace arus::ring
