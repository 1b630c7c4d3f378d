#include "sampler.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "log/topic_files.h"
#include "text.h"

namespace arus::tool {
namespace {

double rate(std::uint64_t now, std::uint64_t before, double seconds) {
  return seconds > 0 && now >= before ? static_cast<double>(now - before) / seconds : 0;
}

std::uint64_t total(const std::vector<std::uint64_t>& numbers) {
  std::uint64_t sum = 0;
  for (const auto number : numbers) sum += number;
  return sum;
}

}  // namespace

std::string TopicSample::held_by() const {
  std::vector<std::string_view> names;
  for (const auto& group : groups) {
    if (group.holds_back) names.push_back(group.info.name);
  }
  return fmt::format("{}", fmt::join(names, ","));
}

struct Sampler::Tracked {
  Topic topic;
  std::vector<std::shared_ptr<const log::Partition>> mapped;  // keeps the mappings that Topic::describe() uses
  std::optional<TopicSample> before;
};

Sampler::Sampler(Bus bus, std::vector<std::string> only) : bus_(std::move(bus)), only_(std::move(only)) {
  for (const auto& name : only_) open_topic(bus_, name);
}
Sampler::~Sampler() = default;

BusSample Sampler::look() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  const double seconds = looked_at_ == 0 ? 0 : static_cast<double>(now - looked_at_) / 1e9;
  looked_at_ = now;
  BusSample sample{.bus = bus_.directory(), .time = wall_clock_now(), .seconds = seconds, .topics = {}, .services = {}};
  const std::vector<std::string> names = only_.empty() ? must(bus_.topics()) : only_;
  std::erase_if(tracked_, [&](const auto& entry) { return std::find(names.begin(), names.end(), entry.first) == names.end(); });
  for (const auto& name : names) {
    auto& tracked = tracked_[name];
    for (const bool again : {true, false}) {
      TopicSample found{.name = name, .error = {}, .partitions = {}, .groups = {}, .retained_ns = {}};
      if (!tracked) {
        auto topic = bus_.topic(name);
        if (topic) {
          tracked = std::make_unique<Tracked>(Tracked{*std::move(topic), {}, {}});
        } else {
          found.error = topic.error();
        }
      }
      if (tracked) found = look_at(name, *tracked, seconds);
      if (found.error) tracked.reset();
      if (found.error && found.error->code() == Errc::deleted && again) continue;  // perhaps it was made anew
      const bool gone = found.error && found.error->code() == Errc::not_found;     // between listing and looking
      if (!gone || !only_.empty()) sample.topics.push_back(std::move(found));
      break;
    }
  }
  if (only_.empty()) sample.services = look_at_services(seconds);
  return sample;
}

std::vector<ServiceSample> Sampler::look_at_services(double seconds) {
  std::vector<ServiceSample> samples;
  const auto names = bus_.services();
  if (!names) return samples;
  for (const auto& name : *names) {
    auto info = bus_.service(name);
    if (!info) continue;  // gone meanwhile
    ServiceSample found{.info = *std::move(info)};
    for (const auto& server : found.info.servers) {
      found.live += server.alive ? 1 : 0;
      found.outstanding += server.alive ? server.outstanding : 0;
      for (const auto& method : server.methods) {
        for (std::size_t code = 0; code < method.ended.size(); ++code) {
          found.calls += method.ended[code];
          if (code != 0) found.failed += method.ended[code];
        }
        if (!server.alive) continue;
        found.p50 = std::max(found.p50, method.p50);
        found.p99 = std::max(found.p99, method.p99);
      }
    }
    const auto before =
        std::find_if(services_before_.begin(), services_before_.end(), [&](const auto& other) { return other.info.name == name; });
    if (before != services_before_.end()) {
      found.calls_per_second = rate(found.calls, before->calls, seconds);
      found.failed_per_second = rate(found.failed, before->failed, seconds);
    }
    samples.push_back(std::move(found));
  }
  services_before_ = samples;
  return samples;
}

TopicSample Sampler::look_at(const std::string& name, Tracked& tracked, double seconds) {
  TopicSample sample{.name = name, .error = {}, .partitions = {}, .groups = {}, .retained_ns = {}};
  if (tracked.mapped.empty()) {
    const std::string directory = bus_.directory() + "/topics/" + name;
    if (const auto identity = log::read_identity(log::identity_path(directory))) {
      for (std::uint32_t i = 0; i < identity->config.partitions; ++i) {
        auto partition = log::Partition::open(log::partition_path(directory, i), platform::Access::read, identity->id, i);
        if (partition) tracked.mapped.push_back(*std::move(partition));  // if not, describe() says why
      }
    }
  }
  auto info = tracked.topic.describe();
  if (!info) {
    sample.error = info.error();
    return sample;
  }
  sample.info = *std::move(info);
  const TopicSample* before = tracked.before ? &*tracked.before : nullptr;
  for (const PartitionInfo& partition : sample.info.partitions) {
    PartitionSample found{.info = partition};
    found.fill = static_cast<double>(partition.bytes_used) / static_cast<double>(sample.info.config.partition_bytes);
    if (before != nullptr) {
      const PartitionInfo& then = before->partitions[partition.partition].info;
      found.records_per_second = rate(partition.end_offset, then.end_offset, seconds);
      found.bytes_per_second = rate(partition.bytes_written, then.bytes_written, seconds);
    }
    sample.records += partition.end_offset - partition.start_offset;
    sample.records_ever += partition.end_offset;
    sample.bytes_used += partition.bytes_used;
    sample.bytes_written += partition.bytes_written;
    sample.producers = std::max(sample.producers, partition.producers);
    sample.records_per_second += found.records_per_second;
    sample.bytes_per_second += found.bytes_per_second;
    sample.fill = std::max(sample.fill, found.fill);
    if (partition.oldest != 0) {
      const std::int64_t age = std::max<std::int64_t>(wall_clock_now() - partition.oldest, 0);
      sample.retained_ns = std::max(sample.retained_ns.value_or(0), age);
    }
    sample.partitions.push_back(found);
  }
  for (const GroupInfo& group : sample.info.groups) {
    GroupSample found{.info = group, .lag = total(group.lag), .where = {}, .readers = {}};
    if (before != nullptr) {
      const auto then = std::find_if(before->groups.begin(), before->groups.end(),
                                     [&](const GroupSample& other) { return other.info.name == group.name; });
      if (then != before->groups.end() && seconds > 0) {
        found.lag_per_second = (static_cast<double>(found.lag) - static_cast<double>(then->lag)) / seconds;
        found.records_per_second = rate(total(group.committed), total(then->info.committed), seconds);
      }
    }
    for (const GroupPartition& partition : group.partitions) {
      found.lag_bytes += partition.lag_bytes;
      found.lost += partition.lost;
      if (partition.holds_back) found.where.push_back(partition.partition);
      if (!partition.process.empty()) found.readers.insert(partition.process);
    }
    found.holds_back = !found.where.empty();
    sample.groups.push_back(std::move(found));
  }
  tracked.before = sample;
  return sample;
}

Json to_json(const BusSample& sample) {
  Json json{{"bus", sample.bus}, {"time", sample.time}, {"seconds", sample.seconds}, {"topics", Json::array()}};
  Json groups = Json::array();
  for (const auto& topic : sample.topics) {
    if (topic.error) {
      json["topics"].push_back(
          {{"name", topic.name}, {"error", {{"code", to_string(topic.error->code())}, {"message", topic.error->message()}}}});
      continue;
    }
    json["topics"].push_back(
        {{"name", topic.name},
         {"partitions", topic.info.config.partitions},
         {"records", topic.records},
         {"records_per_second", topic.records_per_second},
         {"bytes_per_second", topic.bytes_per_second},
         {"bytes_used", topic.bytes_used},
         {"bytes_reserved", topic.info.bytes_reserved},
         {"fill", topic.fill},
         {"retained_seconds", topic.retained_ns ? Json(static_cast<double>(*topic.retained_ns) / 1e9) : Json()},
         {"producers", topic.producers},
         {"readers", topic.info.readers},
         {"held_by", Json::array()}});
    for (const auto& group : topic.groups) {
      if (group.holds_back) json["topics"].back()["held_by"].push_back(group.info.name);
      groups.push_back({{"topic", topic.name},
                        {"name", group.info.name},
                        {"alive", group.info.alive},
                        {"evicted", group.info.evicted},
                        {"lag", group.lag},
                        {"lag_bytes", group.lag_bytes},
                        {"lost", group.lost},
                        {"readers", group.readers},
                        {"lag_per_second", group.lag_per_second},
                        {"records_per_second", group.records_per_second},
                        {"holds_back", group.holds_back}});
    }
  }
  json["groups"] = std::move(groups);
  json["services"] = Json::array();
  for (const auto& service : sample.services) {
    json["services"].push_back({{"name", service.info.name},
                                {"servers", service.live},
                                {"outstanding", service.outstanding},
                                {"calls", service.calls},
                                {"failed", service.failed},
                                {"calls_per_second", service.calls_per_second},
                                {"failed_per_second", service.failed_per_second},
                                {"p50_ns", service.p50.count()},
                                {"p99_ns", service.p99.count()}});
  }
  return json;
}

}  // namespace arus::tool
