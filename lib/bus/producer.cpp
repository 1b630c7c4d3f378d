#include <arus/producer.h>

#include <algorithm>

#include "bus/headers.h"
#include "bus/producer_state.h"
#include "bus/record_writer.h"
#include "platform/error.h"
#include "ring/room.h"

namespace arus {

using platform::fail;
using platform::pass;
using ring::Claimed;
using ring::Lengths;
using std::chrono::nanoseconds;

namespace detail {
ProducerState::ProducerState(std::shared_ptr<TopicState> topic, ProducerConfig config)
    : topic_(std::move(topic)),
      config_(std::move(config)),
      generation_(topic_->bus().generation()),
      incarnation_(topic_->bus_directory().incarnation()),
      partitions_(topic_->config().partitions),
      record_size_(topic_->config().record_size),
      max_bytes_(ring::most_bytes(topic_->config().partition_bytes >> ring::kCellShift)),
      least_value_(record_size_),
      value_span_(record_size_ != 0 ? 0 : max_bytes_),
      most_cells_(ring::most_cells(topic_->config().partition_bytes >> ring::kCellShift) / 2) {}

Result<std::unique_ptr<ProducerState>> ProducerState::make(const std::shared_ptr<TopicState>& topic, const ProducerConfig& config) {
  if (auto good = topic->check(); !good) return pass(good);
  if (auto able = topic->bus_directory().need_lease("producing"); !able) return pass(able);
  const TopicConfig& topic_config = topic->config();
  if (!config.schema.empty() && config.schema != topic_config.schema)
    return fail(Errc::schema_mismatch, "topic '{}' has schema '{}', not '{}'", topic->name(), topic_config.schema, config.schema);
  if (config.partition && *config.partition >= topic_config.partitions)
    return fail(Errc::invalid_argument, "topic '{}' has partitions 0 to {}, not {}", topic->name(), topic_config.partitions - 1,
                *config.partition);
  std::unique_ptr<ProducerState> state(new ProducerState(topic, config));
  if (!topic->waits()) {
    auto waits = log::Waits::open(log::waits_path(topic->directory()), topic_config.partitions, topic->bus_directory().bells());
    return waits ? fail(Errc::permission_denied, "{}: a producer must be able to write it", topic->directory()) : pass(waits);
  }
  auto groups = topic->groups(platform::Access::write);
  if (!groups) return pass(groups);
  state->groups_ = std::move(*groups);
  const std::uint32_t first = config.partition.value_or(0);
  const std::uint32_t last = config.partition ? first : topic_config.partitions - 1;
  for (std::uint32_t i = first; i <= last; ++i) {
    auto partition = topic->partition(i, platform::Access::write);
    if (!partition) return pass(partition);
    partition->ring.cursors = state->groups_->cursors(i);
    partition->ring.cursor_count = state->groups_->groups();
    auto appender = ring::Appender::enlist(partition->ring, state->incarnation_);
    if (!appender) return pass(appender);
    state->open_.push_back(std::move(*partition));
    state->appenders_.push_back(std::move(*appender));
  }
  state->appender_of_.assign(topic_config.partitions, nullptr);
  for (ring::Appender& appender : state->appenders_)
    state->appender_of_[first + static_cast<std::uint32_t>(&appender - state->appenders_.data())] = &appender;
  state->sticky_ = config.partition.value_or(static_cast<std::uint32_t>(platform::random_word() % topic_config.partitions));
  state->plain_ = state->appender_of_[state->sticky_];
  state->sticky_left_ = state->appenders_.size() == 1 ? kEndless : kStickyBytes;
  platform::ticks_to_ns();  // begins to calibrate: with the first records it is done
  return state;
}

ProducerState::~ProducerState() {
  if (!ours()) return;  // they are the parent's
  for (ring::Appender& appender : appenders_) appender.resign();
}

void ProducerState::retire(std::unique_ptr<ProducerState> state) noexcept {
  if (!state || state->loan_count_ == 0) return;
  state->retired_ = true;
  static_cast<void>(state.release());  // abort() or commit() of the last loan deletes it
}

Result<void> ProducerState::look_for_topic(std::int64_t now) {
  auto there = topic_->check();
  if (there) looked_at_ = now;  // else the next call finds the same
  return there;
}

tl::unexpected<Error> ProducerState::gone() const { return fail(Errc::deleted, "topic '{}' was deleted", topic_->name()); }

tl::unexpected<Error> ProducerState::misshapen(std::size_t value_size, const Envelope& envelope) const {
  const std::string& name = topic_->name();
  const std::size_t headers = headers_size(envelope.headers);
  const std::size_t bytes = envelope.key.size() + headers + value_size;
  if (record_size_ != 0 && value_size != record_size_)
    return fail(Errc::schema_mismatch, "topic '{}' has values of {} bytes (schema '{}'), this one has {}", name, record_size_,
                topic_->config().schema, value_size);
  if (envelope.key.size() > Lengths::kMostKey)
    return fail(Errc::too_large, "a key has at most {} bytes, this one {}", Lengths::kMostKey, envelope.key.size());
  if (headers > Lengths::kMostHeaders)
    return fail(Errc::too_large, "the headers of a record take at most {} bytes, these {}", Lengths::kMostHeaders, headers);
  if (value_size > max_bytes_ || bytes > max_bytes_)
    return fail(Errc::too_large,
                "key, headers and value have {} bytes; the largest record of topic '{}' has {}; create it with larger partitions",
                bytes, name, max_bytes_);
  return fail(Errc::invalid_argument, "this producer of topic '{}' writes to {}, not to partition {}", name,
              config_.partition ? platform::format("partition {} only", *config_.partition)
                                : platform::format("partitions 0 to {}", partitions_ - 1),
              envelope.partition.value_or(0));
}

Result<void> ProducerState::hopeless(const ring::Refusal& refusal, std::uint32_t partition) const {
  switch (refusal.why) {
    case ring::Refusal::Why::deleted: return gone();
    case ring::Refusal::Why::corrupt: return fail(Errc::corrupt, "{}", topic_->describe(refusal, partition));
    case ring::Refusal::Why::exhausted: return fail(Errc::exhausted, "{}", topic_->describe(refusal, partition));
    default: return {};
  }
}

// There was no room. Waits for it by the producer's Wait: whoever reads on rings; a claim or a repair that is in the way rings nobody
// when its owner dies, therefore every sleep is short and ends with another look.
Result<void> ProducerState::claim_slowly(std::uint32_t partition, std::uint64_t cells, std::uint64_t records, Timestamp timestamp,
                                         nanoseconds timeout, Claimed& claimed) {
  constexpr std::int64_t kNap = 5'000'000;  // ns
  ring::Appender& to = *appender_of_[partition];
  if (to.ring().deleted()) return gone();
  if (auto hope = hopeless(to.refusal(), partition); !hope) return hope;
  if (timeout <= nanoseconds::zero()) return fail(Errc::full);
  if (to.open() != 0)
    return fail(Errc::would_deadlock, "{}, and this producer holds {} open loans of it; commit or abort them first",
                topic_->describe(to.refusal(), partition), to.open());
  const platform::Deadline deadline = platform::Deadline::after(timeout.count());
  const platform::Deadline spin_until =
      platform::Deadline::after(config_.wait.mode == Wait::Mode::sleep ? 0 : config_.wait.spin.count());
  const auto attempt = [&] { return to.claim(cells, records, timestamp, stamper_.now(), claimed); };
  for (;;) {
    for (int i = 0; i < 64; ++i) platform::pause();
    if (attempt()) return {};
    if (auto hope = hopeless(to.refusal(), partition); !hope) return hope;
    if (deadline.passed())
      return fail(Errc::timed_out, "waited {} ms: {}", timeout.count() / 1'000'000, topic_->describe(to.refusal(), partition));
    if (config_.wait.mode == Wait::Mode::spin || !spin_until.passed()) continue;
    if (auto there = topic_->check(); !there) return there;
    if (!bell_) {
      auto taken = platform::Bell::take(topic_->bus_directory().bells(), incarnation_);
      if (!taken) return pass(taken);
      bell_ = std::move(*taken);
    }
    const std::uint32_t rings = bell_->rings();
    to.ring().room.arm(bell_->index());
    if (attempt()) return {};
    bell_->sleep(rings, std::min(deadline.left(), kNap));
  }
}

Result<Placed> ProducerState::send(Bytes value, const Envelope& envelope, nanoseconds timeout) {
  if (!ours()) [[unlikely]]
    return fail(Errc::forked);
  Shape shape;
  if (!this->shape(value.size(), value.data() == nullptr, envelope, shape)) [[unlikely]]
    return misshapen(value.size(), envelope);
  const std::int64_t now = stamper_.now();
  if (time_to_look(now)) [[unlikely]]
    if (auto there = look_for_topic(now); !there) return pass(there);
  const Timestamp timestamp = envelope.timestamp.value_or(now);
  ring::Appender& to = *shape.to;
  Claimed claimed;
  if (!claim(to, shape.cells, 1, timestamp, now, claimed)) [[unlikely]]
    if (auto done = claim_slowly(shape.partition, shape.cells, 1, timestamp, timeout, claimed); !done) return pass(done);
  std::byte* room = write_front(*claimed.header, shape.lengths, envelope, timestamp);
  if (!value.empty()) copy_value(to, room, value);
  if (shape.lengths.is_plain())
    to.commit_and_tell(claimed, timestamp, value.data(), value.size());
  else
    to.commit(claimed);
  return Placed{shape.partition, claimed.offset};
}

// The same for a value alone: it is added to the last record, if that grows. There is one call for everything else, so that next to no
// register is saved in memory before it is known whether there is any.
inline Result<Placed> ProducerState::send(Bytes value, nanoseconds timeout) {
  std::uint64_t offset = kEndless;
  if (value.size() == grows_with_ && ours() && value.data() != nullptr && platform::Stamper::is_within(grows_for_) &&
      !plain_->ring().deleted()) {
    if (std::byte* const room = plain_->grow(offset); room != nullptr) [[likely]] {
      platform::copy_little(room, value.data(), value.size());
      plain_->grown();
      if (plain_->may_add() == 0) grows_with_ = kEndless;
      if (!plain_->ring().data.is_armed_behind_claim()) [[likely]]
        return Placed{sticky_, offset};
    }
  }
  return send_otherwise(value, timeout, offset);
}

// Wakes behind a value that was added; else (`grown_at` is kEndless) it is sent in a third of the instructions that one with an envelope takes.
// Everything unusual goes the long way, and so does one record in a while: when the clock is to be anchored, others looked after, or the partition
// changed.
Result<Placed> ProducerState::send_otherwise(Bytes value, nanoseconds timeout, std::uint64_t grown_at) {
  std::int64_t now = 0;
  ring::Appender& to = *plain_;
  if (grown_at != kEndless) [[unlikely]] {
    to.ring().data.ring_all();
    return Placed{sticky_, grown_at};
  }
  to.expect_to_tell(value.size());
  if (!ours() || !fits_plainly(value) || !stamper_.now_if_quiet(now) || to.ring().deleted()) [[unlikely]]
    return send_slowly(value, timeout);
  if (is_burst(value.size(), now)) [[unlikely]]
    if (Placed placed{}; begin_to_grow(value, now, placed)) return placed;
  Claimed claimed;
  if (!to.claim_quietly(plain_cells(value.size()), 1, claimed)) [[unlikely]]
    return send_insisting(value, now, timeout);
  sticky_left_ -= value.size();
  write_plain(to, *claimed.header, value, now);
  to.commit_and_tell(claimed, now, value.data(), value.size());
  return Placed{sticky_, claimed.offset};
}

// At a boundary of the index, where room is to be looked for, and where somebody else was faster.
Result<Placed> ProducerState::send_insisting(Bytes value, Timestamp now, nanoseconds timeout) {
  ring::Appender& to = *plain_;
  Claimed claimed;
  if (!to.insist(plain_cells(value.size()), 1, claimed)) return send_slowly(value, timeout);
  sticky_left_ -= value.size();
  write_plain(to, *claimed.header, value, now);
  to.commit_and_tell(claimed, now, value.data(), value.size());
  return Placed{sticky_, claimed.offset};
}

Result<Placed> ProducerState::send_slowly(Bytes value, nanoseconds timeout) {
  auto placed = send(value, Envelope{}, timeout);
  if (placed) become_quiet();
  return placed;
}

// As send: the usual in few instructions, everything else the long way.
Result<Loan> ProducerState::loan(std::size_t size, const Envelope& envelope, nanoseconds timeout) {
  std::int64_t now = 0;
  ring::Appender& to = *plain_;
  LoanState* const loan = free_loans_;
  if (!ours() || loan == nullptr || says_something(envelope) || size - least_value_ > value_span_ || size >= sticky_left_ ||
      !stamper_.now_if_quiet(now) || to.ring().deleted() ||
      !(to.claim_quietly(plain_cells(size), 1, loan->claimed) || to.insist(plain_cells(size), 1, loan->claimed))) [[unlikely]] {
    auto slowly = loan_slowly(size, envelope, timeout);
    if (slowly && !envelope.timestamp) become_quiet();
    return slowly;
  }
  to.keep_open(loan->claimed);
  sticky_left_ -= size;
  const Lengths lengths = plain(size);
  loan->claimed.header->h2.store(static_cast<std::uint64_t>(now), std::memory_order_relaxed);
  return lend(*loan, to, sticky_, lengths, reinterpret_cast<std::byte*>(loan->claimed.header) + plain_at(size));
}

// What `loan.claimed` says is lent. (What goes through memory here is stored in the pieces in which it is read: a load of two of them waits for
// all stores before it, those to the ring among them.)
inline Loan ProducerState::lend(LoanState& loan, ring::Appender& to, std::uint32_t partition, const Lengths& lengths,
                                std::byte* room) noexcept {
  free_loans_ = loan.next_free;
  ++loan_count_;
  loan.producer = this;
  loan.appender = &to;
  loan.partition = partition;
  loan.lengths = lengths.word();
  loan.claimed.header->h3.store(Lengths::kFilledInPlace, std::memory_order_relaxed);
  return {&loan, {room, lengths.value}};
}

Result<Loan> ProducerState::loan_slowly(std::size_t size, const Envelope& envelope, nanoseconds timeout) {
  if (!ours()) return fail(Errc::forked);
  Shape shape;
  if (!this->shape(size, false, envelope, shape)) return misshapen(size, envelope);
  const std::int64_t now = stamper_.now();
  if (time_to_look(now)) [[unlikely]]
    if (auto there = look_for_topic(now); !there) return pass(there);
  const Timestamp timestamp = envelope.timestamp.value_or(now);
  if (free_loans_ == nullptr) {  // before the claim: allocating may throw
    loans_.push_back(std::make_unique<LoanState>());
    free_loans_ = loans_.back().get();
  }
  ring::Appender& to = *shape.to;
  Claimed& claimed = free_loans_->claimed;
  if (!claim(to, shape.cells, 1, timestamp, now, claimed)) [[unlikely]]
    if (auto done = claim_slowly(shape.partition, shape.cells, 1, timestamp, timeout, claimed); !done) return pass(done);
  std::byte* room = write_front(*claimed.header, shape.lengths, envelope, timestamp);
  return lend(*free_loans_, to, shape.partition, shape.lengths, room);
}

Result<Placed> ProducerState::commit(LoanState& loan, std::size_t size) {
  if (!ours()) return fail(Errc::forked);
  const std::size_t most = loan.lengths & Lengths::kMostValue;
  if (size > most || (record_size_ != 0 && size != record_size_)) {
    abort(loan);
    return fail(Errc::invalid_argument, "the loan has {} bytes, {} cannot be committed; it was aborted", most, size);
  }
  ring::Appender& to = *loan.appender;
  const bool deleted = to.ring().deleted();
  const Placed placed{loan.partition, loan.claimed.offset};
  // A shorter value keeps its claim's extent: the rest is padding.
  ring::RecordHeader& header = *loan.claimed.header;
  const Lengths lengths = Lengths::of(loan.lengths - most + size);
  header.h3.store(lengths.word(), std::memory_order_relaxed);
  if (lengths.is_plain())
    to.commit_and_tell(loan.claimed, static_cast<Timestamp>(header.h2.load(std::memory_order_relaxed)),
                       reinterpret_cast<const std::byte*>(&header) + lengths.value_at(), size);
  else
    to.commit(loan.claimed);
  loan.next_free = free_loans_;
  free_loans_ = &loan;
  if (deleted) {
    auto error = gone();
    if (--loan_count_ == 0 && retired_) delete this;
    return error;
  }
  if (--loan_count_ == 0 && retired_) delete this;
  return placed;
}

void ProducerState::abort(LoanState& loan) noexcept {
  if (!ours()) return;
  loan.appender->abort(loan.claimed);
  loan.next_free = free_loans_;
  free_loans_ = &loan;
  if (--loan_count_ == 0 && retired_) delete this;
}

}  // namespace detail

// ---- the public handles --------------------------------------------------------------------------------------------------------

Producer::Producer(std::unique_ptr<detail::ProducerState> state) noexcept : state_(std::move(state)) {}
Producer::Producer(Producer&&) noexcept = default;
Producer& Producer::operator=(Producer&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Producer::~Producer() { detail::ProducerState::retire(std::move(state_)); }

Result<Placed> Producer::try_send(Bytes value) { return state_->send(value, nanoseconds::zero()); }
Result<Placed> Producer::send(Bytes value) { return state_->send(value, state_->config().timeout); }
Result<Placed> Producer::try_send(Bytes value, const Envelope& envelope) {
  return state_->send(value, envelope, nanoseconds::zero());
}
Result<Placed> Producer::send(Bytes value, const Envelope& envelope) {
  return state_->send(value, envelope, state_->config().timeout);
}
Result<Placed> Producer::send(Bytes value, const Envelope& envelope, nanoseconds timeout) {
  return state_->send(value, envelope, timeout);
}
Result<Loan> Producer::try_loan(std::size_t size, const Envelope& envelope) {
  return state_->loan(size, envelope, nanoseconds::zero());
}
Result<Loan> Producer::loan(std::size_t size, const Envelope& envelope) {
  return state_->loan(size, envelope, state_->config().timeout);
}
Result<Loan> Producer::loan(std::size_t size, const Envelope& envelope, nanoseconds timeout) {
  return state_->loan(size, envelope, timeout);
}
Result<std::size_t> Producer::try_send_many(std::span<const Message> messages) {
  return state_->send_many(messages, nanoseconds::zero());
}
Result<std::size_t> Producer::try_send_values(std::span<const Bytes> values) {
  return state_->send_many(values, nanoseconds::zero());
}
Result<std::size_t> Producer::send_values(std::span<const Bytes> values) {
  return state_->send_many(values, state_->config().timeout);
}
Result<std::size_t> Producer::send_many(std::span<const Message> messages) {
  return state_->send_many(messages, state_->config().timeout);
}
Result<std::size_t> Producer::send_many(std::span<const Message> messages, nanoseconds timeout) {
  return state_->send_many(messages, timeout);
}
std::size_t Producer::max_record_bytes() const noexcept { return state_->max_record_bytes(); }
std::uint32_t Producer::partitions() const noexcept { return state_->topic().config().partitions; }
Result<std::uint32_t> Producer::readers() const { return state_->topic().count_readers(); }

Result<Placed> Loan::commit(std::size_t size) {
  if (state_ == nullptr) return fail(Errc::invalid_argument, "this loan was committed or aborted already");
  detail::LoanState* loan = std::exchange(state_, nullptr);
  return loan->producer->commit(*loan, size);
}

void Loan::abort() noexcept {
  if (state_ == nullptr) return;
  detail::LoanState* loan = std::exchange(state_, nullptr);
  loan->producer->abort(*loan);
}

}  // namespace arus
