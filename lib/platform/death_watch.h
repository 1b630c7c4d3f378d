// Hearing of deaths without asking all the time: the kernel closes a dead process's lease file, and inotify tells of it (measured: 0.2 ms
// after SIGKILL). A hint only: who is dead, the lease's lock says (platform/lease.h), and it may be released a moment after the event.
#pragma once

#include <memory>
#include <utility>

#include "platform/file.h"
#include "platform/lease.h"

namespace arus::platform {

// One thread.
class DeathWatch {
 public:
  // Null where the kernel grants none (fs.inotify.max_user_instances): then one has to ask in steps.
  static std::unique_ptr<DeathWatch> open(const Leases& leases) noexcept;

  // Whether any lease was given up since the last call.
  [[nodiscard]] bool heard() const noexcept;
  // Readable when heard() would be true.
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }

 private:
  explicit DeathWatch(OwnDescriptor file) noexcept : file_(std::move(file)) {}
  OwnDescriptor file_;
};

}  // namespace arus::platform
