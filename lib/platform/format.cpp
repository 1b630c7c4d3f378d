// The one place that compiles fmt, so that neither the layers nor the users of the library pay for it or link it.
#define FMT_HEADER_ONLY
#include <fmt/format.h>

#include "platform/error.h"

namespace arus::platform {

std::string format_arguments(fmt::string_view format, fmt::format_args arguments) { return fmt::vformat(format, arguments); }

}  // namespace arus::platform
