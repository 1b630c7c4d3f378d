// What `arus top` shows, as lines of text: from a sample, the state of the screen and its size. Knows nothing of terminals.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sampler.h"

namespace arus::tool {

enum class Style : std::uint8_t { normal, title, header, selected, alarm, faint };

struct Line {
  std::string text;
  Style style = Style::normal;
};

enum class TopKey : std::uint8_t { up, down, page_up, page_down, home, end, enter, escape, backspace, character };

class TopView {
 public:
  // What the screen shows next comes from this sample.
  void take(BusSample sample);
  // Exactly `rows` lines of at most `columns` columns. Also keeps the selection in sight, which is why it is not const.
  std::vector<Line> lines(int columns, int rows);

  // False: the user wants to go. `character` is what was typed, for TopKey::character.
  bool press(TopKey key, char character = 0);
  // New samples are not wanted just now.
  [[nodiscard]] bool paused() const noexcept { return paused_; }

 private:
  enum class Page : std::uint8_t { overview, topic, help };
  enum class Sort : std::uint8_t { name, records, bytes, fill, lag };

  bool press_filter(TopKey key, char character);
  void go(std::int64_t rows);
  void arrange();
  [[nodiscard]] bool shown(std::string_view name) const;
  [[nodiscard]] Line title() const;
  [[nodiscard]] Line status() const;
  [[nodiscard]] Line keys() const;
  std::vector<Line> overview(std::size_t columns, std::size_t rows);
  std::vector<Line> topic_page(std::size_t columns, std::size_t rows);
  [[nodiscard]] std::vector<Line> help_page() const;

  BusSample sample_;
  std::vector<const TopicSample*> topics_;  // those shown, in order; into sample_
  Page page_ = Page::overview;
  Page before_help_ = Page::overview;
  Sort sort_ = Sort::name;
  bool reversed_ = false;
  bool paused_ = false;
  bool typing_ = false;
  std::string filter_;
  std::string selected_;       // a topic's name, so that the selection stays with it while rows move
  std::size_t first_ = 0;      // row of the table at the top of the screen
  std::size_t page_rows_ = 1;  // how far a page goes
};

// Short forms that fit into columns: 45s, 12m, 3.4h, 5d.
std::string short_age(std::int64_t ns);

}  // namespace arus::tool
