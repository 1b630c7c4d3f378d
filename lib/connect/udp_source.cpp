#include "connect/udp_source.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace arus::connect {

using platform::fail;
using platform::format;

namespace {

constexpr std::size_t kAtOnce = 64;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

std::optional<Address> address_of(const std::string& text, std::uint16_t port) {
  Address address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.size = sizeof v4;
  } else if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
  } else {
    return std::nullopt;
  }
  return address;
}

std::uint16_t port_of(const sockaddr_storage& storage) noexcept {
  // The port stands in the same place for both families.
  sockaddr_in v4{};
  std::memcpy(&v4, &storage, sizeof v4);
  return ntohs(v4.sin_port);
}

std::string sender_of(const sockaddr_storage& storage) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage, sizeof v6);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return format("[{}]:{}", text.data(), port_of(storage));
  }
  sockaddr_in v4{};
  std::memcpy(&v4, &storage, sizeof v4);
  inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  return format("{}:{}", text.data(), port_of(storage));
}

// Of a datagram's arrival, as the kernel noted it.
std::optional<Timestamp> arrival_of(msghdr& header) noexcept {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec time{};
    std::memcpy(&time, CMSG_DATA(control), sizeof time);
    return static_cast<Timestamp>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  }
  return std::nullopt;
}

}  // namespace

struct UdpSource::Batch {
  explicit Batch(std::size_t longest) : room(longest + 1), bytes(kAtOnce * room) {}
  std::size_t room;  // of each; one more than allowed, to tell what is too long
  std::vector<char> bytes;
  std::array<mmsghdr, kAtOnce> headers{};
  std::array<iovec, kAtOnce> pieces{};
  std::array<sockaddr_storage, kAtOnce> senders{};
  struct Control {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(timespec))> bytes;
  };
  std::array<Control, kAtOnce> controls{};

  void prepare() {
    for (std::size_t i = 0; i < kAtOnce; ++i) {
      pieces[i] = {bytes.data() + i * room, room};
      msghdr& header = headers[i].msg_hdr;
      header = {};
      header.msg_name = &senders[i];
      header.msg_namelen = sizeof senders[i];
      header.msg_iov = &pieces[i];
      header.msg_iovlen = 1;
      header.msg_control = controls[i].bytes.data();
      header.msg_controllen = controls[i].bytes.size();
    }
  }
};

UdpSource::UdpSource(UdpOptions options, platform::Descriptor socket, std::uint16_t port, std::size_t receive_buffer)
    : options_(std::move(options)),
      socket_(std::move(socket)),
      port_(port),
      receive_buffer_(receive_buffer),
      batch_(new Batch(options_.longest), [](Batch* batch) { delete batch; }) {}

Result<std::unique_ptr<UdpSource>> UdpSource::open(UdpOptions options) {
  const std::string place = format("{}:{}", options.address, options.port);
  options.longest = std::min<std::size_t>(options.longest, 65'535);
  auto address = address_of(options.address, options.port);
  if (!address) {
    return fail(Errc::invalid_argument,
                "'{}' is not a numeric address; expected one such as 127.0.0.1, 0.0.0.0 or ::", options.address);
  }
  platform::Descriptor socket(::socket(address->storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return platform::fail_system(errno, "socket", "UDP " + place);
  const auto set = [&](int option, int value) { return setsockopt(socket.get(), SOL_SOCKET, option, &value, sizeof value); };
  const int wanted = static_cast<int>(std::min<std::size_t>(options.receive_buffer, 1 << 30));
  // FORCE needs CAP_NET_ADMIN; without it net.core.rmem_max is the limit.
  if (set(SO_RCVBUFFORCE, wanted) != 0) set(SO_RCVBUF, wanted);
  set(SO_TIMESTAMPNS, 1);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->size) != 0) {
    if (errno == EADDRINUSE) {
      return fail(Errc::in_use, "UDP {} is in use by another process (see `ss -lunp`); choose another port or end it", place);
    }
    if (errno == EADDRNOTAVAIL) {
      return fail(Errc::not_found, "{} is not an address of this host; use one of its own (see `ip address`), or 0.0.0.0 for all",
                  options.address);
    }
    return platform::fail_system(errno, "bind", "UDP " + place);
  }
  int granted = 0;
  socklen_t size = sizeof granted;
  getsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &granted, &size);
  address->size = sizeof address->storage;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address->storage), &address->size);
  const std::uint16_t port = port_of(address->storage);
  // The kernel doubles what is asked for, for its own bookkeeping.
  auto source =
      std::unique_ptr<UdpSource>(new UdpSource(std::move(options), std::move(socket), port, static_cast<std::size_t>(granted) / 2));
  if (source->receive_buffer_ < source->options_.receive_buffer) {
    source->tell(
        format("the kernel grants a receive buffer of {} bytes instead of {}; raise net.core.rmem_max or give it CAP_NET_ADMIN",
               source->receive_buffer_, source->options_.receive_buffer));
  }
  return source;
}

Result<Fetched> UdpSource::fetch(std::chrono::nanoseconds timeout) {
  items_.clear();
  if (wait_readable(socket_.get(), options_.interrupt, timeout) != Ready::yes) return Fetched{};
  batch_->prepare();
  const int got = recvmmsg(socket_.get(), batch_->headers.data(), kAtOnce, MSG_DONTWAIT, nullptr);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return Fetched{};
    return platform::fail_system(errno, "recvmmsg", format("UDP {}:{}", options_.address, port_));
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) take(i, batch_->headers[i].msg_len);
  return Fetched{items_.items()};
}

void UdpSource::take(std::size_t i, std::size_t size) {
  ++datagrams_;
  if (size > options_.longest) {
    ++refused_;
    notices().push_back({Notice::Kind::refused, format("datagram {} from {}: expected at most {} bytes", datagrams_,
                                                       sender_of(batch_->senders[i]), options_.longest)});
    return;
  }
  std::string_view value(batch_->bytes.data() + i * batch_->room, size);
  std::optional<std::string_view> key;
  std::string sender;
  if (!options_.key_delimiter.empty()) {
    if (const auto at = value.find(options_.key_delimiter); at != std::string_view::npos) {
      key = value.substr(0, at);
      value.remove_prefix(at + options_.key_delimiter.size());
    }
  }
  if (!key && options_.key_is_sender) key = sender = sender_of(batch_->senders[i]);
  items_.add(value, key, arrival_of(batch_->headers[i].msg_hdr), datagrams_);
}

SourceCounts UdpSource::counts() {
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t size = sizeof info;
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) == 0) {
    const std::uint32_t now = info[SK_MEMINFO_DROPS];
    dropped_ += static_cast<std::uint32_t>(now - dropped_before_);  // the kernel's counter has 32 bits
    dropped_before_ = now;
  }
  return {.refused = refused_, .lost = dropped_};
}

std::vector<std::pair<std::string, std::uint64_t>> UdpSource::details() {
  return {{"datagrams", datagrams_}, {"receive_buffer", receive_buffer_}};
}

}  // namespace arus::connect
