// A topic: a name, a configuration fixed at its creation, and partitions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arus/config.h"
#include "arus/group.h"
#include "arus/producer.h"
#include "arus/result.h"

namespace arus {

namespace detail {
class TopicState;
}

// A moment's picture; other processes go on meanwhile.
struct PartitionInfo {
  std::uint32_t partition;
  std::uint64_t start_offset;   // of the oldest record that is still there
  std::uint64_t end_offset;     // of the next record to be claimed
  std::uint64_t bytes_used;     // of the ring, retained records and open claims
  std::uint64_t bytes_written;  // into the ring since it was made, what records take in it; never falls
  std::uint64_t producers;      // registered and alive
  Timestamp oldest;             // of the record at start_offset; 0 if there is none
};

// A group in one topic; Bus::group() has the whole of it.
struct GroupInfo {
  std::string name;
  bool alive;                              // a live process reads under it
  bool evicted;                            // holds nobody back any more
  std::vector<std::uint64_t> committed;    // per partition: the offset where a successor starts
  std::vector<std::uint64_t> lag;          // per partition, in offsets
  std::vector<GroupPartition> partitions;  // more about each
};

struct TopicInfo {
  std::string name;
  TopicConfig config;
  std::uint64_t max_record_bytes;  // key, headers and value of the largest record
  std::uint64_t bytes_reserved;    // of its partitions' files
  std::vector<PartitionInfo> partitions;
  std::vector<GroupInfo> groups;
  std::uint32_t readers;  // live consumers that made themselves known (an observer without write permission cannot)
};

// A copy of a record that owns its bytes.
struct OwnedRecord {
  std::uint32_t partition;
  std::uint64_t offset;
  Timestamp timestamp;
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
};

// Thread-safe, cheap to copy. Errors of every call: `deleted`, `forked`, `corrupt`.
class Topic {
 public:
  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] const TopicConfig& config() const noexcept;
  [[nodiscard]] Result<TopicInfo> describe() const;

  // Maps the partitions for writing and registers in each. Errors: `permission_denied`, `limit_reached`, `schema_mismatch`,
  // `in_use` (a topic of a single producer that has one), `timed_out` (who registers, or repairs what the last one left, is stopped).
  Result<Producer> producer(const ProducerConfig& config = {});

  // The newest record of a partition, or of a key in the partition where keys of that name go, without consuming anything.
  // Searches from the end, in the worst case through the whole ring.
  [[nodiscard]] Result<std::optional<OwnedRecord>> last(std::uint32_t partition) const;
  [[nodiscard]] Result<std::optional<OwnedRecord>> last(Bytes key) const;

  // Consumers that are attached and alive (see TopicInfo::readers).
  [[nodiscard]] Result<std::uint32_t> readers() const;

 private:
  friend class Bus;
  explicit Topic(std::shared_ptr<detail::TopicState> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<detail::TopicState> state_;
};

// The partition of a key among `partitions`: murmur2 as Kafka's default partitioner does it, so that a bridge to Kafka keeps
// placement.
std::uint32_t partition_of(Bytes key, std::uint32_t partitions) noexcept;

}  // namespace arus
