#include "crash/ledger.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <stdexcept>

namespace arus::crash {

namespace {

constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

// A fate in two bits and an identity in the rest: one store, so that a kill leaves all of it or nothing.
constexpr unsigned kSenderShift = 2;
constexpr unsigned kSequenceShift = 26;

std::uint64_t pack(Ledger::Item item) {
  return static_cast<std::uint64_t>(item.fate) | std::uint64_t{item.identity.sender} << kSenderShift |
         item.identity.sequence << kSequenceShift;
}
Ledger::Item unpack(std::uint64_t word) {
  return {
      static_cast<Ledger::Fate>(word & 3),
      {static_cast<std::uint32_t>(word >> kSenderShift & ((1u << (kSequenceShift - kSenderShift)) - 1)), word >> kSequenceShift}};
}

std::string to_string(Ledger::Item item) {
  switch (item.fate) {
    case Ledger::Fate::unknown: return "unknown";
    case Ledger::Fate::delivered:
      return fmt::format("delivered (sender {}, sequence {})", item.identity.sender, item.identity.sequence);
    case Ledger::Fate::lost: return "lost";
    case Ledger::Fate::uncommitted: return "uncommitted";
  }
  return {};
}

struct ValueHead {
  std::uint32_t sender;
  std::uint32_t size;
  std::uint64_t sequence;
};
static_assert(sizeof(ValueHead) == kSmallestValue);

}  // namespace

void fill_value(std::span<std::byte> value, Identity identity) {
  const ValueHead head{identity.sender, static_cast<std::uint32_t>(value.size()), identity.sequence};
  std::memcpy(value.data(), &head, sizeof head);
  std::uint64_t word = mix(identity.sequence << 20 ^ identity.sender) | 1;
  for (std::size_t i = sizeof head; i < value.size(); i += sizeof word, word += 0x9E3779B97F4A7C15u)
    std::memcpy(value.data() + i, &word, std::min(sizeof word, value.size() - i));
}

std::optional<Identity> check_value(Bytes value) {
  ValueHead head{};
  if (value.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, value.data(), sizeof head);
  if (head.size != value.size()) return std::nullopt;
  std::uint64_t word = mix(head.sequence << 20 ^ head.sender) | 1;
  for (std::size_t i = sizeof head; i < value.size(); i += sizeof word, word += 0x9E3779B97F4A7C15u)
    if (std::memcmp(value.data() + i, &word, std::min(sizeof word, value.size() - i)) != 0) return std::nullopt;
  return Identity{head.sender, head.sequence};
}

struct Ledger::Shared {
  std::atomic<std::uint32_t> failed;
  std::atomic<std::uint32_t> failure_stands;
  std::array<char, 1024> failure;
  std::array<std::atomic<std::uint64_t>, kFlags> flags;
};

Ledger::Ledger(std::uint32_t senders, std::uint32_t readers, std::uint64_t offsets)
    : bytes_(sizeof(Shared) + senders * sizeof(Sender) + (readers + 1) * offsets * sizeof(std::uint64_t)),
      senders_(senders),
      offsets_(offsets) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  shared_ = static_cast<Shared*>(memory);  // zeros are what every member begins with
}

Ledger::~Ledger() { munmap(shared_, bytes_); }

Ledger::Sender& Ledger::sender(std::uint32_t i) const {
  if (i >= senders_) throw std::out_of_range("a ledger with more senders is needed");
  return reinterpret_cast<Sender*>(shared_ + 1)[i];
}

namespace {

std::atomic<std::uint64_t>* row(Ledger::Sender* senders, std::uint32_t count, std::uint64_t offsets, std::uint32_t row) {
  return reinterpret_cast<std::atomic<std::uint64_t>*>(senders + count) + row * offsets;
}

}  // namespace

void Ledger::note_placed(std::uint64_t offset, Identity identity) const {
  if (offset >= offsets_) return fail(fmt::format("offset {} is beyond what this test can have claimed", offset));
  auto& word = row(&sender(0), senders_, offsets_, 0)[offset];
  const std::uint64_t before = word.exchange(pack({Fate::delivered, identity}));
  if (before != 0)
    fail(fmt::format("offset {} was given twice: to {}, and to sender {}, sequence {}", offset, to_string(unpack(before)),
                     identity.sender, identity.sequence));
}

std::optional<Identity> Ledger::placed(std::uint64_t offset) const {
  const Item item = unpack(row(&sender(0), senders_, offsets_, 0)[offset].load());
  if (item.fate == Fate::unknown) return std::nullopt;
  return item.identity;
}

Ledger::Item Ledger::item(std::uint32_t reader, std::uint64_t offset) const {
  return unpack(row(&sender(0), senders_, offsets_, 1 + reader)[offset].load(std::memory_order_relaxed));
}

void Ledger::note(std::uint32_t reader, std::uint64_t offset, Item item) const {
  row(&sender(0), senders_, offsets_, 1 + reader)[offset].store(pack(item), std::memory_order_relaxed);
}

std::atomic<std::uint64_t>& Ledger::flag(std::uint32_t i) const { return shared_->flags.at(i); }

void Ledger::fail(const std::string& text) const {
  if (shared_->failed.exchange(1) != 0) return;
  const std::string whole = fmt::format("process {}: {}", getpid(), text);
  std::memcpy(shared_->failure.data(), whole.data(), std::min(whole.size(), shared_->failure.size() - 1));
  shared_->failure_stands.store(1);
}

std::string Ledger::failure() const {
  if (shared_->failed.load() == 0) return {};
  return shared_->failure_stands.load() != 0 ? shared_->failure.data() : "a process died while it reported a failure";
}

void Ledger::balance(std::uint32_t reader, std::uint64_t end, bool lossless, bool from_the_beginning) const {
  if (end > offsets_) return fail(fmt::format("{} offsets were claimed, more than this test can have", end));
  std::vector<std::vector<bool>> seen(senders_);
  for (std::uint32_t i = 0; i < senders_; ++i) seen[i].resize(sender(i).attempted.load());
  std::uint64_t begin = 0;
  while (!from_the_beginning && begin < end && item(reader, begin).fate == Fate::unknown) ++begin;
  if (begin == end) return fail(fmt::format("reader {} has received nothing at all", reader));
  for (std::uint64_t offset = begin; offset < end; ++offset) {
    const Item found = item(reader, offset);
    const auto noted = placed(offset);
    if (found.fate == Fate::unknown) return fail(fmt::format("reader {}: nothing became of offset {} of {}", reader, offset, end));
    if (found.fate == Fate::lost && lossless) return fail(fmt::format("reader {}: offset {} was lost", reader, offset));
    if (noted && found.fate == Fate::uncommitted)
      return fail(fmt::format("reader {}: offset {} was committed by sender {} (sequence {}) and is reported as uncommitted",
                              reader, offset, noted->sender, noted->sequence));
    if (found.fate != Fate::delivered) continue;
    if (noted && *noted != found.identity)
      return fail(fmt::format("reader {}: offset {} is {}, and was committed by sender {}, sequence {}", reader, offset,
                              to_string(found), noted->sender, noted->sequence));
    if (seen[found.identity.sender][found.identity.sequence])
      return fail(fmt::format("reader {}: a second time, at offset {}: {}", reader, offset, to_string(found)));
    seen[found.identity.sender][found.identity.sequence] = true;
  }
  if (!lossless || !from_the_beginning) return;
  for (std::uint32_t i = 0; i < senders_; ++i)
    for (std::uint64_t sequence = 0; sequence < sender(i).returned.load(); ++sequence)
      if (!seen[i][sequence] && !(sender(i).aborts.load() != 0 && is_aborted(sequence)))
        return fail(fmt::format("reader {}: sender {}'s record {} was committed and not delivered", reader, i, sequence));
}

std::uint64_t Ledger::delivered(std::uint32_t reader, std::uint64_t end, std::uint32_t sender) const {
  std::uint64_t number = 0;
  for (std::uint64_t offset = 0; offset < end; ++offset) {
    const Item found = item(reader, offset);
    number += found.fate == Fate::delivered && found.identity.sender == sender ? 1 : 0;
  }
  return number;
}

std::uint64_t Ledger::count(std::uint32_t reader, std::uint64_t end, Fate fate) const {
  std::uint64_t number = 0;
  for (std::uint64_t offset = 0; offset < end; ++offset) number += item(reader, offset).fate == fate ? 1 : 0;
  return number;
}

bool Auditor::settle(std::uint64_t from, std::uint64_t to, Ledger::Item item) {
  if (next_ && from != *next_) {
    ledger_.fail(fmt::format("reader {}: after offset {} comes {} to {}", reader_, *next_, from, to));
    return false;
  }
  if (to <= from || to > ledger_.offsets()) {
    ledger_.fail(fmt::format("reader {}: impossible offsets {} to {}", reader_, from, to));
    return false;
  }
  for (std::uint64_t offset = from; offset < to; ++offset) {
    // What an earlier life of this reader saw there must be the same, unless one of them lost it.
    const Ledger::Item before = ledger_.item(reader_, offset);
    if (before.fate != Ledger::Fate::unknown && before.fate != Ledger::Fate::lost && item.fate != Ledger::Fate::lost &&
        (before.fate != item.fate || before.identity != item.identity)) {
      ledger_.fail(fmt::format("reader {}: offset {} was {} and is now {}", reader_, offset, to_string(before), to_string(item)));
      return false;
    }
    if (before.fate == Ledger::Fate::unknown || before.fate == Ledger::Fate::lost) ledger_.note(reader_, offset, item);
  }
  next_ = to;
  return true;
}

bool Auditor::take(const Record& record) {
  const auto identity = check_value(record.value());
  if (!identity || identity->sender >= ledger_.senders()) {
    ledger_.fail(fmt::format("reader {}: the record at offset {} ({} bytes) is torn or foreign", reader_, record.offset(),
                             record.value().size()));
    return false;
  }
  const Ledger::Sender& sender = ledger_.sender(identity->sender);
  std::uint64_t& last = last_[identity->sender];
  if (identity->sequence >= sender.attempted.load() || identity->sequence < last ||
      (sender.aborts.load() != 0 && is_aborted(identity->sequence))) {
    ledger_.fail(fmt::format("reader {}: sender {}'s record {} at offset {}: attempted {}, the last one delivered {}", reader_,
                             identity->sender, identity->sequence, record.offset(), sender.attempted.load(), last));
    return false;
  }
  last = identity->sequence + 1;
  return settle(record.offset(), record.offset() + 1, {Ledger::Fate::delivered, *identity});
}

bool Auditor::take(const Batch& batch) {
  auto gap = batch.gaps().begin();
  const auto take_gaps = [&](std::uint64_t up_to) {
    for (; gap != batch.gaps().end() && gap->from < up_to; ++gap)
      if (!settle(gap->from, gap->to, {gap->kind == Gap::Kind::lost ? Ledger::Fate::lost : Ledger::Fate::uncommitted, {}}))
        return false;
    return true;
  };
  for (const Record& record : batch)
    if (!take_gaps(record.offset()) || !take(record)) return false;
  return take_gaps(~std::uint64_t{0});
}

}  // namespace arus::crash
