#include "bus/partition_reader.h"

#include "bus/record_access.h"
#include "platform/error.h"
#include "ring/index.h"
#include "ring/repair.h"
#include "ring/room.h"

namespace arus::detail {

using platform::fail;
using platform::pass;
using ring::Found;
using ring::View;
using std::memory_order_acquire;
using std::memory_order_release;

// ---- where to begin --------------------------------------------------------------------------------------------------------------

Result<PartitionReader> PartitionReader::observe(std::shared_ptr<TopicState> topic, std::uint32_t partition, Start start,
                                                 bool in_place) {
  auto open = topic->partition(partition, platform::Access::read);
  if (!open) return pass(open);
  PartitionReader reader(std::move(topic), partition, std::move(*open));
  reader.copies_ = !in_place;
  if (auto begun = reader.begin(start); !begun) return pass(begun);
  return reader;
}

Result<PartitionReader> PartitionReader::join(std::shared_ptr<TopicState> topic, std::uint32_t partition,
                                              std::shared_ptr<const group::GroupTable> table, std::uint32_t group,
                                              const ConsumerConfig& config) {
  auto open = topic->partition(partition, platform::Access::read);
  if (!open) return pass(open);
  PartitionReader reader(std::move(topic), partition, std::move(*open));
  reader.cursor_ = &table->cursors(partition)[group];
  reader.table_ = std::move(table);
  reader.grace_ns_ = config.grace.count();
  const auto resumption =
      group::take_cursor(reader.ring_, *reader.cursor_, reader.topic_->bus_directory().incarnation(), reader.grace_ns_);
  reader.begin_at(resumption);
  if (resumption.from == group::Resumption::From::start) {
    if (auto begun = reader.begin(config.start); !begun) return pass(begun);
    group::begin_committed(*reader.cursor_, reader.next_offset());
    reader.began_group_ = true;
  }
  return reader;
}

void PartitionReader::begin_at(const group::Resumption& resumption) {
  cursor_state_ = resumption.state;
  position_ = settled_ = resumption.position;
  expected_ = deliver_from_ = resumption.committed;
  expect_ = resumption.from == group::Resumption::From::evicted ? Expect::from_lost : Expect::from_hole;
}

// An observer goes to the place itself. A group's cursor moves over settled records only: it stays where it has joined, at the lowest
// position, and what comes before the place is passed over.
Result<void> PartitionReader::begin(Start start) {
  const auto place = log::at_start(ring_, start);
  if (!place) return pass(place);
  expected_ = deliver_from_ = place->offset;
  expect_ = Expect::anything;
  if (lossy()) {
    position_ = place->position;
    if (place->certain) expect_ = Expect::exactly;
  }
  if (const auto wanted = static_cast<std::uint64_t>(start.value()); start.at() == Start::At::offset && wanted < place->offset) {
    const auto first = log::earliest(ring_);
    if (!first) return pass(first);
    expected_ = deliver_from_ = wanted;
    expect_ = wanted < first->offset ? Expect::from_lost : Expect::from_hole;
  }
  return {};
}

Result<void> PartitionReader::seek(Start to) {
  if (!lossy()) {
    // A bad target must change nothing.
    if (auto place = log::at_start(ring_, to); !place) return pass(place);
    position_ = settled_ = ring::join(ring_, *cursor_, cursor_state_);
  }
  if (auto begun = begin(to); !begun) return begun;
  if (!lossy()) group::begin_committed(*cursor_, next_offset());
  return {};
}

std::uint64_t PartitionReader::lag() const noexcept {
  const log::Place end = log::latest(ring_);
  // At the end nothing is left, also behind a skipped claim whose offsets only the next record tells.
  if (position_ >= end.position) return 0;
  return end.offset - std::min(end.offset, next_offset());
}

// ---- taking records ----------------------------------------------------------------------------------------------------------------

tl::unexpected<Error> PartitionReader::corrupt(std::string_view what) const {
  return fail(Errc::corrupt, "{}: {} at position {}; the segment was overwritten; delete the topic", open_.partition->path(), what,
              position_);
}

// From the expected offset to the one that stands here; false if that cannot be.
bool PartitionReader::bridge(std::uint64_t offset, RecordBuffer& buffer) {
  if (expect_ == Expect::exactly) return offset == expected_;
  if (offset < expected_ && offset >= deliver_from_) return expect_ == Expect::anything;
  if (expect_ != Expect::anything && offset > expected_) {
    const std::uint64_t from = std::max(expected_, deliver_from_);
    const Gap::Kind kind = expect_ == Expect::from_lost ? Gap::Kind::lost : Gap::Kind::uncommitted;
    if (from < offset) buffer.add(Gap{topic_->name(), partition_, from, offset, kind});
  }
  expected_ = offset;
  expect_ = Expect::exactly;
  return true;
}

// Everything below `low` may be overwritten. Goes on a quarter of the ring above it, so as not to be lapped again at once; what is
// skipped is reported when it is known what stands there.
bool PartitionReader::resume_if_lapped() noexcept {
  bool lapped = false;
  for (std::uint64_t low = ring_.low(); low > position_; low = ring_.low()) {
    lapped = true;
    const auto boundary =
        ring::last_boundary(ring_, [&](const ring::Boundary& entry) { return entry.position <= low + ring_.cells / 4; });
    position_ = boundary && boundary->position > low ? boundary->position : low;
    expect_ = Expect::from_lost;
  }
  return lapped;
}

Result<bool> PartitionReader::take_settled(RecordBuffer& buffer) {
  const auto before = buffer.mark();
  const std::string_view name = topic_->name();
  while (!buffer.full()) {
    View view;
    const Found found = ring::look(ring_, position_, view);
    if (found == Found::record) [[likely]] {
      if ((expect_ != Expect::exactly || view.offset != expected_) && !bridge(view.offset, buffer)) [[unlikely]]
        return corrupt("a record with an offset out of order");
      if (view.offset >= deliver_from_) [[likely]] {
        const std::byte* data = view.data + ring::kRecordHeader;
        if (copies_) {
          const std::size_t size = view.lengths.value_at() - ring::kRecordHeader + view.lengths.value;
          std::byte* room = buffer.room(size);
          platform::copy(room, data, size);
          data = room;
        }
        RecordAccess::fill(buffer.add(), view, data, name, partition_);
      }
      expected_ = view.offset + 1;
      position_ += view.cells;
      continue;
    }
    if (found == Found::skip) {
      // Its own offset is known, how many it took is not: that shows in the next header.
      if (expect_ != Expect::from_hole && !bridge(view.offset, buffer))
        return corrupt("a skipped claim with an offset out of order");
      expect_ = Expect::from_hole;
      position_ += view.cells;
      continue;
    }
    if (found == Found::corrupt) return corrupt("an impossible record");
    break;
  }
  return buffer.mark() != before;
}

Result<bool> PartitionReader::take(RecordBuffer& buffer) {
  if (!lossy()) return take_settled(buffer);
  // A lossy reader may be overwritten at any point: what it took counts if `low` has not passed where it began.
  for (;;) {
    const auto mark = buffer.mark();
    const std::uint64_t position = position_;
    const std::uint64_t expected = expected_;
    const Expect expect = expect_;
    taken_from_ = position;
    auto took = take_settled(buffer);
    if (ring::still_there(ring_, position)) return took;
    buffer.rewind(mark);
    position_ = position;
    expected_ = expected;
    expect_ = expect;
    resume_if_lapped();
  }
}

bool PartitionReader::ready() const noexcept {
  const ring::Mark mark = ring_.mark(position_);
  return (ring_.valid(mark, position_) && mark.state() != ring::State::claimed) || (lossy() && ring_.low() > position_) ||
         ring_.deleted();
}

void PartitionReader::look_after() {
  if (!open_claim()) {
    seen_open_ = 0;
    return;
  }
  if (std::exchange(seen_open_, position_) != position_) return;  // give its owner until the next look
  const std::uint64_t own = topic_->bus_directory().incarnation();
  if (ring_.writable) {
    ring::recover(ring_, position_, own);
  } else if (auto writable = topic_->partition(partition_, platform::Access::write); writable) {
    ring::recover(writable->ring, position_, own);
  }  // else a producer, or another reader, has to
}

// ---- groups ---------------------------------------------------------------------------------------------------------------------

Result<void> PartitionReader::settle() {
  if (lossy() || position_ == settled_) return {};
  if (cursor_->state.load(memory_order_acquire) != cursor_state_) {
    begin_at(group::take_cursor(ring_, *cursor_, topic_->bus_directory().incarnation(), grace_ns_));
    return fail(Errc::evicted, "group of {} partition {} was evicted; it goes on at what is left, and reports what it lost",
                topic_->name(), partition_);
  }
  // First where a successor starts, then what producers may overwrite.
  cursor_->committed.store(next_offset(), memory_order_release);
  ARUS_KILL_POINT("cursor-committed");
  cursor_->position.store(position_, memory_order_release);
  settled_ = position_;
  ARUS_KILL_POINT("cursor-moved");
  ring_.room.wake();
  return {};
}

}  // namespace arus::detail
