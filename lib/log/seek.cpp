#include "log/seek.h"

#include <algorithm>

#include "ring/index.h"

namespace arus::log {

using platform::fail;
using ring::Boundary;
using ring::Found;
using ring::Ring;
using ring::View;

namespace {

// A search that was overtaken by producers starts again; one that is always overtaken ends at what is left.
constexpr int kMostAttempts = 64;

tl::unexpected<Error> corrupt(const Ring& ring, std::uint64_t position) {
  return fail(Errc::corrupt, "{}: impossible record at position {}; delete the topic", *ring.path, position);
}

enum class Walk : std::uint8_t { reached, end, overtaken, corrupt };

// From `place` on over what is settled, until `reached(found, view)`; `place` ends there, or at the end. (Of a packed record `reached` may move the
// view to one in its middle.)
template <class Reached>
Walk walk(const Ring& ring, Place& place, Reached reached) {
  for (;;) {
    View view{};
    const Found found = ring::look(ring, place.position, view);
    const bool whole = ring::still_there(ring, place.position);
    if (!whole) return Walk::overtaken;
    switch (found) {
      case Found::corrupt: return Walk::corrupt;
      case Found::nothing: return Walk::end;
      case Found::open: place = {place.position, view.offset, true}; return Walk::end;
      case Found::skip:
      case Found::record:
        if (reached(found, view)) {
          place = {place.position, view.offset, true};
          return Walk::reached;
        }
        if (view.grows) {
          place = {place.position, view.offset + view.lengths.records(), true};
          return Walk::end;
        }
        // Behind a skip at least one offset is missing.
        place = found == Found::record
                    ? Place{place.position + view.cells, view.offset + view.lengths.records(), !view.lengths.is_torn()}
                    : Place{place.position + view.cells, view.offset + 1, false};
    }
  }
}

template <class Before, class Reached>
Result<Place> search(const Ring& ring, Before before, Reached reached) {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const auto boundary = ring::last_boundary(ring, before);
    Place place{ring.low(), 0, false};
    if (boundary && boundary->position >= place.position) place = {boundary->position, boundary->offset, true};
    const Walk end = walk(ring, place, reached);
    if (end == Walk::corrupt) return corrupt(ring, place.position);
    if (end == Walk::overtaken) continue;
    if (const Place last = latest(ring); !place.certain && last.position == place.position) return last;
    return place;
  }
  return latest(ring);
}

}  // namespace

Place latest(const Ring& ring) noexcept {
  const ring::Tail& tail = ring.header->tail;
  for (;;) {
    const std::uint64_t w0 = tail.w0.load(std::memory_order_acquire);
    const std::uint64_t w1 = tail.w1.load(std::memory_order_acquire);
    if (tail.w0.load(std::memory_order_acquire) != w0) continue;
    // What may grow is where the next record comes, unless it was aborted. Of a single producer w1 may be ahead by the claim that is being made.
    const std::uint64_t position = ring::position_of(w0) - std::min(ring::position_of(w0), ring::growing_cells_of(w1));
    View view;
    const bool certain = ring::growing_cells_of(w1) == 0 || ring::look(ring, position, view) == Found::record;
    return {position, ring::next_offset_of(w1), certain && !ring.single_producer};
  }
}

Result<Place> earliest(const Ring& ring) {
  return search(
      ring, [](const Boundary&) { return false; }, [](Found, View&) { return true; });
}

Result<Place> at_offset(const Ring& ring, std::uint64_t offset) {
  return search(
      ring, [&](const Boundary& boundary) { return boundary.offset <= offset; },
      [&](Found found, View& view) {
        if (found == Found::record && view.offset < offset && offset - view.offset < view.lengths.records()) view.offset = offset;
        return view.offset >= offset;
      });
}

Result<Place> at_time(const Ring& ring, Timestamp time) {
  return search(
      ring, [&](const Boundary& boundary) { return boundary.largest_timestamp < time; },
      [&](Found found, View& view) { return found == Found::record && view.timestamp >= time; });
}

Result<Place> at_start(const Ring& ring, Start start) {
  const auto value = static_cast<std::uint64_t>(start.value());
  const std::uint64_t end = latest(ring).offset;
  switch (start.at()) {
    case Start::At::earliest: return earliest(ring);
    case Start::At::latest: return latest(ring);
    case Start::At::time: return at_time(ring, start.value());
    case Start::At::last: return at_offset(ring, end - std::min(end, value));
    case Start::At::offset: break;
  }
  if (value > end) {
    auto first = earliest(ring);
    return fail(Errc::out_of_range, "offset {} does not exist; there are {} to {}", value, first ? first->offset : 0, end);
  }
  return at_offset(ring, value);
}

Result<std::optional<Copied>> last_record(const Ring& ring, const std::function<bool(const View&)>& matches) {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    // Slice by slice from the newest, so that what is near the end is found soon.
    std::vector<std::uint64_t> starts{ring.low()};
    for (std::uint32_t i = 0; i < ring::kIndexEntries; ++i)
      if (const auto boundary = ring::read_boundary(ring, i); boundary && boundary->position > starts.front())
        starts.push_back(boundary->position);
    std::sort(starts.begin(), starts.end());
    std::uint64_t end = ~0ull;
    bool overtaken = false;
    for (; !starts.empty() && !overtaken; end = starts.back(), starts.pop_back()) {
      Place place{starts.back(), 0, false};
      std::optional<View> last;
      std::uint64_t last_position = 0;
      const Walk result = walk(ring, place, [&](Found found, const View& view) {
        if (place.position >= end) return true;
        if (found != Found::record) return false;
        const View one = view.lengths.is_packed() ? ring::unpacked(view, view.lengths.records() - 1) : view;
        if (matches(one)) {
          last = one;
          last_position = place.position;
        }
        return false;
      });
      if (result == Walk::corrupt) return corrupt(ring, place.position);
      overtaken = result == Walk::overtaken;
      if (overtaken || !last) continue;
      Copied copied{*last, {}};
      copied.bytes.resize(last->lengths.value_at() + last->lengths.value);
      platform::copy(copied.bytes.data(), last->data, copied.bytes.size());
      overtaken = !ring::still_there(ring, last_position);
      if (overtaken) break;
      copied.view.data = copied.bytes.data();
      return copied;
    }
    if (!overtaken) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace arus::log
