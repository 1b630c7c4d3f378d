// What is measured: the loops, over any transport. A transport is a class that is made from a Shape in the parent, before the
// processes are forked, and opened in each of them:
//
//   Channel    sender() -> has bool try_send(Bytes), for batches also bool try_send_batch(span<const Bytes>); after
//              false it is called again with the same batch
//              receiver() -> has size_t poll(each): calls each(Bytes) for every message that is there, returns how many
//   Duplex     end(role) -> has both, towards the other role
//
// How a transport waits is its own business: poll() may pause or sleep before it returns 0, try_send() before it returns
// false. The loops here only try again. Senders and receivers pre-fault what they use when they are made.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "clock.h"
#include "harness.h"
#include "message.h"

namespace bench {

struct Shape {
  std::size_t bytes;      // of each message
  std::size_t slots = 0;  // messages that fit at once (0: as many as default_slots() says)
  std::size_t batch = 1;
};

// 64 Ki of them while that stays within 16 MiB; never fewer than 8.
inline std::size_t default_slots(std::size_t bytes) noexcept {
  constexpr std::size_t kMost = 64u << 10;
  constexpr std::size_t kMemory = 16u << 20;
  return std::clamp<std::size_t>(kMemory / bytes, 8, kMost);
}

inline Shape completed(Shape shape) noexcept {
  if (shape.slots == 0) shape.slots = default_slots(shape.bytes);
  return shape;
}

template <class Sender>
void send(Sender& sender, Bytes message) {
  while (!sender.try_send(message)) cpu_pause();
}

template <class Sender>
bool try_send_one_or_all(Sender& sender, std::span<const Bytes> batch) {
  if constexpr (requires { sender.try_send_batch(batch); }) {
    if (batch.size() > 1) return sender.try_send_batch(batch);
  }
  return sender.try_send(batch.front());
}

inline constexpr double kNsPerSecond = 1e9;

// From this size on it is the bytes that take the time.
inline constexpr std::size_t kLargeMessage = 16384;

// The rate of what was received: messages per second, or bytes per second of large ones.
inline Metric rate(std::size_t message_bytes, std::uint64_t messages, std::uint64_t elapsed_ticks) {
  const double seconds = TickScale::get().ns(elapsed_ticks) / kNsPerSecond;
  const double per_second = static_cast<double>(messages) / seconds;
  if (message_bytes < kLargeMessage) return {"rate", "M/s", per_second / 1e6};
  return {"rate", "GB/s", per_second * static_cast<double>(message_bytes) / 1e9};
}

// ---- there and back ----

// One channel each way.
template <class Channel>
class TwoChannels {
 public:
  explicit TwoChannels(const Shape& shape) : request_(shape), reply_(shape) {}

  template <class Sender, class Receiver>
  struct EndOf {
    Sender out;
    Receiver in;
    bool try_send(Bytes message) { return out.try_send(message); }
    template <class Each>
    std::size_t poll(Each&& each) {
      return in.poll(std::forward<Each>(each));
    }
  };
  auto end(std::size_t role) {
    using End = EndOf<decltype(request_.sender()), decltype(request_.receiver())>;
    return role == 0 ? End{request_.sender(), reply_.receiver()} : End{reply_.sender(), request_.receiver()};
  }

 private:
  Channel request_;
  Channel reply_;
};

// Role 0 sends a message and waits for the answer, role 1 answers each with one of its own of the same size. Half of the time
// is measured in blocks of round trips (exact where a single one is near the clock's granularity: gives p50), half one by one
// (gives the percentiles).
template <class Duplex>
class RoundTrip : public Segment {
 public:
  explicit RoundTrip(const Shape& shape) : shape_(completed(shape)), duplex_(shape_) {}

  void attach(std::size_t role) override { ends_[role].emplace(duplex_.end(role)); }
  void detach(std::size_t role) override { ends_[role].reset(); }
  void run(std::size_t role, Recorder& recorder) override { role == 0 ? ask(recorder) : answer(recorder); }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    const RoleResult& asker = *results.front();
    const auto ns = [](double ticks) { return TickScale::get().ns(1) * ticks; };
    std::vector<Metric> metrics{{"p50", "ns", ns(asker.blocks.quantile(0.5)) / static_cast<double>(asker.block)}};
    if (asker.singles.total() >= kEnoughForP99) metrics.push_back({"p99", "ns", ns(asker.singles.quantile(0.99))});
    if (asker.singles.total() >= kEnoughForP999) metrics.push_back({"p99.9", "ns", ns(asker.singles.quantile(0.999))});
    return metrics;
  }
  [[nodiscard]] const Histogram* latencies(const std::vector<const RoleResult*>& results) const override {
    return &results.front()->singles;
  }

 private:
  static constexpr std::uint64_t kEnoughForP99 = 500;
  static constexpr std::uint64_t kEnoughForP999 = 5000;
  static constexpr std::uint64_t kBlock = 16;
  static constexpr double kSlowNs = 5000;  // from here on a single round trip is long enough for the clock

  void ask(Recorder& recorder) {
    MessageSource source(shape_.bytes, 1, 0);
    MessageCheck check(shape_.bytes);
    Bytes message = source.take();
    const auto round_trip = [&] {
      send(*ends_[0], message);
      message = source.take();  // while the other one works
      while (ends_[0]->poll(check) == 0) {
      }
    };
    const std::uint64_t warming = ticks();
    for (std::uint64_t i = 0; i < kBlock; ++i) round_trip();
    const std::uint64_t started = ticks();
    const bool slow = TickScale::get().ns(started - warming) / kBlock > kSlowNs;

    RoleResult& result = recorder.result;
    result.block = slow ? 1 : kBlock;
    const std::uint64_t middle = started + recorder.length() / 2;
    const std::uint64_t end = started + recorder.length();
    measure(recorder, result.blocks, result.block, middle, round_trip);
    recorder.restart_checkpoints();
    measure(recorder, result.singles, 1, end, round_trip);
    round_trip_of(message, check);
    round_trip_of(source.last(), check);
    result.received = check.next() - 1;
  }

  void round_trip_of(Bytes message, MessageCheck& check) {
    send(*ends_[0], message);
    while (ends_[0]->poll(check) == 0) {
    }
  }

  template <class Work>
  static void measure(Recorder& recorder, Histogram& histogram, std::uint64_t block, std::uint64_t end, Work& round_trip) {
    std::uint64_t from = ticks();
    do {
      recorder.checkpoint(from);
      for (std::uint64_t i = 0; i < block; ++i) round_trip();
      histogram.add(ticks() - from);
      from = ticks();
    } while (from < end);
  }

  void answer(Recorder& recorder) {
    MessageSource source(shape_.bytes, 1, 1);
    MessageCheck check(shape_.bytes);
    Bytes message = source.take();
    bool last = false;
    while (!last) {
      const std::size_t got = ends_[1]->poll([&](Bytes request) {
        last = check(request);
        send(*ends_[1], message);
      });
      if (got != 0) message = source.take();
    }
    recorder.result.received = check.next() - 1;
  }

  using End = decltype(std::declval<Duplex&>().end(0));
  Shape shape_;
  Duplex duplex_;
  std::array<std::optional<End>, 2> ends_;  // of this process: one, or both
};

// ---- one way ----

// Role 0 sends for the whole time, as fast as it can; role 1 receives all of it. The clock stops when the last message has
// been checked. A receiver that may lose messages has poll_lossy(each, missing) and says which.
template <class Channel>
class OneWay : public Segment {
 public:
  explicit OneWay(const Shape& shape) : shape_(completed(shape)), channel_(shape_) {}

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
  void run(std::size_t role, Recorder& recorder) override { role == 0 ? produce(recorder) : consume(recorder); }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    const std::uint64_t sent = results[0]->sent;
    const std::uint64_t received = results[1]->received;
    std::vector<Metric> metrics{rate(shape_.bytes, received, results[1]->ticks)};
    if constexpr (kLossy) {
      Metric offered = rate(shape_.bytes, sent, results[0]->ticks);
      metrics.push_back({"sent", offered.unit, offered.value});
      metrics.push_back({"lost", "%", 100 * static_cast<double>(sent - received) / static_cast<double>(sent)});
    } else if (sent != received) {
      fail("%llu messages were sent and %llu received", static_cast<unsigned long long>(sent),
           static_cast<unsigned long long>(received));
    }
    return metrics;
  }

 private:
  // So many messages between two looks at the clock: about 32 KiB, at least one and at most 64 batches.
  [[nodiscard]] std::size_t stride() const noexcept {
    return std::clamp<std::size_t>((32u << 10) / shape_.bytes / shape_.batch, 1, 64);
  }

  void produce(Recorder& recorder) {
    MessageSource source(shape_.bytes, shape_.batch);
    const std::uint64_t started = ticks();
    const std::uint64_t end = started + recorder.length();
    const std::size_t stride = this->stride();
    std::uint64_t now = started;
    std::uint64_t sent = 1;  // the last one
    do {
      recorder.checkpoint(now);
      for (std::size_t i = 0; i < stride; ++i) {
        const std::span<const Bytes> batch = source.take_batch();
        while (!try_send_one_or_all(*sender_, batch)) cpu_pause();
      }
      sent += stride * shape_.batch;
      now = ticks();
    } while (now < end);
    send(*sender_, source.last());
    recorder.result.sent = sent;
    recorder.result.ticks = now - started;
  }

  void consume(Recorder& recorder) {
    MessageCheck check(shape_.bytes);
    const std::uint64_t stride = std::max<std::uint64_t>(1024, 4 * this->stride() * shape_.batch);
    std::uint64_t next_checkpoint = stride;
    bool last = false;
    std::uint64_t lost = 0;
    const std::uint64_t started = ticks();
    while (!last) {
      if constexpr (kLossy) {
        receiver_->poll_lossy([&](Bytes message) { last = check(message); },
                              [&](std::uint64_t from, std::uint64_t to) {
                                check.lost(from, to);
                                lost += to - from;
                              });
      } else {
        receiver_->poll([&](Bytes message) { last = check(message); });
      }
      if (check.next() < next_checkpoint) continue;
      recorder.checkpoint(ticks());
      next_checkpoint = check.next() + stride;
    }
    recorder.result.ticks = ticks() - started;
    recorder.result.received = check.next() - 1 - lost;
  }

  using Sender = decltype(std::declval<Channel&>().sender());
  using Receiver = decltype(std::declval<Channel&>().receiver());
  static constexpr bool kLossy = requires(Receiver & receiver) {
    receiver.poll_lossy([](Bytes) {}, [](std::uint64_t, std::uint64_t) {});
  };
  Shape shape_;
  Channel channel_;
  std::optional<Sender> sender_;
  std::optional<Receiver> receiver_;
};

// ---- nobody reads ----

// Role 0 sends into a ring that may be overwritten; role 1 sleeps. Afterwards what is left in the ring is read and checked.
// The channel's receiver() starts at the oldest message that is still there, and its poll() returns 0 when there is no more.
template <class Channel>
class NoReader final : public Segment {
 public:
  explicit NoReader(const Shape& shape) : shape_(completed(shape)), channel_(shape_) {}

  void attach(std::size_t role) override {
    if (role == 0) sender_.emplace(channel_.sender());
  }
  void detach(std::size_t) override { sender_.reset(); }

  void run(std::size_t role, Recorder& recorder) override {
    if (role != 0) return recorder.sleep_until_finished();
    MessageSource source(shape_.bytes);
    std::uint64_t sent = 0;
    const std::uint64_t stride = std::clamp<std::uint64_t>((1u << 20) / shape_.bytes, 1, 1024);
    const std::uint64_t started = ticks();
    std::uint64_t now = started;
    do {
      recorder.checkpoint(now);
      for (std::uint64_t i = 0; i < stride; ++i) send(*sender_, source.take());
      sent += stride;
      now = ticks();
    } while (now < started + recorder.length());
    recorder.result.ticks = now - started;
    recorder.result.sent = sent;

    MessageCheck check(shape_.bytes);
    check.start_anywhere();
    std::uint64_t left = 0;
    auto receiver = channel_.receiver();
    while (const std::size_t got = receiver.poll(check)) left += got;
    if (left < std::min<std::uint64_t>(sent, shape_.slots / 4) || check.next() != sent + 1) {
      fail("of %llu messages the last %llu are left, up to number %llu", static_cast<unsigned long long>(sent),
           static_cast<unsigned long long>(left), static_cast<unsigned long long>(check.next() - 1));
    }
    recorder.result.received = left;
    recorder.finish();
  }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    const RoleResult& sender = *results.front();
    if (shape_.bytes >= kLargeMessage) return {rate(shape_.bytes, sender.sent, sender.ticks)};
    return {{"per message", "ns", TickScale::get().ns(sender.ticks) / static_cast<double>(sender.sent)}};
  }

 private:
  using Sender = decltype(std::declval<Channel&>().sender());
  Shape shape_;
  Channel channel_;
  std::optional<Sender> sender_;
};

// ---- two producers ----

// Both roles send at the same time until the ring is full; then role 0 reads and checks everything, and they begin again.
// Only the sending is timed. So it needs two cores only, and measures how two producers get on with each other.
template <class Channel>
class TwoProducers final : public Segment {
 public:
  explicit TwoProducers(const Shape& shape) : shape_(completed(shape)), channel_(shape_) {}

  void attach(std::size_t role) override {
    sender_.emplace(channel_.sender());
    if (role == 0) receiver_.emplace(channel_.receiver());
  }
  void detach(std::size_t) override {
    sender_.reset();
    receiver_.reset();
  }

  void run(std::size_t role, Recorder& recorder) override {
    MessageSource source(shape_.bytes, shape_.batch, static_cast<unsigned>(role));
    std::vector<MessageCheck> checks(2, MessageCheck(shape_.bytes));
    std::span<const Bytes> pending = source.take_batch();
    std::uint64_t sent = 0;
    do {
      recorder.meet();
      const std::uint64_t from = ticks();
      while (try_send_one_or_all(*sender_, pending)) {
        pending = source.take_batch();
        sent += shape_.batch;
      }
      recorder.result.ticks += ticks() - from;
      recorder.meet();
      if (role == 0) drain(checks);
    } while (recorder.agree(role, recorder.result.ticks < recorder.length() / 2));
    recorder.result.sent = sent;
    recorder.result.received = checks[0].next() + checks[1].next() - 2;
  }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    const std::uint64_t sent = results[0]->sent + results[1]->sent;
    const std::uint64_t received = results[0]->received;
    if (received < sent || received - sent >= std::uint64_t{2} * shape_.batch) {  // of the last batches a part may have found room
      fail("%llu messages were sent and %llu received", static_cast<unsigned long long>(sent),
           static_cast<unsigned long long>(received));
    }
    return {rate(shape_.bytes, sent, std::max(results[0]->ticks, results[1]->ticks))};
  }

 private:
  void drain(std::vector<MessageCheck>& checks) {
    const auto check = [&](Bytes message) {
      const std::size_t sender = Ticket::of(message).sender();
      if (sender >= checks.size()) fail("a message of sender %zu, whom there is not", sender);
      checks[sender](message);
    };
    while (receiver_->poll(check) != 0) {
    }
  }

  using Sender = decltype(std::declval<Channel&>().sender());
  using Receiver = decltype(std::declval<Channel&>().receiver());
  Shape shape_;
  Channel channel_;
  std::optional<Sender> sender_;
  std::optional<Receiver> receiver_;
};

}  // namespace bench
