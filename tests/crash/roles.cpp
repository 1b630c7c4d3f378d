#include "crash/roles.h"

#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "crash/trigger.h"
#include "log/checksum.h"
#include "log/topic_files.h"
#include "ring/read.h"

namespace arus::crash {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint32_t kSlots = 4;

TopicConfig small(Producers producers, bool back_pressure, std::uint32_t slots = kSlots) {
  return {.partition_bytes = 64 << 10,
          .producers = producers,
          .back_pressure = back_pressure,
          .max_producers = producers == Producers::single ? 1 : slots,
          .max_groups = 4};
}

bool starts_with_any(std::string_view point, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes)
    if (point.starts_with(prefix)) return true;
  return false;
}

void must_be_killed(Process process) {
  if (const Ending ending = process.wait(); !ending.by(SIGKILL))
    throw std::runtime_error("the one that was to die first: " + to_string(ending));
}

// A producer dies at `point`, in its `nth` claim, or the `nth` value that it adds to one.
void die_sending(World& world, std::string_view point, std::uint64_t nth) {
  const std::uint32_t sender = world.new_sender();
  must_be_killed(Process::run([&] {
    fire_at(point, nth, SIGKILL);
    world.send({.sender = sender, .count = nth + 100, .act = point.starts_with("G") ? Act::burst : Act::send});
  }));
}

// A reader of `group` takes up to `records`, and dies.
void die_reading(World& world, std::string_view group, milliseconds grace, std::uint32_t reader, std::uint64_t records) {
  must_be_killed(Process::run([&] {
    ConsumerConfig config = grouped(group);
    config.grace = grace;
    config.max_records = 8;
    world.read(reader, config, [&](const Auditor& auditor) {
      if (auditor.next() >= records) raise(SIGKILL);
      return false;
    });
  }));
}

void send_now(World& world, std::uint64_t count) {
  const std::uint32_t sender = world.new_sender();
  if (Process process = Process::run([&] { world.send({.sender = sender, .count = count}); }); !process.wait().good())
    throw std::runtime_error("a producer failed");
}

// Whether the claim that slot 0 was last at is settled.
bool is_settled(const OpenRing& ring) {
  const std::uint64_t p = ring::position_of(ring->slots[0].w0.load());
  const ring::Mark mark = ring->mark(p);
  if (ring::lacks_some(*ring, p)) return false;
  return ring->low() > p || (ring->valid(mark, p) && mark.state() != ring::State::claimed);
}

Role producer(Producers producers, bool lossless, Act act) {
  const bool many = producers == Producers::many;
  const char* acts[] = {"send", "batch", "loan", "burst"};
  Role role{.name = fmt::format("{} {} {}", acts[static_cast<int>(act)], many ? "many" : "single", lossless ? "lossless" : "lossy"),
            .family = many ? "any of many producers" : "a single producer",
            .topic = small(producers, lossless),
            .lossless = lossless,
            .bystander = many,
            .sends = true,
            .victim = {}};
  // What is not its own it must look at to make room, then what is.
  if (!lossless) role.before = [](World& world) { send_now(world, 40); };
  role.victim = [act](World& world, std::uint32_t sender) {
    world.send({.sender = sender, .count = 220, .act = act, .pause_every_8th = microseconds(400)});
  };
  return role;
}

// Comes upon a producer that died with an unmarked hole (C5) or a marked claim (C7).
Role repairer(std::string name, std::string_view died_at, const TopicConfig& topic) {
  Role role{.name = fmt::format("{}, after a death at {}", name, died_at),
            .family = fmt::format("any repairer after a death at {}", died_at),
            .topic = topic,
            .lossless = topic.back_pressure,
            .reader_before = false,
            .bystander = topic.max_producers > 1,
            .victim = {}};
  role.before = [died_at](World& world) { die_sending(world, died_at, 20); };
  role.concerns = [](std::string_view point) { return starts_with_any(point, {"R", "E-", "K2"}); };
  return role;
}

void add_repairers(std::vector<Role>& all, std::string_view died_at) {
  Role reader = repairer("repairing reader", died_at, small(Producers::many, true));
  reader.victim = [](World& world, std::uint32_t) {
    const OpenRing ring(world.bus_directory());
    world.read(0, grouped(), [&](const Auditor&) { return is_settled(ring); });
  };
  all.push_back(reader);

  Role observer = repairer("repairing observer", died_at, small(Producers::many, true));
  observer.victim = [](World& world, std::uint32_t) {
    const OpenRing ring(world.bus_directory());
    world.read(1, observing(), [&](const Auditor&) { return is_settled(ring); });
  };
  all.push_back(observer);

  Role next = repairer("next producer", died_at, small(Producers::many, true));
  next.sends = true;
  next.victim = [](World& world, std::uint32_t sender) {
    const OpenRing ring(world.bus_directory());
    Bus bus = world.open();
    Producer one = bus.topic(kTopic).value().producer().value();
    for (int i = 0; i < 60 && !is_settled(ring); ++i) {
      world.send(one, {.sender = sender, .count = 1});
      nap(microseconds(300));
    }
  };
  all.push_back(next);

  Role out_of_room = repairer("producer out of room", died_at, small(Producers::many, false));
  out_of_room.sends = true;
  out_of_room.victim = [](World& world, std::uint32_t sender) { world.send({.sender = sender, .count = 300}); };
  all.push_back(out_of_room);

  Role registering = repairer("registering producer", died_at, small(Producers::many, true, 1));
  registering.sends = true;
  registering.victim = [](World& world, std::uint32_t sender) { world.send({.sender = sender, .count = 20}); };
  all.push_back(registering);

  Role only = repairer("registering only producer", died_at, small(Producers::single, true));
  only.sends = true;
  only.victim = registering.victim;
  all.push_back(only);
}

void add_readers(std::vector<Role>& all) {
  constexpr std::uint64_t kReadBefore = 24;  // by one that dies
  const auto reads = [](World& world, std::uint32_t) {
    world.read(0, grouped(), [](const Auditor& auditor) { return auditor.next() >= 250; });
  };
  for (const Producers producers : {Producers::many, Producers::single}) {
    Role reader{.name = fmt::format("reader, {}", producers == Producers::many ? "many" : "single"),
                .family = "any reader",
                .topic = small(producers, true),
                .reader_before = false,
                .feeder = true,
                .victim = reads};
    all.push_back(reader);
  }

  Role successor{.name = "reader after a dead one",
                 .family = "any reader",
                 .topic = small(Producers::many, true),
                 .reader_before = false,
                 .feeder = true,
                 .victim = reads};
  successor.before = [](World& world) {
    send_now(world, 30);
    die_reading(world, kGroup, milliseconds(10'000), 0, 20);
  };
  all.push_back(successor);

  Role evicted{.name = "reader after an eviction",
               .family = "any reader",
               .topic = small(Producers::many, true),
               .lossless = false,
               .reader_before = false,
               .feeder = true,
               .victim = reads};
  evicted.before = [](World& world) {
    send_now(world, 30);
    die_reading(world, kGroup, milliseconds(0), 0, kReadBefore);
    send_now(world, 300);
  };
  evicted.concerns = [](std::string_view point) { return starts_with_any(point, {"G-", "J-", "cursor-"}); };
  all.push_back(evicted);

  // It is told of what was lost, and is to read from there on once more.
  Role going_back = evicted;
  going_back.name = "evicted reader that goes back to what is lost";
  going_back.victim = [](World& world, std::uint32_t) {
    Bus bus = world.open();
    Consumer consumer = bus.consumer(grouped()).value();
    consumer.subscribe({std::string(kTopic)}).value();
    world.ledger().flag(kReading).fetch_add(1);
    consumer.seek(kTopic, 0, Start::offset(kReadBefore)).value();
    Auditor auditor(world.ledger(), 0);
    while (auditor.next() <= kReadBefore)
      if (!auditor.take(consumer.poll(milliseconds(5)).value())) throw std::runtime_error(world.ledger().failure());
    consumer.commit().value();
  };
  all.push_back(going_back);

  Role evicting{
      .name = "producer that evicts", .topic = small(Producers::many, true), .bystander = true, .sends = true, .victim = {}};
  evicting.before = [](World& world) {
    send_now(world, 30);
    die_reading(world, "abandoned", milliseconds(1), 2, 20);
  };
  evicting.victim = [](World& world, std::uint32_t sender) { world.send({.sender = sender, .count = 220}); };
  evicting.concerns = [](std::string_view point) { return point.starts_with("M-"); };
  all.push_back(evicting);
}

// A topic can be made, filled and read; and nothing of a dead creator or remover is left.
void topic_works(World& world) {
  Bus bus = world.open();
  Bus sweeper = world.open();
  for (const auto& entry : std::filesystem::directory_iterator(world.bus_directory() + "/tmp"))
    world.ledger().fail("left behind: " + entry.path().string());
  bus.open_or_create(kTopic, small(Producers::many, true)).value();
  send_now(world, 50);
  world.ledger().flag(kTarget).store(50);
  if (Process process = Process::run([&] { world.read(0, grouped()); }); !process.wait().good())
    world.ledger().fail("the new topic cannot be read");
  world.ledger().balance(0, 50, true);
}

// Uses a topic until it is told that it was deleted.
void until_deleted(World& world, const std::function<Result<void>()>& use) {
  wait_for("the topic's deletion", [&] {
    const Result<void> used = use();
    if (used || used.error().code() == Errc::full) return false;
    if (used.error().code() != Errc::deleted) world.ledger().fail("instead of 'deleted': " + std::string(used.error().message()));
    return true;
  });
}

// As if the partition had been written before the machine was last booted.
void age(const std::string& bus_directory) {
  std::fstream file(log::partition_path(fmt::format("{}/topics/{}", bus_directory, kTopic), 0),
                    std::ios::in | std::ios::out | std::ios::binary);
  alignas(ring::PartitionHeader) std::array<char, sizeof(ring::PartitionHeader)> bytes{};
  file.read(bytes.data(), bytes.size());
  auto& header = *reinterpret_cast<ring::PartitionHeader*>(bytes.data());
  header.boot_id[0] ^= 1;
  header.checksum = log::checksum(&header, offsetof(ring::PartitionHeader, checksum));
  file.seekp(0);
  if (!file.write(bytes.data(), bytes.size())) throw std::runtime_error("could not change the partition's header");
}

void add_creators(std::vector<Role>& all) {
  Role maker{.name = "bus creator", .topic = std::nullopt, .reader_before = false, .victim = {}};
  maker.victim = [](World& world, std::uint32_t) { Bus::create({.directory = world.bus_directory()}).value(); };
  maker.after = [](World& world) {
    Bus::open_or_create({.directory = world.bus_directory()}).value();
    topic_works(world);
  };
  all.push_back(maker);

  Role creator{.name = "topic creator", .topic = std::nullopt, .reader_before = false, .victim = {}};
  creator.before = [](World& world) { Bus::create({.directory = world.bus_directory()}).value(); };
  creator.victim = [](World& world, std::uint32_t) { world.open().create(kTopic, small(Producers::many, true)).value(); };
  creator.after = topic_works;
  all.push_back(creator);

  // Beside the remover a producer and a reader are attached: they are told.
  Role remover{.name = "topic remover", .topic = small(Producers::many, true), .reader_before = false, .victim = {}};
  remover.before = [](World& world) {
    world.beside.push_back(Process::run([&] {
      Bus bus = world.open();
      Producer attached = bus.topic(kTopic).value().producer().value();
      world.ledger().flag(kReady).fetch_add(1);
      until_deleted(world, [&]() -> Result<void> {
        if (auto sent = attached.try_send(bytes("still there?")); !sent) return tl::unexpected(sent.error());
        return {};
      });
    }));
    world.beside.push_back(Process::run([&] {
      Bus bus = world.open();
      Consumer attached = bus.consumer(grouped()).value();
      attached.subscribe({std::string(kTopic)}).value();
      world.ledger().flag(kReady).fetch_add(1);
      until_deleted(world, [&]() -> Result<void> {
        if (auto batch = attached.poll(milliseconds(1)); !batch) return tl::unexpected(batch.error());
        return {};
      });
    }));
    wait_for("two that are attached", [&] { return world.ledger().flag(kReady).load() == 2; });
  };
  remover.victim = [](World& world, std::uint32_t) { world.open().remove(kTopic).value(); };
  remover.after = [](World& world) {
    if (auto topic = world.open().topic(kTopic); topic || topic.error().code() != Errc::not_found)
      world.ledger().fail("the topic is still there");
    for (Process& process : world.beside)
      if (const Ending ending = process.wait(); !ending.good())
        world.ledger().fail("one that was attached to the topic " + to_string(ending));
    topic_works(world);
  };
  all.push_back(remover);

  Role renewer{.name = "renewer after a boot", .topic = small(Producers::many, true), .reader_before = false, .victim = {}};
  renewer.before = [](World& world) {
    send_now(world, 30);
    age(world.bus_directory());
  };
  renewer.victim = [](World& world, std::uint32_t) { world.open().topic(kTopic).value(); };
  renewer.after = [](World& world) {
    send_now(world, 50);
    const std::uint64_t end = world.end_offset();
    if (end < 80) world.ledger().fail("offsets were given a second time");
    world.ledger().flag(kTarget).store(end);
    if (Process process = Process::run([&] { world.read(0, grouped()); }); !process.wait().good())
      world.ledger().fail("the renewed topic cannot be read");
    world.ledger().balance(0, end, true, false);
  };
  all.push_back(renewer);
}

}  // namespace

std::vector<Role> roles() {
  std::vector<Role> all;
  for (const Producers producers : {Producers::many, Producers::single})
    for (const bool lossless : {true, false})
      for (const Act act : {Act::send, Act::batch, Act::loan, Act::burst}) all.push_back(producer(producers, lossless, act));
  add_readers(all);
  add_repairers(all, "C5");
  add_repairers(all, "C7");
  add_repairers(all, "G1");
  add_creators(all);
  add_group_roles(all);
  return all;
}

}  // namespace arus::crash
