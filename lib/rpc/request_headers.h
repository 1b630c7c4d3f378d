// The headers of requests and replies over topics, for both sides of request_reply.h.
#pragma once

#include <arus/record.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace arus::detail {

inline constexpr std::string_view kReplyTo = "reply_to";
inline constexpr std::string_view kCorrelationId = "correlation_id";
inline constexpr std::string_view kTimeout = "timeout_ns";
inline constexpr std::string_view kStatus = "status";
inline constexpr std::string_view kStatusMessage = "status_message";
inline constexpr std::size_t kMostCorrelationId = 128;
inline constexpr std::size_t kMostStatusMessage = 2000;

inline bool is_reserved(std::string_view name) noexcept {
  return name == kReplyTo || name == kCorrelationId || name == kTimeout || name == kStatus || name == kStatusMessage;
}

// Nothing if there is no such header, or its value is null.
inline std::optional<std::string_view> header_text(const Record& record, std::string_view name) noexcept {
  const auto value = record.headers().find(name);
  if (!value || value->data() == nullptr) return std::nullopt;
  return text(*value);
}

// The whole text as a decimal number.
inline std::optional<std::uint64_t> decimal(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace arus::detail
