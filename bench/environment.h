// Where numbers come from: printed with every result, because without it they mean nothing.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bench {

using Environment = std::vector<std::pair<std::string, std::string>>;  // in the order to be shown

Environment environment(const std::vector<int>& cpus);

// Why nothing that this program could measure would be worth knowing; empty if it would.
std::string unfit_for_measuring();

}  // namespace bench
