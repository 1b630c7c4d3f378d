// The replying side of request_reply.h, on nothing but the public classes: a member of a lossless group reads the requests, and a
// producer per topic sends the replies. A request is settled when its reply was sent, one by one.
#include <arus/request_reply.h>

#include <algorithm>
#include <exception>

#include "platform/error.h"
#include "rpc/request_headers.h"

namespace arus {

using platform::pass;
using rpc::Code;
using rpc::Outcome;
using rpc::Status;
using std::chrono::nanoseconds;

namespace {

Timestamp wall_clock_now() noexcept {
  return std::chrono::duration_cast<nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

nanoseconds time_left(const Record& request) noexcept {
  const auto header = detail::header_text(request, detail::kTimeout);
  const auto timeout = header ? detail::decimal(*header) : std::nullopt;
  if (!timeout) return kForever;
  const Timestamp age = std::max<Timestamp>(wall_clock_now() - request.timestamp(), 0);  // clocks of two hosts may differ
  if (*timeout <= static_cast<std::uint64_t>(age)) return nanoseconds::zero();
  const std::uint64_t left = *timeout - static_cast<std::uint64_t>(age);
  return nanoseconds(static_cast<std::int64_t>(std::min(left, static_cast<std::uint64_t>(kForever.count()))));
}

namespace detail {

class ReplierState {
 public:
  ReplierState(Bus bus, Consumer consumer, const ReplierConfig& config)
      : bus_(std::move(bus)), consumer_(std::move(consumer)), config_(config) {}

  Result<std::size_t> serve(nanoseconds timeout, const Replier::Handler& handler) {
    const auto batch = consumer_.poll(timeout);
    if (!batch) return pass(batch);
    for (const Record& record : *batch) {
      answer(record, handler);
      if (auto settled = consumer_.commit(record); !settled) return pass(settled);
    }
    return batch->size();
  }

  Result<void> run(const std::stop_token& stop, const Replier::Handler& handler) {
    constexpr std::chrono::milliseconds kSlice{250};  // for a stop that comes between the look and the wait
    const std::stop_callback on_stop(stop, [this] { consumer_.wake(); });
    while (!stop.stop_requested())
      if (auto served = serve(kSlice, handler); !served) return pass(served);
    return {};
  }

  [[nodiscard]] const ReplierStatistics& statistics() const noexcept { return statistics_; }

 private:
  static constexpr std::size_t kMostProducers = 64;
  struct Target {
    std::string topic;
    Producer producer;
  };

  void answer(const Record& request, const Replier::Handler& handler) {
    const auto reply_to = header_text(request, kReplyTo);
    const auto id = header_text(request, kCorrelationId);
    if (!reply_to || !id || id->empty() || id->size() > kMostCorrelationId || !may_reply_to(*reply_to) ||
        target(*reply_to) == nullptr) {
      ++statistics_.unanswerable;
      return;
    }
    if (time_left(request) == nanoseconds::zero()) {
      ++statistics_.expired;
      return;
    }
    reply(request, *reply_to, *id, handle(request, handler));
  }

  static Outcome<std::string> handle(const Record& request, const Replier::Handler& handler) {
    const auto fail = [](Code code, std::string message) { return tl::unexpected<Status>(Status(code, std::move(message))); };
    if (const auto timeout = header_text(request, kTimeout); timeout && !decimal(*timeout))
      return fail(Code::invalid_argument, platform::format("the header {} is '{}', which is no number", kTimeout, *timeout));
    try {
      return handler(request);
    } catch (const std::exception& error) {
      return fail(Code::internal, platform::format("the handler threw: {}", error.what()));
    } catch (...) {
      return fail(Code::internal, "the handler threw something that is no std::exception");
    }
  }

  void reply(const Record& request, std::string_view topic, std::string_view id, const Outcome<std::string>& outcome) {
    auto sent = outcome ? send(request, topic, id, bytes(*outcome), nullptr) : send(request, topic, id, kNull, &outcome.error());
    if (!sent && sent.error().code() == Errc::too_large) {
      const Status status(Code::failed_precondition, platform::format("the reply does not fit: {}", sent.error().message()));
      sent = send(request, topic, id, kNull, &status);
    }
    ++(sent ? statistics_.answered : statistics_.undelivered);
  }

  Result<Placed> send(const Record& request, std::string_view topic, std::string_view id, Bytes value, const Status* status) {
    headers_.assign({{kCorrelationId, bytes(id)}});
    std::string code;
    if (status != nullptr) {
      code = std::to_string(static_cast<int>(status->code() == Code::ok ? Code::unknown : status->code()));
      headers_.push_back({kStatus, bytes(code)});
      headers_.push_back({kStatusMessage, bytes(status->message().substr(0, kMostStatusMessage))});
    }
    Producer* producer = target(topic);
    if (producer == nullptr) return platform::fail(Errc::not_found, "there is no topic '{}' any more", topic);
    const Envelope envelope{.key = request.key(), .headers = headers_};
    auto sent = producer->send(value, envelope, config_.reply_timeout);
    if (sent || sent.error().code() != Errc::deleted) return sent;
    targets_.erase(targets_.begin());  // it may have been made anew
    producer = target(topic);
    return producer == nullptr ? sent : producer->send(value, envelope, config_.reply_timeout);
  }

  [[nodiscard]] bool may_reply_to(std::string_view topic) const {
    const auto& allowed = config_.reply_topics;
    return allowed.empty() || std::find(allowed.begin(), allowed.end(), topic) != allowed.end();
  }

  // The producer of a topic, from then on the first of targets_; null if there can be none. Those used last are kept.
  Producer* target(std::string_view topic) {
    const auto known = std::find_if(targets_.begin(), targets_.end(), [&](const Target& one) { return one.topic == topic; });
    if (known != targets_.end()) {
      std::rotate(targets_.begin(), known, known + 1);
      return &targets_.front().producer;
    }
    auto opened = bus_.topic(topic);
    if (!opened) return nullptr;
    auto producer = opened->producer({.wait = config_.wait});
    if (!producer) return nullptr;
    if (targets_.size() >= kMostProducers) targets_.pop_back();
    targets_.insert(targets_.begin(), Target{std::string(topic), std::move(*producer)});
    return &targets_.front().producer;
  }

  Bus bus_;
  Consumer consumer_;
  ReplierConfig config_;
  std::vector<Target> targets_;
  std::vector<Header> headers_;  // of the reply that is being sent
  ReplierStatistics statistics_{};
};

}  // namespace detail

Result<Replier> Replier::open(const Bus& bus, const ReplierConfig& config) {
  if (config.group.empty()) return platform::fail(Errc::invalid_argument, "a replier needs the name of a group");
  Bus own = bus;
  auto consumer = own.consumer({.group = config.group, .start = Start::earliest, .wait = config.wait, .auto_commit = false});
  if (!consumer) return pass(consumer);
  if (auto subscribed = consumer->subscribe({config.requests}); !subscribed) return pass(subscribed);
  return Replier(std::make_unique<detail::ReplierState>(std::move(own), std::move(*consumer), config));
}

Replier::Replier(std::unique_ptr<detail::ReplierState> state) noexcept : state_(std::move(state)) {}
Replier::Replier(Replier&&) noexcept = default;
Replier& Replier::operator=(Replier&&) noexcept = default;
Replier::~Replier() = default;

Result<std::size_t> Replier::serve(nanoseconds timeout, const Handler& handler) { return state_->serve(timeout, handler); }
Result<void> Replier::run(const std::stop_token& stop, const Handler& handler) { return state_->run(stop, handler); }
ReplierStatistics Replier::statistics() const noexcept { return state_->statistics(); }

}  // namespace arus
