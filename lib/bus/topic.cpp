#include <arus/topic.h>

#include <algorithm>

#include "bus/headers.h"
#include "bus/producer_state.h"
#include "bus/record_access.h"
#include "bus/state.h"
#include "log/partitioner.h"
#include "log/seek.h"
#include "platform/error.h"

namespace arus {

using platform::pass;

namespace {

std::optional<std::string> owned(Bytes data) {
  if (data.data() == nullptr) return std::nullopt;
  return std::string(text(data));
}

OwnedRecord owned(const log::Copied& copied, std::uint32_t partition) {
  Record record;
  RecordAccess::fill(record, copied.view, copied.bytes.data() + ring::kRecordHeader, nullptr, partition);
  OwnedRecord result{partition, record.offset(), record.timestamp(), owned(record.key()), owned(record.value()), {}};
  for (const Header header : record.headers()) result.headers.emplace_back(header.name, owned(header.value));
  return result;
}

std::uint64_t live_producers(const ring::Ring& ring) {
  std::uint64_t count = 0;
  for (std::uint32_t i = 0; i < ring.slot_count; ++i)
    if (!ring.leases->dead(ring.slots[i].incarnation.load(std::memory_order_acquire))) ++count;
  return count;
}

Result<PartitionInfo> describe_partition(const ring::Ring& ring, std::uint32_t number) {
  const auto first = log::earliest(ring);
  if (!first) return pass(first);
  const log::Place end = log::latest(ring);
  const std::uint64_t tail = ring.tail();
  PartitionInfo info{.partition = number,
                     .start_offset = std::min(first->offset, end.offset),
                     .end_offset = end.offset,
                     .bytes_used = (tail - std::min(tail, ring.low())) << ring::kCellShift,
                     .bytes_written = (tail - std::min(tail, ring.cells)) << ring::kCellShift,
                     .producers = live_producers(ring),
                     .oldest = 0};
  ring::View view;
  if (ring::look(ring, first->position, view) == ring::Found::record && ring::still_there(ring, first->position))
    info.oldest = view.timestamp;
  return info;
}

}  // namespace

std::uint32_t partition_of(Bytes key, std::uint32_t partitions) noexcept { return log::partition_for_key(key, partitions); }

const std::string& Topic::name() const noexcept { return state_->name(); }
const TopicConfig& Topic::config() const noexcept { return state_->config(); }

Result<TopicInfo> Topic::describe() const {
  if (auto good = state_->check(); !good) return pass(good);
  const TopicConfig& config = state_->config();
  TopicInfo info{.name = state_->name(),
                 .config = config,
                 .max_record_bytes = ring::most_bytes(config.partition_bytes >> ring::kCellShift),
                 .bytes_reserved = config.partitions * log::partition_file_bytes(config.partition_bytes, config.max_producers),
                 .partitions = {},
                 .groups = {},
                 .readers = 0};
  std::vector<detail::OpenPartition> rings;
  for (std::uint32_t i = 0; i < config.partitions; ++i) {
    auto partition = state_->partition(i, platform::Access::read);
    if (!partition) return pass(partition);
    auto described = describe_partition(partition->ring, i);
    if (!described) return pass(described);
    info.partitions.push_back(*described);
    rings.push_back(*std::move(partition));
  }
  // An observer may not be allowed to look at these.
  if (auto readers = state_->count_readers(); readers) info.readers = *readers;
  auto groups = state_->groups(platform::Access::read);
  if (!groups) {
    if (groups.error().code() == Errc::permission_denied) return info;
    return pass(groups);
  }
  for (std::uint32_t i = 0; i < config.max_groups; ++i) {
    GroupInfo group{.name = (*groups)->name(i), .alive = false, .evicted = false, .committed = {}, .lag = {}, .partitions = {}};
    if (group.name.empty()) continue;
    for (std::uint32_t j = 0; j < config.partitions; ++j) {
      GroupPartition found = detail::describe_cursor(*state_, j, rings[j].ring, (*groups)->cursors(j)[i]);
      group.committed.push_back(found.committed);
      group.lag.push_back(found.lag);
      group.alive |= !found.process.empty();
      group.evicted |= found.status >= GroupStatus::evicted_abandoned;
      group.partitions.push_back(std::move(found));
    }
    info.groups.push_back(std::move(group));
  }
  return info;
}

Result<Producer> Topic::producer(const ProducerConfig& config) {
  auto state = detail::ProducerState::make(state_, config);
  if (!state) return pass(state);
  return Producer(std::move(*state));
}

Result<std::optional<OwnedRecord>> Topic::last(std::uint32_t partition) const {
  if (auto good = state_->check(); !good) return pass(good);
  auto open = state_->partition(partition, platform::Access::read);
  if (!open) return pass(open);
  auto found = log::last_record(open->ring, [](const ring::View&) { return true; });
  if (!found) return pass(found);
  if (!*found) return std::nullopt;
  return owned(**found, partition);
}

Result<std::optional<OwnedRecord>> Topic::last(Bytes key) const {
  if (auto good = state_->check(); !good) return pass(good);
  const std::uint32_t partition = partition_of(key, state_->config().partitions);
  auto open = state_->partition(partition, platform::Access::read);
  if (!open) return pass(open);
  std::vector<std::byte> found_key(key.size());
  auto found = log::last_record(open->ring, [&](const ring::View& view) {
    if ((view.lengths.flags & ring::Lengths::kNullKey) != 0 || view.lengths.key != key.size()) return false;
    platform::copy(found_key.data(), view.data + ring::kRecordHeader, key.size());
    return std::equal(key.begin(), key.end(), found_key.begin());
  });
  if (!found) return pass(found);
  if (!*found) return std::nullopt;
  return owned(**found, partition);
}

Result<std::uint32_t> Topic::readers() const { return state_->count_readers(); }

}  // namespace arus
