#include "group/share_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "group/group_file.h"
#include "log/checksum.h"
#include "platform/clock.h"
#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus::group {

using platform::fail;
using platform::fail_system;
using platform::format;
using platform::pass;

namespace {

constexpr std::string_view kInfix = ".share-";
constexpr std::string_view kNew = ".new";

std::string name_of(const log::Id& topic) { return format("{:016x}{:016x}", topic[0], topic[1]); }

std::string path_of(const log::BusDirectory& bus, const std::string& group, const log::Id& topic) {
  return format("{}/{}{}{}", bus.groups_path(), file_name(group), kInfix, name_of(topic));
}

template <std::size_t Size>
void set_text(std::array<char, Size>& to, const std::string& from) noexcept {
  std::memcpy(to.data(), from.data(), std::min(from.size(), Size - 1));
}
template <std::size_t Size>
std::string get_text(const std::array<char, Size>& from) {
  return {from.data(), strnlen(from.data(), Size)};
}

// Files of topics that are gone. The files are listed first: whatever was listed belongs to a topic that was there before.
void sweep(const log::BusDirectory& bus) {
  const auto files = platform::list_directory(bus.groups_path());
  if (!files) return;
  const auto topics = bus.topics();
  if (!topics) return;
  std::set<std::string> ids;
  for (const std::string& topic : *topics) {
    const auto identity = log::read_identity(log::identity_path(bus.topic_path(topic)));
    if (identity)
      ids.insert(name_of(identity->id));
    else if (identity.error().code() != Errc::not_found)
      return;  // one that cannot be read may be anybody's
  }
  for (const std::string& file : *files) {
    const auto at = file.rfind(kInfix);
    if (at == std::string::npos) continue;
    std::string id = file.substr(at + kInfix.size());
    if (id.ends_with(kNew)) id.resize(id.size() - kNew.size());
    if (!ids.contains(id)) unlink((bus.groups_path() + '/' + file).c_str());
  }
}

}  // namespace

std::string ShareSpec::difference(const ShareSpec& found) const {
  if (most_deliveries != found.most_deliveries)
    return format("max_deliveries is {} and not {}", most_deliveries, found.most_deliveries);
  if (dead_letter_topic != found.dead_letter_topic)
    return format("dead_letter_topic is '{}' and not '{}'", dead_letter_topic, found.dead_letter_topic);
  if (window != found.window) return format("window is {} and not {}", window, found.window);
  if (grace_ns != found.grace_ns) return format("grace in ns is {} and not {}", grace_ns, found.grace_ns);
  return {};
}

Result<platform::FileLock> ShareFile::lock(const log::BusDirectory& bus, const std::string& group, const log::Id& topic,
                                           std::int64_t patience, const ShareFile* file) {
  const std::string name = path_of(bus, group, topic);
  const auto byte = static_cast<std::uint32_t>(log::checksum(name.data(), name.size()) >> 34) + 1;
  const std::string path = bus.groups_path() + "/lock";
  if (patience == 0) return platform::FileLock::try_lock(path, byte);
  auto lock = platform::FileLock::lock(path, byte, patience);
  if (lock || lock.error().code() != Errc::timed_out) return lock;
  const std::uint64_t holder = file != nullptr ? file->lock_holder() : platform::kNoIncarnation;
  return fail(Errc::timed_out, "share group '{}' has been changed by {} for {} ms; is it stopped?", group,
              holder == platform::kNoIncarnation ? "another process" : bus.leases()->describe(holder), patience / 1'000'000);
}

Result<std::shared_ptr<const ShareFile>> ShareFile::open(const log::BusDirectory& bus, const std::string& group,
                                                         const log::Id& topic, std::uint32_t partitions, platform::Access access) {
  const std::string path = path_of(bus, group, topic);
  auto segment = platform::Segment::open(path, access);
  if (!segment) return pass(segment);
  if (segment->size() < kWindowsAt) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  const auto& header = *reinterpret_cast<const ShareHeader*>(segment->data());
  if (header.magic != ShareHeader::kMagic)
    return fail(Errc::corrupt, "{}: the magic number is not that of an arus share group", path);
  if (header.version != ShareHeader::kVersion)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}", path, header.version,
                ShareHeader::kVersion);
  if (header.checksum != log::checksum(&header, offsetof(ShareHeader, checksum)))
    return fail(Errc::corrupt, "{}: the header's checksum is wrong; delete the share group", path);
  const std::uint32_t window = header.window;
  if (get_text(header.group) != group || header.topic_id != topic || header.partitions != partitions ||
      header.holders != kHolders || window < kSmallestWindow || window > kLargestWindow || (window & (window - 1)) != 0 ||
      segment->size() != share_file_bytes(window, partitions))
    return fail(Errc::corrupt, "{}: windows of {} records in {} partitions do not fit its {} bytes, or it is of another group",
                path, window, header.partitions, segment->size());
  if (header.boot_id != platform::boot_id())
    return fail(Errc::stale_boot, "{} was written before the last boot; the next member makes it anew", path);
  std::shared_ptr<ShareFile> file(new ShareFile);
  file->spec_ = {.group = group,
                 .dead_letter_topic = get_text(header.dead_letter_topic),
                 .window = window,
                 .most_deliveries = header.most_deliveries,
                 .grace_ns = static_cast<std::int64_t>(header.grace_ns)};
  file->segment_ = std::move(*segment);
  return file;
}

Result<std::shared_ptr<const ShareFile>> ShareFile::open_or_create(const log::BusDirectory& bus, const log::Id& topic,
                                                                   std::uint32_t partitions, const ShareSpec& spec) {
  auto found = open(bus, spec.group, topic, partitions, platform::Access::write);
  if (found) {
    if (const std::string differs = spec.difference((*found)->spec()); !differs.empty())
      return fail(Errc::config_mismatch,
                  "this consumer does not fit share group '{}': its {}; use the same settings, another group, or delete the group",
                  spec.group, differs);
    return found;
  }
  if (found.error().code() != Errc::not_found && found.error().code() != Errc::stale_boot) return found;
  sweep(bus);
  const std::string path = path_of(bus, spec.group, topic);
  const std::string fresh = path + std::string(kNew);
  unlink(fresh.c_str());
  {
    auto made = platform::Segment::create(fresh, share_file_bytes(spec.window, partitions), bus.shared_files());
    if (!made) return pass(made);
    auto& header = *::new (made->data()) ShareHeader{};
    header.magic = ShareHeader::kMagic;
    header.version = ShareHeader::kVersion;
    header.partitions = partitions;
    header.window = spec.window;
    header.holders = kHolders;
    header.most_deliveries = spec.most_deliveries;
    header.grace_ns = static_cast<std::uint64_t>(spec.grace_ns);
    header.topic_id = topic;
    header.boot_id = platform::boot_id();
    set_text(header.group, spec.group);
    set_text(header.dead_letter_topic, spec.dead_letter_topic);
    header.checksum = log::checksum(&header, offsetof(ShareHeader, checksum));
  }
  ARUS_KILL_POINT("S-made");
  if (rename(fresh.c_str(), path.c_str()) != 0) return fail_system(errno, "publish", path);
  ARUS_KILL_POINT("S-named");
  return open(bus, spec.group, topic, partitions, platform::Access::write);
}

Result<std::unique_ptr<platform::SharedLease>> ShareFile::hold_lease(const platform::Leases& leases) const {
  if (auto held = platform::SharedLease::join(leases, header().lease.load(std::memory_order_acquire) & ~ring::kReserved))
    return held;
  auto taken = platform::SharedLease::take(leases, format("members of share group '{}'", spec_.group));
  if (!taken) return taken;
  header().lease.store((*taken)->incarnation(), std::memory_order_release);
  ARUS_KILL_POINT("S-lease");
  return taken;
}

Result<std::uint32_t> ShareFile::take_slot(std::uint64_t incarnation) const {
  for (std::uint32_t i = 0; i < kHolders; ++i) {
    std::uint64_t free = platform::kNoIncarnation;
    if (!holders()[i].compare_exchange_strong(free, incarnation, std::memory_order_acq_rel)) continue;
    ARUS_KILL_POINT("S-slot");
    return i;
  }
  return fail(Errc::limit_reached, "share group '{}' has {} members in this topic, which is the most there can be", spec_.group,
              kHolders);
}

void ShareFile::remove() const noexcept {
  header().removed.store(1, std::memory_order_release);
  ARUS_KILL_POINT("S-removed");
  unlink(segment_.path().c_str());
}

void ShareFile::remove(const log::BusDirectory& bus, const std::string& group, const log::Id& topic) {
  unlink(path_of(bus, group, topic).c_str());
}

}  // namespace arus::group
