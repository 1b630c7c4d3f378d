// The bus directory: where it is, how it is made, and the catalogue of topics in it.
//
//   bus        BusHeader; written last, so that a directory with it is a whole bus
//   bells      platform/bells.h          leases/   platform/lease.h
//   fifos/     doorbells for epoll       topics/   one directory per topic
//   groups/    consumer groups, see group/group_file.h
//   tmp/       what is being built or taken apart, named <incarnation of whoever does it>-<random>
//   lock       taken while the bus is made
// Changes to the catalogue are single renames between tmp/ and topics/. What a dead process left in tmp/ is swept by whoever opens.
#pragma once

#include <arus/config.h>

#include <memory>
#include <string>
#include <vector>

#include "log/topic_files.h"
#include "platform/bells.h"
#include "platform/lease.h"

namespace arus::log {

// $ARUS_DIR, else /run/arus where it exists and is writable, else /dev/shm/arus-<uid>.
std::string default_bus_directory();

// Makes a bus, unless there is one already (`already_exists` if `must_be_new`).
Result<void> create_bus(const std::string& directory, const BusConfig& config, bool must_be_new);

class BusDirectory {
 public:
  // Also sweeps. A bus that may only be read is opened without bells and own lease (read_only()).
  static Result<std::unique_ptr<BusDirectory>> open(const std::string& directory);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::shared_ptr<platform::Leases>& leases() const noexcept { return leases_; }
  [[nodiscard]] const std::shared_ptr<platform::Bells>& bells() const noexcept { return bells_; }  // null: may not be written
  // 0 where no lease could be taken for lack of permission: such a process can observe, and nothing else.
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return lease_ ? lease_->incarnation() : platform::kNoIncarnation; }
  // `permission_denied` unless this process has a lease, and can ring bells and be woken by one.
  [[nodiscard]] Result<void> need_lease(std::string_view what_for) const;
  // The whole directory was deleted underneath.
  [[nodiscard]] bool gone() const noexcept { return leases_->gone(); }

  [[nodiscard]] std::string groups_path() const;
  // Permissions of files that all who use the bus share, such as those of groups.
  [[nodiscard]] const platform::Ownership& shared_files() const noexcept { return shared_files_; }
  [[nodiscard]] std::string topic_path(std::string_view topic) const;
  [[nodiscard]] Result<std::vector<std::string>> topics() const;
  // Runs `build(directory)` in a directory of its own and publishes it as the topic. `already_exists` if the name is taken. Whatever
  // fails leaves nothing.
  template <class Build>
  Result<void> publish(std::string_view topic, const platform::Ownership& ownership, Build build) {
    auto scratch = begin_topic(ownership);
    if (!scratch) return platform::pass(scratch);
    Result<void> done = build(*scratch);
    if (done) done = finish_topic(*scratch, topic);
    if (!done) platform::remove_directory(*scratch);
    return done;
  }
  // Takes the name away at once, then the files; those attached are told.
  Result<void> remove_topic(std::string_view topic) const;

 private:
  BusDirectory() = default;
  Result<std::string> begin_topic(const platform::Ownership& ownership) const;
  Result<void> finish_topic(const std::string& scratch, std::string_view topic) const;
  [[nodiscard]] std::string scratch_path() const;
  void sweep() const noexcept;
  // Marks all partitions in a directory as deleted, wakes who sleeps on them, removes the files.
  void dismantle(const std::string& directory) const noexcept;

  std::string path_;
  std::shared_ptr<platform::Leases> leases_;
  std::shared_ptr<platform::Bells> bells_;
  std::unique_ptr<platform::Lease> lease_;
  platform::Ownership shared_files_;
};

}  // namespace arus::log
