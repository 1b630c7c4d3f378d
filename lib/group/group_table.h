// The consumer groups of a topic: names, and a cursor per group and partition, in the topic's `groups` segment. Who reads is not said
// here but in each cursor (group/cursor.h) and, for the group as a whole, in its own file (group/group_file.h).
//
// Roles. A name is added and removed under the segment's lock; producers read the cursors.
// What a crash leaves: before `used` is set, a name that nobody sees; while a group is removed, cursors that are free already.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/segment.h"
#include "ring/ring.h"

namespace arus::group {

class GroupTable {
 public:
  static constexpr std::size_t kMostName = 255;
  // Of a name, for as long as it stands.
  enum class Kind : std::uint32_t {
    partitions = 1,  // members share the partitions out (group/membership.h)
    share = 2,       // members share the records out (group/share_window.h)
  };

  static Result<void> create(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                             const platform::Ownership& ownership);
  static Result<std::shared_ptr<const GroupTable>> open(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                                                        platform::Access access);

  // The cursors of a partition, one per group, for its producers.
  [[nodiscard]] ring::Cursor* cursors(std::uint32_t partition) const noexcept;
  [[nodiscard]] std::uint32_t groups() const noexcept { return groups_; }
  // Empty: no such group (yet).
  [[nodiscard]] std::string name(std::uint32_t group) const;
  [[nodiscard]] std::optional<std::uint32_t> find(const std::string& name) const;
  // Of a group that has a name.
  [[nodiscard]] Kind kind(std::uint32_t group) const noexcept;
  // Errors: `limit_reached`, `timed_out`, `config_mismatch` (the name is that of a group of the other kind).
  [[nodiscard]] Result<std::uint32_t> find_or_add(const std::string& name, Kind kind = Kind::partitions) const;
  // With its cursors; nobody may read in it. No error if there is none of that name and kind.
  Result<void> remove(const std::string& name, Kind kind = Kind::partitions) const;
  // The ring of a partition is being replaced: no cursor holds any more. Returns the largest committed offset.
  std::uint64_t forget_positions(std::uint32_t partition) const noexcept;

 private:
  struct Header;
  struct Entry;
  GroupTable() = default;
  [[nodiscard]] Entry& entry(std::uint32_t group) const noexcept;
  [[nodiscard]] Result<std::uint32_t> checked(std::uint32_t group, Kind kind) const;

  platform::Segment segment_;
  std::uint32_t groups_ = 0;
  std::uint32_t partitions_ = 0;
};

}  // namespace arus::group
