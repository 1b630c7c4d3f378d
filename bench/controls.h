// What the candidates are compared with: the least that can be done on the same cores with the same bytes. None of them
// survives a crash, numbers its messages or takes more than one size; that is what makes them controls.
//
//   SingleLine    round trip: one cache line, written in turn by both
//   TwoLine       round trip: one line there, one line back; the message is the line, its first word the signal. The floor.
//   RawLog        round trip: each message in the next line or two of 8 MiB. What any log in shared memory needs at least
//   FourLine      round trip: as before with the signal in a line of its own; what 64 B with any commit word need at least
//   BareRing      one producer, fixed slots without headers, published by index, each side caching the other's index
//   MinimalRing   one producer, nobody reads: a commit word and the bytes, on the grid of 64 B
//   CasRing       many producers: room is claimed by a 16-byte compare-and-swap on {position, count}, then as MinimalRing
//   Memcpy        the copying alone
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "bus/coalescing.h"
#include "clock.h"
#include "message.h"
#include "workloads.h"

namespace bench {

// Zeroed memory that forked children share.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes) : bytes_(bytes) {
    memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("no shared memory for a control");
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(memory_, bytes_); }

  // In each process before it measures: a fork does not copy the page tables of shared memory.
  void prefault() const {
    if (::madvise(memory_, bytes_, MADV_POPULATE_WRITE) != 0) throw std::runtime_error("cannot pre-fault a control");
  }
  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(memory_); }

 private:
  std::size_t bytes_;
  void* memory_;
};

inline std::atomic_ref<std::uint64_t> word_at(std::byte* address) noexcept {
  return std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(address));
}

// Far enough apart that no prefetcher takes them for neighbours.
inline constexpr std::size_t kApart = 2 * kLine;

// ---- how to wait after an empty poll ----

// For latency: look again after one pause.
class PauseWait {
 public:
  void before_a_look() noexcept {}
  void nothing() noexcept { cpu_pause(); }
  void found(std::size_t, std::size_t, std::size_t = 0) noexcept {}
};

// For throughput, by the rule of the design that arus was built from: a wait after an empty look, halved by a single message, doubled by 2
// to 23.
class FirstRuleWait {
 public:
  void before_a_look() noexcept {}
  void nothing() noexcept {
    for (unsigned i = 0; i < pauses_; ++i) cpu_pause();
  }
  void found(std::size_t messages, std::size_t) noexcept {
    if (messages == 1)
      pauses_ = std::max(1u, pauses_ / 2);
    else if (messages < 24)
      pauses_ = std::min(256u, pauses_ * 2);
  }

 private:
  unsigned pauses_ = 1;
};

// For throughput, by the rule of arus: the same code, and nothing else of it.
class CoalescingWait {
 public:
  void before_a_look() noexcept {
    if (empty_) return;
    waited_ = {};
    const std::uint32_t pauses = rule_.before_look();
    if (pauses == 0) return;
    const std::uint64_t from = ticks();
    pause(pauses);
    const std::uint64_t until = ticks();
    const auto ns = [&](std::uint64_t ticks) { return static_cast<std::uint64_t>(static_cast<double>(ticks) * ns_); };
    waited_ = {ns(until - from), ns(until)};
  }
  void nothing() noexcept {
    empty_ = true;
    pause(rule_.between_looks());
  }
  // Of so many bytes each. `most`: as many as come at once.
  void found(std::size_t messages, std::size_t bytes, std::size_t most = kFull) noexcept {
    rule_.had(messages, messages >= most, waited_, std::exchange(empty_, false), bytes);
  }

 private:
  static void pause(std::uint32_t pauses) noexcept {
    for (std::uint32_t i = 0; i < pauses; ++i) cpu_pause();
  }
  static constexpr std::size_t kFull = 256;
  double ns_ = TickScale::get().ns(1);  // of a tick
  arus::detail::Coalescing rule_{true};
  arus::detail::Coalescing::Waited waited_;  // before a poll's first look
  bool empty_ = false;                       // the last look found nothing
};

// ---- lines ----

// A line is a mailbox of one message. Its first word, the ticket, is stored last, with release; the reader acquires it and
// finds the rest in place. kBytes of 64 are carried.
template <std::size_t kBytes>
class Line {
  static_assert(kBytes <= kLine);

 public:
  explicit Line(std::byte* line) noexcept : line_(line) {}

  bool try_send(Bytes message) noexcept {
    constexpr std::size_t kTicket = sizeof(Ticket);
    std::memcpy(line_ + kTicket, message.data() + kTicket, kBytes - kTicket);
    word_at(line_).store(Ticket::of(message).word, std::memory_order_release);
    return true;
  }

  template <class Each>
  std::size_t poll(Each&& each) noexcept {
    const std::uint64_t word = word_at(line_).load(std::memory_order_acquire);
    if (word == seen_ || Ticket{word}.sender() != from_) {
      cpu_pause();
      return 0;
    }
    seen_ = word;
    each(Bytes(line_, kBytes));
    return 1;
  }

  // Only what this role sent is a message: for a line that is written from both sides.
  Line& only_from(std::size_t role) noexcept {
    from_ = role;
    return *this;
  }

 private:
  std::byte* line_;
  std::uint64_t seen_ = 0;
  std::size_t from_ = 0;
};

template <std::size_t kBytes>
class TwoLine {
 public:
  explicit TwoLine(const Shape&) : memory_(2 * kApart) {}

  struct End {
    Line<kBytes> out;
    Line<kBytes> in;
    bool try_send(Bytes message) noexcept { return out.try_send(message); }
    template <class Each>
    std::size_t poll(Each&& each) noexcept {
      return in.poll(std::forward<Each>(each));
    }
  };
  End end(std::size_t role) {
    memory_.prefault();
    const Line<kBytes> request(memory_.data());
    const Line<kBytes> reply(memory_.data() + kApart);
    End end = role == 0 ? End{request, reply} : End{reply, request};
    end.in.only_from(1 - role);
    return end;
  }

 private:
  SharedMemory memory_;
};

template <std::size_t kBytes>
class SingleLine {
 public:
  explicit SingleLine(const Shape&) : memory_(kApart) {}
  Line<kBytes> end(std::size_t role) {
    memory_.prefault();
    return Line<kBytes>(memory_.data()).only_from(1 - role);
  }

 private:
  SharedMemory memory_;
};

// A line with the signal, and one with the message.
template <std::size_t kBytes>
class SignalAndLine {
 public:
  explicit SignalAndLine(const Shape&) : memory_(2 * kApart) {}

  class End {
   public:
    explicit End(std::byte* memory) noexcept : signal_(memory), line_(memory + kApart) {}
    bool try_send(Bytes message) noexcept {
      std::memcpy(line_, message.data(), kBytes);
      word_at(signal_).store(++seen_, std::memory_order_release);
      return true;
    }
    template <class Each>
    std::size_t poll(Each&& each) noexcept {
      if (word_at(signal_).load(std::memory_order_acquire) == seen_) {
        cpu_pause();
        return 0;
      }
      ++seen_;
      each(Bytes(line_, kBytes));
      return 1;
    }

   private:
    std::byte* signal_;
    std::byte* line_;
    std::uint64_t seen_ = 0;
  };
  End sender() { return open(); }
  End receiver() { return open(); }

 private:
  End open() {
    memory_.prefault();
    return End(memory_.data());
  }
  SharedMemory memory_;
};

template <std::size_t kBytes>
using FourLine = TwoChannels<SignalAndLine<kBytes>>;

// 32 bytes, the first word of which is the signal, and the message behind them, as in a record of arus; nothing else of it.
template <std::size_t kBytes>
class RawChannel {
 public:
  explicit RawChannel(const Shape&) : memory_(kLog) {}

  class End {
   public:
    explicit End(std::byte* memory) noexcept : memory_(memory) {}
    bool try_send(Bytes message) noexcept {
      std::byte* const record = next();
      std::memcpy(record + kHeader, message.data(), kBytes);
      word_at(record).store(++count_, std::memory_order_release);
      return true;
    }
    template <class Each>
    std::size_t poll(Each&& each) noexcept {
      std::byte* const record = next();
      if constexpr (kRecord > kLine) __builtin_prefetch(record + kLine);
      if (word_at(record).load(std::memory_order_acquire) != count_ + 1) {
        cpu_pause();
        return 0;
      }
      ++count_;
      each(Bytes(record + kHeader, kBytes));
      return 1;
    }

   private:
    std::byte* next() noexcept { return memory_ + (count_ * kRecord & (kLog - 1)); }
    std::byte* memory_;
    std::uint64_t count_ = 0;
  };
  End sender() { return open(); }
  End receiver() { return open(); }

 private:
  static constexpr std::size_t kLog = 8u << 20;
  static constexpr std::size_t kHeader = 32;
  static constexpr std::size_t kRecord = (kHeader + kBytes + kLine - 1) / kLine * kLine;
  static_assert((kRecord & (kRecord - 1)) == 0);
  End open() {
    memory_.prefault();
    return End(memory_.data());
  }
  SharedMemory memory_;
};

template <std::size_t kBytes>
using RawLog = TwoChannels<RawChannel<kBytes>>;

// ---- rings ----

template <std::size_t kBytes, class Wait>
class BareRing {
 public:
  explicit BareRing(const Shape& shape) : slots_(shape.slots), memory_(kSlots + shape.slots * kBytes) {}

  class Sender {
   public:
    explicit Sender(const BareRing& ring) noexcept : memory_(ring.memory_.data()), slots_(ring.slots_) {}

    bool try_send(Bytes message) noexcept {
      if (!room_for(1)) return false;
      std::memcpy(slot(head_), message.data(), kBytes);
      word_at(memory_ + kHead).store(++head_, std::memory_order_release);
      return true;
    }
    // Published once.
    bool try_send_batch(std::span<const Bytes> messages) noexcept {
      if (!room_for(messages.size())) return false;
      for (const Bytes message : messages) std::memcpy(slot(head_++), message.data(), kBytes);
      word_at(memory_ + kHead).store(head_, std::memory_order_release);
      return true;
    }

   private:
    bool room_for(std::size_t messages) noexcept {
      if (head_ + messages - tail_ <= slots_) return true;
      tail_ = word_at(memory_ + kTail).load(std::memory_order_acquire);  // what it read is free to be overwritten
      return head_ + messages - tail_ <= slots_;
    }
    std::byte* slot(std::uint64_t index) noexcept { return memory_ + kSlots + (index & (slots_ - 1)) * kBytes; }

    std::byte* memory_;
    std::size_t slots_;
    std::uint64_t head_ = 0;
    std::uint64_t tail_ = 0;  // the receiver's, as last seen
  };

  class Receiver {
   public:
    explicit Receiver(const BareRing& ring) noexcept
        : memory_(ring.memory_.data()), slots_(ring.slots_), most_(std::min<std::size_t>(kMostPerPoll, slots_ / 4)) {}

    template <class Each>
    std::size_t poll(Each&& each) noexcept {
      if (head_ == tail_) {
        wait_.before_a_look();
        head_ = word_at(memory_ + kHead).load(std::memory_order_acquire);  // the slots below it are written
        if (head_ == tail_) {
          wait_.nothing();
          return 0;
        }
        wait_.found(head_ - tail_, kBytes);
      }
      const std::size_t count = std::min<std::size_t>(head_ - tail_, most_);
      for (std::size_t i = 0; i < count; ++i) {
        each(Bytes(memory_ + kSlots + ((tail_ + i) & (slots_ - 1)) * kBytes, kBytes));
      }
      tail_ += count;
      word_at(memory_ + kTail).store(tail_, std::memory_order_release);
      return count;
    }

   private:
    static constexpr std::size_t kMostPerPoll = 256;

    std::byte* memory_;
    std::size_t slots_;
    std::size_t most_;
    std::uint64_t tail_ = 0;
    std::uint64_t head_ = 0;  // the sender's, as last seen
    Wait wait_;
  };

  Sender sender() {
    memory_.prefault();
    return Sender(*this);
  }
  Receiver receiver() {
    memory_.prefault();
    return Receiver(*this);
  }

 private:
  static constexpr std::size_t kHead = 0;
  static constexpr std::size_t kTail = kApart;
  static constexpr std::size_t kSlots = 4096;

  std::size_t slots_;  // a power of two
  SharedMemory memory_;
};

// Reads what is left in slots that were overwritten round and round: from the oldest ticket to the newest. Once.
template <std::size_t kBytes>
class Leftovers {
 public:
  Leftovers(const std::byte* first, std::size_t stride, std::size_t slots) noexcept
      : first_(first), stride_(stride), slots_(slots) {}

  template <class Each>
  std::size_t poll(Each&& each) noexcept {
    if (done_) return 0;
    done_ = true;
    std::size_t newest = 0;
    for (std::size_t i = 1; i < slots_; ++i) {
      if (Ticket::of(slot(i)).sequence() > Ticket::of(slot(newest)).sequence()) newest = i;
    }
    std::size_t count = 0;
    for (std::size_t i = 1; i <= slots_; ++i) {
      const Bytes message = slot((newest + i) % slots_);
      if (Ticket::of(message).sequence() == 0) continue;  // never written
      each(message);
      ++count;
    }
    return count;
  }

 private:
  [[nodiscard]] Bytes slot(std::size_t index) const noexcept { return {first_ + index * stride_, kBytes}; }
  const std::byte* first_;
  std::size_t stride_;
  std::size_t slots_;
  bool done_ = false;
};

// Where a record of a MinimalRing or CasRing lies: a commit word, then the bytes, padded to the grid.
template <std::size_t kBytes>
struct Cell {
  static constexpr std::size_t kCommit = sizeof(std::uint64_t);
  static constexpr std::size_t kStride = std::bit_ceil(kCommit + kBytes);  // so that no record straddles the end
  static_assert(kStride >= kLine);

  // A commit word names its record's position, so that what an earlier lap left is no record, and nothing needs clearing.
  static void write(std::byte* at, std::uint64_t position, Bytes message) noexcept {
    std::memcpy(at + kCommit, message.data(), kBytes);
    word_at(at).store(position + 1, std::memory_order_release);
  }
};

template <std::size_t kBytes>
class MinimalRing {
 public:
  explicit MinimalRing(const Shape& shape) : slots_(shape.slots), memory_(shape.slots * Cell<kBytes>::kStride) {}

  class Sender {
   public:
    Sender(std::byte* memory, std::size_t size) noexcept : memory_(memory), mask_(size - 1) {}
    bool try_send(Bytes message) noexcept {
      Cell<kBytes>::write(memory_ + (tail_ & mask_), tail_, message);
      tail_ += Cell<kBytes>::kStride;
      return true;
    }

   private:
    std::byte* memory_;
    std::uint64_t mask_;
    std::uint64_t tail_ = 0;
  };

  Sender sender() {
    memory_.prefault();
    return {memory_.data(), slots_ * Cell<kBytes>::kStride};
  }
  Leftovers<kBytes> receiver() { return {memory_.data() + Cell<kBytes>::kCommit, Cell<kBytes>::kStride, slots_}; }

 private:
  std::size_t slots_;
  SharedMemory memory_;
};

template <std::size_t kBytes>
class CasRing {
 public:
  explicit CasRing(const Shape& shape) : bytes_(shape.slots * kStride), memory_(kRing + bytes_) {}

  class Sender {
   public:
    explicit Sender(const CasRing& ring) noexcept : memory_(ring.memory_.data()), bytes_(ring.bytes_), limit_(bytes_) {}

    bool try_send(Bytes message) noexcept { return try_send_batch({&message, 1}); }
    bool try_send_batch(std::span<const Bytes> messages) noexcept {
      std::uint64_t position = 0;
      if (!claim(messages.size(), position)) return false;
      for (const Bytes message : messages) {
        Cell<kBytes>::write(memory_ + kRing + (position & (bytes_ - 1)), position, message);
        position += kStride;
      }
      return true;
    }

   private:
    __extension__ using Pair = unsigned __int128;
    static Pair pair(std::uint64_t position, std::uint64_t count) noexcept { return Pair{count} << 64 | position; }

    bool claim(std::size_t count, std::uint64_t& position) noexcept {
      const std::uint64_t size = count * kStride;
      for (;;) {
        // The two loads may belong to different claims; then the swap fails.
        position = word_at(memory_ + kTail).load(std::memory_order_acquire);
        const std::uint64_t before = word_at(memory_ + kTail + 8).load(std::memory_order_relaxed);
        if (position + size > limit_) {
          limit_ = word_at(memory_ + kCursor).load(std::memory_order_acquire) + bytes_;
          if (position + size > limit_) return false;
        }
        if (__sync_bool_compare_and_swap(reinterpret_cast<Pair*>(memory_ + kTail), pair(position, before),
                                         pair(position + size, before + count))) {
          return true;
        }
      }
    }

    std::byte* memory_;
    std::uint64_t bytes_;
    std::uint64_t limit_;
  };

  class Receiver {
   public:
    explicit Receiver(const CasRing& ring) noexcept : memory_(ring.memory_.data()), bytes_(ring.bytes_) {}

    template <class Each>
    std::size_t poll(Each&& each) noexcept {
      std::size_t count = 0;
      for (; count < kMostPerPoll; ++count) {
        std::byte* const at = memory_ + kRing + (cursor_ & (bytes_ - 1));
        if (word_at(at).load(std::memory_order_acquire) != cursor_ + 1) break;
        each(Bytes(at + Cell<kBytes>::kCommit, kBytes));
        cursor_ += kStride;
      }
      if (count == 0) return 0;
      word_at(memory_ + kCursor).store(cursor_, std::memory_order_release);  // what was read may be overwritten
      return count;
    }

   private:
    static constexpr std::size_t kMostPerPoll = 256;
    std::byte* memory_;
    std::uint64_t bytes_;
    std::uint64_t cursor_ = 0;
  };

  Sender sender() {
    memory_.prefault();
    return Sender(*this);
  }
  Receiver receiver() {
    memory_.prefault();
    return Receiver(*this);
  }

 private:
  static constexpr std::size_t kStride = Cell<kBytes>::kStride;
  static constexpr std::size_t kTail = 0;
  static constexpr std::size_t kCursor = kApart;
  static constexpr std::size_t kRing = 4096;

  std::uint64_t bytes_;
  SharedMemory memory_;
};

// ---- copying ----

template <std::size_t kBytes>
class Memcpy {
 public:
  explicit Memcpy(const Shape& shape) : slots_(shape.slots), memory_(shape.slots * kBytes) {}

  class Sender {
   public:
    Sender(std::byte* memory, std::size_t slots) noexcept : memory_(memory), slots_(slots) {}
    bool try_send(Bytes message) noexcept {
      std::memcpy(memory_ + (next_++ & (slots_ - 1)) * kBytes, message.data(), kBytes);
      return true;
    }

   private:
    std::byte* memory_;
    std::size_t slots_;
    std::uint64_t next_ = 0;
  };

  Sender sender() {
    memory_.prefault();
    return {memory_.data(), slots_};
  }
  Leftovers<kBytes> receiver() { return {memory_.data(), kBytes, slots_}; }

 private:
  std::size_t slots_;
  SharedMemory memory_;
};

}  // namespace bench
