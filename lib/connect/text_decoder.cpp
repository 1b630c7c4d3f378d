#include "connect/text_decoder.h"

#include <algorithm>

#include "connect/json_line.h"
#include "connect/sensor_file.h"
#include "platform/error.h"

namespace arus::connect {

using platform::fail;
using platform::format;

namespace {

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

}  // namespace

Result<TextDecoder> TextDecoder::make(TextFormat format) {
  using enum TextFormat::Kind;
  const bool names_fields = !format.key_field.empty() || !format.time_field.empty() || !format.value_field.empty();
  if (format.kind == lines && names_fields) {
    return fail(Errc::invalid_argument, "lines have no fields that could be the key, time or value; read them as csv or ndjson");
  }
  if (format.kind != lines && !format.key_delimiter.empty()) {
    return fail(Errc::invalid_argument, "a key delimiter is for lines; name the field that is the key instead");
  }
  if (format.kind == csv && (format.separator == '"' || format.separator == '\n' || format.separator == '\r')) {
    return fail(Errc::invalid_argument, "a quote or a line end cannot separate fields; use a character such as , ; or a tab");
  }
  TextDecoder decoder(std::move(format));
  if (decoder.format_.kind == csv && !decoder.format_.columns.empty()) {
    if (auto resolved = decoder.resolve_columns(); !resolved) return platform::pass(resolved);
  }
  return decoder;
}

Result<void> TextDecoder::feed(std::string_view input, ItemBuffer& items, std::vector<Notice>& notices) {
  if (format_.kind == TextFormat::Kind::csv) return read_rows(input, false, items, notices);
  while (!input.empty()) {
    const auto end = input.find('\n');
    const std::string_view part = input.substr(0, end);
    input.remove_prefix(std::min(part.size() + 1, input.size()));
    const bool fits = too_long_ == 0 && pending_.size() + part.size() <= format_.longest + 1;  // 1: a carriage return
    if (!fits) {
      too_long_ += pending_.size() + part.size();
      pending_.clear();
    }
    if (end == std::string_view::npos) {
      if (fits) pending_.append(part);
      break;
    }
    if (!fits || pending_.empty()) {
      take_line(part, items, notices);
    } else {
      pending_.append(part);
      take_line(pending_, items, notices);
      pending_.clear();
    }
  }
  return Done{};
}

Result<void> TextDecoder::finish(ItemBuffer& items, std::vector<Notice>& notices) {
  if (format_.kind == TextFormat::Kind::csv) return read_rows({}, true, items, notices);
  if (!pending_.empty() || too_long_ > 0) take_line(pending_, items, notices);
  pending_.clear();
  return Done{};
}

std::size_t TextDecoder::reset() {
  if (format_.kind == TextFormat::Kind::csv) {
    CsvReader fresh(format_.separator, format_.longest);
    const std::size_t dropped = csv_.pending();
    csv_ = std::move(fresh);
    return dropped;
  }
  const std::size_t dropped = pending_.size() + too_long_;
  pending_.clear();
  too_long_ = 0;
  return dropped;
}

void TextDecoder::refuse(std::uint64_t line, std::string_view why, std::vector<Notice>& notices) {
  constexpr std::size_t kMostAtOnce = 100;
  ++refused_;
  if (notices.size() < kMostAtOnce) notices.push_back({Notice::Kind::refused, format("line {}, {}", line, why)});
}

void TextDecoder::take_line(std::string_view line, ItemBuffer& items, std::vector<Notice>& notices) {
  ++line_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (too_long_ > 0 || line.size() > format_.longest) {
    const std::uint64_t size = std::exchange(too_long_, 0);
    refuse(line_, format("column 1: expected at most {} bytes, the line has {}", format_.longest, std::max(size, line.size())),
           notices);
    return;
  }
  if (format_.kind == TextFormat::Kind::ndjson) {
    if (!trim(line).empty()) take_json(line, items, notices);
    return;
  }
  std::optional<std::string_view> key;
  if (!format_.key_delimiter.empty()) {
    if (const auto at = line.find(format_.key_delimiter); at != std::string_view::npos) {
      key = line.substr(0, at);
      line.remove_prefix(at + format_.key_delimiter.size());
    }
  }
  items.add(line, key, std::nullopt, line_);
}

void TextDecoder::take_json(std::string_view line, ItemBuffer& items, std::vector<Notice>& notices) {
  const JsonLine read = read_json_line(line, format_.key_field, format_.time_field, format_.value_field);
  if (!read.error.empty()) return refuse(line_, format("column {}: {}", read.column, read.error), notices);
  const auto missing = [&](const std::string& name) {
    refuse(line_, format("column 1: expected a member '{}' that is not null", name), notices);
  };
  std::optional<Timestamp> time;
  if (!format_.key_field.empty() && !read.members.key) return missing(format_.key_field);
  if (!format_.value_field.empty() && !read.members.value) return missing(format_.value_field);
  if (!format_.time_field.empty()) {
    if (!read.members.time) return missing(format_.time_field);
    time = parse_any_time(*read.members.time, format_.time_unit);
    if (!time) {
      return refuse(line_,
                    format("column 1: expected a time (ISO 8601, or a number since 1970) as '{}' and not '{}'", format_.time_field,
                           read.members.time->substr(0, 40)),
                    notices);
    }
  }
  items.add(read.members.value ? std::string_view(*read.members.value) : line, read.members.key, time, line_);
}

Result<void> TextDecoder::read_rows(std::string_view input, bool last, ItemBuffer& items, std::vector<Notice>& notices) {
  for (;;) {
    switch (csv_.next(input, last)) {
      case CsvReader::Step::more: return Done{};
      case CsvReader::Step::malformed:
        // Without a header nobody knows what the columns are.
        if (!header_known_) return fail(Errc::invalid_argument, "the header in line {}, {}", csv_.line(), csv_.error());
        refuse(csv_.line(), csv_.error(), notices);
        break;
      case CsvReader::Step::row:
        if (header_known_) {
          take_row(items, notices);
        } else if (auto taken = take_header(csv_.fields()); !taken) {
          return taken;
        }
    }
  }
}

Result<void> TextDecoder::take_header(const std::vector<CsvField>& fields) {
  for (const CsvField& field : fields) format_.columns.emplace_back(field.text);
  return resolve_columns();
}

Result<void> TextDecoder::resolve_columns() {
  const auto& columns = format_.columns;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (std::find(columns.begin(), columns.begin() + static_cast<std::ptrdiff_t>(i), columns[i]) !=
        columns.begin() + static_cast<std::ptrdiff_t>(i)) {
      return fail(Errc::invalid_argument, "the header has two columns '{}'; expected different names", columns[i]);
    }
    auto name = json_string(columns[i]);
    if (!name) return fail(Errc::invalid_argument, "the header's column {} is not UTF-8", i + 1);
    names_.push_back(*std::move(name));
  }
  const auto find = [&](const std::string& name, std::string_view what, std::optional<std::size_t>& at) -> Result<void> {
    if (name.empty()) return Done{};
    const auto found = std::find(columns.begin(), columns.end(), name);
    if (found == columns.end()) {
      return fail(Errc::invalid_argument, "there is no column '{}' for the {}; the header has {}", name, what, list(columns));
    }
    at = static_cast<std::size_t>(found - columns.begin());
    return Done{};
  };
  if (auto found = find(format_.key_field, "key", key_at_); !found) return found;
  if (auto found = find(format_.time_field, "time", time_at_); !found) return found;
  if (auto found = find(format_.value_field, "value", value_at_); !found) return found;
  header_known_ = true;
  return Done{};
}

void TextDecoder::take_row(ItemBuffer& items, std::vector<Notice>& notices) {
  const auto& fields = csv_.fields();
  if (fields.size() != names_.size()) {
    return refuse(
        csv_.line(),
        format("column {}: expected {} fields as in the header, and not {}", fields.back().column, names_.size(), fields.size()),
        notices);
  }
  std::optional<Timestamp> time;
  if (time_at_) {
    const CsvField& field = fields[*time_at_];
    time = parse_any_time(field.text, format_.time_unit);
    if (!time) {
      return refuse(csv_.line(),
                    format("column {}: expected a time (ISO 8601, or a number since 1970) and not '{}'", field.column,
                           field.text.substr(0, 40)),
                    notices);
    }
  }
  std::string_view value;
  if (value_at_) {
    value = fields[*value_at_].text;
  } else {
    if (!make_object(fields)) return refuse(csv_.line(), format("column {}: expected UTF-8", bad_column_), notices);
    value = value_;
  }
  items.add(value, key_at_ ? std::optional(fields[*key_at_].text) : std::nullopt, time, csv_.line());
}

bool TextDecoder::make_object(const std::vector<CsvField>& fields) {
  value_.assign(1, '{');
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i == key_at_ || i == time_at_) continue;
    const CsvField& field = fields[i];
    if (value_.size() > 1) value_ += ',';
    value_ += names_[i];
    value_ += ':';
    if (field.text.empty() && !field.quoted) {
      value_ += "null";
    } else if (!field.quoted && is_json_number(field.text)) {
      value_ += field.text;
    } else if (const auto string = json_string(field.text)) {
      value_ += *string;
    } else {
      bad_column_ = field.column;
      return false;
    }
  }
  value_ += '}';
  return true;
}

}  // namespace arus::connect
