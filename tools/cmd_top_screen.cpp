#include "cmd_top_screen.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

#include "stop.h"
#include "terminal.h"

// Its macros would go through every header after it.
#include <curses.h>
#undef OK
#undef timeout

namespace arus::tool {
namespace {

constexpr std::array kDeadly{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT};
constexpr int kCtrlC = 3;
constexpr int kBackspace = 8;
constexpr int kCtrlL = 12;
constexpr int kCtrlZ = 26;
constexpr int kEscape = 27;
constexpr int kDelete = 127;

enum Colour : short { none, alarming = 1, chosen = 2, heading = 3 };

// For signal handlers.
termios found_settings{};
bool settings_known = false;
int resized_event = -1;

void note_resize(int /*signal*/) {
  const int error = errno;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(resized_event, &one, sizeof one);
  errno = error;
}

// Async-signal-safe: what endwin() would do, as far as every terminal of today understands it.
void restore_and_die(int signal) {
  static constexpr char kRestore[] = "\x1b[?1049l\x1b[?25h\x1b[0m\r\n";
  [[maybe_unused]] const auto written = write(STDOUT_FILENO, kRestore, sizeof kRestore - 1);
  if (settings_known) tcsetattr(STDIN_FILENO, TCSANOW, &found_settings);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

attr_t attributes_of(Style style) {
  const bool colours = has_colors();
  switch (style) {
    case Style::title: return A_REVERSE;
    case Style::header: return colours ? A_BOLD | static_cast<attr_t>(COLOR_PAIR(heading)) : A_BOLD;
    case Style::selected: return colours ? A_BOLD | static_cast<attr_t>(COLOR_PAIR(chosen)) : A_REVERSE;
    case Style::alarm: return colours ? A_BOLD | static_cast<attr_t>(COLOR_PAIR(alarming)) : A_BOLD;
    case Style::faint: return A_DIM;
    case Style::normal: break;
  }
  return A_NORMAL;
}

}  // namespace

TopScreen::TopScreen() {
  std::setlocale(LC_CTYPE, "");
  settings_known = tcgetattr(STDIN_FILENO, &found_settings) == 0;
  if (resized_event < 0) resized_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  handle(SIGWINCH, note_resize);  // before ncurses, which leaves alone what is handled; its own would not wake poll()
  if (newterm(nullptr, stdout, stdin) == nullptr) {
    const char* name = std::getenv("TERM");
    throw Failure(ExitCode::failed, "system",
                  fmt::format("the terminal '{}' is not known here; set TERM to one that is, such as vt100, or use --once",
                              name == nullptr ? "" : name));
  }
  for (const int signal : kDeadly) handle(signal, restore_and_die);
  raw();  // Ctrl-C and Ctrl-Z are keys, so that no signal comes between two lines of a screen
  noecho();
  nonl();
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  set_escdelay(25);
  curs_set(0);
  if (has_colors()) {
    start_color();
    const bool own = use_default_colors() != ERR;
    const short background = own ? -1 : COLOR_BLACK;
    init_pair(alarming, COLOR_RED, background);
    init_pair(chosen, COLOR_BLACK, COLOR_CYAN);
    init_pair(heading, COLOR_GREEN, background);
  }
}

TopScreen::~TopScreen() {
  endwin();
  for (const int signal : kDeadly) handle(signal, SIG_DFL);
  handle(SIGWINCH, SIG_DFL);
}

int TopScreen::columns() const noexcept { return getmaxx(stdscr); }
int TopScreen::rows() const noexcept { return getmaxy(stdscr); }

void TopScreen::draw(const std::vector<Line>& lines) {
  erase();
  for (int row = 0; row < std::min(rows(), static_cast<int>(lines.size())); ++row) {
    const Line& line = lines[static_cast<std::size_t>(row)];
    const attr_t attributes = attributes_of(line.style);
    attrset(static_cast<int>(attributes));
    mvaddnstr(row, 0, line.text.c_str(), columns());
    if (line.style == Style::title || line.style == Style::selected) {  // a bar to the edge
      for (int column = static_cast<int>(line.text.size()); column < columns(); ++column) mvaddch(row, column, ' ');
    }
  }
  refresh();
}

std::optional<TopScreen::Event> TopScreen::next_key() {
  using enum Event::Kind;
  const int pressed = getch();
  switch (pressed) {
    case ERR: return std::nullopt;
    case KEY_UP: return Event{key, TopKey::up};
    case KEY_DOWN: return Event{key, TopKey::down};
    case KEY_PPAGE: return Event{key, TopKey::page_up};
    case KEY_NPAGE: return Event{key, TopKey::page_down};
    case KEY_HOME: return Event{key, TopKey::home};
    case KEY_END: return Event{key, TopKey::end};
    case KEY_ENTER:
    case '\r':
    case '\n': return Event{key, TopKey::enter};
    case KEY_LEFT:
    case kEscape: return Event{key, TopKey::escape};
    case KEY_RIGHT: return Event{key, TopKey::enter};
    case KEY_BACKSPACE:
    case kBackspace:
    case kDelete: return Event{key, TopKey::backspace};
    case kCtrlC: return Event{ended};
    case KEY_RESIZE:
    case kCtrlL: clearok(stdscr, TRUE); return Event{resized};
    case kCtrlZ: {
      endwin();
      struct sigaction found;
      sigaction(SIGTSTP, nullptr, &found);
      handle(SIGTSTP, SIG_DFL);
      std::raise(SIGTSTP);  // goes on here when we are continued
      sigaction(SIGTSTP, &found, nullptr);
      clearok(stdscr, TRUE);
      return Event{resized};
    }
    default: break;
  }
  if (pressed >= ' ' && pressed <= '~') return Event{key, TopKey::character, static_cast<char>(pressed)};
  return Event{time};  // of no meaning
}

TopScreen::Event TopScreen::wait_until(std::chrono::steady_clock::time_point when) {
  using enum Event::Kind;
  for (;;) {
    if (Stop::requested()) return {ended};
    if (const auto typed = next_key(); typed && typed->kind != time) return *typed;
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(when - std::chrono::steady_clock::now()).count();
    if (left <= 0) return {time};
    const timespec limit{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
    std::array<pollfd, 3> events{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{Stop::descriptor(), POLLIN, 0},
                                 pollfd{resized_event, POLLIN, 0}};
    ppoll(events.data(), events.size(), &limit, nullptr);
    if ((events[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return {ended};  // the terminal is gone
    if ((events[2].revents & POLLIN) != 0) {
      std::uint64_t times = 0;
      [[maybe_unused]] const auto got = read(resized_event, &times, sizeof times);
      const Screen screen = screen_of(STDOUT_FILENO);
      resizeterm(screen.rows, screen.columns);
      return {resized};
    }
  }
}

}  // namespace arus::tool
