#include "rpc/service_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus::rpc {

using platform::fail;
using platform::fail_system;
using platform::Ownership;
using platform::pass;

namespace {

std::string services_path(const log::BusDirectory& bus) { return bus.path() + "/services"; }

std::string scratch_path(const log::BusDirectory& bus) {
  return platform::format("{}/tmp/{:016x}-{:016x}", bus.path(), bus.incarnation(), platform::random_word());
}

// A directory that whoever may use the bus may use as well.
Result<void> make_shared_directory(const std::string& path, const std::string& like) {
  struct stat status {};
  if (stat(like.c_str(), &status) != 0) return fail_system(errno, "stat", like);
  auto made = platform::make_directory(path, {.mode = status.st_mode & 01777u, .group_id = -1});
  if (!made && made.error().code() != Errc::already_exists) return made;
  return {};
}

}  // namespace

std::string ServerName::text() const { return platform::format("{:016x}-{:016x}", incarnation, number); }

std::optional<ServerName> ServerName::parse(std::string_view text) noexcept {
  ServerName name{};
  if (text.size() != 33 || text[16] != '-') return std::nullopt;
  const char* data = text.data();
  const auto first = std::from_chars(data, data + 16, name.incarnation, 16);
  const auto second = std::from_chars(data + 17, data + 33, name.number, 16);
  if (first.ptr != data + 16 || second.ptr != data + 33) return std::nullopt;
  return name;
}

Result<void> check_name(std::string_view what, std::string_view name, std::size_t most) {
  const auto permitted = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  const bool good =
      !name.empty() && name.size() <= most && name != "." && name != ".." && std::all_of(name.begin(), name.end(), permitted);
  if (good) return {};
  return fail(Errc::invalid_argument,
              "'{}' cannot be {}: its name has 1 to {} of the characters a-z A-Z 0-9 . _ - and is not . or ..",
              name.substr(0, most + 1), what, most);
}

std::string service_path(const log::BusDirectory& bus, std::string_view service) {
  return platform::format("{}/{}", services_path(bus), service);
}
std::string server_path(const log::BusDirectory& bus, std::string_view service, const ServerName& server) {
  return platform::format("{}/{}", service_path(bus, service), server.text());
}

Result<std::string> begin_server(const log::BusDirectory& bus, const Ownership& files) {
  std::string scratch = scratch_path(bus);
  // Whoever may write the files may put a channel beside them; and only its owner and the server may take it away again.
  std::uint32_t mode = files.mode | (files.mode & 0444) >> 2;
  if ((files.mode & 0022) != 0) mode |= 01000;
  auto made = platform::make_directory(scratch, {.mode = mode & 01777, .group_id = files.group_id});
  if (!made) {
    if (bus.gone()) return fail(Errc::deleted, "the bus {} was deleted; make it anew and open it again", bus.path());
    return pass(made);
  }
  ARUS_KILL_POINT("rpc-server-begun");
  return scratch;
}

Result<void> publish_server(const log::BusDirectory& bus, const std::string& scratch, std::string_view service,
                            const ServerName& server) {
  if (auto made = make_shared_directory(services_path(bus), bus.path() + "/topics"); !made) return made;
  if (auto made = make_shared_directory(service_path(bus, service), services_path(bus)); !made) return made;
  ARUS_KILL_POINT("rpc-server-built");
  const std::string path = server_path(bus, service, server);
  if (rename(scratch.c_str(), path.c_str()) != 0) return fail_system(errno, "publish", path);
  ARUS_KILL_POINT("rpc-server-published");
  return {};
}

void remove_server(const log::BusDirectory& bus, std::string_view service, const ServerName& server) noexcept try {
  const std::string scratch = scratch_path(bus);
  if (rename(server_path(bus, service, server).c_str(), scratch.c_str()) != 0)
    return;  // somebody else was faster, or may and we may not
  ARUS_KILL_POINT("rpc-server-removed");
  platform::remove_directory(scratch);
} catch (...) {  // out of memory: the next who comes by goes on
}

Result<std::vector<std::string>> list_services(const log::BusDirectory& bus) {
  auto names = platform::list_directory(services_path(bus));
  if (!names && names.error().code() == Errc::not_found) return std::vector<std::string>{};
  if (names) std::sort(names->begin(), names->end());
  return names;
}

Result<std::vector<ServerName>> list_servers(const log::BusDirectory& bus, std::string_view service) {
  auto names = platform::list_directory(service_path(bus, service));
  if (!names) return pass(names);
  std::vector<ServerName> servers;
  for (const std::string& name : *names)
    if (const auto server = ServerName::parse(name)) servers.push_back(*server);
  return servers;
}

}  // namespace arus::rpc
