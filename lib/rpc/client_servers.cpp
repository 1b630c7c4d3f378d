// The part of ClientState that looks after servers: their replies, their death, and which one gets a call.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "platform/error.h"
#include "rpc/client_state.h"

namespace arus::rpc::detail {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kServersEvery = 2 * kMillisecond;  // while calls are outstanding
constexpr std::uint32_t kMostMoves = 16;                  // of a call that no server has begun

}  // namespace

// ---- replies --------------------------------------------------------------------------------------------------------------------

// What draining servers have refused. Not while a ring is being read: it may bring new servers and calls.
void ClientState::move_refused() {
  connect_to_new();
  while (!moves_.empty()) {
    Slot& slot = *slots_[moves_.back()];
    moves_.pop_back();
    if (std::exchange(slot.refused, false)) move_or_end(slot, *slot.channel, false, Status(slot.status));
  }
}

void ClientState::move_or_end(Slot& slot, const ClientChannel& from, bool begun, Status otherwise) {
  if (!slot.decided && again_elsewhere(slot, from, begun)) return;
  if (!slot.decided) decide(slot, std::move(otherwise));
  off_wire(slot);
}

// The one reply of a call that waits for it.
inline bool ClientState::accept_plainly(Slot& slot, const Received& received) noexcept {
  if (slot.decided || slot.streaming || received.call.code != static_cast<std::uint16_t>(Code::ok) || received.call.flags != kLast)
    return false;
  slot.has_reply = true;
  slot.reply.position = received.position;
  slot.reply.cells = received.cells;
  slot.reply.body = received.body;
  tell_decided(slot);
  off_wire(slot);
  return true;
}

void ClientState::receive(ClientChannel& channel) {
  Received received;
  // Whoever owes nothing is not looked at: the next header's line stays with the server that will write it.
  do {
    const ring::Found found = channel.look(received);
    if (found == ring::Found::nothing) return;
    if (found == ring::Found::corrupt) [[unlikely]] {
      channel.broken = true;  // look_after_servers() ends its calls
      return;
    }
    channel.hold(received);
    const std::uint32_t index = slot_of(received.call.id);
    Slot* const slot = index < slots_.size() ? slots_[index].get() : nullptr;
    if (slot == nullptr || !slot->on_wire || slot->id != received.call.id || slot->channel != &channel) [[unlikely]] {
      ++late_;  // an attempt that was given up with its server
      channel.give_back(received.position);
    } else if (!accept_plainly(*slot, received)) {
      accept(channel, *slot, received);
    }
    if (channel.held_back()) [[unlikely]]
      make_room(channel);
  } while (channel.expecting != 0);
}

void ClientState::make_room(ClientChannel& channel) {
  const auto evacuate = [&](Item& item) {
    if (item.copy) return;
    item.copy = std::make_unique<std::byte[]>(std::max<std::size_t>(item.body.size(), 1));
    platform::copy(item.copy.get(), item.body.data(), item.body.size());
    item.body = {item.copy.get(), item.body.size()};
    channel.give_back(item.position);
  };
  for (const auto& slot : slots_) {
    if (!slot->owned || slot->channel != &channel) continue;
    if (slot->has_reply) evacuate(slot->reply);
    for (std::size_t i = slot->next_item; i < slot->items.size(); ++i) evacuate(slot->items[i]);
  }
}

// A record for a call that the server has on its books. Whoever does not keep it gives it back.
void ClientState::accept(ClientChannel& channel, Slot& slot, const Received& received) {
  const bool last = (received.call.flags & kLast) != 0;
  if (slot.decided) {  // by deadline or cancel(): too late
    ++late_;
    if (!last) channel.consumed(slot.id, received.cells);
    channel.give_back(received.position);
    if (last) off_wire(slot);
    return;
  }
  Item item{received.position, received.cells, received.body, nullptr};
  if (!last) {
    if (slot.streaming) {
      slot.items.push_back(std::move(item));
      ++ended_;
    } else {  // a server that breaks the protocol
      channel.give_back(received.position);
    }
    return;
  }
  const Code code = received.call.code < kCodes ? static_cast<Code>(received.call.code) : Code::unknown;
  if (code == Code::ok) [[likely]] {
    if ((received.call.flags & kEnd) != 0 && slot.streaming) {
      channel.give_back(received.position);
    } else if (slot.streaming) {
      slot.items.push_back(std::move(item));
    } else {
      slot.has_reply = true;
      slot.reply = std::move(item);
    }
    decide(slot, Status(Code::ok));
    off_wire(slot);
    return;
  }
  std::string text((received.call.flags & kText) != 0 ? arus::text(received.body) : std::string_view());
  Status status = text.empty() ? Status(code) : Status(code, std::move(text));
  channel.give_back(received.position);
  if (code == Code::unavailable && (received.call.flags & kNotRun) != 0) {
    slot.refused = true;
    slot.status = std::move(status);
    moves_.push_back(index_of(slot));
  } else {
    decide(slot, std::move(status));
    off_wire(slot);
  }
}

// ---- deadlines and deaths -------------------------------------------------------------------------------------------------------

void ClientState::look_after(std::int64_t now) {
  if (now >= earliest_deadline_) expire(now);
  if (now >= servers_look_at_) {
    servers_look_at_ = now + kServersEvery;
    look_after_servers(false);
  }
}

void ClientState::expire(std::int64_t now) {
  earliest_deadline_ = kForever.count();
  for (const auto& each : slots_) {
    Slot& slot = *each;
    if (!slot.owned || slot.decided) continue;
    if (now < slot.deadline)
      earliest_deadline_ = std::min(earliest_deadline_, slot.deadline);
    else
      decide(slot, Status(Code::deadline_exceeded, platform::format("no reply of method '{}' of service '{}' before the deadline",
                                                                    methods_[slot.method], service_)));
  }
}

// Those that are gone leave the table first, then new ones enter it, then the calls are decided: nothing here comes back to here.
void ClientState::look_after_servers(bool also_idle) {
  struct Lost {
    std::unique_ptr<ClientChannel> channel;
    std::string_view why;
  };
  std::vector<Lost> lost;
  for (auto& channel : channels_) {
    std::string_view why;
    if (channel->stage() == ServerStage::gone)
      why = "has stopped";
    else if (channel->broken)
      why = "has written what cannot be a reply";
    else if (channel->expecting == 0 && !also_idle)
      continue;
    else if (channel->refused())
      why = "has refused this client's channel";
    else if (bus_->directory().leases()->dead(channel->server().incarnation))
      why = "has died";
    if (!why.empty()) lost.push_back({std::move(channel), why});
  }
  if (lost.empty()) return;
  std::erase(channels_, nullptr);
  connect_to_new();
  for (Lost& one : lost) lose(std::move(one.channel), one.why);
}

void ClientState::lose(std::unique_ptr<ClientChannel> channel, std::string_view why) {
  if (!channel->broken) receive(*channel);  // what was committed before counts
  const std::string who = bus_->directory().leases()->describe(channel->server().incarnation);
  for (const auto& each : slots_) {
    Slot& slot = *each;
    if (slot.channel != channel.get()) continue;
    if (!slot.on_wire) {
      loan_lost_ |= loaning_ && slot.owned && !slot.decided;
      continue;
    }
    if (std::exchange(slot.refused, false)) {
      move_or_end(slot, *channel, false, Status(slot.status));
      continue;
    }
    const bool begun = !channel->never_begun(slot.position);
    move_or_end(slot, *channel, begun,
                Status(Code::unavailable, platform::format("a server of '{}' {} with this call outstanding{}: {}", service_, why,
                                                           begun ? "; it may have run" : "", who)));
  }
  channel->close();
  ClientChannel::retire(std::move(channel));
}

// Makes the call again, if that is permitted: at another server, with what is left of its time. Whether it was made.
bool ClientState::again_elsewhere(Slot& slot, const ClientChannel& not_this, bool begun) {
  const auto index = static_cast<std::size_t>(not_this.method_index[slot.method]);
  const bool idempotent = (not_this.methods()[index].flags & kIdempotent) != 0;
  if (closed_ || slot.attempts > kMostMoves) return false;
  if (begun && (!idempotent || slot.streaming || slot.attempts > config_.retries)) return false;
  const std::byte* body = not_this.sent(slot.position);
  if (body == nullptr || stamper_.now() >= slot.deadline) return false;
  ClientChannel* next = choose(&not_this);
  LaneWriter::Claim claim;
  if (next == nullptr || !fits(*next, slot) || !next->claim(slot.size, claim)) return false;
  platform::copy(next->body(claim), body, slot.size);
  --slot.channel->expecting;
  --in_flight_;
  slot.channel = next;
  commit(slot, claim, slot.size, stamper_.now());
  ++retries_;
  return true;
}

// Once: the caller looks again. Bounded: a server that dies wakes nobody.
void ClientState::sleep(std::int64_t ns) noexcept {
  if (!bell_) {
    auto bell = platform::Bell::take(bus_->directory().bells(), bus_->directory().incarnation());
    if (!bell) {
      const timespec nap{0, 200'000};
      nanosleep(&nap, nullptr);
      return;
    }
    bell_ = std::move(*bell);
  }
  const std::uint32_t rings = bell_->rings();
  bool expecting = false;
  for (const auto& channel : channels_)
    if (channel->expecting != 0) {
      channel->arm(bell_->index());
      expecting = true;
    }
  platform::fence_full();
  const bool something = std::any_of(channels_.begin(), channels_.end(),
                                     [](const auto& channel) { return channel->expecting != 0 && channel->ready(); });
  if (!something) bell_->sleep(rings, std::min(ns, expecting ? kServersEvery : kSecond));
  for (const auto& channel : channels_) channel->disarm();
}

// ---- which server ---------------------------------------------------------------------------------------------------------------

// The one with the fewest calls outstanding, of all clients; of equals each in turn.
ClientChannel* ClientState::choose_one(const ClientChannel* not_this) {
  const std::size_t count = channels_.size();
  ClientChannel* best = nullptr;
  std::uint64_t least = 0;
  ++turn_;
  for (std::size_t i = 0; i < count; ++i) {
    ClientChannel* channel = channels_[(turn_ + i) % count].get();
    if (channel == not_this || channel->stage() != ServerStage::serving || channel->broken) continue;
    const std::uint64_t load = channel->load();
    if (best != nullptr && load >= least) continue;
    best = channel;
    least = load;
  }
  return best;
}

void ClientState::find_servers() {
  look_after_servers(true);
  connect_to_new();
}

// And sweeps what dead ones have left.
void ClientState::connect_to_new() {
  const log::BusDirectory& bus = bus_->directory();
  find_at_ = stamper_.now() + kSecond;
  struct stat status {};
  const bool there = stat(service_path(bus, service_).c_str(), &status) == 0;
  const std::int64_t changed = there ? status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec : 0;
  if (changed == directory_changed_ && choose() != nullptr) return;
  auto names = list_servers(bus, service_);
  if (!names) {
    no_server_ = names.error().code() == Errc::not_found
                     ? Status(Code::not_found, platform::format("there is no service '{}' in {}", service_, bus.path()))
                     : Status(names.error());
    if (bus.gone()) no_server_ = Status(Error(Errc::deleted, platform::format("the bus {} was deleted", bus.path())));
    return;
  }
  directory_changed_ = changed;
  no_server_ = Status(Code::unavailable, platform::format("no server of service '{}' is alive", service_));
  for (const ServerName& name : *names) {
    const bool known = std::any_of(channels_.begin(), channels_.end(),
                                   [&](const auto& channel) { return channel->server().number == name.number; });
    if (known) continue;
    if (bus.leases()->dead(name.incarnation)) {
      remove_server(bus, service_, name);
      continue;
    }
    if (channels_.size() >= config_.max_servers) continue;
    auto channel = ClientChannel::connect(bus_, service_, name, config_);
    if (channel) {
      channels_.push_back(std::move(*channel));
    } else if (channel.error().code() != Errc::not_found) {  // else it went away just now
      no_server_ = Status(channel.error());
      directory_changed_ = 0;  // try again next time
    }
  }
}

void ClientState::number_methods(ClientChannel& channel) const {
  while (channel.method_index.size() < methods_.size()) {
    const std::string& name = methods_[channel.method_index.size()];
    const auto& specs = channel.methods();
    const auto found = std::find_if(specs.begin(), specs.end(), [&](const MethodSpec& spec) { return spec.name == name; });
    channel.method_index.push_back(found == specs.end() ? -1 : static_cast<std::int32_t>(found - specs.begin()));
  }
}

Status ClientState::misfit(ClientChannel& channel, const Slot& slot) const {
  const std::int32_t index = index_in(channel, slot.method);
  if (index < 0)
    return Status(Code::unimplemented, platform::format("service '{}' has no method '{}'", service_, methods_[slot.method]));
  const MethodSpec& spec = channel.methods()[static_cast<std::size_t>(index)];
  if (spec.request_size != 0 && slot.size != spec.request_size)
    return Status(Code::invalid_argument, platform::format("method '{}' takes requests of {} bytes, this one has {}", spec.name,
                                                           spec.request_size, slot.size));
  if (slot.size > most_body())
    return Status(
        Code::out_of_range,
        platform::format("the request has {} bytes, and the largest that fits the ring has {}; connect with a larger ring_bytes",
                         slot.size, most_body()));
  return Status(Code::invalid_argument,
                platform::format("method '{}' gives a stream of replies; call it with stream()", spec.name));
}

}  // namespace arus::rpc::detail
