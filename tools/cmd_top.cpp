// arus top: what happens on the bus, live.
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "cmd_top_screen.h"
#include "cmd_top_view.h"
#include "command.h"
#include "parse.h"
#include "sampler.h"
#include "stop.h"
#include "terminal.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct Options {
  std::vector<std::string> topics;
  std::chrono::nanoseconds interval = 1s;
  bool once = false;
};

ExitCode once(const Command& command, const Options& options) {
  Sampler sampler(open_bus(command), options.topics);
  sampler.look();
  if (Stop::sleep_until(Clock::now() + options.interval)) return unless_stopped(ExitCode::ok);
  BusSample sample = sampler.look();
  if (command.json) {
    emit("{}\n", dump(to_json(sample)));
    return ExitCode::ok;
  }
  std::size_t rows = 12 + sample.topics.size() + sample.services.size();
  for (const auto& topic : sample.topics) rows += topic.groups.size();
  TopView view;
  view.take(std::move(sample));
  const int columns = is_terminal(STDOUT_FILENO) ? screen_of(STDOUT_FILENO).columns : 120;
  std::vector<Line> lines = view.lines(columns, static_cast<int>(rows));
  lines.pop_back();  // the keys
  lines.erase(lines.begin() + 1);
  while (!lines.empty() && lines.back().text.empty()) lines.pop_back();
  Output output;
  for (auto& line : lines) {
    line.text.erase(line.text.find_last_not_of(' ') + 1);
    output.print("{}\n", line.text);
  }
  output.flush();
  return ExitCode::ok;
}

ExitCode live(const Command& command, const Options& options) {
  Sampler sampler(open_bus(command), options.topics);
  TopView view;
  view.take(sampler.look());
  TopScreen screen;
  auto next = Clock::now() + std::min<std::chrono::nanoseconds>(options.interval, 250ms);  // the first rates soon
  for (;;) {
    screen.draw(view.lines(screen.columns(), screen.rows()));
    const auto event = screen.wait_until(next);
    switch (event.kind) {
      case TopScreen::Event::Kind::ended: return ExitCode::ok;
      case TopScreen::Event::Kind::key:
        if (!view.press(event.key, event.character)) return ExitCode::ok;
        break;
      case TopScreen::Event::Kind::resized: break;
      case TopScreen::Event::Kind::time:
        next = Clock::now() + options.interval;
        if (!view.paused()) view.take(sampler.look());
    }
  }
}

constexpr const char* kDetails = R"(Looks once per interval, read-only, and disturbs nobody. Rates are those since the look before.
When stdout is not a terminal it does as with --once.

Keys: Up and Down select a topic, Enter shows it, Esc goes back, s sorts by the next column,
r reverses, / filters by name, p pauses, h explains the columns, q quits.

Examples:
  arus top
  arus top weather host --interval 5
  arus top --once --json | jq '.groups[] | select(.lag > 1000)'

JSON: {"bus":DIR,"time" (ns since 1970),"seconds" (between the two looks),
  "topics":[{name,partitions,records,records_per_second,bytes_per_second,bytes_used,bytes_reserved,
             fill (0 to 1),retained_seconds (null: empty),producers,readers,held_by:[group]}
            or {name,"error":{code,message}}],
  "groups":[{topic,name,alive,evicted,lag,lag_bytes,lost,"readers":[process],lag_per_second,
             records_per_second,holds_back}],
  "services":[{name,servers (live),outstanding,calls,failed,calls_per_second,failed_per_second,
               p50_ns,p99_ns (of the slowest method)}]}

Exit codes: 0 also when it is ended by q or a signal; the others as in arus --help.)";

}  // namespace

void add_top_command(CLI::App& app, Command& command) {
  CLI::App* top = add_subcommand(app, "top", "Show live what happens on the bus", kDetails);
  auto options = std::make_shared<Options>();
  top->add_option("TOPIC", options->topics, "Topics (default: all)");
  top->add_flag("--once", options->once, "Look twice, one interval apart, print it and exit");
  add_parsed(top, "--interval", "Time between two looks, at least 100ms [1s]", "DURATION", [options](const std::string& text) {
    options->interval = std::max<std::chrono::nanoseconds>(parse_duration(text, "--interval"), 100ms);
  });
  top->callback([&command, options] {
    command.run = [&command, options] {
      const bool screen = !options->once && !command.json && is_terminal(STDOUT_FILENO) && is_terminal(STDIN_FILENO);
      return screen ? live(command, *options) : once(command, *options);
    };
  });
}

}  // namespace arus::tool
