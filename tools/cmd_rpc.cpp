// arus rpc list | describe | stat, and the family's help. call and serve have files of their own.
#include "cmd_rpc.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include "parse.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {

using rpc::MethodInfo;
using rpc::ServerInfo;
using rpc::ServiceInfo;

rpc::ServiceInfo describe_service(const Bus& bus, const std::string& name) {
  auto info = bus.service(name);
  if (info) return *std::move(info);
  if (info.error().code() != Errc::not_found) throw Failure(info.error());
  throw Failure(info.error(), fmt::format("no service '{}' on the bus {}; {}", name, bus.directory(),
                                          remedy_for(name, bus.services(), "nobody has served anything on it yet")));
}

namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t calls_of(const MethodInfo& method) {
  return std::accumulate(method.ended.begin(), method.ended.end(), std::uint64_t{0});
}
std::uint64_t calls_of(const ServerInfo& server) {
  return std::accumulate(server.methods.begin(), server.methods.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const MethodInfo& method) { return sum + calls_of(method); });
}

std::string_view state_of(const ServerInfo& server) { return !server.alive ? "dead" : server.draining ? "draining" : "serving"; }

// "not_found 3, unavailable 1"
std::string errors_of(const MethodInfo& method) {
  std::vector<std::string> errors;
  for (std::size_t code = 1; code < rpc::kCodes; ++code) {
    if (method.ended[code] != 0)
      errors.push_back(fmt::format("{} {}", to_string(static_cast<rpc::Code>(code)), method.ended[code]));
  }
  return errors.empty() ? "-" : fmt::format("{}", fmt::join(errors, ", "));
}

Json to_json(const MethodInfo& method) {
  Json ended = Json::object();
  for (std::size_t code = 0; code < rpc::kCodes; ++code) {
    if (method.ended[code] != 0) ended[std::string(to_string(static_cast<rpc::Code>(code)))] = method.ended[code];
  }
  const bool none = calls_of(method) == 0;
  return {{"name", method.name},
          {"request_bytes", method.request_size == 0 ? Json() : Json(method.request_size)},
          {"reply_bytes", method.reply_size == 0 ? Json() : Json(method.reply_size)},
          {"idempotent", method.idempotent},
          {"streaming", method.streaming},
          {"calls", calls_of(method)},
          {"ended", std::move(ended)},
          {"p50_ns", none ? Json() : Json(method.p50.count())},
          {"p99_ns", none ? Json() : Json(method.p99.count())}};
}

Json to_json(const ServerInfo& server) {
  Json json{{"process", server.process},         {"state", state_of(server)},
            {"outstanding", server.outstanding}, {"max_outstanding", server.max_outstanding},
            {"clients", server.clients},         {"workers", server.workers},
            {"started", server.started},         {"methods", Json::array()}};
  for (const auto& method : server.methods) json["methods"].push_back(to_json(method));
  return json;
}

std::string time_of(const MethodInfo& method, std::chrono::nanoseconds time) {
  return calls_of(method) == 0 ? "-" : human_duration(time);
}

// Calls `show` for each service that can be read, and reports the others.
template <class Show>
ExitCode for_each_service(const Bus& bus, const std::vector<std::string>& names, Json& services, Show show) {
  ExitCode worst = ExitCode::ok;
  services = Json::array();
  for (const auto& name : names) {
    try {
      services.push_back(show(describe_service(bus, name)));
    } catch (const Failure& failure) {
      worst = failure.exit_code();
      warn(fmt::format("service {}: {}", name, failure.message()));
      services.push_back({{"name", name}, {"error", {{"code", failure.code()}, {"message", failure.message()}}}});
    }
  }
  return worst;
}

// ---- list -------------------------------------------------------------------------------------------------------------------

ExitCode list(const Command& command) {
  const Bus bus = open_bus(command);
  using enum Table::Align;
  Table table({{"SERVICE", left}, {"SERVERS"}, {"CLIENTS"}, {"IN FLIGHT"}, {"CALLS"}, {"METHODS", left}});
  Json json{{"bus", bus.directory()}};
  const auto names = must(bus.services());
  const ExitCode result = for_each_service(bus, names, json["services"], [&](const ServiceInfo& info) -> Json {
    std::uint64_t servers = 0;
    std::uint64_t clients = 0;
    std::uint64_t outstanding = 0;
    std::uint64_t calls = 0;
    std::set<std::string> methods;
    for (const auto& server : info.servers) {
      if (!server.alive) continue;
      ++servers;
      clients += server.clients;
      outstanding += server.outstanding;
      calls += calls_of(server);
      for (const auto& method : server.methods) methods.insert(method.name);
    }
    table.add({info.name, std::to_string(servers), std::to_string(clients), std::to_string(outstanding), std::to_string(calls),
               methods.empty() ? "-" : fmt::format("{}", fmt::join(methods, ", "))});
    return {{"name", info.name},          {"servers", servers}, {"clients", clients},
            {"outstanding", outstanding}, {"calls", calls},     {"methods", methods}};
  });
  if (command.json) {
    emit("{}\n", dump(json));
  } else if (table.empty() && result == ExitCode::ok) {
    emit("no services on {}\n", bus.directory());
  } else {
    emit("{}", table.text());
  }
  return result;
}

// ---- describe ---------------------------------------------------------------------------------------------------------------

std::string size_of(std::uint32_t bytes) { return bytes == 0 ? "any" : fmt::format("{} B", bytes); }

std::string to_text(const ServiceInfo& info) {
  std::string text = info.name + "\n";
  if (info.servers.empty()) text += "  no server\n";
  for (const auto& server : info.servers) {
    const auto age = std::chrono::nanoseconds(std::max<Timestamp>(wall_clock_now() - server.started, 0));
    text += fmt::format("  {}, {}, for {}; {} client{}, {} of at most {} calls in flight, {}\n", server.process, state_of(server),
                        human_duration(age), server.clients, plural(server.clients), server.outstanding, server.max_outstanding,
                        server.workers == 0 ? "no workers" : fmt::format("{} worker{}", server.workers, plural(server.workers)));
    using enum Table::Align;
    Table table({{"method", left}, {"request"}, {"reply"}, {"calls"}, {"p50"}, {"p99"}, {"kind", left}, {"errors", left}});
    for (const auto& method : server.methods) {
      std::vector<std::string_view> kind;
      if (method.idempotent) kind.emplace_back("idempotent");
      if (method.streaming) kind.emplace_back("streaming");
      table.add({method.name, size_of(method.request_size), size_of(method.reply_size), std::to_string(calls_of(method)),
                 time_of(method, method.p50), time_of(method, method.p99),
                 kind.empty() ? "-" : fmt::format("{}", fmt::join(kind, ", ")), errors_of(method)});
    }
    text += table.empty() ? "    no methods\n" : table.text("    ");
  }
  return text;
}

ExitCode describe(const Command& command, const std::vector<std::string>& names) {
  const Bus bus = open_bus(command);
  Json json{{"bus", bus.directory()}};
  std::string text;
  const ExitCode result = for_each_service(bus, names, json["services"], [&](const ServiceInfo& info) -> Json {
    text += (text.empty() ? "" : "\n") + to_text(info);
    Json one{{"name", info.name}, {"servers", Json::array()}};
    for (const auto& server : info.servers) one["servers"].push_back(to_json(server));
    return one;
  });
  emit("{}", command.json ? dump(json) + "\n" : text);
  return result;
}

// ---- stat -------------------------------------------------------------------------------------------------------------------

struct StatOptions {
  std::vector<std::string> services;
  std::chrono::nanoseconds interval = std::chrono::seconds(1);
  std::uint64_t count = 1;
};

class Statistics {
 public:
  Statistics(const Command& command, const StatOptions& options) : command_(command), options_(options), bus_(open_bus(command)) {}

  ExitCode run() {
    auto next = Clock::now();
    auto before = look();
    for (std::uint64_t i = 0; options_.count == 0 || i < options_.count; ++i) {
      next += std::chrono::duration_cast<Clock::duration>(options_.interval);
      if (Stop::sleep_until(next)) break;
      auto after = look();
      tell(before, after);
      before = std::move(after);
    }
    return worst_;
  }

 private:
  struct Look {
    Clock::time_point when = Clock::now();
    std::vector<ServiceInfo> services;
    Json errors = Json::array();
    // Of a method of a server process: its calls.
    std::map<std::string, std::uint64_t> calls;
  };

  static std::string key_of(const ServiceInfo& service, const ServerInfo& server, const MethodInfo& method) {
    return fmt::format("{}\n{}\n{}\n{}", service.name, server.process, server.started, method.name);
  }

  Look look() {
    Look look;
    const auto names = options_.services.empty() ? must(bus_.services()) : options_.services;
    Json ignored;
    worst_ = for_each_service(bus_, names, ignored, [&](ServiceInfo info) -> Json {
      std::erase_if(info.servers, [](const ServerInfo& server) { return !server.alive; });
      for (const auto& server : info.servers) {
        for (const auto& method : server.methods) look.calls[key_of(info, server, method)] = calls_of(method);
      }
      look.services.push_back(std::move(info));
      return {};
    });
    for (const auto& one : ignored) {
      if (one.is_object()) look.errors.push_back(one);
    }
    return look;
  }

  void tell(const Look& before, const Look& after) const {
    const double seconds = std::chrono::duration<double>(after.when - before.when).count();
    const auto rate_of = [&](const ServiceInfo& service, const ServerInfo& server, const MethodInfo& method) {
      const std::string key = key_of(service, server, method);
      const auto earlier = before.calls.find(key);
      const std::uint64_t since = earlier == before.calls.end() ? 0 : earlier->second;
      return static_cast<double>(after.calls.at(key) - since) / seconds;
    };
    using enum Table::Align;
    Table table({{"SERVICE", left},
                 {"METHOD", left},
                 {"CALLS/S"},
                 {"IN FLIGHT"},
                 {"P50"},
                 {"P99"},
                 {"CALLS"},
                 {"SERVER", left},
                 {"ERRORS", left}});
    Json json{{"bus", bus_.directory()}, {"time", wall_clock_now()}, {"seconds", seconds}, {"methods", Json::array()}};
    for (const auto& service : after.services) {
      for (const auto& server : service.servers) {
        for (const auto& method : server.methods) {
          const double rate = rate_of(service, server, method);
          table.add({service.name, method.name, human_count(rate), std::to_string(server.outstanding), time_of(method, method.p50),
                     time_of(method, method.p99), std::to_string(calls_of(method)), server.process, errors_of(method)});
          Json one{{"service", service.name},
                   {"server", server.process},
                   {"calls_per_second", rate},
                   {"outstanding", server.outstanding}};
          one.update(to_json(method));
          json["methods"].push_back(std::move(one));
        }
      }
    }
    for (const auto& error : after.errors) json["methods"].push_back({{"service", error["name"]}, {"error", error["error"]}});
    if (command_.json) {
      emit("{}\n", dump(json));
    } else if (table.empty()) {
      emit("no live servers on {}\n", bus_.directory());
    } else {
      emit("{}", table.text());
    }
  }

  const Command& command_;
  const StatOptions& options_;
  Bus bus_;
  ExitCode worst_ = ExitCode::ok;
};

constexpr const char* kDetails = R"(A service is a name; any number of processes may serve it, and calls are spread over them.

  arus rpc serve math square -- 'read x; echo $((x * x))' &
  arus rpc call math square 7)";

constexpr const char* kListDetails = R"(Examples:
  arus rpc list
  arus rpc list --json | jq -r '.services[] | select(.servers == 0) | .name'

JSON: {"bus":DIR,"services":[{name,servers (alive),clients,outstanding,calls,methods:[name]}
  or {name,"error":{code,message}}])";

constexpr const char* kDescribeDetails =
    R"(Times run from when the client sent to when the reply was written, since the server started; each is an
upper bound within 12.5 %.

Examples:
  arus rpc describe weather
  arus rpc describe weather --json | jq '.services[0].servers[].methods[] | {name, ended}'

JSON: {"bus":DIR,"services":[{name,"servers":[{process,state ("serving", "draining", "dead"),outstanding,
  max_outstanding,clients,workers,started (ns since 1970),"methods":[{name,request_bytes,reply_bytes
  (null: any),idempotent,streaming,calls,ended:{status:calls},p50_ns,p99_ns (null: none has ended)}]}]}
  or {name,"error":{code,message}}])";

constexpr const char* kStatDetails =
    R"(Looks at the counters of the servers, disturbs nobody, and prints what happened in each interval. Calls in
flight are those of the server process; times and errors count since it started.

Examples:
  arus rpc stat
  arus rpc stat weather --interval 5 -c 0
  arus rpc stat --json | jq '.methods[] | select(.ended.unavailable)'

JSON, one object a line: {"bus":DIR,"time" (ns since 1970),"seconds" (of the interval),"methods":[{service,
  server,calls_per_second,outstanding,name,request_bytes,reply_bytes,idempotent,streaming,calls,
  ended:{status:calls},p50_ns,p99_ns} or {service,"error":{code,message}}])";

}  // namespace

void add_rpc_command(CLI::App& app, Command& command) {
  CLI::App* rpc = add_subcommand(app, "rpc", "Call the methods of services, serve them, and see who does", kDetails);
  rpc->require_subcommand(1);

  add_subcommand(*rpc, "list", "Show the services of the bus", kListDetails)->callback([&command] {
    command.run = [&command] { return list(command); };
  });

  CLI::App* describing = add_subcommand(*rpc, "describe", "Show servers, methods and what became of the calls", kDescribeDetails);
  auto names = std::make_shared<std::vector<std::string>>();
  describing->add_option("SERVICE", *names, "Services")->required();
  describing->callback([&command, names] { command.run = [&command, names] { return describe(command, *names); }; });

  CLI::App* stat = add_subcommand(*rpc, "stat", "Show the rate of calls, how long they take and how they end", kStatDetails);
  auto options = std::make_shared<StatOptions>();
  stat->add_option("SERVICE", options->services, "Services (default: all)");
  add_parsed(stat, "--interval", "Time between two looks, at least 100ms [1s]", "DURATION", [options](const std::string& text) {
    options->interval = std::max<std::chrono::nanoseconds>(parse_duration(text, "--interval"), std::chrono::milliseconds(100));
  });
  stat->add_option("-c,--count", options->count, "So many times; 0: until it is interrupted")
      ->type_name("N")
      ->capture_default_str();
  stat->callback([&command, options] { command.run = [&command, options] { return Statistics(command, *options).run(); }; });

  add_rpc_call_command(*rpc, command);
  add_rpc_serve_command(*rpc, command);
}

}  // namespace arus::tool
