// An extended regular expression (POSIX) that has to match a whole text. regcomp() rather than std::regex: that one recurses as deep as
// the text is long.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "platform/error.h"

namespace arus::platform {

// One thread.
class Pattern {
 public:
  // `invalid_argument`, with what is wrong.
  static Result<Pattern> compile(std::string_view text);
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();
  [[nodiscard]] bool matches(const std::string& text) const noexcept;

 private:
  struct Compiled;
  explicit Pattern(std::unique_ptr<Compiled> compiled) noexcept;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace arus::platform
