// Every structure that lives in a partition's shared memory, bit by bit. This is the wire protocol between processes that were
// built by different compilers: fixed width, little-endian, asserted field by field at the end. Change anything here and raise
// kLayoutVersion.
//
//   partition file   0  PartitionHeader   immutable after publication, but for the lines marked otherwise
//                 4096  ProducerSlot[slots]
//                    …  IndexEntry[index_entries]
//                    …  Latest[slots, at most 64]
//              ring_at  the ring: ring_bytes, a power of two; mapped twice in a row, so that no record straddles its end
//
//   record       header (32 bytes) | key | headers | padding to 16 | value | padding to a whole number of cells
//                without key and headers the value starts in the header's own cache line; a large value in one of its own
//   record header, four words:
//     h0  state:2 | lap:22 | owner:12 | cells:28    the commit word that consumers poll; stored XOR the segment's salt
//     h1  offset:52 | previous owner:12
//     h2  timestamp, nanoseconds since 1970
//     h3  value size:28 | key size:16 | headers size:16 | flags:4; all ones in a claim that is filled in place (a hint to who waits for it)
//
//   packed       several records under one header: header | value, each on 16 bytes, of one size
//                h1 has the offset of the first, h3 the size of each value, and in the key's place how many there are
//   growing      packed, and as long as it is the last claim its owner may add to it, one by one: claim.h
//
// Positions count cells since the beginning, start at the ring's size in cells (lap 1), and never wrap.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace arus::ring {

static_assert(std::endian::native == std::endian::little, "the layout is little-endian");

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

inline constexpr std::uint64_t kMagic = 0x545241505355'5241;  // "ARUSPART"
inline constexpr std::uint32_t kLayoutVersion = 7;
inline constexpr std::uint32_t kByteOrder = 0x01020304;

inline constexpr unsigned kCellShift = 6;
inline constexpr std::uint64_t kCell = 1u << kCellShift;
inline constexpr std::uint64_t kRecordHeader = 32;
inline constexpr std::uint64_t kValueAlignment = 16;
inline constexpr std::uint64_t kRingAlignment = 64u << 10;  // a page on every platform, so that the ring can be mapped twice
inline constexpr std::uint64_t kSmallestRing = 64u << 10;
inline constexpr std::uint64_t kLargestRing = 1ull << 34;  // 2^28 cells: the width of the cells field

inline constexpr unsigned kOwnerBits = 12;
inline constexpr std::uint64_t kOwnerMask = (1u << kOwnerBits) - 1;
inline constexpr std::uint32_t kNoOwner = kOwnerMask;
inline constexpr std::uint32_t kMostSlots = 4000;
inline constexpr std::uint64_t kMostPositions = 1ull << 52;
inline constexpr std::uint64_t kMostOffsets = 1ull << 52;

// ---- words ----------------------------------------------------------------------------------------------------------------

enum class State : std::uint8_t { none = 0, claimed = 1, committed = 2, skip = 3 };

inline constexpr std::uint64_t kLapMask = (1u << 22) - 1;
inline constexpr std::uint64_t kStateAndLapMask = kLapMask << 2 | 3;

// A decoded h0.
struct Mark {
  static constexpr unsigned kCellsShift = 36;
  std::uint64_t word;
  [[nodiscard]] constexpr State state() const noexcept { return static_cast<State>(word & 3); }
  [[nodiscard]] constexpr std::uint64_t lap() const noexcept { return word >> 2 & kLapMask; }
  [[nodiscard]] constexpr std::uint32_t owner() const noexcept { return static_cast<std::uint32_t>(word >> 24 & kOwnerMask); }
  [[nodiscard]] constexpr std::uint64_t cells() const noexcept { return word >> kCellsShift; }
  static constexpr Mark make(State state, std::uint64_t lap, std::uint32_t owner, std::uint64_t cells) noexcept {
    return {static_cast<std::uint64_t>(state) | (lap & kLapMask) << 2 | std::uint64_t{owner} << 24 | cells << kCellsShift};
  }
};

constexpr std::uint64_t chain_word(std::uint64_t offset, std::uint64_t previous) noexcept {
  return offset << kOwnerBits | previous;
}
constexpr std::uint64_t offset_of(std::uint64_t h1) noexcept { return h1 >> kOwnerBits; }
constexpr std::uint32_t previous_of(std::uint64_t h1) noexcept { return static_cast<std::uint32_t>(h1 & kOwnerMask); }

// Tail and slot w0: position and owner in one word, so that a torn read never pairs a position with another claim's owner.
constexpr std::uint64_t tail_word(std::uint64_t position, std::uint64_t owner) noexcept { return position << kOwnerBits | owner; }
constexpr std::uint64_t position_of(std::uint64_t w0) noexcept { return w0 >> kOwnerBits; }
constexpr std::uint32_t owner_of(std::uint64_t w0) noexcept { return static_cast<std::uint32_t>(w0 & kOwnerMask); }
inline constexpr std::uint64_t kNoIntent = ~0ull;

// Tail w1: the next offset, and of a last claim that may grow its cells (else 0).
inline constexpr unsigned kGrowingShift = 52;
inline constexpr std::uint64_t kMostGrowing = (1u << 12) - 1;  // cells
static_assert(kMostOffsets == 1ull << kGrowingShift);
constexpr std::uint64_t next_offset_of(std::uint64_t w1) noexcept { return w1 & (kMostOffsets - 1); }
constexpr std::uint64_t growing_cells_of(std::uint64_t w1) noexcept { return w1 >> kGrowingShift; }

// Slot w2.
constexpr std::uint64_t extent_word(std::uint64_t cells, std::uint64_t records) noexcept { return cells << 32 | records; }
constexpr std::uint64_t extent_cells(std::uint64_t w2) noexcept { return w2 >> 32; }

// h3.
struct Lengths {
  std::uint64_t value;
  std::uint64_t key;
  std::uint64_t headers;
  std::uint64_t flags;
  static constexpr std::uint64_t kNullKey = 1;
  static constexpr std::uint64_t kNullValue = 2;
  static constexpr std::uint64_t kPacked = 4;   // values alone, `key` of them; each of `value` bytes
  static constexpr std::uint64_t kGrows = 8;    // packed: there may be more; with kNullValue: its owner died while it added one
  static constexpr std::uint64_t kAligned = 8;  // not packed: the value starts on a cell
  static constexpr std::uint64_t kMostValue = (1u << 28) - 1;
  static constexpr std::uint64_t kMostKey = (1u << 16) - 1;
  static constexpr std::uint64_t kMostHeaders = (1u << 16) - 1;
  // Bytes of a value, from which on it starts on a cell: memcpy is faster to the beginning of a cache line.
  static constexpr std::uint64_t kAlignedFrom = 4096;
  // What is worth packing, and how much of it: a group's cursor, an eviction and a search stop at headers only.
  static constexpr std::uint64_t kMostPackedValue = 1024;
  static constexpr std::uint64_t kMostPackedBytes = 16u << 10;
  static constexpr std::uint64_t kMostPacked = 1024;

  [[nodiscard]] constexpr std::uint64_t word() const noexcept { return value | key << 28 | headers << 44 | flags << 60; }
  static constexpr Lengths of(std::uint64_t word) noexcept {
    return {word & kMostValue, word >> 28 & kMostKey, word >> 44 & kMostHeaders, word >> 60};
  }
  // Instead of a word(), while the record is a claim that its caller fills in place: a hint to who waits for it that it may take a while.
  // (Nobody else reads h3 of a claim, so that builds with and without it go together, and an owner's death leaves nothing to repair in it.)
  static constexpr std::uint64_t kFilledInPlace = ~std::uint64_t{0};
  // Of a record that is not packed.
  static constexpr Lengths single(std::uint64_t value, std::uint64_t key, std::uint64_t headers, std::uint64_t nulls) noexcept {
    return {value, key, headers, nulls | (value >= kAlignedFrom ? kAligned : 0)};
  }
  // A value and nothing else.
  [[nodiscard]] constexpr bool is_plain() const noexcept { return (key | headers | ((flags & ~kAligned) ^ kNullKey)) == 0; }
  // Where the value starts, from the record's beginning.
  [[nodiscard]] constexpr std::uint64_t value_at() const noexcept {
    const std::uint64_t alignment = (flags & (kAligned | kPacked)) == kAligned ? kCell : kValueAlignment;
    return (kRecordHeader + key + headers + alignment - 1) & ~(alignment - 1);
  }
  [[nodiscard]] constexpr std::uint64_t cells() const noexcept { return (value_at() + value + kCell - 1) >> kCellShift; }

  static constexpr Lengths packed(std::uint64_t value, std::uint64_t records) noexcept {
    return {value, records, 0, kNullKey | kPacked};
  }
  [[nodiscard]] constexpr bool is_packed() const noexcept { return (flags & kPacked) != 0; }
  // Grew at some time, if it does not still.
  [[nodiscard]] constexpr bool grew() const noexcept { return (flags & (kPacked | kGrows)) == (kPacked | kGrows); }
  [[nodiscard]] constexpr bool is_growing() const noexcept { return grew() && (flags & kNullValue) == 0; }
  [[nodiscard]] constexpr bool is_torn() const noexcept { return grew() && (flags & kNullValue) != 0; }
  [[nodiscard]] constexpr std::uint64_t records() const noexcept { return is_packed() ? key : 1; }
  // From one value of a packed record to the next.
  [[nodiscard]] constexpr std::uint64_t stride() const noexcept { return (value + kValueAlignment - 1) & ~(kValueAlignment - 1); }
  [[nodiscard]] constexpr std::uint64_t packed_cells() const noexcept {
    return (kRecordHeader + key * stride() + kCell - 1) >> kCellShift;
  }
  // Whether that can be a record in so many cells.
  [[nodiscard]] constexpr bool fit(std::uint64_t extent) const noexcept {
    if (!is_packed()) [[likely]]
      return cells() <= extent;
    return key - 1 < kMostPacked && headers == 0 && packed_cells() <= extent;
  }
};

static_assert(Lengths::single(8, 0, 0, Lengths::kNullKey).is_plain() && !Lengths::single(8, 1, 0, 0).is_plain());

// The largest claim of a ring of `cells`, in cells; and the bytes of key, headers and value that surely fit in it.
constexpr std::uint64_t most_cells(std::uint64_t cells) noexcept { return cells / 2 - 2; }
constexpr std::uint64_t most_bytes(std::uint64_t cells) noexcept {
  const std::uint64_t bytes = most_cells(cells) * kCell - kRecordHeader - kCell;
  return bytes < Lengths::kMostValue ? bytes : Lengths::kMostValue;
}

// ---- structures -----------------------------------------------------------------------------------------------------------

struct RecordHeader {
  Word h0, h1, h2, h3;
};

struct alignas(128) Tail {  // written by every claim
  Word w0;                  // position:52 | owner of the last claim:12
  Word w1;                  // next offset:52 | cells of the last claim, if it may grow:12
};

struct alignas(128) Low {  // written by make_room
  Word position;           // everything below may be overwritten
};

struct alignas(64) Status {  // seldom written: read at every call from a line that stays shared
  std::atomic<std::uint32_t> deleted;
  std::atomic<std::uint32_t> slots_used;  // slots from this one on have never been registered; written under the registration lock
};

struct alignas(64) Holders {  // who holds the locks of this partition's file, for messages (0: nobody said)
  Word repair;
  Word registration;
};

struct PartitionHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t byte_order;
  std::uint64_t file_bytes;
  std::uint64_t ring_at;
  std::uint64_t ring_bytes;
  std::uint64_t salt;
  std::array<std::uint64_t, 2> topic_id;
  std::array<std::uint64_t, 2> boot_id;
  std::uint64_t first_offset;  // of this file; above 0 when it replaces one of an earlier boot
  std::uint32_t partition;
  std::uint32_t slots;
  std::uint32_t index_entries;
  std::uint32_t single_producer;
  std::uint64_t checksum;  // of everything above
  Status status;
  Holders holders;
  Tail tail;
  Low low;
};

struct alignas(64) ProducerSlot {  // one writer: the producer that registered it
  Word w0;                         // intent: the tail's w0 as read (position | previous owner)
  Word w1;                         // its first offset
  Word w2;                         // cells:32 | records:32
  Word born;                       // the tail's position at registration: a claim below is not this owner's
  Word incarnation;                // of its lease; 0: free
  Word largest_timestamp;          // no record of its so far has a larger one; never falls, not even with a new owner
  Word open_since;                 // no claim of its below is open, but for the last; 0: only the last may be open
};

// A record boundary, noted by the producer that passes into another 64th of the ring. A hint: read twice, checked against the
// record that it names.
struct IndexEntry {
  Word position;
  Word offset;
  Word largest_timestamp;  // of all records before
  Word check;
};

// A copy of the last small record that the producer of the slot of that number has committed: latest.h.
struct alignas(128) Latest {
  static constexpr std::uint64_t kMostValue = 96;
  static constexpr std::uint64_t kElsewhere = (1u << 12) - 1;  // of all its bits, instead of a size: the record is in the log only
  static constexpr unsigned kSizeBits = 12;
  static constexpr std::uint64_t word(std::uint64_t offset, std::uint64_t size) noexcept { return offset << kSizeBits | size; }
  static constexpr std::uint64_t cells_of(std::uint64_t size) noexcept { return (kRecordHeader + size + kCell - 1) >> kCellShift; }
  Word position;  // of the record, + 1; 0: it is being written
  Word what;      // offset:52 | size of the value:12
  Word timestamp;
  Word passed;  // written by others: of a record of theirs, committed behind one of this producer's, + 1
  alignas(16) std::array<std::byte, kMostValue> value;
};

inline constexpr std::uint64_t kSlotsAt = 4096;
inline constexpr std::uint32_t kIndexEntries = 64;

constexpr std::uint64_t index_at(std::uint32_t slots) noexcept { return kSlotsAt + std::uint64_t{slots} * sizeof(ProducerSlot); }
inline constexpr std::uint32_t kMostLatest = 64;  // producers in later slots have none
constexpr std::uint32_t latest_count(std::uint32_t slots) noexcept { return slots < kMostLatest ? slots : kMostLatest; }
constexpr std::uint64_t latest_at(std::uint32_t slots) noexcept {
  const std::uint64_t end = index_at(slots) + std::uint64_t{kIndexEntries} * sizeof(IndexEntry);
  return (end + alignof(Latest) - 1) & ~(alignof(Latest) - 1);
}
constexpr std::uint64_t ring_at(std::uint32_t slots) noexcept {
  const std::uint64_t end = latest_at(slots) + latest_count(slots) * sizeof(Latest);
  return (end + kRingAlignment - 1) & ~(kRingAlignment - 1);
}

// ---- consumers' cursors: in the topic's group segment, two lines per group and partition ----------------------------------------

enum class CursorStatus : std::uint8_t {
  free = 0,               // nobody's
  active = 1,             // producers do not overwrite what is at or behind it
  lossy = 2,              // read from, and holds nobody back
  evicted_abandoned = 3,  // evicted: it held producers back and its reader was dead for longer than its grace …
  evicted_behind = 4,     // … or it was further behind than its limit …
  evicted_stalled = 5,    // … or its live reader did not move for longer than its stall limit …
  evicted_by_hand = 6,    // … or somebody said so
  evicted_renewed = 7,    // … or the ring was replaced, after a boot
};
constexpr bool is_evicted(CursorStatus status) noexcept { return status >= CursorStatus::evicted_abandoned; }

struct alignas(128) Cursor {
  // Read by producers that look for room.
  Word state;     // generation:56 | CursorStatus:8; a new owner raises the generation, so that an eviction meant for the old fails
  Word position;  // in cells; written by the owner
  Word owner;     // incarnation of the reader's process | kReserved if it is promised to that process and not taken yet; 0: none
  Word
      held_since;  // written by producers: boot clock in ms:40 | tag:24, since when this reader, in its present condition, is in the way
  Word grace;  // ns that producers wait for a reader that is dead
  Word limit;  // records << 1 | 1, or cells << 1: evicted when it is further behind; 0: no limit
  Word stall;  // ns that producers wait for a live reader that does not move; 0: for ever
  Word reserved;
  // Read and written by the reader and by whoever describes it.
  Word committed;  // the offset where a successor starts; written by the owner, before position
  Word rejoined;   // where a reader has joined since its committed offset was stored, see group/cursor.cpp; 0: it has not
  Word lost;       // records that were reported as lost to this group
  Word member;     // id of the consumer that reads; 0: none
  std::array<std::uint64_t, 4> reserved_too;
};

// Of Cursor::owner. Incarnations are even.
inline constexpr std::uint64_t kReserved = 1;
constexpr std::uint64_t incarnation_of(std::uint64_t owner) noexcept { return owner & ~kReserved; }

constexpr std::uint64_t cursor_state(std::uint64_t generation, CursorStatus status) noexcept {
  return generation << 8 | static_cast<std::uint64_t>(status);
}
constexpr CursorStatus cursor_status(std::uint64_t state) noexcept { return static_cast<CursorStatus>(state & 0xff); }

// ---- the layout, once more, as a compiler must see it -------------------------------------------------------------------------

static_assert(sizeof(RecordHeader) == kRecordHeader && offsetof(RecordHeader, h3) == 24);
static_assert(offsetof(PartitionHeader, magic) == 0 && offsetof(PartitionHeader, version) == 8);
static_assert(offsetof(PartitionHeader, byte_order) == 12 && offsetof(PartitionHeader, file_bytes) == 16);
static_assert(offsetof(PartitionHeader, ring_at) == 24 && offsetof(PartitionHeader, ring_bytes) == 32);
static_assert(offsetof(PartitionHeader, salt) == 40 && offsetof(PartitionHeader, topic_id) == 48);
static_assert(offsetof(PartitionHeader, boot_id) == 64 && offsetof(PartitionHeader, first_offset) == 80);
static_assert(offsetof(PartitionHeader, partition) == 88 && offsetof(PartitionHeader, slots) == 92);
static_assert(offsetof(PartitionHeader, index_entries) == 96 && offsetof(PartitionHeader, single_producer) == 100);
static_assert(offsetof(PartitionHeader, checksum) == 104 && offsetof(PartitionHeader, status) == 128);
static_assert(offsetof(PartitionHeader, holders) == 192 && offsetof(PartitionHeader, tail) == 256);
static_assert(offsetof(PartitionHeader, low) == 384 && sizeof(PartitionHeader) == 512);
static_assert(offsetof(Status, slots_used) == 4);
static_assert(offsetof(Tail, w1) == 8 && sizeof(Tail) == 128 && sizeof(Low) == 128);
static_assert(sizeof(ProducerSlot) == 64 && offsetof(ProducerSlot, born) == 24);
static_assert(offsetof(ProducerSlot, incarnation) == 32 && offsetof(ProducerSlot, largest_timestamp) == 40);
static_assert(offsetof(ProducerSlot, open_since) == 48);
static_assert(Latest::cells_of(0) == Lengths::single(0, 0, 0, Lengths::kNullKey).cells());
static_assert(Latest::cells_of(Latest::kMostValue) == Lengths::single(Latest::kMostValue, 0, 0, Lengths::kNullKey).cells());
static_assert(sizeof(Latest) == 128 && offsetof(Latest, passed) == 24 && offsetof(Latest, value) == 32);
static_assert(sizeof(IndexEntry) == 32 && offsetof(IndexEntry, check) == 24);
static_assert(sizeof(Cursor) == 128 && offsetof(Cursor, owner) == 16 && offsetof(Cursor, held_since) == 24);
static_assert(offsetof(Cursor, grace) == 32 && offsetof(Cursor, limit) == 40 && offsetof(Cursor, stall) == 48);
static_assert(offsetof(Cursor, committed) == 64 && offsetof(Cursor, rejoined) == 72 && offsetof(Cursor, member) == 88);

}  // namespace arus::ring
