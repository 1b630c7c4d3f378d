// A directory in memory for one segment's bus, gone with the object that made it, also after an interrupt. What a killed run
// left is removed by the next one.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace bench {

class ScratchDirectory {
 public:
  // In the parent: the children only use the path.
  ScratchDirectory() : owner_(::getpid()) {
    static const bool swept = sweep();
    static std::atomic<unsigned> count = 0;
    static_cast<void>(swept);
    path_ = kPrefix + std::to_string(owner_) + "-" + std::to_string(++count);
    std::filesystem::create_directory(path_);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() {
    std::error_code ignored;
    if (::getpid() == owner_) std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  inline static const std::string kPrefix = "/dev/shm/arus-bench-";

  static bool sweep() {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored)) {
      const std::string path = entry.path();
      if (!path.starts_with(kPrefix)) continue;
      const pid_t pid = std::atoi(path.c_str() + kPrefix.size());
      if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) std::filesystem::remove_all(path, ignored);
    }
    return true;
  }

  pid_t owner_;
  std::string path_;
};

}  // namespace bench
