#include "log/inspection.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "platform/clock.h"

namespace arus::log {

using platform::pass;

Result<std::vector<LeaseInfo>> list_leases(const platform::Leases& leases) {
  auto names = platform::list_directory(leases.directory());
  if (!names) return pass(names);
  std::vector<LeaseInfo> found;
  for (const std::string& name : *names) {
    LeaseInfo lease{};
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), lease.incarnation, 16);
    if (error != std::errc() || end != name.data() + name.size()) continue;  // being made
    const std::string path = leases.path(lease.incarnation);
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) continue;
    lease.uid = status.st_uid;
    const std::int64_t taken = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
    lease.age_ns = std::max<std::int64_t>(platform::wall_time() - taken, 0);
    std::ifstream file(path);
    if (!(file >> lease.pid)) continue;  // one that several processes hold together is nobody's alone
    std::getline(file >> std::ws, lease.command);
    lease.alive = !leases.dead(lease.incarnation);
    found.push_back(std::move(lease));
  }
  std::sort(found.begin(), found.end(), [](const LeaseInfo& a, const LeaseInfo& b) { return a.age_ns > b.age_ns; });
  return found;
}

Result<std::vector<ScratchInfo>> list_scratches(const std::string& bus, const platform::Leases& leases) {
  const std::string directory = bus + "/tmp";
  auto names = platform::list_directory(directory);
  if (!names) return pass(names);
  std::vector<ScratchInfo> found;
  for (const std::string& name : *names) {
    std::uint64_t owner = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), owner, 16);
    if (error == std::errc() && *end == '-') found.push_back({directory + '/' + name, owner, leases.dead(owner)});
  }
  return found;
}

}  // namespace arus::log
