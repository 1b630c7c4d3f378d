// Which partition a key goes to, as Kafka's default partitioner decides.
#pragma once

#include <arus/record.h>

#include <cstdint>

namespace arus::log {

// Kafka's murmur2 of a key (org.apache.kafka.common.utils.Utils.murmur2; the hash is Austin Appleby's MurmurHash2 with Kafka's seed).
std::uint32_t murmur2(Bytes key) noexcept;

// toPositive(murmur2(key)) % partitions, as in Kafka's BuiltInPartitioner.partitionForKey.
inline std::uint32_t partition_for_key(Bytes key, std::uint32_t partitions) noexcept {
  return (murmur2(key) & 0x7fffffffu) % partitions;
}

}  // namespace arus::log
