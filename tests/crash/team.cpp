#include "crash/team.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace arus::crash {

using std::chrono::milliseconds;

namespace {

constexpr std::uint32_t kRow = 8;          // flags per row: who reads each partition
constexpr std::uint32_t kEnds = 4 * kRow;  // and behind them the partitions' ends, plus one
constexpr std::size_t kLargestValue = 300;

// Neither dead nor dying: who is killed gives its locks up on the way to its end.
bool is_alive(std::uint64_t pid) {
  constexpr std::uint64_t kExiting = 4;  // PF_EXITING of the kernel, in the ninth field of proc_pid_stat(5)
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return false;
  std::istringstream fields(text.substr(name_end + 1));
  char state = 'X';
  std::int64_t ignored = 0;
  std::uint64_t flags = 0;
  fields >> state;
  for (int field = 4; field < 9; ++field) fields >> ignored;
  fields >> flags;
  return fields && state != 'Z' && state != 'X' && (flags & kExiting) == 0;
}

}  // namespace

std::atomic<std::uint64_t>& Team::reader_of(std::uint32_t row, std::uint32_t partition) const {
  return world_.ledger().flag(kFree + row * kRow + partition);
}
std::uint64_t Team::end_of(std::uint32_t partition) const { return world_.ledger().flag(kFree + kEnds + partition).load() - 1; }

bool Team::all_read(std::uint32_t row) const {
  for (std::uint32_t i = 0; i < partitions_; ++i)
    if (reader_of(row, i).load() == 0) return false;
  return true;
}

void Team::send(std::uint32_t number, std::chrono::microseconds pause_every_8th,
                const std::function<bool(std::uint64_t)>& goes_on) const {
  Bus bus = world_.open();
  Producer producer = bus.topic(kTopic).value().producer().value();
  Ledger::Sender& sender = world_.ledger().sender(number);
  std::vector<std::byte> bytes(kLargestValue);
  for (std::uint64_t sequence = 0; goes_on(sequence); ++sequence) {
    const std::span<std::byte> value(bytes.data(), kSmallestValue + sequence * 7 % (kLargestValue - kSmallestValue));
    fill_value(value, {number, sequence});
    sender.attempted.store(sequence + 1);
    const auto partition = static_cast<std::uint32_t>((sequence + number) % partitions_);
    const auto placed = producer.send(value, {.partition = partition}, std::chrono::seconds(60));
    if (!placed) throw std::runtime_error(std::string(placed.error().message()));
    if (placed->offset >= each_) throw std::runtime_error("a ledger with more offsets is needed");
    world_.ledger().note_placed(place(partition, placed->offset), {number, sequence});
    sender.returned.store(sequence + 1);
    if (sequence % 8 == 7 && pause_every_8th.count() != 0) nap(pause_every_8th);
  }
}

// One life of a member: where it is in each partition that it reads now.
class Team::Member {
 public:
  Member(const Team& team, std::uint32_t row) : team_(team), ledger_(team.world_.ledger()), row_(row) {}

  AssignmentListener listener() {
    return {.assigned =
                [this](std::span<const TopicPartition> partitions) {
                  for (const TopicPartition& one : partitions) take(one.partition);
                },
            .revoked =
                [this](std::span<const TopicPartition> partitions) {
                  for (const TopicPartition& one : partitions) give(one.partition);
                }};
  }
  void give(std::uint32_t partition) {
    std::uint64_t own = static_cast<std::uint64_t>(getpid());
    team_.reader_of(row_, partition).compare_exchange_strong(own, 0);
  }
  // False after a failure.
  bool hand(const Batch& batch) {
    std::vector<bool> told(batch.gaps().size());
    const auto tell = [&](std::uint32_t partition, std::uint64_t before) {
      for (std::size_t i = 0; i < told.size(); ++i) {
        const Gap& gap = batch.gaps()[i];
        if (told[i] || gap.partition != partition || gap.from >= before) continue;
        told[i] = true;
        const auto fate = gap.kind == Gap::Kind::lost ? Ledger::Fate::lost : Ledger::Fate::uncommitted;
        if (!pass(partition, gap.from, gap.to, {fate, {}})) return false;
      }
      return true;
    };
    for (const Record& record : batch) {
      if (!tell(record.partition(), record.offset())) return false;
      const auto identity = check_value(record.value());
      if (!identity || identity->sender >= ledger_.senders()) {
        ledger_.fail(fmt::format("row {}: the record at {}/{} is torn", row_, record.partition(), record.offset()));
        return false;
      }
      if (!pass(record.partition(), record.offset(), record.offset() + 1, {Ledger::Fate::delivered, *identity})) return false;
      ++handed;
    }
    for (const Gap& gap : batch.gaps())
      if (!tell(gap.partition, ~std::uint64_t{0})) return false;
    return true;
  }
  // Everything that was sent has a fate; false as long as it is sent still.
  bool complete() {
    if (ledger_.flag(kTarget).load() == 0) return false;
    scanned_.resize(team_.partitions_);
    for (std::uint32_t i = 0; i < team_.partitions_; ++i) {
      const std::uint64_t end = team_.end_of(i);
      while (scanned_[i] < end && ledger_.item(row_, team_.place(i, scanned_[i])).fate != Ledger::Fate::unknown) ++scanned_[i];
      if (scanned_[i] < end) return false;
    }
    return true;
  }
  std::uint64_t handed = 0;

 private:
  void take(std::uint32_t partition) {
    next_.erase(partition);
    const std::uint64_t before = team_.reader_of(row_, partition).exchange(static_cast<std::uint64_t>(getpid()));
    if (before != 0 && before != static_cast<std::uint64_t>(getpid()) && is_alive(before))
      ledger_.fail(fmt::format("row {}: partition {} was taken while process {} reads it", row_, partition, before));
  }
  bool pass(std::uint32_t partition, std::uint64_t from, std::uint64_t to, Ledger::Item item) {
    const auto next = next_.find(partition);
    if (next != next_.end() && next->second != from) {
      ledger_.fail(fmt::format("row {}: after {}/{} comes {} to {}", row_, partition, next->second, from, to));
      return false;
    }
    if (to > team_.each_) {
      ledger_.fail(fmt::format("row {}: impossible offsets {} to {} in partition {}", row_, from, to, partition));
      return false;
    }
    for (std::uint64_t offset = from; offset < to; ++offset) {
      const Ledger::Item before = ledger_.item(row_, team_.place(partition, offset));
      if (before.fate == Ledger::Fate::delivered) {  // a second time, or lost to a successor, who is not to know
        if (item.fate == Ledger::Fate::delivered && before.identity != item.identity)
          ledger_.fail(fmt::format("row {}: the record at {}/{} is another one now", row_, partition, offset));
        if (item.fate == Ledger::Fate::uncommitted)
          ledger_.fail(fmt::format("row {}: the record at {}/{} was delivered and is called uncommitted", row_, partition, offset));
        continue;
      }
      ledger_.note(row_, team_.place(partition, offset), item);
    }
    next_[partition] = to;
    return ledger_.failure().empty();
  }

  const Team& team_;
  const Ledger& ledger_;
  std::uint32_t row_;
  std::map<std::uint32_t, std::uint64_t> next_;
  std::vector<std::uint64_t> scanned_;
};

void Team::take_part(const Life& life) const {
  Bus bus = world_.open();
  Member member(*this, life.row);
  Consumer consumer = bus.consumer(life.config).value();
  consumer.on_assignment(member.listener());
  wait_for("the subscription", [&] {
    const auto joined = consumer.subscribe({std::string(kTopic)});
    // Who is killed is dead a moment later; who changes the group may be stopped.
    if (!joined && joined.error().code() != Errc::timed_out && joined.error().code() != Errc::in_use)
      throw std::runtime_error(std::string(joined.error().message()));
    return static_cast<bool>(joined);
  });
  const bool may_be_evicted = life.config.delivery == Delivery::lossy || life.config.evict_behind_records != 0;
  while (!member.complete() && !(life.enough && life.enough(consumer, member.handed))) {
    const auto batch = consumer.poll(milliseconds(2));
    if (!batch) {
      if (batch.error().code() == Errc::evicted && may_be_evicted) continue;
      throw std::runtime_error(std::string(batch.error().message()));
    }
    if (!member.hand(*batch)) throw std::runtime_error(world_.ledger().failure());
  }
  if (const auto settled = consumer.commit(); !settled && !(settled.error().code() == Errc::evicted && may_be_evicted))
    throw std::runtime_error(std::string(settled.error().message()));
  for (const TopicPartition& one : consumer.assignment()) member.give(one.partition);
}

void Team::end() const {
  Bus bus = world_.open();
  const auto described = bus.topic(kTopic).value().describe().value();
  for (const PartitionInfo& one : described.partitions)
    world_.ledger().flag(kFree + kEnds + one.partition).store(one.end_offset + 1);
  world_.ledger().flag(kTarget).store(1);
}

void Team::balance(std::uint32_t row, bool lossless) const {
  const Ledger& ledger = world_.ledger();
  for (std::uint32_t partition = 0; partition < partitions_; ++partition)
    for (std::uint64_t offset = 0; offset < end_of(partition); ++offset) {
      const auto placed = ledger.placed(place(partition, offset));
      const Ledger::Item item = ledger.item(row, place(partition, offset));
      const auto name = [&] {
        return fmt::format("row {}: offset {} of {} in partition {}", row, offset, end_of(partition), partition);
      };
      if (item.fate == Ledger::Fate::unknown) return ledger.fail(name() + " has no fate");
      if (item.fate == Ledger::Fate::lost && lossless) return ledger.fail(name() + " was lost");
      if (item.fate == Ledger::Fate::uncommitted && placed) return ledger.fail(name() + " was committed and is called uncommitted");
      if (item.fate == Ledger::Fate::delivered && placed && *placed != item.identity)
        return ledger.fail(name() + " is not what was sent");
    }
}

std::uint64_t Team::count(std::uint32_t row, Ledger::Fate fate) const {
  std::uint64_t number = 0;
  for (std::uint32_t partition = 0; partition < partitions_; ++partition)
    for (std::uint64_t offset = 0; offset < end_of(partition); ++offset)
      number += world_.ledger().item(row, place(partition, offset)).fate == fate ? 1 : 0;
  return number;
}

}  // namespace arus::crash
