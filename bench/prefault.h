// Pre-faults memory that a library has mapped without telling where: each process does so before it measures.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "message.h"

namespace bench {

// Every mapping of the file with this path, also when its name is gone. Fails if there is none.
inline void prefault_file(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find(path);
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    if (at == std::string::npos || std::sscanf(line.c_str(), "%lx-%lx", &from, &to) != 2) continue;
    if (const std::string rest = line.substr(at + path.size()); !rest.empty() && rest != " (deleted)") continue;
    found = ::madvise(reinterpret_cast<void*>(from), to - from, MADV_POPULATE_WRITE) == 0 || found;
  }
  if (!found) fail("%s is not mapped, or cannot be pre-faulted", path.c_str());
}

}  // namespace bench
