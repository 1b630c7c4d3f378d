// The settings of a consumer group as options of the command that reads in one.
#pragma once

#include <CLI/CLI.hpp>

#include "arus/config.h"

namespace arus::tool {

// Adds the options, which fill `config`; each of them requires `group`.
void add_group_options(CLI::App* app, ConsumerConfig& config, CLI::Option* group);

}  // namespace arus::tool
