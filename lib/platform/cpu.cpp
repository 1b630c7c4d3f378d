#include "platform/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace arus::platform {

namespace {

#if defined(__x86_64__) && !defined(ARUS_TSAN) && !defined(__SANITIZE_ADDRESS__)

// "Enhanced rep movsb".
bool moves_strings_well() noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 9) != 0;
}
const bool kMovesStringsWell = moves_strings_well();

// It writes whole lines without fetching what was in them, which is what a line costs that another core has read. glibc's memcpy does so too, but not
// from the size of a core's own cache on (rep_movsb_stop_threshold). Zen 3 and 4 crawl where the target is not aligned, or begins less than a line
// behind the source within its page.
bool is_for_strings(const void* to, const void* from) noexcept {
  constexpr std::uintptr_t kPage = 4096;
  const auto target = reinterpret_cast<std::uintptr_t>(to);
  const std::uintptr_t behind = (target - reinterpret_cast<std::uintptr_t>(from)) % kPage;
  return kMovesStringsWell && target % kCacheLine == 0 && behind - 1 >= kCacheLine;
}

void move_string(void* to, const void* from, std::size_t size) noexcept {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

#else

bool is_for_strings(const void*, const void*) noexcept { return false; }
void move_string(void*, const void*, std::size_t) noexcept {}

#endif

}  // namespace

void copy_much(void* to, const void* from, std::size_t size) noexcept {
  if (is_for_strings(to, from))
    move_string(to, from, size);
  else
    std::memcpy(to, from, size);
}

}  // namespace arus::platform
