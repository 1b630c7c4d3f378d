// What the files of `arus rpc` share.
#pragma once

#include "arus/rpc.h"
#include "command.h"

namespace arus::tool {

void add_rpc_call_command(CLI::App& rpc, Command& command);
void add_rpc_serve_command(CLI::App& rpc, Command& command);

// A call that ended with a status exits with 20 plus its number, and a command of `arus rpc serve` that exits so gives that status.
constexpr int exit_code_of(rpc::Code code) noexcept { return static_cast<int>(ExitCode::status) + static_cast<int>(code); }

// What can be seen of a service. An unknown one is reported with the name that was probably meant.
rpc::ServiceInfo describe_service(const Bus& bus, const std::string& name);

}  // namespace arus::tool
