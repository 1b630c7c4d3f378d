// What a batch is made of: records, gaps, and room for copies. Kept from poll to poll, so that polling allocates nothing in the long run.
#pragma once

#include <arus/record.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

namespace arus::detail {

class RecordBuffer {
 public:
  explicit RecordBuffer(std::uint32_t most_records)
      : records_(std::max<std::uint32_t>(most_records, 1)), most_(records_.size()), limit_(most_) {}

  void clear() noexcept {
    count_ = 0;
    limit_ = most_;
    copied_ = 0;
    if (copied_any_ || !gaps_.empty()) [[unlikely]] {
      gaps_.clear();
      chunk_ = 0;
      used_ = 0;
      copied_any_ = false;
    }
  }
  // At most so many records, until clear().
  void limit(std::size_t records) noexcept { limit_ = std::min(records, most_); }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0 && gaps_.empty(); }
  // No more records in this batch. Copies are limited in bytes, so that a batch of large records does not copy the whole ring.
  [[nodiscard]] bool full() const noexcept { return count_ >= limit_ || copied_ >= kMostCopied; }

  Record& add() noexcept { return records_[count_++]; }
  // Room for records to be written in one go, and how many of them were.
  [[nodiscard]] std::span<Record> vacant() noexcept { return {records_.data() + count_, limit_ - std::min(limit_, count_)}; }
  void added(std::size_t records) noexcept { count_ += records; }
  void add(const Gap& gap) { gaps_.push_back(gap); }

  // Back to an earlier state, when what was taken since turned out to be overwritten.
  struct Mark {
    std::size_t records;
    std::size_t gaps;
    std::size_t chunk;
    std::size_t used;
    std::size_t copied;
    bool operator==(const Mark&) const = default;
  };
  [[nodiscard]] Mark mark() const noexcept { return {count_, gaps_.size(), chunk_, used_, copied_}; }
  void rewind(Mark mark) noexcept {
    count_ = mark.records;
    chunk_ = mark.chunk;
    used_ = mark.used;
    copied_ = mark.copied;
    gaps_.erase(gaps_.begin() + static_cast<std::ptrdiff_t>(mark.gaps), gaps_.end());
  }

  // Room for a copy, aligned to 16, valid until clear().
  std::byte* room(std::size_t size) {
    size = (size + 15) & ~std::size_t{15};
    while (chunk_ < chunks_.size() && chunks_[chunk_].size - used_ < size) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      const std::size_t bytes = std::max(size, kChunk);
      chunks_.push_back({std::make_unique_for_overwrite<Line[]>((bytes + sizeof(Line) - 1) / sizeof(Line)), bytes});
    }
    copied_any_ = true;
    std::byte* room = chunks_[chunk_].lines[0].bytes + used_;
    used_ += size;
    copied_ += size;
    return room;
  }

  [[nodiscard]] std::span<const Record> records() const noexcept { return {records_.data(), count_}; }
  [[nodiscard]] std::span<const Gap> gaps() const noexcept { return gaps_; }

 private:
  static constexpr std::size_t kChunk = 256u << 10;
  static constexpr std::size_t kMostCopied = 1u << 20;
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  struct Chunk {
    std::unique_ptr<Line[]> lines;
    std::size_t size;
  };
  std::vector<Record> records_;
  std::size_t most_;
  std::size_t limit_;  // at most most_
  std::size_t count_ = 0;
  std::vector<Gap> gaps_;
  std::vector<Chunk> chunks_;
  std::size_t chunk_ = 0;
  std::size_t used_ = 0;
  std::size_t copied_ = 0;
  bool copied_any_ = false;
};

}  // namespace arus::detail
