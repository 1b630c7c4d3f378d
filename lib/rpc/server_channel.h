// A server's end of one client's channel: the calls that came through it, and the ring of replies.
//
// Roles. The polling thread reads requests, opens calls, and closes the channel. Whoever answers a call (the polling thread, a worker,
// the holder of a Responder) writes to the ring of replies, under the channel's mutex as soon as there can be more than one.
//
// A call, from the server's side:   idle ──accept──> open ──finish──> idle
// `finish` writes exactly one last reply: `open` turns false before that reply is visible, because the client may use the slot
// again as soon as it has seen it. A client that uses a slot whose call is open breaks the protocol, and its channel is closed.
//
// Room. Replies with a body leave a cell for each call free, so that every call can be ended by a status without a body, whatever the
// client has left unread. A reply that finds no room is parked, and tried again by the polling thread until the client's time is up.
//
// Crash of the client: the channel is closed by the polling thread once it has seen the lease free; answers are then dropped and counted.
// Crash of this process: the client sees the lease free; it takes what replies were committed, and ends the others itself.
#pragma once

#include <arus/rpc_server.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bus/state.h"
#include "platform/clock.h"
#include "rpc/files.h"
#include "rpc/lane.h"
#include "rpc/wait.h"

namespace arus::rpc::detail {

struct Method {
  MethodSpec spec;
  Handler handler;
  [[nodiscard]] bool takes(std::size_t bytes) const noexcept { return spec.request_size == 0 || bytes == spec.request_size; }
};

// What the threads of a server share.
struct ServerCore {
  std::shared_ptr<arus::detail::BusState> bus;
  std::string service;
  ServerConfig config;
  std::vector<Method> methods;
  ServerFile file;
  std::atomic<bool> several_threads{false};  // answer calls; never goes back
  std::atomic<std::uint32_t> outstanding{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> dropped{0};
  std::atomic<std::uint32_t> parked{0};
  std::atomic<std::uint32_t> clients{0};

  [[nodiscard]] platform::Bells& bells() const noexcept { return *bus->directory().bells(); }
  [[nodiscard]] bool ours() const noexcept { return bus->ours(); }
  void count_outstanding(std::int32_t change) noexcept {
    std::uint32_t now = 0;
    if (several_threads.load(std::memory_order_relaxed)) {
      now =
          outstanding.fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed) + static_cast<std::uint32_t>(change);
    } else {
      now = outstanding.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(change);
      outstanding.store(now, std::memory_order_relaxed);
    }
    file.load().outstanding.store(now, std::memory_order_relaxed);  // for clients that choose a server, and for people
  }
  void count_dropped() noexcept {
    const std::uint64_t now = dropped.fetch_add(1, std::memory_order_relaxed) + 1;
    file.load().dropped.store(now, std::memory_order_relaxed);
  }
};

// The polling thread's clock. Reading it costs as much as a call's way through the server: so it is read while nobody waits for it, and is
// at most a few microseconds old, until whatever takes longer makes it forget.
class PollClock {
 public:
  [[nodiscard]] std::int64_t now() noexcept { return recent_ != 0 ? recent_ : read(); }
  std::int64_t read() noexcept { return recent_ = stamper_.now(); }
  void forget() noexcept { recent_ = 0; }
  void forget(std::int64_t time) noexcept {
    if (recent_ == time) recent_ = 0;
  }

 private:
  platform::Stamper stamper_{platform::Stamper::Of::boot};
  std::int64_t recent_ = 0;
};

struct ServerCall {
  std::atomic<bool> open{false};
  bool admitted = false;  // counts as outstanding
  bool parked = false;
  std::uint64_t id = 0;
  std::uint32_t method = 0;
  std::int64_t deadline = 0;
  std::int64_t sent_at = 0;
  std::int64_t parked_until = 0;
  std::uint64_t streamed = 0;  // cells of all streams' replies in this slot
  ServerChannel* channel = nullptr;
  std::vector<std::byte> request;  // workers: a copy
  std::vector<std::byte> reply;    // while parked
};

class ServerChannel : public std::enable_shared_from_this<ServerChannel> {
 public:
  ServerChannel(std::shared_ptr<ServerCore> core, ChannelFile file, std::uint32_t client, std::uint64_t incarnation);

  // ---- the polling thread
  [[nodiscard]] std::uint32_t client() const noexcept { return client_; }
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return incarnation_; }
  [[nodiscard]] bool ready() const noexcept { return requests_.ready(); }
  ring::Found look(Received& received) noexcept { return requests_.look(received); }
  void await(std::uint32_t looks) const noexcept { requests_.await(looks); }
  // The lines of the next reply, asked for while the request is looked at. (What polls the first takes it back if that takes long.)
  void prefetch() const noexcept {
    if (!core_->several_threads.load(std::memory_order_relaxed)) replies_.prefetch();
  }
  void pass(const Received& received) noexcept {
    requests_.pass(received);
    requests_.publish(requests_.position());
  }
  // Opens the call of a request; null if the client breaks the protocol. It must be finished. From here on its client takes it as begun.
  ServerCall* open(const Received& received) noexcept {
    const std::uint32_t slot = slot_of(received.call.id);
    if (slot >= slots_) [[unlikely]]
      return nullptr;
    ServerCall& call = calls_[slot];
    if (call.open.load(std::memory_order_acquire)) [[unlikely]]
      return nullptr;
    call.id = received.call.id;
    call.method = received.call.method;
    call.deadline = received.call.deadline;
    call.sent_at = received.sent_at;
    call.admitted = false;
    call.open.store(true, std::memory_order_relaxed);
    file_.lines().requests.begun.store(received.position + received.cells, std::memory_order_release);
    return &call;
  }
  // Tries parked replies again; ends those whose time is up. Whether any is left.
  bool retry_parked(std::int64_t now);
  // The client is gone: answers are dropped from here on.
  void close() noexcept;
  // Ends every open call with `unavailable`, and closes.
  void end_all(std::int64_t now);
  void wake_client() const noexcept {
    platform::fence_full();
    wake(file_.lines().client.bell, [this]() -> platform::Bells& { return core_->bells(); });
  }

  // ---- whoever answers
  // On the polling thread, while no other one answers: the reply of a call that its handler was just run for, if nothing at all is in
  // the way. False: finish(). The clock is read when the reply is out.
  bool answer(ServerCall& call, Bytes body, PollClock& clock) noexcept;
  // Ends the call. Errors as Responder::finish.
  Outcome<void> finish(ServerCall& call, Code code, Bytes body, std::uint16_t flags, std::int64_t now);
  Outcome<void> fail(ServerCall& call, const Status& status, std::int64_t now, std::uint16_t flags = 0);
  // One reply of a stream, if there is room; an error means that the call has ended.
  Outcome<bool> try_write(ServerCall& call, Bytes body, std::int64_t now);
  [[nodiscard]] bool cancelled(const ServerCall& call, std::int64_t now) const noexcept {
    return gone_.load(std::memory_order_acquire) || given_up(call, now).has_value();
  }
  // A while, for room in the ring of replies; at most `ns`.
  void wait_for_room(std::int64_t ns) const noexcept;

  [[nodiscard]] ServerCore& core() const noexcept { return *core_; }
  [[nodiscard]] std::uint64_t most_body() const noexcept { return most_body_; }

 private:
  class Guard;  // the mutex, where several threads answer
  void write(const LaneWriter::Claim& claim, const CallHeader& header, Bytes body, std::int64_t now) noexcept;
  void end_with(const LaneWriter::Claim& claim, ServerCall& call, Code code, Bytes body, std::uint16_t flags,
                std::int64_t now) noexcept;
  void send_last(const LaneWriter::Claim& claim, ServerCall& call, Code code, Bytes body, std::uint16_t flags,
                 std::int64_t now) noexcept;
  void end(ServerCall& call, Code code, Bytes text, std::uint16_t flags, std::int64_t now) noexcept;
  void forget(ServerCall& call, std::int64_t now) noexcept;
  // Before the last reply is visible: from then on the slot may be another call's.
  void settle(ServerCall& call) noexcept;
  // Afterwards, so that the client need not wait for it.
  void count(std::uint32_t method, Code code, std::int64_t took) noexcept;
  // What nobody waits for is not sent; but the client must learn that its slot is free.
  [[nodiscard]] std::optional<Code> given_up(const ServerCall& call, std::int64_t now) const noexcept {
    if (file_.slot(slot_of(call.id)).cancelled.load(std::memory_order_relaxed) == call.id) [[unlikely]]
      return Code::cancelled;
    if (now >= call.deadline) [[unlikely]]
      return Code::deadline_exceeded;
    return std::nullopt;
  }

  std::shared_ptr<ServerCore> core_;
  ChannelFile file_;
  std::uint64_t most_body_;
  std::uint32_t slots_;  // calls_.size()
  LaneReader requests_;
  LaneWriter replies_;
  std::uint32_t client_;
  std::uint64_t incarnation_;
  std::atomic<bool> gone_{false};
  std::mutex mutex_;
  std::vector<ServerCall> calls_;
  std::vector<ServerCall*> parked_;
};

}  // namespace arus::rpc::detail
