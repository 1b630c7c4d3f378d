// A group's members over several partitions, in processes of their own: each record that a member is handed is noted in the ledger, and
// that nobody else reads its partition meanwhile is checked.
#pragma once

#include <map>

#include "crash/world.h"

namespace arus::crash {

// Of the ledger: an offset of a partition has the place partition * `each` + offset in a reader's row; a row is a group.
class Team {
 public:
  Team(const World& world, std::uint32_t partitions, std::uint64_t each) : world_(world), partitions_(partitions), each_(each) {}

  [[nodiscard]] std::uint64_t place(std::uint32_t partition, std::uint64_t offset) const { return partition * each_ + offset; }
  // Sends to all partitions in turn; between two records asks whether to go on.
  void send(std::uint32_t sender, std::chrono::microseconds pause_every_8th,
            const std::function<bool(std::uint64_t sent)>& goes_on) const;

  // A member's life, to its orderly end: when `enough`, or when its row is complete.
  struct Life {
    std::uint32_t row = 0;
    ConsumerConfig config;
    std::function<bool(const Consumer&, std::uint64_t handed)> enough{};
  };
  void take_part(const Life& life) const;
  // Whether somebody reads each partition, for that row.
  [[nodiscard]] bool all_read(std::uint32_t row) const;

  // When nobody sends any more: rows are complete when every offset below now has a fate there.
  void end() const;
  // What has been committed was delivered (lossless), or delivered or reported as lost; call it when the members have ended.
  void balance(std::uint32_t row, bool lossless) const;
  [[nodiscard]] std::uint64_t count(std::uint32_t row, Ledger::Fate fate) const;

 private:
  class Member;
  [[nodiscard]] std::atomic<std::uint64_t>& reader_of(std::uint32_t row, std::uint32_t partition) const;
  [[nodiscard]] std::uint64_t end_of(std::uint32_t partition) const;

  const World& world_;
  std::uint32_t partitions_;
  std::uint64_t each_;
};

// Flags of the ledger that a team leaves to its scenario.
inline constexpr std::uint32_t kOfScenario = kFree + 48;

}  // namespace arus::crash
