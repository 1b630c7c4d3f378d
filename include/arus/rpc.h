// Remote procedure calls: clients, servers, and what can be seen of them.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "arus/rpc_client.h"
#include "arus/rpc_server.h"
#include "arus/rpc_status.h"

namespace arus::rpc {

// Of one method in one server process, since it started.
struct MethodInfo {
  std::string name;
  std::uint32_t request_size;  // of a typed method; 0: any
  std::uint32_t reply_size;
  bool idempotent;
  bool streaming;
  std::array<std::uint64_t, kCodes> ended;  // calls by their Code
  // From when the client sent to when the reply was written, an upper bound within 12.5 %; 0 where nothing has ended.
  std::chrono::nanoseconds p50;
  std::chrono::nanoseconds p99;
};

struct ServerInfo {
  std::string process;  // "pid 4711 (weatherd)"
  bool alive;
  bool draining;
  std::uint32_t outstanding;  // calls begun and not answered
  std::uint32_t max_outstanding;
  std::uint32_t clients;
  std::uint32_t workers;
  Timestamp started;
  std::vector<MethodInfo> methods;
};

// A moment's picture; other processes go on meanwhile.
struct ServiceInfo {
  std::string name;
  std::vector<ServerInfo> servers;
};

}  // namespace arus::rpc
