// arus topic create | list | describe | delete
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "command.h"
#include "terminal.h"
#include "text.h"
#include "topic_options.h"

namespace arus::tool {
namespace {

// ---- one topic as JSON and as text ------------------------------------------------------------------------------------------

std::uint64_t records_in(const PartitionInfo& partition) { return partition.end_offset - partition.start_offset; }

template <class Value>
std::uint64_t sum(const std::vector<PartitionInfo>& partitions, Value value) {
  return std::accumulate(partitions.begin(), partitions.end(), std::uint64_t{0},
                         [&](std::uint64_t total, const PartitionInfo& partition) { return total + value(partition); });
}

bool is_many(const TopicConfig& config) { return config.producers == Producers::many; }

Json to_json(const TopicInfo& info) {
  const TopicConfig& config = info.config;
  Json json{{"name", info.name},
            {"partitions", config.partitions},
            {"partition_bytes", config.partition_bytes},
            {"producers", is_many(config) ? "many" : "single"},
            {"back_pressure", config.back_pressure},
            {"schema", config.schema},
            {"record_size", config.record_size},
            {"max_producers", config.max_producers},
            {"max_groups", config.max_groups},
            {"mode", fmt::format("{:04o}", config.mode)},
            {"group", config.group},
            {"max_record_bytes", info.max_record_bytes},
            {"bytes_reserved", info.bytes_reserved},
            {"bytes_used", sum(info.partitions, [](const auto& p) { return p.bytes_used; })},
            {"records", sum(info.partitions, records_in)},
            {"readers", info.readers},
            {"state", Json::array()},
            {"groups", Json::array()}};
  for (const auto& partition : info.partitions) {
    json["state"].push_back({{"partition", partition.partition},
                             {"start_offset", partition.start_offset},
                             {"end_offset", partition.end_offset},
                             {"bytes_used", partition.bytes_used},
                             {"bytes_written", partition.bytes_written},
                             {"producers", partition.producers},
                             {"oldest", partition.oldest == 0 ? Json() : Json(partition.oldest)}});
  }
  for (const auto& group : info.groups) {
    json["groups"].push_back({{"name", group.name},
                              {"alive", group.alive},
                              {"evicted", group.evicted},
                              {"committed", group.committed},
                              {"lag", group.lag}});
  }
  return json;
}

std::string partition_table(const TopicInfo& info) {
  using enum Table::Align;
  Table table({{"partition"}, {"start"}, {"end"}, {"records"}, {"used"}, {"full"}, {"producers"}, {"oldest", left}});
  const Timestamp now = wall_clock_now();
  for (const auto& p : info.partitions) {
    const auto percent = 100.0 * static_cast<double>(p.bytes_used) / static_cast<double>(info.config.partition_bytes);
    table.add({std::to_string(p.partition), std::to_string(p.start_offset), std::to_string(p.end_offset),
               std::to_string(records_in(p)), human_bytes(p.bytes_used), fmt::format("{:.0f} %", percent),
               std::to_string(p.producers),
               p.oldest == 0     ? "-"
               : p.oldest <= now ? fmt::format("{} ago", human_duration(std::chrono::nanoseconds(now - p.oldest)))
                                 : iso_time(p.oldest)});
  }
  return table.text("  ");
}

std::string group_table(const TopicInfo& info) {
  using enum Table::Align;
  Table table({{"group", left}, {"partition"}, {"committed"}, {"lag"}, {"state", left}});
  for (const auto& group : info.groups) {
    for (std::size_t p = 0; p < group.committed.size(); ++p) {
      table.add({group.name, std::to_string(p), std::to_string(group.committed[p]),
                 p < group.lag.size() ? std::to_string(group.lag[p]) : "-",
                 group.evicted ? "evicted"
                 : group.alive ? "live"
                               : "no live reader"});
    }
  }
  return table.text("  ");
}

std::string to_text(const TopicInfo& info) {
  const TopicConfig& config = info.config;
  std::string text = fmt::format("{}\n", info.name);
  const auto line = [&](std::string_view name, const std::string& value) { text += fmt::format("  {:<12} {}\n", name, value); };
  line("partitions", fmt::format("{} of {}, {} reserved", config.partitions, human_bytes(config.partition_bytes),
                                 human_bytes(info.bytes_reserved)));
  line("records", fmt::format("{}; at most {} each{}", sum(info.partitions, records_in), human_bytes(info.max_record_bytes),
                              config.record_size == 0 ? "" : fmt::format(", values of exactly {} bytes", config.record_size)));
  line("schema", config.schema.empty() ? "any" : config.schema);
  line("producers", is_many(config) ? fmt::format("many, at most {} per partition", config.max_producers) : "one at a time");
  line("delivery", config.back_pressure ? fmt::format("lossless groups hold producers back; at most {} groups", config.max_groups)
                                        : "producers never wait; no lossless groups");
  line("files", fmt::format("mode {:04o}{}", config.mode, config.group.empty() ? "" : ", group " + config.group));
  line("readers", fmt::format("{} live", info.readers));
  text += "\n" + partition_table(info);
  if (!info.groups.empty()) text += "\n" + group_table(info);
  return text;
}

// ---- the commands -----------------------------------------------------------------------------------------------------------

struct Options {
  std::string name;                // of create
  std::vector<std::string> names;  // of the others
  TopicConfig config;
  bool if_not_exists = false;
};

ExitCode create(const Command& command, const Options& options) {
  Bus bus = open_or_create_bus(command);
  const std::string& name = options.name;
  bool created = true;
  auto topic = bus.create(name, options.config);
  if (!topic && topic.error().code() == Errc::already_exists && options.if_not_exists) {
    created = false;
    topic = bus.open_or_create(name, options.config);
  }
  const TopicInfo info = must(must(std::move(topic)).describe());
  if (command.json) {
    Json json{{"bus", bus.directory()}, {"created", created}, {"topic", to_json(info)}};
    emit("{}\n", dump(json));
  } else {
    emit("{} topic {} on {}: {} partition{} of {}, largest record {}, {} reserved\n", created ? "created" : "already there:", name,
         bus.directory(), info.config.partitions, plural(info.config.partitions), human_bytes(info.config.partition_bytes),
         human_bytes(info.max_record_bytes), human_bytes(info.bytes_reserved));
  }
  return ExitCode::ok;
}

// Describes each topic; what cannot be read is reported and does not hide the others.
template <class Show>
ExitCode for_each(Bus& bus, const std::vector<std::string>& names, Json& json, Show show) {
  ExitCode worst = ExitCode::ok;
  json = {{"bus", bus.directory()}, {"topics", Json::array()}};
  for (const auto& name : names) {
    try {
      const TopicInfo info = must(open_topic(bus, name).describe());
      json["topics"].push_back(to_json(info));
      show(info);
    } catch (const Failure& failure) {
      worst = failure.exit_code();
      warn(fmt::format("topic {}: {}", name, failure.message()));
      json["topics"].push_back({{"name", name}, {"error", {{"code", failure.code()}, {"message", failure.message()}}}});
    }
  }
  return worst;
}

ExitCode list(const Command& command) {
  Bus bus = open_bus(command);
  using enum Table::Align;
  Table table({{"TOPIC", left}, {"PARTITIONS"}, {"RECORDS"}, {"USED"}, {"RESERVED"}, {"READERS"}, {"GROUPS"}});
  Json json;
  const auto names = must(bus.topics());
  const ExitCode result = for_each(bus, names, json, [&](const TopicInfo& info) {
    table.add({info.name, std::to_string(info.config.partitions), std::to_string(sum(info.partitions, records_in)),
               human_bytes(sum(info.partitions, [](const auto& p) { return p.bytes_used; })), human_bytes(info.bytes_reserved),
               std::to_string(info.readers), std::to_string(info.groups.size())});
  });
  if (command.json) {
    emit("{}\n", dump(json));
  } else if (!table.empty()) {
    emit("{}", table.text());
  } else if (names.empty()) {
    warn(fmt::format("no topics on {}; create one: arus topic create NAME", bus.directory()));
  }
  return result;
}

ExitCode describe(const Command& command, const Options& options) {
  Bus bus = open_bus(command);
  Json json;
  std::vector<std::string> texts;
  const ExitCode result = for_each(bus, options.names.empty() ? must(bus.topics()) : options.names, json,
                                   [&](const TopicInfo& info) { texts.push_back(to_text(info)); });
  if (command.json) {
    emit("{}\n", dump(json));
  } else {
    emit("{}", fmt::join(texts, "\n"));
  }
  return result;
}

ExitCode remove(const Command& command, const Options& options) {
  Bus bus = open_bus(command);
  Json deleted = Json::array();
  for (const auto& name : options.names) {
    if (const auto removed = bus.remove(name); !removed) throw_unknown_topic(bus, name, removed.error());
    deleted.push_back(name);
    if (!command.json) emit("deleted topic {}\n", name);
  }
  if (command.json) emit("{}\n", dump({{"bus", bus.directory()}, {"deleted", deleted}}));
  return ExitCode::ok;
}

constexpr const char* kCreateDetails =
    R"(Its configuration is fixed from then on. Pages are reserved at once: too little space is an
error now and never later.

Examples:
  arus topic create weather -p 4 --partition-bytes 1M
  arus topic create frames --record-size 64 --schema Frame --single-producer
  arus topic create shared --mode 0660 --group plant --if-not-exists

JSON: {"bus":DIR,"created":BOOL,"topic":TOPIC}, TOPIC as in `arus topic describe`.)";

constexpr const char* kDescribeDetails = R"(Examples:
  arus topic describe weather
  arus topic describe weather --json | jq '.topics[0].groups[] | {name, lag}'

JSON: {"bus":DIR,"topics":[TOPIC...]}, each TOPIC with its settings under their names, and
  max_record_bytes, bytes_reserved, bytes_used, records, readers,
  state:  [{partition,start_offset,end_offset,bytes_used,bytes_written,producers,oldest (ns since 1970)}]
  groups: [{name,alive,evicted,committed:[offset per partition],lag:[...]}]
  or {"name","error":{"code","message"}} for one that cannot be read)";

}  // namespace

void add_topic_command(CLI::App& app, Command& command) {
  CLI::App* topic = add_subcommand(app, "topic", "Create, list, describe and delete topics", "");
  topic->require_subcommand(1);
  auto options = std::make_shared<Options>();
  const auto runs = [&command, options](CLI::App* subcommand, auto run) {
    subcommand->callback([&command, options, run] { command.run = [&command, options, run] { return run(command, *options); }; });
  };

  CLI::App* creating = add_subcommand(*topic, "create", "Create a topic, and the bus if there is none", kCreateDetails);
  creating->add_option("NAME", options->name, "1 to 249 of a-z A-Z 0-9 . _ -")->required();
  creating->add_flag("--if-not-exists", options->if_not_exists, "Succeed if it is there already with the same configuration");
  add_topic_options(creating, options->config);
  runs(creating, create);

  CLI::App* listing = add_subcommand(*topic, "list", "List the topics of the bus",
                                     R"(Examples:
  arus topic list
  arus topic list --json | jq -r '.topics[].name'

JSON: {"bus":DIR,"topics":[TOPIC...]}, TOPIC as in `arus topic describe`)");
  runs(listing, [](const Command& c, const Options&) { return list(c); });

  CLI::App* describing = add_subcommand(*topic, "describe", "Show configuration, content and groups of topics", kDescribeDetails);
  describing->add_option("NAME", options->names, "Topics (default: all)");
  runs(describing, describe);

  CLI::App* deleting = add_subcommand(*topic, "delete", "Delete topics with all their records",
                                      R"(Whoever is attached to one is told so on the next call; nobody crashes.

Example:
  arus topic delete weather

JSON: {"bus":DIR,"deleted":[NAME...]})");
  deleting->add_option("NAME", options->names, "Topics")->required();
  runs(deleting, remove);
}

}  // namespace arus::tool
