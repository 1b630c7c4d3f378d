#include <memory>

// Reads one element behind an array; the index comes from outside, so that no compiler can know.
int main(int argc, char**) {
  auto numbers = std::make_unique<int[]>(4);
  return numbers[static_cast<std::size_t>(argc) + 3];
}
