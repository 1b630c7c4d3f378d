// arus ingest tty: a serial line.
#include <memory>

#include "cmd_ingest.h"
#include "connect/tty_source.h"
#include "feed.h"
#include "parse.h"
#include "stop.h"

namespace arus::tool {
namespace {

struct Options {
  FeedOptions feed;
  connect::TtyOptions tty;
};

ExitCode read_tty(const Command& command, const Options& options) {
  Feed feed(command, options.feed, options.tty.device);
  connect::TtyOptions tty = options.tty;
  tty.text.longest = feed.max_record_bytes();
  tty.interrupt = Stop::descriptor();
  const auto source = must(connect::TtySource::open(std::move(tty)));
  return feed.run(*source);
}

constexpr const char* kDetails =
    R"(Lines, CSV (--columns, as a line has no header), NDJSON, or frames of a fixed size (--frame), which --sync
finds again when bytes were lost. The line is read raw. A device that vanishes is waited for; the line or
frame that it cut off is counted as skipped bytes.

Examples:
  arus ingest tty /dev/ttyUSB0 --baud 115200 --topic imu --key imu-1
  arus ingest tty /dev/ttyUSB0 --baud 9600 -t gps --format csv --columns id,time,lat,lon
  arus ingest tty /dev/ttyS1 --baud 921600 -t lidar --frame 64 --sync '\xAA\x55'

)";

}  // namespace

void add_ingest_tty_command(CLI::App& ingest, Command& command) {
  static const std::string details =
      std::string(kDetails) + "details: skipped_bytes, and of the driver overruns (dropped.source), frame_errors, parity_errors\n" +
      kFeedJson;
  CLI::App* app = add_subcommand(ingest, "tty", "Send what a serial line says: lines or frames", details);
  auto options = std::make_shared<Options>();
  app->add_option("DEVICE", options->tty.device, "Such as /dev/ttyUSB0")->required();
  app->add_option("--baud", options->tty.baud, "Bits per second")->type_name("N")->capture_default_str();
  app->add_option("--line", options->tty.mode, "Data bits, parity, stop bits")->type_name("MODE")->capture_default_str();
  app->add_flag("--flow-control", options->tty.flow_control, "RTS/CTS");
  auto* frame = app->add_option("--frame", options->tty.frame_bytes, "Frames of so many bytes instead of text")
                    ->type_name("BYTES")
                    ->check(CLI::Range(1, 1 << 20));
  add_parsed(app, "--sync", "What each frame begins with", "BYTES", [options](const std::string& text) {
    options->tty.sync = unescape(text, "--sync");
  })->needs(frame);
  add_reconnect_options(app, options->tty.reconnect, options->tty.longest_backoff);
  add_feed_options(app, options->feed, WhenFull::newest);

  add_text_options(app, options->tty.text);
  app->callback([&command, options] { command.run = [&command, options] { return read_tty(command, *options); }; });
}

}  // namespace arus::tool
