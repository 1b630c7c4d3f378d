// How long a consumer lets records come together before it looks: Wait::coalesce.
//
// A batch that is not full means that the consumer is faster than it need be: letting more arrive makes both sides touch fewer shared
// lines, and keeps the reader away from what is being written. (Even so the end of what there is would be just that, by the time that the reader
// comes there: see PartitionReader::behind_producers().) A single record means that somebody waits for an answer to it. What comes less often than
// one in kWorth and more slowly than kWorthBytes comes as well without waiting, and is not late then. Behind a full batch there is more: no wait
// before the next look.
//
// Records that are sent as quickly as can be come more quickly if they may come together; those that are sent at a pace of their own only come
// late. What tells them apart is the rate. So half the wait is tried, and kept where as many records come in the same time; and where waits were
// shortened so, the long wait is tried again now and then, for the senders may have changed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace arus::detail {

class Coalescing {
 public:
  static constexpr std::uint64_t kLongestWait = 14'000;  // ns
  static constexpr std::uint64_t kWorth = 100;           // ns for a record,
  static constexpr std::uint64_t kWorthBytes = 2;        // or for so many bytes a ns
  static constexpr std::uint64_t kUsualPause = 25;       // ns, where no clock tells; it is 3 to 50

  // Before a poll's first look, in ns. `until` is by any clock; 0: there is none, and nothing is weighed.
  struct Waited {
    std::uint64_t ns = 0;  // 0: not at all
    std::uint64_t until = 0;
  };

  explicit Coalescing(bool on) noexcept : on_(on) {}

  // So many pauses before a poll's first look.
  [[nodiscard]] std::uint32_t before_look() const noexcept { return hastes() || full_ ? 0 : pauses_; }
  // And so many before each further one, while nothing comes.
  [[nodiscard]] std::uint32_t between_looks() const noexcept { return pauses_; }
  // No wait before looks, and so no reason to keep away from anybody.
  [[nodiscard]] bool hastes() const noexcept { return pauses_ < kMany; }

  // A poll had so many records, of about `size` bytes each. `full`: as many as it takes at most; `in_vain`: its first look found nothing.
  void had(std::size_t records, bool full, const Waited& waited, bool in_vain, std::size_t size = 0) noexcept {
    if (!on_) return;
    full_ = full;
    if (records == 0 && pauses_ == 1) {  // as always where nothing comes: nothing to be done but once
      if (!std::exchange(nothing_came_, true)) doubt();
      return;
    }
    nothing_came_ = false;
    const bool too_long = waited.ns > kLongestWait + kLongestWait / 8;  // pauses are not equally long
    if (records <= 1 || (in_vain && !hastes()) || too_long || records * std::max(kWorth, size / kWorthBytes) < waited.ns)
      pauses_ = std::max(pauses_ / 2, 1u);
    else if (!full && (hastes() || (waited.ns != 0 && 2 * waited.ns <= kLongestWait)) && 2 * pauses_ <= most_)
      pauses_ *= 2;
    count(records, waited);
  }

 private:
  enum class Trying : std::uint8_t { nothing, half, unlimited };
  static constexpr std::uint32_t kMany = 4;              // from so many on a poll waits before it looks
  static constexpr std::uint32_t kFewest = 2 * kMany;    // that are tried
  static constexpr std::uint32_t kUnlimited = 1u << 31;  // but by the rule of had()
  // A rate is taken over so many waits, behind some that do not count.
  static constexpr std::uint32_t kWaits = 32;
  static constexpr std::uint32_t kSettling = 2;
  // Half the wait is tried where two rates in a row are within kSteady of each other; it is as good with this share of the rate, twice. Where it is
  // not, it is tried again after ever more rates.
  static constexpr double kSteady = 1.0 / 16;
  static constexpr double kAsGood = 1 - 1.0 / 128;
  static constexpr std::uint32_t kSeldom = 64;
  // Waits without a limit are tried again after so many times as long as they were waited then, or where so many rates in a row differ so much
  // from theirs: the senders have changed.
  static constexpr std::uint64_t kMuchLonger = 64;
  static constexpr std::uint32_t kOthers = 4;
  static constexpr double kMuchOther = 1.0 / 8;

  void count(std::size_t records, const Waited& waited) noexcept {
    records_ += records;
    if (waited.until == 0) return;
    waited_ += waited.ns;
    ++waits_;
    if (waits_ == kSettling) {
      records_ = waited_ = 0;
      since_ = waited.until;
    } else if (waits_ == kSettling + kWaits) {
      const std::uint64_t took = std::max<std::uint64_t>(waited.until - since_, 1);
      limited_for_ += std::min(took, kWaits * kLongestWait);
      weigh(static_cast<double>(records_) / static_cast<double>(took));
      waits_ = 0;
    }
  }
  static bool is_near(double rate, double other, double share) noexcept { return std::abs(rate - other) <= other * share; }
  // So many records a nanosecond came with waits as they are.
  void weigh(double rate) noexcept {
    switch (trying_) {
      case Trying::nothing: {
        const bool steady = is_near(rate, rate_, kSteady);
        rate_ = rate;
        if (most_ == kUnlimited) note_unlimited(rate);
        other_ = is_near(rate, unlimited_rate_, kMuchOther) ? 0 : other_ + 1;
        if (most_ != kUnlimited && (other_ == kOthers || limited_for_ / kMuchLonger >= unlimited_took_)) {
          become(unlimited_, kUnlimited, Trying::unlimited);
        } else if (left_ != 0) {
          --left_;
        } else if (steady) {
          try_half();
        }
        break;
      }
      case Trying::half:
        if (rate < std::max(rate_, unlimited_rate_) * kAsGood) {
          become(2 * most_, before_, Trying::nothing);
          left_ = between_ = std::clamp(2 * between_, 2u, kSeldom);
        } else if (std::exchange(was_as_good_, true)) {
          between_ = 0;
          try_half();
        }
        break;
      case Trying::unlimited:
        note_unlimited(rate);
        trying_ = Trying::nothing;
        if (rate_ >= rate * kAsGood) become(before_, before_, Trying::nothing);
        break;
    }
  }
  void try_half() noexcept {
    if (most_ == kUnlimited) unlimited_ = pauses_;
    const std::uint32_t half = pauses_ / 2;
    was_as_good_ = false;
    if (half >= kFewest)
      become(half, half, Trying::half);
    else
      trying_ = Trying::nothing;
  }
  void become(std::uint32_t pauses, std::uint32_t most, Trying trying) noexcept {
    if (trying != Trying::nothing) before_ = most_;
    pauses_ = pauses;
    most_ = most;
    trying_ = trying;
  }
  void note_unlimited(double rate) noexcept {
    unlimited_rate_ = rate;
    unlimited_took_ = waited_;
    limited_for_ = 0;
  }
  // Nothing comes: what does next may be something else, and what was found out is to be tried again.
  void doubt() noexcept {
    trying_ = Trying::nothing;
    left_ = between_ = waits_ = 0;
    unlimited_took_ = 0;
  }

  bool on_;
  bool full_ = false;          // the last batch was
  bool nothing_came_ = false;  // and that is known
  std::uint32_t pauses_ = 1;
  std::uint32_t most_ = kUnlimited;  // pauses
  std::uint32_t unlimited_ = 0;      // pauses, before they were limited
  std::uint32_t before_ = 0;         // most_, before the trial
  Trying trying_ = Trying::nothing;
  bool was_as_good_ = false;          // half, once; it counts the second time
  std::uint32_t between_ = 0;         // rates between two trials of half
  std::uint32_t left_ = 0;            // of them
  std::uint32_t other_ = 0;           // rates in a row that were much better or worse than the unlimited one
  std::uint32_t waits_ = 0;           // that this rate is taken over,
  std::uint64_t records_ = 0;         // what came in them,
  std::uint64_t waited_ = 0;          // how long they were, in ns,
  std::uint64_t since_ = 0;           // and when they began
  double rate_ = 0;                   // the last one when nothing was tried
  double unlimited_rate_ = 0;         // the last one without a limit,
  std::uint64_t unlimited_took_ = 0;  // how long its waits were, which is bounded, in ns,
  std::uint64_t limited_for_ = 0;     // and how long that is ago
};

}  // namespace arus::detail
