// What the processor gives: pauses, fences, a 16-byte compare-and-swap, prefetching, the time-stamp counter, and the copy
// routines. Everything that ThreadSanitizer cannot see (assembly, stand-alone fences, copies that race by design) is wrapped here
// and has a twin that it can see.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define ARUS_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define ARUS_ASAN 1
#elif defined(__has_feature)  // clang
#if __has_feature(thread_sanitizer)
#define ARUS_TSAN 1
#elif __has_feature(address_sanitizer)
#define ARUS_ASAN 1
#endif
#endif

namespace arus::platform {

inline constexpr std::size_t kCacheLine = 64;

inline void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most cores
#endif
}

inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  std::uint64_t value = 0;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#endif
}

// At least once.
inline void pause_for(std::uint64_t ticks) noexcept {
  const std::uint64_t from = platform::ticks();
  do pause();
  while (platform::ticks() - from < ticks);
}

// Orders everything before it against everything after it. A locked read-modify-write of the own stack: 2 ns, where mfence takes 17.
inline void fence_full() noexcept {
#if defined(ARUS_TSAN)
  static std::atomic<unsigned> shared{0};
  shared.fetch_add(1, std::memory_order_seq_cst);
#elif defined(__x86_64__)
  asm volatile("lock orq $0, (%%rsp)" ::: "memory", "cc");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Behind a compare_exchange() of this thread, for what was stored since: the compiler keeps its place, and on other processors than x86, where
// that is no full fence, the processor too.
inline void fence_after_exchange() noexcept {
#if defined(ARUS_TSAN) || !defined(__x86_64__)
  fence_full();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

// Reads before it stay before reads after it. (On x86 the hardware keeps that order; this stops the compiler.)
inline void fence_acquire() noexcept {
#if defined(ARUS_TSAN)
  fence_full();
#else
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

// Writes before it stay before writes after it.
inline void fence_release() noexcept {
#if defined(ARUS_TSAN)
  fence_full();
#else
  std::atomic_thread_fence(std::memory_order_release);
#endif
}

// Assembly, because GCC 12 takes a function with nothing but __builtin_prefetch in it for one without effects, and drops the call. PREFETCHW
// is no part of x86-64-v2, but every x86-64 processor executes it, if only as a no-op (Intel SDM, AMD64 manual volume 3: PREFETCHW).
inline void prefetch_for_write(const void* address) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" ::"m"(*static_cast<const char*>(address)));
#elif defined(__aarch64__)
  asm volatile("prfm pstl1keep, %0" ::"Q"(*static_cast<const char*>(address)));
#endif
}

inline void prefetch_for_read(const void* address) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetcht0 %0" ::"m"(*static_cast<const char*>(address)));
#elif defined(__aarch64__)
  asm volatile("prfm pldl1keep, %0" ::"Q"(*static_cast<const char*>(address)));
#endif
}

// How far it is to the next link of a chain in which most links are alike. What the link says is compared with what the last one said, and
// not added: so the processor goes on to the next link, and the one after it, while it still waits for this one's cache line. (The
// assembly keeps the compiler from seeing that both are the same.)
class Stride {
 public:
  std::uint64_t operator()(std::uint64_t actual) noexcept {
    std::uint64_t step = last_;
    std::uint64_t hidden = step;
    asm("" : "+r"(hidden));
    if (hidden != actual) [[unlikely]] {
      asm volatile("");
      step = last_ = actual;
    }
    return step;
  }
  [[nodiscard]] std::uint64_t last() const noexcept { return last_; }

 private:
  std::uint64_t last_ = 1;
};

struct alignas(16) Pair {
  std::uint64_t first;
  std::uint64_t second;
};

// Two neighbouring words on 16 bytes, compared and swapped as one (acquire and release). std::atomic of 16 bytes would call
// libatomic. The words are also loaded on their own, so that they are declared as two atomics.
inline bool compare_exchange(std::atomic<std::uint64_t>* words, Pair expected, Pair desired) noexcept {
#if defined(__x86_64__) && !defined(ARUS_TSAN)
  bool done = false;
  asm volatile("lock cmpxchg16b %1"
               : "=@ccz"(done), "+m"(*reinterpret_cast<Pair*>(words)), "+a"(expected.first), "+d"(expected.second)
               : "b"(desired.first), "c"(desired.second)
               : "memory");
  return done;
#else
  // GCC and clang turn this into one instruction pair on aarch64, and TSan knows it.
  __extension__ using Wide = unsigned __int128;
  const auto wide = [](Pair pair) { return static_cast<Wide>(pair.second) << 64 | pair.first; };
  return __sync_bool_compare_and_swap(reinterpret_cast<Wide*>(words), wide(expected), wide(desired));
#endif
}

// The second of two such words alone, where its value leaves no doubt which first one stands beside it. Exchanges of both at once see it, as they
// are one instruction. TSan makes two stores of theirs under a lock of the process: therefore its twin is an exchange of both, and tests of several
// processes mean nothing there.
inline bool compare_exchange_second(std::atomic<std::uint64_t>* words, std::uint64_t expected, std::uint64_t desired) noexcept {
#if defined(ARUS_TSAN)
  const std::uint64_t first = words[0].load(std::memory_order_relaxed);
  return compare_exchange(words, {first, expected}, {first, desired});
#else
  return words[1].compare_exchange_strong(expected, desired, std::memory_order_acq_rel, std::memory_order_relaxed);
#endif
}

// How many ticks a load takes, the line that it needs included; 0: nobody knows.
inline std::uint64_t ticks_of_load(const std::atomic<std::uint64_t>& word, std::uint64_t& value) noexcept {
#if defined(__x86_64__)
  __builtin_ia32_lfence();
  const std::uint64_t from = ticks();
  __builtin_ia32_lfence();
  value = word.load(std::memory_order_acquire);
  __builtin_ia32_lfence();
  return ticks() - from;
#else
  value = word.load(std::memory_order_acquire);
  return 0;
#endif
}

// The routine that copies payload into and out of a ring (and copy_past_caches() where a producer knows better). Out of a ring the copy may race
// with a writer by design (a lossy reader checks afterwards whether it was whole), which is why TSan sees atomic words.
inline constexpr std::size_t kLittle = 256;
inline constexpr std::size_t kMuch = 256u << 10;
// From kMuch on.
void copy_much(void* to, const void* from, std::size_t size) noexcept;
#if defined(ARUS_TSAN)
inline void copy(void* to, const void* from, std::size_t size) noexcept {
  auto* target = static_cast<unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < size; ++i)
    __atomic_store_n(target + i, __atomic_load_n(source + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}
inline void copy_little(void* to, const void* from, std::size_t size) noexcept { copy(to, from, size); }
template <std::size_t kSize>
void copy_row(std::byte* to, std::size_t stride, std::size_t count, auto&& next) noexcept {
  for (; count != 0; --count, to += stride) copy(to, next(to), kSize);
}
#else
#if defined(__x86_64__) && !defined(ARUS_ASAN)
// 32 bytes at a time halve the stores of what is small, and every locked instruction waits for those before it. They are no part of x86-64-v2:
// asked for once, at start. (AddressSanitizer does not look into assembly.)
#define ARUS_COPIES_WIDELY 1
extern const bool kCopiesWidely;
inline void copy_wide(std::byte* to, const std::byte* from) noexcept {
  struct [[gnu::may_alias]] Block {
    std::byte bytes[32];
  };
  asm volatile("vmovdqu %1, %%ymm0\n\tvmovdqu %%ymm0, %0"
               : "=m"(*reinterpret_cast<Block*>(to))
               : "m"(*reinterpret_cast<const Block*>(from))
               : "xmm0");
}
// Behind the last of them: some processors are slow where SSE follows while the upper halves are in use (Intel's optimization manual, "Mixing
// Intel AVX and Intel SSE code").
inline void end_wide() noexcept {
  asm volatile("vzeroupper" ::
                   : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                     "xmm13", "xmm14", "xmm15");
}
#endif
// At most kLittle, without a call: blocks of fixed size, the last of which overlaps the one before.
inline void copy_little(void* to, const void* from, std::size_t size) noexcept {
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from);
#if defined(ARUS_COPIES_WIDELY)
  if (size >= 32 && kCopiesWidely) {
    for (std::size_t i = 0; i + 32 < size; i += 32) copy_wide(target + i, source + i);
    copy_wide(target + size - 32, source + size - 32);
    end_wide();
    return;
  }
#endif
  if (size >= 32 && size <= 64) {
    std::memcpy(target, source, 16);
    std::memcpy(target + 16, source + 16, 16);
    std::memcpy(target + size - 32, source + size - 32, 16);
    std::memcpy(target + size - 16, source + size - 16, 16);
  } else if (size >= 16) {
    for (std::size_t i = 0; i < size - 16; i += 16) std::memcpy(target + i, source + i, 16);
    std::memcpy(target + size - 16, source + size - 16, 16);
  } else if (size >= 8) {
    std::memcpy(target, source, 8);
    std::memcpy(target + size - 8, source + size - 8, 8);
  } else if (size >= 4) {
    std::memcpy(target, source, 4);
    std::memcpy(target + size - 4, source + size - 4, 4);
  } else {
    for (std::size_t i = 0; i < size; ++i) target[i] = source[i];
  }
}
// `count` values of a size that the compiler knows, `stride` apart: next(to) says from where the one comes that goes there.
template <std::size_t kSize>
[[gnu::always_inline]] inline void copy_row(std::byte* to, std::size_t stride, std::size_t count, auto&& next) noexcept {
#if defined(ARUS_COPIES_WIDELY)
  if (kSize % 32 == 0 && kCopiesWidely) {
    for (; count != 0; --count, to += stride) {
      const std::byte* const from = next(to);
      for (std::size_t i = 0; i < kSize; i += 32) copy_wide(to + i, from + i);
    }
    end_wide();
    return;
  }
#endif
  for (; count != 0; --count, to += stride) std::memcpy(to, next(to), kSize);
}
inline void copy(void* to, const void* from, std::size_t size) noexcept {
  if (size <= kLittle)
    copy_little(to, from, size);
  else if (size < kMuch)
    std::memcpy(to, from, size);
  else
    copy_much(to, from, size);
}
#endif
// The same into memory, for who would get it from a cache more slowly than from there; or just the same, where there is no such way.
#if defined(__x86_64__) && !defined(ARUS_TSAN) && !defined(ARUS_ASAN)
inline constexpr bool kPastCaches = true;
#else
inline constexpr bool kPastCaches = false;
#endif
void copy_past_caches(void* to, const void* from, std::size_t size) noexcept;

}  // namespace arus::platform
