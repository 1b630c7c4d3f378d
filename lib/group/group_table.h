// The consumer groups of a topic: names, and a cursor per group and partition, in the topic's `groups` segment.
//
// Roles. A reader takes a group under the segment's lock and is from then on the one writer of its cursors' position and committed
// offset. Producers read cursors, and write dead_since and state (eviction) when the reader is dead.
// What a crash leaves: a group whose owner is dead. Its name and its committed offsets stay; whoever takes the name goes on there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/lease.h"
#include "platform/segment.h"
#include "ring/ring.h"

namespace arus::group {

class GroupTable {
 public:
  static constexpr std::size_t kMostName = 255;

  static Result<void> create(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                             const platform::Ownership& ownership);
  static Result<std::shared_ptr<const GroupTable>> open(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                                                        platform::Access access);

  // The cursors of a partition, one per group, for its producers.
  [[nodiscard]] ring::Cursor* cursors(std::uint32_t partition) const noexcept;
  [[nodiscard]] std::uint32_t groups() const noexcept { return groups_; }
  // Empty: no such group (yet).
  [[nodiscard]] std::string name(std::uint32_t group) const;
  [[nodiscard]] std::uint64_t owner(std::uint32_t group) const noexcept;

  // Takes the group of that name, made if need be. Errors: `in_use` while its reader lives, `limit_reached`, `invalid_argument` (name).
  Result<std::uint32_t> take(const std::string& name, std::uint64_t incarnation, const platform::Leases& leases) const;
  void release(std::uint32_t group, std::uint64_t incarnation) const noexcept;
  // The ring of a partition is being replaced: no cursor holds any more. Returns the largest committed offset.
  std::uint64_t forget_positions(std::uint32_t partition) const noexcept;

 private:
  struct Header;
  struct Entry;
  GroupTable() = default;
  [[nodiscard]] Entry& entry(std::uint32_t group) const noexcept;

  platform::Segment segment_;
  std::uint32_t groups_ = 0;
  std::uint32_t partitions_ = 0;
};

// Where the reader that has taken a group begins in a partition.
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
Resumption take_cursor(const ring::Ring& ring, ring::Cursor& cursor, std::uint64_t incarnation, std::int64_t grace_ns) noexcept;

// The reader begins at `offset`: from here on a successor starts there, and no longer where its own configuration says.
void begin_committed(ring::Cursor& cursor, std::uint64_t offset) noexcept;
// Takes that back: the subscription failed in another partition.
void forget_beginning(ring::Cursor& cursor) noexcept;

}  // namespace arus::group
