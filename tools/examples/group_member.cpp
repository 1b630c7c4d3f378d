// A member of a consumer group. Start several: they share the partitions, and take over from one that is killed.
#include <arus/arus.h>

#include <iostream>

int main() {
  using namespace std::chrono_literals;

  auto bus = arus::Bus::open().value();
  auto alerts = bus.consumer({.group = "alerts", .start = arus::Start::earliest}).value();
  alerts.on_assignment({.assigned =
                            [](std::span<const arus::TopicPartition> partitions) {
                              for (const auto& one : partitions)
                                std::cout << "reads " << one.topic << "/" << one.partition << std::endl;
                            },
                        .revoked =
                            [](std::span<const arus::TopicPartition> partitions) {
                              for (const auto& one : partitions)
                                std::cout << "gives " << one.topic << "/" << one.partition << std::endl;
                            }});
  alerts.subscribe({"weather"}).value();

  // What a batch handed out is settled by the next poll: a member that dies before leaves it to its successor.
  for (std::size_t count = 1; count != 0;) {
    auto batch = alerts.poll(1s).value();
    for (const arus::Record& record : batch)
      std::cout << record.partition() << "/" << record.offset() << " " << arus::text(record.value()) << "\n";
    count = batch.size();
  }
}
