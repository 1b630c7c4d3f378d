// The host's sensors against a recorded machine: tests/unit/data/host/t0 is its /proc and /sys, t1 what was
// different a second later.
#include "connect/host_sensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connect/sensor_file.h"

// Counts what the program allocates; the sanitizers have their own `new`.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ARUS_COUNT_ALLOCATIONS 1
namespace {
std::atomic<std::size_t> allocations = 0;
}

// Not inlined: GCC would take `free` for the wrong counterpart of `new`.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
#endif

namespace arus::connect {

void PrintTo(const SensorChange& change, std::ostream* out) {
  *out << to_string(change.kind) << ' ' << change.sensor << ' ' << change.error;
}

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Kind = SensorChange::Kind;

struct Value {
  double value;
  std::string unit;
};

class HostSensorsTest : public testing::Test {
 protected:
  HostSensorsTest() {
    const char* given = std::getenv("ARUS_TEST_DIR");
    std::string pattern = (given != nullptr ? fs::path(given) : fs::temp_directory_path()) / "host-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    apply("t0");
  }
  ~HostSensorsTest() override { fs::remove_all(root_); }

  // Lays a recorded moment over the tree, in place: files that are open show the new contents, as those of
  // the kernel do.
  void apply(const char* moment) {
    const char* given = std::getenv("ARUS_TEST_DATA");
    const fs::path data = given != nullptr ? fs::path(given) : fs::path(__FILE__).parent_path() / "data";
    fs::copy(data / "host" / moment, root_, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }

  void write(const std::string& path, std::string_view text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void replace_by_link(const std::string& path, const fs::path& target) {
    fs::remove(root_ / path);
    fs::create_symlink(target, root_ / path);
  }

  HostSensors open() { return HostSensors({.proc_root = root_ / "proc", .sys_root = root_ / "sys"}, now_); }

  // A sample some time after the last one.
  std::map<std::string, Value> sample(HostSensors& host, std::chrono::nanoseconds later = 1s) {
    now_ += later;
    std::map<std::string, Value> values;
    for (const Reading& reading : host.sample(now_)) {
      const bool first = values.emplace(reading.sensor, Value{reading.value, std::string(reading.unit)}).second;
      EXPECT_TRUE(first) << "two readings of " << reading.sensor;
    }
    return values;
  }

  static Sensor find(const HostSensors& host, std::string_view name) {
    for (Sensor& sensor : host.sensors()) {
      if (sensor.name == name) return std::move(sensor);
    }
    ADD_FAILURE() << "no sensor " << name;
    return {};
  }
  static bool has(const HostSensors& host, std::string_view name) {
    const auto sensors = host.sensors();
    return std::any_of(sensors.begin(), sensors.end(), [&](const Sensor& s) { return s.name == name; });
  }
  static std::vector<SensorChange> changes(const HostSensors& host) { return {host.changes().begin(), host.changes().end()}; }

  fs::path root_;
  HostSensors::Clock::time_point now_{1000s};
};

TEST_F(HostSensorsTest, ReadsEverySensorOfTheRecordedMachineExactly) {
  HostSensors host = open();
  apply("t1");
  const auto values = sample(host);

  constexpr double kKiB = 1024;
  const std::map<std::string, Value> expected = {
      {"cpu.busy", {22.5, "%"}},
      {"cpu0.busy", {35, "%"}},
      {"cpu1.busy", {10, "%"}},
      {"mem.total", {8053220 * kKiB, "B"}},
      {"mem.available", {6300000 * kKiB, "B"}},
      {"mem.free", {4900000 * kKiB, "B"}},
      {"mem.cached", {1536000 * kKiB, "B"}},
      {"swap.total", {2097148 * kKiB, "B"}},
      {"swap.used", {1024 * kKiB, "B"}},
      {"load.1m", {0.25, ""}},
      {"load.5m", {0.08, ""}},
      {"load.15m", {0.02, ""}},
      {"disk.nvme0n1.read", {2048 * 512, "B/s"}},
      {"disk.nvme0n1.write", {4096 * 512, "B/s"}},
      {"disk.nvme0n1.read_ops", {10, "1/s"}},
      {"disk.nvme0n1.write_ops", {20, "1/s"}},
      {"disk.nvme0n1.busy", {25, "%"}},
      {"disk.sda.read", {0, "B/s"}},
      {"disk.sda.write", {0, "B/s"}},
      {"disk.sda.read_ops", {0, "1/s"}},
      {"disk.sda.write_ops", {0, "1/s"}},
      {"disk.sda.busy", {0, "%"}},
      {"net.lo.rx", {0, "B/s"}},
      {"net.lo.tx", {0, "B/s"}},
      {"net.lo.rx_packets", {0, "1/s"}},
      {"net.lo.tx_packets", {0, "1/s"}},
      {"net.lo.rx_errors", {0, "1/s"}},
      {"net.lo.tx_errors", {0, "1/s"}},
      {"net.lo.rx_drops", {0, "1/s"}},
      {"net.lo.tx_drops", {0, "1/s"}},
      {"net.eth0.rx", {125000, "B/s"}},
      {"net.eth0.tx", {2500, "B/s"}},
      {"net.eth0.rx_packets", {100, "1/s"}},
      {"net.eth0.tx_packets", {50, "1/s"}},
      {"net.eth0.rx_errors", {2, "1/s"}},
      {"net.eth0.tx_errors", {1, "1/s"}},
      {"net.eth0.rx_drops", {4, "1/s"}},
      {"net.eth0.tx_drops", {3, "1/s"}},
      {"hwmon.acpitz.temp1", {27.8, "Cel"}},
      {"hwmon.nvme.Composite", {38.85, "Cel"}},
      {"hwmon.nvme.Sensor_1", {39.85, "Cel"}},
      {"hwmon.nvme-2.Composite", {41.85, "Cel"}},
      {"hwmon.k10temp.Tctl", {46.375, "Cel"}},
      {"hwmon.k10temp.Tccd1", {43, "Cel"}},
      {"hwmon.coretemp.Package_id_0", {47, "Cel"}},
      {"hwmon.coretemp.Core_0", {45, "Cel"}},
      {"hwmon.coretemp.Core_0.temp10", {44, "Cel"}},
      {"hwmon.nct6798.in0", {0.888, "V"}},
      {"hwmon.nct6798._3.3V", {3.312, "V"}},
      {"hwmon.nct6798.fan1", {1205, "1/min"}},
      {"hwmon.nct6798.pwm1", {20, "%"}},
      {"hwmon.nct6798.curr1", {1.25, "A"}},
      {"hwmon.nct6798.power1", {15.25, "W"}},
      {"hwmon.nct6798.power2", {8.5, "W"}},
      {"hwmon.nct6798.energy1", {123.456789, "J"}},
      {"hwmon.nct6798.humidity1", {45.6, "%RH"}},
      {"hwmon.nct6798.temp1", {-5, "Cel"}},
      {"hwmon.lm75.temp1", {21.5, "Cel"}},
      {"thermal.acpitz", {27.8, "Cel"}},
      {"thermal.x86_pkg_temp", {48, "Cel"}},
      {"thermal.acpitz-2", {29.8, "Cel"}},
      {"iio.bme280.temp", {25.41, "Cel"}},
      {"iio.bme280.pressure", {99342.1875, "Pa"}},
      {"iio.bme280.humidityrelative", {45.678, "%RH"}},
      {"iio.adxl345.accel_x", {12 * 0.0383, "m/s2"}},
      {"iio.adxl345.accel_y", {-34 * 0.0383, "m/s2"}},
      {"iio.adxl345.accel_z", {256 * 0.0383, "m/s2"}},
      {"iio.adxl345.magn_x", {1e-4, "T"}},
      {"iio.ads1015.battery", {(1024 - 10) * 3.0 / 1000, "V"}},
      {"iio.ads1015.voltage1", {0.2, "V"}},
      {"iio.ads1015.voltage0-voltage1", {-0.256, "V"}},
      {"iio.ads1015.temp", {35, "Cel"}},
      {"iio.ads1015.current0", {0.02, "A"}},
      {"iio.proximity-lap.proximity", {42, ""}},
      {"iio.proximity-lap.illuminance", {50, "lx"}},
      {"iio.proximity-lap.intensity_both", {77, ""}},
      {"iio.proximity-lap.temp", {20, "Cel"}},
  };
  for (const auto& [name, want] : expected) {
    const auto got = values.find(name);
    if (got == values.end()) {
      ADD_FAILURE() << "no reading of " << name;
      continue;
    }
    EXPECT_DOUBLE_EQ(got->second.value, want.value) << name;
    EXPECT_EQ(got->second.unit, want.unit) << name;
  }
  for (const auto& [name, got] : values) EXPECT_TRUE(expected.contains(name)) << name << " was not expected";

  // The fan that its driver calls faulty is the only one known and not read.
  EXPECT_EQ(host.sensors().size(), expected.size() + 1);
  EXPECT_EQ(find(host, "hwmon.nct6798.fan2").last_error, EIO);
  EXPECT_EQ(host.totals().readings, expected.size());
  EXPECT_EQ(host.totals().failures, 1u);
  EXPECT_EQ(host.totals().malformed_lines, 0u);
  EXPECT_TRUE(host.changes().empty());
}

TEST_F(HostSensorsTest, SaysWhereEachValueComesFrom) {
  const HostSensors host = open();
  const Sensor tctl = find(host, "hwmon.k10temp.Tctl");
  EXPECT_EQ(tctl.source, root_ / "sys/class/hwmon/hwmon3/temp1_input");
  EXPECT_EQ(tctl.description, "k10temp temp1 (Tctl): temperature");
  EXPECT_EQ(tctl.state, SensorState::ok);
  EXPECT_EQ(find(host, "hwmon.nct6798.power1").description, "nct6798 power1: mean power");
  EXPECT_EQ(find(host, "hwmon.lm75.temp1").source, root_ / "sys/class/hwmon/hwmon11/device/temp1_input");
  EXPECT_EQ(find(host, "cpu0.busy").description, "CPU 0: share of the time not spent idle or waiting for input and output");
  EXPECT_EQ(find(host, "net.eth0.rx").description, "interface eth0: bytes received");
  EXPECT_EQ(find(host, "thermal.acpitz-2").description, "thermal_zone2 (acpitz): temperature");
  EXPECT_EQ(find(host, "iio.ads1015.battery").description, "ads1015 voltage0 (battery)");
  EXPECT_EQ(find(host, "iio.proximity-lap.proximity").description, "rpr0521 proximity, raw");
}

TEST_F(HostSensorsTest, NamesAreUniqueAndMadeForRecordKeys) {
  write("sys/class/hwmon/hwmon20/name", "evil/chip \xff\x01*");
  write("sys/class/hwmon/hwmon20/temp1_input", "1000");
  write("sys/class/hwmon/hwmon20/temp1_label", std::string(500, 'x'));
  write("sys/class/hwmon/hwmon20/temp2_input", "2000");
  write("sys/class/hwmon/hwmon20/temp2_label", " \n");
  write("sys/class/hwmon/hwmon21/temp1_input", "3000");  // a chip without a name
  const HostSensors host = open();
  std::map<std::string, int> seen;
  for (const Sensor& sensor : host.sensors()) {
    EXPECT_EQ(++seen[sensor.name], 1) << sensor.name;
    EXPECT_EQ(sensor.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"), std::string::npos)
        << sensor.name;
  }
  EXPECT_TRUE(has(host, "hwmon.evil_chip_." + std::string(64, 'x')));
  EXPECT_TRUE(has(host, "hwmon.evil_chip_.temp2"));
  EXPECT_TRUE(has(host, "hwmon.hwmon21.temp1"));
}

TEST_F(HostSensorsTest, NumbersDevicesByTheirPlaceInTheMachine) {
  // The kernel numbers chips in the order their drivers load; in a real /sys the entries are links to where
  // the device sits.
  fs::create_directories(root_ / "sys/devices");
  fs::rename(root_ / "sys/class/hwmon/hwmon1", root_ / "sys/devices/slot10");
  fs::rename(root_ / "sys/class/hwmon/hwmon2", root_ / "sys/devices/slot9");
  fs::create_directory_symlink("../../devices/slot10", root_ / "sys/class/hwmon/hwmon1");
  fs::create_directory_symlink("../../devices/slot9", root_ / "sys/class/hwmon/hwmon2");
  HostSensors host = open();
  const auto values = sample(host);
  EXPECT_DOUBLE_EQ(values.at("hwmon.nvme.Composite").value, 41.85);
  EXPECT_DOUBLE_EQ(values.at("hwmon.nvme-2.Composite").value, 38.85);
}

TEST_F(HostSensorsTest, RatesCoverTheirWindowHoweverFastOneSamples) {
  HostSensors host = open();
  apply("t1");
  EXPECT_FALSE(sample(host, 20ms).contains("net.eth0.rx"));
  EXPECT_TRUE(sample(host, 20ms).contains("load.1m"));
  const auto values = sample(host, 60ms);
  EXPECT_DOUBLE_EQ(values.at("net.eth0.rx").value, 125000 / 0.1);
  EXPECT_DOUBLE_EQ(values.at("disk.nvme0n1.busy").value, 100);  // 250 ms in 100: not more than all
  EXPECT_DOUBLE_EQ(values.at("cpu.busy").value, 22.5);          // of the kernel's ticks, not of our clock
  EXPECT_FALSE(sample(host, 20ms).contains("net.eth0.rx"));
  EXPECT_DOUBLE_EQ(sample(host, 60ms).at("net.eth0.rx").value, 0);
}

TEST_F(HostSensorsTest, WaitsForTheKernelsTicks) {
  HostSensors host = open();
  EXPECT_FALSE(sample(host).contains("cpu.busy"));
  apply("t1");
  EXPECT_DOUBLE_EQ(sample(host).at("cpu.busy").value, 22.5);
}

TEST_F(HostSensorsTest, ACounterThatGoesBackStartsAnew) {
  apply("t1");
  HostSensors host = open();
  apply("t0");
  auto values = sample(host);
  EXPECT_FALSE(values.contains("net.eth0.rx"));
  EXPECT_FALSE(values.contains("disk.nvme0n1.read"));
  EXPECT_FALSE(values.contains("cpu.busy"));
  EXPECT_DOUBLE_EQ(values.at("net.lo.rx").value, 0);
  apply("t1");
  values = sample(host);
  EXPECT_DOUBLE_EQ(values.at("net.eth0.rx").value, 125000);
  EXPECT_DOUBLE_EQ(values.at("cpu.busy").value, 22.5);
  EXPECT_EQ(host.totals().failures, 1u + 1u);  // the faulty fan's
}

TEST_F(HostSensorsTest, InterfacesComeAndGo) {
  HostSensors host = open();
  write("proc/net/dev",
        "    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n"
        "  usb0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n");
  EXPECT_FALSE(sample(host).contains("net.usb0.rx"));  // its baseline
  EXPECT_FALSE(has(host, "net.eth0.rx"));
  EXPECT_EQ(host.changes().size(), 16u);
  EXPECT_EQ(host.changes()[0], (SensorChange{.kind = Kind::appeared, .sensor = "net.usb0.rx"}));
  EXPECT_EQ(host.changes()[8], (SensorChange{.kind = Kind::vanished, .sensor = "net.eth0.rx"}));
  write("proc/net/dev",
        "  usb0: 150 1 0 0 0 0 0 0 500 2 0 0 0 0 0 0\n"
        "    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n"  // in another order, too
        "  eth0: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n");
  const auto values = sample(host);
  EXPECT_DOUBLE_EQ(values.at("net.usb0.rx").value, 50);
  EXPECT_DOUBLE_EQ(values.at("net.usb0.tx").value, 300);
  EXPECT_FALSE(values.contains("net.eth0.rx"));
  EXPECT_TRUE(has(host, "net.eth0.rx"));
}

TEST_F(HostSensorsTest, PartitionsAreLeftOutWithoutSysToo) {
  fs::remove_all(root_ / "sys");
  const HostSensors host = open();
  EXPECT_TRUE(has(host, "disk.nvme0n1.read"));
  EXPECT_TRUE(has(host, "disk.sda.read"));
  EXPECT_FALSE(has(host, "disk.nvme0n1p1.read"));
  EXPECT_FALSE(has(host, "disk.sda1.read"));
  EXPECT_FALSE(has(host, "disk.loop0.read"));
  EXPECT_FALSE(has(host, "disk.ram0.read"));
}

TEST_F(HostSensorsTest, FindsHardwareThatIsPluggedIn) {
  HostSensors host = open();
  write("sys/bus/iio/devices/iio:device7/name", "bme280");
  write("sys/bus/iio/devices/iio:device7/in_temp_input", "19000");
  EXPECT_FALSE(sample(host).contains("iio.bme280-2.temp"));
  const auto values = sample(host, 5s);
  EXPECT_DOUBLE_EQ(values.at("iio.bme280-2.temp").value, 19);
  EXPECT_EQ(changes(host), (std::vector<SensorChange>{{.kind = Kind::appeared, .sensor = "iio.bme280-2.temp"}}));
}

TEST_F(HostSensorsTest, ADeviceThatComesBackUnderAnotherNumberKeepsItsName) {
  HostSensors host = open();
  fs::rename(root_ / "sys/class/hwmon/hwmon3", root_ / "sys/class/hwmon/hwmon30");
  const auto values = sample(host, 5s);
  EXPECT_DOUBLE_EQ(values.at("hwmon.k10temp.Tctl").value, 45.125);
  EXPECT_EQ(find(host, "hwmon.k10temp.Tctl").source, root_ / "sys/class/hwmon/hwmon30/temp1_input");
}

TEST_F(HostSensorsTest, ForgetsWhatIsNoLongerListed) {
  HostSensors host = open();
  fs::remove_all(root_ / "sys/class/hwmon/hwmon3");
  fs::remove(root_ / "sys/class/hwmon/hwmon4/temp10_input");
  sample(host, 5s);
  EXPECT_EQ(changes(host), (std::vector<SensorChange>{{.kind = Kind::vanished, .sensor = "hwmon.k10temp.Tctl"},
                                                      {.kind = Kind::vanished, .sensor = "hwmon.k10temp.Tccd1"},
                                                      {.kind = Kind::vanished, .sensor = "hwmon.coretemp.Core_0.temp10"}}));
  EXPECT_FALSE(has(host, "hwmon.k10temp.Tctl"));
  EXPECT_TRUE(has(host, "hwmon.coretemp.Core_0"));
}

TEST_F(HostSensorsTest, ReportsOnceThatADeviceIsGoneAndTakesItBack) {
  // An open file of a device that is gone answers ENODEV. Its like, without a device: a file of a process
  // that has ended.
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const std::string path = "sys/class/hwmon/hwmon2/temp1_input";
  replace_by_link(path, fs::path("/proc") / std::to_string(child) / "oom_score");
  HostSensors host = open();
  EXPECT_TRUE(sample(host).contains("hwmon.nvme-2.Composite"));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);

  EXPECT_FALSE(sample(host).contains("hwmon.nvme-2.Composite"));
  EXPECT_EQ(changes(host),
            (std::vector<SensorChange>{{.kind = Kind::vanished, .sensor = "hwmon.nvme-2.Composite", .error = ESRCH}}));
  EXPECT_EQ(find(host, "hwmon.nvme-2.Composite").state, SensorState::gone);
  sample(host);
  sample(host, 5s);  // still listed, cannot be opened
  EXPECT_TRUE(host.changes().empty());
  EXPECT_EQ(find(host, "hwmon.nvme-2.Composite").last_error, ENOENT);

  fs::remove(root_ / path);
  write(path, "33000");
  EXPECT_DOUBLE_EQ(sample(host, 5s).at("hwmon.nvme-2.Composite").value, 33);
  EXPECT_EQ(changes(host), (std::vector<SensorChange>{{.kind = Kind::appeared, .sensor = "hwmon.nvme-2.Composite"}}));
  EXPECT_EQ(find(host, "hwmon.nvme-2.Composite").state, SensorState::ok);
}

TEST_F(HostSensorsTest, CountsFailuresAndRestsASensorThatKeepsFailing) {
  replace_by_link("sys/class/thermal/thermal_zone1/temp", "/proc/self/mem");  // reading its start is an EIO
  HostSensors host = open();
  for (unsigned i = 1; i < kFailuresUntilRest; ++i) {
    EXPECT_FALSE(sample(host, 1ms).contains("thermal.x86_pkg_temp"));
    EXPECT_TRUE(host.changes().empty()) << i;
  }
  EXPECT_TRUE(sample(host, 1ms).contains("thermal.acpitz"));
  const std::vector<SensorChange> expected{{.kind = Kind::resting, .sensor = "hwmon.nct6798.fan2", .error = EIO},  // the faulty one
                                           {.kind = Kind::resting, .sensor = "thermal.x86_pkg_temp", .error = EIO}};
  EXPECT_EQ(changes(host), expected);
  for (int i = 0; i < 10; ++i) sample(host, 1ms);
  EXPECT_EQ(find(host, "thermal.x86_pkg_temp").failures, kFailuresUntilRest);
  EXPECT_EQ(find(host, "thermal.x86_pkg_temp").state, SensorState::resting);

  write("sys/class/hwmon/hwmon10/fan2_fault", "0\n");
  write("sys/class/hwmon/hwmon10/fan2_input", "900\n");
  EXPECT_DOUBLE_EQ(sample(host, 5s).at("hwmon.nct6798.fan2").value, 900);
  EXPECT_EQ(changes(host), (std::vector<SensorChange>{{.kind = Kind::recovered, .sensor = "hwmon.nct6798.fan2"}}));
  EXPECT_EQ(find(host, "thermal.x86_pkg_temp").failures, kFailuresUntilRest + 1);
  EXPECT_EQ(host.totals().failures, 2 * kFailuresUntilRest + 1);
}

TEST_F(HostSensorsTest, TakesOverAScaleThatChanged) {
  HostSensors host = open();
  write("sys/bus/iio/devices/iio:device1/in_accel_scale", "0.5\n");
  EXPECT_DOUBLE_EQ(sample(host).at("iio.adxl345.accel_x").value, 12 * 0.0383);
  EXPECT_DOUBLE_EQ(sample(host, 5s).at("iio.adxl345.accel_x").value, 6);
  write("sys/bus/iio/devices/iio:device1/in_accel_scale", "half\n");
  EXPECT_FALSE(sample(host, 5s).contains("iio.adxl345.accel_x"));  // better none than a wrong one
  EXPECT_EQ(find(host, "iio.adxl345.accel_x").last_error, EBADMSG);
  EXPECT_EQ(host.changes().size(), 3u);
  write("sys/bus/iio/devices/iio:device1/in_accel_scale", "0.25\n");
  EXPECT_DOUBLE_EQ(sample(host, 5s).at("iio.adxl345.accel_x").value, 3);
  EXPECT_EQ(host.changes().size(), 3u);
}

TEST_F(HostSensorsTest, SkipsAndCountsWhatIsMalformed) {
  HostSensors host = open();
  apply("malformed");
  const auto values = sample(host);
  EXPECT_FALSE(values.contains("cpu0.busy"));
  EXPECT_EQ(find(host, "cpu0.busy").last_error, EBADMSG);
  EXPECT_DOUBLE_EQ(values.at("cpu1.busy").value, 10);
  EXPECT_EQ(find(host, "disk.nvme0n1.read").last_error, EBADMSG);
  EXPECT_DOUBLE_EQ(values.at("disk.sda.read").value, 512);
  EXPECT_FALSE(has(host, "net.lo.rx"));
  EXPECT_DOUBLE_EQ(values.at("net.eth0.rx").value, 125000);
  EXPECT_FALSE(values.contains("mem.total"));
  EXPECT_FALSE(values.contains("mem.free"));
  EXPECT_DOUBLE_EQ(values.at("mem.available").value, 1024);
  EXPECT_DOUBLE_EQ(values.at("load.1m").value, 0.5);
  EXPECT_FALSE(values.contains("load.5m"));
  EXPECT_FALSE(values.contains("load.15m"));
  for (const char* name : {"hwmon.acpitz.temp1", "hwmon.nvme.Composite", "hwmon.nvme.Sensor_1", "hwmon.k10temp.Tctl",
                           "hwmon.k10temp.Tccd1", "thermal.acpitz", "iio.bme280.pressure"}) {
    EXPECT_FALSE(values.contains(name)) << name;
    EXPECT_NE(find(host, name).last_error, 0) << name;
    EXPECT_EQ(find(host, name).failures, 1u) << name;
  }
  EXPECT_TRUE(values.contains("hwmon.nvme-2.Composite"));
  // A CPU twice; a disk without a name; interfaces without a colon, without a name, broken and unknown.
  EXPECT_EQ(host.totals().malformed_lines, 5u);
  apply("t1");
  EXPECT_TRUE(sample(host).contains("hwmon.k10temp.Tctl"));
}

TEST_F(HostSensorsTest, AMachineWithoutAnythingHasNoSensors) {
  HostSensors host({.proc_root = root_ / "none", .sys_root = root_ / "none"}, now_);
  EXPECT_TRUE(sample(host, 5s).empty());
  EXPECT_TRUE(host.sensors().empty());
  apply("t1");
  fs::create_directories(root_ / "none");
  write("none/loadavg", "1 2 3 1/2 3");
  EXPECT_EQ(sample(host, 5s).size(), 3u);  // found at the next rescan
}

TEST_F(HostSensorsTest, AFifoOrADirectoryInPlaceOfAFileHangsNobody) {
  fs::remove(root_ / "sys/class/thermal/thermal_zone0/temp");
  ASSERT_EQ(::mkfifo((root_ / "sys/class/thermal/thermal_zone0/temp").c_str(), 0600), 0);
  fs::remove(root_ / "sys/class/thermal/thermal_zone1/temp");
  fs::create_directories(root_ / "sys/class/thermal/thermal_zone1/temp");
  fs::remove(root_ / "proc/stat");
  fs::create_directories(root_ / "proc/stat");
  HostSensors host = open();
  EXPECT_TRUE(sample(host).contains("load.1m"));
  EXPECT_EQ(find(host, "thermal.acpitz").last_error, ESPIPE);
  EXPECT_EQ(find(host, "thermal.x86_pkg_temp").last_error, EISDIR);
  EXPECT_FALSE(has(host, "cpu.busy"));
}

#ifdef ARUS_COUNT_ALLOCATIONS
TEST_F(HostSensorsTest, AllocatesNothingWhileTheHardwareStaysTheSame) {
  HostSensors host = open();
  for (int i = 0; i < 2 * static_cast<int>(kFailuresUntilRest); ++i) sample(host, 100ms);
  for (const char* moment : {"t1", "t0", "t1"}) {
    apply(moment);
    now_ += 100ms;
    const std::size_t before = allocations.load();
    const std::size_t readings = host.sample(now_).size();
    EXPECT_EQ(allocations.load(), before) << moment;
    EXPECT_GT(readings, 30u);
  }
}
#endif

TEST_F(HostSensorsTest, SurvivesNoiseInEveryFile) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  HostSensors host({.proc_root = root_ / "proc", .sys_root = root_ / "sys", .rescan_interval = 0s}, now_);
  std::minstd_rand random(1);  // NOLINT(bugprone-random-generator-seed): the same every time
  const std::array<std::string_view, 10> scraps{"", "-", ":", "|", "\n", "cpu", "18446744073709551616", "1e999", "nan", "\xff\n\n"};
  for (int round = 0; round < 300; ++round) {
    const fs::path& file = files[random() % files.size()];
    std::string text = read_text(file).value_or("");
    switch (random() % 3) {
      case 0: text.resize(random() % (text.size() + 1)); break;
      case 1: text.insert(random() % (text.size() + 1), scraps[random() % scraps.size()]); break;
      default:
        if (!text.empty()) text[random() % text.size()] = static_cast<char>(random());
    }
    std::ofstream(file) << text;
    now_ += 1s;
    for (const Reading& reading : host.sample(now_)) {
      ASSERT_TRUE(std::isfinite(reading.value)) << reading.sensor;
      ASSERT_FALSE(reading.sensor.empty());
    }
  }
  EXPECT_GT(host.totals().failures, 0u);
}

TEST_F(HostSensorsTest, ReadsThisMachine) {
  HostSensors host;
  EXPECT_FALSE(host.sample().empty());
  EXPECT_TRUE(has(host, "cpu.busy"));
  EXPECT_TRUE(has(host, "mem.available"));
  EXPECT_TRUE(has(host, "load.1m"));
  HostSensors moved = std::move(host);
  EXPECT_FALSE(moved.sample().empty());
}

}  // namespace
}  // namespace arus::connect
