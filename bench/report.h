// Collects what the segments gave and says it: for people as a table, for programs as JSON.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "environment.h"
#include "harness.h"
#include "suite.h"

namespace bench {

// Repetitions of one figure.
class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] std::size_t count() const noexcept { return values_.size(); }
  // Linear between neighbours; 0 of nothing.
  [[nodiscard]] double quantile(double share) const;
  [[nodiscard]] double median() const { return quantile(0.5); }

  // With fewer repetitions a figure is not called established.
  static constexpr std::size_t kEnough = 5;
  [[nodiscard]] bool established() const noexcept { return count() >= kEnough; }

 private:
  std::vector<double> values_;
};

class Report {
 public:
  // Rows stand in the order of the suite, each control before its candidates.
  explicit Report(const Suite& suite);

  // One run of a pair: its segments in the order candidate, control. The regime in which it gave a ratio, or a value if the pair has no control.
  std::optional<Regime> add(const Pair& pair, const RunOutcome& outcome);

  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
  [[nodiscard]] std::string table() const;
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] nlohmann::ordered_json json(const Environment& environment) const;

 private:
  struct Figure {
    std::string name;
    std::string unit;
    Samples samples;
  };
  using Figures = std::vector<Figure>;  // in the order in which the workload gives them
  struct InRegime {
    Figures values;
    std::vector<std::pair<std::string, Figures>> ratios;  // by the name of the control
    std::shared_ptr<Histogram> latencies{};               // of all segments together, ticks; null: none
  };
  struct Row {
    std::string scenario;
    std::string transport;
    std::map<Regime, InRegime> regimes;
  };

  Row& row(const std::string& scenario, const std::string& transport);
  static void add_to(Figures& figures, const std::string& name, const std::string& unit, double value);
  static void add_ratios(InRegime& to, const std::string& control, const SegmentOutcome& mine, const SegmentOutcome& its);
  static nlohmann::ordered_json json(const Figures& figures, bool units);
  // {"unit": "ns", "count": N, "points": [[percentile, value], ...]}: halving the distance to 100 % every fifth point.
  static nlohmann::ordered_json curve(const Histogram& latencies);
  static std::string line(const Row& row, Regime regime, const InRegime& in);

  std::vector<Row> rows_;
  std::map<Verdict, std::uint64_t> verdicts_;
  std::map<Regime, std::uint64_t> regimes_;
  std::vector<double> probes_ns_;
  std::uint64_t messages_ = 0;
};

}  // namespace bench
