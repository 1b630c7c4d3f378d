// error: no matching
#include <array>
#include <string>

#include "arus/arus.h"

// What points into this process means nothing in another.
bool send(arus::Producer& producer) {
#ifdef MUST_NOT_COMPILE
  const std::string value = "a string holds a pointer";
  return producer.send_value(value).has_value();
#else
  const std::array<int, 4> value{1, 2, 3, 4};
  return producer.send_value(value).has_value();
#endif
}
