// The copy of what is large, where the processor has something better than memcpy for it, and what it has for what is small.
#include "platform/cpu.h"

// (AddressSanitizer looks into memcpy only.)
#if defined(__x86_64__) && !defined(ARUS_TSAN) && !defined(ARUS_ASAN)
#define ARUS_MOVES_STRINGS 1
#include <cpuid.h>
#include <emmintrin.h>

#include <algorithm>
#endif

namespace arus::platform {

#if defined(ARUS_COPIES_WIDELY)
const bool kCopiesWidely = __builtin_cpu_supports("avx2") != 0;
#endif

#if defined(ARUS_MOVES_STRINGS)
namespace {

// "Enhanced rep movsb".
bool moves_strings_well() noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 9) != 0;
}
const bool kMovesStringsWell = moves_strings_well();

// Zen 3 and 4 crawl where the target is not aligned, or begins less than a line behind the source within its page.
bool is_for_strings(const void* to, const void* from) noexcept {
  constexpr std::uintptr_t kPage = 4096;
  const auto target = reinterpret_cast<std::uintptr_t>(to);
  const std::uintptr_t behind = (target - reinterpret_cast<std::uintptr_t>(from)) % kPage;
  return kMovesStringsWell && target % kCacheLine == 0 && behind - 1 >= kCacheLine;
}

}  // namespace
#endif

// `rep movsb` writes whole lines without fetching what was in them, which is what a line costs that another core has read. glibc's memcpy does so
// too, but not from the size of a core's own cache on (rep_movsb_stop_threshold). Its stores may come in any order among themselves, but not before
// those ahead of it or after those behind it (Intel's manual, volume 3, "Memory-Ordering Model for String Operations"): claim and commit stay
// around the payload.
void copy_much(void* to, const void* from, std::size_t size) noexcept {
#if defined(ARUS_MOVES_STRINGS)
  if (is_for_strings(to, from)) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return;
  }
#endif
  std::memcpy(to, from, size);
}

// Non-temporal stores, of whole lines. They are ordered with no other stores, neither with those before nor with those after them (Intel's manual,
// volume 3, "Memory Ordering in P6 and More Recent Processor Families"): the fences on both sides keep claim and commit around the payload.
// What is on its way when its process dies arrives all the same, as the kernel is entered: it is the payload of a claim that is open.
void copy_past_caches(void* to, const void* from, std::size_t size) noexcept {
#if defined(ARUS_MOVES_STRINGS)
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from);
  const std::size_t head = std::min(size, -reinterpret_cast<std::uintptr_t>(target) % kCacheLine);
  std::memcpy(target, source, head);
  _mm_sfence();
  std::size_t at = head;
  for (; at + kCacheLine <= size; at += kCacheLine) {
    const auto* block = reinterpret_cast<const __m128i*>(source + at);
    auto* line = reinterpret_cast<__m128i*>(target + at);
    const __m128i first = _mm_loadu_si128(block);
    const __m128i second = _mm_loadu_si128(block + 1);
    const __m128i third = _mm_loadu_si128(block + 2);
    const __m128i fourth = _mm_loadu_si128(block + 3);
    _mm_stream_si128(line, first);
    _mm_stream_si128(line + 1, second);
    _mm_stream_si128(line + 2, third);
    _mm_stream_si128(line + 3, fourth);
  }
  _mm_sfence();
  std::memcpy(target + at, source + at, size - at);
#else
  copy(to, from, size);
#endif
}

}  // namespace arus::platform
