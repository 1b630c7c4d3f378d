#include "platform/descriptor_set.h"

#include <sys/epoll.h>

#include <cerrno>

#include "platform/fork.h"

namespace arus::platform {

DescriptorSet::DescriptorSet(Descriptor file) noexcept : file_(std::move(file)), generation_(fork_generation()) {
  close_in_child(file_.get());
}

DescriptorSet::~DescriptorSet() {
  if (same_process(generation_))
    keep_in_child(file_.get());
  else
    file_.release();  // closed when the child was forked
}

Result<std::unique_ptr<DescriptorSet>> DescriptorSet::make() {
  Descriptor file(epoll_create1(EPOLL_CLOEXEC));
  if (!file.valid()) return fail_system(errno, "epoll_create1", "(no file)");
  return std::unique_ptr<DescriptorSet>(new DescriptorSet(std::move(file)));
}

Result<void> DescriptorSet::add(int descriptor) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  if (epoll_ctl(file_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0 && errno != EEXIST)
    return fail_system(errno, "epoll_ctl", "(no file)");
  return {};
}

}  // namespace arus::platform
