// Building errors: one line at the place where something failed.
#pragma once

#include <arus/result.h>
#include <fmt/core.h>

#include <string>
#include <string_view>

namespace arus::platform {

// fmt::format, compiled once: only format.cpp sees more of fmt than its core.
std::string format_arguments(fmt::string_view format, fmt::format_args arguments);
template <class... Args>
[[nodiscard]] std::string format(fmt::format_string<Args...> text, Args&&... arguments) {
  return format_arguments(text, fmt::make_format_args(arguments...));
}

template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(Errc code, fmt::format_string<Args...> text, Args&&... arguments) {
  return tl::unexpected<Error>(Error(code, format_arguments(text, fmt::make_format_args(arguments...))));
}
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code) { return tl::unexpected<Error>(Error(code)); }

// Passes another result's error on.
template <class T>
[[nodiscard]] tl::unexpected<Error> pass(const tl::expected<T, Error>& result) {
  return tl::unexpected<Error>(result.error());
}

// The error of a system call on a file: the code that fits `error_number`, the call, the path and the remedy. For a file that may
// not be used it names its owner and mode.
[[nodiscard]] Error system_error(int error_number, std::string_view call, std::string_view path);
[[nodiscard]] inline tl::unexpected<Error> fail_system(int error_number, std::string_view call, std::string_view path) {
  return tl::unexpected<Error>(system_error(error_number, call, path));
}

}  // namespace arus::platform
