#include "bus/partition_reader.h"

#include <algorithm>

#include "platform/error.h"
#include "platform/kill_point.h"
#include "ring/index.h"
#include "ring/repair.h"
#include "ring/room.h"

namespace arus::detail {

using platform::fail;
using platform::pass;
using ring::Found;
using ring::Lengths;
using ring::View;
using std::memory_order_acquire;
using std::memory_order_relaxed;
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

Result<PartitionReader> PartitionReader::join(std::shared_ptr<TopicState> topic, std::uint32_t partition, const GroupReading& how) {
  auto open = topic->partition(partition, platform::Access::read);
  if (!open) return pass(open);
  ring::Cursor& cursor = how.table->cursors(partition)[how.group];
  const log::BusDirectory& bus = topic->bus_directory();
  if (!group::take(cursor, bus.incarnation(), how.member, *bus.leases()))
    return fail(Errc::in_use, "partition {} of topic '{}' is read for group '{}' by {}", partition, topic->name(),
                how.table->name(how.group), bus.leases()->describe(ring::incarnation_of(cursor.owner.load(memory_order_acquire))));
  PartitionReader reader(std::move(topic), partition, std::move(*open));
  reader.how_ = how;
  reader.cursor_ = &cursor;
  reader.copies_ = reader.overwritable();
  reader.plain_ = !reader.overwritable() && how.auto_commit;
  if (auto begun = reader.begin_at(group::resume(reader.ring_, cursor, how.policy)); !begun) {
    reader.give_up();
    reader.let_go(platform::kNoIncarnation);
    return pass(begun);
  }
  return reader;
}

Result<void> PartitionReader::begin_at(const group::Resumption& resumption) {
  become_unusual();
  cursor_state_ = resumption.state;
  position_ = settled_ = resumption.position;
  handed_.clear();
  if (resumption.from == group::Resumption::From::start) {
    began_group_ = true;
    if (auto begun = begin(how_.start); !begun) return begun;
    begin_committed();
    group::set_limit(*cursor_, how_.policy, ahead_);
    return {};
  }
  expected_ = deliver_from_ = resumption.committed;
  expect_ = resumption.from == group::Resumption::From::evicted ? Expect::from_lost : Expect::from_hole;
  if (how_.on_lost == OnLost::earliest || resumption.from != group::Resumption::From::evicted) return {};
  return begin_where_lost();
}

// The committed offset may be gone, and the reader is not to go on with what is left without being told.
Result<void> PartitionReader::begin_where_lost() {
  const auto first = log::earliest(ring_);
  if (!first) return pass(first);
  if (first->offset <= deliver_from_) return {};
  if (how_.on_lost == OnLost::fail) {
    stuck_ = Error(
        Errc::out_of_range,
        platform::format("group '{}' has committed offset {} in partition {} of topic '{}', and the oldest record left is {}; "
                         "say where to go on with seek(), or reset the group",
                         how_.table->name(how_.group), deliver_from_, partition_, topic_->name(), first->offset));
    return {};
  }
  announced_ = Gap{topic_->name(), partition_, deliver_from_, first->offset, Gap::Kind::lost};
  return begin(Start::latest);
}

// An observer goes to the place itself. A group's cursor moves over settled records only: it stays where it has joined, at the lowest
// position, and what comes before the place is passed over.
Result<void> PartitionReader::begin(Start start) {
  become_unusual();
  const auto place = log::at_start(ring_, start);
  if (!place) return pass(place);
  expected_ = deliver_from_ = place->offset;
  expect_ = Expect::anything;
  ahead_ = 0;
  if (holds()) {
    ahead_ = place->position - std::min(place->position, position_);
  } else {
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
  if (in_group()) {
    if (!is_owner()) return lost_it();
    // A bad target must change nothing.
    if (auto place = log::at_start(ring_, to); !place) return pass(place);
    handed_.clear();
    stuck_.reset();
    announced_.reset();
  }
  become_unusual();
  if (in_group()) group::begin_moving(*cursor_);
  if (holds()) position_ = settled_ = ring::join(ring_, *cursor_, cursor_state_);
  if (auto begun = begin(to); !begun) {
    if (in_group()) group::commit_apart(*cursor_, cursor_->committed.load(memory_order_relaxed), settled_);
    return begun;
  }
  if (!in_group()) return {};
  // A successor looks for the committed offset from the cursor on: the cursor is never ahead of it.
  if (position_ < settled_) cursor_->position.store(settled_ = position_, memory_order_release);
  begin_committed();
  group::set_limit(*cursor_, how_.policy, ahead_);
  return {};
}

// A successor goes on where this reader begins, and not where its cursor stands.
void PartitionReader::begin_committed() noexcept {
  if (expect_ == Expect::from_lost)
    group::commit_apart(*cursor_, next_offset(), settled_);
  else
    group::begin_committed(*cursor_, next_offset());
}

std::uint64_t PartitionReader::lag() const noexcept {
  const log::Place end = log::latest(ring_);
  // At the end nothing is left, also behind a skipped claim whose offsets only the next record tells.
  if (position_ >= ring_.tail()) return 0;
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

// What is wanted of a packed record, and as far as there is room. False: there is more of it, or may be.
bool PartitionReader::take_packed(const View& view, RecordBuffer& buffer) {
  const std::uint64_t end = view.offset + view.lengths.records();
  const std::uint64_t from = std::min(std::max(expected_, deliver_from_), end);
  const std::uint64_t until = std::min<std::uint64_t>(end, from + buffer.vacant().size());
  const std::uint64_t stride = view.lengths.stride();
  const std::byte* data = view.data + ring::kRecordHeader + (from - view.offset) * stride;
  if (const std::size_t size = (until - from) * stride; copies_ && size != 0) {
    std::byte* room = buffer.room(size);
    platform::copy(room, data, size);
    data = room;
  }
  for (std::uint64_t offset = from; offset != until; ++offset, data += stride)
    RecordAccess::fill(buffer.add(), ring::unpacked(view, offset - view.offset), data, &topic_->name(), partition_);
  expected_ = until;
  if (until != end || view.grows) {
    partly_ = true;
    return false;
  }
  go_behind(view);
  return true;
}

// A packed record, of which everything was taken.
void PartitionReader::go_behind(const View& view) noexcept {
  position_ += view.cells;
  partly_ = false;
  if (view.lengths.is_torn()) expect_ = Expect::from_hole;
}

Result<bool> PartitionReader::take_settled(RecordBuffer& buffer) {
  const auto before = buffer.mark();
  while (!buffer.full()) {
    View view;
    const Found found = ring::look(ring_, position_, view);
    if (found == Found::record) [[likely]] {
      // Of packed ones those may have been taken that stand before the expected one; of one that grows, also all, or one may be expected that
      // was granted and does not stand yet.
      const std::uint64_t taken = expected_ - view.offset;
      const std::uint64_t records = view.lengths.records();
      const bool begun = expect_ == Expect::exactly && (taken < records || (view.lengths.grew() && taken <= Lengths::kMostPacked));
      if (!begun && !bridge(view.offset, buffer)) [[unlikely]]
        return corrupt("a record with an offset out of order");
      if (begun && taken >= records) [[unlikely]] {
        if (view.grows) break;
        if (taken > records && !view.lengths.is_torn()) return corrupt("a record with an offset out of order");
        go_behind(view);
        continue;
      }
      if (view.lengths.is_packed()) {
        if (!take_packed(view, buffer)) break;
        continue;
      }
      if (view.offset >= deliver_from_) [[likely]] {
        const std::byte* data = view.data + ring::kRecordHeader;
        if (copies_) {
          const std::size_t size = view.lengths.value_at() - ring::kRecordHeader + view.lengths.value;
          std::byte* room = buffer.room(size);
          platform::copy(room, data, size);
          data = room;
        }
        RecordAccess::fill(buffer.add(), view, data, &topic_->name(), partition_);
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
  if (stuck_) [[unlikely]]
    return tl::unexpected(*stuck_);
  const std::size_t gaps = buffer.gaps().size();
  if (announced_) [[unlikely]] {
    buffer.add(*announced_);
    announced_.reset();
  }
  auto took = overwritable() ? take_checked(buffer) : take_settled(buffer);
  if (!in_group()) return took;
  usual_ = plain_ && expect_ == Expect::exactly && expected_ >= deliver_from_;
  if (buffer.gaps().size() != gaps) [[unlikely]] {
    for (const Gap& gap : buffer.gaps().subspan(gaps))
      if (gap.kind == Gap::Kind::lost)
        cursor_->lost.store(cursor_->lost.load(memory_order_relaxed) + gap.to - gap.from, memory_order_relaxed);
    took = true;
  }
  if (!how_.auto_commit && took && *took) note_handed();
  return took;
}

// What lies between two commits of the caller: where the cursor may go when a part of it is settled.
void PartitionReader::note_handed() {
  constexpr std::size_t kMost = 1024;
  if (handed_.size() == kMost) {  // every other one: the cursor then moves in larger steps
    for (std::size_t i = 0; i < kMost / 2; ++i) handed_[i] = handed_[2 * i + 1];
    handed_.resize(kMost / 2);
  }
  handed_.push_back({next_offset(), position_});
}

Result<bool> PartitionReader::take_checked(RecordBuffer& buffer) {
  // Producers may overwrite at any point: what was taken counts if `low` has not passed where it began.
  for (;;) {
    const auto mark = buffer.mark();
    const std::uint64_t position = position_;
    const std::uint64_t expected = expected_;
    const Expect expect = expect_;
    const bool partly = partly_;
    taken_from_ = position;
    auto took = take_settled(buffer);
    if (ring::still_there(ring_, position)) return took;
    buffer.rewind(mark);
    position_ = position;
    expected_ = expected;
    expect_ = expect;
    partly_ = partly;
    resume_if_lapped();
  }
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
  if (!in_group()) return {};
  const std::uint64_t state = cursor_->state.load(memory_order_acquire);
  if (state == cursor_state_ && is_settled()) return {};
  handed_.clear();
  return settle_at(next_offset(), position_);
}

Result<void> PartitionReader::notice_eviction() {
  if (!in_group() || cursor_->state.load(memory_order_acquire) == cursor_state_) return {};
  return settle_at(cursor_->committed.load(memory_order_relaxed), settled_);
}

Result<void> PartitionReader::settle_at(std::uint64_t offset, std::uint64_t position) {
  const std::uint64_t state = cursor_->state.load(memory_order_acquire);
  if (state != cursor_state_) [[unlikely]]
    return begin_again(offset, position, ring::cursor_status(state));
  if (position == position_ && expect_ == Expect::from_lost)  // lapped, and it has not come to a record since
    publish_apart(offset, position);
  else
    publish(offset, position);
  was_evicted_ = false;
  if (ahead_ != 0) [[unlikely]] {
    ahead_ = 0;
    group::set_limit(*cursor_, how_.policy, 0);
  }
  return {};
}

Result<void> PartitionReader::settle_before(std::uint64_t offset) {
  const std::uint64_t committed = cursor_->committed.load(memory_order_relaxed);
  if (offset > next_offset())
    return fail(Errc::out_of_range,
                "offset {} of partition {} of topic '{}' was not handed out yet (next is {}); commit at most that", offset,
                partition_, topic_->name(), next_offset());
  if (offset <= committed) return {};
  if (offset == next_offset()) return settle();
  std::uint64_t position = settled_;
  const auto beyond = std::find_if(handed_.begin(), handed_.end(), [&](const Handed& end) { return end.offset > offset; });
  if (beyond != handed_.begin())
    position = std::max(position, (beyond - 1)->position);  // where it was evicted, it stands further on
  handed_.erase(handed_.begin(), beyond);
  return settle_at(offset, position);
}

void PartitionReader::publish_apart(std::uint64_t offset, std::uint64_t position) noexcept {
  group::commit_apart(*cursor_, offset, position);
  settled_ = position;
  partly_ = offset != next_offset();
  ring_.room.wake();
}

// The group was evicted while this reader lives. What it was handed is whole, for it was copied; what is settled stays so; and where
// nobody has overwritten what comes next, nothing is lost. One that is still too far behind is evicted again, and is told only once.
Result<void> PartitionReader::begin_again(std::uint64_t offset, std::uint64_t position, ring::CursorStatus why) {
  if (!is_owner()) return lost_it();
  become_unusual();
  const bool apart =
      (position == position_ && expect_ == Expect::from_lost) || (position == settled_ && group::stands_apart(*cursor_));
  cursor_->committed.store(offset, memory_order_release);
  const auto resumption = group::resume(ring_, *cursor_, how_.policy);
  cursor_state_ = resumption.state;
  settled_ = resumption.position;
  if (position_ >= resumption.position) {
    // What was handed out and not committed may be overwritten by now: a successor will not find it.
    if (apart || position < settled_) {
      publish_apart(offset, std::max(position, settled_));
    } else {
      group::begin_committed(*cursor_, offset);
      partly_ = offset != next_offset();
      if (position > settled_) publish(offset, position);  // else it would count as a ring behind
    }
  } else {
    position_ = resumption.position;
    expect_ = Expect::from_lost;
    partly_ = offset != next_offset();  // what was handed out before can be committed still
    handed_.clear();
  }
  if (std::exchange(was_evicted_, true)) return {};
  const char* reason = why == ring::CursorStatus::evicted_behind    ? "it was further behind than its limit"
                       : why == ring::CursorStatus::evicted_stalled ? "it held producers back longer than its stall limit"
                       : why == ring::CursorStatus::evicted_by_hand ? "`arus group evict` said so"
                                                                    : "its reader was taken for dead";
  return fail(Errc::evicted,
              "group '{}' was evicted from partition {} of topic '{}': {}; it goes on at what is left, and reports what it lost",
              how_.table->name(how_.group), partition_, topic_->name(), reason);
}

bool PartitionReader::is_owner() const noexcept {
  return cursor_->owner.load(memory_order_relaxed) == topic_->bus_directory().incarnation();
}
// The group was deleted: the cursor may be another one's by now.
tl::unexpected<Error> PartitionReader::lost_it() const {
  return fail(Errc::fenced, "partition {} of topic '{}' is no longer read by this consumer: its group was deleted; subscribe again",
              partition_, topic_->name());
}

void PartitionReader::let_go(std::uint64_t next) noexcept {
  if (in_group()) group::let_go(*cursor_, topic_->bus_directory().incarnation(), next);
}

}  // namespace arus::detail
