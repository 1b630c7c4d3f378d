// Of ProducerState: values that are sent one by one, in quick succession, and grow into one packed record (ring/claim.h, G1 to G3). A value
// then takes its own bytes instead of a header and a line's rest, and half the instructions; it is visible at once all the same.
//
// What may grow is as large as is filled in that time, by how quickly the last ones came (bus/growth.h), and no larger than what is left of a slice
// of the index: so a burst that ends soon, or others that come in between, cost little room. All of them have the time of the first, which is at
// most kGrowFor before.
#include <algorithm>

#include "bus/producer_state.h"
#include "bus/record_writer.h"

namespace arus::detail {

using ring::Claimed;
using ring::Lengths;

namespace {

constexpr std::uint64_t kMost = 128;    // values
constexpr std::uint64_t kBytes = 5632;  // of them: of 64 bytes as many as are sent in kGrowFor
static_assert((ring::kRecordHeader + kBytes) / ring::kCell < ring::kMostGrowing);

// Of that stride, in so many cells.
constexpr std::uint64_t values_in(std::uint64_t cells, std::uint64_t stride) noexcept {
  return cells == 0 ? 0 : (cells * ring::kCell - ring::kRecordHeader) / stride;
}

}  // namespace

bool ProducerState::begin_to_grow(Bytes value, Timestamp now, Placed& placed) noexcept {
  ring::Appender& to = *plain_;
  const std::uint64_t stride = Lengths::packed(value.size(), 1).stride();
  // All it may grow to counts at once for the change of partitions.
  const std::uint64_t wanted = std::min({kMost, kBytes / stride, to.ring().slice * ring::kCell / (2 * stride),
                                         static_cast<std::uint64_t>((sticky_left_ - 1) / value.size()), next_grows_to_});
  if (wanted < kFewestQuick || !to.is_alone_since(kAlone)) {
    quick_ = 0;
    return false;
  }
  const std::uint64_t most = std::min(wanted, values_in(to.quiet_cells(), stride));
  if (most < kFewestQuick) return false;  // the end of a slice of the index
  Claimed claimed;
  if (!to.claim_growing(Lengths::packed(value.size(), most).packed_cells(), claimed)) return false;
  could_grow_to_ = most;
  sticky_left_ -= most * value.size();
  claimed.header->h2.store(static_cast<std::uint64_t>(now), std::memory_order_relaxed);
  platform::copy(reinterpret_cast<std::byte*>(claimed.header) + ring::kRecordHeader, value.data(), value.size());
  to.let_grow(claimed, value.size(), most);
  to.commit(claimed);
  grows_with_ = value.size();
  grows_for_ = stamper_.span(now, kGrowFor);
  placed = {sticky_, claimed.offset};
  return true;
}

}  // namespace arus::detail
