#include "bus/lookout.h"

#include <algorithm>
#include <utility>

namespace arus::detail {

void Lookout::compare(std::uint64_t next, std::uint64_t now, std::uint64_t ticks_to_ns) noexcept {
  const std::uint64_t records = next - from_;
  // More than twice as many (or less than one): not all of them were waited for.
  judge(began_ != 0 && records - 1 < 2 * kRecords ? (now - began_) * kRecords / records : 0);
  from_ = next;
  began_ = now;
  if (ticks_to_ns != 0) between_looks_ = (kBetweenLooks << 32) / ticks_to_ns;
  const std::uint8_t wanted = only.load(std::memory_order_relaxed);
  if (wanted < kAny) [[unlikely]]
    way_ = static_cast<Way>(wanted);
  else if (ticks_to_ns == 0)  // the counter is nothing to compare by
    way_ = best_;
}

// Each way is compared with the best one's round just before it, as both are slower a moment later when a core has moved. It must be quicker
// than that one varies anyhow: records that do not wait for answers come when they come. (Each round counts once, however long it
// took: somebody may have been kept off a core.)
void Lookout::judge(std::uint64_t took) noexcept {
  if (way_ == best_) {
    if (const std::uint64_t before = std::exchange(best_took_, took); before != 0 && took != 0 && rounds_ != 0)
      varies_ = (7 * varies_ + std::min(std::max(took, before) - std::min(took, before), std::min(took, before))) / 8;
    const bool sure = better_[static_cast<std::size_t>(other_)] == -kSure;
    if (++rounds_ >= (sure ? kOnceSure : kWhileUnsure) && took != 0) way_ = other_;
    return;
  }
  rounds_ = 0;
  bool better = false;
  if (took != 0) {
    better = took + std::max(varies_, best_took_ / 32) < best_took_;
    int& times = better_[static_cast<std::size_t>(way_)];
    times = std::clamp(times + (better ? 1 : -1), -kSure, kSure);
    if (times == kSure) {
      best_ = way_;
      better_.fill(-kSure / 2);
    }
  }
  way_ = best_;
  if (better && other_ != best_) return;
  do other_ = static_cast<Way>((static_cast<std::size_t>(other_) + 1) % kWays);
  while (other_ == best_);
}

}  // namespace arus::detail
