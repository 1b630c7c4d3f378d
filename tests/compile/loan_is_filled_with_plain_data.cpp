// error: no matching
#include <array>
#include <string>

#include "arus/arus.h"

void fill(arus::Loan& loan) {
#ifdef MUST_NOT_COMPILE
  loan.as<std::string>() = "a string holds a pointer";
#else
  loan.as<std::array<char, 4>>() = {'p', 'l', 'a', 'i'};
#endif
}
