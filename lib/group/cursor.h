// A group's cursor in one partition: who reads there, from where a successor goes on, and what producers leave alone meanwhile.
//
// Roles. Whoever holds `owner` is the one writer of everything else, but for `held_since` and the evictions, which are the producers'.
// A cursor is taken by exchanging owner: from nobody, from a promise (kReserved), or from a dead process. So a partition moves only after
// its reader has let it go or is dead, whatever the members believe about the group's state; and nobody who was replaced can still
// write to it, because to be replaced is to be dead. Let go: what was read is settled, then owner is exchanged for a promise to the process
// that is to have it next, which producers then treat as its reader.
// Pairs. owner: the exchange that lets go (release) with the one that takes (acquire) makes position and committed visible. state: see
// evict_if_due in ring/room.cpp.
// What a crash leaves, each time a dead owner, whose cursor the next one takes:
//   G-owned           the generation of the reader before: position and committed are its own still
//   G-taken           the same, with this reader's generation
//   G-joined          a position that committed knows nothing of: `rejoined` says so, and the next one joins or begins anew
//   G-begun           committed stands, `rejoined` is set still: the next one begins anew, nothing was handed out in between
//   G-moving, G-apart  `rejoined` says that position and committed are two places, whichever of them stands: the next one reports what is
//                     between as lost, and says in `rejoined` where it found the position
//   cursor-committed  committed is ahead of position: the next one passes over what is settled (bus/partition_reader.cpp)
//   G-let-go          a promise that nobody was told of: whoever waits for the partition looks every 50 ms
//   G-guarded         a promise on behalf of a dead reader: as above
#pragma once

#include <cstdint>

#include "group/group_state.h"
#include "platform/lease.h"
#include "ring/ring.h"

namespace arus::group {

// Whether it can be taken now.
bool is_takeable(const ring::Cursor& cursor, const platform::Leases& leases) noexcept;

// Where the reader that has taken a cursor begins in its partition.
struct Resumption {
  enum class From : std::uint8_t {
    start,      // no committed offset: ConsumerConfig::start decides
    committed,  // the cursor held: everything from `position` on is there; deliver from `committed` on
    evicted,    // the cursor did not hold: begin at `position`, and what is missing from `committed` on is lost
  };
  From from;
  std::uint64_t position;
  std::uint64_t committed;
  std::uint64_t state;  // of the cursor, as long as it is this reader's
};

// Takes it for the consumer `member` of the process `incarnation`; false if somebody else has it.
bool take(ring::Cursor& cursor, std::uint64_t incarnation, std::uint64_t member, const platform::Leases& leases) noexcept;
// The owner begins, or, after an eviction, begins again.
Resumption resume(const ring::Ring& ring, ring::Cursor& cursor, const Policy& policy) noexcept;
// Lets it go, to the process `next` (kNoIncarnation: nobody). Does nothing if it is not held by `incarnation`.
void let_go(ring::Cursor& cursor, std::uint64_t incarnation, std::uint64_t next) noexcept;

// A promise to `incarnation` that will not be kept there goes to the process `next` instead.
void renounce(ring::Cursor& cursor, std::uint64_t incarnation, std::uint64_t next) noexcept;

// One whose reader is dead is promised to the process `next`, if there is one: producers wait as long as that lives, and not for the
// grace of a group without members. Whoever is to read there takes it all the same.
void guard(ring::Cursor& cursor, std::uint64_t next, const platform::Leases& leases) noexcept;

// The reader begins at `offset`: from here on a successor starts there, and no longer where its own configuration says.
void begin_committed(ring::Cursor& cursor, std::uint64_t offset) noexcept;
// From here on the position may be stored, until begin_committed() or commit_apart(): whoever dies in between leaves two places.
void begin_moving(ring::Cursor& cursor) noexcept;
// The same, and also later, where what stands between `offset` and the cursor was lost: how far that goes shows in the next record only. A
// successor is told of it.
void commit_apart(ring::Cursor& cursor, std::uint64_t offset, std::uint64_t position) noexcept;
// Whether a successor would be.
bool stands_apart(const ring::Cursor& cursor) noexcept;
// Only when the beginning stands can a group be too far behind it. `ahead`: how many cells the beginning is ahead of the cursor, which
// goes there over settled records only.
void set_limit(ring::Cursor& cursor, const Policy& policy, std::uint64_t ahead) noexcept;
// Takes that back: the subscription failed in another partition.
void forget_beginning(ring::Cursor& cursor) noexcept;
// As if the group had never been there. For one that has no owner, or a dead one.
void forget(ring::Cursor& cursor) noexcept;

}  // namespace arus::group
