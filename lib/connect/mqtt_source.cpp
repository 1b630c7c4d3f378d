// libmosquitto is driven by hand: we wait on its socket ourselves, so that an interrupt ends the wait, and its callbacks run inside of
// our calls, in our thread. They only fill items_ and note what the broker said.
#include "connect/mqtt_source.h"

#include <mosquitto.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "connect/sensor_file.h"
#include "platform/error.h"

namespace arus::connect {

using platform::fail;
using platform::format;

namespace {

constexpr std::size_t kMostAtOnce = 1024;      // messages of one fetch()
constexpr std::chrono::seconds kPatience{15};  // for the broker's answer to our connection
constexpr std::string_view kDroppedTopic = "$SYS/broker/publish/messages/dropped";
constexpr int kRefused = 0x80;  // in a SUBACK

MqttSource& source_of(void* object) { return *static_cast<MqttSource*>(object); }

}  // namespace

MqttSource::MqttSource(MqttOptions options)
    : options_(std::move(options)),
      place_(format("mqtt://{}:{}", options_.host, options_.port)),
      reconnect_(options_.longest_backoff),
      client_(nullptr, mosquitto_destroy) {}

MqttSource::~MqttSource() {
  if (client_ && state_ != State::away) mosquitto_disconnect(client_.get());
}

Result<std::unique_ptr<MqttSource>> MqttSource::open(MqttOptions options) {
  auto source = std::unique_ptr<MqttSource>(new MqttSource(std::move(options)));
  if (auto configured = source->configure(); !configured) return platform::pass(configured);
  if (auto connected = source->connect_or_wait(); !connected) return platform::pass(connected);
  return source;
}

Result<void> MqttSource::configure() {
  if (options_.filters.empty()) return fail(Errc::invalid_argument, "no MQTT topic to subscribe to was given, such as sensors/#");
  for (const auto& filter : options_.filters) {
    if (mosquitto_sub_topic_check(filter.c_str()) != MOSQ_ERR_SUCCESS) {
      return fail(Errc::invalid_argument, "'{}' is not an MQTT topic filter; + stands for one level, # (at the end) for all below",
                  filter);
    }
  }
  if (options_.persistent && options_.client_id.empty()) {
    return fail(Errc::invalid_argument, "the broker keeps a session by its client id: give one that nobody else has");
  }
  static const int initialised = mosquitto_lib_init();
  if (initialised != MOSQ_ERR_SUCCESS) return fail(Errc::system, "mosquitto_lib_init: {}", mosquitto_strerror(initialised));
  client_.reset(mosquitto_new(options_.client_id.empty() ? nullptr : options_.client_id.c_str(), !options_.persistent, this));
  if (!client_) return fail(Errc::invalid_argument, "'{}' is not an MQTT client id: {}", options_.client_id, std::strerror(errno));
  mosquitto_connect_callback_set(client_.get(), [](mosquitto*, void* object, int code) { source_of(object).on_connect(code); });
  mosquitto_subscribe_callback_set(client_.get(), [](mosquitto*, void* object, int id, int count, const int* granted) {
    source_of(object).on_subscribe(id, count, granted);
  });
  mosquitto_message_callback_set(
      client_.get(), [](mosquitto*, void* object, const mosquitto_message* message) { source_of(object).on_message(*message); });
  if (!options_.user.empty()) mosquitto_username_pw_set(client_.get(), options_.user.c_str(), options_.password.c_str());
  if (!options_.ca_file.empty()) {
    const int code = mosquitto_tls_set(client_.get(), options_.ca_file.c_str(), nullptr, nullptr, nullptr, nullptr);
    if (code != MOSQ_ERR_SUCCESS) {
      return fail(Errc::invalid_argument, "{} cannot be used as certificates of an authority: {}", options_.ca_file,
                  mosquitto_strerror(code));
    }
  }
  return Done{};
}

Error MqttSource::broken(int code) const {
  const std::string why = code == MOSQ_ERR_ERRNO ? std::strerror(errno) : mosquitto_strerror(code);
  return Error(Errc::system,
               format("the broker at {} {}: {}", place_, reconnect_.ever_connected() ? "is away" : "cannot be reached", why));
}

Result<void> MqttSource::connect() {
  refusal_.reset();
  subscriptions_.clear();
  const int code =
      mosquitto_connect(client_.get(), options_.host.c_str(), options_.port, static_cast<int>(options_.keep_alive.count()));
  if (code != MOSQ_ERR_SUCCESS) return tl::unexpected<Error>(broken(code));
  state_ = State::connecting;
  since_ = std::chrono::steady_clock::now();
  return Done{};
}

Result<void> MqttSource::connect_or_wait() {
  if (auto connected = connect(); !connected) return give_up_or_wait(connected.error());
  return Done{};
}

Result<void> MqttSource::give_up_or_wait(const Error& error) {
  state_ = State::away;
  // What the broker refuses at first is a mistake of the settings; later it may be a mistake of the broker's that somebody mends.
  if (!options_.reconnect || (error.code() == Errc::permission_denied && !reconnect_.ever_connected()))
    return tl::unexpected<Error>(error);
  if (reconnect_.lost()) tell(format("{}; trying again until it is there", error.message()));
  return Done{};
}

void MqttSource::on_connect(int code) {
  if (code != 0) {
    const bool identity = code == 4 || code == 5;
    refusal_ = Error(identity ? Errc::permission_denied : Errc::system,
                     format("the broker at {} refuses the connection: {}{}", place_, mosquitto_connack_string(code),
                            identity ? "; check the user and the password" : ""));
    return;
  }
  if (auto subscribed = subscribe(); !subscribed) {
    refusal_ = subscribed.error();
    return;
  }
  state_ = State::connected;
  if (reconnect_.connected()) tell(format("connected again to {}", place_));
}

Result<void> MqttSource::subscribe() {
  for (const auto& filter : options_.filters) {
    int id = 0;
    const int code = mosquitto_subscribe(client_.get(), &id, filter.c_str(), options_.quality);
    if (code != MOSQ_ERR_SUCCESS)
      return fail(Errc::system, "cannot subscribe to '{}' at {}: {}", filter, place_, mosquitto_strerror(code));
    subscriptions_.push_back(id);
  }
  // Whether the broker lets us is of no matter.
  mosquitto_subscribe(client_.get(), nullptr, kDroppedTopic.data(), 0);
  return Done{};
}

void MqttSource::on_subscribe(int id, int count, const int* granted) {
  const auto found = std::find(subscriptions_.begin(), subscriptions_.end(), id);
  if (found == subscriptions_.end() || count < 1 || granted[0] < kRefused) return;
  refusal_ =
      Error(Errc::permission_denied, format("the broker at {} does not let us subscribe to '{}'; check its access control", place_,
                                            options_.filters[static_cast<std::size_t>(found - subscriptions_.begin())]));
}

void MqttSource::on_message(const mosquitto_message& message) {
  const std::string_view topic(message.topic);
  const std::string_view payload(static_cast<const char*>(message.payload), static_cast<std::size_t>(message.payloadlen));
  if (topic == kDroppedTopic) {
    const auto number = parse_counter(payload);
    if (number && broker_dropped_before_ && *number >= *broker_dropped_before_)
      broker_dropped_ += *number - *broker_dropped_before_;
    if (number) broker_dropped_before_ = number;
    return;
  }
  if (message.retain && !options_.retained) return;
  ++messages_;
  if (topic.size() + payload.size() > options_.longest) {
    ++refused_;
    notices().push_back(
        {Notice::Kind::refused, format("message {} of {}: expected topic and payload of at most {} bytes, and not {}", messages_,
                                       topic, options_.longest, topic.size() + payload.size())});
    return;
  }
  items_.add(payload, topic, std::nullopt, messages_);
}

int MqttSource::read_messages() {
  while (items_.size() < kMostAtOnce) {
    errno = 0;
    const int code = mosquitto_loop_read(client_.get(), 1);
    if (code != MOSQ_ERR_SUCCESS) return code;
    if (errno == EAGAIN || refusal_) break;  // all that has arrived is read
  }
  return MOSQ_ERR_SUCCESS;
}

Result<Fetched> MqttSource::fetch(std::chrono::nanoseconds timeout) {
  items_.clear();
  if (state_ == State::away) {
    if (!reconnect_.due(options_.interrupt, timeout)) return Fetched{};
    if (auto connected = connect_or_wait(); !connected) return platform::pass(connected);
    if (state_ == State::away) return Fetched{};
  }
  // Often enough for the keep-alive.
  const Ready ready = wait_readable(mosquitto_socket(client_.get()), options_.interrupt,
                                    std::min<std::chrono::nanoseconds>(timeout, std::chrono::seconds(1)));
  int code = ready == Ready::yes ? read_messages() : MOSQ_ERR_SUCCESS;
  if (code == MOSQ_ERR_SUCCESS && mosquitto_want_write(client_.get())) code = mosquitto_loop_write(client_.get(), 1);
  if (code == MOSQ_ERR_SUCCESS) code = mosquitto_loop_misc(client_.get());
  if (code == MOSQ_ERR_SUCCESS && state_ == State::connecting && std::chrono::steady_clock::now() - since_ > kPatience) {
    mosquitto_disconnect(client_.get());
    refusal_ = Error(Errc::timed_out, format("{} does not answer; is it an MQTT broker?", place_));
  }
  if (refusal_ || code != MOSQ_ERR_SUCCESS) {
    // What came before it is handed out first: it is acknowledged.
    const Error error = refusal_ ? *std::exchange(refusal_, std::nullopt) : broken(code);
    if (auto waits = give_up_or_wait(error); !waits) {
      if (items_.empty()) return platform::pass(waits);
      refusal_ = error;
    }
  }
  return Fetched{items_.items()};
}

std::vector<std::pair<std::string, std::uint64_t>> MqttSource::details() {
  return {{"messages", messages_}, {"broker_dropped", broker_dropped_}};
}

}  // namespace arus::connect
