// iceoryx's daemon, which has to run beside whoever uses iceoryx: started for one segment, with memory for its messages alone, and ended
// with it, also when this process dies. Its files in /tmp and /dev/shm go with it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "scratch.h"

namespace bench {

class IceoryxDaemon {
 public:
  // Returns when it takes part. Throws LeftOut if it cannot be had, or somebody else's is running, which is left alone.
  IceoryxDaemon(std::size_t bytes, std::size_t messages);
  IceoryxDaemon(const IceoryxDaemon&) = delete;
  IceoryxDaemon& operator=(const IceoryxDaemon&) = delete;
  ~IceoryxDaemon();

  // Of the process that plays this role; no other process has it.
  [[nodiscard]] std::string runtime_name(std::size_t role) const;

  // Where it keeps the messages: it has the name of the group of whoever started it.
  [[nodiscard]] static std::string payload_file();

 private:
  void start();
  void wait_until_ready();
  void stop() noexcept;

  ScratchDirectory scratch_;
  pid_t owner_;
  pid_t pid_ = -1;
};

}  // namespace bench
