// Of ProducerState: many records in one claim.
#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>

#include "bus/producer_state.h"
#include "bus/record_writer.h"
#include "platform/error.h"

namespace arus::detail {

using platform::fail;
using platform::pass;
using ring::Claimed;
using ring::Lengths;
using std::chrono::nanoseconds;

namespace {

constexpr std::size_t kBatchAhead = 2048;  // bytes that are asked for ahead of what is written

Bytes value_of(const Message& message) noexcept { return message.value; }
Bytes value_of(Bytes value) noexcept { return value; }
const Envelope& envelope_of(const Message& message) noexcept { return message.envelope; }
const Envelope& envelope_of(Bytes) noexcept {
  static constexpr Envelope kNone{};
  return kNone;
}
template <class Item>
bool brings_its_time(const Item& item) noexcept {
  return envelope_of(item).timestamp.has_value();
}
bool has_more(const Message& message) noexcept { return says_something(message.envelope); }
bool has_more(Bytes) noexcept { return false; }

// Whether values of that size go under one header, and how many.
constexpr bool packs(std::size_t size) noexcept { return size - 1 < Lengths::kMostPackedValue; }
constexpr std::uint64_t most_packed(std::size_t size) noexcept {
  return std::min(Lengths::kMostPackedBytes / Lengths::packed(size, 1).stride(), Lengths::kMostPacked);
}
static_assert(most_packed(Lengths::kMostPackedValue) > 1);

// One header and the values of `items`, all of one size.
template <class Item>
[[gnu::always_inline]] inline void write_packed(ring::RecordHeader& header, std::span<const Item> items, std::size_t size,
                                                Timestamp timestamp) noexcept {
  const Lengths lengths = Lengths::packed(size, items.size());
  const std::uint64_t stride = lengths.stride();
  header.h2.store(static_cast<std::uint64_t>(timestamp), std::memory_order_relaxed);
  header.h3.store(lengths.word(), std::memory_order_relaxed);
  std::byte* to = reinterpret_cast<std::byte*>(&header) + ring::kRecordHeader;
  const Item* item = items.data();
  const auto next = [&](std::byte* at) {
    platform::prefetch_for_write(at + kBatchAhead);
    return value_of(*item++).data();
  };
  const auto next_of_many_lines = [&](std::byte* at) {
    for (std::size_t more = ring::kCell; more < size; more += ring::kCell) platform::prefetch_for_write(at + kBatchAhead + more);
    return next(at);
  };
  // Of a size that the compiler knows, a copy is half as many instructions.
  switch (size) {
    case 8: return platform::copy_row<8>(to, stride, items.size(), next);
    case 16: return platform::copy_row<16>(to, stride, items.size(), next);
    case 32: return platform::copy_row<32>(to, stride, items.size(), next);
    case 64: return platform::copy_row<64>(to, stride, items.size(), next);
    default:
      for (std::size_t left = items.size(); left != 0; --left, to += stride) platform::copy(to, next_of_many_lines(to), size);
  }
}

// Whether they are values alone, and all of the first one's size.
template <class Item>
[[gnu::always_inline]] inline bool are_alike(std::span<const Item> items, std::size_t size) noexcept {
  std::size_t other = 0;
  bool more = false;
  for (const Item& item : items) {
    const Bytes value = value_of(item);
    other |= value.size() ^ size;
    more |= value.data() == nullptr;
    more |= has_more(item);
  }
  return other == 0 && !more;
}

}  // namespace

// All of them in one claim, if they are values alone and it goes that easily; else none, for what goes to one partition becomes visible
// together.
template <class Item>
bool ProducerState::send_many_plainly(std::span<const Item> items) noexcept {
  std::int64_t now = 0;
  ring::Appender& to = *plain_;
  if (items.empty() || !stamper_.now_if_quiet(now) || to.ring().deleted()) return false;
  if (const std::size_t size = value_of(items.front()).size(); packs(size) && items.size() > 1 && are_alike(items, size))
    return size - least_value_ <= value_span_ && items.size() * size < sticky_left_ && send_packed(items, size, now);
  std::uint64_t cells = 0;
  std::size_t bytes = 0;
  bool unusual = false;  // there is one that is
  for (const Item& item : items) {
    const Bytes value = value_of(item);
    unusual |= has_more(item);
    unusual |= value.data() == nullptr;
    unusual |= value.size() - least_value_ > value_span_;
    cells += plain_cells(value.size());
    bytes += value.size();
  }
  Claimed claimed;
  if (unusual || cells > most_cells_ || bytes >= sticky_left_ || !to.claim(cells, items.size(), now, now, claimed)) return false;
  sticky_left_ -= bytes;
  const Bytes first = value_of(items.front());
  write_plain(to, *claimed.header, first, now);
  std::uint64_t left = claimed.cells - plain_cells(first.size());
  // Padding, if there is any, belongs to the last.
  const std::uint64_t first_cells = items.size() == 1 ? claimed.cells : plain_cells(first.size());
  ring::Inner inner = to.inner_of(claimed);
  inner.pass(first_cells, 1);
  for (std::size_t i = 1; i < items.size(); ++i) {
    const Bytes value = value_of(items[i]);
    platform::prefetch_for_write(inner.ahead(kBatchAhead));
    platform::prefetch_for_write(inner.ahead(kBatchAhead + ring::kCell));
    write_plain(to, inner.header(), value, now);
    const std::uint64_t extent = i + 1 == items.size() ? left : plain_cells(value.size());
    inner.commit(extent, 1);
    left -= extent;
  }
  to.commit_first(claimed, first_cells);
  return true;
}

// The same of values that all have one size: as few headers as possible.
template <class Item>
bool ProducerState::send_packed(std::span<const Item> items, std::size_t size, Timestamp now) noexcept {
  ring::Appender& to = *plain_;
  const std::uint64_t most = most_packed(size);
  const std::uint64_t last = (items.size() - 1) % most + 1;  // in the last header
  const std::uint64_t full_cells = Lengths::packed(size, most).packed_cells();
  const std::uint64_t cells = (items.size() - last) / most * full_cells + Lengths::packed(size, last).packed_cells();
  Claimed claimed;
  if (cells > most_cells_ || !to.claim(cells, items.size(), now, now, claimed)) return false;
  sticky_left_ -= items.size() * size;
  if (items.size() <= most) [[likely]] {  // what follows would do it too, at 194 instead of 227 M records/s
    write_packed(*claimed.header, items, size, now);
    to.commit(claimed);
    return true;
  }
  std::uint64_t left = claimed.cells;  // with padding, if there is any
  ring::Inner inner = to.inner_of(claimed);
  for (bool first = true; !items.empty(); first = false) {
    const std::uint64_t count = std::min<std::uint64_t>(most, items.size());
    write_packed(inner.header(), items.first(count), size, now);
    items = items.subspan(count);
    const std::uint64_t extent = items.empty() ? left : full_cells;
    left -= extent;
    if (first)
      inner.pass(extent, count);
    else
      inner.commit(extent, count);
  }
  to.commit_first(claimed, full_cells);
  return true;
}

template <class Item>
Result<std::size_t> ProducerState::send_many_slowly(std::span<const Item> items, nanoseconds timeout) {
  std::optional<platform::Deadline> deadline;  // from the first wait: reading the clock costs as much as appending a record
  constexpr std::size_t kMostHeaders = 512;
  std::array<Shape, kMostHeaders> shapes;  // of the neighbours that go into one claim, all for one partition
  bool carried = false;                    // the first of them was looked at already, as the one that ended the last claim
  std::size_t sent = 0;
  while (sent < items.size()) {
    const std::int64_t now = stamper_.now();
    if (time_to_look(now)) [[unlikely]]
      if (auto there = look_for_topic(now); !there) return sent != 0 ? Result<std::size_t>(sent) : pass(there);
    std::size_t count = 0;    // of shapes
    std::size_t records = 0;  // in them
    std::uint64_t cells = 0;
    Timestamp latest = 0;
    bool bad = false;
    while (sent + records < items.size() && count < kMostHeaders) {
      const Item& item = items[sent + records];
      const Bytes value = value_of(item);
      const Envelope& envelope = envelope_of(item);
      Shape& shape = shapes[count];
      if (!std::exchange(carried, false) && !this->shape(value.size(), value.data() == nullptr, envelope, shape)) [[unlikely]] {
        bad = true;
        break;
      }
      shape.may_grow = !has_more(item) && value.data() != nullptr && packs(value.size());
      Shape* const last = count != 0 ? &shapes[count - 1] : nullptr;
      Lengths joined{};  // of the last one, if this item is packed with it
      if (last != nullptr && last->may_grow && shape.may_grow && shape.to == last->to && value.size() == last->lengths.value &&
          last->lengths.records() < most_packed(value.size()))
        joined = Lengths::packed(value.size(), last->lengths.records() + 1);
      const std::uint64_t grows = joined.is_packed() ? joined.packed_cells() - last->cells : shape.cells;
      if (count != 0 && (shape.to != shapes[0].to || cells + grows > most_cells_)) {
        carried = true;
        break;
      }
      if (joined.is_packed()) {
        last->lengths = joined;
        last->cells += grows;
      } else {
        ++count;
      }
      cells += grows;
      latest = std::max(latest, envelope.timestamp.value_or(now));
      ++records;
    }
    if (count == 0 && bad) {
      if (sent != 0) return sent;
      return misshapen(value_of(items[0]).size(), envelope_of(items[0]));
    }
    ring::Appender& to = *shapes[0].to;
    Claimed claimed;
    if (!claim(to, cells, records, latest, now, claimed)) [[unlikely]] {
      if (!deadline) deadline = platform::Deadline::after(timeout.count());
      const nanoseconds left = timeout <= nanoseconds::zero() || timeout == kForever ? timeout : nanoseconds(deadline->left());
      if (auto done = claim_slowly(shapes[0].partition, cells, records, latest, left, claimed); !done) {
        if (sent != 0 && (done.error().code() == Errc::full || done.error().code() == Errc::timed_out)) return sent;
        return pass(done);
      }
    }
    ring::Inner inner = to.inner_of(claimed);
    shapes[count - 1].cells += claimed.cells - cells;  // padding, if there is any
    for (std::size_t i = 0; i < count; ++i) {
      const Shape& shape = shapes[i];
      const std::size_t many = shape.lengths.records();
      const Bytes value = value_of(items[sent]);
      if (shape.lengths.is_packed()) {
        write_packed(inner.header(), items.subspan(sent, many), value.size(), now);
      } else {
        const Envelope& envelope = envelope_of(items[sent]);
        const Timestamp timestamp = envelope.timestamp.value_or(now);
        std::byte* room = nullptr;
        if constexpr (std::is_same_v<Item, Bytes>)
          room = write_words(inner.header(), shape.lengths, timestamp);
        else
          room = write_front(inner.header(), shape.lengths, envelope, timestamp);
        if (!value.empty()) copy_value(to, room, value);
      }
      if (i == 0)
        inner.pass(shape.cells, many);
      else
        inner.commit(shape.cells, many);
      sent += many;
    }
    to.commit_first(claimed, shapes[0].cells);
    if (carried) shapes[0] = shapes[count];
  }
  return sent;
}

template <class Item>
Result<std::size_t> ProducerState::send_many(std::span<const Item> items, nanoseconds timeout) {
  if (!ours()) [[unlikely]]
    return fail(Errc::forked);
  if (send_many_plainly(items)) [[likely]]
    return items.size();
  auto sent = send_many_slowly(items, timeout);
  if (sent && std::none_of(items.begin(), items.end(), brings_its_time<Item>)) become_quiet();
  return sent;
}

template Result<std::size_t> ProducerState::send_many(std::span<const Message> items, nanoseconds timeout);
template Result<std::size_t> ProducerState::send_many(std::span<const Bytes> items, nanoseconds timeout);

}  // namespace arus::detail
