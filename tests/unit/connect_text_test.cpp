// CSV, lines, NDJSON and times, given whole and in pieces of every size: the pieces must not matter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "connect/csv_reader.h"
#include "connect/text_decoder.h"
#include "connect/time_text.h"
#include "support.h"

namespace arus::connect {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Row = std::vector<std::string>;

struct Read {
  std::vector<Row> rows;
  std::vector<std::string> errors;  // "line 3: …"
  bool operator==(const Read&) const = default;
};

Read read_csv(std::string_view text, std::size_t piece, std::size_t longest = 1 << 20) {
  CsvReader reader(',', longest);
  Read read;
  const auto take = [&](std::string_view input, bool last) {
    for (;;) {
      const auto step = reader.next(input, last);
      if (step == CsvReader::Step::more) return;
      if (step == CsvReader::Step::malformed) {
        read.errors.push_back("line " + std::to_string(reader.line()) + ", " + reader.error());
        continue;
      }
      Row row;
      for (const auto& field : reader.fields()) row.emplace_back(field.text);
      read.rows.push_back(row);
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece) take(text.substr(at, piece), false);
  take({}, true);
  return read;
}

Read read_in_pieces(std::string_view text, std::size_t longest = 1 << 20) {
  const Read whole = read_csv(text, text.size() + 1, longest);
  for (std::size_t piece = 1; piece <= std::min<std::size_t>(text.size(), 40); ++piece) {
    EXPECT_EQ(read_csv(text, piece, longest), whole) << "in pieces of " << piece;
  }
  return whole;
}

TEST(Csv, Rfc4180) {
  EXPECT_THAT(read_in_pieces("a,b,c\r\nd,,f\n").rows, ElementsAre(Row{"a", "b", "c"}, Row{"d", "", "f"}));
  EXPECT_THAT(read_in_pieces("\"a\"\"b\",\"c,d\",\"e\r\nf\"\r\n").rows, ElementsAre(Row{"a\"b", "c,d", "e\r\nf"}));
  EXPECT_THAT(read_in_pieces("\"\",\"\"").rows, ElementsAre(Row{"", ""}));
  EXPECT_THAT(read_in_pieces(" a , b ").rows, ElementsAre(Row{" a ", " b "}));
  EXPECT_THAT(read_in_pieces("a,b,").rows, ElementsAre(Row{"a", "b", ""}));
  EXPECT_THAT(read_in_pieces("a\n\n\r\nb").rows, ElementsAre(Row{"a"}, Row{"b"}));
  EXPECT_THAT(read_in_pieces("").rows, ElementsAre());
  EXPECT_THAT(read_in_pieces("\xEF\xBB\xBF\"a\",b\n").rows, ElementsAre(Row{"a", "b"}));
  EXPECT_THAT(read_in_pieces("\xEF\xBBx,b\n").rows, ElementsAre(Row{"\xEF\xBBx", "b"}));
}

TEST(Csv, ErrorsNameLineAndColumnAndTheRestGoesOn) {
  const Read read = read_in_pieces("1,2\n3,x\"y\n5,\"6\"7\n\"8\n9,10\n11,12\rx\n13,14\n\"15");
  EXPECT_THAT(read.rows, ElementsAre(Row{"1", "2"}, Row{"9", "10"}, Row{"13", "14"}));
  EXPECT_THAT(
      read.errors,
      ElementsAre(HasSubstr("line 2, column 4: expected no quote"), HasSubstr("line 3, column 6: expected ','"),
                  HasSubstr("line 4, column 1: expected the quote that opens here"),
                  HasSubstr("line 6, column 7: expected a line feed"), HasSubstr("line 8, column 1: expected a closing quote")));
}

TEST(Csv, RowThatIsTooLong) {
  const Read read = read_in_pieces("a,b\n" + std::string(50, 'x') + ",y\n\"" + std::string(50, 'q') + "\"\nc,d\n", 20);
  EXPECT_THAT(read.rows, ElementsAre(Row{"a", "b"}, Row{"c", "d"}));
  EXPECT_EQ(read.errors.size(), 2u);
}

TEST(Csv, AQuoteThatNobodyClosesCostsOneLine) {
  std::string text = "a\n\"b\n";
  for (int i = 0; i < 100; ++i) text += "row" + std::to_string(i) + "\n";
  const Read read = read_in_pieces(text, 200);
  EXPECT_EQ(read.rows.size(), 101u);
  EXPECT_THAT(read.errors, ElementsAre(HasSubstr("line 2, column 1")));
}

TEST(Csv, WhatIsWrittenIsReadAgain) {
  std::mt19937 random(7);
  const std::string_view alphabet = "ab,\"\n\r \xC3\xA9";
  for (int round = 0; round < 200; ++round) {
    std::vector<Row> rows(1 + random() % 4, Row(2 + random() % 3));
    std::string text;
    for (auto& row : rows) {
      for (auto& field : row) {
        for (auto length = random() % 6; length > 0; --length) field += alphabet[random() % alphabet.size()];
        std::string quoted;
        for (const char c : field) quoted.append(c == '"' ? 2 : 1, c);
        text += (&field == &row.front() ? "\"" : ",\"") + quoted + "\"";
      }
      text += random() % 2 == 0 ? "\n" : "\r\n";
    }
    const Read read = read_in_pieces(text);
    EXPECT_EQ(read.rows, rows) << text;
    EXPECT_TRUE(read.errors.empty()) << text;
  }
}

TEST(Csv, NoiseIsNoCrash) {
  std::mt19937 random(11);
  const std::string_view alphabet = "a,\"\n\r\xEF\xBB\xBF";
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (auto length = random() % 60; length > 0; --length) text += alphabet[random() % alphabet.size()];
    read_in_pieces(text, 16);
  }
}

struct Decoded {
  std::vector<std::string> items;  // key|value|time
  std::vector<std::string> refused;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(const TextFormat& format, std::string_view text, std::size_t piece) {
  TextDecoder decoder = test::must(TextDecoder::make(format));
  Decoded decoded;
  ItemBuffer items;
  std::vector<Notice> notices;
  const auto collect = [&] {
    for (const Item& item : items.items()) {
      decoded.items.push_back(std::string(item.key.value_or("-")) + "|" + std::string(item.value) + "|" +
                              (item.time ? std::to_string(*item.time) : "-"));
    }
    for (const auto& notice : notices) decoded.refused.push_back(notice.text);
    items.clear();
    notices.clear();
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    EXPECT_TRUE(test::good(decoder.feed(text.substr(at, piece), items, notices)));
    collect();
  }
  EXPECT_TRUE(test::good(decoder.finish(items, notices)));
  collect();
  EXPECT_EQ(decoder.refused(), decoded.refused.size());
  return decoded;
}

Decoded decode_in_pieces(const TextFormat& format, std::string_view text) {
  const Decoded whole = decode(format, text, text.size() + 1);
  for (std::size_t piece = 1; piece <= std::min<std::size_t>(text.size(), 40); ++piece) {
    EXPECT_EQ(decode(format, text, piece), whole) << "in pieces of " << piece;
  }
  return whole;
}

TEST(Lines, KeysAndLineEnds) {
  const auto decoded = decode_in_pieces({.key_delimiter = "=>"}, "a=>1\r\n\nb=>2=>3\nlast");
  EXPECT_THAT(decoded.items, ElementsAre("a|1|-", "-||-", "b|2=>3|-", "-|last|-"));
}

TEST(Lines, TooLong) {
  const auto decoded = decode_in_pieces({.longest = 5}, "12345\n123456\n\n1234567890\nok\n12345\r\n");
  EXPECT_THAT(decoded.items, ElementsAre("-|12345|-", "-||-", "-|ok|-", "-|12345|-"));
  EXPECT_THAT(decoded.refused, ElementsAre("line 2, column 1: expected at most 5 bytes, the line has 6",
                                           "line 4, column 1: expected at most 5 bytes, the line has 10"));
}

TEST(Lines, ResetForgetsWhatWasBegun) {
  TextDecoder decoder = test::must(TextDecoder::make({}));
  ItemBuffer items;
  std::vector<Notice> notices;
  ASSERT_TRUE(test::good(decoder.feed("one\ntw", items, notices)));
  EXPECT_EQ(decoder.reset(), 2u);
  ASSERT_TRUE(test::good(decoder.feed("three\n", items, notices)));
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items.items()[1].value, "three");
}

TEST(CsvItems, ColumnsByName) {
  const auto decoded = decode_in_pieces({.kind = TextFormat::Kind::csv, .key_field = "k", .time_field = "t"},
                                        "t,v,k,w\n1.5,2,a,\"3\"\n2,,b\n1714521600123,x\"y,c,\n3,4,d,5\n");
  EXPECT_THAT(decoded.items, ElementsAre(R"(a|{"v":2,"w":"3"}|1500000000)", R"(d|{"v":4,"w":5}|3000000000)"));
  EXPECT_EQ(decoded.refused.size(), 2u);
}

TEST(NdjsonItems, MembersByName) {
  const auto decoded = decode_in_pieces(
      {.kind = TextFormat::Kind::ndjson, .key_field = "k", .time_field = "t", .value_field = "v"},
      "{\"k\":\"a\",\"t\":1.25,\"v\":\"x\"}\n{\"k\":1}\n{\"k\":\"b\",\"t\":2,\"v\":-0.10,\"z\":{\"k\":\"inner\"}}\n");
  EXPECT_THAT(decoded.items, ElementsAre("a|x|1250000000", "b|-0.10|2000000000"));
  EXPECT_EQ(decoded.refused.size(), 1u);
}

TEST(Settings, Contradictions) {
  using Kind = TextFormat::Kind;
  EXPECT_TRUE(test::fails(TextDecoder::make({.key_field = "k"}), Errc::invalid_argument, {"lines have no fields"}));
  EXPECT_TRUE(test::fails(TextDecoder::make({.kind = Kind::csv, .key_delimiter = ":"}), Errc::invalid_argument, {"for lines"}));
  EXPECT_TRUE(test::fails(TextDecoder::make({.kind = Kind::csv, .separator = '"'}), Errc::invalid_argument, {"separate"}));
  EXPECT_TRUE(test::fails(TextDecoder::make({.kind = Kind::csv, .columns = {"a"}, .key_field = "b"}), Errc::invalid_argument,
                          {"'b'", "has a"}));
}

TEST(Times, Numbers) {
  using enum TimeUnit;
  EXPECT_EQ(parse_epoch("1714521600", guess), 1714521600'000'000'000);
  EXPECT_EQ(parse_epoch("1714521600123", guess), 1714521600'123'000'000);
  EXPECT_EQ(parse_epoch("1714521600123456", guess), 1714521600'123'456'000);
  EXPECT_EQ(parse_epoch("1714521600123456789", guess), 1714521600'123'456'789);
  EXPECT_EQ(parse_epoch("1714521600.123456789", guess), 1714521600'123'456'789);
  EXPECT_EQ(parse_epoch("0.5", milliseconds), 500'000);
  EXPECT_EQ(parse_epoch("-1.5", seconds), -1'500'000'000);
  EXPECT_EQ(parse_epoch("7", nanoseconds), 7);
  EXPECT_EQ(parse_epoch("1.5e3", seconds), 1'500'000'000'000);
  for (const char* text : {"", "-", ".5", "1.", "1x", "0x10", "99999999999999999999", "1e300", "nan"}) {
    EXPECT_EQ(parse_epoch(text, seconds), std::nullopt) << text;
  }
  EXPECT_EQ(parse_epoch("9999999999999", seconds), std::nullopt) << "beyond what nanoseconds can count";
}

TEST(Times, Iso) {
  EXPECT_EQ(parse_iso_time("2024-05-01T00:00:00Z"), 1714521600'000'000'000);
  EXPECT_EQ(parse_iso_time("2024-05-01 02:00:00.25+02:00"), 1714521600'250'000'000);
  EXPECT_EQ(parse_any_time("  2024-05-01T00:00Z ", TimeUnit::guess), 1714521600'000'000'000);
  for (const char* text : {"", "2024", "2024-13-01", "2024-05-01T25:00", "2024-05-01T00:00:00+99", "2024-05-01X"}) {
    EXPECT_EQ(parse_any_time(text, TimeUnit::seconds),
              std::string_view(text) == "2024" ? std::optional<Timestamp>(2024'000'000'000) : std::nullopt)
        << text;
  }
}

}  // namespace
}  // namespace arus::connect
