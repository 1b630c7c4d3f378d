#include <limits>

// Adds to the largest int; the summand comes from outside, so that no compiler can know.
int main(int argc, char**) {
  int sum = std::numeric_limits<int>::max();
  sum += argc;
  return sum > 0;
}
