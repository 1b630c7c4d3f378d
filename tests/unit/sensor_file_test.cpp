// Reading and parsing of files in /proc and /sys.
#include "connect/sensor_file.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace arus::connect {
namespace {

namespace fs = std::filesystem;

TEST(SensorFileTest, NumbersAreParsedWholeOrNotAtAll) {
  EXPECT_EQ(parse_number("45125\n"), 45125);
  EXPECT_EQ(parse_number("-0.5 "), -0.5);
  EXPECT_EQ(parse_number(std::string_view("7\0", 2)), 7);
  for (const char* bad : {"", " ", "-", "1 2", "0x10", "1,5", "nan", "inf", "-inf", "1e999", "12 dB", "+1"}) {
    EXPECT_EQ(parse_number(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(parse_counter("18446744073709551615"), 18446744073709551615u);
  for (const char* bad : {"", "-1", "18446744073709551616", "1.5", "1 "}) {
    EXPECT_EQ(parse_counter(bad), std::nullopt) << bad;
  }
}

TEST(SensorFileTest, NaturalOrderCountsDigitsAsNumbers) {
  EXPECT_TRUE(natural_less("hwmon2", "hwmon10"));
  EXPECT_FALSE(natural_less("hwmon10", "hwmon2"));
  EXPECT_TRUE(natural_less("a", "a0"));
  EXPECT_TRUE(natural_less("a9z", "a10"));
  EXPECT_FALSE(natural_less("a007", "a7"));
  EXPECT_FALSE(natural_less("a7", "a007"));
  EXPECT_TRUE(natural_less("99999999999999999999998", "99999999999999999999999"));
}

TEST(SensorFileTest, TablesOfAnySizeAreReadWholeAndHugeOnesRefused) {
  const char* given = std::getenv("ARUS_TEST_DIR");
  const fs::path path = (given != nullptr ? fs::path(given) : fs::temp_directory_path()) / "sensor-table";
  SensorFile file;
  std::vector<char> buffer;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{8192}, std::size_t{100'001}}) {
    std::ofstream(path) << std::string(bytes, '7');
    ASSERT_EQ(file.open(path), 0);
    EXPECT_EQ(file.read_all(buffer).text.size(), bytes);
    EXPECT_EQ(file.read_all(buffer).error, 0);
  }
  fs::resize_file(path, 5u << 20);
  EXPECT_EQ(file.read_all(buffer).error, EOVERFLOW);
  fs::remove(path);
}

TEST(SensorFileTest, WordsAndLinesAreTakenFromTheFront) {
  std::string_view text = "  a  bc \n\nd";
  std::string_view line = take_line(text);
  EXPECT_EQ(take_word(line), "a");
  EXPECT_EQ(take_word(line), "bc");
  EXPECT_EQ(take_word(line), "");
  EXPECT_EQ(take_line(text), "");
  EXPECT_EQ(take_line(text), "d");
  EXPECT_EQ(take_line(text), "");
  EXPECT_TRUE(text.empty());
}

TEST(SensorFileTest, AnAttributeThatDoesNotFitIsRefused) {
  std::vector<char> buffer(4);
  SensorFile file;
  EXPECT_EQ(file.open("/no/such/file"), ENOENT);
  EXPECT_FALSE(file.is_open());
  ASSERT_EQ(file.open("/proc/version"), 0);
  EXPECT_EQ(file.read(buffer).error, EOVERFLOW);
  SensorFile moved = std::move(file);
  buffer.resize(4096);
  EXPECT_TRUE(moved.read(buffer).text.starts_with("Linux"));
}

}  // namespace
}  // namespace arus::connect
