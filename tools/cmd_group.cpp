// arus group list | describe | reset | evict | delete
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "command.h"
#include "parse.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

struct Options {
  std::string name;
  std::vector<std::string> names;
  GroupReset reset;
  std::vector<std::string> targets;  // of reset: how often a target was given
  bool execute = false;
  bool force = false;
};

// ---- one group as JSON and as text ------------------------------------------------------------------------------------------

std::string_view name_of(Delivery delivery) { return delivery == Delivery::lossless ? "lossless" : "lossy"; }
std::string_view name_of(Assignor assignor) { return assignor == Assignor::range ? "range" : "sticky"; }
std::string id_text(std::uint64_t id) { return fmt::format("{:016x}", id); }

Json to_json(const GroupDescription& group) {
  Json json{{"name", group.name},
            {"generation", group.generation},
            {"delivery", name_of(group.delivery)},
            {"assignor", name_of(group.assignor)},
            {"evict_behind_records", group.evict_behind_records},
            {"evict_behind_bytes", group.evict_behind_bytes},
            {"stall_limit_ns", group.stall_limit.count()},
            {"grace_ns", group.grace.count()},
            {"offsets_kept_ns", group.offsets_kept.count()},
            {"empty_since", group.empty_since ? Json(*group.empty_since) : Json()},
            {"members", Json::array()},
            {"partitions", Json::array()}};
  for (const GroupMember& member : group.members)
    json["members"].push_back({{"id", id_text(member.id)},
                               {"instance", member.instance},
                               {"process", member.process},
                               {"away", member.away},
                               {"topics", member.topics},
                               {"partitions", member.partitions}});
  for (const GroupPartition& one : group.partitions)
    json["partitions"].push_back({{"topic", one.topic},
                                  {"partition", one.partition},
                                  {"committed", one.committed},
                                  {"end", one.end},
                                  {"lag", one.lag},
                                  {"lag_bytes", one.lag_bytes},
                                  {"lost", one.lost},
                                  {"member", one.member == 0 ? Json() : Json(id_text(one.member))},
                                  {"process", one.process.empty() ? Json() : Json(one.process)},
                                  {"status", to_string(one.status)},
                                  {"holds_back", one.holds_back}});
  return json;
}

std::string delivery_text(const GroupDescription& group) {
  if (group.delivery == Delivery::lossy) return "lossy: producers overwrite";
  std::string text = "lossless: producers wait for it";
  if (group.evict_behind_records != 0) text += fmt::format(", until it is {} records behind", group.evict_behind_records);
  if (group.evict_behind_bytes != 0) text += fmt::format(", until it is {} behind", human_bytes(group.evict_behind_bytes));
  if (group.stall_limit.count() != 0) text += fmt::format(", {} at most where it does not move", human_duration(group.stall_limit));
  return text + fmt::format("; {} without a live member", human_duration(group.grace));
}

std::string status_text(const GroupPartition& one) {
  switch (one.status) {
    case GroupStatus::unread: return "not read yet";
    case GroupStatus::holding: return one.holds_back ? "HOLDS PRODUCERS BACK" : "lossless";
    case GroupStatus::lossy: return "lossy";
    case GroupStatus::evicted_abandoned: return "evicted: no live member for too long";
    case GroupStatus::evicted_behind: return "evicted: too far behind";
    case GroupStatus::evicted_stalled: return "evicted: did not move for too long";
    case GroupStatus::evicted_by_hand: return "evicted by hand";
    case GroupStatus::evicted_renewed: return "made anew after a boot";
  }
  return "unknown";
}

std::string to_text(const GroupDescription& group) {
  using enum Table::Align;
  std::string text = fmt::format("{}\n", group.name);
  const auto line = [&](std::string_view name, const std::string& value) { text += fmt::format("  {:<12} {}\n", name, value); };
  line("delivery", delivery_text(group));
  line("assignor", std::string(name_of(group.assignor)));
  const std::string kept = human_duration(group.offsets_kept);
  line("offsets", group.empty_since
                      ? fmt::format("kept for {} from {}, when the group had no members", kept, iso_time(*group.empty_since))
                      : fmt::format("kept for {} without members", kept));
  line("generation", std::to_string(group.generation));
  if (!group.members.empty()) {
    Table members({{"member", left}, {"instance", left}, {"process", left}, {"partitions"}, {"topics", left}});
    for (const GroupMember& member : group.members)
      members.add({id_text(member.id), member.instance.empty() ? "-" : member.instance,
                   member.away ? "away: " + member.process : member.process, std::to_string(member.partitions),
                   fmt::format("{}", fmt::join(member.topics, ","))});
    text += "\n" + members.text("  ");
  }
  if (!group.partitions.empty()) {
    Table parts({{"topic", left},
                 {"partition"},
                 {"committed"},
                 {"end"},
                 {"lag"},
                 {"behind"},
                 {"lost"},
                 {"state", left},
                 {"read by", left}});
    for (const GroupPartition& one : group.partitions)
      parts.add({one.topic, std::to_string(one.partition), std::to_string(one.committed), std::to_string(one.end),
                 std::to_string(one.lag), human_bytes(one.lag_bytes), std::to_string(one.lost), status_text(one),
                 one.process.empty() ? "nobody" : one.process});
    text += "\n" + parts.text("  ");
  }
  return text;
}

// ---- the commands -----------------------------------------------------------------------------------------------------------

Group open_group(Bus& bus, const std::string& name) { return must(bus.group(name)); }

template <class Show>
ExitCode for_each(Bus& bus, const std::vector<std::string>& names, Json& json, Show show) {
  ExitCode worst = ExitCode::ok;
  json = {{"bus", bus.directory()}, {"groups", Json::array()}};
  for (const auto& name : names) {
    try {
      const GroupDescription group = must(open_group(bus, name).describe());
      json["groups"].push_back(to_json(group));
      show(group);
    } catch (const Failure& failure) {
      worst = failure.exit_code();
      warn(fmt::format("group {}: {}", name, failure.message()));
      json["groups"].push_back({{"name", name}, {"error", {{"code", failure.code()}, {"message", failure.message()}}}});
    }
  }
  return worst;
}

ExitCode list(const Command& command) {
  using enum Table::Align;
  Bus bus = open_bus(command);
  Table table({{"GROUP", left}, {"DELIVERY", left}, {"MEMBERS"}, {"PARTITIONS"}, {"LAG"}, {"LOST"}, {"STATE", left}});
  Json json;
  const auto names = must(bus.groups());
  const ExitCode result = for_each(bus, names, json, [&](const GroupDescription& group) {
    std::uint64_t lag = 0;
    std::uint64_t lost = 0;
    bool holds = false;
    bool read = false;
    for (const GroupPartition& one : group.partitions) {
      lag += one.lag;
      lost += one.lost;
      holds |= one.holds_back;
      read |= !one.process.empty();
    }
    table.add({group.name, std::string(name_of(group.delivery)), std::to_string(group.members.size()),
               std::to_string(group.partitions.size()), std::to_string(lag), std::to_string(lost),
               holds  ? "holds producers back"
               : read ? "live"
                      : "nobody reads"});
  });
  if (command.json) {
    emit("{}\n", dump(json));
  } else if (!table.empty()) {
    emit("{}", table.text());
  } else if (names.empty()) {
    warn(fmt::format("no groups on {}; a group is made by its first consumer: arus consume TOPIC -g GROUP", bus.directory()));
  }
  return result;
}

ExitCode describe(const Command& command, const Options& options) {
  Bus bus = open_bus(command);
  Json json;
  std::vector<std::string> texts;
  const ExitCode result = for_each(bus, options.names.empty() ? must(bus.groups()) : options.names, json,
                                   [&](const GroupDescription& group) { texts.push_back(to_text(group)); });
  if (command.json) {
    emit("{}\n", dump(json));
  } else {
    emit("{}", fmt::join(texts, "\n"));
  }
  return result;
}

ExitCode reset(const Command& command, const Options& options) {
  if (options.targets.empty())
    throw usage_error("say where to: --to-earliest, --to-latest, --to-offset N, --to-time TIME or --by N");
  if (options.targets.size() > 1)
    throw usage_error(fmt::format("{} exclude each other; choose one", fmt::join(options.targets, " and ")));
  Bus bus = open_bus(command);
  GroupReset what = options.reset;
  what.dry_run = !options.execute;
  const auto moves = must(open_group(bus, options.name).reset(what));
  if (command.json) {
    Json json{{"bus", bus.directory()}, {"group", options.name}, {"executed", options.execute}, {"moves", Json::array()}};
    for (const GroupMove& move : moves)
      json["moves"].push_back({{"topic", move.topic}, {"partition", move.partition}, {"from", move.from}, {"to", move.to}});
    emit("{}\n", dump(json));
    return ExitCode::ok;
  }
  using enum Table::Align;
  Table table({{"TOPIC", left}, {"PARTITION"}, {"FROM"}, {"TO"}, {"CHANGE"}});
  for (const GroupMove& move : moves)
    table.add({move.topic, std::to_string(move.partition), std::to_string(move.from), std::to_string(move.to),
               fmt::format("{:+}", static_cast<std::int64_t>(move.to - move.from))});
  emit("{}", table.text());
  if (!options.execute) warn("nothing was changed; --execute does it");
  return ExitCode::ok;
}

ExitCode evict(const Command& command, const Options& options) {
  Bus bus = open_bus(command);
  const std::uint32_t count = must(open_group(bus, options.name).evict(options.force));
  if (command.json)
    emit("{}\n", dump({{"bus", bus.directory()}, {"group", options.name}, {"evicted", count}}));
  else
    emit("group {} holds no producer back any more: evicted from {} partition{}\n", options.name, count, plural(count));
  return ExitCode::ok;
}

ExitCode remove(const Command& command, const Options& options) {
  Bus bus = open_bus(command);
  Json deleted = Json::array();
  for (const auto& name : options.names) {
    must(open_group(bus, name).remove());
    deleted.push_back(name);
    if (!command.json) emit("deleted group {}\n", name);
  }
  if (command.json) emit("{}\n", dump({{"bus", bus.directory()}, {"deleted", deleted}}));
  return ExitCode::ok;
}

constexpr const char* kDescribeDetails =
    R"(Per partition: the committed offset, the end, what lies between them in records and bytes, what was lost
so far, who reads, and whether producers wait for it now.

Examples:
  arus group describe alerts
  arus group describe --json | jq '.groups[].partitions[] | select(.holds_back) | {topic, partition, process}'

JSON: {"bus":DIR,"groups":[GROUP...]}, each GROUP with its settings under their names, and
  members:    [{id,instance,process,away,topics:[NAME...],partitions}]
  partitions: [{topic,partition,committed,end,lag,lag_bytes,lost,member,process,status,holds_back}]
              status: unread, holding, lossy, evicted_abandoned, evicted_behind, evicted_stalled, evicted_by_hand, evicted_renewed
  or {"name","error":{"code","message"}} for one that cannot be read)";

constexpr const char* kResetDetails = R"(Shows what would change, unless --execute is given. The group must have no live members.

Examples:
  arus group reset alerts --to-earliest
  arus group reset alerts --to-time -10m --topic weather --execute
  arus group reset alerts --by -100 --topic weather --partition 2 --execute

JSON: {"bus":DIR,"group":NAME,"executed":BOOL,"moves":[{topic,partition,from,to}]})";

}  // namespace

void add_group_command(CLI::App& app, Command& command) {
  CLI::App* group = add_subcommand(app, "group", "List, describe, reset, evict and delete consumer groups", "");
  group->require_subcommand(1);
  auto options = std::make_shared<Options>();
  const auto runs = [&command, options](CLI::App* subcommand, auto run) {
    subcommand->callback([&command, options, run] { command.run = [&command, options, run] { return run(command, *options); }; });
  };

  CLI::App* listing = add_subcommand(*group, "list", "List the groups of the bus",
                                     R"(JSON: {"bus":DIR,"groups":[GROUP...]}, GROUP as in `arus group describe`)");
  runs(listing, [](const Command& c, const Options&) { return list(c); });

  CLI::App* describing = add_subcommand(*group, "describe", "Show members, offsets, lag and loss of groups", kDescribeDetails);
  describing->add_option("NAME", options->names, "Groups (default: all)");
  runs(describing, describe);

  CLI::App* resetting = add_subcommand(*group, "reset", "Move the committed offsets of a group", kResetDetails);
  resetting->add_option("NAME", options->name, "The group")->required();
  resetting->add_option("--topic", options->reset.topics, "Only in these topics [all that it has offsets in]")->type_name("TOPIC");
  resetting->add_option("--partition", options->reset.partition, "Only in this partition")->type_name("N");
  const auto target = [options](std::string_view name, Start to) {
    options->targets.emplace_back(name);
    options->reset.to = to;
  };
  resetting->add_flag_callback(
      "--to-earliest", [target] { target("--to-earliest", Start::earliest); }, "The oldest record that is left");
  resetting->add_flag_callback(
      "--to-latest", [target] { target("--to-latest", Start::latest); }, "The end");
  resetting
      ->add_option_function<std::uint64_t>(
          "--to-offset", [target](std::uint64_t offset) { target("--to-offset", Start::offset(offset)); },
          "This offset, or the nearest that there is")
      ->type_name("N");
  add_parsed(resetting, "--to-time", "The first record from then on: 2026-01-02T03:04:05Z, or -10m from now", "TIME",
             [target](const std::string& text) { target("--to-time", Start::time(parse_time(text, "--to-time"))); });
  resetting
      ->add_option_function<std::int64_t>(
          "--by",
          [options](std::int64_t count) {
            options->targets.emplace_back("--by");
            options->reset.shift = count;
          },
          "So many records forward, or back if negative")
      ->type_name("N");
  resetting->add_flag("--execute", options->execute, "Do it");
  runs(resetting, reset);

  CLI::App* evicting = add_subcommand(*group, "evict", "Let producers go on that wait for a group",
                                      R"(Its reader is told, and goes on with the exact gap of what it lost.

Example:
  arus group evict alerts

JSON: {"bus":DIR,"group":NAME,"evicted":PARTITIONS})");
  evicting->add_option("NAME", options->name, "The group")->required();
  evicting->add_flag("--force", options->force, "Even if a live member reads in place, under whose eyes records may then change");
  runs(evicting, evict);

  CLI::App* deleting = add_subcommand(*group, "delete", "Delete groups with their committed offsets",
                                      R"(They must have no live members.

Example:
  arus group delete alerts

JSON: {"bus":DIR,"deleted":[NAME...]})");
  deleting->add_option("NAME", options->names, "Groups")->required();
  runs(deleting, remove);
}

}  // namespace arus::tool
