// Datagrams: each one is a record. UDP does not wait: what the kernel's queue has no room for is gone, and counted by the kernel.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "connect/source.h"
#include "platform/file.h"

namespace arus::connect {

struct UdpOptions {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;             // 0: any free one
  std::size_t receive_buffer = 4 << 20;
  std::size_t longest = 65'535;  // bytes of a datagram
  std::string key_delimiter{};   // what stands before it in a datagram is the key
  bool key_is_sender = false;    // without a key of its own a datagram gets "address:port" of its sender
  int interrupt = -1;
};

class UdpSource : public Source {
 public:
  // Errors: `invalid_argument` (not an address), `in_use`, `permission_denied`, `system`.
  static Result<std::unique_ptr<UdpSource>> open(UdpOptions options);

  Result<Fetched> fetch(std::chrono::nanoseconds timeout) override;
  // lost: datagrams that the kernel dropped because its queue was full. (SO_RXQ_OVFL tells the same number, but only together with a
  // later datagram; here it is asked for, so that the last burst counts as well.)
  [[nodiscard]] SourceCounts counts() override;
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> details() override;  // datagrams, receive_buffer

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::size_t receive_buffer() const noexcept { return receive_buffer_; }

 private:
  struct Batch;
  UdpSource(UdpOptions options, platform::Descriptor socket, std::uint16_t port, std::size_t receive_buffer);
  void take(std::size_t i, std::size_t size);

  UdpOptions options_;
  platform::Descriptor socket_;
  std::uint16_t port_;
  std::size_t receive_buffer_;
  std::uint64_t datagrams_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint32_t dropped_before_ = 0;
  ItemBuffer items_;
  std::unique_ptr<Batch, void (*)(Batch*)> batch_;
};

}  // namespace arus::connect
