#include "group/renewal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "group/group_table.h"
#include "log/checksum.h"
#include "platform/clock.h"
#include "platform/kill_point.h"

namespace arus::group {

using platform::pass;

namespace {

constexpr std::int64_t kPatience = 5'000'000'000;  // ns

struct Old {
  bool stale;
  std::uint64_t next_offset;
};

// Stale is only what says so itself in a header that is whole. What is missing, truncated, overwritten or of another version may be of this
// boot, with others attached: opening it reports what it is.
Result<Old> look_at(const std::string& path) {
  auto file = platform::open_file(path, O_RDONLY);
  if (!file && file.error().code() == Errc::not_found) return Old{false, 0};
  if (!file) return pass(file);
  alignas(ring::PartitionHeader) std::array<std::byte, sizeof(ring::PartitionHeader)> bytes{};
  if (pread(file->get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return Old{false, 0};
  const auto& header = *reinterpret_cast<const ring::PartitionHeader*>(bytes.data());
  const bool whole = header.magic == ring::kMagic && header.version == ring::kLayoutVersion &&
                     header.checksum == log::checksum(&header, offsetof(ring::PartitionHeader, checksum));
  if (!whole || header.boot_id == platform::boot_id()) return Old{false, 0};
  return Old{true, std::max(header.first_offset, ring::next_offset_of(header.tail.w1.load(std::memory_order_relaxed)))};
}

}  // namespace

Result<void> renew_if_stale(const std::string& directory, const log::TopicIdentity& identity, std::uint32_t bells) {
  const TopicConfig& config = identity.config;
  // The last partition is replaced last.
  if (const auto last = look_at(log::partition_path(directory, config.partitions - 1)); last && !last->stale) return {};
  auto lock = platform::FileLock::lock(log::identity_path(directory), 0, kPatience);
  if (!lock) return pass(lock);
  auto group = platform::group_id(config.group);
  const platform::Ownership ownership{.mode = config.mode, .group_id = group ? *group : -1};
  auto groups = GroupTable::open(log::groups_path(directory), config.max_groups, config.partitions, platform::Access::write);
  if (!groups) return pass(groups);
  // Who slept is gone.
  const std::string new_waits = log::waits_path(directory) + ".new";
  unlink(new_waits.c_str());
  bool replaced_waits = false;
  for (std::uint32_t i = 0; i < config.partitions; ++i) {
    const std::string path = log::partition_path(directory, i);
    const auto old = look_at(path);
    if (!old) return pass(old);
    if (!old->stale) continue;
    if (!std::exchange(replaced_waits, true)) {
      if (auto made = log::Waits::create(new_waits, config.partitions, bells, log::widened(ownership)); !made) return made;
      if (rename(new_waits.c_str(), log::waits_path(directory).c_str()) != 0)
        return platform::fail_system(errno, "replace", log::waits_path(directory));
    }
    // Cursors are positions in the old ring. No committed offset may be given out again.
    const std::uint64_t committed = (*groups)->forget_positions(i);
    // A torn page may hold any number.
    constexpr std::uint64_t kBelievable = ring::kMostOffsets / 2;
    const log::PartitionSpec spec{.topic_id = identity.id,
                                  .partition = i,
                                  .ring_bytes = config.partition_bytes,
                                  .slots = config.max_producers,
                                  .single_producer = config.producers == Producers::single,
                                  .first_offset = std::min(std::max(old->next_offset, committed), kBelievable)};
    const std::string fresh = path + ".new";
    unlink(fresh.c_str());
    if (auto made = log::create_partition(fresh, spec, ownership); !made) return made;
    ARUS_KILL_POINT("N-made");
    if (rename(fresh.c_str(), path.c_str()) != 0) return platform::fail_system(errno, "replace", path);
    ARUS_KILL_POINT("N-replaced");
  }
  return {};
}

}  // namespace arus::group
