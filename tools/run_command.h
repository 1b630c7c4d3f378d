// Runs a command with bytes on its stdin and takes what it writes, until it has ended or nobody wants it any more.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace arus::tool {

struct CommandResult {
  enum class End : std::uint8_t {
    exited,       // `code`
    signalled,    // by signal `code`
    given_up,     // and killed
    too_much,     // it wrote more than it may, and was killed
    not_started,  // errno is `code`
  };
  End end = End::not_started;
  int code = 0;
  std::string output;     // of stdout
  std::string complaint;  // the end of what it wrote to stderr, without line feeds at its ends
};

// Of one word: a command line for sh; else a program and its arguments. The program gets `environment` (NAME=value) beside this
// process's, and a process group of its own. Its stderr also goes to this process's.
//
// Returns when it has ended and its stdout is closed by all who have it. `give_up` is asked every 20 ms; when it says so the group gets
// SIGTERM, and a second later SIGKILL. It dies with this process. Thread-safe.
CommandResult run_command(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                          std::string_view input, std::size_t most_output, const std::function<bool()>& give_up);

}  // namespace arus::tool
