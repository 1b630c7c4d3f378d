#include "rpc/files.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "log/checksum.h"
#include "platform/clock.h"
#include "platform/error.h"
#include "rpc/lane.h"

namespace arus::rpc {

using platform::Access;
using platform::fail;
using platform::pass;
using platform::Segment;

namespace {

std::uint64_t checksum_of(const ServerHeader& header, const std::byte* table) noexcept {
  return log::checksum(&header, offsetof(ServerHeader, checksum)) ^ log::checksum(table, header.methods * sizeof(MethodEntry));
}
std::uint64_t checksum_of(const ChannelHeader& header) noexcept {
  return log::checksum(&header, offsetof(ChannelHeader, checksum));
}

}  // namespace

// ---- the server's file -------------------------------------------------------------------------------------------------------

Result<ServerFile> ServerFile::create(const std::string& path, const Spec& spec, const platform::Ownership& ownership) {
  const auto methods = static_cast<std::uint32_t>(spec.methods.size());
  auto segment = Segment::create(path, server_file_bytes(spec.clients, methods), ownership);
  if (!segment) return pass(segment);
  std::byte* table = segment->data() + methods_at(spec.clients);
  for (std::uint32_t i = 0; i < methods; ++i) {
    const MethodSpec& method = spec.methods[i];
    MethodEntry entry{};
    std::memcpy(entry.name.data(), method.name.data(), std::min(method.name.size(), kMostMethodName));
    entry.request_size = method.request_size;
    entry.reply_size = method.reply_size;
    entry.flags = method.flags;
    std::memcpy(table + i * sizeof entry, &entry, sizeof entry);
  }
  ServerHeader header{};
  header.magic = kServerMagic;
  header.version = kVersion;
  header.byte_order = ring::kByteOrder;
  header.file_bytes = segment->size();
  header.boot_id = platform::boot_id();
  header.incarnation = spec.incarnation;
  header.number = spec.number;
  header.started = platform::wall_time();
  header.methods = methods;
  header.clients = spec.clients;
  header.max_outstanding = spec.max_outstanding;
  header.workers = spec.workers;
  header.checksum = checksum_of(header, table);
  std::memcpy(segment->data(), &header, sizeof header);
  ServerFile file;
  file.segment_ = std::move(*segment);
  file.header_ = header;
  file.methods_ = spec.methods;
  return file;
}

Result<ServerFile> ServerFile::open(const std::string& path, Access access) {
  auto segment = Segment::open(path, access);
  if (!segment) return pass(segment);
  ServerFile file;
  ServerHeader& header = file.header_;
  if (segment->size() < sizeof header) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  std::memcpy(&header, segment->data(), sizeof header);
  if (header.magic != kServerMagic) return fail(Errc::corrupt, "{}: the magic number is not that of an arus server", path);
  if (header.version != kVersion || header.byte_order != ring::kByteOrder)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}; build client and server alike", path,
                header.version, kVersion);
  if (header.clients == 0 || header.clients > kMostClients || header.methods > kMostMethods ||
      header.file_bytes != segment->size() || header.file_bytes != server_file_bytes(header.clients, header.methods))
    return fail(Errc::corrupt, "{}: {} clients and {} methods do not fit its {} bytes; it was truncated or overwritten", path,
                header.clients, header.methods, segment->size());
  std::vector<MethodEntry> table(header.methods);
  const std::byte* at = segment->data() + methods_at(header.clients);
  if (!table.empty()) std::memcpy(table.data(), at, table.size() * sizeof(MethodEntry));
  if (header.checksum != checksum_of(header, reinterpret_cast<const std::byte*>(table.data())))
    return fail(Errc::corrupt, "{}: the checksum does not fit the header; it was overwritten", path);
  if (header.boot_id != platform::boot_id()) return fail(Errc::stale_boot, "{} was written before the last boot", path);
  for (const MethodEntry& entry : table)
    file.methods_.push_back({std::string(entry.name.data(), strnlen(entry.name.data(), kMostMethodName)), entry.request_size,
                             entry.reply_size, entry.flags});
  file.segment_ = std::move(*segment);
  return file;
}

// ---- a channel's file --------------------------------------------------------------------------------------------------------

Result<ChannelFile> ChannelFile::create(const std::string& path, const Spec& spec, const platform::Ownership& ownership) {
  auto segment = Segment::create(path, channel_file_bytes(spec.slots, spec.ring_bytes), ownership);
  if (!segment) return pass(segment);
  ChannelHeader header{};
  header.magic = kChannelMagic;
  header.version = kVersion;
  header.byte_order = ring::kByteOrder;
  header.file_bytes = segment->size();
  header.ring_bytes = spec.ring_bytes;
  header.salt = platform::random_word() & ~std::uint64_t{3};
  header.server = spec.server;
  header.incarnation = spec.incarnation;
  header.slots = spec.slots;
  header.checksum = checksum_of(header);
  std::memcpy(segment->data(), &header, sizeof header);
  ChannelFile file;
  file.segment_ = std::move(*segment);
  file.ring_bytes_ = spec.ring_bytes;
  file.salt_ = header.salt;
  file.slots_ = spec.slots;
  const std::uint64_t cells = spec.ring_bytes >> ring::kCellShift;
  file.lines().requests.position.store(cells, std::memory_order_relaxed);
  file.lines().requests.begun.store(cells, std::memory_order_relaxed);
  file.lines().replies.position.store(cells, std::memory_order_relaxed);
  file.touch();
  return file;
}

Result<ChannelFile> ChannelFile::open(const std::string& path, std::uint64_t server, std::uint64_t incarnation) {
  auto segment = Segment::open(path, Access::write);
  if (!segment) return pass(segment);
  ChannelHeader header{};
  if (segment->size() < sizeof header) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  std::memcpy(&header, segment->data(), sizeof header);
  if (header.magic != kChannelMagic) return fail(Errc::corrupt, "{}: the magic number is not that of an arus channel", path);
  if (header.version != kVersion || header.byte_order != ring::kByteOrder)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}; build client and server alike", path,
                header.version, kVersion);
  if (header.checksum != checksum_of(header))
    return fail(Errc::corrupt, "{}: the checksum does not fit the header; it was overwritten", path);
  if (!std::has_single_bit(header.ring_bytes) || header.ring_bytes < kSmallestRing || header.ring_bytes > kLargestRing ||
      header.slots == 0 || header.slots > kMostCallSlots || header.file_bytes != segment->size() ||
      header.file_bytes != channel_file_bytes(header.slots, header.ring_bytes))
    return fail(Errc::corrupt, "{}: rings of {} bytes and {} slots do not fit its {} bytes", path, header.ring_bytes, header.slots,
                segment->size());
  if (header.server != server || header.incarnation != incarnation || (header.salt & 3) != 0)
    return fail(Errc::corrupt, "{} belongs to another server or client", path);
  ChannelFile file;
  file.segment_ = std::move(*segment);
  file.ring_bytes_ = header.ring_bytes;
  file.salt_ = header.salt;
  file.slots_ = header.slots;
  file.touch();
  return file;
}

ring::Ring ChannelFile::ring(std::uint64_t offset) const noexcept {
  return lane_ring(segment_.data() + requests_at(slots_) + offset, ring_bytes_, salt_);
}

// So that no call pays for a page's first use. The pages are there: this only enters them into the page table.
void ChannelFile::touch() const noexcept {
  for (std::size_t at = 0; at < segment_.size(); at += 4096)
    static_cast<void>(reinterpret_cast<const Word*>(segment_.data() + at)->load(std::memory_order_relaxed));
}

}  // namespace arus::rpc
