// Sleeping on a word of shared memory. std::atomic::wait does not wake other processes; this does. Works on read-only mappings, too.
#pragma once

#include <atomic>
#include <cstdint>

namespace arus::platform {

// Returns when woken, when *word != expected, after `ns`, or for no reason.
void futex_wait(const std::atomic<std::uint32_t>* word, std::uint32_t expected, std::int64_t ns) noexcept;
void futex_wake_all(const std::atomic<std::uint32_t>* word) noexcept;

}  // namespace arus::platform
