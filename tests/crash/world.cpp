#include "crash/world.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "bus/state.h"
#include "ring/repair.h"

namespace arus::crash {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// Sizes that are not monotone, so that records end and wrap everywhere.
std::size_t size_of(std::size_t largest, std::uint64_t sequence) {
  const std::uint64_t scattered = sequence * 0x9E3779B97F4A7C15u >> 40;
  return kSmallestValue + scattered % (largest - kSmallestValue + 1);
}

// An expected refusal is noted, and tried again until `deadline`; everything else is a failure.
void note_refusal(Ledger::Sender& sender, const Error& error) {
  const std::string_view text = error.message().substr(0, sender.refusal.size() - 1);
  sender.refusal.fill('\0');
  std::memcpy(sender.refusal.data(), text.data(), text.size());
  sender.refusals.fetch_add(1);
}

bool is_no_room(const Error& error) { return error.code() == Errc::full || error.code() == Errc::timed_out; }

}  // namespace

Directory::Directory() {
  const char* root = std::getenv("ARUS_TEST_DIR");
  std::string pattern = fmt::format("{}/arus-crash.XXXXXX", root != nullptr ? root : "/dev/shm");
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

World::World(const TopicConfig* config, std::uint32_t senders, std::uint64_t offsets)
    : ledger_(std::make_unique<Ledger>(senders, 4, offsets)) {
  if (config == nullptr) return;
  Bus bus = Bus::create({.directory = bus_directory()}).value();
  bus.create(kTopic, *config).value();
}

void World::send(const Sending& sending) const {
  Bus bus = open();
  auto topic = bus.topic(kTopic);
  if (!topic) throw std::runtime_error("no topic: " + std::string(topic.error().message()));
  auto producer = topic->producer();
  if (!producer) throw std::runtime_error("no producer: " + std::string(producer.error().message()));
  send(*producer, sending);
}

void World::send(Producer& producer, const Sending& sending) const {
  Ledger::Sender& sender = ledger_->sender(sending.sender);
  sender.aborts.store(sending.act == Act::loan ? 1 : 0);
  // Single values take up to a fortieth of the smallest ring, so that it is full of them; batches then up to a tenth.
  const std::size_t largest = sending.largest_value != 0 ? sending.largest_value : sending.act == Act::batch ? 500 : 1500;
  constexpr std::size_t kMostInBatch = 12;
  std::vector<std::byte> values(kMostInBatch * largest);
  std::vector<Message> messages;
  const auto deadline = steady_clock::now() + sending.patience;
  const std::uint64_t last = sender.returned.load() + sending.count;
  constexpr std::size_t kInBurst = kSmallestValue + 8;
  for (std::uint64_t sequence = sender.returned.load(); sequence < last;) {
    const std::size_t many = sending.act == Act::batch ? std::min<std::uint64_t>(1 + sequence % kMostInBatch, last - sequence) : 1;
    const bool packs = sequence % 2 == 0;  // one size and no keys
    messages.resize(many);
    for (std::size_t i = 0; i < many; ++i) {
      const std::size_t size = sending.act == Act::burst ? kInBurst : size_of(largest, sequence + (packs ? 0 : i));
      const std::span<std::byte> value(values.data() + i * largest, size);
      fill_value(value, {sending.sender, sequence + i});
      messages[i] = {value, {.key = !packs && (sequence + i) % 5 == 0 ? bytes("station-7") : kNull}};
    }
    sender.attempted.store(sequence + many);
    Result<std::size_t> done = 1;
    const Message& message = messages[0];
    constexpr milliseconds kWait{20};
    if (sending.act == Act::send || sending.act == Act::burst) {
      const auto placed =
          sending.act == Act::burst ? producer.try_send(message.value) : producer.send(message.value, message.envelope, kWait);
      if (placed)
        ledger_->note_placed(placed->offset, {sending.sender, sequence});
      else
        done = tl::unexpected(placed.error());
    } else if (sending.act == Act::batch) {
      done = producer.send_many(messages, kWait);
    } else {
      const bool shrinks = sequence % 3 == 0;
      auto loan = producer.loan(message.value.size() + (shrinks ? 300 : 0), message.envelope, kWait);
      if (!loan) {
        done = tl::unexpected(loan.error());
      } else {
        std::memcpy(loan->data().data(), message.value.data(), message.value.size());
        if (is_aborted(sequence)) {
          loan->abort();
        } else {
          const auto placed = loan->commit(message.value.size()).value();
          ledger_->note_placed(placed.offset, {sending.sender, sequence});
        }
      }
    }
    if (!done) {
      if (!is_no_room(done.error())) throw std::runtime_error(std::string(done.error().message()));
      sender.attempted.store(sequence);  // nothing was appended
      note_refusal(sender, done.error());
      if (steady_clock::now() > deadline) throw std::runtime_error(fmt::format("no room for ever: {}", done.error().message()));
      continue;
    }
    const std::uint64_t before = sequence;
    sequence += *done;
    sender.attempted.store(sequence);
    sender.returned.store(sequence);
    if (before / 8 != sequence / 8 && sending.pause_every_8th.count() != 0) nap(sending.pause_every_8th);
  }
}

void World::stand_by(const Sending& sending) const {
  Bus bus = open();
  auto topic = bus.topic(kTopic).value();
  Producer producer = topic.producer().value();
  ledger_->flag(kReady).fetch_add(1);
  Ledger::Sender& sender = ledger_->sender(sending.sender);
  std::vector<std::byte> value(600);
  wait_for("go", [&] {
    for (std::uint64_t probed = 0; ledger_->flag(kProbe).load() != 0 && ledger_->flag(kGo).load() == 0; ++probed) {
      const Identity identity{sending.sender, sender.returned.load()};
      fill_value(value, identity);
      sender.attempted.store(identity.sequence + 1);
      const auto placed = producer.send(value, {}, milliseconds(3));
      if (placed) {
        ledger_->note_placed(placed->offset, identity);
        sender.returned.store(identity.sequence + 1);
        if (probed % 16 == 15) nap(std::chrono::microseconds(500));  // there may be room for ever
        continue;
      }
      if (!is_no_room(placed.error())) throw std::runtime_error(std::string(placed.error().message()));
      sender.attempted.store(identity.sequence);
      note_refusal(sender, placed.error());
    }
    return ledger_->flag(kGo).load() != 0;
  });
  send(producer, sending);
}

void World::read(std::uint32_t reader, ConsumerConfig config, const std::function<bool(const Auditor&)>& enough) const {
  Bus bus = open();
  Consumer consumer = bus.consumer(config).value();
  if (auto done = consumer.subscribe({std::string(kTopic)}); !done) throw std::runtime_error(std::string(done.error().message()));
  ledger_->flag(kReading + reader).fetch_add(1);
  Auditor auditor(*ledger_, reader);
  for (;;) {
    const std::uint64_t target = ledger_->flag(kTarget).load();
    if (target != 0 && auditor.next() >= target) break;
    if (enough && enough(auditor)) break;
    const auto batch = consumer.poll(milliseconds(5)).value();
    if (!auditor.take(batch)) throw std::runtime_error(ledger_->failure());
  }
  consumer.commit().value();
}

std::uint64_t World::end_offset() const {
  Bus bus = open();
  return bus.topic(kTopic).value().describe().value().partitions[0].end_offset;
}

void World::check_ring() const {
  const OpenRing ring(bus_directory());
  for (std::uint32_t i = 0; i < ring->slot_count; ++i) {
    const std::uint64_t w0 = ring->slots[i].w0.load();
    if (w0 == ring::kNoIntent) continue;
    const std::uint64_t p = ring::position_of(w0);
    if (p < ring->low() || p >= ring->tail()) continue;
    for (int repeat = 0; repeat < 2; ++repeat) {
      const auto before = ring->mark(p).word;
      const auto chain = ring->at(p).h1.load();
      if (const auto repair = ring::recover(*ring, p, ring.incarnation()); repair.outcome != ring::Repaired::settled)
        ledger_->fail(fmt::format("slot {}: the claim at {} cannot be repaired: {}", i, p, static_cast<int>(repair.outcome)));
      if (repeat == 1 && (ring->mark(p).word != before || ring->at(p).h1.load() != chain))
        ledger_->fail(fmt::format("slot {}: the second repair at {} changed something", i, p));
    }
  }
  std::uint64_t p = ring->low();
  while (p < ring->tail()) {
    const ring::Mark mark = ring->mark(p);
    if (!ring->valid(mark, p) || mark.state() == ring::State::claimed || !ring->plausible(mark.cells()))
      return ledger_->fail(fmt::format("position {} in [{}, {}) is not settled", p, ring->low(), ring->tail()));
    p += mark.cells();
  }
  if (p != ring->tail()) ledger_->fail(fmt::format("records end at {}, the tail is {}", p, ring->tail()));
}

struct OpenRing::State {
  std::shared_ptr<detail::BusState> bus;
  std::shared_ptr<detail::TopicState> topic;
  detail::OpenPartition partition;
};

OpenRing::OpenRing(const std::string& bus_directory) : state_(std::make_unique<State>()) {
  state_->bus = std::make_shared<detail::BusState>(log::BusDirectory::open(bus_directory).value());
  state_->topic = detail::TopicState::open(state_->bus, kTopic).value();
  state_->partition = state_->topic->partition(0, platform::Access::write).value();
}
OpenRing::~OpenRing() = default;
const ring::Ring& OpenRing::operator*() const { return state_->partition.ring; }
std::uint64_t OpenRing::incarnation() const { return state_->bus->directory().incarnation(); }

// Asleep as soon as there is nothing to do, so that wakers have somebody to wake.
ConsumerConfig grouped(std::string_view group) {
  return {.group = std::string(group), .start = Start::earliest, .wait = Wait::sleeping()};
}
ConsumerConfig observing() { return {.start = Start::earliest, .wait = Wait::sleeping()}; }

}  // namespace arus::crash
