// Frames of a serial line and scans of an industrial I/O buffer, byte by byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "connect/backoff.h"
#include "connect/iio_source.h"
#include "connect/tty_source.h"

namespace arus::connect {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

std::vector<std::string> frames_of(FrameDecoder& decoder, std::string_view input, std::size_t piece) {
  ItemBuffer items;
  for (std::size_t at = 0; at < input.size(); at += piece) decoder.feed(input.substr(at, piece), items);
  std::vector<std::string> frames;
  for (const Item& item : items.items()) frames.emplace_back(item.value);
  return frames;
}

TEST(Frames, ThePiecesDoNotMatter) {
  for (std::size_t piece = 1; piece < 30; ++piece) {
    FrameDecoder plain(3, "");
    EXPECT_THAT(frames_of(plain, "abcdefgh", piece), ElementsAre("abc", "def"));
    EXPECT_EQ(plain.reset(), 2u);
    FrameDecoder synced(4, "~S");
    EXPECT_THAT(frames_of(synced, "x~~Sab~Scd~~~Sef~", piece), ElementsAre("~Sab", "~Scd", "~Sef"));
    EXPECT_EQ(synced.skipped(), 4u);
    EXPECT_EQ(synced.reset(), 1u);
  }
}

TEST(IioLayout, Parsed) {
  const auto layout = parse_iio_layout("le:s12/16>>4\n");
  ASSERT_TRUE(layout);
  EXPECT_FALSE(layout->big_endian);
  EXPECT_TRUE(layout->is_signed);
  EXPECT_EQ(layout->bits, 12u);
  EXPECT_EQ(layout->storage, 16u);
  EXPECT_EQ(layout->shift, 4u);
  EXPECT_EQ(layout->repeat, 1u);
  EXPECT_EQ(parse_iio_layout("be:u24/32X4>>0")->repeat, 4u);
  for (const char* text :
       {"", "le:", "xx:s12/16>>4", "le:x12/16>>4", "le:s12", "le:s12/16", "le:s12/16>>", "le:s12/16>>4x", "le:s0/16>>0",
        "le:s17/16>>0", "le:s8/12>>0", "le:s8/8>>8", "le:s8/0>>0", "le:s8/8X0>>0", "le:s8/512>>0"}) {
    EXPECT_FALSE(parse_iio_layout(text)) << text;
  }
}

IioChannel channel(unsigned index, std::string_view layout) {
  return {.name = "c" + std::to_string(index), .index = index, .layout = *parse_iio_layout(layout)};
}

TEST(IioScan, ChannelsStandOnMultiplesOfTheirSize) {
  std::vector<IioChannel> channels{channel(3, "le:s64/64>>0"), channel(0, "le:u8/8>>0"), channel(1, "le:s16/16>>0"),
                                   channel(2, "le:u8/8>>0")};
  EXPECT_EQ(place_channels(channels), 16u);
  EXPECT_EQ(channels[0].at, 0u);
  EXPECT_EQ(channels[1].at, 2u);
  EXPECT_EQ(channels[2].at, 4u);
  EXPECT_EQ(channels[3].at, 8u);
  std::vector<IioChannel> small{channel(0, "le:u16/16>>0"), channel(1, "le:u8/8>>0")};
  EXPECT_EQ(place_channels(small), 4u);
}

TEST(IioScan, Numbers) {
  const std::string_view scan("\x34\x12\xFF\xFE\x01\x80\x00\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16);
  const auto read = [&](std::string_view layout, std::size_t at) {
    IioChannel one = channel(0, layout);
    one.at = at;
    return read_channel(one, scan);
  };
  EXPECT_EQ(read("le:u16/16>>0", 0), 0x1234);
  EXPECT_EQ(read("be:u16/16>>0", 0), 0x3412);
  EXPECT_EQ(read("le:u12/16>>4", 0), 0x123);
  EXPECT_EQ(read("le:s8/8>>0", 2), -1);
  EXPECT_EQ(read("be:s16/16>>0", 2), -2);
  EXPECT_EQ(read("le:s12/16>>4", 4), -2048);
  EXPECT_EQ(read("be:u24/32>>8", 4), 0x018000);
  EXPECT_EQ(read("le:s64/64>>0", 8), -1);
}

TEST(Waiting, GrowsAndBeginsAnewAfterASuccessThatLasted) {
  Backoff backoff(4s);
  const Backoff::Clock::time_point start{1000s};
  EXPECT_TRUE(backoff.due(start));
  EXPECT_EQ(backoff.failed(start), 500ms);
  EXPECT_FALSE(backoff.due(start + 499ms));
  EXPECT_TRUE(backoff.due(start + 500ms));
  EXPECT_EQ(backoff.left(start + 100ms), 400ms);
  EXPECT_EQ(backoff.failed(start), 1s);
  EXPECT_EQ(backoff.failed(start), 2s);
  EXPECT_EQ(backoff.failed(start), 4s);
  EXPECT_EQ(backoff.failed(start), 4s);
  backoff.succeeded(start);
  EXPECT_EQ(backoff.failed(start + 1s), 4s) << "it did not last";
  backoff.succeeded(start + 10s);
  EXPECT_EQ(backoff.failed(start + 20s), 500ms);
}

}  // namespace
}  // namespace arus::connect
