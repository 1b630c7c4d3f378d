#include "connect/tty_source.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace arus::connect {

using platform::fail;
using platform::format;

namespace {

struct Speed {
  unsigned baud;
  speed_t code;
};
constexpr std::array kSpeeds{Speed{300, B300},         Speed{600, B600},         Speed{1200, B1200},       Speed{2400, B2400},
                             Speed{4800, B4800},       Speed{9600, B9600},       Speed{19200, B19200},     Speed{38400, B38400},
                             Speed{57600, B57600},     Speed{115200, B115200},   Speed{230400, B230400},   Speed{460800, B460800},
                             Speed{500000, B500000},   Speed{576000, B576000},   Speed{921600, B921600},   Speed{1000000, B1000000},
                             Speed{1152000, B1152000}, Speed{1500000, B1500000}, Speed{2000000, B2000000}, Speed{2500000, B2500000},
                             Speed{3000000, B3000000}, Speed{3500000, B3500000}, Speed{4000000, B4000000}};

Result<speed_t> speed_of(unsigned baud) {
  for (const Speed& speed : kSpeeds) {
    if (speed.baud == baud) return speed.code;
  }
  return fail(Errc::invalid_argument, "{} baud is not a rate of serial lines; use one such as 9600, 115200, 921600 or 4000000",
              baud);
}

Result<tcflag_t> flags_of(const std::string& mode) {
  const auto wrong = [&] {
    return fail(Errc::invalid_argument,
                "'{}' is not a serial mode; expected data bits 7 or 8, parity N, E or O, and stop bits 1 or 2, "
                "such as 8N1",
                mode);
  };
  if (mode.size() != 3) return wrong();
  tcflag_t flags = 0;
  switch (mode[0]) {
    case '7': flags |= CS7; break;
    case '8': flags |= CS8; break;
    default: return wrong();
  }
  switch (mode[1]) {
    case 'N':
    case 'n': break;
    case 'E':
    case 'e': flags |= PARENB; break;
    case 'O':
    case 'o': flags |= PARENB | PARODD; break;
    default: return wrong();
  }
  switch (mode[2]) {
    case '1': break;
    case '2': flags |= CSTOPB; break;
    default: return wrong();
  }
  return flags;
}

}  // namespace

void FrameDecoder::feed(std::string_view input, ItemBuffer& items) {
  pending_.append(input);
  std::string_view rest = pending_;
  for (;;) {
    if (!sync_.empty()) {
      std::size_t at = rest.find(sync_);
      if (at == std::string_view::npos) {  // its first bytes may stand at the end
        at = rest.size() - std::min(rest.size(), sync_.size() - 1);
        while (at < rest.size() && !sync_.starts_with(rest.substr(at))) ++at;
      }
      skipped_ += at;
      rest.remove_prefix(at);
      if (rest.size() < sync_.size()) break;
    }
    if (rest.size() < size_) break;
    items.add(rest.substr(0, size_), std::nullopt, std::nullopt, ++frames_);
    rest.remove_prefix(size_);
  }
  pending_.erase(0, pending_.size() - rest.size());
}

std::size_t FrameDecoder::reset() {
  const std::size_t dropped = pending_.size();
  pending_.clear();
  return dropped;
}

TtySource::TtySource(TtyOptions options, TextDecoder decoder)
    : options_(std::move(options)),
      lines_(std::move(decoder)),
      frames_(options_.frame_bytes, options_.sync),
      reconnect_(options_.longest_backoff),
      buffer_(16 << 10) {}

Result<std::unique_ptr<TtySource>> TtySource::open(TtyOptions options) {
  if (auto speed = speed_of(options.baud); !speed) return platform::pass(speed);
  if (auto flags = flags_of(options.mode); !flags) return platform::pass(flags);
  if (!options.sync.empty() && options.sync.size() >= options.frame_bytes) {
    return fail(Errc::invalid_argument, "the sync bytes must be fewer than the frame's {} bytes, and are {}", options.frame_bytes,
                options.sync.size());
  }
  auto decoder = TextDecoder::make(options.text);
  if (!decoder) return platform::pass(decoder);
  auto source = std::unique_ptr<TtySource>(new TtySource(std::move(options), *std::move(decoder)));
  if (auto connected = source->connect(); !connected) {
    if (auto waits = source->give_up_or_wait(connected.error()); !waits) return platform::pass(waits);
  }
  return source;
}

Result<void> TtySource::connect() {
  // Without blocking: else open() waits for a carrier that a sensor never raises.
  platform::Descriptor device(::open(options_.device.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!device.valid()) return platform::fail_system(errno, "open", options_.device);
  termios settings{};
  if (tcgetattr(device.get(), &settings) != 0) {
    if (errno == ENOTTY) return fail(Errc::invalid_argument, "{} is not a serial line", options_.device);
    return platform::fail_system(errno, "tcgetattr", options_.device);
  }
  cfmakeraw(&settings);
  settings.c_cflag &= ~static_cast<tcflag_t>(CSIZE | PARENB | PARODD | CSTOPB | CRTSCTS);
  settings.c_cflag |= *flags_of(options_.mode) | CREAD | CLOCAL | (options_.flow_control ? CRTSCTS : 0U);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  const speed_t speed = *speed_of(options_.baud);
  cfsetispeed(&settings, speed);
  cfsetospeed(&settings, speed);
  if (tcsetattr(device.get(), TCSANOW, &settings) != 0) return platform::fail_system(errno, "tcsetattr", options_.device);
  device_ = std::move(device);
  driver_before_.reset();
  read_driver_counters();
  if (reconnect_.connected()) tell(format("{} is back", options_.device));
  return Done{};
}

Result<void> TtySource::give_up_or_wait(const Error& error) {
  device_ = {};
  cut_off_ += options_.frame_bytes == 0 ? lines_.reset() : frames_.reset();
  if (!options_.reconnect || error.code() == Errc::invalid_argument) return tl::unexpected<Error>(error);
  if (reconnect_.lost()) tell(format("{}; waiting for it to come back", error.message()));
  return Done{};
}

Result<Fetched> TtySource::fetch(std::chrono::nanoseconds timeout) {
  items_.clear();
  if (!device_.valid()) {
    if (!reconnect_.due(options_.interrupt, timeout)) return Fetched{};
    if (auto connected = connect(); !connected) {
      if (auto waits = give_up_or_wait(connected.error()); !waits) return platform::pass(waits);
      return Fetched{};
    }
  }
  if (wait_readable(device_.get(), options_.interrupt, timeout) != Ready::yes) return Fetched{};
  const ssize_t got = read(device_.get(), buffer_.data(), buffer_.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Fetched{};
  if (got <= 0) {
    const int error = got < 0 ? errno : EIO;
    const Error vanished(error == EIO ? Errc::not_found : Errc::system,
                         format("{} has vanished: {}", options_.device, std::strerror(error)));
    if (auto waits = give_up_or_wait(vanished); !waits) return platform::pass(waits);
    return Fetched{};
  }
  const std::string_view input(buffer_.data(), static_cast<std::size_t>(got));
  if (options_.frame_bytes > 0) {
    frames_.feed(input, items_);
  } else if (auto decoded = lines_.feed(input, items_, notices()); !decoded) {
    return fail(decoded.error().code(), "{}: {}", options_.device, decoded.error().message());
  }
  return Fetched{items_.items()};
}

void TtySource::read_driver_counters() {
  serial_icounter_struct now{};
  if (!device_.valid() || ioctl(device_.get(), TIOCGICOUNT, &now) != 0) return;  // not every driver counts
  if (driver_before_) {
    const auto since = [&](int serial_icounter_struct::*counter) {
      return static_cast<std::uint64_t>(static_cast<unsigned>(now.*counter) - static_cast<unsigned>((*driver_before_).*counter));
    };
    driver_.overruns += since(&serial_icounter_struct::overrun) + since(&serial_icounter_struct::buf_overrun);
    driver_.frame_errors += since(&serial_icounter_struct::frame);
    driver_.parity_errors += since(&serial_icounter_struct::parity);
  }
  driver_before_ = now;
}

SourceCounts TtySource::counts() {
  read_driver_counters();
  return {.refused = lines_.refused(), .lost = driver_.overruns, .reconnects = reconnect_.count()};
}

std::vector<std::pair<std::string, std::uint64_t>> TtySource::details() {
  return {{"skipped_bytes", cut_off_ + frames_.skipped()},
          {"overruns", driver_.overruns},
          {"frame_errors", driver_.frame_errors},
          {"parity_errors", driver_.parity_errors}};
}

}  // namespace arus::connect
