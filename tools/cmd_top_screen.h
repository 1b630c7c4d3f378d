// The terminal of `arus top`, by ncurses. At most one at a time.
//
// It is given back as it was found however the command ends: by the destructor, and by a signal handler when a signal that ends the
// process comes first (SIGKILL excepted). Ctrl-Z suspends, and the screen is drawn anew afterwards.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "cmd_top_view.h"

namespace arus::tool {

class TopScreen {
 public:
  // Throws a Failure when the terminal is not known to ncurses.
  TopScreen();
  ~TopScreen();
  TopScreen(const TopScreen&) = delete;
  TopScreen& operator=(const TopScreen&) = delete;

  [[nodiscard]] int columns() const noexcept;
  [[nodiscard]] int rows() const noexcept;
  void draw(const std::vector<Line>& lines);

  struct Event {
    enum class Kind : unsigned char { time, key, resized, ended } kind;
    TopKey key = TopKey::character;
    char character = 0;
  };
  // Waits for a key, another size, a request to stop (or the terminal's end), or until then.
  Event wait_until(std::chrono::steady_clock::time_point when);

 private:
  std::optional<Event> next_key();
};

}  // namespace arus::tool
