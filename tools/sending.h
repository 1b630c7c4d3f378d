// Sending many records while a stop can be requested and one bad record must not hold up the others.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "arus/producer.h"

namespace arus::tool {

// Whether an error is about the record itself, so that the next one may well be sent.
bool concerns_record(Errc code) noexcept;

struct Sent {
  std::size_t count = 0;       // messages from the first on that were sent
  std::optional<Error> error;  // why messages[count] was not; none with count < size: a stop was requested
};

class Sender {
 public:
  // `patience`: how long one batch may wait for room altogether. After two seconds it says on stderr whom it waits for.
  explicit Sender(Producer producer, std::chrono::nanoseconds patience) : producer_(std::move(producer)), patience_(patience) {}

  Sent send(std::span<const Message> messages);
  Producer& producer() noexcept { return producer_; }

 private:
  Producer producer_;
  std::chrono::nanoseconds patience_;
};

}  // namespace arus::tool
