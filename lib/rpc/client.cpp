#include <arus/bus.h>

#include "platform/error.h"
#include "rpc/client_state.h"

namespace arus {

Result<rpc::Client> Bus::client(std::string_view service, const rpc::ClientConfig& config) {
  auto state = rpc::detail::ClientState::make(state_, service, config);
  if (!state) return platform::pass(state);
  return rpc::Client(std::move(*state));
}

namespace rpc {

using std::chrono::nanoseconds;

// In a forked child the reply belongs to the parent.
void Reply::release() noexcept {
  if (channel_->ours()) channel_->release(position_);
}

bool Call::ready() { return state_->ready(id_); }
bool Call::wait(nanoseconds timeout) { return state_->wait(id_, timeout); }
Outcome<Reply> Call::get() { return state_->take(std::exchange(id_, 0)); }
void Call::cancel() { state_->cancel(id_); }
void Call::then(std::function<void(Outcome<Reply>)> done) && { state_->then(std::exchange(id_, 0), std::move(done)); }
void Call::await_suspend(std::coroutine_handle<> waiter) { state_->resume_when_ready(id_, waiter); }
void Call::drop() noexcept { state_->drop(id_); }

Outcome<std::optional<Reply>> Stream::next() { return call_.state_->next(call_.id_); }
bool Stream::ready() { return call_.ready(); }
bool Stream::wait(nanoseconds timeout) { return call_.wait(timeout); }

Call Request::send() { return state_->send_loan(std::exchange(id_, 0)); }
void Request::abort() noexcept { state_->abort_loan(id_); }

Client::Client(std::shared_ptr<detail::ClientState> state) noexcept : state_(std::move(state)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Client::~Client() {
  if (state_) state_->close();
}

Outcome<Reply> Client::call(std::string_view method, Bytes request, const CallOptions& options) {
  return state_->call(method, request, options);
}
Call Client::call_async(std::string_view method, Bytes request, const CallOptions& options) {
  return {state_, state_->start(method, request, options, false)};
}
Stream Client::stream(std::string_view method, Bytes request, const CallOptions& options) {
  return Stream(Call(state_, state_->start(method, request, options, true)));
}
Outcome<Request> Client::loan(std::string_view method, std::size_t size, const CallOptions& options) {
  return state_->loan(method, size, options);
}
std::size_t Client::poll(nanoseconds timeout) { return state_->poll(timeout); }
Outcome<void> Client::wait_for_server(nanoseconds timeout) { return state_->wait_for_server(timeout); }
const std::string& Client::service() const noexcept { return state_->service(); }
std::size_t Client::max_request_bytes() const noexcept { return state_->most_body(); }
ClientStatistics Client::statistics() const noexcept { return state_->statistics(); }

Status Client::wrong_reply_size(std::string_view method, std::size_t got, std::size_t expected) {
  return Status(Code::invalid_argument,
                platform::format("the reply of method '{}' has {} bytes, and the type it was to be has {}", method, got, expected));
}

}  // namespace rpc
}  // namespace arus
