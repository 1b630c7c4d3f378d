// A file in shared memory, mapped by Boost.Interprocess. The only code that maps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "platform/file.h"

namespace arus::platform {

enum class Access : std::uint8_t { read, write };

// Unmapped by the destructor. The memory stays valid although the file is deleted; a file that is *truncated* while it is mapped
// is outside what can be survived (SIGBUS): whoever may write to it is trusted for that.
class Segment {
 public:
  // Reserves every page, so that running out of space is an error here (`no_space`, with need and have) and not a signal later;
  // the content is zero. The file must not exist. What fails leaves no file.
  static Result<Segment> create(const std::string& path, std::size_t size, const Ownership& ownership);
  // Maps the whole file.
  static Result<Segment> open(const std::string& path, Access access);
  // Maps the whole file and behind it, once more, its part from `mirror_at` to its end: what runs over the end of a ring goes on at
  // its beginning. `mirror_at` and the file's size must be multiples of the page size. `populate`: fault all pages in now.
  static Result<Segment> open_mirrored(const std::string& path, Access access, std::size_t mirror_at, bool populate);

  Segment() noexcept;
  Segment(Segment&&) noexcept;
  Segment& operator=(Segment&&) noexcept;
  ~Segment();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }  // of the file, without the mirror
  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  struct Regions;
  std::unique_ptr<Regions> regions_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
};

// Bytes that can still be written to the file system of `path`; 0 if unknown.
std::uint64_t space_left(const std::string& path) noexcept;

}  // namespace arus::platform
