// What stands behind a Consumer: the readers of its partitions, the batch they fill, and the waiting.
#pragma once

#include <arus/consumer.h>

#include <atomic>
#include <memory>
#include <vector>

#include "bus/partition_reader.h"
#include "bus/record_buffer.h"
#include "platform/bells.h"
#include "platform/clock.h"

namespace arus::detail {

class ConsumerState {
 public:
  static Result<std::unique_ptr<ConsumerState>> make(std::shared_ptr<BusState> bus, const ConsumerConfig& config);
  ~ConsumerState();
  ConsumerState(const ConsumerState&) = delete;
  ConsumerState& operator=(const ConsumerState&) = delete;

  Result<void> subscribe(const std::vector<std::string>& topics);
  Result<void> assign(const std::vector<TopicPartition>& partitions);
  Result<void> unsubscribe(std::string_view topic);
  Result<Batch> poll(std::chrono::nanoseconds timeout);
  Result<void> commit();
  Result<PartitionReader*> find(std::string_view topic, std::uint32_t partition);
  Result<void> seek(std::string_view topic, std::uint32_t partition, Start to);
  Result<int> descriptor();
  void wake() noexcept;
  [[nodiscard]] bool intact() const noexcept;

 private:
  struct Subscription {  // to a topic; what must be given back
    std::shared_ptr<TopicState> topic;
    std::shared_ptr<const group::GroupTable> table;
    std::uint32_t group = 0;
    std::uint32_t place = 0;  // among the topic's readers
    bool counted = false;
    bool whole = true;  // all partitions, and not those of assign()
  };
  struct InPlace {  // where a batch's records of a reader begin
    std::size_t reader;
    std::uint64_t position;
  };

  ConsumerState(std::shared_ptr<BusState> bus, ConsumerConfig config);
  [[nodiscard]] Result<void> usable() const;
  // `counted`: this consumer stands among the topic's readers already.
  Result<Subscription> attach(const std::string& topic, const std::vector<std::uint32_t>* partitions, bool counted,
                              std::vector<PartitionReader>& readers);
  void detach(Subscription& subscription) noexcept;
  Result<void> add(std::vector<Subscription> subscriptions, std::vector<PartitionReader> readers);

  Result<void> settle();
  Result<bool> collect();
  Result<bool> wait(std::chrono::nanoseconds timeout);
  Result<bool> arm_descriptor();
  Result<void> look_after_all(std::int64_t now);
  [[nodiscard]] bool any_ready() const noexcept;
  void sleep(std::int64_t ns) noexcept;
  void adapt(std::size_t found) noexcept;
  [[nodiscard]] Batch batch() const noexcept;

  std::shared_ptr<BusState> bus_;
  ConsumerConfig config_;
  std::vector<Subscription> subscriptions_;
  std::vector<PartitionReader> readers_;
  std::size_t next_ = 0;  // the reader to begin with, so that a busy partition does not starve the others
  RecordBuffer buffer_;
  std::vector<InPlace> in_place_;
  std::unique_ptr<platform::Bell> bell_;  // null where this process may not have one
  std::atomic<bool> woken_{false};
  std::uint32_t pauses_ = 1;       // after an empty look, see Wait::coalesce
  std::uint32_t looks_ = 0;        // polls that were not to wait
  std::int64_t look_at_ = 0;       // boot clock: when to look next after what is in the way
  std::int64_t gone_look_at_ = 0;  // boot clock: when to ask next whether bus and topics are still there
};

}  // namespace arus::detail
