#include "group/group_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "log/checksum.h"
#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus::group {

using platform::exists;
using platform::fail;
using platform::fail_system;
using platform::pass;

struct alignas(64) GroupFile::Pulse {
  static constexpr std::uint64_t kMagic = 0x534C555053555241;  // "ARUSPULS"
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t bells;
  ring::Word generation;
  ring::Word holder;  // of the lock, for messages; 0: nobody said
};

std::string file_name(std::string_view group) {
  constexpr std::size_t kLongestFileName = 200;
  std::string name;
  for (const char c : group) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    if (plain && (c != '.' || !name.empty()))
      name += c;
    else
      name += platform::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  if (name.size() <= kLongestFileName) return name;
  return platform::format("{}%{:016x}", name.substr(0, kLongestFileName - 17), log::checksum(group.data(), group.size()));
}

namespace {

constexpr std::string_view kState = ".state";
constexpr std::string_view kPulse = ".pulse";
constexpr std::size_t kLargestState = 64u << 20;  // bytes

std::string path_of(const log::BusDirectory& bus, std::string_view group, std::string_view suffix) {
  return platform::format("{}/{}{}", bus.groups_path(), file_name(group), suffix);
}

std::uint32_t lock_byte(std::string_view group) {
  return static_cast<std::uint32_t>(log::checksum(group.data(), group.size()) >> 34) + 1;
}

Result<GroupState> read_file(const std::string& path) {
  auto file = platform::open_file(path, O_RDONLY);
  if (!file) return pass(file);
  std::string bytes;
  std::array<char, 16384> part{};
  for (;;) {
    const ssize_t got = ::read(file->get(), part.data(), part.size());
    if (got < 0) return fail_system(errno, "read", path);
    if (got == 0) break;
    bytes.append(part.data(), static_cast<std::size_t>(got));
    if (bytes.size() > kLargestState) return fail(Errc::corrupt, "{} has more than {} bytes", path, kLargestState);
  }
  return decode(bytes, path);
}

}  // namespace

Result<void> GroupFile::check_name(std::string_view name) {
  if (name.empty() || name.size() > kMostName)
    return fail(Errc::invalid_argument, "a group's name has 1 to {} characters, this one {}", kMostName, name.size());
  if (name.find('\0') != std::string_view::npos) return fail(Errc::invalid_argument, "a group's name has no zero byte in it");
  return {};
}

GroupFile::Pulse& GroupFile::pulse() const noexcept { return *reinterpret_cast<Pulse*>(segment_.data()); }

std::uint64_t GroupFile::generation() const noexcept { return pulse().generation.load(std::memory_order_acquire); }

Result<void> GroupFile::map() {
  const std::string path = path_of(bus_, name_, kPulse);
  auto segment = platform::Segment::open(path, platform::Access::write);
  if (!segment) return pass(segment);
  if (segment->size() < sizeof(Pulse)) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  const Pulse& found = *reinterpret_cast<const Pulse*>(segment->data());
  if (found.magic != Pulse::kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of an arus group", path);
  if (found.version != Pulse::kVersion)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}", path, found.version, Pulse::kVersion);
  if (found.bells != bus_.bells()->count() || segment->size() != sizeof(Pulse) + ring::WaitSet::bytes(found.bells))
    return fail(Errc::corrupt, "{}: {} sleepers do not fit its {} bytes; it was truncated or overwritten", path, found.bells,
                segment->size());
  segment_ = std::move(*segment);
  changes_ = ring::WaitSet(segment_.data() + sizeof(Pulse), bus_.bells().get());
  return {};
}

Result<platform::FileLock> GroupFile::lock(std::int64_t patience) const {
  auto lock = platform::FileLock::lock(bus_.groups_path() + "/lock", lock_byte(name_), patience);
  if (lock || lock.error().code() != Errc::timed_out) return lock;
  const std::uint64_t holder = segment_ ? pulse().holder.load(std::memory_order_relaxed) : platform::kNoIncarnation;
  return fail(Errc::timed_out, "group '{}' has been changed by {} for {} ms; is it stopped?", name_,
              holder == platform::kNoIncarnation ? "another process" : bus_.leases()->describe(holder), patience / 1'000'000);
}

Result<void> GroupFile::write(const GroupState& state) const {
  const std::string path = path_of(bus_, name_, kState);
  const std::string fresh = path + ".new";
  unlink(fresh.c_str());
  auto file = platform::create_file(fresh, bus_.shared_files());
  if (!file) return pass(file);
  const std::string bytes = encode(state);
  if (::write(file->get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    const int error = errno;
    unlink(fresh.c_str());
    return fail_system(error, "write", fresh);
  }
  ARUS_KILL_POINT("H-written");
  if (rename(fresh.c_str(), path.c_str()) != 0) return fail_system(errno, "replace", path);
  ARUS_KILL_POINT("H-renamed");
  return {};
}

Result<std::shared_ptr<GroupFile>> GroupFile::open(const log::BusDirectory& bus, const std::string& name) {
  if (auto good = check_name(name); !good) return pass(good);
  if (auto able = bus.need_lease("a consumer group"); !able) return pass(able);
  std::shared_ptr<GroupFile> group(new GroupFile(bus, name));
  if (!exists(path_of(bus, name, kState)))
    return fail(Errc::not_found, "there is no group '{}' in {}; `arus group list` shows what there is", name, bus.path());
  if (auto mapped = group->map(); !mapped) return pass(mapped);
  return group;
}

Result<std::shared_ptr<GroupFile>> GroupFile::open_or_create(const log::BusDirectory& bus, const std::string& name,
                                                             const Policy& policy) {
  auto found = open(bus, name);
  if (found || found.error().code() != Errc::not_found) return found;
  std::shared_ptr<GroupFile> group(new GroupFile(bus, name));
  auto lock = group->lock(kPatience);
  if (!lock) return pass(lock);
  if (!exists(path_of(bus, name, kState))) {
    const std::string path = path_of(bus, name, kPulse);
    const std::string fresh = path + ".new";
    unlink(fresh.c_str());
    const std::uint32_t bells = bus.bells()->count();
    auto made = platform::Segment::create(fresh, sizeof(Pulse) + ring::WaitSet::bytes(bells), bus.shared_files());
    if (!made) return pass(made);
    Pulse& pulse = *reinterpret_cast<Pulse*>(made->data());
    pulse.magic = Pulse::kMagic;
    pulse.version = Pulse::kVersion;
    pulse.bells = bells;
    ARUS_KILL_POINT("H-pulse");
    if (rename(fresh.c_str(), path.c_str()) != 0) return fail_system(errno, "publish", path);
    GroupState state;
    state.name = name;
    state.policy = policy;
    if (auto written = group->write(state); !written) return pass(written);
  }
  if (auto mapped = group->map(); !mapped) return pass(mapped);
  return group;
}

Result<std::vector<std::string>> GroupFile::list(const log::BusDirectory& bus) {
  auto files = platform::list_directory(bus.groups_path());
  if (!files) return pass(files);
  std::vector<std::string> names;
  for (const std::string& file : *files) {
    if (!file.ends_with(kState)) continue;
    const auto state = read_file(bus.groups_path() + '/' + file);
    // One that is gone meanwhile is no group; one that cannot be read is shown by its file's name.
    if (!state && state.error().code() == Errc::not_found) continue;
    names.push_back(state ? state->name : file.substr(0, file.size() - kState.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<GroupState> GroupFile::read(const log::BusDirectory& bus, const std::string& name) {
  auto state = read_file(path_of(bus, name, kState));
  if (!state && state.error().code() == Errc::not_found)
    return fail(Errc::not_found, "there is no group '{}' in {}; `arus group list` shows what there is", name, bus.path());
  return state;
}

Result<GroupState> GroupFile::read() const { return read(bus_, name_); }

namespace {

std::string departure(std::uint64_t member) { return platform::format(".left-{:016x}", member); }

}  // namespace

void GroupFile::note_departure(std::uint64_t member) const {
  [[maybe_unused]] auto noted = platform::create_file(path_of(bus_, name_, departure(member)), bus_.shared_files());
}
bool GroupFile::has_departed(std::uint64_t member) const { return exists(path_of(bus_, name_, departure(member))); }
void GroupFile::forget_departure(std::uint64_t member) const noexcept try {
  unlink(path_of(bus_, name_, departure(member)).c_str());
} catch (...) {  // out of memory: a file that says nothing any more
}

Result<void> GroupFile::change(const Edit& edit, std::int64_t patience) {
  auto held = lock(patience);
  if (!held) return pass(held);
  pulse().holder.store(bus_.incarnation(), std::memory_order_relaxed);
  ARUS_KILL_POINT("H-locked");
  auto done = [&]() -> Result<void> {
    auto state = read();
    if (!state) return pass(state);
    auto edited = edit(*state);
    if (!edited) return pass(edited);
    if (!*edited) return {};
    state->generation = std::max(state->generation, generation()) + 1;
    if (auto written = write(*state); !written) return written;
    pulse().generation.store(state->generation, std::memory_order_release);
    ARUS_KILL_POINT("H-told");
    changes_.wake();
    return {};
  }();
  pulse().holder.store(platform::kNoIncarnation, std::memory_order_relaxed);
  return done;
}

Result<void> GroupFile::remove(const log::BusDirectory& bus, const std::string& name,
                               const std::function<Result<void>(const GroupState&)>& before) {
  if (auto good = check_name(name); !good) return good;
  if (auto able = bus.need_lease("a consumer group"); !able) return able;
  const GroupFile group(bus, name);
  auto held = group.lock(kPatience);
  if (!held) return pass(held);
  auto state = group.read();
  // What cannot be read has no members that could still read it; cursors tell of readers by themselves.
  if (!state && state.error().code() != Errc::corrupt && state.error().code() != Errc::version_mismatch) return pass(state);
  if (!state) {
    state = GroupState{};
    state->name = name;
  }
  if (auto undone = before(*state); !undone) return undone;
  ARUS_KILL_POINT("H-forgotten");
  const std::string path = path_of(bus, name, kState);
  if (unlink(path.c_str()) != 0) return fail_system(errno, "delete", path);
  unlink((path + ".new").c_str());  // of a member that died while it wrote
  unlink(path_of(bus, name, kPulse).c_str());
  return {};
}

}  // namespace arus::group
