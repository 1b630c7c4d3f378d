// Noise in every file of a bus, from a seed: whatever the bytes are, every call answers with a value or an error; no crash, no hang.
// (A file that is truncated while it is mapped is outside what can be survived; see platform/segment.h.)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <random>

#include "api_support.h"
#include "platform/file.h"

namespace arus::test {
namespace {

constexpr Wait kNoWait{.mode = Wait::Mode::sleep, .coalesce = false};

// Calls whatever there is. Results are looked at, so that bytes which a result points to are read.
class Exercise {
 public:
  explicit Exercise(std::mt19937_64& random) noexcept : random_(random) {}

  void all(Bus& bus) {
    look(bus.topics());
    auto topic = bus.topic("t");
    look(topic);
    auto observer = bus.consumer({.start = start(), .wait = kNoWait, .in_place = random_() % 2 == 0});
    auto member = bus.consumer({.group = random_() % 3 == 0 ? "" : "g", .start = start(), .wait = kNoWait, .grace = 0ns});
    if (observer) look(observer->subscribe({"t"}));
    if (member) look(member->subscribe({"t"}));
    std::optional<Producer> producer;
    if (topic) {
      this->topic(*topic);
      if (auto made = topic->producer()) producer.emplace(std::move(*made));
    }
    for (int i = 0; i < 2; ++i) {
      if (producer) this->producer(*producer);
      if (observer) consumer(*observer);
      if (member) consumer(*member);
    }
  }
  void topic(const Topic& topic) {
    look(topic.describe());
    look(topic.readers());
    if (const auto last = topic.last(0); last && *last) sum((*last)->value.value_or(""));
    if (const auto last = topic.last(bytes("k3")); last && *last) sum((*last)->value.value_or(""));
  }
  void producer(Producer& producer) {
    static const std::string value(3000, 'n');
    look(producer.try_send(bytes(std::string_view(value).substr(0, random_() % 3000)), {.key = bytes("k3")}));
    look(producer.send(bytes("x"), {}, 100us));
    if (auto loan = producer.try_loan(random_() % 5000)) {
      if (random_() % 2 == 0) look(loan->commit(loan->data().size() / 2));
    }
    const std::array<Message, 3> messages{Message{bytes("1"), {}}, Message{kNull, {}}, Message{bytes("3"), {}}};
    look(producer.try_send_many(messages));
    look(producer.readers());
  }
  void consumer(Consumer& consumer) {
    for (int i = 0; i < 3; ++i) {
      const auto batch = consumer.poll(i == 2 ? 50us : 0us);
      if (!batch) continue;
      for (const Record& record : *batch) {
        sum(text(record.key()));
        sum(text(record.value()));
        for (const Header header : record.headers()) {
          sum(header.name);
          sum(text(header.value));
        }
        ignored_ += record.offset() + static_cast<std::uint64_t>(record.timestamp());
      }
      for (const Gap& gap : batch->gaps()) EXPECT_LT(gap.from, gap.to);
      ignored_ += batch->intact() ? 1 : 0;
    }
    look(consumer.position("t", 0));
    look(consumer.lag("t", 0));
    look(consumer.seek("t", 0, start()));
    look(consumer.poll(0ns));
    look(consumer.commit());
  }

 private:
  Start start() {
    switch (random_() % 5) {
      case 0: return Start::earliest;
      case 1: return Start::latest;
      case 2: return Start::offset(random_() % 300);
      case 3: return Start::time(static_cast<Timestamp>(random_() % 2000));
      default: return Start::last(random_() % 100);
    }
  }
  template <class T>
  void look(const tl::expected<T, Error>& result) {
    if (!result) sum(result.error().message());
  }
  void sum(std::string_view bytes) {
    for (const char c : bytes) ignored_ += static_cast<unsigned char>(c);
  }
  std::mt19937_64& random_;
  std::atomic<std::uint64_t> ignored_{0};  // so that the bytes are really read
};

class ApiNoise : public ApiTest {
 protected:
  // A topic that has been used: it has wrapped, has a group, headers and holes.
  ApiNoise() {
    create("t", {.max_producers = 4, .max_groups = 3});
    Producer producer = must(must(bus.topic("t")).producer());
    Consumer consumer = join("t", "g", Start::latest);
    const std::string value(700, 'v');
    for (int i = 0; i < 150; ++i) {
      const std::string key = "k" + std::to_string(i % 7);
      const std::array<Header, 1> headers{Header{"h", bytes("1")}};
      must(producer.send(bytes(std::string_view(value).substr(0, static_cast<std::size_t>(i * 37 % 700))),
                         {.key = bytes(key), .headers = headers, .timestamp = 10 * i}));
      if (i % 20 == 7) must(producer.loan(200)).abort();
      if (i % 10 == 0) must(consumer.poll(0ns));
    }
    for (const char* name : {"bells", "topics/t/topic", "topics/t/waits", "topics/t/groups", "topics/t/0"}) {
      std::ifstream file(path() + '/' + name, std::ios::binary);
      pristine_[name] = std::string(std::istreambuf_iterator<char>(file), {});
    }
  }
  void restore() const {
    for (const auto& [name, content] : pristine_) write(name, 0, content);
  }
  void write(const std::string& name, std::size_t at, std::string_view content) const {
    const auto file = must(platform::open_file(path() + '/' + name, O_RDWR));
    if (pwrite(file.get(), content.data(), content.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(content.size()))
      throw std::runtime_error("write " + name);
  }
  // One piece of noise somewhere: mostly in the partition, and there mostly where words are that mean something.
  void disturb(std::mt19937_64& random, bool headers_too) const {
    const auto pick = [&](std::uint64_t below) { return random() % below; };
    static constexpr std::array<const char*, 8> kFiles{"topics/t/0", "topics/t/0",      "topics/t/0",     "topics/t/0",
                                                       "topics/t/0", "topics/t/groups", "topics/t/waits", "bells"};
    const std::string name = headers_too && pick(10) == 0 ? "topics/t/topic" : kFiles[pick(kFiles.size())];
    const std::size_t size = pristine_.at(name).size();
    std::size_t at = pick(size);
    if (name == "topics/t/0") switch (pick(5)) {
        case 0: at = (headers_too ? 0 : 128) + pick(384); break;     // the partition's header
        case 1: at = 4096 + pick(256 + 2048); break;                 // slots and index
        default: at = size - 65536 + 64 * pick(1024) + 8 * pick(4);  // a record's header, if one is there
      }
    else if (!headers_too)
      at = 64 + pick(size - 64);
    std::string noise(std::min<std::size_t>(std::size_t{1} << pick(pick(4) == 0 ? 10 : 5), size - at), '\0');
    const std::uint64_t kind = pick(4);
    for (char& byte : noise) byte = kind == 0 ? '\xff' : kind == 1 ? '\0' : static_cast<char>(random());
    if (kind == 3) {  // one bit
      noise.resize(1);
      noise[0] = static_cast<char>(pristine_.at(name)[at] ^ 1 << pick(8));
    }
    write(name, at, noise);
  }
  // Runs rounds in a child, for some seconds at most. A crash or a hang shows with the seed of its round.
  template <class Round>
  void rounds(unsigned most, Round round) {
    auto* const seed =
        static_cast<std::atomic<unsigned>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const char* given = std::getenv("ARUS_NOISE_SEED");  // to look at one round alone
    const unsigned first = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 1;
    const unsigned last = given != nullptr ? first : most;
    const int code = in_child([&] {
      const auto end = std::chrono::steady_clock::now() + 7s;
      for (unsigned i = first; i <= last && std::chrono::steady_clock::now() < end; ++i) {
        *seed = i;
        alarm(20);  // a round takes milliseconds; a hang ends with SIGALRM
        std::mt19937_64 random(i);
        round(random);
        if (testing::Test::HasFailure()) break;
      }
      alarm(0);
    });
    EXPECT_EQ(code, 0) << "in the round of seed " << *seed << "; ARUS_NOISE_SEED=" << *seed << " repeats it alone";
    RecordProperty("rounds", static_cast<int>(*seed));
    munmap(seed, 4096);
  }
  std::map<std::string, std::string> pristine_;
};

TEST_F(ApiNoise, FoundByWhoComes) {
  rounds(4000, [&](std::mt19937_64& random) {
    restore();
    if (random() % 3 == 0) write("topics/t/groups", 64, std::string(pristine_["topics/t/groups"].size() - 64, '\0'));  // none yet
    for (std::uint64_t i = 1 + random() % 6; i > 0; --i) disturb(random, true);
    Bus own = [&]() -> Bus {
      for (;;)
        if (auto opened = Bus::open(path()))
          return *opened;
        else
          restore();  // the bells' header: an error, as it should be
    }();
    Exercise(random).all(own);
  });
}

TEST_F(ApiNoise, UnderThoseWhoAreAttached) {
  rounds(4000, [&](std::mt19937_64& random) {
    restore();
    Bus own = must(Bus::open(path()));
    Topic topic = must(own.topic("t"));
    auto made = topic.producer();
    std::vector<Consumer> consumers;
    for (const char* group : {"", "", "g", "h"}) {
      auto consumer = own.consumer(
          {.group = group, .start = Start::earliest, .wait = kNoWait, .in_place = consumers.size() == 1, .grace = 0ns});
      if (consumer && consumer->subscribe({"t"})) consumers.push_back(std::move(*consumer));
    }
    Exercise exercise(random);
    for (int i = 0; i < 3; ++i) {
      for (std::uint64_t j = 1 + random() % 4; j > 0; --j) disturb(random, false);
      if (made) exercise.producer(*made);
      for (Consumer& consumer : consumers) exercise.consumer(consumer);
      exercise.topic(topic);
    }
  });
}

// Words with all bits set, where sums of them would wrap.
TEST_F(ApiNoise, TheLargestNumbersInEveryWord) {
  rounds(4, [&](std::mt19937_64& random) {
    for (std::size_t at = 128; at < 4096 + 256 + 64; at += 8)
      for (const std::string_view word :
           {std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff", 8), std::string_view("\xff\xff\xff\xff\xff\xff\xff\x7f", 8),
            std::string_view("\x01\x00\x00\x00\x00\x00\x00\x80", 8)}) {
        if (at >= 512 && at < 4096) continue;
        restore();
        write("topics/t/0", at, word);
        Bus own = must(Bus::open(path()));
        Exercise(random).all(own);
      }
    for (std::size_t at = 64; at < pristine_["topics/t/groups"].size(); at += 8) {
      restore();
      write("topics/t/groups", at, "\xff\xff\xff\xff\xff\xff\xff\xff");
      Bus own = must(Bus::open(path()));
      Exercise(random).all(own);
    }
  });
}

}  // namespace
}  // namespace arus::test
