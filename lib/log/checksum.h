// A checksum for headers: tells a header from noise. FNV-1a, 64 bits (Fowler, Noll, Vo; the constants are theirs).
#pragma once

#include <cstddef>
#include <cstdint>

namespace arus::log {

inline std::uint64_t checksum(const void* data, std::size_t size) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t sum = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i < size; ++i) sum = (sum ^ bytes[i]) * 0x100000001b3u;
  return sum;
}

}  // namespace arus::log
