// Of ProducerState: values that are sent one by one, in quick succession, and grow into one packed record (ring/claim.h, G1 to G3). A value
// then takes its own bytes instead of a header and a line's rest, and half the instructions; it is visible at once all the same.
//
// What may grow is as large as what was filled the last time, and twice that where it was filled up: so a burst that ends soon, or others that
// come in between, cost little room. All of them have the time of the first, which is at most kGrowFor before.
#include <algorithm>

#include "bus/producer_state.h"
#include "bus/record_writer.h"

namespace arus::detail {

using ring::Claimed;
using ring::Lengths;

namespace {

constexpr std::uint64_t kFewest = 8;    // values that are worth it
constexpr std::uint64_t kMost = 128;    // values
constexpr std::uint64_t kBytes = 4096;  // of them

}  // namespace

bool ProducerState::begin_to_grow(Bytes value, Timestamp now, Placed& placed) noexcept {
  ring::Appender& to = *plain_;
  const std::uint64_t left = to.may_add();
  const std::uint64_t stride = Lengths::packed(value.size(), 1).stride();
  const std::uint64_t most = std::min({kMost, kBytes / stride, to.ring().slice * ring::kCell / (2 * stride)});
  std::uint64_t next = most_grown_ == 0 ? kFewest : left == 0 ? 2 * most_grown_ : std::max(kFewest, most_grown_ - left);
  next = std::min(next, most);
  grows_with_ = kEndless;
  if (most < kFewest || !to.is_alone_since(kAlone)) {
    quick_ = 0;
    return false;
  }
  Claimed claimed;
  if (!to.claim_growing(Lengths::packed(value.size(), next).packed_cells(), claimed)) return false;
  most_grown_ = next;
  sticky_left_ -= value.size();
  claimed.header->h2.store(static_cast<std::uint64_t>(now), std::memory_order_relaxed);
  platform::copy(reinterpret_cast<std::byte*>(claimed.header) + ring::kRecordHeader, value.data(), value.size());
  to.let_grow(claimed, value.size(), next);
  to.commit(claimed);
  grows_with_ = value.size();
  grows_since_ = now;
  placed = {sticky_, claimed.offset};
  return true;
}

}  // namespace arus::detail
