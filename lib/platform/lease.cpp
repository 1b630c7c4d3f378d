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

struct flock lock_of(short type) noexcept {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = kLockedByte;
  lock.l_len = 1;
  return lock;
}

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
  const char* state = dead(incarnation) ? ", dead" : "";
  if (pid[0] < '0' || pid[0] > '9') return format("{} {}{}", pid, command, state);  // a shared one
  return format("pid {} ({}){}", pid, command, state);
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

namespace {

struct Taken {
  OwnDescriptor file;
  std::uint64_t incarnation;
};

// Makes a lease's file, locked before it has its name.
Result<Taken> make(const Leases& leases, const std::string& content, short lock_type) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::uint64_t incarnation = random_word() & ~std::uint64_t{1};
    if (incarnation == kNoIncarnation) continue;
    const std::string temporary = format("{}/{}{}", leases.directory(), kTemporary, hex(incarnation));
    auto file = OwnDescriptor::create(temporary, {.mode = 0644});
    if (!file) return pass(file);
    struct flock lock = lock_of(lock_type);
    if (fcntl(file->get(), F_OFD_SETLK, &lock) != 0) continue;  // a sweeper has it, and removes it
    struct stat status {};
    if (fstat(file->get(), &status) != 0 || status.st_nlink == 0) continue;
    const std::string path = leases.path(incarnation);
    if (write(file->get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
        rename(temporary.c_str(), path.c_str()) != 0) {
      const int error = errno;
      unlink(temporary.c_str());
      return fail_system(error, "write lease", path);
    }
    return Taken{std::move(*file), incarnation};
  }
  return fail(Errc::system, "could not take a lease in {}: every attempt was swept away", leases.directory());
}

}  // namespace

Result<std::unique_ptr<Lease>> Lease::take(const Leases& leases) {
  std::string command;
  std::getline(std::ifstream("/proc/self/comm"), command);
  auto taken = make(leases, format("{} {}\n", getpid(), command), F_WRLCK);
  if (!taken) return pass(taken);
  return std::unique_ptr<Lease>(new Lease(leases.path(taken->incarnation), std::move(taken->file), taken->incarnation));
}

Result<std::unique_ptr<SharedLease>> SharedLease::take(const Leases& leases, const std::string& what) {
  auto taken = make(leases, what + '\n', F_RDLCK);
  if (!taken) return pass(taken);
  return std::unique_ptr<SharedLease>(new SharedLease(std::move(taken->file), taken->incarnation));
}

std::unique_ptr<SharedLease> SharedLease::join(const Leases& leases, std::uint64_t incarnation) {
  if (incarnation == kNoIncarnation) return nullptr;
  auto file = OwnDescriptor::open(leases.path(incarnation), O_RDONLY);
  if (!file) return nullptr;
  struct flock lock = lock_of(F_RDLCK);
  struct stat status {};
  if (fcntl(file->get(), F_OFD_SETLK, &lock) != 0 || fstat(file->get(), &status) != 0 || status.st_nlink == 0) return nullptr;
  return std::unique_ptr<SharedLease>(new SharedLease(std::move(*file), incarnation));
}

Lease::~Lease() {
  if (file_.is_ours()) unlink(path_.c_str());
}

}  // namespace arus::platform
