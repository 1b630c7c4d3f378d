// arus doctor: says in plain words why data does not flow, or soon will not.
#include "cmd_doctor.h"

#include <algorithm>
#include <memory>

#include "log/bus_directory.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {

std::string_view to_string(Severity severity) noexcept {
  switch (severity) {
    case Severity::ok: return "ok";
    case Severity::note: return "note";
    case Severity::warning: return "warning";
    case Severity::error: break;
  }
  return "error";
}

namespace {

struct Options {
  BusChecks checks;
  bool quiet = false;
  std::string root;
};

Json to_json(const Diagnosis& diagnosis, Severity worst) {
  Json json{{"bus", diagnosis.bus}, {"worst", to_string(worst)}, {"findings", Json::array()}, {"processes", Json::array()}};
  for (const auto& finding : diagnosis.findings) {
    json["findings"].push_back({{"severity", to_string(finding.severity)},
                                {"code", finding.code},
                                {"subject", finding.subject},
                                {"message", finding.message},
                                {"remedy", finding.remedy.empty() ? Json() : Json(finding.remedy)},
                                {"repaired", finding.repaired}});
  }
  for (const auto& process : diagnosis.processes) {
    json["processes"].push_back({{"pid", process.pid},
                                 {"command", process.command},
                                 {"user", process.user},
                                 {"alive", process.alive},
                                 {"stopped", process.stopped()},
                                 {"age_seconds", static_cast<double>(process.age_ns) / 1e9},
                                 {"writes", process.writes}});
  }
  return json;
}

void print(const Diagnosis& diagnosis, Severity worst, bool quiet) {
  Output output;
  output.print("bus {}\n", diagnosis.bus);
  for (const auto& finding : diagnosis.findings) {
    if (quiet && finding.severity < Severity::warning) continue;
    output.print("{:<8} {}: {}\n", to_string(finding.severity), finding.subject, finding.message);
    if (!finding.remedy.empty()) output.print("         -> {}\n", finding.remedy);
  }
  const auto count = [&](Severity severity) {
    return static_cast<std::uint64_t>(std::count_if(diagnosis.findings.begin(), diagnosis.findings.end(),
                                                    [&](const auto& finding) { return finding.severity == severity; }));
  };
  const std::uint64_t errors = count(Severity::error);
  const std::uint64_t warnings = count(Severity::warning);
  if (worst < Severity::warning) {
    output.append("nothing is wrong\n");
  } else {
    output.print("{} error{}, {} warning{}\n", errors, plural(errors), warnings, plural(warnings));
  }
  output.flush();
}

ExitCode diagnose(const Command& command, const Options& options) {
  Diagnosis diagnosis{.bus = command.bus.empty() ? log::default_bus_directory() : command.bus, .findings = {}, .processes = {}};
  check_bus(options.checks, diagnosis);
  check_machine(diagnosis.bus, options.root, diagnosis.findings);
  std::stable_sort(diagnosis.findings.begin(), diagnosis.findings.end(),
                   [](const auto& a, const auto& b) { return a.severity > b.severity; });
  const Severity worst = diagnosis.findings.empty() ? Severity::ok : diagnosis.findings.front().severity;
  if (command.json) {
    emit("{}\n", dump(to_json(diagnosis, worst)));
  } else {
    print(diagnosis, worst, options.quiet);
  }
  if (worst == Severity::warning) return ExitCode::warned;
  if (worst != Severity::error) return ExitCode::ok;
  const ExitCode exit = diagnosis.findings.front().exit;
  return exit == ExitCode::ok ? ExitCode::unsound : exit;
}

constexpr const char* kDetails =
    R"(Looks at the directory and its permissions, at processes that died or are stopped, at every topic
and group, at services, and at the machine; it takes less than a second. Whoever opens a bus, and so
doctor as well, removes what dead processes left in leases and tmp. With --repair it also settles the
records that dead producers left open, takes dead members out of groups, and removes doorbells of the
dead. That can be done any time, twice, and while data flows.

Examples:
  arus doctor
  arus doctor --repair
  arus doctor --json | jq -r '.findings[] | select(.severity=="error") | .message'

JSON: {"bus":DIR,"worst":SEVERITY,
  "findings":[{"severity":"ok"|"note"|"warning"|"error","code","subject","message","remedy" (or null),
               "repaired":BOOL}],                                            the worst first
  "processes":[{pid,command,user,alive,stopped,age_seconds,writes:[TOPIC]}]}
  codes: bus permission foreign_files dead_process stopped_process scratch repair topic idle schema limit
  open_claim dead_claim dead_member dead_fifo holds_back slow_group evicted no_reader no_server busy_server
  space memory remove_ipc cores clock_source huge_pages, and of topics that cannot be read the error's code

Exit codes: 0 nothing is wrong; 11 warnings; 12 errors, or the code of the first error in arus --help
(3 no bus, 4 no permission, 7 damaged, ...).)";

}  // namespace

void add_doctor_command(CLI::App& app, Command& command) {
  CLI::App* doctor = add_subcommand(app, "doctor", "Say why data does not flow, or soon will not", kDetails);
  auto options = std::make_shared<Options>();
  doctor->add_flag("--repair", options->checks.repair, "Settle what dead processes left");
  doctor->add_option("--schema", options->checks.schema, "Expect every topic to have this schema")->type_name("NAME");
  doctor->add_flag("-q,--quiet", options->quiet, "Only warnings and errors");
  doctor->add_option("--root", options->root, "Where /proc, /sys, /run and /etc are looked for [/]")->type_name("DIR");
  doctor->callback([&command, options] { command.run = [&command, options] { return diagnose(command, *options); }; });
}

}  // namespace arus::tool
