#include "ring/room.h"

#include <algorithm>

#include "platform/clock.h"
#include "ring/index.h"
#include "ring/read.h"
#include "ring/repair.h"

namespace arus::ring {
namespace {

constexpr std::uint64_t kSlicesAhead = 5;  // of the index: how much further than it must `low` rises

using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

constexpr std::uint64_t kNoCursor = ~0ull;

struct Slowest {
  std::uint64_t position = kNoCursor;
  std::uint32_t group = 0;
};

Slowest slowest_cursor(const Ring& ring) noexcept {
  Slowest slowest;
  for (std::uint32_t i = 0; i < ring.cursor_count; ++i) {
    const Cursor& cursor = ring.cursors[i];
    if (cursor_status(cursor.state.load(memory_order_acquire)) != CursorStatus::active) continue;
    const std::uint64_t position = cursor.position.load(memory_order_acquire);
    if (position < slowest.position) slowest = {position, i};
  }
  return slowest;
}

// Cursor::held_since. The tag says of which condition of the reader the time is: a note about another one counts as none. So a
// producer that was stopped between reading the clock and writing its note cannot shorten what a later reader is granted (model evict.pml).
constexpr unsigned kTagBits = 24;
constexpr std::uint64_t kTagMask = (1u << kTagBits) - 1;
constexpr std::uint64_t kMilliseconds = (1ull << (64 - kTagBits)) - 1;

std::uint64_t boot_milliseconds() noexcept { return static_cast<std::uint64_t>(platform::boot_time()) / 1'000'000 & kMilliseconds; }

std::uint64_t held_tag(std::uint64_t state, std::uint64_t position, bool dead) noexcept {
  std::uint64_t mixed = ((state >> 8) * 0x9E3779B97F4A7C15 ^ position) * 0xD6E8FEB86659FD93;
  mixed ^= mixed >> 32;
  return (mixed << 1 | (dead ? 1 : 0)) & kTagMask;
}

bool evict(Cursor& cursor, std::uint64_t state, CursorStatus why) noexcept {
  return cursor.state.compare_exchange_strong(state, cursor_state(state >> 8, why), memory_order_acq_rel);
}

// A group holds producers back. True if it does not any more: its reader is dead and its grace is over, or it is alive and has not
// moved for as long as it may. Pairs with taking a cursor over: the new owner stores owner, then raises the generation in state
// (release). We read the state first: either it is the old one, and our exchange fails, or we see the new owner.
bool evict_if_due(const Ring& ring, Cursor& cursor) noexcept {
  // How long it has waited is asked of the clock before the look at it, since when it waits behind: whatever this producer is stopped by
  // in between, neither a reader that moves nor one that has just died is evicted for it.
  const std::uint64_t now = boot_milliseconds();
  const std::uint64_t state = cursor.state.load(memory_order_acquire);
  if (cursor_status(state) != CursorStatus::active) return true;
  const std::uint64_t position = cursor.position.load(memory_order_relaxed);
  const bool dead = ring.leases->dead(incarnation_of(cursor.owner.load(memory_order_acquire)));
  const std::uint64_t patience = dead ? cursor.grace.load(memory_order_relaxed) : cursor.stall.load(memory_order_relaxed);
  ARUS_KILL_POINT("M-dead");
  const std::uint64_t tag = held_tag(state, position, dead);
  std::uint64_t note = cursor.held_since.load(memory_order_acquire);
  std::uint64_t waited = now - (note >> kTagBits);  // ms, within one
  if ((note & kTagMask) != tag || note >> kTagBits > now) {
    if (!cursor.held_since.compare_exchange_strong(note, boot_milliseconds() << kTagBits | tag, memory_order_acq_rel)) return false;
    waited = 0;
  }
  if (!dead && patience == 0) return false;
  if (patience != 0 && waited * 1'000'000 <= patience) return false;
  ARUS_KILL_POINT("M-evict");
  return evict(cursor, state, dead ? CursorStatus::evicted_abandoned : CursorStatus::evicted_stalled);
}

// Groups that have a limit, and are further behind. True if there is any that has one: then room is to be looked for more often.
bool evict_those_behind(const Ring& ring) noexcept {
  bool limited = false;
  for (std::uint32_t i = 0; i < ring.cursor_count; ++i) {
    Cursor& cursor = ring.cursors[i];
    const std::uint64_t limit = cursor.limit.load(memory_order_acquire);  // with the committed offset that it counts from
    if (limit == 0) continue;
    const std::uint64_t state = cursor.state.load(memory_order_acquire);
    if (cursor_status(state) != CursorStatus::active) continue;
    limited = true;
    const bool in_records = (limit & 1) != 0;
    const std::uint64_t w1 = ring.header->tail.w1.load(memory_order_relaxed);
    // Who has read everything stands at a last record that grows.
    const std::uint64_t end = in_records ? next_offset_of(w1) : ring.tail() - std::min(ring.tail(), growing_cells_of(w1));
    const std::uint64_t at = in_records ? cursor.committed.load(memory_order_relaxed) : cursor.position.load(memory_order_relaxed);
    if (end > at && end - at > limit >> 1) evict(cursor, state, CursorStatus::evicted_behind);
  }
  return limited;
}

bool still_grows(const Ring& ring, std::uint64_t position) noexcept {
  View view;
  return look(ring, position, view) == Found::record && view.grows;
}

// The record at `position` stands in the way. True if it is settled now.
bool settle(const Ring& ring, std::uint64_t position, std::uint64_t own, Refusal& refusal) noexcept {
  const Repair repair = recover(ring, position, own);
  refusal.position = position;
  refusal.incarnation = repair.incarnation;
  switch (repair.outcome) {
    case Repaired::settled:
      // Nobody needs the room of a last record who claims behind it; so either somebody has just done so, or it is noise.
      if (!still_grows(ring, position)) return true;
      refusal.why = Refusal::Why::unclear;
      break;
    case Repaired::alive: refusal.why = Refusal::Why::open_claim; break;
    case Repaired::busy: refusal.why = Refusal::Why::repairing; break;
    case Repaired::unclear:
    case Repaired::denied: refusal.why = Refusal::Why::unclear; break;
    case Repaired::corrupt: refusal.why = Refusal::Why::corrupt; break;
  }
  return false;
}

// Whether a claim starts at this cursor and is not settled. A cursor stands at the start of a claim, or at a record inside a settled one.
bool is_open(const Ring& ring, std::uint64_t cursor) noexcept {
  if (cursor < ring.low() || cursor >= ring.tail()) return false;
  const Mark mark = ring.mark(cursor);
  return !ring.valid(mark, cursor) || mark.state() == State::claimed || may_lack_some(ring, cursor);
}

// Over settled records from `position`, until `target` or something open. Sets `refusal` to what it met if that is impossible content.
std::uint64_t walk(const Ring& ring, std::uint64_t position, std::uint64_t target, std::uint64_t end, Refusal& refusal) noexcept {
  constexpr auto kSettled = static_cast<std::uint64_t>(State::committed);  // and skip, which is one more
  platform::Stride stride;
  while (position < target) {
    const std::uint64_t lap_word = ring.lap_word(position);
    const std::uint64_t until = std::min(target, (position | ring.mask) + 1);
    while (position < until) {
      const Mark mark{ring.at(position).h0.load(memory_order_acquire) ^ lap_word};
      if ((mark.word & kStateAndLapMask) - kSettled > 1) return position;
      if (!ring.plausible(mark.cells()) || position + mark.cells() > end) {
        // Perhaps only overwritten: then low has moved on, and the caller's exchange fails.
        refusal = {.why = Refusal::Why::corrupt, .position = position};
        return position;
      }
      if (mark.state() == State::committed && Lengths::of(ring.at(position).h3.load(memory_order_relaxed)).grew()) [[unlikely]] {
        View view;
        const Found found = look(ring, position, view);
        if (found == Found::corrupt) refusal = {.why = Refusal::Why::corrupt, .position = position};
        if (found != Found::record || view.grows) return position;
      }
      position += stride(mark.cells());
    }
  }
  return position;
}

void raise_low(const Ring& ring, std::uint64_t to) noexcept {
  Word& low = ring.header->low.position;
  std::uint64_t now = low.load(memory_order_relaxed);
  while (now < to && !low.compare_exchange_weak(now, to, memory_order_acq_rel, memory_order_relaxed)) {
  }
}

// A record boundary in [least, most], where everything below `most` is settled: the index's first one that fits, if it is near, else one
// found by walking, else `most`, which is one. An entry is that of the slice that it leads into, so the ones that are wanted stand just
// behind and just before `least`; only a record of several slices leaves out some. (Each look at an entry costs a cache line of the ring.)
std::uint64_t boundary_between(const Ring& ring, std::uint64_t least, std::uint64_t most, std::uint64_t step) noexcept {
  if (most - least <= step) return most;
  const auto entry_of = [&](std::uint64_t position) { return static_cast<std::uint32_t>((position & ring.mask) / ring.slice); };
  constexpr std::uint32_t kNear = 3;
  for (std::uint32_t i = 0; i < kNear; ++i)
    if (const auto entry = read_boundary(ring, (entry_of(least) + i) % kIndexEntries);
        entry && entry->position >= least && entry->position - least <= 2 * ring.slice)  // and not of the next lap
      return std::min(most, entry->position);
  std::uint64_t below = ring.low();
  for (std::uint32_t i = 0; i < kIndexEntries; ++i)
    if (const auto entry = read_boundary(ring, (entry_of(least) + kIndexEntries - i) % kIndexEntries);
        entry && entry->position < least) {
      below = std::max(below, entry->position);
      break;
    }
  Refusal ignored;
  const std::uint64_t walked = walk(ring, below, least, most, ignored);
  return walked >= least ? walked : most;
}

// Lossy: raises low over settled records from `low` to `least` at least, or meets an open claim. False: refused. True: look again.
bool walk_low(const Ring& ring, std::uint64_t low, std::uint64_t least, std::uint64_t step, std::uint64_t own,
              Refusal& refusal) noexcept {
  const std::uint64_t end = ring.tail();
  const std::uint64_t reached = walk(ring, low, std::min(least + step, end), end, refusal);
  ARUS_KILL_POINT("M-walk");
  if (ring.low() != low) return true;  // another producer was here first; what we met may be of the next lap
  std::uint64_t expected = low;        // raised meanwhile: forget the walk
  ring.header->low.position.compare_exchange_strong(expected, reached, memory_order_acq_rel);
  if (reached >= least) return true;
  return refusal.why != Refusal::Why::corrupt && settle(ring, reached, own, refusal);
}

}  // namespace

std::uint64_t make_room(const Ring& ring, std::uint64_t need, std::uint64_t own, Refusal& refusal, Settled settled) noexcept {
  refusal = {};
  // Both end before they could wrap. (Of the smallest packed values four stand in a cell.)
  if (need >= kMostPositions - ring.cells ||
      next_offset_of(ring.header->tail.w1.load(memory_order_relaxed)) >= kMostOffsets - 4 * ring.cells) {
    refusal.why = Refusal::Why::exhausted;
    return 0;
  }
  const std::uint64_t step = std::min<std::uint64_t>(ring.cells / 32, 512);  // coarse, but no long walk in one claim
  for (;;) {
    if (ring.deleted()) {
      refusal.why = Refusal::Why::deleted;
      return 0;
    }
    const std::uint64_t least = need > ring.cells ? need - ring.cells : 0;  // low must be there at least
    const bool limited = evict_those_behind(ring);
    const Slowest slowest = slowest_cursor(ring);
    if (slowest.position < least) {  // also one that died while it joined, below low
      if (evict_if_due(ring, ring.cursors[slowest.group])) continue;
      // A group that has read all it could waits for the claim at its cursor, as we do: that is what to repair, or to name.
      if (is_open(ring, slowest.position) && !settle(ring, slowest.position, own, refusal)) return 0;
      refusal = {.why = Refusal::Why::group,
                 .index = slowest.group,
                 .incarnation = incarnation_of(ring.cursors[slowest.group].owner.load(memory_order_relaxed)),
                 .position = slowest.position};
      return 0;
    }
    const std::uint64_t low = ring.low();
    if (low > ring.tail()) {  // noise, which would make the limit wrap
      refusal = {.why = Refusal::Why::corrupt, .position = low};
      return 0;
    }
    if (low < least) {
      if (slowest.position != kNoCursor) {
        if (slowest.position > ring.tail()) {
          refusal = {.why = Refusal::Why::corrupt, .index = slowest.group, .position = slowest.position};
          return 0;
        }
        // Some slices more than is needed: looking for room costs several foreign cache lines, and is to be seldom.
        const std::uint64_t wanted = std::min(least + kSlicesAhead * ring.slice, slowest.position);
        raise_low(ring, boundary_between(ring, wanted, slowest.position, step));
      } else if (low >= settled.from && low < settled.to && least <= settled.to) {
        std::uint64_t expected = low;  // raised meanwhile: look again
        const std::uint64_t to = boundary_between(ring, std::min(least + ring.slice, settled.to), settled.to, step);
        ARUS_KILL_POINT("M-own");
        ring.header->low.position.compare_exchange_strong(expected, to, memory_order_acq_rel);
      } else if (!walk_low(ring, low, least, step, own, refusal)) {
        return 0;
      }
      ARUS_KILL_POINT("M-low");
    }
    platform::fence_full();
    ARUS_KILL_POINT("M-fence");
    // In this order: a group that joins at the `low` before ours has its cursor there when ours is read. The other way round it could
    // join after the look at the cursors, and before another producer, which looked for cursors before it, raises `low` past it.
    const std::uint64_t low_again = ring.low();
    ARUS_KILL_POINT("M-limit");
    const std::uint64_t limit = std::min(low_again, slowest_cursor(ring).position) + ring.cells;
    if (limit >= need) {
      refusal = {};
      return limited ? std::min(limit, need + step) : limit;
    }
  }
}

bool holds_back(const Cursor& cursor) noexcept {
  const std::uint64_t state = cursor.state.load(memory_order_acquire);
  if (cursor_status(state) != CursorStatus::active) return false;
  const std::uint64_t position = cursor.position.load(memory_order_relaxed);
  const std::uint64_t tag = cursor.held_since.load(memory_order_relaxed) & kTagMask;
  return tag == held_tag(state, position, false) || tag == held_tag(state, position, true);
}

bool evict_by_hand(Cursor& cursor) noexcept {
  const std::uint64_t state = cursor.state.load(memory_order_acquire);
  return cursor_status(state) == CursorStatus::active && evict(cursor, state, CursorStatus::evicted_by_hand);
}

std::uint64_t join(const Ring& ring, Cursor& cursor, std::uint64_t state) noexcept {
  std::uint64_t position = ring.low();
  for (;;) {
    cursor.position.store(position, memory_order_release);
    cursor.state.store(state, memory_order_release);
    ARUS_KILL_POINT("J-store");
    platform::fence_full();
    const std::uint64_t low = ring.low();
    if (low <= position) return position;
    position = low;
  }
}

}  // namespace arus::ring
