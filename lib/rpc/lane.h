// One ring of a channel: one process appends, one reads. What ring/claim.h does for any number of producers, without the tail, the
// slots and the marks that others would repair by.
//
// Roles. The writer alone writes the ring; the reader alone writes the cursor (below it everything may be overwritten). The writer's
// position is its own: the reader polls h0 of the record that comes next, as in every ring of arus.
// Invariant. The word at the writer's position is no valid mark: before a claim is handed out, the word behind it (where the next one will
// start) is looked at, and a stale imitation that some earlier payload left there is wiped. Nobody else writes there: it is free space.
// Several claims may be open and be committed in any order; the reader waits at the first that is not.
// Pairs. h0 COMMITTED (release) with the reader's acquire load: CallHeader and body are visible. cursor (release) with the writer's acquire
// load: what the reader read is read before it is overwritten.
// Crash: an uncommitted claim is never seen; both rings go with either of their two processes.
// Trust: the other side may write anything. Each mark, length and cursor is checked against the ring before it is used.
#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "platform/cpu.h"
#include "ring/read.h"
#include "rpc/layout.h"

namespace arus::rpc {

// A ring in a channel's mapping.
inline ring::Ring lane_ring(std::byte* base, std::uint64_t bytes, std::uint64_t salt) noexcept {
  ring::Ring ring;
  ring.base = base;
  ring.cells = bytes >> ring::kCellShift;
  ring.mask = ring.cells - 1;
  ring.byte_mask = ring.mask << ring::kCellShift;
  ring.lap_shift = static_cast<unsigned>(std::countr_zero(ring.cells));
  ring.salt = salt;
  return ring;
}

class LaneWriter {
 public:
  struct Claim {
    std::uint64_t position;
    std::uint64_t cells;
  };

  LaneWriter() noexcept = default;
  // `cursor`: the reader's. The ring is new.
  LaneWriter(const ring::Ring& ring, const Word& cursor) noexcept
      : ring_(ring), cursor_(&cursor), position_(ring.cells), limit_(2 * ring.cells) {}

  // `cells` of them, leaving `keep` free. Whether there was room.
  [[gnu::always_inline]] bool claim(std::uint64_t cells, std::uint64_t keep, Claim& claim) noexcept {
    prefetch();
    const std::uint64_t to_end = ring_.cells - (position_ & ring_.mask);
    const std::uint64_t padding = cells <= to_end ? 0 : to_end;
    if (position_ + padding + cells + keep > limit_) [[unlikely]]
      if (!look_for_room(padding + cells + keep)) return false;
    if (padding != 0) [[unlikely]] {
      const std::uint64_t at = advance(padding);
      ring_.set_mark(at, ring::State::skip, 0, padding);
    }
    claim = {advance(cells), cells};
    return true;
  }
  // The last claim, as if it had not been.
  void withdraw(const Claim& claim) noexcept { position_ = claim.position; }
  [[nodiscard]] std::byte* body(const Claim& claim) const noexcept {
    return reinterpret_cast<std::byte*>(&ring_.at(claim.position)) + kBodyAt;
  }
  // Visible to the reader from here on. `size` of the body may be less than what was claimed.
  [[gnu::always_inline]] void commit(const Claim& claim, const CallHeader& call, std::uint64_t size, std::int64_t now) noexcept {
    ring::RecordHeader& header = ring_.at(claim.position);
    header.h1.store(ring::chain_word(claim.position, 0), std::memory_order_relaxed);
    header.h2.store(static_cast<std::uint64_t>(now), std::memory_order_relaxed);
    header.h3.store(ring::Lengths{size, sizeof(CallHeader), 0, 0}.word(), std::memory_order_relaxed);
    // Word by word, from registers: as a struct on the stack it would be loaded in larger pieces than it was stored, and such a load waits
    // until every store before it has its line, those to the body among them.
    auto* const words = reinterpret_cast<Word*>(reinterpret_cast<std::byte*>(&header) + ring::kRecordHeader);
    words[0].store(call.id, std::memory_order_relaxed);
    words[1].store(static_cast<std::uint64_t>(call.deadline), std::memory_order_relaxed);
    words[2].store(call.method | std::uint64_t{call.code} << 32 | std::uint64_t{call.flags} << 48, std::memory_order_relaxed);
    words[3].store(call.reserved, std::memory_order_relaxed);
    ring_.set_mark(claim.position, ring::State::committed, 0, claim.cells);
  }

  // The next record's first two lines.
  void prefetch() const noexcept {
    platform::prefetch_for_write(&ring_.at(position_));
    platform::prefetch_for_write(&ring_.at(position_ + 1));
  }
  [[nodiscard]] const void* next_body() const noexcept { return &ring_.at(position_ + 1); }
  // Whether nothing has been claimed over what was written at a position.
  [[nodiscard]] bool intact(std::uint64_t position) const noexcept { return position_ <= position + ring_.cells; }
  [[nodiscard]] const ring::Ring& ring() const noexcept { return ring_; }

 private:
  std::uint64_t advance(std::uint64_t cells) noexcept {
    const std::uint64_t at = position_;
    position_ += cells;
    if (ring_.valid(ring_.mark(position_, std::memory_order_relaxed), position_)) [[unlikely]]
      wipe(position_);
    return at;
  }
  void wipe(std::uint64_t position) noexcept { ring_.at(position).h0.store(0, std::memory_order_relaxed); }
  [[gnu::noinline]] bool look_for_room(std::uint64_t need) noexcept {
    const std::uint64_t cursor = cursor_->load(std::memory_order_acquire);
    // An impossible cursor gives no room: it never goes back, and not beyond what was written.
    if (cursor <= position_ && cursor + ring_.cells > limit_) limit_ = cursor + ring_.cells;
    return position_ + need <= limit_;
  }

  ring::Ring ring_;
  const Word* cursor_ = nullptr;
  std::uint64_t position_ = 0;
  std::uint64_t limit_ = 0;
};

// A record as it was found. `call` is a copy; `body` lies in the ring.
struct Received {
  std::uint64_t position;
  std::uint64_t cells;
  std::int64_t sent_at;
  CallHeader call;
  std::span<const std::byte> body;
};

class LaneReader {
 public:
  LaneReader() noexcept = default;
  LaneReader(const ring::Ring& ring, Word& cursor) noexcept : ring_(ring), cursor_(&cursor), position_(ring.cells) {
    cursor.store(position_, std::memory_order_relaxed);
  }

  // The record at the position: `nothing`, `record`, or `corrupt`. Passes over what is skipped.
  [[gnu::always_inline]] ring::Found look(Received& received) noexcept {
    ring::View view;
    if (position_ >= lap_end_) [[unlikely]] {
      lap_word_ = ring_.lap_word(position_);
      lap_end_ = (position_ | ring_.mask) + 1;
    }
    if (!ring::look_for_record(ring_, lap_word_, position_, view) || position_ + view.cells > lap_end_ ||
        view.lengths.key != sizeof(CallHeader) || (view.lengths.headers | view.lengths.flags) != 0)
      return ready() ? look_slowly(received) : ring::Found::nothing;
    fill(received, view);
    return ring::Found::record;
  }
  [[nodiscard]] bool ready() const noexcept { return ring_.valid(ring_.mark(position_), position_); }
  // Until something is there, so many looks with pauses between at most. For those who have nothing else to look at: the first line of the
  // next body comes with the header, if the last record had one of its own, and not after it.
  void await(std::uint32_t looks) const noexcept {
    const ring::RecordHeader& header = ring_.at(position_);
    const ring::RecordHeader& body = last_cells_ > 1 ? ring_.at(position_ + 1) : header;
    const std::uint64_t lap_word = ring_.lap_word(position_);
    for (; looks != 0; --looks) {
      platform::prefetch_for_read(&body);
      if (ring::Ring::is_marked(header.h0.load(std::memory_order_acquire) ^ lap_word)) return;
      platform::pause();
    }
  }

  void pass(const Received& received) noexcept {
    position_ = received.position + received.cells;
    last_cells_ = received.cells;
  }
  // Gives back what is below.
  void publish(std::uint64_t position) noexcept { cursor_->store(position, std::memory_order_release); }

  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  [[nodiscard]] const ring::Ring& ring() const noexcept { return ring_; }

 private:
  void fill(Received& received, const ring::View& view) const noexcept {
    received.position = position_;
    received.cells = view.cells;
    received.sent_at = view.timestamp;
    std::memcpy(&received.call, view.data + ring::kRecordHeader, sizeof received.call);
    received.body = {view.data + kBodyAt, view.lengths.value};
  }
  [[gnu::noinline]] ring::Found look_slowly(Received& received) noexcept {
    for (;;) {
      ring::View view{};
      const ring::Found found = ring::look(ring_, position_, view);
      if (found == ring::Found::nothing) [[likely]]
        return found;
      if (found == ring::Found::corrupt || (position_ & ring_.mask) + view.cells > ring_.cells) return ring::Found::corrupt;
      if (found == ring::Found::skip) {  // only what is left at the end
        if ((position_ & ring_.mask) + view.cells != ring_.cells) return ring::Found::corrupt;
        position_ += view.cells;
        continue;
      }
      if (found == ring::Found::open || view.lengths.key != sizeof(CallHeader) || (view.lengths.headers | view.lengths.flags) != 0)
        return ring::Found::corrupt;
      fill(received, view);
      return ring::Found::record;
    }
  }

  ring::Ring ring_;
  Word* cursor_ = nullptr;
  std::uint64_t position_ = 0;
  std::uint64_t lap_word_ = 0;    // of the lap that ends at …
  std::uint64_t lap_end_ = 0;     // … cells
  std::uint64_t last_cells_ = 0;  // of the record passed last
};

}  // namespace arus::rpc
