// Repair of a whole topic at once, for people: what a producer or reader would otherwise repair when it comes by.
#pragma once

#include <cstdint>
#include <string>

#include "log/bus_directory.h"

namespace arus::log {

// Settles every claim that a dead producer left open in a topic, and wakes its readers; how many. Idempotent; several may do it at once, and
// next to producers and consumers. Errors: as of attaching a producer.
Result<std::uint64_t> settle_topic(const BusDirectory& bus, const std::string& topic);

}  // namespace arus::log
