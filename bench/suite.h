// What the cross-process suite consists of: pairs of a candidate and its control, each in a scenario that says what both do.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "harness.h"
#include "workloads.h"

namespace bench {

// What a pair is measured for; how often, says Schedule.
enum Weight : std::uint8_t { kForOrientation, kRival, kFigure };

struct Pair {
  std::string scenario;  // "one-way/64B"
  Contestant candidate;
  std::optional<Contestant> control;
  Weight weight = kForOrientation;
};
using Suite = std::vector<Pair>;

// A transport under its name, in a workload.
template <class Workload>
Contestant contestant(std::string name, const Shape& shape) {
  return {std::move(name), [shape]() -> std::unique_ptr<Segment> { return std::make_unique<Workload>(shape); }};
}

inline std::string size_name(std::size_t bytes) {
  if (bytes >= 1 << 20) return std::to_string(bytes >> 20) + "MiB";
  if (bytes >= 1 << 10) return std::to_string(bytes >> 10) + "KiB";
  return std::to_string(bytes) + "B";
}

inline constexpr std::size_t kBatch = 32;

// The controls, each where a candidate has to stand beside it. Sizes are those that with_bytes() knows.
Contestant two_line_floor(std::size_t bytes);               // 32 and 64 B
Contestant futex_floor(bool spin_first);                    // 64 B
Contestant bare(std::size_t bytes, std::size_t slots = 0);  // one by one
Contestant bare_batched(std::size_t bytes);                 // kBatch at a time
Contestant memcpy_alone(std::size_t bytes);
Contestant minimal_ring();               // 64 B, nobody reads
Contestant cas_ring(std::size_t batch);  // 64 B, two producers

// Names of the scenarios; what follows the last slash is how both sides wait.
std::string round_trip(std::size_t bytes, const std::string& wait);
std::string one_way(std::size_t bytes);
std::string one_way_batched(std::size_t bytes);
std::string two_producers(std::size_t batch);
inline constexpr const char* kNoReader = "no-reader/64B";

// The sizes a control has been compiled for; calls visit(integral_constant).
template <class Visit>
Contestant with_bytes(std::size_t bytes, Visit visit) {
  switch (bytes) {
    case 16: return visit(std::integral_constant<std::size_t, 16>());
    case 64: return visit(std::integral_constant<std::size_t, 64>());
    case 256: return visit(std::integral_constant<std::size_t, 256>());
    case 1 << 10: return visit(std::integral_constant<std::size_t, 1 << 10>());
    case 4 << 10: return visit(std::integral_constant<std::size_t, 4 << 10>());
    case 16 << 10: return visit(std::integral_constant<std::size_t, 16 << 10>());
    case 64 << 10: return visit(std::integral_constant<std::size_t, 64 << 10>());
    case 256 << 10: return visit(std::integral_constant<std::size_t, 256 << 10>());
    case 1 << 20: return visit(std::integral_constant<std::size_t, 1 << 20>());
    case 4 << 20: return visit(std::integral_constant<std::size_t, 4 << 20>());
    default: throw std::invalid_argument("no control carries messages of " + std::to_string(bytes) + " bytes");
  }
}
inline constexpr std::size_t kSizes[] = {16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20};
inline constexpr std::size_t kBatchedSizes[] = {16, 64, 256, 1 << 10};

// The controls among themselves.
void add_controls(Suite& suite);
// arus against them.
void add_arus(Suite& suite);
// arus under a given load, on a fixed schedule.
void add_load(Suite& suite);
// arus among more processes than there are cores.
void add_crowds(Suite& suite);
// Calls, against the ring's own ping-pong.
void add_rpc(Suite& suite);
Contestant arus_round_trip(std::size_t bytes);  // spinning
Contestant arus_round_trip_sleeping();          // 64 B
Contestant arus_one_way(std::size_t bytes);
// Others, against arus in the same scenario.
void add_rivals(Suite& suite);
std::vector<std::string> rivals_left_out();  // when this was built, and why
Contestant rpc_echo(bool spin_first);        // arus's, 64 B: as by default, or sleeping at once
Contestant rpc_echo_spinning();              // arus's, 64 B
Contestant grpc_echo(std::size_t bytes);
std::string rpc_echo_scenario(std::size_t bytes, const std::string& wait);

}  // namespace bench
