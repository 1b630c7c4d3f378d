// arus consume: reads topics and prints their records, or numbers about them.
//
// Output first, then the settlement: in a group, what was handed out counts as read with the next poll, so the buffer is flushed
// before it. An observer has nothing to settle and flushes when nothing more is waiting.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "child_command.h"
#include "command.h"
#include "csv_format.h"
#include "group_options.h"
#include "parse.h"
#include "record_format.h"
#include "statistics.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct Options {
  std::vector<std::string> topics;
  std::vector<std::uint32_t> partitions;
  Start start = Start::earliest;
  std::optional<std::uint64_t> count;
  bool exit_at_end = false;
  std::optional<std::chrono::nanoseconds> idle;
  std::string group;
  ConsumerConfig settings;  // of the group
  std::string schema;
  std::string format;
  std::string key_delimiter;
  std::string delimiter = "\n";
  bool mark_null = false;
  bool quiet = false;
  Wait wait{};
  bool statistics = false;
  bool csv = false;
  std::vector<std::string> columns;  // of csv; empty: all that a record has
  std::string command;               // --exec
  bool restart = false;
  std::string field = "v";
  std::string summary;                  // a file
  std::chrono::nanoseconds interval{};  // of the statistics; zero: by what stdout is
};

// What happens to the records.
class Sink {
 public:
  Sink() = default;
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  virtual void add(const Record& record) = 0;
  virtual void add(const Gap& gap) = 0;
  virtual void flush() = 0;
  // When flush() is wanted although there is nothing new.
  [[nodiscard]] virtual std::optional<Clock::time_point> due() const { return std::nullopt; }
  virtual void finish() { flush(); }
  // While nothing comes: whether somebody still takes it. Throws when nobody does.
  virtual void look() {}
};

// How a record is written.
class Writer {
 public:
  Writer(const Options& options, bool json) : quiet_(options.quiet) {
    if (json) {
      how_ = How::json;
    } else if (options.csv) {
      how_ = How::csv;
      csv_.emplace(options.columns);
    } else {
      how_ = How::text;
      text_.emplace(format_of(options), options.mark_null ? "NULL" : "");
    }
  }

  // What stands before the first one.
  void append_header(fmt::memory_buffer& out) const {
    if (how_ == How::csv) csv_->append_header(out);
  }
  void append(fmt::memory_buffer& out, const Record& record) const {
    switch (how_) {
      case How::text: text_->append(out, record); break;
      case How::csv: csv_->append(out, record); break;
      case How::json: append_json(out, record); out.push_back('\n');
    }
  }
  // Only JSON has a place for it; else it is told on stderr.
  void append(fmt::memory_buffer& out, const Gap& gap) const {
    if (how_ == How::json) {
      append_json(out, gap);
      out.push_back('\n');
    } else if (!quiet_) {
      warn(to_text(gap));
    }
  }

 private:
  static std::string format_of(const Options& options) {
    if (!options.format.empty()) return options.format;
    const std::string key = options.key_delimiter.empty() ? "" : "%k" + literal(options.key_delimiter);
    return key + "%s" + literal(options.delimiter);
  }
  static std::string literal(const std::string& text) {
    std::string escaped;
    for (const char c : text) escaped.append(c == '%' ? 2 : 1, c);
    return escaped;
  }

  enum class How : std::uint8_t { text, csv, json } how_{};
  std::optional<RecordFormat> text_;
  std::optional<CsvFormat> csv_;
  bool quiet_;
};

class PrintSink : public Sink {
 public:
  PrintSink(const Options& options, bool json) : writer_(options, json) { writer_.append_header(output_.buffer()); }
  void add(const Record& record) override { add_one(record); }
  void add(const Gap& gap) override { add_one(gap); }
  void flush() override { output_.flush(); }
  void look() override {
    if (output_is_closed()) throw OutputClosed{};
  }

 private:
  template <class T>
  void add_one(const T& what) {
    writer_.append(output_.buffer(), what);
    output_.flush_if_large();
  }
  Writer writer_;
  Output output_;
};

class CommandSink : public Sink {
 public:
  CommandSink(const Options& options, bool json)
      : writer_(options, json), child_(options.command, header_of(writer_), options.restart) {}
  void add(const Record& record) override { add_one(record); }
  void add(const Gap& gap) override { add_one(gap); }
  void flush() override { child_.deliver(); }
  void look() override { child_.look(); }
  void finish() override { child_.finish(); }

 private:
  static std::string header_of(const Writer& writer) {
    fmt::memory_buffer buffer;
    writer.append_header(buffer);
    return fmt::to_string(buffer);
  }
  template <class T>
  void add_one(const T& what) {
    buffer_.clear();
    writer_.append(buffer_, what);
    if (buffer_.size() > 0) child_.add({buffer_.data(), buffer_.size()});
    if (child_.waiting() > kLarge) child_.deliver();
  }
  static constexpr std::size_t kLarge = 64 << 10;
  Writer writer_;
  ChildCommand child_;
  fmt::memory_buffer buffer_;
};

class StatisticsSink : public Sink {
 public:
  StatisticsSink(const Options& options, bool json)
      : statistics_(options.field), view_(interval_of(options)), summary_path_(options.summary), json_(json) {}
  void add(const Record& record) override { statistics_.add(record); }
  void add(const Gap& gap) override { statistics_.add(gap); }
  void flush() override {
    if (!json_ && Clock::now() >= view_.next()) view_.show(statistics_, false);
  }
  [[nodiscard]] std::optional<Clock::time_point> due() const override { return json_ ? std::nullopt : std::optional(view_.next()); }
  void finish() override {
    const std::string summary = dump(statistics_.summary(Clock::now())) + "\n";
    if (!json_) view_.show(statistics_, true);
    if (json_) emit("{}", summary);
    if (!summary_path_.empty()) write_file(summary_path_, summary);
  }

 private:
  static std::chrono::nanoseconds interval_of(const Options& options) {
    if (options.interval.count() > 0) return options.interval;
    return is_terminal(STDOUT_FILENO) ? std::chrono::nanoseconds(500ms) : std::chrono::nanoseconds(2s);
  }
  Statistics statistics_;
  StatisticsView view_;
  std::string summary_path_;
  bool json_;
};

std::unique_ptr<Sink> make_sink(const Options& options, bool json) {
  if (options.statistics) return std::make_unique<StatisticsSink>(options, json);
  if (!options.command.empty()) return std::make_unique<CommandSink>(options, json);
  return std::make_unique<PrintSink>(options, json);
}

// Where each partition ended when we began: with -e that is as far as we read.
class Ends {
 public:
  void add(const TopicInfo& info, const std::vector<std::uint32_t>& partitions) {
    for (const auto& state : info.partitions) {
      if (!partitions.empty() && std::find(partitions.begin(), partitions.end(), state.partition) == partitions.end()) continue;
      open_.push_back({info.name, state.partition, state.end_offset});
    }
  }

  // A record that is claimed and not committed is not waited for longer than a second: its producer may have stopped. Nor is a partition
  // that another member of the group reads: it may become ours, if that member leaves, or is about to hand it over.
  bool reached(const Consumer& consumer, bool progress) {
    std::erase_if(open_, [&](const End& end) {
      const auto position = consumer.position(end.topic, end.partition);
      if (!position && position.error().code() != Errc::not_found) throw Failure(position.error());
      return position && *position >= end.offset;
    });
    const auto now = Clock::now();
    if (progress) last_progress_ = now;
    if (open_.empty() || now - last_progress_ < 1s) return open_.empty();
    for (const auto& end : open_) {
      const auto position = consumer.position(end.topic, end.partition);
      if (!position) continue;
      warn(fmt::format("{} partition {}: offsets [{}, {}) are claimed by a producer and not committed yet; not waited for",
                       end.topic, end.partition, *position, end.offset));
    }
    return true;
  }

 private:
  struct End {
    std::string topic;
    std::uint32_t partition;
    std::uint64_t offset;
  };
  std::vector<End> open_;
  Clock::time_point last_progress_ = Clock::now();
};

class Consumption {
 public:
  Consumption(const Command& command, const Options& options)
      : options_(options), bus_(open_bus(command)), consumer_(attach()), sink_(make_sink(options, command.json)) {}

  ExitCode run() {
    const Stop::Hook hook([this] { consumer_.wake(); });
    Progress progress(!options_.statistics && !is_terminal(STDOUT_FILENO) && !options_.quiet);
    const auto began = Clock::now();
    bool done = options_.count == 0 || (options_.exit_at_end && ends_.reached(consumer_, true));
    while (!done && !Stop::requested()) {
      const auto due = sink_->due();
      if (!options_.group.empty() || !more_waits_ || (due && Clock::now() >= *due)) sink_->flush();
      auto polled = consumer_.poll(more_waits_ ? 0ms : timeout());
      if (!polled) {
        if (polled.error().code() == Errc::evicted) {  // what it lost comes as a gap with the next poll
          warn(polled.error().message());
          continue;
        }
        sink_->finish();
        throw Failure(polled.error());
      }
      const Batch batch = *polled;
      done = take(batch);
      if (options_.exit_at_end && !done) done = ends_.reached(consumer_, !batch.empty() || !batch.gaps().empty());
      if (progress.due()) {
        const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
        progress.show(fmt::format("{} records, {}/s", taken_, human_count(static_cast<double>(taken_) / seconds)));
      }
    }
    sink_->finish();
    if (!options_.group.empty()) must(consumer_.commit());
    return ExitCode::ok;
  }

 private:
  Consumer attach() {
    for (const auto& name : options_.topics) {
      const Topic topic = open_topic(bus_, name);
      const TopicConfig& config = topic.config();
      if (!options_.schema.empty() && options_.schema != config.schema) {
        throw Failure(Error(Errc::schema_mismatch,
                            fmt::format("topic {} has the schema '{}' and not '{}'", name, config.schema, options_.schema)));
      }
      for (const auto partition : options_.partitions) {
        if (partition >= config.partitions) {
          throw Failure(Error(Errc::not_found, fmt::format("topic {} has no partition {}; its partitions are 0 to {}", name,
                                                           partition, config.partitions - 1)));
        }
      }
      if (options_.exit_at_end) ends_.add(must(topic.describe()), options_.partitions);
    }
    ConsumerConfig config = options_.settings;
    config.group = options_.group;
    config.start = options_.start;
    config.wait = options_.wait;
    // Whatever a batch of a group holds is settled as a whole: with a limit it must not hold more than we print.
    if (options_.count && !options_.group.empty()) config.max_records = 1;
    Consumer consumer = must(bus_.consumer(config));
    if (options_.partitions.empty()) {
      must(consumer.subscribe(options_.topics));
    } else {
      std::vector<TopicPartition> partitions;
      for (const auto& topic : options_.topics) {
        for (const auto partition : options_.partitions) partitions.push_back({topic, partition});
      }
      must(consumer.assign(partitions));
    }
    return consumer;
  }

  // Whether that was all we want.
  bool take(const Batch& batch) {
    for (const Gap& gap : batch.gaps()) sink_->add(gap);
    for (const Record& record : batch) {
      if (options_.count && taken_ >= *options_.count) break;
      sink_->add(record);
      ++taken_;
    }
    more_waits_ = !batch.empty();
    if (options_.count && taken_ >= *options_.count) return true;
    const auto now = Clock::now();
    if (!batch.empty()) last_record_ = now;
    if (batch.empty()) sink_->look();
    return options_.idle && now - last_record_ >= *options_.idle;
  }

  [[nodiscard]] std::chrono::nanoseconds timeout() const {
    auto until = Clock::now() + (options_.exit_at_end ? 50ms : 1000ms);  // a second: to notice that our output was closed
    if (const auto due = sink_->due()) until = std::min(until, *due);
    if (options_.idle) until = std::min(until, last_record_ + std::chrono::duration_cast<Clock::duration>(*options_.idle));
    return std::max(until - Clock::now(), Clock::duration::zero());
  }

  const Options& options_;
  Bus bus_;
  Ends ends_;
  Consumer consumer_;
  std::unique_ptr<Sink> sink_;
  std::uint64_t taken_ = 0;
  bool more_waits_ = false;  // the last poll found something, so the next one probably will
  Clock::time_point last_record_ = Clock::now();
};

constexpr const char* kDetails = R"(Without a group it observes: read-only, disturbing nobody, and told exactly what it lost when it
is too slow. In a group it shares the partitions with the other members, and the group goes on where
it stopped; it is lossless (producers wait for it) unless --lossy says otherwise. Gaps are reported on stderr,
or as objects with --json.

Offsets (-o):
  beginning, end      all that is there (the default); only what comes
  N, -N               from offset N; the last N of each partition
  @TIME               from a time: ISO 8601, milliseconds since 1970, or -10m for ten minutes ago

Format (-f):
  %t topic    %p partition    %o offset    %h headers    %% percent sign
  %k key      %K its length   %s value     %S its length (-1: null)   %R the same, 4 bytes big-endian
  %T timestamp in ms          %N in ns     %I as ISO 8601
  \n \t \r \\ \0 \NNN \xHH    one byte

CSV (--csv, RFC 4180): topic,partition,offset,timestamp,key,value, or the columns that --columns names:
these, time (ISO 8601), headers, or .NAME. Null is an empty field, text without bytes "".

A command (--exec) gets the records on its stdin, in any of these formats. In a group nothing is settled
before its pipe has taken it; what it has not read when it ends goes to its next start (--restart), from the
first record on that it had not read whole. Without --restart we end when it does: well if it did.

Examples:
  arus consume weather -e -f '%p/%o %I %k = %s\n'
  arus consume weather -o -10 -e             the last ten of each partition
  arus consume weather -o @-5m -K :          of the last five minutes, key:value
  arus consume weather -g alerts | ./alert   lossless
  arus consume host -e --csv --columns time,key,.v > host.csv
  arus consume weather -g db --exec 'psql -c "copy w from stdin csv header"' --csv
  arus consume weather -g alerts --exec ./alert --restart
  arus consume host --stats                  min, mean, max and rate per sensor

JSON, one object per line:
  {"topic","partition","offset","timestamp" (ns since 1970),"key","value","headers":[{"name","value"}]}
  with "key_encoding" or "value_encoding":"base64" for what is not UTF-8, and null for null
  {"gap":"lost"|"uncommitted","topic","partition","from","to"}: offsets from..to-1 are not delivered
  --stats: one object at the end: {"records","bytes","seconds","rate","gaps":{"lost","uncommitted"},
  "keys":[{"key","count","rate","numbers","min","mean","max","last","unit"}]})";

}  // namespace

void add_consume_command(CLI::App& app, Command& command) {
  CLI::App* consume = add_subcommand(app, "consume", "Print the records of topics as they come", kDetails);
  auto options = std::make_shared<Options>();
  consume->add_option("TOPIC", options->topics, "Topics")->required();
  add_parsed(consume, "-o,--offset", "Where to begin [beginning]; in a group, where it has none yet", "OFFSET",
             [options](const std::string& text) { options->start = parse_start(text); });
  consume->add_option("-c,--count", options->count, "Exit after so many records")->type_name("N");
  consume->add_flag("-e,--exit", options->exit_at_end, "Exit at the end (as it was at the start)");
  add_parsed(consume, "--idle", "Exit when nothing came for so long", "DURATION",
             [options](const std::string& text) { options->idle = parse_duration(text, "--idle"); });
  auto* partition = consume->add_option("-p,--partition", options->partitions, "Only this partition; may be repeated")
                        ->type_name("N")
                        ->allow_extra_args(false);
  auto* group = consume->add_option("-g,--group", options->group, "Read as a member of this group")->type_name("GROUP");
  group->excludes(partition);
  add_group_options(consume, options->settings, group);
  consume->add_option("--schema", options->schema, "Insist on this schema")->type_name("NAME");

  auto* format = add_parsed(consume, "-f,--format", "How to print a record", "FORMAT", [options](const std::string& text) {
    options->format = text;
    RecordFormat(text, "");  // its errors are errors of the command line
  });
  auto* key = add_parsed(consume, "-K,--key-delimiter", "Print the key and this before the value", "DELIM",
                         [options](const std::string& text) { options->key_delimiter = text; });
  auto* delimiter = add_parsed(consume, "-D,--delimiter", "Print this behind each record [\\n]", "DELIM",
                               [options](const std::string& text) { options->delimiter = text; });
  format->excludes(key)->excludes(delimiter);
  auto* csv =
      consume->add_flag("--csv", options->csv, "Print CSV with a header")->excludes(format)->excludes(key)->excludes(delimiter);
  consume->add_option("--columns", options->columns, "Of CSV; .NAME is a member of a JSON value [all but headers]")
      ->type_name("A,B,C")
      ->delimiter(',')
      ->needs(csv);
  auto* command_option =
      consume->add_option("--exec", options->command, "Write to the stdin of this shell command")->type_name("COMMAND");
  consume->add_flag("--restart", options->restart, "Start the command again when it ends")->needs(command_option);
  consume->add_flag("-Z,--null", options->mark_null, "Print NULL for a null key or value");
  consume->add_flag("-q,--quiet", options->quiet, "Do not report gaps and progress");
  add_parsed(consume, "--wait", "spin (a whole core), spin-then-sleep or sleep [spin-then-sleep]", "HOW",
             [options](const std::string& text) { options->wait = parse_wait(text); });

  auto* statistics = consume->add_flag("--stats", options->statistics, "Show numbers per key instead of records");
  statistics->excludes(format)->excludes(key)->excludes(delimiter)->excludes(csv)->excludes(command_option);
  consume->add_option("--field", options->field, "With --stats: member of a JSON value that holds the number")
      ->type_name("NAME")
      ->capture_default_str()
      ->needs(statistics);
  add_parsed(consume, "--interval", "With --stats: how often to show [500ms on a terminal, else 2s]", "DURATION",
             [options](const std::string& text) {
               options->interval = std::max(parse_duration(text, "--interval"), std::chrono::nanoseconds(50ms));
             })
      ->needs(statistics);
  consume->add_option("--summary", options->summary, "With --stats: also write the JSON to this file at the end")
      ->type_name("FILE")
      ->needs(statistics);
  consume->callback([&command, options] {
    if (options->csv && command.json) throw usage_error("--csv and --json exclude each other");
    if (options->csv) CsvFormat(options->columns);  // its errors are errors of the command line
    command.run = [&command, options] { return Consumption(command, *options).run(); };
  });
}

}  // namespace arus::tool
