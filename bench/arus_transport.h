// arus as a transport of the suite, through nothing but its public API. Each segment has a bus of its own.
#pragma once

#include <arus/arus.h>

#include <bit>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "clock.h"
#include "scratch.h"
#include "workloads.h"

namespace bench {

enum class Api { send, loan };
// Who receives: a lossless group, in place; a lossy one; an observer, which copies.
enum class Reader { group, lossy_group, observer };
// Who else is on the topic. An idle observer and a frozen group stand in the parent, which sleeps: they are attached and read nothing.
// The observer that reads shares the receiver's process and core: 64 records every 50 microseconds.
enum class Beside { nobody, idle_observer, reading_observer, frozen_lossy_group };

struct Mode {
  Api api = Api::send;
  arus::Producers producers = arus::Producers::many;
  arus::Wait::Mode wait = arus::Wait::Mode::spin;
  bool coalesce = true;
  Reader reader = Reader::group;
  Beside beside = Beside::nobody;
  bool look_once = false;  // poll() without waiting

  [[nodiscard]] constexpr arus::Wait waiting() const { return {.mode = wait, .coalesce = coalesce}; }
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

inline arus::Consumer subscribed(arus::Bus bus, const std::string& topic, const arus::ConsumerConfig& config) {
  arus::Consumer consumer = value_of(bus.consumer(config), "consumer");
  value_of(consumer.subscribe({topic}), "subscribe");
  return consumer;
}

template <Mode kMode>
class ArusSender {
 public:
  explicit ArusSender(arus::Bus bus, const std::string& topic)
      : producer_(value_of(value_of(bus.topic(topic), "topic").producer({.wait = kMode.waiting()}), "producer")) {}

  bool try_send(Bytes message) {
    if constexpr (kMode.api == Api::send) return went(producer_.try_send(message));
    auto loan = producer_.try_loan(message.size());
    if (!went(loan)) return false;
    std::memcpy(loan->data().data(), message.data(), message.size());
    return went(loan->commit());
  }

  bool try_send_batch(std::span<const Bytes> messages) {
    const auto sent = producer_.try_send_values(messages.subspan(done_));
    if (!went(sent)) return false;
    done_ += *sent;
    if (done_ < messages.size()) return false;
    done_ = 0;
    return true;
  }

 private:
  arus::Producer producer_;
  std::size_t done_ = 0;  // of the batch, by earlier calls
};

// Reads a few records now and then, wherever it stands; what it loses is its own affair.
class Onlooker {
 public:
  Onlooker(const arus::Bus& bus, const std::string& topic)
      : consumer_(subscribed(bus, topic, {.wait = arus::Wait::spinning(), .max_records = 64})) {}

  void look(std::uint64_t now) {
    if (now < next_) return;
    next_ = now + every_;
    const auto batch = consumer_.poll(std::chrono::nanoseconds(0));
    if (!batch) fail("the observer's poll: %s", std::string(batch.error().message()).c_str());
  }

 private:
  arus::Consumer consumer_;
  std::uint64_t every_ = TickScale::get().ticks(50e3);
  std::uint64_t next_ = 0;
};

template <Mode kMode>
class ArusReceiver {
 public:
  ArusReceiver(const arus::Bus& bus, const std::string& topic)
      : consumer_(
            subscribed(bus, topic,
                       {.group = kMode.reader == Reader::observer ? "" : "bench",
                        .start = arus::Start::earliest,
                        .wait = kMode.waiting(),
                        .delivery = kMode.reader == Reader::lossy_group ? arus::Delivery::lossy : arus::Delivery::lossless})) {
    if constexpr (kMode.beside == Beside::reading_observer) onlooker_.emplace(bus, topic);
  }

  template <class Each>
  std::size_t poll(Each&& each) {
    return take(std::forward<Each>(each),
                [](std::uint64_t from, std::uint64_t to) { fail("messages %lu to %lu are lost", from, to - 1); });
  }

  // Also says which messages were lost, [from, to) by their number, which is the offset and one when there is one sender.
  template <class Each, class Missing>
  requires(kMode.reader != Reader::group) std::size_t poll_lossy(Each&& each, Missing&& missing) {
    return take(std::forward<Each>(each), std::forward<Missing>(missing));
  }

 private:
  template <class Each, class Missing>
  std::size_t take(Each&& each, Missing&& missing) {
    const auto batch = consumer_.poll(kMode.look_once ? std::chrono::nanoseconds(0) : kPatience);
    if (!batch) [[unlikely]]
      fail("poll: %s", std::string(batch.error().message()).c_str());
    if (batch->gaps().empty()) [[likely]] {
      for (const arus::Record& record : *batch) each(record.value());
    } else {
      auto gap = batch->gaps().begin();
      const auto report_below = [&](std::uint64_t offset) {
        for (; gap != batch->gaps().end() && gap->from < offset; ++gap) {
          if (gap->kind != arus::Gap::Kind::lost) fail("offsets %lu to %lu were never committed", gap->from, gap->to - 1);
          missing(gap->from + 1, gap->to + 1);
        }
      };
      for (const arus::Record& record : *batch) {
        report_below(record.offset());
        each(record.value());
      }
      report_below(UINT64_MAX);
    }
    if constexpr (kMode.beside == Beside::reading_observer) onlooker_->look(ticks());
    return batch->size();
  }

  static constexpr std::chrono::nanoseconds kPatience = std::chrono::seconds(1);
  arus::Consumer consumer_;
  std::optional<Onlooker> onlooker_;
};

// A bus with two topics, of which a channel uses the first. The ring has as many bytes as the bare ring's slots, but not less
// than a partition has by default; or as many as it is told.
template <Mode kMode, std::uint64_t kRingBytes = 0>
class ArusBus {
 public:
  explicit ArusBus(const Shape& shape) {
    const std::uint64_t least = std::max<std::uint64_t>(arus::TopicConfig{}.partition_bytes, shape.slots * shape.bytes);
    const std::uint64_t bytes = kRingBytes != 0 ? kRingBytes : std::bit_ceil(least);
    auto bus = value_of(arus::Bus::open_or_create({.directory = scratch_.path()}), "bus");
    for (const char* const topic : {kRequest, kReply}) {
      const std::uint64_t size = kRingBytes != 0 && topic == kReply ? arus::TopicConfig{}.partition_bytes : bytes;
      value_of(bus.create(topic, {.partition_bytes = size, .producers = kMode.producers}), "create");
    }
    if constexpr (kMode.beside == Beside::idle_observer) beside_.emplace(subscribed(bus, kRequest, {}));
    if constexpr (kMode.beside == Beside::frozen_lossy_group) {
      beside_.emplace(
          subscribed(bus, kRequest, {.group = "frozen", .start = arus::Start::earliest, .delivery = arus::Delivery::lossy}));
    }
    if (beside_) static_cast<void>(value_of(beside_->poll(std::chrono::nanoseconds(0)), "the first poll of one beside"));
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
  std::optional<arus::Consumer> beside_;
};

}  // namespace bench
