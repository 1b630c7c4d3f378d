// Full speed without deaths: two, three and eight processes, one and many producers, lossless and lossy, single records, batches and
// loans, in a ring so small that everything wraps all the time and in a larger one. Millions of records, of which every byte, the
// order per producer and the fate of every offset are checked; delivered + lost + uncommitted = claimed.
//
// ARUS_TEST_LONG=1: ten times as many.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "crash/world.h"
#include "platform/clock.h"

namespace arus::crash {
namespace {

struct Traffic {
  const char* name;
  Producers producers;
  std::uint32_t senders;
  std::uint32_t groups;     // lossless readers
  std::uint32_t observers;  // lossy ones
  Act act;
  std::uint64_t ring;
  std::size_t largest;                 // value
  std::uint64_t records;               // of each sender
  std::chrono::microseconds pause{0};  // after every 8th call: lossy readers keep up for a while, and are lapped again
};

constexpr std::uint64_t kSmall = 64 << 10;
constexpr std::uint64_t kLarge = 1 << 20;
constexpr Traffic kTraffic[] = {
    {"two_single_send", Producers::single, 1, 1, 0, Act::send, kSmall, 200, 1200'000},
    {"two_single_batch", Producers::single, 1, 1, 0, Act::batch, kLarge, 100, 1600'000},
    {"two_single_loan", Producers::single, 1, 1, 0, Act::loan, kSmall, 1500, 800'000},
    {"two_single_lossy_send", Producers::single, 1, 0, 1, Act::send, kSmall, 300, 1200'000},
    {"two_single_lossy_batch", Producers::single, 1, 0, 1, Act::batch, kLarge, 200, 1600'000},
    {"two_many_send", Producers::many, 1, 1, 0, Act::send, kLarge, 100, 1200'000},
    {"two_many_large", Producers::many, 1, 1, 0, Act::send, kSmall, 30'000, 80'000},
    {"two_many_lossy_loan", Producers::many, 1, 0, 1, Act::loan, kSmall, 400, 1200'000},
    {"two_single_burst", Producers::single, 1, 1, 0, Act::burst, kSmall, 0, 3000'000},
    {"two_many_burst", Producers::many, 1, 1, 0, Act::burst, kLarge, 0, 3000'000},
    {"two_many_lossy_burst", Producers::many, 1, 0, 1, Act::burst, kSmall, 0, 3000'000},
    {"three_many_send", Producers::many, 2, 1, 0, Act::send, kSmall, 300, 600'000},
    {"three_many_batch", Producers::many, 2, 1, 0, Act::batch, kSmall, 200, 800'000},
    {"three_many_loan", Producers::many, 2, 1, 0, Act::loan, kLarge, 600, 600'000},
    {"three_many_lossy_batch", Producers::many, 2, 0, 1, Act::batch, kSmall, 300, 800'000},
    {"three_single_both", Producers::single, 1, 1, 1, Act::send, kSmall, 200, 800'000},
    {"three_many_lossy_paced", Producers::many, 2, 0, 1, Act::send, kSmall, 1500, 20'000, std::chrono::microseconds(1)},
    {"eight_many_send", Producers::many, 4, 2, 2, Act::send, kSmall, 300, 160'000},
    {"eight_many_burst", Producers::many, 4, 2, 2, Act::burst, kLarge, 0, 300'000},
    {"eight_many_batch", Producers::many, 4, 2, 2, Act::batch, kLarge, 300, 240'000},
    {"eight_many_lossy_loan", Producers::many, 5, 0, 3, Act::loan, kSmall, 300, 160'000},
    {"eight_many_lossy_send", Producers::many, 6, 0, 2, Act::send, kSmall, 16, 160'000},
};

class EveryRecord : public testing::TestWithParam<Traffic> {};

TEST_P(EveryRecord, IsWholeInOrderAndAccountedFor) {
  const Traffic& traffic = GetParam();
  const std::uint64_t records = traffic.records * (std::getenv("ARUS_TEST_LONG") != nullptr ? 10 : 1);
  const TopicConfig config{.partition_bytes = traffic.ring,
                           .producers = traffic.producers,
                           .back_pressure = traffic.groups != 0,
                           .max_producers = traffic.senders + 1,
                           .max_groups = 4};
  World world(&config, traffic.senders + 1, traffic.senders * records * 2 + 1024);
  const std::uint32_t count = traffic.groups + traffic.observers;
  std::vector<Process> readers;
  for (std::uint32_t i = 0; i < count; ++i) {
    ConsumerConfig reading = i < traffic.groups ? grouped(fmt::format("group-{}", i)) : observing();
    reading.wait = {};
    readers.push_back(Process::run([&world, reading, i] { world.read(i, reading); }));
    wait_for("a reader", [&] { return world.ledger().flag(kReading + i).load() != 0; });
  }
  std::vector<Process> senders;
  for (std::uint32_t i = 0; i < traffic.senders; ++i) {
    const World::Sending sending{.sender = world.new_sender(),
                                 .count = records,
                                 .act = traffic.act,
                                 .pause_every_8th = traffic.pause,
                                 .patience = std::chrono::minutes(10),
                                 .largest_value = traffic.largest};
    senders.push_back(Process::run([&world, sending] { world.send(sending); }));
  }
  for (Process& sender : senders) {
    const Ending how = sender.wait(std::chrono::minutes(10));
    EXPECT_TRUE(how.good()) << "a producer " << to_string(how);
  }
  // One more, so that a hole at the end is reported.
  const World::Sending last{.sender = world.new_sender(), .count = 1};
  Process process = Process::run([&world, last] { world.send(last); });
  EXPECT_TRUE(process.wait().good());
  const std::uint64_t end = world.end_offset();
  EXPECT_EQ(end, traffic.senders * records + 1);
  world.ledger().flag(kTarget).store(end);
  for (Process& reader : readers) {
    const Ending how = reader.wait(std::chrono::minutes(10));
    EXPECT_TRUE(how.good()) << "a reader " << to_string(how);
  }
  std::uint64_t lost = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    world.ledger().balance(i, end, i < traffic.groups);
    if (i >= traffic.groups) lost += world.ledger().count(i, end, Ledger::Fate::lost);
  }
  world.check_ring();
  EXPECT_EQ(world.ledger().failure(), "");
  fmt::print("{}: {} records, {} readers; the lossy ones lost {}\n", traffic.name, end, count, lost);
}

INSTANTIATE_TEST_SUITE_P(Traffic, EveryRecord, testing::ValuesIn(kTraffic),
                         [](const auto& traffic) { return std::string(traffic.param.name); });

}  // namespace
}  // namespace arus::crash

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  arus::platform::ticks_to_ns();  // once, instead of in every child
  return RUN_ALL_TESTS();
}
