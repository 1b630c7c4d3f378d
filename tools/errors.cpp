#include "errors.h"

namespace arus::tool {

ExitCode exit_code_of(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
    case Errc::out_of_range:
    case Errc::too_large: return ExitCode::usage;
    case Errc::not_found: return ExitCode::not_found;
    case Errc::permission_denied: return ExitCode::permission;
    case Errc::no_space: return ExitCode::no_space;
    case Errc::already_exists:
    case Errc::config_mismatch:
    case Errc::schema_mismatch:
    case Errc::in_use:
    case Errc::limit_reached:
    case Errc::evicted:
    case Errc::fenced:
    case Errc::forbidden: return ExitCode::refused;
    case Errc::version_mismatch:
    case Errc::corrupt:
    case Errc::stale_boot: return ExitCode::damaged;
    case Errc::deleted: return ExitCode::deleted;
    case Errc::full:
    case Errc::timed_out: return ExitCode::timed_out;
    case Errc::would_deadlock:
    case Errc::forked:
    case Errc::exhausted:
    case Errc::system: return ExitCode::failed;
  }
  return ExitCode::failed;
}

}  // namespace arus::tool
