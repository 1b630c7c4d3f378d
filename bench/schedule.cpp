#include "schedule.h"

#include "report.h"

namespace bench {

namespace {

// Shares of the runs. Whatever the machine does, what is to be established comes first; a rival far behind is measured no better than that.
double share(Weight weight, double valid) {
  const bool established = valid >= Samples::kEnough;
  switch (weight) {
    case kFigure: return established ? 3 : 6;
    case kRival: return established ? 0.5 : 4;
    default: return 1;
  }
}

// A pair that is dropped again and again is not to keep the others from their turn.
constexpr double kDroppedCounts = 0.25;

constexpr std::size_t index(Regime regime) { return static_cast<std::size_t>(regime); }

}  // namespace

std::size_t Schedule::next(Regime now) {
  std::uniform_real_distribution<double> lot(0, 1);
  std::size_t best = 0;
  double fewest = 0;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const double valid = runs_[i].valid[index(now)];
    const double runs = (valid + kDroppedCounts * runs_[i].dropped[index(now)] + lot(random_)) / share(weights_[i], valid);
    if (i != 0 && runs >= fewest) continue;
    best = i;
    fewest = runs;
  }
  return best;
}

void Schedule::note(std::size_t pair, Regime meant, std::optional<Regime> valid) {
  if (valid != meant) ++runs_[pair].dropped[index(meant)];
  if (valid) ++runs_[pair].valid[index(*valid)];
}

}  // namespace bench
