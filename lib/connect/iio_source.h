// A Linux industrial I/O device in buffered mode: the driver samples by itself, we read whole scans from its character device.
// (Documentation/iio/iio_devbuf.rst, Documentation/ABI/testing/sysfs-bus-iio of the kernel.)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "connect/reconnect.h"
#include "connect/source.h"
#include "connect/sysfs_discovery.h"
#include "platform/file.h"

namespace arus::connect {

struct IioOptions {
  std::string device;                   // iio:device0, or the name or label it has
  std::vector<std::string> channels{};  // globs such as accel_*; empty: all that can be buffered
  std::optional<double> rate{};         // sampling_frequency in Hz
  std::string trigger{};                // by name
  unsigned buffer_length = 1024;        // scans
  bool raw = false;                     // the scan as the driver gives it, instead of JSON
  bool reconnect = true;
  std::chrono::nanoseconds longest_backoff = std::chrono::seconds(30);
  std::string sys_root = "/sys";
  std::string dev_root = "/dev";
  int interrupt = -1;
};

// How a channel lies in a scan: "le:s12/16>>4".
struct IioLayout {
  bool big_endian = false;
  bool is_signed = false;
  unsigned bits = 0;     // that count
  unsigned storage = 0;  // bits, a multiple of 8
  unsigned shift = 0;
  unsigned repeat = 1;
};
std::optional<IioLayout> parse_iio_layout(std::string_view text) noexcept;

struct IioChannel {
  std::string name;  // accel_x
  unsigned index;    // its place in the scan
  IioLayout layout;
  Conversion conversion{};
  std::size_t at = 0;  // byte in the scan
};
// Places channels as the kernel does: in order of index, each on a multiple of its size, the whole on a multiple of the largest.
// Returns the size of a scan.
std::size_t place_channels(std::vector<IioChannel>& channels);
// The channel's number in a scan, sign extended. At most 64 bits.
std::int64_t read_channel(const IioChannel& channel, std::string_view scan) noexcept;

class IioSource : public Source {
 public:
  // Errors: `not_found` (the message lists the devices there are), `invalid_argument` (channels, trigger); without `reconnect` also
  // what the system says.
  static Result<std::unique_ptr<IioSource>> open(IioOptions options);
  // Switches the buffer off.
  ~IioSource() override;

  Result<Fetched> fetch(std::chrono::nanoseconds timeout) override;
  // lost: scans that are missing by their timestamps, where the device has a timestamp channel and a sampling frequency. The kernel does
  // not say what it dropped.
  [[nodiscard]] SourceCounts counts() override { return {.lost = missing_, .reconnects = reconnect_.count()}; }
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> details() override;  // scans, cut_off_bytes

  [[nodiscard]] const std::string& name() const noexcept { return name_; }  // of the device: the key of its records
  // What the records hold, in order; empty while the device is away.
  [[nodiscard]] const std::vector<IioChannel>& channels() const noexcept { return channels_; }

 private:
  explicit IioSource(IioOptions options) : options_(std::move(options)), reconnect_(options_.longest_backoff), buffer_(64 << 10) {}
  Result<void> connect();
  Result<std::string> find_device();
  Result<void> find_channels();
  Result<void> enable();
  Result<void> write_attribute(const std::string& file, std::string_view value) const;
  Result<void> give_up_or_wait(const Error& error);
  void take_scan(std::string_view scan);
  void append_value(const IioChannel& channel, std::string_view scan);

  IioOptions options_;
  Reconnect reconnect_;
  std::string directory_;
  std::string name_;
  std::vector<IioChannel> channels_;
  std::optional<IioChannel> clock_;  // in_timestamp
  std::size_t scan_bytes_ = 0;
  double period_ns_ = 0;  // 0: unknown
  platform::Descriptor device_;
  std::uint64_t scans_ = 0;
  std::uint64_t missing_ = 0;
  std::uint64_t cut_off_ = 0;
  std::optional<Timestamp> last_time_;
  std::vector<char> buffer_;
  std::size_t begun_ = 0;  // bytes of an incomplete scan at the front of the buffer
  std::string value_;
  ItemBuffer items_;
};

}  // namespace arus::connect
