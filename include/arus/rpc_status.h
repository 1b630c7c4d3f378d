// How a call ends: with a reply, or with a status in gRPC's canonical codes
// (https://grpc.github.io/grpc/core/md_doc_statuscodes.html: names, numbers and meanings are theirs).
//
//   if (auto reply = client.call("latest", request)) use(reply->body()); else report(reply.error().message());
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include "arus/result.h"

namespace arus::rpc {

// The comments say when this library gives a code by itself; a handler may give any of them.
enum class Code : std::uint8_t {
  ok = 0,
  cancelled = 1,            // by the caller; towards a handler: nobody waits for its reply any more
  unknown = 2,              // of handlers only
  invalid_argument = 3,     // a request or reply of the wrong size for a typed method (names both); a name that cannot be
  deadline_exceeded = 4,    // before there was a reply, or before the call began
  not_found = 5,            // no such service
  already_exists = 6,       // of handlers only
  permission_denied = 7,    // the service's files may not be used by this user
  resource_exhausted = 8,   // the server's admission limit, its clients' limit, the client's limit of calls in flight; a client
                            // that does not read its replies
  failed_precondition = 9,  // a reply that is too large for the client's ring; a forked child (cause() is Errc::forked)
  aborted = 10,             // of handlers only
  out_of_range = 11,        // a request that is too large for the ring (names the limit)
  unimplemented = 12,       // no such method
  internal = 13,            // a handler threw (with what it said), or dropped its call
  unavailable = 14,         // no live server, or the one that had the call died, or it stops
  data_loss = 15,           // impossible content in shared memory (cause() is Errc::corrupt)
  unauthenticated = 16,     // of handlers only
};
inline constexpr std::size_t kCodes = 17;

// "deadline_exceeded", as above.
std::string_view to_string(Code code) noexcept;

// A code for programs and a sentence for people. Copyable, thread-safe to read.
class Status {
 public:
  explicit Status(Code code) noexcept : code_(code) {}
  Status(Code code, std::string message) : code_(code), message_(std::make_shared<const std::string>(std::move(message))) {}
  // An error of the library on this side, in the code that fits it best.
  explicit Status(const Error& error);

  [[nodiscard]] Code code() const noexcept { return code_; }
  // The view lives as long as this Status.
  [[nodiscard]] std::string_view message() const noexcept { return message_ ? std::string_view(*message_) : to_string(code_); }
  // Where it comes from an error of the library on this side: its code.
  [[nodiscard]] std::optional<Errc> cause() const noexcept { return cause_; }

 private:
  Code code_;
  std::optional<Errc> cause_;
  std::shared_ptr<const std::string> message_;
};

// What a call gives: exactly one of a T and a Status other than ok.
template <class T>
using Outcome = tl::expected<std::conditional_t<std::is_void_v<T>, Done, T>, Status>;

}  // namespace arus::rpc
