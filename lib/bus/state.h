// What stands behind the public handles Bus and Topic, shared by their copies and by endpoints.
#pragma once

#include <arus/bus.h>
#include <arus/topic.h>

#include <memory>
#include <string>
#include <vector>

#include "group/group_table.h"
#include "log/bus_directory.h"
#include "log/partition.h"
#include "platform/fork.h"
#include "ring/claim.h"

namespace arus::detail {

class BusState {
 public:
  explicit BusState(std::unique_ptr<log::BusDirectory> directory) noexcept
      : directory_(std::move(directory)), generation_(platform::fork_generation()) {}
  [[nodiscard]] log::BusDirectory& directory() const noexcept { return *directory_; }
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  [[nodiscard]] bool ours() const noexcept { return platform::same_process(generation_); }
  // `forked`, `deleted`.
  [[nodiscard]] Result<void> check() const;

 private:
  std::unique_ptr<log::BusDirectory> directory_;
  std::uint64_t generation_;
};

// A partition that an endpoint uses: its ring, completed by what belongs to the topic, and what keeps it mapped.
struct OpenPartition {
  ring::Ring ring;
  std::shared_ptr<const log::Partition> partition;
};

class TopicState {
 public:
  static Result<std::shared_ptr<TopicState>> open(std::shared_ptr<BusState> bus, std::string_view name);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const TopicConfig& config() const noexcept { return identity_.config; }
  [[nodiscard]] const log::Id& id() const noexcept { return identity_.id; }
  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
  [[nodiscard]] BusState& bus() const noexcept { return *bus_; }
  [[nodiscard]] log::BusDirectory& bus_directory() const noexcept { return bus_->directory(); }
  [[nodiscard]] const std::shared_ptr<BusState>& shared_bus() const noexcept { return bus_; }
  // `forked`, or `deleted` if this topic is no longer the one of that name.
  [[nodiscard]] Result<void> check() const;

  // Null where this process may not write them.
  [[nodiscard]] const std::shared_ptr<const log::Waits>& waits() const noexcept { return waits_; }
  [[nodiscard]] Result<std::shared_ptr<const group::GroupTable>> groups(platform::Access access) const;
  [[nodiscard]] Result<OpenPartition> partition(std::uint32_t number, platform::Access access) const;
  [[nodiscard]] Result<std::uint32_t> count_readers() const;
  // "group 'alerts', read by pid 12 (alertd)" for an error message.
  [[nodiscard]] std::string describe(const ring::Refusal& refusal, std::uint32_t partition) const;

 private:
  TopicState() = default;
  std::shared_ptr<BusState> bus_;
  std::string name_;
  std::string directory_;
  log::TopicIdentity identity_{};
  std::shared_ptr<const log::Waits> waits_;
};

// What a group is in one partition; lib/bus/group.cpp.
GroupPartition describe_cursor(const TopicState& topic, std::uint32_t partition, const ring::Ring& ring,
                               const ring::Cursor& cursor);

}  // namespace arus::detail
