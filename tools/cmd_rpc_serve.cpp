// arus rpc serve: a method whose handler is a command, run anew for every request.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cmd_rpc.h"
#include "parse.h"
#include "run_command.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using rpc::Code;
using rpc::Outcome;
using rpc::Status;

constexpr std::size_t kMostReply = 32u << 20;  // no ring takes more

struct Options {
  std::string service;
  std::string method;
  std::vector<std::string> words;
  std::uint32_t jobs = std::max(1u, std::thread::hardware_concurrency());
  std::uint32_t queue = 256;
  std::chrono::nanoseconds drain = rpc::ServerConfig{}.drain;
  std::uint32_t mode = rpc::ServerConfig{}.mode;
  std::string group;
  bool idempotent = false;
  bool quiet = false;
};

tl::unexpected<Status> ends_with(Code code, std::string message) {
  return tl::unexpected<Status>(Status(code, std::move(message)));
}

Outcome<std::string> outcome_of(CommandResult result) {
  const auto because = [&](std::string otherwise) { return result.complaint.empty() ? std::move(otherwise) : result.complaint; };
  switch (result.end) {
    case CommandResult::End::exited: {
      if (result.code == 0) return std::move(result.output);
      const int code = result.code - static_cast<int>(ExitCode::status);
      const bool named = code > 0 && code < static_cast<int>(rpc::kCodes);
      return ends_with(named ? static_cast<Code>(code) : Code::unknown,
                       because(fmt::format("the command exited with {}", result.code)));
    }
    case CommandResult::End::signalled:
      return ends_with(Code::internal,
                       fmt::format("the command was killed by signal {} ({})", result.code, strsignal(result.code)));
    case CommandResult::End::given_up: return ends_with(Code::cancelled, "the command was killed: nobody waits for its reply");
    case CommandResult::End::too_much:
      return ends_with(Code::failed_precondition,
                       fmt::format("the command was killed: it wrote more than {}", human_bytes(kMostReply)));
    case CommandResult::End::not_started:
      return ends_with(Code::internal, fmt::format("the command cannot be run: {}", std::strerror(result.code)));
  }
  return ends_with(Code::internal, "the command ended in no known way");
}

class Serving {
 public:
  Serving(const Command& command, const Options& options)
      : command_(command),
        options_(options),
        bus_(open_or_create_bus(command)),
        server_(must(bus_.server(options.service, {.workers = options.jobs,
                                                   .max_outstanding = options.jobs + options.queue,
                                                   .drain = options.drain,
                                                   .mode = options.mode,
                                                   .group = options.group}))) {}

  ExitCode run() {
    must(server_.method(options_.method, [this](const rpc::Incoming& request) { return handle(request); },
                        {.idempotent = options_.idempotent}));
    const Stop::Hook hook([this] { server_.stop(); });
    must(server_.start());
    if (!options_.quiet) {
      warn(fmt::format("serving {} of {} on {}, {} at once; Ctrl-C ends it", options_.method, options_.service, bus_.directory(),
                       options_.jobs));
    }
    const auto ended = server_.run();
    report();
    must(ended);
    return ExitCode::ok;
  }

 private:
  // By several threads.
  Outcome<std::string> handle(const rpc::Incoming& request) const {
    const auto left = request.time_left();
    std::vector<std::string> environment{"ARUS_RPC_SERVICE=" + options_.service, "ARUS_RPC_METHOD=" + options_.method};
    if (left != kForever)
      environment.push_back(fmt::format("ARUS_RPC_SECONDS={:.3f}", std::chrono::duration<double>(left).count()));
    return outcome_of(
        run_command(options_.words, environment, text(request.body()), kMostReply, [&request] { return request.cancelled(); }));
  }

  void report() const {
    const auto statistics = server_.statistics();
    const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    if (command_.json) {
      const Json json{{"service", options_.service},   {"method", options_.method},     {"calls", statistics.calls},
                      {"refused", statistics.refused}, {"dropped", statistics.dropped}, {"seconds", seconds}};
      emit("{}\n", dump(json));
    } else if (!options_.quiet) {
      warn(fmt::format("{} call{} in {:.1f} s; {} refused, {} replies that nobody waited for", statistics.calls,
                       plural(statistics.calls), seconds, statistics.refused, statistics.dropped));
    }
  }

  const Command& command_;
  const Options& options_;
  Bus bus_;
  rpc::Server server_;
  Clock::time_point began_ = Clock::now();
};

constexpr const char* kDetails =
    R"(The command finds the request on its stdin; what it writes to stdout, until all who have it open have closed
it, is the reply (at most 32 MiB). COMMAND is one word for sh, or a program and its arguments, and runs
anew for every call, several at once. It finds ARUS_RPC_SERVICE, ARUS_RPC_METHOD and ARUS_RPC_SECONDS (until
the deadline) in its environment. Another exit code than 0 ends the call with a status, and its message is the
end of what came on stderr: 20 + N is gRPC's status N (see arus rpc call --help), any other one is "unknown".

A command whose caller has cancelled, gone or run out of time gets SIGTERM, a second later SIGKILL, with all
of its process group. SIGTERM or SIGINT drain: new calls go to other servers, those under way may
end (--drain), a second signal ends everything at once.

Examples:
  arus rpc serve text upper -- tr a-z A-Z
  arus rpc serve math square -j 4 -- 'read x; echo $((x * x))'
  arus rpc serve files read --idempotent -- 'read name; cat -- "$name" || exit 25'   # not_found

JSON, at the end: {"service","method","calls","refused" (by --queue),"dropped" (nobody waited),"seconds"})";

}  // namespace

void add_rpc_serve_command(CLI::App& rpc, Command& command) {
  CLI::App* serve = add_subcommand(rpc, "serve", "Serve a method with a shell command", kDetails);
  auto options = std::make_shared<Options>();
  serve->add_option("SERVICE", options->service, "Service")->required();
  serve->add_option("METHOD", options->method, "Method")->required();
  serve->add_option("COMMAND", options->words, "What to run, behind --")->required();
  serve->add_option("-j,--jobs", options->jobs, "Commands that run at once")
      ->check(CLI::Range(1, 256))
      ->type_name("N")
      ->capture_default_str();
  serve->add_option("--queue", options->queue, "Calls that may wait for one; then resource_exhausted")
      ->check(CLI::Range(0, 1'000'000))
      ->type_name("N")
      ->capture_default_str();
  add_parsed(serve, "--drain", "How long calls may go on when it is to end [5s]", "DURATION",
             [options](const std::string& text) { options->drain = parse_duration(text, "--drain"); });
  serve->add_flag("--idempotent", options->idempotent, "Running it twice does no harm: callers may try again elsewhere");
  add_parsed(serve, "--mode", "Permissions of the service: who may write may call [0600]", "OCTAL",
             [options](const std::string& text) { options->mode = parse_mode(text, "--mode"); });
  serve->add_option("--group", options->group, "Unix group of the service")->type_name("NAME");
  serve->add_flag("-q,--quiet", options->quiet, "Say nothing at the beginning and the end");
  serve->callback([&command, options] { command.run = [&command, options] { return Serving(command, *options).run(); }; });
}

}  // namespace arus::tool
