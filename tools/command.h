// What every subcommand shares: the global options, how it is registered, and how it gets at its bus and topics.
//
// Each cmd_*.cpp adds one family of subcommands. Parsing only fills an options structure and chooses what main() runs afterwards,
// so that a wrong argument anywhere is reported before anything is done.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "arus/bus.h"
#include "errors.h"

namespace arus::tool {

using Json = nlohmann::ordered_json;

// On one line; what is not UTF-8 becomes U+FFFD.
inline std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

struct Command {
  std::string bus;                // --bus or $ARUS_DIR; empty: the default
  bool json = false;              // --json
  std::function<ExitCode()> run;  // what the parsed subcommand does
};

void add_bus_command(CLI::App& app, Command& command);
void add_topic_command(CLI::App& app, Command& command);
void add_group_command(CLI::App& app, Command& command);
void add_produce_command(CLI::App& app, Command& command);
void add_consume_command(CLI::App& app, Command& command);
void add_ingest_command(CLI::App& app, Command& command);
void add_bench_command(CLI::App& app, Command& command);
void add_export_command(CLI::App& app, Command& command);
void add_top_command(CLI::App& app, Command& command);
void add_stat_command(CLI::App& app, Command& command);
void add_hz_command(CLI::App& app, Command& command);
void add_tail_command(CLI::App& app, Command& command);
void add_doctor_command(CLI::App& app, Command& command);
void add_plan_command(CLI::App& app, Command& command);
void add_rpc_command(CLI::App& app, Command& command);

// Help without what goes without saying: which options exclude each other is said by the error.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_footer(const CLI::App* app) const override;
};

// A subcommand with its help. `details` follow the list of options: examples, formats, the shape of its JSON.
CLI::App* add_subcommand(CLI::App& parent, const std::string& name, const std::string& description, const std::string& details);

// Calls `parse` with the option's text while the command line is read.
template <class Parse>
CLI::Option* add_parsed(CLI::App* app, const std::string& name, const std::string& description, const std::string& type,
                        Parse parse) {
  return app->add_option_function<std::string>(name, std::move(parse), description)->type_name(type);
}

Bus open_bus(const Command& command);
Bus open_or_create_bus(const Command& command);

// An unknown topic is reported with the name that was probably meant, or with what there is.
Topic open_topic(Bus& bus, std::string_view name);
// What to do about a name that is not among `names`: "did you mean 'weather'?", or what there is; `none` if there is nothing.
std::string remedy_for(std::string_view name, const Result<std::vector<std::string>>& names, std::string_view none);
[[noreturn]] void throw_unknown_topic(const Bus& bus, std::string_view name, const Error& error);

// 128 + the signal when it was stopped before its work was done, else `code`.
ExitCode unless_stopped(ExitCode code) noexcept;

}  // namespace arus::tool
