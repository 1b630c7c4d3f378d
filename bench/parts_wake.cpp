// What a send costs its producer when a reader sleeps, and when nobody does: the reader is a thread that only receives.
#include <atomic>
#include <chrono>
#include <thread>

#include "parts.h"

namespace bench {
namespace {

using namespace std::chrono_literals;

class Receiving {
 public:
  Receiving(OneTopic& one, arus::Wait wait)
      : consumer_(one.reader({.group = "reader", .start = arus::Start::earliest, .wait = wait})), thread_([this] {
          while (!stop_) received_ += consumer_.poll(10s).value().size();
        }) {}
  Receiving(const Receiving&) = delete;
  Receiving& operator=(const Receiving&) = delete;
  ~Receiving() {
    stop_ = true;
    consumer_.wake();
    thread_.join();
  }
  void await(std::uint64_t records) const {
    while (received_ < records) std::this_thread::yield();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> received_ = 0;
  arus::Consumer consumer_;
  std::thread thread_;
};

void send_to(benchmark::State& state, arus::Wait wait) {
  OneTopic one;
  arus::Producer producer = one.topic.producer().value();
  Receiving receiving(one, wait);
  const std::array<std::byte, 64> value{};
  std::uint64_t sent = 0;
  for (auto _ : state) {
    std::this_thread::sleep_for(200us);  // so that it is asleep again, if it sleeps
    const auto start = std::chrono::steady_clock::now();
    producer.send(value).value();
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    receiving.await(++sent);
  }
  count(state, state.iterations(), 0);
}
constexpr int kSends = 1000;  // a time per benchmark would be one of sends alone, a small part of each turn
BENCHMARK_CAPTURE(send_to, sleeping_reader, arus::Wait::sleeping())->UseManualTime()->Iterations(kSends);
BENCHMARK_CAPTURE(send_to, spinning_reader, arus::Wait::spinning())->UseManualTime()->Iterations(kSends);

}  // namespace
}  // namespace bench
