#include "crash/table.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <vector>

#include "crash/trigger.h"

namespace arus::crash {

namespace {

struct Cell {
  std::set<std::string> outcomes;
  std::size_t cases = 0;
};
using Key = std::pair<std::size_t, std::string>;  // point, role

std::map<Key, std::map<Blow, Cell>>& cells() {
  static std::map<Key, std::map<Blow, Cell>> all;
  return all;
}

template <class Container>
std::string join(const Container& parts, std::string_view between) {
  std::string result;
  for (const auto& part : parts) {
    if (!result.empty()) result += between;
    result += part;
  }
  return result;
}

}  // namespace

void note_outcome(std::string_view point, std::string_view role, Blow blow, std::string_view outcome) {
  Cell& cell = cells()[{index_of(point), std::string(role)}][blow];
  cell.outcomes.emplace(outcome);
  ++cell.cases;
}

std::string outcomes() {
  // Roles with the same outcomes share a row.
  std::map<std::size_t, std::map<std::pair<std::string, std::string>, std::vector<std::string>>> rows;
  std::size_t cases = 0;
  for (auto& [key, blows] : cells()) {
    const std::string killed = join(blows[Blow::kill].outcomes, "; or ");
    const std::string stopped = join(blows[Blow::stop].outcomes, "; or ");
    rows[key.first][{killed, stopped}].push_back(key.second);
    cases += blows[Blow::kill].cases + blows[Blow::stop].cases;
  }
  std::string text = fmt::format(
      "# What a death or a stop leaves at each kill point\n\n"
      "{} cases, each on a bus of its own; written by `kill_points_test --table=FILE`. In every one of them the survivors and "
      "those who "
      "come later went on, and the books balanced: every committed record was delivered once, in its producer's order, every byte "
      "as "
      "written; every claimed offset was delivered or reported (lossy: or reported as lost). *uncommitted*: what the victim was "
      "sending is reported as such; *delivered*: it had been committed. *refused, naming it*: once the ring was full, producers "
      "got an "
      "error with the victim's pid; after SIGCONT everything it had begun was delivered.\n\n"
      "| point | killed there | stopped there for a while | who |\n|---|---|---|---|\n",
      cases);
  for (const auto& [point, groups] : rows)
    for (const auto& [outcome, roles] : groups)
      text += fmt::format("| {} | {} | {} | {} |\n", points()[point], outcome.first, outcome.second, join(roles, "; "));
  return text;
}

}  // namespace arus::crash
