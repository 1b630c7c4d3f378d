// Kill points from the outside: which there are, which a process passes, and at which passing it is to die or to stop.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace arus::crash {

// The names that stand in lib, found by CMake.
std::span<const std::string_view> points();
std::size_t index_of(std::string_view point);

// Counts passings, per point, in memory shared with children; forget() before they are forked.
void forget_passings();
std::uint64_t passings(std::string_view point);

// In the process that is to be the victim: from now on passings are counted …
void count_passings();
// … or the `nth` passing of `point` raises `signal`. A passing that fired is counted in fired(), for ever.
void fire_at(std::string_view point, std::uint64_t nth, int signal);
std::uint64_t fired(std::string_view point);

}  // namespace arus::crash
