#include "group/cursor.h"

#include "platform/kill_point.h"
#include "ring/room.h"

namespace arus::group {

using ring::Cursor;
using ring::CursorStatus;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

// Cursor::rejoined. A reader that joins puts the cursor somewhere that the committed offset knows nothing of; until it has settled
// something there, a successor must not take the two for one place: it would call `uncommitted` what was lost.
constexpr std::uint64_t kFresh = 1ull << 63;                    // the group has never settled anything; else it was evicted
constexpr std::uint64_t kSomewhere = ring::kMostPositions - 1;  // joining

// Whether the group's first reader died before it had stored where it begins, or one after an eviction before it had settled anything.
bool is_apart(std::uint64_t rejoined, std::uint64_t position) noexcept {
  const std::uint64_t at = rejoined & (ring::kMostPositions - 1);
  return rejoined != 0 && (at == kSomewhere || at == position);
}

std::uint64_t limit_word(const Policy& policy, std::uint64_t ahead = 0) noexcept {
  if (policy.records_behind != 0) return policy.records_behind << 1 | 1;
  if (policy.bytes_behind == 0) return 0;
  return (((policy.bytes_behind + ring::kCell - 1) >> ring::kCellShift) + ahead) << 1;
}

std::uint64_t promise(std::uint64_t next) noexcept { return next == platform::kNoIncarnation ? next : next | ring::kReserved; }

bool is_free(std::uint64_t owner, const platform::Leases& leases) noexcept {
  return (owner & ring::kReserved) != 0 || leases.dead(owner);
}

}  // namespace

bool is_takeable(const Cursor& cursor, const platform::Leases& leases) noexcept {
  return is_free(cursor.owner.load(memory_order_acquire), leases);
}

bool take(Cursor& cursor, std::uint64_t incarnation, std::uint64_t member, const platform::Leases& leases) noexcept {
  std::uint64_t owner = cursor.owner.load(memory_order_acquire);
  if (!is_free(owner, leases)) return false;
  if (!cursor.owner.compare_exchange_strong(owner, incarnation, memory_order_acq_rel)) return false;
  ARUS_KILL_POINT("G-owned");
  cursor.member.store(member, memory_order_release);
  return true;
}

Resumption resume(const ring::Ring& ring, Cursor& cursor, const Policy& policy) noexcept {
  cursor.grace.store(static_cast<std::uint64_t>(policy.grace_ns), memory_order_relaxed);
  cursor.stall.store(static_cast<std::uint64_t>(policy.stall_ns), memory_order_relaxed);
  const bool lossy = policy.delivery == Delivery::lossy;
  std::uint64_t state = cursor.state.load(memory_order_acquire);
  const std::uint64_t mine = ring::cursor_state((state >> 8) + 1, lossy ? CursorStatus::lossy : CursorStatus::active);
  const std::uint64_t committed = cursor.committed.load(memory_order_relaxed);
  std::uint64_t position = cursor.position.load(memory_order_relaxed);
  const std::uint64_t rejoined = cursor.rejoined.load(memory_order_relaxed);
  const bool apart = is_apart(rejoined, position);
  const bool fresh = ring::cursor_status(state) == CursorStatus::free || (apart && (rejoined & kFresh) != 0);
  const auto otherwise = fresh ? Resumption::From::start : Resumption::From::evicted;
  // Below low it is one whose reader died while it joined, or was lossy and is lapped.
  const bool is_there = position >= ring.low() && position <= ring.tail();
  const CursorStatus was = ring::cursor_status(state);
  if (is_there && (was == CursorStatus::active || (lossy && was == CursorStatus::lossy)) &&
      cursor.state.compare_exchange_strong(state, mine, memory_order_acq_rel)) {
    cursor.limit.store(apart && fresh ? 0 : limit_word(policy), memory_order_release);
    if (apart) cursor.rejoined.store((rejoined & kFresh) | position, memory_order_release);  // no longer wherever it goes
    ARUS_KILL_POINT("G-taken");
    return {apart ? otherwise : Resumption::From::committed, position, committed, mine};
  }
  const std::uint64_t kind = fresh ? kFresh : 0;
  // One that has not begun is behind nothing yet.
  cursor.limit.store(fresh ? 0 : limit_word(policy), memory_order_release);
  cursor.rejoined.store(kind | kSomewhere, memory_order_release);
  position = ring::join(ring, cursor, mine);
  ARUS_KILL_POINT("G-joined");
  cursor.rejoined.store(kind | position, memory_order_release);
  return {otherwise, position, committed, mine};
}

void let_go(Cursor& cursor, std::uint64_t incarnation, std::uint64_t next) noexcept {
  std::uint64_t mine = incarnation;
  if (cursor.owner.load(memory_order_relaxed) != mine) return;
  cursor.member.store(0, memory_order_relaxed);
  cursor.owner.compare_exchange_strong(mine, promise(next), memory_order_acq_rel);
  ARUS_KILL_POINT("G-let-go");
}

void forget_beginning(Cursor& cursor) noexcept {
  const std::uint64_t state = cursor.state.load(memory_order_relaxed);
  // Holds nobody back.
  cursor.state.store(ring::cursor_state(state >> 8, CursorStatus::evicted_abandoned), memory_order_release);
  cursor.rejoined.store(kFresh | cursor.position.load(memory_order_relaxed), memory_order_release);
}

void renounce(Cursor& cursor, std::uint64_t incarnation, std::uint64_t next) noexcept {
  std::uint64_t promised = incarnation | ring::kReserved;
  cursor.owner.compare_exchange_strong(promised, promise(next), memory_order_acq_rel);
}

void guard(Cursor& cursor, std::uint64_t next, const platform::Leases& leases) noexcept {
  std::uint64_t owner = cursor.owner.load(memory_order_acquire);
  if (next == platform::kNoIncarnation || !leases.dead(ring::incarnation_of(owner))) return;
  cursor.owner.compare_exchange_strong(owner, promise(next), memory_order_acq_rel);
  ARUS_KILL_POINT("G-guarded");
}

void set_limit(Cursor& cursor, const Policy& policy, std::uint64_t ahead) noexcept {
  cursor.limit.store(limit_word(policy, ahead), memory_order_release);
}

void begin_committed(Cursor& cursor, std::uint64_t offset) noexcept {
  cursor.committed.store(offset, memory_order_release);
  ARUS_KILL_POINT("G-begun");
  cursor.rejoined.store(0, memory_order_release);
}

void begin_moving(Cursor& cursor) noexcept {
  const std::uint64_t fresh = cursor.rejoined.load(memory_order_relaxed) & kFresh;
  cursor.rejoined.store(fresh | kSomewhere, memory_order_release);
  ARUS_KILL_POINT("G-moving");
}

void commit_apart(Cursor& cursor, std::uint64_t offset, std::uint64_t position) noexcept {
  begin_moving(cursor);
  cursor.committed.store(offset, memory_order_release);
  ARUS_KILL_POINT("G-apart");
  cursor.position.store(position, memory_order_release);
  cursor.rejoined.store(position, memory_order_release);
}

bool stands_apart(const Cursor& cursor) noexcept {
  return is_apart(cursor.rejoined.load(memory_order_relaxed), cursor.position.load(memory_order_relaxed));
}

void forget(Cursor& cursor) noexcept {
  const std::uint64_t state = cursor.state.load(memory_order_acquire);
  cursor.state.store(ring::cursor_state((state >> 8) + 1, CursorStatus::free), memory_order_release);
  for (ring::Word* word :
       {&cursor.committed, &cursor.rejoined, &cursor.lost, &cursor.member, &cursor.owner, &cursor.limit, &cursor.stall})
    word->store(0, memory_order_release);
}

}  // namespace arus::group
