// error: deleted
#include "arus/arus.h"

// The batch would be gone before the first record is looked at: `for` keeps alive what value() refers to no longer than value() itself.
std::uint64_t sum(arus::Consumer& consumer) {
  std::uint64_t offsets = 0;
#ifdef MUST_NOT_COMPILE
  for (const arus::Record& record : consumer.poll(arus::kForever).value()) offsets += record.offset();
#else
  auto batch = consumer.poll(arus::kForever).value();
  for (const arus::Record& record : batch) offsets += record.offset();
#endif
  return offsets;
}
