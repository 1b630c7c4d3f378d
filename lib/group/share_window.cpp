#include "group/share_window.h"

#include <algorithm>
#include <bit>

#include "log/seek.h"
#include "platform/kill_point.h"

namespace arus::group {

using platform::fail;
using platform::pass;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

namespace {

void raise(Word& word, std::uint64_t to) noexcept {
  std::uint64_t now = word.load(memory_order_relaxed);
  while (now < to && !word.compare_exchange_weak(now, to, memory_order_acq_rel, memory_order_relaxed)) {
  }
}

// The record at `place`, where `view` is what stands under its header. False: there is none.
bool pick(SharePlace place, ring::View& view) noexcept {
  if (place.index() >= view.lengths.records()) return false;
  if (view.lengths.is_packed()) view = ring::unpacked(view, place.index());
  return true;
}

}  // namespace

SharedPartition::SharedPartition(const ring::Ring& ring, ring::Cursor& cursor, std::byte* window, std::uint32_t entries,
                                 Word* holders) noexcept
    : ring_(ring),
      cursor_(&cursor),
      window_(reinterpret_cast<ShareWindow*>(window)),
      entries_(reinterpret_cast<ShareEntry*>(window + sizeof(ShareWindow))),
      holders_(holders),
      mask_(entries - 1),
      lap_shift_(static_cast<unsigned>(std::countr_zero(entries))) {}

// ---- filling ---------------------------------------------------------------------------------------------------------------------

SharedPartition::Filled SharedPartition::fill() noexcept {
  const std::uint64_t state = cursor_->state.load(memory_order_acquire);
  if (!fits(state)) return Filled::unfit;
  const std::uint64_t sequence = window_->end.load(memory_order_acquire);
  const SharePlace place = end_place();
  const std::uint64_t base = window_->base.load(memory_order_acquire);
  if (base > sequence) return Filled::one;  // others went on meanwhile
  if (sequence - base > mask_) return Filled::full;
  ring::View view{};
  const ring::Found found = ring::look(ring_, place.position(), view);
  platform::fence_acquire();
  if (cursor_->state.load(memory_order_relaxed) != state) return Filled::unfit;
  // As long as the end is where it was, nothing behind it was given free, and what was read is what stands there.
  if (window_->end.load(memory_order_acquire) != sequence || end_place().word != place.word) return Filled::one;
  if (found == ring::Found::nothing || found == ring::Found::open) return Filled::nothing;
  const SharePlace behind{place.position() + view.cells};
  if (found == ring::Found::corrupt || behind.position() > ring_.tail()) return Filled::corrupt;
  const bool is_record = found == ring::Found::record;
  const bool has_next = is_record && (view.grows || place.index() + 1 < view.lengths.records());
  // All of one that grows is filled in: there is nothing, until it has ended, and then an entry for that, as for a claim that was skipped.
  const bool is_end = is_record && view.lengths.records() == place.index() && view.lengths.grew();
  if (is_end && view.grows) return Filled::nothing;
  if (is_record ? !is_end && !pick(place, view) : place.index() != 0) return Filled::corrupt;
  const bool is_ours = is_record && !is_end && view.offset >= window_->begin_offset.load(memory_order_relaxed);
  ShareEntry& entry = this->entry(sequence);
  const platform::Pair before{entry.state.load(memory_order_acquire), entry.place.load(memory_order_relaxed)};
  if (const EntryWord old{before.first}; old.lap() != lap(sequence)) {
    if (old.lap() != lap(sequence - mask_ - 1) || !old.settled())
      return window_->end.load(memory_order_acquire) != sequence ? Filled::one : Filled::corrupt;
    const EntryWord fresh = EntryWord::make(is_ours ? EntryState::available : EntryState::done, lap(sequence));
    if (!platform::compare_exchange(&entry.state, before, {fresh.word, place.word})) return Filled::one;
    ARUS_KILL_POINT("S-filled");
  }
  if (platform::compare_exchange(&window_->end, {sequence, place.word}, {sequence + 1, (has_next ? place.next() : behind).word})) {
    raise(window_->filled_offset, view.offset + 1);
    ARUS_KILL_POINT("S-counted");
  }
  if (!is_ours) advance();
  return Filled::one;
}

// ---- taking, settling, putting back --------------------------------------------------------------------------------------------------

SharedPartition::Found SharedPartition::acquire(std::uint32_t holder, std::uint32_t most, Acquired& acquired) noexcept {
  for (std::uint64_t turns = ring_.cells + 2 * mask_; turns != 0; --turns) {
    const std::uint64_t state = cursor_->state.load(memory_order_acquire);
    if (!fits(state)) return Found::unfit;
    const std::uint64_t end = window_->end.load(memory_order_acquire);
    const std::uint64_t base = window_->base.load(memory_order_acquire);
    if (base > end ? base > window_->end.load(memory_order_acquire) : end - base > mask_ + 1) return Found::corrupt;
    if (const std::uint64_t returned = window_->returned.load(memory_order_acquire); returned != seen_returned_) {
      seen_returned_ = returned;
      next_ = base;
    }
    if (next_ < base || next_ > end) next_ = base;
    while (next_ < end) {
      const std::uint64_t sequence = next_++;
      ShareEntry& entry = this->entry(sequence);
      const EntryWord word{entry.state.load(memory_order_acquire)};
      if (!is_of(sequence, word)) {
        if (window_->base.load(memory_order_acquire) <= sequence) return Found::corrupt;
        break;
      }
      if (word.state() != EntryState::available) continue;
      const bool is_worn_out = word.deliveries() >= most;
      const EntryWord mine = EntryWord::make(EntryState::acquired, word.lap(), word.deliveries() + (is_worn_out ? 0 : 1), holder);
      if (std::uint64_t expected = word.word; !entry.state.compare_exchange_strong(expected, mine.word, memory_order_acq_rel))
        continue;
      ARUS_KILL_POINT("S-acquired");
      const SharePlace place{entry.place.load(memory_order_relaxed)};
      const ring::Found found = ring::look(ring_, place.position(), acquired.view);
      platform::fence_acquire();
      const bool is_held = cursor_->state.load(memory_order_relaxed) == state;
      if (is_held && found == ring::Found::record && pick(place, acquired.view)) [[likely]] {
        acquired.sequence = sequence;
        acquired.word = mine;
        acquired.is_worn_out = is_worn_out;
        if (!is_worn_out && word.deliveries() != 0) window_->redelivered.fetch_add(1, memory_order_relaxed);
        return Found::record;
      }
      put_back(sequence, mine, word.deliveries());
      return is_held ? Found::corrupt : Found::unfit;
    }
    if (next_ < end) continue;
    switch (fill()) {
      case Filled::one: continue;
      case Filled::nothing:
      case Filled::full: return Found::nothing;
      case Filled::unfit: return Found::unfit;
      case Filled::corrupt: return Found::corrupt;
    }
  }
  return Found::nothing;
}

bool SharedPartition::ready() const noexcept {
  const std::uint64_t end = window_->end.load(memory_order_acquire);
  if (next_ < end || window_->returned.load(memory_order_acquire) != seen_returned_) return true;
  if (ring_.deleted()) return true;
  if (end - window_->base.load(memory_order_acquire) > mask_) return false;
  const SharePlace place = end_place();
  ring::View view;
  const ring::Found found = ring::look(ring_, place.position(), view);
  return found == ring::Found::record ? !view.grows || place.index() < view.lengths.records() : found > ring::Found::open;
}

bool SharedPartition::holds(std::uint64_t sequence, EntryWord word) const noexcept {
  return entry(sequence).state.load(memory_order_acquire) == word.word;
}

bool SharedPartition::is_gone(std::uint64_t sequence) const noexcept {
  const EntryWord word{entry(sequence).state.load(memory_order_acquire)};
  return is_of(sequence, word) && word.state() == EntryState::gone;
}

bool SharedPartition::settle(std::uint64_t sequence, EntryWord word) noexcept {
  const EntryWord done = EntryWord::make(EntryState::done, word.lap());
  if (!entry(sequence).state.compare_exchange_strong(word.word, done.word, memory_order_seq_cst)) return false;
  ARUS_KILL_POINT("S-settled");
  return true;
}

bool SharedPartition::put_back(std::uint64_t sequence, EntryWord word, std::uint32_t deliveries) noexcept {
  const EntryWord back = EntryWord::make(EntryState::available, word.lap(), deliveries);
  if (!entry(sequence).state.compare_exchange_strong(word.word, back.word, memory_order_acq_rel)) return false;
  ARUS_KILL_POINT("S-put-back");
  window_->returned.fetch_add(1, memory_order_acq_rel);
  ring_.data.wake();
  return true;
}

std::uint32_t SharedPartition::put_back_all(std::uint32_t holder, std::uint64_t incarnation) noexcept {
  std::uint32_t count = 0;
  const std::uint64_t end = window_->end.load(memory_order_acquire);
  const std::uint64_t base = window_->base.load(memory_order_acquire);
  if (end < base || end - base > mask_ + 1) return 0;
  for (std::uint64_t sequence = base; sequence < end; ++sequence) {
    const EntryWord word{entry(sequence).state.load(memory_order_acquire)};
    if (!is_of(sequence, word) || word.state() != EntryState::acquired || word.holder() != holder) continue;
    ARUS_KILL_POINT("S-found-held");
    // After the look at the entry, see the top of the header.
    if (holders_[holder].load(memory_order_acquire) != incarnation) return count;
    if (put_back(sequence, word, word.deliveries())) ++count;
  }
  return count;
}

std::uint32_t SharedPartition::count_held(std::uint32_t holder) const noexcept {
  std::uint32_t count = 0;
  for (std::uint64_t i = 0; i <= mask_; ++i) {
    const EntryWord word{entries_[i].state.load(memory_order_relaxed)};
    if (word.state() == EntryState::acquired && word.holder() == holder) ++count;
  }
  return count;
}

void SharedPartition::advance() noexcept {
  bool was_full = false;
  for (std::uint64_t turns = 2 * (mask_ + 1); turns != 0; --turns) {
    std::uint64_t base = window_->base.load(memory_order_seq_cst);
    const std::uint64_t end = window_->end.load(memory_order_acquire);
    if (base >= end) break;
    const EntryWord word{entry(base).state.load(memory_order_seq_cst)};
    if (!is_of(base, word) || !word.settled()) break;
    was_full |= end - base > mask_;
    window_->base.compare_exchange_strong(base, base + 1, memory_order_seq_cst);
    ARUS_KILL_POINT("S-base");
  }
  publish();
  if (was_full) ring_.data.wake();  // those who found no entry free
}

// Tells producers what was settled: everything before base, of which the last entry says where it ends. That is read in the ring, where it
// stands as long as the cursor has not passed it.
void SharedPartition::publish() noexcept {
  for (int attempts = 8; attempts != 0; --attempts) {
    const std::uint64_t state = cursor_->state.load(memory_order_acquire);
    if (!fits(state)) return;
    const std::uint64_t last = window_->base.load(memory_order_acquire) - 1;
    const ShareEntry& entry = this->entry(last);
    const EntryWord word{entry.state.load(memory_order_acquire)};
    const SharePlace place{entry.place.load(memory_order_acquire)};
    const std::uint64_t position = place.position();
    if (!is_of(last, word) || EntryWord{entry.state.load(memory_order_acquire)}.lap() != word.lap()) continue;
    if (cursor_->position.load(memory_order_acquire) > position) return;
    std::uint64_t behind = position;
    if (word.state() == EntryState::done) {
      ring::View view{};
      const ring::Found found = ring::look(ring_, position, view);
      platform::fence_acquire();
      if (cursor_->position.load(memory_order_relaxed) > position || cursor_->state.load(memory_order_relaxed) != state) continue;
      if ((found != ring::Found::record && found != ring::Found::skip) || position + view.cells > ring_.tail()) return;
      // (Of the end of one that grew: what is behind its last.)
      const std::uint64_t passed =
          found == ring::Found::record ? std::min(place.index() + 1, view.lengths.records()) : place.index() + 1;
      raise(cursor_->committed, std::max(view.offset + passed, window_->begin_offset.load(memory_order_relaxed)));
      ARUS_KILL_POINT("S-committed");
      // Of packed ones the last gives the room back, when nobody will look there any more for what comes next. (What lengths a claim has that
      // was skipped is not said.)
      const bool is_last = found == ring::Found::skip || (place.index() + 1 >= view.lengths.records() && !view.grows);
      if (is_last && end_place().position() != position) behind = position + view.cells;
    }
    if (behind == cursor_->position.load(memory_order_relaxed)) return;
    raise(cursor_->position, behind);
    ARUS_KILL_POINT("S-moved");
    ring_.room.wake();
    return;
  }
}

// ---- owner and order -------------------------------------------------------------------------------------------------------------

// An entry whose record stood below a position that the ring has given up. True if somebody might still have wanted it. Counted first: after a
// crash in between one record more is reported as lost than was, and never one less.
bool SharedPartition::give_up(std::uint64_t sequence, std::uint64_t below) noexcept {
  ShareEntry& entry = this->entry(sequence);
  for (std::uint64_t now = entry.state.load(memory_order_acquire);;) {
    const EntryWord word{now};
    if (!is_of(sequence, word) || word.settled()) return false;
    if (SharePlace{entry.place.load(memory_order_relaxed)}.position() >= below) return false;
    window_->lost.fetch_add(1, memory_order_relaxed);
    if (entry.state.compare_exchange_strong(now, EntryWord::make(EntryState::gone, word.lap()).word, memory_order_seq_cst))
      return true;
    window_->lost.fetch_sub(1, memory_order_relaxed);
  }
}

// The end goes on at `position`. The entry at the old end is used up for that, so that somebody who is just filling it fails.
bool SharedPartition::jump(std::uint64_t position) noexcept {
  for (std::uint64_t turns = 2 * (mask_ + 1); turns != 0; --turns) {
    const std::uint64_t sequence = window_->end.load(memory_order_acquire);
    const SharePlace from = end_place();
    if (from.position() >= position) return true;
    advance();
    ShareEntry& entry = this->entry(sequence);
    const platform::Pair before{entry.state.load(memory_order_acquire), entry.place.load(memory_order_relaxed)};
    const EntryWord old{before.first};
    if (is_of(sequence, old)) {
      give_up(sequence, position);
    } else if (!old.settled() || old.lap() != lap(sequence - mask_ - 1) ||
               !platform::compare_exchange(&entry.state, before,
                                           {EntryWord::make(EntryState::gone, lap(sequence)).word, position})) {
      continue;
    }
    ARUS_KILL_POINT("S-jumping");
    platform::compare_exchange(&window_->end, {sequence, from.word}, {sequence + 1, position});
  }
  return false;
}

Result<bool> SharedPartition::reorder(std::uint64_t lease, std::uint64_t member, const Policy& policy, Start start, Lost& lost) {
  take(*cursor_, lease, member, *ring_.leases);
  std::uint64_t state = cursor_->state.load(memory_order_acquire);
  if (fits(state)) {
    // Nothing was lost. The generation rises, so that an eviction by somebody who has just seen the lease dead fails.
    const std::uint64_t generation = (state >> 8) + 1;
    window_->generation.store(generation, memory_order_release);
    ARUS_KILL_POINT("S-raised");
    if (cursor_->state.compare_exchange_strong(state, ring::cursor_state(generation, ring::CursorStatus::active),
                                               memory_order_acq_rel))
      return false;
  }
  window_->generation.store(0, memory_order_release);
  ARUS_KILL_POINT("S-unfit");
  const Resumption resumption = resume(ring_, *cursor_, policy);
  const std::uint64_t size = mask_ + 1;
  const bool is_fresh = window_->end.load(memory_order_acquire) == 0;
  std::uint64_t given_up = 0;
  if (is_fresh) {
    window_->base.store(size, memory_order_relaxed);
    window_->end_place.store(resumption.position, memory_order_relaxed);
    window_->end.store(size, memory_order_release);
  } else {
    const std::uint64_t end = window_->end.load(memory_order_acquire);
    const std::uint64_t base = window_->base.load(memory_order_acquire);
    bool is_whole = base >= size && base <= end && end - base <= size;
    for (std::uint64_t sequence = base; is_whole && sequence <= end; ++sequence)
      given_up += give_up(sequence, resumption.position) ? 1 : 0;
    ARUS_KILL_POINT("S-given-up");
    is_whole = is_whole && jump(resumption.position);
    if (!is_whole)
      return fail(Errc::corrupt, "the window of a share group in {} has impossible content; delete the group", *ring_.path);
  }
  switch (resumption.from) {
    case Resumption::From::start: {
      const auto place = log::at_start(ring_, start);
      if (!place) {
        forget_beginning(*cursor_);
        return pass(place);
      }
      const auto wanted = static_cast<std::uint64_t>(start.value());
      const std::uint64_t offset = start.at() == Start::At::offset ? std::max(wanted, place->offset) : place->offset;
      window_->begin_offset.store(offset, memory_order_relaxed);
      raise(window_->filled_offset, offset);
      begin_committed(*cursor_, offset);
      break;
    }
    case Resumption::From::committed:
      if (is_fresh) window_->begin_offset.store(resumption.committed, memory_order_relaxed);
      raise(window_->filled_offset, resumption.committed);
      cursor_->rejoined.store(0, memory_order_release);
      break;
    case Resumption::From::evicted: {
      if (is_fresh) window_->begin_offset.store(resumption.committed, memory_order_relaxed);
      raise(window_->filled_offset, resumption.committed);
      const auto first = log::at_offset(ring_, resumption.committed);
      if (!first) return pass(first);
      const std::uint64_t filled = window_->filled_offset.load(memory_order_relaxed);
      const std::uint64_t unseen = first->offset - std::min(first->offset, filled);
      lost = {resumption.committed, first->offset, given_up + unseen};
      window_->lost.fetch_add(unseen, memory_order_relaxed);
      raise(window_->filled_offset, first->offset);
      cursor_->lost.fetch_add(lost.records, memory_order_relaxed);
      cursor_->rejoined.store(0, memory_order_release);
      break;
    }
  }
  ARUS_KILL_POINT("S-ordered");
  window_->generation.store(resumption.state >> 8, memory_order_release);
  look_from_base();
  advance();
  ring_.data.wake();
  return lost.records != 0;
}

ShareCounts SharedPartition::counts() const noexcept {
  ShareCounts counts{};
  const std::uint64_t end = window_->end.load(memory_order_acquire);
  const std::uint64_t base = window_->base.load(memory_order_acquire);
  for (std::uint64_t sequence = base; sequence < end && sequence - base <= mask_; ++sequence) {
    const EntryWord word{entry(sequence).state.load(memory_order_relaxed)};
    if (!is_of(sequence, word)) continue;
    counts.available += word.state() == EntryState::available ? 1 : 0;
    counts.acquired += word.state() == EntryState::acquired ? 1 : 0;
  }
  const std::uint64_t behind = log::latest(ring_).offset;
  counts.available += behind - std::min(behind, window_->filled_offset.load(memory_order_relaxed));
  counts.accepted = window_->accepted.load(memory_order_relaxed);
  counts.rejected = window_->rejected.load(memory_order_relaxed);
  counts.redelivered = window_->redelivered.load(memory_order_relaxed);
  counts.dead_lettered = window_->dead_lettered.load(memory_order_relaxed);
  counts.discarded = window_->discarded.load(memory_order_relaxed);
  counts.lost = window_->lost.load(memory_order_relaxed);
  return counts;
}

}  // namespace arus::group
