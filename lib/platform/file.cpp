#include "platform/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>

#include "platform/clock.h"

namespace arus::platform {

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

OwnDescriptor::OwnDescriptor(Descriptor file) noexcept : file_(std::move(file)), generation_(fork_generation()) {
  if (file_.valid()) close_in_child(file_.get());
}

OwnDescriptor::~OwnDescriptor() {
  if (!file_.valid()) return;
  if (!is_ours()) {  // closed when the child was forked; its number may belong to somebody else by now
    file_.release();
    return;
  }
  const NoFork no_fork;
  keep_in_child(file_.get());
  const Descriptor closed = std::move(file_);
}

Result<std::int64_t> group_id(const std::string& name) {
  if (name.empty()) return -1;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc() && end == name.data() + name.size()) return number;
  const group* found = getgrnam(name.c_str());
  if (found == nullptr)
    return fail(Errc::invalid_argument, "group '{}' does not exist; name one that `getent group` lists, or a number", name);
  return found->gr_gid;
}

Result<Descriptor> open_file(const std::string& path, int flags) {
  const int file = open(path.c_str(), flags | O_CLOEXEC);
  if (file < 0) return fail_system(errno, "open", path);
  return Descriptor(file);
}

namespace {

constexpr int kNewFile = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;

// To whom a new file is to belong; it is gone if that fails.
Result<void> give(int file, const std::string& path, const Ownership& ownership) {
  const auto gone = [&](const char* call) {
    const int error = errno;
    unlink(path.c_str());
    return fail_system(error, call, path);
  };
  if (ownership.group_id >= 0 && fchown(file, static_cast<uid_t>(-1), static_cast<gid_t>(ownership.group_id)) != 0)
    return gone("chown");
  if (fchmod(file, ownership.mode) != 0) return gone("chmod");
  return {};
}

}  // namespace

Result<Descriptor> create_file(const std::string& path, const Ownership& ownership) {
  Descriptor file(open(path.c_str(), kNewFile, 0600));
  if (!file.valid()) return fail_system(errno, "create", path);
  if (auto given = give(file.get(), path, ownership); !given) return pass(given);
  return file;
}

Result<OwnDescriptor> OwnDescriptor::open(const std::string& path, int flags) {
  auto file = by([&] { return ::open(path.c_str(), flags | O_CLOEXEC); });
  if (!file.valid()) return fail_system(errno, "open", path);
  return file;
}

Result<OwnDescriptor> OwnDescriptor::create(const std::string& path, const Ownership& ownership) {
  auto file = by([&] { return ::open(path.c_str(), kNewFile, 0600); });
  if (!file.valid()) return fail_system(errno, "create", path);
  if (auto given = give(file.get(), path, ownership); !given) return pass(given);
  return file;
}

Result<void> make_directory(const std::string& path, const Ownership& ownership) {
  if (mkdir(path.c_str(), 0700) != 0) return fail_system(errno, "create directory", path);
  auto directory = open_file(path, O_RDONLY | O_DIRECTORY);
  if (!directory) return pass(directory);
  auto given = give(directory->get(), path, ownership);
  if (!given) rmdir(path.c_str());
  return given;
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return fail_system(errno, "list", path);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

void remove_directory(const std::string& path) noexcept try {
  if (auto names = list_directory(path); names)
    for (const std::string& name : *names) unlink((path + '/' + name).c_str());
  rmdir(path.c_str());
} catch (...) {  // out of memory: what is left is swept by the next who comes by
}

bool exists(const std::string& path) noexcept {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

std::uint64_t random_word() {
  std::uint64_t word = 0;
  while (word == 0)
    if (getrandom(&word, sizeof word, 0) != sizeof word) word = static_cast<std::uint64_t>(boot_time()) * 0x9E3779B97F4A7C15u;
  return word;
}

namespace {

struct flock byte_lock(std::uint32_t byte, short type) noexcept {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

}  // namespace

Result<FileLock> FileLock::try_lock(const std::string& path, std::uint32_t byte) {
  auto file = OwnDescriptor::open(path, O_RDWR);
  if (!file) return pass(file);
  struct flock lock = byte_lock(byte, F_WRLCK);
  if (fcntl(file->get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return fail(Errc::in_use);
    return fail_system(errno, "lock", path);
  }
  return FileLock(std::move(*file));
}

Result<FileLock> FileLock::lock(const std::string& path, std::uint32_t byte, std::int64_t ns) {
  const Deadline deadline = Deadline::after(ns);
  for (;;) {
    auto lock = try_lock(path, byte);
    if (lock || lock.error().code() != Errc::in_use) return lock;
    if (deadline.passed())
      return fail(Errc::timed_out, "{} has been locked by another process for {} ms; is it stopped?", path, ns / 1'000'000);
    const timespec nap{0, 200'000};
    nanosleep(&nap, nullptr);
  }
}

Held is_locked(int descriptor, std::uint32_t byte) noexcept {
  struct flock lock = byte_lock(byte, F_WRLCK);
  if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0) return Held::unknown;
  return lock.l_type == F_UNLCK ? Held::no : Held::yes;
}

}  // namespace arus::platform
