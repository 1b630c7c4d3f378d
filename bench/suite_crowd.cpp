// More processes than cores: one to many, many to one, many to many. All of them block, the kernel shares the cores out, nobody is pinned
// while it runs, and a segment takes three times as long as others. The control is one to one in the same number of processes, the rest of
// which sleep.
//   1-to-N   N groups, each of one process: each receives everything
//   N-to-1   N producers of one partition
//   N-to-N   N producers without keys, and N members of one group with a partition each
#include "arus_transport.h"
#include "suite.h"

namespace bench {

namespace {

struct CrowdShape {
  std::size_t senders;
  std::size_t receivers;
  bool partitioned;   // each receiver has a partition of its own; else each has everything
  std::size_t roles;  // processes in all
  arus::Wait wait;
};

class Crowd final : public Segment {
 public:
  explicit Crowd(const CrowdShape& shape) : shape_(shape) {
    auto bus = value_of(arus::Bus::open_or_create({.directory = scratch_.path()}), "bus");
    value_of(bus.create(kTopic, {.partitions = partitions(), .partition_bytes = kRingBytes}), "create");
  }

  [[nodiscard]] std::size_t roles() const noexcept override { return shape_.roles; }

  void attach(std::size_t role) override {
    arus::Bus bus = value_of(arus::Bus::open(scratch_.path()), "bus");
    if (sends(role)) producer_.emplace(value_of(value_of(bus.topic(kTopic), "topic").producer({.wait = shape_.wait}), "producer"));
    if (!receives(role)) return;
    const std::size_t mine = role - shape_.senders;
    consumer_.emplace(value_of(bus.consumer({.group = shape_.partitioned ? "bench" : "bench-" + std::to_string(mine),
                                             .start = arus::Start::earliest,
                                             .wait = shape_.wait}),
                               "consumer"));
    value_of(consumer_->assign({{kTopic, shape_.partitioned ? static_cast<std::uint32_t>(mine) : 0}}), "assign");
  }
  void detach(std::size_t) override {
    producer_.reset();
    consumer_.reset();
  }

  void run(std::size_t role, Recorder& recorder) override {
    if (sends(role)) produce(role, recorder);
    if (receives(role)) consume(recorder);
  }

  // What all receivers got, by the time the last of them took.
  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t longest = 0;
    for (const RoleResult* result : results) {
      sent += result->sent;
      received += result->received;
      longest = std::max(longest, result->ticks);
    }
    const std::uint64_t copies = shape_.partitioned ? 1 : shape_.receivers;
    if (received != sent * copies) {
      fail("%llu messages were sent to %llu each and %llu received", static_cast<unsigned long long>(sent),
           static_cast<unsigned long long>(copies), static_cast<unsigned long long>(received));
    }
    return {rate(kBytes, received, longest)};
  }

 private:
  static constexpr const char* kTopic = "crowd";
  static constexpr std::size_t kBytes = 64;
  static constexpr std::uint64_t kRingBytes = 1 << 20;
  static constexpr std::uint64_t kTimesLonger = 3;

  [[nodiscard]] std::uint32_t partitions() const noexcept {
    return shape_.partitioned ? static_cast<std::uint32_t>(shape_.receivers) : 1;
  }
  [[nodiscard]] bool sends(std::size_t role) const noexcept { return role < shape_.senders; }
  [[nodiscard]] bool receives(std::size_t role) const noexcept {
    return role >= shape_.senders && role < shape_.senders + shape_.receivers;
  }

  void produce(std::size_t role, const Recorder& recorder) {
    MessageSource source(kBytes, 1, static_cast<unsigned>(role));
    const std::uint64_t end = ticks() + kTimesLonger * recorder.length();
    do {
      for (int i = 0; i < 64; ++i) value_of(producer_->send(source.take()), "send");
      recorder.result.sent += 64;
    } while (ticks() < end);
    const Bytes last = source.last();
    for (std::uint32_t partition = 0; partition < partitions(); ++partition) {
      value_of(producer_->send(last, {.partition = partition}), "send");
      ++recorder.result.sent;
    }
  }

  void consume(const Recorder& recorder) {
    std::vector<MessageCheck> checks(shape_.senders, MessageCheck(kBytes));
    for (MessageCheck& check : checks) {
      if (shape_.partitioned) check.allow_holes();
    }
    const std::uint64_t started = ticks();
    for (std::size_t left = shape_.senders; left > 0;) {
      const auto batch = consumer_->poll(std::chrono::seconds(1));
      if (!batch) fail("poll: %s", std::string(batch.error().message()).c_str());
      if (!batch->gaps().empty()) fail("a gap in what was sent");
      for (const arus::Record& record : *batch) {
        const std::size_t sender = Ticket::of(record.value()).sender();
        if (sender >= checks.size()) fail("a message of sender %zu, whom there is not", sender);
        if (checks[sender](record.value())) --left;
      }
      recorder.result.received += batch->size();
    }
    recorder.result.ticks = ticks() - started;
  }

  CrowdShape shape_;
  ScratchDirectory scratch_;
  std::optional<arus::Producer> producer_;
  std::optional<arus::Consumer> consumer_;
};

Contestant crowd(std::string name, const CrowdShape& shape) {
  return {std::move(name), [shape]() -> std::unique_ptr<Segment> { return std::make_unique<Crowd>(shape); }};
}

}  // namespace

void add_crowds(Suite& suite) {
  const auto add = [&](std::size_t senders, std::size_t receivers, const char* wait_name, arus::Wait wait) {
    const std::size_t roles = senders + receivers;
    const bool partitioned = senders > 1 && receivers > 1;
    suite.push_back({"crowd/64B/" + std::to_string(senders) + "-to-" + std::to_string(receivers) + "/" + wait_name,
                     crowd("arus", {senders, receivers, partitioned, roles, wait}),
                     crowd("arus, 1 to 1", {1, 1, false, roles, wait})});
  };
  for (const std::size_t many : {2u, 4u, 8u}) {
    for (const auto& [name, wait] : {std::pair("sleep", arus::Wait::sleeping()), std::pair("spin-then-sleep", arus::Wait{})}) {
      if (many == 2 && wait.mode != arus::Wait::Mode::sleep) continue;
      add(1, many, name, wait);
      add(many, 1, name, wait);
      add(many, many, name, wait);
    }
  }
}

}  // namespace bench
