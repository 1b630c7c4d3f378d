// The books of a crash test, in memory that all its processes share and that no death takes away: who handed what to the library,
// what came back from it, and what became of every offset.
//
// A record is identified by its sender (one number per life of a producer) and its sequence number there; both stand in its value, and
// every other byte of the value follows from them. A sender raises `attempted` before a call and `returned` after it: what is below
// `returned` is committed, what lies between the two may be either.
#pragma once

#include <arus/consumer.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace arus::crash {

struct Identity {
  std::uint32_t sender;
  std::uint64_t sequence;
  bool operator==(const Identity&) const = default;
};

inline constexpr std::size_t kSmallestValue = 16;
void fill_value(std::span<std::byte> value, Identity identity);
// Nothing if any byte is not what it must be.
std::optional<Identity> check_value(Bytes value);

// A sender of loans drops these instead of committing them.
constexpr bool is_aborted(std::uint64_t sequence) { return sequence % 7 == 3; }

class Ledger {
 public:
  struct Sender {
    std::atomic<std::uint64_t> attempted;
    std::atomic<std::uint64_t> returned;
    std::atomic<std::uint32_t> aborts;    // 1: it is a sender of loans, see is_aborted
    std::atomic<std::uint32_t> refusals;  // calls that found no room
    std::array<char, 512> refusal;        // the text of the last one; written by the sender, read when it is over or waits
  };
  enum class Fate : std::uint8_t { unknown = 0, delivered = 1, lost = 2, uncommitted = 3 };
  struct Item {  // of one offset, for one reader
    Fate fate;
    Identity identity;  // of what was delivered
  };

  Ledger(std::uint32_t senders, std::uint32_t readers, std::uint64_t offsets);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  [[nodiscard]] std::uint32_t senders() const { return senders_; }
  [[nodiscard]] std::uint64_t offsets() const { return offsets_; }
  [[nodiscard]] Sender& sender(std::uint32_t i) const;
  void note_placed(std::uint64_t offset, Identity identity) const;
  [[nodiscard]] std::optional<Identity> placed(std::uint64_t offset) const;
  [[nodiscard]] Item item(std::uint32_t reader, std::uint64_t offset) const;
  void note(std::uint32_t reader, std::uint64_t offset, Item item) const;

  // Signals between the processes of a case.
  std::atomic<std::uint64_t>& flag(std::uint32_t i) const;
  static constexpr std::uint32_t kFlags = 64;

  // The first failure that any process found; it is kept, and the caller goes on or ends.
  void fail(const std::string& text) const;
  [[nodiscard]] std::string failure() const;

  // When all is over: every offset below `end` has a fate with `reader`, and the fates fit the notes. Lossless: nothing is lost, and
  // what every sender got back is delivered. A reader that came when records may have been overwritten already answers for what is
  // behind its first offset only.
  void balance(std::uint32_t reader, std::uint64_t end, bool lossless, bool from_the_beginning = true) const;
  // How many records of a sender `reader` has received.
  [[nodiscard]] std::uint64_t delivered(std::uint32_t reader, std::uint64_t end, std::uint32_t sender) const;
  [[nodiscard]] std::uint64_t count(std::uint32_t reader, std::uint64_t end, Fate fate) const;

 private:
  struct Shared;
  Shared* shared_;
  std::size_t bytes_;
  std::uint32_t senders_;
  std::uint64_t offsets_;
};

// One life of a reader: checks each batch as it comes and writes it into the ledger.
class Auditor {
 public:
  Auditor(const Ledger& ledger, std::uint32_t reader) : ledger_(ledger), reader_(reader), last_(ledger.senders()) {}
  // False after a failure.
  bool take(const Batch& batch);
  // The offset behind everything that was taken.
  [[nodiscard]] std::uint64_t next() const { return next_.value_or(0); }

 private:
  bool settle(std::uint64_t from, std::uint64_t to, Ledger::Item item);
  bool take(const Record& record);
  const Ledger& ledger_;
  std::uint32_t reader_;
  std::optional<std::uint64_t> next_;
  std::vector<std::uint64_t> last_;  // per sender: sequence + 1
};

}  // namespace arus::crash
