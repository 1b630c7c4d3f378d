// Text from a descriptor or a file: what somebody pipes in, or a recording.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "connect/source.h"
#include "connect/text_decoder.h"
#include "platform/file.h"

namespace arus::connect {

class StreamSource : public Source {
 public:
  // `name` stands in messages. The descriptor is borrowed. `interrupt`: see wait_readable(); -1: none.
  static Result<std::unique_ptr<StreamSource>> of_descriptor(int descriptor, std::string name, TextFormat format, int interrupt);
  // Errors: `not_found`, `permission_denied`, `system`.
  static Result<std::unique_ptr<StreamSource>> of_file(const std::string& path, TextFormat format, int interrupt);

  Result<Fetched> fetch(std::chrono::nanoseconds timeout) override;
  [[nodiscard]] SourceCounts counts() override { return {.refused = decoder_.refused()}; }

 private:
  StreamSource(platform::Descriptor own, int descriptor, std::string name, TextDecoder decoder, int interrupt);

  platform::Descriptor own_;
  int descriptor_;
  std::string name_;
  TextDecoder decoder_;
  int interrupt_;
  std::vector<char> buffer_;
  ItemBuffer items_;
};

}  // namespace arus::connect
