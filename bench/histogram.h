// A histogram of durations with a constant relative error, for percentiles far out. Lives in the page that the processes of
// a segment share: fixed size, no pointers, zero bytes are an empty one.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace bench {

class Histogram {
 public:
  void add(std::uint64_t value) noexcept {
    ++counts_[bucket(std::min(value, kLargest))];
    ++total_;
  }

  void add(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
  }

  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }

  // The value below which this share of all lies, as the middle of its bucket. 0 if the histogram is empty.
  [[nodiscard]] double quantile(double share) const noexcept {
    const double wanted = share * static_cast<double>(total_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen != 0 && static_cast<double>(seen) >= wanted) return middle(i);
    }
    return 0;
  }

 private:
  // Below 2^(kSubBits+1) every value has its own bucket, above it each power of two has 2^kSubBits of them: an error of at
  // most 0.2 %.
  static constexpr unsigned kSubBits = 8;
  static constexpr unsigned kBits = 40;  // minutes, in ticks
  static constexpr std::uint64_t kLargest = (std::uint64_t{1} << kBits) - 1;

  static std::size_t bucket(std::uint64_t value) noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    const unsigned shift = width > kSubBits + 1 ? width - (kSubBits + 1) : 0;
    return (std::size_t{shift} << kSubBits) + static_cast<std::size_t>(value >> shift);
  }

  static double middle(std::size_t bucket) noexcept {
    if (bucket < (std::size_t{2} << kSubBits)) return static_cast<double>(bucket);
    const std::size_t shift = (bucket >> kSubBits) - 1;
    const std::uint64_t low = (bucket - (shift << kSubBits)) << shift;
    return static_cast<double>(low) + static_cast<double>(std::uint64_t{1} << shift) / 2;
  }

  std::uint64_t total_ = 0;
  std::array<std::uint32_t, ((kBits - kSubBits + 1) << kSubBits)> counts_{};
};

}  // namespace bench
