#include "connect/host_sensors.h"

#include <utility>

#include "connect/proc_sensors.h"
#include "connect/sensor_registry.h"
#include "connect/sysfs_sensors.h"

namespace arus::connect {

struct HostSensors::Impl {
  explicit Impl(HostOptions o) : options(std::move(o)), proc(options, registry), sysfs(options.sys_root, registry) {}

  const HostOptions options;
  SensorRegistry registry;
  ProcSensors proc;
  SysfsSensors sysfs;
  Clock::time_point scanned{};
};

HostSensors::HostSensors(HostOptions options, Clock::time_point now) : impl_(std::make_unique<Impl>(std::move(options))) {
  impl_->proc.sample(now, true);
  impl_->sysfs.rescan();
  impl_->scanned = now;
  impl_->registry.forget_readings();
}

HostSensors::~HostSensors() = default;
HostSensors::HostSensors(HostSensors&&) noexcept = default;
HostSensors& HostSensors::operator=(HostSensors&&) noexcept = default;

std::span<const Reading> HostSensors::sample(Clock::time_point now) {
  Impl& my = *impl_;
  const bool rescan = now - my.scanned >= my.options.rescan_interval;
  my.registry.begin_sample();
  my.proc.sample(now, rescan);  // first: its rates are for the instant `now`
  if (rescan) {
    my.sysfs.rescan();
    my.scanned = now;
  }
  my.sysfs.sample(rescan);
  return my.registry.readings();
}

std::span<const SensorChange> HostSensors::changes() const noexcept { return impl_->registry.changes(); }

std::vector<Sensor> HostSensors::sensors() const { return impl_->registry.snapshot(); }

SensorTotals HostSensors::totals() const noexcept { return impl_->registry.totals(); }

std::string_view to_string(SensorState state) noexcept {
  switch (state) {
    case SensorState::ok: return "ok";
    case SensorState::resting: return "resting";
    case SensorState::gone: return "gone";
  }
  return "unknown";
}

std::string_view to_string(SensorChange::Kind kind) noexcept {
  switch (kind) {
    case SensorChange::Kind::appeared: return "appeared";
    case SensorChange::Kind::vanished: return "vanished";
    case SensorChange::Kind::resting: return "resting";
    case SensorChange::Kind::recovered: return "recovered";
  }
  return "unknown";
}

}  // namespace arus::connect
