#include "bus/state.h"

#include "group/renewal.h"
#include "platform/error.h"
#include "ring/claim.h"

namespace arus::detail {

using platform::Access;
using platform::fail;
using platform::pass;

Result<void> BusState::check() const {
  if (!ours()) return fail(Errc::forked, "this bus belongs to the parent process; open it anew in the child");
  if (directory_->gone()) return fail(Errc::deleted, "the bus {} was deleted; make it anew and open it again", directory_->path());
  return {};
}

Result<std::shared_ptr<TopicState>> TopicState::open(std::shared_ptr<BusState> bus, std::string_view name) {
  if (auto good = log::check_topic_name(name); !good) return pass(good);
  if (auto good = bus->check(); !good) return pass(good);
  std::shared_ptr<TopicState> topic(new TopicState);
  topic->name_ = name;
  topic->directory_ = bus->directory().topic_path(name);
  auto identity = log::read_identity(log::identity_path(topic->directory_));
  // A topic appears as a whole and goes as a whole: a directory that is there now need not have been there a moment ago, so look again.
  constexpr int kMostLooks = 4;
  for (int looks = 1; !identity && identity.error().code() == Errc::not_found; ++looks) {
    if (!platform::exists(topic->directory_))
      return fail(Errc::not_found, "there is no topic '{}' in {}; `arus topic create {}` makes it", name, bus->directory().path(),
                  name);
    if (looks == kMostLooks) return fail(Errc::corrupt, "{} has no file 'topic'; delete the topic", topic->directory_);
    identity = log::read_identity(log::identity_path(topic->directory_));
  }
  if (!identity) return pass(identity);
  topic->identity_ = std::move(*identity);
  if (const auto& bells = bus->directory().bells()) {
    const auto renewed = group::renew_if_stale(topic->directory_, topic->identity_, bells->count());
    if (!renewed && renewed.error().code() != Errc::permission_denied) return pass(renewed);
    auto waits = log::Waits::open(log::waits_path(topic->directory_), topic->config().partitions, bells);
    if (waits) topic->waits_ = std::move(*waits);
    if (!waits && waits.error().code() != Errc::permission_denied) return pass(waits);
  }
  topic->bus_ = std::move(bus);
  return topic;
}

Result<void> TopicState::check() const {
  if (auto good = bus_->check(); !good) return good;
  auto identity = log::read_identity(log::identity_path(directory_));
  if (identity && identity->id == identity_.id) return {};
  if (identity || identity.error().code() == Errc::not_found)
    return fail(Errc::deleted, "topic '{}' was deleted{}", name_, identity ? " and made anew; open it again" : "");
  return pass(identity);
}

Result<std::shared_ptr<const group::GroupTable>> TopicState::groups(Access access) const {
  return group::GroupTable::open(log::groups_path(directory_), config().max_groups, config().partitions, access);
}

Result<OpenPartition> TopicState::partition(std::uint32_t number, Access access) const {
  if (number >= config().partitions)
    return fail(Errc::invalid_argument, "topic '{}' has partitions 0 to {}, not {}", name_, config().partitions - 1, number);
  const std::string path = log::partition_path(directory_, number);
  auto partition = log::Partition::open(path, access, identity_.id, number);
  if (!partition && partition.error().code() == Errc::not_found) {
    if (auto good = check(); !good) return pass(good);
    return fail(Errc::corrupt, "topic '{}' has lost its partition {} ({}); delete it", name_, number, partition.error().message());
  }
  if (!partition) return pass(partition);
  OpenPartition open{(*partition)->ring(), std::move(*partition)};
  open.ring.leases = bus_->directory().leases().get();
  if (waits_) {
    open.ring.data = waits_->data(number);
    open.ring.room = waits_->room(number);
  }
  return open;
}

Result<std::uint32_t> TopicState::count_readers() const {
  if (auto good = check(); !good) return pass(good);
  if (waits_) return waits_->count_readers(*bus_->directory().leases());
  auto waits = log::Waits::open_to_count(log::waits_path(directory_), config().partitions);
  if (!waits) return pass(waits);
  return (*waits)->count_readers(*bus_->directory().leases());
}

std::string TopicState::describe(const ring::Refusal& refusal, std::uint32_t partition) const {
  const platform::Leases& leases = *bus_->directory().leases();
  const std::string where = platform::format("partition {} of topic '{}'", partition, name_);
  switch (refusal.why) {
    case ring::Refusal::Why::group: {
      std::string group = platform::format("number {}", refusal.index);
      if (auto table = groups(Access::read); table && refusal.index < (*table)->groups()) group = (*table)->name(refusal.index);
      if (refusal.incarnation == platform::kNoIncarnation)
        return platform::format("{} is full: group '{}' has not read on, and nobody reads under that name now", where, group);
      return platform::format("{} is full: group '{}' has not read on; its reader is {}", where, group,
                              leases.describe(refusal.incarnation));
    }
    case ring::Refusal::Why::open_claim:
      return platform::format("{} is full: its oldest record is still being written by {}", where,
                              leases.describe(refusal.incarnation));
    case ring::Refusal::Why::repairing:
      return platform::format("{} is full: its oldest record was left open by a producer that died, and is being repaired by {}",
                              where, leases.describe(refusal.incarnation));
    case ring::Refusal::Why::unclear:
      return platform::format("{} is full: its oldest record was left open by a producer that died, and cannot be repaired yet",
                              where);
    case ring::Refusal::Why::exhausted:
      return platform::format("{} has used up its positions or offsets; create a new topic", where);
    case ring::Refusal::Why::corrupt:
      return platform::format("{} has impossible content at position {}; delete the topic", where, refusal.position);
    case ring::Refusal::Why::deleted: return platform::format("topic '{}' was deleted", name_);
    case ring::Refusal::Why::none: break;
  }
  return platform::format("{} is full", where);
}

}  // namespace arus::detail
