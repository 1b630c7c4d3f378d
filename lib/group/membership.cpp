#include "group/membership.h"

#include <algorithm>
#include <set>

#include "group/assignor.h"
#include "group/cursor.h"
#include "group/group_table.h"
#include "platform/bells.h"
#include "platform/clock.h"
#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus::group {

using platform::fail;
using platform::pass;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kAskAnyway = platform::kIdleSleep;  // an event may get lost; with each idle wake-up
constexpr std::int64_t kHearEvery = 5 * kMillisecond;      // while it does not sleep: a look costs a system call
constexpr std::int64_t kAskUntold = 5 * kMillisecond;      // without a death watch
constexpr std::int64_t kSuspicious = 20 * kMillisecond;    // the lock of a lease is released a moment after its event
constexpr std::int64_t kBeginning = 1;                     // of away_since, which is never 0

// The clock starts anew at each boot.
bool is_over(const Member& member, std::int64_t grace_ns, std::int64_t now) noexcept {
  return member.away_since > now || now - member.away_since >= grace_ns;
}

}  // namespace

// ---- the state under the lock ----------------------------------------------------------------------------------------------------

bool reap(GroupState& state, const GroupFile& file, const log::BusDirectory& bus) {
  const platform::Leases& leases = *bus.leases();
  const std::int64_t now = platform::boot_time();
  bool changed = false;
  for (Member& member : state.members)
    if (member.away_since == 0 && file.has_departed(member.id)) {
      file.forget_departure(member.id);
      member.away_since = std::max(now, kBeginning);
      if (member.instance.empty()) member.incarnation = platform::kNoIncarnation;
      changed = true;
    }
  for (Member& member : state.members)
    if (member.away_since == 0 && !member.instance.empty() && leases.dead(member.incarnation)) {
      member.away_since = std::max(now, kBeginning);
      changed = true;
    }
  changed |= std::erase_if(state.members, [&](const Member& member) {
               if (member.instance.empty()) return leases.dead(member.incarnation);
               return member.away_since != 0 && is_over(member, state.policy.grace_ns, now);
             }) != 0;
  if (state.members.empty() && state.empty_since == 0) {
    state.empty_since = platform::wall_time();
    changed = true;
  }
  return changed;
}

void reassign(GroupState& state, const log::BusDirectory& bus) {
  std::set<std::string> wanted;
  for (const Member& member : state.members) wanted.insert(member.topics.begin(), member.topics.end());
  std::vector<Target> targets;
  for (const std::string& topic : wanted) {
    const auto identity = log::read_identity(log::identity_path(bus.topic_path(topic)));
    const Target* before = state.target(topic);
    if (!identity) {
      // Deleted; or broken, or not for this process to read, and then what was decided about it stands: the others go on.
      if (identity.error().code() != Errc::not_found && before != nullptr) targets.push_back(*before);
      continue;
    }
    Target target{.topic = topic, .topic_id = identity->id, .members = {}};
    if (before != nullptr && before->topic_id == identity->id) target.members = before->members;
    target.members.resize(identity->config.partitions);
    targets.push_back(std::move(target));
  }
  state.targets = std::move(targets);
  assign(state);
}

bool has_live_members(const GroupState& state, const platform::Leases& leases) {
  return std::any_of(state.members.begin(), state.members.end(),
                     [&](const Member& member) { return member.away_since == 0 && !leases.dead(member.incarnation); });
}

namespace {

bool is_read(const GroupTable& table, std::uint32_t group, std::uint32_t partitions, const log::BusDirectory& bus) {
  for (std::uint32_t i = 0; i < partitions; ++i)
    if (!is_takeable(table.cursors(i)[group], *bus.leases())) return true;
  return false;
}

}  // namespace

Result<void> forget_offsets(const std::string& group, const log::BusDirectory& bus) {
  const auto topics = bus.topics();
  if (!topics) return pass(topics);
  for (const std::string& topic : *topics) {
    const std::string directory = bus.topic_path(topic);
    const auto identity = log::read_identity(log::identity_path(directory));
    if (!identity) continue;  // deleted meanwhile, or nobody could have read in it
    auto table = GroupTable::open(log::groups_path(directory), identity->config.max_groups, identity->config.partitions,
                                  platform::Access::write);
    if (!table && table.error().code() == Errc::not_found) continue;
    if (!table) return pass(table);
    // Single partitions are read by those who are no members, too (Consumer::assign).
    if (const auto found = (*table)->find(group); found && is_read(**table, *found, identity->config.partitions, bus)) continue;
    if (auto removed = (*table)->remove(group); !removed) return removed;
  }
  return {};
}

// ---- a member --------------------------------------------------------------------------------------------------------------------

Membership::~Membership() = default;

Result<std::unique_ptr<Membership>> Membership::join(const log::BusDirectory& bus, const ConsumerConfig& config) {
  std::unique_ptr<Membership> member(new Membership(bus, config));
  auto file = GroupFile::open_or_create(bus, config.group, Policy::of(config));
  if (!file) return pass(file);
  member->file_ = std::move(*file);
  member->id_ = platform::random_word();
  auto joined = member->file_->change([&](GroupState& state) -> Result<bool> {
    reap(state, *member->file_, bus);
    const Policy mine = Policy::of(config);
    const platform::Leases& leases = *bus.leases();
    Member fresh{.id = member->id_, .incarnation = bus.incarnation(), .instance = config.instance, .away_since = 0, .topics = {}};
    const auto same = std::find_if(state.members.begin(), state.members.end(),
                                   [&](const Member& one) { return !config.instance.empty() && one.instance == config.instance; });
    if (same != state.members.end() && same->away_since == 0)
      return fail(Errc::in_use, "instance '{}' of group '{}' is in use: {}; stop it, or choose another instance name",
                  config.instance, config.group, leases.describe(same->incarnation));
    if (!has_live_members(state, leases)) {
      const std::int64_t now = platform::wall_time();
      if (state.members.empty() && state.empty_since != 0 && state.policy.kept_ns < now - std::min(now, state.empty_since))
        if (auto forgotten = forget_offsets(state.name, bus); !forgotten) return pass(forgotten);
      state.policy = mine;
    } else if (const std::string differs = mine.difference(state.policy); !differs.empty()) {
      return fail(Errc::config_mismatch,
                  "this consumer does not fit the live members of group '{}': its {}; use the same settings, or another group",
                  config.group, differs);
    }
    state.empty_since = 0;
    if (same == state.members.end()) {
      state.members.push_back(std::move(fresh));
    } else {
      for (Target& target : state.targets) std::replace(target.members.begin(), target.members.end(), same->id, fresh.id);
      fresh.topics = same->topics;
      *same = std::move(fresh);
    }
    return true;
  });
  if (!joined) return pass(joined);
  if (auto read = member->refresh(); !read) return pass(read);
  return member;
}

Result<void> Membership::subscribe(std::vector<std::string> topics) {
  auto changed = file_->change([&](GroupState& state) -> Result<bool> {
    reap(state, *file_, bus_);
    for (Member& member : state.members)
      if (member.id == id_) member.topics = topics;
    reassign(state, bus_);
    return true;
  });
  if (!changed) return changed;
  return refresh();
}

void Membership::leave() noexcept try {
  auto left = file_->change([&](GroupState& state) -> Result<bool> {
    const bool is_static = !config_.instance.empty();
    std::erase_if(state.members, [&](Member& member) {
      if (member.id != id_) return false;
      if (is_static) member.away_since = std::max(platform::boot_time(), kBeginning);
      return !is_static;
    });
    reap(state, *file_, bus_);
    reassign(state, bus_);
    state_ = state;
    return true;
  });
  if (left) return;
  if (left.error().code() != Errc::not_found) file_->note_departure(id_);
  std::erase_if(state_.members, [&](const Member& member) { return member.id == id_; });  // nothing is meant for it any more
} catch (...) {  // out of memory: it leaves when its process does
}

Result<void> Membership::refresh() {
  const std::uint64_t generation = file_->generation();
  auto state = file_->read();
  if (!state) {
    if (state.error().code() == Errc::not_found && bus_.gone())
      return fail(Errc::deleted, "the bus {} was deleted; make it anew and open it again", bus_.path());
    if (state.error().code() == Errc::not_found)
      return fail(Errc::fenced, "group '{}' was deleted; subscribe again", config_.group);
    return pass(state);
  }
  // A change is written first and told of then; if one came in between, what was read is newer still, and is read once more.
  seen_ = generation;
  state_ = std::move(*state);
  const Member* const self = state_.member(id_);
  company_ = self != nullptr && std::any_of(state_.members.begin(), state_.members.end(), [&](const Member& member) {
               return member.id != id_ && std::any_of(self->topics.begin(), self->topics.end(),
                                                      [&](const std::string& topic) { return member.wants(topic); });
             });
  if (!watch_ && has_company()) {
    watch_ = platform::DeathWatch::open(*bus_.leases());
    ask_at_ = 0;  // who died before tells nobody any more
  }
  if (self == nullptr)
    return fail(Errc::fenced, "this consumer is no longer a member of group '{}'; subscribe again", config_.group);
  return {};
}

bool Membership::somebody_is_due(std::int64_t now, bool thoroughly) const {
  const platform::Leases& leases = *bus_.leases();
  const std::uint64_t own = bus_.incarnation();
  return std::any_of(state_.members.begin(), state_.members.end(), [&](const Member& member) {
    if (member.away_since != 0) return is_over(member, state_.policy.grace_ns, now);
    return (member.incarnation != own && leases.dead(member.incarnation)) || (thoroughly && file_->has_departed(member.id));
  });
}

Result<void> Membership::look_after(std::int64_t now) {
  if (watch_ && now >= hear_at_) {
    hear_at_ = now + kHearEvery;
    if (watch_->heard()) suspicious_till_ = now + kSuspicious;
  }
  if (now >= suspicious_till_ && now < ask_at_) return {};
  const bool anyway = now >= ask_at_;
  if (anyway) {
    ask_at_ = now + (watch_ || !has_company() ? kAskAnyway : kAskUntold);
    if (auto read = refresh(); !read) return read;  // also for a change that nobody told of
  }
  if (state_.members.size() == 1 || !somebody_is_due(now, anyway)) return {};
  auto changed = file_->change(
      [&](GroupState& state) -> Result<bool> {
        if (!reap(state, *file_, bus_)) return false;  // somebody else was faster
        ARUS_KILL_POINT("H-reaped");
        reassign(state, bus_);
        return true;
      },
      0);
  // Whoever holds the lock is at it, or is stopped: what is ours already is read on.
  if (!changed && changed.error().code() == Errc::timed_out) return {};
  if (!changed && changed.error().code() == Errc::not_found) return refresh();  // deleted: that says so
  return changed;
}

bool Membership::is_mine(const std::string& topic, std::uint32_t partition) const noexcept {
  const Target* target = state_.target(topic);
  return target != nullptr && partition < target->members.size() && target->members[partition] == id_;
}

std::uint64_t Membership::incarnation_for(const std::string& topic, std::uint32_t partition) const noexcept {
  const Target* target = state_.target(topic);
  if (target == nullptr || partition >= target->members.size()) return platform::kNoIncarnation;
  const Member* member = state_.member(target->members[partition]);
  if (member == nullptr) return platform::kNoIncarnation;
  if (member->away_since == 0) return member->incarnation;
  const auto there =
      std::find_if(state_.members.begin(), state_.members.end(), [](const Member& one) { return one.away_since == 0; });
  return there != state_.members.end() ? there->incarnation : platform::kNoIncarnation;
}

std::int64_t Membership::longest_sleep(std::int64_t now) const noexcept {
  if (!has_company()) return kAskAnyway;
  if (now < suspicious_till_) return kMillisecond;
  std::int64_t longest = watch_ ? kAskAnyway : kAskUntold;
  for (const Member& member : state_.members)
    if (member.away_since != 0)
      longest = std::min(longest, std::max(state_.policy.grace_ns - (now - member.away_since), kMillisecond));
  return longest;
}

}  // namespace arus::group
