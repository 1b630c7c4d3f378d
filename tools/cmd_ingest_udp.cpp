// arus ingest udp: datagrams.
#include <charconv>
#include <memory>

#include "cmd_ingest.h"
#include "connect/udp_source.h"
#include "feed.h"
#include "parse.h"
#include "stop.h"
#include "terminal.h"

namespace arus::tool {
namespace {

struct Options {
  FeedOptions feed;
  connect::UdpOptions udp;
};

// PORT, ADDRESS:PORT, [ADDRESS]:PORT
void parse_listen(const std::string& text, connect::UdpOptions& udp) {
  const auto colon = text.rfind(':');
  std::string address = colon == std::string::npos ? "" : text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  const std::string_view port = std::string_view(text).substr(colon == std::string::npos ? 0 : colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), udp.port);
  if (error != std::errc() || end != port.data() + port.size()) {
    throw usage_error(fmt::format("--listen: '{}' is not an address; expected PORT, ADDRESS:PORT or [ADDRESS]:PORT", text));
  }
  if (!address.empty()) udp.address = address;
}

ExitCode read_udp(const Command& command, const Options& options) {
  Feed feed(command, options.feed, "udp");
  connect::UdpOptions udp = options.udp;
  udp.longest = feed.max_record_bytes();
  udp.interrupt = Stop::descriptor();
  const auto source = must(connect::UdpSource::open(std::move(udp)));
  if (!options.feed.quiet) warn(fmt::format("listening on UDP {} port {}", options.udp.address, source->port()));
  return feed.run(*source);
}

constexpr const char* kDetails =
    R"(Each datagram is a record, stamped with the time the kernel received it. Anybody who reaches the port can
send: the default address is this host alone. What the kernel drops because we are not fast enough (or
because --when-full wait holds us back) is counted by it, and reported as dropped.source.

Examples:
  arus ingest udp --listen 5140 --topic sensors --key-from-sender
  arus ingest udp --listen 0.0.0.0:5140 -t sensors -K :            datagrams such as imu-7:0.25
  arus ingest udp --listen [::]:5140 -t sensors --receive-buffer 32M

details: datagrams, receive_buffer (what the kernel granted)
)";

}  // namespace

void add_ingest_udp_command(CLI::App& ingest, Command& command) {
  static const std::string details = std::string(kDetails) + kFeedJson;
  CLI::App* app = add_subcommand(ingest, "udp", "Send the datagrams that come in on a port", details);
  auto options = std::make_shared<Options>();
  add_parsed(app, "--listen", "Port, and address [127.0.0.1]; port 0: any free one", "[ADDRESS:]PORT",
             [options](const std::string& text) { parse_listen(text, options->udp); })
      ->required();
  add_parsed(app, "-K,--key-delimiter", "What stands before it in a datagram is the key", "DELIM",
             [options](const std::string& text) { options->udp.key_delimiter = unescape(text, "-K"); });
  app->add_flag("--key-from-sender", options->udp.key_is_sender, "The key is the sender's address:port");
  add_parsed(app, "--receive-buffer", "Of the kernel, for bursts [4M]", "SIZE",
             [options](const std::string& text) { options->udp.receive_buffer = parse_size(text, "--receive-buffer"); });
  add_feed_options(app, options->feed, WhenFull::newest);
  app->callback([&command, options] { command.run = [&command, options] { return read_udp(command, *options); }; });
}

}  // namespace arus::tool
