// error: deleted
#include "arus/arus.h"

// A loan is committed once.
arus::Loan take(arus::Loan& loan) {
#ifdef MUST_NOT_COMPILE
  return arus::Loan(loan);
#else
  return arus::Loan(std::move(loan));
#endif
}
