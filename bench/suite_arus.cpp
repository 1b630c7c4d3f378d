// arus against its controls: round trips, one way, several producers, and who else may be on the topic.
#include "arus_transport.h"
#include "suite.h"

namespace bench {

namespace {

constexpr Mode kSend{};
constexpr Mode kSleep{.wait = arus::Wait::Mode::sleep};
constexpr Mode kLoan{.api = Api::loan};
constexpr Mode kSingle{.producers = arus::Producers::single};

void add_round_trips(Suite& suite) {
  for (const std::size_t bytes : {32u, 64u}) {
    suite.push_back({round_trip(bytes, "spin"), arus_round_trip(bytes), two_line_floor(bytes), kFigure});
    suite.push_back(
        {round_trip(bytes, "spin"), contestant<RoundTrip<ArusBus<kLoan>>>("arus, loan", {bytes}), two_line_floor(bytes)});
  }
  constexpr Mode kSpinThenSleep{.wait = arus::Wait::Mode::spin_then_sleep};
  suite.push_back(
      {round_trip(64, "spin-then-sleep"), contestant<RoundTrip<ArusBus<kSpinThenSleep>>>("arus", {64}), futex_floor(true)});
  suite.push_back({round_trip(64, "sleep"), arus_round_trip_sleeping(), futex_floor(false), kFigure});
}

void add_one_way(Suite& suite) {
  constexpr Mode kLossy{.reader = Reader::lossy_group};
  constexpr Mode kObserver{.reader = Reader::observer};
  for (const std::size_t bytes : kSizes) {
    const bool landmark = bytes == 64 || bytes == 1 << 10 || bytes == 64 << 10 || bytes == 1 << 20;
    const Shape shape{bytes};
    suite.push_back({one_way(bytes), arus_one_way(bytes), bare(bytes), landmark ? kFigure : kForOrientation});
    if (bytes >= 64 << 10) {
      suite.push_back({one_way(bytes), arus_one_way(bytes), memcpy_alone(bytes), bytes == 64 << 10 ? kFigure : kForOrientation});
    }
    if (!landmark) continue;
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kLoan>>>("arus, loan", shape), bare(bytes)});
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kSingle>>>("arus, single", shape), bare(bytes)});
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kLossy>>>("arus, lossy", shape), bare(bytes)});
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kObserver>>>("arus, observer", shape), bare(bytes)});
  }
  for (const std::size_t bytes : kBatchedSizes) {
    const Shape shape{.bytes = bytes, .batch = kBatch};
    suite.push_back({one_way_batched(bytes), contestant<OneWay<ArusBus<kSend>>>("arus", shape), bare_batched(bytes),
                     bytes == 64 ? kFigure : kForOrientation});
  }
}

template <std::uint64_t kRingBytes>
void add_ring_size(Suite& suite) {
  suite.push_back({"ring-size/" + size_name(kRingBytes), contestant<OneWay<ArusBus<kSend, kRingBytes>>>("arus", {64}),
                   bare(64, kRingBytes / 64)});
}

void add_producers(Suite& suite) {
  constexpr Mode kAfterwards{.reader = Reader::observer, .look_once = true};
  constexpr Mode kSingleAfterwards{.producers = arus::Producers::single, .reader = Reader::observer, .look_once = true};
  constexpr Mode kDrained{.look_once = true};
  suite.push_back({kNoReader, contestant<NoReader<ArusBus<kAfterwards>>>("arus", {64}), minimal_ring(), kFigure});
  suite.push_back({kNoReader, contestant<NoReader<ArusBus<kSingleAfterwards>>>("arus, single", {64}), minimal_ring()});
  for (const std::size_t batch : {std::size_t{1}, kBatch}) {
    const Shape shape{.bytes = 64, .batch = batch};
    suite.push_back({two_producers(batch), contestant<TwoProducers<ArusBus<kDrained>>>("arus", shape), cas_ring(batch),
                     batch == 1 ? kFigure : kForOrientation});
  }
}

// What one more costs the others: the same with and without.
void add_beside(Suite& suite) {
  constexpr Mode kIdle{.beside = Beside::idle_observer};
  constexpr Mode kReading{.beside = Beside::reading_observer};
  constexpr Mode kFrozen{.beside = Beside::frozen_lossy_group};
  constexpr Mode kAlone{.reader = Reader::observer, .look_once = true};
  constexpr Mode kFrozenAlone{.reader = Reader::observer, .beside = Beside::frozen_lossy_group, .look_once = true};
  const std::string observer = "one-observer-more/64B";
  const std::string frozen = "frozen-lossy-group/64B";
  const Contestant alone = contestant<NoReader<ArusBus<kAlone>>>("arus", {64});
  suite.push_back({observer, contestant<OneWay<ArusBus<kIdle>>>("arus, idle observer", {64}), arus_one_way(64), kFigure});
  suite.push_back({observer, contestant<OneWay<ArusBus<kReading>>>("arus, reading observer", {64}), arus_one_way(64), kFigure});
  suite.push_back({frozen, contestant<OneWay<ArusBus<kFrozen>>>("arus, frozen group", {64}), arus_one_way(64)});
  suite.push_back({frozen + "/no-reader", contestant<NoReader<ArusBus<kFrozenAlone>>>("arus, frozen group", {64}), alone});
}

}  // namespace

Contestant arus_round_trip(std::size_t bytes) { return contestant<RoundTrip<ArusBus<kSend>>>("arus", {bytes}); }
Contestant arus_round_trip_sleeping() { return contestant<RoundTrip<ArusBus<kSleep>>>("arus", {64}); }
Contestant arus_one_way(std::size_t bytes) { return contestant<OneWay<ArusBus<kSend>>>("arus", {bytes}); }

void add_arus(Suite& suite) {
  add_round_trips(suite);
  add_one_way(suite);
  add_producers(suite);
  add_beside(suite);
  add_ring_size<64 << 10>(suite);
  add_ring_size<256 << 10>(suite);
  add_ring_size<1 << 20>(suite);
  add_ring_size<8 << 20>(suite);
  add_ring_size<64 << 20>(suite);
  add_ring_size<256 << 20>(suite);
}

}  // namespace bench
