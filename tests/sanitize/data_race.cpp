#include <thread>

// Two threads increment a plain int.
int counter = 0;

int main() {
  auto count = [] {
    for (int i = 0; i < 100'000; ++i) counter = counter + 1;
  };
  std::thread other(count);
  count();
  other.join();
  return counter == 0;
}
