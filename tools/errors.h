// How the command fails: exit codes, and the one exception that carries an error to main().
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "arus/result.h"

namespace arus::tool {

// Documented in `arus --help`; scripts rely on them.
enum class ExitCode : int {
  ok = 0,
  failed = 1,       // any failure that has no code of its own
  usage = 2,        // an argument is wrong: nothing was done
  not_found = 3,    // no such bus, topic, partition or group
  permission = 4,   // the files belong to somebody else
  no_space = 5,     // the file system is full
  refused = 6,      // what is there stands against it: exists, other configuration, in use, at its limit, forbidden
  damaged = 7,      // a segment is corrupt, of another version, or older than the last boot
  partly = 8,       // the work is done, but some input was refused (reported line by line)
  deleted = 9,      // the topic or the bus was deleted meanwhile
  timed_out = 10,   // waited as long as it was told to
  warned = 11,      // doctor: data flows, and soon may not
  unsound = 12,     // doctor: data does not flow
  status = 20,      // plus gRPC's number of a status: a call that ended with it
  signalled = 128,  // plus the signal's number: interrupted before the work was done
};

ExitCode exit_code_of(Errc code) noexcept;

class Failure : public std::exception {
 public:
  Failure(ExitCode exit_code, std::string_view code, std::string message)
      : exit_code_(exit_code), code_(code), message_(std::move(message)) {}
  explicit Failure(const Error& error)
      : Failure(exit_code_of(error.code()), to_string(error.code()), std::string(error.message())) {}
  Failure(const Error& error, std::string message)
      : Failure(exit_code_of(error.code()), to_string(error.code()), std::move(message)) {}

  [[nodiscard]] ExitCode exit_code() const noexcept { return exit_code_; }
  [[nodiscard]] const std::string& code() const noexcept { return code_; }  // as in the JSON of an error
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

 private:
  ExitCode exit_code_;
  std::string code_;
  std::string message_;
};

// What the user typed cannot be meant.
inline Failure usage_error(std::string message) { return {ExitCode::usage, to_string(Errc::invalid_argument), std::move(message)}; }

// The value, or a Failure.
template <class T>
T must(tl::expected<T, Error> result) {
  if (!result) throw Failure(result.error());
  return *std::move(result);
}

// Whoever read our output is gone. Not a failure: the command ends quietly.
struct OutputClosed {};

}  // namespace arus::tool
