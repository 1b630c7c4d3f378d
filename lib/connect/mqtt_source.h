// Topics of an MQTT broker. The key of a record is the MQTT topic, its value the payload.
//
// Delivery: with `quality` 1 or 2 and `persistent`, the broker keeps what comes while we are away or slow, as far as its own limits
// (max_queued_messages) allow. libmosquitto acknowledges a message just before it hands it over, so a process that is killed can lose
// the one it was about to hand out; one that is stopped by a signal loses none. A connection whose messages are not fetched for twice
// the keep-alive time is broken and made anew; what was not acknowledged then comes again. Connecting blocks as long as TCP and the
// name's resolution do.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connect/reconnect.h"
#include "connect/source.h"

struct mosquitto;
struct mosquitto_message;

namespace arus::connect {

struct MqttOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 1883;
  std::vector<std::string> filters{};  // + and # as in MQTT
  int quality = 0;                     // of service, for the subscriptions: 0, 1, 2
  std::string client_id{};             // empty: random
  bool persistent = false;             // the broker keeps the session of the client id (which must then be given)
  std::string user{};
  std::string password{};
  std::string ca_file{};  // PEM; not empty: TLS
  bool retained = true;   // false: messages that the broker has kept from before are passed over
  std::chrono::seconds keep_alive{60};
  std::size_t longest = 1 << 20;  // bytes of a topic and a payload together
  bool reconnect = true;
  std::chrono::nanoseconds longest_backoff = std::chrono::seconds(30);
  int interrupt = -1;
};

class MqttSource : public Source {
 public:
  // Errors: `invalid_argument` (filters, identity); without `reconnect` also `system` (the broker is down), `permission_denied` (it
  // refuses us), `timed_out`.
  static Result<std::unique_ptr<MqttSource>> open(MqttOptions options);
  ~MqttSource() override;

  Result<Fetched> fetch(std::chrono::nanoseconds timeout) override;
  // lost: none that we could know of. What the broker drops is its own count, over all its clients: see details().
  [[nodiscard]] SourceCounts counts() override { return {.refused = refused_, .lost = 0, .reconnects = reconnect_.count()}; }
  // messages, and broker_dropped since we connected, where the broker publishes $SYS (a moment late)
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> details() override;

 private:
  explicit MqttSource(MqttOptions options);
  Result<void> configure();
  Result<void> connect_or_wait();
  // Reads what has arrived, up to some thousand messages. libmosquitto's code.
  int read_messages();
  Result<void> connect();
  Result<void> give_up_or_wait(const Error& error);
  // Why the connection is no more.
  [[nodiscard]] Error broken(int code) const;
  Result<void> subscribe();
  // Called by libmosquitto, inside of our calls.
  void on_connect(int code);
  void on_subscribe(int id, int count, const int* granted);
  void on_message(const mosquitto_message& message);

  MqttOptions options_;
  std::string place_;  // for messages: mqtt://host:port
  Reconnect reconnect_;
  std::unique_ptr<mosquitto, void (*)(mosquitto*)> client_;
  enum class State : std::uint8_t { away, connecting, connected } state_ = State::away;
  std::chrono::steady_clock::time_point since_{};  // of the state connecting
  std::optional<Error> refusal_;                   // by the broker, of the connection or a subscription
  std::vector<int> subscriptions_;                 // ids of the requests, in order of the filters
  std::uint64_t messages_ = 0;
  std::uint64_t refused_ = 0;
  std::optional<std::uint64_t> broker_dropped_before_;
  std::uint64_t broker_dropped_ = 0;
  ItemBuffer items_;
};

}  // namespace arus::connect
