// A partition for tests that lay out its bytes by hand: header words, slots and tail as the protocol's steps would leave them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "log/partition.h"
#include "ring/claim.h"
#include "ring/read.h"
#include "ring/repair.h"
#include "ring/room.h"
#include "support.h"

namespace arus::test {

using ring::Found;
using ring::Lengths;
using ring::Mark;
using ring::Refusal;
using ring::Repaired;
using ring::State;

// The smallest ring (C = 1024 cells), four producer slots, three groups.
class RawRing {
 public:
  static constexpr std::uint64_t kDead = 0xdead'dead'dead'dead;  // an incarnation without a lease
  static constexpr std::uint64_t kC = ring::kSmallestRing / ring::kCell;

  explicit RawRing(bool single_producer = false, std::uint32_t slots = 4) {
    must(platform::make_directory(directory_ / "leases", {.mode = 0700}));
    leases_ = must(platform::Leases::open(directory_ / "leases"));
    lease_ = must(platform::Lease::take(*leases_));
    const log::PartitionSpec spec{.topic_id = {1, 2},
                                  .partition = 0,
                                  .ring_bytes = ring::kSmallestRing,
                                  .slots = slots,
                                  .single_producer = single_producer,
                                  .first_offset = 0};
    must(log::create_partition(path(), spec, {}));
    partition_ = must(log::Partition::open(path(), platform::Access::write, spec.topic_id, 0));
    ring = partition_->ring();
    ring.leases = leases_.get();
    ring.cursors = cursors_.data();
    ring.cursor_count = static_cast<std::uint32_t>(cursors_.size());
  }

  [[nodiscard]] std::string path() const { return directory_ / "0"; }
  [[nodiscard]] std::uint64_t alive() const noexcept { return lease_->incarnation(); }
  [[nodiscard]] const platform::Leases& leases() const noexcept { return *leases_; }
  [[nodiscard]] ring::Cursor& cursor(std::uint32_t i) noexcept { return cursors_[i]; }

  void tail(std::uint64_t position, std::uint32_t owner, std::uint64_t offset) const noexcept {
    ring.header->tail.w0 = ring::tail_word(position, owner);
    ring.header->tail.w1 = offset;
  }
  void low(std::uint64_t position) const noexcept { ring.header->low.position = position; }
  // Slot `i` as after C4: the intent to claim `cells` at `position`, where the last claim was `previous`'s.
  void slot(std::uint32_t i, std::uint64_t incarnation, std::uint64_t position, std::uint32_t previous, std::uint64_t offset,
            std::uint64_t cells, std::uint64_t born = kC) const noexcept {
    ring::ProducerSlot& slot = ring.slots[i];
    slot.w2 = ring::extent_word(cells, 1);
    slot.w1 = offset;
    slot.w0 = ring::tail_word(position, previous);
    slot.born = born;
    slot.incarnation = incarnation;
  }
  // A record's header as after its step; the value fills what the cells hold.
  void record(std::uint64_t position, State state, std::uint32_t owner, std::uint64_t cells, std::uint64_t offset,
              std::uint32_t previous = ring::kNoOwner) const noexcept {
    ring::RecordHeader& header = ring.at(position);
    header.h1 = ring::chain_word(offset, previous);
    header.h2 = 1'000 + offset;
    header.h3 = Lengths{cells * ring::kCell - ring::kRecordHeader, 0, 0, Lengths::kNullKey}.word();
    ring.set_mark(position, state, owner, cells);
  }
  [[nodiscard]] Found look(std::uint64_t position) const noexcept {
    ring::View view{};
    return ring::look(ring, position, view);
  }
  [[nodiscard]] Repaired recover(std::uint64_t position) const noexcept { return ring::recover(ring, position, alive()).outcome; }
  // The words of a header, to show that nothing was written.
  [[nodiscard]] std::array<std::uint64_t, 4> words(std::uint64_t position) const noexcept {
    const ring::RecordHeader& header = ring.at(position);
    return {header.h0, header.h1, header.h2, header.h3};
  }
  // A group's cursor that holds producers back.
  void join(std::uint32_t i, std::uint64_t position, std::uint64_t owner, std::int64_t grace_ns = 3'600'000'000'000) noexcept {
    cursors_[i].position = position;
    cursors_[i].owner = owner;
    cursors_[i].grace = static_cast<std::uint64_t>(grace_ns);
    cursors_[i].held_since = 0;
    cursors_[i].state = ring::cursor_state(1, ring::CursorStatus::active);
  }

  ring::Ring ring;

 private:
  Directory directory_;
  std::shared_ptr<platform::Leases> leases_;
  std::unique_ptr<platform::Lease> lease_;
  std::shared_ptr<const log::Partition> partition_;
  std::vector<ring::Cursor> cursors_ = std::vector<ring::Cursor>(3);
};

}  // namespace arus::test
