#include "connect/stream_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace arus::connect {

using platform::fail;

StreamSource::StreamSource(platform::Descriptor own, int descriptor, std::string name, TextDecoder decoder, int interrupt)
    : own_(std::move(own)),
      descriptor_(descriptor),
      name_(std::move(name)),
      decoder_(std::move(decoder)),
      interrupt_(interrupt),
      buffer_(64 << 10) {}

Result<std::unique_ptr<StreamSource>> StreamSource::of_descriptor(int descriptor, std::string name, TextFormat format,
                                                                  int interrupt) {
  auto decoder = TextDecoder::make(std::move(format));
  if (!decoder) return platform::pass(decoder);
  return std::unique_ptr<StreamSource>(new StreamSource({}, descriptor, std::move(name), *std::move(decoder), interrupt));
}

Result<std::unique_ptr<StreamSource>> StreamSource::of_file(const std::string& path, TextFormat format, int interrupt) {
  auto file = platform::open_file(path, O_RDONLY);
  if (!file) return platform::pass(file);
  auto decoder = TextDecoder::make(std::move(format));
  if (!decoder) return platform::pass(decoder);
  const int descriptor = file->get();
  return std::unique_ptr<StreamSource>(new StreamSource(*std::move(file), descriptor, path, *std::move(decoder), interrupt));
}

Result<Fetched> StreamSource::fetch(std::chrono::nanoseconds timeout) {
  items_.clear();
  if (wait_readable(descriptor_, interrupt_, timeout) != Ready::yes) return Fetched{};
  const ssize_t got = read(descriptor_, buffer_.data(), buffer_.size());
  if (got < 0) {
    if (errno == EINTR || errno == EAGAIN) return Fetched{};
    return platform::fail_system(errno, "read", name_);
  }
  const bool ended = got == 0;
  const auto decoded = ended ? decoder_.finish(items_, notices())
                             : decoder_.feed({buffer_.data(), static_cast<std::size_t>(got)}, items_, notices());
  if (!decoded) return fail(decoded.error().code(), "{}: {}", name_, decoded.error().message());
  return Fetched{items_.items(), ended};
}

}  // namespace arus::connect
