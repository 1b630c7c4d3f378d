// Work queues: a share group hands each record of a topic to one of its members, whichever asks, and again until one has accepted it (what
// Kafka 4 calls share groups). Members that share partitions instead, and read them in order: consumer.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arus/config.h"
#include "arus/record.h"
#include "arus/result.h"

namespace arus {

namespace detail {
class ShareState;
}

struct ShareConfig {
  std::string group{};
  Start start = Start::earliest;  // where the group begins in a partition it has never read
  Wait wait{};
  std::uint32_t max_records = 32;    // of one batch
  std::uint32_t max_acquired = 256;  // that this consumer holds at a time

  // ---- of the group: fixed when it first reads a topic; members agree on them (else `config_mismatch`) ----
  std::uint32_t max_deliveries = 5;  // of a record, up to 60,000; then it is buried
  // Where rejected records and those that were delivered too often go: copied with key, value, headers and time, and with the headers
  // dead-letter.topic, .partition, .offset, .group, .reason (`rejected`, `deliveries`) and, unless a rejected one had to wait for room,
  // .deliveries, as text. It must exist, and take records as large as those of the topics. Empty: such records are dropped, and counted.
  std::string dead_letter_topic{};
  std::uint32_t window = 4096;  // records of a partition in hand at a time, a power of two from 16 to 65536
  std::chrono::nanoseconds grace = std::chrono::seconds(10);  // that producers wait for a group without members
};

// A record that this consumer alone has, until it is accepted, released or rejected. Copies are the same record. Its bytes stay valid
// until then, or until the consumer ends.
class SharedRecord : public Record {
 public:
  // 1: never delivered before.
  [[nodiscard]] std::uint32_t delivery_count() const noexcept { return deliveries_; }

 private:
  friend class detail::ShareState;
  std::uint32_t place_ = 0;
  std::uint32_t deliveries_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t word_ = 0;
};

// What one poll acquired. The list is valid until the next poll; what it lists for longer, see SharedRecord.
class ShareBatch {
 public:
  ShareBatch() noexcept = default;
  [[nodiscard]] const SharedRecord* begin() const noexcept { return records_.data(); }
  [[nodiscard]] const SharedRecord* end() const noexcept { return records_.data() + records_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return records_.size(); }
  [[nodiscard]] bool empty() const noexcept { return records_.empty(); }
  [[nodiscard]] const SharedRecord& operator[](std::size_t i) const noexcept { return records_[i]; }

 private:
  friend class detail::ShareState;
  std::span<const SharedRecord> records_;
};

// As Polled (consumer.h): looping over the value of a temporary is safe.
class SharePolled : public Result<ShareBatch> {
 public:
  using Result<ShareBatch>::Result;
  SharePolled(Result<ShareBatch> result) noexcept : Result<ShareBatch>(std::move(result)) {}
  [[nodiscard]] const ShareBatch& value() const& { return Result<ShareBatch>::value(); }
  [[nodiscard]] ShareBatch value() && { return Result<ShareBatch>::value(); }
  [[nodiscard]] const ShareBatch& operator*() const& noexcept { return Result<ShareBatch>::operator*(); }
  [[nodiscard]] ShareBatch operator*() && noexcept { return Result<ShareBatch>::operator*(); }
};

// A member of a share group. Move-only; belongs to one thread at a time. Every member sees every partition; the order in which records are
// handed out is that of their offsets, but what is put back comes when somebody asks next.
//
// At least once: a record is delivered until it is accepted, and a second time if its holder dies, or ends without having said anything. Producers
// do not overwrite what is not settled: a member that lives and holds a record holds the ring at it, and at most `window` records behind it
// are handed out meanwhile.
// Crash: what a dead member held is handed out again as soon as another one looks. Stopped: it is alive, and keeps what it holds; the others
// go on. Fork: every call in the child answers `forked`. Evicted (the grace of a group without members is over): what was
// lost is counted, its holders get `evicted` when they settle it, and bytes of records that are held may change.
class ShareConsumer {
 public:
  ShareConsumer(ShareConsumer&&) noexcept;
  ShareConsumer& operator=(ShareConsumer&&) noexcept;
  ~ShareConsumer();  // puts back what it holds

  // Adds topics; on an error none is added. Errors: `not_found`, `permission_denied`, `forbidden` (a topic without back-pressure),
  // `config_mismatch` (the group has other settings, or the name is that of a group that shares partitions), `limit_reached`,
  // `out_of_range`, `timed_out` (somebody who is stopped is changing the group).
  Result<void> subscribe(const std::vector<std::string>& topics);

  // Waits until there is something to acquire, at most for `timeout` (zero: look once); empty: time is up. Errors: `limit_reached` (it holds
  // max_acquired records), `evicted` (once, with the offsets that were lost; the next poll goes on), `deleted` (a topic of it), `fenced` (the
  // group was deleted), `corrupt`, `forked`.
  SharePolled poll(std::chrono::nanoseconds timeout);

  // Settled: it was worked on. Errors of these: `invalid_argument` (not held by this consumer: settled before), `evicted`, `forked`.
  Result<void> accept(const SharedRecord& record);
  Result<void> accept(const ShareBatch& batch);
  // To be delivered again, to whoever asks.
  Result<void> release(const SharedRecord& record);
  // Settled: not to be delivered again. It goes to the dead-letter topic, if need be as soon as that has room.
  Result<void> reject(const SharedRecord& record);

  [[nodiscard]] std::size_t acquired() const noexcept;
  // As Consumer::descriptor(): after it was readable, call poll(0) until it returns nothing; and once a second in any case.
  Result<int> descriptor();
  // Makes a poll() that waits in another thread return at once. The one call another thread may make.
  void wake() const noexcept;

 private:
  friend class Bus;
  explicit ShareConsumer(std::unique_ptr<detail::ShareState> state) noexcept;
  std::unique_ptr<detail::ShareState> state_;
};

// ---- looking at a share group from outside --------------------------------------------------------------------------------------------

struct SharePartition {
  std::string topic;
  std::uint32_t partition;
  std::uint64_t settled_before;  // offset: everything below is settled
  std::uint64_t end;             // offset of the next record to be claimed
  std::uint64_t available;  // records that nobody holds (at most: offsets that were never committed count until they are looked at)
  std::uint64_t acquired;
  // Since the group began here:
  std::uint64_t accepted;
  std::uint64_t rejected;
  std::uint64_t redelivered;    // deliveries after the first
  std::uint64_t dead_lettered;  // copied to the dead-letter topic
  std::uint64_t discarded;      // rejected or delivered too often, without a dead-letter topic
  std::uint64_t lost;           // evicted before they were settled
};
struct ShareMember {
  std::string topic;
  std::string process;     // "pid 4711 (worker)"
  std::uint32_t acquired;  // records that it holds
};
struct ShareInfo {
  std::string name;
  std::uint32_t max_deliveries;
  std::string dead_letter_topic;
  std::chrono::nanoseconds grace;
  std::vector<SharePartition> partitions;  // by topic and number
  std::vector<ShareMember> members;        // live ones, per topic
};

}  // namespace arus
