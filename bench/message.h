// The messages that every transport carries, and their check: none may be missing, doubled, out of order or torn.
//
// Word 0 of a message is its ticket (sequence number, sender, whether it is the last), word 1 makes the sum of the ticket, of
// one word in every cache line and of the last word equal to ~0. The last word and one word in every 4 KiB change with the
// sequence number, so a message that was published before it was written, or overwritten while it was read, does not add up.
// The reader touches every line of every message: all of it has to cross between the cores.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace bench {

using Bytes = std::span<const std::byte>;

inline constexpr std::size_t kLine = 64;
inline constexpr std::size_t kSmallestMessage = 16;

// Word 0 of a message. Sequence numbers start at 1, so that fresh memory is never a message.
struct Ticket {
  static constexpr std::uint64_t kLastBit = std::uint64_t{1} << 63;
  static constexpr unsigned kSenderShift = 56;
  static constexpr std::uint64_t kSequenceMask = (std::uint64_t{1} << kSenderShift) - 1;

  std::uint64_t word;

  static Ticket of(Bytes message) noexcept {
    Ticket ticket{};
    std::memcpy(&ticket.word, message.data(), sizeof ticket.word);
    return ticket;
  }
  [[nodiscard]] bool last() const noexcept { return (word & kLastBit) != 0; }
  [[nodiscard]] std::size_t sender() const noexcept { return (word & ~kLastBit) >> kSenderShift; }
  [[nodiscard]] std::uint64_t sequence() const noexcept { return word & kSequenceMask; }
};

namespace detail {

inline std::uint64_t load(const std::byte* at) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// One word of every line but the first, and the last word.
inline std::uint64_t line_sum(Bytes message) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t at = kLine; at < message.size(); at += kLine) sum += load(message.data() + at);
  if (message.size() > kSmallestMessage) sum += load(message.data() + message.size() - sizeof sum);
  return sum;
}

}  // namespace detail

// Makes the messages of one sender, some ahead of their use: copying bytes that were stored an instant ago would wait for the
// store buffer, and it is the transport that is to be measured.
class MessageSource {
 public:
  explicit MessageSource(std::size_t bytes, std::size_t batch = 1, unsigned sender = 0)
      : bytes_(bytes),
        batch_(batch),
        count_(bytes <= kBlock ? std::max<std::size_t>(2 * batch, 16) : batch),
        sender_(std::uint64_t{sender} << Ticket::kSenderShift),
        pool_(static_cast<std::byte*>(std::aligned_alloc(kBlock, round_up(count_ * bytes)))) {
    for (std::size_t i = 0; i < count_; ++i) {
      messages_.emplace_back(pool_.get() + i * bytes, bytes);
      fill(i);
    }
    each_stamp(0, [this](std::byte*) { ++stamp_words_; });
    fixed_sum_ = detail::line_sum(messages_.front()) - stamp_words_ * kUnstamped;
    for (std::size_t i = 0; i + batch < count_; ++i) stamp(i, next_ + i);
  }

  // The next messages, a batch of them; valid until two batches later.
  std::span<const Bytes> take_batch() noexcept {
    for (std::size_t i = 0; i < batch_; ++i) {
      const std::uint64_t ahead = next_ + count_ - batch_ + i;
      stamp((ahead - 1) & (count_ - 1), ahead);
    }
    const std::span<const Bytes> batch(&messages_[(next_ - 1) & (count_ - 1)], batch_);
    next_ += batch_;
    return batch;
  }
  Bytes take() noexcept { return take_batch().front(); }

  // Closes the stream: a message of its own, after which nothing may be taken.
  Bytes last() noexcept {
    const std::size_t slot = (next_ - 1) & (count_ - 1);
    stamp(slot, next_++ | Ticket::kLastBit);
    return messages_[slot];
  }

 private:
  static constexpr std::size_t kBlock = 4096;
  static constexpr std::uint64_t kUnstamped = 0x5bd1e995;
  static std::size_t round_up(std::size_t bytes) noexcept { return (bytes + kBlock - 1) / kBlock * kBlock; }

  // Calls visit(address) for each word behind the head that changes with the ticket: the last, and one in every block.
  template <class Visit>
  void each_stamp(std::size_t slot, Visit visit) const {
    std::byte* const message = pool_.get() + slot * bytes_;
    for (std::size_t at = kBlock; at < bytes_; at += kBlock) visit(message + at);
    if (bytes_ > kSmallestMessage) visit(message + bytes_ - sizeof(std::uint64_t));
  }
  void store_stamps(std::size_t slot, std::uint64_t word) noexcept {
    each_stamp(slot, [word](std::byte* at) { std::memcpy(at, &word, sizeof word); });
  }

  void fill(std::size_t slot) noexcept {
    std::uint64_t random = 0x9e3779b97f4a7c15u;
    for (std::size_t at = 0; at < bytes_; at += sizeof random) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      std::memcpy(pool_.get() + slot * bytes_ + at, &random, sizeof random);
    }
    store_stamps(slot, kUnstamped);
  }

  void stamp(std::size_t slot, std::uint64_t ticket) noexcept {
    ticket |= sender_;
    store_stamps(slot, ticket);
    const std::uint64_t sum = fixed_sum_ + stamp_words_ * ticket;
    const std::uint64_t head[2] = {ticket, ~(ticket + sum)};
    std::memcpy(pool_.get() + slot * bytes_, head, sizeof head);
  }

  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  std::size_t bytes_;
  std::size_t batch_;
  std::size_t count_;  // messages in the pool: like the batch a power of two, and a multiple of it
  std::uint64_t sender_;
  std::uint64_t next_ = 1;
  std::unique_ptr<std::byte, Free> pool_;
  std::vector<Bytes> messages_;
  std::uint64_t stamp_words_ = 0;
  std::uint64_t fixed_sum_ = 0;  // line_sum() of a message without its stamped words
};

// Fails the segment, by name and for good; see harness.h.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// What a reader expects of one sender.
class MessageCheck {
 public:
  explicit MessageCheck(std::size_t bytes) noexcept : bytes_(bytes) {}

  // Begin at whatever comes first: for what is left in a ring that was lapped.
  void start_anywhere() noexcept { lenient_ = Lenient::first; }
  // Others read the rest: the numbers only have to rise.
  void allow_holes() noexcept { lenient_ = Lenient::holes; }
  // Messages [from, to) were reported as lost: exactly those that are missing.
  void lost(std::uint64_t from, std::uint64_t to) {
    if (from != expected_ || to <= from) {
      fail("messages [%llu, %llu) are said to be lost where %llu was due", static_cast<unsigned long long>(from),
           static_cast<unsigned long long>(to), static_cast<unsigned long long>(expected_));
    }
    expected_ = to;
  }

  // Whether that was the last message; does not return if it is not the one that was due, whole.
  bool operator()(Bytes message) noexcept {
    const Ticket ticket = Ticket::of(message);
    if (lenient_ != Lenient::no) {
      expected_ = lenient_ == Lenient::first ? ticket.sequence() : std::max(expected_, ticket.sequence());
      if (lenient_ == Lenient::first) lenient_ = Lenient::no;
    }
    const std::uint64_t sum = ticket.word + detail::load(message.data() + sizeof ticket) + detail::line_sum(message);
    if (message.size() != bytes_ || ticket.sequence() != expected_ || sum != ~std::uint64_t{0}) [[unlikely]] {
      complain(message, ticket, sum);
    }
    ++expected_;
    return ticket.last();
  }

  [[nodiscard]] std::uint64_t next() const noexcept { return expected_; }

 private:
  [[noreturn]] void complain(Bytes message, Ticket ticket, std::uint64_t sum) const {
    if (message.size() != bytes_) fail("a message of %zu bytes instead of %zu", message.size(), bytes_);
    if (ticket.sequence() != expected_) {
      fail("message %llu of sender %zu where %llu was due", static_cast<unsigned long long>(ticket.sequence()), ticket.sender(),
           static_cast<unsigned long long>(expected_));
    }
    fail("message %llu of sender %zu is not whole: its sum is %llx", static_cast<unsigned long long>(ticket.sequence()),
         ticket.sender(), static_cast<unsigned long long>(sum));
  }

  enum class Lenient : std::uint8_t { no, first, holes };
  std::size_t bytes_;
  std::uint64_t expected_ = 1;
  Lenient lenient_ = Lenient::no;
};

}  // namespace bench
