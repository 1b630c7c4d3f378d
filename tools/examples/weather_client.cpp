#include <arus/arus.h>

#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  using std::chrono_literals::operator""s;
  auto bus = arus::Bus::open().value();
  auto weather = bus.client("weather").value();

  std::vector<arus::rpc::Call> calls;  // all in flight at once
  for (int i = 1; i < argc; ++i) calls.push_back(weather.call_async("latest", arus::bytes(argv[i]), {.timeout = 5s}));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const auto reading = calls[i].get();
    std::cout << argv[i + 1] << ": ";
    if (reading)
      std::cout << arus::text(reading->body()) << std::endl;  // where the server wrote it, until `reading` goes
    else
      std::cout << to_string(reading.error().code()) << ", " << reading.error().message() << std::endl;
  }
}
