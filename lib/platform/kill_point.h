// Named places where a test kills or stops the process. Compiled to nothing in the product; in the library `arus_kill` each
// calls the function that the test has set.
#pragma once

namespace arus::platform {

#if defined(ARUS_KILL_POINTS)
using KillHook = void (*)(const char* point);
inline KillHook kill_hook = nullptr;
inline void kill_point(const char* point) {
  if (kill_hook != nullptr) kill_hook(point);
}
#define ARUS_KILL_POINT(name) ::arus::platform::kill_point(name)
#else
#define ARUS_KILL_POINT(name) static_cast<void>(0)
#endif

}  // namespace arus::platform
