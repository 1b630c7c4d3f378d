// How long a consumer lets records come together before it looks: Wait::coalesce.
//
// A batch that is not full means that the consumer is faster than it need be: letting more arrive makes both sides touch fewer shared
// lines, and keeps the reader away from what is being written. (Even so the end of what there is would be just that, by the time that the reader
// comes there: see PartitionReader::behind_producers().) A single record means that somebody waits for an answer to it. What comes less often than
// one in kWorth comes as well without waiting, and is not late then. Behind a full batch there is more: no wait before the next look.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace arus::detail {

class Coalescing {
 public:
  static constexpr std::uint64_t kLongestWait = 14'000;  // ns
  static constexpr std::uint64_t kWorth = 100;           // ns for a record
  static constexpr std::uint64_t kUsualPause = 25;       // ns, where no clock tells; it is 3 to 50

  // Batches have `most_records` at most.
  Coalescing(bool on, std::size_t most_records) noexcept : on_(on), most_records_(most_records) {}

  // So many pauses before a poll's first look.
  [[nodiscard]] std::uint32_t before_look() const noexcept { return hastes() || full_ ? 0 : pauses_; }
  // And so many before each further one, while nothing comes.
  [[nodiscard]] std::uint32_t between_looks() const noexcept { return pauses_; }
  // No wait before looks, and so no reason to keep away from anybody.
  [[nodiscard]] bool hastes() const noexcept { return pauses_ < kMany; }

  // A poll had so many records. Before its first look it waited for `ns` (0: it did not); `in_vain`: that look found nothing.
  void had(std::size_t records, std::uint64_t ns, bool in_vain) noexcept {
    if (!on_) return;
    full_ = records >= most_records_;
    if (records <= 1 || (in_vain && !hastes()) || ns > kLongestWait || records * kWorth < ns)
      pauses_ = std::max(pauses_ / 2, 1u);
    else if (!full_ && (hastes() || (ns != 0 && 2 * ns <= kLongestWait)))
      pauses_ *= 2;
  }

 private:
  static constexpr std::uint32_t kMany = 4;  // from so many on a poll waits before it looks
  bool on_;
  bool full_ = false;  // the last batch was
  std::uint32_t pauses_ = 1;
  std::size_t most_records_;
};

}  // namespace arus::detail
