// What lies in a bus directory beside its topics, for people who look at a bus: who is attached, and what the dead left. Only reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "platform/lease.h"

namespace arus::log {

struct LeaseInfo {
  std::uint64_t incarnation;
  std::int64_t pid;     // as its process sees itself, perhaps in another pid namespace
  std::string command;  // as it says
  std::uint32_t uid;    // of the file
  std::int64_t age_ns;  // since it was taken
  bool alive;
};
// In order of age, the oldest first. What vanishes meanwhile is left out.
Result<std::vector<LeaseInfo>> list_leases(const platform::Leases& leases);

// A directory in tmp/: a topic that is being made or taken apart, or was when its process died.
struct ScratchInfo {
  std::string path;
  std::uint64_t owner;
  bool abandoned;
};
Result<std::vector<ScratchInfo>> list_scratches(const std::string& bus, const platform::Leases& leases);

inline std::string leases_directory(const std::string& bus) { return bus + "/leases"; }

}  // namespace arus::log
