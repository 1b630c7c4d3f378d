// Share groups from outside: what there is, what they do, and their end.
#include <arus/bus.h>

#include <algorithm>
#include <functional>
#include <set>

#include "bus/share_state.h"
#include "log/seek.h"
#include "platform/error.h"

namespace arus {

using platform::fail;
using platform::pass;

namespace {

// For each topic in which `name` (empty: any) is a share group. A topic that is deleted meanwhile, or may not be looked at, is passed over.
using Visit =
    std::function<Result<void>(const std::shared_ptr<detail::TopicState>&, const group::GroupTable&, std::uint32_t group)>;
Result<void> visit(const std::shared_ptr<detail::BusState>& bus, std::string_view name, const Visit& visit) {
  if (auto good = bus->check(); !good) return good;
  auto topics = bus->directory().topics();
  if (!topics) return pass(topics);
  const auto is_passed_over = [](const Error& error) {
    return error.code() == Errc::not_found || error.code() == Errc::deleted || error.code() == Errc::permission_denied;
  };
  for (const std::string& one : *topics) {
    auto topic = detail::TopicState::open(bus, one);
    if (!topic && is_passed_over(topic.error())) continue;
    if (!topic) return pass(topic);
    auto table = (*topic)->groups(platform::Access::write);
    if (!table && is_passed_over(table.error())) continue;
    if (!table) return pass(table);
    for (std::uint32_t i = 0; i < (*table)->groups(); ++i) {
      const std::string found = (*table)->name(i);
      if (found.empty() || (!name.empty() && found != name) || (*table)->kind(i) != group::GroupTable::Kind::share) continue;
      if (auto done = visit(*topic, **table, i); !done) return done;
    }
  }
  return {};
}

Result<std::shared_ptr<const group::ShareFile>> open_file(const detail::TopicState& topic, const std::string& group) {
  return group::ShareFile::open(topic.bus_directory(), group, topic.id(), topic.config().partitions, platform::Access::write);
}

tl::unexpected<Error> no_such_group(const detail::BusState& bus, std::string_view name) {
  return fail(Errc::not_found, "there is no share group '{}' in {}", name, bus.directory().path());
}

Result<void> describe(const detail::TopicState& topic, const group::GroupTable& table, std::uint32_t index,
                      const group::ShareFile& file, ShareInfo& info) {
  const platform::Leases& leases = *topic.bus_directory().leases();
  std::vector<group::SharedPartition> partitions;
  for (std::uint32_t i = 0; i < topic.config().partitions; ++i) {
    auto open = topic.partition(i, platform::Access::read);
    if (!open) return pass(open);
    ring::Cursor& cursor = table.cursors(i)[index];
    partitions.emplace_back(open->ring, cursor, file.window(i), file.spec().window, file.holders());
    const group::ShareCounts counts = partitions.back().counts();
    info.partitions.push_back({.topic = topic.name(),
                               .partition = i,
                               .settled_before = cursor.committed.load(std::memory_order_acquire),
                               .end = log::latest(open->ring).offset,
                               .available = counts.available,
                               .acquired = counts.acquired,
                               .accepted = counts.accepted,
                               .rejected = counts.rejected,
                               .redelivered = counts.redelivered,
                               .dead_lettered = counts.dead_lettered,
                               .discarded = counts.discarded,
                               .lost = counts.lost});
  }
  for (std::uint32_t i = 0; i < group::kHolders; ++i) {
    const std::uint64_t incarnation = file.holders()[i].load(std::memory_order_acquire);
    if (incarnation == platform::kNoIncarnation || leases.dead(incarnation)) continue;
    ShareMember member{.topic = topic.name(), .process = leases.describe(incarnation), .acquired = 0};
    for (const auto& partition : partitions) member.acquired += partition.count_held(i);
    info.members.push_back(std::move(member));
  }
  return {};
}

}  // namespace

Result<ShareConsumer> Bus::share_consumer(const ShareConfig& config) {
  if (auto good = state_->check(); !good) return pass(good);
  auto consumer = detail::ShareState::make(state_, config);
  if (!consumer) return pass(consumer);
  return ShareConsumer(std::move(*consumer));
}

Result<std::vector<std::string>> Bus::share_groups() const {
  std::set<std::string> names;
  auto visited = visit(state_, {}, [&](const auto&, const group::GroupTable& table, std::uint32_t index) -> Result<void> {
    names.insert(table.name(index));
    return {};
  });
  if (!visited) return pass(visited);
  return std::vector<std::string>(names.begin(), names.end());
}

Result<ShareInfo> Bus::share_group(std::string_view name) const {
  ShareInfo info{.name = std::string(name),
                 .max_deliveries = 0,
                 .dead_letter_topic = {},
                 .grace = std::chrono::nanoseconds::zero(),
                 .partitions = {},
                 .members = {}};
  bool found = false;
  auto visited = visit(state_, name, [&](const auto& topic, const group::GroupTable& table, std::uint32_t index) -> Result<void> {
    found = true;
    auto file = open_file(*topic, info.name);
    // A member that has given the name may not have made the file yet.
    if (!file && (file.error().code() == Errc::not_found || file.error().code() == Errc::stale_boot)) return {};
    if (!file) return pass(file);
    const group::ShareSpec& spec = (*file)->spec();
    info.max_deliveries = spec.most_deliveries;
    info.dead_letter_topic = spec.dead_letter_topic;
    info.grace = std::chrono::nanoseconds(spec.grace_ns);
    return describe(*topic, table, index, **file, info);
  });
  if (!visited) return pass(visited);
  if (!found) return no_such_group(*state_, name);
  return info;
}

Result<void> Bus::remove_share_group(std::string_view name) {
  constexpr std::int64_t kPatience = 2'000'000'000;  // ns
  const std::string group(name);
  bool found = false;
  auto visited = visit(state_, name, [&](const auto& topic, const group::GroupTable& table, std::uint32_t) -> Result<void> {
    found = true;
    const log::BusDirectory& directory = topic->bus_directory();
    auto lock = group::ShareFile::lock(directory, group, topic->id(), kPatience);
    if (!lock) return pass(lock);
    if (auto file = open_file(*topic, group); file) {
      for (std::uint32_t i = 0; i < group::kHolders; ++i) {
        const std::uint64_t incarnation = (*file)->holders()[i].load(std::memory_order_acquire);
        if (!directory.leases()->dead(incarnation))
          return fail(Errc::in_use, "share group '{}' has a live member in topic '{}': {}; stop it first", group, topic->name(),
                      directory.leases()->describe(incarnation));
      }
      (*file)->remove();
    } else if (file.error().code() == Errc::corrupt || file.error().code() == Errc::stale_boot ||
               file.error().code() == Errc::version_mismatch) {
      group::ShareFile::remove(directory, group, topic->id());
    } else if (file.error().code() != Errc::not_found) {
      return pass(file);
    }
    return table.remove(group, group::GroupTable::Kind::share);
  });
  if (!visited) return visited;
  if (!found) return no_such_group(*state_, name);
  return {};
}

}  // namespace arus
