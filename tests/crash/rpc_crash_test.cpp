// Servers and clients of a service killed, at every named point and at random, and every call accounted for: exactly one outcome in a
// client that lives, no run without a call, none twice unless idempotent, and what an outcome says about whether it ran is true.
#include <arus/arus.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crash/process.h"
#include "unit/support.h"

#if defined(ARUS_KILL_POINTS)
#include "crash_points.h"
#include "platform/kill_point.h"
#endif

namespace arus::crash {
namespace {

using namespace std::chrono_literals;
using rpc::Code;
using test::must;

template <class T>
T must(tl::expected<T, rpc::Status> outcome) {
  if (!outcome) throw std::runtime_error(std::string(outcome.error().message()));
  return std::move(*outcome);
}

enum class Kind : std::uint8_t { once, idempotent, stream };
constexpr std::uint64_t kStreamed = 3;

// What every process writes down, in memory that outlives each of them.
struct Ledger {
  struct Entry {
    std::atomic<std::uint8_t> kind;
    std::atomic<std::uint8_t> runs;
    std::atomic<std::uint8_t> outcomes;
    std::atomic<std::uint8_t> code;
    std::atomic<std::uint8_t> may_have_run;  // as the outcome says
    std::atomic<std::uint8_t> wrong;         // the reply was not that of this call
    std::atomic<std::uint8_t> lives;         // its client is not killed
  };
  static constexpr std::size_t kMost = 1 << 20;
  std::atomic<std::uint64_t> next;
  std::atomic<std::uint64_t> good;
  std::atomic<bool> stop;
  std::atomic<bool> stop_servers;
  std::atomic<std::uint64_t> fired;
  std::array<Entry, kMost> entries;

  static Ledger& make() {
    void* memory = mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return *static_cast<Ledger*>(memory);
  }
  std::uint64_t begin(Kind kind, bool mortal) {
    const std::uint64_t number = next.fetch_add(1);
    entries.at(number).kind = static_cast<std::uint8_t>(kind);
    entries[number].lives = mortal ? 0 : 1;
    return number;
  }
  template <class Outcome>
  void end(std::uint64_t number, const Outcome& outcome, bool right) {
    Entry& entry = entries[number];
    if (outcome) {
      entry.wrong = right ? 0 : 1;
      good.fetch_add(1);
    } else {
      entry.code = static_cast<std::uint8_t>(outcome.error().code());
      entry.may_have_run = outcome.error().message().find("may have run") != std::string_view::npos ? 1 : 0;
    }
    entry.outcomes.fetch_add(1);
  }
  // What is wrong with the books; empty if nothing.
  std::string audit() {
    for (std::uint64_t i = 0; i < next; ++i) {
      const Entry& entry = entries[i];
      const auto complain = [&](const char* what) {
        return fmt::format("call {} of kind {}: {} ({} runs, {} outcomes, code {}, may have run: {})", i, entry.kind.load(), what,
                           entry.runs.load(), entry.outcomes.load(), rpc::to_string(static_cast<Code>(entry.code.load())),
                           entry.may_have_run.load());
      };
      if (entry.outcomes > 1) return complain("more than one outcome");
      if (entry.outcomes == 0 && entry.lives != 0) return complain("no outcome");
      if (entry.wrong != 0) return complain("another call's reply");
      if (entry.runs > 1 && entry.kind != static_cast<std::uint8_t>(Kind::idempotent)) return complain("it ran twice");
      if (entry.outcomes == 0) continue;
      if (entry.code == 0 && entry.runs == 0) return complain("a reply, and it never ran");
      if (entry.code != 0 && entry.code != static_cast<std::uint8_t>(Code::unavailable)) return complain("that status");
      if (entry.code != 0 && entry.may_have_run == 0 && entry.runs != 0) return complain("it ran, and the status does not say so");
    }
    return {};
  }
};

struct World {
  test::Directory directory;
  std::string bus = directory / "bus";
  Ledger& ledger = Ledger::make();
  World() { must(Bus::create({.directory = bus})); }
  ~World() { munmap(&ledger, sizeof(Ledger)); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
};

rpc::Server serve(Bus& bus, Ledger& ledger, std::uint32_t workers) {
  rpc::Server server = must(bus.server("crash", {.workers = workers, .drain = 1s, .wait = Wait::sleeping()}));
  const auto run = [&ledger](const std::uint64_t& number) {
    ledger.entries.at(number).runs.fetch_add(1);
    return number;
  };
  must(server.method<std::uint64_t, std::uint64_t>("once", run));
  must(server.method<std::uint64_t, std::uint64_t>("idempotent", run, {.idempotent = true}));
  must(server.method("stream",
                     [run](const rpc::Incoming& request, rpc::Responder responder) {
                       const std::uint64_t number = run(request.as<std::uint64_t>().value());
                       for (std::uint64_t i = 0; i < kStreamed; ++i)
                         if (!responder.write(bytes_of(number + i))) return;
                       static_cast<void>(responder.finish());
                     },
                     {.streaming = true}));
  must(server.start());
  return server;
}

void ask(Bus& bus, Ledger& ledger, bool mortal) {
  rpc::Client client = must(bus.client("crash", {.timeout = 25s, .max_in_flight = 16, .ring_bytes = 64 << 10}));
  for (int i = 0; i < 10 && !ledger.stop; ++i) {
    const auto is = [](const rpc::Outcome<rpc::Reply>& reply, std::uint64_t number) {
      return reply && reply->as<std::uint64_t>() == number;
    };
    const std::uint64_t one = ledger.begin(i % 2 == 0 ? Kind::once : Kind::idempotent, mortal);
    const auto reply = client.call(i % 2 == 0 ? "once" : "idempotent", bytes_of(one));
    ledger.end(one, reply, is(reply, one));

    std::vector<std::pair<std::uint64_t, rpc::Call>> calls;
    for (int n = 0; n < 4; ++n) {
      const std::uint64_t number = ledger.begin(Kind::once, mortal);
      calls.emplace_back(number, client.call_async("once", bytes_of(number)));
    }
    for (auto& [number, call] : calls) {
      const auto outcome = call.get();
      ledger.end(number, outcome, is(outcome, number));
    }

    const std::uint64_t streamed = ledger.begin(Kind::stream, mortal);
    rpc::Stream stream = client.stream("stream", bytes_of(streamed));
    std::uint64_t got = 0;
    bool right = true;
    for (;;) {
      auto next = stream.next();
      if (next && *next) {
        right = right && (*next)->as<std::uint64_t>() == streamed + got++;
        continue;
      }
      ledger.end(streamed, next, right && got == kStreamed);
      break;
    }
  }
}

Process server_process(const World& world, std::uint32_t workers = 0) {
  return Process::run([&world, workers] {
    Bus bus = must(Bus::open(world.bus));
    rpc::Server server = serve(bus, world.ledger, workers);
    while (!world.ledger.stop_servers) must(server.poll(10ms));
    must(server.drain());
  });
}
Process client_process(const World& world, bool mortal) {
  return Process::run([&world, mortal] {
    Bus bus = must(Bus::open(world.bus));
    while (!world.ledger.stop && world.ledger.next < Ledger::kMost - 1000) ask(bus, world.ledger, mortal);
  });
}

std::uint32_t live_servers(const World& world) {
  Bus bus = must(Bus::open(world.bus));
  auto info = bus.service("crash");
  if (!info) return 0;
  std::uint32_t count = 0;
  for (const rpc::ServerInfo& server : info->servers) count += server.alive ? 1 : 0;
  return count;
}

// Everybody has stopped: nothing may be left that a live process would not need.
void expect_clean(const World& world) {
  {
    Bus bus = must(Bus::open(world.bus));  // sweeps tmp/
    rpc::Client client = must(bus.client("crash"));
    EXPECT_FALSE(client.call("once", kNull));  // sweeps dead servers
  }
  EXPECT_TRUE(std::filesystem::is_empty(world.bus + "/services/crash"));
  EXPECT_TRUE(std::filesystem::is_empty(world.bus + "/tmp"));
}

void stop_all(World& world, std::vector<Process>& clients, std::vector<Process>& servers) {
  world.ledger.stop = true;
  for (Process& client : clients) {
    const Ending ending = client.wait();
    EXPECT_TRUE(ending.good()) << "a client: " << to_string(ending);
  }
  world.ledger.stop_servers = true;
  for (Process& server : servers) {
    const Ending ending = server.wait();
    EXPECT_TRUE(ending.good()) << "a server: " << to_string(ending);
  }
  EXPECT_EQ(world.ledger.audit(), "");
}

#if defined(ARUS_KILL_POINTS)

// Of a victim: a process has one.
std::string_view target;
int left = 0;
std::atomic<std::uint64_t>* fired_at = nullptr;

void fire_at(std::string_view point, int nth, std::atomic<std::uint64_t>& fired) {
  target = point;
  left = nth;
  fired_at = &fired;
  platform::kill_hook = [](const char* passed) {
    if (target != passed || left == 0 || --left != 0) return;
    fired_at->fetch_add(1);
    raise(SIGKILL);
  };
}

class RpcKillPoints : public testing::TestWithParam<std::string_view> {};

// A server and a client that live, beside a victim of either role that dies at the point's nth passing.
TEST_P(RpcKillPoints, EveryCallIsAccountedFor) {
  std::uint64_t fired = 0;
  // Which calls come to the victim is decided by who has the fewest: where none passed the point, others are given a chance.
  constexpr int kAttempts = 6;
  for (int attempt = 0; attempt < kAttempts && fired == 0; ++attempt) {
    for (const auto& [serves, nth] : {std::pair{true, 1}, std::pair{true, 4}, std::pair{false, 1}, std::pair{false, 4}}) {
      World world;
      std::vector<Process> servers;
      std::vector<Process> clients;
      servers.push_back(server_process(world));
      wait_for("a server", [&] { return live_servers(world) == 1; });
      clients.push_back(client_process(world, false));
      Process victim = Process::run([&] {
        fire_at(GetParam(), nth, world.ledger.fired);
        Bus bus = must(Bus::open(world.bus));
        for (int round = 0; round < 4; ++round) {
          if (!serves) {
            ask(bus, world.ledger, true);
            continue;
          }
          rpc::Server server = serve(bus, world.ledger, 0);
          std::size_t taken = 0;
          for (int i = 0; i < 400 && taken < 150; ++i) taken += must(server.poll(5ms));
          must(server.drain());
        }
      });
      const Ending ending = victim.wait();
      EXPECT_TRUE(ending.good() || ending.by(SIGKILL)) << to_string(ending);
      EXPECT_EQ(ending.by(SIGKILL), world.ledger.fired == 1);
      const std::uint64_t before = world.ledger.good;
      wait_for("twenty more replies", [&] { return world.ledger.good >= before + 20; });
      // The dead one's place is free again: only the client that lives is seen.
      wait_for("the place of the dead", [&] {
        Bus bus = must(Bus::open(world.bus));
        std::uint32_t places = 0;
        for (const rpc::ServerInfo& server : must(bus.service("crash")).servers) places += server.alive ? server.clients : 0;
        return places <= 1;
      });
      fired += world.ledger.fired;
      stop_all(world, clients, servers);
      expect_clean(world);
    }
  }
  EXPECT_GT(fired, 0u) << "nobody has passed " << GetParam();
}

INSTANTIATE_TEST_SUITE_P(All, RpcKillPoints, testing::ValuesIn(kRpcPoints), [](const auto& tested) {
  std::string name(tested.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

#else

// Three servers (one with workers) and three clients; one of them is killed every few milliseconds, and replaced.
TEST(RpcRandomKills, EveryCallIsAccountedFor) {
  const char* given = std::getenv("ARUS_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  fmt::print("ARUS_TEST_SEED={}\n", seed);
  std::mt19937_64 random(seed);
  const char* asked = std::getenv("ARUS_TEST_LONG");
  const auto length = asked != nullptr && *asked == '1' ? std::chrono::seconds(60) : std::chrono::seconds(3);
  World world;
  std::vector<Process> servers;
  std::vector<Process> clients;
  for (std::uint32_t i = 0; i < 3; ++i) servers.push_back(server_process(world, i == 2 ? 2 : 0));
  wait_for("the servers", [&] { return live_servers(world) == 3; });
  for (int i = 0; i < 3; ++i) clients.push_back(client_process(world, true));
  std::vector<Process> immortal;
  immortal.push_back(client_process(world, false));
  const auto until = std::chrono::steady_clock::now() + length;
  int kills = 0;
  while (std::chrono::steady_clock::now() < until && world.ledger.next < Ledger::kMost / 2) {
    nap(std::chrono::microseconds(2000 + random() % 30'000));
    const std::size_t who = random() % 3;
    if (random() % 4 == 0) {  // a moment of being stopped first
      const Process& frozen = random() % 2 == 0 ? servers[who] : clients[who];
      frozen.signal(SIGSTOP);
      nap(std::chrono::microseconds(random() % 20'000));
      frozen.signal(SIGCONT);
    }
    if (random() % 2 == 0) {
      servers[who].signal(SIGKILL);
      EXPECT_TRUE(servers[who].wait().by(SIGKILL));
      servers[who] = server_process(world, who == 2 ? 2 : 0);
    } else {
      clients[who].signal(SIGKILL);
      EXPECT_TRUE(clients[who].wait().by(SIGKILL));
      clients[who] = client_process(world, true);
    }
    ++kills;
  }
  for (Process& client : immortal) clients.push_back(std::move(client));
  stop_all(world, clients, servers);
  fmt::print("{} calls, {} replies, {} kills\n", world.ledger.next.load(), world.ledger.good.load(), kills);
  EXPECT_GT(world.ledger.good, 0u);
  expect_clean(world);
}

#endif

}  // namespace
}  // namespace arus::crash
