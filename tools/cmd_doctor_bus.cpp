// arus doctor: what is wrong with a bus, its processes, topics and groups, and the repair of it.
//
// What the dead left is looked at before the bus is opened, because whoever opens a bus sweeps it.
#include <fmt/ranges.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "cmd_doctor.h"
#include "group/membership.h"
#include "log/inspection.h"
#include "log/repair.h"
#include "platform/bells.h"
#include "ring/sweep.h"
#include "sampler.h"
#include "text.h"

namespace arus::tool {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Apart by so much, two looks tell what is open or stands still from what merely passes by.
constexpr auto kBetweenLooks = 300ms;

// The state of a process as /proc tells it, if it is the one that took the lease: the same pid means nothing in another pid namespace.
char state_of(std::int64_t pid, const std::string& command) {
  if (pid == 0) return '?';
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const auto from = text.find('(');
  const auto to = text.rfind(')');
  if (from == std::string::npos || to == std::string::npos || to + 2 >= text.size()) return '?';
  return text.substr(from + 1, to - from - 1) == command ? text[to + 2] : '?';
}

std::string_view status_of(const GroupSample& group) {
  for (const auto& partition : group.info.partitions) {
    if (partition.status >= GroupStatus::evicted_abandoned) return to_string(partition.status);
  }
  return "";
}

class BusDoctor {
 public:
  BusDoctor(const BusChecks& checks, Diagnosis& diagnosis) : checks_(checks), diagnosis_(diagnosis) {}

  void run() {
    if (!check_directory()) return;
    look_at_processes();
    auto bus = Bus::open(diagnosis_.bus);
    if (!bus) {
      add(bus.error(), "bus", "bus");
      return;
    }
    add(Severity::ok, "bus", "bus", "it is one that this version reads");
    if (const auto directory = log::BusDirectory::open(diagnosis_.bus)) {
      if (checks_.repair) repair(**directory);
      look_at_members(**directory);
      look_at_fifos(**directory);
    }
    look_at_topics(*bus);
    look_at_stopped();
    look_at_services(*bus);
  }

 private:
  void add(Severity severity, std::string code, std::string subject, std::string message, std::string remedy = {}) {
    diagnosis_.findings.push_back({severity, std::move(code), std::move(subject), std::move(message), std::move(remedy)});
  }
  void add(const Error& error, std::string code, std::string subject) {
    add(Severity::error, std::move(code), std::move(subject), std::string(error.message()));
    diagnosis_.findings.back().exit = exit_code_of(error.code());
  }
  void add_repaired(std::string code, std::string subject, std::string message) {
    add(Severity::note, std::move(code), std::move(subject), std::move(message));
    diagnosis_.findings.back().repaired = true;
  }

  [[nodiscard]] const Process* process_of(std::uint64_t incarnation) const {
    const auto found = std::find_if(diagnosis_.processes.begin(), diagnosis_.processes.end(),
                                    [&](const Process& process) { return process.incarnation == incarnation; });
    return found == diagnosis_.processes.end() ? nullptr : &*found;
  }
  [[nodiscard]] std::string name_of(std::uint64_t incarnation) const {
    const Process* process = process_of(incarnation);
    return process == nullptr ? "a process that is gone" : process->name();
  }

  bool check_directory();
  void look_at_processes();
  void repair(const log::BusDirectory& bus);
  void look_at_members(const log::BusDirectory& bus);
  void look_at_fifos(const log::BusDirectory& bus);
  void look_at_topics(Bus& bus);
  void look_at_files(const std::string& topic);
  void look_at_topic(const TopicSample& topic, const TopicSample* before);
  void look_at_groups(const TopicSample& topic, const TopicSample* before);
  // The live members of a share group that read the topic; none if it is not one.
  [[nodiscard]] std::set<std::string> share_members(const std::string& topic, const std::string& group) const;
  void look_at_stopped();
  void look_at_services(const Bus& bus);

  // The open claims of a topic, by partition; and, on the way, who produces.
  std::vector<std::vector<ring::OpenClaim>> open_claims(const std::string& topic);
  void report_claims(const std::string& topic, std::uint32_t partition, const std::vector<ring::OpenClaim>& first,
                     const std::vector<ring::OpenClaim>& second);

  const BusChecks& checks_;
  Diagnosis& diagnosis_;
  std::shared_ptr<platform::Leases> leases_;
  std::vector<ShareInfo> share_groups_;
};

bool BusDoctor::check_directory() {
  const std::string& bus = diagnosis_.bus;
  struct stat status {};
  if (stat(bus.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    const bool missing = errno == ENOENT;
    add(Severity::error, "bus", "bus",
        missing ? fmt::format("there is no directory {}", bus) : fmt::format("{} is not a directory that can be entered", bus),
        "name another directory (--bus DIR or ARUS_DIR), or create the bus: arus topic create NAME");
    diagnosis_.findings.back().exit = missing ? ExitCode::not_found : ExitCode::permission;
    return false;
  }
  const std::string owner = user_name(status.st_uid);
  const std::string rights = fmt::format("mode {:04o}, owner {}", status.st_mode & 07777, owner);
  if (access(bus.c_str(), R_OK | X_OK) != 0) {
    add(Severity::error, "permission", "bus", fmt::format("{} may not be entered by {} ({})", bus, user_name(geteuid()), rights),
        fmt::format("run as {}, or have the bus made for several users: arus bus create --mode 02770 --group GROUP", owner));
    diagnosis_.findings.back().exit = ExitCode::permission;
    return false;
  }
  if (access((bus + "/leases").c_str(), W_OK) != 0 && errno == EACCES) {
    add(Severity::warning, "permission", "bus", fmt::format("{} may only observe here ({})", user_name(geteuid()), rights),
        "to produce or to join groups, run as the owner or as a member of the group");
  } else if ((status.st_mode & 01002) == 0002) {
    add(Severity::warning, "permission", "bus", fmt::format("anybody may delete the bus ({})", rights),
        fmt::format("chmod +t {}", bus));
  } else {
    add(Severity::ok, "permission", "bus", fmt::format("{} may read and write it ({})", user_name(geteuid()), rights));
  }
  return true;
}

void BusDoctor::look_at_processes() {
  auto leases = platform::Leases::open(log::leases_directory(diagnosis_.bus));
  if (!leases) return;  // opening the bus will say why
  leases_ = *std::move(leases);
  std::uint64_t dead = 0;
  std::string names;
  if (const auto listed = log::list_leases(*leases_)) {
    for (const auto& lease : *listed) {
      diagnosis_.processes.push_back({.incarnation = lease.incarnation,
                                      .pid = lease.pid,
                                      .command = lease.command,
                                      .user = user_name(lease.uid),
                                      .alive = lease.alive,
                                      .state = lease.alive ? state_of(lease.pid, lease.command) : 'X',
                                      .age_ns = lease.age_ns,
                                      .writes = {}});
      if (lease.alive) continue;
      if (++dead <= 3) names += (names.empty() ? "" : ", ") + diagnosis_.processes.back().name();
    }
  }
  if (dead > 0) {
    add_repaired("dead_process", "processes",
                 fmt::format("{} process{} died without leaving: {}{}; swept when the bus was opened", dead, dead == 1 ? "" : "es",
                             names, dead > 3 ? ", ..." : ""));
  }
  const auto scratches = log::list_scratches(diagnosis_.bus, *leases_);
  const auto abandoned =
      scratches ? std::count_if(scratches->begin(), scratches->end(), [](const auto& scratch) { return scratch.abandoned; }) : 0;
  if (abandoned > 0) {
    add_repaired("scratch", "tmp",
                 fmt::format("{} half-made or half-deleted topic{} of the dead in tmp; swept when the bus was opened", abandoned,
                             plural(static_cast<std::uint64_t>(abandoned))));
  }
}

void BusDoctor::repair(const log::BusDirectory& bus) {
  const auto topics = bus.topics();
  if (!topics) return add(topics.error(), "repair", "bus");
  for (const auto& topic : *topics) {
    const auto settled = log::settle_topic(bus, topic);
    if (!settled) {
      add(Severity::warning, "repair", topic, fmt::format("cannot be repaired: {}", settled.error().message()));
    } else if (*settled > 0) {
      add_repaired("dead_claim", topic,
                   fmt::format("{} record{} left open by producers that died; settled", *settled, plural(*settled)));
    }
  }
  const auto groups = group::GroupFile::list(bus);
  if (!groups) return;  // a bus without groups, or one that may not be read: look_at_members() says so
  for (const auto& name : *groups) {
    std::uint64_t removed = 0;
    auto file = group::GroupFile::open(bus, name);
    Result<void> changed;
    if (file) {
      changed = (*file)->change([&](group::GroupState& state) -> Result<bool> {
        const std::size_t before = state.members.size();
        if (!group::reap(state, **file, bus)) return false;
        removed = before - std::min(before, state.members.size());
        group::reassign(state, bus);
        return true;
      });
    }
    if (!file || !changed) {
      const Error& error = file ? changed.error() : file.error();
      add(Severity::warning, "repair", name, fmt::format("the group cannot be repaired: {}", error.message()));
    } else if (removed > 0) {
      add_repaired(
          "dead_member", name,
          fmt::format("{} member{} of the group had died; taken out, and their partitions shared out", removed, plural(removed)));
    }
  }
}

void BusDoctor::look_at_members(const log::BusDirectory& bus) {
  const auto groups = group::GroupFile::list(bus);
  if (!groups) return;
  for (const auto& name : *groups) {
    const auto state = group::GroupFile::read(bus, name);
    if (!state) {
      if (state.error().code() != Errc::not_found) add(state.error(), std::string(to_string(state.error().code())), name);
      continue;
    }
    const auto dead = std::count_if(state->members.begin(), state->members.end(), [&](const group::Member& member) {
      return member.away_since == 0 && bus.leases()->dead(member.incarnation);
    });
    if (dead == 0) continue;
    add(Severity::note, "dead_member", name,
        fmt::format("{} member{} of the group died", dead, plural(static_cast<std::uint64_t>(dead))),
        "the next member that looks takes them out; arus doctor --repair does it now");
  }
}

void BusDoctor::look_at_fifos(const log::BusDirectory& bus) {
  if (!bus.bells()) return;  // it may not be written, which check_directory() says
  const auto abandoned = bus.bells()->abandoned_fifos(checks_.repair);
  if (!abandoned || *abandoned == 0) return;
  const std::string found = fmt::format("{} doorbell{} of the dead in fifos", *abandoned, plural(*abandoned));
  if (checks_.repair) {
    add_repaired("dead_fifo", "fifos", found + "; removed");
  } else {
    add(Severity::note, "dead_fifo", "fifos", found,
        "they do no harm, and go when their places are used again; arus doctor --repair removes them now");
  }
}

// ---- topics -----------------------------------------------------------------------------------------------------------------

std::vector<std::vector<ring::OpenClaim>> BusDoctor::open_claims(const std::string& topic) {
  std::vector<std::vector<ring::OpenClaim>> found;
  const std::string directory = diagnosis_.bus + "/topics/" + topic;
  const auto identity = log::read_identity(log::identity_path(directory));
  if (!identity || !leases_) return found;
  for (std::uint32_t i = 0; i < identity->config.partitions; ++i) {
    found.emplace_back();
    const auto partition = log::Partition::open(log::partition_path(directory, i), platform::Access::read, identity->id, i);
    if (!partition) continue;  // describe() says why
    ring::Ring ring = (*partition)->ring();
    ring.leases = leases_.get();
    found.back() = ring::open_claims(ring);
    for (std::uint32_t slot = 0; slot < ring.slot_count; ++slot) {
      const std::uint64_t incarnation = ring.slots[slot].incarnation.load(std::memory_order_acquire);
      for (auto& process : diagnosis_.processes) {
        if (process.incarnation != incarnation || !process.alive) continue;
        if (std::find(process.writes.begin(), process.writes.end(), topic) == process.writes.end()) process.writes.push_back(topic);
      }
    }
  }
  return found;
}

void BusDoctor::report_claims(const std::string& topic, std::uint32_t partition, const std::vector<ring::OpenClaim>& first,
                              const std::vector<ring::OpenClaim>& second) {
  using Owner = ring::OpenClaim::Owner;
  for (const auto& claim : second) {
    const bool was_there =
        std::any_of(first.begin(), first.end(), [&](const auto& other) { return other.position == claim.position; });
    if (!was_there) continue;
    const std::string where = fmt::format("offset {} of partition {}", claim.offset, partition);
    const Process* owner = process_of(claim.incarnation);
    if (claim.owner == Owner::dead) {
      add(Severity::warning, "dead_claim", topic, fmt::format("{} was left open by {}", where, name_of(claim.incarnation)),
          "the next reader or producer that comes by skips it; arus doctor --repair does it now");
    } else if (claim.owner == Owner::unclear) {
      add(Severity::warning, "open_claim", topic,
          fmt::format("a record of partition {} is claimed, and by whom cannot be told yet", partition),
          "arus doctor --repair tries to settle it");
    } else if (owner != nullptr && owner->stopped()) {
      add(Severity::error, "open_claim", topic,
          fmt::format("{} is held open by {}, which is stopped: readers wait there", where, owner->name()),
          fmt::format("let it go on: kill -CONT {}; or end it: kill -KILL {}", owner->pid, owner->pid));
    } else {
      add(Severity::warning, "open_claim", topic,
          fmt::format("{} is held open by {}: readers wait there", where, name_of(claim.incarnation)),
          "a loan that is held long wants a partition of its own");
    }
  }
}

void BusDoctor::look_at_files(const std::string& topic) {
  std::error_code error;
  std::set<std::uint32_t> owners;
  std::string unreadable;
  for (const auto& entry : fs::directory_iterator(diagnosis_.bus + "/topics/" + topic, error)) {
    struct stat status {};
    if (stat(entry.path().c_str(), &status) != 0) continue;
    if (status.st_uid != geteuid()) owners.insert(status.st_uid);
    if (unreadable.empty() && access(entry.path().c_str(), R_OK) != 0) {
      unreadable = fmt::format("{} (owner {}, mode {:04o})", entry.path().filename().string(), user_name(status.st_uid),
                               status.st_mode & 07777);
    }
  }
  if (!unreadable.empty()) {
    add(Severity::warning, "permission", topic, fmt::format("{} may not read its file {}", user_name(geteuid()), unreadable),
        "create the topic with --mode 0640 or 0660 and --group GROUP");
  } else if (!owners.empty()) {
    add(Severity::note, "foreign_files", topic, fmt::format("its files belong to user {}", user_name(*owners.begin())));
  }
}

std::set<std::string> BusDoctor::share_members(const std::string& topic, const std::string& group) const {
  std::set<std::string> members;
  for (const auto& share : share_groups_) {
    if (share.name != group) continue;
    for (const auto& member : share.members) {
      if (member.topic == topic) members.insert(member.process);
    }
  }
  return members;
}

void BusDoctor::look_at_groups(const TopicSample& topic, const TopicSample* before) {
  for (const auto& group : topic.groups) {
    const std::string subject = fmt::format("{}/{}", topic.name, group.info.name);
    const bool stands_still =
        before != nullptr && std::any_of(before->groups.begin(), before->groups.end(), [&](const GroupSample& other) {
          return other.info.name == group.info.name && other.info.committed == group.info.committed;
        });
    if (group.holds_back && stands_still && group.info.alive) {
      const auto is_stopped = [&](const std::string& reader) {
        return std::any_of(diagnosis_.processes.begin(), diagnosis_.processes.end(), [&](const Process& process) {
          return process.stopped() && reader.starts_with(fmt::format("pid {} ", process.pid));
        });
      };
      const auto members = share_members(topic.name, group.info.name);
      const auto& readers = members.empty() ? group.readers : members;
      const bool stopped = std::any_of(readers.begin(), readers.end(), is_stopped);
      add(Severity::error, "holds_back", subject,
          fmt::format("the group holds producers back: the ring is full, {} record{} are not read, and {} {}", group.lag,
                      plural(group.lag), fmt::join(readers, ", "), stopped ? "is stopped" : "does not read on"),
          members.empty()
              ? fmt::format("let it go on (kill -CONT PID), or end it; or give the group up: arus group evict {}", group.info.name)
              : "let it go on (kill -CONT PID), or end it: what it holds goes to the other members");
    } else if (group.holds_back && stands_still) {
      add(Severity::error, "holds_back", subject,
          fmt::format("the group holds producers back: the ring is full, and nobody reads its {} record{}", group.lag,
                      plural(group.lag)),
          "start its reader; else producers go on when the grace period is over, and the group loses records");
    } else if (group.holds_back) {
      add(Severity::warning, "slow_group", subject,
          fmt::format("the group holds producers back, and reads on: it is {} records behind", group.lag),
          "make its reader faster, or the topic's partitions more or larger");
    } else if (group.info.evicted) {
      add(Severity::warning, "evicted", subject,
          fmt::format("the group was evicted ({}), and what it had not read may be overwritten", status_of(group)),
          "its next reader goes on with what is left and reports what it lost");
    } else if (!group.info.alive && group.lag > 0) {
      add(Severity::note, "no_reader", subject,
          fmt::format("nobody reads under this name; it is {} record{} behind", group.lag, plural(group.lag)));
    }
  }
}

void BusDoctor::look_at_topic(const TopicSample& topic, const TopicSample* before) {
  const std::size_t found = diagnosis_.findings.size();
  if (topic.error) {
    add(*topic.error, std::string(to_string(topic.error->code())), topic.name);
    if (topic.error->code() == Errc::corrupt || topic.error->code() == Errc::version_mismatch) {
      diagnosis_.findings.back().remedy = fmt::format("arus topic delete {} (its records are lost)", topic.name);
    }
    return;
  }
  const TopicConfig& config = topic.info.config;
  if (!checks_.schema.empty() && checks_.schema != config.schema) {
    add(Severity::error, "schema", topic.name, fmt::format("its schema is '{}' and not '{}'", config.schema, checks_.schema),
        "producers and consumers of the other schema are refused; use another topic");
  }
  if (config.producers == Producers::many && topic.producers >= config.max_producers) {
    add(Severity::warning, "limit", topic.name, fmt::format("{} producers are attached, which is the most", topic.producers),
        "the next one is refused; create the topic with a larger --max-producers");
  }
  if (topic.info.groups.size() >= config.max_groups) {
    add(Severity::warning, "limit", topic.name, fmt::format("it has {} groups, which is the most", topic.info.groups.size()),
        "the next name is refused; create the topic with a larger --max-groups");
  }
  if (topic.groups.empty() && topic.producers == 0 && topic.info.readers == 0 && topic.records_ever > 0) {
    add(Severity::note, "idle", topic.name, "nobody writes to it or reads it now");
  }
  look_at_groups(topic, before);
  if (diagnosis_.findings.size() == found) {
    add(Severity::ok, "topic", topic.name,
        fmt::format("{} record{}, {}/s, {} producer{}, {} reader{}", topic.records, plural(topic.records),
                    human_count(topic.records_per_second), topic.producers, plural(topic.producers), topic.info.readers,
                    plural(topic.info.readers)));
  }
}

void BusDoctor::look_at_topics(Bus& bus) {
  for (const auto& name : bus.share_groups().value_or(std::vector<std::string>{})) {
    if (auto group = bus.share_group(name)) share_groups_.push_back(*std::move(group));
  }
  Sampler sampler(bus);
  const BusSample first = sampler.look();
  std::vector<std::vector<std::vector<ring::OpenClaim>>> claims;
  for (const auto& topic : first.topics) claims.push_back(open_claims(topic.name));
  std::this_thread::sleep_for(kBetweenLooks);
  const BusSample second = sampler.look();
  if (second.topics.empty()) add(Severity::note, "topic", "topics", "there are none", "create one: arus topic create NAME");
  for (const auto& topic : second.topics) {
    const auto before =
        std::find_if(first.topics.begin(), first.topics.end(), [&](const auto& other) { return other.name == topic.name; });
    look_at_topic(topic, before == first.topics.end() ? nullptr : &*before);
    look_at_files(topic.name);
    if (before == first.topics.end()) continue;
    const auto& then = claims[static_cast<std::size_t>(before - first.topics.begin())];
    const auto now = open_claims(topic.name);
    for (std::uint32_t i = 0; i < std::min(then.size(), now.size()); ++i) report_claims(topic.name, i, then[i], now[i]);
  }
}

void BusDoctor::look_at_stopped() {
  for (const auto& process : diagnosis_.processes) {
    if (!process.stopped()) continue;
    add(Severity::warning, "stopped_process", fmt::format("pid {}", process.pid),
        fmt::format("{} is stopped{}; what it reads losslessly or has claimed waits for it", process.name(),
                    process.writes.empty() ? "" : ", a producer of " + process.writes.front()),
        fmt::format("let it go on: kill -CONT {}", process.pid));
  }
}

void BusDoctor::look_at_services(const Bus& bus) {
  const auto services = bus.services();
  if (!services) return;  // a bus made by an older version has none
  for (const auto& name : *services) {
    const auto service = bus.service(name);
    if (!service) continue;
    const auto alive =
        std::count_if(service->servers.begin(), service->servers.end(), [](const auto& server) { return server.alive; });
    if (alive == 0)
      add(Severity::warning, "no_server", name, "the service has no live server; calls end with 'unavailable'", "start one");
    for (const auto& server : service->servers) {
      if (!server.alive || server.outstanding < server.max_outstanding) continue;
      add(Severity::warning, "busy_server", name,
          fmt::format("{} has {} calls outstanding, which is the most; further ones are refused", server.process,
                      server.outstanding),
          "give it more workers, or start another server");
    }
  }
}

}  // namespace

std::string user_name(std::uint32_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(uid);
}

std::string Process::name() const {
  return fmt::format("pid {} ({}), {} {}", pid, command.empty() ? "?" : command, alive ? "attached for" : "dead, attached",
                     human_duration(std::chrono::nanoseconds(age_ns))) +
         (alive ? "" : " ago");
}

void check_bus(const BusChecks& checks, Diagnosis& diagnosis) { BusDoctor(checks, diagnosis).run(); }

}  // namespace arus::tool
