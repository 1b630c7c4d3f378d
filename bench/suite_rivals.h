// How a rival takes part: in the scenarios below, each against arus in the same scenario and with the same wait. Rivals that a machine
// may lack have a file of their own, which is built where their package is.
#pragma once

#include <initializer_list>
#include <string>

#include "suite.h"

namespace bench {

// A workload over a transport with threads of its own.
template <class Workload>
class WithThreads final : public Workload {
 public:
  using Workload::Workload;
  [[nodiscard]] bool has_threads() const noexcept override { return true; }
};

template <class Workload>
void add_round_trip(Suite& suite, const std::string& name, const std::string& wait) {
  const Contestant arus = wait == "spin" ? arus_round_trip(64) : arus_round_trip_sleeping();
  suite.push_back({round_trip(64, wait), contestant<Workload>(name, {64}), arus});
}

inline constexpr std::size_t kSmall = 64;
inline constexpr std::size_t kMedium = 1 << 10;
inline constexpr std::size_t kBig = 64 << 10;
inline constexpr std::size_t kLarge = 1 << 20;

template <class Workload>
void add_one_way(Suite& suite, const std::string& name,
                 std::initializer_list<std::size_t> sizes = {kSmall, kMedium, kBig, kLarge}) {
  for (const std::size_t bytes : sizes) suite.push_back({one_way(bytes), contestant<Workload>(name, {bytes}), arus_one_way(bytes)});
}

void add_iceoryx(Suite& suite);
void add_zeromq(Suite& suite);
void add_nng(Suite& suite);
void add_threads(Suite& suite);

}  // namespace bench
