// Latency under a load that is given and does not wait: message n is due at a fixed time, whatever became of those before it, and its
// latency counts from there to its check by the receiver. So a hold-up is in the latency of every message that it delayed, and not only in
// that of one (coordinated omission). A sender that is late sends at once until it has caught up.
//
// Both ends read their own core's time-stamp counter: what the two differ by is in every latency (constant_tsc, clock source tsc).
#include "arus_transport.h"
#include "controls.h"
#include "suite.h"

namespace bench {

namespace {

template <class Channel>
class FixedLoad final : public Segment {
 public:
  FixedLoad(const Shape& shape, double per_second)
      : shape_(completed(shape)),
        interval_(static_cast<double>(TickScale::get().ticks(kNsPerSecond)) / per_second),
        channel_(shape_) {}

  void attach(std::size_t role) override {
    if (role == 0) {
      sender_.emplace(channel_.sender());
    } else {
      receiver_.emplace(channel_.receiver());
    }
  }
  void detach(std::size_t) override {
    sender_.reset();
    receiver_.reset();
  }

  void run(std::size_t role, Recorder& recorder) override {
    const std::uint64_t first = recorder.agree(role, ticks() + TickScale::get().ticks(kHeadStartNs));
    role == 0 ? produce(first, recorder) : consume(first, recorder);
  }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    const Histogram& latencies = results[1]->singles;
    const auto ns = [&](double share) { return TickScale::get().ns(1) * latencies.quantile(share); };
    std::vector<Metric> metrics;
    for (const auto& [name, share] : {std::pair("p50", 0.5), std::pair("p90", 0.9), std::pair("p99", 0.99),
                                      std::pair("p99.9", 0.999), std::pair("p99.99", 0.9999)}) {
      if (static_cast<double>(latencies.total()) * (1 - share) >= kEnoughBeyond) metrics.push_back({name, "ns", ns(share)});
    }
    metrics.push_back({"max", "ns", ns(1)});
    return metrics;
  }
  [[nodiscard]] const Histogram* latencies(const std::vector<const RoleResult*>& results) const override {
    return &results[1]->singles;
  }

 private:
  static constexpr double kHeadStartNs = 50e3;
  static constexpr double kEnoughBeyond = 5;  // messages, for a percentile of one segment to mean something

  [[nodiscard]] std::uint64_t due(std::uint64_t first, std::uint64_t number) const noexcept {
    return first + static_cast<std::uint64_t>(interval_ * static_cast<double>(number - 1));
  }

  void produce(std::uint64_t first, Recorder& recorder) {
    MessageSource source(shape_.bytes);
    const auto count = std::max<std::uint64_t>(2, static_cast<std::uint64_t>(static_cast<double>(recorder.length()) / interval_));
    for (std::uint64_t number = 1; number <= count; ++number) {
      const Bytes message = number < count ? source.take() : source.last();
      const std::uint64_t when = due(first, number);
      std::uint64_t now = ticks();
      for (; now < when; now = ticks()) cpu_pause();
      recorder.checkpoint(now);
      send(*sender_, message);
    }
    recorder.result.sent = count;
  }

  void consume(std::uint64_t first, Recorder& recorder) {
    MessageCheck check(shape_.bytes);
    bool last = false;
    while (!last) {
      const std::size_t got = receiver_->poll([&](Bytes message) {
        const std::uint64_t when = due(first, check.next());
        last = check(message);
        const std::uint64_t now = ticks();
        recorder.result.singles.add(now > when ? now - when : 0);
      });
      if (got != 0) recorder.checkpoint(ticks());
    }
    recorder.result.received = check.next() - 1;
  }

  using Sender = decltype(std::declval<Channel&>().sender());
  using Receiver = decltype(std::declval<Channel&>().receiver());
  Shape shape_;
  double interval_;  // ticks
  Channel channel_;
  std::optional<Sender> sender_;
  std::optional<Receiver> receiver_;
};

template <class Channel>
Contestant loaded(std::string name, double per_second) {
  return {std::move(name),
          [per_second]() -> std::unique_ptr<Segment> { return std::make_unique<FixedLoad<Channel>>(Shape{64}, per_second); }};
}

}  // namespace

void add_load(Suite& suite) {
  constexpr Mode kDefault{};
  constexpr Mode kEager{.coalesce = false};
  for (const auto& [name, per_second] : {std::pair("100k/s", 1e5), std::pair("1M/s", 1e6), std::pair("4M/s", 4e6),
                                         std::pair("8M/s", 8e6), std::pair("16M/s", 16e6)}) {
    const std::string scenario = std::string("load/64B/") + name;
    const Contestant control = loaded<BareRing<64, PauseWait>>("bare", per_second);
    suite.push_back({scenario, loaded<ArusBus<kDefault>>("arus", per_second), control});
    suite.push_back({scenario, loaded<ArusBus<kEager>>("arus, no coalescing", per_second), control});
  }
}

}  // namespace bench
