// arus tail: the newest records of topics, for people: JSON laid out, binary values as a hex dump, colour on a terminal.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>

#include "command.h"
#include "parse.h"
#include "record_format.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct Options {
  std::vector<std::string> topics;
  std::uint64_t count = 10;
  bool follow = false;
  bool hex = false;
  std::size_t most_bytes = 1024;
  std::string colour = "auto";
};

enum class Colour : std::uint8_t { head, key, name, string, number, word, faint };

// The bytes of a record as they are shown.
class Painter {
 public:
  Painter(const Options& options, bool coloured) : most_bytes_(options.most_bytes), hex_(options.hex), coloured_(coloured) {}

  void record(fmt::memory_buffer& out, const Record& record) const {
    paint(out, Colour::head, fmt::format("{}/{}@{}", record.topic(), record.partition(), record.offset()));
    paint(out, Colour::faint, fmt::format("  {}", iso_time(record.timestamp())));
    if (record.key().data() != nullptr) {
      add(out, "  ");
      paint(out, Colour::key,
            fit(is_printable(text(record.key())) ? std::string(text(record.key())) : hex_line(record.key()), 120));
    }
    for (const Header header : record.headers()) {
      paint(out, Colour::faint,
            fmt::format("  {}={}", header.name, header.value.data() == nullptr ? "null" : fit(text(header.value), 40)));
    }
    add(out, "\n");
    value(out, record.value());
  }

 private:
  static void add(fmt::memory_buffer& out, std::string_view what) { out.append(what.data(), what.data() + what.size()); }

  void paint(fmt::memory_buffer& out, Colour colour, std::string_view what) const {
    static constexpr std::string_view kCodes[] = {"1;36", "1;33", "34", "32", "36", "35", "2"};
    if (!coloured_) return add(out, what);
    add(out, fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<std::size_t>(colour)], what));
  }

  // Text that a terminal shows as it is meant: UTF-8 without control characters but line feeds and tabs.
  static bool is_printable(std::string_view what) noexcept {
    return is_utf8(what) && std::all_of(what.begin(), what.end(), [](char c) {
             return static_cast<unsigned char>(c) >= ' ' ? c != '\x7f' : c == '\n' || c == '\t';
           });
  }

  void value(fmt::memory_buffer& out, Bytes data) const {
    if (data.data() == nullptr) return note(out, "null: a tombstone");
    if (data.empty()) return note(out, "empty");
    const std::string_view whole = text(data);
    if (!hex_ && is_printable(whole)) {
      const char first = whole[std::min(whole.find_first_not_of(" \t\n"), whole.size() - 1)];
      if (first == '{' || first == '[') {
        if (const Json json = Json::parse(whole, nullptr, false); !json.is_discarded()) {
          add(out, "  ");
          layout(out, json, 2);
          return add(out, "\n");
        }
      }
      return lines(out, whole);
    }
    dump_hex(out, data);
  }

  void note(fmt::memory_buffer& out, std::string_view what) const {
    paint(out, Colour::faint, fmt::format("  ({})", what));
    add(out, "\n");
  }

  void lines(fmt::memory_buffer& out, std::string_view rest) const {
    const std::size_t size = rest.size();
    std::size_t shown = std::min(size, most_bytes_);
    while (shown < size && shown > 0 && (static_cast<unsigned char>(rest[shown]) & 0xC0) == 0x80) --shown;  // whole characters
    rest = rest.substr(0, shown);
    while (!rest.empty()) {
      const auto line = rest.substr(0, rest.find('\n'));
      add(out, "  ");
      add(out, line);
      add(out, "\n");
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    }
    if (shown < size) note(out, fmt::format("and {} more bytes; --bytes shows more", size - shown));
  }

  // What fits into a line stays on one.
  void layout(fmt::memory_buffer& out, const Json& json, std::size_t indent) const {
    const bool object = json.is_object();
    if (!object && !json.is_array()) {
      return paint(out, json.is_string() ? Colour::string : json.is_number() ? Colour::number : Colour::word, dump(json));
    }
    const std::string margin(indent, ' ');
    const bool one_line = json.empty() || dump(json).size() + indent <= 72;
    const std::string_view inside = object ? " " : "";
    bool first = true;
    add(out, object ? "{" : "[");
    for (const auto& [name, member] : json.items()) {
      if (!first) add(out, ",");
      add(out, !one_line ? "\n" + margin + "  " : first ? std::string(inside) : " ");
      first = false;
      if (object) {
        paint(out, Colour::name, dump(Json(name)));
        add(out, ": ");
      }
      layout(out, member, indent + 2);
    }
    if (!json.empty()) add(out, one_line ? std::string(inside) : "\n" + margin);
    add(out, object ? "}" : "]");
  }

  static std::string hex_line(Bytes data) {
    std::string line;
    for (const std::byte byte : data) line += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return line;
  }

  //   00000010  68 65 6c 6c 6f 00 …  |hello.|
  void dump_hex(fmt::memory_buffer& out, Bytes data) const {
    constexpr std::size_t kRow = 16;
    const std::size_t shown = std::min(data.size(), most_bytes_);
    for (std::size_t at = 0; at < shown; at += kRow) {
      const Bytes row = data.subspan(at, std::min(kRow, shown - at));
      std::string digits;
      std::string letters;
      for (std::size_t i = 0; i < kRow; ++i) {
        if (i == kRow / 2) digits += ' ';
        digits += i < row.size() ? fmt::format("{:02x} ", static_cast<unsigned>(row[i])) : "   ";
        if (i < row.size())
          letters += static_cast<char>(row[i]) >= ' ' && static_cast<char>(row[i]) <= '~' ? static_cast<char>(row[i]) : '.';
      }
      paint(out, Colour::faint, fmt::format("  {:08x}  ", at));
      add(out, digits);
      add(out, " |");
      paint(out, Colour::string, letters);
      add(out, "|\n");
    }
    if (shown < data.size()) note(out, fmt::format("and {} more bytes; --bytes shows more", data.size() - shown));
  }

  std::size_t most_bytes_;
  bool hex_;
  bool coloured_;
};

bool is_coloured(const Options& options) {
  if (options.colour != "auto") return options.colour == "always";
  const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org: set and not empty
  return is_terminal(STDOUT_FILENO) && (no_color == nullptr || *no_color == '\0');
}

class Tail {
 public:
  Tail(const Command& command, const Options& options)
      : options_(options),
        json_(command.json),
        painter_(options, is_coloured(options)),
        bus_(open_bus(command)),
        consumer_(attach()) {}

  ExitCode run() {
    const Stop::Hook hook([this] { consumer_.wake(); });
    last_ones();
    while (options_.follow && !Stop::requested() && !output_is_closed()) {
      const Batch batch = must(consumer_.poll(1s));
      for (const Gap& gap : batch.gaps()) add(gap);
      for (const Record& record : batch) add(record, output_.buffer());
      output_.flush();
    }
    return ExitCode::ok;
  }

 private:
  Consumer attach() {
    for (const auto& name : options_.topics) {
      for (const auto& partition : must(open_topic(bus_, name).describe()).partitions) {
        if (partition.end_offset > partition.start_offset) ends_[{name, partition.partition}] = partition.end_offset;
      }
    }
    const auto count = static_cast<std::uint64_t>(std::min<std::uint64_t>(options_.count, 1'000'000));
    Consumer consumer = must(bus_.consumer({.start = Start::last(count), .wait = Wait::sleeping()}));
    must(consumer.subscribe(options_.topics));
    return consumer;
  }

  // The last records of all partitions together, in order of time.
  void last_ones() {
    struct Painted {
      Timestamp time;
      std::string text;
    };
    std::vector<Painted> found;
    auto patience = Clock::now() + 1s;  // for records that are claimed and not committed
    while (!ends_.empty() && !Stop::requested() && Clock::now() < patience) {
      const Batch batch = must(consumer_.poll(50ms));
      for (const Record& record : batch) {
        fmt::memory_buffer painted;
        add(record, painted);
        found.push_back({record.timestamp(), fmt::to_string(painted)});
      }
      if (!batch.empty()) patience = Clock::now() + 1s;
      for (const Gap& gap : batch.gaps()) add(gap);
      std::erase_if(ends_,
                    [&](const auto& end) { return must(consumer_.position(end.first.first, end.first.second)) >= end.second; });
    }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.time < b.time; });
    const std::size_t skipped = found.size() - std::min<std::size_t>(found.size(), options_.count);
    for (std::size_t i = skipped; i < found.size(); ++i) {
      output_.append(found[i].text);
      output_.flush_if_large();
    }
    output_.flush();
  }

  void add(const Record& record, fmt::memory_buffer& out) const {
    if (!json_) return painter_.record(out, record);
    append_json(out, record);
    out.push_back('\n');
  }
  void add(const Gap& gap) {
    if (!json_) return warn(to_text(gap));
    append_json(output_.buffer(), gap);
    output_.append("\n");
  }

  const Options& options_;
  bool json_;
  Painter painter_;
  Bus bus_;
  std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> ends_;  // where each partition ended when we began
  Consumer consumer_;
  Output output_;
};

constexpr const char* kDetails =
    R"(Shows the newest records of all partitions in order of time, and with -f those that come. It observes:
nobody is disturbed. JSON is laid out; what is not text is shown as a hex dump.

Examples:
  arus tail weather
  arus tail -f weather host
  arus tail -n 1 --hex frames

JSON: one object per line, as of arus consume.)";

}  // namespace

void add_tail_command(CLI::App& app, Command& command) {
  CLI::App* tail = add_subcommand(app, "tail", "Show the newest records, laid out for reading", kDetails);
  auto options = std::make_shared<Options>();
  tail->add_option("TOPIC", options->topics, "Topics")->required();
  tail->add_option("-n,--count", options->count, "How many, of all partitions together")->type_name("N")->capture_default_str();
  tail->add_flag("-f,--follow", options->follow, "Go on with those that come");
  tail->add_flag("--hex", options->hex, "Also show text as a hex dump");
  tail->add_option("--bytes", options->most_bytes, "Of a value show at most so many")->type_name("N")->capture_default_str();
  tail->add_option("--color", options->colour, "auto: on a terminal, unless NO_COLOR is set; always; never")
      ->type_name("WHEN")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "always", "never"}));
  tail->callback([&command, options] { command.run = [&command, options] { return Tail(command, *options).run(); }; });
}

}  // namespace arus::tool
