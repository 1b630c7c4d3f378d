// Which pair is measured next. Near and far come and go with the machine, each for seconds or minutes, so that what it is in just now is used
// for the pairs that lack it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "harness.h"
#include "suite.h"

namespace bench {

class Schedule {
 public:
  Schedule(std::vector<Weight> weights, std::uint32_t seed) : weights_(std::move(weights)), runs_(weights_.size()), random_(seed) {}

  // The pair for a machine that was in this regime a moment ago: of those that are not established in it the figures before the rivals before
  // the rest, what has most repetitions first; then each in turn. By lot among equals.
  std::size_t next(Regime now);
  // What became of it: the regime in which it gave its figure; none: it gave none.
  void note(std::size_t pair, Regime meant, std::optional<Regime> valid);

 private:
  struct Runs {
    std::array<double, kRegimes.size()> valid{};
    std::array<double, kRegimes.size()> dropped{};
  };
  std::vector<Weight> weights_;
  std::vector<Runs> runs_;
  std::mt19937 random_;
};

}  // namespace bench
