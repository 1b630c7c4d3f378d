// The records of one partition that a share group has in hand: each is available, acquired by one member, or settled. Nobody holds a lock
// to take or to settle a record, and nothing waits for a member that is stopped, but for the records it has acquired.
//
// Roles. Any member does any step; a step is one compare-and-swap, and whoever finds a step half done does the rest.
//   fill     F1 read end and end_place           F2 look at the ring there, and that the cursor still holds it
//            F3 entry {settled, of the lap before} -> {available, or done if there is nothing to deliver; place}      16 bytes at once
//               (a claim that was skipped; the end of a record that grew while members were reading it)
//            F4 {end, end_place} -> {end + 1, the next record}                                                        16 bytes at once
//   acquire  A1 entry available -> acquired(me), deliveries + 1
//   settle   S1 entry acquired(me) -> done        S2 base over settled entries, one by one
//            S3 the cursor's committed offset, then S4 its position, up to what stands before base; both only ever rise
//   put back P1 entry acquired(holder) -> available, deliveries unchanged; by the holder itself, or by anybody if the holder is dead
//   reorder  under the group's lock (system calls), by a member that comes: the cursor's generation rises, and the lease that the members hold
//            together becomes its owner; by any, after an eviction: what is no longer in the ring is marked gone, and the end goes
//            on where the ring begins
//
// Why it is right. An entry's word carries the lap, and within a lap the deliveries rise with every acquisition: what a member read before it was
// stopped no longer compares equal when anything has happened since. (An attempt to bury a record does not count; in the worst case a
// copy too many comes to the dead-letter topic.) F3 compares both words, and the old lap in them: so a delayed one fails, and all who
// fill a sequence write the same, because what stands at end_place does not change while the cursor holds it: where nothing stands yet, because a record may
// grow there, nobody fills anything; and S4 does not pass a record at which end_place still is. P1 for a dead holder: the
// word is read first, then the slot; as long as the slot names the dead process nobody else has acquired under it, and a slot is given
// free only after its entries were put back. S2: two members that settle neighbours at once: each writes its entry, then reads base and the
// entry there, all sequentially consistent, so one of them sees both. S4 never passes what is not settled, because base does not.
// What is read in the ring is believed if the cursor holds it afterwards: `fits` (generation) says that it has held it all the time.
//
// Pairs. F3 (release) with A1 (acquire): place, and with it the producer's record. S1 (release) with S2 (acquire), then S4 (release)
// with the producer's look at the cursor: a record is overwritten only after its holder has done with it.
//
// What a crash leaves after
//   F3         an entry that is filled and not counted: the next one who fills does F4
//   A1         an entry of a dead holder: put back by whoever finds out (delivered again, deliveries says so)
//   S1, S2, S3 a base or cursor that lags: every poll of any member does S2 to S4
//   P1         a record that is available and nobody was told of: found by the next look from base
//   reorder    generation 0, or that of before: the next one does it again
#pragma once

#include <arus/config.h>

#include "group/cursor.h"
#include "group/share_layout.h"
#include "platform/error.h"
#include "ring/read.h"

namespace arus::group {

// A record that a member has acquired.
struct Acquired {
  std::uint64_t sequence;
  EntryWord word;
  ring::View view;
  bool is_worn_out;  // delivered as often as it may be
};

struct ShareCounts {
  std::uint64_t available;  // filled in, or still in the ring
  std::uint64_t acquired;
  std::uint64_t accepted;
  std::uint64_t rejected;
  std::uint64_t redelivered;
  std::uint64_t dead_lettered;
  std::uint64_t discarded;
  std::uint64_t lost;
};

// One member's view of a partition's window. One thread.
class SharedPartition {
 public:
  SharedPartition(const ring::Ring& ring, ring::Cursor& cursor, std::byte* window, std::uint32_t entries, Word* holders) noexcept;

  // Whether the cursor holds what the window says: else reorder().
  [[nodiscard]] bool fits() const noexcept { return fits(cursor_->state.load(std::memory_order_acquire)); }
  // Whether producers count the group as abandoned.
  [[nodiscard]] bool is_ownerless(const platform::Leases& leases) const noexcept { return is_takeable(*cursor_, leases); }

  enum class Found : std::uint8_t { record, nothing, unfit, corrupt };
  // The next record that is available, for `holder`. One that is worn out keeps its count; it is to be buried, not handed out.
  Found acquire(std::uint32_t holder, std::uint32_t most, Acquired& acquired) noexcept;
  // Whether acquire() would look at something new; without side effects.
  [[nodiscard]] bool ready() const noexcept;
  [[nodiscard]] bool open_claim() const noexcept { return ring::open_claim_at(ring_, end_position()); }
  [[nodiscard]] std::uint64_t end_position() const noexcept { return end_place().position(); }

  // What was acquired, as acquire() gave it. False: it is this holder's no more (evicted, or settled before).
  bool settle(std::uint64_t sequence, EntryWord word) noexcept;
  bool put_back(std::uint64_t sequence, EntryWord word, std::uint32_t deliveries) noexcept;
  [[nodiscard]] bool holds(std::uint64_t sequence, EntryWord word) const noexcept;
  [[nodiscard]] bool is_gone(std::uint64_t sequence) const noexcept;
  // S2 to S4, as far as they are due.
  void advance() noexcept;

  // Puts back everything of `holder`, as long as its slot names `incarnation`: the caller, or one that is dead. Returns how many.
  std::uint32_t put_back_all(std::uint32_t holder, std::uint64_t incarnation) noexcept;
  [[nodiscard]] std::uint32_t count_held(std::uint32_t holder) const noexcept;

  // Under the group's lock. Takes the cursor if nobody living has it, and puts the window in order. True if records were lost, which only an
  // eviction does.
  struct Lost {
    std::uint64_t from;
    std::uint64_t to;
    std::uint64_t records;  // of these that were not settled
  };
  Result<bool> reorder(std::uint64_t lease, std::uint64_t member, const Policy& policy, Start start, Lost& lost);

  [[nodiscard]] ShareCounts counts() const noexcept;
  // From the next look on, begin with the oldest.
  void look_from_base() noexcept { seen_returned_ = ~0ull; }
  [[nodiscard]] ShareWindow& window() const noexcept { return *window_; }
  [[nodiscard]] const ring::Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] ring::Cursor& cursor() const noexcept { return *cursor_; }

 private:
  enum class Filled : std::uint8_t { one, nothing, full, unfit, corrupt };
  Filled fill() noexcept;
  void publish() noexcept;
  [[nodiscard]] SharePlace end_place() const noexcept { return {window_->end_place.load(std::memory_order_acquire)}; }
  bool give_up(std::uint64_t sequence, std::uint64_t below) noexcept;
  bool jump(std::uint64_t position) noexcept;
  [[nodiscard]] bool fits(std::uint64_t state) const noexcept {
    return ring::cursor_status(state) == ring::CursorStatus::active &&
           state >> 8 <= window_->generation.load(std::memory_order_acquire);
  }
  [[nodiscard]] ShareEntry& entry(std::uint64_t sequence) const noexcept { return entries_[sequence & mask_]; }
  [[nodiscard]] std::uint64_t lap(std::uint64_t sequence) const noexcept {
    return (sequence >> lap_shift_) & ((1ull << kLapBits) - 1);
  }
  [[nodiscard]] bool is_of(std::uint64_t sequence, EntryWord word) const noexcept { return word.lap() == lap(sequence); }

  ring::Ring ring_;
  ring::Cursor* cursor_;
  ShareWindow* window_;
  ShareEntry* entries_;
  Word* holders_;
  std::uint64_t mask_;
  unsigned lap_shift_;
  std::uint64_t next_ = 0;               // below it this member has seen nothing that is available …
  std::uint64_t seen_returned_ = ~0ull;  // … as long as the window's `returned` is still this
};

}  // namespace arus::group
