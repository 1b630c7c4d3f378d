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
#include "prefault.h"
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
  End sender() { return opened(); }
  End receiver() { return opened(); }

 private:
  BoostQueue(const Shape& shape, const std::string& name)
      : bytes_(shape.bytes),
        file_("/dev/shm/" + name),
        queue_(boost::interprocess::create_only, name.c_str(), slots(shape), shape.bytes) {
    boost::interprocess::message_queue::remove(name.c_str());
  }
  // It is fastest when all of them stay in a core's cache.
  static std::size_t slots(const Shape& shape) noexcept { return std::clamp<std::size_t>((1 << 20) / shape.bytes, 16, 1024); }
  // A file of /dev/shm; what a killed run left goes with the directories of scratch.h.
  static std::string unique_name() {
    static unsigned count = 0;
    return "arus-bench-" + std::to_string(::getpid()) + "-queue-" + std::to_string(++count);
  }

  End opened() {
    prefault_file(file_);
    return {queue_, bytes_};
  }

  std::size_t bytes_;
  std::string file_;
  boost::interprocess::message_queue queue_;
};

}  // namespace bench
