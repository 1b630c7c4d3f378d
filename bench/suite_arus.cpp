// arus behind the suite's interface, through nothing but its public API. Each segment has a bus of its own.
#include <arus/arus.h>

#include <bit>
#include <chrono>
#include <cstring>
#include <vector>

#include "scratch.h"
#include "suite.h"

namespace bench {

namespace {

enum class Api { send, loan };

struct Mode {
  Api api = Api::send;
  arus::Producers producers = arus::Producers::many;
  arus::Wait::Mode wait = arus::Wait::Mode::spin;
  bool lossless = true;    // a group reads; else an observer
  bool look_once = false;  // poll() without waiting
};

template <class Result>
typename Result::value_type value_of(Result result, const char* call) {
  if (!result) fail("%s: %s", call, std::string(result.error().message()).c_str());
  return std::move(*result);
}

// Whether it went; anything but a lack of room ends the run.
template <class Result>
bool went(const Result& result) {
  if (result) [[likely]]
    return true;
  if (result.error().code() != arus::Errc::full) fail("send: %s", std::string(result.error().message()).c_str());
  return false;
}

template <Mode kMode>
class ArusSender {
 public:
  explicit ArusSender(arus::Bus bus, const std::string& topic)
      : producer_(value_of(value_of(bus.topic(topic), "topic").producer({.wait = {.mode = kMode.wait}}), "producer")) {}

  bool try_send(Bytes message) {
    if constexpr (kMode.api == Api::send) return went(producer_.try_send(message));
    auto loan = producer_.try_loan(message.size());
    if (!went(loan)) return false;
    std::memcpy(loan->data().data(), message.data(), message.size());
    return went(loan->commit());
  }

  bool try_send_batch(std::span<const Bytes> messages) {
    batch_.resize(messages.size());
    for (std::size_t i = 0; i < messages.size(); ++i) batch_[i].value = messages[i];
    const auto sent = producer_.try_send_many(std::span(batch_).subspan(done_));
    if (!went(sent)) return false;
    done_ += *sent;
    if (done_ < messages.size()) return false;
    done_ = 0;
    return true;
  }

 private:
  arus::Producer producer_;
  std::vector<arus::Message> batch_;
  std::size_t done_ = 0;  // of the batch, by earlier calls
};

template <Mode kMode>
class ArusReceiver {
 public:
  ArusReceiver(arus::Bus bus, const std::string& topic)
      : consumer_(value_of(
            bus.consumer({.group = kMode.lossless ? "bench" : "", .start = arus::Start::earliest, .wait = {.mode = kMode.wait}}),
            "consumer")) {
    value_of(consumer_.subscribe({topic}), "subscribe");
  }

  template <class Each>
  std::size_t poll(Each&& each) {
    const auto batch = consumer_.poll(kMode.look_once ? std::chrono::nanoseconds(0) : kPatience);
    if (!batch) [[unlikely]]
      fail("poll: %s", std::string(batch.error().message()).c_str());
    if (!batch->gaps().empty()) [[unlikely]]
      fail("a gap in what was sent");
    for (const arus::Record& record : *batch) each(record.value());
    return batch->size();
  }

 private:
  static constexpr std::chrono::nanoseconds kPatience = std::chrono::seconds(1);
  arus::Consumer consumer_;
};

// A bus with two topics, of which a channel uses the first. The ring has as many bytes as the bare ring's slots, but not less
// than a partition has by default.
template <Mode kMode>
class ArusBus {
 public:
  explicit ArusBus(const Shape& shape) {
    const std::uint64_t bytes = std::max<std::uint64_t>(arus::TopicConfig{}.partition_bytes, shape.slots * shape.bytes);
    auto bus = value_of(arus::Bus::open_or_create({.directory = scratch_.path()}), "bus");
    for (const char* const topic : {kRequest, kReply}) {
      value_of(bus.create(topic, {.partition_bytes = std::bit_ceil(bytes), .producers = kMode.producers}), "create");
    }
  }

  // A channel.
  ArusSender<kMode> sender() { return ArusSender<kMode>(open(), kRequest); }
  ArusReceiver<kMode> receiver() { return ArusReceiver<kMode>(open(), kRequest); }

  // A duplex.
  struct End {
    ArusSender<kMode> out;
    ArusReceiver<kMode> in;
    bool try_send(Bytes message) { return out.try_send(message); }
    template <class Each>
    std::size_t poll(Each&& each) {
      return in.poll(std::forward<Each>(each));
    }
  };
  End end(std::size_t role) {
    const arus::Bus bus = open();
    return {ArusSender<kMode>(bus, role == 0 ? kRequest : kReply), ArusReceiver<kMode>(bus, role == 0 ? kReply : kRequest)};
  }

 private:
  static constexpr const char* kRequest = "request";
  static constexpr const char* kReply = "reply";

  arus::Bus open() { return value_of(arus::Bus::open(scratch_.path()), "bus"); }
  ScratchDirectory scratch_;
};

constexpr Mode kSend{};
constexpr Mode kLoan{.api = Api::loan};
constexpr Mode kSingle{.producers = arus::Producers::single};

void add_round_trips(Suite& suite) {
  for (const std::size_t bytes : {32u, 64u}) {
    suite.push_back({round_trip(bytes, "spin"), contestant<RoundTrip<ArusBus<kSend>>>("arus", {bytes}), two_line_floor(bytes)});
    suite.push_back(
        {round_trip(bytes, "spin"), contestant<RoundTrip<ArusBus<kLoan>>>("arus, loan", {bytes}), two_line_floor(bytes)});
  }
  constexpr Mode kSleep{.wait = arus::Wait::Mode::sleep};
  constexpr Mode kSpinThenSleep{.wait = arus::Wait::Mode::spin_then_sleep};
  suite.push_back(
      {round_trip(64, "spin-then-sleep"), contestant<RoundTrip<ArusBus<kSpinThenSleep>>>("arus", {64}), futex_floor(true)});
  suite.push_back({round_trip(64, "sleep"), contestant<RoundTrip<ArusBus<kSleep>>>("arus", {64}), futex_floor(false)});
}

void add_one_way(Suite& suite) {
  for (const std::size_t bytes : kSizes) {
    const Shape shape{bytes};
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kSend>>>("arus", shape), bare(bytes)});
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kLoan>>>("arus, loan", shape), bare(bytes)});
    suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kSingle>>>("arus, single", shape), bare(bytes)});
    if (bytes >= 64 << 10) {
      suite.push_back({one_way(bytes), contestant<OneWay<ArusBus<kSend>>>("arus", shape), memcpy_alone(bytes)});
    }
  }
  for (const std::size_t bytes : kBatchedSizes) {
    const Shape shape{.bytes = bytes, .batch = kBatch};
    suite.push_back({one_way_batched(bytes), contestant<OneWay<ArusBus<kSend>>>("arus", shape), bare_batched(bytes)});
  }
}

void add_producers(Suite& suite) {
  constexpr Mode kAfterwards{.lossless = false, .look_once = true};
  constexpr Mode kSingleAfterwards{.producers = arus::Producers::single, .lossless = false, .look_once = true};
  constexpr Mode kDrained{.look_once = true};
  suite.push_back({kNoReader, contestant<NoReader<ArusBus<kAfterwards>>>("arus", {64}), minimal_ring()});
  suite.push_back({kNoReader, contestant<NoReader<ArusBus<kSingleAfterwards>>>("arus, single", {64}), minimal_ring()});
  for (const std::size_t batch : {std::size_t{1}, kBatch}) {
    const Shape shape{.bytes = 64, .batch = batch};
    suite.push_back({two_producers(batch), contestant<TwoProducers<ArusBus<kDrained>>>("arus", shape), cas_ring(batch)});
  }
}

}  // namespace

Contestant arus_round_trip(std::size_t bytes) { return contestant<RoundTrip<ArusBus<kSend>>>("arus", {bytes}); }

void add_arus(Suite& suite) {
  add_round_trips(suite);
  add_one_way(suite);
  add_producers(suite);
}

}  // namespace bench
