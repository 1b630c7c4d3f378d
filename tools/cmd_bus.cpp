// arus bus create: a bus with settings of its own. (The default is made by whoever needs it first.)
#include <memory>

#include "command.h"
#include "parse.h"
#include "terminal.h"

namespace arus::tool {

void add_bus_command(CLI::App& app, Command& command) {
  CLI::App* bus = add_subcommand(app, "bus", "Create a bus with permissions of its own", "");
  bus->require_subcommand(1);
  auto config = std::make_shared<BusConfig>();
  CLI::App* create = add_subcommand(*bus, "create", "Create a bus in a directory",
                                    R"(Only needed to share a bus between users, or to have more sleepers: `arus topic create`
makes a private bus by itself.

Examples:
  arus --bus /dev/shm/plant bus create --mode 02770 --group plant
  arus --bus /dev/shm/open bus create --mode 01777

JSON: {"bus":DIR,"created":true})");
  add_parsed(create, "--mode", "Permissions of the directory, in octal [0700]", "MODE",
             [config](const std::string& text) { config->mode = parse_mode(text, "--mode"); });
  create->add_option("--group", config->group, "Unix group of the directory")->type_name("GROUP");
  create->add_option("--sleepers", config->sleepers, "Consumers and blocked producers that can sleep at once")
      ->type_name("N")
      ->capture_default_str();
  create->callback([config, &command] {
    command.run = [config, &command] {
      config->directory = command.bus;
      const Bus created = must(Bus::create(*config));
      if (command.json) {
        emit("{}\n", dump({{"bus", created.directory()}, {"created", true}}));
      } else {
        emit("created bus {}\n", created.directory());
      }
      return ExitCode::ok;
    };
  });
}

}  // namespace arus::tool
