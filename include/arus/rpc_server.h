// Serving the methods of a service.
//
//   auto server = bus.server("weather").value();
//   server.method<SensorId, Reading>("latest", [&](const SensorId& id) { return latest_of(id); }, {.idempotent = true}).value();
//   server.run(stop).value();
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "arus/config.h"
#include "arus/record.h"
#include "arus/rpc_client.h"
#include "arus/rpc_status.h"

namespace arus::rpc {

namespace detail {
class ServerState;
class ServerChannel;
struct ServerCall;
}  // namespace detail

struct ServerConfig {
  std::uint32_t workers = 0;             // threads that run the handlers; 0: the polling thread does (lowest latency)
  std::uint32_t max_clients = 64;        // connected at once; at most 1024
  std::uint32_t max_outstanding = 1024;  // calls begun and not answered; above it: `resource_exhausted` at once
  std::chrono::nanoseconds reply_patience = std::chrono::milliseconds(100);  // with a client that leaves no room for a reply
  std::chrono::nanoseconds drain = std::chrono::seconds(5);                  // how long stopping waits for outstanding calls
  Wait wait{};
  std::uint32_t mode = 0600;  // of the service's files: who may write them may call
  std::string group{};        // Unix group of the files; empty: the process's
};

struct MethodConfig {
  bool idempotent = false;  // running it twice does no harm: a client may call again where a server died
  bool streaming = false;   // any number of replies; only for handlers that take a Responder
};

// A request as its handler sees it. Valid until the handler returns.
class Incoming {
 public:
  // Where the client wrote it, or (with workers) a copy. Starts on 16 bytes. Other processes may change the former while it is
  // read: copy what you check before you use it, if you do not trust the client.
  [[nodiscard]] Bytes body() const noexcept { return body_; }
  template <detail::Plain T>
  [[nodiscard]] std::optional<T> as() const noexcept {
    std::optional<T> value;
    if (body_.size() == sizeof(T)) std::memcpy(&value.emplace(), body_.data(), sizeof(T));
    return value;
  }
  [[nodiscard]] std::string_view method() const noexcept;
  // Until the deadline; zero when it has passed, kForever if there is none.
  [[nodiscard]] std::chrono::nanoseconds time_left() const noexcept;
  // Nobody waits for the reply any more: cancelled, past its deadline, or the client is gone.
  [[nodiscard]] bool cancelled() const noexcept;

 private:
  friend class detail::ServerState;
  Incoming(const detail::ServerCall& call, Bytes body) noexcept : call_(call), body_(body) {}
  const detail::ServerCall& call_;
  Bytes body_;
};

// The right to answer one call, now or later, from any thread (one at a time). Move-only. Dropped without finish() or fail(), the call ends with
// `internal`. May outlive its server: then nobody hears of the reply.
class Responder {
 public:
  Responder(Responder&&) noexcept;
  Responder& operator=(Responder&&) noexcept;
  ~Responder();

  // The only reply, or the last of a stream. Never waits: where the client leaves no room, the reply is kept for
  // ServerConfig::reply_patience, then the call ends with `resource_exhausted`. Errors: `cancelled` (nobody waits for it any more),
  // `failed_precondition` (too large for the client's ring; the client is told, too).
  Outcome<void> finish(Bytes reply);
  template <detail::Plain T>
  Outcome<void> finish(const T& reply) {
    return finish(bytes_of(reply));
  }
  // Ends a stream without another reply.
  Outcome<void> finish();
  Outcome<void> fail(const Status& status);

  // Streaming methods: one more reply. Waits for room for ServerConfig::reply_patience; then the call ends with
  // `resource_exhausted`, which is returned. On the polling thread that time is taken from the other clients.
  Outcome<void> write(Bytes reply);
  // Whether there was room; never waits.
  Outcome<bool> try_write(Bytes reply);

  [[nodiscard]] std::chrono::nanoseconds time_left() const noexcept;
  [[nodiscard]] bool cancelled() const noexcept;

 private:
  friend class detail::ServerState;
  Responder(std::shared_ptr<detail::ServerChannel> channel, detail::ServerCall* call) noexcept;
  std::shared_ptr<detail::ServerChannel> channel_;
  detail::ServerCall* call_;
};

namespace detail {

// What a registered handler is inside: it answers through `answer` exactly once, or takes the responder.
class Answer {
 public:
  virtual void reply(Bytes body) = 0;
  virtual void fail(const Status& status) = 0;
  virtual Responder defer() = 0;

 protected:
  ~Answer() = default;
};
using Handler = std::function<void(const Incoming&, Answer&)>;

inline Bytes as_bytes(Bytes body) noexcept { return body; }
inline Bytes as_bytes(std::string_view body) noexcept { return bytes(body); }
template <class T>
requires(Plain<T> && !std::is_convertible_v<T, Bytes>) Bytes as_bytes(const T& body)
noexcept { return bytes_of(body); }

template <class T>
inline constexpr bool kIsOutcome = false;
template <class T>
inline constexpr bool kIsOutcome<tl::expected<T, Status>> = true;

template <class Returned>
void answer_with(Answer& answer, const Returned& returned) {
  if constexpr (kIsOutcome<Returned>) {
    if (!returned)
      answer.fail(returned.error());
    else if constexpr (std::is_same_v<typename Returned::value_type, Done>)
      answer.reply(kNull);
    else
      answer.reply(as_bytes(*returned));
  } else {
    answer.reply(as_bytes(returned));
  }
}

}  // namespace detail

struct ServerStatistics {
  std::uint64_t calls;    // ended, whatever their status
  std::uint64_t refused;  // of those: by the admission limit
  std::uint64_t dropped;  // replies for clients that were gone or had given up
  std::uint32_t outstanding;
  std::uint32_t clients;
};

// One server process (or thread) of a service. Move-only; belongs to one thread at a time, but for stop() and statistics(). Several may serve the same
// service; each has its own clients' rings, so that a stopped or hostile client harms only itself.
//
// Crash: its clients' calls end with `unavailable` within milliseconds; its files are swept by whoever comes by. A request that
// it had not taken is called elsewhere by its client. Fork: every call in the child answers `forked`.
class Server {
 public:
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  // As stop(), without waiting for what is outstanding.
  ~Server();

  // Before start(). Names follow topics', up to 63 characters. Errors: `invalid_argument`, `already_exists`.
  // A handler that throws ends its call with `internal` and what() as the message.
  //
  // Bytes: the handler returns what converts to bytes (copied once into the client's ring), or an Outcome of it.
  template <class F>
  requires std::invocable<F&, const Incoming&> Result<void> method(std::string_view name, F handler,
                                                                   const MethodConfig& config = {}) {
    return add(name, 0, 0, config, [handler = std::move(handler)](const Incoming& request, detail::Answer& answer) mutable {
      detail::answer_with(answer, handler(request));
    });
  }
  // Typed: sizes are checked on both sides. The handler takes (const Q&) or (const Q&, const Incoming&) and returns R or Outcome<R>.
  template <detail::Plain Q, detail::Plain R, class F>
  Result<void> method(std::string_view name, F handler, const MethodConfig& config = {}) {
    return add(name, sizeof(Q), sizeof(R), config,
               [handler = std::move(handler)](const Incoming& request, detail::Answer& answer) mutable {
                 const Q value = *request.as<Q>();  // its size has been checked
                 if constexpr (std::invocable<F&, const Q&, const Incoming&>)
                   detail::answer_with(answer, handler(value, request));
                 else
                   detail::answer_with(answer, handler(value));
               });
  }
  // Deferred or streaming: the handler takes a Responder and answers when it likes, from any thread.
  template <class F>
  requires std::invocable<F&, const Incoming&, Responder> Result<void> method(std::string_view name, F handler,
                                                                              const MethodConfig& config = {}) {
    return add(name, 0, 0, config, [handler = std::move(handler)](const Incoming& request, detail::Answer& answer) mutable {
      handler(request, answer.defer());
    });
  }

  // Makes the service visible; clients may call from here on. poll() and run() do it if it was not done.
  Result<void> start();
  // Takes what clients have sent and runs its handlers, or hands it to the workers; waits for `timeout` at most if there is nothing.
  // Returns how many requests it took.
  Result<std::size_t> poll(std::chrono::nanoseconds timeout);
  // Polls until stop() or `stop`, then drains: refuses new calls with `unavailable` (clients take them elsewhere), waits for
  // ServerConfig::drain until those outstanding have ended, ends the rest with `unavailable`, and is gone.
  Result<void> run(std::stop_token stop = {});
  // Makes run(), or a poll() that waits, return. From any thread, and from signal handlers.
  void stop() noexcept;
  // What run() does at its end.
  Result<void> drain();

  [[nodiscard]] const std::string& service() const noexcept;
  [[nodiscard]] ServerStatistics statistics() const noexcept;

 private:
  friend class arus::Bus;
  explicit Server(std::unique_ptr<detail::ServerState> state) noexcept;
  Result<void> add(std::string_view name, std::size_t request_size, std::size_t reply_size, const MethodConfig& config,
                   detail::Handler handler);
  std::unique_ptr<detail::ServerState> state_;
};

}  // namespace arus::rpc
