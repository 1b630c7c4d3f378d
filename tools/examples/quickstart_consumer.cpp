#include <arus/arus.h>

#include <iostream>

int main() {
  using std::chrono_literals::operator""s;
  auto bus = arus::Bus::open().value();
  bus.open_or_create("weather", {.partitions = 4}).value();  // whoever comes first makes it

  auto consumer = bus.consumer({.group = "alerts", .start = arus::Start::earliest}).value();
  consumer.subscribe({"weather"}).value();
  for (;;) {
    auto batch = consumer.poll(1s).value();  // views into shared memory, valid until the next poll
    for (const arus::Record& record : batch)
      std::cout << arus::text(record.key()) << ": " << arus::text(record.value()) << " (partition " << record.partition()
                << ", offset " << record.offset() << ")" << std::endl;
  }
}
