// Reading one partition: an observer's or a group's position in it, the order of offsets, and what is missing between them.
#pragma once

#include <arus/config.h>
#include <arus/record.h>

#include <memory>
#include <optional>
#include <vector>

#include "bus/lookout.h"
#include "bus/record_access.h"
#include "bus/record_buffer.h"
#include "bus/state.h"
#include "group/cursor.h"
#include "log/seek.h"
#include "platform/kill_point.h"
#include "ring/read.h"

namespace arus::detail {

// How a group's reader came to its partition.
struct GroupReading {
  std::shared_ptr<const group::GroupTable> table;
  std::uint32_t group = 0;   // in the table
  std::uint64_t member = 0;  // id of the consumer
  group::Policy policy;
  Start start = Start::latest;
  OnLost on_lost = OnLost::earliest;
  bool auto_commit = true;
};

// On cache lines of its own, as is what holds it: other threads have theirs beside it.
class alignas(platform::kCacheLine) PartitionReader {
 public:
  static Result<PartitionReader> observe(std::shared_ptr<TopicState> topic, std::uint32_t partition, Start start, bool in_place);
  // Takes the partition for a group. `in_use` if somebody else reads it.
  static Result<PartitionReader> join(std::shared_ptr<TopicState> topic, std::uint32_t partition, const GroupReading& how);

  [[nodiscard]] const TopicState& topic() const noexcept { return *topic_; }
  [[nodiscard]] std::uint32_t partition() const noexcept { return partition_; }

  // Appends what is there, as far as the buffer has room. True: something was appended (records or gaps).
  Result<bool> take(RecordBuffer& buffer);
  // The usual, and nothing but that: committed records in place, one offset after the other, up to the first that is anything else, or that
  // does not begin before `stop`. Returns how many; when none, take().
  [[gnu::always_inline]] std::size_t take_plain(std::span<Record> room, std::uint64_t stop = kNowhere) noexcept;
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  // Where to stop so as to keep away from what producers are writing now; nowhere if as much would be left as taken, for that comes late.
  [[nodiscard]] std::uint64_t behind_producers() const noexcept {
    const std::uint64_t tail = ring_.tail();
    const std::uint64_t away = 32 + ring::growing_cells_of(ring_.header->tail.w1.load(std::memory_order_relaxed));  // cells
    return tail > position_ + 2 * away ? tail - away : kNowhere;
  }
  // Room for the value of a record that is taken from its producer's Latest (ring/latest.h), valid as long as the record.
  struct alignas(platform::kCacheLine) Awaited {
    std::array<std::byte, ring::Latest::kMostValue> value;
  };
  // Waits for the next record alone, `looks` times with a pause before each. True: it came, and is in `to`. False also where take_plain() would
  // do nothing.
  [[gnu::always_inline]] bool await_plain(Record& to, Awaited& room, std::uint32_t looks) noexcept;
  // Whether that looks where the last producer tells of its latest record. Only in threads that send such records themselves: who only receives has
  // no round trip to tell the better way by, and stays with the log.
  [[nodiscard]] bool looks_at_latest() const noexcept {
    return is_told() && lookout_.way() != Lookout::Way::log && ring::told_last != nullptr;
  }
  // Whether the last ones so were there at the first look: then there may be more, and the log is the place to look. Asked once for each.
  [[nodiscard]] bool comes_at_once() noexcept {
    if (at_once_ < kAtOnceOften) [[likely]]
      return false;
    at_once_ = 0;
    return true;
  }
  // Whether take() would find nothing: for those who take plainly, and know without it.
  [[nodiscard]] bool is_quiet() const noexcept { return (usual_ || (plain_ && !announced_ && !stuck_)) && !ready(); }
  // Whether take() would find something, or an error; without side effects.
  [[nodiscard]] bool ready() const noexcept;
  // Somebody has claimed what is next, and has not settled it.
  [[nodiscard]] bool open_claim() const noexcept { return ring::open_claim_at(ring_, position_); }
  // Called about every millisecond while nothing comes: settles the claim that is in the way, if its owner is dead.
  void look_after();
  [[nodiscard]] bool deleted() const noexcept { return ring_.deleted(); }

  // Groups: everything taken so far is settled; a successor starts behind it. `evicted` if the cursor no longer holds producers back; then the
  // reader has joined again where it can, and the gap, if there is one, comes with the next take().
  Result<void> settle();
  // The same where nothing but that is to be done; false: settle().
  bool settle_plainly() noexcept {
    if (!plain_ || ahead_ != 0 || cursor_->state.load(std::memory_order_acquire) != cursor_state_) [[unlikely]]
      return false;
    if (!is_settled()) publish(next_offset(), position_);
    was_evicted_ = false;
    return true;
  }
  // That alone, of one whose caller commits.
  Result<void> notice_eviction();
  // The same, of what stands before `offset`, which must have been taken.
  Result<void> settle_before(std::uint64_t offset);
  // Lets the partition go, to the process `next`, without settling anything.
  void let_go(std::uint64_t next) noexcept;
  // The subscription it was made for failed: a group that began here begins anew next time.
  void give_up() noexcept {
    if (began_group_) group::forget_beginning(*cursor_);
  }

  Result<void> seek(Start to);
  [[nodiscard]] std::uint64_t next_offset() const noexcept { return std::max(expected_, deliver_from_); }
  [[nodiscard]] std::uint64_t lag() const noexcept;
  // Of who reads in place: whether everything taken since `position` is whole still.
  [[nodiscard]] bool intact_since(std::uint64_t position) const noexcept { return ring::still_there(ring_, position); }
  [[nodiscard]] bool is_observed_in_place() const noexcept { return !copies_ && !in_group(); }
  // Where the records of the last take() begin.
  [[nodiscard]] std::uint64_t taken_from() const noexcept { return taken_from_; }

  // Asks to be woken by that bell; false where the wait flags may not be written.
  bool arm(std::uint32_t bell) const noexcept {
    if (ring_.data) ring_.data.arm(bell);
    return static_cast<bool>(ring_.data);
  }

  // Somebody is about to look at the next header, and it is all there is to wait for: its record's second line comes with it, if the last
  // record had one. It takes the line from a producer that is still writing it. A send is worth that; a loan is not, for filling it takes longer.
  void expect_soon() const noexcept {
    if (stride_.last() > 1 && !ring::is_filled_in_place(ring_.at(position_), ring_.lap_word(position_)))
      platform::prefetch_for_read(&ring_.at(position_ + 1));
  }

  bool paused = false;

 private:
  // What the next record's offset may be, compared with the expected one.
  enum class Expect : std::uint8_t {
    exactly,
    from_hole,  // or more: what is between was never committed
    from_lost,  // or more: what is between was overwritten
    anything,   // a beginning
  };
  PartitionReader(std::shared_ptr<TopicState> topic, std::uint32_t partition, OpenPartition open) noexcept
      : topic_(std::move(topic)), partition_(partition), open_(std::move(open)), ring_(open_.ring) {}

  bool in_group() const noexcept { return cursor_ != nullptr; }
  // Producers leave alone what it has not settled; so it settles all it passes.
  bool holds() const noexcept { return in_group() && how_.policy.delivery == Delivery::lossless; }
  // Others may overwrite what it reads, so that it has to look afterwards.
  bool overwritable() const noexcept { return !in_group() || how_.policy.evictable(); }
  Result<void> begin(Start start);
  Result<void> begin_at(const group::Resumption& resumption);
  Result<void> begin_where_lost();
  Result<void> settle_at(std::uint64_t offset, std::uint64_t position);
  Result<void> begin_again(std::uint64_t offset, std::uint64_t position, ring::CursorStatus why);
  [[nodiscard]] bool is_owner() const noexcept;
  tl::unexpected<Error> lost_it() const;
  void begin_committed() noexcept;
  void publish(std::uint64_t offset, std::uint64_t position) noexcept;
  // The same where what stands between the two was lost.
  void publish_apart(std::uint64_t offset, std::uint64_t position) noexcept;
  [[nodiscard]] bool is_settled() const noexcept { return position_ == settled_ && !partly_; }
  bool bridge(std::uint64_t offset, RecordBuffer& buffer);
  bool resume_if_lapped() noexcept;
  Result<bool> take_settled(RecordBuffer& buffer);
  bool take_packed(const ring::View& view, RecordBuffer& buffer);
  void go_behind(const ring::View& view) noexcept;
  Result<bool> take_checked(RecordBuffer& buffer);
  void note_handed();
  // Before the position changes otherwise than by taking what is there: take_plain() does nothing until the next take().
  void become_unusual() noexcept {
    usual_ = false;
    lap_end_ = 0;
    partly_ = false;
  }
  tl::unexpected<Error> corrupt(std::string_view what) const;
  // Of a record that was waited for, and found in the log.
  void note_producer(const ring::RecordHeader& header, std::uint64_t lap_word) noexcept {
    const std::uint32_t owner = ring::Mark{header.h0.load(std::memory_order_relaxed) ^ lap_word}.owner();
    if (std::exchange(from_, owner) != owner) told_ = 0;
    awaited_at_ = position_;
  }
  [[nodiscard]] bool is_told() const noexcept { return told_ >= kToldOften; }
  [[gnu::always_inline]] bool await_latest(Record& to, Awaited& room, std::uint32_t looks) noexcept;
  [[gnu::always_inline]] bool take_latest(const ring::Latest& latest, Record& to, Awaited& room) noexcept;

  std::shared_ptr<TopicState> topic_;
  std::uint32_t partition_;
  OpenPartition open_;
  ring::Ring ring_;
  std::uint64_t position_ = 0;      // in cells: what is looked at next
  std::uint64_t expected_ = 0;      // its offset
  std::uint64_t deliver_from_ = 0;  // what is below is passed over (a seek forward in a group moves this, not the cursor)
  Expect expect_ = Expect::anything;
  platform::Stride stride_;  // between records
  bool copies_ = false;
  bool plain_ = false;          // it reads in place, and nothing is to be done for a record but handing it out
  bool usual_ = false;          // moreover the next offset is known, and nothing is to be told before it
  std::uint64_t lap_word_ = 0;  // of the lap that ends at …
  std::uint64_t lap_end_ = 0;   // … cells
  std::uint64_t taken_from_ = 0;
  // Of records that were waited for one by one: the last one's producer and position, and of how many of its producer's in a row its Latest spoke.
  static constexpr std::uint32_t kToldOften = 3;
  static constexpr std::uint32_t kAtOnceOften = 16;
  std::uint32_t at_once_ = 0;
  std::uint32_t from_ = ring::kNoOwner;
  std::uint32_t told_ = 0;
  std::uint64_t awaited_at_ = 0;
  Lookout lookout_;
  std::uint64_t seen_open_ = 0;  // the position of an open claim at the last look_after()

  // Groups only.
  struct Handed {  // where a batch ended
    std::uint64_t offset;
    std::uint64_t position;
  };
  GroupReading how_{};
  ring::Cursor* cursor_ = nullptr;
  std::uint64_t cursor_state_ = 0;
  std::uint64_t settled_ = 0;     // position published
  bool partly_ = false;           // of the packed record there some were taken since
  bool began_group_ = false;      // the group was new here
  std::uint64_t ahead_ = 0;       // cells from the cursor to where the reader begins, until it has come there
  bool was_evicted_ = false;      // and nothing has been settled since
  std::vector<Handed> handed_;    // where batches that are not settled ended; only where the caller commits
  std::optional<Gap> announced_;  // for the next take()
  std::optional<Error> stuck_;    // what take() answers until a seek
};

inline bool PartitionReader::ready() const noexcept {
  ring::View view;
  const ring::Found found = ring::look(ring_, position_, view);
  if (found == ring::Found::record ? !view.grows || expect_ != Expect::exactly || expected_ - view.offset < view.lengths.records()
                                   : found > ring::Found::open)
    return true;
  return (overwritable() && ring_.low() > position_) || ring_.deleted();
}

// What the loop needs is in local variables, which stores to records cannot change, as far as the compiler knows.
inline std::size_t PartitionReader::take_plain(std::span<Record> room, std::uint64_t stop) noexcept {
  if (!usual_) [[unlikely]]
    return 0;
  const std::string* const topic = &topic_->name();
  const std::uint32_t partition = partition_;
  std::uint64_t position = position_;
  const std::uint64_t first = expected_;
  std::uint64_t expected = first;
  std::uint64_t lap_word = lap_word_;
  std::uint64_t lap_end = lap_end_;
  platform::Stride stride = stride_;
  Record* to = room.data();
  Record* const end = to + room.size();
  while (to != end && position < stop) {
    if (position >= lap_end) [[unlikely]] {
      lap_word = lap_word_ = ring_.lap_word(position);
      lap_end = lap_end_ = (position | ring_.mask) + 1;
    }
    ring::View view;
    if (!ring::look_for_record(ring_, lap_word, position, view)) break;
    if (view.lengths.is_packed()) {
      if (view.lengths.is_torn()) [[unlikely]]  // an offset is missing behind it
        break;
      const std::uint64_t records = view.lengths.records();
      std::uint64_t next = expected - view.offset;  // those before it were taken by an earlier call
      if (next >= records) [[unlikely]] {           // everything of one that grows was taken
        if (next != records || !view.lengths.is_growing() || ring::growth_of(ring_, position, view) != ring::Growth::ended) break;
        position += view.cells;
        continue;
      }
      const std::uint64_t until = std::min(records, next + static_cast<std::uint64_t>(end - to));
      expected += until - next;
      for (; next != until; ++next, ++to) RecordAccess::fill_packed(*to, view, next, topic, partition);
      if (until != records) {
        partly_ = true;
        break;
      }
      if (view.lengths.is_growing()) {  // there may be more by now
        partly_ = true;
        continue;
      }
    } else {
      if (view.offset != expected) [[unlikely]]
        break;
      RecordAccess::fill(*to, view, view.data + ring::kRecordHeader, topic, partition);
      ++to;
      ++expected;
    }
    position += stride(view.cells);
  }
  position_ = position;
  expected_ = expected;
  stride_ = stride;
  return expected - first;
}

// The record's second line comes with its header, as in expect_soon().
inline bool PartitionReader::await_plain(Record& to, Awaited& room, std::uint32_t looks) noexcept {
  if (!usual_ || position_ >= lap_end_) return false;
  if (!is_told() && from_ < ring_.latest_count)
    told_ = ring_.latest[from_].position.load(std::memory_order_relaxed) == awaited_at_ + 1 ? told_ + 1 : 0;
  if (looks_at_latest()) return await_latest(to, room, looks);
  const ring::RecordHeader& header = ring_.at(position_);
  const ring::RecordHeader& second = stride_.last() > 1 ? ring_.at(position_ + 1) : header;
  const std::uint64_t lap_word = lap_word_;
  for (; looks != 0; --looks) {
    platform::pause();
    if (!ring::is_filled_in_place(header, lap_word)) platform::prefetch_for_read(&second);
    if (ring::is_committed(header, lap_word)) {
      note_producer(header, lap_word);
      if (take_plain({&to, 1}) != 1) return false;
      if (is_told() && lookout_.way() == Lookout::Way::log) lookout_.came(expected_);
      return true;
    }
  }
  return false;
}

// Where the last ones were told of. The log has what is not, or not any more, and what others send.
inline bool PartitionReader::await_latest(Record& to, Awaited& room, std::uint32_t looks) noexcept {
  const ring::Latest& latest = ring_.latest[from_];
  const std::uint64_t awaited = position_ + 1;
  const bool rarely = lookout_.way() == Lookout::Way::latest_rarely;
  const std::uint32_t all = looks;
  const std::size_t size = stride_.last() > 1 ? ring::Latest::kMostValue : 0;
  const void* const second = size != 0 ? ring::second_line(latest) : static_cast<const void*>(&latest);
  for (; looks != 0; --looks) {
    platform::prefetch_for_read(second);
    const std::uint64_t told = latest.position.load(std::memory_order_acquire);
    if (told == awaited) {
      if (rarely) ring::ask_for_answer(size);
      if (take_latest(latest, to, room)) [[likely]] {
        at_once_ = looks == all ? at_once_ + 1 : 0;
        lookout_.came(expected_);
        return true;
      }
    }
    if (told >= awaited || latest.passed.load(std::memory_order_relaxed) >= awaited) {
      told_ = 0;
      lookout_.in_vain();
      return false;
    }
    if (rarely)
      platform::pause_for(lookout_.between_looks());
    else
      platform::pause();
  }
  // Its producer has not told of it, or is about to.
  if (ring::is_committed(ring_.at(position_), lap_word_)) {
    told_ = 0;
    lookout_.in_vain();
  }
  return false;
}

// M1 to M3 of ring/latest.h, its first look made. False: it is not what comes next.
inline bool PartitionReader::take_latest(const ring::Latest& latest, Record& to, Awaited& room) noexcept {
  const std::uint64_t size = latest.what.load(std::memory_order_relaxed) ^ ring::Latest::word(expected_, 0);
  if (size > ring::Latest::kMostValue) [[unlikely]]
    return false;
  const ring::Lengths lengths = ring::Lengths::single(size, 0, 0, ring::Lengths::kNullKey);
  const auto timestamp = static_cast<std::int64_t>(latest.timestamp.load(std::memory_order_relaxed));
  platform::copy_little(room.value.data(), latest.value.data(), size);
  platform::fence_acquire();
  if (latest.position.load(std::memory_order_relaxed) != position_ + 1) [[unlikely]]
    return false;
  const ring::View view{lengths.cells(), expected_, timestamp, lengths, nullptr, false};
  RecordAccess::fill(to, view, room.value.data(), &topic_->name(), partition_);
  awaited_at_ = position_;
  ++expected_;
  position_ += stride_(view.cells);
  return true;
}

inline void PartitionReader::publish(std::uint64_t offset, std::uint64_t position) noexcept {
  // First where a successor starts, then what producers may overwrite.
  cursor_->committed.store(offset, std::memory_order_release);
  ARUS_KILL_POINT("cursor-committed");
  cursor_->position.store(position, std::memory_order_release);
  settled_ = position;
  partly_ = offset != next_offset();
  ARUS_KILL_POINT("cursor-moved");
  ring_.room.wake();
}

}  // namespace arus::detail
