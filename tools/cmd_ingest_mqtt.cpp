// arus ingest mqtt: topics of a broker.
#include <charconv>
#include <cstdlib>
#include <memory>

#include "cmd_ingest.h"
#include "connect/mqtt_source.h"
#include "feed.h"
#include "parse.h"
#include "stop.h"

namespace arus::tool {
namespace {

struct Options {
  FeedOptions feed;
  connect::MqttOptions mqtt;
};

// HOST, HOST:PORT, [ADDRESS]:PORT
void parse_broker(const std::string& text, connect::MqttOptions& mqtt) {
  std::string host = text;
  const auto colon = text.rfind(':');
  const bool bare_address = text.find(':') != colon && !text.starts_with('[');  // IPv6 without a port
  if (colon != std::string::npos && !bare_address && !text.ends_with(']')) {
    const std::string_view port = std::string_view(text).substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), mqtt.port);
    if (error != std::errc() || end != port.data() + port.size() || mqtt.port == 0) {
      throw usage_error(fmt::format("--broker: '{}' is not a port; expected HOST or HOST:PORT", port));
    }
    host = text.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) throw usage_error("--broker: expected HOST or HOST:PORT");
  mqtt.host = host;
}

ExitCode read_mqtt(const Command& command, const Options& options) {
  Feed feed(command, options.feed, "mqtt");
  connect::MqttOptions mqtt = options.mqtt;
  mqtt.longest = feed.max_record_bytes();
  mqtt.interrupt = Stop::descriptor();
  if (const char* password = std::getenv("ARUS_MQTT_PASSWORD"); password != nullptr) mqtt.password = password;
  const auto source = must(connect::MqttSource::open(std::move(mqtt)));
  return feed.run(*source);
}

constexpr const char* kDetails =
    R"(The key of a record is the MQTT topic, its value the payload. A broker that is down is waited for, with
growing pauses. With --persistent and --qos 1 or 2 the broker keeps what comes while we are away or held
back, as far as its own limits allow (max_queued_messages of mosquitto). A password is taken from
$ARUS_MQTT_PASSWORD. TLS is used when --ca-file names the certificates to trust.

Examples:
  arus ingest mqtt --subscribe 'sensors/#' --topic sensors --create
  arus ingest mqtt --broker edge:1883 --subscribe +/temp --qos 1 --persistent --client-id arus-1 -t temp
  ARUS_MQTT_PASSWORD=… arus ingest mqtt --broker b:8883 --ca-file ca.pem --user u --subscribe '#' -t all

details: messages; broker_dropped: what the broker says it dropped since, of all its clients, some seconds
late ($SYS/broker/publish/messages/dropped, where it publishes that)
)";

}  // namespace

void add_ingest_mqtt_command(CLI::App& ingest, Command& command) {
  static const std::string details = std::string(kDetails) + kFeedJson;
  CLI::App* app = add_subcommand(ingest, "mqtt", "Send what is published on an MQTT broker", details);
  auto options = std::make_shared<Options>();
  add_parsed(app, "--broker", "Where it is [127.0.0.1:1883]", "HOST[:PORT]",
             [options](const std::string& text) { parse_broker(text, options->mqtt); });
  app->add_option("--subscribe", options->mqtt.filters, "MQTT topics, with + and #; may be repeated")
      ->type_name("FILTER")
      ->allow_extra_args(false)
      ->required();
  app->add_option("--qos", options->mqtt.quality, "0: at most once, 1: at least once, 2: once")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 2));
  auto* id = app->add_option("--client-id", options->mqtt.client_id, "What the broker knows us by [random]")->type_name("ID");
  app->add_flag("--persistent", options->mqtt.persistent, "The broker keeps our session while we are away")->needs(id);
  app->add_option("--user", options->mqtt.user, "Name to log in with")->type_name("NAME");
  app->add_option("--ca-file", options->mqtt.ca_file, "Certificates of the authority to trust; uses TLS")->type_name("PEM");
  app->add_flag_callback(
      "--no-retained", [options] { options->mqtt.retained = false; }, "Leave out messages that the broker kept from before");
  add_parsed(app, "--keep-alive", "Notice a dead connection after so long [60s]", "DURATION", [options](const std::string& text) {
    options->mqtt.keep_alive = std::chrono::ceil<std::chrono::seconds>(parse_duration(text, "--keep-alive"));
    if (options->mqtt.keep_alive < std::chrono::seconds(5) || options->mqtt.keep_alive > std::chrono::seconds(65'535)) {
      throw usage_error("--keep-alive: expected 5 s to 65535 s");
    }
  });
  add_reconnect_options(app, options->mqtt.reconnect, options->mqtt.longest_backoff);
  add_feed_options(app, options->feed, WhenFull::wait);
  app->callback([&command, options] { command.run = [&command, options] { return read_mqtt(command, *options); }; });
}

}  // namespace arus::tool
