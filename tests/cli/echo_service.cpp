// echo_service NAME CALLS: serves the method "echo", calls it so many times, says "called", and serves on until its stdin ends.
#include <arus/arus.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  auto bus = arus::Bus::open_or_create().value();
  auto server = bus.server(argv[1]).value();
  server.method("echo", [](const arus::rpc::Incoming& request) { return request.body(); }).value();
  server.start().value();
  std::jthread serving([&server](std::stop_token stop) { (void)server.run(stop); });
  auto client = bus.client(argv[1]).value();
  for (int i = std::atoi(argv[2]); i > 0; --i) client.call("echo", arus::bytes("hello")).value();
  std::puts("called");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}
