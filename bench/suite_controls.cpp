#include "controls.h"
#include "controls_kernel.h"
#include "suite.h"

namespace bench {

Contestant two_line_floor(std::size_t bytes) {
  const std::string name = "two-line floor";
  if (bytes == 32) return contestant<RoundTrip<TwoLine<32>>>(name, {bytes});
  return contestant<RoundTrip<TwoLine<64>>>(name, {64});
}

Contestant futex_floor(bool spin_first) {
  constexpr std::size_t kBytes = 64;
  constexpr std::uint32_t kSpinNs = 27'000;  // as arus: Wait::spin
  if (spin_first) return contestant<RoundTrip<TwoChannels<FutexLine<kBytes, kSpinNs>>>>("futex", {kBytes});
  return contestant<RoundTrip<TwoChannels<FutexLine<kBytes, 0>>>>("futex", {kBytes});
}

Contestant bare(std::size_t bytes, std::size_t slots) {
  return with_bytes(
      bytes, [slots](auto n) { return contestant<OneWay<BareRing<n(), CoalescingWait>>>("bare", {.bytes = n(), .slots = slots}); });
}

Contestant bare_batched(std::size_t bytes) {
  return with_bytes(
      bytes, [](auto n) { return contestant<OneWay<BareRing<n(), CoalescingWait>>>("bare", {.bytes = n(), .batch = kBatch}); });
}

Contestant memcpy_alone(std::size_t bytes) {
  return with_bytes(bytes, [](auto n) { return contestant<NoReader<Memcpy<n()>>>("memcpy", {n()}); });
}

Contestant minimal_ring() { return contestant<NoReader<MinimalRing<64>>>("minimal ring", {64}); }

Contestant cas_ring(std::size_t batch) { return contestant<TwoProducers<CasRing<64>>>("CAS ring", {.bytes = 64, .batch = batch}); }

std::string round_trip(std::size_t bytes, const std::string& wait) { return "round-trip/" + size_name(bytes) + "/" + wait; }
std::string one_way(std::size_t bytes) { return "one-way/" + size_name(bytes); }
std::string one_way_batched(std::size_t bytes) { return "one-way/" + size_name(bytes) + "/batch" + std::to_string(kBatch); }
std::string two_producers(std::size_t batch) {
  return "two-producers/64B" + (batch > 1 ? "/batch" + std::to_string(batch) : std::string());
}

namespace {

template <std::size_t kBytes>
void add_round_trips(Suite& suite) {
  const std::string scenario = round_trip(kBytes, "spin");
  const Contestant floor = two_line_floor(kBytes);
  const Shape shape{kBytes};
  suite.push_back({scenario, contestant<RoundTrip<SingleLine<kBytes>>>("single line", shape), floor});
  suite.push_back({scenario, contestant<RoundTrip<FourLine<kBytes>>>("four lines", shape), floor});
  suite.push_back({scenario, contestant<RoundTrip<RawLog<kBytes>>>("raw log", shape), floor});
  suite.push_back({scenario, contestant<RoundTrip<TwoChannels<BareRing<kBytes, PauseWait>>>>("bare", shape), floor});
}

}  // namespace

void add_controls(Suite& suite) {
  add_round_trips<32>(suite);
  add_round_trips<64>(suite);
  constexpr Shape kShape{64};
  suite.push_back({round_trip(64, "spin-then-sleep"), futex_floor(true), {}});

  suite.push_back({one_way(64), contestant<OneWay<BareRing<64, PauseWait>>>("bare, one pause", kShape), bare(64)});
  for (const std::size_t bytes : kSizes) {
    if (bytes >= 64 << 10) suite.push_back({one_way(bytes), memcpy_alone(bytes), bare(bytes)});
  }
  suite.push_back({one_way(64), contestant<OneWay<BareRing<64, FirstRuleWait>>>("bare, first rule", kShape), bare(64)});
  suite.push_back({one_way_batched(64),
                   contestant<OneWay<BareRing<64, FirstRuleWait>>>("bare, first rule", {.bytes = 64, .batch = kBatch}),
                   bare_batched(64)});
  for (const std::size_t bytes : kBatchedSizes) {
    Contestant singles = bare(bytes);
    singles.name = "bare, one by one";
    suite.push_back({one_way_batched(bytes), std::move(singles), bare_batched(bytes)});
  }

  suite.push_back({kNoReader, minimal_ring(), {}});
  suite.push_back({two_producers(1), cas_ring(1), {}});
  suite.push_back({two_producers(kBatch), cas_ring(kBatch), {}});
}

}  // namespace bench
