// Which sensors /sys has: hardware monitoring chips, thermal zones and industrial-I/O devices, as they are at
// the moment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace arus::connect {

// From the number in the file to a value in `unit`: (number + offset) * scale / divisor. The divisor is apart
// from the scale because 45125 / 1000.0 is exact where 45125 * 0.001 is not.
struct Conversion {
  double offset = 0;
  double scale = 1;
  double divisor = 1;
};

struct FoundChannel {
  std::string attribute;  // the file, in the device's directory
  std::string fault;      // the file that holds 1 when the value is not to be trusted; empty: none
  std::string name;       // the channel's part of the sensor's name: its label or its number, sanitized
  std::string fallback;   // what to add to `name` if another channel of the device has the same
  std::string_view unit;
  std::string description;
  Conversion conversion;
  bool convertible = true;  // false: a scale or offset is there but could not be read
};

struct FoundDevice {
  std::string_view subsystem;  // "hwmon", "thermal" or "iio"
  std::string directory;
  std::string place;  // where it sits in the machine: stays the same over boots, as its number need not
  std::string name;   // sanitized, not unique
  std::vector<FoundChannel> channels;
};

// Grouped by subsystem; within one, by place. Reads some files of every device, which can block.
std::vector<FoundDevice> find_devices(const std::string& sys_root);

}  // namespace arus::connect
