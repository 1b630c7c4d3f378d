#include "connect/sysfs_discovery.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "connect/sensor_file.h"
#include "connect/sensor_registry.h"

namespace arus::connect {
namespace {

using Names = std::vector<std::string>;

// The entries of a directory whose names begin with `prefix`, in natural order. None if it cannot be read.
Names list(const std::string& directory, std::string_view prefix = {}) {
  Names names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  }
  std::ranges::sort(names, natural_less);
  return names;
}

bool contains(const Names& names, std::string_view name) { return std::ranges::find(names, name) != names.end(); }

// The contents of a file as a part of a name; empty if there is nothing of use in it.
std::string name_in(const std::string& path) { return sanitize(read_text(path).value_or("")); }

std::string first_not_empty(std::string a, std::string b) { return a.empty() ? std::move(b) : std::move(a); }

bool is_number(std::string_view text) noexcept { return parse_counter(text).has_value(); }

// ---- hwmon: Documentation/hwmon/sysfs-interface.rst and Documentation/ABI/testing/sysfs-class-hwmon of the
// kernel.

struct HwmonType {
  std::string_view prefix;
  std::string_view unit;
  std::string_view quantity;
  double divisor;
};

constexpr std::array kHwmonTypes{
    HwmonType{"temp", "Cel", "temperature", 1000},
    HwmonType{"in", "V", "voltage", 1000},
    HwmonType{"fan", "1/min", "fan speed", 1},
    HwmonType{"curr", "A", "current", 1000},
    HwmonType{"power", "W", "power", 1e6},
    HwmonType{"energy", "J", "energy used so far", 1e6},
    HwmonType{"humidity", "%RH", "relative humidity", 1000},
    HwmonType{"freq", "Hz", "clock frequency", 1},  // of amdgpu only: Documentation/gpu/amdgpu/thermal.rst
};

// One channel from its file, or nothing: temp1_input, power1_average (if there is no power1_input), pwm1.
std::optional<FoundChannel> hwmon_channel(const std::string& directory, const Names& files, const std::string& file) {
  if (file.starts_with("pwm") && is_number(std::string_view(file).substr(3))) {
    return FoundChannel{.attribute = file,
                        .fault = {},
                        .name = file,
                        .fallback = "pwm",
                        .unit = "%",
                        .description = file + ": fan control, 100 is full speed",
                        .conversion = {.scale = 100, .divisor = 255}};
  }
  const std::size_t underscore = file.find('_');
  if (underscore == std::string::npos) return std::nullopt;
  const std::string channel = file.substr(0, underscore);
  const std::string_view item = std::string_view(file).substr(underscore + 1);
  if (item != "input" && !(item == "average" && !contains(files, channel + "_input"))) return std::nullopt;
  const auto* type = std::ranges::find_if(kHwmonTypes, [&](const HwmonType& t) {
    return channel.starts_with(t.prefix) && is_number(std::string_view(channel).substr(t.prefix.size()));
  });
  if (type == kHwmonTypes.end()) return std::nullopt;

  const std::string label = read_text(directory + '/' + channel + "_label").value_or("");
  FoundChannel found{.attribute = file,
                     .fault = {},
                     .name = first_not_empty(sanitize(label), channel),
                     .fallback = channel,
                     .unit = type->unit,
                     .description = channel + (label.empty() ? "" : " (" + label + ")") + ": " +
                                    (item == "average" ? "mean " : "") + std::string(type->quantity),
                     .conversion = {.divisor = type->divisor}};
  if (contains(files, channel + "_fault")) found.fault = channel + "_fault";
  return found;
}

FoundDevice hwmon_device(const std::string& node, const std::string& entry) {
  // Old drivers have their files in the physical device's directory.
  const bool old = !read_text(node + "/name") && read_text(node + "/device/name");
  FoundDevice device{.subsystem = "hwmon", .directory = old ? node + "/device" : node, .place = {}, .name = {}, .channels = {}};
  const std::string chip = name_in(device.directory + "/name");
  device.name = first_not_empty(name_in(device.directory + "/label"), first_not_empty(chip, entry));
  const Names files = list(device.directory);
  for (const std::string& file : files) {
    if (auto channel = hwmon_channel(device.directory, files, file)) {
      channel->description = (chip.empty() ? entry : chip) + ' ' + channel->description;
      device.channels.push_back(std::move(*channel));
    }
  }
  return device;
}

// ---- Thermal zones: Documentation/ABI/testing/sysfs-class-thermal.

FoundDevice thermal_device(const std::string& node, const std::string& entry) {
  const std::string type = name_in(node + "/type");
  FoundDevice device{.subsystem = "thermal", .directory = node, .place = {}, .name = first_not_empty(type, entry), .channels = {}};
  device.channels.push_back({.attribute = "temp",
                             .fault = {},
                             .name = {},
                             .fallback = "temp",
                             .unit = "Cel",
                             .description = entry + " (" + device.name + "): temperature",
                             .conversion = {.divisor = 1000}});
  return device;
}

// ---- Industrial I/O: Documentation/ABI/testing/sysfs-bus-iio.

struct IioType {
  std::string_view name;
  std::string_view unit;
  double divisor = 1;     // from the unit of the kernel's documentation to ours
  double multiplier = 1;  // the same, where ours is the smaller one
};

constexpr std::array kIioTypes{
    IioType{"accel", "m/s2"},
    IioType{"activity", "%"},
    IioType{"altcurrent", "A", 1000},
    IioType{"altvoltage", "V", 1000},
    IioType{"angl", "rad"},
    IioType{"anglvel", "rad/s"},
    IioType{"capacitance", "F", 1e9},
    IioType{"concentration", "%"},
    IioType{"count", "count"},
    IioType{"current", "A", 1000},
    IioType{"deltaangl", "rad"},
    IioType{"deltavelocity", "m/s"},
    IioType{"distance", "m"},
    IioType{"electricalconductivity", "S/m"},
    IioType{"energy", "J"},
    IioType{"gravity", "m/s2"},
    IioType{"humidityrelative", "%RH", 1000},
    IioType{"illuminance", "lx"},
    IioType{"incli", "deg"},
    IioType{"magn", "T", 1e4},  // the kernel's is the gauss
    IioType{"massconcentration", "ug/m3"},
    IioType{"ph", "pH"},
    IioType{"phase", "rad"},
    IioType{"positionrelative", "%", 1000},
    IioType{"power", "W", 1000},
    IioType{"pressure", "Pa", 1, 1000},
    IioType{"proximity", "m"},
    IioType{"resistance", "Ohm"},
    IioType{"steps", "count"},
    IioType{"temp", "Cel", 1000},
    IioType{"velocity", "m/s"},
    IioType{"voltage", "V", 1000},
};

// Where the scale or offset of a channel may stand: in a file of its own, or in one that it shares with all
// channels that differ from it by number or modifier, with all inputs, or with everything. For voltage0_i:
// in_voltage0_i_scale, in_voltage0_scale, in_voltage_i_scale, in_voltage_scale, in_scale, scale.
std::optional<std::string> find_parameter(const Names& files, std::string_view channel, std::string_view parameter) {
  std::string unnumbered(channel);
  const auto type_end = std::ranges::find(unnumbered, '_');
  unnumbered.erase(std::remove_if(unnumbered.begin(), type_end, [](char c) { return c >= '0' && c <= '9'; }), type_end);
  for (std::string_view stem : {channel, std::string_view(unnumbered)}) {
    while (!stem.empty()) {
      std::string file = "in_" + std::string(stem) + '_' + std::string(parameter);
      if (contains(files, file)) return file;
      stem = stem.substr(0, stem.rfind('_') == std::string_view::npos ? 0 : stem.rfind('_'));
    }
  }
  for (std::string file : {"in_" + std::string(parameter), std::string(parameter)}) {
    if (contains(files, file)) return file;
  }
  return std::nullopt;
}

// A peak may have a scale of its own, in_accel_peak_scale for in_accel_x_peak_raw.
std::optional<std::string> find_parameter_of(const Names& files, std::string_view channel, std::string_view parameter) {
  constexpr std::string_view kPeak = "_peak";
  if (channel.ends_with(kPeak)) {
    const std::string peak = "peak_" + std::string(parameter);
    if (auto file = find_parameter(files, channel.substr(0, channel.size() - kPeak.size()), peak)) return file;
  }
  return find_parameter(files, channel, parameter);
}

// Sets what the file holds. True if there is such a file; the channel is not convertible if it cannot be
// understood.
bool read_parameter(const std::string& directory, const Names& files, std::string_view name, std::string_view parameter,
                    double& value, bool& convertible) {
  const auto file = find_parameter_of(files, name, parameter);
  if (!file) return false;
  const auto number = parse_number(read_text(directory + '/' + *file).value_or(""));
  convertible = convertible && number.has_value();
  value = number.value_or(value);
  return true;
}

// in_temp_input is in the unit of its type already; in_temp_raw needs offset and scale, and without a scale
// has no unit we know.
std::optional<FoundChannel> iio_channel(const std::string& directory, const Names& files, const std::string& file) {
  const std::size_t underscore = file.rfind('_');
  if (!file.starts_with("in_") || underscore <= 3) return std::nullopt;
  const std::string_view item = std::string_view(file).substr(underscore + 1);
  const std::string channel = file.substr(3, underscore - 3);
  const bool raw = item == "raw" && !contains(files, "in_" + channel + "_input");
  if (item != "input" && !raw) return std::nullopt;
  if (channel == "rot_quaternion") return std::nullopt;  // four numbers in one file: not a scalar

  const std::string_view type_name = std::string_view(channel).substr(0, channel.find_first_of("0123456789_-"));
  const auto* type = std::ranges::find(kIioTypes, type_name, &IioType::name);
  const std::string label = read_text(directory + "/in_" + channel + "_label").value_or("");
  FoundChannel found{.attribute = file,
                     .fault = {},
                     .name = first_not_empty(sanitize(label), sanitize(channel)),
                     .fallback = sanitize(channel),
                     .unit = {},
                     .description = channel + (label.empty() ? "" : " (" + label + ")"),
                     .conversion = {}};
  Conversion& conversion = found.conversion;
  bool scaled = !raw;
  if (raw) {
    const bool offset = read_parameter(directory, files, channel, "offset", conversion.offset, found.convertible);
    scaled = read_parameter(directory, files, channel, "scale", conversion.scale, found.convertible);
    // "If no offset or scale is present, output should be considered as processed", it says of currents
    // alone.
    if (!scaled && !offset && type_name == "current") scaled = true;
  }
  if (scaled && type != kIioTypes.end()) {
    found.unit = type->unit;
    conversion.scale *= type->multiplier;
    conversion.divisor = type->divisor;
  }
  if (!scaled) found.description += ", raw";
  return found;
}

FoundDevice iio_device(const std::string& node, const std::string& entry) {
  const std::string part = name_in(node + "/name");
  FoundDevice device{.subsystem = "iio",
                     .directory = node,
                     .place = {},
                     .name = first_not_empty(name_in(node + "/label"), first_not_empty(part, sanitize(entry))),
                     .channels = {}};
  const Names files = list(node);
  for (const std::string& file : files) {
    if (auto channel = iio_channel(node, files, file)) {
      channel->description = (part.empty() ? entry : part) + ' ' + channel->description;
      device.channels.push_back(std::move(*channel));
    }
  }
  return device;
}

// ---- All of them.

using DeviceReader = FoundDevice (*)(const std::string& node, const std::string& entry);

void find_devices_of(const std::string& directory, std::string_view prefix, DeviceReader read, std::vector<FoundDevice>& devices) {
  std::vector<FoundDevice> found;
  for (const std::string& entry : list(directory, prefix)) {
    const std::string node = std::string(directory).append("/").append(entry);
    FoundDevice device = read(node, entry);
    if (device.channels.empty()) continue;
    std::error_code error;
    device.place = std::filesystem::canonical(node, error).string();
    found.push_back(std::move(device));
  }
  std::ranges::stable_sort(found, natural_less, &FoundDevice::place);
  std::ranges::move(found, std::back_inserter(devices));
}

}  // namespace

std::vector<FoundDevice> find_devices(const std::string& sys_root) {
  std::vector<FoundDevice> devices;
  find_devices_of(sys_root + "/class/hwmon", "hwmon", hwmon_device, devices);
  find_devices_of(sys_root + "/class/thermal", "thermal_zone", thermal_device, devices);
  find_devices_of(sys_root + "/bus/iio/devices", "iio:device", iio_device, devices);
  return devices;
}

}  // namespace arus::connect
