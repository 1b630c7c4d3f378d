// Reading: what stands at a position. Readers only load.
//
// Pairs. The acquire load of h0 with the producer's release store of COMMITTED: h1..h3 and the payload are visible. The acquire load of h3
// with G3's release store: as many values as it says are. h0 behind a record that grows (acquire) with C7 of whoever claimed there, whose C5 came
// after the last G1: its h1 says how many were granted. The tail (acquire, w0 twice) with G1 and C5. A lossy
// reader may be overwritten while it reads: it copies, fences, and looks whether `low` has passed what it copied (still_there).
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
  bool grows;             // there may come more under this header (of look() only)
};

// The i-th of a packed record, as a record of its own: what stands in front of its value is not its header.
inline View unpacked(const View& packed, std::uint64_t i) noexcept {
  return {packed.cells,
          packed.offset + i,
          packed.timestamp,
          {packed.lengths.value, 0, 0, Lengths::kNullKey},
          packed.data + i * packed.lengths.stride(),
          false};
}

// Whether a record that may grow has all it will have: whoever claims behind it says at which offset that ends.
enum class Growth : std::uint8_t { open, ended, impossible };
inline Growth growth_of(const Ring& ring, std::uint64_t position, const View& view) noexcept {
  const std::uint64_t behind = position + view.cells;
  if (!ring.valid(ring.mark(behind), behind)) return Growth::open;
  const std::uint64_t granted = offset_of(ring.at(behind).h1.load(std::memory_order_relaxed)) - view.offset;
  if (granted == view.lengths.records()) return Growth::ended;
  return granted > view.lengths.records() && Lengths::packed(view.lengths.value, granted).fit(view.cells) ? Growth::open
                                                                                                          : Growth::impossible;
}

inline Found look(const Ring& ring, std::uint64_t position, View& view) noexcept {
  const RecordHeader& header = ring.at(position);
  const Mark mark{header.h0.load(std::memory_order_acquire) ^ ring.salt};
  if (!ring.valid(mark, position)) return Found::nothing;
  if (!ring.plausible(mark.cells())) return Found::corrupt;
  view.cells = mark.cells();
  view.offset = offset_of(header.h1.load(std::memory_order_relaxed));
  view.grows = false;
  if (mark.state() != State::committed) return mark.state() == State::claimed ? Found::open : Found::skip;
  view.timestamp = static_cast<std::int64_t>(header.h2.load(std::memory_order_relaxed));
  view.lengths = Lengths::of(header.h3.load(std::memory_order_acquire));
  view.data = reinterpret_cast<const std::byte*>(&header);
  if (!view.lengths.fit(mark.cells())) return Found::corrupt;
  if (view.lengths.is_growing()) [[unlikely]] {
    const Growth growth = growth_of(ring, position, view);
    if (growth == Growth::impossible) return Found::corrupt;
    view.grows = growth == Growth::open;
  }
  return Found::record;
}

// Whether a committed record stands there, for those who wait for one.
inline bool is_committed(const RecordHeader& header, std::uint64_t lap_word) noexcept {
  return ((header.h0.load(std::memory_order_acquire) ^ lap_word) & kStateAndLapMask) ==
         static_cast<std::uint64_t>(State::committed);
}

// A hint: whether that is a claim whose caller fills it in place, which may take a while. (h0 and h3 need not be of the same moment: nothing but a
// prefetch hangs on it.)
inline bool is_filled_in_place(const RecordHeader& header, std::uint64_t lap_word) noexcept {
  return ((header.h0.load(std::memory_order_acquire) ^ lap_word) & kStateAndLapMask) ==
             static_cast<std::uint64_t>(State::claimed) &&
         header.h3.load(std::memory_order_relaxed) == Lengths::kFilledInPlace;
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
  view.lengths = Lengths::of(header.h3.load(std::memory_order_acquire));
  view.data = reinterpret_cast<const std::byte*>(&header);
  return view.lengths.fit(mark.cells());
}

// How many have been granted under the header of a record that grows, as whoever claimed behind it says, or the tail, if nobody has. False:
// that cannot be told yet, because the claim behind it is not marked.
inline bool granted_to(const Ring& ring, std::uint64_t position, const View& view, std::uint64_t& records) noexcept {
  const std::uint64_t behind = position + view.cells;
  const Tail& tail = ring.header->tail;
  for (int attempt = 0; attempt < 64; ++attempt) {
    if (ring.valid(ring.mark(behind), behind)) {
      records = offset_of(ring.at(behind).h1.load(std::memory_order_relaxed)) - view.offset;
      return true;
    }
    const std::uint64_t w0 = tail.w0.load(std::memory_order_acquire);
    const std::uint64_t w1 = tail.w1.load(std::memory_order_acquire);
    if (tail.w0.load(std::memory_order_acquire) != w0) continue;
    if (position_of(w0) == behind) {
      records = next_offset_of(w1) - view.offset;
      return true;
    }
    if (!ring.valid(ring.mark(behind), behind)) return false;
  }
  return false;
}

// A committed record that grows, under which fewer stand than were granted: something open. `unclear`: what to say where that cannot be told yet.
inline bool lacks_some(const Ring& ring, std::uint64_t position, bool unclear = false) noexcept {
  View view;
  std::uint64_t granted = 0;
  if (look(ring, position, view) != Found::record || !view.grows) return false;
  return granted_to(ring, position, view, granted) ? granted > view.lengths.records() : unclear;
}
inline bool may_lack_some(const Ring& ring, std::uint64_t position) noexcept { return lacks_some(ring, position, true); }

// Whether somebody has claimed what comes next for one who has read everything at `position` and before.
inline bool open_claim_at(const Ring& ring, std::uint64_t position) noexcept {
  View view;
  const bool grows = look(ring, position, view) == Found::record && view.grows;
  return grows ? may_lack_some(ring, position) : ring.tail() > position;
}

// Whether what was read at `position` before this call was whole: nobody may have begun to overwrite it.
inline bool still_there(const Ring& ring, std::uint64_t position) noexcept {
  platform::fence_acquire();
  return ring.header->low.position.load(std::memory_order_relaxed) <= position;
}

}  // namespace arus::ring
