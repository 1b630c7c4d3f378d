// A producer's last small record once more, in lines that are always the same: for who waits for the next one.
//
// On some machines the next line of a log comes from farther away than one that two processes pass to and fro all the time, and its producer gets it back
// late from who has polled it. There who waits for one record after the other of the same producer polls its Latest, and not the log.
//
// Roles. The producer that registered slot i writes latest[i], but for `passed`; anybody reads it. It is a hint: what is not here is in the log, where
// who waits here looks every now and then as well.
//   L1 position := 0   L2 what, timestamp, value   L3 position := the record's + 1 (release)
//   reader   M1 position (acquire) is the one waited for, + 1   M2 the rest, copied   M3 fence, position once more: still the same
// A record that does not fit behind one that did is told of as being elsewhere; so is one that was aborted. Who commits behind another producer's claim
// says so in that one's `passed`: both send who waits for that record to the log at once, and others after their looks.
// Invariant. Whoever sees p + 1 here, and a size, sees h0 COMMITTED at p: L1 to L3 come behind the commit. Positions do not come back, so that M1 and M3
// mean the same record, and what was read between was written between its L1 and L3.
// Pairs. L3 with M1: what L2 has stored is visible. The fence behind L1 with the one of M3: who has read anything of the next record's L2 sees its L1.
// `passed` is a plain hint (relaxed on both sides): who follows it looks at h0 itself, with acquire, and stays with the log.
// Crash: behind the commit and before L1 an older record stands here, before L3 nothing; before `passed` is stored nobody is sent away. Each time the log
// has all, the reader finds it there after its looks, and nothing is to be repaired. A new owner of the slot overwrites what it finds.
// Trust: the size is checked, position and offset are those that come next, and what is copied is the reader's own; who may write here may forge a
// header as well. Model: latest.pml.
//
// Who is answered by the same thread each time can own the line in time, before the answer is written: a store takes it from whoever polls it, which
// takes as long as what was polled took to come. If too early, it is polled back before it is written. Where cores share a cache, the time that a
// send takes is right (ask_for); where they do not, the time from the request's arrival is (ask_for_answer), if it is polled a little more slowly.
#pragma once

#include <utility>

#include "platform/cpu.h"
#include "platform/kill_point.h"
#include "ring/ring.h"

namespace arus::ring {

// The line in which this thread has told of its last record, until it asks for it; null: it has not. Never followed.
inline constinit thread_local const Latest* told_last = nullptr;

// What of a value's bytes does not fit beside the words.
constexpr bool has_second_line(std::size_t size) noexcept { return size > kCell - offsetof(Latest, value); }
inline const std::byte* second_line(const Latest& latest) noexcept { return reinterpret_cast<const std::byte*>(&latest) + kCell; }

// Before a record of that size is told of.
[[gnu::always_inline]] inline void ask_for(const Latest& latest, std::size_t size) noexcept {
  platform::prefetch_for_write(&latest);
  if (has_second_line(size)) platform::prefetch_for_write(second_line(latest));
}

// When a record of that size has come, which may be answered.
inline void ask_for_answer(std::size_t size) noexcept {
  if (const Latest* const latest = std::exchange(told_last, nullptr); latest != nullptr) ask_for(*latest, size);
}

// `size`: at most Latest::kMostValue.
[[gnu::always_inline]] inline void tell(Latest& latest, std::uint64_t position, std::uint64_t offset, std::int64_t timestamp,
                                        const std::byte* value, std::size_t size) noexcept {
  latest.position.store(0, std::memory_order_relaxed);
  platform::fence_release();
  ARUS_KILL_POINT("L1");
  latest.what.store(Latest::word(offset, size), std::memory_order_relaxed);
  latest.timestamp.store(static_cast<std::uint64_t>(timestamp), std::memory_order_relaxed);
  platform::copy_little(latest.value.data(), value, size);
  latest.position.store(position + 1, std::memory_order_release);
  ARUS_KILL_POINT("L3");
  told_last = &latest;
}

// Of a record that is in the log only.
inline void tell_elsewhere(Latest& latest, std::uint64_t position) noexcept {
  latest.position.store(0, std::memory_order_relaxed);
  platform::fence_release();
  latest.what.store(Latest::kElsewhere, std::memory_order_relaxed);
  latest.position.store(position + 1, std::memory_order_release);
  ARUS_KILL_POINT("L3-elsewhere");
}

}  // namespace arus::ring
