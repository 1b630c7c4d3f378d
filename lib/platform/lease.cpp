#include "platform/lease.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>

#include "platform/fork.h"

namespace arus::platform {
namespace {

constexpr std::uint32_t kLockedByte = 0;
constexpr std::string_view kTemporary = "new-";

std::string hex(std::uint64_t number) { return format("{:016x}", number); }

}  // namespace

Result<std::shared_ptr<Leases>> Leases::open(std::string directory) {
  auto file = open_file(directory, O_RDONLY | O_DIRECTORY);
  if (!file) return pass(file);
  return std::shared_ptr<Leases>(new Leases(std::move(directory), std::move(*file)));
}

std::string Leases::path(std::uint64_t incarnation) const { return directory_ + '/' + hex(incarnation); }

bool Leases::gone() const noexcept {
  struct stat status {};
  return fstat(file_.get(), &status) == 0 && status.st_nlink == 0;
}

bool Leases::dead(std::uint64_t incarnation) const noexcept {
  if (incarnation == kNoIncarnation) return true;
  std::array<char, 17> name{};
  for (std::size_t i = 0; i < 16; ++i) name[i] = "0123456789abcdef"[incarnation >> (60 - 4 * i) & 15];
  const int number = openat(file_.get(), name.data(), O_RDONLY | O_CLOEXEC);
  if (number < 0) return errno == ENOENT && !gone();
  const Descriptor file(number);
  return is_locked(number, kLockedByte) == Held::no;
}

std::string Leases::describe(std::uint64_t incarnation) const {
  if (incarnation == kNoIncarnation) return "nobody";
  std::ifstream file(path(incarnation));
  std::string pid;
  std::string command;
  if (!(file >> pid)) return format("a process that is gone (lease {})", hex(incarnation));
  std::getline(file >> std::ws, command);
  return format("pid {} ({}){}", pid, command, dead(incarnation) ? ", dead" : "");
}

void Leases::sweep() const noexcept try {
  auto names = list_directory(directory_);
  if (!names) return;
  for (const std::string& name : *names) {
    const std::string file_path = directory_ + '/' + name;
    // Holding the lock while unlinking: whoever just made the file and is about to lock it finds it locked and starts again.
    auto lock = FileLock::try_lock(file_path, kLockedByte);
    if (lock) unlink(file_path.c_str());
  }
} catch (...) {  // out of memory: another time
}

Result<std::unique_ptr<Lease>> Lease::take(const Leases& leases) {
  const std::uint64_t generation = fork_generation();
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::uint64_t incarnation = random_word() & ~std::uint64_t{1};
    if (incarnation == kNoIncarnation) continue;
    const std::string temporary = format("{}/{}{}", leases.directory(), kTemporary, hex(incarnation));
    auto file = create_file(temporary, {.mode = 0644});
    if (!file) return pass(file);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kLockedByte;
    lock.l_len = 1;
    if (fcntl(file->get(), F_OFD_SETLK, &lock) != 0) continue;  // a sweeper has it, and removes it
    struct stat status {};
    if (fstat(file->get(), &status) != 0 || status.st_nlink == 0) continue;
    std::string command;
    std::getline(std::ifstream("/proc/self/comm"), command);
    const std::string content = format("{} {}\n", getpid(), command);
    const std::string path = leases.path(incarnation);
    if (write(file->get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
        rename(temporary.c_str(), path.c_str()) != 0) {
      const int error = errno;
      unlink(temporary.c_str());
      return fail_system(error, "write lease", path);
    }
    close_in_child(file->get());
    return std::unique_ptr<Lease>(new Lease(path, std::move(*file), incarnation, generation));
  }
  return fail(Errc::system, "could not take a lease in {}: every attempt was swept away", leases.directory());
}

Lease::~Lease() {
  if (!same_process(generation_)) {
    // The descriptor was closed when the child was forked; its number may belong to somebody else by now.
    file_.release();
    return;
  }
  unlink(path_.c_str());
  keep_in_child(file_.get());
}

}  // namespace arus::platform
