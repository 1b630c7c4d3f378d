#include "group/assignor.h"

#include <algorithm>
#include <map>

namespace arus::group {
namespace {

void assign_range(GroupState& state) {
  for (Target& target : state.targets) {
    std::vector<std::uint64_t> wanting;
    for (const Member& member : state.members)
      if (member.wants(target.topic)) wanting.push_back(member.id);
    const std::size_t partitions = target.members.size();
    for (std::size_t i = 0; i < partitions; ++i) {
      if (wanting.empty()) {
        target.members[i] = 0;
        continue;
      }
      // The first `more` members have one partition more than the others.
      const std::size_t each = partitions / wanting.size();
      const std::size_t more = partitions % wanting.size();
      const std::size_t with_more = more * (each + 1);
      target.members[i] = wanting[i < with_more ? i / (each + 1) : more + (i - with_more) / each];
    }
  }
}

class Sticky {
 public:
  explicit Sticky(GroupState& state) : state_(state) {
    for (std::size_t i = 0; i < state.members.size(); ++i) place_[state.members[i].id] = i;
    load_.resize(state.members.size());
    for (const Target& target : state.targets) {
      std::vector<std::size_t>& wanting = wanting_.emplace_back();
      for (std::size_t i = 0; i < state.members.size(); ++i)
        if (state.members[i].wants(target.topic)) wanting.push_back(i);
    }
  }

  void assign() {
    keep();
    hand_out();
    while (level()) {
    }
  }

 private:
  void keep() {
    for (std::size_t t = 0; t < state_.targets.size(); ++t)
      for (std::uint64_t& id : state_.targets[t].members) {
        const auto found = place_.find(id);
        if (found != place_.end() && std::binary_search(wanting_[t].begin(), wanting_[t].end(), found->second))
          ++load_[found->second];
        else
          id = 0;
      }
  }
  [[nodiscard]] std::size_t idlest(std::size_t topic) const {
    return *std::min_element(wanting_[topic].begin(), wanting_[topic].end(),
                             [&](std::size_t a, std::size_t b) { return load_[a] < load_[b]; });
  }
  void hand_out() {
    for (std::size_t t = 0; t < state_.targets.size(); ++t)
      for (std::uint64_t& id : state_.targets[t].members)
        if (id == 0 && !wanting_[t].empty()) give(id, idlest(t));
  }
  // One partition from the one who has most, among those who can give one to somebody who has at least two less. Each such step makes
  // the sum of squares of the loads smaller: it ends.
  bool level() {
    std::uint64_t* best = nullptr;
    std::size_t best_from = 0;
    std::size_t best_to = 0;
    for (std::size_t t = 0; t < state_.targets.size(); ++t) {
      if (wanting_[t].empty()) continue;
      const std::size_t to = idlest(t);
      for (std::uint64_t& id : state_.targets[t].members) {
        const std::size_t from = place_.at(id);
        if (load_[from] < load_[to] + 2) continue;
        // Of equally loaded givers and takers the last partition: so the lower ones stay together.
        if (best != nullptr && (load_[from] < load_[best_from] || (load_[from] == load_[best_from] && load_[to] > load_[best_to])))
          continue;
        best = &id;
        best_from = from;
        best_to = to;
      }
    }
    if (best == nullptr) return false;
    --load_[best_from];
    give(*best, best_to);
    return true;
  }
  void give(std::uint64_t& id, std::size_t member) {
    id = state_.members[member].id;
    ++load_[member];
  }

  GroupState& state_;
  std::map<std::uint64_t, std::size_t> place_;     // of a member's id
  std::vector<std::size_t> load_;                  // partitions per member
  std::vector<std::vector<std::size_t>> wanting_;  // per topic, ascending
};

}  // namespace

void assign(GroupState& state) {
  if (state.policy.assignor == Assignor::range)
    assign_range(state);
  else
    Sticky(state).assign();
}

}  // namespace arus::group
