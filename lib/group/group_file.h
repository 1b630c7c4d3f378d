// A group's files in <bus>/groups/, and how they change.
//
//   NAME.state   GroupState (group/group_state.h): read as a whole, replaced as a whole by rename, under the group's lock
//   NAME.pulse   mapped by the members: the state's generation, so that a look at one word tells whether anything has changed; who holds the lock;
//                and who sleeps and wants to be woken by a change
//   NAME.left-ID a member that could not get the lock in order to leave
//   lock         one byte per group, chosen by its name; held by the kernel, so that a death releases it
// NAME is the group's name, with what a file name may not have written as %XX; long ones end with a hash instead.
//
// Roles. Whoever changes the state (a member that joins, leaves, or finds another one dead; the command) holds the lock, reads the file,
// writes a new one beside it, renames it, then raises the generation (release) and wakes. Members read the generation (acquire),
// then the file, without the lock.
// What a crash leaves: before the rename nothing, or a file *.new that the next change overwrites. Between the rename and the generation
// a new state that nobody was told of: members look at the file itself with each idle wake-up, and the next change tells them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "group/group_state.h"
#include "log/bus_directory.h"
#include "platform/segment.h"
#include "ring/wake.h"

namespace arus::group {

// The name that a group's files begin with: at most 200 bytes.
std::string file_name(std::string_view group);

class GroupFile {
 public:
  static constexpr std::size_t kMostName = 255;
  static Result<void> check_name(std::string_view name);

  // The group of that name; made if need be, with no members. Errors: `permission_denied`, `corrupt`, `timed_out` (the lock's holder is stopped).
  static Result<std::shared_ptr<GroupFile>> open_or_create(const log::BusDirectory& bus, const std::string& name,
                                                           const Policy& policy);
  // `not_found`.
  static Result<std::shared_ptr<GroupFile>> open(const log::BusDirectory& bus, const std::string& name);
  // The names of all groups of a bus, sorted.
  static Result<std::vector<std::string>> list(const log::BusDirectory& bus);
  // Without mapping anything: for those who may only read.
  static Result<GroupState> read(const log::BusDirectory& bus, const std::string& name);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Result<GroupState> read() const;
  // Of the newest state.
  [[nodiscard]] std::uint64_t generation() const noexcept;
  // For a member that leaves while somebody who is stopped holds the lock: the next change takes it out.
  void note_departure(std::uint64_t member) const;
  [[nodiscard]] bool has_departed(std::uint64_t member) const;
  void forget_departure(std::uint64_t member) const noexcept;
  // Woken by every change, and by every partition that is let go.
  [[nodiscard]] const ring::WaitSet& changes() const noexcept { return changes_; }

  // Under the lock: `edit` changes the state it is given and says whether it did. The new generation is set here.
  using Edit = std::function<Result<bool>(GroupState&)>;
  // `patience`: how long to wait for the lock.
  static constexpr std::int64_t kPatience = 2'000'000'000;  // ns
  Result<void> change(const Edit& edit, std::int64_t patience = kPatience);
  // Under the lock: `before` undoes what the group has elsewhere; then the files go, also damaged ones.
  static Result<void> remove(const log::BusDirectory& bus, const std::string& name,
                             const std::function<Result<void>(const GroupState&)>& before);

 private:
  struct Pulse;
  GroupFile(const log::BusDirectory& bus, std::string name) : bus_(bus), name_(std::move(name)) {}
  Result<void> map();
  Result<platform::FileLock> lock(std::int64_t patience) const;
  Result<void> write(const GroupState& state) const;
  [[nodiscard]] Pulse& pulse() const noexcept;

  const log::BusDirectory& bus_;
  std::string name_;
  platform::Segment segment_;
  ring::WaitSet changes_;
};

}  // namespace arus::group
