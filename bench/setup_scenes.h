// What arus-bench-setup measures, each scene in fresh processes: a forked child does it and hands its numbers back.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

// A scene that could not be played; what() says why.
struct SceneFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Endpoint : std::uint8_t { producer, member, observer };
inline constexpr Endpoint kEndpoints[] = {Endpoint::producer, Endpoint::member, Endpoint::observer};
const char* to_string(Endpoint endpoint);

// Makes a bus in `directory` (if there is none) and topics of the smallest partitions until there are `topics`. Returns the nanoseconds
// it took per topic.
double create_topics(const std::string& directory, unsigned from, unsigned topics);

// What a directory takes: blocks of all its files, in bytes, and how many files.
struct Footprint {
  double bytes;
  double files;
};
Footprint footprint(const std::string& directory);
// The same of one topic with so many partitions, in a bus of its own.
Footprint footprint_of_topic(const std::string& directory, unsigned partitions);

// From nothing to an endpoint on one of the topics, nanoseconds; and what the process has in memory for it.
struct Attached {
  double open_ns;    // Bus::open
  double attach_ns;  // topic() and producer(), or consumer() and subscribe()
  double resident_bytes;
};
Attached attach(const std::string& directory, unsigned topics, Endpoint endpoint);

// One process that writes to and reads from `attached` topics (a lossless group): nanoseconds per record, and of a look that finds nothing.
struct Traffic {
  double send_ns;
  double poll_ns;
  double empty_poll_ns;
};
Traffic traffic(const std::string& directory, unsigned attached, unsigned records);

// Processes that have nothing to do, all at once.
struct Idle {
  std::string process;
  double wakeups_per_second;
  double cpu_us_per_second;
};
std::vector<Idle> idle(const std::string& directory, double seconds);

}  // namespace bench
