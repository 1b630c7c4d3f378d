#include "topic_options.h"

#include <string>

#include "command.h"
#include "parse.h"

namespace arus::tool {

void add_topic_options(CLI::App* app, TopicConfig& config, CLI::Option* needs) {
  const auto add = [&](CLI::Option* option) {
    option->group("Topic");
    if (needs != nullptr) option->needs(needs);
  };
  add(app->add_option("-p,--partitions", config.partitions, "Number of partitions")->type_name("N"));
  add(add_parsed(app, "--partition-bytes", "Ring of each partition, a power of two from 64K [8M]", "SIZE",
                 [&config](const std::string& text) { config.partition_bytes = parse_size(text, "--partition-bytes"); }));
  add(app->add_flag_callback(
      "--single-producer", [&config] { config.producers = Producers::single; }, "One producer at a time, which is faster"));
  add(app->add_flag_callback(
      "--no-back-pressure", [&config] { config.back_pressure = false; },
      "Producers never wait for consumers; lossless groups are refused"));
  add(app->add_option("--schema", config.schema, "Name of the format, which producers and consumers may insist on")
          ->type_name("NAME"));
  add(app->add_option("--record-size", config.record_size, "Every value has exactly so many bytes")->type_name("BYTES"));
  add(add_parsed(app, "--mode", "Permissions of the files, in octal [0600]", "MODE",
                 [&config](const std::string& text) { config.mode = parse_mode(text, "--mode"); }));
  add(app->add_option("--group", config.group, "Unix group of the files")->type_name("GROUP"));
  add(app->add_option("--max-producers", config.max_producers, "Producers at a time in one partition")
          ->type_name("N")
          ->capture_default_str());
  add(app->add_option("--max-groups", config.max_groups, "Consumer groups")->type_name("N")->capture_default_str());
}

}  // namespace arus::tool
