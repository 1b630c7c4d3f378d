// What the measurements of `arus bench` give, and the report that is made of it.
//
// cmd_bench.cpp has the command line, cmd_bench_topic.cpp and cmd_bench_rpc.cpp measure, cmd_bench_report.cpp writes the page.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/histogram.h"
#include "command.h"

namespace arus::tool {

struct BenchOptions {
  std::size_t size = 64;
  std::vector<std::size_t> sizes;  // of throughput; empty: size
  std::size_t batch = 32;
  std::chrono::nanoseconds duration = std::chrono::seconds(2);  // of each measurement
  std::uint64_t partition_bytes = 0;                            // 0: 8 MiB, or what the size needs
  double rate = 100'000;                                        // of load, messages per second
  std::uint32_t consumers = 2;                                  // of fanout
  Wait wait{};
};

// How often which latency was met.
struct LatencyCurve {
  std::string name;
  struct Point {
    double share;  // of all messages …
    double ns;     // … that took at most so long
  };
  std::vector<Point> points;
};

struct SizePoint {
  std::size_t bytes;
  double messages_per_second;
  double bytes_per_second;
};

struct Measurement {
  Json json;
  std::string text;
  std::vector<LatencyCurve> curves{};
  std::vector<SizePoint> sizes{};
  bool whole = true;  // every message arrived, in order
};

// Each of them throws a Failure, and Peer::Stopped when it was to stop.
Measurement measure_latency(const Command& command, const BenchOptions& options);
Measurement measure_throughput(const Command& command, const BenchOptions& options);
Measurement measure_load(const Command& command, const BenchOptions& options);
Measurement measure_fanout(const Command& command, const BenchOptions& options);
Measurement measure_rpc(const Command& command, const BenchOptions& options);

// p50_ns to p9999_ns, max_ns and curve; and the same for people.
void add_latencies(Json& json, const bench::Histogram& latencies);
std::string latency_text(const bench::Histogram& latencies);
LatencyCurve curve_of(std::string name, const bench::Histogram& latencies);

// Throws a Failure if the page cannot be made: no gnuplot, no such directory. To be asked before measuring.
void check_report(const std::string& path);
void write_report(const std::string& path, const Command& command, const std::vector<Measurement>& measurements);

}  // namespace arus::tool
