#include "log/partition.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "log/checksum.h"
#include "platform/clock.h"

namespace arus::log {

using platform::Access;
using platform::fail;
using platform::pass;
using ring::PartitionHeader;

namespace {

std::uint64_t checksum_of(const PartitionHeader& header) noexcept { return checksum(&header, offsetof(PartitionHeader, checksum)); }

// A salt that keeps memory of zeros from decoding as a mark: its state bits are zero.
std::uint64_t new_salt() { return platform::random_word() & ~std::uint64_t{3}; }

Result<void> check(const PartitionHeader& header, std::uint64_t file_bytes, const std::string& path, const Id& topic_id,
                   std::uint32_t partition) {
  if (header.magic != ring::kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of an arus partition", path);
  if (header.version != ring::kLayoutVersion)
    return fail(Errc::version_mismatch,
                "{} has layout version {}, this library reads {}; use the arus that wrote it, or delete the topic", path,
                header.version, ring::kLayoutVersion);
  if (header.byte_order != ring::kByteOrder)
    return fail(Errc::version_mismatch, "{} was written with another byte order ({:#x})", path, header.byte_order);
  if (header.checksum != checksum_of(header))
    return fail(Errc::corrupt, "{}: the header's checksum does not fit it; the file was overwritten; delete the topic", path);
  if (header.file_bytes != file_bytes)
    return fail(Errc::corrupt, "{} has {} bytes, its header says {}; it was truncated; delete the topic", path, file_bytes,
                header.file_bytes);
  if (!std::has_single_bit(header.ring_bytes) || header.ring_bytes < ring::kSmallestRing || header.ring_bytes > ring::kLargestRing)
    return fail(Errc::corrupt, "{}: ring_bytes {} is not a power of two in [{}, {}]", path, header.ring_bytes, ring::kSmallestRing,
                ring::kLargestRing);
  if (header.slots == 0 || header.slots > ring::kMostSlots || header.index_entries != ring::kIndexEntries)
    return fail(Errc::corrupt, "{}: {} slots and {} index entries are not possible", path, header.slots, header.index_entries);
  if (header.ring_at != ring::ring_at(header.slots) || header.file_bytes != partition_file_bytes(header.ring_bytes, header.slots))
    return fail(Errc::corrupt, "{}: ring_at {} does not fit {} slots", path, header.ring_at, header.slots);
  if (header.topic_id != topic_id || header.partition != partition)
    return fail(Errc::corrupt, "{} belongs to another topic or partition ({})", path, header.partition);
  if (header.boot_id != platform::boot_id())
    return fail(Errc::stale_boot, "{} was written before the last boot; what it holds may be torn", path);
  return {};
}

using Key = std::tuple<dev_t, ino_t, Access>;

// What this process has mapped. Weak: the endpoints own.
struct Cache {
  std::mutex mutex;
  std::map<Key, std::weak_ptr<const Partition>> mapped;
};
Cache& cache() {
  static auto* instance = new Cache;  // never destroyed: endpoints may outlive static objects
  return *instance;
}

}  // namespace

Result<void> create_partition(const std::string& path, const PartitionSpec& spec, const platform::Ownership& ownership) {
  auto segment = platform::Segment::create(path, partition_file_bytes(spec.ring_bytes, spec.slots), ownership);
  if (!segment) return pass(segment);
  auto* header = ::new (segment->data()) PartitionHeader{};
  header->magic = ring::kMagic;
  header->version = ring::kLayoutVersion;
  header->byte_order = ring::kByteOrder;
  header->file_bytes = segment->size();
  header->ring_at = ring::ring_at(spec.slots);
  header->ring_bytes = spec.ring_bytes;
  header->salt = new_salt();
  header->topic_id = spec.topic_id;
  header->boot_id = platform::boot_id();
  header->first_offset = spec.first_offset;
  header->partition = spec.partition;
  header->slots = spec.slots;
  header->index_entries = ring::kIndexEntries;
  header->single_producer = spec.single_producer ? 1 : 0;
  header->checksum = checksum_of(*header);
  const std::uint64_t cells = spec.ring_bytes >> ring::kCellShift;
  header->tail.w1.store(spec.first_offset, std::memory_order_relaxed);
  header->tail.w0.store(ring::tail_word(cells, ring::kNoOwner), std::memory_order_relaxed);
  header->low.position.store(cells, std::memory_order_relaxed);
  auto* slots = reinterpret_cast<ring::ProducerSlot*>(segment->data() + ring::kSlotsAt);
  for (std::uint32_t i = 0; i < spec.slots; ++i) slots[i].w0.store(ring::kNoIntent, std::memory_order_relaxed);
  return {};
}

Result<std::shared_ptr<const Partition>> Partition::open(const std::string& path, Access access, const Id& topic_id,
                                                         std::uint32_t partition) {
  Cache& shared = cache();
  const std::lock_guard lock(shared.mutex);
  auto file = platform::open_file(path, access == Access::write ? O_RDWR : O_RDONLY);
  if (!file) return pass(file);
  struct stat status {};
  if (fstat(file->get(), &status) != 0) return platform::fail_system(errno, "stat", path);
  for (const Access known : {Access::write, access})
    if (auto found = shared.mapped.find({status.st_dev, status.st_ino, known}); found != shared.mapped.end())
      if (auto alive = found->second.lock()) return alive;

  alignas(PartitionHeader) std::array<std::byte, sizeof(PartitionHeader)> bytes{};
  if (pread(file->get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fail(Errc::corrupt, "{} has {} bytes, too few for a header; it was truncated; delete the topic", path, status.st_size);
  const auto& header = *reinterpret_cast<const PartitionHeader*>(bytes.data());
  if (auto good = check(header, static_cast<std::uint64_t>(status.st_size), path, topic_id, partition); !good) return pass(good);

  auto segment = platform::Segment::open_mirrored(path, access, header.ring_at, true);
  if (!segment) return pass(segment);
  std::shared_ptr<Partition> opened(new Partition);
  opened->segment_ = std::move(*segment);
  opened->path_ = path;
  ring::Ring& ring = opened->ring_;
  std::byte* data = opened->segment_.data();
  ring.header = reinterpret_cast<PartitionHeader*>(data);
  ring.base = data + header.ring_at;
  ring.cells = header.ring_bytes >> ring::kCellShift;
  ring.mask = ring.cells - 1;
  ring.byte_mask = ring.mask << ring::kCellShift;
  ring.lap_shift = static_cast<unsigned>(std::countr_zero(ring.cells));
  ring.salt = header.salt;
  ring.slots = reinterpret_cast<ring::ProducerSlot*>(data + ring::kSlotsAt);
  ring.slot_count = header.slots;
  ring.latest = reinterpret_cast<ring::Latest*>(data + ring::latest_at(header.slots));
  ring.latest_count = ring::latest_count(header.slots);
  ring.index = reinterpret_cast<ring::IndexEntry*>(data + ring::index_at(header.slots));
  ring.slice = ring.cells / ring::kIndexEntries;
  ring.single_producer = header.single_producer != 0;
  ring.writable = access == Access::write;
  ring.path = &opened->path_;
  std::erase_if(shared.mapped, [](const auto& entry) { return entry.second.expired(); });
  shared.mapped[{status.st_dev, status.st_ino, access}] = opened;
  return opened;
}

void mark_deleted(const std::string& path) noexcept try {
  auto file = platform::open_file(path, O_RDWR);
  if (!file) return;
  const std::uint32_t deleted = 1;
  [[maybe_unused]] const ssize_t written = pwrite(file->get(), &deleted, sizeof deleted, offsetof(PartitionHeader, status));
} catch (...) {  // out of memory: its users will notice that the file is gone
}

}  // namespace arus::log
