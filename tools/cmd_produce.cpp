// arus produce: every line of stdin becomes a record, as soon as it is complete.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "command.h"
#include "line_reader.h"
#include "pace.h"
#include "parse.h"
#include "sending.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string topic;
  std::string delimiter = "\n";
  std::string key_delimiter;
  std::optional<std::string> key;
  std::optional<std::uint32_t> partition;
  std::vector<std::string> header_arguments;
  std::vector<HeaderArgument> headers;
  bool empty_is_null = false;
  std::optional<std::uint64_t> count;
  std::optional<double> rate;
  std::chrono::nanoseconds timeout = kForever;
  std::string schema;
  bool quiet = false;
};

class Production {
 public:
  Production(const Command& command, const Options& options)
      : command_(command),
        options_(options),
        bus_(open_bus(command)),
        sender_(must(open_topic(bus_, options.topic).producer({.schema = options.schema, .partition = options.partition})),
                options.timeout),
        reader_(STDIN_FILENO, options.delimiter, sender_.producer().max_record_bytes() + options.key_delimiter.size()),
        pace_(options.rate ? Pace::evenly(*options.rate) : Pace()) {
    for (const auto& header : options.headers) headers_.push_back({header.name, header.value ? bytes(*header.value) : kNull});
  }

  ExitCode run() {
    if (is_terminal(STDIN_FILENO) && is_terminal(STDERR_FILENO) && !options_.quiet) {
      warn(fmt::format("every line becomes a record of {}; end with Ctrl-D", options_.topic));
    }
    bool done = options_.count == 0;
    while (!done) {
      const auto state = reader_.fill();
      if (state != LineReader::State::lines) break;
      collect();
      done = !send_collected() || enough();
    }
    report();
    return unless_stopped(refused_ > 0 ? ExitCode::partly : ExitCode::ok);
  }

 private:
  bool enough() const { return options_.count && taken_ >= *options_.count; }

  void collect() {
    messages_.clear();
    lines_.clear();
    while (!enough()) {
      const auto line = reader_.next();
      if (!line) return;
      ++taken_;
      if (line->text.size() != line->size) {
        refuse(line->number, fmt::format("has {} bytes; the largest record of {} has {} (see `arus topic describe`)", line->size,
                                         options_.topic, sender_.producer().max_record_bytes()));
        continue;
      }
      messages_.push_back(message_of(line->text));
      lines_.push_back(line->number);
    }
  }

  Message message_of(std::string_view line) const {
    Message message;
    message.envelope.headers = headers_;
    message.envelope.partition = options_.partition;
    if (options_.key) message.envelope.key = bytes(*options_.key);
    if (!options_.key_delimiter.empty()) {
      if (const auto at = line.find(options_.key_delimiter); at != std::string_view::npos) {
        message.envelope.key = null_if_empty(line.substr(0, at));
        line.remove_prefix(at + options_.key_delimiter.size());
      }
    }
    message.value = null_if_empty(line);
    return message;
  }
  Bytes null_if_empty(std::string_view text) const { return options_.empty_is_null && text.empty() ? kNull : bytes(text); }

  // False when a stop was requested.
  bool send_collected() {
    for (std::size_t begin = 0; begin < messages_.size();) {
      const auto batch = next_portion(begin);
      const Sent sent = sender_.send(batch);
      for (const auto& message : batch.first(sent.count)) bytes_ += message.value.size();
      records_ += sent.count;
      begin += sent.count;
      if (sent.error) {
        if (!concerns_record(sent.error->code())) {
          unsent_ = messages_.size() - begin;
          report();
          throw Failure(*sent.error, fmt::format("line {}: {}", lines_[begin], sent.error->message()));
        }
        refuse(lines_[begin++], std::string(sent.error->message()));
      } else if (sent.count < batch.size() || batch.empty()) {
        unsent_ = messages_.size() - begin;
        return false;
      }
      if (progress_.due()) {
        progress_.show(fmt::format("{} records, {}/s", records_, human_count(static_cast<double>(records_) / seconds())));
      }
    }
    return true;
  }

  // As many as may go now, from that one on.
  std::span<const Message> next_portion(std::size_t begin) {
    const auto ready = std::span<const Message>(messages_).subspan(begin, std::min(messages_.size() - begin, kLargestBatch));
    return ready.first(pace_.take(ready));
  }

  void refuse(std::uint64_t line, const std::string& why) {
    constexpr std::uint64_t kMostShown = 10;
    if (++refused_ <= kMostShown) warn(fmt::format("line {}: {}", line, why));
    if (refused_ == kMostShown + 1) warn("more lines are refused; only their number is reported from here on");
  }

  double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

  void report() const {
    if (refused_ > 0) warn(fmt::format("{} of {} lines refused; the others were sent", refused_, taken_));
    if (unsent_ > 0) warn(fmt::format("{} line{} read but not sent", unsent_, unsent_ == 1 ? " was" : "s were"));
    if (command_.json) {
      emit("{}\n", dump({{"topic", options_.topic},
                         {"records", records_},
                         {"bytes", bytes_},
                         {"refused", refused_},
                         {"unsent", unsent_},
                         {"seconds", seconds()}}));
    }
  }

  static constexpr std::size_t kLargestBatch = 1024;

  const Command& command_;
  const Options& options_;
  Bus bus_;
  Sender sender_;
  LineReader reader_;
  Pace pace_;
  Progress progress_{!options_.quiet};
  std::vector<Header> headers_;
  std::vector<Message> messages_;
  std::vector<std::uint64_t> lines_;  // of the messages
  Clock::time_point began_ = Clock::now();
  std::uint64_t taken_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t unsent_ = 0;
};

constexpr const char* kDetails =
    R"(A line is sent when it is complete; lines that are ready together go together. A line that is too
large or otherwise refused is reported by its number, the others go on, and the exit code is 8.
When the ring is full because a lossless group is behind, it waits (--timeout).

Examples:
  echo hello | arus produce greetings
  echo 'oslo:21.5' | arus produce weather -K :
  tail -F app.log | arus produce log -k web-1 -H host=web-1
  arus consume old -K '\t' -e | arus produce new -K '\t'

JSON, at the end: {"topic","records","bytes","refused","unsent","seconds"})";

}  // namespace

void add_produce_command(CLI::App& app, Command& command) {
  CLI::App* produce = add_subcommand(app, "produce", "Send the lines of stdin to a topic", kDetails);
  auto options = std::make_shared<Options>();
  produce->add_option("TOPIC", options->topic, "Topic")->required();
  add_parsed(produce, "-K,--key-delimiter", "A line is its key, this, and its value; without it a line has no key", "DELIM",
             [options](const std::string& text) { options->key_delimiter = unescape(text, "-K"); });
  produce->add_option("-k,--key", options->key, "Key of lines without one")->type_name("KEY");
  add_parsed(produce, "-D,--delimiter", "What ends a line [\\n]", "DELIM", [options](const std::string& text) {
    options->delimiter = unescape(text, "-D");
    if (options->delimiter.empty()) throw usage_error("-D: a line must end with something; give a delimiter such as \\n or \\0");
  });
  produce->add_option("-p,--partition", options->partition, "To this partition (default: by the key)")->type_name("N");
  produce->add_option("-H,--header", options->header_arguments, "Header of every record; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  produce->add_flag("-Z,--null", options->empty_is_null, "Send an empty value, and an empty key before -K's DELIM, as null");
  produce->add_option("-c,--count", options->count, "Exit after so many lines")->type_name("N");
  add_parsed(produce, "--rate", "At most so many records per second, evenly", "N",
             [options](const std::string& text) { options->rate = parse_rate(text, "--rate"); });
  add_parsed(produce, "--timeout", "How long to wait for room [as long as it takes]", "DURATION",
             [options](const std::string& text) { options->timeout = parse_duration(text, "--timeout"); });
  produce->add_option("--schema", options->schema, "Insist on this schema")->type_name("NAME");
  produce->add_flag("-q,--quiet", options->quiet, "Show no progress");
  produce->callback([&command, options] {
    for (const auto& argument : options->header_arguments) options->headers.push_back(parse_header(argument));
    command.run = [&command, options] { return Production(command, *options).run(); };
  });
}

}  // namespace arus::tool
