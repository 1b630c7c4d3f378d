// Threads that run handlers, fed by the polling thread through moodycamel's queue (inside this process only).
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "rpc/server_channel.h"

namespace arus::rpc::detail {

class Workers {
 public:
  // Throws std::system_error where no thread can be had.
  explicit Workers(std::uint32_t count);
  // Lets the handlers that run return; calls that are still queued are ended with `unavailable`.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void hand(std::shared_ptr<ServerChannel> channel, ServerCall& call);

 private:
  struct Queue;
  void run() noexcept;
  std::unique_ptr<Queue> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace arus::rpc::detail
