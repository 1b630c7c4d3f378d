// Settings, each with a default that is right for the first minute. Limits and layout are fixed at creation, stand in the
// segment's header and are shown by `arus topic describe`.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "arus/record.h"

namespace arus {

inline constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();

enum class Producers : std::uint8_t {
  many,    // any number of processes append to a partition (up to TopicConfig::max_producers at once)
  single,  // one producer at a time in all; appends are 1.1 to 1.3 times as fast
};

struct TopicConfig {
  std::uint32_t partitions = 1;
  std::uint64_t partition_bytes = 8u << 20;  // the ring of each partition: a power of two, at least 64 KiB
  Producers producers = Producers::many;
  bool back_pressure = true;         // false: lossless groups are refused and producers never wait for a consumer
  std::string schema{};              // a name that producers and consumers may insist on; empty: any
  std::uint32_t record_size = 0;     // bytes of every value, 0: any
  std::uint32_t max_producers = 64;  // registered at once in one partition, at most 4000
  std::uint32_t max_groups = 16;     // consumer groups, at most 1024
  std::uint32_t mode = 0600;         // of the files. Who may read them may also wait and join groups; who may write, produce.
  std::string group{};               // Unix group of the files, by name or number; empty: the process's
};

struct BusConfig {
  std::string directory{};       // empty: $ARUS_DIR, else /run/arus if it is there and writable, else /dev/shm/arus-<uid>
  std::uint32_t mode = 0700;     // of the directory, when it is created. For several users: 01770 and a group, or 01777.
  std::string group{};           // Unix group of the directory; empty: the process's
  std::uint32_t sleepers = 448;  // consumers and blocked producers that can sleep at once, at most 4032
};

// How an endpoint waits when there is nothing to do. The defaults suit any machine; the reasons stand in lib/README.md.
struct Wait {
  enum class Mode : std::uint8_t {
    spin,             // lowest latency, a whole core
    spin_then_sleep,  // as spin while traffic is dense, no CPU while idle
    sleep,            // at once; a wake-up costs a few to some tens of microseconds
  };
  Mode mode = Mode::spin_then_sleep;
  std::chrono::nanoseconds spin = std::chrono::microseconds(27);  // of spin_then_sleep, before it sleeps
  // From 10 M records/s or 2 GB/s on, wait before a look: for about 14 us at most where more records come in the same time that way, which is
  // tried now and then; else for less than 0.5 us. Throughput for latency.
  bool coalesce = true;

  static constexpr Wait spinning() noexcept { return {.mode = Mode::spin}; }
  static constexpr Wait sleeping() noexcept { return {.mode = Mode::sleep}; }
};

struct ProducerConfig {
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);  // of every blocking form that names none
  Wait wait{};
  std::string schema{};                      // if not empty: must be the topic's
  std::optional<std::uint32_t> partition{};  // register with this one only
};

// Where a consumer begins in each partition it has no position for.
class Start {
 public:
  enum class At : std::uint8_t { earliest, latest, offset, time, last };
  static const Start earliest;
  static const Start latest;
  static constexpr Start offset(std::uint64_t offset) noexcept { return {At::offset, static_cast<std::int64_t>(offset)}; }
  // The first record whose timestamp is not before `time`, as Kafka's offsetsForTimes (also where times are not monotone).
  static constexpr Start time(Timestamp time) noexcept { return {At::time, time}; }
  // `count` offsets before the end.
  static constexpr Start last(std::uint64_t count) noexcept { return {At::last, static_cast<std::int64_t>(count)}; }

  [[nodiscard]] constexpr At at() const noexcept { return at_; }
  [[nodiscard]] constexpr std::int64_t value() const noexcept { return value_; }

 private:
  constexpr Start(At at, std::int64_t value) noexcept : at_(at), value_(value) {}
  At at_;
  std::int64_t value_;
};
inline constexpr Start Start::earliest{At::earliest, 0};
inline constexpr Start Start::latest{At::latest, 0};

// What producers owe a group.
enum class Delivery : std::uint8_t {
  lossless,  // they do not overwrite what it has not read: a full ring makes them wait
  lossy,     // they overwrite; the group is told the exact range it lost
};

// How partitions are shared out among the members of a group.
enum class Assignor : std::uint8_t {
  range,   // per topic, neighbouring partitions; topics of equal partition counts are cut alike
  sticky,  // over all topics, evenly, and as few as possible change hands when members come and go
};

// What a group does where its committed offset is no longer there.
enum class OnLost : std::uint8_t {
  earliest,  // goes on with the oldest record that is left; the gap is reported
  latest,    // goes on at the end; the gap is reported
  fail,      // poll() returns `out_of_range`, until it is told by seek() where to go on
};

struct ConsumerConfig {
  // Empty: an observer, which maps the data read-only, disturbs nobody, and is told exactly what it lost.
  // Otherwise a member of the group of that name: the members share the partitions of what they subscribe to, and the group goes on
  // where it left off.
  std::string group{};
  Start start = Start::latest;  // where there is no committed offset
  Wait wait{};
  std::uint32_t max_records = 256;  // of one batch
  // Observers only. false: a batch is a private copy, checked, intact until the next poll. true: views into the ring that
  // may be overwritten while they are used; ask Batch::intact() *after* use and before trusting what was computed.
  bool in_place = false;

  // ---- of a member of a group ----
  // A static member: a restart under the same name within the grace takes its partitions back at once, without moving others.
  std::string instance{};
  bool auto_commit = true;  // poll() settles what the last one handed out; false: commit() alone does
  OnLost on_lost = OnLost::earliest;

  // ---- of the group: members that live at the same time agree on these (else `config_mismatch`); the first one decides ----
  Delivery delivery = Delivery::lossless;
  Assignor assignor = Assignor::sticky;
  // Lossless until a partition is so far behind; then evicted, with an error that says so. 0: no limit. Such a group reads copies.
  std::uint64_t evict_behind_records = 0;
  std::uint64_t evict_behind_bytes = 0;
  // Evicted when its live reader has not moved for so long while producers waited for it. 0: they wait as long as it lives.
  std::chrono::nanoseconds stall_limit{0};
  // How long producers wait for a group without a live member (from when its death was first seen), and how long a static member
  // that is gone keeps its partitions.
  std::chrono::nanoseconds grace = std::chrono::seconds(10);
  // How long committed offsets are kept when the last member is gone (from when that was first seen).
  std::chrono::nanoseconds offsets_kept = std::chrono::hours(24 * 7);
};

}  // namespace arus
