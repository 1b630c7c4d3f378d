#include "schedule.h"

#include <tuple>

#include "report.h"

namespace bench {

namespace {

// What is established takes turns, with so many of them.
double share(Weight weight) {
  switch (weight) {
    case kFigure: return 6;
    case kRival: return 1;
    default: return 2;
  }
}

// A pair that is dropped again and again is not to keep the others from their turn.
constexpr double kDroppedCounts = 0.5;
constexpr double kHopeless = 4 * Samples::kEnough;

constexpr std::size_t index(Regime regime) { return static_cast<std::size_t>(regime); }

}  // namespace

// Begun is half done: five repetitions of each of ten pairs are worth more than four of twelve.
std::size_t Schedule::next(Regime now) {
  std::uniform_real_distribution<double> lot(0, 1);
  using Rank = std::tuple<bool, Weight, double>;  // whether it is to be established, and for what; how much of that is done
  std::size_t best = 0;
  std::optional<Rank> highest;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const double valid = runs_[i].valid[index(now)];
    const double dropped = kDroppedCounts * runs_[i].dropped[index(now)];
    const bool lacks = valid < Samples::kEnough && runs_[i].dropped[index(now)] < kHopeless;
    const Rank rank = lacks ? Rank{true, weights_[i], valid - dropped + lot(random_)}
                            : Rank{false, kForOrientation, -(valid + dropped + lot(random_)) / share(weights_[i])};
    if (highest && rank <= *highest) continue;
    best = i;
    highest = rank;
  }
  return best;
}

void Schedule::note(std::size_t pair, Regime meant, std::optional<Regime> valid) {
  if (valid != meant) ++runs_[pair].dropped[index(meant)];
  if (valid) ++runs_[pair].valid[index(*valid)];
}

}  // namespace bench
