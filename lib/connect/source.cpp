#include "connect/source.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

namespace arus::connect {

void ItemBuffer::clear() noexcept {
  bytes_.clear();
  parts_.clear();
  items_.clear();
}

void ItemBuffer::add(std::string_view value, std::optional<std::string_view> key, std::optional<Timestamp> time,
                     std::uint64_t number) {
  const std::size_t key_at = bytes_.size();
  if (key) bytes_.insert(bytes_.end(), key->begin(), key->end());
  const std::size_t value_at = bytes_.size();
  bytes_.insert(bytes_.end(), value.begin(), value.end());
  parts_.push_back({key_at, value_at, bytes_.size(), key.has_value(), time, number});
}

std::span<const Item> ItemBuffer::items() {
  items_.clear();
  for (const Part& part : parts_) {
    Item item{.value = {bytes_.data() + part.value_at, part.end - part.value_at}, .time = part.time, .number = part.number};
    if (part.has_key) item.key = std::string_view(bytes_.data() + part.key_at, part.value_at - part.key_at);
    items_.push_back(item);
  }
  return items_;
}

Ready wait_readable(int descriptor, int interrupt, std::chrono::nanoseconds timeout) noexcept {
  std::array<pollfd, 2> waits{pollfd{descriptor, POLLIN, 0}, pollfd{interrupt, POLLIN, 0}};  // poll() passes over those below 0
  const auto ns = std::clamp<std::int64_t>(timeout.count(), 0, std::int64_t{86'400} * 1'000'000'000);
  const timespec limit{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  const int ready = ppoll(waits.data(), waits.size(), &limit, nullptr);
  if (ready < 0) return errno == EINTR ? Ready::timeout : Ready::yes;  // what is wrong with it is said by its read()
  if (waits[1].revents != 0) return Ready::interrupted;
  return waits[0].revents != 0 ? Ready::yes : Ready::timeout;
}

}  // namespace arus::connect
