// The requesting side of request_reply.h, on nothing but the public classes: a producer of requests and an observer of replies.
#include <arus/request_reply.h>

#include <algorithm>
#include <unordered_map>

#include "platform/error.h"
#include "platform/file.h"
#include "rpc/request_headers.h"

namespace arus {

using platform::pass;
using rpc::Code;
using rpc::Outcome;
using rpc::Status;
using std::chrono::nanoseconds;

namespace {

using Clock = std::chrono::steady_clock;

tl::unexpected<Status> not_ok(Status status) { return tl::unexpected<Status>(std::move(status)); }

Clock::time_point after(Clock::time_point now, nanoseconds timeout) noexcept {
  return timeout >= Clock::time_point::max() - now ? Clock::time_point::max() : now + timeout;
}

OwnedRecord owned(const Record& record) {
  const auto copy = [](Bytes data) {
    return data.data() == nullptr ? std::optional<std::string>() : std::optional<std::string>(text(data));
  };
  OwnedRecord result{record.partition(), record.offset(), record.timestamp(), copy(record.key()), copy(record.value()), {}};
  for (const Header header : record.headers()) result.headers.emplace_back(header.name, copy(header.value));
  return result;
}

}  // namespace

namespace detail {

class RequesterState {
 public:
  RequesterState(Producer producer, Consumer consumer, const RequesterConfig& config)
      : producer_(std::move(producer)),
        consumer_(std::move(consumer)),
        config_(config),
        prefix_(platform::format("{:016x}-", platform::random_word())) {}

  Outcome<std::uint64_t> start(Bytes value, const RequestOptions& options) {
    const nanoseconds timeout = options.timeout.value_or(config_.timeout);
    if (timeout <= nanoseconds::zero())
      return not_ok(Status(Code::deadline_exceeded, "the deadline of this request was past when it was made"));
    if (entries_.size() >= config_.max_in_flight)
      return not_ok(
          Status(Code::resource_exhausted, platform::format("{} requests are in flight or wait to be taken, which is the most "
                                                            "(RequesterConfig::max_in_flight)",
                                                            config_.max_in_flight)));
    const std::string id = prefix_ + std::to_string(last_ + 1);
    const std::string timeout_text = std::to_string(timeout.count());
    headers_.assign({{kReplyTo, bytes(config_.replies)}, {kCorrelationId, bytes(id)}});
    if (timeout != kForever) headers_.push_back({kTimeout, bytes(timeout_text)});
    for (const Header& header : options.headers) {
      if (is_reserved(header.name))
        return not_ok(Status(Code::invalid_argument, platform::format("the header '{}' is not yours to set", header.name)));
      headers_.push_back(header);
    }
    const Clock::time_point deadline = after(Clock::now(), timeout);
    if (auto sent = producer_.send(value, {.key = options.key, .headers = headers_}, timeout); !sent)
      return not_ok(Status(sent.error()));
    entries_.emplace(++last_, Entry{.deadline = deadline, .outcome = {}});
    earliest_ = std::min(earliest_, deadline);
    return last_;
  }

  bool wait(std::uint64_t number, nanoseconds timeout) {
    const auto decided = [&] {
      const auto entry = entries_.find(number);
      return entry == entries_.end() || entry->second.outcome.has_value();
    };
    return wait_until(after(Clock::now(), timeout), decided);
  }

  Outcome<OwnedRecord> take(std::uint64_t number) {
    wait(number, kForever);
    const auto entry = entries_.find(number);
    if (entry == entries_.end()) return not_ok(Status(Code::failed_precondition, "this request has been taken already"));
    Outcome<OwnedRecord> outcome = std::move(*entry->second.outcome);
    entries_.erase(entry);
    return outcome;
  }

  void drop(std::uint64_t number) noexcept { entries_.erase(number); }

  std::size_t poll(nanoseconds timeout) {
    const std::uint64_t before = ended_;
    wait_until(after(Clock::now(), timeout), [&] { return ended_ != before; });
    return ended_ - before;
  }

  void close() {
    closed_ = true;
    fail_all(Status(Code::cancelled, "the requester was closed"));
  }

  [[nodiscard]] RequesterStatistics statistics() const noexcept {
    const auto open = std::count_if(entries_.begin(), entries_.end(), [](const auto& entry) { return !entry.second.outcome; });
    return {.sent = last_, .late_replies = late_, .lost_replies = lost_, .in_flight = static_cast<std::uint32_t>(open)};
  }

 private:
  struct Entry {
    Clock::time_point deadline;
    std::optional<Outcome<OwnedRecord>> outcome;
  };

  // Looks at least once.
  template <class Enough>
  bool wait_until(Clock::time_point until, Enough enough) {
    for (bool look = true;; look = false) {
      if (enough()) return true;
      const Clock::time_point now = Clock::now();
      if (now >= earliest_) expire(now);
      if (enough()) return true;
      if (closed_ || (now >= until && !look)) return false;
      // A look first: it may be that the reply is there and the time is up.
      const nanoseconds left = look ? nanoseconds::zero() : std::min(until, earliest_) - now;
      if (!receive(left)) return enough();
    }
  }

  bool receive(nanoseconds timeout) {
    const auto batch = consumer_.poll(std::max(timeout, nanoseconds::zero()));
    if (!batch) {
      fail_all(Status(batch.error()));
      return false;
    }
    for (const Gap& gap : batch->gaps())
      if (gap.kind == Gap::Kind::lost) lost_ += gap.to - gap.from;
    for (const Record& record : *batch) accept(record);
    return true;
  }

  void accept(const Record& record) {
    const auto id = header_text(record, kCorrelationId);
    if (!id || !id->starts_with(prefix_)) return;  // somebody else's
    const auto number = decimal(id->substr(prefix_.size()));
    const auto entry = number ? entries_.find(*number) : entries_.end();
    if (entry == entries_.end() || entry->second.outcome) {
      ++late_;
      return;
    }
    ++ended_;
    const auto status = header_text(record, kStatus);
    const auto code = status ? decimal(*status) : std::optional<std::uint64_t>(0);
    if (code == 0u) {
      entry->second.outcome.emplace(owned(record));
      return;
    }
    const bool known = code && *code < rpc::kCodes;
    const auto message = header_text(record, kStatusMessage);
    entry->second.outcome = not_ok(
        Status(known ? static_cast<Code>(*code) : Code::unknown, std::string(message.value_or("the replier gave no reason"))));
  }

  void expire(Clock::time_point now) {
    earliest_ = Clock::time_point::max();
    for (auto& [number, entry] : entries_) {
      if (entry.outcome) continue;
      if (now < entry.deadline) {
        earliest_ = std::min(earliest_, entry.deadline);
      } else {
        ++ended_;
        entry.outcome =
            not_ok(Status(Code::deadline_exceeded,
                          platform::format("no reply to a request on topic '{}' before the deadline", config_.requests)));
      }
    }
  }

  void fail_all(const Status& status) {
    earliest_ = Clock::time_point::max();
    for (auto& [number, entry] : entries_) {
      if (entry.outcome) continue;
      ++ended_;
      entry.outcome = not_ok(status);
    }
  }

  Producer producer_;
  Consumer consumer_;
  RequesterConfig config_;
  std::string prefix_;  // of this requester's correlation ids: nobody else's begin so
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::vector<Header> headers_;  // of the request that is being sent
  Clock::time_point earliest_ = Clock::time_point::max();
  std::uint64_t last_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t lost_ = 0;
  bool closed_ = false;
};

}  // namespace detail

bool Pending::ready() { return number_ == 0 || state_->wait(number_, nanoseconds::zero()); }
bool Pending::wait(nanoseconds timeout) { return number_ == 0 || state_->wait(number_, timeout); }
Outcome<OwnedRecord> Pending::get() {
  if (number_ == 0) return not_ok(Status(Code::failed_precondition, "this request has been taken already"));
  return state_->take(std::exchange(number_, 0));
}
void Pending::drop() noexcept { state_->drop(number_); }

Result<Requester> Requester::open(const Bus& bus, const RequesterConfig& config) {
  if (config.max_in_flight == 0) return platform::fail(Errc::invalid_argument, "max_in_flight is 0; it must be at least 1");
  Bus own = bus;
  auto topic = own.topic(config.requests);
  if (!topic) return pass(topic);
  auto consumer = own.consumer({.start = Start::latest, .wait = config.wait});
  if (!consumer) return pass(consumer);
  if (auto subscribed = consumer->subscribe({config.replies}); !subscribed) return pass(subscribed);
  auto producer = topic->producer({.wait = config.wait});
  if (!producer) return pass(producer);
  return Requester(std::make_shared<detail::RequesterState>(std::move(*producer), std::move(*consumer), config));
}

Requester::Requester(std::shared_ptr<detail::RequesterState> state) noexcept : state_(std::move(state)) {}
Requester::Requester(Requester&&) noexcept = default;
Requester& Requester::operator=(Requester&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Requester::~Requester() {
  if (state_) state_->close();
}

Outcome<OwnedRecord> Requester::request(Bytes value, const RequestOptions& options) {
  const auto number = state_->start(value, options);
  if (!number) return not_ok(number.error());
  return state_->take(*number);
}

Outcome<Pending> Requester::request_async(Bytes value, const RequestOptions& options) {
  const auto number = state_->start(value, options);
  if (!number) return not_ok(number.error());
  return Pending(state_, *number);
}

std::size_t Requester::poll(nanoseconds timeout) { return state_->poll(timeout); }
RequesterStatistics Requester::statistics() const noexcept { return state_->statistics(); }

}  // namespace arus
