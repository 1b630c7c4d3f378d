#include "ring/repair.h"

#include <algorithm>

#include "platform/file.h"
#include "platform/kill_point.h"
#include "ring/read.h"

namespace arus::ring {
namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;

struct Intent {
  std::uint32_t slot;
  std::uint64_t w0, w1, w2;
};

// The slots whose intent is at p. More than one: losers of the race for p, whose intent is stale.
class Candidates {
 public:
  Candidates(const Ring& ring, std::uint64_t p) noexcept : ring_(ring), p_(p) {}

  // The owner of the unmarked claim at p, if it can be told: the only candidate, or the only one whom the next boundary names as its
  // predecessor (the tail; a slot; a header. Slots before headers, because a slot is reused only after its header stands).
  [[nodiscard]] bool find(std::uint64_t tail_w0, Intent& owner) const noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < ring_.slot_count; ++i)
      if (at_p(i)) {
        owner.slot = i;
        ++count;
      }
    if (count > 1) {
      count = 0;
      for (std::uint32_t i = 0; i < ring_.slot_count; ++i)
        if (at_p(i) && confirmed(i, tail_w0)) {
          owner.slot = i;
          ++count;
        }
    }
    if (count != 1) return false;
    const ProducerSlot& slot = ring_.slots[owner.slot];
    owner.w0 = slot.w0.load(memory_order_acquire);
    owner.w1 = slot.w1.load(memory_order_relaxed);
    owner.w2 = slot.w2.load(memory_order_relaxed);
    return owner.w0 != kNoIntent && position_of(owner.w0) == p_;
  }

 private:
  [[nodiscard]] bool at_p(std::uint32_t i) const noexcept {
    const std::uint64_t w0 = ring_.slots[i].w0.load(memory_order_acquire);
    return w0 != kNoIntent && position_of(w0) == p_;
  }
  [[nodiscard]] bool confirmed(std::uint32_t i, std::uint64_t tail_w0) const noexcept {
    const std::uint64_t extent = extent_cells(ring_.slots[i].w2.load(memory_order_acquire));
    if (!ring_.plausible(extent)) return false;
    const std::uint64_t q = p_ + extent;
    const std::uint64_t tail = position_of(tail_w0);
    if (q == tail) return owner_of(tail_w0) == i;
    if (q > tail) return false;
    for (std::uint32_t j = 0; j < ring_.slot_count; ++j)
      if (ring_.slots[j].w0.load(memory_order_acquire) == tail_word(q, i)) return true;
    return ring_.valid(ring_.mark(q), q) && previous_of(ring_.at(q).h1.load(memory_order_relaxed)) == i;
  }

  const Ring& ring_;
  std::uint64_t p_;
};

// R2 to R5: the claim is marked.
Repair skip_marked(const Ring& ring, std::uint64_t p, std::uint64_t tail, Mark mark) noexcept {
  const std::uint32_t owner = mark.owner();
  if (owner >= ring.slot_count || !ring.plausible(mark.cells()) || p + mark.cells() > tail) return {Repaired::corrupt};
  ARUS_KILL_POINT("R2-marked");
  const std::uint64_t incarnation = ring.slots[owner].incarnation.load(memory_order_acquire);
  if (!owner_dead(ring, owner, p)) return {Repaired::alive, incarnation};
  ARUS_KILL_POINT("R2");
  if (ring.mark(p).word != mark.word) return {Repaired::settled};  // R3: committed just before the death
  ARUS_KILL_POINT("R3");
  if (ring.low() > p) return {Repaired::settled};  // R4: passed, perhaps reused
  ARUS_KILL_POINT("R4");
  ring.set_mark(p, State::skip, owner, mark.cells());  // R5
  ARUS_KILL_POINT("R5");
  return {Repaired::settled};
}

// R6 to R11: the claim is not marked.
Repair skip_unmarked(const Ring& ring, std::uint64_t p, std::uint64_t tail_w0) noexcept {
  Intent owner{};
  if (!Candidates(ring, p).find(tail_w0, owner)) return {Repaired::unclear};
  ARUS_KILL_POINT("R6");
  const std::uint64_t incarnation = ring.slots[owner.slot].incarnation.load(memory_order_acquire);
  if (!owner_dead(ring, owner.slot, p)) return {Repaired::alive, incarnation};  // R7
  const std::uint64_t extent = extent_cells(owner.w2);
  ARUS_KILL_POINT("R7");
  if (ring.valid(ring.mark(p), p)) return {Repaired::settled};  // R8: marked meanwhile; if it is open, the next attempt sees to it
  ARUS_KILL_POINT("R8");
  if (ring.low() > p) return {Repaired::settled};  // R9
  if (!ring.plausible(extent) || p + extent > position_of(tail_w0)) return {Repaired::corrupt};
  ARUS_KILL_POINT("R9");
  ring.at(p).h1.store(chain_word(owner.w1, owner_of(owner.w0)), memory_order_relaxed);  // R10
  ARUS_KILL_POINT("R10");
  ring.set_mark(p, State::skip, owner.slot, extent);  // R11
  ARUS_KILL_POINT("R11");
  return {Repaired::settled};
}

// A record that grows, and of which one was granted that never came: it ends with those that did.
Repair end_growth(const Ring& ring, std::uint64_t p, Mark mark) noexcept {
  const std::uint32_t owner = mark.owner();
  if (owner >= ring.slot_count) return {Repaired::corrupt};
  const std::uint64_t incarnation = ring.slots[owner].incarnation.load(memory_order_acquire);
  if (!owner_dead(ring, owner, p)) return {Repaired::alive, incarnation};
  ARUS_KILL_POINT("RG-dead");
  if (!lacks_some(ring, p)) return {Repaired::settled};  // as R3: it came just before the death
  Word& h3 = ring.at(p).h3;
  const std::uint64_t lengths = h3.load(memory_order_relaxed);
  if (ring.low() > p) return {Repaired::settled};
  ARUS_KILL_POINT("RG-low");
  h3.store(lengths | Lengths{0, 0, 0, Lengths::kNullValue}.word(), std::memory_order_release);
  ARUS_KILL_POINT("RG-ended");
  return {Repaired::settled};
}

Repair recover_locked(const Ring& ring, std::uint64_t p) noexcept {
  const std::uint64_t a = ring.header->tail.w0.load(memory_order_acquire);  // R1
  if (p >= position_of(a)) return {Repaired::settled};
  ARUS_KILL_POINT("R1");
  const Mark mark = ring.mark(p);  // R2
  if (!ring.valid(mark, p)) return skip_unmarked(ring, p, a);
  if (mark.state() == State::committed && lacks_some(ring, p)) return end_growth(ring, p, mark);
  if (mark.state() != State::claimed) return {Repaired::settled};
  return skip_marked(ring, p, position_of(a), mark);
}

}  // namespace

bool owner_dead(const Ring& ring, std::uint32_t owner, std::uint64_t p) noexcept {
  if (owner >= ring.slot_count) return false;
  const ProducerSlot& slot = ring.slots[owner];
  // The incarnation is stored last at registration: whoever sees the new one sees the new `born`.
  return ring.leases->dead(slot.incarnation.load(memory_order_acquire)) || p < slot.born.load(memory_order_acquire);
}

Repair recover(const Ring& ring, std::uint64_t p, std::uint64_t own) noexcept try {
  if (p >= ring.tail() || p < ring.low()) return {Repaired::settled};
  const Mark mark = ring.mark(p);
  if (ring.valid(mark, p) && mark.state() != State::claimed && !lacks_some(ring, p)) {
    // Where the claim behind one that grows is not marked, that is what is in the way.
    View view;
    if (mark.state() == State::committed && look(ring, p, view) == Found::record && view.grows && p + view.cells < ring.tail())
      return recover(ring, p + view.cells, own);
    return {Repaired::settled};
  }
  if (!ring.writable) return {Repaired::denied};
  auto lock = platform::FileLock::try_lock(*ring.path, kRepairLock);
  Word& holder = ring.header->holders.repair;
  if (!lock) {
    if (lock.error().code() == Errc::in_use) return {Repaired::busy, holder.load(memory_order_relaxed)};
    return {Repaired::denied};
  }
  holder.store(own, memory_order_relaxed);
  ARUS_KILL_POINT("R0");
  const Repair repair = recover_locked(ring, p);
  holder.store(0, memory_order_relaxed);
  if (repair.outcome == Repaired::settled) ring.data.wake();
  return repair;
} catch (...) {  // out of memory for a path
  return {Repaired::denied};
}

bool recover_older(const Ring& ring, std::uint32_t owner, std::uint64_t own) noexcept {
  const ProducerSlot& slot = ring.slots[owner];
  const std::uint64_t w0 = slot.w0.load(memory_order_acquire);
  const std::uint64_t since = slot.open_since.load(memory_order_acquire);
  if (since == 0 || w0 == kNoIntent) return true;
  const std::uint64_t end = std::min(position_of(w0), ring.tail());
  for (std::uint64_t p = since;;) {
    p = std::max(p, ring.low());
    if (p >= end) return true;
    const Mark mark = ring.mark(p);
    if (ring.low() > p) continue;                                             // overtaken: what was read may be of the next lap
    if (!ring.valid(mark, p) || !ring.plausible(mark.cells())) return false;  // somebody else's hole
    if (mark.state() == State::claimed && mark.owner() == owner && recover(ring, p, own).outcome != Repaired::settled) return false;
    p += mark.cells();
  }
}

}  // namespace arus::ring
