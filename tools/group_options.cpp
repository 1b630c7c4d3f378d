#include "group_options.h"

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "command.h"
#include "parse.h"

namespace arus::tool {
namespace {

template <class Value>
Value choose(const std::string& text, const char* option, std::initializer_list<std::pair<const char*, Value>> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw usage_error(fmt::format("{}: '{}' is none of {}", option, text, names));
}

}  // namespace

void add_group_options(CLI::App* app, ConsumerConfig& config, CLI::Option* group) {
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
  add_parsed(app, "--assignor", "With -g: how members share partitions, sticky or range [sticky]", "HOW",
             [&config](const std::string& text) {
               config.assignor = choose<Assignor>(text, "--assignor", {{"sticky", Assignor::sticky}, {"range", Assignor::range}});
             })
      ->needs(group);
  app->add_option("--evict-behind", config.evict_behind_records, "With -g: producers wait until it is so many records behind")
      ->type_name("N")
      ->needs(group);
  duration("--stall-limit", "With -g: producers wait for so long where it does not move", config.stall_limit);
  duration("--grace", "With -g: producers wait for so long when no member lives [10s]", config.grace);
  add_parsed(app, "--on-lost", "With -g: where the committed offset is gone: earliest, latest or fail [earliest]", "WHERE",
             [&config](const std::string& text) {
               config.on_lost = choose<OnLost>(
                   text, "--on-lost", {{"earliest", OnLost::earliest}, {"latest", OnLost::latest}, {"fail", OnLost::fail}});
             })
      ->needs(group);
}

}  // namespace arus::tool
