// arus group list | describe | reset | evict | delete
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <set>
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

Json to_json(const ShareInfo& group) {
  Json json{{"name", group.name},
            {"max_deliveries", group.max_deliveries},
            {"dead_letter_topic", group.dead_letter_topic.empty() ? Json() : Json(group.dead_letter_topic)},
            {"grace_ns", group.grace.count()},
            {"members", Json::array()},
            {"partitions", Json::array()}};
  for (const ShareMember& member : group.members)
    json["members"].push_back({{"topic", member.topic}, {"process", member.process}, {"acquired", member.acquired}});
  for (const SharePartition& one : group.partitions)
    json["partitions"].push_back({{"topic", one.topic},
                                  {"partition", one.partition},
                                  {"settled_before", one.settled_before},
                                  {"end", one.end},
                                  {"available", one.available},
                                  {"acquired", one.acquired},
                                  {"accepted", one.accepted},
                                  {"rejected", one.rejected},
                                  {"redelivered", one.redelivered},
                                  {"dead_lettered", one.dead_lettered},
                                  {"discarded", one.discarded},
                                  {"lost", one.lost}});
  return json;
}

std::string to_text(const ShareInfo& group) {
  using enum Table::Align;
  std::string text = fmt::format("{}\n", group.name);
  const auto line = [&](std::string_view name, const std::string& value) { text += fmt::format("  {:<12} {}\n", name, value); };
  line("delivery", fmt::format("share: each record to one member, until one accepts it; producers wait, {} without a live member",
                               human_duration(group.grace)));
  line("deliveries", fmt::format("{} at most, then {}", group.max_deliveries,
                                 group.dead_letter_topic.empty() ? "dropped" : "copied to " + group.dead_letter_topic));
  if (!group.members.empty()) {
    Table members({{"process", left}, {"topic", left}, {"holds"}});
    for (const ShareMember& member : group.members) members.add({member.process, member.topic, std::to_string(member.acquired)});
    text += "\n" + members.text("  ");
  }
  Table parts({{"topic", left},
               {"partition"},
               {"settled <"},
               {"end"},
               {"available"},
               {"held"},
               {"accepted"},
               {"rejected"},
               {"again"},
               {"dead"},
               {"dropped"},
               {"lost"}});
  for (const SharePartition& one : group.partitions)
    parts.add({one.topic, std::to_string(one.partition), std::to_string(one.settled_before), std::to_string(one.end),
               std::to_string(one.available), std::to_string(one.acquired), std::to_string(one.accepted),
               std::to_string(one.rejected), std::to_string(one.redelivered), std::to_string(one.dead_lettered),
               std::to_string(one.discarded), std::to_string(one.lost)});
  if (!parts.empty()) text += "\n" + parts.text("  ");
  return text;
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

// What share groups are not: members that have partitions and offsets of their own.
Group open_group(Bus& bus, const std::string& name) {
  auto group = bus.group(name);
  if (group) return *std::move(group);
  if (group.error().code() == Errc::not_found && bus.share_group(name)) {
    throw Failure(ExitCode::refused, to_string(Errc::invalid_argument),
                  fmt::format("'{}' is a share group, whose place is that of its oldest record that is not settled; it can be "
                              "listed, described and deleted",
                              name));
  }
  throw Failure(group.error());
}

// Consumer groups and share groups, those of both kinds by one name too.
struct Picture {
  std::vector<GroupDescription> groups;
  std::vector<ShareInfo> share_groups;
  Json json;
  ExitCode result = ExitCode::ok;  // of those that cannot be read
};

Picture look(Bus& bus, const std::vector<std::string>& names) {
  Picture picture;
  picture.json = {{"bus", bus.directory()}, {"groups", Json::array()}, {"share_groups", Json::array()}};
  const auto consumer_groups = names.empty() ? must(bus.groups()) : names;
  const auto share_groups = names.empty() ? must(bus.share_groups()) : names;
  const auto failed = [&](const char* list, const std::string& name, const Error& error) {
    picture.result = exit_code_of(error.code());
    warn(fmt::format("group {}: {}", name, error.message()));
    picture.json[list].push_back({{"name", name}, {"error", {{"code", to_string(error.code())}, {"message", error.message()}}}});
  };
  std::set<std::string_view> shared;
  for (const auto& name : share_groups) {
    auto info = bus.share_group(name);
    if (info) {
      shared.insert(name);
      picture.json["share_groups"].push_back(to_json(*info));
      picture.share_groups.push_back(*std::move(info));
    } else if (info.error().code() != Errc::not_found) {
      shared.insert(name);
      failed("share_groups", name, info.error());
    }
  }
  for (const auto& name : consumer_groups) {
    auto group = bus.group(name);
    auto described = group ? group->describe() : tl::unexpected<Error>(group.error());
    if (described) {
      picture.json["groups"].push_back(to_json(*described));
      picture.groups.push_back(*std::move(described));
    } else if (described.error().code() != Errc::not_found || !shared.contains(name)) {
      failed("groups", name, described.error());
    }
  }
  return picture;
}

ExitCode list(const Command& command) {
  using enum Table::Align;
  Bus bus = open_bus(command);
  const Picture picture = look(bus, {});
  if (command.json) {
    emit("{}\n", dump(picture.json));
    return picture.result;
  }
  Table table({{"GROUP", left}, {"DELIVERY", left}, {"MEMBERS"}, {"PARTITIONS"}, {"LAG"}, {"LOST"}, {"STATE", left}});
  const auto add = [&](const std::string& name, std::string_view delivery, std::size_t members, std::size_t partitions,
                       std::uint64_t lag, std::uint64_t lost, std::string_view state) {
    table.add({name, std::string(delivery), std::to_string(members), std::to_string(partitions), std::to_string(lag),
               std::to_string(lost), std::string(state)});
  };
  for (const GroupDescription& group : picture.groups) {
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
    add(group.name, name_of(group.delivery), group.members.size(), group.partitions.size(), lag, lost,
        holds  ? "holds producers back"
        : read ? "live"
               : "nobody reads");
  }
  for (const ShareInfo& group : picture.share_groups) {
    std::uint64_t lag = 0;
    std::uint64_t lost = 0;
    for (const SharePartition& one : group.partitions) {
      lag += one.available + one.acquired;
      lost += one.lost;
    }
    std::set<std::string_view> processes;
    for (const ShareMember& member : group.members) processes.insert(member.process);
    add(group.name, "share", processes.size(), group.partitions.size(), lag, lost, processes.empty() ? "nobody reads" : "live");
  }
  if (!table.empty()) {
    emit("{}", table.text());
  } else if (picture.result == ExitCode::ok) {
    warn(fmt::format("no groups on {}; a group is made by its first consumer: arus consume TOPIC -g GROUP", bus.directory()));
  }
  return picture.result;
}

ExitCode describe(const Command& command, const Options& options) {
  Bus bus = open_bus(command);
  const Picture picture = look(bus, options.names);
  if (command.json) {
    emit("{}\n", dump(picture.json));
    return picture.result;
  }
  std::vector<std::string> texts;
  for (const auto& group : picture.groups) texts.push_back(to_text(group));
  for (const auto& group : picture.share_groups) texts.push_back(to_text(group));
  emit("{}", fmt::join(texts, "\n"));
  return picture.result;
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
    const auto group = bus.group(name);
    const auto removed = group ? group->remove() : Result<void>(tl::unexpected<Error>(group.error()));
    if (!removed && removed.error().code() != Errc::not_found) throw Failure(removed.error());
    const auto share_removed = bus.remove_share_group(name);
    if (!share_removed && (share_removed.error().code() != Errc::not_found || !removed))
      throw Failure(share_removed.error().code() == Errc::not_found ? removed.error() : share_removed.error());
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
              status: unread, holding, lossy, evicted_abandoned, evicted_behind, evicted_stalled,
                      evicted_by_hand, evicted_renewed
  or {"name","error":{"code","message"}} for one that cannot be read;
and "share_groups":[SHARE...] (work queues), each with name, max_deliveries, dead_letter_topic, grace_ns, and
  members:    [{topic,process,acquired}]
  partitions: [{topic,partition,settled_before,end,available,acquired,accepted,rejected,redelivered,
                dead_lettered,discarded,lost}])";

constexpr const char* kResetDetails = R"(Shows what would change, unless --execute is given. The group must have no live members.

Examples:
  arus group reset alerts --to-earliest
  arus group reset alerts --to-time -10m --topic weather --execute
  arus group reset alerts --by -100 --topic weather --partition 2 --execute

JSON: {"bus":DIR,"group":NAME,"executed":BOOL,"moves":[{topic,partition,from,to}]})";

}  // namespace

void add_group_command(CLI::App& app, Command& command) {
  CLI::App* group = add_subcommand(app, "group", "List, describe, reset, evict and delete groups", "");
  group->require_subcommand(1);
  auto options = std::make_shared<Options>();
  const auto runs = [&command, options](CLI::App* subcommand, auto run) {
    subcommand->callback([&command, options, run] { command.run = [&command, options, run] { return run(command, *options); }; });
  };

  CLI::App* listing =
      add_subcommand(*group, "list", "List the groups of the bus",
                     R"(Share groups (work queues) are listed behind the consumer groups; their lag is what is not settled.

Examples:
  arus group list
  arus group list --json | jq -r '.groups[] | select(.members == []) | .name'

JSON: {"bus":DIR,"groups":[GROUP...],"share_groups":[SHARE...]} as in `arus group describe`)");
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
