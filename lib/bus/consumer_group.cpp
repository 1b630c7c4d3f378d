// A consumer as a member of its group: joining, and following the group's state from poll to poll. What the state means, and what a
// crash leaves, stands in group/membership.h and group/cursor.h.
#include <algorithm>

#include "bus/consumer_state.h"
#include "platform/error.h"

namespace arus::detail {

using platform::fail;
using platform::pass;

GroupReading ConsumerState::reading(const Subscription& subscription) const {
  return {.table = subscription.table,
          .group = subscription.group,
          .member = membership_ ? membership_->id() : 0,
          .policy = membership_ ? membership_->policy() : group::Policy::of(config_),
          .start = config_.start,
          .on_lost = config_.on_lost,
          .auto_commit = config_.auto_commit};
}

bool ConsumerState::has_reader(const TopicState& topic, std::uint32_t partition) const noexcept {
  return std::any_of(readers_.begin(), readers_.end(),
                     [&](const PartitionReader& reader) { return reader.partition() == partition && &reader.topic() == &topic; });
}

std::vector<std::string> ConsumerState::shared_topics() const {
  std::vector<std::string> names;
  for (const Subscription& one : subscriptions_)
    if (one.whole) names.push_back(one.topic->name());
  return names;
}

Result<void> ConsumerState::join_group() {
  if (!membership_) {
    auto member = group::Membership::join(bus_->directory(), config_);
    if (!member) return pass(member);
    membership_ = std::move(*member);
  }
  if (auto told = membership_->subscribe(shared_topics()); !told) {
    if (told.error().code() == Errc::fenced) return leave_fenced(told.error());
    return told;
  }
  return rebalance();
}

Result<void> ConsumerState::rebalance() {
  if (membership_->changed())
    if (auto read = membership_->refresh(); !read) {
      if (read.error().code() == Errc::fenced) return leave_fenced(read.error());
      return read;
    }
  if (auto given = give_what_is_not_ours(); !given) return given;
  if (followed_ != membership_->state().generation) guard_the_others();
  followed_ = membership_->state().generation;
  auto taken = take_what_is_ours();
  if (descriptors_ && membership_->watch_descriptor() >= 0)
    if (auto added = descriptors_->add(membership_->watch_descriptor()); !added) return added;
  return taken;
}

// Somebody else took this member out of the group. What it reads it has lost already, or will, when its process ends; it lets go.
tl::unexpected<Error> ConsumerState::leave_fenced(Error error) {
  buffer_.clear();
  in_place_.clear();
  next_ = 0;
  for (PartitionReader& reader : readers_) reader.let_go(platform::kNoIncarnation);
  readers_.clear();
  pending_.clear();
  for (Subscription& one : subscriptions_) {
    renounce(one);
    detach(one);
  }
  subscriptions_.clear();
  pattern_.reset();
  membership_->tell();
  membership_.reset();
  return tl::unexpected<Error>(std::move(error));
}

// Partitions that were let go for this process and that this consumer will not take now go to whom they are meant for.
void ConsumerState::renounce(const Subscription& subscription) const noexcept {
  if (!subscription.whole || !subscription.table || !membership_) return;
  for (std::uint32_t i = 0; i < subscription.topic->config().partitions; ++i)
    group::renounce(subscription.table->cursors(i)[subscription.group], bus_->directory().incarnation(),
                    membership_->incarnation_for(subscription.topic->name(), i));
}

Result<void> ConsumerState::tell(const std::function<void(std::span<const TopicPartition>)>& listener,
                                 const std::vector<TopicPartition>& what) const {
  if (!listener || what.empty()) return {};
  try {
    listener(what);
  } catch (const std::exception& error) {
    return fail(Errc::invalid_argument, "the assignment listener threw '{}'; it must not throw", error.what());
  } catch (...) {
    return fail(Errc::invalid_argument, "the assignment listener threw; it must not throw");
  }
  return {};
}

Result<void> ConsumerState::give_what_is_not_ours() {
  const auto is_ours = [&](const PartitionReader& reader) {
    return membership_->is_mine(reader.topic().name(), reader.partition());
  };
  const auto is_shared = [&](const PartitionReader& reader) {
    return std::any_of(subscriptions_.begin(), subscriptions_.end(),
                       [&](const Subscription& one) { return one.whole && one.topic.get() == &reader.topic(); });
  };
  std::vector<TopicPartition> gone;
  for (const PartitionReader& reader : readers_)
    if (is_shared(reader) && !is_ours(reader)) gone.push_back({reader.topic().name(), reader.partition()});
  if (gone.empty()) return {};
  auto told = tell(listener_.revoked, gone);
  buffer_.clear();
  in_place_.clear();
  next_ = 0;
  std::erase_if(readers_, [&](PartitionReader& reader) {
    if (!is_shared(reader) || is_ours(reader)) return false;
    reader.let_go(membership_->incarnation_for(reader.topic().name(), reader.partition()));
    return true;
  });
  membership_->tell();
  return told;
}

Result<void> ConsumerState::take_what_is_ours() {
  pending_.clear();
  std::vector<TopicPartition> come;
  Result<void> result{};
  for (const Subscription& one : subscriptions_) {
    if (!one.whole) continue;
    for (std::uint32_t i = 0; i < one.topic->config().partitions; ++i) {
      if (!membership_->is_mine(one.topic->name(), i) || has_reader(*one.topic, i)) continue;
      const ring::Cursor& cursor = one.table->cursors(i)[one.group];
      // Looked at once a millisecond while it is pending: mapping the partition can wait until it is free.
      if (!group::is_takeable(cursor, *bus_->directory().leases())) {
        pending_.push_back(&cursor);
        continue;
      }
      auto reader = PartitionReader::join(one.topic, i, reading(one));
      if (reader) {
        readers_.push_back(std::move(*reader));
        come.push_back({one.topic->name(), i});
        continue;
      }
      pending_.push_back(&cursor);
      if (reader.error().code() != Errc::in_use) result = pass(reader);
    }
  }
  auto told = tell(listener_.assigned, come);
  return result ? told : result;
}

// What a dead reader left, and another member has not taken yet, or is away: the group has members, so that producers wait.
void ConsumerState::guard_the_others() const noexcept {
  for (const Subscription& one : subscriptions_)
    for (std::uint32_t i = 0; one.whole && i < one.topic->config().partitions; ++i)
      if (!membership_->is_mine(one.topic->name(), i))
        group::guard(one.table->cursors(i)[one.group], membership_->incarnation_for(one.topic->name(), i),
                     *bus_->directory().leases());
}

// Before a sleep: whether something of rebalance() could be done.
bool ConsumerState::may_take_something() const noexcept {
  if (!membership_) return false;
  if (membership_->changed()) return true;
  return std::any_of(pending_.begin(), pending_.end(), [](const ring::Cursor* cursor) {
    const std::uint64_t owner = cursor->owner.load(std::memory_order_acquire);
    return owner == platform::kNoIncarnation || (owner & ring::kReserved) != 0;
  });
}

}  // namespace arus::detail
