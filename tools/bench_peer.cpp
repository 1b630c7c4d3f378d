#include "bench_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "errors.h"
#include "stop.h"
#include "terminal.h"

namespace arus::tool {
namespace {

Failure failure(const char* call) { return {ExitCode::failed, "system", fmt::format("{}: {}", call, std::strerror(errno))}; }

}  // namespace

std::vector<int> choose_cpus() {
  cpu_set_t allowed;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {};
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < 2; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) cpus.push_back(cpu);
  }
  return cpus.size() == 2 ? cpus : std::vector<int>{};
}

Pinned::Pinned(const std::vector<int>& cpus, std::size_t which) : before_{} {
  sched_getaffinity(0, sizeof before_, &before_);
  if (cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpus[which]), &set);
  sched_setaffinity(0, sizeof set, &set);
}

Pinned::~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }

std::string cpu_text(const std::vector<int>& cpus) {
  return cpus.empty() ? "one CPU" : fmt::format("CPUs {} and {}", cpus[0], cpus[1]);
}

Peer::Peer(const std::function<void(Peer&)>& work) {
  if (pipe2(to_child_.data(), O_CLOEXEC) != 0 || pipe2(to_parent_.data(), O_CLOEXEC) != 0) throw failure("pipe");
  const pid_t parent = getpid();
  child_ = fork();
  if (child_ < 0) throw failure("fork");
  if (child_ > 0) {
    close(std::exchange(to_child_[0], -1));
    close(std::exchange(to_parent_[1], -1));
    return;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  close(std::exchange(to_child_[1], -1));
  close(std::exchange(to_parent_[0], -1));
  int status = 0;
  try {
    char begin = 0;
    if (read(to_child_[0], &begin, 1) == 1) work(*this);
  } catch (const std::exception& error) {
    warn(fmt::format("in another process of the measurement: {}", error.what()));
    status = 1;
  }
  _exit(status);
}

Peer::~Peer() {
  for (const int end : {to_child_[0], to_child_[1], to_parent_[0], to_parent_[1]}) {
    if (end >= 0) close(end);
  }
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
}

void Peer::go() { write_all(to_child_[1], "g", 1); }

void Peer::wait() {
  char byte = 0;
  char* to = &byte;
  std::size_t size = 1;
  while (read_some(to, size) && size > 0) {
  }
}

void Peer::write_all(int descriptor, const void* data, std::size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = write(descriptor, from, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw failure("write");
    from += written;
    size -= static_cast<std::size_t>(written);
  }
}

bool Peer::read_some(char*& to, std::size_t& size) {
  std::array<pollfd, 2> waits{pollfd{to_parent_[0], POLLIN, 0}, pollfd{Stop::descriptor(), POLLIN, 0}};
  while (poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
  }
  if (Stop::requested()) throw Stopped{};
  const ssize_t got = read(to_parent_[0], to, size);
  if (got < 0 && errno != EINTR) throw failure("read");
  if (got == 0) return false;
  if (got > 0) {
    to += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void Peer::read_all(void* data, std::size_t size) {
  char* to = static_cast<char*>(data);
  while (size > 0) {
    if (!read_some(to, size)) throw Failure(ExitCode::failed, "system", "another process of the measurement died");
  }
}

std::string scratch_name(std::string_view part) { return fmt::format("arus-bench-{}-{}", getpid(), part); }

Topic Scratch::make_topic(const Bus& bus, const std::string& name, const TopicConfig& config,
                          const std::vector<std::string>& groups) {
  bus_ = bus;
  Topic topic = must(bus_->create(name, config));
  topics_.push_back(name);
  groups_.insert(groups_.end(), groups.begin(), groups.end());
  return topic;
}

void Scratch::will_serve(const Bus& bus, const std::string& service) {
  bus_ = bus;
  service_path_ = bus.directory() + "/services/" + service;
}

Scratch::~Scratch() {
  if (!bus_) return;
  const auto check = [](const Result<void>& removed) {
    if (!removed && removed.error().code() != Errc::not_found) warn(removed.error().message());
  };
  for (const auto& name : topics_) check(bus_->remove(name));
  std::error_code failed;
  for (const auto& name : groups_) {
    if (auto group = bus_->group(name)) {
      check(group->remove());
    } else {  // one that has not read yet is none; a reader that was killed while it made it leaves parts
      for (const char* part : {".state.new", ".pulse", ".pulse.new"})
        std::filesystem::remove(bus_->directory() + "/groups/" + name + part, failed);
    }
  }
  if (!service_path_.empty()) std::filesystem::remove_all(service_path_, failed);
  if (failed) warn(fmt::format("cannot remove {}: {}", service_path_, failed.message()));
}

}  // namespace arus::tool
