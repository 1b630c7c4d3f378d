// A serial line: lines of text or frames of a fixed size, at a baud rate. A device that vanishes (an adapter that was unplugged) is
// opened again when it comes back.
#pragma once

#include <linux/serial.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connect/reconnect.h"
#include "connect/source.h"
#include "connect/text_decoder.h"
#include "platform/file.h"

namespace arus::connect {

struct TtyOptions {
  std::string device;
  unsigned baud = 115'200;
  std::string mode = "8N1";     // data bits, parity (N, E, O), stop bits
  bool flow_control = false;    // RTS/CTS
  std::size_t frame_bytes = 0;  // 0: text
  std::string sync{};           // what each frame begins with; bytes before it are skipped and counted
  TextFormat text{};
  bool reconnect = true;
  std::chrono::nanoseconds longest_backoff = std::chrono::seconds(30);
  int interrupt = -1;
};

// Frames of a fixed size out of a stream. With sync bytes it finds its place again when bytes are lost.
class FrameDecoder {
 public:
  // `sync` is shorter than a frame.
  FrameDecoder(std::size_t size, std::string sync) : size_(size), sync_(std::move(sync)) {}
  void feed(std::string_view input, ItemBuffer& items);
  std::size_t reset();  // forgets what was begun; returns how many bytes that were
  [[nodiscard]] std::uint64_t skipped() const noexcept { return skipped_; }

 private:
  std::size_t size_;
  std::string sync_;
  std::string pending_;
  std::uint64_t frames_ = 0;
  std::uint64_t skipped_ = 0;
};

class TtySource : public Source {
 public:
  // Errors: `invalid_argument` for settings; without `reconnect` also `not_found`, `permission_denied`, `system`.
  static Result<std::unique_ptr<TtySource>> open(TtyOptions options);

  Result<Fetched> fetch(std::chrono::nanoseconds timeout) override;
  [[nodiscard]] SourceCounts counts() override;
  // skipped_bytes (before a sync, or of a line or frame that was cut off), and what the driver counts: overruns, frame_errors,
  // parity_errors
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> details() override;

 private:
  TtySource(TtyOptions options, TextDecoder decoder);
  Result<void> connect();
  // What is to be done about a failure: nothing now (try again later), or the error.
  Result<void> give_up_or_wait(const Error& error);
  void read_driver_counters();

  TtyOptions options_;
  TextDecoder lines_;
  FrameDecoder frames_;
  Reconnect reconnect_;
  platform::Descriptor device_;
  std::uint64_t cut_off_ = 0;
  struct Driver {
    std::uint64_t overruns = 0;
    std::uint64_t frame_errors = 0;
    std::uint64_t parity_errors = 0;
  } driver_;
  std::optional<serial_icounter_struct> driver_before_;
  std::vector<char> buffer_;
  ItemBuffer items_;
};

}  // namespace arus::connect
