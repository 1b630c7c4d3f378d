// Simulated sensors for tests: sensors HOST-PORT-OF-UDP PORT-OF-MQTT SENSORS RATE SECONDS [QOS]
//
// Each of SENSORS sends RATE samples a second over UDP ("s7:12", the sensor and the number of the sample) and over MQTT (the topic
// sensors/s7, the number as payload); port 0 leaves one of them out. What it could not send in time it sends late, and none is left out. At
// the end it waits until the broker has acknowledged everything and prints {"udp":N,"mqtt":N,"seconds":S}.
#include <mosquitto.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what, const char* why) {
  std::fprintf(stderr, "sensors: %s: %s\n", what, why);
  std::exit(1);
}

class Udp {
 public:
  explicit Udp(int port) : socket_(port == 0 ? -1 : socket(AF_INET, SOCK_DGRAM, 0)) {
    if (port == 0) return;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("connect", "UDP");
  }
  void send(const std::string& text) {
    if (socket_ < 0) return;
    if (::send(socket_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())) ++sent;
  }
  std::uint64_t sent = 0;

 private:
  int socket_;
};

class Mqtt {
 public:
  Mqtt(int port, int quality) : quality_(quality) {
    if (port == 0) return;
    mosquitto_lib_init();
    client_ = mosquitto_new(nullptr, true, this);
    mosquitto_connect_callback_set(client_,
                                   [](mosquitto*, void* self, int code) { static_cast<Mqtt*>(self)->connected_ = code == 0; });
    mosquitto_publish_callback_set(client_, [](mosquitto*, void* self, int) { ++static_cast<Mqtt*>(self)->acknowledged_; });
    mosquitto_max_inflight_messages_set(client_, 2000);
    if (const int code = mosquitto_connect(client_, "127.0.0.1", port, 60); code != 0) die("connect", mosquitto_strerror(code));
    while (!connected_) turn(100);
  }
  void send(const std::string& topic, const std::string& text) {
    if (client_ == nullptr) return;
    const int code =
        mosquitto_publish(client_, nullptr, topic.c_str(), static_cast<int>(text.size()), text.data(), quality_, false);
    if (code != 0) die("publish", mosquitto_strerror(code));
    ++sent;
  }
  void turn(int milliseconds) {
    if (client_ == nullptr) return;
    if (const int code = mosquitto_loop(client_, milliseconds, 1); code != 0) die("loop", mosquitto_strerror(code));
  }
  // So that no more than some thousand wait in our memory.
  void keep_up() {
    while (sent - acknowledged_ > 4000) turn(10);
  }
  void finish() {
    while (client_ != nullptr && acknowledged_ < sent) turn(100);
    if (client_ != nullptr) mosquitto_disconnect(client_);
  }
  std::uint64_t sent = 0;

 private:
  mosquitto* client_ = nullptr;
  int quality_;
  bool connected_ = false;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) die("usage", "sensors UDP-PORT MQTT-PORT SENSORS RATE SECONDS [QOS]");
  Udp udp(std::atoi(argv[1]));
  Mqtt mqtt(std::atoi(argv[2]), argc > 6 ? std::atoi(argv[6]) : 1);
  const int sensors = std::atoi(argv[3]);
  const double rate = std::atof(argv[4]);
  const auto samples = static_cast<std::uint64_t>(rate * std::atof(argv[5]));
  const auto began = Clock::now();
  for (std::uint64_t sample = 0; sample < samples; ++sample) {
    const std::chrono::duration<double> due(static_cast<double>(sample) / rate);
    std::this_thread::sleep_until(began + std::chrono::duration_cast<Clock::duration>(due));
    const std::string number = std::to_string(sample);
    for (int sensor = 0; sensor < sensors; ++sensor) {
      const std::string name = "s" + std::to_string(sensor);
      udp.send(name + ":" + number);
      mqtt.send("sensors/" + name, number);
    }
    mqtt.turn(0);
    mqtt.keep_up();
  }
  mqtt.finish();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  std::printf("{\"udp\":%llu,\"mqtt\":%llu,\"seconds\":%.1f}\n", static_cast<unsigned long long>(udp.sent),
              static_cast<unsigned long long>(mqtt.sent), seconds);
}
