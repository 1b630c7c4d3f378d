#include "rpc/client_channel.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus::rpc::detail {

using platform::fail;
using platform::fail_system;
using platform::pass;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

void set_doorbell(const ServerFile& file, std::uint32_t place) noexcept {
  file.doorbells().bits[place / 64].fetch_or(1ull << place % 64, memory_order_acq_rel);
}

}  // namespace

Result<std::unique_ptr<ClientChannel>> ClientChannel::connect(std::shared_ptr<arus::detail::BusState> bus,
                                                              const std::string& service, const ServerName& server,
                                                              const ClientConfig& config) {
  const log::BusDirectory& directory = bus->directory();
  const std::string path = server_path(directory, service, server);
  auto file = ServerFile::open(server_file_path(path), platform::Access::write);
  if (!file) return pass(file);
  if (file->header().incarnation != server.incarnation || file->header().number != server.number)
    return fail(Errc::corrupt, "{} is of another server than its name says", path);
  if (file->attention().stage.load(memory_order_acquire) != static_cast<std::uint64_t>(ServerStage::serving))
    return fail(Errc::not_found, "the server {} stops", path);
  // The channel is for the same users as the server's own file.
  struct stat status {};
  if (stat(server_file_path(path).c_str(), &status) != 0) return fail_system(errno, "stat", server_file_path(path));
  const platform::Ownership ownership{.mode = status.st_mode & 0777u,
                                      .group_id = (status.st_mode & 0060) != 0 ? static_cast<std::int64_t>(status.st_gid) : -1};
  for (std::uint32_t place = 0; place < file->header().clients; ++place) {
    ClientSlot& slot = file->client(place);
    std::uint64_t free = platform::kNoIncarnation;
    if (slot.incarnation.load(memory_order_relaxed) != free ||
        !slot.incarnation.compare_exchange_strong(free, directory.incarnation(), memory_order_acq_rel))
      continue;
    const std::uint64_t name = platform::random_word();
    slot.channel.store(name, memory_order_relaxed);
    ARUS_KILL_POINT("rpc-place-taken");
    auto channel = ChannelFile::create(platform::format("{}/{:016x}", path, name),
                                       {.server = server.number,
                                        .incarnation = directory.incarnation(),
                                        .ring_bytes = config.ring_bytes,
                                        .slots = config.max_in_flight},
                                       ownership);
    ARUS_KILL_POINT("rpc-channel-made");
    slot.state.store(static_cast<std::uint64_t>(channel ? SlotState::offered : SlotState::closing), memory_order_release);
    set_doorbell(*file, place);
    platform::fence_full();
    wake(file->attention().sleeper, [&]() -> platform::Bells& { return *directory.bells(); });
    if (!channel) return pass(channel);
    ARUS_KILL_POINT("rpc-offered");
    return std::unique_ptr<ClientChannel>(new ClientChannel(std::move(bus), server, std::move(*file), std::move(*channel), place));
  }
  return fail(Errc::limit_reached, "a server of '{}' has {} clients, which is its limit (ServerConfig::max_clients): {}", service,
              file->header().clients, directory.leases()->describe(server.incarnation));
}

ClientChannel::ClientChannel(std::shared_ptr<arus::detail::BusState> bus, const ServerName& server, ServerFile file,
                             ChannelFile channel, std::uint32_t place) noexcept
    : bus_(std::move(bus)),
      server_(server),
      file_(std::move(file)),
      channel_(std::move(channel)),
      place_(place),
      requests_(channel_.requests(), channel_.lines().requests.position),
      replies_(channel_.replies(), channel_.lines().replies.position),
      mask_(replies_.ring().mask),
      oldest_(replies_.position()),
      held_(replies_.ring().cells) {}

void ClientChannel::close() noexcept {
  file_.client(place_).state.store(static_cast<std::uint64_t>(SlotState::closing), memory_order_release);
  set_doorbell(file_, place_);
  platform::fence_full();
  wake(file_.attention().sleeper, [this]() -> platform::Bells& { return bells(); });
}

void ClientChannel::retire(std::unique_ptr<ClientChannel> channel) noexcept {
  if (channel->holds_ == 0) return;
  channel->retired_ = true;
  static_cast<void>(channel.release());  // release() of the last reply deletes it
}

void ClientChannel::ring_doorbell() const noexcept {
  platform::fence_full();
  Attention& attention = file_.attention();
  if (attention.doorbell.load(memory_order_relaxed) != 0) [[unlikely]]
    set_doorbell(file_, place_);
  ARUS_KILL_POINT("rpc-doorbell");
  wake(attention.sleeper, [this]() -> platform::Bells& { return bells(); });
}

const std::byte* ClientChannel::sent(std::uint64_t position) const noexcept {
  return requests_.intact(position) ? requests_.body({position, 0}) : nullptr;
}

void ClientChannel::cancel(std::uint64_t id) const noexcept {
  channel_.slot(slot_of(id)).cancelled.store(id, memory_order_release);
}

void ClientChannel::advance() noexcept {
  while (oldest_ != replies_.position()) {
    const std::uint32_t held = held_[oldest_ & mask_];
    if (held == 0) {  // padding at the ring's end was passed over
      oldest_ += replies_.ring().cells - (oldest_ & mask_);
      continue;
    }
    if ((held & kReleased) == 0) break;
    held_[oldest_ & mask_] = 0;
    oldest_ += held & ~kReleased;
  }
  replies_.publish(oldest_);
}

void ClientChannel::consumed(std::uint64_t id, std::uint64_t cells) const noexcept {
  Word& word = channel_.slot(slot_of(id)).consumed;
  word.store(word.load(memory_order_relaxed) + cells, memory_order_release);
}

}  // namespace arus::rpc::detail
