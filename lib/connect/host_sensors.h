// The sensors of the machine this runs on: CPU, memory, load, disks and network interfaces from /proc; every
// hwmon chip, thermal zone and industrial-I/O device from /sys.
//
//   arus::connect::HostSensors host;
//   for (const auto& reading : host.sample()) publish(reading.sensor, reading.value, reading.unit);
//   for (const auto& change : host.changes()) log(change.sensor, to_string(change.kind),
//   std::strerror(change.error));
//
// Names are made for record keys: unique, of [a-zA-Z0-9._-] only, stable while the hardware is. Labels that
// the driver gives replace channel numbers; a second device of the same name is called <name>-2, a third
// <name>-3, in the order of their place in the machine:
//
//   cpu.busy cpu0.busy  mem.available swap.used  load.1m  disk.vda.read  net.eth0.rx_packets
//   hwmon.k10temp.Tctl  hwmon.nvme.Composite  hwmon.nvme-2.temp1  thermal.x86_pkg_temp  iio.bme280.temp
//
// Values are in units without prefix, spelled as in the SenML registry (RFC 8428, RFC 8798) where it has
// them: Cel, V, A, W, J, Pa, %RH, lx, B, B/s, 1/s, 1/min, %. An empty unit: the kernel does not say one.
//
// One sensor's trouble is its own: it is counted, reported and tried again, while the others go on. Nothing
// here throws (except std::bad_alloc), and nothing the files contain is trusted.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace arus::connect {

struct HostOptions {
  std::string proc_root = "/proc";
  std::string sys_root = "/sys";
  // The shortest time over which a rate (CPU, disk, network) is computed; whoever samples faster gets rates
  // once in this time. The kernel counts CPU time in steps of 10 ms: a shorter time makes `busy` coarse.
  std::chrono::nanoseconds rate_window = std::chrono::milliseconds(50);
  // How often new hardware is looked for, changed scales are read and resting sensors are tried again.
  // Zero: at every sample.
  std::chrono::nanoseconds rescan_interval = std::chrono::seconds(5);
};

struct Reading {
  std::string_view sensor;  // valid until the next sample() or the end of the HostSensors
  double value;             // finite
  std::string_view unit;    // valid for ever
};

enum class SensorState : std::uint8_t {
  ok,
  resting,  // failed kFailuresUntilRest times in a row or could not be opened; tried again at each rescan
  gone,     // its device is; forgotten at the next rescan unless it came back
};

inline constexpr unsigned kFailuresUntilRest = 16;

struct Sensor {
  std::string name;
  std::string_view unit;
  std::string source;  // the file its values come from
  std::string description;
  SensorState state = SensorState::ok;
  std::uint64_t readings = 0;
  std::uint64_t failures = 0;
  // errno of the latest failure, 0 before the first. EBADMSG: not a number. EIO: also if the driver calls its
  // own value faulty.
  int last_error = 0;
};

// What became different in a sample; rare, and each reported once.
struct SensorChange {
  enum class Kind : std::uint8_t { appeared, vanished, resting, recovered };
  Kind kind;
  std::string sensor;
  int error = 0;  // errno, of vanished (0: it is no longer listed) and resting

  bool operator==(const SensorChange&) const = default;
};

std::string_view to_string(SensorState state) noexcept;
std::string_view to_string(SensorChange::Kind kind) noexcept;

// Since the start, of all sensors there ever were.
struct SensorTotals {
  std::uint64_t readings = 0;
  std::uint64_t failures = 0;
  std::uint64_t malformed_lines = 0;  // in tables of /proc, that name no sensor to count the failure for
};

// Belongs to one thread at a time. Each file is opened once and read again from its start: a sample costs one
// system call per channel of /sys, two per file of /proc, and allocates nothing while the hardware stays the
// same. It blocks as long as the drivers do (some talk to their chip over a slow bus), and about a
// millisecond longer when it rescans.
class HostSensors {
 public:
  using Clock = std::chrono::steady_clock;

  // Finds the sensors. What does not exist is no error: see sensors(). Rates count from here on.
  explicit HostSensors(HostOptions options = {}, Clock::time_point now = Clock::now());
  ~HostSensors();
  HostSensors(HostSensors&&) noexcept;
  HostSensors& operator=(HostSensors&&) noexcept;

  // Reads every sensor and returns what could be read. Left out are: failures; a rate before its window is
  // over; a rate whose counter went backwards, because it wrapped or its device was reset (it starts anew and
  // is missing once). The view is valid until the next call. `now` must not decrease; tests give it.
  std::span<const Reading> sample(Clock::time_point now = Clock::now());

  // What changed in the latest sample(). Valid until the next one.
  [[nodiscard]] std::span<const SensorChange> changes() const noexcept;

  // All sensors known now, with their counts: a copy, for lists and statistics.
  [[nodiscard]] std::vector<Sensor> sensors() const;

  [[nodiscard]] SensorTotals totals() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arus::connect
