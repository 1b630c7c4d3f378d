#include "sending.h"

#include <algorithm>

#include "stop.h"
#include "terminal.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kSlice{250};  // of waiting, between looks at whether we are to stop
constexpr std::chrono::seconds kQuietly{2};

bool is_waiting(Errc code) noexcept { return code == Errc::timed_out || code == Errc::full; }

}  // namespace

bool concerns_record(Errc code) noexcept {
  return code == Errc::too_large || code == Errc::invalid_argument || code == Errc::schema_mismatch || code == Errc::out_of_range;
}

Sent Sender::send(std::span<const Message> messages) {
  Sent sent;
  auto waiting_since = Clock::now();
  bool told = false;
  while (sent.count < messages.size()) {
    const auto rest = messages.subspan(sent.count);
    const auto waited = Clock::now() - waiting_since;
    const auto slice = std::clamp<std::chrono::nanoseconds>(patience_ - waited, std::chrono::nanoseconds(0), kSlice);
    auto result = producer_.send_many(rest, slice);
    if (!result && !is_waiting(result.error().code()) && rest.size() > 1) {
      // One of the batch is to blame. If it is not the first, those before it go one by one, until it is.
      auto first = producer_.send(rest[0].value, rest[0].envelope, slice);
      result = first ? Result<std::size_t>(1) : Result<std::size_t>(tl::unexpect, first.error());
    }
    if (result && *result > 0) {
      sent.count += *result;
      waiting_since = Clock::now();
    } else if (result || is_waiting(result.error().code())) {
      if (Stop::requested()) return sent;
      const auto now_waited = Clock::now() - waiting_since;
      if (now_waited >= patience_) {
        sent.error = result ? Error(Errc::timed_out) : result.error();
        return sent;
      }
      if (!told && now_waited >= kQuietly) {
        told = true;
        warn(result ? "waiting for room in the ring" : std::string("waiting: ").append(result.error().message()));
      }
    } else {
      sent.error = result.error();
      return sent;
    }
  }
  return sent;
}

}  // namespace arus::tool
