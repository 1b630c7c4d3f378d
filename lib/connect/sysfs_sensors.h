// The sensors of /sys: one file each, held open.
#pragma once

#include <string>
#include <vector>

#include "connect/sensor_file.h"
#include "connect/sensor_registry.h"
#include "connect/sysfs_discovery.h"

namespace arus::connect {

class SysfsSensors {
 public:
  SysfsSensors(std::string sys_root, SensorRegistry& registry);

  // Finds new devices and channels, drops those that are no longer listed, takes over changed scales, opens
  // again what was closed.
  void rescan();

  // `retry`: read resting sensors too.
  void sample(bool retry);

 private:
  struct Channel {
    FoundChannel found;
    SensorRegistry::Entry* sensor;
    SensorFile value;
    SensorFile fault;  // open only if the channel has one
  };
  struct Device {
    FoundDevice found;  // its channels are moved out
    std::string name;   // unique in its subsystem
    std::vector<Channel> channels;
  };

  Device take_device(const FoundDevice& found);
  void update(Device& device, std::vector<FoundChannel> found);
  void drop(Device& device);
  void open(const Device& device, Channel& channel);
  void close(Channel& channel, int error);
  SensorRegistry::Entry& add_sensor(const Device& device, const FoundChannel& found);
  void read(Channel& channel);

  std::string sys_root_;
  SensorRegistry& registry_;
  std::vector<Device> devices_;
};

}  // namespace arus::connect
