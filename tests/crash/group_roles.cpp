// Members of a group that join, leave, reap, hand over and come back. Beside each of them a feeder sends to four partitions, and others of
// the group go on; at the end every record was delivered, and no partition was ever read by two who live.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

#include "crash/roles.h"
#include "crash/team.h"
#include "crash/trigger.h"
#include "platform/kill_point.h"

namespace arus::crash {

namespace {

using std::chrono::microseconds;

constexpr std::uint32_t kPartitions = 4;
constexpr std::uint64_t kEach = 1u << 12;
constexpr std::uint64_t kFed = 300;  // records
enum Flags : std::uint32_t { kPid = kOfScenario, kCome };

TopicConfig four() { return {.partitions = kPartitions, .partition_bytes = 64 << 10, .max_producers = 4, .max_groups = 4}; }
Team team_of(const World& world) { return {world, kPartitions, kEach}; }
ConsumerConfig instance(std::string name = {}) {
  ConsumerConfig config = grouped();
  config.instance = std::move(name);
  return config;
}

// In a victim: what comes before its scene passes no point.
class Unwatched {
 public:
  Unwatched() : hook_(std::exchange(platform::kill_hook, nullptr)) {}
  void begin_scene() { platform::kill_hook = hook_; }

 private:
  platform::KillHook hook_;
};

void feed(World& world) {
  const std::uint32_t sender = world.new_sender();
  world.beside.push_back(Process::run(
      [&world, sender] { team_of(world).send(sender, microseconds(300), [](std::uint64_t sent) { return sent < kFed; }); }));
}
void add_member(World& world, const std::string& name = {}, const std::function<void()>& first = {}) {
  world.beside.push_back(Process::run([&world, name, first] {
    if (first) first();
    team_of(world).take_part({.config = instance(name)});
  }));
}
void must_end(World& world, Process process, std::string_view name) {
  if (const Ending how = process.wait(); !how.good()) world.ledger().fail(fmt::format("{} {}", name, to_string(how)));
}

// One more member comes, in the victim's place if that is kept for it; all is sent and all is read, and nobody is left in the group.
void all_is_read(World& world, const std::string& late_name) {
  const Team team = team_of(world);
  Process late = Process::run([&] { team.take_part({.config = instance(late_name)}); });
  must_end(world, std::move(world.beside.front()), "the feeder");
  team.end();
  for (std::size_t i = 1; i < world.beside.size(); ++i) must_end(world, std::move(world.beside[i]), "another member");
  must_end(world, std::move(late), "the late member");
  team.balance(0, true);
  const GroupDescription left = world.open().group(kGroup).value().describe().value();
  for (const GroupMember& member : left.members)
    if (!member.away) world.ledger().fail("left in the group: " + member.process);
}

Role role(std::string name) {
  Role made{.name = std::move(name), .family = "any member", .topic = four(), .reader_before = false, .victim = {}};
  made.concerns = [](std::string_view point) {
    return point.starts_with("G-") || point.starts_with("H-") || point.starts_with("cursor-");
  };
  made.after = [](World& world) { all_is_read(world, {}); };
  return made;
}

}  // namespace

void add_group_roles(std::vector<Role>& all) {
  Role first = role("first member");
  first.before = feed;
  first.victim = [](World& world, std::uint32_t) {
    team_of(world).take_part({.config = instance(), .enough = [](const Consumer&, std::uint64_t handed) { return handed >= 40; }});
  };
  all.push_back(first);

  Role joining = role("joining member");
  joining.before = [](World& world) {
    feed(world);
    add_member(world);
    wait_for("the member before", [&] { return team_of(world).all_read(0); });
  };
  joining.victim = [](World& world, std::uint32_t) {
    team_of(world).take_part({.config = instance(),
                              .enough = [](const Consumer& consumer, std::uint64_t) { return consumer.assignment().size() == 2; }});
  };
  all.push_back(joining);

  Role leaving = role("leaving member");
  leaving.before = joining.before;
  leaving.victim = [](World& world, std::uint32_t) {
    Unwatched unwatched;
    team_of(world).take_part({.config = instance(), .enough = [&](const Consumer& consumer, std::uint64_t) {
                                if (consumer.assignment().size() != 2) return false;
                                unwatched.begin_scene();
                                return true;
                              }});
  };
  all.push_back(leaving);

  Role handing = role("member that hands over");
  handing.before = [](World& world) {
    feed(world);
    add_member(world, {}, [&world] { wait_for("the scene", [&] { return world.ledger().flag(kCome).load() != 0; }); });
  };
  handing.victim = [](World& world, std::uint32_t) {
    Unwatched unwatched;
    team_of(world).take_part({.config = instance(), .enough = [&](const Consumer& consumer, std::uint64_t) {
                                if (world.ledger().flag(kCome).exchange(1) == 0) unwatched.begin_scene();
                                return consumer.assignment().size() == 2;
                              }});
  };
  handing.after = [](World& world) {
    world.ledger().flag(kCome).store(1);
    all_is_read(world, {});
  };
  all.push_back(handing);

  // The one that is to be reaped dies when the victim is looking. A static one is awaited: what it read is guarded for it.
  for (const bool is_static : {false, true}) {
    const std::string name = is_static ? "awaited" : "";
    Role reaping = role(is_static ? "member that guards" : "member that reaps");
    reaping.before = [name](World& world) {
      feed(world);
      add_member(world, name, [&world] { world.ledger().flag(kPid).store(static_cast<std::uint64_t>(getpid())); });
      wait_for("the member before", [&] { return team_of(world).all_read(0); });
    };
    reaping.victim = [is_static](World& world, std::uint32_t) {
      Unwatched unwatched;
      bool killed = false;
      int polls = 30;
      team_of(world).take_part({.config = instance(), .enough = [&](const Consumer& consumer, std::uint64_t) {
                                  if (!killed && consumer.assignment().size() == 2) {
                                    killed = true;
                                    kill(static_cast<pid_t>(world.ledger().flag(kPid).load()), SIGKILL);
                                    unwatched.begin_scene();
                                  }
                                  return is_static ? killed && --polls == 0 : consumer.assignment().size() == kPartitions;
                                }});
    };
    reaping.after = [name](World& world) {
      if (const Ending how = world.beside.back().wait(); !how.by(SIGKILL))
        world.ledger().fail("the one that was to be reaped " + to_string(how));
      world.beside.pop_back();
      all_is_read(world, name);
    };
    all.push_back(reaping);
  }

  Role returning = role("static member that comes back");
  returning.before = [](World& world) {
    feed(world);
    add_member(world, "stays");
    Process one = Process::run([&world] {
      team_of(world).take_part({.config = instance("comes back"), .enough = [](const Consumer& consumer, std::uint64_t) {
                                  if (consumer.assignment().size() == 2) raise(SIGKILL);
                                  return false;
                                }});
    });
    if (const Ending how = one.wait(); !how.by(SIGKILL))
      throw std::runtime_error("the one that was to die first: " + to_string(how));
  };
  returning.victim = [](World& world, std::uint32_t) {
    team_of(world).take_part({.config = instance("comes back"), .enough = [&](const Consumer& consumer, std::uint64_t) {
                                if (consumer.assignment().size() != 2) world.ledger().fail("its partitions were not kept for it");
                                return true;
                              }});
  };
  returning.after = [](World& world) { all_is_read(world, "comes back"); };
  all.push_back(returning);

  Role remover = role("group remover");
  remover.before = [](World& world) {
    feed(world);
    must_end(world, std::exchange(world.beside.front(), {}), "the feeder");
    world.beside.clear();
    team_of(world).end();
    must_end(world, Process::run([&] { team_of(world).take_part({.row = 1, .config = grouped()}); }), "the member before");
  };
  remover.victim = [](World& world, std::uint32_t) { world.open().group(kGroup).value().remove().value(); };
  remover.after = [](World& world) {
    // Whatever was left: it can be removed again, and then the group is as new.
    if (auto group = world.open().group(kGroup))
      if (auto removed = group->remove(); !removed && removed.error().code() != Errc::not_found)
        world.ledger().fail(std::string(removed.error().message()));
    if (!world.open().groups().value().empty()) world.ledger().fail("the group is still there");
    must_end(world, Process::run([&] { team_of(world).take_part({.config = grouped()}); }), "the member after");
    team_of(world).balance(0, true);
  };
  all.push_back(remover);
}

}  // namespace arus::crash
