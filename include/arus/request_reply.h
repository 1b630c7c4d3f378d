// Calls over ordinary topics: a request is a record that names the topic of its reply, so that calls can be recorded, replayed and
// bridged like all that goes through topics. Beside rpc_client.h it is slower and promises less: no cancellation, no notice of a dead
// replier before the deadline, and a request may be answered twice when a replier dies (the second reply is dropped as late).
//
// Headers of a request                                          of its reply, which has the request's key
//   reply_to        name of the topic for the reply               correlation_id   that of the request
//   correlation_id  any text of at most 128 bytes                 status           gRPC's code in decimal; absent: 0, ok
//   timeout_ns      decimal; its deadline is so long after        status_message   for people
//                   the record's timestamp; absent: none
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "arus/bus.h"
#include "arus/config.h"
#include "arus/record.h"
#include "arus/result.h"
#include "arus/rpc_status.h"
#include "arus/topic.h"

namespace arus {

namespace detail {
class RequesterState;
class ReplierState;
}  // namespace detail

struct RequesterConfig {
  std::string requests{};                                      // the topic that requests go to
  std::string replies{};                                       // the topic for replies; requesters may share one
  std::chrono::nanoseconds timeout = std::chrono::seconds(1);  // of requests that name none; kForever only if you say so
  std::uint32_t max_in_flight = 1024;                          // requests whose outcome has not been taken
  Wait wait{};
};

struct RequestOptions {
  Bytes key{};
  std::span<const Header> headers{};  // beside those above
  std::optional<std::chrono::nanoseconds>
      timeout{};  // zero and less: past, the request ends with `deadline_exceeded` and is not sent
};

// A request that is under way. Its outcome is decided once, by its reply or its deadline, while any call of its requester waits or
// polls. Move-only, same thread as its requester; may outlive it (then it has ended with `cancelled`). Dropped before: nobody waits
// for the reply.
class Pending {
 public:
  Pending(Pending&& other) noexcept : state_(std::move(other.state_)), number_(std::exchange(other.number_, 0)) {}
  Pending& operator=(Pending&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~Pending() {
    if (number_ != 0) drop();
  }

  // Whether get() returns at once. Looks.
  [[nodiscard]] bool ready();
  // Until it is ready, for `timeout` at most; ready().
  bool wait(std::chrono::nanoseconds timeout);
  // Waits for the outcome and takes it, once: the reply as a copy, or the replier's status, or this side's.
  rpc::Outcome<OwnedRecord> get();

 private:
  friend class Requester;
  Pending(std::shared_ptr<detail::RequesterState> state, std::uint64_t number) noexcept
      : state_(std::move(state)), number_(number) {}
  void drop() noexcept;
  std::shared_ptr<detail::RequesterState> state_;
  std::uint64_t number_;
};

struct RequesterStatistics {
  std::uint64_t sent;
  std::uint64_t late_replies;  // to requests that had ended, or a second time; dropped
  std::uint64_t lost_replies;  // records of the topic of replies, of whoever, that were overwritten before this requester looked
  std::uint32_t in_flight;
};

// Sends requests and finds their replies. Move-only; belongs to one thread at a time. It reads the replies as an observer, which
// disturbs nobody and leaves nothing behind; the topic's ring must have room for the replies that come between two of its waits or polls.
//
// Codes of this side: `deadline_exceeded` (also where a full ring held it up so long), `resource_exhausted` (max_in_flight),
// `invalid_argument` (a header of the names above), `out_of_range` (too large), `unavailable` (a topic was deleted), `cancelled`.
class Requester {
 public:
  // Both topics must exist: `not_found`. Replies to what is requested from here on are seen.
  static Result<Requester> open(const Bus& bus, const RequesterConfig& config);
  Requester(Requester&&) noexcept;
  Requester& operator=(Requester&&) noexcept;
  ~Requester();

  rpc::Outcome<OwnedRecord> request(Bytes value, const RequestOptions& options = {});
  rpc::Outcome<Pending> request_async(Bytes value, const RequestOptions& options = {});
  // Waits for `timeout` at most until at least one request has ended. Returns how many did.
  std::size_t poll(std::chrono::nanoseconds timeout);

  [[nodiscard]] RequesterStatistics statistics() const noexcept;

 private:
  explicit Requester(std::shared_ptr<detail::RequesterState> state) noexcept;
  std::shared_ptr<detail::RequesterState> state_;
};

struct ReplierConfig {
  std::string requests{};          // the topic that requests come from
  std::string group = "repliers";  // repliers of one group share the requests; it is lossless: a full ring holds requesters back
  std::vector<std::string> reply_topics{};                           // if not empty: the only topics that it replies to
  std::chrono::nanoseconds reply_timeout = std::chrono::seconds(1);  // with a full topic of replies; then the reply is dropped
  Wait wait{};
};

struct ReplierStatistics {
  std::uint64_t answered;      // replies sent, whatever their status
  std::uint64_t expired;       // requests whose deadline had passed when they were read; not handled
  std::uint64_t unanswerable;  // without reply_to or correlation_id, or with a reply_to that cannot be; not handled
  std::uint64_t undelivered;   // handled, and no reply could be sent
};

// Answers requests. Move-only; belongs to one thread at a time.
// Crash: the request it was at is handled again by its successor, as are those it had not come to.
class Replier {
 public:
  // Returns what becomes the reply's value, or a status. The record's views are valid until it returns. What it throws ends the request
  // with `internal`.
  using Handler = std::function<rpc::Outcome<std::string>(const Record& request)>;

  // The topic must exist: `not_found`. Starts with the oldest request that is still there and not settled by its group.
  static Result<Replier> open(const Bus& bus, const ReplierConfig& config);
  Replier(Replier&&) noexcept;
  Replier& operator=(Replier&&) noexcept;
  ~Replier();

  // Takes what there is, waits for `timeout` at most if there is nothing, answers each. Returns how many it took. Errors: those of
  // Consumer::poll() and commit().
  Result<std::size_t> serve(std::chrono::nanoseconds timeout, const Handler& handler);
  // Serves until `stop`.
  Result<void> run(const std::stop_token& stop, const Handler& handler);

  [[nodiscard]] ReplierStatistics statistics() const noexcept;

 private:
  explicit Replier(std::unique_ptr<detail::ReplierState> state) noexcept;
  std::unique_ptr<detail::ReplierState> state_;
};

// Until the deadline of a request as a replier reads it; zero when it has passed, kForever if it has none.
std::chrono::nanoseconds time_left(const Record& request) noexcept;

}  // namespace arus
