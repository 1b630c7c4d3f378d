#include "crash/table.h"

#include <fmt/format.h>

#include <algorithm>
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

std::map<std::string, std::set<std::string>>& families() {
  static std::map<std::string, std::set<std::string>> all;
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

// Families that are there with all who pass the point, and the others by name.
std::string summary(std::set<std::string> roles, std::size_t point) {
  std::vector<std::string> parts;
  for (const auto& [family, members] : families()) {
    if (family.empty()) continue;
    std::set<std::string> passing;
    for (const std::string& member : members)
      if (cells().contains({point, member})) passing.insert(member);
    if (passing.size() < 2 || !std::includes(roles.begin(), roles.end(), passing.begin(), passing.end())) continue;
    parts.push_back(fmt::format("{} ({} roles)", family, passing.size()));
    for (const std::string& member : passing) roles.erase(member);
  }
  parts.insert(parts.end(), roles.begin(), roles.end());
  return join(parts, "; ");
}

}  // namespace

void note_outcome(std::string_view point, std::string_view family, std::string_view role, Blow blow, std::string_view outcome) {
  families()[std::string(family)].emplace(role);
  Cell& cell = cells()[{index_of(point), std::string(role)}][blow];
  cell.outcomes.emplace(outcome);
  ++cell.cases;
}

std::string outcomes() {
  // Roles with the same outcomes share a row.
  std::map<std::size_t, std::map<std::pair<std::string, std::string>, std::set<std::string>>> rows;
  std::size_t cases = 0;
  for (auto& [key, blows] : cells()) {
    const std::string killed = join(blows[Blow::kill].outcomes, "; or ");
    const std::string stopped = join(blows[Blow::stop].outcomes, "; or ");
    rows[key.first][{killed, stopped}].insert(key.second);
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
      "*Any member*: of a group that shares four partitions; each record was delivered to one of its members, and no partition was "
      "read "
      "by two who lived.\n\n"
      "An empty cell: in that run the role did not come by. Beside this table: `pairs_test` (two victims at once, in either "
      "order), "
      "`random_kills_test` (a thousand kills at random instants; ten thousand with `ARUS_TEST_LONG=1`), `chaos_test` (producers "
      "and "
      "the members of three groups come, leave, are killed and stopped at random), `traffic_test` (millions of records "
      "at full speed). These suites were seen to fail when one of these was taken out of the library: R3, R8, the evidence among "
      "several "
      "candidates, the death check, the settling of a slot before its reuse, the repair of a torn tail.\n\n"
      "| point | killed there | stopped there for a while | who |\n|---|---|---|---|\n",
      cases);
  for (const auto& [point, groups] : rows)
    for (const auto& [outcome, roles] : groups)
      text += fmt::format("| {} | {} | {} | {} |\n", points()[point], outcome.first, outcome.second, summary(roles, point));
  return text;
}

}  // namespace arus::crash
