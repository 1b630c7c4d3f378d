// Shares the partitions of topics out among the members of a group. Pure functions of the group's state, so that it does not matter who
// calls them.
#pragma once

#include "group/group_state.h"

namespace arus::group {

// Fills in `state.targets`, which has the topics and how many partitions each has (with what was assigned before), by the group's
// assignor. A partition of a topic that nobody wants is nobody's. Members that are away keep their part.
//
//   range   per topic: members in the order in which they joined get neighbouring partitions, the first ones one more if need be (Kafka's
//           RangeAssignor; topics of equal partition counts are cut alike, so that equal keys of two topics meet in one member)
//   sticky  over all topics: nobody has two partitions more than somebody else who could have one of them, and as few as possible change
//           hands
void assign(GroupState& state);

}  // namespace arus::group
