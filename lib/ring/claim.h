// Appending: claim, mark, fill, commit. The steps C1 to C7 of ../shared/protocol.md, in its words.
//
// Roles. A producer writes its own slot, the tail (by a 16-byte compare-and-swap, its second word alone in G1; by plain stores where there is
// only one producer), and ring bytes only inside its own open claim [p, p + n); behind a commit also its Latest, and `passed` of another's
// (latest.h). Other producers and repairers read slot and header.
//
// A claim may be of cells for more records than one: it grows (Lengths::kGrows). As long as it is the last, its owner adds to it, and others end that
// by claiming behind it; the offset at which they begin says how many it has.
//   G1 CAS tail.w1 b -> b+1: granted; fails where somebody has claimed behind it: every claim takes an offset, so that b does not come back
//   G2 the value, where it belongs     G3 header's h3: one more (release)
// A record that grows is settled when it has as many as were granted and somebody has claimed behind it; until then neither readers nor
// `low` pass it, so that G2 writes into its owner's own claim, as C7's payload does. Model: grow.pml.
//
// Invariants. limit <= low + C, so that a claim never covers what a reader may still need. A header that is VALID at p was written by
// the one that claimed p, or by a repairer after the claimer's death. Of a producer's claims only the last can be unmarked. Every claim
// from sole_since_ to the end of a producer's last one is its own: each claim's C5 has compared the owner of the one before it.
//
// Pairs. tail.w0: CAS (release) with the acquire load in C1, which makes the winner's slot visible to whoever sees its claim.
// h0 COMMITTED (release) with the readers' acquire load of h0: makes h1..h3 and the payload visible. slot.w0 (release) with the
// repairer's acquire load: makes w1 and w2 visible. status.slots_used (before the first claim) with the look at the slots behind a later
// claim (note_in_index): the same compare-and-swap makes it visible, and slot.largest_timestamp, stored before the claims that it bounds.
// G1 (release) and G3 (release) with the acquire loads of tail and h3 that read.h names.
//
// What a crash leaves:
//   before C5        nothing claimed; a stale intent in the slot, settled when the slot is registered again
//   after C5, C6     an unmarked hole, named by the slot, and by the next boundary: recover(), R6 to R11
//   after C7         CLAIMED by a dead owner, also inside a batch (its first header is committed last): recover(), R2 to R5
//   several open     (loans) the last as above; the others are CLAIMED, at slot.open_since or behind it: recover_older() (model look.pml)
//   G1, G2           one that was granted and never came: recover() notes that it ends there
//   inside leave_gap as any other claim: it is skipped by its owner, or by recover()
//   after COMMITTED, G3  a record. The sleepers it should have woken wake by themselves after 1.25 s.
// Single producer: between its two stores to the tail, w1 is ahead of w0; the next registration puts it back (nothing was claimed).
// What grows it claims by the compare-and-swap as well, so that readers never pair its words wrongly.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "platform/cpu.h"
#include "platform/error.h"
#include "platform/kill_point.h"
#include "ring/distance.h"
#include "ring/latest.h"
#include "ring/ring.h"

namespace arus::ring {

// Why there is no room.
struct Refusal {
  enum class Why : std::uint8_t {
    none,
    group,       // group `index` has not read far enough
    open_claim,  // the oldest record is an open claim of `incarnation`, alive
    repairing,   // the oldest record is a dead producer's claim, and somebody else is repairing it
    unclear,     // the oldest record is a dead producer's claim, and who it was is not clear yet
    exhausted,   // positions or offsets are used up
    corrupt,     // impossible content at `position`
    deleted,
  };
  Why why = Why::none;
  std::uint32_t index = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t position = 0;
};

struct Claimed {
  std::uint64_t position;
  std::uint64_t offset;  // of its first record
  std::uint64_t cells;
  RecordHeader* header;  // at `position`
  std::uint64_t mark;    // its h0 as it stands: CLAIMED
  bool counted;          // among those that are open
};

// The headers of a batch, one after the other: visible when the first one is committed, last.
class Inner {
 public:
  Inner(const Ring& ring, const Claimed& claimed, std::uint32_t id) noexcept
      : header_(claimed.header),
        lap_end_(claimed.header + (ring.cells - (claimed.position & ring.mask)) * kHeadersPerCell),
        lap_word_(ring.lap_word(claimed.position) ^ Mark::make(State::committed, 0, id, 0).word),
        next_lap_word_(ring.lap_word(claimed.position + ring.cells) ^ Mark::make(State::committed, 0, id, 0).word),
        chain_(chain_word(claimed.offset, id)) {}
  [[nodiscard]] RecordHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const std::byte* ahead(std::uint64_t bytes) const noexcept {
    return reinterpret_cast<const std::byte*>(header_) + bytes;
  }
  // What is at header() has so many cells and records, and stands.
  void commit(std::uint64_t cells, std::uint64_t records) noexcept {
    header_->h1.store(chain_, std::memory_order_relaxed);
    header_->h0.store(lap_word_ ^ cells << Mark::kCellsShift, std::memory_order_release);
    ARUS_KILL_POINT("batch");
    pass(cells, records);
  }
  // It is the first one.
  void pass(std::uint64_t cells, std::uint64_t records) noexcept {
    header_ += cells * kHeadersPerCell;  // the ring is mapped twice in a row
    chain_ += chain_word(records, 0);
    if (header_ >= lap_end_) lap_word_ = next_lap_word_;
  }

 private:
  static constexpr std::uint64_t kHeadersPerCell = kCell / kRecordHeader;
  RecordHeader* header_;
  RecordHeader* lap_end_;
  std::uint64_t lap_word_;
  std::uint64_t next_lap_word_;
  std::uint64_t chain_;
};

// A registered producer of one partition. One thread.
class alignas(platform::kCacheLine) Appender {
 public:
  // Takes a slot, under the registration lock. Errors: `limit_reached`, `in_use` (a single-producer topic that has one),
  // `timed_out` (the lock's holder is stopped, or who repairs what the last single producer left).
  static Result<Appender> enlist(const Ring& ring, std::uint64_t incarnation);
  Appender(Appender&& other) noexcept = default;
  // Gives the slot back; every claim must be settled. Not called in a forked child.
  void resign() noexcept;

  // Claims `cells` (at most most_cells(C)) for `records` records. False: refusal() says why. `timestamp` is the largest of its
  // records; `now` drives the occasional look after others.
  [[gnu::always_inline]] bool claim(std::uint64_t cells, std::uint64_t records, std::int64_t timestamp, std::int64_t now,
                                    Claimed& claimed) noexcept;
  // A claim that is settled, or given to keep_open(), before this producer claims anything else, with a timestamp that expect_up_to() was told
  // to expect. Where it is below `limit_`, in one slice of the index, and nobody else comes in between; false: insist().
  [[gnu::always_inline]] bool claim_quietly(std::uint64_t cells, std::uint64_t records, Claimed& claimed,
                                            std::uint64_t growing = 0) noexcept;
  // The same, C1 to C7 until it is clear, whatever it takes. False: refusal() says why.
  [[gnu::noinline]] bool insist(std::uint64_t cells, std::uint64_t records, Claimed& claimed) noexcept;
  // The same of cells for more than the first record, whose header let_grow() and commit() write: adding to it is grow() and grown().
  [[gnu::always_inline]] bool claim_growing(std::uint64_t cells, Claimed& claimed) noexcept {
    return claim_quietly(cells, 1, claimed, cells);
  }
  // A quiet claim may stay open from here on while this producer claims something else.
  [[gnu::always_inline]] void keep_open(Claimed& claimed) noexcept;
  // `most`: values in all. Before commit().
  void let_grow(const Claimed& claimed, std::uint64_t size, std::uint64_t most) noexcept {
    Lengths lengths = Lengths::packed(size, 1);
    lengths.flags |= Lengths::kGrows;
    claimed.header->h3.store(lengths.word(), std::memory_order_relaxed);
    growth_ = {(claimed.offset + 1) | claimed.cells << kGrowingShift,
               claimed.header,
               reinterpret_cast<std::byte*>(claimed.header) + kRecordHeader + lengths.stride(),
               lengths.stride(),
               lengths.word(),
               most - 1,
               0};
  }
  // Whether it has made all claims of so many cells last.
  [[nodiscard]] bool is_alone_since(std::uint64_t cells) const noexcept {
    const std::uint64_t w0 = ring_.header->tail.w0.load(std::memory_order_relaxed);
    return owner_of(w0) == id_ && position_of(w0) - std::min(position_of(w0), sole_since_) >= cells;
  }
  // The largest claim_growing() that can succeed now. Nothing is concluded from the tail here: C5 compares it.
  [[nodiscard]] std::uint64_t quiet_cells() const noexcept {
    const std::uint64_t at = position_of(ring_.header->tail.w0.load(std::memory_order_relaxed)) + 1;
    return position_of(quiet_end_) - std::min(position_of(quiet_end_), at);
  }
  // How many may still be added. It may have ended all the same: then grow() fails.
  [[nodiscard]] std::uint64_t may_add() const noexcept { return growth_.most - growth_.added; }
  // Where the next value goes, and its offset; null: the record has ended. grown() makes it visible; to wake behind it, by
  // ring().data, is the caller's.
  [[gnu::always_inline]] std::byte* grow(std::uint64_t& offset) noexcept;
  [[gnu::always_inline]] void grown() noexcept;
  // No record of claim_quietly() and insist() will have a larger timestamp until this is called again. (A bound for the index is as good as the largest
  // itself, and costs nothing in a claim.)
  void expect_up_to(std::int64_t timestamp) noexcept {
    if (timestamp <= largest_timestamp_) return;
    largest_timestamp_ = timestamp;
    slot_->largest_timestamp.store(static_cast<std::uint64_t>(timestamp), std::memory_order_relaxed);
  }
  // How long claim() need not look after others, in ns: it does so once a millisecond. (Unsigned: also when the clock was set back.)
  [[nodiscard]] std::uint64_t quiet_for(std::int64_t now) const noexcept {
    const auto since = static_cast<std::uint64_t>(now - looked_at_);
    return since < kLookEvery ? kLookEvery - since : 0;
  }
  // The claimed record of one header: visible to readers from here on.
  void commit(const Claimed& claimed) noexcept { settle(claimed, State::committed); }
  // The same of a value alone, and for who waits for it where it looks first.
  [[gnu::always_inline]] void commit_and_tell(const Claimed& claimed, std::int64_t timestamp, const std::byte* value,
                                              std::size_t size) noexcept {
    set_state(claimed, State::committed);
    if (latest_ != nullptr && size <= Latest::kMostValue && claimed.cells == Latest::cells_of(size) && claimed.position >= told_to_)
        [[likely]] {
      tell(*latest_, claimed.position, claimed.offset, timestamp, value, size);
      told_to_ = claimed.position + 1;
      told_ = true;
    } else if (told_) {
      tell_elsewhere(claimed);
    }
    wake_readers();
  }
  // A value of that size is about to be sent. See ring/latest.h.
  void expect_to_tell(std::size_t size) const noexcept {
    if (latest_ != nullptr && size <= Latest::kMostValue) ask_for(*latest_, size);
  }
  // The first record of a batch: its own extent, when all others stand.
  void commit_first(Claimed claimed, std::uint64_t cells) noexcept {
    claimed.mark = word(State::claimed, claimed.position, cells);
    settle(claimed, State::committed);
  }
  void abort(const Claimed& claimed) noexcept { settle(claimed, State::skip); }
  // The records of a batch; before commit_first.
  [[nodiscard]] Inner inner_of(const Claimed& claimed) const noexcept { return {ring_, claimed, id_}; }

  // Whether large values had better not stay in this core's caches.
  [[nodiscard]] bool readers_are_far() noexcept { return distance_.is_far(); }

  [[nodiscard]] const Refusal& refusal() const noexcept { return refusal_; }
  [[nodiscard]] const Ring& ring() const noexcept { return ring_; }
  // Claims that claim() has made, or keep_open() was told of, and that are not settled.
  [[nodiscard]] std::uint32_t open() const noexcept { return open_; }
  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

 private:
  static constexpr int kMostGaps = 4;               // in front of one claim: further than the lap that it began in
  static constexpr std::uint64_t kAhead = 8;        // cells
  static constexpr std::uint64_t kMostAhead = 128;  // cells
  // Bytes; each G1 waits until everything stored before it has its line. Where cores are far, the first asks for it so early that the second
  // finds it near.
  static constexpr std::size_t kGrowFarAhead = 4096;
  static constexpr std::size_t kGrowAhead = 1024;
  static constexpr std::uint64_t kLookEvery = 1'000'000;  // ns

  Appender(const Ring& ring, std::uint32_t id)
      : ring_(ring),
        slot_(&ring.slots[id]),
        latest_(id < ring.latest_count ? &ring.latest[id] : nullptr),
        id_(id),
        open_before_(ring.slot_count),
        settled_for_(ring.slot_count) {}

  [[nodiscard]] std::uint64_t word(State state, std::uint64_t position, std::uint64_t cells) const noexcept {
    return Mark::make(state, ring_.lap(position), id_, cells).word ^ ring_.salt;
  }
  void settle(const Claimed& claimed, State state) noexcept {
    set_state(claimed, state);
    if (told_) [[unlikely]]
      tell_elsewhere(claimed);
    wake_readers();
  }
  // Behind one that was told of comes one that is not.
  [[gnu::noinline]] void tell_elsewhere(const Claimed& claimed) noexcept {
    if (latest_ == nullptr || claimed.position < told_to_) return;
    ring::tell_elsewhere(*latest_, claimed.position);
    told_to_ = claimed.position + 1;
    told_ = false;
  }
  // Who waits where the producer before this one tells of its latest record finds this one in the log.
  void tell_others(const Claimed& claimed) const noexcept {
    const std::uint32_t previous = previous_of(claimed.header->h1.load(std::memory_order_relaxed));
    if (previous != id_ && previous < ring_.latest_count) [[unlikely]]
      ring_.latest[previous].passed.store(claimed.position + 1, std::memory_order_relaxed);
  }
  void set_state(const Claimed& claimed, State state) noexcept {
    ARUS_KILL_POINT("before-settle");
    // CLAIMED and the state to be differ in the two lowest bits only.
    constexpr auto kClaimed = static_cast<std::uint64_t>(State::claimed);
    claimed.header->h0.store(claimed.mark ^ kClaimed ^ static_cast<std::uint64_t>(state), std::memory_order_release);
    ARUS_KILL_POINT("settled");
    if (claimed.counted && --open_ == 0 && !std::exchange(to_note_open_, false)) [[unlikely]]
      slot_->open_since.store(0, std::memory_order_release);
    tell_others(claimed);
  }
  void wake_readers() const noexcept {
    if (ring_.single_producer) [[unlikely]]
      ring_.data.wake();
    else
      ring_.data.wake_behind_claim();
  }
  // Asks for lines before they are needed: this claim's first two together; and as many as it takes of those that later claims will take,
  // as each of their locked instructions waits until everything stored before it has its line.
  static void prefetch(const RecordHeader* header, std::uint64_t cells) noexcept {
    const auto* line = reinterpret_cast<const std::byte*>(header);
    platform::prefetch_for_write(line);
    platform::prefetch_for_write(line + kCell);
    const std::byte* later = line + ((cells + std::max(cells, kAhead)) << kCellShift);
    platform::prefetch_for_write(later);
    platform::prefetch_for_write(later + kCell);
    if (cells <= 2 || cells > kMostAhead) [[likely]]  // large ones are worth no haste
      return;
    for (std::uint64_t i = 2; i < cells; ++i) platform::prefetch_for_write(later + (i << kCellShift));
  }
  // The same for a record that grows, whose lines grow() asks for: its own first two, and the header behind the next one like it.
  static void prefetch_few(const RecordHeader* header, std::uint64_t cells) noexcept {
    const auto* line = reinterpret_cast<const std::byte*>(header);
    platform::prefetch_for_write(line);
    platform::prefetch_for_write(line + kCell);
    platform::prefetch_for_write(line + (2 * cells << kCellShift));
  }
  // C3 to C7: from the tail {a, b} to `end`, below `limit_`. `own_word`: own_word_ of the first end; `next_lap_word`: of the other one.
  // False: an imitation behind it, or another producer was faster.
  [[gnu::always_inline]] bool advance(std::uint64_t a, std::uint64_t b, std::uint64_t end, std::uint64_t cells,
                                      std::uint64_t records, std::uint64_t own_word, std::uint64_t next_lap_word, Claimed& claimed,
                                      std::uint64_t growing = 0) noexcept;
  // The tail's first word after a claim of `cells` by this producer: the position moves, the owner becomes this one.
  [[nodiscard]] std::uint64_t moved(std::uint64_t a, std::uint64_t cells) const noexcept {
    return (a & ~kOwnerMask) + tail_word(cells, id_);
  }
  // A mark of this producer's in the lap of that position, but for its cells: as it is stored.
  [[nodiscard]] std::uint64_t own_word(std::uint64_t position) const noexcept {
    return ring_.lap_word(position) ^ Mark::make(State::claimed, 0, id_, 0).word;
  }
  // What claim_quietly() goes by, when the tail is at `position`.
  void become_quiet(std::uint64_t position) noexcept {
    quiet_end_ = tail_word(std::min(limit_ + 1, (position & ~(ring_.slice - 1)) + ring_.slice), 0);
    lap_word_ = ring_.lap_word(position);
    own_word_ = own_word(position);
  }
  [[gnu::noinline]] bool find_room(std::uint64_t need, std::uint64_t tail) noexcept;
  [[gnu::noinline]] bool leave_gap(std::uint64_t a, std::uint64_t b) noexcept;
  [[gnu::noinline]] void look_after_others(std::int64_t now) noexcept;
  [[gnu::noinline]] void note_in_index(std::uint64_t position, std::uint64_t end, std::uint64_t offset) const noexcept;

  // Of a record that grows: what does not change, and how many were added. (Whatever is stored between two locked instructions delays the
  // second one.)
  struct Growing {
    std::uint64_t b = 0;  // tail.w1 before the first was added
    RecordHeader* header = nullptr;
    std::byte* room = nullptr;  // of the first
    std::uint64_t stride = 0;
    std::uint64_t lengths = 0;  // h3 before
    std::uint64_t most = 0;
    std::uint64_t added = 0;
  };

  Ring ring_;
  ProducerSlot* slot_;
  Latest* latest_;             // null: it has none
  std::uint64_t told_to_ = 0;  // of the last record that latest_ speaks of, + 1
  bool told_ = false;          // it does not say that that one is elsewhere
  std::uint32_t id_;
  bool saw_others_ = true;        // since the last look; true at first: somebody may have died before
  std::uint64_t sole_since_ = 0;  // every claim between this position and the end of its own last one is its own
  std::uint32_t open_ = 0;        // own claims that are counted and not settled
  bool to_note_open_ = false;     // open_ is not 0, and slot_->open_since is
  std::uint64_t first_open_ = 0;  // the first of them
  std::uint64_t limit_ = 0;
  std::uint64_t quiet_end_ = 0;  // a tail's word: claims that end before it are below `limit_`, and in one slice of the index …
  std::uint64_t lap_word_ = 0;   // … which is this one
  std::uint64_t own_word_ = 0;   // of it
  std::int64_t largest_timestamp_ = 0;
  std::int64_t looked_at_ = 0;
  Growing growth_;
  ReaderDistance distance_;
  Refusal refusal_;
  std::vector<std::uint64_t> open_before_;  // per slot: a claim that was open at the last look; 0: none
  std::vector<std::uint64_t> settled_for_;  // per slot: the dead owner whose older claims are settled
};

inline bool Appender::claim(std::uint64_t cells, std::uint64_t records, std::int64_t timestamp, std::int64_t now,
                            Claimed& claimed) noexcept {
  if (quiet_for(now) == 0) [[unlikely]]
    look_after_others(now);
  expect_up_to(timestamp);
  if (!claim_quietly(cells, records, claimed) && !insist(cells, records, claimed)) return false;
  keep_open(claimed);
  return true;
}

inline void Appender::keep_open(Claimed& claimed) noexcept {
  claimed.counted = true;
  if (open_++ == 0) {
    first_open_ = claimed.position;
    to_note_open_ = true;
  }
}

inline bool Appender::claim_quietly(std::uint64_t cells, std::uint64_t records, Claimed& claimed, std::uint64_t growing) noexcept {
  // C1
  const Tail& tail = ring_.header->tail;
  const std::uint64_t a = tail.w0.load(std::memory_order_acquire);
  const std::uint64_t b = tail.w1.load(std::memory_order_relaxed);  // torn or not: C5 compares both words
  // C2
  const std::uint64_t end = moved(a, cells);
  if (end >= quiet_end_) [[unlikely]]
    return false;
  return advance(a, b, end, cells, records, own_word_, lap_word_, claimed, growing);
}

// What it needs of this producer is in local variables, which its stores to shared words cannot change, as far as the compiler knows.
inline bool Appender::advance(std::uint64_t a, std::uint64_t b, std::uint64_t end, std::uint64_t cells, std::uint64_t records,
                              std::uint64_t own_word, std::uint64_t next_lap_word, Claimed& claimed,
                              std::uint64_t growing) noexcept {
  const std::uint64_t offset = next_offset_of(b);
  Tail& tail = ring_.header->tail;
  ProducerSlot& slot = *slot_;
  const std::uint64_t id = id_;
  RecordHeader* const header = &ring_.at(position_of(a));
  RecordHeader* const next = header + cells * (kCell / kRecordHeader);  // the ring is mapped twice in a row
  if (growing == 0)
    prefetch(header, cells);
  else
    prefetch_few(header, cells);
  // C3: the next claimer's header must not look marked already. Only read; that it still holds at the claim, C5 proves.
  if (Ring::is_marked(next->h0.load(std::memory_order_relaxed) ^ next_lap_word)) [[unlikely]]
    return false;
  const std::uint64_t mark = own_word ^ cells << Mark::kCellsShift;
  // C4. Where another claim is open still, the slot will no longer name it.
  if (to_note_open_) [[unlikely]] {
    slot.open_since.store(first_open_, std::memory_order_release);
    to_note_open_ = false;
  }
  slot.w2.store(extent_word(cells, records), std::memory_order_relaxed);
  slot.w1.store(offset, std::memory_order_relaxed);
  ARUS_KILL_POINT("C3");
  slot.w0.store(a, std::memory_order_release);
  ARUS_KILL_POINT("C4");
  // C5
  if (ring_.single_producer && growing == 0) {
    tail.w1.store(offset + records, std::memory_order_release);
    ARUS_KILL_POINT("C5-torn");
    tail.w0.store(end, std::memory_order_release);
  } else if (!platform::compare_exchange(&tail.w0, {a, b}, {end, (offset + records) | growing << kGrowingShift})) {
    return false;
  }
  ARUS_KILL_POINT("C5");
  // C6, C7: before any payload byte. The fence: a lossy reader that sees anything of this claim must see the `low` that made room
  // for it (pairs with the fence in still_there).
  platform::fence_release();
  const std::uint64_t previous = owner_of(a);
  header->h1.store(chain_word(offset, previous), std::memory_order_relaxed);
  ARUS_KILL_POINT("C6");
  header->h0.store(mark, std::memory_order_release);
  platform::fence_release();
  ARUS_KILL_POINT("C7");
  if (previous != id) [[unlikely]] {
    saw_others_ = true;
    sole_since_ = position_of(a);
  }
  claimed = {position_of(a), offset, cells, header, mark, false};
  return true;
}

inline std::byte* Appender::grow(std::uint64_t& offset) noexcept {
  const std::uint64_t added = growth_.added;
  const std::uint64_t b = growth_.b + added;
  if (!platform::compare_exchange_second(&ring_.header->tail.w0, b, b + 1)) [[unlikely]]
    return nullptr;
  ARUS_KILL_POINT("G1");
  growth_.added = added + 1;
  offset = next_offset_of(b);
  std::byte* const room = growth_.room + added * growth_.stride;
  platform::prefetch_for_write(room + kGrowAhead);
  platform::prefetch_for_write(room + kGrowFarAhead);
  for (std::uint64_t more = kCell; more < growth_.stride; more += kCell) {
    platform::prefetch_for_write(room + kGrowAhead + more);
    platform::prefetch_for_write(room + kGrowFarAhead + more);
  }
  return room;
}

inline void Appender::grown() noexcept {
  constexpr std::uint64_t kOne = Lengths::packed(0, 1).word() - Lengths::packed(0, 0).word();
  ARUS_KILL_POINT("G2");
  growth_.header->h3.store(growth_.lengths + growth_.added * kOne, std::memory_order_release);
  ARUS_KILL_POINT("G3");
}

}  // namespace arus::ring
