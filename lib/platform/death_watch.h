// Hearing of deaths without asking all the time: the kernel closes a dead process's lease file, and inotify tells of it (measured: 0.2 ms
// after SIGKILL). A hint only: who is dead, the lease's lock says (platform/lease.h), and it may be released a moment after the event.
#pragma once

#include <memory>

#include "platform/file.h"
#include "platform/lease.h"

namespace arus::platform {

// One thread.
class DeathWatch {
 public:
  // Null where the kernel grants none (fs.inotify.max_user_instances): then one has to ask in steps.
  static std::unique_ptr<DeathWatch> open(const Leases& leases) noexcept;
  ~DeathWatch();
  DeathWatch(const DeathWatch&) = delete;
  DeathWatch& operator=(const DeathWatch&) = delete;

  // Whether any lease was given up since the last call.
  [[nodiscard]] bool heard() const noexcept;
  // Readable when heard() would be true.
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }

 private:
  explicit DeathWatch(Descriptor file) noexcept;
  Descriptor file_;
  std::uint64_t generation_;  // of fork
};

}  // namespace arus::platform
