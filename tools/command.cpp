#include "command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <span>
#include <vector>

#include "stop.h"
#include "text.h"

namespace arus::tool {
namespace {

// How many single changes (insert, delete, replace, swap two neighbours) make one word of the other.
std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> before_last;
  std::vector<std::size_t> last(to.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::vector<std::size_t> row(to.size() + 1);
    row[0] = i;
    for (std::size_t k = 1; k <= to.size(); ++k) {
      const std::size_t replaced = last[k - 1] + (from[i - 1] == to[k - 1] ? 0 : 1);
      row[k] = std::min({replaced, last[k] + 1, row[k - 1] + 1});
      if (i > 1 && k > 1 && from[i - 1] == to[k - 2] && from[i - 2] == to[k - 1]) row[k] = std::min(row[k], before_last[k - 2] + 1);
    }
    before_last = std::exchange(last, std::move(row));
  }
  return last[to.size()];
}

// Empty if nothing is near enough to be meant.
std::string nearest(std::string_view name, const std::vector<std::string>& names) {
  std::string_view best;
  std::size_t least = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const auto& candidate : names) {
    const bool completes = name.size() >= 2 && candidate.starts_with(name);
    const std::size_t distance = completes ? 1 : edit_distance(name, candidate);
    if (distance < least && distance < std::max(name.size(), candidate.size())) {
      least = distance;
      best = candidate;
    }
  }
  return std::string(best);
}

}  // namespace

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  std::string text;
  if (option->get_type_size() != 0 && !option->get_positional()) text = " " + option->get_type_name();
  const std::string preset = option->get_default_str();
  if (!preset.empty() && preset != "[]" && preset != "{}") text += "=" + preset;
  return text;
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  std::string text = CLI::Formatter::make_footer(app);
  if (app->get_parent() != nullptr) text += "\nEverywhere: --bus DIR, --json; see arus --help\n";
  return text;
}

CLI::App* add_subcommand(CLI::App& parent, const std::string& name, const std::string& description, const std::string& details) {
  CLI::App* app = parent.add_subcommand(name, description);
  app->fallthrough();  // --bus and --json may stand anywhere
  app->footer(details);
  return app;
}

Bus open_bus(const Command& command) {
  auto bus = Bus::open(command.bus);
  if (bus) return *std::move(bus);
  if (bus.error().code() != Errc::not_found) throw Failure(bus.error());
  throw Failure(bus.error(), fmt::format("{}; --bus DIR or ARUS_DIR choose another directory", bus.error().message()));
}

Bus open_or_create_bus(const Command& command) { return must(Bus::open_or_create({.directory = command.bus})); }

Topic open_topic(Bus& bus, std::string_view name) {
  auto topic = bus.topic(name);
  if (topic) return *std::move(topic);
  throw_unknown_topic(bus, name, topic.error());
}

std::string remedy_for(std::string_view name, const Result<std::vector<std::string>>& names, std::string_view none) {
  if (!names) return {};
  if (names->empty()) return std::string(none);
  if (const std::string meant = nearest(name, *names); !meant.empty()) return fmt::format("did you mean '{}'?", meant);
  const std::size_t shown = std::min<std::size_t>(names->size(), 5);
  return fmt::format("there {} {}{}", names->size() == 1 ? "is" : "are", fmt::join(std::span(*names).first(shown), ", "),
                     shown < names->size() ? fmt::format(" and {} more", names->size() - shown) : "");
}

void throw_unknown_topic(const Bus& bus, std::string_view name, const Error& error) {
  if (error.code() != Errc::not_found) throw Failure(error);
  const std::string none = fmt::format("the bus has no topics yet; create it: arus topic create {}", name);
  throw Failure(error, fmt::format("no topic '{}' on the bus {}; {}", name, bus.directory(), remedy_for(name, bus.topics(), none)));
}

ExitCode unless_stopped(ExitCode code) noexcept {
  return Stop::requested() ? static_cast<ExitCode>(static_cast<int>(ExitCode::signalled) + Stop::signal()) : code;
}

}  // namespace arus::tool
