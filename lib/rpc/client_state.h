// A client: its calls, and the channels to the servers of its service.
//
// A call has a slot, which is free when nobody needs it any more: neither the one who made the call (`owned`) nor the server, which owes a last
// reply (`on_wire`). Its outcome is decided once, by whichever comes first, in one thread:
//
//                    ┌─ last reply ──────────────────────────────────────┐
//   sent ── pending ─┼─ deadline, cancel: the last reply, which comes     ├─> decided ── taken
//                    │  later, frees the slot, is dropped and counted     │
//                    └─ the server is dead or gone: again elsewhere if it ┘
//                       was certainly never begun, or is idempotent
//
// No call runs twice: a request is read once by one server, which keeps its position to itself; it is written again only where the server that
// had it can no longer run it, and did not (its cursor says so, or its reply), or may have (idempotent methods). Each attempt has an
// id of its own, so that a reply to an earlier one is no reply to the call.
// A server is found dead by its lease, then its ring is read to the end once more, then its calls are decided: a reply that was
// committed before the death counts.
#pragma once

#include <arus/rpc_client.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "platform/clock.h"
#include "rpc/client_channel.h"

namespace arus::rpc::detail {

class ClientState : public std::enable_shared_from_this<ClientState> {
 public:
  static Result<std::shared_ptr<ClientState>> make(std::shared_ptr<arus::detail::BusState> bus, std::string_view service,
                                                   const ClientConfig& config);
  ~ClientState();
  ClientState(const ClientState&) = delete;
  ClientState& operator=(const ClientState&) = delete;

  Outcome<Reply> call(std::string_view method, Bytes request, const CallOptions& options);
  // A handle, for what follows. What went wrong at once is decided already.
  std::uint64_t start(std::string_view method, Bytes request, const CallOptions& options, bool streaming);
  Outcome<Request> loan(std::string_view method, std::size_t size, const CallOptions& options);
  Call send_loan(std::uint64_t handle);
  void abort_loan(std::uint64_t handle) noexcept;

  bool ready(std::uint64_t handle);  // decided, or a stream has a reply
  bool wait(std::uint64_t handle, std::chrono::nanoseconds timeout);
  Outcome<Reply> take(std::uint64_t handle);
  Outcome<std::optional<Reply>> next(std::uint64_t handle);
  void cancel(std::uint64_t handle);
  void drop(std::uint64_t handle) noexcept;
  void then(std::uint64_t handle, std::function<void(Outcome<Reply>)> done);
  void resume_when_ready(std::uint64_t handle, std::coroutine_handle<> waiter);

  std::size_t poll(std::chrono::nanoseconds timeout);
  Outcome<void> wait_for_server(std::chrono::nanoseconds timeout);
  // The Client is gone: calls that are held on to have ended.
  void close() noexcept;

  [[nodiscard]] const std::string& service() const noexcept { return service_; }
  [[nodiscard]] std::size_t most_body() const noexcept { return most_body_; }
  [[nodiscard]] ClientStatistics statistics() const noexcept;

 private:
  struct Item {  // a reply that waits to be taken
    std::uint64_t position = 0;
    std::uint64_t cells = 0;
    Bytes body;
    std::unique_ptr<std::byte[]> copy;  // then nothing is held in the ring
  };
  struct Slot {
    bool owned = false;
    bool on_wire = false;
    bool decided = false;
    bool streaming = false;
    bool refused = false;      // by a server that stops, with `status`; to be made elsewhere
    std::uint32_t method = 0;  // the client's number of it
    std::uint32_t attempts = 0;
    std::uint64_t handle = 0;  // what Call knows it by
    std::uint64_t id = 0;      // of the last attempt
    std::int64_t deadline = 0;
    ClientChannel* channel = nullptr;
    std::uint64_t position = 0;  // of the request
    std::size_t size = 0;
    // Of a decided call that was answered: its reply, held.
    Status status{Code::ok};
    bool has_reply = false;
    Item reply{};
    std::vector<Item> items;
    std::size_t next_item = 0;
    std::function<void(Outcome<Reply>)> done;
    std::coroutine_handle<> waiter;
  };

  ClientState(std::shared_ptr<arus::detail::BusState> bus, std::string_view service, const ClientConfig& config);
  [[nodiscard]] bool ours() const noexcept { return platform::same_process(generation_); }
  [[nodiscard]] Slot* find(std::uint64_t handle) noexcept;

  // ---- calls (client_state.cpp)
  // Takes a slot, chooses a server, claims room for the request. Null: `why` not. `now` is when.
  Slot* begin(std::string_view method, std::size_t size, const CallOptions& options, bool streaming, LaneWriter::Claim& claim,
              std::int64_t& now, Status& why);
  [[nodiscard]] Status cannot_begin(std::string_view method, std::chrono::nanoseconds timeout) const;
  bool claim(Slot& slot, LaneWriter::Claim& claim, Status& why);
  [[gnu::noinline]] bool claim_slowly(Slot& slot, LaneWriter::Claim& claim, Status& why);
  std::uint64_t fail_at_once(Status status);
  [[nodiscard]] std::uint32_t index_of(const Slot& slot) const noexcept { return slot_of(slot.handle); }
  [[gnu::always_inline]] void commit(Slot& slot, const LaneWriter::Claim& claim, std::size_t size, std::int64_t now) {
    const std::uint32_t index = index_of(slot);
    ClientChannel& channel = *slot.channel;
    slot.id = ++last_id_ << 16 | index;
    slot.position = claim.position;
    slot.size = size;
    slot.on_wire = true;
    ++slot.attempts;
    ++channel.expecting;
    ++in_flight_;
    const CallHeader header{.id = slot.id,
                            .deadline = slot.deadline,
                            .method = static_cast<std::uint32_t>(channel.method_index[slot.method]),
                            .code = 0,
                            .flags = 0,
                            .reserved = 0};
    channel.commit(claim, header, size, now);
  }
  std::uint32_t number_of(std::string_view method);
  [[gnu::noinline]] std::uint32_t look_up(std::string_view method);
  void decide(Slot& slot, Status status) noexcept;
  void tell_decided(Slot& slot) noexcept {
    slot.decided = true;
    ++ended_;
    if (slot.done || slot.waiter) [[unlikely]]
      ready_.push_back(index_of(slot));
  }
  // The server owes nothing for this slot any more.
  [[gnu::always_inline]] void off_wire(Slot& slot) noexcept {
    if (!slot.on_wire) return;
    slot.on_wire = false;
    --slot.channel->expecting;
    --in_flight_;
    release(slot);
  }
  void give_up_items(Slot& slot) noexcept;
  static Reply reply_of(const Slot& slot, Item& item) noexcept {
    return {item.copy ? nullptr : slot.channel, item.position, item.body, std::move(item.copy)};
  }
  // Free again, if neither the caller nor the server needs it.
  [[gnu::always_inline]] void release(Slot& slot) noexcept {
    if (slot.owned || slot.on_wire) return;
    const std::uint32_t index = index_of(slot);
    (index < config_.max_in_flight ? free_ : free_failed_).push_back(index);
  }
  Outcome<Reply> take(Slot& slot);
  [[nodiscard]] static bool has_news(const Slot& slot) noexcept { return slot.decided || slot.next_item < slot.items.size(); }
  void run_ready();

  // ---- replies and servers (client_servers.cpp)
  void receive_all() {
    for (const auto& channel : channels_)
      if (channel->expecting != 0 && channel->ready()) receive(*channel);
    if (!moves_.empty()) [[unlikely]]
      move_refused();
  }
  void receive(ClientChannel& channel);
  bool accept_plainly(Slot& slot, const Received& received) noexcept;
  [[gnu::noinline]] void accept(ClientChannel& channel, Slot& slot, const Received& received);
  // Replies that nobody has taken must not hold the ring back for other calls: from half of it on they are copied.
  void make_room(ClientChannel& channel);
  void look_after(std::int64_t now);
  void expire(std::int64_t now);
  void look_after_servers(bool also_idle);
  // The server of a channel is dead or gone, or has refused it.
  void lose(std::unique_ptr<ClientChannel> channel, std::string_view why);
  void move_refused();
  void move_or_end(Slot& slot, const ClientChannel& from, bool begun, Status otherwise);
  bool again_elsewhere(Slot& slot, const ClientChannel& not_this, bool begun);
  void sleep(std::int64_t ns) noexcept;
  ClientChannel* choose(const ClientChannel* not_this = nullptr) {
    if (channels_.size() == 1 && channels_[0].get() != not_this && channels_[0]->stage() == ServerStage::serving &&
        !channels_[0]->broken) [[likely]]
      return channels_[0].get();
    return choose_one(not_this);
  }
  [[gnu::noinline]] ClientChannel* choose_one(const ClientChannel* not_this);
  void find_servers();
  void connect_to_new();
  // The number of a method at a server; -1: it has none of that name.
  std::int32_t index_in(ClientChannel& channel, std::uint32_t method) const {
    if (method >= channel.method_index.size()) [[unlikely]]
      number_methods(channel);
    return channel.method_index[method];
  }
  void number_methods(ClientChannel& channel) const;
  // Whether nothing speaks against a call of this slot's method; misfit() says what does.
  [[nodiscard]] bool fits(ClientChannel& channel, const Slot& slot) const {
    const std::int32_t index = index_in(channel, slot.method);
    if (index < 0) return false;
    const MethodSpec& spec = channel.methods()[static_cast<std::size_t>(index)];
    return (spec.request_size == 0 || slot.size == spec.request_size) && slot.size <= most_body_ &&
           ((spec.flags & kStreaming) == 0 || slot.streaming);
  }
  [[gnu::noinline]] Status misfit(ClientChannel& channel, const Slot& slot) const;
  // Polls until `enough()`, for `until` (boot clock) at most.
  template <class Enough>
  bool wait_until(std::int64_t until, Enough enough);

  std::shared_ptr<arus::detail::BusState> bus_;
  std::string service_;
  ClientConfig config_;
  std::size_t most_body_;
  std::uint64_t generation_;  // of fork
  platform::Stamper stamper_{platform::Stamper::Of::boot};
  std::unique_ptr<platform::Bell> bell_;
  std::vector<std::unique_ptr<ClientChannel>> channels_;
  std::vector<std::string> methods_;  // names, by the client's own numbers
  std::uint32_t last_method_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;  // max_in_flight of them, and such as only hold what went wrong at once
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> free_failed_;
  std::deque<std::uint32_t> ready_;   // decided, and somebody waits to be called
  std::vector<std::uint32_t> moves_;  // slots that are `refused`
  std::uint64_t last_id_ = 0;
  LaneWriter::Claim loan_{};
  bool loaning_ = false;
  bool loan_lost_ = false;  // the server of its channel is gone
  bool closed_ = false;
  std::size_t ended_ = 0;  // calls and streams' replies, all in all
  std::uint32_t in_flight_ = 0;
  std::uint32_t turn_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t retries_ = 0;
  std::int64_t earliest_deadline_ = kForever.count();
  std::int64_t servers_look_at_ = 0;
  std::int64_t find_at_ = 0;
  std::int64_t directory_changed_ = 0;
  Status no_server_{Code::unavailable};
};

}  // namespace arus::rpc::detail
