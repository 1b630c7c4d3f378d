// A bus: one directory that holds topics. No daemon; whoever maps the directory is on the bus, containers included.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arus/config.h"
#include "arus/consumer.h"
#include "arus/group.h"
#include "arus/result.h"
#include "arus/rpc.h"
#include "arus/share.h"
#include "arus/topic.h"

namespace arus {

namespace detail {
class BusState;
}

// Thread-safe, cheap to copy (copies share one state). Topics, producers and consumers keep the bus alive.
// Crash: a process that dies leaves nothing that others could not go on with, or repair when they come by.
// Fork: in a child every call answers `forked`; open the bus anew there.
class Bus {
 public:
  // The default directory (see BusConfig::directory) is created on first use; one that was named must be a bus already.
  static Result<Bus> open(std::string_view directory = {});
  static Result<Bus> create(const BusConfig& config = {});
  static Result<Bus> open_or_create(const BusConfig& config = {});

  [[nodiscard]] const std::string& directory() const noexcept;

  // Names follow Kafka: [a-zA-Z0-9._-]{1,249}, not "." or "..". Creation is atomic: nobody sees half a topic, and a failed
  // one leaves nothing. Pages are reserved: too little space is an error here and never a SIGBUS later.
  Result<Topic> create(std::string_view topic, const TopicConfig& config = {});
  Result<Topic> topic(std::string_view name);
  Result<Topic> open_or_create(std::string_view topic, const TopicConfig& config = {});
  // In order of name.
  [[nodiscard]] Result<std::vector<std::string>> topics() const;
  // Those attached to it get `deleted` on their next call; what they hold mapped stays valid memory.
  Result<void> remove(std::string_view topic);

  Result<Consumer> consumer(const ConsumerConfig& config = {});

  // A member of a share group (work queues); see share.h. Errors: `invalid_argument` (the message names the setting), `not_found` (the
  // dead-letter topic), `permission_denied`.
  Result<ShareConsumer> share_consumer(const ShareConfig& config);
  // Share groups in order of name; what one is and does; the end of one without live members (else `in_use`), with all it knows.
  [[nodiscard]] Result<std::vector<std::string>> share_groups() const;
  [[nodiscard]] Result<ShareInfo> share_group(std::string_view name) const;
  Result<void> remove_share_group(std::string_view name);

  // Consumer groups by name, in order. A group is there from its first consumer on.
  [[nodiscard]] Result<std::vector<std::string>> groups() const;
  Result<Group> group(std::string_view name);

  // Calls: a client of a service and a server of one; see rpc_client.h and rpc_server.h. A client can be made before there is any server;
  // its calls end with `unavailable` or `not_found` then. Names follow topics'.
  Result<rpc::Client> client(std::string_view service, const rpc::ClientConfig& config = {});
  Result<rpc::Server> server(std::string_view service, const rpc::ServerConfig& config = {});
  // Services that have or had a server, in order of name; and what can be seen of one. Errors: `not_found`.
  [[nodiscard]] Result<std::vector<std::string>> services() const;
  [[nodiscard]] Result<rpc::ServiceInfo> service(std::string_view name) const;

 private:
  explicit Bus(std::shared_ptr<detail::BusState> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<detail::BusState> state_;
};

}  // namespace arus
