// Where services are: <bus>/services/<service>/<incarnation>-<number>/, one directory per live server. A service's directory stays when its
// last server has gone: "nobody serves it now" and "there is no such service" are different answers. What a dead server left is
// moved to <bus>/tmp/ and removed by whoever looks.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "log/bus_directory.h"

namespace arus::rpc {

struct ServerName {
  std::uint64_t incarnation;
  std::uint64_t number;
  [[nodiscard]] std::string text() const;
  static std::optional<ServerName> parse(std::string_view text) noexcept;
};

// Topics' rule, for a `what` ("a service", "a method") of at most `most` characters.
Result<void> check_name(std::string_view what, std::string_view name, std::size_t most);

// Of `bus`, a bus's directory.
std::string service_path(const log::BusDirectory& bus, std::string_view service);
std::string server_path(const log::BusDirectory& bus, std::string_view service, const ServerName& server);
inline std::string server_file_path(const std::string& server_directory) { return server_directory + "/server"; }

// A directory in tmp/ to build a server in, and its publication.
Result<std::string> begin_server(const log::BusDirectory& bus, const platform::Ownership& files);
Result<void> publish_server(const log::BusDirectory& bus, const std::string& scratch, std::string_view service,
                            const ServerName& server);
// Takes the name away, then the files.
void remove_server(const log::BusDirectory& bus, std::string_view service, const ServerName& server) noexcept;

// In order of name. None where there was never a server.
Result<std::vector<std::string>> list_services(const log::BusDirectory& bus);
// Live and dead. `not_found` if there never was one.
Result<std::vector<ServerName>> list_servers(const log::BusDirectory& bus, std::string_view service);

}  // namespace arus::rpc
