// Values as people and programs read them: sizes, counts, times, tables, JSON strings.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arus/record.h"

namespace arus::tool {

std::string human_bytes(std::uint64_t bytes);                   // 8 MiB, 1.5 GiB, 100 B
std::string human_count(double count);                          // 950, 12.3 k, 1.24 M
std::string human_duration(std::chrono::nanoseconds duration);  // 431 ns, 1.2 us, 3.4 s, 5 min 2 s

// 2024-05-01T12:00:00.123456789Z
std::string iso_time(Timestamp timestamp);
Timestamp wall_clock_now() noexcept;

inline std::string_view plural(std::uint64_t count) noexcept { return count == 1 ? "" : "s"; }

// How many columns a text takes on a terminal, as far as counting code points tells.
std::size_t width_of(std::string_view text) noexcept;
// At most `columns` of it, with … at the end if something is missing. Control characters become '.'.
std::string fit(std::string_view text, std::size_t columns);

// Columns that are as wide as their longest cell.
class Table {
 public:
  enum class Align : std::uint8_t { left, right };
  struct Column {
    std::string title;
    Align align = Align::right;
  };

  explicit Table(std::vector<Column> columns);
  void add(std::vector<std::string> row);
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  // One line per row, each ended by a line feed; the first one is the titles.
  [[nodiscard]] std::vector<std::string> lines() const;
  [[nodiscard]] std::string text(std::string_view indent = {}) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

bool is_utf8(std::string_view text) noexcept;
// A JSON string with its quotes. The text must be UTF-8.
void append_json_string(fmt::memory_buffer& out, std::string_view text);
void append_base64(fmt::memory_buffer& out, std::string_view data);

}  // namespace arus::tool
