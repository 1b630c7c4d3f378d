#include "group/group_table.h"

#include <cstring>

#include "group/cursor.h"
#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus::group {

using platform::fail;
using platform::pass;
using ring::Cursor;
using ring::CursorStatus;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

struct alignas(128) GroupTable::Header {
  static constexpr std::uint64_t kMagic = 0x50554F5247555241;  // "ARUGROUP"
  static constexpr std::uint32_t kVersion = 2;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t groups;
  std::uint32_t partitions;
};

struct alignas(128) GroupTable::Entry {
  std::atomic<std::uint32_t> used;  // the name stands: its Kind; 0: free
  std::array<char, kMostName + 1> name;
};

namespace {

constexpr std::int64_t kPatience = 2'000'000'000;  // ns

}  // namespace

Result<void> GroupTable::create(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                                const platform::Ownership& ownership) {
  static_assert(sizeof(Header) == 128 && sizeof(Entry) == 384 && offsetof(Entry, name) == 4);
  const std::uint64_t size = sizeof(Header) + groups * (sizeof(Entry) + std::uint64_t{partitions} * sizeof(Cursor));
  auto segment = platform::Segment::create(path, size, ownership);
  if (!segment) return pass(segment);
  *::new (segment->data()) Header{} = {Header::kMagic, Header::kVersion, groups, partitions};
  return {};
}

Result<std::shared_ptr<const GroupTable>> GroupTable::open(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                                                           platform::Access access) {
  auto segment = platform::Segment::open(path, access);
  if (!segment) return pass(segment);
  Header header{};
  if (segment->size() < sizeof header) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  std::memcpy(&header, segment->data(), sizeof header);
  if (header.magic != Header::kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of arus groups", path);
  if (header.version != Header::kVersion)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}", path, header.version, Header::kVersion);
  if (header.groups != groups || header.partitions != partitions ||
      segment->size() != sizeof(Header) + groups * (sizeof(Entry) + std::uint64_t{partitions} * sizeof(Cursor)))
    return fail(Errc::corrupt,
                "{}: {} groups of {} partitions do not fit its {} bytes; it was truncated or overwritten; delete the topic", path,
                header.groups, header.partitions, segment->size());
  std::shared_ptr<GroupTable> table(new GroupTable);
  table->segment_ = std::move(*segment);
  table->groups_ = groups;
  table->partitions_ = partitions;
  return table;
}

GroupTable::Entry& GroupTable::entry(std::uint32_t group) const noexcept {
  return reinterpret_cast<Entry*>(segment_.data() + sizeof(Header))[group];
}

Cursor* GroupTable::cursors(std::uint32_t partition) const noexcept {
  auto* first = reinterpret_cast<Cursor*>(segment_.data() + sizeof(Header) + groups_ * sizeof(Entry));
  return first + std::uint64_t{partition} * groups_;
}

std::string GroupTable::name(std::uint32_t group) const {
  const Entry& found = entry(group);
  if (found.used.load(memory_order_acquire) == 0) return {};
  return {found.name.data(), strnlen(found.name.data(), found.name.size())};
}

std::optional<std::uint32_t> GroupTable::find(const std::string& name) const {
  for (std::uint32_t i = 0; i < groups_; ++i)
    if (this->name(i) == name) return i;
  return std::nullopt;
}

GroupTable::Kind GroupTable::kind(std::uint32_t group) const noexcept {
  return entry(group).used.load(memory_order_acquire) == static_cast<std::uint32_t>(Kind::share) ? Kind::share : Kind::partitions;
}

Result<std::uint32_t> GroupTable::checked(std::uint32_t group, Kind kind) const {
  if (this->kind(group) == kind) return group;
  const bool is_share = kind == Kind::partitions;
  return fail(Errc::config_mismatch,
              "'{}' is the name of a {} in {}, and cannot be that of a {} there; choose another name, or delete that group",
              name(group), is_share ? "share group" : "group that shares partitions", segment_.path(),
              is_share ? "group that shares partitions" : "share group");
}

Result<std::uint32_t> GroupTable::find_or_add(const std::string& name, Kind kind) const {
  if (const auto found = find(name)) return checked(*found, kind);
  auto lock = platform::FileLock::lock(segment_.path(), 0, kPatience);
  if (!lock) return pass(lock);
  std::uint32_t free = groups_;
  for (std::uint32_t i = groups_; i-- > 0;) {
    const std::string taken = this->name(i);
    if (taken == name) return checked(i, kind);
    if (taken.empty()) free = i;
  }
  if (free == groups_)
    return fail(Errc::limit_reached,
                "all {} groups of {} are in use; delete one with `arus group delete`, or create the topic with more (max_groups)",
                groups_, segment_.path());
  Entry& made = entry(free);
  made.name.fill('\0');
  std::memcpy(made.name.data(), name.data(), name.size());
  ARUS_KILL_POINT("G-named");
  made.used.store(static_cast<std::uint32_t>(kind), memory_order_release);
  return free;
}

Result<void> GroupTable::remove(const std::string& name, Kind kind) const {
  auto lock = platform::FileLock::lock(segment_.path(), 0, kPatience);
  if (!lock) return pass(lock);
  const auto found = find(name);
  if (!found || this->kind(*found) != kind) return {};
  for (std::uint32_t i = 0; i < partitions_; ++i) forget(cursors(i)[*found]);
  ARUS_KILL_POINT("G-forgotten");
  entry(*found).used.store(0, memory_order_release);
  return {};
}

std::uint64_t GroupTable::forget_positions(std::uint32_t partition) const noexcept {
  std::uint64_t largest = 0;
  for (std::uint32_t i = 0; i < groups_; ++i) {
    Cursor& cursor = cursors(partition)[i];
    const std::uint64_t state = cursor.state.load(memory_order_acquire);
    if (ring::cursor_status(state) == CursorStatus::free) continue;
    cursor.state.store(ring::cursor_state((state >> 8) + 1, CursorStatus::evicted_renewed), memory_order_release);
    largest = std::max(largest, cursor.committed.load(memory_order_relaxed));
  }
  return largest;
}

}  // namespace arus::group
