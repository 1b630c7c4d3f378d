// idle_reader pattern|share [TOPIC]: waits for records as no shell command can, until it is killed.
#include <arus/arus.h>

#include <string_view>

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  if (argc < 2) return 2;
  auto bus = arus::Bus::open().value();
  if (std::string_view(argv[1]) == "share") {
    auto queue = bus.share_consumer({.group = "shared"}).value();
    queue.subscribe({argc > 2 ? argv[2] : "t3"}).value();
    for (;;) (void)queue.poll(1h).value();
  }
  auto consumer = bus.consumer({.group = "pattern"}).value();
  consumer.subscribe_pattern("t[5-9]").value();
  for (;;) (void)consumer.poll(1h).value();
}
