#include "feed.h"

#include <algorithm>
#include <thread>

#include "parse.h"
#include "stop.h"
#include "text.h"
#include "topic_options.h"

namespace arus::tool {
namespace {

using namespace std::chrono_literals;

constexpr auto kLinger = 5s;  // how long a stop waits for room for what was accepted
constexpr auto kRetry = 2ms;  // between looks for room while there is a backlog
constexpr auto kBetweenNews = 5s;
constexpr std::uint64_t kMostShown = 10;  // refusals, and then so many again every minute
constexpr std::size_t kLargestBatch = 1024;

}  // namespace

const char* const kFeedJson =
    R"(JSON, at the end: {"source","topic","received","records","bytes","refused","dropped":{"source","ring",
  "unsent"},"reconnects","details":{…},"seconds"}. What came is records + refused + dropped.ring (by
  --when-full newest) + dropped.unsent (at a stop); dropped.source did not reach us.
Exit code 8: something was refused or left unsent, the rest is stored.)";

void add_feed_options(CLI::App* app, FeedOptions& options, WhenFull when_full) {
  options.when_full = when_full;
  app->add_option("-t,--topic", options.topic, "Topic to send to")->type_name("TOPIC")->required();
  app->add_option("-k,--key", options.key, "Key of records that have none of their own")->type_name("KEY");
  add_parsed(app, "--when-full",
             when_full == WhenFull::wait ? "wait: hold the source back; newest: drop the oldest [wait]"
                                         : "wait: hold the source back; newest: drop the oldest [newest]",
             "HOW", [&options](const std::string& text) {
               if (text != "wait" && text != "newest")
                 throw usage_error(fmt::format("--when-full: '{}' is neither wait nor newest", text));
               options.when_full = text == "wait" ? WhenFull::wait : WhenFull::newest;
             });
  app->add_option("--backlog", options.backlog, "With newest: records that are kept while the ring is full")
      ->type_name("N")
      ->capture_default_str();
  app->add_option("-c,--count", options.count, "Stop after so many")->type_name("N");
  add_parsed(app, "--duration", "Stop after so long", "DURATION",
             [&options](const std::string& text) { options.duration = parse_duration(text, "--duration"); });
  app->add_flag("--stamp-now", options.stamp_now, "Timestamps say when it came, not what the source says");
  app->add_flag("-q,--quiet", options.quiet, "No news of drops, reconnections and progress");
  auto* create = app->add_flag("--create", options.create, "Create the bus and the topic if they are missing");
  add_topic_options(app, options.config, create);
}

void add_pace_options(CLI::App* app, FeedOptions& options) {
  auto* rate = add_parsed(app, "--rate", "At most so many records per second, evenly", "N",
                          [&options](const std::string& text) { options.rate = parse_rate(text, "--rate"); });
  auto* replay = add_parsed(app, "--replay", "As its time column says, so many times as fast (1: as it was)", "SPEED",
                            [&options](const std::string& text) { options.replay = parse_rate(text, "--replay"); });
  rate->excludes(replay);
}

Feed::Feed(const Command& command, const FeedOptions& options, std::string name)
    : command_(command),
      options_(options),
      name_(std::move(name)),
      bus_(options.create ? open_or_create_bus(command) : open_bus(command)),
      sender_(must((options.create ? must(bus_.open_or_create(options.topic, options.config)) : open_topic(bus_, options.topic))
                       .producer()),
              kForever),
      pace_(options.rate     ? Pace::evenly(*options.rate)
            : options.replay ? Pace::replay(*options.replay)
                             : Pace()),
      progress_(!options.quiet) {}

ExitCode Feed::run(connect::Source& source) {
  source_ = &source;
  try {
    feed_until_done();
    linger();
  } catch (const Failure&) {
    unsent_ += backlog_.size();
    backlog_.clear();
    report();  // what was accepted before
    throw;
  }
  report();
  return source.counts().refused + refused_ + unsent_ > 0 ? ExitCode::partly : ExitCode::ok;
}

void Feed::feed_until_done() {
  while (!Stop::requested() && !enough()) {
    if (Clock::now() >= end()) return;
    auto fetched = source_->fetch(patience());
    take_notices();
    if (!fetched) {
      linger();
      throw Failure(fetched.error());
    }
    deliver(fetched->items);
    tell();
    if (fetched->ended) return;
  }
}

Feed::Clock::time_point Feed::end() const {
  return options_.duration ? began_ + std::chrono::duration_cast<Clock::duration>(*options_.duration) : Clock::time_point::max();
}

std::chrono::nanoseconds Feed::patience() const {
  const std::chrono::nanoseconds longest = backlog_.empty() ? 1s : std::chrono::nanoseconds(kRetry);
  const auto now = Clock::now();
  return std::max<std::chrono::nanoseconds>(std::min<std::chrono::nanoseconds>(longest, std::max(end(), now) - now), 0ns);
}

void Feed::deliver(std::span<const connect::Item> items) {
  if (options_.count) items = items.first(std::min<std::size_t>(items.size(), *options_.count - received_));
  messages_.clear();
  numbers_.clear();
  const Timestamp now = wall_clock_now();
  for (const auto& item : items) {
    Message message{.value = bytes(item.value)};
    message.envelope.timestamp = options_.stamp_now ? now : item.time.value_or(now);
    if (item.key) {
      message.envelope.key = bytes(*item.key);
    } else if (options_.key) {
      message.envelope.key = bytes(*options_.key);
    }
    messages_.push_back(message);
    numbers_.push_back(item.number);
  }
  received_ += items.size();
  if (options_.when_full == WhenFull::wait) {
    send_waiting();
  } else {
    send_newest();
  }
}

void Feed::note_sent(std::span<const Message> messages) {
  records_ += messages.size();
  for (const auto& message : messages) bytes_ += message.value.size();
}

void Feed::send_waiting() {
  for (std::size_t begin = 0; begin < messages_.size();) {
    const auto ready = std::span<const Message>(messages_).subspan(begin, std::min(messages_.size() - begin, kLargestBatch));
    const auto batch = ready.first(pace_.take(ready, end()));
    const Sent sent = sender_.send(batch);
    note_sent(batch.first(sent.count));
    begin += sent.count;
    if (sent.error && concerns_record(sent.error->code())) {
      ++refused_;
      refuse(fmt::format("record {}: {}", numbers_[begin], sent.error->message()));
      ++begin;
    } else if (sent.error) {
      leave(begin);
      throw Failure(*sent.error);
    } else if (sent.count < batch.size() || batch.empty()) {
      // A stop: what was accepted is for linger(), but what the pace has not let go yet is not for the last moment.
      if (options_.rate || options_.replay) {
        leave(begin);
      } else {
        keep(begin);
      }
      return;
    }
    if (options_.rate || options_.replay) tell();
  }
}

void Feed::leave(std::size_t from) {
  const std::size_t left = messages_.size() - from;
  if (options_.source_keeps) {
    received_ -= left;
  } else {
    unsent_ += left;
  }
}

std::size_t Feed::try_send(std::span<const Message> messages, std::span<const std::uint64_t> numbers) {
  std::size_t done = 0;
  while (done < messages.size()) {
    const auto rest = messages.subspan(done);
    auto sent = sender_.producer().try_send_many(rest);
    if (!sent && concerns_record(sent.error().code()) && rest.size() > 1) {
      // One of them is at fault. If it is not the first, those before it go one by one, until it is.
      const auto first = sender_.producer().try_send(rest[0].value, rest[0].envelope);
      sent = first ? Result<std::size_t>(1) : Result<std::size_t>(tl::unexpect, first.error());
    }
    if (sent) {
      if (*sent == 0) return done;
      note_sent(rest.first(*sent));
      done += *sent;
    } else if (concerns_record(sent.error().code())) {
      ++refused_;
      refuse(fmt::format("record {}: {}", numbers[done], sent.error().message()));
      ++done;
    } else if (sent.error().code() == Errc::full) {
      return done;
    } else {
      failure_ = sent.error();
      return done;
    }
  }
  return done;
}

void Feed::send_newest() {
  send_backlog();
  const std::size_t done = backlog_.empty() && !failure_ ? try_send(messages_, numbers_) : 0;
  keep(done);
  if (failure_) throw Failure(*failure_);
}

void Feed::keep(std::size_t from) {
  for (std::size_t i = from; i < messages_.size(); ++i) {
    const Message& message = messages_[i];
    std::optional<std::string> key;
    if (message.envelope.key.data() != nullptr) key = text(message.envelope.key);
    backlog_.push_back({std::move(key), std::string(text(message.value)), *message.envelope.timestamp, numbers_[i]});
    if (options_.when_full == WhenFull::newest && backlog_.size() > options_.backlog) {
      backlog_.pop_front();
      ++dropped_;
    }
  }
}

void Feed::send_backlog() {
  while (!backlog_.empty()) {
    waiting_.clear();
    waiting_numbers_.clear();
    for (std::size_t i = 0; i < std::min(backlog_.size(), kLargestBatch); ++i) {
      const Kept& kept = backlog_[i];
      Message message{.value = bytes(kept.value)};
      if (kept.key) message.envelope.key = bytes(*kept.key);
      message.envelope.timestamp = kept.time;
      waiting_.push_back(message);
      waiting_numbers_.push_back(kept.number);
    }
    const std::size_t done = try_send(waiting_, waiting_numbers_);
    backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(done));
    if (done < waiting_.size()) return;
  }
}

void Feed::linger() {
  const auto until = Clock::now() + kLinger;
  while (!backlog_.empty()) {
    send_backlog();
    if (failure_) throw Failure(*failure_);
    if (backlog_.empty()) return;
    if (Clock::now() >= until) {
      unsent_ += backlog_.size();
      backlog_.clear();
      return;
    }
    std::this_thread::sleep_for(kRetry);
  }
}

void Feed::refuse(std::string_view text) {
  const auto now = Clock::now();
  if (now >= show_refusals_again_) {
    if (refusals_hidden_ > 0) warn(fmt::format("{} more were refused meanwhile", std::exchange(refusals_hidden_, 0)));
    refusals_shown_ = 0;
    show_refusals_again_ = now + 60s;
  }
  if (++refusals_shown_ <= kMostShown) {
    warn(text);
  } else {
    ++refusals_hidden_;
  }
  if (refusals_shown_ == kMostShown + 1) warn("more are refused; for a minute they are only counted");
}

void Feed::take_notices() {
  for (const auto& notice : source_->take_notices()) {
    if (notice.kind == connect::Notice::Kind::refused) {
      refuse(notice.text);
    } else if (!options_.quiet) {
      warn(notice.text);
    }
  }
}

void Feed::tell() {
  const auto now = Clock::now();
  if (!options_.quiet && now >= tell_next_) {
    tell_next_ = now + kBetweenNews;
    const std::uint64_t lost = source_->counts().lost;
    if (dropped_ > dropped_told_) {
      warn(fmt::format("{} records dropped so far: the ring is full, a lossless group is behind", dropped_));
    }
    if (lost > lost_told_) warn(fmt::format("{} lost so far before they reached us: we are not fast enough, or held back", lost));
    dropped_told_ = dropped_;
    lost_told_ = lost;
  }
  if (progress_.due()) {
    progress_.show(fmt::format("{:.0f} s: {} records, {}/s, {} dropped", seconds(), records_,
                               human_count(static_cast<double>(records_) / seconds()), dropped_ + source_->counts().lost));
  }
}

void Feed::report() {
  take_notices();
  const auto counts = source_->counts();
  const std::uint64_t refused = counts.refused + refused_;
  if (unsent_ > 0) warn(fmt::format("{} record{} read but not sent", unsent_, unsent_ == 1 ? " was" : "s were"));
  if (command_.json) {
    Json details = Json::object();
    for (const auto& [name, value] : source_->details()) details[name] = value;
    emit("{}\n", dump({{"source", name_},
                       {"topic", options_.topic},
                       {"received", received_},
                       {"records", records_},
                       {"bytes", bytes_},
                       {"refused", refused},
                       {"dropped", {{"source", counts.lost}, {"ring", dropped_}, {"unsent", unsent_}}},
                       {"reconnects", counts.reconnects},
                       {"details", std::move(details)},
                       {"seconds", seconds()}}));
  } else {
    emit(
        "{} record{}, {} in {:.1f} s; {} refused, {} dropped by the full ring, {} lost before they came, {} unsent; {} "
        "reconnection{}\n",
        records_, plural(records_), human_bytes(bytes_), seconds(), refused, dropped_, counts.lost, unsent_, counts.reconnects,
        plural(counts.reconnects));
  }
}

}  // namespace arus::tool
