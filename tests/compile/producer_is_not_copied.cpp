// error: deleted
#include "arus/arus.h"

// Two copies would share one claim.
arus::Producer take(arus::Producer& producer) {
#ifdef MUST_NOT_COMPILE
  return arus::Producer(producer);
#else
  return arus::Producer(std::move(producer));
#endif
}
