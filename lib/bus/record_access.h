// The one way to fill a public Record: from a header that ring::look has checked.
#pragma once

#include <arus/record.h>

#include "ring/read.h"

namespace arus {

struct RecordAccess {
  // `data`: where the record's bytes behind its header are (in the ring, or copied).
  static void fill(Record& record, const ring::View& view, const std::byte* data, const std::string* topic,
                   std::uint32_t partition) noexcept {
    record.data_ = data;
    record.offset_ = view.offset;
    record.timestamp_ = view.timestamp;
    record.value_size_ = static_cast<std::uint32_t>(view.lengths.value);
    record.value_at_ = static_cast<std::uint32_t>(view.lengths.value_at() - ring::kRecordHeader);
    record.partition_ = partition;
    record.key_size_ = static_cast<std::uint16_t>(view.lengths.key);
    record.headers_size_ = static_cast<std::uint16_t>(view.lengths.headers);
    record.topic_ = topic;
    record.flags_ = static_cast<std::uint32_t>(view.lengths.flags);
  }
  // The i-th of a packed record in the ring.
  static void fill_packed(Record& record, const ring::View& view, std::uint64_t i, const std::string* topic,
                          std::uint32_t partition) noexcept {
    fill(record, ring::unpacked(view, i), view.data + ring::kRecordHeader + i * view.lengths.stride(), topic, partition);
  }
  static_assert(Record::kNullKey == ring::Lengths::kNullKey && Record::kNullValue == ring::Lengths::kNullValue);
};

}  // namespace arus
