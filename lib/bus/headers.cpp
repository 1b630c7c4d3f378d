#include "bus/headers.h"

#include <cstring>

#include "platform/cpu.h"

namespace arus {
namespace {

struct Prefix {
  std::uint16_t name;
  std::uint16_t value;
};
static_assert(sizeof(Prefix) == detail::kHeaderPrefix);

// The header at the beginning of `encoded`, if it is whole: what was read from a ring may be anything.
bool decode(Bytes encoded, Header& header, std::size_t& size) noexcept {
  Prefix prefix{};
  if (encoded.size() < sizeof prefix) return false;
  std::memcpy(&prefix, encoded.data(), sizeof prefix);
  const std::size_t value = prefix.value == detail::kNullHeader ? 0 : prefix.value;
  size = sizeof prefix + prefix.name + value;
  if (encoded.size() < size) return false;
  header.name = text(encoded.subspan(sizeof prefix, prefix.name));
  header.value = prefix.value == detail::kNullHeader ? kNull : encoded.subspan(sizeof prefix + prefix.name, value);
  return true;
}

}  // namespace

// An iterator is at its end when nothing whole is left.
HeaderView::iterator::iterator(Bytes rest) noexcept : rest_(rest) {
  Header header;
  std::size_t size = 0;
  if (!decode(rest_, header, size)) rest_ = {};
}

Header HeaderView::iterator::operator*() const noexcept {
  Header header;
  std::size_t size = 0;
  decode(rest_, header, size);
  return header;
}

HeaderView::iterator& HeaderView::iterator::operator++() noexcept {
  Header header;
  std::size_t size = 0;
  *this = decode(rest_, header, size) ? iterator(rest_.subspan(size)) : iterator();
  return *this;
}

std::optional<Bytes> HeaderView::find(std::string_view name) const noexcept {
  for (const Header header : *this)
    if (header.name == name) return header.value;
  return std::nullopt;
}

namespace detail {

std::size_t headers_size(std::span<const Header> headers) noexcept {
  std::size_t size = 0;
  for (const Header& header : headers) size += kHeaderPrefix + header.name.size() + header.value.size();
  return size;
}

void encode_headers(std::span<const Header> headers, std::byte* to) noexcept {
  for (const Header& header : headers) {
    const bool null = header.value.data() == nullptr;
    const Prefix prefix{static_cast<std::uint16_t>(header.name.size()),
                        null ? kNullHeader : static_cast<std::uint16_t>(header.value.size())};
    platform::copy(to, &prefix, sizeof prefix);
    to += sizeof prefix;
    if (!header.name.empty()) platform::copy(to, header.name.data(), header.name.size());
    to += header.name.size();
    if (!header.value.empty()) platform::copy(to, header.value.data(), header.value.size());
    to += header.value.size();
  }
}

}  // namespace detail
}  // namespace arus
