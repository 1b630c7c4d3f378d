// arus doctor: what the machine means for a bus.
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "cmd_doctor.h"
#include "log/partition.h"
#include "text.h"

namespace arus::tool {
namespace {

namespace fs = std::filesystem;

// The first line of a file; none if it cannot be read.
std::optional<std::string> line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

void check_cores(Findings& findings) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 0;
  if (cores == 1) {
    findings.push_back({Severity::warning, "cores", "cores",
                        "this process may use one core only: who spins keeps the others from running",
                        "use --wait sleep (Wait::sleeping()) for producers and consumers"});
  } else {
    findings.push_back({Severity::ok, "cores", "cores", fmt::format("{} cores may be used", cores)});
  }
}

void check_clock(const std::string& root, Findings& findings) {
  const auto source = line_of(root + "/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (!source) {
    findings.push_back({Severity::note, "clock_source", "clock", "the kernel does not tell its clock source"});
    return;
  }
  static constexpr std::array<std::string_view, 5> kSlow{"hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies"};
  if (std::find(kSlow.begin(), kSlow.end(), *source) != kSlow.end()) {
    findings.push_back({Severity::warning, "clock_source", "clock",
                        fmt::format("the clock source is {}: reading the time takes a microsecond and more", *source),
                        "see why the kernel gave up the processor's counter: dmesg | grep -i clocksource"});
  } else {
    findings.push_back({Severity::ok, "clock_source", "clock", fmt::format("the clock source is {}", *source)});
  }
}

void check_huge_pages(const std::string& root, Findings& findings) {
  const auto modes = line_of(root + "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  if (!modes) return;
  const auto from = modes->find('[');
  const auto to = modes->find(']');
  const std::string mode = from < to && to != std::string::npos ? modes->substr(from + 1, to - from - 1) : *modes;
  findings.push_back({Severity::ok, "huge_pages", "huge pages",
                      fmt::format("of shared memory: {} (no difference was measured either way)", mode)});
}

std::uint64_t memory_available(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t kib = 0;
    if (words >> name >> kib && name == "MemAvailable:") return kib << 10;
  }
  return 0;
}

void check_space(const std::string& bus, const std::string& root, Findings& findings) {
  // Of the nearest directory that is there, when the bus is not.
  fs::path place = fs::path(bus);
  std::error_code ignored;
  while (!fs::exists(place, ignored) && place.has_relative_path()) place = place.parent_path();
  struct statfs status {};
  if (statfs(place.c_str(), &status) != 0) return;
  constexpr std::int64_t kTmpfs = 0x01021994;
  const bool tmpfs = status.f_type == kTmpfs;
  const auto unit = static_cast<std::uint64_t>(status.f_bsize);
  const std::uint64_t size = status.f_blocks * unit;
  const std::uint64_t left = status.f_bavail * unit;
  const std::uint64_t usual = log::partition_file_bytes(TopicConfig{}.partition_bytes, TopicConfig{}.max_producers);
  const std::string text = fmt::format("{} on {}: {} of {} left", tmpfs ? "tmpfs" : "a disk", place.string(), human_bytes(left),
                                       size == 0 ? "an unlimited size" : human_bytes(size));
  if (left < usual && size != 0) {
    findings.push_back({Severity::warning, "space", "space",
                        text + fmt::format("; a topic of the usual size needs {}", human_bytes(usual)),
                        tmpfs ? fmt::format("delete topics, or make it larger: mount -o remount,size=SIZE {}", place.string())
                              : "delete topics, or use another directory (--bus)"});
  } else if (!tmpfs) {
    findings.push_back({Severity::note, "space", "space", text + "; the kernel writes records to it now and then, which costs time",
                        "use a directory on tmpfs, such as /dev/shm, unless topics are to survive a reboot"});
  } else {
    findings.push_back({Severity::ok, "space", "space", text});
  }
  if (const std::uint64_t memory = memory_available(root);
      tmpfs && memory != 0 && memory < std::min<std::uint64_t>(left, usual * 8)) {
    findings.push_back({Severity::warning, "memory", "memory",
                        fmt::format("the machine has {} of memory available, less than tmpfs promises", human_bytes(memory)),
                        "free memory, or use smaller topics: arus plan computes what they take"});
  }
}

// The last assignment of a key in systemd's logind.conf and its drop-ins.
std::string logind_setting(const std::string& root, std::string_view key) {
  std::map<std::string, fs::path> drop_ins;  // by name: one in /etc hides one of the same name in /usr/lib
  std::error_code error;
  for (const char* place : {"/etc", "/run", "/usr/lib"}) {
    for (const auto& entry : fs::directory_iterator(root + place + "/systemd/logind.conf.d", error)) {
      if (entry.path().extension() == ".conf") drop_ins.emplace(entry.path().filename(), entry.path());
    }
  }
  std::vector<fs::path> files{root + "/usr/lib/systemd/logind.conf", root + "/etc/systemd/logind.conf"};
  for (const auto& [name, path] : drop_ins) files.push_back(path);
  std::string value;
  for (const auto& path : files) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      line.erase(std::remove_if(line.begin(), line.end(), [](char c) { return c == ' ' || c == '\t' || c == '\r'; }), line.end());
      if (line.starts_with(fmt::format("{}=", key))) value = line.substr(key.size() + 1);
    }
  }
  return value;
}

void check_remove_ipc(const std::string& bus, const std::string& root, Findings& findings) {
  struct stat status {};
  std::error_code error;
  if (!bus.starts_with("/dev/shm/") || stat(bus.c_str(), &status) != 0 || !fs::exists(root + "/run/systemd/system", error)) return;
  constexpr std::uint32_t kFirstUser = 1000;  // systemd spares those below, its system users
  if (status.st_uid < kFirstUser) return;
  const std::string user = user_name(status.st_uid);
  const std::string value = logind_setting(root, "RemoveIPC");
  const bool off = value == "no" || value == "off" || value == "false" || value == "0";
  if (off || fs::exists(root + "/var/lib/systemd/linger/" + user, error)) {
    findings.push_back(
        {Severity::ok, "remove_ipc", "systemd",
         off ? "RemoveIPC is off: it leaves /dev/shm alone" : fmt::format("user {} lingers, so nothing is removed", user)});
    return;
  }
  findings.push_back({Severity::warning, "remove_ipc", "systemd",
                      fmt::format("RemoveIPC is on: it deletes this bus when user {} logs out for the last time", user),
                      fmt::format("put the bus into /run/arus (RuntimeDirectory=arus), or: loginctl enable-linger {}", user)});
}

}  // namespace

void check_machine(const std::string& bus, const std::string& root, Findings& findings) {
  check_space(bus, root, findings);
  check_remove_ipc(bus, root, findings);
  check_cores(findings);
  check_clock(root, findings);
  check_huge_pages(root, findings);
}

}  // namespace arus::tool
