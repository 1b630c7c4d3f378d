// What stands behind a Consumer: the readers of its partitions, the batch they fill, and the waiting.
#pragma once

#include <arus/consumer.h>

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "bus/coalescing.h"
#include "bus/partition_reader.h"
#include "bus/record_buffer.h"
#include "group/membership.h"
#include "platform/bells.h"
#include "platform/clock.h"
#include "platform/descriptor_set.h"
#include "platform/pattern.h"

namespace arus::detail {

class alignas(platform::kCacheLine) ConsumerState {
 public:
  static Result<std::unique_ptr<ConsumerState>> make(std::shared_ptr<BusState> bus, const ConsumerConfig& config);
  ~ConsumerState();
  ConsumerState(const ConsumerState&) = delete;
  ConsumerState& operator=(const ConsumerState&) = delete;

  Result<void> subscribe(const std::vector<std::string>& topics);
  Result<void> subscribe_pattern(std::string_view pattern);
  Result<void> assign(const std::vector<TopicPartition>& partitions);
  Result<void> unsubscribe(std::string_view topic);
  Polled poll(std::chrono::nanoseconds timeout);
  Result<void> commit();
  Result<void> commit(std::string_view topic, std::uint32_t partition, std::uint64_t offset);
  [[nodiscard]] std::vector<TopicPartition> assignment() const;
  void on_assignment(AssignmentListener listener) { listener_ = std::move(listener); }
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
  void undo(std::vector<Subscription>& subscriptions, std::vector<PartitionReader>& readers) noexcept;
  Result<void> subscribe_all(const std::vector<std::string>& topics);
  Result<void> follow_pattern();

  // Groups; see consumer_group.cpp.
  [[nodiscard]] GroupReading reading(const Subscription& subscription) const;
  [[nodiscard]] bool has_reader(const TopicState& topic, std::uint32_t partition) const noexcept;
  [[nodiscard]] std::vector<std::string> shared_topics() const;
  Result<void> join_group();
  Result<void> rebalance();
  Result<void> give_what_is_not_ours();
  Result<void> take_what_is_ours();
  Result<void> tell(const std::function<void(std::span<const TopicPartition>)>& listener,
                    const std::vector<TopicPartition>& what) const;
  tl::unexpected<Error> leave_fenced(Error error);
  void renounce(const Subscription& subscription) const noexcept;
  void guard_the_others() const noexcept;
  [[nodiscard]] bool must_rebalance() const noexcept {
    return membership_ && (!pending_.empty() || membership_->changed() || membership_->state().generation != followed_);
  }
  [[nodiscard]] bool may_take_something() const noexcept;

  Result<void> settle();
  Result<void> settle_if_automatic();
  bool settle_plainly() noexcept {
    bool all = true;
    for (PartitionReader& reader : readers_) all &= reader.settle_plainly();
    return all;
  }
  static constexpr std::uint32_t kPausesPerClock = 64;  // a look at the clock costs as much as several at the ring
  // What a look came to. (As Result<bool> it would go through memory, and its destructor through every poll.) `failed`: error_ says how.
  enum class Look : std::uint8_t { nothing, something, failed };
  [[gnu::noinline]] Look collect();
  [[gnu::noinline]] void take_slowly(PartitionReader& reader, Look& look);
  // consumer_wait.cpp
  // Whether the next record is likely to come alone, and soon.
  [[nodiscard]] bool may_await() const noexcept {
    return lone_ && coalescing_.between_looks() == 1 && readers_.size() == 1 && config_.wait.mode != Wait::Mode::sleep &&
           !readers_.front().paused;
  }
  bool await() noexcept {
    if (!readers_.front().await_plain(buffer_.vacant().front(), awaited_, kPausesPerClock)) return false;
    buffer_.added(1);
    return cut_ = true;
  }
  Look wait(std::chrono::nanoseconds timeout);
  Look arm_descriptor();
  Look failed(Error error) noexcept {
    error_ = std::move(error);
    return Look::failed;
  }
  Result<void> look_after_all(std::int64_t now);
  [[nodiscard]] bool any_ready() const noexcept;
  [[nodiscard]] bool any_open_claim() const noexcept;
  void sleep(std::int64_t ns) noexcept;
  [[nodiscard]] Batch batch() const noexcept;

  std::shared_ptr<BusState> bus_;
  ConsumerConfig config_;
  std::vector<Subscription> subscriptions_;
  std::vector<PartitionReader> readers_;
  std::unique_ptr<group::Membership> membership_;  // from the first subscription of a group on
  std::vector<const ring::Cursor*> pending_;       // of partitions that are ours as soon as their reader lets go
  std::uint64_t followed_ = 0;                     // generation of the group's state that the readers are those of
  AssignmentListener listener_;
  std::optional<platform::Pattern> pattern_;
  std::unique_ptr<platform::DescriptorSet> descriptors_;  // of descriptor(), in a group
  std::optional<Error> error_;
  std::size_t next_ = 0;  // the reader to begin with, so that a busy partition does not starve the others
  RecordBuffer buffer_;
  std::vector<InPlace> in_place_;
  std::unique_ptr<platform::Bell> bell_;  // null where this process may not have one
  std::atomic<bool> woken_{false};
  bool lone_ = false;  // the last batch was waited for and was one record
  bool cut_ = false;   // and nobody has looked yet what is behind it
  PartitionReader::Awaited awaited_;
  Coalescing coalescing_;
  std::uint32_t looks_ = 0;        // polls that were not to wait
  std::int64_t look_at_ = 0;       // boot clock: when to look next after what is in the way
  std::int64_t gone_look_at_ = 0;  // boot clock: when to ask next whether bus and topics are still there
};

}  // namespace arus::detail
