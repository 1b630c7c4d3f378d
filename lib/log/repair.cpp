#include "log/repair.h"

#include "ring/sweep.h"

namespace arus::log {

using platform::pass;

Result<std::uint64_t> settle_topic(const BusDirectory& bus, const std::string& topic) {
  if (auto able = bus.need_lease("repairing a topic"); !able) return pass(able);
  const std::string directory = bus.topic_path(topic);
  auto identity = read_identity(identity_path(directory));
  if (!identity) return pass(identity);
  auto waits = Waits::open(waits_path(directory), identity->config.partitions, bus.bells());
  if (!waits) return pass(waits);
  std::uint64_t settled = 0;
  for (std::uint32_t i = 0; i < identity->config.partitions; ++i) {
    auto partition = Partition::open(partition_path(directory, i), platform::Access::write, identity->id, i);
    if (!partition) return pass(partition);
    ring::Ring ring = (*partition)->ring();
    ring.leases = bus.leases().get();
    ring.data = (*waits)->data(i);
    ring.room = (*waits)->room(i);
    settled += ring::settle_dead_claims(ring, bus.incarnation());
  }
  return settled;
}

}  // namespace arus::log
