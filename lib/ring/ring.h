// A partition's ring as one process sees it: pointers into its mapping and the words in them, nothing that owns.
#pragma once

#include <cstdint>
#include <string>

#include "platform/lease.h"
#include "ring/layout.h"
#include "ring/wake.h"

namespace arus::ring {

struct Ring {
  PartitionHeader* header = nullptr;
  std::byte* base = nullptr;  // of the ring, mapped twice
  std::uint64_t cells = 0;    // C, a power of two
  std::uint64_t mask = 0;
  std::uint64_t byte_mask = 0;  // mask in bytes, of whole cells
  unsigned lap_shift = 0;
  std::uint64_t salt = 0;
  ProducerSlot* slots = nullptr;
  std::uint32_t slot_count = 0;
  Latest* latest = nullptr;
  std::uint32_t latest_count = 0;
  IndexEntry* index = nullptr;
  std::uint64_t slice = 0;  // cells per index entry
  bool single_producer = false;
  bool writable = false;      // the mapping
  Cursor* cursors = nullptr;  // of this partition, one per group; null where the group segment is not mapped
  std::uint32_t cursor_count = 0;
  WaitSet data;  // those who wait for records; empty where the wait flags may not be written
  WaitSet room;  // those who wait for room
  const platform::Leases* leases = nullptr;
  const std::string* path = nullptr;  // of the partition's file, for its locks and for messages

  [[nodiscard]] RecordHeader& at(std::uint64_t position) const noexcept {
    return *reinterpret_cast<RecordHeader*>(base + (position << kCellShift & byte_mask));
  }
  [[nodiscard]] std::uint64_t lap(std::uint64_t position) const noexcept { return position >> lap_shift & kLapMask; }

  [[nodiscard]] Mark mark(std::uint64_t position, std::memory_order order = std::memory_order_acquire) const noexcept {
    return {at(position).h0.load(order) ^ salt};
  }
  // Written in this lap. What an earlier lap left, and payload that merely lies there, is not.
  [[nodiscard]] bool valid(Mark mark, std::uint64_t position) const noexcept {
    return is_marked(mark.word ^ position >> lap_shift << 2);
  }
  // For those who look at many headers of one lap: h0, as it is stored, XOR this word is a mark whose lap is 0 if it is valid. (What of the lap
  // is above its 22 bits must not touch the mark's.)
  [[nodiscard]] std::uint64_t lap_word(std::uint64_t position) const noexcept { return salt ^ lap(position) << 2; }
  // The lap's bits 0, and the state not none: one comparison.
  static bool is_marked(std::uint64_t word) noexcept { return (word & kStateAndLapMask) - 1 < 3; }
  void set_mark(std::uint64_t position, State state, std::uint32_t owner, std::uint64_t count) const noexcept {
    at(position).h0.store(Mark::make(state, lap(position), owner, count).word ^ salt, std::memory_order_release);
  }
  // Whether a marked extent is one that a claim can have.
  [[nodiscard]] bool plausible(std::uint64_t extent) const noexcept { return extent - 1 < cells / 2; }

  [[nodiscard]] std::uint64_t low() const noexcept { return header->low.position.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t tail() const noexcept { return position_of(header->tail.w0.load(std::memory_order_acquire)); }
  [[nodiscard]] bool deleted() const noexcept { return header->status.deleted.load(std::memory_order_relaxed) != 0; }
};

}  // namespace arus::ring
