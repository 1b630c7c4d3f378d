// Building errors: one line at the place where something failed.
#pragma once

#include <arus/result.h>
#include <fmt/format.h>

#include <string>
#include <string_view>

namespace arus::platform {

template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(Errc code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code) { return tl::unexpected<Error>(Error(code)); }

// Passes another result's error on.
template <class T>
[[nodiscard]] tl::unexpected<Error> pass(const Result<T>& result) {
  return tl::unexpected<Error>(result.error());
}

// The error of a system call on a file: the code that fits `error_number`, the call, the path and the remedy. For a file that may
// not be used it names its owner and mode.
[[nodiscard]] Error system_error(int error_number, std::string_view call, std::string_view path);
[[nodiscard]] inline tl::unexpected<Error> fail_system(int error_number, std::string_view call, std::string_view path) {
  return tl::unexpected<Error>(system_error(error_number, call, path));
}

}  // namespace arus::platform
