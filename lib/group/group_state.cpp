#include "group/group_state.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "log/checksum.h"
#include "platform/error.h"

namespace arus::group {

using platform::fail;
using platform::format;

bool Member::wants(const std::string& topic) const noexcept {
  return std::find(topics.begin(), topics.end(), topic) != topics.end();
}

const Member* GroupState::member(std::uint64_t id) const noexcept {
  const auto found = std::find_if(members.begin(), members.end(), [&](const Member& one) { return one.id == id; });
  return found != members.end() ? &*found : nullptr;
}

const Target* GroupState::target(const std::string& topic) const noexcept {
  const auto found = std::find_if(targets.begin(), targets.end(), [&](const Target& one) { return one.topic == topic; });
  return found != targets.end() ? &*found : nullptr;
}

// ---- policy ----------------------------------------------------------------------------------------------------------------------

Policy Policy::of(const ConsumerConfig& config) noexcept {
  return {.delivery = config.delivery,
          .assignor = config.assignor,
          .records_behind = config.evict_behind_records,
          .bytes_behind = config.evict_behind_bytes,
          .stall_ns = config.stall_limit.count(),
          .grace_ns = config.grace.count(),
          .kept_ns = config.offsets_kept.count()};
}

std::string Policy::difference(const Policy& other) const {
  const auto delivery_name = [](Delivery one) { return one == Delivery::lossless ? "lossless" : "lossy"; };
  const auto assignor_name = [](Assignor one) { return one == Assignor::range ? "range" : "sticky"; };
  if (delivery != other.delivery)
    return format("delivery is {} and not {}", delivery_name(delivery), delivery_name(other.delivery));
  if (assignor != other.assignor)
    return format("assignor is {} and not {}", assignor_name(assignor), assignor_name(other.assignor));
  const auto number = [](std::string_view what, auto mine, auto theirs) {
    return format("{} is {} and not {}", what, mine, theirs);
  };
  if (records_behind != other.records_behind) return number("evict_behind_records", records_behind, other.records_behind);
  if (bytes_behind != other.bytes_behind) return number("evict_behind_bytes", bytes_behind, other.bytes_behind);
  if (stall_ns != other.stall_ns) return number("stall_limit in ns", stall_ns, other.stall_ns);
  if (grace_ns != other.grace_ns) return number("grace in ns", grace_ns, other.grace_ns);
  if (kept_ns != other.kept_ns) return number("offsets_kept in ns", kept_ns, other.kept_ns);
  return {};
}

// ---- bytes -----------------------------------------------------------------------------------------------------------------------

namespace {

constexpr std::uint64_t kMagic = 0x3A50524753555241;  // "ARUSGRP:"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHead = 24;

struct Writer {
  std::string bytes;
  template <class T>
  void number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes += value;
  }
  template <class T, class Each>
  void list(const std::vector<T>& values, Each each) {
    number(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) each(value);
  }
};

// Reads what may be anything: behind its end it yields zeros, and remembers.
struct Reader {
  std::span<const char> rest;
  bool good = true;
  template <class T>
  void number(T& value) {
    if (rest.size() < sizeof value) {
      good = false;
      rest = {};
      value = T{};
      return;
    }
    std::memcpy(&value, rest.data(), sizeof value);
    rest = rest.subspan(sizeof value);
  }
  void text(std::string& value) {
    std::uint32_t size = 0;
    number(size);
    if (rest.size() < size) {
      good = false;
      return;
    }
    value.assign(rest.data(), size);
    rest = rest.subspan(size);
  }
  template <class T, class Each>
  void list(std::vector<T>& values, Each each) {
    std::uint32_t count = 0;
    number(count);
    for (std::uint32_t i = 0; i < count && good; ++i) each(values.emplace_back());
  }
};

// One order for both directions.
template <class Way, class State>
void fields(Way& way, State& state) {
  way.number(state.generation);
  way.text(state.name);
  way.number(state.policy.delivery);
  way.number(state.policy.assignor);
  way.number(state.policy.records_behind);
  way.number(state.policy.bytes_behind);
  way.number(state.policy.stall_ns);
  way.number(state.policy.grace_ns);
  way.number(state.policy.kept_ns);
  way.number(state.empty_since);
  way.list(state.members, [&](auto& member) {
    way.number(member.id);
    way.number(member.incarnation);
    way.text(member.instance);
    way.number(member.away_since);
    way.list(member.topics, [&](auto& topic) { way.text(topic); });
  });
  way.list(state.targets, [&](auto& target) {
    way.text(target.topic);
    way.number(target.topic_id[0]);
    way.number(target.topic_id[1]);
    way.list(target.members, [&](auto& member) { way.number(member); });
  });
}

// What no writer leaves, whatever the checksum says: times and durations below zero, members that are nobody or the same.
bool is_possible(const GroupState& state) {
  const Policy& policy = state.policy;
  if (policy.delivery > Delivery::lossy || policy.assignor > Assignor::sticky) return false;
  if (std::min({policy.stall_ns, policy.grace_ns, policy.kept_ns, state.empty_since}) < 0) return false;
  std::set<std::uint64_t> ids{0};
  return std::all_of(state.members.begin(), state.members.end(),
                     [&](const Member& member) { return member.away_since >= 0 && ids.insert(member.id).second; });
}

}  // namespace

std::string encode(const GroupState& state) {
  Writer body;
  fields(body, state);
  Writer all;
  all.number(kMagic);
  all.number(kVersion);
  all.number(static_cast<std::uint32_t>(kHead + body.bytes.size()));
  all.number(log::checksum(body.bytes.data(), body.bytes.size()));
  return all.bytes + body.bytes;
}

Result<GroupState> decode(std::span<const char> bytes, const std::string& path) {
  Reader reader{.rest = bytes};
  std::uint64_t magic = 0;
  std::uint32_t version = 0;
  std::uint32_t size = 0;
  std::uint64_t sum = 0;
  reader.number(magic);
  reader.number(version);
  reader.number(size);
  reader.number(sum);
  const auto remedy = "stop the group's consumers and delete the group with `arus group delete`";
  if (!reader.good) return fail(Errc::corrupt, "{} is too short for a header; it was truncated; {}", path, remedy);
  if (magic != kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of an arus group; {}", path, remedy);
  if (version != kVersion)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}", path, version, kVersion);
  if (size != bytes.size() || sum != log::checksum(reader.rest.data(), reader.rest.size()))
    return fail(Errc::corrupt, "{}: its content does not fit its checksum; it was truncated or overwritten; {}", path, remedy);
  GroupState state;
  fields(reader, state);
  if (!reader.good || !reader.rest.empty() || !is_possible(state))
    return fail(Errc::corrupt, "{}: impossible content; {}", path, remedy);
  return state;
}

}  // namespace arus::group
