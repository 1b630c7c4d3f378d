// Looking at consumer groups from outside, and moving them. Reading in a group: consumer.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arus/config.h"
#include "arus/result.h"

namespace arus {

namespace detail {
class BusState;
}

struct GroupMember {
  std::uint64_t id;
  std::string instance;  // of a static member
  std::string process;   // "pid 4711 (collector)"
  bool away;             // a static member that is gone and may come back
  std::vector<std::string> topics;
  std::uint32_t partitions;  // that it reads
};

// What a group is to producers, in one partition.
enum class GroupStatus : std::uint8_t {
  unread,             // nobody of it has read here yet
  holding,            // they do not overwrite what it has not read
  lossy,              // they overwrite
  evicted_abandoned,  // they overwrite, because its reader was dead for longer than its grace
  evicted_behind,     // … because it was further behind than its limit
  evicted_stalled,    // … because its reader did not move for longer than its stall limit
  evicted_by_hand,    // … because evict() said so
  evicted_renewed,    // … because the machine was booted, and the ring made anew
};
std::string_view to_string(GroupStatus status) noexcept;

struct GroupPartition {
  std::string topic;
  std::uint32_t partition;
  std::uint64_t committed;  // the offset where a successor starts
  std::uint64_t end;        // of the next record to be claimed
  std::uint64_t lag;        // end - committed
  std::uint64_t lag_bytes;  // of the ring, behind the group's cursor; at most the ring
  std::uint64_t lost;       // records that were reported as lost, in all
  std::uint64_t member;     // who reads; 0: nobody, or one that was assigned by hand
  std::string process;      // of the reader; empty: nobody
  GroupStatus status;
  bool holds_back;  // producers have found it in the way, where it is now
};

// A moment's picture.
struct GroupDescription {
  std::string name;
  std::uint64_t generation;  // of the group's state; rises with every change of members
  Delivery delivery;
  Assignor assignor;
  std::uint64_t evict_behind_records;
  std::uint64_t evict_behind_bytes;
  std::chrono::nanoseconds stall_limit;
  std::chrono::nanoseconds grace;
  std::chrono::nanoseconds offsets_kept;
  std::optional<Timestamp> empty_since;  // when it was first seen without members
  std::vector<GroupMember> members;
  std::vector<GroupPartition> partitions;  // by topic and number
};

struct GroupReset {
  std::vector<std::string> topics{};         // empty: all in which the group has offsets
  std::optional<std::uint32_t> partition{};  // empty: all
  Start to = Start::earliest;
  std::optional<std::int64_t> shift{};  // instead of `to`: so many records from the committed offset, back if negative
  bool dry_run = true;                  // only computes
};
struct GroupMove {
  std::string topic;
  std::uint32_t partition;
  std::uint64_t from;
  std::uint64_t to;
};

// A group by its name. Thread-safe, cheap to copy. Errors of every call: `not_found`, `permission_denied`, `corrupt`, `timed_out` (somebody who is
// stopped is changing the group; the message names it), `forked`.
class Group {
 public:
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Result<GroupDescription> describe() const;

  // Moves the committed offsets of a group without live members (else `in_use`); offsets below what is left become the oldest that is left, those above the
  // end the end. Returns what was (or would be) moved.
  Result<std::vector<GroupMove>> reset(const GroupReset& what) const;
  // It holds no producer back any more; the number of partitions in which it did. Its reader gets `evicted` and goes on, with the exact gap.
  // A live reader that reads in place (a lossless group without limits) would see records change under its eyes: `in_use` unless `force`; then
  // Batch::intact() tells.
  Result<std::uint32_t> evict(bool force = false) const;
  // With its committed offsets; `in_use` while it has live members.
  Result<void> remove() const;

 private:
  friend class Bus;
  Group(std::shared_ptr<detail::BusState> bus, std::string name) noexcept : bus_(std::move(bus)), name_(std::move(name)) {}
  std::shared_ptr<detail::BusState> bus_;
  std::string name_;
};

}  // namespace arus
