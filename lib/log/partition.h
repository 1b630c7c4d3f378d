// A partition's file: made, checked, mapped.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "platform/segment.h"
#include "ring/ring.h"

namespace arus::log {

using Id = std::array<std::uint64_t, 2>;

struct PartitionSpec {
  Id topic_id;
  std::uint32_t partition;
  std::uint64_t ring_bytes;
  std::uint32_t slots;
  bool single_producer;
  std::uint64_t first_offset = 0;
};

// Bytes of the file.
constexpr std::uint64_t partition_file_bytes(std::uint64_t ring_bytes, std::uint32_t slots) noexcept {
  return ring::ring_at(slots) + ring_bytes;
}

Result<void> create_partition(const std::string& path, const PartitionSpec& spec, const platform::Ownership& ownership);

// One mapping of a partition. Thread-safe in itself; shared by all endpoints of the process, so that each partition is mapped once
// (a mapping for writing serves readers, too).
class Partition {
 public:
  // Attaches in stages, each with its own error: is there a file, may we, is it ours, this version, whole, of this boot, of this topic.
  static Result<std::shared_ptr<const Partition>> open(const std::string& path, platform::Access access, const Id& topic_id,
                                                       std::uint32_t partition);

  // Without leases, cursors and wait sets, which belong to whoever uses it.
  [[nodiscard]] const ring::Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] const std::string& path() const noexcept { return segment_.path(); }

 private:
  Partition() = default;
  platform::Segment segment_;
  std::string path_;
  ring::Ring ring_;
};

// Marks it deleted for those attached. As far as possible; errors are passed over.
void mark_deleted(const std::string& path) noexcept;

}  // namespace arus::log
