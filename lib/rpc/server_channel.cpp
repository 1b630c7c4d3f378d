#include "rpc/server_channel.h"

#include <algorithm>
#include <optional>

#include "platform/clock.h"
#include "platform/error.h"
#include "platform/kill_point.h"
#include "rpc/statistics.h"

namespace arus::rpc::detail {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

CallHeader header_of(const ServerCall& call, Code code, std::uint16_t flags) noexcept {
  return {
      .id = call.id, .deadline = 0, .method = call.method, .code = static_cast<std::uint16_t>(code), .flags = flags, .reserved = 0};
}

}  // namespace

class ServerChannel::Guard {
 public:
  explicit Guard(ServerChannel& channel)
      : mutex_(channel.core_->several_threads.load(memory_order_acquire) ? &channel.mutex_ : nullptr) {
    if (mutex_ != nullptr) mutex_->lock();
  }
  ~Guard() {
    if (mutex_ != nullptr) mutex_->unlock();
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  std::mutex* mutex_;
};

ServerChannel::ServerChannel(std::shared_ptr<ServerCore> core, ChannelFile file, std::uint32_t client, std::uint64_t incarnation)
    : core_(std::move(core)),
      file_(std::move(file)),
      most_body_(rpc::most_body(file_.ring_bytes(), file_.slots())),
      slots_(file_.slots()),
      requests_(file_.requests(), file_.lines().requests.position),
      replies_(file_.replies(), file_.lines().replies.position),
      client_(client),
      incarnation_(incarnation),
      calls_(slots_) {
  for (ServerCall& call : calls_) call.channel = this;
}

[[gnu::always_inline]] inline void ServerChannel::write(const LaneWriter::Claim& claim, const CallHeader& header, Bytes body,
                                                        std::int64_t now) noexcept {
  replies_.commit(claim, header, body.size(), now);
  ARUS_KILL_POINT("rpc-reply-committed");
  wake_client();
}

inline void ServerChannel::settle(ServerCall& call) noexcept {
  if (call.admitted) core_->count_outstanding(-1);
  if (call.parked) {
    call.parked = false;
    core_->parked.fetch_sub(1, memory_order_relaxed);
    std::erase(parked_, &call);
  }
  call.open.store(false, memory_order_release);
}

// Ends a call by what is claimed for its last reply.
[[gnu::always_inline]] inline void ServerChannel::send_last(const LaneWriter::Claim& claim, ServerCall& call, Code code, Bytes body,
                                                            std::uint16_t flags, std::int64_t now) noexcept {
  ARUS_KILL_POINT("rpc-reply-claimed");
  if (!body.empty()) platform::copy(replies_.body(claim), body.data(), body.size());
  const CallHeader header = header_of(call, code, static_cast<std::uint16_t>(flags | kLast));
  settle(call);
  write(claim, header, body, now);
}

void ServerChannel::end_with(const LaneWriter::Claim& claim, ServerCall& call, Code code, Bytes body, std::uint16_t flags,
                             std::int64_t now) noexcept {
  const std::uint32_t method = call.method;
  const std::int64_t took = now - call.sent_at;
  send_last(claim, call, code, body, flags, now);
  count(method, code, took);
}

void ServerChannel::count(std::uint32_t method, Code code, std::int64_t took) noexcept {
  const bool several = core_->several_threads.load(memory_order_relaxed);
  if (method < core_->methods.size()) {
    MethodStatistics& statistics = core_->file.statistics(method);
    add(statistics.ended[static_cast<std::size_t>(code)], 1, several);
    add(statistics.latency.counts[latency_bucket(took)], 1, several);
  }
  if (several)
    core_->ended.fetch_add(1, memory_order_relaxed);
  else
    core_->ended.store(core_->ended.load(memory_order_relaxed) + 1, memory_order_relaxed);
}

// With a reserved cell for a status that does not find room with its message.
void ServerChannel::end(ServerCall& call, Code code, Bytes text, std::uint16_t flags, std::int64_t now) noexcept {
  LaneWriter::Claim claim;
  if (text.empty() || !replies_.claim(cells_for(text.size()), slots_, claim)) {
    text = {};
    flags &= static_cast<std::uint16_t>(~kText);
    if (!replies_.claim(1, 0, claim)) {  // not with a client that keeps to the protocol
      gone_.store(true, memory_order_release);
      forget(call, now);
      return;
    }
  }
  end_with(claim, call, code, text, flags, now);
}

// Nobody is told.
void ServerChannel::forget(ServerCall& call, std::int64_t now) noexcept {
  const std::uint32_t method = call.method;
  const std::int64_t took = now - call.sent_at;
  settle(call);
  count(method, Code::cancelled, took);
}

bool ServerChannel::answer(ServerCall& call, Bytes body, PollClock& clock) noexcept {
  const std::int64_t now = clock.now();
  LaneWriter::Claim claim;
  if (core_->several_threads.load(memory_order_relaxed) || !call.open.load(memory_order_relaxed) || call.parked ||
      body.size() > most_body_ || cancelled(call, now) || !replies_.claim(cells_for(body.size()), slots_, claim)) [[unlikely]]
    return false;
  const std::uint32_t method = call.method;
  const std::int64_t sent_at = call.sent_at;
  send_last(claim, call, Code::ok, body, 0, now);
  count(method, Code::ok, clock.read() - sent_at);
  return true;
}

Outcome<void> ServerChannel::finish(ServerCall& call, Code code, Bytes body, std::uint16_t flags, std::int64_t now) {
  const Guard guard(*this);
  if (gone_.load(memory_order_relaxed)) [[unlikely]] {
    if (call.open.load(memory_order_relaxed)) forget(call, now);
    core_->count_dropped();
    return tl::unexpected<Status>(Status(Code::cancelled, "the client of this call is gone, or the server has stopped"));
  }
  if (!call.open.load(memory_order_relaxed) || call.parked) [[unlikely]]
    return tl::unexpected<Status>(Status(Code::failed_precondition, "this call has been answered already"));
  if (const auto why = given_up(call, now)) [[unlikely]] {
    end(call, *why, {}, 0, now);
    core_->count_dropped();
    return tl::unexpected<Status>(Status(
        Code::cancelled, *why == Code::cancelled ? "the client has cancelled this call" : "the deadline of this call has passed"));
  }
  if (body.size() > most_body()) [[unlikely]] {
    const std::string why = platform::format(
        "the reply of method '{}' has {} bytes, and the largest that fits this client's ring has {}; connect with a larger "
        "ring_bytes",
        core_->methods[call.method].spec.name, body.size(), most_body());
    end(call, Code::failed_precondition, bytes(why), kText, now);
    return tl::unexpected<Status>(Status(Code::failed_precondition, why));
  }
  if (code != Code::ok) {
    end(call, code, body, flags, now);
    return {};
  }
  LaneWriter::Claim claim;
  if (!replies_.claim(cells_for(body.size()), slots_, claim)) [[unlikely]] {
    call.reply.assign(body.begin(), body.end());
    call.parked = true;
    call.parked_until = now + core_->config.reply_patience.count();
    parked_.push_back(&call);
    core_->parked.fetch_add(1, memory_order_relaxed);
    platform::fence_full();
    wake(core_->file.attention().sleeper, [this]() -> platform::Bells& { return core_->bells(); });
    return {};
  }
  end_with(claim, call, Code::ok, body, flags, now);
  return {};
}

Outcome<void> ServerChannel::fail(ServerCall& call, const Status& status, std::int64_t now, std::uint16_t flags) {
  constexpr std::size_t kMostText = 2000;
  Bytes text = bytes(status.message());
  text = text.first(std::min({text.size(), kMostText, static_cast<std::size_t>(most_body())}));
  const Code code = status.code() == Code::ok ? Code::unknown : status.code();
  return finish(call, code, text, static_cast<std::uint16_t>(flags | kText), now);
}

Outcome<bool> ServerChannel::try_write(ServerCall& call, Bytes body, std::int64_t now) {
  {
    const Guard guard(*this);
    if (!call.open.load(memory_order_relaxed) || call.parked)
      return tl::unexpected<Status>(Status(Code::failed_precondition, "this call has been answered already"));
    const std::uint64_t cells = cells_for(body.size());
    const bool lost = gone_.load(memory_order_relaxed) || given_up(call, now).has_value();
    if (!lost && body.size() <= most_body()) {
      // What the client has not given back of this call's replies: at most a quarter of the ring, so that others find room. One
      // reply may always go.
      const std::uint64_t consumed = file_.slot(slot_of(call.id)).consumed.load(memory_order_acquire);
      const std::uint64_t open = call.streamed - std::min(consumed, call.streamed);
      if (open != 0 && open + cells > replies_.ring().cells / 4) return false;
      LaneWriter::Claim claim;
      if (!replies_.claim(cells, slots_, claim)) return false;
      if (!body.empty()) platform::copy(replies_.body(claim), body.data(), body.size());
      ARUS_KILL_POINT("rpc-stream-claimed");
      write(claim, header_of(call, Code::ok, 0), body, now);
      call.streamed += cells;
      return true;
    }
  }
  // Too large, or nobody waits for it: finish() knows what to say.
  if (auto done = finish(call, Code::ok, body, 0, now); !done) return tl::unexpected<Status>(done.error());
  return tl::unexpected<Status>(Status(Code::cancelled, "nobody waits for this call's replies"));
}

// On a futex of the cursor itself would need the client's help at each reply; a stream that is held back can wait for a nap.
void ServerChannel::wait_for_room(std::int64_t ns) const noexcept {
  constexpr std::int64_t kNap = 100'000;
  const timespec nap{0, static_cast<long>(std::min(ns, kNap))};
  nanosleep(&nap, nullptr);
}

bool ServerChannel::retry_parked(std::int64_t now) {
  const Guard guard(*this);
  for (std::size_t i = 0; i < parked_.size();) {
    ServerCall& call = *parked_[i];
    const auto why = given_up(call, now);
    LaneWriter::Claim claim;
    if (why) {
      end(call, *why, {}, 0, now);
    } else if (replies_.claim(cells_for(call.reply.size()), slots_, claim)) {
      end_with(claim, call, Code::ok, call.reply, 0, now);
    } else if (now >= call.parked_until) {
      end(call, Code::resource_exhausted,
          bytes("the client leaves no room in its ring for the reply: it does not give replies back"), kText, now);
    } else {
      ++i;
    }
  }
  return !parked_.empty();
}

void ServerChannel::close() noexcept {
  const Guard guard(*this);
  gone_.store(true, memory_order_release);
  while (!parked_.empty()) forget(*parked_.back(), platform::boot_time());
}

void ServerChannel::end_all(std::int64_t now) {
  const Guard guard(*this);
  for (ServerCall& call : calls_)
    if (call.open.load(memory_order_relaxed) && !gone_.load(memory_order_relaxed))
      end(call, Code::unavailable, bytes("the server has stopped before the call had ended"), kText, now);
  gone_.store(true, memory_order_release);
}

}  // namespace arus::rpc::detail
