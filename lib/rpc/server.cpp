#include <arus/bus.h>

#include <algorithm>

#include "platform/error.h"
#include "rpc/server_state.h"

namespace arus {

Result<rpc::Server> Bus::server(std::string_view service, const rpc::ServerConfig& config) {
  auto state = rpc::detail::ServerState::make(state_, service, config);
  if (!state) return platform::pass(state);
  return rpc::Server(std::move(*state));
}

namespace rpc {

using std::chrono::nanoseconds;

namespace {

nanoseconds left_until(std::int64_t deadline) noexcept {
  if (deadline == kForever.count()) return kForever;
  return nanoseconds(std::max<std::int64_t>(deadline - platform::boot_time(), 0));
}

}  // namespace

// ---- a request ------------------------------------------------------------------------------------------------------------------

std::string_view Incoming::method() const noexcept { return call_.channel->core().methods[call_.method].spec.name; }
nanoseconds Incoming::time_left() const noexcept { return left_until(call_.deadline); }
bool Incoming::cancelled() const noexcept { return call_.channel->cancelled(call_, platform::boot_time()); }

// ---- a responder ----------------------------------------------------------------------------------------------------------------

Responder::Responder(std::shared_ptr<detail::ServerChannel> channel, detail::ServerCall* call) noexcept
    : channel_(std::move(channel)), call_(call) {}
Responder::Responder(Responder&&) noexcept = default;
Responder& Responder::operator=(Responder&& other) noexcept {
  std::swap(channel_, other.channel_);
  std::swap(call_, other.call_);
  return *this;
}
Responder::~Responder() {
  if (!channel_ || !channel_->core().ours() || detail::ServerState::leave_to_handler(*call_)) return;
  static_cast<void>(
      channel_->fail(*call_, Status(Code::internal, "the handler dropped the call without an answer"), platform::boot_time()));
}

namespace {

tl::unexpected<Status> answered() {
  return tl::unexpected<Status>(Status(Code::failed_precondition, "this call has been answered already"));
}

}  // namespace

Outcome<void> Responder::finish(Bytes reply) {
  if (!channel_) return answered();
  const auto channel = std::exchange(channel_, nullptr);
  return channel->finish(*call_, Code::ok, reply, 0, platform::boot_time());
}

Outcome<void> Responder::finish() {
  if (!channel_) return answered();
  const auto channel = std::exchange(channel_, nullptr);
  return channel->finish(*call_, Code::ok, {}, kEnd, platform::boot_time());
}

Outcome<void> Responder::fail(const Status& status) {
  if (!channel_) return answered();
  const auto channel = std::exchange(channel_, nullptr);
  return channel->fail(*call_, status, platform::boot_time());
}

Outcome<bool> Responder::try_write(Bytes reply) {
  if (!channel_) return answered();
  if ((channel_->core().methods[call_->method].spec.flags & kStreaming) == 0)
    return tl::unexpected<Status>(
        Status(Code::failed_precondition, "this method was not registered as streaming: it has one reply"));
  auto written = channel_->try_write(*call_, reply, platform::boot_time());
  if (!written) channel_.reset();  // the call has ended
  return written;
}

Outcome<void> Responder::write(Bytes reply) {
  std::int64_t until = 0;
  for (;;) {
    auto written = try_write(reply);
    if (!written) return tl::unexpected<Status>(std::move(written.error()));
    if (*written) return {};
    const std::int64_t now = platform::boot_time();
    if (until == 0) until = now + channel_->core().config.reply_patience.count();
    if (now >= until) {
      const Status status(Code::resource_exhausted,
                          "the client does not give the replies of this stream back: there is no room for more");
      static_cast<void>(fail(status));
      return tl::unexpected<Status>(status);
    }
    channel_->wait_for_room(until - now);
  }
}

nanoseconds Responder::time_left() const noexcept { return channel_ ? left_until(call_->deadline) : nanoseconds::zero(); }
bool Responder::cancelled() const noexcept { return !channel_ || channel_->cancelled(*call_, platform::boot_time()); }

// ---- the server -----------------------------------------------------------------------------------------------------------------

Server::Server(std::unique_ptr<detail::ServerState> state) noexcept : state_(std::move(state)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Result<void> Server::add(std::string_view name, std::size_t request_size, std::size_t reply_size, const MethodConfig& config,
                         detail::Handler handler) {
  return state_->add(name, request_size, reply_size, config, std::move(handler));
}
Result<void> Server::start() { return state_->start(); }
Result<std::size_t> Server::poll(nanoseconds timeout) { return state_->poll(timeout); }
// By value, as in the standard library: the caller's may be a temporary that outlives nothing.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
Result<void> Server::run(std::stop_token stop) { return state_->run(stop); }
void Server::stop() noexcept { state_->stop(); }
Result<void> Server::drain() { return state_->drain(); }
const std::string& Server::service() const noexcept { return state_->service(); }
ServerStatistics Server::statistics() const noexcept { return state_->statistics(); }

}  // namespace rpc
}  // namespace arus
