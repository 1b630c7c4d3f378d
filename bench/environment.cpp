#include "environment.h"

#include <sys/utsname.h>
#include <time.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "clock.h"

// Set by the build: how this program was compiled.
#ifndef ARUS_BENCH_FLAGS
#define ARUS_BENCH_FLAGS "unknown"
#endif

namespace bench {

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// With family and model, where there are any: a hypervisor gives different processors one name.
std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string family;
  std::string model;
  std::string name = "unknown";
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const std::size_t colon = line.find(':');
    const std::string value = colon + 2 < line.size() ? line.substr(colon + 2) : "";
    if (line.starts_with("cpu family")) family = value;
    if (line.starts_with("model\t")) model = value;
    if (line.starts_with("model name")) name = value;
  }
  return family.empty() ? name : name + " (family " + family + ", model " + model + ")";
}

std::string hypervised() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("flags")) return line.find(" hypervisor") == std::string::npos ? "no" : "yes";
  }
  return "unknown";
}

std::string joined(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

std::string now() {
  const time_t time = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  return {text.data(), ::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts)};
}

}  // namespace

Environment environment(const std::vector<int>& cpus) {
  utsname system{};
  ::uname(&system);
  const std::string governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  std::array<char, 32> ghz{};
  std::snprintf(ghz.data(), ghz.size(), "%.4f GHz", TickScale::get().ghz());
  return {
      {"date", now()},
      {"cpu", cpu_model()},
      {"virtual machine", hypervised()},
      {"pinned to cores", joined(cpus)},
      {"kernel", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"compiler", std::string("GCC-compatible ") + __VERSION__},
      {"flags", ARUS_BENCH_FLAGS},
      {"clock source", first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")},
      {"time-stamp counter", ghz.data()},
      {"governor", governor.empty() ? "none visible" : governor},
      {"load average before", first_line("/proc/loadavg")},
  };
}

std::string unfit_for_measuring() {
#if !defined(__OPTIMIZE__)
  return "it was compiled without optimisation";
#elif !defined(NDEBUG)
  return "it was compiled with assertions (without NDEBUG)";
#else
  // The undefined-behaviour sanitizer defines no macro; the flags name it.
  if (std::string_view(ARUS_BENCH_FLAGS).find("-fsanitize") != std::string_view::npos) {
    return "it was compiled with a sanitizer";
  }
  return {};
#endif
}

}  // namespace bench
