// Several descriptors that look like one: readable when any of them is. For handing one number to a caller's epoll or poll.
#pragma once

#include <memory>

#include "platform/file.h"

namespace arus::platform {

class DescriptorSet {
 public:
  static Result<std::unique_ptr<DescriptorSet>> make();
  ~DescriptorSet();
  DescriptorSet(const DescriptorSet&) = delete;
  DescriptorSet& operator=(const DescriptorSet&) = delete;
  // A descriptor that is in it already does no harm; one that is closed leaves by itself.
  Result<void> add(int descriptor) const;
  [[nodiscard]] int get() const noexcept { return file_.get(); }

 private:
  explicit DescriptorSet(Descriptor file) noexcept;
  Descriptor file_;
  std::uint64_t generation_;  // of fork
};

}  // namespace arus::platform
