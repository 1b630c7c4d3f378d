#include "ring/sweep.h"

#include <optional>

#include "ring/read.h"
#include "ring/repair.h"

namespace arus::ring {
namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;

OpenClaim claim_of(const Ring& ring, std::uint32_t slot, std::uint64_t position, std::uint64_t offset, std::uint64_t cells) {
  OpenClaim claim{.position = position, .offset = offset, .cells = cells, .incarnation = 0, .owner = OpenClaim::Owner::unclear};
  if (slot >= ring.slot_count) return claim;  // noise, or overwritten meanwhile: the caller finds out
  // In this order: a slot is registered anew only when what was open at its position is settled.
  const bool dead = owner_dead(ring, slot, position);
  claim.incarnation = ring.slots[slot].incarnation.load(memory_order_acquire);
  claim.owner = dead ? OpenClaim::Owner::dead : OpenClaim::Owner::alive;
  return claim;
}

// The claim at a position that is not marked. With several slots there, whose it is is for recover() to tell.
OpenClaim unmarked(const Ring& ring, std::uint64_t position, std::uint64_t tail) {
  std::optional<std::uint32_t> only;
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < ring.slot_count; ++i) {
    const std::uint64_t w0 = ring.slots[i].w0.load(memory_order_acquire);
    if (w0 == kNoIntent || position_of(w0) != position) continue;
    only = i;
    ++count;
  }
  const OpenClaim unclear{.position = position, .offset = 0, .cells = 0, .incarnation = 0, .owner = OpenClaim::Owner::unclear};
  if (count != 1) return unclear;
  const ProducerSlot& slot = ring.slots[*only];
  const std::uint64_t cells = extent_cells(slot.w2.load(memory_order_acquire));
  if (!ring.plausible(cells) || position + cells > tail) return unclear;
  return claim_of(ring, *only, position, slot.w1.load(memory_order_relaxed), cells);
}

}  // namespace

std::vector<OpenClaim> open_claims(const Ring& ring, std::size_t most) {
  std::vector<OpenClaim> found;
  const std::uint64_t tail = ring.tail();
  for (std::uint64_t p = ring.low(); p < tail && found.size() < most;) {
    const Mark mark = ring.mark(p);
    const bool marked = ring.valid(mark, p);
    std::optional<OpenClaim> open;
    if (!marked)
      open = unmarked(ring, p, tail);
    else if (mark.state() == State::claimed)
      open = claim_of(ring, mark.owner(), p, offset_of(ring.at(p).h1.load(memory_order_relaxed)), mark.cells());
    else if (View view; mark.state() == State::committed && lacks_some(ring, p) && look(ring, p, view) == Found::record)
      open = claim_of(ring, mark.owner(), p, view.offset + view.lengths.records(), mark.cells());
    if (!still_there(ring, p)) {  // passed, perhaps overwritten while we looked
      found.clear();
      p = ring.low();
      continue;
    }
    if (!marked && ring.valid(ring.mark(p), p)) continue;  // marked meanwhile
    const std::uint64_t cells = open ? open->cells : mark.cells();
    if (marked && !ring.plausible(cells)) break;  // impossible content, which readers report
    if (open) found.push_back(*open);
    if (cells == 0) break;
    p += cells;
  }
  return found;
}

std::uint64_t settle_dead_claims(const Ring& ring, std::uint64_t own) {
  std::uint64_t settled = 0;
  for (bool again = true; again;) {
    again = false;  // behind a claim that was unclear there may be more
    for (const OpenClaim& claim : open_claims(ring)) {
      if (claim.owner == OpenClaim::Owner::alive) continue;
      const Mark before = ring.mark(claim.position);
      if (ring.valid(before, claim.position) && before.state() != State::claimed && !lacks_some(ring, claim.position)) continue;
      if (recover(ring, claim.position, own).outcome != Repaired::settled) continue;
      ++settled;
      again = true;
    }
  }
  return settled;
}

}  // namespace arus::ring
