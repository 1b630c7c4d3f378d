// The sources of `arus ingest`, each in a file of its own.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "connect/text_decoder.h"

namespace arus::tool {

void add_ingest_text_commands(CLI::App& ingest, Command& command);  // stdin, file
void add_ingest_tty_command(CLI::App& ingest, Command& command);
void add_ingest_udp_command(CLI::App& ingest, Command& command);
void add_ingest_iio_command(CLI::App& ingest, Command& command);
void add_ingest_mqtt_command(CLI::App& ingest, Command& command);

// How text becomes records: --format and what belongs to it.
void add_text_options(CLI::App* app, connect::TextFormat& format);

// --no-reconnect and --longest-backoff
void add_reconnect_options(CLI::App* app, bool& reconnect, std::chrono::nanoseconds& longest_backoff);

}  // namespace arus::tool
