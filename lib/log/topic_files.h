// What a topic is made of on disk: a directory <bus>/topics/<name>/ with
//   topic     TopicHeader: identity and configuration, written once
//   waits     who sleeps on which partition, and which consumers are attached; writable for all who may read
//   groups    consumer groups and their cursors (group/group_table.h); writable for all who may read
//   0, 1, …   the partitions
// It is built in <bus>/tmp and moved to its name, so that nobody sees half of it.
#pragma once

#include <arus/config.h>

#include <cstdint>
#include <memory>
#include <string>

#include "log/partition.h"
#include "platform/bells.h"
#include "platform/segment.h"
#include "ring/wake.h"

namespace arus::log {

struct TopicIdentity {
  Id id;
  Timestamp created;
  TopicConfig config;
};

// Kafka's rule. The error names what is wrong.
Result<void> check_topic_name(std::string_view name);
// Whether a topic of that configuration can be; the error names the field and the limits.
Result<void> check_config(const TopicConfig& config);
// The first field in which two configurations differ, with both values; empty if none. Of mode and group only what was asked for counts.
std::string difference(const TopicConfig& wanted, const TopicConfig& found);
// The permissions of what readers must also write to (waits, groups): whoever may read may write.
platform::Ownership widened(platform::Ownership ownership) noexcept;

Result<void> write_identity(const std::string& path, const TopicIdentity& identity, const platform::Ownership& ownership);
Result<TopicIdentity> read_identity(const std::string& path);

inline std::string identity_path(const std::string& directory) { return directory + "/topic"; }
inline std::string waits_path(const std::string& directory) { return directory + "/waits"; }
inline std::string groups_path(const std::string& directory) { return directory + "/groups"; }
inline std::string partition_path(const std::string& directory, std::uint32_t partition) {
  return directory + '/' + std::to_string(partition);
}

// The `waits` segment: per partition a set for data and one for room, and a table of the consumers that are attached.
class Waits {
 public:
  static constexpr std::uint32_t kMostReaders = 256;

  static Result<void> create(const std::string& path, std::uint32_t partitions, std::uint32_t bells,
                             const platform::Ownership& ownership);
  // `permission_denied`: the caller goes without (no wake-ups, not counted).
  static Result<std::shared_ptr<const Waits>> open(const std::string& path, std::uint32_t partitions,
                                                   std::shared_ptr<platform::Bells> bells);
  // For looking at the readers only.
  static Result<std::shared_ptr<const Waits>> open_to_count(const std::string& path, std::uint32_t partitions);

  [[nodiscard]] ring::WaitSet data(std::uint32_t partition) const noexcept { return set(2 * std::uint64_t{partition}); }
  [[nodiscard]] ring::WaitSet room(std::uint32_t partition) const noexcept { return set(2 * std::uint64_t{partition} + 1); }

  // Writes `incarnation` into the table; the place to give back. `limit_reached` when it is full of live readers.
  Result<std::uint32_t> add_reader(std::uint64_t incarnation, const platform::Leases& leases) const;
  void remove_reader(std::uint32_t place, std::uint64_t incarnation) const noexcept;
  [[nodiscard]] std::uint32_t count_readers(const platform::Leases& leases) const noexcept;

 private:
  Waits() = default;
  [[nodiscard]] ring::WaitSet set(std::uint64_t i) const noexcept;
  [[nodiscard]] ring::Word* readers() const noexcept;
  static Result<std::shared_ptr<Waits>> map(const std::string& path, std::uint32_t partitions, platform::Access access);

  platform::Segment segment_;
  std::shared_ptr<platform::Bells> bells_;
  std::uint64_t set_bytes_ = 0;
};

}  // namespace arus::log
