// arus ingest host: this machine's sensors become records, keyed by sensor.
#include "cmd_ingest.h"

#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "connect/host_sensors.h"
#include "parse.h"
#include "sending.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"
#include "topic_options.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string topic;
  bool create = false;
  TopicConfig config;
  double rate = 1;
  std::optional<std::chrono::nanoseconds> duration;
  std::optional<std::uint64_t> count;
  std::vector<std::string> filters;
  std::vector<std::string> exclusions;
  connect::HostOptions host;
  bool block = false;
  bool list = false;
  bool quiet = false;
};

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
}

bool is_wanted(const Options& options, const std::string& sensor) {
  return (options.filters.empty() || matches_any(options.filters, sensor)) && !matches_any(options.exclusions, sensor);
}

ExitCode list_sensors(const Command& command, const Options& options) {
  connect::HostSensors host(options.host);
  host.sample();
  using enum Table::Align;
  Table table({{"SENSOR", left}, {"UNIT", left}, {"STATE", left}, {"SOURCE", left}, {"DESCRIPTION", left}});
  Json json{{"sensors", Json::array()}};
  for (const auto& sensor : host.sensors()) {
    if (!is_wanted(options, sensor.name)) continue;
    table.add({sensor.name, std::string(sensor.unit), std::string(to_string(sensor.state)), sensor.source, sensor.description});
    json["sensors"].push_back({{"name", sensor.name},
                               {"unit", sensor.unit},
                               {"state", to_string(sensor.state)},
                               {"source", sensor.source},
                               {"description", sensor.description}});
  }
  emit("{}", command.json ? dump(json) + "\n" : table.text());
  return ExitCode::ok;
}

// The records of one sample of all sensors. Twelve digits keep every byte of a disk and do not show the noise of binary fractions.
class Round {
 public:
  void add(const connect::Reading& reading) {
    const std::size_t begin = text_.size();
    if (reading.unit.empty()) {
      fmt::format_to(fmt::appender(text_), R"({{"v":{:.12g}}})", reading.value);
    } else {
      fmt::format_to(fmt::appender(text_), R"({{"v":{:.12g},"u":"{}"}})", reading.value, reading.unit);
    }
    parts_.push_back({reading.sensor, begin, text_.size()});
  }
  // Valid until clear().
  std::span<const Message> messages(Timestamp time) {
    messages_.clear();
    for (const auto& part : parts_) {
      Message message{.value = bytes(std::string_view(text_.data() + part.begin, part.end - part.begin))};
      message.envelope.key = bytes(part.sensor);
      message.envelope.timestamp = time;
      messages_.push_back(message);
    }
    return messages_;
  }
  void clear() {
    text_.clear();
    parts_.clear();
  }

 private:
  struct Part {
    std::string_view sensor;
    std::size_t begin;
    std::size_t end;
  };
  fmt::memory_buffer text_;
  std::vector<Part> parts_;
  std::vector<Message> messages_;
};

class Ingestion {
 public:
  Ingestion(const Command& command, const Options& options)
      : command_(command),
        options_(options),
        bus_(options.create ? open_or_create_bus(command) : open_bus(command)),
        sender_(must(topic().producer()), kForever),
        host_(options.host) {}

  ExitCode run() {
    try {
      sample_until_done();
    } catch (const Failure&) {
      report();  // what was accepted before
      throw;
    }
    report();
    return ExitCode::ok;
  }

 private:
  void sample_until_done() {
    const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / options_.rate));
    auto next = Clock::now();
    while (!finished() && !Stop::sleep_until(next)) {
      if (options_.duration && Clock::now() - began_ >= *options_.duration) break;
      sample();
      ++rounds_;
      next += period;
      if (const auto behind = Clock::now() - next; behind > Clock::duration::zero()) {
        const auto missed = behind / period;  // a sample that comes late is not made up for
        late_ += static_cast<std::uint64_t>(missed);
        next += period * missed;
      }
      tell();
    }
  }

  Topic topic() {
    return options_.create ? must(bus_.open_or_create(options_.topic, options_.config)) : open_topic(bus_, options_.topic);
  }

  bool finished() const { return options_.count && rounds_ >= *options_.count; }

  void sample() {
    const Timestamp time = wall_clock_now();
    round_.clear();
    for (const auto& reading : host_.sample()) {
      name_.assign(reading.sensor);
      if (is_wanted(options_, name_)) round_.add(reading);
    }
    const auto messages = round_.messages(time);
    if (options_.block) {
      const Sent sent = sender_.send(messages);
      records_ += sent.count;
      dropped_ += messages.size() - sent.count;
      if (sent.error) throw Failure(*sent.error);
    } else {
      send_or_drop(messages);
    }
    if (!options_.quiet) tell_changes();
  }

  // What finds its partition full is dropped; the next one may go to another partition.
  void send_or_drop(std::span<const Message> messages) {
    while (!messages.empty()) {
      const auto sent = sender_.producer().try_send_many(messages);
      if (!sent && sent.error().code() != Errc::full) throw Failure(sent.error());
      const std::size_t count = sent.value_or(0);
      records_ += count;
      messages = messages.subspan(count);
      if (messages.empty()) break;
      ++dropped_;
      messages = messages.subspan(1);
    }
  }

  void tell_changes() const {
    for (const auto& change : host_.changes()) {
      if (change.kind == connect::SensorChange::Kind::appeared && rounds_ == 0) continue;
      warn(fmt::format("sensor {} {}{}", change.sensor, to_string(change.kind),
                       change.error == 0 ? "" : fmt::format(": {}", std::strerror(change.error))));
    }
  }

  void tell() {
    const auto now = Clock::now();
    if (!options_.quiet && dropped_ > dropped_told_ && now >= tell_drops_) {
      warn(
          fmt::format("{} readings dropped so far: the ring is full, a lossless group is behind (--block waits for it)", dropped_));
      dropped_told_ = dropped_;
      tell_drops_ = now + std::chrono::seconds(5);
    }
    if (progress_.due()) {
      const double gone = seconds();
      const std::string of =
          options_.duration ? fmt::format(" of {:.0f}", std::chrono::duration<double>(*options_.duration).count()) : "";
      progress_.show(fmt::format("{:.0f}{} s: {} records, {}/s, {} dropped", gone, of, records_,
                                 human_count(static_cast<double>(records_) / gone), dropped_));
    }
  }

  double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

  void report() const {
    const auto totals = host_.totals();
    if (command_.json) {
      emit("{}\n", dump({{"topic", options_.topic},
                         {"rounds", rounds_},
                         {"late_rounds", late_},
                         {"records", records_},
                         {"dropped", dropped_},
                         {"sensor_failures", totals.failures},
                         {"malformed_lines", totals.malformed_lines},
                         {"seconds", seconds()}}));
    } else {
      emit("{} records of {} sensor{} in {} round{} and {:.1f} s; {} dropped, {} failed readings, {} rounds left out\n", records_,
           round_size(), plural(round_size()), rounds_, plural(rounds_), seconds(), dropped_,
           totals.failures + totals.malformed_lines, late_);
    }
  }
  std::size_t round_size() const {
    const auto sensors = host_.sensors();
    return static_cast<std::size_t>(
        std::count_if(sensors.begin(), sensors.end(), [&](const auto& sensor) { return is_wanted(options_, sensor.name); }));
  }

  const Command& command_;
  const Options& options_;
  Bus bus_;
  Sender sender_;
  connect::HostSensors host_;
  Round round_;
  std::string name_;
  Progress progress_{!options_.quiet};
  Clock::time_point began_ = Clock::now();
  Clock::time_point tell_drops_ = began_;
  std::uint64_t rounds_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t dropped_told_ = 0;
};

constexpr const char* kDetails =
    R"(CPU, memory, load, disks and network from /proc; every hwmon, thermal and IIO channel of /sys. The
key of a record is the sensor's name, its timestamp the time of the sample, and its value
  {"v":23.5,"u":"Cel"}
with the unit spelled as in SenML and left out where there is none. When the ring is full the newest
readings are dropped and counted; with --block it waits instead. Ends cleanly on SIGTERM.

Examples:
  arus ingest host --list
  arus ingest host --topic host --create -p 4 --rate 10
  arus ingest host --topic temps --filter 'hwmon.*' --filter 'thermal.*' --duration 1h
  arus consume host --stats

JSON, at the end: {"topic","rounds","late_rounds","records","dropped","sensor_failures",
  "malformed_lines","seconds"}; --list: {"sensors":[{"name","unit","state","source","description"}]})";

}  // namespace

void add_ingest_command(CLI::App& app, Command& command) {
  CLI::App* ingest = add_subcommand(app, "ingest", "Feed a topic from a source", "");
  ingest->require_subcommand(1);
  CLI::App* host = add_subcommand(*ingest, "host", "Sample this machine's sensors into a topic", kDetails);
  auto options = std::make_shared<Options>();
  auto* list = host->add_flag("-l,--list", options->list, "Show the sensors and exit");
  auto* topic = host->add_option("-t,--topic", options->topic, "Topic to send to")->type_name("TOPIC");
  topic->excludes(list);
  add_parsed(host, "--rate", "Samples of all sensors per second [1]", "HZ",
             [options](const std::string& text) { options->rate = parse_rate(text, "--rate"); });
  add_parsed(host, "--duration", "Stop after so long", "DURATION",
             [options](const std::string& text) { options->duration = parse_duration(text, "--duration"); });
  host->add_option("-c,--count", options->count, "Stop after so many samples of all sensors")->type_name("N");
  host->add_option("--filter", options->filters, "Only sensors whose name matches; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  host->add_option("--exclude", options->exclusions, "No sensor whose name matches; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  host->add_flag("--block", options->block, "Wait when the ring is full, instead of dropping readings");
  host->add_option("--proc-root", options->host.proc_root, "Where /proc is")->type_name("DIR")->capture_default_str();
  host->add_option("--sysfs-root", options->host.sys_root, "Where /sys is")->type_name("DIR")->capture_default_str();
  host->add_flag("-q,--quiet", options->quiet, "Report no changes, drops and progress");
  auto* create = host->add_flag("--create", options->create, "Create the bus and the topic if they are missing");
  add_topic_options(host, options->config, create);
  host->callback([&command, options] {
    if (!options->list && options->topic.empty()) throw CLI::RequiredError("--topic");
    command.run = [&command, options] {
      return options->list ? list_sensors(command, *options) : Ingestion(command, *options).run();
    };
  });
  add_ingest_text_commands(*ingest, command);
  add_ingest_tty_command(*ingest, command);
  add_ingest_udp_command(*ingest, command);
  add_ingest_iio_command(*ingest, command);
  add_ingest_mqtt_command(*ingest, command);
}

}  // namespace arus::tool
