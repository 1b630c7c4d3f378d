// Finding records: by offset, by time, from the end, the last of a key. All by reading only, while producers go on; what is overwritten
// during a search is searched again from what is left.
#pragma once

#include <arus/config.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "platform/error.h"
#include "ring/read.h"

namespace arus::log {

// Where a reader begins.
struct Place {
  std::uint64_t position;
  std::uint64_t offset;  // of the record there (of one of those that are packed there), or that will be there …
  bool certain;          // … or the least that it can be, if not certain
};

// The oldest record that is there; the end of an empty partition.
Result<Place> earliest(const ring::Ring& ring);
// Behind the last claim, or where that grows.
Place latest(const ring::Ring& ring) noexcept;
// The first record with that offset or a higher one; the end if there is none.
Result<Place> at_offset(const ring::Ring& ring, std::uint64_t offset);
// The first record whose timestamp is not before `time`, in the order of offsets, as Kafka's offsetsForTimes; the end if there is none.
Result<Place> at_time(const ring::Ring& ring, Timestamp time);
// By a consumer's Start. `out_of_range` for an offset beyond the end.
Result<Place> at_start(const ring::Ring& ring, Start start);

struct Copied {
  ring::View view;               // its data points into `bytes`
  std::vector<std::byte> bytes;  // the whole record
};
// The last record of which `matches(view)` says so (of a view into the ring that may be overwritten meanwhile); copied whole.
Result<std::optional<Copied>> last_record(const ring::Ring& ring, const std::function<bool(const ring::View&)>& matches);

}  // namespace arus::log
