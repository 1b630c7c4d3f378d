// arus ingest stdin | file: lines, CSV and NDJSON.
#include <unistd.h>

#include <memory>

#include "cmd_ingest.h"
#include "connect/stream_source.h"
#include "feed.h"
#include "parse.h"
#include "stop.h"

namespace arus::tool {
namespace {

using connect::TextFormat;

struct Options {
  FeedOptions feed;
  TextFormat format;
  std::string path;
};

ExitCode read_stdin(const Command& command, const Options& options) {
  Feed feed(command, options.feed, "stdin");
  TextFormat format = options.format;
  format.longest = feed.max_record_bytes();
  const auto source = must(connect::StreamSource::of_descriptor(STDIN_FILENO, "stdin", std::move(format), Stop::descriptor()));
  return feed.run(*source);
}

ExitCode read_file(const Command& command, const Options& options) {
  Feed feed(command, options.feed, options.path);
  TextFormat format = options.format;
  format.longest = feed.max_record_bytes();
  const auto source = must(connect::StreamSource::of_file(options.path, std::move(format), Stop::descriptor()));
  return feed.run(*source);
}

TextFormat::Kind kind_of(const std::string& name) {
  if (name == "lines") return TextFormat::Kind::lines;
  if (name == "csv") return TextFormat::Kind::csv;
  if (name == "ndjson") return TextFormat::Kind::ndjson;
  throw usage_error(fmt::format("--format: '{}' is none of lines, csv, ndjson", name));
}

connect::TimeUnit unit_of(const std::string& name) {
  using enum connect::TimeUnit;
  if (name == "s") return seconds;
  if (name == "ms") return milliseconds;
  if (name == "us") return microseconds;
  if (name == "ns") return nanoseconds;
  throw usage_error(fmt::format("--time-unit: '{}' is none of s, ms, us, ns", name));
}

char separator_of(const std::string& text) {
  const std::string separator = unescape(text, "--separator");
  if (separator.size() != 1) throw usage_error(fmt::format("--separator: '{}' is not one character, such as ; or \\t", text));
  return separator[0];
}

std::string_view extension_of(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
}

// Mistakes of the options are found before anything is opened.
void check(const Options& options, bool has_times) {
  if (auto decoder = connect::TextDecoder::make(options.format); !decoder) throw Failure(decoder.error());
  if (options.feed.replay && !has_times) throw usage_error("--replay needs to know the time: name its column by --time-column");
}

constexpr const char* kFormats =
    R"(Formats:
  lines    each line is a value; with -K what stands before the delimiter is its key
  csv      RFC 4180 with a header (or --columns); the value is --value-column, or a JSON object of all
           columns but those of key and time, in which numbers are numbers and empty fields null
  ndjson   each line is a JSON value; it is the record's value as it stands, or --value-column of it is
Times are ISO 8601 (without a zone: local) or numbers since 1970, whose unit is guessed by their size.
Malformed lines are reported with line, column and what was expected, and counted; the rest goes on.
)";

constexpr const char* kStdinExamples = R"(
Examples:
  tail -F app.log | arus ingest stdin --topic log --key web-1
  sensors.py | arus ingest stdin -t weather --format csv --key-column station --time-column time
  arus consume old --json -e | arus ingest stdin -t new --format ndjson --key-column key --value-column value

)";

constexpr const char* kFileExamples = R"(
The format follows from the name (.csv, .ndjson, .jsonl, else lines) unless --format says it.

Examples:
  arus ingest file day.csv --topic weather --create --key-column station --time-column time
  arus ingest file day.csv -t weather --time-column time --replay 60     an hour in a minute
  arus ingest file words.txt -t words --rate 10

)";

}  // namespace

void add_text_options(CLI::App* app, TextFormat& format) {
  const auto add = [](CLI::Option* option) { option->group("Format"); };
  add(add_parsed(app, "--format", "lines, csv or ndjson [lines]", "FORMAT",
                 [&format](const std::string& text) { format.kind = kind_of(text); }));
  add(add_parsed(app, "-K,--key-delimiter", "Of lines: what stands before it is the key", "DELIM",
                 [&format](const std::string& text) { format.key_delimiter = unescape(text, "-K"); }));
  add(app->add_option("--key-column", format.key_field, "Column or member that is the key")->type_name("NAME"));
  add(app->add_option("--time-column", format.time_field, "Column or member that is the timestamp")->type_name("NAME"));
  add(app->add_option("--value-column", format.value_field, "Column or member that is the value [all]")->type_name("NAME"));
  add(add_parsed(app, "--time-unit", "s, ms, us or ns, of numbers [by their size]", "UNIT",
                 [&format](const std::string& text) { format.time_unit = unit_of(text); }));
  add(add_parsed(app, "--separator", "Of csv [,]", "CHAR",
                 [&format](const std::string& text) { format.separator = separator_of(text); }));
  add(app->add_option("--columns", format.columns, "Names of the columns of csv without a header")
          ->type_name("A,B,C")
          ->delimiter(','));
}

void add_reconnect_options(CLI::App* app, bool& reconnect, std::chrono::nanoseconds& longest_backoff) {
  app->add_flag_callback(
      "--no-reconnect", [&reconnect] { reconnect = false; }, "Fail when it is not there, instead of waiting for it");
  add_parsed(app, "--longest-backoff", "Try again at least so often, after 0.5, 1, 2, … seconds [30s]", "DURATION",
             [&longest_backoff](const std::string& text) {
               longest_backoff =
                   std::max<std::chrono::nanoseconds>(parse_duration(text, "--longest-backoff"), std::chrono::milliseconds(10));
             });
}

void add_ingest_text_commands(CLI::App& ingest, Command& command) {
  static const std::string stdin_details = std::string(kFormats) + kStdinExamples + kFeedJson;
  static const std::string file_details = std::string(kFormats) + kFileExamples + kFeedJson;

  CLI::App* from_stdin = add_subcommand(ingest, "stdin", "Send what is piped in: lines, CSV, NDJSON", stdin_details);
  auto piped = std::make_shared<Options>();
  add_feed_options(from_stdin, piped->feed, WhenFull::wait);
  add_pace_options(from_stdin, piped->feed);
  add_text_options(from_stdin, piped->format);
  from_stdin->callback([&command, piped] {
    check(*piped, !piped->format.time_field.empty());
    command.run = [&command, piped] { return read_stdin(command, *piped); };
  });

  CLI::App* file = add_subcommand(ingest, "file", "Send a file: lines, CSV, NDJSON, at its own pace", file_details);
  auto recorded = std::make_shared<Options>();
  recorded->feed.source_keeps = true;
  file->add_option("FILE", recorded->path, "File to read")->required();
  add_feed_options(file, recorded->feed, WhenFull::wait);
  add_pace_options(file, recorded->feed);
  add_text_options(file, recorded->format);
  file->callback([&command, recorded, file] {
    const std::string_view extension = extension_of(recorded->path);
    if (file->count("--format") == 0) {
      if (extension == "csv") recorded->format.kind = TextFormat::Kind::csv;
      if (extension == "ndjson" || extension == "jsonl") recorded->format.kind = TextFormat::Kind::ndjson;
    }
    check(*recorded, !recorded->format.time_field.empty());
    command.run = [&command, recorded] { return read_file(command, *recorded); };
  });
}

}  // namespace arus::tool
