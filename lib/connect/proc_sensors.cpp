#include "connect/proc_sensors.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "connect/proc_table.h"

namespace arus::connect {
namespace {

std::string text_of(std::string_view a, std::string_view b, std::string_view c = {}) { return std::string(a).append(b).append(c); }

// /proc/stat, by proc(5): cpuN user nice system idle iowait irq softirq steal …, in ticks. What guests use is
// in `user` already. The kernel's own ticks are the clock: their sum grows by what passed on this CPU.
class CpuTable final : public CounterTable {
 public:
  CpuTable(const HostOptions& options, SensorRegistry& registry)
      : CounterTable(options.proc_root + "/stat", registry, options.rate_window, kColumns) {}

 private:
  static constexpr std::array kColumns{
      Column{"busy", "%", "share of the time not spent idle or waiting for input and output", 100},
  };

  Line parse_line(std::string_view line) const override {
    // The CPUs come first. What follows is long (a number per interrupt).
    const std::string_view name = take_word(line);
    if (!name.starts_with("cpu")) return {.kind = Line::Kind::last};
    std::array<std::uint64_t, 8> ticks{};  // old kernels have fewer: the rest is 0
    if (take_counters(line, ticks) < 4) return {.kind = Line::Kind::broken, .name = name};
    const auto [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
    const std::uint64_t busy = user + nice + system + irq + softirq + steal;
    return {.kind = Line::Kind::row, .name = name, .counters = {busy}, .ticks = busy + idle + iowait};
  }

  std::string sensor_prefix(std::string_view row) const override { return sanitize(row) + '.'; }
  std::string subject(std::string_view row) const override { return row == "cpu" ? "all CPUs" : text_of("CPU ", row.substr(3)); }
};

// /proc/diskstats, by Documentation/admin-guide/iostats.rst of the kernel. Sectors are of 512 bytes, whatever
// the disk's are.
class DiskTable final : public CounterTable {
 public:
  DiskTable(const HostOptions& options, SensorRegistry& registry)
      : CounterTable(options.proc_root + "/diskstats", registry, options.rate_window, kColumns),
        block_directory_(options.sys_root + "/block") {}

 private:
  static constexpr std::array kColumns{
      Column{"read", "B/s", "bytes read", 512},
      Column{"write", "B/s", "bytes written", 512},
      Column{"read_ops", "1/s", "reads completed"},
      Column{"write_ops", "1/s", "writes completed"},
      Column{"busy", "%", "share of the time with input or output under way", 100.0 / 1000},  // counted in ms
  };

  Line parse_line(std::string_view line) const override {
    if (take_word(line).empty()) return {.kind = Line::Kind::ignored};
    take_word(line);  // major and minor number
    const std::string_view name = take_word(line);
    if (name.empty()) return {.kind = Line::Kind::unknown};
    std::array<std::uint64_t, 10> n{};
    if (take_counters(line, n) < n.size()) return {.kind = Line::Kind::broken, .name = name};
    return {.kind = Line::Kind::row, .name = name, .counters = {n[2], n[6], n[0], n[4], n[9]}};
  }

  // Whole disks only, without those in memory or in a file.
  bool wants(std::string_view row) const override {
    if (is_numbered(row, "loop") || is_numbered(row, "ram")) return false;
    std::error_code none;
    if (!std::filesystem::exists(block_directory_, none)) return !looks_like_partition(row);
    std::string name(row);
    std::ranges::replace(name, '/', '!');  // as sysfs does
    return std::filesystem::exists(block_directory_ + '/' + name, none);
  }

  static bool is_numbered(std::string_view name, std::string_view prefix) noexcept {
    return name.starts_with(prefix) && parse_counter(name.substr(prefix.size()));
  }

  // Without /sys: sda1, vda2, nvme0n1p3, mmcblk0p1.
  static bool looks_like_partition(std::string_view name) noexcept {
    const std::size_t last = name.find_last_not_of("0123456789");
    if (last == std::string_view::npos || last + 1 == name.size()) return false;
    if (name[last] == 'p' && last > 0 && name[last - 1] >= '0' && name[last - 1] <= '9') return true;
    return std::ranges::any_of(std::array<std::string_view, 4>{"sd", "hd", "vd", "xvd"},
                               [&](std::string_view prefix) { return name.starts_with(prefix); });
  }

  std::string sensor_prefix(std::string_view row) const override { return text_of("disk.", sanitize(row), "."); }
  std::string subject(std::string_view row) const override { return text_of("disk ", row); }

  std::string block_directory_;
};

// /proc/net/dev, by proc(5): "eth0:" and 16 counters, 8 received and 8 sent.
class NetTable final : public CounterTable {
 public:
  NetTable(const HostOptions& options, SensorRegistry& registry)
      : CounterTable(options.proc_root + "/net/dev", registry, options.rate_window, kColumns) {}

 private:
  static constexpr std::array kColumns{
      Column{"rx", "B/s", "bytes received"},
      Column{"tx", "B/s", "bytes sent"},
      Column{"rx_packets", "1/s", "packets received"},
      Column{"tx_packets", "1/s", "packets sent"},
      Column{"rx_errors", "1/s", "errors while receiving"},
      Column{"tx_errors", "1/s", "errors while sending"},
      Column{"rx_drops", "1/s", "received packets dropped"},
      Column{"tx_drops", "1/s", "packets to send dropped"},
  };

  Line parse_line(std::string_view line) const override {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
      const bool heading = trim(line).empty() || line.find('|') != std::string_view::npos;
      return {.kind = heading ? Line::Kind::ignored : Line::Kind::unknown};
    }
    const std::string_view name = trim(line.substr(0, colon));
    std::array<std::uint64_t, 16> n{};
    if (name.empty()) return {.kind = Line::Kind::unknown};
    if (take_counters(line.substr(colon + 1), n) < n.size()) return {.kind = Line::Kind::broken, .name = name};
    return {.kind = Line::Kind::row, .name = name, .counters = {n[0], n[8], n[1], n[9], n[2], n[10], n[3], n[11]}};
  }

  std::string sensor_prefix(std::string_view row) const override { return text_of("net.", sanitize(row), "."); }
  std::string subject(std::string_view row) const override { return text_of("interface ", row); }
};

// /proc/meminfo: "MemTotal:  8053220 kB", where kB means 1024 bytes.
class MemoryTable final : public GaugeTable {
 public:
  MemoryTable(const HostOptions& options, SensorRegistry& registry)
      : GaugeTable(options.proc_root + "/meminfo", registry, kGauges) {}

 private:
  static constexpr std::array kGauges{
      Gauge{"mem.total", "B", "memory that the kernel manages"},
      Gauge{"mem.available", "B", "memory that programs can have without swapping"},
      Gauge{"mem.free", "B", "memory used for nothing"},
      Gauge{"mem.cached", "B", "memory that holds contents of files"},
      Gauge{"swap.total", "B", "swap space"},
      Gauge{"swap.used", "B", "swap space in use"},
  };
  // The first five are gauges as they stand; the last is needed for swap.used.
  static constexpr std::array<std::string_view, 6> kKeys{"MemTotal", "MemAvailable", "MemFree", "Cached", "SwapTotal", "SwapFree"};

  void parse_gauges(std::string_view text, Values values) const override {
    std::array<std::optional<double>, kKeys.size()> found;
    while (!text.empty()) {
      std::string_view line = take_line(text);
      const std::string_view name = line.substr(0, line.find(':'));
      const auto* key = std::ranges::find(kKeys, name);
      if (key == kKeys.end()) continue;
      line.remove_prefix(std::min(line.size(), name.size() + 1));
      if (const auto kibibytes = parse_counter(take_word(line))) {
        found[static_cast<std::size_t>(key - kKeys.begin())] = static_cast<double>(*kibibytes) * 1024;
      }
    }
    std::copy_n(found.begin(), 5, values.begin());
    if (found[4] && found[5]) values[5] = std::max(0.0, *found[4] - *found[5]);
  }
};

// /proc/loadavg: "0.09 0.05 0.01 1/85 3686"
class LoadTable final : public GaugeTable {
 public:
  LoadTable(const HostOptions& options, SensorRegistry& registry) : GaugeTable(options.proc_root + "/loadavg", registry, kGauges) {}

 private:
  static constexpr std::array kGauges{
      Gauge{"load.1m", "", "tasks that run or wait, mean of a minute"},
      Gauge{"load.5m", "", "tasks that run or wait, mean of five minutes"},
      Gauge{"load.15m", "", "tasks that run or wait, mean of fifteen minutes"},
  };

  void parse_gauges(std::string_view text, Values values) const override {
    for (auto& value : values) value = parse_number(take_word(text));
  }
};

}  // namespace

ProcSensors::ProcSensors(const HostOptions& options, SensorRegistry& registry) {
  // Rates first: what follows may block for a while, and they should stand for the instant they are asked at.
  tables_.push_back(std::make_unique<CpuTable>(options, registry));
  tables_.push_back(std::make_unique<DiskTable>(options, registry));
  tables_.push_back(std::make_unique<NetTable>(options, registry));
  tables_.push_back(std::make_unique<MemoryTable>(options, registry));
  tables_.push_back(std::make_unique<LoadTable>(options, registry));
}

ProcSensors::~ProcSensors() = default;

void ProcSensors::sample(HostSensors::Clock::time_point now, bool retry) {
  for (const auto& table : tables_) table->sample(now, retry, buffer_);
}

}  // namespace arus::connect
