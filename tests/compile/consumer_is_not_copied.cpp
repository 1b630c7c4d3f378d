// error: deleted
#include "arus/arus.h"

// An endpoint belongs to one owner: it can be moved, not copied.
arus::Consumer take(arus::Consumer& consumer) {
#ifdef MUST_NOT_COMPILE
  return arus::Consumer(consumer);
#else
  return arus::Consumer(std::move(consumer));
#endif
}
