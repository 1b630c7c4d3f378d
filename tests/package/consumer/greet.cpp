#include <arus/arus.h>

#include <chrono>
#include <cstdio>

int main() {
  auto bus = arus::Bus::open_or_create().value();
  auto topic = bus.open_or_create("greetings", {.partition_bytes = 64 << 10}).value();
  auto producer = topic.producer().value();
  producer.send("who", arus::bytes("hello from the package")).value();

  auto consumer = bus.consumer({.start = arus::Start::earliest}).value();
  consumer.subscribe({"greetings"}).value();
  auto batch = consumer.poll(std::chrono::seconds(10)).value();
  for (const arus::Record& record : batch) {
    const auto value = arus::text(record.value());
    std::printf("%.*s\n", static_cast<int>(value.size()), value.data());
  }
}
