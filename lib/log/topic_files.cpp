#include "log/topic_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "log/checksum.h"

namespace arus::log {

using platform::Access;
using platform::fail;
using platform::fail_system;
using platform::pass;

// ---- names and configurations ----------------------------------------------------------------------------------------------

Result<void> check_topic_name(std::string_view name) {
  const auto permitted = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  constexpr std::string_view kRule = "a topic's name has 1 to 249 of the characters a-z A-Z 0-9 . _ - and is not . or ..";
  if (name.empty()) return fail(Errc::invalid_argument, "the topic's name is empty; {}", kRule);
  if (name.size() > 249) return fail(Errc::invalid_argument, "the topic's name has {} characters; {}", name.size(), kRule);
  if (name == "." || name == "..") return fail(Errc::invalid_argument, "'{}' cannot be a topic; {}", name, kRule);
  if (const auto bad = std::find_if_not(name.begin(), name.end(), permitted); bad != name.end())
    return fail(Errc::invalid_argument, "'{}' cannot be a topic: character {} is not permitted; {}", name, bad - name.begin() + 1,
                kRule);
  return {};
}

namespace {

constexpr std::uint32_t kMostPartitions = 10000;
constexpr std::size_t kMostSchema = 255;

Result<void> within(std::string_view field, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
  if (value >= least && value <= most) return {};
  return fail(Errc::invalid_argument, "{} is {}; it must be {} to {}", field, value, least, most);
}

}  // namespace

Result<void> check_config(const TopicConfig& config) {
  if (auto good = within("partitions", config.partitions, 1, kMostPartitions); !good) return good;
  if (auto good = within("partition_bytes", config.partition_bytes, ring::kSmallestRing, ring::kLargestRing); !good) return good;
  if (!std::has_single_bit(config.partition_bytes))
    return fail(Errc::invalid_argument, "partition_bytes is {}; it must be a power of two, such as {} or {}",
                config.partition_bytes, std::bit_floor(config.partition_bytes), std::bit_ceil(config.partition_bytes));
  if (auto good = within("max_producers", config.max_producers, 1, ring::kMostSlots); !good) return good;
  if (auto good = within("max_groups", config.max_groups, 1, 1024); !good) return good;
  if (auto good = within("record_size", config.record_size, 0, ring::most_bytes(config.partition_bytes >> ring::kCellShift)); !good)
    return good;
  if (config.schema.size() > kMostSchema)
    return fail(Errc::invalid_argument, "the schema's name has {} characters; at most {} are possible", config.schema.size(),
                kMostSchema);
  if ((config.mode & ~0777u) != 0 || (config.mode & 0600) != 0600)
    return fail(Errc::invalid_argument, "mode is {:04o}; it must be at least 0600 and at most 0777", config.mode);
  return {};
}

std::string difference(const TopicConfig& wanted, const TopicConfig& found) {
  const auto differ = [](std::string_view field, const auto& a, const auto& b) {
    return platform::format("{} is {}, not {}", field, b, a);
  };
  const auto name = [](Producers producers) { return producers == Producers::single ? "single" : "many"; };
  if (wanted.partitions != found.partitions) return differ("partitions", wanted.partitions, found.partitions);
  if (wanted.partition_bytes != found.partition_bytes)
    return differ("partition_bytes", wanted.partition_bytes, found.partition_bytes);
  if (wanted.producers != found.producers) return differ("producers", name(wanted.producers), name(found.producers));
  if (wanted.back_pressure != found.back_pressure) return differ("back_pressure", wanted.back_pressure, found.back_pressure);
  if (wanted.schema != found.schema) return differ("schema", '\'' + wanted.schema + '\'', '\'' + found.schema + '\'');
  if (wanted.record_size != found.record_size) return differ("record_size", wanted.record_size, found.record_size);
  if (wanted.max_producers != found.max_producers) return differ("max_producers", wanted.max_producers, found.max_producers);
  if (wanted.max_groups != found.max_groups) return differ("max_groups", wanted.max_groups, found.max_groups);
  if (wanted.mode != found.mode) return platform::format("mode is {:04o}, not {:04o}", found.mode, wanted.mode);
  return {};
}

platform::Ownership widened(platform::Ownership ownership) noexcept {
  const std::uint32_t readable = ownership.mode & 0444;
  ownership.mode |= readable >> 1;
  return ownership;
}

// ---- identity ----------------------------------------------------------------------------------------------------------------

namespace {

struct TopicHeader {
  static constexpr std::uint64_t kMagic = 0x4349504F54555241;  // "ARUTOPIC"
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t partitions;
  std::uint64_t partition_bytes;
  Id id;
  std::int64_t created;
  std::uint32_t single_producer;
  std::uint32_t back_pressure;
  std::uint32_t record_size;
  std::uint32_t max_producers;
  std::uint32_t max_groups;
  std::uint32_t mode;
  std::array<char, 64> group;  // terminated by a zero
  std::array<char, 256> schema;
  std::uint64_t checksum;  // of everything above
};
static_assert(sizeof(TopicHeader) == 400 && offsetof(TopicHeader, id) == 24 && offsetof(TopicHeader, single_producer) == 48);
static_assert(offsetof(TopicHeader, group) == 72 && offsetof(TopicHeader, checksum) == 392);

std::uint64_t checksum_of(const TopicHeader& header) noexcept { return checksum(&header, offsetof(TopicHeader, checksum)); }

template <std::size_t N>
void put(std::array<char, N>& to, const std::string& from) {
  std::memcpy(to.data(), from.data(), std::min(from.size(), N - 1));
}
template <std::size_t N>
std::string get(const std::array<char, N>& from) {
  return {from.data(), strnlen(from.data(), N)};
}

}  // namespace

Result<void> write_identity(const std::string& path, const TopicIdentity& identity, const platform::Ownership& ownership) {
  const TopicConfig& config = identity.config;
  TopicHeader header{};
  header.magic = TopicHeader::kMagic;
  header.version = TopicHeader::kVersion;
  header.partitions = config.partitions;
  header.partition_bytes = config.partition_bytes;
  header.id = identity.id;
  header.created = identity.created;
  header.single_producer = config.producers == Producers::single ? 1 : 0;
  header.back_pressure = config.back_pressure ? 1 : 0;
  header.record_size = config.record_size;
  header.max_producers = config.max_producers;
  header.max_groups = config.max_groups;
  header.mode = config.mode;
  put(header.group, config.group);
  put(header.schema, config.schema);
  header.checksum = checksum_of(header);
  auto file = platform::create_file(path, ownership);
  if (!file) return pass(file);
  if (write(file->get(), &header, sizeof header) != static_cast<ssize_t>(sizeof header)) return fail_system(errno, "write", path);
  return {};
}

Result<TopicIdentity> read_identity(const std::string& path) {
  auto file = platform::open_file(path, O_RDONLY);
  if (!file) return pass(file);
  TopicHeader header{};
  const ssize_t size = read(file->get(), &header, sizeof header);
  if (size < 0) return fail_system(errno, "read", path);
  if (size < 16)
    return fail(Errc::corrupt, "{} has {} bytes, too few for a header; it was truncated; delete the topic", path, size);
  if (header.magic != TopicHeader::kMagic)
    return fail(Errc::corrupt, "{}: the magic number is not that of an arus topic; it was overwritten; delete the topic", path);
  if (header.version != TopicHeader::kVersion)
    return fail(Errc::version_mismatch,
                "{} has layout version {}, this library reads {}; use the arus that wrote it, or delete the topic", path,
                header.version, TopicHeader::kVersion);
  if (size != static_cast<ssize_t>(sizeof header) || header.checksum != checksum_of(header))
    return fail(Errc::corrupt, "{}: the checksum does not fit the header; it was truncated or overwritten; delete the topic", path);
  TopicIdentity identity;
  identity.id = header.id;
  identity.created = header.created;
  identity.config = {.partitions = header.partitions,
                     .partition_bytes = header.partition_bytes,
                     .producers = header.single_producer != 0 ? Producers::single : Producers::many,
                     .back_pressure = header.back_pressure != 0,
                     .schema = get(header.schema),
                     .record_size = header.record_size,
                     .max_producers = header.max_producers,
                     .max_groups = header.max_groups,
                     .mode = header.mode,
                     .group = get(header.group)};
  if (auto good = check_config(identity.config); !good) return fail(Errc::corrupt, "{}: {}", path, good.error().message());
  return identity;
}

// ---- waits -------------------------------------------------------------------------------------------------------------------

namespace {

struct alignas(64) WaitsHeader {
  static constexpr std::uint64_t kMagic = 0x5354494157555241;  // "ARUWAITS"
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t partitions;
  std::uint32_t bells;
  std::uint32_t readers;
};
static_assert(sizeof(WaitsHeader) == 64);

constexpr std::uint64_t kReadersBytes = std::uint64_t{Waits::kMostReaders} * sizeof(ring::Word);

std::uint64_t waits_bytes(std::uint32_t partitions, std::uint32_t bells) noexcept {
  return sizeof(WaitsHeader) + kReadersBytes + 2 * std::uint64_t{partitions} * ring::WaitSet::bytes(bells);
}

}  // namespace

Result<void> Waits::create(const std::string& path, std::uint32_t partitions, std::uint32_t bells,
                           const platform::Ownership& ownership) {
  auto segment = platform::Segment::create(path, waits_bytes(partitions, bells), ownership);
  if (!segment) return pass(segment);
  *::new (segment->data()) WaitsHeader{} = {WaitsHeader::kMagic, WaitsHeader::kVersion, partitions, bells, kMostReaders};
  return {};
}

Result<std::shared_ptr<Waits>> Waits::map(const std::string& path, std::uint32_t partitions, Access access) {
  auto segment = platform::Segment::open(path, access);
  if (!segment) return pass(segment);
  if (segment->size() < sizeof(WaitsHeader)) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  WaitsHeader header{};
  std::memcpy(&header, segment->data(), sizeof header);
  if (header.magic != WaitsHeader::kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of arus wait flags", path);
  if (header.version != WaitsHeader::kVersion)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}", path, header.version,
                WaitsHeader::kVersion);
  if (header.partitions != partitions || header.readers != kMostReaders ||
      segment->size() != waits_bytes(header.partitions, header.bells))
    return fail(Errc::corrupt, "{}: its header does not fit its {} bytes; it was truncated or overwritten; delete the topic", path,
                segment->size());
  std::shared_ptr<Waits> waits(new Waits);
  waits->segment_ = std::move(*segment);
  waits->set_bytes_ = ring::WaitSet::bytes(header.bells);
  return waits;
}

Result<std::shared_ptr<const Waits>> Waits::open(const std::string& path, std::uint32_t partitions,
                                                 std::shared_ptr<platform::Bells> bells) {
  auto waits = map(path, partitions, Access::write);
  if (!waits) return pass(waits);
  if ((*waits)->set_bytes_ != ring::WaitSet::bytes(bells->count()))
    return fail(Errc::corrupt, "{} was made for another number of sleepers than the bus has; delete the topic", path);
  (*waits)->bells_ = std::move(bells);
  return *waits;
}

Result<std::shared_ptr<const Waits>> Waits::open_to_count(const std::string& path, std::uint32_t partitions) {
  auto waits = map(path, partitions, Access::read);
  if (!waits) return pass(waits);
  return *waits;
}

ring::WaitSet Waits::set(std::uint64_t i) const noexcept {
  if (!bells_) return {};
  return {segment_.data() + sizeof(WaitsHeader) + kReadersBytes + i * set_bytes_, bells_.get()};
}

ring::Word* Waits::readers() const noexcept { return reinterpret_cast<ring::Word*>(segment_.data() + sizeof(WaitsHeader)); }

Result<std::uint32_t> Waits::add_reader(std::uint64_t incarnation, const platform::Leases& leases) const {
  for (const bool take_over : {false, true})
    for (std::uint32_t i = 0; i < kMostReaders; ++i) {
      std::uint64_t owner = readers()[i].load(std::memory_order_acquire);
      if (owner != platform::kNoIncarnation && (!take_over || !leases.dead(owner))) continue;
      if (readers()[i].compare_exchange_strong(owner, incarnation, std::memory_order_acq_rel)) return i;
    }
  return fail(Errc::limit_reached, "{}: {} consumers are attached, which is the most", segment_.path(), kMostReaders);
}

void Waits::remove_reader(std::uint32_t place, std::uint64_t incarnation) const noexcept {
  if (place < kMostReaders)
    readers()[place].compare_exchange_strong(incarnation, platform::kNoIncarnation, std::memory_order_acq_rel);
}

std::uint32_t Waits::count_readers(const platform::Leases& leases) const noexcept {
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < kMostReaders; ++i)
    if (const std::uint64_t owner = readers()[i].load(std::memory_order_acquire);
        owner != platform::kNoIncarnation && !leases.dead(owner))
      ++count;
  return count;
}

}  // namespace arus::log
