#include "group/group_table.h"

#include <cstring>

#include "platform/error.h"
#include "platform/kill_point.h"
#include "ring/room.h"

namespace arus::group {

using platform::fail;
using platform::pass;
using ring::Cursor;
using ring::CursorStatus;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

struct alignas(64) GroupTable::Header {
  static constexpr std::uint64_t kMagic = 0x50554F5247555241;  // "ARUGROUP"
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t groups;
  std::uint32_t partitions;
};

struct alignas(64) GroupTable::Entry {
  std::atomic<std::uint32_t> used;  // the name stands
  ring::Word owner;                 // incarnation of the reader's process; 0: none
  std::array<char, kMostName + 1> name;
};

namespace {

constexpr std::int64_t kPatience = 2'000'000'000;  // ns

}  // namespace

Result<void> GroupTable::create(const std::string& path, std::uint32_t groups, std::uint32_t partitions,
                                const platform::Ownership& ownership) {
  static_assert(sizeof(Header) == 64 && sizeof(Entry) == 320 && offsetof(Entry, owner) == 8 && offsetof(Entry, name) == 16);
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

std::uint64_t GroupTable::owner(std::uint32_t group) const noexcept { return entry(group).owner.load(memory_order_acquire); }

Result<std::uint32_t> GroupTable::take(const std::string& name, std::uint64_t incarnation, const platform::Leases& leases) const {
  if (name.empty() || name.size() > kMostName)
    return fail(Errc::invalid_argument, "a group's name has 1 to {} characters, this one {}", kMostName, name.size());
  auto lock = platform::FileLock::lock(segment_.path(), 0, kPatience);
  if (!lock) return pass(lock);
  std::uint32_t free = groups_;
  for (std::uint32_t i = groups_; i-- > 0;) {
    const std::string found = this->name(i);
    if (found.empty()) free = i;
    if (found != name) continue;
    if (const std::uint64_t held_by = owner(i); !leases.dead(held_by))
      return fail(Errc::in_use, "group '{}' has a live reader: {}; stop it, or choose another group name", name,
                  leases.describe(held_by));
    entry(i).owner.store(incarnation, memory_order_release);
    return i;
  }
  if (free == groups_)
    return fail(Errc::limit_reached, "all {} groups of {} are in use; create the topic with more (max_groups)", groups_,
                segment_.path());
  Entry& made = entry(free);
  made.name.fill('\0');
  std::memcpy(made.name.data(), name.data(), name.size());
  made.owner.store(incarnation, memory_order_release);
  ARUS_KILL_POINT("G-named");
  made.used.store(1, memory_order_release);
  return free;
}

void GroupTable::release(std::uint32_t group, std::uint64_t incarnation) const noexcept {
  const auto give_up = [&](ring::Word& owner) {
    std::uint64_t mine = incarnation;  // a failed exchange would leave another's here
    owner.compare_exchange_strong(mine, platform::kNoIncarnation, memory_order_acq_rel);
  };
  for (std::uint32_t i = 0; i < partitions_; ++i) give_up(cursors(i)[group].owner);
  give_up(entry(group).owner);
}

std::uint64_t GroupTable::forget_positions(std::uint32_t partition) const noexcept {
  std::uint64_t largest = 0;
  for (std::uint32_t i = 0; i < groups_; ++i) {
    Cursor& cursor = cursors(partition)[i];
    const std::uint64_t state = cursor.state.load(memory_order_acquire);
    if (ring::cursor_status(state) == CursorStatus::free) continue;
    cursor.state.store(ring::cursor_state((state >> 8) + 1, CursorStatus::evicted), memory_order_release);
    largest = std::max(largest, cursor.committed.load(memory_order_relaxed));
  }
  return largest;
}

namespace {

// Cursor::rejoined. A reader that joins puts the cursor somewhere that the committed offset knows nothing of; until it has settled
// something there, a successor must not take the two for one place: it would call `uncommitted` what was lost.
constexpr std::uint64_t kFresh = 1ull << 63;                    // the group has never settled anything; else it was evicted
constexpr std::uint64_t kSomewhere = ring::kMostPositions - 1;  // joining

// Whether the group's first reader died before it had stored where it begins, or one after an eviction before it had settled anything.
bool is_apart(std::uint64_t rejoined, std::uint64_t position) noexcept {
  const std::uint64_t at = rejoined & (ring::kMostPositions - 1);
  return rejoined != 0 && (at == kSomewhere || at == position);
}

}  // namespace

Resumption take_cursor(const ring::Ring& ring, Cursor& cursor, std::uint64_t incarnation, std::int64_t grace_ns) noexcept {
  // Owner first, then the generation: see evict_if_abandoned in ring/room.cpp.
  cursor.owner.store(incarnation, memory_order_release);
  cursor.dead_since.store(0, memory_order_release);
  cursor.grace.store(static_cast<std::uint64_t>(grace_ns), memory_order_release);
  ARUS_KILL_POINT("G-owned");
  std::uint64_t state = cursor.state.load(memory_order_acquire);
  const std::uint64_t mine = ring::cursor_state((state >> 8) + 1, CursorStatus::active);
  const std::uint64_t committed = cursor.committed.load(memory_order_relaxed);
  std::uint64_t position = cursor.position.load(memory_order_relaxed);
  const std::uint64_t rejoined = cursor.rejoined.load(memory_order_relaxed);
  const bool apart = is_apart(rejoined, position);
  const bool fresh = state == 0 || (apart && (rejoined & kFresh) != 0);
  const auto otherwise = fresh ? Resumption::From::start : Resumption::From::evicted;
  // Below low it is one whose reader died while it joined.
  if (ring::cursor_status(state) == CursorStatus::active && position >= ring.low() && position <= ring.tail() &&
      cursor.state.compare_exchange_strong(state, mine, memory_order_acq_rel)) {
    ARUS_KILL_POINT("G-taken");
    return {apart ? otherwise : Resumption::From::committed, position, committed, mine};
  }
  const std::uint64_t kind = fresh ? kFresh : 0;
  cursor.rejoined.store(kind | kSomewhere, memory_order_release);
  position = ring::join(ring, cursor, mine);
  ARUS_KILL_POINT("G-joined");
  cursor.rejoined.store(kind | position, memory_order_release);
  return {otherwise, position, committed, mine};
}

void forget_beginning(Cursor& cursor) noexcept {
  const std::uint64_t state = cursor.state.load(memory_order_relaxed);
  cursor.state.store(ring::cursor_state(state >> 8, CursorStatus::evicted), memory_order_release);  // holds nobody back
  cursor.rejoined.store(kFresh | cursor.position.load(memory_order_relaxed), memory_order_release);
}

void begin_committed(Cursor& cursor, std::uint64_t offset) noexcept {
  cursor.committed.store(offset, memory_order_release);
  ARUS_KILL_POINT("G-begun");
  cursor.rejoined.store(0, memory_order_release);
}

}  // namespace arus::group
