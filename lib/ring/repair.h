// Repair of what a dead producer left open: recover(p), the steps R1 to R11 of ../shared/protocol.md.
//
// Roles. A repairer holds the repair lock of the partition (released by the kernel at its death; tried, never waited for) and writes at
// most h1 and h0 of one open claim whose owner is dead, or h3 of a record that grows, whose dead owner was granted a value that never came.
// Nobody else writes there: the owner is dead, readers and `low` pass neither of the two, and other repairers do not hold the lock.
// Order. Death is established first, then the header is read again, then `low`, then the store: so that a record committed just before
// the death is not skipped, and a position that was passed and reused is not touched.
// What a crash leaves: h1 rewritten at most; the next repairer does the same again. (h3 is one store: before it nothing is changed, behind it all.)
#pragma once

#include <cstdint>

#include "ring/ring.h"

namespace arus::ring {

enum class Repaired : std::uint8_t {
  settled,  // nothing is open at p: it was repaired now, or needed none
  alive,    // the owner lives; `incarnation` names it
  busy,     // another repairer holds the lock; `incarnation` names it, if it said so
  unclear,  // unmarked, and whose it is cannot be told yet; try again when something has changed
  denied,   // this process may not write to the partition
  corrupt,  // impossible content
};
struct Repair {
  Repaired outcome;
  std::uint64_t incarnation = 0;
};

// Settles the claim that starts at p, if it is open and its owner is dead. `ring` must be mapped for writing; `own` is this
// process's incarnation, noted beside the lock. p must be a claim's start; where a record grows there that is in order, the claim behind it
// is settled, if that is not marked. System calls: only when the claim is open.
Repair recover(const Ring& ring, std::uint64_t p, std::uint64_t own) noexcept;

// The same for all claims of a slot whose owner is dead that are older than the one its intent names. False: not all are settled yet.
bool recover_older(const Ring& ring, std::uint32_t owner, std::uint64_t own) noexcept;

// Whether slot `owner` can no longer settle the claim at p.
bool owner_dead(const Ring& ring, std::uint32_t owner, std::uint64_t p) noexcept;

inline constexpr std::uint32_t kRepairLock = 0;  // bytes of the partition's file
inline constexpr std::uint32_t kRegistrationLock = 1;

}  // namespace arus::ring
