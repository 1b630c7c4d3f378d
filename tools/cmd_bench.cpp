// arus bench throughput | latency: a short measurement between two processes, over topics of its own that are gone afterwards.
//
// The other process is forked before the bus is opened, tells when it is ready, and dies with this one. Every message carries its
// number and is checked. For comparisons and statistics over regimes of the machine see bench/.
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "command.h"
#include "parse.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint64_t kEnd = ~0ull;  // the number of the message that says: no more
constexpr const char* kGroup = "bench";

struct Options {
  std::size_t size = 64;
  std::size_t batch = 32;
  std::chrono::nanoseconds duration = 2s;
  std::uint64_t partition_bytes = 8u << 20;
  Wait wait{};
};

// ---- two processes ----------------------------------------------------------------------------------------------------------

// The first two CPUs we may run on; empty when there is only one.
std::vector<int> choose_cpus() {
  cpu_set_t allowed;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {};
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < 2; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) cpus.push_back(cpu);
  }
  return cpus.size() == 2 ? cpus : std::vector<int>{};
}

void pin(const std::vector<int>& cpus, std::size_t which) {
  if (cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpus[which]), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// A child process that runs `work` once it is told to, with a pipe for what it has to say.
class Peer {
 public:
  template <class Work>  // void(Peer&)
  explicit Peer(Work work) {
    if (pipe(to_child_.data()) != 0 || pipe(to_parent_.data()) != 0) throw failure("pipe");
    const pid_t parent = getpid();
    child_ = fork();
    if (child_ < 0) throw failure("fork");
    if (child_ > 0) {
      close(std::exchange(to_child_[0], -1));
      close(std::exchange(to_parent_[1], -1));
      return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(std::exchange(to_child_[1], -1));
    close(std::exchange(to_parent_[0], -1));
    int status = 0;
    try {
      char go = 0;
      if (read(to_child_[0], &go, 1) == 1) work(*this);
    } catch (const std::exception& error) {
      warn(fmt::format("in the second process: {}", error.what()));
      status = 1;
    }
    _exit(status);
  }
  ~Peer() {
    for (const int end : {to_child_[0], to_child_[1], to_parent_[0], to_parent_[1]}) {
      if (end >= 0) close(end);
    }
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Parent: lets it begin. Child: what the parent hears.
  void go() { tell('g', to_child_[1]); }
  template <class T>
  void tell(const T& what) {
    tell(what, to_parent_[1]);
  }
  // Parent: waits for what the child tells; fails when it died or we are to stop.
  template <class T>
  T hear() {
    T what{};
    pollfd waits[2] = {{to_parent_[0], POLLIN, 0}, {Stop::descriptor(), POLLIN, 0}};
    while (poll(waits, 2, -1) < 0 && errno == EINTR) {
    }
    if (Stop::requested()) throw Stopped{};
    if (read(to_parent_[0], &what, sizeof what) != sizeof what)
      throw Failure(ExitCode::failed, "system", "the second process died");
    return what;
  }
  struct Stopped {};

 private:
  template <class T>
  static void tell(const T& what, int descriptor) {
    if (write(descriptor, &what, sizeof what) != sizeof what) throw failure("write");
  }
  static Failure failure(const char* call) {
    return {ExitCode::failed, "system", fmt::format("{}: {}", call, std::strerror(errno))};
  }
  std::array<int, 2> to_child_{-1, -1};
  std::array<int, 2> to_parent_{-1, -1};
  pid_t child_ = -1;
};

class TemporaryTopic {
 public:
  TemporaryTopic(Bus& bus, const std::string& name, std::uint64_t partition_bytes)
      : bus_(bus), topic_(must(bus.create(name, {.partition_bytes = partition_bytes}))) {}
  ~TemporaryTopic() {
    if (const auto removed = bus_.remove(topic_.name()); !removed) warn(removed.error().message());
  }
  TemporaryTopic(const TemporaryTopic&) = delete;
  TemporaryTopic& operator=(const TemporaryTopic&) = delete;
  Topic* operator->() { return &topic_; }

 private:
  Bus& bus_;
  Topic topic_;
};

std::string topic_name(std::string_view part) { return fmt::format("arus-bench-{}-{}", getpid(), part); }

Consumer attach(Bus& bus, const std::string& topic, Wait wait) {
  Consumer consumer = must(bus.consumer({.group = kGroup, .start = Start::earliest, .wait = wait}));
  must(consumer.subscribe({topic}));
  return consumer;
}

std::uint64_t number_of(const Record& record) {
  std::uint64_t number = 0;
  std::memcpy(&number, record.value().data(), std::min(sizeof number, record.value().size()));
  return number;
}

std::string cpu_text(const std::vector<int>& cpus) {
  return cpus.empty() ? "one CPU" : fmt::format("CPUs {} and {}", cpus[0], cpus[1]);
}

// ---- throughput -------------------------------------------------------------------------------------------------------------

struct Received {
  std::uint64_t records;
  std::uint64_t wrong;  // not the number that was expected
  std::uint64_t missing;
  std::int64_t nanoseconds;
};

Received receive_all(Consumer& consumer) {
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
    }
  }
}

ExitCode throughput(const Command& command, const Options& options) {
  const auto cpus = choose_cpus();
  const std::string name = topic_name("throughput");
  Peer peer([&](Peer& self) {
    pin(cpus, 1);
    Bus bus = open_bus(command);
    Consumer consumer = attach(bus, name, options.wait);
    self.tell('r');
    self.tell(receive_all(consumer));
  });

  Bus bus = open_or_create_bus(command);
  TemporaryTopic topic(bus, name, options.partition_bytes);
  Producer producer = must(topic->producer({.wait = options.wait}));
  peer.go();
  peer.hear<char>();
  pin(cpus, 0);

  std::vector<std::byte> values(options.batch * options.size);
  std::vector<Message> messages(options.batch);
  for (std::size_t i = 0; i < options.batch; ++i) messages[i].value = Bytes(values).subspan(i * options.size, options.size);
  std::uint64_t next = 0;
  const auto until = Clock::now() + options.duration;
  while (Clock::now() < until && !Stop::requested()) {
    for (std::size_t i = 0; i < options.batch; ++i) {
      const std::uint64_t number = next + i;
      std::memcpy(values.data() + i * options.size, &number, sizeof number);
    }
    for (std::size_t sent = 0; sent < options.batch;) sent += must(producer.send_many(std::span(messages).subspan(sent)));
    next += options.batch;
  }
  must(producer.send(bytes_of(kEnd)));
  const auto received = peer.hear<Received>();

  const double seconds = static_cast<double>(received.nanoseconds) / 1e9;
  const double rate = static_cast<double>(received.records) / seconds;
  const bool whole = received.records == next && received.wrong == 0 && received.missing == 0;
  if (command.json) {
    emit("{}\n", dump({{"bench", "throughput"},
                       {"messages", received.records},
                       {"seconds", seconds},
                       {"messages_per_second", rate},
                       {"bytes_per_second", rate * static_cast<double>(options.size)},
                       {"message_bytes", options.size},
                       {"batch", options.batch},
                       {"lost", next - received.records},
                       {"out_of_order", received.wrong},
                       {"cpus", cpus}}));
  } else {
    emit(
        "throughput  {} messages/s, {}/s: {} B each, in batches of {}\n"
        "            {} messages on {}, {} lost, {} out of order\n",
        human_count(rate), human_bytes(static_cast<std::uint64_t>(rate * static_cast<double>(options.size))), options.size,
        options.batch, human_count(static_cast<double>(received.records)), cpu_text(cpus), next - received.records, received.wrong);
  }
  return unless_stopped(whole ? ExitCode::ok : ExitCode::failed);
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

// Round trips in nanoseconds, in ascending order.
std::vector<std::uint32_t> measure_round_trips(Consumer& consumer, Producer& producer, const Options& options) {
  constexpr std::size_t kWarmUp = 1000;
  std::vector<std::uint32_t> times;
  times.reserve(1u << 20);
  std::vector<std::byte> value(options.size);
  const auto until = Clock::now() + options.duration;
  for (std::uint64_t number = 0; !Stop::requested(); ++number) {
    std::memcpy(value.data(), &number, sizeof number);
    const auto sent = Clock::now();
    must(producer.send(value));
    for (bool answered = false; !answered;) {
      const Batch batch = must(consumer.poll(1s));
      if (batch.empty() && Stop::requested()) break;
      if (batch.empty() && Clock::now() - sent > 5s)
        throw Failure(ExitCode::timed_out, "timed_out", "no answer from the second process for 5 s");
      if (!batch.empty() && number_of(batch[0]) != number)
        throw Failure(ExitCode::failed, "internal", "an answer to another question");
      answered = !batch.empty();
    }
    const auto now = Clock::now();
    if (number >= kWarmUp) times.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>((now - sent).count(), UINT32_MAX)));
    if (now >= until && !times.empty()) break;
  }
  std::sort(times.begin(), times.end());
  return times;
}

ExitCode latency(const Command& command, const Options& options) {
  const auto cpus = choose_cpus();
  const std::string ping_name = topic_name("ping");
  const std::string pong_name = topic_name("pong");
  Peer peer([&](Peer& self) {
    pin(cpus, 1);
    Bus bus = open_bus(command);
    Consumer consumer = attach(bus, ping_name, options.wait);
    Producer producer = must(must(bus.topic(pong_name)).producer());
    self.tell('r');
    answer(consumer, producer);
  });

  Bus bus = open_or_create_bus(command);
  constexpr std::uint64_t kSmallRing = 256u << 10;
  TemporaryTopic ping(bus, ping_name, kSmallRing);
  TemporaryTopic pong(bus, pong_name, kSmallRing);
  Producer producer = must(ping->producer());
  Consumer consumer = attach(bus, pong_name, options.wait);
  peer.go();
  peer.hear<char>();
  pin(cpus, 0);
  const auto times = measure_round_trips(consumer, producer, options);
  must(producer.send(bytes_of(kEnd)));
  if (times.empty()) return unless_stopped(ExitCode::failed);

  const auto at = [&](double fraction) {
    return times[static_cast<std::size_t>(fraction * static_cast<double>(times.size() - 1))];
  };
  if (command.json) {
    emit("{}\n", dump({{"bench", "latency"},
                       {"round_trips", times.size()},
                       {"message_bytes", options.size},
                       {"p50_ns", at(0.5)},
                       {"p90_ns", at(0.9)},
                       {"p99_ns", at(0.99)},
                       {"p999_ns", at(0.999)},
                       {"max_ns", times.back()},
                       {"cpus", cpus}}));
  } else {
    const auto text = [](std::uint32_t ns) { return human_duration(std::chrono::nanoseconds(ns)); };
    emit(
        "round trip  p50 {}, p90 {}, p99 {}, p99.9 {}, max {}\n"
        "            {} of {} B on {}\n",
        text(at(0.5)), text(at(0.9)), text(at(0.99)), text(at(0.999)), text(times.back()),
        human_count(static_cast<double>(times.size())), options.size, cpu_text(cpus));
  }
  return unless_stopped(ExitCode::ok);
}

constexpr const char* kDetails = R"(A quick look, for this machine as it is now; every message is checked.

Examples:
  arus bench throughput --size 1024 --seconds 5
  arus bench latency --wait sleep)";

}  // namespace

void add_bench_command(CLI::App& app, Command& command) {
  CLI::App* bench = add_subcommand(app, "bench", "Measure throughput and latency between two processes", kDetails);
  bench->require_subcommand(1);
  auto options = std::make_shared<Options>();
  const auto add = [&](const char* name, const char* description, const char* details, auto run) {
    CLI::App* measurement = add_subcommand(*bench, name, description, details);
    measurement->add_option("--size", options->size, "Bytes of a message")
        ->type_name("BYTES")
        ->capture_default_str()
        ->check(CLI::Range(8, 64 << 10));
    add_parsed(measurement, "--seconds", "How long [2]", "DURATION",
               [options](const std::string& text) { options->duration = parse_duration(text, "--seconds"); });
    add_parsed(measurement, "--wait", "spin, spin-then-sleep or sleep [spin-then-sleep]", "HOW",
               [options](const std::string& text) { options->wait = parse_wait(text); });
    measurement->callback([&command, options, run] {
      command.run = [&command, options, run] {
        try {
          return run(command, *options);
        } catch (const Peer::Stopped&) {
          return unless_stopped(ExitCode::failed);
        }
      };
    });
    return measurement;
  };
  CLI::App* measure_throughput =
      add("throughput", "One producer, one lossless consumer",
          R"(JSON: {"bench","messages","seconds","messages_per_second","bytes_per_second","message_bytes",
"batch","lost","out_of_order","cpus"})",
          throughput);
  measure_throughput->add_option("--batch", options->batch, "Messages sent at a time")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  add_parsed(measure_throughput, "--partition-bytes", "Size of the ring [8M]", "SIZE",
             [options](const std::string& text) { options->partition_bytes = parse_size(text, "--partition-bytes"); });
  add("latency", "Round trips: a message there and one back",
      R"(JSON: {"bench","round_trips","message_bytes","p50_ns","p90_ns","p99_ns","p999_ns","max_ns","cpus"})", latency);
}

}  // namespace arus::tool
