// arus ingest iio: buffers of Linux industrial I/O.
#include <memory>

#include "cmd_ingest.h"
#include "connect/iio_source.h"
#include "feed.h"
#include "parse.h"
#include "stop.h"

namespace arus::tool {
namespace {

struct Options {
  FeedOptions feed;
  connect::IioOptions iio;
};

ExitCode read_iio(const Command& command, const Options& options) {
  Feed feed(command, options.feed, options.iio.device);
  connect::IioOptions iio = options.iio;
  iio.interrupt = Stop::descriptor();
  const auto source = must(connect::IioSource::open(std::move(iio)));
  return feed.run(*source);
}

constexpr const char* kDetails =
    R"(The driver samples by its own clock; each scan of all channels is a record, stamped with the device's
timestamp if it has one. The key is the device's name, the value {"accel_x":0.125,…} in the units of
`arus ingest host --list`, or with --raw the scan as the driver gives it. The buffer is switched on at the
start and off at the end, for which it needs to write to /sys. (For slow sensors: arus ingest host.)

Examples:
  arus ingest iio iio:device0 --topic imu --create
  arus ingest iio bmi160 -t imu --channels 'accel_*' --sample-rate 1600 --trigger sysfstrig1

details: scans, scan_bytes, cut_off_bytes (of a scan that never became whole); dropped.source: scans that
are missing by their timestamps, where the device has them and a sampling frequency
)";

}  // namespace

void add_ingest_iio_command(CLI::App& ingest, Command& command) {
  static const std::string details = std::string(kDetails) + kFeedJson;
  CLI::App* app = add_subcommand(ingest, "iio", "Send the scans of an industrial I/O buffer", details);
  auto options = std::make_shared<Options>();
  app->add_option("DEVICE", options->iio.device, "iio:deviceN, its name or its label")->required();
  app->add_option("--channels", options->iio.channels, "Only channels whose name matches; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  add_parsed(app, "--sample-rate", "Set the sampling frequency", "HZ",
             [options](const std::string& text) { options->iio.rate = parse_rate(text, "--sample-rate"); });
  app->add_option("--trigger", options->iio.trigger, "What starts each scan, by name")->type_name("NAME");
  app->add_option("--buffer-length", options->iio.buffer_length, "Scans that the kernel keeps for us")
      ->type_name("N")
      ->capture_default_str();
  app->add_flag("--raw", options->iio.raw, "The scan's bytes instead of JSON");
  app->add_option("--sysfs-root", options->iio.sys_root, "Where /sys is")->type_name("DIR")->capture_default_str();
  app->add_option("--dev-root", options->iio.dev_root, "Where /dev is")->type_name("DIR")->capture_default_str();
  add_reconnect_options(app, options->iio.reconnect, options->iio.longest_backoff);
  add_feed_options(app, options->feed, WhenFull::newest);
  app->callback([&command, options] { command.run = [&command, options] { return read_iio(command, *options); }; });
}

}  // namespace arus::tool
