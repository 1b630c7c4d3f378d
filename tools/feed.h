// What all feeds share: a source's items become records of a topic, and nothing is lost without being counted.
//
//   everything that came  =  records + refused + dropped.ring + dropped.unsent
//
// When the ring is full (a lossless group is behind) a feed either waits, and so holds its source back, or keeps the newest: it goes on
// reading into a backlog of limited length, and drops the oldest of it. On a stop it sends what it has accepted, for at most kLinger.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "connect/source.h"
#include "pace.h"
#include "sending.h"
#include "terminal.h"

namespace arus::tool {

enum class WhenFull : std::uint8_t { wait, newest };

struct FeedOptions {
  std::string topic;
  bool create = false;
  TopicConfig config;
  std::optional<std::string> key;  // of items without one
  WhenFull when_full = WhenFull::wait;
  std::size_t backlog = 65'536;  // records that are kept while the ring is full
  std::optional<std::uint64_t> count;
  std::optional<std::chrono::nanoseconds> duration;
  bool stamp_now = false;  // not the time that the item says
  bool quiet = false;
  std::optional<double> rate;
  std::optional<double> replay;  // speed
  bool source_keeps = false;     // what is not sent is still where it came from: a file
};

// The options every feed has. `when_full` is its default.
void add_feed_options(CLI::App* app, FeedOptions& options, WhenFull when_full);
// --rate and --replay
void add_pace_options(CLI::App* app, FeedOptions& options);

// What the help of each feed says at its end.
extern const char* const kFeedJson;

class Feed {
 public:
  // Opens (or creates) bus and topic.
  Feed(const Command& command, const FeedOptions& options, std::string name);

  [[nodiscard]] std::size_t max_record_bytes() const noexcept { return sender_.producer().max_record_bytes(); }
  // Until the source ends, the count or duration is reached, or a stop is requested; then reports.
  ExitCode run(connect::Source& source);

 private:
  using Clock = std::chrono::steady_clock;
  struct Kept {
    std::optional<std::string> key;
    std::string value;
    Timestamp time;
    std::uint64_t number;
  };

  void feed_until_done();
  [[nodiscard]] std::chrono::nanoseconds patience() const;
  void deliver(std::span<const connect::Item> items);
  void send_waiting();
  void send_newest();
  void keep(std::size_t from);
  void leave(std::size_t from);
  void send_backlog();
  void note_sent(std::span<const Message> messages);
  // Sends without waiting; refuses what is at fault. Returns how many of the messages are dealt with: fewer than all when it is full, or
  // when failure_ says so.
  std::size_t try_send(std::span<const Message> messages, std::span<const std::uint64_t> numbers);
  void linger();
  void refuse(std::string_view text);
  void take_notices();
  void tell();
  void report();
  [[nodiscard]] double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }
  [[nodiscard]] Clock::time_point end() const;
  [[nodiscard]] bool enough() const { return options_.count && received_ >= *options_.count; }

  const Command& command_;
  const FeedOptions& options_;
  std::string name_;
  Bus bus_;
  mutable Sender sender_;
  Pace pace_;
  connect::Source* source_ = nullptr;  // during run()
  std::optional<Error> failure_;
  std::vector<Message> messages_;
  std::vector<std::uint64_t> numbers_;  // of the messages, as their source counts
  std::vector<Message> waiting_;        // of the backlog
  std::vector<std::uint64_t> waiting_numbers_;
  std::deque<Kept> backlog_;
  Progress progress_;
  Clock::time_point began_ = Clock::now();
  Clock::time_point tell_next_ = began_;
  Clock::time_point show_refusals_again_ = began_;
  std::uint64_t refusals_shown_ = 0;
  std::uint64_t refusals_hidden_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t refused_ = 0;  // by the topic; the source counts its own
  std::uint64_t dropped_ = 0;
  std::uint64_t dropped_told_ = 0;
  std::uint64_t lost_told_ = 0;
  std::uint64_t unsent_ = 0;
};

}  // namespace arus::tool
