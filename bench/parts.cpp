// The program that runs the parts: Google Benchmark, with the environment in its context and without unfit builds.
#include "parts.h"

#include <cstdio>

#include "environment.h"
#include "harness.h"

int main(int argc, char** argv) {
  if (const std::string why = bench::unfit_for_measuring(); !why.empty()) {
    std::fprintf(stderr, "arus-bench-parts: this program measures nothing: %s. Build it with: cmake --preset release\n",
                 why.c_str());
    return 3;
  }
  for (const auto& [name, value] : bench::environment(bench::choose_cpus())) {
    if (name != "date" && name != "pinned to cores") benchmark::AddCustomContext(name, value);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
