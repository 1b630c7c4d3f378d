// What producers write and consumers read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace arus {

// Bytes that somebody else owns. A null span (data() == nullptr) is Kafka's null: no key, or a value that is a tombstone;
// an empty one that is not null is a key or value of no bytes.
using Bytes = std::span<const std::byte>;
inline constexpr Bytes kNull{};

inline Bytes bytes(std::string_view text) noexcept {
  static constexpr std::byte kEmpty{};  // so that bytes("") is empty and not null
  return text.empty() ? Bytes(&kEmpty, 0) : std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view text(Bytes data) noexcept { return {reinterpret_cast<const char*>(data.data()), data.size()}; }
template <class T>
requires std::is_trivially_copyable_v<T> &&(!std::is_pointer_v<T>)Bytes bytes_of(const T& object) noexcept {
  return std::as_bytes(std::span(&object, 1));
}

// Nanoseconds since 1970-01-01 UTC.
using Timestamp = std::int64_t;

struct Header {
  std::string_view name;
  Bytes value;
};

// The headers of a record in place, decoded as one walks them.
class HeaderView {
 public:
  class iterator {
   public:
    using value_type = Header;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    Header operator*() const noexcept;
    iterator& operator++() noexcept;
    iterator operator++(int) noexcept {
      auto old = *this;
      ++*this;
      return old;
    }
    bool operator==(const iterator& other) const noexcept { return rest_.size() == other.rest_.size(); }

   private:
    friend class HeaderView;
    explicit iterator(Bytes rest) noexcept;
    Bytes rest_;
  };

  HeaderView() noexcept = default;
  explicit HeaderView(Bytes encoded) noexcept : encoded_(encoded) {}
  [[nodiscard]] iterator begin() const noexcept { return iterator(encoded_); }
  [[nodiscard]] iterator end() const noexcept { return iterator(); }
  [[nodiscard]] bool empty() const noexcept { return begin() == end(); }
  // The value of the first header of that name.
  [[nodiscard]] std::optional<Bytes> find(std::string_view name) const noexcept;

 private:
  Bytes encoded_;
};

// One record, as a view. Its bytes belong to the batch that it came in (see consumer.h for how long).
class Record {
 public:
  [[nodiscard]] std::string_view topic() const noexcept { return topic_ != nullptr ? *topic_ : std::string_view(); }
  [[nodiscard]] std::uint32_t partition() const noexcept { return partition_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] Timestamp timestamp() const noexcept { return timestamp_; }
  [[nodiscard]] Bytes key() const noexcept { return (flags_ & kNullKey) != 0 ? kNull : Bytes(data_, key_size_); }
  // Starts on 16 bytes.
  [[nodiscard]] Bytes value() const noexcept { return (flags_ & kNullValue) != 0 ? kNull : Bytes(data_ + value_at_, value_size_); }
  [[nodiscard]] HeaderView headers() const noexcept { return HeaderView(Bytes(data_ + key_size_, headers_size_)); }
  // The value as a T, if it has exactly the size of one.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> as() const noexcept {
    std::optional<T> result;
    if (value_size_ == sizeof(T)) std::memcpy(&result.emplace(), data_ + value_at_, sizeof(T));
    return result;
  }

 private:
  friend struct RecordAccess;  // lib/bus: fills records from checked headers
  static constexpr std::uint32_t kNullKey = 1;
  static constexpr std::uint32_t kNullValue = 2;

  const std::byte* data_ = nullptr;  // key, headers, padding, value
  std::uint64_t offset_ = 0;
  Timestamp timestamp_ = 0;
  std::uint32_t value_size_ = 0;
  std::uint32_t value_at_ = 0;
  std::uint32_t partition_ = 0;
  std::uint16_t key_size_ = 0;
  std::uint16_t headers_size_ = 0;
  const std::string* topic_ = nullptr;
  std::uint32_t flags_ = 0;
};

// Offsets [from, to) of a partition that will not be delivered to this consumer.
struct Gap {
  enum class Kind : std::uint8_t {
    lost,         // overwritten before they were read: a lossy reader was lapped, or a group was evicted
    uncommitted,  // never committed: an aborted loan, or a producer that died before its commit. Nothing was lost.
  };
  std::string_view topic;
  std::uint32_t partition;
  std::uint64_t from;
  std::uint64_t to;
  Kind kind;
};

}  // namespace arus
