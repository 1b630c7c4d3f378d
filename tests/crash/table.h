// What the kill points left behind, as a table for people: tests/crash/README.md.
#pragma once

#include <string>
#include <string_view>

namespace arus::crash {

enum class Blow : std::uint8_t { kill, stop };

// One case's outcome. Where cases of the same point and role differ, both outcomes are shown; where a whole family of roles has the same,
// the family stands for them.
void note_outcome(std::string_view point, std::string_view family, std::string_view role, Blow blow, std::string_view outcome);
// Markdown.
std::string outcomes();

}  // namespace arus::crash
