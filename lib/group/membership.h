// A consumer's membership in its group: joining, what it is meant to read, noticing that others have gone, leaving.
//
// The state in the group's file says for whom each partition is meant (the target); who reads it is said by its cursor alone (cursor.h).
// Between the two the hand-over is incremental: a member lets go of what is no longer meant for it, at its next poll, and takes
// what is meant for it as soon as it is free; partitions whose target stays are read on. Whoever finds a member dead takes it out and shares its
// partitions out, under the group's lock.
//
// A member's generation is that of the state it has seen last. One that is no longer in the state (which happens to the dead only, or by
// `arus group delete`) is fenced: its next poll says so.
//
// What a crash leaves: a member in the state whose process is dead; the next one who looks takes it out. A static member (with an instance's
// name) is kept for the group's grace, so that a restart takes its partitions back without moving the others'.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "group/group_file.h"
#include "platform/death_watch.h"

namespace arus::group {

class Membership {
 public:
  // Errors: `in_use` (the instance's process lives), `config_mismatch` (live members follow another policy), those of GroupFile.
  static Result<std::unique_ptr<Membership>> join(const log::BusDirectory& bus, const ConsumerConfig& config);
  ~Membership();  // does nothing: a forked child has one, too; leave() before
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // What this member wants from now on.
  Result<void> subscribe(std::vector<std::string> topics);
  // Afterwards only incarnation_for() and tell() make sense.
  void leave() noexcept;

  // One load: whether refresh() would find something new.
  [[nodiscard]] bool changed() const noexcept { return file_->generation() != seen_; }
  // Reads the state. `fenced`: this is no longer a member.
  Result<void> refresh();
  // At most once a millisecond: takes out members that are dead. Of a death it may hear a few milliseconds late, but for the first time after
  // listen(): for who has slept on watch_descriptor().
  Result<void> look_after(std::int64_t now);
  void listen() noexcept { hear_at_ = 0; }

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] const GroupState& state() const noexcept { return state_; }
  [[nodiscard]] const Policy& policy() const noexcept { return state_.policy; }
  [[nodiscard]] const GroupFile& file() const noexcept { return *file_; }
  [[nodiscard]] bool is_mine(const std::string& topic, std::uint32_t partition) const noexcept;
  // The process that a partition is meant for; of one that is kept for a member that is away: any that is there.
  [[nodiscard]] std::uint64_t incarnation_for(const std::string& topic, std::uint32_t partition) const noexcept;
  // Tells the others that a partition is free.
  void tell() const noexcept { file_->changes().wake(); }

  // There are others who want some of its topics, so that their deaths concern it. Then: something to sleep on that tells of them, or -1.
  [[nodiscard]] bool has_company() const noexcept { return company_; }
  [[nodiscard]] int watch_descriptor() const noexcept { return watch_ ? watch_->descriptor() : -1; }
  // Somebody may just have died whose lease is not released yet: look_after() is worth another call at once.
  [[nodiscard]] bool is_suspicious(std::int64_t now) const noexcept { return now < suspicious_till_; }
  // The longest sleep after which look_after() must be called, in ns.
  [[nodiscard]] std::int64_t longest_sleep(std::int64_t now) const noexcept;

 private:
  Membership(const log::BusDirectory& bus, ConsumerConfig config) : bus_(bus), config_(std::move(config)) {}
  [[nodiscard]] bool somebody_is_due(std::int64_t now, bool thoroughly) const;

  const log::BusDirectory& bus_;
  ConsumerConfig config_;
  std::shared_ptr<GroupFile> file_;
  std::unique_ptr<platform::DeathWatch> watch_;
  std::uint64_t id_ = 0;
  std::uint64_t seen_ = 0;  // the generation of state_
  GroupState state_;
  bool company_ = false;
  std::int64_t hear_at_ = 0;          // boot clock: when to look next whether the watch has heard anything
  std::int64_t ask_at_ = 0;           // boot clock: when to ask next who lives
  std::int64_t suspicious_till_ = 0;  // boot clock: somebody may just have died
};

// ---- parts of it that the command needs as well, for use inside GroupFile::change() -------------------------------------------------------

// Takes out the dead, and those that were away for too long. True if anything changed.
bool reap(GroupState& state, const GroupFile& file, const log::BusDirectory& bus);
// Shares out anew what the members want, of the topics that there are.
void reassign(GroupState& state, const log::BusDirectory& bus);
// Members that are there, or may come back.
[[nodiscard]] bool has_live_members(const GroupState& state, const platform::Leases& leases);
// Removes the group's cursors and committed offsets from all topics.
Result<void> forget_offsets(const std::string& group, const log::BusDirectory& bus);

}  // namespace arus::group
