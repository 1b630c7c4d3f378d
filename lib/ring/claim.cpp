#include "ring/claim.h"

#include <time.h>

#include <algorithm>
#include <optional>

#include "platform/clock.h"
#include "platform/file.h"
#include "ring/index.h"
#include "ring/read.h"
#include "ring/repair.h"
#include "ring/room.h"

namespace arus::ring {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

constexpr std::int64_t kRegistrationPatience = 2'000'000'000;  // ns
constexpr std::int64_t kSettlingPatience = 500'000'000;        // ns

// A slot may be given away when its last intent is settled: won and marked, lost to somebody who marked, or passed; and so are the
// older claims, of which nobody would know any more. `soon`: it is not, but somebody else may be about to settle it.
bool is_settled(const Ring& ring, std::uint32_t i, std::uint64_t own, bool& soon) noexcept {
  const std::uint64_t w0 = ring.slots[i].w0.load(memory_order_acquire);
  if (w0 == kNoIntent) return true;
  const std::uint64_t p = position_of(w0);
  if (p >= ring.low() && p < ring.tail()) {
    const Repaired outcome = recover(ring, p, own).outcome;
    if (p >= ring.low() && (!ring.valid(ring.mark(p), p) || may_lack_some(ring, p))) {
      soon |= outcome != Repaired::denied && outcome != Repaired::corrupt;
      return false;
    }
  }
  const bool settled = recover_older(ring, i, own);
  soon |= !settled;
  return settled;
}

// A slot that may be taken: a free one before a dead one.
std::optional<std::uint32_t> find_slot(const Ring& ring, std::uint64_t incarnation, bool& soon) noexcept {
  const std::uint32_t usable = ring.single_producer ? 1 : ring.slot_count;
  for (const bool take_over : {false, true}) {
    for (std::uint32_t i = 0; i < usable; ++i) {
      const std::uint64_t owner = ring.slots[i].incarnation.load(memory_order_acquire);
      if (owner != platform::kNoIncarnation && (!take_over || !ring.leases->dead(owner))) continue;
      if (is_settled(ring, i, incarnation, soon)) return i;
    }
  }
  return std::nullopt;
}

}  // namespace

// Under the registration lock, so that no slot is given twice. The incarnation is stored last: until then the slot is dead, and a
// crash leaves it so. Where somebody else repairs what a dead one has left, others may register meanwhile.
Result<Appender> Appender::enlist(const Ring& ring, std::uint64_t incarnation) {
  bool soon = false;
  for (const auto deadline = platform::Deadline::after(kSettlingPatience);;) {
    if (soon) {  // not under the lock
      const timespec nap{0, 1'000'000};
      nanosleep(&nap, nullptr);
    }
    auto lock = platform::FileLock::lock(*ring.path, kRegistrationLock, kRegistrationPatience);
    if (!lock) {
      if (lock.error().code() != Errc::timed_out) return platform::pass(lock);
      const std::uint64_t holder = ring.header->holders.registration.load(memory_order_relaxed);
      return platform::fail(Errc::timed_out, "another producer is registering with {} and does not get on: {}", *ring.path,
                            ring.leases->describe(holder));
    }
    ring.header->holders.registration.store(incarnation, memory_order_relaxed);
    ARUS_KILL_POINT("E-lock");
    soon = false;
    if (const auto found = find_slot(ring, incarnation, soon)) {
      ProducerSlot& slot = ring.slots[*found];
      ARUS_KILL_POINT("E-settled");
      const std::uint64_t tail = ring.header->tail.w0.load(memory_order_acquire);
      // A single producer that died between its two stores to the tail has claimed nothing: put the offset back.
      if (const std::uint64_t w0 = slot.w0.load(memory_order_relaxed); ring.single_producer && w0 == tail)
        ring.header->tail.w1.store(slot.w1.load(memory_order_relaxed), memory_order_release);
      slot.born.store(position_of(tail), memory_order_relaxed);
      ARUS_KILL_POINT("E-born");
      slot.w0.store(kNoIntent, memory_order_relaxed);
      slot.open_since.store(0, memory_order_relaxed);
      ARUS_KILL_POINT("E-intent");
      // Before this producer's first claim, whose compare-and-swap makes it visible to whoever notes a boundary behind that claim.
      std::atomic<std::uint32_t>& used = ring.header->status.slots_used;
      if (used.load(memory_order_relaxed) <= *found) used.store(*found + 1, memory_order_relaxed);
      slot.incarnation.store(incarnation, memory_order_release);
      ARUS_KILL_POINT("E-done");
      ring.header->holders.registration.store(0, memory_order_relaxed);
      Appender appender(ring, *found);
      appender.sole_since_ = position_of(tail);
      appender.largest_timestamp_ = static_cast<std::int64_t>(slot.largest_timestamp.load(memory_order_relaxed));
      return appender;
    }
    ring.header->holders.registration.store(0, memory_order_relaxed);
    if (!soon || deadline.passed()) break;
  }
  if (ring.single_producer && soon)
    return platform::fail(
        Errc::timed_out,
        "the producer of {} is gone, and what it has left open is not repaired yet: another process is about to, or is "
        "stopped in it; try again, and see `arus doctor`",
        *ring.path);
  if (ring.single_producer)
    return platform::fail(Errc::in_use,
                          "{} is of a topic with a single producer, and has one: {}; stop that one, or create the topic for many",
                          *ring.path, ring.leases->describe(ring.slots[0].incarnation.load(memory_order_relaxed)));
  return platform::fail(Errc::limit_reached, "all {} producer slots of {} are in use; create the topic with more (max_producers)",
                        ring.slot_count, *ring.path);
}

void Appender::resign() noexcept { slot_->incarnation.store(platform::kNoIncarnation, memory_order_release); }

bool Appender::insist(std::uint64_t cells, std::uint64_t records, Claimed& claimed) noexcept {
  const std::uint64_t wanted = cells;
  std::uint64_t padded_at = 0;
  for (int gaps = 0;;) {
    const std::uint64_t a = ring_.header->tail.w0.load(memory_order_acquire);
    const std::uint64_t b = ring_.header->tail.w1.load(memory_order_relaxed);
    const std::uint64_t p = position_of(a);
    if (p != padded_at) cells = wanted;  // somebody else was faster
    if (p + cells > limit_) {
      if (!find_room(p + cells, a)) return false;
      continue;
    }
    if (advance(a, b, moved(a, cells), cells, records, own_word(p), ring_.lap_word(p + cells), claimed)) {
      if (((p ^ (p + cells)) & ~(ring_.slice - 1)) != 0) note_in_index(p, p + cells, claimed.offset);
      become_quiet(p + cells);
      return true;
    }
    if (ring_.tail() != p || !ring_.valid(ring_.mark(p + cells), p + cells)) continue;
    // C3. Payload that repeats itself looks alike in all its cells, so that in one lap of four million all of them are imitations. But where a
    // record began a lap ago stands a mark of that lap: the claim may end there, and what it does not need is padding.
    padded_at = p;
    do ++cells;
    while (cells <= ring_.cells / 2 && ring_.valid(ring_.mark(p + cells), p + cells));
    if (cells <= ring_.cells / 2) continue;
    if (++gaps > kMostGaps) {
      refusal_ = {.why = Refusal::Why::corrupt, .position = p + wanted};
      return false;
    }
    if (!leave_gap(a, b)) return false;
  }
}

// A claim of nothing, as large as it can be, so that the next one begins elsewhere. True: try again. Its offset is one that was never committed.
bool Appender::leave_gap(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t p = position_of(a);
  std::uint64_t cells = ring_.cells / 2;
  while (cells != 0 && ring_.valid(ring_.mark(p + cells), p + cells)) --cells;
  if (cells == 0) {
    refusal_ = {.why = Refusal::Why::corrupt, .position = p};
    return false;
  }
  if (p + cells > limit_ && !find_room(p + cells, a)) return false;
  Claimed gap;
  if (p + cells > limit_ || !advance(a, b, moved(a, cells), cells, 1, own_word(p), ring_.lap_word(p + cells), gap)) return true;
  if (((p ^ (p + cells)) & ~(ring_.slice - 1)) != 0) note_in_index(p, p + cells, gap.offset);
  abort(gap);
  return true;
}

bool Appender::find_room(std::uint64_t need, std::uint64_t tail) noexcept {
  distance_.look(ring_);
  // Where the last claim is this producer's as well, all since sole_since_ are.
  Settled settled;
  // (A last one that grows is not settled yet.)
  if (owner_of(tail) == id_) {
    const std::uint64_t cells = growing_cells_of(ring_.header->tail.w1.load(memory_order_acquire));
    const std::uint64_t end = position_of(tail) - std::min(position_of(tail), cells);
    // (Where somebody else has claimed meanwhile, those cells may be of that claim.)
    if (ring_.header->tail.w0.load(memory_order_relaxed) == tail) settled = {sole_since_, open_ == 0 ? end : first_open_};
  }
  const std::uint64_t limit = make_room(ring_, need, slot_->incarnation.load(memory_order_relaxed), refusal_, settled);
  limit_ = std::max(limit_, limit);
  distance_.saw(ring_);
  return limit != 0;
}

// Whoever comes by repairs: an observer that may only read cannot, so producers look now and then whether another's claim has been
// open since the last look. Nothing to do, and no foreign cache line touched, while this is the only one that appends.
void Appender::look_after_others(std::int64_t now) noexcept {
  looked_at_ = now;
  if (!saw_others_) return;
  saw_others_ = false;
  const std::uint64_t low = ring_.low();
  const std::uint64_t tail = ring_.tail();
  for (std::uint32_t i = 0; i < ring_.slot_count; ++i) {
    std::uint64_t open = 0;
    const std::uint64_t w0 = i == id_ ? kNoIntent : ring_.slots[i].w0.load(memory_order_acquire);
    if (const std::uint64_t p = position_of(w0); w0 != kNoIntent && p >= low && p < tail) {
      const Mark mark = ring_.mark(p);
      if (!ring_.valid(mark, p) || mark.state() == State::claimed || lacks_some(ring_, p)) open = p;
    }
    if (open != 0) {
      saw_others_ = true;
      if (open == open_before_[i]) recover(ring_, open, slot_->incarnation.load(memory_order_relaxed));
    }
    open_before_[i] = open;
    if (i == id_ || ring_.slots[i].open_since.load(memory_order_acquire) == 0) continue;
    saw_others_ = true;  // it may die, and its intent need not name what it leaves open
    const std::uint64_t owner = ring_.slots[i].incarnation.load(memory_order_acquire);
    if (owner != settled_for_[i] && ring_.leases->dead(owner) &&
        recover_older(ring_, i, slot_->incarnation.load(memory_order_relaxed)))
      settled_for_[i] = owner;
  }
}

void Appender::note_in_index(std::uint64_t position, std::uint64_t end, std::uint64_t offset) const noexcept {
  std::int64_t largest = 0;
  const std::uint32_t used = std::min(ring_.header->status.slots_used.load(memory_order_relaxed), ring_.slot_count);
  for (std::uint32_t i = 0; i < used; ++i)
    largest = std::max(largest, static_cast<std::int64_t>(ring_.slots[i].largest_timestamp.load(memory_order_acquire)));
  note_boundary(ring_, end, {position, offset, largest});
}

}  // namespace arus::ring
