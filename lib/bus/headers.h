// How headers are encoded in a record: for each  name size:16 | value size:16 (0xffff: null) | name | value.
#pragma once

#include <arus/record.h>

#include <cstdint>
#include <span>

namespace arus::detail {

inline constexpr std::size_t kHeaderPrefix = 4;
inline constexpr std::uint16_t kNullHeader = 0xffff;

// Bytes of all, which may be more than a record can hold.
std::size_t headers_size(std::span<const Header> headers) noexcept;
// To `to`, which has headers_size() bytes; the caller has checked that they are at most 64 KiB.
void encode_headers(std::span<const Header> headers, std::byte* to) noexcept;

}  // namespace arus::detail
