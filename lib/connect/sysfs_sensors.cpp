#include "connect/sysfs_sensors.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

namespace arus::connect {
namespace {

// The open file has lost what it stood for: sysfs says ENODEV once the device is gone.
bool is_gone(int error) noexcept { return error == ENODEV || error == ENOENT || error == ESRCH; }

bool same_device(const FoundDevice& a, const FoundDevice& b) {
  return a.directory == b.directory && a.place == b.place && a.name == b.name;
}

bool same_channel(const FoundChannel& a, const FoundChannel& b) {
  return a.attribute == b.attribute && a.fault == b.fault && a.name == b.name && a.unit == b.unit;
}

}  // namespace

SysfsSensors::SysfsSensors(std::string sys_root, SensorRegistry& registry) : sys_root_(std::move(sys_root)), registry_(registry) {}

void SysfsSensors::rescan() {
  std::vector<FoundDevice> found = find_devices(sys_root_);
  // First what is gone, so that its names are free for what came in its place.
  std::erase_if(devices_, [&](Device& device) {
    const bool listed = std::ranges::any_of(found, [&](const auto& f) { return same_device(f, device.found); });
    if (!listed) drop(device);
    return !listed;
  });
  for (FoundDevice& f : found) {
    auto device = std::ranges::find_if(devices_, [&](const Device& d) { return same_device(d.found, f); });
    if (device == devices_.end()) device = devices_.insert(devices_.end(), take_device(f));
    update(*device, std::move(f.channels));
  }
}

void SysfsSensors::sample(bool retry) {
  for (Device& device : devices_) {
    for (Channel& channel : device.channels) {
      if (!channel.value.is_open()) continue;
      if (retry || channel.sensor->state != SensorState::resting) read(channel);
    }
  }
}

SysfsSensors::Device SysfsSensors::take_device(const FoundDevice& found) {
  const auto taken = [&](const std::string& name) {
    return std::ranges::any_of(devices_, [&](const Device& d) { return d.found.subsystem == found.subsystem && d.name == name; });
  };
  Device device{.found = found, .name = unique_name(found.name, taken), .channels = {}};
  device.found.channels.clear();
  return device;
}

void SysfsSensors::update(Device& device, std::vector<FoundChannel> found) {
  std::erase_if(device.channels, [&](Channel& channel) {
    const bool listed = std::ranges::any_of(found, [&](const auto& f) { return same_channel(f, channel.found); });
    if (!listed) registry_.remove(*channel.sensor);
    return !listed;
  });
  for (FoundChannel& f : found) {
    auto channel = std::ranges::find_if(device.channels, [&](const Channel& c) { return same_channel(c.found, f); });
    if (channel == device.channels.end()) {
      SensorRegistry::Entry& sensor = add_sensor(device, f);
      channel = device.channels.insert(channel, Channel{.found = {}, .sensor = &sensor, .value = {}, .fault = {}});
    }
    channel->found = std::move(f);
    open(device, *channel);
  }
}

void SysfsSensors::drop(Device& device) {
  for (Channel& channel : device.channels) registry_.remove(*channel.sensor);
}

void SysfsSensors::open(const Device& device, Channel& channel) {
  const FoundChannel& found = channel.found;
  const std::string directory = device.found.directory + '/';
  int error = found.convertible ? 0 : EBADMSG;
  if (error == 0 && !channel.value.is_open()) error = channel.value.open(directory + found.attribute);
  if (error == 0 && !found.fault.empty() && !channel.fault.is_open()) error = channel.fault.open(directory + found.fault);
  if (error != 0) close(channel, error);
}

// Until a rescan opens it again.
void SysfsSensors::close(Channel& channel, int error) {
  channel.value.close();
  channel.fault.close();
  if (is_gone(error)) {
    registry_.lose(*channel.sensor, error);
  } else {
    registry_.rest(*channel.sensor, error);
  }
}

SensorRegistry::Entry& SysfsSensors::add_sensor(const Device& device, const FoundChannel& found) {
  const auto taken = [&](const std::string& name) {
    return std::ranges::any_of(device.channels, [&](const Channel& c) { return c.found.name == name; });
  };
  std::string name = std::string(device.found.subsystem) + '.' + device.name;
  if (!found.name.empty()) name += '.' + found.name;
  if (taken(found.name)) name += '.' + found.fallback;
  return registry_.add({.name = std::move(name),
                        .unit = found.unit,
                        .source = device.found.directory + '/' + found.attribute,
                        .description = found.description});
}

void SysfsSensors::read(Channel& channel) {
  std::array<char, 128> buffer;
  FileText content = channel.value.read(buffer);
  const std::optional<double> number = parse_number(content.text);
  if (content.error == 0 && !number) content.error = EBADMSG;
  if (content.error == 0 && channel.fault.is_open()) {
    // Its own driver says that the value is not to be trusted: an open diode, a fan that is not connected.
    const FileText fault = channel.fault.read(buffer);
    content.error = fault.error != 0 ? fault.error : trim(fault.text) == "0" ? 0 : EIO;
  }
  if (content.error == 0) {
    const Conversion& conversion = channel.found.conversion;
    registry_.succeed(*channel.sensor, (*number + conversion.offset) * conversion.scale / conversion.divisor);
  } else if (is_gone(content.error)) {
    close(channel, content.error);
  } else {
    registry_.fail(*channel.sensor, content.error);
  }
}

}  // namespace arus::connect
