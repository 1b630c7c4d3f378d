// What every feed has in common: something outside that gives records-to-be, in batches, for weeks.
//
//   auto source = arus::connect::UdpSource::open(options);             // or stdin, a file, a serial line, a broker, an IIO device
//   for (;;) {
//     auto fetched = (*source)->fetch(1s);                             // waits at most so long
//     for (const auto& item : fetched->items) send(item);
//     for (const auto& notice : (*source)->take_notices()) log(notice.text);
//     if (fetched->ended) break;
//   }
//
// A source knows nothing of topics and rings. What it hands out it has taken from the outside: whoever calls it has to keep it or to
// count it as dropped. What did not even reach it (the kernel's queue was full, a line was malformed) it counts itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arus/record.h"
#include "arus/result.h"

namespace arus::connect {

struct Item {
  std::string_view value;
  std::optional<std::string_view> key{};
  std::optional<Timestamp> time{};  // absent: the source does not say
  std::uint64_t number = 0;         // of the line, datagram, message or scan, from 1
};

// Items that own their bytes, in one piece of memory that keeps its size. The views of items() are valid until the next add() or clear().
class ItemBuffer {
 public:
  void clear() noexcept;
  void add(std::string_view value, std::optional<std::string_view> key, std::optional<Timestamp> time, std::uint64_t number);
  [[nodiscard]] bool empty() const noexcept { return parts_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return parts_.size(); }
  std::span<const Item> items();

 private:
  struct Part {
    std::size_t key_at;
    std::size_t value_at;
    std::size_t end;
    bool has_key;
    std::optional<Timestamp> time;
    std::uint64_t number;
  };
  std::vector<char> bytes_;
  std::vector<Part> parts_;
  std::vector<Item> items_;
};

// Something to tell people.
struct Notice {
  enum class Kind : std::uint8_t {
    refused,  // a part of the input was malformed; the rest goes on. Only the first of many in one fetch() have a notice each.
    state,    // connected, disconnected, trying again
  };
  Kind kind;
  std::string text;
};

// Since the start.
struct SourceCounts {
  std::uint64_t refused = 0;     // lines, datagrams, messages that were malformed or too large
  std::uint64_t lost = 0;        // that are known not to have reached us
  std::uint64_t reconnects = 0;  // connections after the first one
};

struct Fetched {
  std::span<const Item> items;  // valid until the next call
  bool ended = false;           // nothing will ever come again
};

// Belongs to one thread at a time.
class Source {
 public:
  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // Waits for at most `timeout`, or until the interrupt descriptor it was opened with becomes readable. An error means that the source
  // is at its end (a source that reconnects gives none for a connection that broke).
  virtual Result<Fetched> fetch(std::chrono::nanoseconds timeout) = 0;

  [[nodiscard]] virtual SourceCounts counts() = 0;
  // Counters of this kind of source, by name, beside those above.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::uint64_t>> details() { return {}; }

  [[nodiscard]] std::vector<Notice> take_notices() { return std::exchange(notices_, {}); }

 protected:
  void tell(std::string text) { notices_.push_back({Notice::Kind::state, std::move(text)}); }
  std::vector<Notice>& notices() noexcept { return notices_; }

 private:
  std::vector<Notice> notices_;
};

enum class Ready : std::uint8_t { yes, timeout, interrupted };
// Waits until `descriptor` is readable (or at its end), `interrupt` is, or time is up. Either may be -1.
Ready wait_readable(int descriptor, int interrupt, std::chrono::nanoseconds timeout) noexcept;

}  // namespace arus::connect
