// The file of a share group in one topic, <bus>/groups/GROUP.share-TOPICID, and the group's lock.
//
// Roles. Whoever subscribes makes it, under the lock, beside its name, and renames it. A member takes a slot under the lock; it is given free by
// its member, or by whoever has put back everything of a dead one. The windows: share_window.h.
// The members hold one lease together, and that owns the cursors: to producers the group is there as long as any member is, whatever that one is
// doing, and no death needs a take-over.
// What a crash leaves: a file *.new that the next one overwrites; a slot of a dead process. Files of topics that were deleted are swept by
// whoever makes a new one; one from before the last boot is replaced, and the cursors' committed offsets tell where to go on.
#pragma once

#include <memory>
#include <string>

#include "group/share_layout.h"
#include "log/bus_directory.h"
#include "platform/segment.h"

namespace arus::group {

// What the members agree on.
struct ShareSpec {
  std::string group;
  std::string dead_letter_topic;
  std::uint32_t window = 0;
  std::uint32_t most_deliveries = 0;
  std::int64_t grace_ns = 0;

  // The first setting that differs, with both values; empty if none.
  [[nodiscard]] std::string difference(const ShareSpec& found) const;
};

class ShareFile {
 public:
  // Of a group and topic, by the kernel: a death releases it. `timed_out` names the holder, if `file` knows it.
  static Result<platform::FileLock> lock(const log::BusDirectory& bus, const std::string& group, const log::Id& topic,
                                         std::int64_t patience, const ShareFile* file = nullptr);
  // Under the lock.
  static Result<std::shared_ptr<const ShareFile>> open_or_create(const log::BusDirectory& bus, const log::Id& topic,
                                                                 std::uint32_t partitions, const ShareSpec& spec);
  // `not_found`.
  static Result<std::shared_ptr<const ShareFile>> open(const log::BusDirectory& bus, const std::string& group, const log::Id& topic,
                                                       std::uint32_t partitions, platform::Access access);

  [[nodiscard]] const ShareSpec& spec() const noexcept { return spec_; }
  [[nodiscard]] Word* holders() const noexcept { return reinterpret_cast<Word*>(segment_.data() + kHoldersAt); }
  [[nodiscard]] std::byte* window(std::uint32_t partition) const noexcept {
    return segment_.data() + kWindowsAt + partition * share_window_bytes(spec_.window);
  }
  // The group was deleted while this was open.
  [[nodiscard]] bool removed() const noexcept { return header().removed.load(std::memory_order_acquire) != 0; }
  void note_lock_holder(std::uint64_t incarnation) const noexcept {
    header().lock_holder.store(incarnation, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t lock_holder() const noexcept { return header().lock_holder.load(std::memory_order_relaxed); }
  // Under the lock: holds the lease that the members hold together.
  [[nodiscard]] Result<std::unique_ptr<platform::SharedLease>> hold_lease(const platform::Leases& leases) const;
  // Under the lock: a free slot. `limit_reached`.
  [[nodiscard]] Result<std::uint32_t> take_slot(std::uint64_t incarnation) const;
  // Under the lock: those attached are told, and the file goes.
  void remove() const noexcept;
  // Under the lock: one that cannot be opened.
  static void remove(const log::BusDirectory& bus, const std::string& group, const log::Id& topic);

 private:
  ShareFile() = default;
  [[nodiscard]] ShareHeader& header() const noexcept { return *reinterpret_cast<ShareHeader*>(segment_.data()); }

  platform::Segment segment_;
  ShareSpec spec_;
};

}  // namespace arus::group
