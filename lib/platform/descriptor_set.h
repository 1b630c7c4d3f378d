// Several descriptors that look like one: readable when any of them is. For handing one number to a caller's epoll or poll.
#pragma once

#include <memory>
#include <utility>

#include "platform/file.h"

namespace arus::platform {

class DescriptorSet {
 public:
  static Result<std::unique_ptr<DescriptorSet>> make();
  // A descriptor that is in it already does no harm; one that is closed leaves by itself.
  Result<void> add(int descriptor) const;
  [[nodiscard]] int get() const noexcept { return file_.get(); }

 private:
  explicit DescriptorSet(OwnDescriptor file) noexcept : file_(std::move(file)) {}
  OwnDescriptor file_;
};

}  // namespace arus::platform
