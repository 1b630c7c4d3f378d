#include "log/partitioner.h"

#include <cstring>

namespace arus::log {

std::uint32_t murmur2(Bytes key) noexcept {
  constexpr std::uint32_t kSeed = 0x9747b28c;
  constexpr std::uint32_t kMultiplier = 0x5bd1e995;
  const std::size_t whole = key.size() / 4 * 4;
  std::uint32_t hash = kSeed ^ static_cast<std::uint32_t>(key.size());
  for (std::size_t i = 0; i < whole; i += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, key.data() + i, 4);
    word *= kMultiplier;
    word ^= word >> 24;
    word *= kMultiplier;
    hash *= kMultiplier;
    hash ^= word;
  }
  if (const std::size_t rest = key.size() - whole; rest != 0) {
    std::uint32_t word = 0;
    std::memcpy(&word, key.data() + whole, rest);
    hash ^= word;
    hash *= kMultiplier;
  }
  hash ^= hash >> 13;
  hash *= kMultiplier;
  hash ^= hash >> 15;
  return hash;
}

}  // namespace arus::log
