// What a bus does between two looks: counters, and rates from them. Shared by the commands that show or export numbers.
//
// Looking disturbs nobody: everything is read from read-only mappings, which are kept from one look to the next, so that a look costs
// some system calls per topic and no page faults.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "arus/bus.h"
#include "command.h"

namespace arus::log {
class Partition;
}

namespace arus::tool {

// Per second, between two looks; 0 at the first.
struct PartitionSample {
  PartitionInfo info{};
  double records_per_second = 0;
  double bytes_per_second = 0;
  double fill = 0;  // of the ring, 0 to 1. A ring that was filled once stays nearly full: it keeps what it has room for.
};

struct GroupSample {
  GroupInfo info;
  std::uint64_t lag = 0;             // records, of all partitions
  std::uint64_t lag_bytes = 0;       // of the rings
  std::uint64_t lost = 0;            // records, ever
  double lag_per_second = 0;         // above 0: it falls behind
  double records_per_second = 0;     // how fast it commits
  bool holds_back = false;           // producers have found it in their way
  std::vector<std::uint32_t> where;  // the partitions in which it does
  std::set<std::string> readers;     // "pid 4711 (collector)"
};

struct TopicSample {
  std::string name;
  std::optional<Error> error;  // why it cannot be read; then the rest is empty
  TopicInfo info{};
  std::vector<PartitionSample> partitions;
  std::vector<GroupSample> groups;
  std::uint64_t records = 0;        // that are there
  std::uint64_t records_ever = 0;   // offsets given out
  std::uint64_t bytes_used = 0;     // of the rings
  std::uint64_t bytes_written = 0;  // ever
  std::uint64_t producers = 0;      // alive, in the partition that has most
  double records_per_second = 0;
  double bytes_per_second = 0;
  double fill = 0;                            // of the fullest partition
  std::optional<std::int64_t> retained_ns;    // age of the oldest record
  [[nodiscard]] std::string held_by() const;  // names of the groups that hold producers back; empty: none
};

struct ServiceSample {
  rpc::ServiceInfo info;
  std::uint64_t live = 0;         // servers
  std::uint64_t outstanding = 0;  // calls, of live servers
  std::uint64_t calls = 0;        // ended, of the servers that are known
  std::uint64_t failed = 0;       // of them, with another code than ok
  double calls_per_second = 0;
  double failed_per_second = 0;
  std::chrono::nanoseconds p50{0};  // of the slowest method of a live server
  std::chrono::nanoseconds p99{0};
};

struct BusSample {
  std::string bus;
  Timestamp time = 0;
  double seconds = 0;  // since the look before; 0: this is the first, and all rates are 0
  std::vector<TopicSample> topics;
  std::vector<ServiceSample> services;
};

class Sampler {
 public:
  // Of all topics, also of those made later, or of some: an unknown one among them is a Failure that names the nearest.
  explicit Sampler(Bus bus, std::vector<std::string> only = {});
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Throws a Failure when the bus is gone. What is wrong with one topic stands in its sample.
  BusSample look();

 private:
  struct Tracked;
  TopicSample look_at(const std::string& name, Tracked& tracked, double seconds);
  std::vector<ServiceSample> look_at_services(double seconds);

  Bus bus_;
  std::vector<std::string> only_;
  std::map<std::string, std::unique_ptr<Tracked>, std::less<>> tracked_;
  std::vector<ServiceSample> services_before_;
  std::int64_t looked_at_ = 0;  // steady clock, ns
};

// The numbers of a sample, as documented in `arus top --help`.
Json to_json(const BusSample& sample);

}  // namespace arus::tool
