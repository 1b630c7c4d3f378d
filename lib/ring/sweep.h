// Every open claim of a partition at once: for people who look at a bus, and for a repair of the whole. (Readers and producers repair
// what stands in their way, one claim at a time: repair.h.)
//
// Roles. Looking only reads, also a ring that producers are writing to: what they pass meanwhile is left out. Settling writes as
// recover() does, under its lock; several may do it at once.
#pragma once

#include <cstdint>
#include <vector>

#include "ring/ring.h"

namespace arus::ring {

struct OpenClaim {
  enum class Owner : std::uint8_t {
    alive,    // writing just now, or stopped, or holding a loan
    dead,     // recover() settles it
    unclear,  // claimed and not marked yet, and whose it is cannot be told at the moment
  };
  std::uint64_t position;
  std::uint64_t offset;  // of its first record
  std::uint64_t cells;   // 0 if unclear
  std::uint64_t incarnation;
  Owner owner;
};

// In order of position, at most `most`. An unclear one ends the list: where the next claim begins is not known. Takes a look at every
// record that is there.
std::vector<OpenClaim> open_claims(const Ring& ring, std::size_t most = 256);

// Settles every claim of a dead owner that open_claims() can see; how many it settled. `ring` must be mapped for writing.
std::uint64_t settle_dead_claims(const Ring& ring, std::uint64_t own);

}  // namespace arus::ring
