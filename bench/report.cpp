#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "clock.h"

namespace bench {

double Samples::quantile(double share) const {
  if (values_.empty()) return 0;
  std::vector<double> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Report::Report(const Suite& suite) {
  for (const Pair& pair : suite) {
    if (pair.control) row(pair.scenario, pair.control->name);
    row(pair.scenario, pair.candidate.name);
  }
}

Report::Row& Report::row(const std::string& scenario, const std::string& transport) {
  for (Row& row : rows_) {
    if (row.scenario == scenario && row.transport == transport) return row;
  }
  return rows_.emplace_back(Row{scenario, transport, {}});
}

void Report::add_to(Figures& figures, const std::string& name, const std::string& unit, double value) {
  auto it = std::find_if(figures.begin(), figures.end(), [&](const Figure& one) { return one.name == name; });
  if (it == figures.end()) it = figures.insert(it, {name, unit, {}});
  it->samples.add(value);
}

void Report::add_ratios(InRegime& to, const std::string& control, const SegmentOutcome& mine, const SegmentOutcome& its) {
  auto it = std::find_if(to.ratios.begin(), to.ratios.end(), [&](const auto& one) { return one.first == control; });
  if (it == to.ratios.end()) it = to.ratios.insert(it, {control, {}});
  for (const Metric& metric : mine.metrics) {
    for (const Metric& other : its.metrics) {
      if (metric.name == other.name && other.value > 0) add_to(it->second, metric.name, "", metric.value / other.value);
    }
  }
}

std::optional<Regime> Report::add(const Pair& pair, const RunOutcome& outcome) {
  probes_ns_.insert(probes_ns_.end(), outcome.probes_ns.begin(), outcome.probes_ns.end());
  const auto valid = [](const SegmentOutcome& one) { return one.verdict == Verdict::valid; };
  for (std::size_t i = 0; i < outcome.segments.size(); ++i) {
    const SegmentOutcome& segment = outcome.segments[i];
    ++verdicts_[segment.verdict];
    messages_ += segment.messages;
    Row& mine = row(pair.scenario, i == 0 ? pair.candidate.name : pair.control->name);
    if (!valid(segment)) continue;
    ++regimes_[segment.regime];
    if (segment.latencies) {
      auto& all = mine.regimes[segment.regime].latencies;
      if (!all) all = std::make_shared<Histogram>();
      all->add(*segment.latencies);
    }
    for (const Metric& metric : segment.metrics) {
      add_to(mine.regimes[segment.regime].values, metric.name, metric.unit, metric.value);
    }
  }
  const SegmentOutcome& candidate = outcome.segments[0];
  if (!valid(candidate)) return {};
  if (!pair.control) return candidate.regime;
  const SegmentOutcome& control = outcome.segments[1];
  if (!valid(control) || candidate.regime != control.regime) return {};
  add_ratios(row(pair.scenario, pair.candidate.name).regimes[candidate.regime], pair.control->name, candidate, control);
  return candidate.regime;
}

namespace {

// Three digits that count.
std::string number(double value) {
  if (value >= 100) return fmt::format("{:.0f}", value);
  if (value >= 10) return fmt::format("{:.1f}", value);
  return fmt::format("{:.2f}", value);
}

std::string with_spread(const Samples& samples) {
  return fmt::format("{} [{}–{}]", number(samples.median()), number(samples.quantile(0.25)), number(samples.quantile(0.75)));
}

// Counts characters, not bytes.
std::string padded(std::string text, std::size_t width) {
  const auto characters =
      static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  if (characters < width) text.append(width - characters, ' ');
  return text;
}

}  // namespace

std::string Report::line(const Row& row, Regime regime, const InRegime& in) {
  const Figure* const main = in.values.empty() ? nullptr : &in.values.front();
  std::string text = fmt::format("  {:<24}{:<8}", row.transport, to_string(regime));
  if (main == nullptr || !main->samples.established()) {
    return text + fmt::format("not established ({} of {})\n", main == nullptr ? 0 : main->samples.count(), Samples::kEnough);
  }
  text += fmt::format("{:>4}  ", main->samples.count());
  std::string values;
  for (const Figure& figure : in.values) {
    if (!figure.samples.established()) continue;
    const bool first = &figure == main;
    values += first ? fmt::format("{} {} {}", figure.name, with_spread(figure.samples), figure.unit)
                    : fmt::format("  {} {}", figure.name, number(figure.samples.median()));
  }
  text += padded(values, 62);
  for (const auto& [control, ratios] : in.ratios) {
    std::string each;
    for (const Figure& ratio : ratios) {
      if (!ratio.samples.established()) continue;
      each += each.empty() ? "  " + with_spread(ratio.samples) : fmt::format(" {} {}", ratio.name, number(ratio.samples.median()));
    }
    text += each.empty() ? fmt::format("  ratio to {} not established", control) : each + " × " + control;
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string Report::table() const {
  std::string text =
      "\n  transport               regime     n  median [quartiles]" + std::string(45, ' ') + "ratio to the control\n";
  std::vector<std::string> done;
  for (const Row& first : rows_) {
    if (std::find(done.begin(), done.end(), first.scenario) != done.end()) continue;
    done.push_back(first.scenario);
    text += "\n" + first.scenario + "\n";
    std::string lines;
    for (const Regime regime : kRegimes) {
      std::string here;
      bool any = false;  // a regime that was hardly met is not worth its lines
      for (const Row& row : rows_) {
        const auto it = row.regimes.find(regime);
        if (row.scenario != first.scenario || it == row.regimes.end()) continue;
        here += line(row, regime, it->second);
        any = any || (!it->second.values.empty() && it->second.values.front().samples.established());
      }
      if (any) lines += here;
    }
    text += lines.empty() ? fmt::format("  not established: fewer than {} valid segments\n", Samples::kEnough) : lines;
  }
  return text;
}

std::string Report::summary() const {
  const auto of = [](const auto& map, auto key) { return map.contains(key) ? map.at(key) : 0; };
  Samples probes;
  for (const double probe : probes_ns_) probes.add(probe);
  return fmt::format(
      "{} messages checked. Segments: {} valid ({} sibling, {} near, {} far), dropped {} whose regime changed, {} preempted.\n"
      "Raw ping-pong of one line: median {} ns, 5 % {}, 95 % {}.\n",
      messages_, of(verdicts_, Verdict::valid), of(regimes_, Regime::sibling), of(regimes_, Regime::near),
      of(regimes_, Regime::far), of(verdicts_, Verdict::regime_changed), of(verdicts_, Verdict::preempted), number(probes.median()),
      number(probes.quantile(0.05)), number(probes.quantile(0.95)));
}

nlohmann::ordered_json Report::json(const Figures& figures, bool units) {
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  for (const Figure& figure : figures) {
    const Samples& samples = figure.samples;
    nlohmann::ordered_json& one = result[figure.name];
    if (units) one["unit"] = figure.unit;
    one["median"] = samples.median();
    one["q1"] = samples.quantile(0.25);
    one["q3"] = samples.quantile(0.75);
    one["repetitions"] = samples.count();
    one["established"] = samples.established();
  }
  return result;
}

nlohmann::ordered_json Report::curve(const Histogram& latencies) {
  constexpr int kPointsPerHalf = 5;
  nlohmann::ordered_json result{{"unit", "ns"}, {"count", latencies.total()}};
  const auto point = [&](double share) {
    result["points"].push_back({100 * share, TickScale::get().ns(1) * latencies.quantile(share)});
  };
  const double rarest = 1 / static_cast<double>(std::max<std::uint64_t>(1, latencies.total()));
  double rest = 1;
  for (int i = 0; rest >= rarest; rest = std::exp2(-static_cast<double>(++i) / kPointsPerHalf)) point(1 - rest);
  point(1);
  return result;
}

nlohmann::ordered_json Report::json(const Environment& environment) const {
  nlohmann::ordered_json result;
  for (const auto& [name, value] : environment) result["environment"][name] = value;
  result["messages"] = messages_;
  for (const auto& [verdict, name] : {std::pair(Verdict::valid, "valid"), std::pair(Verdict::regime_changed, "regime_changed"),
                                      std::pair(Verdict::preempted, "preempted")}) {
    result["segments"][name] = verdicts_.contains(verdict) ? verdicts_.at(verdict) : 0;
  }
  result["probes_ns"] = probes_ns_;
  result["results"] = nlohmann::ordered_json::array();
  for (const Row& row : rows_) {
    nlohmann::ordered_json one{{"scenario", row.scenario}, {"transport", row.transport}};
    one["regimes"] = nlohmann::ordered_json::object();
    for (const auto& [regime, in] : row.regimes) {
      nlohmann::ordered_json& here = one["regimes"][std::string(to_string(regime))];
      here["values"] = json(in.values, true);
      here["ratios"] = nlohmann::ordered_json::object();
      for (const auto& [control, ratios] : in.ratios) here["ratios"][control] = json(ratios, false);
      if (in.latencies && in.latencies->total() > 0) here["curve"] = curve(*in.latencies);
    }
    result["results"].push_back(std::move(one));
  }
  return result;
}

}  // namespace bench
