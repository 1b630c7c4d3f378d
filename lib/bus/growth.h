// How many values a record that grows has room for (bus/producer_growth.cpp): so many that it is filled while it may grow. What it does not fill
// is skipped by both sides, and at a jump neither processor has asked for the next lines yet.
#pragma once

#include <algorithm>
#include <cstdint>

namespace arus::detail {

inline constexpr std::uint64_t kFewestGrowing = 8;

// `came` values came in `ns` into the last one, which had room for `room`; the most that was wanted was `wanted`. A record may grow for `most_ns`: the
// next one is to be filled in seven eighths of that at the same pace. It has room for twice as many as came at most, but for no fewer than were
// wanted because this one was filled early.
constexpr std::uint64_t next_growth(std::uint64_t wanted, std::uint64_t came, std::uint64_t room, std::uint64_t ns,
                                    std::uint64_t most_ns) noexcept {
  const std::uint64_t aim = most_ns - most_ns / 8;
  if (came < room)
    wanted = came - came / 8;
  else if (ns <= aim)
    wanted = std::max(wanted, std::min(2 * came, came * aim / std::max<std::uint64_t>(ns, 1)));
  else if (ns < most_ns)
    wanted = came * aim / ns;
  return std::max(wanted, kFewestGrowing);
}

}  // namespace arus::detail
