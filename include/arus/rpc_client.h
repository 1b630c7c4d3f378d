// Calling the methods of a service.
//
//   auto weather = bus.client("weather").value();
//   auto reading = weather.call<Reading>("latest", SensorId{7}, {.timeout = 50ms});   // Outcome<Reading>
#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "arus/config.h"
#include "arus/record.h"
#include "arus/rpc_status.h"

namespace arus {
class Bus;
}

namespace arus::rpc {

namespace detail {
class ClientState;
class ClientChannel;
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_convertible_v<T, Bytes> &&
                !std::is_convertible_v<T, std::string_view>;
}  // namespace detail

struct ClientConfig {
  std::chrono::nanoseconds timeout = std::chrono::seconds(1);  // of calls that name none; kForever only if you say so
  std::uint32_t max_in_flight = 128;                           // calls at once, over all servers; at most 512
  std::uint64_t ring_bytes =
      256u << 10;                  // of each of the two rings that are shared with a server: a power of two, 64 KiB to 64 MiB
  std::uint32_t max_servers = 16;  // server processes to be connected to at once
  std::uint32_t retries = 2;       // of a call whose server died, where its method is declared idempotent
  Wait wait{};
};

struct CallOptions {
  // From now. Absent: the client's. Zero and less: past, the call ends with `deadline_exceeded` and is not sent.
  std::optional<std::chrono::nanoseconds> timeout{};
};

// A reply where the server wrote it. Its room in the ring, and that of what came after it, goes back to the server with its end: copy
// what you keep for long. Move-only, same thread as its client; may outlive it.
class Reply {
 public:
  Reply(Reply&& other) noexcept
      : channel_(std::exchange(other.channel_, nullptr)),
        position_(other.position_),
        body_(other.body_),
        copy_(std::move(other.copy_)) {}
  Reply& operator=(Reply&& other) noexcept {
    std::swap(channel_, other.channel_);
    std::swap(position_, other.position_);
    std::swap(body_, other.body_);
    std::swap(copy_, other.copy_);
    return *this;
  }
  ~Reply() {
    if (channel_ != nullptr) release();
  }
  // Starts on 16 bytes.
  [[nodiscard]] Bytes body() const noexcept { return body_; }
  // The body as a T, if it has exactly the size of one.
  template <detail::Plain T>
  [[nodiscard]] std::optional<T> as() const noexcept {
    std::optional<T> value;
    if (body_.size() == sizeof(T)) std::memcpy(&value.emplace(), body_.data(), sizeof(T));
    return value;
  }

 private:
  friend class detail::ClientState;
  Reply(detail::ClientChannel* channel, std::uint64_t position, Bytes body, std::unique_ptr<std::byte[]> copy) noexcept
      : channel_(channel), position_(position), body_(body), copy_(std::move(copy)) {}
  void release() noexcept;
  detail::ClientChannel* channel_;  // null: nothing is held there
  std::uint64_t position_;
  Bytes body_;
  std::unique_ptr<std::byte[]> copy_;  // of what stayed untaken until the ring needed its room
};

// A call that is under way. Its outcome is decided once, by the first of: reply, deadline, cancel(), death of its server. It comes about
// while any call of its client waits or polls: there is no thread behind. Move-only, same thread as its client. Dropped before it
// has ended, it is cancelled. A Call that outlives its client has ended with `cancelled`.
class Call {
 public:
  Call(Call&& other) noexcept : state_(std::move(other.state_)), id_(std::exchange(other.id_, 0)) {}
  Call& operator=(Call&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(id_, other.id_);
    return *this;
  }
  ~Call() {
    if (id_ != 0) drop();
  }

  // Whether get() returns at once. Looks.
  [[nodiscard]] bool ready();
  // Until it is ready, for `timeout` at most; ready().
  bool wait(std::chrono::nanoseconds timeout);
  // Waits for the outcome and takes it; one that is there, without a look at other calls. Once; afterwards the Call is empty.
  Outcome<Reply> get();
  // The outcome is `cancelled` from here on, unless there is one already; the server is told.
  void cancel();
  // Instead of get(): called with the outcome by whatever wait or poll of the client finds it, at once if there is one already.
  // May make calls; must not throw. Copying or moving the function may allocate.
  void then(std::function<void(Outcome<Reply>)> done) &&;

  // `co_await client.call_async(…)` gives the outcome. Resumed by whatever wait or poll of the client finds it.
  [[nodiscard]] bool await_ready() { return ready(); }
  void await_suspend(std::coroutine_handle<> waiter);
  Outcome<Reply> await_resume() { return get(); }

 private:
  friend class Client;
  friend class Request;
  friend class Stream;
  friend class detail::ClientState;
  Call(std::shared_ptr<detail::ClientState> state, std::uint64_t id) noexcept : state_(std::move(state)), id_(id) {}
  void drop() noexcept;
  std::shared_ptr<detail::ClientState> state_;
  std::uint64_t id_;
};

// The replies of a streaming method, in order. Move-only, same thread as its client. Dropped before its end, it is cancelled. What is
// not taken holds the server back after a quarter of the ring, without disturbing other calls.
class Stream {
 public:
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) noexcept = default;
  // The next reply; nothing after the last. Waits until the call's deadline at most. After an error there is nothing more.
  Outcome<std::optional<Reply>> next();
  // `deadline_exceeded` of the wait alone is told by ready().
  [[nodiscard]] bool ready();
  bool wait(std::chrono::nanoseconds timeout);
  void cancel() { call_.cancel(); }

 private:
  friend class Client;
  explicit Stream(Call call) noexcept : call_(std::move(call)) {}
  Call call_;
};

// A request that is built in the ring, where the server reads it. Dropped without send(), it never was. No other request can be
// begun by the client before it is sent or dropped (`failed_precondition`).
class Request {
 public:
  Request(Request&& other) noexcept : state_(std::move(other.state_)), id_(std::exchange(other.id_, 0)), data_(other.data_) {}
  Request& operator=(Request&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(id_, other.id_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Request() {
    if (id_ != 0) abort();
  }
  // Aligned to 16; uninitialised.
  [[nodiscard]] std::span<std::byte> data() noexcept { return data_; }
  template <class T>
  requires std::is_trivially_copyable_v<T> && std::is_trivially_default_constructible_v<T> T& as() noexcept {
    static_assert(alignof(T) <= 16);
    return *::new (static_cast<void*>(data_.data())) T;
  }
  Call send();

 private:
  friend class Client;
  friend class detail::ClientState;
  Request(std::shared_ptr<detail::ClientState> state, std::uint64_t id, std::span<std::byte> data) noexcept
      : state_(std::move(state)), id_(id), data_(data) {}
  void abort() noexcept;
  std::shared_ptr<detail::ClientState> state_;
  std::uint64_t id_;
  std::span<std::byte> data_;
};

struct ClientStatistics {
  std::uint64_t calls;         // begun
  std::uint64_t late_replies;  // came when their call had ended otherwise, and were dropped
  std::uint64_t retries;
  std::uint32_t in_flight;
  std::uint32_t servers;  // connected and serving
};

// Calls the methods of one service. Move-only; belongs to one thread at a time.
//
// Servers: it connects to every server process of the service, notices new ones within a second, and gives each call to the one with
// the fewest outstanding. Calls that a server provably did not begin (it stops; it never took the request) go to another one by
// themselves; calls that it may have begun only if the method is declared idempotent. No call runs twice otherwise.
// Waiting: as ClientConfig::wait says; no system call while both sides spin. While calls are outstanding it looks every two
// milliseconds whether their server lives.
// Crash: the server frees what a dead client held, its handlers see cancelled(). Fork: every call in the child gives
// `failed_precondition` with cause() == Errc::forked.
class Client {
 public:
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Sends and waits for the outcome.
  Outcome<Reply> call(std::string_view method, Bytes request, const CallOptions& options = {});
  // Typed: both sizes must be those that the method was registered with, if it was registered with types.
  template <detail::Plain R, detail::Plain Q>
  Outcome<R> call(std::string_view method, const Q& request, const CallOptions& options = {}) {
    auto reply = call(method, bytes_of(request), options);
    if (!reply) return tl::unexpected<Status>(std::move(reply.error()));
    if (auto value = reply->template as<R>()) return *value;
    return tl::unexpected<Status>(wrong_reply_size(method, reply->body().size(), sizeof(R)));
  }

  // Sends. What goes wrong at once is the outcome of the Call as well. Waits for room in the ring, until the deadline at most.
  Call call_async(std::string_view method, Bytes request, const CallOptions& options = {});
  Stream stream(std::string_view method, Bytes request, const CallOptions& options = {});
  // Room for a request of `size` bytes; the deadline runs from here.
  Outcome<Request> loan(std::string_view method, std::size_t size, const CallOptions& options = {});

  // Looks for replies and deadlines, waits for `timeout` at most until at least one call has ended, and runs what was given to then()
  // and co_await. Returns how many calls ended (or brought a stream's reply).
  std::size_t poll(std::chrono::nanoseconds timeout);
  // Until a server of the service can be called.
  Outcome<void> wait_for_server(std::chrono::nanoseconds timeout);

  [[nodiscard]] const std::string& service() const noexcept;
  [[nodiscard]] std::size_t max_request_bytes() const noexcept;
  [[nodiscard]] ClientStatistics statistics() const noexcept;

 private:
  friend class arus::Bus;
  explicit Client(std::shared_ptr<detail::ClientState> state) noexcept;
  [[nodiscard]] static Status wrong_reply_size(std::string_view method, std::size_t got, std::size_t expected);
  std::shared_ptr<detail::ClientState> state_;
};

}  // namespace arus::rpc
