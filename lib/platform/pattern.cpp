#include "platform/pattern.h"

#include <regex.h>

#include <array>

namespace arus::platform {

struct Pattern::Compiled {
  regex_t expression{};
  bool good = false;
  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    if (good) regfree(&expression);
  }
};

Pattern::Pattern(std::unique_ptr<Compiled> compiled) noexcept : compiled_(std::move(compiled)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::compile(std::string_view text) {
  // By itself first: what is not whole must not be completed by the brackets.
  for (const std::string& whole : {std::string(text), format("^({})$", text)}) {
    auto compiled = std::make_unique<Compiled>();
    if (const int error = regcomp(&compiled->expression, whole.c_str(), REG_EXTENDED | REG_NOSUB); error != 0) {
      std::array<char, 200> reason{};
      regerror(error, &compiled->expression, reason.data(), reason.size());
      return fail(Errc::invalid_argument, "'{}' is no extended regular expression: {}", text, reason.data());
    }
    compiled->good = true;
    if (whole.size() != text.size()) return Pattern(std::move(compiled));
  }
  return fail(Errc::invalid_argument, "'{}' is no extended regular expression", text);
}

bool Pattern::matches(const std::string& text) const noexcept {
  return regexec(&compiled_->expression, text.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace arus::platform
