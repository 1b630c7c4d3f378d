// arus bench latency | throughput | load | fanout: records over topics of their own.
//
// Every message begins with its number and is checked where it arrives.
#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "bench_peer.h"
#include "cmd_bench.h"
#include "stop.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint64_t kEnd = ~0ull;  // the number of the message that says: no more

Consumer attach(Bus& bus, const std::string& topic, const std::string& group, Wait wait) {
  Consumer consumer = must(bus.consumer({.group = group, .start = Start::earliest, .wait = wait}));
  must(consumer.subscribe({topic}));
  return consumer;
}

std::uint64_t number_of(const Record& record) {
  std::uint64_t number = 0;
  std::memcpy(&number, record.value().data(), std::min(sizeof number, record.value().size()));
  return number;
}

// What a consumer has seen. Told from process to process.
struct Received {
  std::uint64_t records;
  std::uint64_t wrong;  // not the number that was expected
  std::uint64_t missing;
  std::int64_t nanoseconds;  // from the first to the end
};

// Until the end; `see` gets each record with its number.
template <class See>
Received receive_all(Consumer& consumer, See see) {
  Received received{};
  std::uint64_t expected = 0;
  Clock::time_point first;
  for (;;) {
    const Batch batch = must(consumer.poll(1s));
    for (const Gap& gap : batch.gaps()) received.missing += gap.to - gap.from;
    for (const Record& record : batch) {
      const std::uint64_t number = number_of(record);
      if (number == kEnd) {
        received.nanoseconds = (Clock::now() - first).count();
        return received;
      }
      if (received.records++ == 0) first = Clock::now();
      if (number != expected) ++received.wrong;
      expected = number + 1;
      see(record, number);
    }
  }
}

bool is_whole(const Received& received, std::uint64_t sent) {
  return received.records == sent && received.wrong == 0 && received.missing == 0;
}

double per_second(const Received& received) {
  return received.nanoseconds > 0 ? static_cast<double>(received.records) * 1e9 / static_cast<double>(received.nanoseconds) : 0;
}

std::string rate_text(double rate, std::size_t size) {
  return fmt::format("{} messages/s, {}/s", human_count(rate),
                     human_bytes(static_cast<std::uint64_t>(rate * static_cast<double>(size))));
}

// Numbered messages in batches, for so long; returns how many.
std::uint64_t send_numbered(Producer& producer, std::size_t size, std::size_t batch, std::chrono::nanoseconds duration) {
  std::vector<std::byte> values(batch * size);
  std::vector<Message> messages(batch);
  for (std::size_t i = 0; i < batch; ++i) messages[i].value = Bytes(values).subspan(i * size, size);
  std::uint64_t next = 0;
  const auto until = Clock::now() + duration;
  while (Clock::now() < until && !Stop::requested()) {
    for (std::size_t i = 0; i < batch; ++i) {
      const std::uint64_t number = next + i;
      std::memcpy(values.data() + i * size, &number, sizeof number);
    }
    for (std::size_t sent = 0; sent < batch;) sent += must(producer.send_many(std::span(messages).subspan(sent)));
    next += batch;
  }
  return next;
}

// A ring in which a batch of messages has room several times.
std::uint64_t ring_for(const BenchOptions& options, std::size_t size) {
  if (options.partition_bytes != 0) return options.partition_bytes;
  return std::max<std::uint64_t>(8u << 20, std::bit_ceil(4 * std::uint64_t{size}));
}
std::size_t batch_for(std::uint64_t ring, std::size_t size, std::size_t wished) {
  return std::clamp<std::size_t>(static_cast<std::size_t>(ring / 8) / size, 1, wished);
}

// ---- throughput -------------------------------------------------------------------------------------------------------------

Measurement throughput(const Command& command, const BenchOptions& options, std::size_t size) {
  const auto cpus = choose_cpus();
  const std::string name = scratch_name("throughput");
  Scratch scratch;
  Peer peer([&](Peer& self) {
    const Pinned pinned(cpus, 1);
    Bus bus = open_bus(command);
    Consumer consumer = attach(bus, name, name, options.wait);
    self.tell('r');
    self.tell(receive_all(consumer, [](const Record&, std::uint64_t) {}));
  });

  const std::uint64_t ring = ring_for(options, size);
  const std::size_t batch = batch_for(ring, size, options.batch);
  Bus bus = open_or_create_bus(command);
  Producer producer = must(scratch.make_topic(bus, name, {.partition_bytes = ring}, {name}).producer({.wait = options.wait}));
  peer.go();
  peer.hear<char>();
  const Pinned pinned(cpus, 0);
  const std::uint64_t sent = send_numbered(producer, size, batch, options.duration);
  must(producer.send(bytes_of(kEnd)));
  const auto received = peer.hear<Received>();
  peer.wait();

  const double rate = per_second(received);
  const double bytes = rate * static_cast<double>(size);
  return {.json = {{"bench", "throughput"},
                   {"messages", received.records},
                   {"seconds", static_cast<double>(received.nanoseconds) / 1e9},
                   {"messages_per_second", rate},
                   {"bytes_per_second", bytes},
                   {"message_bytes", size},
                   {"batch", batch},
                   {"lost", sent - received.records},
                   {"out_of_order", received.wrong},
                   {"cpus", cpus}},
          .text = fmt::format("throughput  {}: {} B each, in batches of {}\n"
                              "            {} messages on {}, {} lost, {} out of order\n",
                              rate_text(rate, size), size, batch, human_count(static_cast<double>(received.records)),
                              cpu_text(cpus), sent - received.records, received.wrong),
          .sizes = {{size, rate, bytes}},
          .whole = is_whole(received, sent)};
}

// ---- latency ----------------------------------------------------------------------------------------------------------------

void answer(Consumer& consumer, Producer& producer) {
  for (;;) {
    const Batch batch = must(consumer.poll(1s));
    for (const Record& record : batch) {
      if (number_of(record) == kEnd) return;
      must(producer.send(record.value()));
    }
  }
}

void measure_round_trips(Consumer& consumer, Producer& producer, const BenchOptions& options, bench::Histogram& latencies) {
  constexpr std::uint64_t kWarmUp = 1000;
  std::vector<std::byte> value(options.size);
  const auto until = Clock::now() + options.duration;
  for (std::uint64_t number = 0; !Stop::requested(); ++number) {
    std::memcpy(value.data(), &number, sizeof number);
    const auto sent = Clock::now();
    must(producer.send(value));
    for (bool answered = false; !answered;) {
      const Batch batch = must(consumer.poll(1s));
      if (batch.empty() && Stop::requested()) return;
      if (batch.empty() && Clock::now() - sent > 5s)
        throw Failure(ExitCode::timed_out, "timed_out", "no answer from the second process for 5 s");
      if (!batch.empty() && number_of(batch[0]) != number)
        throw Failure(ExitCode::failed, "internal", "an answer to another question");
      answered = !batch.empty();
    }
    const auto now = Clock::now();
    if (number >= kWarmUp) latencies.add(static_cast<std::uint64_t>((now - sent).count()));
    if (now >= until && latencies.total() > 0) return;
  }
}

// ---- load -------------------------------------------------------------------------------------------------------------------

// What a message of load begins with.
struct Stamped {
  std::uint64_t number;
  std::int64_t intended;  // ns of the clock that all processes share
};

std::int64_t now_ns() { return Clock::now().time_since_epoch().count(); }

// On a fixed schedule that waits for nobody: what is late is sent at once, and its time counts from when it should have been. Returns how
// many were more than 10 us late.
std::uint64_t send_on_schedule(Producer& producer, std::size_t size, double rate, std::uint64_t count) {
  constexpr std::int64_t kLate = 10'000;  // ns
  std::vector<std::byte> value(size);
  const std::int64_t start = now_ns() + 1'000'000;
  std::uint64_t late = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::int64_t intended = start + static_cast<std::int64_t>(static_cast<double>(i) * 1e9 / rate);
    std::int64_t now = now_ns();
    for (; now < intended; now = now_ns()) {
      if (intended - now > 1'000'000 && Stop::sleep_until(Clock::now() + std::chrono::nanoseconds(intended - now - 500'000)))
        throw Peer::Stopped{};
    }
    if (now - intended > kLate) ++late;
    const Stamped stamp{i, intended};
    std::memcpy(value.data(), &stamp, sizeof stamp);
    must(producer.send(value));
    if (i % 1024 == 0 && Stop::requested()) throw Peer::Stopped{};
  }
  return late;
}

struct LoadReceived {
  Received received;
  bench::Histogram latencies;
};

}  // namespace

Measurement measure_throughput(const Command& command, const BenchOptions& options) {
  if (options.sizes.empty()) return throughput(command, options, options.size);
  Measurement all{.json = {{"bench", "throughput"}, {"sizes", Json::array()}}, .text = {}};
  for (const std::size_t size : options.sizes) {
    Measurement one = throughput(command, options, size);
    one.json.erase("bench");
    all.json["sizes"].push_back(std::move(one.json));
    all.text += one.text;
    all.sizes.push_back(one.sizes.front());
    all.whole = all.whole && one.whole;
    if (Stop::requested()) throw Peer::Stopped{};
  }
  return all;
}

Measurement measure_latency(const Command& command, const BenchOptions& options) {
  const auto cpus = choose_cpus();
  const std::string ping_name = scratch_name("ping");
  const std::string pong_name = scratch_name("pong");
  Scratch scratch;
  Peer peer([&](Peer& self) {
    const Pinned pinned(cpus, 1);
    Bus bus = open_bus(command);
    Consumer consumer = attach(bus, ping_name, ping_name, options.wait);
    Producer producer = must(must(bus.topic(pong_name)).producer());
    self.tell('r');
    answer(consumer, producer);
  });

  Bus bus = open_or_create_bus(command);
  const auto latencies = std::make_unique<bench::Histogram>();
  const TopicConfig kSmallRing{.partition_bytes = 256u << 10};
  Producer producer = must(scratch.make_topic(bus, ping_name, kSmallRing, {ping_name}).producer());
  scratch.make_topic(bus, pong_name, kSmallRing, {pong_name});
  Consumer consumer = attach(bus, pong_name, pong_name, options.wait);
  peer.go();
  peer.hear<char>();
  const Pinned pinned(cpus, 0);
  measure_round_trips(consumer, producer, options, *latencies);
  must(producer.send(bytes_of(kEnd)));
  peer.wait();
  if (latencies->total() == 0) throw Peer::Stopped{};
  Json json{{"bench", "latency"}, {"round_trips", latencies->total()}, {"message_bytes", options.size}, {"cpus", cpus}};
  add_latencies(json, *latencies);
  return {.json = std::move(json),
          .text = fmt::format("round trip  {}\n"
                              "            {} of {} B on {}\n",
                              latency_text(*latencies), human_count(static_cast<double>(latencies->total())), options.size,
                              cpu_text(cpus)),
          .curves = {curve_of(fmt::format("round trip, {} B", options.size), *latencies)}};
}

Measurement measure_load(const Command& command, const BenchOptions& options) {
  const auto cpus = choose_cpus();
  const std::string name = scratch_name("load");
  const std::size_t size = std::max(options.size, sizeof(Stamped));
  const auto count = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(options.rate * std::chrono::duration<double>(options.duration).count()));
  const std::uint64_t warm_up = count / 10;
  Scratch scratch;
  Peer peer([&](Peer& self) {
    const Pinned pinned(cpus, 1);
    Bus bus = open_bus(command);
    Consumer consumer = attach(bus, name, name, options.wait);
    self.tell('r');
    const auto seen = std::make_unique<LoadReceived>();
    seen->received = receive_all(consumer, [&](const Record& record, std::uint64_t number) {
      Stamped stamp{};
      std::memcpy(&stamp, record.value().data(), std::min(sizeof stamp, record.value().size()));
      if (number >= warm_up) seen->latencies.add(static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns() - stamp.intended, 0)));
    });
    self.tell(*seen);
  });

  Bus bus = open_or_create_bus(command);
  Producer producer =
      must(scratch.make_topic(bus, name, {.partition_bytes = ring_for(options, size)}, {name}).producer({.wait = options.wait}));
  peer.go();
  peer.hear<char>();
  const Pinned pinned(cpus, 0);
  const std::uint64_t late = send_on_schedule(producer, size, options.rate, count);
  must(producer.send(bytes_of(kEnd)));
  const auto seen = std::make_unique<LoadReceived>(peer.hear<LoadReceived>());
  peer.wait();
  const Received& received = seen->received;
  const double achieved = per_second(received);
  Json json{{"bench", "load"},       {"rate", options.rate}, {"achieved_per_second", achieved},  {"messages", received.records},
            {"message_bytes", size}, {"late", late},         {"lost", count - received.records}, {"out_of_order", received.wrong},
            {"cpus", cpus}};
  add_latencies(json, seen->latencies);
  return {
      .json = std::move(json),
      .text = fmt::format("load        {}\n"
                          "            {} messages of {} B, {}/s of {}/s wanted, {} sent late, on {}, {} lost, {} out of order\n",
                          latency_text(seen->latencies), human_count(static_cast<double>(received.records)), size,
                          human_count(achieved), human_count(options.rate), human_count(static_cast<double>(late)), cpu_text(cpus),
                          count - received.records, received.wrong),
      .curves = {curve_of(fmt::format("{} messages/s, {} B", human_count(options.rate), size), seen->latencies)},
      .whole = is_whole(received, count)};
}

Measurement measure_fanout(const Command& command, const BenchOptions& options) {
  const std::string name = scratch_name("fanout");
  std::vector<std::string> groups;
  Scratch scratch;
  std::vector<std::unique_ptr<Peer>> peers;
  for (std::uint32_t i = 0; i < options.consumers; ++i) groups.push_back(fmt::format("{}-{}", name, i));
  for (const auto& group : groups) {
    peers.push_back(std::make_unique<Peer>([&](Peer& self) {
      Bus bus = open_bus(command);
      Consumer consumer = attach(bus, name, group, options.wait);
      self.tell('r');
      self.tell(receive_all(consumer, [](const Record&, std::uint64_t) {}));
    }));
  }

  const std::uint64_t ring = ring_for(options, options.size);
  const std::size_t batch = batch_for(ring, options.size, options.batch);
  Bus bus = open_or_create_bus(command);
  TopicConfig config{.partition_bytes = ring};
  config.max_groups = std::max(config.max_groups, options.consumers);
  Producer producer = must(scratch.make_topic(bus, name, config, groups).producer({.wait = options.wait}));
  for (const auto& peer : peers) peer->go();
  for (const auto& peer : peers) peer->hear<char>();
  const std::uint64_t sent = send_numbered(producer, options.size, batch, options.duration);
  must(producer.send(bytes_of(kEnd)));
  std::vector<Received> all;
  for (const auto& peer : peers) all.push_back(peer->hear<Received>());
  for (const auto& peer : peers) peer->wait();

  Measurement measured{.json = {{"bench", "fanout"},
                                {"consumers", options.consumers},
                                {"messages", sent},
                                {"message_bytes", options.size},
                                {"batch", batch}},
                       .text = {}};
  Json readers = Json::array();
  double slowest = per_second(all.front());
  std::uint64_t lost = 0;
  std::uint64_t wrong = 0;
  for (const Received& one : all) {
    slowest = std::min(slowest, per_second(one));
    lost += sent - one.records;
    wrong += one.wrong;
    measured.whole = measured.whole && is_whole(one, sent);
    readers.push_back({{"messages", one.records},
                       {"messages_per_second", per_second(one)},
                       {"lost", sent - one.records},
                       {"out_of_order", one.wrong}});
  }
  measured.json["messages_per_second"] = slowest;
  measured.json["bytes_per_second"] = slowest * static_cast<double>(options.size);
  measured.json["readers"] = std::move(readers);
  measured.text = fmt::format(
      "fan-out     {} to each of {} consumer{}: {} B each, in batches of {}\n"
      "            {} messages, {} lost, {} out of order\n",
      rate_text(slowest, options.size), options.consumers, plural(options.consumers), options.size, batch,
      human_count(static_cast<double>(sent)), lost, wrong);
  return measured;
}

}  // namespace arus::tool
