// What stands behind a ShareConsumer: the partitions it takes records from, what it holds of them, and the waiting. How records are taken and
// settled: group/share_window.h.
#pragma once

#include <arus/share.h>

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "bus/producer_state.h"
#include "bus/state.h"
#include "group/share_file.h"
#include "group/share_window.h"
#include "platform/bells.h"
#include "platform/clock.h"
#include "platform/death_watch.h"
#include "platform/descriptor_set.h"

namespace arus::detail {

class ShareState {
 public:
  static Result<std::unique_ptr<ShareState>> make(std::shared_ptr<BusState> bus, const ShareConfig& config);
  ~ShareState();
  ShareState(const ShareState&) = delete;
  ShareState& operator=(const ShareState&) = delete;

  Result<void> subscribe(const std::vector<std::string>& topics);
  Result<ShareBatch> poll(std::chrono::nanoseconds timeout);
  Result<void> accept(std::span<const SharedRecord> records);
  Result<void> release(const SharedRecord& record);
  Result<void> reject(const SharedRecord& record);
  [[nodiscard]] std::size_t held() const noexcept { return held_; }
  Result<int> descriptor();
  void wake() noexcept;

 private:
  static constexpr std::uint32_t kNoSlot = ~0u;
  struct Subscription {  // to a topic
    std::shared_ptr<TopicState> topic;
    std::shared_ptr<const group::GroupTable> table;
    std::shared_ptr<const group::ShareFile> file;
    std::unique_ptr<platform::SharedLease> lease;
    std::uint32_t slot = kNoSlot;
    std::uint32_t reader = 0;  // among the topic's readers
  };
  struct Place {  // a partition
    std::size_t subscription;
    std::uint32_t partition;
    OpenPartition open;
    group::SharedPartition shared;
    std::uint64_t seen_open = 0;  // the position of an open claim at the last look
  };

  ShareState(std::shared_ptr<BusState> bus, const ShareConfig& config);
  [[nodiscard]] Result<void> usable() const;
  Result<void> attach(const std::string& topic);
  void leave(std::size_t subscription) noexcept;
  // `in_use`: somebody else is at it.
  Result<void> reorder(Place& place);
  Result<void> reorder_locked(Place& place);
  void put_back_the_dead(std::size_t subscription);

  Result<bool> collect();
  Result<bool> take_from(Place& place);
  Result<void> bury(const SharedRecord& record, bool rejected);
  Result<void> bury_what_is_left();
  Result<Place*> find(const SharedRecord& record);
  tl::unexpected<Error> not_held(const SharedRecord& record);
  void count_held() noexcept;

  Result<bool> wait(std::chrono::nanoseconds timeout);
  void sleep(std::int64_t ns) noexcept;
  [[nodiscard]] bool any_ready() const noexcept;
  [[nodiscard]] bool any_open_claim() const noexcept;
  Result<bool> arm_descriptor();
  Result<void> look_after_all(std::int64_t now);
  void repair_what_is_in_the_way(Place& place) const;
  void look_after_members(std::int64_t now);
  [[nodiscard]] bool has_company() const noexcept;

  std::shared_ptr<BusState> bus_;
  ShareConfig config_;
  std::unique_ptr<ProducerState> dead_letters_;
  std::vector<Subscription> subscriptions_;
  std::vector<Place> places_;
  std::vector<SharedRecord> records_;
  std::vector<SharedRecord> unburied_;  // held until the dead-letter topic has room
  std::optional<Error> evicted_;        // not told yet
  std::size_t held_ = 0;                // by the caller: without what is to be buried
  std::size_t next_ = 0;                // the place to begin with
  std::unique_ptr<platform::Bell> bell_;
  std::unique_ptr<platform::DeathWatch> watch_;
  std::unique_ptr<platform::DescriptorSet> descriptors_;
  std::atomic<bool> woken_{false};
  platform::Stamper stamper_{platform::Stamper::Of::boot};
  std::int64_t look_at_ = 0;  // boot clock, as all that follow
  std::int64_t gone_look_at_ = 0;
  std::int64_t ask_at_ = 0;           // when to ask next who lives
  std::int64_t suspicious_till_ = 0;  // somebody may just have died
};

}  // namespace arus::detail
