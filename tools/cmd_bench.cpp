// arus bench: short measurements between processes, over topics and services of their own that are gone afterwards.
//
// The other processes are forked before the bus is opened, tell when they are ready, and die with this one. For comparisons and
// statistics over regimes of the machine see bench/.
#include "cmd_bench.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <ranges>

#include "bench_peer.h"
#include "parse.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {

void add_latencies(Json& json, const bench::Histogram& latencies) {
  const auto at = [&](double share) { return std::llround(latencies.quantile(share)); };
  json["p50_ns"] = at(0.5);
  json["p90_ns"] = at(0.9);
  json["p99_ns"] = at(0.99);
  json["p999_ns"] = at(0.999);
  json["p9999_ns"] = at(0.9999);
  json["max_ns"] = at(1);
  json["curve"] = Json::array();
  for (const auto& [share, ns] : curve_of({}, latencies).points) json["curve"].push_back({share, std::llround(ns)});
}

std::string latency_text(const bench::Histogram& latencies) {
  const auto at = [&](double share) { return human_duration(std::chrono::nanoseconds(std::llround(latencies.quantile(share)))); };
  return fmt::format("p50 {}, p90 {}, p99 {}, p99.9 {}, p99.99 {}, max {}", at(0.5), at(0.9), at(0.99), at(0.999), at(0.9999),
                     at(1));
}

LatencyCurve curve_of(std::string name, const bench::Histogram& latencies) {
  LatencyCurve curve{.name = std::move(name), .points = {}};
  // Eight points for each nine more, as far as there is more than one message beyond.
  for (int step = 0;; ++step) {
    const double beyond = std::pow(10, -step / 8.0);
    if (beyond * static_cast<double>(latencies.total()) < 1) break;
    curve.points.push_back({1 - beyond, latencies.quantile(1 - beyond)});
  }
  return curve;
}

namespace {

using Measure = Measurement (*)(const Command&, const BenchOptions&);

struct Named {
  const char* name;
  Measure measure;
};
constexpr std::array kAll{Named{"latency", measure_latency}, Named{"throughput", measure_throughput}, Named{"load", measure_load},
                          Named{"rpc", measure_rpc}, Named{"fanout", measure_fanout}};

ExitCode show(const Command& command, const std::string& html, const std::vector<Measurement>& measurements, const Json& json) {
  if (command.json) {
    emit("{}\n", dump(json));
  } else {
    Output output;
    for (const auto& one : measurements) output.append(one.text);
    output.flush();
  }
  if (!html.empty()) write_report(html, command, measurements);
  const bool whole = std::ranges::all_of(measurements, &Measurement::whole);
  if (!whole) warn("messages were lost or came out of order");
  return whole ? ExitCode::ok : ExitCode::failed;
}

ExitCode run_one(const Command& command, const BenchOptions& options, const std::string& html, Measure measure) {
  if (!html.empty()) check_report(html);
  std::vector<Measurement> measurements;
  measurements.push_back(measure(command, options));
  if (Stop::requested()) return unless_stopped(ExitCode::failed);
  return show(command, html, measurements, measurements.front().json);
}

ExitCode run_all(const Command& command, BenchOptions options, const std::string& html) {
  if (!html.empty()) check_report(html);
  if (options.sizes.empty()) options.sizes = {16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20};
  std::vector<Measurement> measurements;
  Json json{{"bench", "all"}, {"results", Json::array()}};
  Progress progress(!command.json);
  for (const auto& [name, measure] : kAll) {
    if (progress.due()) progress.show(fmt::format("{} ({} of {})", name, measurements.size() + 1, kAll.size()));
    measurements.push_back(measure(command, options));
    json["results"].push_back(measurements.back().json);
    if (Stop::requested()) return unless_stopped(ExitCode::failed);
  }
  return show(command, html, measurements, json);
}

constexpr const char* kDetails =
    R"(Quick looks at this machine as it is now, between processes on two CPUs; every message is checked. Topics,
groups and services of a measurement are called arus-bench-PID-... and go with it, unless it is killed.

Examples:
  arus bench throughput --size 1024 --seconds 5
  arus bench latency --wait sleep
  arus bench load --rate 500000
  arus bench all --html report.html)";

constexpr const char* kLatencies = "p50_ns,p90_ns,p99_ns,p999_ns,p9999_ns,max_ns,curve:[[share,ns]...]";

}  // namespace

void add_bench_command(CLI::App& app, Command& command) {
  CLI::App* bench = add_subcommand(app, "bench", "Measure latency, throughput, load, calls and fan-out", kDetails);
  bench->require_subcommand(1);
  auto options = std::make_shared<BenchOptions>();
  auto html = std::make_shared<std::string>();
  const auto add = [&](const char* name, const char* description, const std::string& details, int largest, auto run) {
    CLI::App* measurement = add_subcommand(*bench, name, description, details);
    measurement->add_option("--size", options->size, "Bytes of a message")
        ->type_name("BYTES")
        ->capture_default_str()
        ->check(CLI::Range(8, largest));
    add_parsed(measurement, "--seconds", "How long each measurement [2]", "DURATION",
               [options](const std::string& text) { options->duration = parse_duration(text, "--seconds"); });
    add_parsed(measurement, "--wait", "spin, spin-then-sleep or sleep [spin-then-sleep]", "HOW",
               [options](const std::string& text) { options->wait = parse_wait(text); });
    measurement->add_option("--html", *html, "Also write a page with charts (needs gnuplot)")->type_name("FILE");
    measurement->callback([&command, run, options, html] {
      command.run = [&command, run, options, html] {
        try {
          return run(command, *options, *html);
        } catch (const Peer::Stopped&) {
          return unless_stopped(ExitCode::failed);
        }
      };
    });
    return measurement;
  };
  const auto one = [](Measure measure) {
    return [measure](const Command& c, const BenchOptions& o, const std::string& page) { return run_one(c, o, page, measure); };
  };
  const auto add_sizes = [&](CLI::App* to) {
    add_parsed(to, "--sizes", "Several sizes, one after the other: 64,1K,1M", "LIST", [options](const std::string& text) {
      options->sizes.clear();
      for (const auto part : std::views::split(text, ',')) {
        const std::uint64_t size = parse_size(std::string_view(part.begin(), part.end()), "--sizes");
        if (size < 8 || size > 4u << 20) throw usage_error(fmt::format("--sizes: {} is not from 8 to 4M", size));
        options->sizes.push_back(size);
      }
    });
  };
  const auto add_batch = [&](CLI::App* to) {
    to->add_option("--batch", options->batch, "Messages sent at a time, fewer if they are large")
        ->type_name("N")
        ->capture_default_str()
        ->check(CLI::Range(1, 1024));
    add_parsed(to, "--partition-bytes", "Size of the ring [8M, or four messages]", "SIZE",
               [options](const std::string& text) { options->partition_bytes = parse_size(text, "--partition-bytes"); });
  };
  const auto add_rate = [&](CLI::App* to) {
    add_parsed(to, "--rate", "Messages per second [100000]", "N",
               [options](const std::string& text) { options->rate = parse_rate(text, "--rate"); });
  };
  const auto add_consumers = [&](CLI::App* to) {
    to->add_option("--consumers", options->consumers, "Processes that read all")
        ->type_name("N")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
  };

  CLI::App* throughput = add("throughput", "One producer, one lossless consumer",
                             R"(Examples:
  arus bench throughput --batch 1
  arus bench throughput --sizes 64,1K,64K,1M --html sizes.html

JSON: {"bench","messages","seconds","messages_per_second","bytes_per_second","message_bytes",
"batch","lost","out_of_order","cpus"}; with --sizes {"bench","sizes":[{the same without "bench"}...]})",
                             4 << 20, one(measure_throughput));
  add_sizes(throughput);
  add_batch(throughput);
  add("latency", "Round trips: a message there and one back",
      fmt::format(R"(Example:
  arus bench latency --size 32 --wait spin

JSON: {{"bench","round_trips","message_bytes","cpus",
{}}})",
                  kLatencies),
      64 << 10, one(measure_latency));
  add_rate(
      add("load", "Latency of messages that are sent at a fixed rate",
          fmt::format(R"(Each message has its time on the schedule, and its latency counts from then, also when the sender was held
up before it (so that nothing is left out where it is slow). The first tenth is not counted. "late" were sent
more than 10 us after their time. The sender spins between messages that are less than 1 ms apart.

Example:
  arus bench load --rate 500000 --seconds 10 --html load.html

JSON: {{"bench","rate","achieved_per_second","messages","message_bytes","late","lost","out_of_order","cpus",
{}}})",
                      kLatencies),
          64 << 10, one(measure_load)));
  add("rpc", "Calls of an echo method, one at a time",
      fmt::format(R"(Example:
  arus bench rpc --wait sleep

JSON: {{"bench","calls","calls_per_second","message_bytes","cpus",
{}}})",
                  kLatencies),
      64 << 10, one(measure_rpc));
  CLI::App* fanout = add("fanout", "One producer, several lossless consumers that each read all",
                         R"(The rate is that of the slowest. The processes are not bound to CPUs.

Example:
  arus bench fanout --consumers 4 --size 1000

JSON: {"bench","consumers","messages","message_bytes","batch","messages_per_second","bytes_per_second",
"readers":[{messages,messages_per_second,lost,out_of_order}]})",
                         64 << 10, one(measure_fanout));
  add_consumers(fanout);
  add_batch(fanout);
  CLI::App* all = add("all", "All of them, with throughput by size",
                      R"(Example:
  arus bench all --seconds 5 --html report.html

JSON: {"bench":"all","results":[latency, throughput, load, rpc, fanout, as they are by themselves]})",
                      64 << 10, run_all);
  add_sizes(all);
  add_batch(all);
  add_rate(all);
  add_consumers(all);
}

}  // namespace arus::tool
