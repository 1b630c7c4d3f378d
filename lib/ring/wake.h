// Who wants to be woken when something changes: one bit per bell, in a set per partition and event (data, room).
//
// Roles: a waiter sets its bit, fences, looks again, sleeps. A waker makes its change, fences, loads the summary; if it is not zero
// it takes the bits out and rings the bells. The two fences pair up: either the waker sees the bit, or the waiter sees the change.
//   waiter   W1 words[i] |= bit   W2 summary |= 1 << i   W3 fence   W4 look again   W5 sleep on the bell's word as read before W1
//   waker    K1 change            K2 fence               K3 load summary: 0, done    K4 exchange summary   K5 exchange words[i]   K6 ring
// Where the change is the commit of a claim that a compare-and-swap made (C5), the waker does without K2 on x86, where that was a fence
// already: a waiter that arms later sees the claim, if not yet the commit. So it is in doubt: it waits for as long as a running producer's
// store can take to become visible (outwait_stores), looks once more, and sleeps for milliseconds at most.
// A waker that takes the summary between W1 and W2 may take the bit as well: then it rings, which is right; the summary bit that
// stays behind costs the next waker one look.
//
// Crash: a waiter that dies leaves its bit, and the next waker rings for nobody, once. A waker that dies (or is stopped) between K1 and K6
// leaves sleepers that nobody rings for. Between K4 and K5 they stay unheard for other wakers, too, because the summary is gone: until they
// arm again. Therefore every sleep is bounded (1.25 s when idle, milliseconds when something is open), and one time-out is enough.
// Model: sleep.pml.
#pragma once

#include <cstdint>

#include "platform/bells.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "platform/kill_point.h"
#include "ring/layout.h"

namespace arus::ring {

// What somebody waits who has armed, finds a claim and not its commit, and would sleep: until a store that was made before must be visible. It
// leaves a processor's buffer within a microsecond; this takes twenty. True: `look` has found something.
template <class Look>
bool outwait_stores(Look look) noexcept {
  constexpr std::int64_t kDrained = 20'000;  // ns
  const std::int64_t begin = platform::boot_time();
  do {
    for (int i = 0; i < 32; ++i) platform::pause();
    if (look()) return true;
  } while (platform::boot_time() - begin < kDrained);
  return look();
}

class WaitSet {
 public:
  // Bytes of a set for so many bells: a summary word, then a bit per bell; whole cache lines.
  static constexpr std::uint64_t bytes(std::uint32_t bells) noexcept {
    return (8 + (std::uint64_t{bells} + 63) / 64 * 8 + 63) & ~std::uint64_t{63};
  }

  WaitSet() noexcept = default;
  // `memory`: bytes(bells->count()) of them. `bells` outlives this.
  WaitSet(void* memory, platform::Bells* bells) noexcept
      : words_(static_cast<Word*>(memory)), bells_(bells), word_count_((bells->count() + 63) / 64) {}
  [[nodiscard]] explicit operator bool() const noexcept { return bells_ != nullptr; }

  // The waiter's W1 to W3. Not of an empty set.
  void arm(std::uint32_t bell) const noexcept {
    words_[1 + bell / 64].fetch_or(1ull << bell % 64, std::memory_order_acq_rel);
    words_[0].fetch_or(1ull << bell / 64, std::memory_order_acq_rel);
    platform::fence_full();
  }
  // The waker's K2 to K6, after its change.
  void wake() const noexcept {
    platform::fence_full();
    if (is_armed()) [[unlikely]]
      ring_all();
  }
  // The same behind the commit of a claim that was made by a compare-and-swap.
  void wake_behind_claim() const noexcept {
    if (is_armed_behind_claim()) [[unlikely]]
      ring_all();
  }
  // In two steps: whether anybody is to be woken, and the waking.
  [[nodiscard]] bool is_armed_behind_claim() const noexcept {
    platform::fence_after_exchange();
    return is_armed();
  }
  void ring_all() const noexcept;

 private:
  [[nodiscard]] bool is_armed() const noexcept {
    ARUS_KILL_POINT("K2");
    return words_[0].load(std::memory_order_relaxed) != 0;
  }
  inline static Word nobodys_{0};  // the summary of every empty set, so that a waker need not ask whether its set is one
  Word* words_ = &nobodys_;
  platform::Bells* bells_ = nullptr;
  std::uint32_t word_count_ = 0;
};

}  // namespace arus::ring
