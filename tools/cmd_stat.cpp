// arus stat: every counter of the bus. arus hz: how regularly records come.
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "command.h"
#include "parse.h"
#include "sampler.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// ---- arus stat --------------------------------------------------------------------------------------------------------------

Json counters_of(const TopicSample& topic) {
  if (topic.error)
    return {{"name", topic.name}, {"error", {{"code", to_string(topic.error->code())}, {"message", topic.error->message()}}}};
  Json json{{"name", topic.name},           {"records_written", topic.records_ever}, {"bytes_written", topic.bytes_written},
            {"records", topic.records},     {"bytes_used", topic.bytes_used},        {"bytes_reserved", topic.info.bytes_reserved},
            {"producers", topic.producers}, {"readers", topic.info.readers},         {"partitions", Json::array()},
            {"groups", Json::array()}};
  for (const auto& [info, records, bytes, fill] : topic.partitions) {
    json["partitions"].push_back({{"partition", info.partition},
                                  {"start_offset", info.start_offset},
                                  {"end_offset", info.end_offset},
                                  {"bytes_written", info.bytes_written},
                                  {"bytes_used", info.bytes_used},
                                  {"producers", info.producers},
                                  {"oldest", info.oldest}});
  }
  for (const auto& group : topic.groups) {
    json["groups"].push_back({{"name", group.info.name},
                              {"alive", group.info.alive ? 1 : 0},
                              {"evicted", group.info.evicted ? 1 : 0},
                              {"holds_back", group.holds_back ? 1 : 0},
                              {"lag", group.lag},
                              {"lag_bytes", group.lag_bytes},
                              {"lost", group.lost},
                              {"partitions", Json::array()}});
    for (const auto& partition : group.info.partitions) {
      json["groups"].back()["partitions"].push_back({{"partition", partition.partition},
                                                     {"committed", partition.committed},
                                                     {"lag", partition.lag},
                                                     {"lag_bytes", partition.lag_bytes},
                                                     {"lost", partition.lost}});
    }
  }
  return json;
}

Json counters_of(const ServiceSample& service) {
  Json json{{"name", service.info.name}, {"servers", Json::array()}};
  for (const auto& server : service.info.servers) {
    Json entry{{"process", server.process},
               {"alive", server.alive ? 1 : 0},
               {"draining", server.draining ? 1 : 0},
               {"outstanding", server.outstanding},
               {"max_outstanding", server.max_outstanding},
               {"clients", server.clients},
               {"workers", server.workers},
               {"methods", Json::array()}};
    for (const auto& method : server.methods) {
      Json ended = Json::object();
      for (std::size_t code = 0; code < method.ended.size(); ++code) {
        if (code == 0 || method.ended[code] != 0) ended[std::string(to_string(static_cast<rpc::Code>(code)))] = method.ended[code];
      }
      entry["methods"].push_back(
          {{"name", method.name}, {"ended", std::move(ended)}, {"p50_ns", method.p50.count()}, {"p99_ns", method.p99.count()}});
    }
    json["servers"].push_back(std::move(entry));
  }
  return json;
}

// Each number on a line of its own, under the path that leads to it: "weather/groups/alerts/lag 3".
void flatten(const Json& json, const std::string& path, Output& output) {
  const auto below = [&](std::string_view name) { return path.empty() ? std::string(name) : fmt::format("{}/{}", path, name); };
  if (json.is_array()) {
    for (const auto& element : json) {
      for (const char* name : {"name", "partition", "process"}) {
        if (const auto key = element.find(name); key != element.end()) {
          flatten(element, below(key->is_string() ? key->get<std::string>() : key->dump()), output);
          break;
        }
      }
    }
  } else if (json.is_object()) {
    for (const auto& [name, member] : json.items()) {
      if (name != "name" && name != "partition" && name != "process") flatten(member, below(name), output);
    }
  } else {
    output.print("{} {}\n", path, json.is_string() ? json.get<std::string>() : json.dump());
  }
}

ExitCode stat(const Command& command, const std::vector<std::string>& topics) {
  Sampler sampler(open_bus(command), topics);
  const BusSample sample = sampler.look();
  Json json{{"bus", sample.bus}, {"time", sample.time}, {"topics", Json::array()}, {"services", Json::array()}};
  ExitCode worst = ExitCode::ok;
  for (const auto& topic : sample.topics) {
    if (topic.error) {
      warn(fmt::format("topic {}: {}", topic.name, topic.error->message()));
      worst = exit_code_of(topic.error->code());
    }
    json["topics"].push_back(counters_of(topic));
  }
  for (const auto& service : sample.services) json["services"].push_back(counters_of(service));
  if (command.json) {
    emit("{}\n", dump(json));
    return worst;
  }
  Output output;
  flatten(json["topics"], "topics", output);
  flatten(json["services"], "services", output);
  output.flush();
  return worst;
}

constexpr const char* kStatDetails =
    R"(Each counter on a line: its path and its value. Those that only grow: records_written, bytes_written,
start_offset, end_offset, committed, and the ended calls of a server.

Examples:
  arus stat
  arus stat weather | grep lag
  arus stat --json | jq '.topics[] | {name, records_written}'

JSON: {"bus":DIR,"time" (ns since 1970),
  "topics":[{name,records_written,bytes_written,records,bytes_used,bytes_reserved,producers,readers,
    "partitions":[{partition,start_offset,end_offset,bytes_written,bytes_used,producers,oldest}],
    "groups":[{name,alive,evicted,holds_back,lag,lag_bytes,lost,
      "partitions":[{partition,committed,lag,lag_bytes,lost}]}]}
    or {name,"error":{code,message}}],
  "services":[{name,"servers":[{process,alive,draining,outstanding,max_outstanding,clients,workers,
    "methods":[{name,"ended":{CODE:calls},p50_ns,p99_ns}]}]}]}   with 1 and 0 for yes and no)";

// ---- arus hz ----------------------------------------------------------------------------------------------------------------

struct HzOptions {
  std::string topic;
  std::optional<std::string> key;
  std::optional<std::uint64_t> count;
  std::optional<std::chrono::nanoseconds> duration;
  std::chrono::nanoseconds interval = 1s;
};

// Mean and deviation in one pass (Welford's method), and the extremes.
struct Moments {
  std::uint64_t count = 0;
  double mean = 0;
  double squares = 0;
  double min = 0;
  double max = 0;

  void add(double value) {
    min = count == 0 ? value : std::min(min, value);
    max = count == 0 ? value : std::max(max, value);
    ++count;
    const double difference = value - mean;
    mean += difference / static_cast<double>(count);
    squares += difference * (value - mean);
  }
  [[nodiscard]] double deviation() const { return count < 2 ? 0 : std::sqrt(squares / static_cast<double>(count)); }
  [[nodiscard]] Json json() const {
    return count == 0 ? Json() : Json{{"min", min}, {"mean", mean}, {"max", max}, {"deviation", deviation()}};
  }
};

class Meter {
 public:
  // Records as they were stamped by their producers. Partitions are merged batch by batch, so a late one may come before its predecessor: then
  // the time between them counts as 0.
  void add(const Batch& batch, const std::optional<std::string>& key) {
    times_.clear();
    for (const Record& record : batch) {
      if (key && (record.key().data() == nullptr || text(record.key()) != *key)) continue;
      times_.push_back(record.timestamp());
      sizes_.add(static_cast<double>(record.value().size()));
    }
    for (const Gap& gap : batch.gaps()) {
      if (gap.kind == Gap::Kind::lost) lost_ += gap.to - gap.from;
    }
    std::sort(times_.begin(), times_.end());
    for (const Timestamp time : times_) {
      if (last_) periods_.add(static_cast<double>(std::max<Timestamp>(time - *last_, 0)) / 1e9);
      last_ = last_ ? std::max(*last_, time) : time;
    }
  }
  [[nodiscard]] std::uint64_t records() const noexcept { return sizes_.count; }

  [[nodiscard]] Json json(const std::string& topic, double seconds) const {
    const double rate = periods_.count > 0 && periods_.mean > 0 ? 1 / periods_.mean : 0;
    return {{"topic", topic},
            {"records", sizes_.count},
            {"seconds", seconds},
            {"rate", rate},
            {"bytes_per_second", rate * sizes_.mean},
            {"period", periods_.json()},
            {"size", sizes_.json()},
            {"lost", lost_}};
  }
  [[nodiscard]] std::string line() const {
    if (periods_.count == 0) return fmt::format("{} record{} so far", sizes_.count, plural(sizes_.count));
    const double rate = periods_.mean > 0 ? 1 / periods_.mean : 0;
    const auto duration = [](double seconds) {
      return human_duration(std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)));
    };
    return fmt::format("{}/s  period {} to {}, jitter {}  size {} to {} B, mean {:.0f} B  {}B/s{}", human_count(rate),
                       duration(periods_.min), duration(periods_.max), duration(periods_.deviation()), sizes_.min, sizes_.max,
                       sizes_.mean, human_count(rate * sizes_.mean), lost_ == 0 ? "" : fmt::format("  lost {}", lost_));
  }

 private:
  Moments periods_;  // seconds
  Moments sizes_;    // bytes
  std::optional<Timestamp> last_;
  std::vector<Timestamp> times_;
  std::uint64_t lost_ = 0;
};

ExitCode measure_rate(const Command& command, const HzOptions& options) {
  Bus bus = open_bus(command);
  open_topic(bus, options.topic);
  Consumer consumer = must(bus.consumer({.start = Start::latest, .wait = Wait::sleeping()}));
  must(consumer.subscribe({options.topic}));
  const Stop::Hook hook([&consumer] { consumer.wake(); });
  const auto began = Clock::now();
  auto next = began + options.interval;
  const auto end =
      options.duration ? began + std::chrono::duration_cast<Clock::duration>(*options.duration) : Clock::time_point::max();
  Meter meter;
  Output output;
  while (!Stop::requested() && Clock::now() < end && (!options.count || meter.records() < *options.count)) {
    const auto until = std::min({next, end, Clock::now() + 1s});
    meter.add(must(consumer.poll(std::max(until - Clock::now(), Clock::duration::zero()))), options.key);
    if (Clock::now() < next) continue;
    next = Clock::now() + options.interval;
    if (command.json) {
      if (output_is_closed()) break;
      continue;
    }
    output.print("{}\n", meter.line());
    output.flush();
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (command.json) {
    emit("{}\n", dump(meter.json(options.topic, seconds)));
  } else {
    emit("{} record{} in {:.1f} s: {}\n", meter.records(), plural(meter.records()), seconds, meter.line());
  }
  return ExitCode::ok;
}

constexpr const char* kHzDetails =
    R"(Observes from now on, and says once per interval how often records come, how evenly, and how large their
values are, since it began. Times are those of the producers; jitter is the standard deviation of
the time from one record to the next.

Examples:
  arus hz weather
  arus hz host --key load.1m --duration 10
  arus hz weather --count 1000 --json | jq .rate

JSON, at the end: {"topic","records","seconds","rate" (per second),"bytes_per_second" (of values),
  "period":{min,mean,max,deviation} (s, or null),"size":{min,mean,max,deviation} (bytes, or null),"lost"})";

}  // namespace

void add_stat_command(CLI::App& app, Command& command) {
  CLI::App* stats = add_subcommand(app, "stat", "Print every counter of the bus", kStatDetails);
  auto topics = std::make_shared<std::vector<std::string>>();
  stats->add_option("TOPIC", *topics, "Topics (default: all, and all services)");
  stats->callback([&command, topics] { command.run = [&command, topics] { return stat(command, *topics); }; });
}

void add_hz_command(CLI::App& app, Command& command) {
  CLI::App* hz = add_subcommand(app, "hz", "Measure how regularly records come", kHzDetails);
  auto options = std::make_shared<HzOptions>();
  hz->add_option("TOPIC", options->topic, "The topic")->required();
  hz->add_option("-k,--key", options->key, "Only records with this key")->type_name("KEY");
  hz->add_option("-c,--count", options->count, "Exit after so many records")->type_name("N");
  add_parsed(hz, "--duration", "Exit after so long", "DURATION",
             [options](const std::string& text) { options->duration = parse_duration(text, "--duration"); });
  add_parsed(hz, "--interval", "How often to print, at least 100ms [1s]", "DURATION", [options](const std::string& text) {
    options->interval = std::max<std::chrono::nanoseconds>(parse_duration(text, "--interval"), 100ms);
  });
  hz->callback([&command, options] { command.run = [&command, options] { return measure_rate(command, *options); }; });
}

}  // namespace arus::tool
