// Errors are values. Every fallible call returns Result<T>; nothing else is thrown, printed or aborted by the library.
//
//   if (auto topic = bus.topic("weather")) use(*topic); else report(topic.error().message());
//   auto topic = bus.topic("weather").value();   // throws tl::bad_expected_access<arus::Error> in *your* code on an error
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace arus {

enum class Errc : std::uint8_t {
  // Expected outcomes of normal work.
  full = 1,        // no room in the ring now, and the call was not to wait
  timed_out,       // the wait ended first; the message says whom it waited for
  would_deadlock,  // a blocking send while this producer's own open loan is what it would wait for
  // What the caller passed.
  invalid_argument,  // the message names the argument and what was expected
  too_large,         // a record above the partition's maximum
  out_of_range,      // an offset that does not exist (yet); the message names the valid range
  // What was found.
  not_found,        // no such bus, topic, partition or group
  already_exists,   // create, where open_or_create was perhaps meant
  config_mismatch,  // open_or_create found another configuration; the message names the field and both values
  schema_mismatch,  // the topic carries another schema or record size
  in_use,           // held by a live process, which the message names
  limit_reached,    // a limit fixed at creation (producers, groups, sleepers); the message names it
  forbidden,        // the topic's configuration does not allow it (back-pressure)
  evicted,          // the group was evicted; what it lost is reported by exact range
  fenced,           // this member was taken out of its group; subscribe again
  deleted,          // the topic or the bus was deleted while this was attached to it
  forked,           // this object belongs to the parent process; open the bus anew in the child
  // What the system said.
  permission_denied,  // names the file, its owner and its mode
  no_space,           // names need and have
  version_mismatch,   // written by another layout version; names both
  corrupt,            // a segment with impossible content; names file and field
  stale_boot,         // written before the last boot: a power cut may have torn it
  exhausted,          // positions or offsets of a partition are used up (after 2^52)
  system,             // any other error of a system call; names the call and the file
};

// The name of a code as it stands above, for logs and JSON.
std::string_view to_string(Errc code) noexcept;

// A code for programs and a sentence for people. An Error of an expected outcome carries no text of its own and costs no
// allocation. Copyable, thread-safe to read.
class Error {
 public:
  explicit Error(Errc code) noexcept : code_(code) {}
  Error(Errc code, std::string message) : code_(code), message_(std::make_shared<const std::string>(std::move(message))) {}

  [[nodiscard]] Errc code() const noexcept { return code_; }
  // What happened, to what, what was expected, what to do. The view lives as long as this Error.
  [[nodiscard]] std::string_view message() const noexcept { return message_ ? std::string_view(*message_) : to_string(code_); }

 private:
  Errc code_;
  std::shared_ptr<const std::string> message_;
};

// What a Result<void> holds: the tl::expected<void> of libexpected 1.0 has no value() to throw.
struct Done {};

template <class T>
using Result = tl::expected<std::conditional_t<std::is_void_v<T>, Done, T>, Error>;

}  // namespace arus
