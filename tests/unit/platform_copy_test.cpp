// The one copy routine: whatever the size and wherever from and to, the bytes arrive and nothing around them is touched.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "platform/cpu.h"

namespace arus::test {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kAround = 64;

using Copy = void (*)(void* to, const void* from, std::size_t size) noexcept;

void expect_copies(Copy copy) {
  constexpr std::size_t kMost = platform::kMuch + 3 * kPage;
  std::vector<std::byte> from(kMost + 2 * kPage);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7 + i / 251);
  std::vector<std::byte> memory(kMost + 4 * kPage);
  const std::size_t aligned = 2 * kPage - reinterpret_cast<std::uintptr_t>(memory.data()) % kPage;
  std::vector<std::size_t> sizes(platform::kLittle + 3);
  for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = i;
  for (const std::size_t much : {platform::kMuch - 1, platform::kMuch, platform::kMuch + 1, platform::kMuch + kPage + 17})
    sizes.push_back(much);
  for (const std::size_t size : sizes) {
    for (const std::size_t to_offset : {0u, 1u, 16u, 64u, 96u}) {
      for (const std::size_t from_offset : {0u, 1u, 15u, 48u, 64u}) {
        std::byte* const to = memory.data() + aligned + to_offset;
        std::fill(to - kAround, to + size + kAround, std::byte{0xa5});
        copy(to, from.data() + from_offset, size);
        ASSERT_TRUE(std::equal(to, to + size, from.begin() + static_cast<std::ptrdiff_t>(from_offset)))
            << size << " to " << to_offset << " from " << from_offset;
        const auto untouched = [](std::byte one) { return one == std::byte{0xa5}; };
        ASSERT_TRUE(std::all_of(to - kAround, to, untouched) && std::all_of(to + size, to + size + kAround, untouched))
            << size << " to " << to_offset << " from " << from_offset;
      }
    }
  }
}

TEST(PlatformCopy, WhateverTheSizeAndWherever) { expect_copies(&platform::copy); }

TEST(PlatformCopy, PastCaches) { expect_copies(&platform::copy_past_caches); }

// Values of kSize, each from somewhere else, `stride` apart.
template <std::size_t kSize>
void copy_a_row(std::size_t stride, std::size_t to_offset) {
  constexpr std::size_t kCount = 5;
  std::vector<std::byte> from(2 * kCount * kSize + kAround);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7 + i / 251);
  const auto source = [&](std::size_t i) { return from.data() + 2 * (kCount - 1 - i) * kSize + i; };
  std::vector<std::byte> memory(to_offset + kCount * stride + kAround, std::byte{0xa5});
  std::byte* const to = memory.data() + to_offset;
  std::size_t i = 0;
  platform::copy_row<kSize>(to, stride, kCount, [&](std::byte* at) {
    EXPECT_EQ(at, to + i * stride);
    return source(i++);
  });
  EXPECT_EQ(i, kCount);
  std::vector<std::byte> expected(memory.size(), std::byte{0xa5});
  for (i = 0; i < kCount; ++i)
    std::copy_n(source(i), kSize, expected.begin() + static_cast<std::ptrdiff_t>(to_offset + i * stride));
  EXPECT_EQ(memory, expected) << kSize << " every " << stride << " at " << to_offset;
}

TEST(PlatformCopy, ARowOfValues) {
  for (const std::size_t to_offset : {0u, 1u, 32u}) {
    copy_a_row<8>(16, to_offset);
    copy_a_row<16>(16, to_offset);
    copy_a_row<32>(32, to_offset);
    copy_a_row<32>(48, to_offset);
    copy_a_row<64>(64, to_offset);
    copy_a_row<64>(80, to_offset);
  }
}

}  // namespace
}  // namespace arus::test
