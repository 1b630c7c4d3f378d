// Boost.Interprocess's message_queue: messages by priority (here all the same) in shared memory, behind a mutex and two condition
// variables. The children inherit the mapping, so its name is gone before they start.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstddef>
#include <memory>
#include <string>

#include "clock.h"
#include "message.h"
#include "rival_kernel.h"
#include "workloads.h"

namespace bench {

template <Blocking kBlocking>
class BoostQueue {
 public:
  explicit BoostQueue(const Shape& shape) : BoostQueue(shape, unique_name()) {}

  class End {
   public:
    End(boost::interprocess::message_queue& queue, std::size_t bytes)
        : queue_(&queue), bytes_(bytes), buffer_(new std::byte[bytes]()) {}

    bool try_send(Bytes message) {
      if constexpr (kBlocking == Blocking::no) return queue_->try_send(message.data(), message.size(), 0);
      queue_->send(message.data(), message.size(), 0);
      return true;
    }

    template <class Each>
    std::size_t poll(Each&& each) {
      boost::interprocess::message_queue::size_type got = 0;
      unsigned priority = 0;
      if constexpr (kBlocking == Blocking::yes) {
        queue_->receive(buffer_.get(), bytes_, got, priority);
      } else if (!queue_->try_receive(buffer_.get(), bytes_, got, priority)) {
        cpu_pause();
        return 0;
      }
      each(Bytes(buffer_.get(), got));
      return 1;
    }

   private:
    boost::interprocess::message_queue* queue_;
    std::size_t bytes_;
    std::unique_ptr<std::byte[]> buffer_;
  };
  End sender() { return {queue_, bytes_}; }
  End receiver() { return {queue_, bytes_}; }

 private:
  BoostQueue(const Shape& shape, const std::string& name)
      : bytes_(shape.bytes), queue_(boost::interprocess::create_only, name.c_str(), shape.slots, shape.bytes) {
    boost::interprocess::message_queue::remove(name.c_str());
  }
  // A file of /dev/shm; what a killed run left goes with the directories of scratch.h.
  static std::string unique_name() {
    static unsigned count = 0;
    return "arus-bench-" + std::to_string(::getpid()) + "-queue-" + std::to_string(++count);
  }

  std::size_t bytes_;
  boost::interprocess::message_queue queue_;
};

}  // namespace bench
