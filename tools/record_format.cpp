#include "record_format.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "errors.h"
#include "parse.h"
#include "text.h"

namespace arus::tool {
namespace {

constexpr std::string_view kFields = "tpokKsSRTNIh";

void append(fmt::memory_buffer& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }

template <class... Args>
void append_formatted(fmt::memory_buffer& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(fmt::appender(out), format, std::forward<Args>(args)...);
}

bool is_null(Bytes data) noexcept { return data.data() == nullptr; }

std::int64_t length_of(Bytes data) noexcept { return is_null(data) ? -1 : static_cast<std::int64_t>(data.size()); }

// "key":"…", with "key_encoding":"base64" behind it where it is needed.
void append_member(fmt::memory_buffer& out, std::string_view name, Bytes data) {
  append_formatted(out, "\"{}\":", name);
  if (is_null(data)) {
    append(out, "null");
  } else if (is_utf8(text(data))) {
    append_json_string(out, text(data));
  } else {
    append(out, "\"");
    append_base64(out, text(data));
    append_formatted(out, "\",\"{}_encoding\":\"base64\"", name);
  }
}

}  // namespace

RecordFormat::RecordFormat(std::string_view format, std::string null_text) : null_text_(std::move(null_text)) {
  while (!format.empty()) {
    if (format[0] != '%') {
      const auto size = std::min(format.find('%'), format.size());
      parts_.push_back({0, unescape(format.substr(0, size), "-f")});
      format.remove_prefix(size);
      continue;
    }
    const char field = format.size() > 1 ? format[1] : '\0';
    if (field == '%') {
      parts_.push_back({0, "%"});
    } else if (field != '\0' && kFields.find(field) != std::string_view::npos) {
      parts_.push_back({field, {}});
    } else {
      throw usage_error(
          fmt::format("-f: '{}' is not a field; there are %t %p %o %k %K %s %S %R %T %N %I %h, and %% for a percent sign",
                      format.substr(0, 2)));
    }
    format.remove_prefix(2);
  }
}

void RecordFormat::append(fmt::memory_buffer& out, const Record& record) const {
  const auto append_bytes = [&](Bytes data) { tool::append(out, is_null(data) ? std::string_view(null_text_) : text(data)); };
  for (const auto& part : parts_) {
    switch (part.field) {
      case 't': tool::append(out, record.topic()); break;
      case 'p': append_formatted(out, "{}", record.partition()); break;
      case 'o': append_formatted(out, "{}", record.offset()); break;
      case 'k': append_bytes(record.key()); break;
      case 'K': append_formatted(out, "{}", length_of(record.key())); break;
      case 's': append_bytes(record.value()); break;
      case 'S': append_formatted(out, "{}", length_of(record.value())); break;
      case 'R': {
        const auto length = static_cast<std::uint32_t>(length_of(record.value()));
        for (const unsigned shift : {24u, 16u, 8u, 0u}) out.push_back(static_cast<char>(length >> shift & 0xFF));
        break;
      }
      case 'T': append_formatted(out, "{}", record.timestamp() / 1'000'000); break;
      case 'N': append_formatted(out, "{}", record.timestamp()); break;
      case 'I': tool::append(out, iso_time(record.timestamp())); break;
      case 'h': {
        std::string_view comma;
        for (const Header header : record.headers()) {
          append_formatted(out, "{}{}=", std::exchange(comma, ","), header.name);
          append_bytes(header.value);
        }
        break;
      }
      default: tool::append(out, part.text);
    }
  }
}

void append_json(fmt::memory_buffer& out, const Record& record) {
  append_formatted(out, R"({{"topic":"{}","partition":{},"offset":{},"timestamp":{},)", record.topic(), record.partition(),
                   record.offset(), record.timestamp());
  append_member(out, "key", record.key());
  append(out, ",");
  append_member(out, "value", record.value());
  append(out, ",\"headers\":[");
  std::string_view comma;
  for (const Header header : record.headers()) {
    append_formatted(out, "{}{{", std::exchange(comma, ","));
    append_member(out, "name", bytes(header.name));
    append(out, ",");
    append_member(out, "value", header.value);
    append(out, "}");
  }
  append(out, "]}");
}

std::string_view to_string(Gap::Kind kind) noexcept { return kind == Gap::Kind::lost ? "lost" : "uncommitted"; }

void append_json(fmt::memory_buffer& out, const Gap& gap) {
  append_formatted(out, R"({{"gap":"{}","topic":"{}","partition":{},"from":{},"to":{}}})", to_string(gap.kind), gap.topic,
                   gap.partition, gap.from, gap.to);
}

std::string to_text(const Gap& gap) {
  const std::uint64_t count = gap.to - gap.from;
  return fmt::format("{} partition {}: {}: offsets [{}, {}), {} record{}", gap.topic, gap.partition,
                     gap.kind == Gap::Kind::lost ? "lost, overwritten before they were read"
                                                 : "never committed (aborted, or the producer died; nothing was lost)",
                     gap.from, gap.to, count, plural(count));
}

}  // namespace arus::tool
