// make_room of ../shared/protocol.md: how far producers may claim.
//
// Roles. `low` is raised by any producer; a group's cursor is moved by its reader alone. Lossless: low follows the slowest cursor,
// to a record boundary somewhat further than needed, so that what was read stays for observers and late-comers. Lossy: low walks over
// settled records, but for those that the producer has settled itself. Never over an open claim, nor over a record that may
// grow: what is open is repaired if its owner is dead, else waited for.
//
// Pairs. A group that joins stores its cursor, fences, reads low again; a producer raises low, fences, reads the cursors again, and
// takes its limit from the second reading: one of them sees the other (model join.pml).
//
// Eviction needs no lock: a producer that is held back notes since when; when the reader's patience is over, it exchanges the cursor's state,
// and the generation in it makes an exchange that was meant for an earlier reader fail.
//
// What a crash leaves: low raised or not; either is right.
#pragma once

#include <cstdint>

#include "ring/claim.h"

namespace arus::ring {

// Positions between which every claim was made by one producer, which has settled them: two boundaries of records.
struct Settled {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
};

// The limit, at least `need` (a position); 0 and a refusal if there is none now. `own`: this process's incarnation. `settled`: by the caller;
// over those it raises low without looking (model stamp.pml, -DOWN).
std::uint64_t make_room(const Ring& ring, std::uint64_t need, std::uint64_t own, Refusal& refusal, Settled settled = {}) noexcept;

// Joins as a lossless reader: puts the cursor at the lowest position that producers leave alone from now on, and `state` (active) with
// it. Also every move of a cursor backwards. Returns the position; everything from there on is kept. A crash leaves a cursor that
// may be below low: no harm, and evicted when its grace is over.
std::uint64_t join(const Ring& ring, Cursor& cursor, std::uint64_t state) noexcept;

// Whether producers have found this reader in the way, where it is now.
bool holds_back(const Cursor& cursor) noexcept;
// True if it held producers back, or might have, and does not any more.
bool evict_by_hand(Cursor& cursor) noexcept;

}  // namespace arus::ring
