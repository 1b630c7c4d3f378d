#include <arus/group.h>

#include <algorithm>

#include "bus/state.h"
#include "group/cursor.h"
#include "group/group_file.h"
#include "group/membership.h"
#include "log/seek.h"
#include "platform/error.h"
#include "ring/room.h"

namespace arus {

using detail::BusState;
using detail::TopicState;
using platform::fail;
using platform::pass;

static_assert(static_cast<int>(GroupStatus::holding) == static_cast<int>(ring::CursorStatus::active) &&
              static_cast<int>(GroupStatus::lossy) == static_cast<int>(ring::CursorStatus::lossy) &&
              static_cast<int>(GroupStatus::evicted_renewed) == static_cast<int>(ring::CursorStatus::evicted_renewed));

std::string_view to_string(GroupStatus status) noexcept {
  switch (status) {
    case GroupStatus::unread: return "unread";
    case GroupStatus::holding: return "holding";
    case GroupStatus::lossy: return "lossy";
    case GroupStatus::evicted_abandoned: return "evicted_abandoned";
    case GroupStatus::evicted_behind: return "evicted_behind";
    case GroupStatus::evicted_stalled: return "evicted_stalled";
    case GroupStatus::evicted_by_hand: return "evicted_by_hand";
    case GroupStatus::evicted_renewed: return "evicted_renewed";
  }
  return "unknown";
}

namespace {

std::uint64_t reader_of(const ring::Cursor& cursor, const platform::Leases& leases) noexcept {
  const std::uint64_t owner = ring::incarnation_of(cursor.owner.load(std::memory_order_acquire));
  return leases.dead(owner) ? platform::kNoIncarnation : owner;
}

}  // namespace

GroupPartition detail::describe_cursor(const TopicState& topic, std::uint32_t partition, const ring::Ring& ring,
                                       const ring::Cursor& cursor) {
  const platform::Leases& leases = *topic.bus_directory().leases();
  const log::Place end = log::latest(ring);
  const std::uint64_t state = cursor.state.load(std::memory_order_acquire);
  const std::uint64_t committed = cursor.committed.load(std::memory_order_acquire);
  const std::uint64_t position = std::max(cursor.position.load(std::memory_order_acquire), ring.low());
  const std::uint64_t reader = reader_of(cursor, leases);
  const bool unread = ring::cursor_status(state) == ring::CursorStatus::free;
  return {.topic = topic.name(),
          .partition = partition,
          .committed = committed,
          .end = end.offset,
          .lag = unread ? 0 : end.offset - std::min(end.offset, committed),
          .lag_bytes = unread ? 0 : (end.position - std::min(end.position, position)) << ring::kCellShift,
          .lost = cursor.lost.load(std::memory_order_relaxed),
          .member = reader != platform::kNoIncarnation ? cursor.member.load(std::memory_order_relaxed) : 0,
          .process = reader != platform::kNoIncarnation ? leases.describe(reader) : "",
          .status = static_cast<GroupStatus>(std::min<std::uint64_t>(state & 0xff, 7)),
          .holds_back = ring::holds_back(cursor)};
}

namespace {

// A group's place in one topic.
struct Part {
  std::shared_ptr<TopicState> topic;
  std::shared_ptr<const group::GroupTable> table;
  std::uint32_t index;

  [[nodiscard]] ring::Cursor& cursor(std::uint32_t partition) const noexcept { return table->cursors(partition)[index]; }
  [[nodiscard]] std::uint64_t reader(std::uint32_t partition) const noexcept {  // 0: nobody alive
    return reader_of(cursor(partition), *topic->bus_directory().leases());
  }
};

// All topics in which the group has a place, or those of them that are named.
Result<std::vector<Part>> parts_of(const std::shared_ptr<BusState>& bus, const std::string& group, platform::Access access,
                                   const std::vector<std::string>& wanted = {}) {
  std::vector<std::string> names = wanted;
  if (names.empty()) {
    auto all = bus->directory().topics();
    if (!all) return pass(all);
    names = std::move(*all);
  }
  std::vector<Part> parts;
  for (const std::string& name : names) {
    auto topic = TopicState::open(bus, name);
    if (!topic) {
      // One that was deleted meanwhile has no place for anybody.
      if (wanted.empty() && topic.error().code() == Errc::not_found) continue;
      return pass(topic);
    }
    auto table = (*topic)->groups(access);
    if (!table) return pass(table);
    auto index = (*table)->find(group);
    // A share group of that name is another thing (share.h).
    if (index && (*table)->kind(*index) != group::GroupTable::Kind::partitions) index.reset();
    if (index)
      parts.push_back({std::move(*topic), std::move(*table), *index});
    else if (!wanted.empty())
      return fail(Errc::not_found, "group '{}' has no offsets in topic '{}'", group, name);
  }
  return parts;
}

Result<void> need_no_reader(const BusState& bus, const group::GroupState& state, const std::vector<Part>& parts,
                            std::string_view what) {
  const platform::Leases& leases = *bus.directory().leases();
  for (const group::Member& member : state.members)
    if (member.away_since == 0 && !leases.dead(member.incarnation))
      return fail(Errc::in_use, "group '{}' has a live member: {}; stop all members before {}", state.name,
                  leases.describe(member.incarnation), what);
  for (const Part& part : parts)
    for (std::uint32_t i = 0; i < part.topic->config().partitions; ++i)
      if (const std::uint64_t reader = part.reader(i); reader != platform::kNoIncarnation)
        return fail(Errc::in_use, "group '{}' is read in partition {} of topic '{}' by {}; stop it before {}", state.name, i,
                    part.topic->name(), leases.describe(reader), what);
  return {};
}

Result<GroupPartition> describe_partition(const Part& part, std::uint32_t number) {
  auto open = part.topic->partition(number, platform::Access::read);
  if (!open) return pass(open);
  return detail::describe_cursor(*part.topic, number, open->ring, part.cursor(number));
}

}  // namespace

Result<GroupDescription> Group::describe() const {
  if (auto good = bus_->check(); !good) return pass(good);
  const auto state = group::GroupFile::read(bus_->directory(), name_);
  if (!state) return pass(state);
  const auto parts = parts_of(bus_, name_, platform::Access::read);
  if (!parts) return pass(parts);
  const group::Policy& policy = state->policy;
  GroupDescription description{.name = state->name,
                               .generation = state->generation,
                               .delivery = policy.delivery,
                               .assignor = policy.assignor,
                               .evict_behind_records = policy.records_behind,
                               .evict_behind_bytes = policy.bytes_behind,
                               .stall_limit = std::chrono::nanoseconds(policy.stall_ns),
                               .grace = std::chrono::nanoseconds(policy.grace_ns),
                               .offsets_kept = std::chrono::nanoseconds(policy.kept_ns),
                               .empty_since = state->empty_since == 0 ? std::nullopt : std::optional<Timestamp>(state->empty_since),
                               .members = {},
                               .partitions = {}};
  for (const Part& part : *parts)
    for (std::uint32_t i = 0; i < part.topic->config().partitions; ++i) {
      auto partition = describe_partition(part, i);
      if (!partition) return pass(partition);
      description.partitions.push_back(std::move(*partition));
    }
  for (const group::Member& member : state->members) {
    const auto reads = std::count_if(description.partitions.begin(), description.partitions.end(),
                                     [&](const GroupPartition& partition) { return partition.member == member.id; });
    description.members.push_back({.id = member.id,
                                   .instance = member.instance,
                                   .process = bus_->directory().leases()->describe(member.incarnation),
                                   .away = member.away_since != 0,
                                   .topics = member.topics,
                                   .partitions = static_cast<std::uint32_t>(reads)});
  }
  return description;
}

namespace {

// Where a reset leads in one partition.
Result<std::uint64_t> destination(const ring::Ring& ring, const GroupReset& what, std::uint64_t committed) {
  const auto first = log::earliest(ring);
  if (!first) return pass(first);
  const std::uint64_t end = log::latest(ring).offset;
  const std::uint64_t oldest = std::min(first->offset, end);
  if (!what.shift && what.to.at() != Start::At::offset) {
    const auto place = log::at_start(ring, what.to);
    if (!place) return pass(place);
    return std::clamp(place->offset, oldest, end);
  }
  if (!what.shift) return std::clamp(static_cast<std::uint64_t>(what.to.value()), oldest, end);
  const std::uint64_t by =
      static_cast<std::uint64_t>(*what.shift < 0 ? -(*what.shift + 1) : *what.shift) + (*what.shift < 0 ? 1 : 0);
  const std::uint64_t wanted = *what.shift < 0 ? committed - std::min(committed, by) : committed + std::min(by, end);
  return std::clamp(wanted, oldest, end);
}

}  // namespace

Result<std::vector<GroupMove>> Group::reset(const GroupReset& what) const {
  if (auto good = bus_->check(); !good) return pass(good);
  auto file = group::GroupFile::open(bus_->directory(), name_);
  if (!file) return pass(file);
  const log::BusDirectory& directory = bus_->directory();
  std::vector<GroupMove> moves;
  // Under the group's lock: nobody joins meanwhile. Who reads without sharing is kept out by the cursors.
  auto done = (*file)->change([&](group::GroupState& state) -> Result<bool> {
    const auto parts = parts_of(bus_, name_, platform::Access::write, what.topics);
    if (!parts) return pass(parts);
    if (auto unread = need_no_reader(*bus_, state, *parts, "moving its offsets"); !unread) return pass(unread);
    for (const Part& part : *parts) {
      const std::uint32_t partitions = part.topic->config().partitions;
      if (what.partition && *what.partition >= partitions)
        return fail(Errc::invalid_argument, "topic '{}' has partitions 0 to {}, not {}", part.topic->name(), partitions - 1,
                    *what.partition);
      for (std::uint32_t i = 0; i < partitions; ++i) {
        if (what.partition && i != *what.partition) continue;
        auto open = part.topic->partition(i, platform::Access::read);
        if (!open) return pass(open);
        ring::Cursor& cursor = part.cursor(i);
        const std::uint64_t committed = cursor.committed.load(std::memory_order_acquire);
        const auto to = destination(open->ring, what, committed);
        if (!to) return pass(to);
        moves.push_back({part.topic->name(), i, committed, *to});
        if (what.dry_run) continue;
        if (!group::take(cursor, directory.incarnation(), 0, *directory.leases()))
          return fail(Errc::in_use, "partition {} of topic '{}' is read for group '{}' now; stop its reader first", i,
                      part.topic->name(), name_);
        // To the lowest place that is kept; the reader passes over what is below its offset.
        const auto resumption = group::resume(open->ring, cursor, state.policy);
        group::begin_moving(cursor);
        const std::uint64_t position = ring::join(open->ring, cursor, resumption.state);
        // Producers may have overwritten since what was chosen.
        if (const auto first = log::earliest(open->ring); !first || first->offset > *to)
          group::commit_apart(cursor, *to, position);
        else
          group::begin_committed(cursor, *to);
        group::let_go(cursor, directory.incarnation(), platform::kNoIncarnation);
      }
    }
    return false;
  });
  if (!done) return pass(done);
  return moves;
}

Result<std::uint32_t> Group::evict(bool force) const {
  if (auto good = bus_->check(); !good) return pass(good);
  const auto state = group::GroupFile::read(bus_->directory(), name_);
  if (!state) return pass(state);
  const auto parts = parts_of(bus_, name_, platform::Access::write);
  if (!parts) return pass(parts);
  if (!force && !state->policy.evictable())
    if (auto unread =
            need_no_reader(*bus_, *state, *parts, "evicting it, or force it: what is being read now may then change underneath");
        !unread)
      return pass(unread);
  std::uint32_t count = 0;
  for (const Part& part : *parts)
    for (std::uint32_t i = 0; i < part.topic->config().partitions; ++i)
      if (ring::evict_by_hand(part.cursor(i))) {
        ++count;
        if (const auto& waits = part.topic->waits()) waits->room(i).wake();
      }
  return count;
}

Result<void> Group::remove() const {
  if (auto good = bus_->check(); !good) return good;
  return group::GroupFile::remove(bus_->directory(), name_, [&](const group::GroupState& state) -> Result<void> {
    const auto parts = parts_of(bus_, name_, platform::Access::write);
    if (!parts) return pass(parts);
    if (auto unread = need_no_reader(*bus_, state, *parts, "deleting it"); !unread) return unread;
    return group::forget_offsets(name_, bus_->directory());
  });
}

}  // namespace arus
