// What `arus doctor` is made of: findings, and where they come from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"

namespace arus::tool {

enum class Severity : std::uint8_t {
  ok,       // looked at, and as it should be
  note,     // worth knowing
  warning,  // data flows, and soon may not
  error,    // data does not flow
};
std::string_view to_string(Severity severity) noexcept;

struct Finding {
  Severity severity;
  std::string code;              // for scripts; documented in `arus doctor --help`
  std::string subject;           // the topic, group, process or file
  std::string message;           // one sentence
  std::string remedy{};          // what to do about it; empty: nothing
  ExitCode exit = ExitCode::ok;  // of an error that has a code of its own
  bool repaired = false;         // it was so, and is not any more
};
using Findings = std::vector<Finding>;

// A process that has a lease on the bus.
struct Process {
  std::uint64_t incarnation;
  std::int64_t pid;  // 0: unknown
  std::string command;
  std::string user;
  bool alive;
  char state;  // as in /proc/PID/stat; '?': not to be seen from here
  std::int64_t age_ns;
  std::vector<std::string> writes;  // topics of which it is a producer

  [[nodiscard]] bool stopped() const noexcept { return alive && (state == 'T' || state == 't'); }
  [[nodiscard]] std::string name() const;  // "pid 12 (collector), attached for 3 h 2 min"
};

struct Diagnosis {
  std::string bus;
  Findings findings;
  std::vector<Process> processes;
};

// Cores, clock source, huge pages, memory, and systemd's RemoveIPC for a bus in that directory. `root`: where / is.
void check_machine(const std::string& bus, const std::string& root, Findings& findings);

struct BusChecks {
  bool repair = false;
  std::string schema{};  // that every topic is expected to have; empty: any
};
void check_bus(const BusChecks& checks, Diagnosis& diagnosis);

std::string user_name(std::uint32_t uid);

}  // namespace arus::tool
