#include "connect/sensor_registry.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <utility>

#include "connect/sensor_file.h"

namespace arus::connect {
namespace {

constexpr std::size_t kLongestPart = 64;

bool may_stand_in_a_name(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

std::string sanitize(std::string_view text) {
  std::string part;
  for (const char c : trim(text)) {
    if (part.size() == kLongestPart) break;
    if (may_stand_in_a_name(c)) {
      part += c;
    } else if (part.empty() || part.back() != '_') {
      part += '_';
    }
  }
  return part;
}

SensorRegistry::Entry& SensorRegistry::add(Sensor sensor) {
  auto entry = std::make_unique<Entry>(Entry{std::move(sensor)});
  entry->name = unique_name(entry->name, [this](const std::string& name) { return names_.contains(name); });
  names_.insert(entry->name);
  report(SensorChange::Kind::appeared, *entry);
  return *entries_.emplace_back(std::move(entry));
}

void SensorRegistry::remove(Entry& entry) {
  const auto it = std::ranges::find(entries_, &entry, [](const auto& e) { return e.get(); });
  if (it == entries_.end()) return;
  if (entry.state != SensorState::gone) report(SensorChange::Kind::vanished, entry);
  names_.erase(entry.name);
  removed_.push_back(std::move(*it));
  entries_.erase(it);
}

void SensorRegistry::succeed(Entry& entry, double value) {
  if (!std::isfinite(value)) return fail(entry, EBADMSG);  // an absurd scale
  if (entry.state != SensorState::ok) {
    report(entry.state == SensorState::gone ? SensorChange::Kind::appeared : SensorChange::Kind::recovered, entry);
    entry.state = SensorState::ok;
  }
  entry.failures_in_a_row = 0;
  ++entry.readings;
  ++totals_.readings;
  readings_.push_back({.sensor = entry.name, .value = value, .unit = entry.unit});
}

void SensorRegistry::fail(Entry& entry, int error) {
  count_failure(entry, error);
  if (entry.state == SensorState::ok && entry.failures_in_a_row >= kFailuresUntilRest) become_resting(entry);
}

void SensorRegistry::rest(Entry& entry, int error) {
  count_failure(entry, error);
  if (entry.state != SensorState::resting) become_resting(entry);
}

void SensorRegistry::lose(Entry& entry, int error) {
  count_failure(entry, error);
  if (entry.state == SensorState::gone) return;
  entry.state = SensorState::gone;
  report(SensorChange::Kind::vanished, entry, error);
}

void SensorRegistry::begin_sample() {
  readings_.clear();
  changes_.clear();
  removed_.clear();
}

void SensorRegistry::forget_readings() {
  begin_sample();
  totals_.readings = 0;
  for (const auto& entry : entries_) entry->readings = 0;
}

std::vector<Sensor> SensorRegistry::snapshot() const {
  std::vector<Sensor> sensors;
  sensors.reserve(entries_.size());
  for (const auto& entry : entries_) sensors.push_back(*entry);
  return sensors;
}

void SensorRegistry::count_failure(Entry& entry, int error) noexcept {
  ++entry.failures;
  ++entry.failures_in_a_row;
  ++totals_.failures;
  entry.last_error = error;
}

void SensorRegistry::become_resting(Entry& entry) {
  entry.state = SensorState::resting;
  report(SensorChange::Kind::resting, entry, entry.last_error);
}

void SensorRegistry::report(SensorChange::Kind kind, const Entry& entry, int error) {
  changes_.push_back({.kind = kind, .sensor = entry.name, .error = error});
}

}  // namespace arus::connect
