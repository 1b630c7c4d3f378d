// Files: descriptors that close themselves, whole-file helpers with our errors, and locks that the kernel releases at death.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "platform/error.h"
#include "platform/fork.h"

namespace arus::platform {

class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();
  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] bool valid() const noexcept { return number_ >= 0; }
  int release() noexcept { return std::exchange(number_, -1); }  // forgets it without closing

 private:
  int number_ = -1;
};

// Permissions and ownership of what is created: the mode is set exactly (the umask does not apply), the group if `group_id` is not -1.
struct Ownership {
  std::uint32_t mode = 0600;
  std::int64_t group_id = -1;
};
// The id of a Unix group by name or number; -1 for an empty name.
Result<std::int64_t> group_id(const std::string& name);

Result<Descriptor> open_file(const std::string& path, int flags);
// Creates a file that must not exist yet.
Result<Descriptor> create_file(const std::string& path, const Ownership& ownership);

// A descriptor that forked children do not keep, whenever they are forked (but for raw clone(), and for more than 1024 at a time): theirs is closed
// as they begin, and the destructor does nothing there.
class OwnDescriptor {
 public:
  OwnDescriptor() noexcept = default;
  // Of open_file() and create_file().
  static Result<OwnDescriptor> open(const std::string& path, int flags);
  static Result<OwnDescriptor> create(const std::string& path, const Ownership& ownership);
  // What `open()` returns, a descriptor or -1 and errno. No thread forks meanwhile: such a child would keep it, and what it locks.
  template <class Open>
  static OwnDescriptor by(Open open) noexcept {
    fork_generation();  // from here on who forks knows
    const NoFork no_fork;
    return OwnDescriptor(Descriptor(open()));
  }
  OwnDescriptor(OwnDescriptor&& other) noexcept = default;
  OwnDescriptor& operator=(OwnDescriptor&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(generation_, other.generation_);
    return *this;
  }
  ~OwnDescriptor();
  [[nodiscard]] int get() const noexcept { return file_.get(); }
  [[nodiscard]] bool valid() const noexcept { return file_.valid(); }
  // In the process that has opened it.
  [[nodiscard]] bool is_ours() const noexcept { return same_process(generation_); }

 private:
  explicit OwnDescriptor(Descriptor file) noexcept;
  Descriptor file_;
  std::uint64_t generation_ = 0;
};

Result<void> make_directory(const std::string& path, const Ownership& ownership);
// The names in a directory, without "." and "..".
Result<std::vector<std::string>> list_directory(const std::string& path);
// Removes a directory and the files in it, as far as they can be removed; no error for what is not there.
void remove_directory(const std::string& path) noexcept;
[[nodiscard]] bool exists(const std::string& path) noexcept;

// Random, never 0.
std::uint64_t random_word();

// A lock on one byte of a file, by an open-file-description lock on a descriptor that is opened for the attempt: so threads of one
// process exclude each other as well, and the kernel releases it when the holder dies. Closed in a forked child. Never waits.
class FileLock {
 public:
  // The error `in_use` when somebody else holds it.
  static Result<FileLock> try_lock(const std::string& path, std::uint32_t byte);
  // Waits for at most `ns` by trying again; for the control plane only.
  static Result<FileLock> lock(const std::string& path, std::uint32_t byte, std::int64_t ns);

 private:
  explicit FileLock(OwnDescriptor file) noexcept : file_(std::move(file)) {}
  OwnDescriptor file_;
};

// Whether anybody holds the lock that FileLock takes. Needs read permission only.
enum class Held : std::uint8_t { yes, no, unknown };
Held is_locked(int descriptor, std::uint32_t byte) noexcept;

}  // namespace arus::platform
