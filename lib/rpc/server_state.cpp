#include "rpc/server_state.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <exception>
#include <limits>
#include <utility>

#include "platform/error.h"
#include "platform/kill_point.h"
#include "rpc/statistics.h"
#include "rpc/workers.h"

namespace arus::rpc {

using platform::fail;
using platform::pass;
using std::chrono::nanoseconds;

namespace detail {

namespace {

constexpr std::size_t kDirect = 8;  // clients up to which each ring is looked at
constexpr std::size_t kVisit = 32;  // requests taken from one ring before the next one's turn
constexpr std::uint32_t kRoundsPerClock = 64;
constexpr std::uint32_t kBusyRoundsPerClock = 4096;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::uint32_t kMostWorkers = 256;

// The handler that runs on this thread.
struct Running {
  const ServerCall* call;
  bool deferred = false;  // a Responder was made for it
  bool orphaned = false;  // which went with an exception of the handler
};
thread_local Running* running = nullptr;

std::string channel_path(const std::string& directory, std::uint64_t channel) {
  return platform::format("{}/{:016x}", directory, channel);
}

// Answers one call where its handler runs. `clock`: the polling thread's, if it is that one.
class Here final : public Answer {
 public:
  Here(ServerCall& call, PollClock* clock) noexcept : call_(call), clock_(clock) {}
  void reply(Bytes body) override {
    if (clock_ != nullptr && call_.channel->answer(call_, body, *clock_)) [[likely]]
      return;
    static_cast<void>(call_.channel->finish(call_, Code::ok, body, 0, platform::boot_time()));
  }
  void fail(const Status& status) override { static_cast<void>(call_.channel->fail(call_, status, platform::boot_time())); }
  Responder defer() override { return ServerState::defer(call_); }

 private:
  ServerCall& call_;
  PollClock* clock_;
};

}  // namespace

Result<std::unique_ptr<ServerState>> ServerState::make(std::shared_ptr<arus::detail::BusState> bus, std::string_view service,
                                                       const ServerConfig& config) {
  if (auto good = check_name("a service", service, 249); !good) return pass(good);
  if (auto good = bus->check(); !good) return pass(good);
  if (auto able = bus->directory().need_lease("serving"); !able) return pass(able);
  const auto within = [](std::string_view field, std::uint64_t value, std::uint64_t least, std::uint64_t most) -> Result<void> {
    if (value >= least && value <= most) return {};
    return fail(Errc::invalid_argument, "{} is {}; it must be {} to {}", field, value, least, most);
  };
  if (auto good = within("max_clients", config.max_clients, 1, kMostClients); !good) return pass(good);
  if (auto good = within("workers", config.workers, 0, kMostWorkers); !good) return pass(good);
  if ((config.mode & ~0777u) != 0 || (config.mode & 0600) != 0600)
    return fail(Errc::invalid_argument, "mode is {:04o}; it must be at least 0600 and at most 0777", config.mode);
  auto core = std::make_shared<ServerCore>();
  core->bus = std::move(bus);
  core->service = service;
  core->config = config;
  std::unique_ptr<ServerState> state(new ServerState(core));
  if (config.wait.mode != Wait::Mode::spin) {
    auto bell = platform::Bell::take(core->bus->directory().bells(), core->bus->directory().incarnation());
    if (!bell) return pass(bell);
    state->bell_ = std::move(*bell);
  }
  return state;
}

ServerState::~ServerState() {
  if (!ours() || directory_.empty() || over_) return;
  draining_ = true;
  finish_stage(0);
}

Result<void> ServerState::usable() const {
  if (!ours()) return fail(Errc::forked, "this server belongs to the parent process; make one in the child");
  if (over_) return fail(Errc::deleted, "this server of '{}' has stopped; make another", core_->service);
  return {};
}

Result<void> ServerState::add(std::string_view name, std::size_t request_size, std::size_t reply_size, const MethodConfig& config,
                              Handler handler) {
  if (auto good = usable(); !good) return good;
  if (auto good = check_name("a method", name, kMostMethodName); !good) return good;
  if (!directory_.empty())
    return fail(Errc::invalid_argument, "method '{}' comes too late: register methods before start(), poll() or run()", name);
  for (const Method& method : core_->methods)
    if (method.spec.name == name) return fail(Errc::already_exists, "service '{}' has a method '{}' already", core_->service, name);
  if (core_->methods.size() >= kMostMethods) return fail(Errc::limit_reached, "a service has at most {} methods", kMostMethods);
  const std::uint32_t flags = (config.idempotent ? kIdempotent : 0) | (config.streaming ? kStreaming : 0);
  core_->methods.push_back(
      {{std::string(name), static_cast<std::uint32_t>(request_size), static_cast<std::uint32_t>(reply_size), flags},
       std::move(handler)});
  return {};
}

// ---- beginning ----------------------------------------------------------------------------------------------------------------

Result<void> ServerState::start() {
  if (auto good = usable(); !good) return good;
  if (!directory_.empty()) return {};
  const log::BusDirectory& bus = core_->bus->directory();
  const ServerConfig& config = core_->config;
  auto group = platform::group_id(config.group);
  if (!group) return pass(group);
  const platform::Ownership ownership{.mode = config.mode, .group_id = *group};
  if (auto names = list_servers(bus, core_->service); names)
    for (const ServerName& name : *names)
      if (bus.leases()->dead(name.incarnation)) remove_server(bus, core_->service, name);
  name_ = {bus.incarnation(), platform::random_word()};
  std::vector<MethodSpec> specs;
  for (const Method& method : core_->methods) specs.push_back(method.spec);
  auto scratch = begin_server(bus, ownership);
  if (!scratch) return pass(scratch);
  auto file = ServerFile::create(server_file_path(*scratch),
                                 {.incarnation = name_.incarnation,
                                  .number = name_.number,
                                  .clients = config.max_clients,
                                  .max_outstanding = config.max_outstanding,
                                  .workers = config.workers,
                                  .methods = specs},
                                 ownership);
  Result<void> done{};
  if (!file)
    done = pass(file);
  else
    done = publish_server(bus, *scratch, core_->service, name_);
  if (!done) {
    platform::remove_directory(*scratch);
    return done;
  }
  core_->file = std::move(*file);
  directory_ = server_path(bus, core_->service, name_);
  channels_.resize(config.max_clients);
  doorbell_words_ = (channels_.size() + 63) / 64;
  attached_.reserve(config.max_clients);
  platform::ticks_to_ns();  // begins to calibrate
  if (config.workers != 0) try {
      core_->several_threads.store(true, std::memory_order_release);
      workers_ = std::make_unique<Workers>(config.workers);
    } catch (const std::exception& error) {
      finish_stage(0);
      return fail(Errc::system, "cannot start {} worker threads: {}", config.workers, error.what());
    }
  return {};
}

// ---- clients --------------------------------------------------------------------------------------------------------------------

void ServerState::attend(std::uint32_t client) {
  const auto state = static_cast<SlotState>(core_->file.client(client).state.load(std::memory_order_acquire));
  if (state == SlotState::offered && !channels_[client]) attach(client);
  if (state == SlotState::closing) detach(client, SlotState::free);
}

void ServerState::attach(std::uint32_t client) {
  ClientSlot& slot = core_->file.client(client);
  const std::uint64_t incarnation = slot.incarnation.load(std::memory_order_acquire);
  const std::string path = channel_path(directory_, slot.channel.load(std::memory_order_relaxed));
  auto file = ChannelFile::open(path, name_.number, incarnation);
  auto next = file ? SlotState::serving : SlotState::refused;
  std::shared_ptr<ServerChannel> channel;
  if (file) channel = std::make_shared<ServerChannel>(core_, std::move(*file), client, incarnation);
  ARUS_KILL_POINT("rpc-attach");
  unlink(path.c_str());  // nothing is left when both have gone
  auto offered = static_cast<std::uint64_t>(SlotState::offered);
  if (!slot.state.compare_exchange_strong(offered, static_cast<std::uint64_t>(next), std::memory_order_acq_rel)) return;
  if (!channel) return;
  attached_.push_back(channel.get());
  channels_[client] = std::move(channel);
  choose_way();
}

void ServerState::detach(std::uint32_t client, SlotState leave) noexcept {
  ClientSlot& slot = core_->file.client(client);
  if (channels_[client]) {
    std::erase(attached_, channels_[client].get());
    channels_[client]->close();
    channels_[client]->wake_client();
    channels_[client].reset();  // Responders may keep it
    choose_way();
  }
  if (leave != SlotState::free) {  // its client is to see it, and to give the slot back
    slot.state.store(static_cast<std::uint64_t>(leave), std::memory_order_release);
    return;
  }
  if (const std::uint64_t name = slot.channel.exchange(0, std::memory_order_relaxed); name != 0) try {
      unlink(channel_path(directory_, name).c_str());
    } catch (...) {  // out of memory: it goes with the server
    }
  slot.state.store(static_cast<std::uint64_t>(SlotState::free), std::memory_order_relaxed);
  ARUS_KILL_POINT("rpc-detach");
  slot.incarnation.store(platform::kNoIncarnation, std::memory_order_release);
}

void ServerState::choose_way() noexcept {
  core_->clients.store(static_cast<std::uint32_t>(attached_.size()), std::memory_order_relaxed);
  const bool by_doorbell = attached_.size() > (by_doorbell_ ? kDirect / 2 : kDirect);
  if (by_doorbell == by_doorbell_) return;
  by_doorbell_ = by_doorbell;
  core_->file.attention().doorbell.store(by_doorbell ? 1 : 0, std::memory_order_relaxed);
  platform::fence_full();
  sweep_ = true;
}

// Clients ring when they come and go, and with each request only while they are many.
inline bool ServerState::any_doorbell() const noexcept {
  const Doorbells& doorbells = core_->file.doorbells();
  std::uint64_t any = 0;
  for (std::size_t i = 0; i < doorbell_words_; ++i) any |= doorbells.bits[i].load(std::memory_order_acquire);
  return any != 0;
}

std::size_t ServerState::answer_doorbells() {
  std::size_t taken = 0;
  Doorbells& doorbells = core_->file.doorbells();
  for (std::size_t i = 0; i < doorbell_words_; ++i) {
    if (doorbells.bits[i].load(std::memory_order_relaxed) == 0) continue;
    for (std::uint64_t bits = doorbells.bits[i].exchange(0, std::memory_order_acq_rel); bits != 0; bits &= bits - 1) {
      const auto client = static_cast<std::uint32_t>(i * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
      if (client >= channels_.size()) break;  // noise
      attend(client);
      if (by_doorbell_ && channels_[client]) {
        const std::size_t visit = serve(*channels_[client]);
        taken += visit;
        if (visit >= kVisit) unfinished_.push_back(client);
      }
    }
  }
  return taken;
}

// ---- requests -------------------------------------------------------------------------------------------------------------------

std::size_t ServerState::look() {
  std::size_t taken = any_doorbell() ? answer_doorbells() : 0;
  if (!by_doorbell_ || sweep_) {
    sweep_ = false;
    for (std::size_t i = 0; i < attached_.size(); ++i) {
      const std::size_t visit = serve(*attached_[i]);
      taken += visit;
      if (visit >= kVisit) sweep_ = true;
    }
  } else if (!unfinished_.empty()) {
    std::vector<std::uint32_t> again;
    again.swap(unfinished_);
    for (const std::uint32_t client : again)
      if (channels_[client]) {
        const std::size_t visit = serve(*channels_[client]);
        taken += visit;
        if (visit >= kVisit) unfinished_.push_back(client);
      }
  }
  if (core_->parked.load(std::memory_order_relaxed) != 0) [[unlikely]]
    for (ServerChannel* channel : attached_) channel->retry_parked(clock_.now());
  return taken;
}

[[gnu::always_inline]] inline void ServerState::accept(ServerChannel& channel, ServerCall& call, Bytes body) {
  const std::int64_t now = clock_.now();
  if (draining_ || call.method >= core_->methods.size() || !core_->methods[call.method].takes(body.size()) ||
      core_->outstanding.load(std::memory_order_relaxed) >= core_->config.max_outstanding) [[unlikely]]
    return refuse(channel, call, body, now);
  call.admitted = true;
  core_->count_outstanding(1);
  if (workers_) {
    call.request.assign(body.begin(), body.end());
    workers_->hand(channel.shared_from_this(), call);
  } else if (channel.cancelled(call, now)) [[unlikely]] {
    static_cast<void>(channel.finish(call, Code::ok, {}, 0, now));  // knows why nobody waits for it
  } else {
    run_handler(call, body, &clock_);
    clock_.forget(now);  // unless it was read after the handler
  }
}

std::size_t ServerState::serve(ServerChannel& channel) {
  for (std::size_t taken = 0; taken < kVisit; ++taken) {
    Received received;
    const ring::Found found = channel.look(received);
    if (found == ring::Found::nothing) return taken;
    if (found == ring::Found::corrupt) [[unlikely]] {
      detach(channel.client(), SlotState::refused);
      return taken;
    }
    channel.prefetch();
    ServerCall* call = channel.open(received);
    if (call == nullptr) [[unlikely]] {
      detach(channel.client(), SlotState::refused);
      return taken;
    }
    ARUS_KILL_POINT("rpc-request-taken");
    accept(channel, *call, received.body);
    ARUS_KILL_POINT("rpc-request-served");
    channel.pass(received);
  }
  return kVisit;
}

void ServerState::refuse(ServerChannel& channel, ServerCall& call, Bytes body, std::int64_t now) {
  const auto say = [&](Code code, std::string message, std::uint16_t flags = 0) {
    static_cast<void>(channel.fail(call, Status(code, std::move(message)), now, flags));
  };
  if (draining_) return say(Code::unavailable, platform::format("this server of '{}' stops", core_->service), kNotRun);
  if (call.method >= core_->methods.size())
    return say(Code::unimplemented, platform::format("service '{}' has no method number {}", core_->service, call.method));
  if (const MethodSpec& spec = core_->methods[call.method].spec; spec.request_size != 0 && body.size() != spec.request_size)
    return say(Code::invalid_argument, platform::format("method '{}' takes requests of {} bytes, this one has {}", spec.name,
                                                        spec.request_size, body.size()));
  const std::uint64_t refused = core_->refused.fetch_add(1, std::memory_order_relaxed) + 1;
  core_->file.load().refused.store(refused, std::memory_order_relaxed);
  say(Code::resource_exhausted,
      platform::format("this server of '{}' has {} calls outstanding, which is its limit", core_->service,
                       core_->config.max_outstanding),
      kNotRun);
}

void ServerState::run_handler(ServerCall& call, Bytes body, PollClock* clock) {
  Here here(call, clock);
  const Incoming request(call, body);
  Running own{&call};
  Running* const outer = std::exchange(running, &own);
  try {
    call.channel->core().methods[call.method].handler(request, here);
    running = outer;
  } catch (const std::exception& error) {
    running = outer;
    threw(call, own.deferred && !own.orphaned, error.what());
  } catch (...) {
    running = outer;
    threw(call, own.deferred && !own.orphaned, "something that is no std::exception");
  }
}

// A Responder that the handler has put aside answers yet; one that went with the exception left that to us.
void ServerState::threw(ServerCall& call, bool answers_yet, const char* what) {
  if (answers_yet) return;
  ServerChannel& channel = *call.channel;
  std::string message = platform::format("the handler of '{}' threw: {}", channel.core().methods[call.method].spec.name, what);
  static_cast<void>(channel.fail(call, Status(Code::internal, std::move(message)), platform::boot_time()));
}

// From here on other threads may answer.
Responder ServerState::defer(ServerCall& call) {
  if (running != nullptr && running->call == &call) running->deferred = true;
  call.channel->core().several_threads.store(true, std::memory_order_release);
  return {call.channel->shared_from_this(), &call};
}

bool ServerState::leave_to_handler(const ServerCall& call) noexcept {
  if (running == nullptr || running->call != &call || std::uncaught_exceptions() == 0) return false;
  running->orphaned = true;
  return true;
}

// ---- polling --------------------------------------------------------------------------------------------------------------------

Result<std::size_t> ServerState::poll(nanoseconds timeout) {
  if (!ours() || over_) [[unlikely]]
    return pass(usable());
  if (directory_.empty()) [[unlikely]]
    if (auto started = start(); !started) return pass(started);
  clock_.forget();
  if (const std::size_t taken = look(); taken != 0) {
    if (++busy_ % kBusyRoundsPerClock == 0)
      if (auto good = look_after(clock_.now()); !good) return pass(good);
    return taken;
  }
  const Wait& wait = core_->config.wait;
  const std::int64_t began = clock_.read();
  const std::int64_t until = timeout.count() > std::numeric_limits<std::int64_t>::max() - began
                                 ? std::numeric_limits<std::int64_t>::max()
                                 : began + timeout.count();
  const std::int64_t sleep_from = began + (wait.mode == Wait::Mode::sleep ? 0 : wait.spin.count());
  const bool spins = timeout > nanoseconds::zero() && wait.mode != Wait::Mode::sleep;
  for (std::uint32_t round = 1;; ++round) {
    if (timeout > nanoseconds::zero()) platform::pause();
    const bool alone = spins && attached_.size() == 1;
    if (alone) [[likely]] {
      attached_.front()->await(kRoundsPerClock);
      if (const std::size_t taken = serve(*attached_.front()); taken != 0) return taken;
    }
    if (const std::size_t taken = look(); taken != 0) return taken;
    if (spins && !alone && round % kRoundsPerClock != 0) continue;
    if (stopping_.load(std::memory_order_acquire)) return std::size_t{0};
    const std::int64_t now = clock_.read();
    if (auto good = look_after(now); !good) return pass(good);
    if (now >= until) return std::size_t{0};
    if (bell_ && now >= sleep_from) sleep(until - now);
  }
}

bool ServerState::any_ready() const noexcept {
  return any_doorbell() || !unfinished_.empty() ||
         std::any_of(attached_.begin(), attached_.end(), [](const auto* channel) { return channel->ready(); });
}

void ServerState::sleep(std::int64_t ns) noexcept {
  Word& sleeper = core_->file.attention().sleeper;
  const std::uint32_t rings = bell_->rings();
  arm(sleeper, bell_->index());
  platform::fence_full();
  ARUS_KILL_POINT("rpc-server-armed");
  if (any_ready()) {
    sweep_ = by_doorbell_;  // perhaps of a client that died before it rang
  } else if (!stopping_.load(std::memory_order_acquire)) {
    const bool parked = core_->parked.load(std::memory_order_acquire) != 0;
    bell_->sleep(rings, std::min(ns, parked ? kMillisecond : platform::kIdleSleep));
  }
  clock_.forget();
  disarm(sleeper);
}

// Once a second: dead clients, and whether the service is still there.
Result<void> ServerState::look_after(std::int64_t now) {
  if (now < look_at_) return {};
  look_at_ = now + kSecond;
  sweep_ = by_doorbell_;
  std::uint64_t alive = core_->bus->directory().incarnation();
  for (std::uint32_t i = 0; i < channels_.size(); ++i) {
    const std::uint64_t owner =
        channels_[i] ? channels_[i]->incarnation() : core_->file.client(i).incarnation.load(std::memory_order_acquire);
    if (owner == platform::kNoIncarnation || owner == alive) continue;
    if (core_->bus->directory().leases()->dead(owner))
      detach(i, SlotState::free);
    else
      alive = owner;
  }
  if (auto good = core_->bus->check(); !good) return good;
  if (!platform::exists(directory_))
    return fail(Errc::deleted, "the directory of this server of '{}' was removed ({}); make another", core_->service, directory_);
  return {};
}

// ---- ending ---------------------------------------------------------------------------------------------------------------------

void ServerState::stop() noexcept {
  stopping_.store(true, std::memory_order_release);
  if (bell_) bell_->wake();
}

Result<void> ServerState::run(const std::stop_token& stop) {
  if (auto good = start(); !good) return good;
  const std::stop_callback on_stop(stop, [this] { this->stop(); });
  Result<void> result{};
  while (result && !stopping_.load(std::memory_order_acquire))
    if (auto polled = poll(std::chrono::seconds(1)); !polled) result = pass(polled);
  if (!result && result.error().code() == Errc::forked) return result;
  if (auto drained = drain(); !drained) return drained;
  return result;
}

Result<void> ServerState::drain() {
  if (auto good = usable(); !good) return good;
  if (directory_.empty()) {
    over_ = true;
    return {};
  }
  draining_ = true;
  finish_stage(core_->config.drain.count());
  return {};
}

// Requests that are taken from here on are refused as not begun. When the stage is `gone` and the cursors of all rings are final, a client
// knows which of its requests were never taken.
void ServerState::finish_stage(std::int64_t patience) {
  Attention& attention = core_->file.attention();
  draining_ = true;
  attention.stage.store(static_cast<std::uint64_t>(ServerStage::draining), std::memory_order_release);
  ARUS_KILL_POINT("rpc-draining");
  const platform::Deadline deadline = platform::Deadline::after(patience);
  sweep_ = true;
  for (;;) {
    clock_.forget();
    look();
    if (core_->outstanding.load(std::memory_order_acquire) == 0 || deadline.passed()) break;
    const timespec nap{0, 100'000};
    nanosleep(&nap, nullptr);
  }
  const std::int64_t now = platform::boot_time();
  for (ServerChannel* channel : attached_) channel->end_all(now);
  workers_.reset();
  ARUS_KILL_POINT("rpc-ended");
  attention.stage.store(static_cast<std::uint64_t>(ServerStage::gone), std::memory_order_release);
  for (ServerChannel* channel : attached_) channel->wake_client();
  over_ = true;
  remove_server(core_->bus->directory(), core_->service, name_);
}

ServerStatistics ServerState::statistics() const noexcept {
  return {.calls = core_->ended.load(std::memory_order_relaxed),
          .refused = core_->refused.load(std::memory_order_relaxed),
          .dropped = core_->dropped.load(std::memory_order_relaxed),
          .outstanding = core_->outstanding.load(std::memory_order_relaxed),
          .clients = core_->clients.load(std::memory_order_relaxed)};
}

}  // namespace detail
}  // namespace arus::rpc
