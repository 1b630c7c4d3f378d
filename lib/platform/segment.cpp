#include "platform/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>

namespace arus::platform {
namespace bip = boost::interprocess;

struct Segment::Regions {
  bip::mapped_region whole;
  bip::mapped_region mirror;
};

Segment::Segment() noexcept = default;
Segment::Segment(Segment&& other) noexcept
    : regions_(std::move(other.regions_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}
Segment& Segment::operator=(Segment&& other) noexcept {
  std::swap(regions_, other.regions_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}
Segment::~Segment() = default;

namespace {

bip::mode_t mode_of(Access access) { return access == Access::write ? bip::read_write : bip::read_only; }

// Checks what Boost would only answer with a bare error code: that the file is there, ours to open, and a file of some size.
Result<std::size_t> size_of(const std::string& path, Access access) {
  auto file = open_file(path, access == Access::write ? O_RDWR : O_RDONLY);
  if (!file) return pass(file);
  struct stat status {};
  if (fstat(file->get(), &status) != 0) return fail_system(errno, "stat", path);
  if (!S_ISREG(status.st_mode)) return fail(Errc::corrupt, "{} is not a file", path);
  if (status.st_size <= 0) return fail(Errc::corrupt, "{} is empty; it was truncated, or never written", path);
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

Result<Segment> Segment::create(const std::string& path, std::size_t size, const Ownership& ownership) {
  auto file = create_file(path, ownership);
  if (!file) return pass(file);
  if (const int error = posix_fallocate(file->get(), 0, static_cast<off_t>(size)); error != 0) {
    unlink(path.c_str());
    if (error == ENOSPC)
      return fail(Errc::no_space,
                  "{} needs {} bytes and its file system has {} left; free some, choose smaller partitions, or another directory",
                  path, size, space_left(path.substr(0, path.find_last_of('/'))));
    return fail_system(error, "reserve", path);
  }
  auto segment = open(path, Access::write);
  if (!segment) unlink(path.c_str());
  return segment;
}

Result<Segment> Segment::open(const std::string& path, Access access) {
  auto size = size_of(path, access);
  if (!size) return pass(size);
  Segment segment;
  segment.regions_ = std::make_unique<Regions>();
  try {
    const bip::file_mapping mapping(path.c_str(), mode_of(access));
    bip::mapped_region(mapping, mode_of(access), 0, *size).swap(segment.regions_->whole);
  } catch (const bip::interprocess_exception& error) {
    return fail_system(error.get_native_error(), "map", path);
  }
  segment.data_ = static_cast<std::byte*>(segment.regions_->whole.get_address());
  segment.size_ = *size;
  segment.path_ = path;
  return segment;
}

Result<Segment> Segment::open_mirrored(const std::string& path, Access access, std::size_t mirror_at, bool populate) {
  auto size = size_of(path, access);
  if (!size) return pass(size);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (mirror_at >= *size || mirror_at % page != 0 || *size % page != 0)
    return fail(Errc::corrupt, "{} has {} bytes, which does not fit its ring at {}; it was truncated or overwritten", path, *size,
                mirror_at);
  const std::size_t total = *size + (*size - mirror_at);
  // Address space for both, then each mapped over its part of it.
  void* reserved = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return fail_system(errno, "reserve address space for", path);
  auto* base = static_cast<std::byte*>(reserved);
  Segment segment;
  segment.regions_ = std::make_unique<Regions>();
  const bip::map_options_t options = MAP_FIXED | (populate ? MAP_POPULATE : 0);
  try {
    const bip::file_mapping mapping(path.c_str(), mode_of(access));
    bip::mapped_region(mapping, mode_of(access), 0, *size, base, options).swap(segment.regions_->whole);
    bip::mapped_region(mapping, mode_of(access), static_cast<bip::offset_t>(mirror_at), *size - mirror_at, base + *size, options)
        .swap(segment.regions_->mirror);
  } catch (const bip::interprocess_exception& error) {
    // Only what no region has taken over: the regions unmap their own part.
    const std::size_t taken = segment.regions_->whole.get_address() != nullptr ? *size : 0;
    munmap(base + taken, total - taken);
    return fail_system(error.get_native_error(), "map", path);
  }
  segment.data_ = base;
  segment.size_ = *size;
  segment.path_ = path;
  return segment;
}

std::uint64_t space_left(const std::string& path) noexcept {
  struct statvfs status {};
  return statvfs(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize : 0;
}

}  // namespace arus::platform
