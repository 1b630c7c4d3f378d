// What lives in the shared memory of a share group: one segment per group and topic, in <bus>/groups/.
//
//   0      ShareHeader     what the group is in this topic; written before the file has its name, never changed
//   1024   Word[kHolders]  the members: a slot each, with the incarnation of its process; 0: free
//   …      ShareWindow and its ShareEntry[window], per partition
//
// Records of a partition that the ring holds for the group are numbered in order (sequence), and those that are being worked on stand in a
// window of entries: sequence s in entry s mod window. How they change: share_window.h.
#pragma once

#include <array>

#include "ring/layout.h"

namespace arus::group {

using ring::Word;

inline constexpr std::uint32_t kHolders = 512;  // members at a time
inline constexpr std::uint32_t kSmallestWindow = 16;
inline constexpr std::uint32_t kLargestWindow = 1u << 16;
inline constexpr std::uint32_t kMostDeliveries = 60'000;

struct ShareHeader {
  static constexpr std::uint64_t kMagic = 0x5241485353555241;  // "ARUSSHAR"
  static constexpr std::uint32_t kVersion = 2;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t partitions;
  std::uint32_t window;  // entries per partition, a power of two
  std::uint32_t holders;
  std::uint32_t most_deliveries;
  std::uint32_t reserved;
  std::uint64_t grace_ns;
  std::array<std::uint64_t, 2> topic_id;
  std::array<std::uint64_t, 2> boot_id;
  std::array<char, 256> group;
  std::array<char, 256> dead_letter_topic;
  std::uint64_t checksum;    // of everything above
  alignas(64) Word removed;  // 1: the group was deleted
  Word lock_holder;          // incarnation, for messages; 0: nobody said
  Word lease;                // incarnation that the members hold together, and that owns the cursors
};

// A record of the ring, or a claim that was skipped. Both words change together only when the entry passes to the next lap.
struct alignas(16) ShareEntry {
  Word state;  // state:2 | deliveries:16 | holder:10 | lap:36
  Word place;  // SharePlace
};

// Where a record is: the position of its header in cells, and which one it is of those that are packed there.
struct SharePlace {
  std::uint64_t word;
  static constexpr unsigned kIndexShift = 52;
  [[nodiscard]] constexpr std::uint64_t position() const noexcept { return word & ((1ull << kIndexShift) - 1); }
  [[nodiscard]] constexpr std::uint64_t index() const noexcept { return word >> kIndexShift; }
  [[nodiscard]] constexpr SharePlace next() const noexcept { return {word + (1ull << kIndexShift)}; }
};
static_assert(ring::kMostPositions == 1ull << SharePlace::kIndexShift && ring::Lengths::kMostPacked < 1u << 12);

struct ShareWindow {
  // Everything below was settled for good: the oldest sequence that was not. Raised by whoever settles it.
  alignas(128) Word base;
  // What was filled in, as one value of 16 bytes: the next sequence, and where its record begins.
  alignas(128) Word end;
  Word end_place;  // SharePlace
  // Written seldom.
  alignas(128) Word generation;  // of the cursor, up to which this window fits it; 0: it has to be put in order first
  Word begin_offset;             // records below are none of the group's
  Word filled_offset;            // behind the last record that was filled in; for counting what was lost
  // Statistics, and a number that rises when an entry becomes available again.
  alignas(128) Word returned;
  Word accepted;
  Word rejected;
  Word redelivered;
  Word dead_lettered;
  Word discarded;
  Word lost;
};

enum class EntryState : std::uint8_t {
  gone = 0,       // settled: nothing to deliver, and what stood there may be overwritten
  available = 1,  // to be acquired
  acquired = 2,   // by `holder`
  done = 3,       // settled: accepted, rejected, skipped
};

inline constexpr std::uint64_t kLapBits = 36;

struct EntryWord {
  std::uint64_t word;
  [[nodiscard]] constexpr EntryState state() const noexcept { return static_cast<EntryState>(word & 3); }
  [[nodiscard]] constexpr std::uint32_t deliveries() const noexcept { return static_cast<std::uint32_t>(word >> 2 & 0xffff); }
  [[nodiscard]] constexpr std::uint32_t holder() const noexcept { return static_cast<std::uint32_t>(word >> 18 & 0x3ff); }
  [[nodiscard]] constexpr std::uint64_t lap() const noexcept { return word >> 28; }
  [[nodiscard]] constexpr bool settled() const noexcept { return state() == EntryState::done || state() == EntryState::gone; }
  static constexpr EntryWord make(EntryState state, std::uint64_t lap, std::uint32_t deliveries = 0,
                                  std::uint32_t holder = 0) noexcept {
    return {static_cast<std::uint64_t>(state) | std::uint64_t{deliveries} << 2 | std::uint64_t{holder} << 18 |
            (lap & ((1ull << kLapBits) - 1)) << 28};
  }
};

inline constexpr std::uint64_t kHoldersAt = 1024;
inline constexpr std::uint64_t kWindowsAt = kHoldersAt + kHolders * sizeof(Word);
constexpr std::uint64_t share_window_bytes(std::uint32_t window) noexcept {
  return sizeof(ShareWindow) + std::uint64_t{window} * sizeof(ShareEntry);
}
constexpr std::uint64_t share_file_bytes(std::uint32_t window, std::uint32_t partitions) noexcept {
  return kWindowsAt + partitions * share_window_bytes(window);
}

static_assert(offsetof(ShareHeader, partitions) == 12 && offsetof(ShareHeader, window) == 16);
static_assert(offsetof(ShareHeader, holders) == 20 && offsetof(ShareHeader, most_deliveries) == 24);
static_assert(offsetof(ShareHeader, grace_ns) == 32 && offsetof(ShareHeader, topic_id) == 40);
static_assert(offsetof(ShareHeader, boot_id) == 56 && offsetof(ShareHeader, group) == 72);
static_assert(offsetof(ShareHeader, dead_letter_topic) == 328 && offsetof(ShareHeader, checksum) == 584);
static_assert(offsetof(ShareHeader, removed) == 640 && sizeof(ShareHeader) <= kHoldersAt);
static_assert(sizeof(ShareEntry) == 16 && offsetof(ShareEntry, place) == 8);
static_assert(offsetof(ShareWindow, end) == 128 && offsetof(ShareWindow, end_place) == 136);
static_assert(offsetof(ShareWindow, generation) == 256 && offsetof(ShareWindow, returned) == 384);
static_assert(sizeof(ShareWindow) == 512 && kWindowsAt % 128 == 0);

}  // namespace arus::group
