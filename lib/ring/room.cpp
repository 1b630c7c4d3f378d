#include "ring/room.h"

#include <algorithm>

#include "platform/clock.h"
#include "ring/index.h"
#include "ring/repair.h"

namespace arus::ring {
namespace {

using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

constexpr std::uint64_t kNoCursor = ~0ull;
constexpr std::uint64_t kAhead = 16;  // cells

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

// A group holds producers back. True if it was evicted just now, because its reader is dead and its grace is over.
// Pairs with taking a cursor over: the new owner stores owner, then raises the generation in state (release). We read the state first:
// either it is the old one, and our exchange fails, or we see the new owner. When the death was first seen is noted with the generation
// that was seen dead: a note that comes late, when somebody has taken over, is not the beginning of that one's grace
// (models evict.pml).
bool evict_if_abandoned(const Ring& ring, Cursor& cursor) noexcept {
  std::uint64_t state = cursor.state.load(memory_order_acquire);
  if (cursor_status(state) != CursorStatus::active) return true;
  if (!ring.leases->dead(cursor.owner.load(memory_order_acquire))) return false;
  ARUS_KILL_POINT("M-dead");
  const std::uint64_t now = dead_word(static_cast<std::uint64_t>(platform::boot_time()), state);
  std::uint64_t since = cursor.dead_since.load(memory_order_acquire);
  if (!same_death(since, state)) since = cursor.dead_since.compare_exchange_strong(since, now, memory_order_acq_rel) ? now : since;
  if (!same_death(since, state) || dead_for(since, now) < cursor.grace.load(memory_order_relaxed)) return false;
  ARUS_KILL_POINT("M-evict");
  return cursor.state.compare_exchange_strong(state, cursor_state(state >> 8, CursorStatus::evicted), memory_order_acq_rel);
}

// The record at `position` stands in the way. True if it is settled now.
bool settle(const Ring& ring, std::uint64_t position, std::uint64_t own, Refusal& refusal) noexcept {
  const Repair repair = recover(ring, position, own);
  refusal.position = position;
  refusal.incarnation = repair.incarnation;
  switch (repair.outcome) {
    case Repaired::settled: return true;
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
  return !ring.valid(mark, cursor) || mark.state() == State::claimed;
}

// Over settled records from `position`, until `target` or something open. Sets `refusal` to what it met if that is impossible content.
std::uint64_t walk(const Ring& ring, std::uint64_t position, std::uint64_t target, std::uint64_t end, Refusal& refusal) noexcept {
  while (position < target) {
    platform::prefetch_for_write(&ring.at(position + kAhead));  // it is about to be written over
    const Mark mark = ring.mark(position);
    if (!ring.valid(mark, position) || mark.state() == State::claimed) break;
    if (!ring.plausible(mark.cells()) || position + mark.cells() > end) {
      // Perhaps only overwritten: then low has moved on, and the caller's exchange fails.
      refusal = {.why = Refusal::Why::corrupt, .position = position};
      break;
    }
    position += mark.cells();
  }
  return position;
}

void raise_low(const Ring& ring, std::uint64_t to) noexcept {
  Word& low = ring.header->low.position;
  std::uint64_t now = low.load(memory_order_relaxed);
  while (now < to && !low.compare_exchange_weak(now, to, memory_order_acq_rel, memory_order_relaxed)) {
  }
}

// A record boundary in [least, most], where everything below `most` is settled: the index's first one that fits, else one found by
// walking, else `most`, which is one.
std::uint64_t boundary_between(const Ring& ring, std::uint64_t least, std::uint64_t most, std::uint64_t step) noexcept {
  if (most - least <= step) return most;
  std::uint64_t best = most;
  std::uint64_t below = ring.low();
  for (std::uint32_t i = 0; i < kIndexEntries; ++i) {
    const auto entry = read_boundary(ring, i);
    if (!entry) continue;
    if (entry->position >= least)
      best = std::min(best, entry->position);
    else
      below = std::max(below, entry->position);
  }
  if (best - least <= 2 * ring.slice) return best;
  Refusal ignored;
  const std::uint64_t walked = walk(ring, below, least, most, ignored);
  return walked >= least ? walked : best;
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

std::uint64_t make_room(const Ring& ring, std::uint64_t need, std::uint64_t own, Refusal& refusal) noexcept {
  refusal = {};
  // Positions end before they could wrap. Offsets never outrun them by more than the file's first offset, itself below half.
  if (need >= kMostPositions - ring.cells || ring.header->tail.w1.load(memory_order_relaxed) >= kMostOffsets - ring.cells) {
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
    const Slowest slowest = slowest_cursor(ring);
    if (slowest.position < least) {  // also one that died while it joined, below low
      if (evict_if_abandoned(ring, ring.cursors[slowest.group])) continue;
      // A group that has read all it could waits for the claim at its cursor, as we do: that is what to repair, or to name.
      if (is_open(ring, slowest.position) && !settle(ring, slowest.position, own, refusal)) return 0;
      refusal = {.why = Refusal::Why::group,
                 .index = slowest.group,
                 .incarnation = ring.cursors[slowest.group].owner.load(memory_order_relaxed),
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
        raise_low(ring, boundary_between(ring, least, slowest.position, step));
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
      return limit;
    }
  }
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
