// What crossing threads costs inside one process: moodycamel's two queues, between two threads on the cores of the two roles.
#include <concurrentqueue/concurrentqueue.h>
#include <readerwriterqueue/readerwriterqueue.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "controls.h"
#include "suite_rivals.h"

namespace bench {

namespace {

template <std::size_t kBytes>
struct Element {
  Element() = default;
  explicit Element(Bytes message) noexcept { std::memcpy(bytes.data(), message.data(), kBytes); }
  std::array<std::byte, kBytes> bytes;
};

// One producer, one consumer; elements are made and read where they lie, up to kMost at a time.
template <std::size_t kBytes, std::size_t kMost, class Wait>
class ReaderWriter {
  using Queue = moodycamel::ReaderWriterQueue<Element<kBytes>>;

 public:
  explicit ReaderWriter(const Shape& shape) : queue_(shape.slots) {}

  class End {
   public:
    explicit End(Queue& queue) noexcept : queue_(&queue) {}
    bool try_send(Bytes message) { return queue_->try_emplace(message); }
    template <class Each>
    std::size_t poll(Each&& each) {
      wait_.before_a_look();
      std::size_t got = 0;
      for (; got < kMost; ++got) {
        const Element<kBytes>* const element = queue_->peek();
        if (element == nullptr) break;
        each(Bytes(element->bytes));
        queue_->pop();
      }
      got == 0 ? wait_.nothing() : wait_.found(got, kBytes, kMost);
      return got;
    }

   private:
    Queue* queue_;
    Wait wait_;
  };
  End sender() { return End(queue_); }
  End receiver() { return End(queue_); }

 private:
  Queue queue_;
};

// Many producers and consumers, here one of each, with tokens; up to kMost are taken out at a time.
template <std::size_t kBytes, std::size_t kMost, class Wait>
class Concurrent {
  using Queue = moodycamel::ConcurrentQueue<Element<kBytes>>;

 public:
  explicit Concurrent(const Shape& shape) : queue_(shape.slots, 1, 0) {}

  class Sender {
   public:
    explicit Sender(Queue& queue) : queue_(&queue), token_(queue) {}
    bool try_send(Bytes message) { return queue_->try_enqueue(token_, Element<kBytes>(message)); }

   private:
    Queue* queue_;
    moodycamel::ProducerToken token_;
  };

  class Receiver {
   public:
    explicit Receiver(Queue& queue) : queue_(&queue), token_(queue), taken_(std::make_unique<Taken>()) {}
    template <class Each>
    std::size_t poll(Each&& each) {
      wait_.before_a_look();
      const std::size_t got = queue_->try_dequeue_bulk(token_, taken_->begin(), taken_->size());
      for (std::size_t i = 0; i < got; ++i) each(Bytes((*taken_)[i].bytes));
      got == 0 ? wait_.nothing() : wait_.found(got, kBytes, kMost);
      return got;
    }

   private:
    using Taken = std::array<Element<kBytes>, kMost>;
    Queue* queue_;
    moodycamel::ConsumerToken token_;
    std::unique_ptr<Taken> taken_;
    Wait wait_;
  };
  Sender sender() { return Sender(queue_); }
  Receiver receiver() { return Receiver(queue_); }

 private:
  Queue queue_;
};

// Both roles of a workload in role 0's process: its second thread works on the core of role 1, which sleeps.
template <class Workload>
class InOneProcess final : public Segment {
 public:
  explicit InOneProcess(const Shape& shape) : shape_(shape), core_(kLine) {}

  void attach(std::size_t role) override {
    if (role == 1) word_at(core_.data()).store(static_cast<std::uint64_t>(::sched_getcpu()) + 1);
    if (role != 0) return;
    workload_.emplace(shape_);
    for (const std::size_t each : {0u, 1u}) workload_->attach(each);
    other_result_ = std::make_unique<RoleResult>();
    std::uint64_t core = 0;
    while ((core = word_at(core_.data()).load()) == 0) cpu_pause();
    // Long before it is needed: beginning on this core would keep the first thread off it.
    other_ = std::thread([this, core] {
      move_to(static_cast<int>(core) - 1);
      std::unique_lock lock(mutex_);
      begin_.wait(lock, [this] { return others_ != nullptr; });
      lock.unlock();
      workload_->run(1, *others_);
    });
  }
  void detach(std::size_t role) override {
    if (role != 0) return;
    for (const std::size_t each : {0u, 1u}) workload_->detach(each);
    workload_.reset();
  }

  void run(std::size_t role, Recorder& recorder) override {
    if (role == 1) return recorder.sleep_until_finished();
    Recorder others = recorder.into(*other_result_);
    {
      const std::lock_guard lock(mutex_);
      others_ = &others;
    }
    begin_.notify_one();
    workload_->run(0, recorder);
    other_.join();
    // What the workload's figures are made of, and what tells whether a core was away.
    recorder.result.received += other_result_->received;
    recorder.result.ticks = other_result_->ticks;
    recorder.result.gap_largest = std::max(recorder.result.gap_largest, other_result_->gap_largest);
    recorder.finish();
  }

  [[nodiscard]] std::vector<Metric> metrics(const std::vector<const RoleResult*>& results) const override {
    return Workload(shape_).metrics({results[0], results[0]});
  }

 private:
  static void move_to(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) fail("a thread cannot be moved to core %d: %s", core, std::strerror(errno));
  }

  Shape shape_;
  SharedMemory core_;  // one word: the core of role 1, and 1
  std::optional<Workload> workload_;
  std::unique_ptr<RoleResult> other_result_;
  std::thread other_;
  std::mutex mutex_;
  std::condition_variable begin_;
  Recorder* others_ = nullptr;  // from when on the second thread works
};

constexpr std::size_t kMany = 64;

template <template <std::size_t, std::size_t, class> class Queue, std::size_t kBytes>
void add_one_way_in_process(Suite& suite, const std::string& name) {
  add_one_way<InOneProcess<OneWay<Queue<kBytes, kMany, CoalescingWait>>>>(suite, name, {kBytes});
}

template <template <std::size_t, std::size_t, class> class Queue>
void add_queue(Suite& suite, const std::string& name) {
  add_round_trip<InOneProcess<RoundTrip<TwoChannels<Queue<kSmall, 1, PauseWait>>>>>(suite, name, "spin");
  add_one_way_in_process<Queue, kSmall>(suite, name);
  add_one_way_in_process<Queue, kMedium>(suite, name);
}

}  // namespace

void add_threads(Suite& suite) {
  add_queue<ReaderWriter>(suite, "ReaderWriterQueue");
  add_queue<Concurrent>(suite, "ConcurrentQueue");
}

}  // namespace bench
