// CPU, memory, load, disks and network interfaces, from the tables of /proc.
#pragma once

#include <memory>
#include <vector>

#include "connect/host_sensors.h"
#include "connect/sensor_registry.h"

namespace arus::connect {

class ProcTable;  // one file

class ProcSensors {
 public:
  ProcSensors(const HostOptions& options, SensorRegistry& registry);
  ~ProcSensors();

  // `retry`: open files again that could not be opened before.
  void sample(HostSensors::Clock::time_point now, bool retry);

 private:
  std::vector<std::unique_ptr<ProcTable>> tables_;
  std::vector<char> buffer_;  // of whichever file is being read
};

}  // namespace arus::connect
