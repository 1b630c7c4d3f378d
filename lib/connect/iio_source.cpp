#include "connect/iio_source.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>

#include "connect/sensor_file.h"

namespace arus::connect {

using platform::fail;
using platform::format;

namespace {

constexpr std::string_view kPrefix = "in_";
constexpr std::string_view kEnable = "_en";

bool take(std::string_view& text, char c) noexcept {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<unsigned> take_number(std::string_view& text) noexcept {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

// Entries of a directory in natural order; none if it cannot be read.
std::vector<std::string> names_in(const std::string& directory) {
  auto names = platform::list_directory(directory).value_or(std::vector<std::string>{});
  std::sort(names.begin(), names.end(), natural_less);
  return names;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text.empty() ? "none" : text;
}

std::size_t bytes_of(const IioLayout& layout) noexcept { return std::size_t{layout.storage / 8} * layout.repeat; }

}  // namespace

std::optional<IioLayout> parse_iio_layout(std::string_view text) noexcept {
  text = trim(text);
  IioLayout layout;
  layout.big_endian = text.starts_with("be:");
  if (!layout.big_endian && !text.starts_with("le:")) return std::nullopt;
  text.remove_prefix(3);
  layout.is_signed = text.starts_with('s');
  if (!take(text, 's') && !take(text, 'u')) return std::nullopt;
  const auto bits = take_number(text);
  if (!bits || !take(text, '/')) return std::nullopt;
  const auto storage = take_number(text);
  if (!storage) return std::nullopt;
  if (take(text, 'X')) {
    const auto repeat = take_number(text);
    if (!repeat) return std::nullopt;
    layout.repeat = *repeat;
  }
  if (!text.starts_with(">>")) return std::nullopt;
  text.remove_prefix(2);
  const auto shift = take_number(text);
  if (!shift || !text.empty()) return std::nullopt;
  layout.bits = *bits;
  layout.storage = *storage;
  layout.shift = *shift;
  const bool possible = layout.storage % 8 == 0 && layout.storage > 0 && layout.storage <= 256 && layout.bits > 0 &&
                        layout.bits <= layout.storage && layout.shift < layout.storage && layout.repeat > 0 && layout.repeat <= 64;
  return possible ? std::optional(layout) : std::nullopt;
}

std::size_t place_channels(std::vector<IioChannel>& channels) {
  std::sort(channels.begin(), channels.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  std::size_t at = 0;
  std::size_t largest = 1;
  for (IioChannel& channel : channels) {
    const std::size_t size = bytes_of(channel.layout);
    at = (at + size - 1) / size * size;
    channel.at = at;
    at += size;
    largest = std::max(largest, size);
  }
  return (at + largest - 1) / largest * largest;
}

std::int64_t read_channel(const IioChannel& channel, std::string_view scan) noexcept {
  const IioLayout& layout = channel.layout;
  const std::size_t size = layout.storage / 8;
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t at = channel.at + (layout.big_endian ? i : size - 1 - i);
    word = word << 8 | static_cast<unsigned char>(scan[at]);
  }
  word >>= layout.shift;
  if (layout.bits >= 64) return static_cast<std::int64_t>(word);
  word &= (std::uint64_t{1} << layout.bits) - 1;
  const std::uint64_t sign = std::uint64_t{1} << (layout.bits - 1);
  return static_cast<std::int64_t>(layout.is_signed ? (word ^ sign) - sign : word);
}

Result<std::unique_ptr<IioSource>> IioSource::open(IioOptions options) {
  auto source = std::unique_ptr<IioSource>(new IioSource(std::move(options)));
  if (auto connected = source->connect(); !connected) {
    // What is not there or not possible when it starts is a mistake, and not a device that comes back.
    const Errc code = connected.error().code();
    if (code == Errc::not_found || code == Errc::invalid_argument || code == Errc::permission_denied)
      return platform::pass(connected);
    if (auto waits = source->give_up_or_wait(connected.error()); !waits) return platform::pass(waits);
  }
  return source;
}

IioSource::~IioSource() {
  if (device_.valid()) (void)write_attribute("buffer/enable", "0");
}

Result<std::string> IioSource::find_device() {
  const std::string root = options_.sys_root + "/bus/iio/devices";
  std::vector<std::string> known;
  for (const std::string& entry : names_in(root)) {
    if (!entry.starts_with("iio:device")) continue;
    const std::string directory = root + "/" + entry;
    const std::string name = read_text(directory + "/name").value_or("");
    if (options_.device == entry || options_.device == name || options_.device == read_text(directory + "/label").value_or("")) {
      name_ = name.empty() ? entry : name;
      return directory;
    }
    known.push_back(name.empty() ? entry : format("{} ({})", entry, name));
  }
  return fail(Errc::not_found, "there is no IIO device '{}'; {} has: {}", options_.device, root, join(known));
}

Result<void> IioSource::find_channels() {
  const std::string elements = directory_ + "/scan_elements";
  const auto devices = find_devices(options_.sys_root);
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const FoundDevice& device) {
    return device.subsystem == "iio" && device.directory == directory_;
  });
  std::vector<std::string> known;
  channels_.clear();
  clock_.reset();
  for (const std::string& file : names_in(elements)) {
    if (!file.starts_with(kPrefix) || !file.ends_with(kEnable)) continue;
    const std::string stem = file.substr(0, file.size() - kEnable.size());  // in_accel_x
    IioChannel channel{.name = stem.substr(kPrefix.size()), .index = 0, .layout = {}};
    const auto index = parse_counter(read_text(elements + "/" + stem + "_index").value_or(""));
    const auto layout = parse_iio_layout(read_text(elements + "/" + stem + "_type").value_or(""));
    const bool is_clock = channel.name == "timestamp";
    const bool wanted = is_clock || options_.channels.empty() ||
                        std::any_of(options_.channels.begin(), options_.channels.end(),
                                    [&](const std::string& glob) { return fnmatch(glob.c_str(), channel.name.c_str(), 0) == 0; });
    if (!is_clock) known.push_back(channel.name);
    if (!index || !layout) {
      if (!wanted) continue;
      return fail(Errc::invalid_argument, "{}/{}: expected an index, and a type such as le:s12/16>>4", elements, stem);
    }
    channel.index = static_cast<unsigned>(*index);
    channel.layout = *layout;
    // The timestamp is 64 bits; other channels may be wider than what a number can hold, and are then for --raw only.
    if (!options_.raw && (layout->storage > 64 || layout->repeat > 1)) {
      if (wanted && !options_.channels.empty()) {
        return fail(Errc::invalid_argument, "channel {} of {} is not one number; read the device raw", channel.name, name_);
      }
      if (!is_clock) continue;
    }
    if (auto written = write_attribute("scan_elements/" + file, wanted ? "1" : "0"); !written) return written;
    if (!wanted) continue;
    if (found != devices.end()) {
      for (const FoundChannel& known_channel : found->channels) {
        if (known_channel.attribute == stem + "_raw" && known_channel.convertible) channel.conversion = known_channel.conversion;
      }
    }
    channels_.push_back(std::move(channel));
  }
  if (std::none_of(channels_.begin(), channels_.end(), [](const auto& channel) { return channel.name != "timestamp"; })) {
    return fail(Errc::invalid_argument, "no channel of {} matches; {} has: {}", name_, elements, join(known));
  }
  scan_bytes_ = place_channels(channels_);
  if (scan_bytes_ > buffer_.size() / 2)
    return fail(Errc::invalid_argument, "a scan of {} has {} bytes: too many", name_, scan_bytes_);
  const auto clock =
      std::find_if(channels_.begin(), channels_.end(), [](const auto& channel) { return channel.name == "timestamp"; });
  if (clock != channels_.end()) {
    clock_ = *clock;
    channels_.erase(clock);
  }
  return Done{};
}

Result<void> IioSource::write_attribute(const std::string& file, std::string_view value) const {
  const std::string path = directory_ + "/" + file;
  auto opened = platform::open_file(path, O_WRONLY);
  if (!opened) return platform::pass(opened);
  if (write(opened->get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return fail(errno == EINVAL ? Errc::invalid_argument : Errc::system, "the driver does not take '{}' as {}: {}", value, path,
                std::strerror(errno));
  }
  return Done{};
}

Result<void> IioSource::enable() {
  const auto rate_file = [&]() -> std::string {
    for (const char* file : {"sampling_frequency", "buffer/sampling_frequency"}) {
      if (platform::exists(directory_ + "/" + file)) return file;
    }
    return "";
  }();
  if (options_.rate) {
    if (rate_file.empty())
      return fail(Errc::invalid_argument, "{} has no sampling_frequency that could be set; its trigger has", name_);
    if (auto written = write_attribute(rate_file, format("{}", *options_.rate)); !written) return written;
  }
  if (!options_.trigger.empty()) {
    if (auto written = write_attribute("trigger/current_trigger", options_.trigger); !written) return written;
  }
  const auto rate = rate_file.empty() ? std::nullopt : parse_number(read_text(directory_ + "/" + rate_file).value_or(""));
  period_ns_ = rate && *rate > 0 ? 1e9 / *rate : 0;
  if (auto written = write_attribute("buffer/length", format("{}", options_.buffer_length)); !written) return written;
  return write_attribute("buffer/enable", "1");
}

Result<void> IioSource::connect() {
  auto directory = find_device();
  if (!directory) return platform::pass(directory);
  directory_ = *std::move(directory);
  if (!platform::exists(directory_ + "/buffer/enable")) {
    return fail(Errc::invalid_argument, "{} has no buffer (no {}/buffer); `arus ingest host` polls it", name_, directory_);
  }
  if (auto written = write_attribute("buffer/enable", "0"); !written)
    return written;  // channels can be chosen only while it is off
  if (auto found = find_channels(); !found) return found;
  if (auto enabled = enable(); !enabled) return enabled;
  const std::string path = options_.dev_root + "/" + directory_.substr(directory_.rfind('/') + 1);
  device_ = platform::Descriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!device_.valid()) return platform::fail_system(errno, "open", path);
  begun_ = 0;
  last_time_.reset();
  if (reconnect_.connected()) tell(format("{} is back", name_));
  return Done{};
}

Result<void> IioSource::give_up_or_wait(const Error& error) {
  device_ = {};
  cut_off_ += std::exchange(begun_, 0);
  if (!options_.reconnect) return tl::unexpected<Error>(error);
  if (reconnect_.lost()) tell(format("{}; waiting for it to come back", error.message()));
  return Done{};
}

Result<Fetched> IioSource::fetch(std::chrono::nanoseconds timeout) {
  items_.clear();
  if (!device_.valid()) {
    if (!reconnect_.due(options_.interrupt, timeout)) return Fetched{};
    if (auto connected = connect(); !connected) {
      if (auto waits = give_up_or_wait(connected.error()); !waits) return platform::pass(waits);
      return Fetched{};
    }
  }
  if (wait_readable(device_.get(), options_.interrupt, timeout) != Ready::yes) return Fetched{};
  // The driver gives whole scans only, and wants room for them.
  const std::size_t room = (buffer_.size() - begun_) / scan_bytes_ * scan_bytes_;
  const ssize_t got = read(device_.get(), buffer_.data() + begun_, room);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Fetched{};
  if (got <= 0) {
    const std::string why = got < 0 ? std::strerror(errno) : "the end of its data";
    const Error vanished(got == 0 || errno == ENODEV ? Errc::not_found : Errc::system,
                         format("IIO device {} has vanished: {}", name_, why));
    if (auto waits = give_up_or_wait(vanished); !waits) return platform::pass(waits);
    return Fetched{};
  }
  std::string_view rest(buffer_.data(), begun_ + static_cast<std::size_t>(got));
  for (; rest.size() >= scan_bytes_; rest.remove_prefix(scan_bytes_)) take_scan(rest.substr(0, scan_bytes_));
  begun_ = rest.size();
  std::memmove(buffer_.data(), rest.data(), rest.size());
  return Fetched{items_.items()};
}

void IioSource::take_scan(std::string_view scan) {
  ++scans_;
  std::optional<Timestamp> time;
  if (clock_) {
    time = read_channel(*clock_, scan);
    if (last_time_ && period_ns_ > 0) {
      const double periods = static_cast<double>(*time - *last_time_) / period_ns_;
      if (periods > 1.5) missing_ += static_cast<std::uint64_t>(std::llround(periods) - 1);
    }
    last_time_ = time;
  }
  if (options_.raw) {
    items_.add(scan, name_, time, scans_);
    return;
  }
  value_.assign(1, '{');
  for (const IioChannel& channel : channels_) append_value(channel, scan);
  value_.back() = '}';
  items_.add(value_, name_, time, scans_);
}

void IioSource::append_value(const IioChannel& channel, std::string_view scan) {
  const Conversion& conversion = channel.conversion;
  const std::int64_t number = read_channel(channel, scan);
  value_ += '"';
  value_ += channel.name;  // of the driver: letters, digits, _ and -
  value_ += "\":";
  std::array<char, 32> text{};
  const double value = (static_cast<double>(number) + conversion.offset) * conversion.scale / conversion.divisor;
  // Twelve digits do not show the noise of binary fractions.
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, 12);
  value_.append(text.data(), error == std::errc() && std::isfinite(value) ? end : text.data());
  if (!std::isfinite(value)) value_ += "null";
  value_ += ',';
}

std::vector<std::pair<std::string, std::uint64_t>> IioSource::details() {
  return {{"scans", scans_}, {"scan_bytes", scan_bytes_}, {"cut_off_bytes", cut_off_}};
}

}  // namespace arus::connect
