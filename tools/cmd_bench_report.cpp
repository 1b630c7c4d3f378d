// The page that `arus bench --html` writes: one file with everything in it. gnuplot draws its charts as SVG; colours that say nothing follow
// the reader's light or dark mode by the page's style.
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "cmd_bench.h"
#include "log/bus_directory.h"
#include "run_command.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

namespace fs = std::filesystem;

// Told apart on white as on black, and by people who see red and green alike.
constexpr std::array kColours{"#3b7ddd", "#d97706", "#0f9d8a", "#b45fc0", "#c2454f"};

bool is_installed(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (access((directory + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

// ---- what stands above the charts -------------------------------------------------------------------------------------------

std::string line_of(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const auto from = line.find_first_not_of(": \t", name.size());
    return from == std::string::npos ? "" : line.substr(from);
  }
  return "unknown";
}

std::string whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string command_line() {
  std::string text = whole("/proc/self/cmdline");
  while (text.ends_with('\0')) text.pop_back();
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::string facts(const Command& command) {
  utsname system{};
  uname(&system);
  std::string text = "<table>\n";
  const auto row = [&](std::string_view name, std::string_view value) {
    text += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", name, escaped(value));
  };
  row("Date", iso_time(wall_clock_now()).substr(0, 19) + "Z");
  row("Machine", fmt::format("{} ({})", system.nodename, system.machine));
  row("Processor", fmt::format("{}, {} CPUs", line_of("/proc/cpuinfo", "model name"), std::thread::hardware_concurrency()));
  row("Kernel", fmt::format("{} {}", system.sysname, system.release));
  row("Bus", command.bus.empty() ? log::default_bus_directory() : command.bus);
  row("arus", ARUS_VERSION);
  row("Command", command_line());
  return text + "</table>\n";
}

// ---- charts -----------------------------------------------------------------------------------------------------------------

std::string run_gnuplot(const std::string& script) {
  constexpr std::size_t kLargest = 16u << 20;
  const CommandResult result =
      run_command({"gnuplot", "-"}, {"LC_ALL=C.UTF-8"}, script, kLargest, [] { return Stop::requested(); });
  const auto from = result.output.find("<svg");
  if (result.end != CommandResult::End::exited || result.code != 0 || from == std::string::npos)
    throw Failure(ExitCode::failed, "system", fmt::format("gnuplot could not draw a chart: {}", result.complaint));
  return result.output.substr(from);
}

// Decades of nanoseconds as people write them.
std::string time_tics() {
  static constexpr std::array kUnits{"ns", "us", "ms", "s"};
  std::string tics;
  for (int decade = 0; decade < 12; ++decade) {
    const auto unit = static_cast<std::size_t>(decade / 3);
    tics += fmt::format("{}\"{} {}\" 1e{}", tics.empty() ? "" : ", ", std::lround(std::pow(10, decade % 3)), kUnits[unit], decade);
  }
  return tics;
}

// {}: what its elements are called, in a page with other charts.
constexpr fmt::string_view kHead = R"(set terminal svg size 900,420 dynamic name '{}' font 'sans-serif,13'
set border 3
set tics nomirror
set grid
)";

std::string draw_curves(const std::vector<const LatencyCurve*>& curves) {
  std::string script = fmt::format(fmt::runtime(kHead), "latency");
  std::string plots;
  double furthest = 1000;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    script += fmt::format("$curve{} << EOD\n", i);
    for (const auto& point : curves[i]->points) {
      script += fmt::format("{} {}\n", 1 / (1 - point.share), std::max(point.ns, 1.0));
      furthest = std::max(furthest, 1 / (1 - point.share));
    }
    script += "EOD\n";
    plots += fmt::format("{}$curve{} with lines lw 2.5 lc rgb '{}' title '{}' noenhanced", i == 0 ? "" : ", ", i,
                         kColours[i % kColours.size()], curves[i]->name);
  }
  script += fmt::format(R"(set logscale xy
set xrange [1:{}]
set xlabel 'share of messages'
set ylabel 'took at most'
set key above
set xtics ("50 %%" 2, "90 %%" 10, "99 %%" 100, "99.9 %%" 1e3, "99.99 %%" 1e4, "99.999 %%" 1e5, "99.9999 %%" 1e6, "99.99999 %%" 1e7)
set ytics ({})
plot {}
)",
                        furthest, time_tics(), plots);
  return run_gnuplot(script);
}

std::string draw_sizes(const std::vector<SizePoint>& sizes) {
  std::string script = fmt::format(fmt::runtime(kHead), "sizes");
  std::string tics;
  script += "$sizes << EOD\n";
  for (const auto& one : sizes) {
    script += fmt::format("{} {} {}\n", one.bytes, one.bytes_per_second / 1e9, one.messages_per_second / 1e6);
    tics += fmt::format("{}\"{}\" {}", tics.empty() ? "" : ", ", human_bytes(one.bytes), one.bytes);
  }
  script += fmt::format(R"(EOD
set border 11
set logscale x 2
set logscale y 10
set logscale y2 10
set xlabel 'size of a message'
set ylabel 'GB/s'
set y2label 'million messages/s'
set y2tics
set format y '%g'
set format y2 '%g'
set key above
set offsets graph 0.03, graph 0.03, 0, 0
set xtics ({})
plot $sizes using 1:2 axes x1y1 with linespoints lw 2.5 pt 7 ps 0.7 lc rgb '{}' title 'GB/s (left)', \
     $sizes using 1:3 axes x1y2 with linespoints lw 2.5 pt 5 ps 0.7 lc rgb '{}' title 'million messages/s (right)'
)",
                        tics, kColours[0], kColours[1]);
  return run_gnuplot(script);
}

constexpr const char* kStyle = R"(:root { color-scheme: light dark; --ink: #1c2430; --faint: #c9d0d9; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #454d59; --page: #14181e; } }
body { background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
th { text-align: left; font-weight: 600; padding-right: 1.5rem; vertical-align: top; }
td { overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid var(--faint); border-radius: 4px; padding: 0.8rem; font-size: 0.85rem; }
figure { margin: 0; }
svg { width: 100%; height: auto; }
svg [color="black"] { color: var(--ink); }
svg [fill="black"] { fill: var(--ink); }
svg [stroke="black"] { stroke: var(--ink); }
svg [stroke="gray"] { stroke: var(--faint); })";

}  // namespace

void check_report(const std::string& path) {
  if (!is_installed("gnuplot")) {
    throw Failure(ExitCode::not_found, "not_found",
                  "--html draws its charts with gnuplot, which is not installed here; apt-get install gnuplot-nox");
  }
  const fs::path directory = fs::absolute(path).parent_path();
  if (access(fs::exists(path) ? path.c_str() : directory.c_str(), W_OK) != 0)
    throw Failure(errno == EACCES ? ExitCode::permission : ExitCode::failed, "system",
                  fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

void write_report(const std::string& path, const Command& command, const std::vector<Measurement>& measurements) {
  std::string results;
  std::vector<const LatencyCurve*> curves;
  std::vector<SizePoint> sizes;
  for (const auto& one : measurements) {
    results += one.text;
    for (const auto& curve : one.curves) curves.push_back(&curve);
    if (one.sizes.size() > 1) sizes = one.sizes;
  }
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>arus bench</title>\n<style>\n{}\n</style>\n</head>\n<body>\n"
      "<h1>arus bench</h1>\n{}<h2>Results</h2>\n<pre>{}</pre>\n",
      kStyle, facts(command), escaped(results));
  const auto add_chart = [&](std::string_view title, const std::string& svg) {
    page += fmt::format("<h2>{}</h2>\n<figure>\n{}</figure>\n", title, svg);
  };
  if (!curves.empty()) add_chart("Latency: which share took at most how long", draw_curves(curves));
  if (!sizes.empty()) add_chart("Throughput by size, one producer and one lossless consumer", draw_sizes(sizes));
  page += "</body>\n</html>\n";
  write_file(path, page);
}

}  // namespace arus::tool
