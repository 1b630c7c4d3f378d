#include "rpc/workers.h"

#include <concurrentqueue/blockingconcurrentqueue.h>

#include <atomic>

#include "platform/clock.h"
#include "rpc/server_state.h"

namespace arus::rpc::detail {

struct Task {
  std::shared_ptr<ServerChannel> channel;  // null: go home
  ServerCall* call = nullptr;
};

struct Workers::Queue {
  moodycamel::BlockingConcurrentQueue<Task> tasks;
  moodycamel::ProducerToken polling_thread{tasks};
  std::atomic<bool> closing{false};
};

Workers::Workers(std::uint32_t count) : queue_(std::make_unique<Queue>()) {
  threads_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) threads_.emplace_back([this] { run(); });
}

Workers::~Workers() {
  queue_->closing.store(true, std::memory_order_release);
  for (std::size_t i = 0; i < threads_.size(); ++i) queue_->tasks.enqueue(queue_->polling_thread, Task{});
  for (std::thread& thread : threads_) thread.join();
}

void Workers::hand(std::shared_ptr<ServerChannel> channel, ServerCall& call) {
  queue_->tasks.enqueue(queue_->polling_thread, Task{std::move(channel), &call});
}

void Workers::run() noexcept {
  moodycamel::ConsumerToken token(queue_->tasks);
  for (;;) {
    Task task;
    queue_->tasks.wait_dequeue(token, task);
    if (!task.channel) return;
    const std::int64_t now = platform::boot_time();
    if (queue_->closing.load(std::memory_order_acquire)) {
      static_cast<void>(task.channel->fail(*task.call, Status(Code::unavailable, "the server stops"), now, kNotRun));
    } else if (task.channel->cancelled(*task.call, now)) {
      static_cast<void>(task.channel->finish(*task.call, Code::ok, {}, 0, now));  // knows why nobody waits for it
    } else {
      ServerState::run_handler(*task.call, task.call->request, nullptr);
    }
  }
}

}  // namespace arus::rpc::detail
