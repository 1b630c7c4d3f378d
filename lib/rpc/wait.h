// Waiting for the other side of a channel: see Sleeper in layout.h.
#pragma once

#include "platform/bells.h"
#include "platform/cpu.h"
#include "rpc/layout.h"

namespace arus::rpc {

inline void arm(Word& sleeper, std::uint32_t bell) noexcept { sleeper.store(std::uint64_t{bell} + 1, std::memory_order_relaxed); }
inline void disarm(Word& sleeper) noexcept { sleeper.store(0, std::memory_order_relaxed); }

// The waker's part, behind its fence. `bells()` are asked for if somebody sleeps; they check the index, which anybody may have written.
template <class Bells>
void wake(Word& sleeper, Bells bells) noexcept {
  if (sleeper.load(std::memory_order_relaxed) == 0) [[likely]]
    return;
  if (const std::uint64_t bell = sleeper.exchange(0, std::memory_order_acq_rel); bell != 0)
    bells().ring(static_cast<std::uint32_t>(bell - 1));
}

}  // namespace arus::rpc
