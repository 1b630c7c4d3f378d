#include "platform/death_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>

namespace arus::platform {

std::unique_ptr<DeathWatch> DeathWatch::open(const Leases& leases) noexcept try {
  auto file = OwnDescriptor::by([] { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); });
  if (!file.valid()) return nullptr;
  if (inotify_add_watch(file.get(), leases.directory().c_str(), IN_CLOSE_WRITE | IN_DELETE | IN_ONLYDIR) < 0) return nullptr;
  return std::unique_ptr<DeathWatch>(new DeathWatch(std::move(file)));
} catch (...) {  // out of memory: as if the kernel had refused
  return nullptr;
}

bool DeathWatch::heard() const noexcept {
  alignas(inotify_event) std::array<char, 4096> events;  // NOLINT(cppcoreguidelines-pro-type-member-init): read() fills it
  bool any = false;
  while (read(file_.get(), events.data(), events.size()) > 0) any = true;
  return any;
}

}  // namespace arus::platform
