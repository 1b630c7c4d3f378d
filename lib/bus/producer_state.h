// What stands behind a Producer: an appender per partition, and where keyless records go.
#pragma once

#include <arus/producer.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bus/growth.h"
#include "bus/headers.h"
#include "bus/state.h"
#include "log/partitioner.h"
#include "platform/clock.h"
#include "ring/claim.h"

namespace arus::detail {

// An open loan. Kept by the producer and used again, so that loaning allocates nothing in the long run.
struct LoanState {
  ProducerState* producer;
  ring::Appender* appender;
  std::uint32_t partition;
  ring::Claimed claimed;
  std::uint64_t lengths;  // its h3, if all of it is committed
  LoanState* next_free;
};

// On cache lines of its own, as are the classes below it: other threads have theirs beside it.
class alignas(platform::kCacheLine) ProducerState {
 public:
  static Result<std::unique_ptr<ProducerState>> make(const std::shared_ptr<TopicState>& topic, const ProducerConfig& config);
  ~ProducerState();
  ProducerState(const ProducerState&) = delete;
  ProducerState& operator=(const ProducerState&) = delete;

  Result<Placed> send(Bytes value, const Envelope& envelope, std::chrono::nanoseconds timeout);
  // The same for a value alone; inline in the two functions of Producer that have no envelope.
  [[gnu::always_inline]] Result<Placed> send(Bytes value, std::chrono::nanoseconds timeout);
  Result<Loan> loan(std::size_t size, const Envelope& envelope, std::chrono::nanoseconds timeout);
  template <class Item>  // Message, or Bytes: a value alone
  Result<std::size_t> send_many(std::span<const Item> items, std::chrono::nanoseconds timeout);
  Result<Placed> commit(LoanState& loan, std::size_t size);
  void abort(LoanState& loan) noexcept;
  // The Producer is gone: destroys itself now, or with the last open loan.
  static void retire(std::unique_ptr<ProducerState> state) noexcept;

  [[nodiscard]] std::size_t max_record_bytes() const noexcept { return max_bytes_; }
  [[nodiscard]] const TopicState& topic() const noexcept { return *topic_; }
  [[nodiscard]] const ProducerConfig& config() const noexcept { return config_; }

 private:
  static constexpr std::size_t kEndless = ~std::size_t{0};
  // A burst. (Where every step takes long it is slower.)
#if defined(ARUS_KILL_POINTS) || defined(ARUS_TSAN) || defined(ARUS_ASAN) || defined(ARUS_EMULATED)
  static constexpr std::uint64_t kSlowness = 100'000;
  static constexpr std::uint64_t kAlone = 8;
#else
  static constexpr std::uint64_t kSlowness = 1;
  static constexpr std::uint64_t kAlone = 128;  // cells that nobody else has claimed in between
#endif
  static constexpr std::uint64_t kQuick = 100 * kSlowness;        // ns between its values
  static constexpr std::uint32_t kFewestQuick = kFewestGrowing;   // of them, before it counts as one
  static constexpr std::size_t kMostGrowing = platform::kLittle;  // bytes of a value
  static constexpr std::uint64_t kGrowFor = 1'000 * kSlowness;    // ns from the first value to the last that has its time
  static constexpr std::size_t kStickyBytes = 16u
                                              << 10;  // Kafka's batch.size, after which its producer changes partition (KIP-794)
  struct Shape {                                      // of a record to be: what is where
    ring::Lengths lengths;
    std::uint64_t cells;
    std::uint32_t partition;
    ring::Appender* to;
    bool may_grow;  // send_many: others of its size may be packed with it
  };

  ProducerState(std::shared_ptr<TopicState> topic, ProducerConfig config);
  [[gnu::noinline]] Result<Loan> loan_slowly(std::size_t size, const Envelope& envelope, std::chrono::nanoseconds timeout);
  Loan lend(LoanState& loan, ring::Appender& to, std::uint32_t partition, const ring::Lengths& lengths, std::byte* room) noexcept;
  [[gnu::noinline]] Result<Placed> send_insisting(Bytes value, Timestamp now, std::chrono::nanoseconds timeout);
  [[gnu::noinline]] Result<Placed> send_slowly(Bytes value, std::chrono::nanoseconds timeout);
  [[gnu::noinline]] Result<Placed> send_otherwise(Bytes value, std::chrono::nanoseconds timeout, std::uint64_t grown_at);
  // Whether values of that size follow each other so quickly that the next one had better begin a record that grows.
  [[nodiscard]] bool is_burst(std::size_t size, Timestamp now) noexcept {
    const auto since =
        static_cast<std::uint64_t>(now - std::exchange(sent_at_, now));  // (unsigned: also when the clock was set back)
    if (could_grow_to_ != 0)
      end_growth(since);
    else
      quick_ = since < kQuick ? quick_ + 1 : 0;
    return quick_ >= kFewestQuick && size - 1 < kMostGrowing;
  }
  // Takes note of how many came in how long.
  void end_growth(std::uint64_t ns) noexcept;
  [[gnu::noinline]] bool begin_to_grow(Bytes value, Timestamp now, Placed& placed) noexcept;
  template <class Item>
  [[gnu::noinline]] Result<std::size_t> send_many_slowly(std::span<const Item> items, std::chrono::nanoseconds timeout);
  template <class Item>
  bool send_many_plainly(std::span<const Item> items) noexcept;
  template <class Item>
  bool send_packed(std::span<const Item> items, std::size_t size, Timestamp now) noexcept;
  // After something slow: how long nothing else of that kind is due. Not where the times are given by the caller: the index would be told to
  // expect later ones than there are, and seeking by time would begin further back than it need.
  void become_quiet() noexcept {
    const std::int64_t now = stamper_.now();
    stamper_.quiet_for(now, plain_->quiet_for(now));
    plain_->expect_up_to(stamper_.quiet_until());
  }
  // Whether a value alone of that size may go on to where keyless records go now.
  [[nodiscard]] bool fits_plainly(Bytes value) const noexcept {
    return value.data() != nullptr && value.size() - least_value_ <= value_span_ && value.size() < sticky_left_;
  }
  [[nodiscard]] bool ours() const noexcept { return platform::same_process(generation_); }
  // Once a second: whether the topic's files are still there. A deletion through the API marks the partitions; an `rm -r` does not.
  // (Unsigned: also when the clock was set back.)
  [[nodiscard]] bool time_to_look(std::int64_t now) const noexcept {
    return static_cast<std::uint64_t>(now - looked_at_) >= 1'000'000'000;
  }
  [[gnu::noinline]] Result<void> look_for_topic(std::int64_t now);
  // The hot path hands its intermediate values on in registers: as Results they went through memory in pieces, and the loads that
  // could not be forwarded from the stores took half the time of a send. False: misshapen() says why.
  [[gnu::always_inline]] bool shape(std::size_t value_size, bool null_value, const Envelope& envelope, Shape& shape) noexcept;
  [[gnu::noinline]] tl::unexpected<Error> misshapen(std::size_t value_size, const Envelope& envelope) const;
  [[gnu::always_inline]] std::uint32_t place(std::size_t size, const Envelope& envelope) noexcept;
  // Whether it was claimed at once; if not, claim_slowly() waits for room if need be, or says what is wrong.
  [[gnu::always_inline]] static bool claim(ring::Appender& to, std::uint64_t cells, std::uint64_t records, Timestamp timestamp,
                                           std::int64_t now, ring::Claimed& claimed) noexcept {
    return !to.ring().deleted() && to.claim(cells, records, timestamp, now, claimed);
  }
  [[gnu::noinline]] Result<void> claim_slowly(std::uint32_t partition, std::uint64_t cells, std::uint64_t records,
                                              Timestamp timestamp, std::chrono::nanoseconds timeout, ring::Claimed& claimed);
  // A refusal that waiting cannot change.
  Result<void> hopeless(const ring::Refusal& refusal, std::uint32_t partition) const;
  tl::unexpected<Error> gone() const;

  std::shared_ptr<TopicState> topic_;
  ProducerConfig config_;
  std::uint64_t generation_;  // of fork
  std::uint64_t incarnation_;
  std::uint32_t partitions_;
  std::uint32_t record_size_;
  std::size_t max_bytes_ = 0;
  std::size_t least_value_ = 0;  // sizes of values without key and headers: [least_value_, least_value_ + value_span_]
  std::size_t value_span_ = 0;
  std::uint64_t most_cells_ = 0;  // of a batch's claim
  platform::Stamper stamper_;
  // Values alone of one size that are sent in quick succession: bus/producer_growth.cpp.
  std::size_t grows_with_ = kEndless;  // the size of what the last record may grow with; kEndless: it does not …
  platform::Stamper::Span grows_for_;  // … and from when to when
  std::uint64_t could_grow_to_ = 0;    // values, when it began; 0: noted
  std::uint64_t next_grows_to_ = kFewestQuick;
  Timestamp sent_at_ = 0;       // when the last value was that it did not grow with
  std::uint32_t quick_ = 0;     // of those: how many followed each other quickly
  std::int64_t looked_at_ = 0;  // when look_for_topic() was called, by the stamper's clock
  std::shared_ptr<const group::GroupTable> groups_;
  std::vector<OpenPartition> open_;
  std::vector<ring::Appender> appenders_;
  std::vector<ring::Appender*> appender_of_;  // by partition; null: it does not write there
  ring::Appender* plain_ = nullptr;           // where keyless records go now …
  std::uint32_t sticky_ = 0;                  // … its partition …
  std::size_t sticky_left_ = 0;               // … and how many bytes go there still
  std::unique_ptr<platform::Bell> bell_;      // taken at the first sleep
  std::vector<std::unique_ptr<LoanState>> loans_;
  LoanState* free_loans_ = nullptr;
  std::uint32_t loan_count_ = 0;
  bool retired_ = false;
};

// ---- inline in every way of sending ----

inline std::uint32_t ProducerState::place(std::size_t size, const Envelope& envelope) noexcept {
  if (envelope.partition) return *envelope.partition;
  if (envelope.key.data() != nullptr && partitions_ != 1 && !config_.partition)
    return log::partition_for_key(envelope.key, partitions_);
  if (sticky_left_ == 0) {  // never where there is one partition only
    sticky_left_ = kStickyBytes;
    sticky_ = sticky_ + 1 == partitions_ ? 0 : sticky_ + 1;
    if (could_grow_to_ != 0) end_growth(kGrowFor);
    plain_ = appender_of_[sticky_];
    stamper_.be_loud();  // it has not been told what to expect
  }
  sticky_left_ -= std::min(sticky_left_, size);
  return sticky_;
}

inline void ProducerState::end_growth(std::uint64_t ns) noexcept {
  const std::uint64_t came = could_grow_to_ - plain_->may_add();
  next_grows_to_ = next_growth(next_grows_to_, came, could_grow_to_, ns, kGrowFor);
  quick_ = came >= kFewestQuick ? kFewestQuick : 0;
  could_grow_to_ = 0;
  grows_with_ = kEndless;
}

inline bool ProducerState::shape(std::size_t value_size, bool null_value, const Envelope& envelope, Shape& shape) noexcept {
  const std::size_t headers = envelope.headers.empty() ? 0 : headers_size(envelope.headers);
  const std::size_t key = envelope.key.size();
  if (key > ring::Lengths::kMostKey || headers > ring::Lengths::kMostHeaders || value_size > max_bytes_ ||
      key + headers + value_size > max_bytes_ || (record_size_ != 0 && value_size != record_size_)) [[unlikely]]
    return false;
  shape.lengths = ring::Lengths::single(
      value_size, key, headers,
      (envelope.key.data() == nullptr ? ring::Lengths::kNullKey : 0) | (null_value ? ring::Lengths::kNullValue : 0));
  shape.cells = shape.lengths.cells();
  shape.partition = place(key + headers + value_size, envelope);
  if (shape.partition >= partitions_) [[unlikely]]
    return false;
  shape.to = appender_of_[shape.partition];
  return shape.to != nullptr;
}

}  // namespace arus::detail
