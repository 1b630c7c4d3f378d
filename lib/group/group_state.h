// What a consumer group is, as it stands in its file: who its members are, what each wants, and which member each partition is meant
// for. Plain data; lib/group/group_file.h says how it changes.
//
//   file   magic:8 | version:4 | size:4 | checksum:8 (of what follows) | fields in the order of write(), little-endian;
//          a list is its length:4 and its elements, a text its length:4 and its bytes
#pragma once

#include <arus/config.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "log/partition.h"

namespace arus::group {

struct Member {
  std::uint64_t id = 0;           // of the consumer, random, never 0
  std::uint64_t incarnation = 0;  // of its process
  std::string instance;           // a static member's name; empty: it leaves for good when it goes or dies
  std::int64_t away_since = 0;    // boot clock, ns: a static member that went or died, and may come back; 0: it is there
  std::vector<std::string> topics;

  [[nodiscard]] bool wants(const std::string& topic) const noexcept;
};

// What all members of a group agree on.
struct Policy {
  Delivery delivery = Delivery::lossless;
  Assignor assignor = Assignor::sticky;
  std::uint64_t records_behind = 0;
  std::uint64_t bytes_behind = 0;
  std::int64_t stall_ns = 0;
  std::int64_t grace_ns = 0;
  std::int64_t kept_ns = 0;  // how long committed offsets are kept without members

  static Policy of(const ConsumerConfig& config) noexcept;
  // May be overwritten while its reader lives: reads copies.
  [[nodiscard]] bool evictable() const noexcept {
    return delivery == Delivery::lossy || records_behind != 0 || bytes_behind != 0 || stall_ns != 0;
  }
  // The first setting in which two policies differ, with both values; empty if none.
  [[nodiscard]] std::string difference(const Policy& other) const;
};

// Whom the partitions of a topic are meant for.
struct Target {
  std::string topic;
  log::Id topic_id{};
  std::vector<std::uint64_t> members;  // per partition a member's id; 0: nobody's
};

struct GroupState {
  std::uint64_t generation = 0;
  std::string name;
  Policy policy;
  std::int64_t empty_since = 0;  // wall clock, ns; 0: it has members
  std::vector<Member> members;   // in the order in which they joined
  std::vector<Target> targets;   // in the order of topics' names

  [[nodiscard]] const Member* member(std::uint64_t id) const noexcept;
  [[nodiscard]] const Target* target(const std::string& topic) const noexcept;
};

std::string encode(const GroupState& state);
// `path` is for messages: `corrupt`, `version_mismatch`.
Result<GroupState> decode(std::span<const char> bytes, const std::string& path);

}  // namespace arus::group
