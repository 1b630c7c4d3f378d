#include <arus/arus.h>

#include <string>

int main() {
  auto bus = arus::Bus::open().value();  // the default directory; no daemon
  auto weather = bus.open_or_create("weather", {.partitions = 4}).value();
  auto producer = weather.producer().value();

  for (int i = 0; i < 10; ++i) {
    const std::string celsius = std::to_string(20 + i % 5);
    producer.send("station-7", arus::bytes(celsius)).value();  // key and value; throws in here if it fails
  }
}
