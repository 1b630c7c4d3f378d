// Appending to a topic.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "arus/config.h"
#include "arus/record.h"
#include "arus/result.h"

namespace arus {

namespace detail {
class ProducerState;
struct LoanState;
}  // namespace detail

// Where a record went.
struct Placed {
  std::uint32_t partition;
  std::uint64_t offset;
};

// All but the value.
struct Envelope {
  Bytes key{};                               // null: no key
  std::span<const Header> headers{};         // names and values together at most 64 KiB
  std::optional<Timestamp> timestamp{};      // absent: now
  std::optional<std::uint32_t> partition{};  // absent: by the key; without a key one partition for 16 KiB, then the next
};

struct Message {
  Bytes value{};
  Envelope envelope{};
};

// Room in the ring that is filled where it will be read. Dropped without commit(), it is aborted. Move-only, same thread and
// lifetime as its producer; other records of the partition that come later are delivered only after it: keep it short, or
// give a slow loaner a partition of its own.
class Loan {
 public:
  Loan(Loan&& other) noexcept : state_(std::exchange(other.state_, nullptr)), data_(other.data_) {}
  Loan& operator=(Loan&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Loan() {
    if (state_ != nullptr) abort();
  }

  // The value's bytes, aligned to 16, from 4 KiB on to 64; uninitialised.
  [[nodiscard]] std::span<std::byte> data() noexcept { return data_; }
  template <class T>
  requires std::is_trivially_copyable_v<T> && std::is_trivially_default_constructible_v<T> T& as() noexcept {
    static_assert(alignof(T) <= 16);
    return *::new (static_cast<void*>(data_.data())) T;
  }

  // Publishes the record; `size` may be smaller than what was loaned. No loan is left, whatever the result.
  Result<Placed> commit() { return commit(data_.size()); }
  Result<Placed> commit(std::size_t size);
  // Gives the room back: its offset is reported to readers as uncommitted.
  void abort() noexcept;

 private:
  friend class detail::ProducerState;
  Loan(detail::LoanState* state, std::span<std::byte> data) noexcept : state_(state), data_(data) {}
  detail::LoanState* state_;
  std::span<std::byte> data_;
};

// Appends records. Move-only; belongs to one thread at a time. Records of one producer in one partition keep their order.
//
// Forms: try_… never waits (`full` when there is no room); the others wait up to the timeout they are given, else the
// producer's (`timed_out`, and the message names who held it back). No system call unless somebody sleeps or room is short.
// Errors of all: `too_large`, `invalid_argument`, `schema_mismatch` (a fixed record size), `deleted`, `forked`, `corrupt`.
// Nothing was appended when a call fails. A topic whose files were removed without Bus::remove is noticed within a second.
//
// Crash: what was committed stays; what was claimed and not committed is skipped by whoever looks first, and reported as
// uncommitted. Stopped (SIGSTOP) inside a claim, it holds readers of that partition at the claim until it goes on or dies.
class Producer {
 public:
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  ~Producer();

  // One copy. Values alone that follow each other within 100 ns have the time of the first of them, at most a microsecond before.
  Result<Placed> try_send(Bytes value);
  Result<Placed> try_send(Bytes value, const Envelope& envelope);
  Result<Placed> send(Bytes value);
  Result<Placed> send(Bytes value, const Envelope& envelope);
  Result<Placed> send(Bytes value, const Envelope& envelope, std::chrono::nanoseconds timeout);
  Result<Placed> send(std::string_view key, Bytes value) { return send(value, {.key = bytes(key)}); }

  // No copy.
  Result<Loan> try_loan(std::size_t size, const Envelope& envelope = {});
  Result<Loan> loan(std::size_t size, const Envelope& envelope = {});
  Result<Loan> loan(std::size_t size, const Envelope& envelope, std::chrono::nanoseconds timeout);

  // Many at once: neighbours that go to the same partition are claimed together and become visible together (in portions of
  // at most a quarter of the ring), stamped with one time. Returns how many were appended, in order; fewer than all when room or time ran out. An
  // error means that none was. Values alone are the faster form; of one size (up to 1 KiB) they take the least room as well: one header
  // for all.
  Result<std::size_t> try_send_values(std::span<const Bytes> values);
  Result<std::size_t> try_send_many(std::span<const Message> messages);
  Result<std::size_t> send_values(std::span<const Bytes> values);
  Result<std::size_t> send_many(std::span<const Message> messages);
  Result<std::size_t> send_many(std::span<const Message> messages, std::chrono::nanoseconds timeout);

  // A trivially copyable value.
  template <class T>
  requires std::is_trivially_copyable_v<T> &&
      (!std::is_convertible_v<T, Bytes>)Result<Placed> send_value(const T& value, const Envelope& envelope = {}) {
    return send(bytes_of(value), envelope);
  }

  // The largest key, headers and value together.
  [[nodiscard]] std::size_t max_record_bytes() const noexcept;
  [[nodiscard]] std::uint32_t partitions() const noexcept;
  // Consumers attached to the topic and alive (a call for now and then: it looks at each one's lease).
  [[nodiscard]] Result<std::uint32_t> readers() const;

 private:
  friend class Topic;
  explicit Producer(std::unique_ptr<detail::ProducerState> state) noexcept;
  std::unique_ptr<detail::ProducerState> state_;
};

}  // namespace arus
