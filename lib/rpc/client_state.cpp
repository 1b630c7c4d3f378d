#include "rpc/client_state.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "platform/error.h"

namespace arus::rpc::detail {

using platform::fail;
using platform::pass;
using std::chrono::nanoseconds;

namespace {

Status forked() { return Status(Error(Errc::forked, "this client belongs to the parent process; make one in the child")); }
Status taken() { return Status(Code::failed_precondition, "this call has been taken already"); }
tl::unexpected<Status> not_ok(Status status) { return tl::unexpected<Status>(std::move(status)); }

std::int64_t after(std::int64_t now, nanoseconds timeout) noexcept {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  return timeout.count() > kMost - now ? kMost : now + timeout.count();
}

}  // namespace

Result<std::shared_ptr<ClientState>> ClientState::make(std::shared_ptr<arus::detail::BusState> bus, std::string_view service,
                                                       const ClientConfig& config) {
  if (auto good = check_name("a service", service, 249); !good) return pass(good);
  if (auto good = bus->check(); !good) return pass(good);
  if (auto able = bus->directory().need_lease("calling"); !able) return pass(able);
  const auto within = [](std::string_view field, std::uint64_t value, std::uint64_t least, std::uint64_t most) -> Result<void> {
    if (value >= least && value <= most) return {};
    return fail(Errc::invalid_argument, "{} is {}; it must be {} to {}", field, value, least, most);
  };
  if (auto good = within("ring_bytes", config.ring_bytes, kSmallestRing, kLargestRing); !good) return pass(good);
  if (!std::has_single_bit(config.ring_bytes))
    return fail(Errc::invalid_argument, "ring_bytes is {}; it must be a power of two, such as {} or {}", config.ring_bytes,
                std::bit_floor(config.ring_bytes), std::bit_ceil(config.ring_bytes));
  // A quarter of the ring of replies is the most that is set aside for statuses.
  const std::uint64_t most = std::min<std::uint64_t>(kMostCallSlots, (config.ring_bytes >> ring::kCellShift) / 4);
  if (auto good = within("max_in_flight", config.max_in_flight, 1, most); !good) return pass(good);
  if (auto good = within("max_servers", config.max_servers, 1, 1024); !good) return pass(good);
  std::shared_ptr<ClientState> state(new ClientState(std::move(bus), service, config));
  platform::ticks_to_ns();  // begins to calibrate
  state->find_servers();
  return state;
}

ClientState::ClientState(std::shared_ptr<arus::detail::BusState> bus, std::string_view service, const ClientConfig& config)
    : bus_(std::move(bus)),
      service_(service),
      config_(config),
      most_body_(rpc::most_body(config.ring_bytes, config.max_in_flight)),
      generation_(bus_->generation()) {
  for (std::uint32_t i = 0; i < config.max_in_flight; ++i) slots_.push_back(std::make_unique<Slot>());
  free_.reserve(config.max_in_flight);
  for (std::uint32_t i = config.max_in_flight; i > 0; --i) free_.push_back(i - 1);
}

ClientState::~ClientState() { close(); }

void ClientState::close() noexcept {
  if (!ours() || closed_) return;
  closed_ = true;
  for (const auto& slot : slots_)
    if (slot->owned && !slot->decided) decide(*slot, Status(Code::cancelled, "the client was closed"));
  run_ready();
  for (auto& channel : channels_) {
    channel->close();
    ClientChannel::retire(std::move(channel));
  }
  channels_.clear();
}

// ---- beginning ------------------------------------------------------------------------------------------------------------------

inline std::uint32_t ClientState::number_of(std::string_view method) {
  if (last_method_ < methods_.size() && methods_[last_method_] == method) [[likely]]
    return last_method_;
  return look_up(method);
}

std::uint32_t ClientState::look_up(std::string_view method) {
  for (last_method_ = 0; last_method_ < methods_.size(); ++last_method_)
    if (methods_[last_method_] == method) return last_method_;
  methods_.emplace_back(method);
  return last_method_;
}

Status ClientState::cannot_begin(std::string_view method, nanoseconds timeout) const {
  if (timeout <= nanoseconds::zero())
    return Status(Code::deadline_exceeded, platform::format("the deadline of this call of '{}' was past when it was made", method));
  if (loaning_) return Status(Code::failed_precondition, "a request is being built in the ring; send or drop it first");
  return Status(Code::resource_exhausted,
                platform::format("{} calls are in flight, which is the most (ClientConfig::max_in_flight)", config_.max_in_flight));
}

[[gnu::always_inline]] inline ClientState::Slot* ClientState::begin(std::string_view method, std::size_t size,
                                                                    const CallOptions& options, bool streaming,
                                                                    LaneWriter::Claim& claim, std::int64_t& now, Status& why) {
  ++calls_;
  if (channels_.size() == 1) channels_.front()->prefetch();
  const nanoseconds timeout = options.timeout.value_or(config_.timeout);
  if (free_.empty()) [[unlikely]]
    receive_all();  // a call that was given up has its slot until the server has answered it
  if (timeout <= nanoseconds::zero() || loaning_ || free_.empty()) [[unlikely]] {
    why = cannot_begin(method, timeout);
    return nullptr;
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();  // before claim(), which may free others
  Slot& slot = *slots_[index];
  now = stamper_.now();
  if (now >= find_at_) [[unlikely]]
    find_servers();
  slot.method = number_of(method);
  slot.streaming = streaming;
  slot.attempts = 0;
  slot.size = size;
  slot.deadline = after(now, timeout);
  slot.handle = ++last_id_ << 16 | index;
  slot.decided = false;
  if (!this->claim(slot, claim, why)) [[unlikely]] {
    free_.push_back(index);
    return nullptr;
  }
  slot.owned = true;
  earliest_deadline_ = std::min(earliest_deadline_, slot.deadline);
  return &slot;
}

inline bool ClientState::claim(Slot& slot, LaneWriter::Claim& claim, Status& why) {
  ClientChannel* const channel = choose();
  if (channel == nullptr || !fits(*channel, slot) || !channel->claim(slot.size, claim)) [[unlikely]]
    return claim_slowly(slot, claim, why);
  slot.channel = channel;
  return true;
}

// Waits for room if need be, until the deadline at most; other calls go on meanwhile, and servers may come and go.
bool ClientState::claim_slowly(Slot& slot, LaneWriter::Claim& claim, Status& why) {
  for (std::uint32_t round = 1;; ++round) {
    ClientChannel* channel = choose();
    if (channel == nullptr) [[unlikely]] {
      find_servers();
      channel = choose();
      if (channel == nullptr) {
        why = no_server_;
        return false;
      }
    }
    if (!fits(*channel, slot)) [[unlikely]] {
      why = misfit(*channel, slot);
      return false;
    }
    slot.channel = channel;
    if (channel->claim(slot.size, claim)) return true;
    receive_all();
    platform::pause();
    if (round % 64 != 0) continue;
    const std::int64_t now = stamper_.now();
    look_after(now);
    if (now >= slot.deadline) {
      why = Status(Code::deadline_exceeded, "the server did not take earlier requests in time, and there is no room for this one");
      return false;
    }
    const timespec nap{0, 50'000};
    if (config_.wait.mode != Wait::Mode::spin) nanosleep(&nap, nullptr);
  }
}

// A slot of its own for a call that ended before it began, so that its Call is as any other.
std::uint64_t ClientState::fail_at_once(Status status) {
  std::uint32_t index = 0;
  if (!free_failed_.empty()) {
    index = free_failed_.back();
    free_failed_.pop_back();
  } else {
    if (slots_.size() > 0xffff) return 0;
    index = static_cast<std::uint32_t>(slots_.size());
    slots_.push_back(std::make_unique<Slot>());
  }
  Slot& slot = *slots_[index];
  slot.handle = ++last_id_ << 16 | index;
  slot.owned = true;
  slot.streaming = false;
  slot.decided = true;
  slot.status = std::move(status);
  ++ended_;
  return slot.handle;
}

Outcome<Reply> ClientState::call(std::string_view method, Bytes request, const CallOptions& options) {
  if (!ours()) [[unlikely]]
    return not_ok(forked());
  LaneWriter::Claim claim;
  std::int64_t now = 0;
  Status why(Code::ok);
  Slot* slot = begin(method, request.size(), options, false, claim, now, why);
  if (slot == nullptr) [[unlikely]]
    return not_ok(std::move(why));
  if (!request.empty()) platform::copy(slot->channel->body(claim), request.data(), request.size());
  commit(*slot, claim, request.size(), now);
  wait_until(kForever.count(), [slot] { return slot->decided; });
  return take(*slot);
}

std::uint64_t ClientState::start(std::string_view method, Bytes request, const CallOptions& options, bool streaming) {
  if (!ours()) [[unlikely]]
    return 0;
  LaneWriter::Claim claim;
  std::int64_t now = 0;
  Status why(Code::ok);
  Slot* slot = begin(method, request.size(), options, streaming, claim, now, why);
  if (slot == nullptr) [[unlikely]]
    return fail_at_once(std::move(why));
  if (!request.empty()) platform::copy(slot->channel->body(claim), request.data(), request.size());
  commit(*slot, claim, request.size(), now);
  return slot->handle;
}

Outcome<Request> ClientState::loan(std::string_view method, std::size_t size, const CallOptions& options) {
  if (!ours()) return not_ok(forked());
  std::int64_t now = 0;
  Status why(Code::ok);
  Slot* slot = begin(method, size, options, false, loan_, now, why);
  if (slot == nullptr) return not_ok(std::move(why));
  loaning_ = true;
  slot->channel->pin();
  return Request(shared_from_this(), slot->handle, {slot->channel->body(loan_), size});
}

Call ClientState::send_loan(std::uint64_t handle) {
  Slot* slot = ours() && loaning_ ? find(handle) : nullptr;
  if (slot == nullptr) return {shared_from_this(), 0};
  loaning_ = false;
  ClientChannel* const built_in = slot->channel;
  if (slot->decided) {  // its deadline has passed, or the client was closed
    built_in->withdraw(loan_);
  } else if (!loan_lost_) {
    commit(*slot, loan_, slot->size, stamper_.now());
  } else {  // its server is gone: another one gets a copy
    LaneWriter::Claim claim;
    Status why(Code::ok);
    if (this->claim(*slot, claim, why)) {
      platform::copy(slot->channel->body(claim), built_in->body(loan_), slot->size);
      commit(*slot, claim, slot->size, stamper_.now());
    } else {
      decide(*slot, std::move(why));
    }
  }
  loan_lost_ = false;
  built_in->unpin();
  return {shared_from_this(), handle};
}

void ClientState::abort_loan(std::uint64_t handle) noexcept {
  Slot* slot = ours() && loaning_ ? find(handle) : nullptr;
  if (slot == nullptr) return;
  loaning_ = false;
  loan_lost_ = false;
  slot->channel->withdraw(loan_);
  slot->channel->unpin();
  slot->owned = false;
  release(*slot);
}

// ---- ending ---------------------------------------------------------------------------------------------------------------------

ClientState::Slot* ClientState::find(std::uint64_t handle) noexcept {
  const std::uint32_t index = slot_of(handle);
  return handle != 0 && index < slots_.size() && slots_[index]->handle == handle && slots_[index]->owned ? slots_[index].get()
                                                                                                         : nullptr;
}

void ClientState::decide(Slot& slot, Status status) noexcept {
  slot.status = std::move(status);
  tell_decided(slot);
}

Outcome<Reply> ClientState::take(Slot& slot) {
  slot.owned = false;
  if (slot.has_reply) [[likely]] {
    slot.has_reply = false;
    release(slot);
    return reply_of(slot, slot.reply);
  }
  Status status = std::move(slot.status);
  release(slot);
  return not_ok(std::move(status));
}

Outcome<Reply> ClientState::take(std::uint64_t handle) {
  if (!ours()) return not_ok(forked());
  Slot* slot = find(handle);
  if (slot == nullptr) return not_ok(taken());
  if (!slot->decided) wait_until(kForever.count(), [slot] { return slot->decided; });
  return take(*slot);
}

Outcome<std::optional<Reply>> ClientState::next(std::uint64_t handle) {
  if (!ours()) return not_ok(forked());
  Slot* slot = find(handle);
  if (slot == nullptr) return not_ok(taken());
  if (!has_news(*slot)) wait_until(kForever.count(), [slot] { return has_news(*slot); });
  if (slot->next_item < slot->items.size()) {
    Item item = std::move(slot->items[slot->next_item++]);
    if (slot->next_item == slot->items.size()) {
      slot->items.clear();
      slot->next_item = 0;
    }
    // It counts as given back when it is handed out: its room in the ring is the caller's business from here on.
    if (slot->on_wire) slot->channel->consumed(slot->id, item.cells);
    return std::optional<Reply>(reply_of(*slot, item));
  }
  if (slot->status.code() == Code::ok) return std::optional<Reply>();
  return not_ok(slot->status);
}

void ClientState::cancel(std::uint64_t handle) {
  Slot* slot = ours() ? find(handle) : nullptr;
  if (slot == nullptr || slot->decided) return;
  if (slot->on_wire) slot->channel->cancel(slot->id);
  decide(*slot, Status(Code::cancelled, "the caller cancelled this call"));
}

void ClientState::give_up_items(Slot& slot) noexcept {
  for (; slot.next_item < slot.items.size(); ++slot.next_item) {
    const Item& item = slot.items[slot.next_item];
    if (slot.on_wire) slot.channel->consumed(slot.id, item.cells);
    if (!item.copy) slot.channel->release(item.position);
  }
  slot.items.clear();
  slot.next_item = 0;
}

void ClientState::drop(std::uint64_t handle) noexcept {
  Slot* slot = ours() ? find(handle) : nullptr;
  if (slot == nullptr) return;
  if (!slot->decided) cancel(handle);
  give_up_items(*slot);
  if (slot->has_reply) {
    slot->has_reply = false;
    if (!slot->reply.copy) slot->channel->release(slot->reply.position);
    slot->reply.copy.reset();
  }
  slot->done = nullptr;
  slot->waiter = nullptr;
  slot->owned = false;
  release(*slot);
}

// ---- waiting --------------------------------------------------------------------------------------------------------------------

template <class Enough>
bool ClientState::wait_until(std::int64_t until, Enough enough) {
  constexpr std::uint32_t kRoundsPerClock = 64;
  std::int64_t sleep_from = 0;
  for (std::uint32_t round = 1;; ++round) {
    const bool alone = channels_.size() == 1 && channels_.front()->expecting != 0 && config_.wait.mode != Wait::Mode::sleep;
    if (alone) [[likely]]
      channels_.front()->await(kRoundsPerClock);
    receive_all();
    if (!ready_.empty()) [[unlikely]]
      run_ready();
    if (enough()) return true;
    platform::pause();
    if (!alone && round % kRoundsPerClock != 0 && config_.wait.mode != Wait::Mode::sleep) continue;
    const std::int64_t now = stamper_.now();
    look_after(now);
    if (!ready_.empty()) run_ready();
    if (enough()) return true;
    if (now >= until || closed_) return false;
    if (config_.wait.mode == Wait::Mode::spin) continue;
    if (sleep_from == 0) sleep_from = now + (config_.wait.mode == Wait::Mode::sleep ? 0 : config_.wait.spin.count());
    if (now >= sleep_from) sleep(until - now);
  }
}

bool ClientState::ready(std::uint64_t handle) {
  if (!ours()) return true;
  Slot* slot = find(handle);
  if (slot == nullptr || has_news(*slot)) return true;
  receive_all();
  if (!has_news(*slot)) look_after(stamper_.now());
  run_ready();
  return has_news(*slot);
}

bool ClientState::wait(std::uint64_t handle, nanoseconds timeout) {
  if (!ours()) return true;
  Slot* slot = find(handle);
  if (slot == nullptr) return true;
  if (has_news(*slot)) {  // a look at the others all the same: a caller may wait for what one of them does
    receive_all();
    run_ready();
    return true;
  }
  return wait_until(after(stamper_.now(), timeout), [slot] { return has_news(*slot); });
}

std::size_t ClientState::poll(nanoseconds timeout) {
  if (!ours()) return 0;
  const std::size_t before = ended_;
  if (timeout <= nanoseconds::zero()) {
    receive_all();
    look_after(stamper_.now());
    run_ready();
  } else {
    wait_until(after(stamper_.now(), timeout), [this, before] { return ended_ != before; });
  }
  return ended_ - before;
}

void ClientState::then(std::uint64_t handle, std::function<void(Outcome<Reply>)> done) {
  Slot* slot = ours() ? find(handle) : nullptr;
  if (slot == nullptr) return done(not_ok(ours() ? taken() : forked()));
  if (slot->decided) return done(take(*slot));
  slot->done = std::move(done);
}

void ClientState::resume_when_ready(std::uint64_t handle, std::coroutine_handle<> waiter) {
  Slot* slot = ours() ? find(handle) : nullptr;
  if (slot == nullptr || slot->decided) return waiter.resume();
  slot->waiter = waiter;
}

// One at a time: what they do may end further calls, and come here again.
void ClientState::run_ready() {
  while (!ready_.empty()) {
    Slot& slot = *slots_[ready_.front()];
    ready_.pop_front();
    if (slot.waiter) {
      std::exchange(slot.waiter, nullptr).resume();
    } else if (slot.done) {
      const auto done = std::exchange(slot.done, nullptr);
      done(take(slot));
    }
  }
}

ClientStatistics ClientState::statistics() const noexcept {
  const auto serving = std::count_if(channels_.begin(), channels_.end(),
                                     [](const auto& channel) { return channel->stage() == ServerStage::serving; });
  return {.calls = calls_,
          .late_replies = late_,
          .retries = retries_,
          .in_flight = in_flight_,
          .servers = static_cast<std::uint32_t>(serving)};
}

Outcome<void> ClientState::wait_for_server(nanoseconds timeout) {
  if (!ours()) return not_ok(forked());
  const std::int64_t until = after(stamper_.now(), timeout);
  for (;;) {
    find_servers();
    if (choose() != nullptr) return {};
    if (stamper_.now() >= until) return not_ok(no_server_);
    const timespec nap{0, 1'000'000};
    nanosleep(&nap, nullptr);
  }
}

}  // namespace arus::rpc::detail
