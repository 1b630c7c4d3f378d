// The settings of a topic as options; shared by the commands that create one.
#pragma once

#include <CLI/CLI.hpp>

#include "arus/config.h"

namespace arus::tool {

// Adds the options, which fill `config`. `needs` is an option that each of them requires (null: none).
void add_topic_options(CLI::App* app, TopicConfig& config, CLI::Option* needs = nullptr);

}  // namespace arus::tool
