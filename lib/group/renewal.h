// A topic that was written before the last boot (a bus on a disk). A power cut may have torn any page of it, so nothing in its rings is
// believed: they are made anew and empty, and go on at an offset that was not used yet. What was lost is reported by the gap.
#pragma once

#include <string>

#include "log/topic_files.h"

namespace arus::group {

// Replaces what is of another boot in a topic's directory; where all is of this one it costs one read. Safe to call by several at once and
// after a crash in the middle: a partition is replaced by a rename, after everything that refers to it. Needs write permission.
Result<void> renew_if_stale(const std::string& directory, const log::TopicIdentity& identity, std::uint32_t bells);

}  // namespace arus::group
