// arus plan: what a topic would take, before it is created.
#include <sys/statvfs.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>

#include "command.h"
#include "log/bus_directory.h"
#include "log/topic_files.h"
#include "parse.h"
#include "terminal.h"
#include "text.h"
#include "topic_options.h"

namespace arus::tool {
namespace {

struct Options {
  TopicConfig config;
  bool ring_given = false;
  std::uint64_t topics = 1;
  double rate = 0;
  std::uint64_t value_bytes = 100;
  std::uint64_t key_bytes = 0;
  std::optional<std::chrono::nanoseconds> retain;
};

// Bytes of the ring that a record takes: whole cells with its header, key and value.
std::uint64_t bytes_in_ring(const Options& options) {
  const auto lengths = ring::Lengths::single(options.value_bytes, options.key_bytes, 0, 0);
  return lengths.cells() * ring::kCell;
}

struct Space {
  std::string place;  // the directory that is there
  std::uint64_t left = 0;
};
Space space_for(const std::string& bus) {
  std::filesystem::path place = bus;
  std::error_code ignored;
  while (!std::filesystem::exists(place, ignored) && place.has_relative_path()) place = place.parent_path();
  struct statvfs status {};
  if (statvfs(place.c_str(), &status) != 0) return {};
  return {place.string(), std::uint64_t{status.f_bavail} * status.f_frsize};
}

ExitCode plan(const Command& command, const Options& options) {
  TopicConfig config = options.config;
  const std::uint64_t record = bytes_in_ring(options);
  const double rate = options.rate / std::max<std::uint32_t>(config.partitions, 1);  // of a partition
  if (options.retain) {
    if (options.rate <= 0) throw usage_error("--retain needs --rate: how many records come per second");
    if (options.ring_given) throw usage_error("--retain computes the ring; give either it or --partition-bytes");
    const double seconds = std::chrono::duration<double>(*options.retain).count();
    // A 64th may already be given up when a producer makes room.
    const double needed = rate * seconds * static_cast<double>(record) * 64 / 63;
    if (needed > static_cast<double>(ring::kLargestRing)) {
      throw Failure(
          ExitCode::refused, to_string(Errc::limit_reached),
          fmt::format("a partition would need {} and can have {} at most; spread the records over {} partitions or more",
                      human_bytes(static_cast<std::uint64_t>(std::min(needed, 1e18))), human_bytes(ring::kLargestRing),
                      static_cast<std::uint64_t>(std::ceil(needed * config.partitions / static_cast<double>(ring::kLargestRing)))));
    }
    config.partition_bytes = std::max(std::bit_ceil(static_cast<std::uint64_t>(std::ceil(needed))), ring::kSmallestRing);
  }
  must(log::check_config(config));
  const std::uint64_t most = ring::most_bytes(config.partition_bytes >> ring::kCellShift);
  if (options.key_bytes > ring::Lengths::kMostKey)
    throw usage_error(fmt::format("--key-size: a key has at most {} bytes", ring::Lengths::kMostKey));
  if (options.key_bytes + options.value_bytes > most) {
    throw usage_error(fmt::format("records of {} do not fit: a partition of {} takes {} at most; give a larger --partition-bytes",
                                  human_bytes(options.key_bytes + options.value_bytes), human_bytes(config.partition_bytes),
                                  human_bytes(most)));
  }
  const std::uint64_t file = log::partition_file_bytes(config.partition_bytes, config.max_producers);
  const std::uint64_t topic = config.partitions * file;
  const std::uint64_t total = topic * options.topics;
  const std::uint64_t records = config.partition_bytes / record * config.partitions;
  const double seconds = options.rate > 0 ? static_cast<double>(records) / options.rate : 0;
  const std::string bus = command.bus.empty() ? log::default_bus_directory() : command.bus;
  const Space space = space_for(bus);
  const bool fits = total <= space.left;
  if (command.json) {
    emit("{}\n", dump({{"bus", bus},
                       {"topics", options.topics},
                       {"partitions", config.partitions},
                       {"partition_bytes", config.partition_bytes},
                       {"record_bytes", record},
                       {"max_record_bytes", most},
                       {"records", records},
                       {"retained_seconds", options.rate > 0 ? Json(seconds) : Json()},
                       {"bytes_reserved", topic},
                       {"bytes_total", total},
                       {"bytes_left", space.left},
                       {"fits", fits}}));
  } else {
    Output output;
    const auto line = [&](std::string_view name, const std::string& value) { output.print("{:<13} {}\n", name, value); };
    line("partitions",
         fmt::format("{} of {}, {} with their tables", config.partitions, human_bytes(config.partition_bytes), human_bytes(file)));
    line("a record", fmt::format("{} of the ring, for a key of {} and a value of {}; at most {}", human_bytes(record),
                                 human_bytes(options.key_bytes), human_bytes(options.value_bytes), human_bytes(most)));
    line("it holds", fmt::format("{} records{}", records,
                                 options.rate > 0 ? fmt::format(", which come in {}",
                                                                human_duration(std::chrono::nanoseconds(
                                                                    static_cast<std::int64_t>(std::min(seconds, 9e9) * 1e9))))
                                                  : ""));
    line("memory", fmt::format("{}{}", human_bytes(total),
                               options.topics == 1 ? "" : fmt::format(" for {} topics of {}", options.topics, human_bytes(topic))));
    line("left", fmt::format("{} in {}: it {}", human_bytes(space.left), space.place, fits ? "fits" : "does NOT fit"));
    if (fits) {
      output.print(
          "\narus topic create NAME -p {} --partition-bytes {}{}\n", config.partitions, config.partition_bytes,
          config.max_producers == TopicConfig{}.max_producers ? "" : fmt::format(" --max-producers {}", config.max_producers));
    }
    output.flush();
  }
  if (fits) return ExitCode::ok;
  warn(fmt::format("it does not fit: {} are needed and {} are left in {}", human_bytes(total), human_bytes(space.left),
                   space.place));
  return ExitCode::no_space;
}

constexpr const char* kDetails =
    R"(Nothing is created. Memory is that of the partitions' files, which are reserved when a topic is created;
not counted are a topic's small files (about 20 KiB and 2 KiB a partition), those of the bus (60 KiB, and
4 KiB a process and a group), and calls (0.5 MiB for each client and server, in a file until both have mapped
it). Retention is for records spread evenly over the partitions.

Examples:
  arus plan -p 4 --partition-bytes 16M --value-size 200 --rate 5000
  arus plan -p 4 --value-size 200 --rate 5000 --retain 10m      which ring keeps ten minutes?
  arus plan --topics 24 --json | jq .bytes_total

JSON: {"bus":DIR,"topics","partitions","partition_bytes","record_bytes" (of the ring, of one record),
  "max_record_bytes","records" (that a topic holds),"retained_seconds" (null without --rate),
  "bytes_reserved" (of one topic),"bytes_total","bytes_left","fits":BOOL}

Exit codes: 0 it fits; 5 it does not fit; 2 it cannot be; 6 a partition would be too large.)";

}  // namespace

void add_plan_command(CLI::App& app, Command& command) {
  CLI::App* planning = add_subcommand(app, "plan", "Compute the memory of a topic before it is created", kDetails);
  auto options = std::make_shared<Options>();
  planning->add_option("--topics", options->topics, "So many topics like this")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  add_parsed(planning, "--rate", "Records per second, of all partitions of a topic together", "N",
             [options](const std::string& text) { options->rate = parse_rate(text, "--rate"); });
  add_parsed(planning, "--value-size", "Bytes of a value [100]", "SIZE",
             [options](const std::string& text) { options->value_bytes = parse_size(text, "--value-size"); });
  add_parsed(planning, "--key-size", "Bytes of a key [0]", "SIZE",
             [options](const std::string& text) { options->key_bytes = parse_size(text, "--key-size"); });
  add_parsed(planning, "--retain", "Find the ring that keeps records for so long", "DURATION",
             [options](const std::string& text) { options->retain = parse_duration(text, "--retain"); });
  add_topic_options(planning, options->config);
  planning->callback([&command, options, planning] {
    options->ring_given = planning->count("--partition-bytes") > 0;
    command.run = [&command, options] { return plan(command, *options); };
  });
}

}  // namespace arus::tool
