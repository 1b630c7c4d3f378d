// The `arus` command: reads the command line, runs one subcommand, and turns every failure into a message and an exit code.
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>

#include "command.h"
#include "stop.h"
#include "terminal.h"

#ifndef ARUS_VERSION
#define ARUS_VERSION "unknown"
#endif

namespace arus::tool {
namespace {

constexpr const char* kDetails =
    R"(Start here:
  arus topic create weather -p 4
  echo 'oslo:21.5' | arus produce weather -K :
  arus consume weather -f '%k is %s\n' -e

The bus is one directory: --bus, else $ARUS_DIR, else /run/arus where it is writable, else
/dev/shm/arus-UID. Each command explains itself: arus consume --help

With --json results are JSON on stdout, and a failure is {"error":{"code","message","exit"}}.
Messages for people go to stderr.

Exit codes:
  0  done (consume and ingest: also when ended by SIGINT or SIGTERM)
  1  failed        2  wrong argument      3  not found       4  no permission
  5  no space      6  refused: exists, differs, in use, at a limit, forbidden
  7  damaged: corrupt, another version, from before the last boot
  8  done, but some of the input was refused
  9  deleted meanwhile                   10  timed out
  11  doctor: warnings                   12  doctor: errors that have no code of their own
  20 + N  rpc call: the call ended with gRPC's status N; see arus rpc call --help
  128 + N  ended by signal N before the work was done)";

std::string command_line_of(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* used = &app; !used->get_subcommands().empty();) {
    used = used->get_subcommands().front();
    name += " " + used->get_name();
  }
  return name;
}

int fail(const Command& command, ExitCode exit_code, const std::string& code, const std::string& message) {
  warn(message);
  if (command.json) {
    const Json json{{"error", {{"code", code}, {"message", message}, {"exit", static_cast<int>(exit_code)}}}};
    try {
      emit("{}\n", dump(json));
    } catch (...) {  // the reader is gone; the exit code says it all
    }
  }
  return static_cast<int>(exit_code);
}

int run(int argc, char** argv) {
  Command command;
  CLI::App app("A message bus over shared memory: Kafka's model on one host, without a daemon.", "arus");
  app.footer(kDetails);
  app.set_version_flag("--version", "arus " ARUS_VERSION);
  app.set_help_flag("-h,--help", "Explain this command and exit");
  app.formatter(std::make_shared<HelpFormatter>());  // of all subcommands, too
  app.add_option("--bus", command.bus, "Directory of the bus")->envname("ARUS_DIR")->type_name("DIR");
  app.add_flag("--json", command.json, "Results as JSON");
  app.require_subcommand(1);
  add_topic_command(app, command);
  add_group_command(app, command);
  add_produce_command(app, command);
  add_consume_command(app, command);
  add_ingest_command(app, command);
  add_export_command(app, command);
  add_bench_command(app, command);
  add_bus_command(app, command);
  add_top_command(app, command);
  add_stat_command(app, command);
  add_hz_command(app, command);
  add_tail_command(app, command);
  add_doctor_command(app, command);
  add_plan_command(app, command);
  add_rpc_command(app, command);

  if (argc == 1) {
    emit("{}", app.help());
    return static_cast<int>(ExitCode::usage);
  }

  try {
    app.parse(argc, argv);
    return static_cast<int>(command.run());
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return fail(command, ExitCode::usage, "usage", fmt::format("{}; see {} --help", error.what(), command_line_of(app)));
  } catch (const Failure& failure) {
    return fail(command, failure.exit_code(), failure.code(), failure.message());
  } catch (const OutputClosed&) {
    return static_cast<int>(ExitCode::ok);
  } catch (const std::exception& error) {
    return fail(command, ExitCode::failed, "internal", error.what());
  }
}

}  // namespace
}  // namespace arus::tool

int main(int argc, char** argv) {
  arus::tool::Stop::install();
  return arus::tool::run(argc, argv);
}
