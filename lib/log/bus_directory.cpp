#include "log/bus_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "platform/kill_point.h"

namespace arus::log {

using platform::exists;
using platform::fail;
using platform::fail_system;
using platform::Ownership;
using platform::pass;

namespace {

struct BusHeader {
  static constexpr std::uint64_t kMagic = 0x3A5355425355'5241;  // "ARUSBUS:"
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t reserved;
};
static_assert(sizeof(BusHeader) == 16);

constexpr std::uint32_t kMostSleepers = 4032;
constexpr std::int64_t kCreationPatience = 5'000'000'000;  // ns

std::string header_path(const std::string& bus) { return bus + "/bus"; }
std::string bells_path(const std::string& bus) { return bus + "/bells"; }
std::string fifos_path(const std::string& bus) { return bus + "/fifos"; }
std::string leases_path(const std::string& bus) { return bus + "/leases"; }
std::string topics_path(const std::string& bus) { return bus + "/topics"; }
std::string group_files_path(const std::string& bus) { return bus + "/groups"; }
std::string scratches_path(const std::string& bus) { return bus + "/tmp"; }

Result<void> check_header(const std::string& bus) {
  const std::string path = header_path(bus);
  auto file = platform::open_file(path, O_RDONLY);
  if (!file) {
    if (file.error().code() != Errc::not_found) return pass(file);
    if (!exists(bus))
      return fail(Errc::not_found, "there is no bus at {}; make one with `arus topic create` or arus::Bus::open_or_create", bus);
    return fail(Errc::not_found, "{} is a directory but not a bus (it has no file 'bus'); name another, or make one there", bus);
  }
  BusHeader header{};
  if (read(file->get(), &header, sizeof header) != static_cast<ssize_t>(sizeof header))
    return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  if (header.magic != BusHeader::kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of an arus bus", path);
  if (header.version != BusHeader::kVersion)
    return fail(Errc::version_mismatch,
                "{} has layout version {}, this library reads {}; use the arus that wrote it, or another directory", path,
                header.version, BusHeader::kVersion);
  return {};
}

// Under the bus's lock; goes on where a dead creator stopped.
Result<void> fill(const std::string& bus, const BusConfig& config, const Ownership& directories) {
  for (const std::string& path : {fifos_path(bus), leases_path(bus), topics_path(bus), scratches_path(bus)})
    if (auto made = platform::make_directory(path, directories); !made && made.error().code() != Errc::already_exists) return made;
  // Without the sticky bit: members of different users replace the state of a group that they share.
  if (auto made = platform::make_directory(group_files_path(bus), {directories.mode & 0777, directories.group_id});
      !made && made.error().code() != Errc::already_exists)
    return made;
  const Ownership shared{.mode = directories.mode & 0666, .group_id = directories.group_id};
  if (auto made = platform::create_file(group_files_path(bus) + "/lock", shared);
      !made && made.error().code() != Errc::already_exists)
    return pass(made);
  unlink(bells_path(bus).c_str());  // of a creator that died: nobody uses it before the header stands
  if (auto made = platform::Bells::create(bells_path(bus), config.sleepers, shared); !made) return made;
  ARUS_KILL_POINT("B-files");
  const std::string temporary = header_path(bus) + ".new";
  unlink(temporary.c_str());
  auto file = platform::create_file(temporary, {.mode = (directories.mode & 0444) | 0600, .group_id = directories.group_id});
  if (!file) return pass(file);
  const BusHeader header{BusHeader::kMagic, BusHeader::kVersion, 0};
  if (write(file->get(), &header, sizeof header) != static_cast<ssize_t>(sizeof header))
    return fail_system(errno, "write", temporary);
  ARUS_KILL_POINT("B-header");
  if (rename(temporary.c_str(), header_path(bus).c_str()) != 0) return fail_system(errno, "publish", header_path(bus));
  return {};
}

}  // namespace

std::string default_bus_directory() {
  if (const char* set = std::getenv("ARUS_DIR"); set != nullptr && *set != '\0') return set;
  if (access("/run/arus", W_OK | X_OK) == 0) return "/run/arus";
  return platform::format("/dev/shm/arus-{}", geteuid());
}

Result<void> create_bus(const std::string& directory, const BusConfig& config, bool must_be_new) {
  if (config.sleepers == 0 || config.sleepers > kMostSleepers)
    return fail(Errc::invalid_argument, "sleepers is {}; it must be 1 to {}", config.sleepers, kMostSleepers);
  if ((config.mode & ~01777u) != 0 || (config.mode & 0700) != 0700)
    return fail(Errc::invalid_argument, "mode of the bus is {:04o}; it must be at least 0700 and at most 01777", config.mode);
  auto group = platform::group_id(config.group);
  if (!group) return pass(group);
  const Ownership ownership{.mode = config.mode, .group_id = *group};
  bool made_directory = false;
  if (auto made = platform::make_directory(directory, ownership); made) {
    made_directory = true;
  } else if (made.error().code() != Errc::already_exists) {
    return made;
  }
  const std::string lock_path = directory + "/lock";
  if (auto file = platform::create_file(lock_path, {.mode = 0600}); !file && file.error().code() != Errc::already_exists) {
    if (made_directory) rmdir(directory.c_str());
    return pass(file);
  }
  auto lock = platform::FileLock::lock(lock_path, 0, kCreationPatience);
  if (!lock) return pass(lock);
  if (exists(header_path(directory))) {
    if (!must_be_new) return {};
    return fail(Errc::already_exists, "{} is a bus already; open it, or name another directory", directory);
  }
  auto filled = fill(directory, config, ownership);
  if (!filled) {
    unlink((group_files_path(directory) + "/lock").c_str());
    for (const std::string& path : {group_files_path(directory), fifos_path(directory), leases_path(directory),
                                    topics_path(directory), scratches_path(directory)})
      rmdir(path.c_str());
    for (const std::string& path : {bells_path(directory), header_path(directory) + ".new", lock_path}) unlink(path.c_str());
    if (made_directory) rmdir(directory.c_str());
  }
  return filled;
}

Result<std::unique_ptr<BusDirectory>> BusDirectory::open(const std::string& directory) {
  if (auto good = check_header(directory); !good) return pass(good);
  std::unique_ptr<BusDirectory> bus(new BusDirectory);
  bus->path_ = directory;
  struct stat status {};
  if (stat(group_files_path(directory).c_str(), &status) == 0)
    bus->shared_files_ = {.mode = status.st_mode & 0666,
                          .group_id = (status.st_mode & 0066) == 0060 ? static_cast<std::int64_t>(status.st_gid) : -1};
  auto leases = platform::Leases::open(leases_path(directory));
  if (!leases) return pass(leases);
  bus->leases_ = std::move(*leases);
  auto lease = platform::Lease::take(*bus->leases_);
  if (lease) {
    bus->lease_ = std::move(*lease);
  } else if (lease.error().code() != Errc::permission_denied) {
    return pass(lease);
  }
  auto bells = platform::Bells::open(bells_path(directory), fifos_path(directory), bus->leases_);
  if (bells && bus->lease_) {
    bus->bells_ = std::move(*bells);
  } else if (!bells && bells.error().code() != Errc::permission_denied) {
    return pass(bells);
  }
  if (bus->lease_) bus->sweep();
  return bus;
}

Result<void> BusDirectory::need_lease(std::string_view what_for) const {
  if (lease_ && bells_) return {};
  const Error denied = lease_ ? platform::system_error(EACCES, "open", bells_path(path_))
                              : platform::system_error(EACCES, "create a file in", leases_path(path_));
  return fail(Errc::permission_denied, "{} needs a {}, and {}", what_for, lease_ ? "bell" : "lease", denied.message());
}

std::string BusDirectory::groups_path() const { return group_files_path(path_); }
std::string BusDirectory::topic_path(std::string_view topic) const { return platform::format("{}/{}", topics_path(path_), topic); }

Result<std::vector<std::string>> BusDirectory::topics() const {
  auto names = platform::list_directory(topics_path(path_));
  if (!names && names.error().code() == Errc::not_found)
    return fail(Errc::deleted, "the bus {} was deleted; make it anew and open it again", path_);
  return names;
}

std::string BusDirectory::scratch_path() const {
  return platform::format("{}/{:016x}-{:016x}", scratches_path(path_), incarnation(), platform::random_word());
}

Result<std::string> BusDirectory::begin_topic(const Ownership& ownership) const {
  if (auto able = need_lease("creating a topic"); !able) return pass(able);
  std::string scratch = scratch_path();
  // Whoever may read a file of it may enter it.
  const std::uint32_t enter = ownership.mode | (ownership.mode & 0444) >> 2;
  auto made = platform::make_directory(scratch, {.mode = enter & 0777, .group_id = ownership.group_id});
  if (!made) {
    if (gone()) return fail(Errc::deleted, "the bus {} was deleted; make it anew and open it again", path_);
    return pass(made);
  }
  ARUS_KILL_POINT("T-begun");
  return scratch;
}

Result<void> BusDirectory::finish_topic(const std::string& scratch, std::string_view topic) const {
  ARUS_KILL_POINT("T-built");
  // A directory with content cannot be replaced by rename: two creators of one name, and one of them wins.
  if (rename(scratch.c_str(), topic_path(topic).c_str()) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY) return fail(Errc::already_exists, "topic '{}' exists already in {}", topic, path_);
    return fail_system(errno, "publish", topic_path(topic));
  }
  ARUS_KILL_POINT("T-published");
  return {};
}

Result<void> BusDirectory::remove_topic(std::string_view topic) const {
  if (auto able = need_lease("deleting a topic"); !able) return able;
  const std::string scratch = scratch_path();
  if (rename(topic_path(topic).c_str(), scratch.c_str()) != 0) {
    if (errno == ENOENT)
      return fail(Errc::not_found, "there is no topic '{}' in {}; `arus topic list` shows what there is", topic, path_);
    return fail_system(errno, "delete", topic_path(topic));
  }
  ARUS_KILL_POINT("D-renamed");
  dismantle(scratch);
  return {};
}

void BusDirectory::dismantle(const std::string& directory) const noexcept try {
  auto identity = read_identity(identity_path(directory));
  const std::uint32_t partitions = identity ? identity->config.partitions : 0;
  for (std::uint32_t i = 0; i < partitions; ++i) mark_deleted(partition_path(directory, i));
  ARUS_KILL_POINT("D-marked");
  if (bells_)
    if (auto waits = Waits::open(waits_path(directory), partitions, bells_); waits)
      for (std::uint32_t i = 0; i < partitions; ++i) {
        (*waits)->data(i).wake();
        (*waits)->room(i).wake();
      }
  ARUS_KILL_POINT("D-woken");
  platform::remove_directory(directory);
} catch (...) {  // out of memory: the next who opens the bus goes on
}

void BusDirectory::sweep() const noexcept try {
  leases_->sweep();
  const std::string scratches = scratches_path(path_);
  auto names = platform::list_directory(scratches);
  if (!names) return;
  for (const std::string& name : *names) {
    std::uint64_t owner = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), owner, 16);
    if (error == std::errc() && *end == '-' && leases_->dead(owner)) dismantle(scratches + '/' + name);
  }
} catch (...) {  // out of memory: another time
}

}  // namespace arus::log
