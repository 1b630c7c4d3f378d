#include "group_options.h"

#include <map>

#include "command.h"
#include "parse.h"

namespace arus::tool {

void add_group_options(CLI::App* app, ConsumerConfig& config, CLI::Option* group) {
  static const std::map<std::string, Assignor> kAssignors{{"range", Assignor::range}, {"sticky", Assignor::sticky}};
  static const std::map<std::string, OnLost> kOnLost{
      {"earliest", OnLost::earliest}, {"latest", OnLost::latest}, {"fail", OnLost::fail}};
  const auto duration = [&](const char* name, const char* description, std::chrono::nanoseconds& value) {
    add_parsed(app, name, description, "DURATION", [name, &value](const std::string& text) {
      value = parse_duration(text, name);
    })->needs(group);
  };
  app->add_option("--instance", config.instance, "With -g: be a static member; a restart takes its partitions back")
      ->type_name("NAME")
      ->needs(group);
  app->add_flag_callback(
         "--lossy", [&config] { config.delivery = Delivery::lossy; }, "With -g: producers do not wait; what is lost is reported")
      ->needs(group);
  app->add_option("--assignor", config.assignor, "With -g: how members share partitions, sticky or range [sticky]")
      ->transform(CLI::CheckedTransformer(kAssignors))
      ->option_text("HOW")
      ->needs(group);
  app->add_option("--evict-behind", config.evict_behind_records, "With -g: producers wait until it is so many records behind")
      ->type_name("N")
      ->needs(group);
  duration("--stall-limit", "With -g: producers wait for so long where it does not move", config.stall_limit);
  duration("--grace", "With -g: producers wait for so long when no member lives [10s]", config.grace);
  app->add_option("--on-lost", config.on_lost, "With -g: where the committed offset is gone: earliest, latest or fail [earliest]")
      ->transform(CLI::CheckedTransformer(kOnLost))
      ->option_text("WHERE")
      ->needs(group);
}

}  // namespace arus::tool
