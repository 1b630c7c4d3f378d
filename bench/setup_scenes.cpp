#include "setup_scenes.h"

#include <arus/arus.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <utility>

namespace bench {

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kSmallest = 64 << 10;

double now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}
void nap(double seconds) { ::usleep(static_cast<useconds_t>(seconds * 1e6)); }

std::string topic_name(unsigned number) { return fmt::format("topic-{:05}", number); }

// What a child tells, in memory that it shares with the parent.
struct Sheet {
  std::array<double, 8> numbers;
  std::array<char, 1000> error;
};

class Child {
 public:
  explicit Child(const std::function<void(Sheet&)>& body) {
    void* const memory = ::mmap(nullptr, sizeof(Sheet), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw SceneFailed("no shared memory");
    sheet_ = static_cast<Sheet*>(memory);
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw SceneFailed("fork failed");
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      body(*sheet_);
    } catch (const std::exception& error) {
      std::strncpy(sheet_->error.data(), error.what(), sheet_->error.size() - 1);
      ::_exit(1);
    }
    ::_exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::munmap(sheet_, sizeof(Sheet));
  }

  const Sheet& wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    check(status);
    return *sheet_;
  }
  // Until it has written 1 into the first number, or ended.
  void await_ready() {
    const volatile double* const first = sheet_->numbers.data();
    for (int status = 0; *first == 0;) {
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        check(status);
        throw SceneFailed("a process ended before it was ready");
      }
      nap(0.002);
    }
  }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  void check(int status) const {
    if (sheet_->error[0] != '\0') throw SceneFailed(sheet_->error.data());
    if (status != 0) throw SceneFailed(fmt::format("a process ended with status {}", status));
  }
  pid_t pid_ = 0;
  Sheet* sheet_;
};

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

arus::Consumer consumer_of(arus::Bus& bus, Endpoint endpoint, const std::vector<std::string>& topics, arus::Wait wait = {}) {
  auto consumer =
      bus.consumer({.group = endpoint == Endpoint::member ? "bench" : "", .start = arus::Start::earliest, .wait = wait}).value();
  consumer.subscribe(topics).value();
  return consumer;
}

// Context switches that it asked for, and nanoseconds on a core; of all threads.
struct Usage {
  double wakeups = 0;
  double cpu_ns = 0;
};
Usage usage_of(pid_t pid) {
  Usage usage;
  for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    double ran = 0;
    std::ifstream(thread.path() / "schedstat") >> ran;
    usage.cpu_ns += ran;
    std::ifstream status(thread.path() / "status");
    for (std::string word; status >> word;) {
      double count = 0;
      if (word == "voluntary_ctxt_switches:" && status >> count) usage.wakeups += count;
    }
  }
  return usage;
}

}  // namespace

const char* to_string(Endpoint endpoint) {
  constexpr std::array names{"producer", "member of a group", "observer"};
  return names[static_cast<std::size_t>(endpoint)];
}

double create_topics(const std::string& directory, unsigned from, unsigned topics) {
  Child child([&](Sheet& sheet) {
    auto bus = arus::Bus::open_or_create({.directory = directory}).value();
    const double started = now_ns();
    for (unsigned i = from; i < topics; ++i) bus.create(topic_name(i), {.partition_bytes = kSmallest}).value();
    sheet.numbers[0] = (now_ns() - started) / (topics - from);
  });
  return child.wait().numbers[0];
}

Footprint footprint(const std::string& directory) {
  Footprint found{};
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0) continue;
    found.bytes += static_cast<double>(status.st_blocks) * 512;
    found.files += 1;
  }
  return found;
}

Footprint footprint_of_topic(const std::string& directory, unsigned partitions) {
  Child([&](Sheet&) { arus::Bus::create({.directory = directory}).value(); }).wait();
  const Footprint before = footprint(directory);
  Child([&](Sheet&) {
    auto bus = arus::Bus::open(directory).value();
    bus.create("one", {.partitions = partitions, .partition_bytes = kSmallest}).value();
  }).wait();
  const Footprint after = footprint(directory);
  fs::remove_all(directory);
  return {after.bytes - before.bytes, after.files - before.files};
}

Attached attach(const std::string& directory, unsigned topics, Endpoint endpoint) {
  Child child([&](Sheet& sheet) {
    const std::string topic = topic_name(topics / 2);
    const double resident = resident_bytes();
    const double started = now_ns();
    auto bus = arus::Bus::open(directory).value();
    sheet.numbers[0] = now_ns() - started;
    std::optional<arus::Producer> producer;
    std::optional<arus::Consumer> consumer;
    if (endpoint == Endpoint::producer) {
      producer.emplace(bus.topic(topic).value().producer().value());
    } else {
      consumer.emplace(consumer_of(bus, endpoint, {topic}));
    }
    sheet.numbers[1] = now_ns() - started - sheet.numbers[0];
    sheet.numbers[2] = resident_bytes() - resident;
  });
  const Sheet& sheet = child.wait();
  return {sheet.numbers[0], sheet.numbers[1], sheet.numbers[2]};
}

Traffic traffic(const std::string& directory, unsigned attached, unsigned records) {
  Child child([&](Sheet& sheet) {
    auto bus = arus::Bus::open(directory).value();
    std::vector<std::string> names;
    std::vector<arus::Producer> producers;
    for (unsigned i = 0; i < attached; ++i) {
      names.push_back(topic_name(i));
      producers.push_back(bus.topic(names.back()).value().producer().value());
    }
    auto consumer = consumer_of(bus, Endpoint::member, names, arus::Wait::spinning());
    while (!consumer.poll(0s).value().empty()) {  // what the last scene left unsettled
    }
    const std::array<std::byte, 64> value{};
    const unsigned rounds = std::max(3u, records / attached);
    std::uint64_t empty_polls = 0;
    for (unsigned round = 0; round <= rounds; ++round) {  // the first warms up
      const double started = now_ns();
      for (auto& producer : producers) producer.try_send(value).value();
      const double sent = now_ns();
      for (std::size_t left = attached; left > 0;) {
        const auto batch = consumer.poll(0s).value();
        for (const arus::Record& record : batch) {
          if (record.value().size() != value.size()) throw SceneFailed("a record of another size");
        }
        if (batch.size() > left) throw SceneFailed("a record that nobody sent");
        left -= batch.size();
      }
      const double read = now_ns();
      if (round == 0) continue;
      sheet.numbers[0] += sent - started;
      sheet.numbers[1] += read - sent;
      if (round % 8 != 1) continue;
      const double looked = now_ns();
      if (!consumer.poll(0s).value().empty()) throw SceneFailed("a record that nobody sent");
      sheet.numbers[2] += now_ns() - looked;
      ++empty_polls;
    }
    const double count = static_cast<double>(rounds) * attached;
    sheet.numbers[0] /= count;
    sheet.numbers[1] /= count;
    sheet.numbers[2] /= static_cast<double>(empty_polls);
  });
  const Sheet& sheet = child.wait();
  return {sheet.numbers[0], sheet.numbers[1], sheet.numbers[2]};
}

std::vector<Idle> idle(const std::string& directory, double seconds) {
  struct Cast {
    const char* name;
    unsigned topic;
    bool produces;
    Endpoint endpoint;
    arus::Wait wait;
  };
  const std::array cast{
      Cast{"observer, Wait::sleeping()", 0, false, Endpoint::observer, arus::Wait::sleeping()},
      Cast{"observer, default wait", 1, false, Endpoint::observer, {}},
      Cast{"alone in its group", 2, false, Endpoint::member, {}},
      Cast{"first of a group of two", 3, false, Endpoint::member, {}},
      Cast{"second of a group of two", 3, false, Endpoint::member, {}},
      Cast{"producer", 4, true, Endpoint::producer, {}},
  };
  const auto name_of = [](unsigned topic) { return fmt::format("idle-{}", topic); };
  Child([&](Sheet&) {
    auto bus = arus::Bus::open_or_create({.directory = directory}).value();
    for (unsigned i = 0; i < 5; ++i) bus.create(name_of(i), {.partitions = 2, .partition_bytes = kSmallest}).value();
  }).wait();
  std::vector<std::unique_ptr<Child>> children;
  for (const Cast& one : cast) {
    children.push_back(std::make_unique<Child>([&](Sheet& sheet) {
      auto bus = arus::Bus::open(directory).value();
      if (one.produces) {
        auto producer = bus.topic(name_of(one.topic)).value().producer().value();
        producer.send(arus::bytes("the only one")).value();
        sheet.numbers[0] = 1;
        for (;;) ::pause();
      }
      auto consumer = consumer_of(bus, one.endpoint, {name_of(one.topic)}, one.wait);
      sheet.numbers[0] = 1;
      for (;;) static_cast<void>(consumer.poll(3600s).value());
    }));
    children.back()->await_ready();
  }
  nap(std::min(2.5, seconds));  // a group settles who reads what
  std::vector<Usage> before;
  for (const auto& child : children) before.push_back(usage_of(child->pid()));
  const double started = now_ns();
  nap(seconds);
  const double took = (now_ns() - started) / 1e9;
  std::vector<Idle> result;
  result.reserve(cast.size());
  for (std::size_t i = 0; i < cast.size(); ++i) {
    const Usage after = usage_of(children[i]->pid());
    result.push_back({cast[i].name, (after.wakeups - before[i].wakeups) / took, (after.cpu_ns - before[i].cpu_ns) / 1e3 / took});
  }
  return result;
}

}  // namespace bench
