#include "ring/wake.h"

#include <bit>

namespace arus::ring {

void WaitSet::ring_all() const noexcept {
  std::uint64_t summary = words_[0].exchange(0, std::memory_order_acq_rel);
  ARUS_KILL_POINT("K4");
  for (; summary != 0; summary &= summary - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(summary));
    if (i >= word_count_) break;  // noise in the segment
    std::uint64_t bits = words_[1 + i].exchange(0, std::memory_order_acq_rel);
    ARUS_KILL_POINT("K5");
    for (; bits != 0; bits &= bits - 1) bells_->ring(i * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
  }
  ARUS_KILL_POINT("K6");
}

}  // namespace arus::ring
