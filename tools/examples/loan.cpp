#include <arus/arus.h>

#include <array>
#include <cstdint>
#include <iostream>

struct Frame {
  std::uint64_t number;
  std::array<std::uint8_t, 640 * 480> pixels;
};

int main() {
  using std::chrono_literals::operator""s;
  auto bus = arus::Bus::open().value();
  auto frames = bus.open_or_create("frames", {.schema = "Frame", .record_size = sizeof(Frame)}).value();
  auto producer = frames.producer({.schema = "Frame"}).value();
  auto consumer = bus.consumer({.group = "viewer", .start = arus::Start::earliest}).value();
  consumer.subscribe({"frames"}).value();

  // The frame is filled in the ring itself: nothing is copied. A loan that is dropped before its commit never happened.
  auto loan = producer.loan(sizeof(Frame), {.key = arus::bytes("camera-1")}).value();
  auto& frame = loan.as<Frame>();
  frame.number = 1;
  frame.pixels.fill(128);
  loan.commit().value();

  // And read where it lies, until the next poll. (record.as<Frame>() would copy it.)
  auto batch = consumer.poll(1s).value();
  for (const arus::Record& record : batch) {
    const auto* seen = reinterpret_cast<const Frame*>(record.value().data());
    std::cout << "frame " << seen->number << ", first pixel " << int{seen->pixels[0]} << std::endl;
  }
}
