#include "platform/error.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace arus {

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::full: return "full";
    case Errc::timed_out: return "timed_out";
    case Errc::would_deadlock: return "would_deadlock";
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::too_large: return "too_large";
    case Errc::out_of_range: return "out_of_range";
    case Errc::not_found: return "not_found";
    case Errc::already_exists: return "already_exists";
    case Errc::config_mismatch: return "config_mismatch";
    case Errc::schema_mismatch: return "schema_mismatch";
    case Errc::in_use: return "in_use";
    case Errc::limit_reached: return "limit_reached";
    case Errc::forbidden: return "forbidden";
    case Errc::evicted: return "evicted";
    case Errc::fenced: return "fenced";
    case Errc::deleted: return "deleted";
    case Errc::forked: return "forked";
    case Errc::permission_denied: return "permission_denied";
    case Errc::no_space: return "no_space";
    case Errc::version_mismatch: return "version_mismatch";
    case Errc::corrupt: return "corrupt";
    case Errc::stale_boot: return "stale_boot";
    case Errc::exhausted: return "exhausted";
    case Errc::system: return "system";
  }
  return "unknown";
}

namespace platform {
namespace {

// "owned by root:adm, mode 0640" for the path, or for the nearest parent that can be looked at.
std::string who_owns(std::string path) {
  struct stat status {};
  while (stat(path.c_str(), &status) != 0) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos || slash == 0) return {};
    path.resize(slash);
  }
  const passwd* user = getpwuid(status.st_uid);
  const group* unix_group = getgrgid(status.st_gid);
  return format("{} is owned by {}:{}, mode {:04o}", path,
                user != nullptr ? std::string(user->pw_name) : std::to_string(status.st_uid),
                unix_group != nullptr ? std::string(unix_group->gr_name) : std::to_string(status.st_gid), status.st_mode & 07777u);
}

}  // namespace

Error system_error(int error_number, std::string_view call, std::string_view path) {
  const char* reason = std::strerror(error_number);
  switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
      return Error(Errc::permission_denied, format("{} {}: {}; {}; ask its owner for access, or run as that user or group", call,
                                                   path, reason, who_owns(std::string(path))));
    case ENOENT:
    case ENOTDIR: return Error(Errc::not_found, format("{} {}: {}", call, path, reason));
    case EEXIST:
    case ENOTEMPTY: return Error(Errc::already_exists, format("{} {}: {}", call, path, reason));
    case ENOSPC:
    case EDQUOT:
      return Error(Errc::no_space,
                   format("{} {}: {}; free some, choose smaller partitions, or another directory", call, path, reason));
    case EMFILE:
    case ENFILE:
      return Error(Errc::limit_reached, format("{} {}: {}; raise the limit of open files (ulimit -n)", call, path, reason));
    default: return Error(Errc::system, format("{} {}: {}", call, path, reason));
  }
}

}  // namespace platform
}  // namespace arus
