// A client's end of a channel: its place in the server's table, the ring it writes requests to, the ring it reads replies from, and which
// replies are still looked at.
//
// Replies are given back in any order; the cursor that the server sees follows the oldest that is held. One thread.
//
// Crash of this process: the server finds the place's owner dead, and frees the place and the file. Between taking a place and offering
// its file nothing else is left behind but that file, under the name that the place holds.
#pragma once

#include <arus/rpc_client.h>

#include <memory>
#include <string>
#include <vector>

#include "bus/state.h"
#include "platform/kill_point.h"
#include "rpc/files.h"
#include "rpc/lane.h"
#include "rpc/service_directory.h"
#include "rpc/wait.h"

namespace arus::rpc::detail {

class ClientChannel {
 public:
  // Takes a place at a server and offers it a channel. Errors: `limit_reached` (its clients), `permission_denied`, `no_space`, …
  static Result<std::unique_ptr<ClientChannel>> connect(std::shared_ptr<arus::detail::BusState> bus, const std::string& service,
                                                        const ServerName& server, const ClientConfig& config);
  ~ClientChannel() = default;
  ClientChannel(const ClientChannel&) = delete;
  ClientChannel& operator=(const ClientChannel&) = delete;
  // Gives the place back; what was sent and not answered is dropped by the server.
  void close() noexcept;
  // To be deleted as soon as no reply is held any more. Deletes itself.
  static void retire(std::unique_ptr<ClientChannel> channel) noexcept;

  [[nodiscard]] const ServerName& server() const noexcept { return server_; }
  [[nodiscard]] ServerStage stage() const noexcept {
    return static_cast<ServerStage>(file_.attention().stage.load(std::memory_order_acquire));
  }
  [[nodiscard]] bool refused() const noexcept {
    return static_cast<SlotState>(file_.client(place_).state.load(std::memory_order_acquire)) == SlotState::refused;
  }
  [[nodiscard]] std::uint64_t load() const noexcept { return file_.load().outstanding.load(std::memory_order_relaxed) + expecting; }
  [[nodiscard]] bool ours() const noexcept { return bus_->ours(); }
  [[nodiscard]] const std::vector<MethodSpec>& methods() const noexcept { return file_.methods(); }

  // ---- requests
  // The line of the next request's body, which nobody polls.
  void prefetch() const noexcept { platform::prefetch_for_write(requests_.next_body()); }
  [[gnu::always_inline]] bool claim(std::size_t size, LaneWriter::Claim& claim) noexcept {
    return requests_.claim(cells_for(size), 0, claim);
  }
  [[nodiscard]] std::byte* body(const LaneWriter::Claim& claim) const noexcept { return requests_.body(claim); }
  void withdraw(const LaneWriter::Claim& claim) noexcept { requests_.withdraw(claim); }
  [[gnu::always_inline]] void commit(const LaneWriter::Claim& claim, const CallHeader& call, std::size_t size,
                                     std::int64_t now) noexcept {
    ARUS_KILL_POINT("rpc-request-claimed");
    requests_.commit(claim, call, size, now);
    ARUS_KILL_POINT("rpc-request-committed");
    platform::
        fence_full();  // pairs with those of a server that goes to sleep, or from rings to doorbells (layout.h, server_state.h)
    const Attention& attention = file_.attention();
    if ((attention.doorbell.load(std::memory_order_relaxed) | attention.sleeper.load(std::memory_order_relaxed)) != 0) [[unlikely]]
      ring_doorbell();
  }
  // Behind a commit, where the server sleeps or looks at doorbells only.
  [[gnu::noinline]] void ring_doorbell() const noexcept;
  // Whether a request was never taken by the server, now that it is dead or gone.
  [[nodiscard]] bool never_begun(std::uint64_t position) const noexcept {
    return position >= channel_.lines().requests.begun.load(std::memory_order_acquire);
  }
  [[nodiscard]] const ring::Ring& request_ring() const noexcept { return requests_.ring(); }
  // The body of a request that was sent, if it is still there; else nothing.
  [[nodiscard]] const std::byte* sent(std::uint64_t position) const noexcept;
  void cancel(std::uint64_t id) const noexcept;

  // ---- replies
  ring::Found look(Received& received) noexcept { return replies_.look(received); }
  void await(std::uint32_t looks) const noexcept { replies_.await(looks); }
  [[nodiscard]] bool ready() const noexcept { return replies_.ready(); }
  // Passes over a reply, and holds it until release().
  void hold(const Received& received) noexcept {
    replies_.pass(received);
    held_[received.position & mask_] = static_cast<std::uint32_t>(received.cells);
    ++holds_;
  }
  // Of a channel that is in use …
  void give_back(std::uint64_t position) noexcept {
    held_[position & mask_] |= kReleased;
    --holds_;
    if (const std::uint32_t oldest = held_[oldest_ & mask_]; oldest == 0 || (oldest & kReleased) != 0) advance();
  }
  // … and of one that may have been retired: then the last release deletes it.
  void release(std::uint64_t position) noexcept {
    give_back(position);
    if (retired_ && holds_ == 0) [[unlikely]]
      delete this;
  }
  // More than half of the ring waits behind what is held.
  [[nodiscard]] bool held_back() const noexcept { return replies_.position() - oldest_ > (mask_ + 1) / 2; }
  // Keeps the mapping for a request that is being built.
  void pin() noexcept { ++holds_; }
  void unpin() noexcept {
    if (--holds_ == 0 && retired_) delete this;
  }
  // Cells of a stream's replies that the caller has done with.
  void consumed(std::uint64_t id, std::uint64_t cells) const noexcept;

  void arm(std::uint32_t bell) const noexcept { rpc::arm(channel_.lines().client.bell, bell); }
  void disarm() const noexcept { rpc::disarm(channel_.lines().client.bell); }

  std::uint32_t expecting = 0;             // calls the server owes a last reply
  bool broken = false;                     // its ring holds what cannot be a reply
  std::vector<std::int32_t> method_index;  // by the client's number of a method; see ClientState

 private:
  static constexpr std::uint32_t kReleased = 1u << 31;
  ClientChannel(std::shared_ptr<arus::detail::BusState> bus, const ServerName& server, ServerFile file, ChannelFile channel,
                std::uint32_t place) noexcept;
  void advance() noexcept;
  [[nodiscard]] platform::Bells& bells() const noexcept { return *bus_->directory().bells(); }

  std::shared_ptr<arus::detail::BusState> bus_;
  ServerName server_;
  ServerFile file_;
  ChannelFile channel_;
  std::uint32_t place_;
  LaneWriter requests_;
  LaneReader replies_;
  std::uint64_t mask_;
  std::uint64_t oldest_;             // position below which everything was given back
  std::vector<std::uint32_t> held_;  // by cell where a held reply begins: its cells, and whether it was released
  std::uint32_t holds_ = 0;
  bool retired_ = false;
};

}  // namespace arus::rpc::detail
