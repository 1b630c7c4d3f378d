#include <arus/arus.h>

#include <iostream>

struct Sensor {
  std::uint32_t number;
};
struct Reading {
  double celsius;
  std::int64_t time;
};

int main() {
  using std::chrono_literals::operator""ms;
  using std::chrono_literals::operator""s;
  auto bus = arus::Bus::open().value();
  auto weather = bus.client("weather").value();
  weather.wait_for_server(10s).value();

  for (const std::uint32_t number : {7u, 12u}) {
    auto reading = weather.call<Reading>("latest", Sensor{number}, {.timeout = 500ms});
    if (reading)
      std::cout << "sensor " << number << ": " << reading->celsius << std::endl;
    else
      std::cout << to_string(reading.error().code()) << ": " << reading.error().message() << std::endl;
  }

  auto call = weather.call_async("latest", arus::bytes_of(Sensor{1}));  // goes on while this does something else
  std::cout << "sensor 1: " << call.get().value().as<Reading>()->celsius << std::endl;

  auto stream = weather.stream("follow", arus::kNull);
  while (auto reply = stream.next().value()) std::cout << arus::text(reply->body()) << std::endl;
}
