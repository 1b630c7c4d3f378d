// How far away those are who read a ring, as one of its producers sees it: about as far as memory and further, or not.
//
// What one core has written comes to another from its cache: on the machine that was measured in 40 to 60 ns where they share the last cache,
// in 130 to 230 where they do not. From memory it comes in about 100, and there a reader that goes through it in order gets many lines at once,
// which a foreign cache gives one after the other: large values had better go there then (platform::copy_past_caches).
//
// The sample is the line of a group's cursor, which its reader has written since the last look; the producer reads it anyway when it looks for
// room. Only while somebody asks. Observers have no cursor: they count as near. Of several groups one is watched, another one when that does not
// move or is gone. What stands there is compared and nothing else: whatever it is, it only decides how values are copied.
#pragma once

#include <cstdint>

#include "platform/clock.h"
#include "platform/cpu.h"
#include "ring/ring.h"

namespace arus::ring {

inline constexpr std::uint64_t kMemory = 100;  // ns

class ReaderDistance {
 public:
  [[nodiscard]] bool is_far() noexcept {
    asked_ = true;
    return slow_ >= kEnough;
  }
  // Where room is looked for.
  void look(const Ring& ring) noexcept {
    if (!asked_ || ring.cursor_count == 0) return;
    asked_ = false;
    const Cursor& cursor = ring.cursors[watched_ % ring.cursor_count];
    std::uint64_t position = 0;
    const std::uint64_t ticks = platform::ticks_of_load(cursor.position, position);
    note(position, ticks * platform::ticks_to_ns() >> 32);
    if (same_ >= kStill || cursor_status(cursor.state.load(std::memory_order_relaxed)) != CursorStatus::active) {
      watched_ = (watched_ + 1) % ring.cursor_count;
      last_ = ring.cursors[watched_].position.load(std::memory_order_relaxed);
      same_ = slow_ = 0;
    }
  }
  // Behind it, when the cursors have been read: what is not written again until the next look is here, and says nothing.
  void saw(const Ring& ring) noexcept {
    if (ring.cursor_count != 0) last_ = ring.cursors[watched_ % ring.cursor_count].position.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint32_t watched() const noexcept { return watched_; }  // index of a cursor
  // It stands there, and to know that took so many ns; 0: nobody knows how many.
  void note(std::uint64_t position, std::uint64_t ns) noexcept {
    if (position == last_) {  // its line may have been here already
      ++same_;
      return;
    }
    last_ = position;
    same_ = 0;
    if (ns < kMemory)
      slow_ = 0;
    else if (slow_ < kEnough)
      ++slow_;
  }

 private:
  static constexpr std::uint32_t kEnough = 4;     // in a row: one alone may have been interrupted
  static constexpr std::uint32_t kStill = 1'000;  // looks at a reader that does not move, before another one is watched

  bool asked_ = false;
  std::uint32_t slow_ = 0;
  std::uint32_t same_ = 0;
  std::uint32_t watched_ = 0;
  std::uint64_t last_ = 0;  // its position at the last look
};

}  // namespace arus::ring
