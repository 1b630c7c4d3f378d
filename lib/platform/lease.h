// Liveness: one lease file per process and bus, locked for as long as the process lives.
//
// A lease is named by its incarnation, a random even number that is never used again. Whoever holds an incarnation is alive exactly as long
// as the kernel keeps the lock: a paused, slow or debugged process is alive; a killed one is dead at once; a pid means nothing
// (other pid namespaces, reuse). The file is made under a temporary name, locked, and only then given its name, so that an
// incarnation that anybody has seen was locked from the start.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "platform/file.h"

namespace arus::platform {

inline constexpr std::uint64_t kNoIncarnation = 0;

// The leases of a bus. Thread-safe; all calls are system calls: for slow paths.
class Leases {
 public:
  // `directory` must exist.
  static Result<std::shared_ptr<Leases>> open(std::string directory);

  // Dead: its file is there and unlocked, or it is gone (which its owner sees to after it has let go of everything, and a sweeper
  // after its death). In doubt (no permission to look, the bus deleted) nobody is dead.
  [[nodiscard]] bool dead(std::uint64_t incarnation) const noexcept;
  // "pid 4711 (collector)", for messages; the pid as its process saw itself.
  [[nodiscard]] std::string describe(std::uint64_t incarnation) const;
  // Removes the files of dead processes.
  void sweep() const noexcept;
  // The directory itself has been deleted.
  [[nodiscard]] bool gone() const noexcept;

  [[nodiscard]] std::string path(std::uint64_t incarnation) const;
  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }

 private:
  Leases(std::string directory, Descriptor file) noexcept : directory_(std::move(directory)), file_(std::move(file)) {}
  std::string directory_;
  Descriptor file_;
};

// The own lease; given up by the destructor. In a forked child the descriptor is closed and the destructor does nothing.
class Lease {
 public:
  static Result<std::unique_ptr<Lease>> take(const Leases& leases);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return incarnation_; }

 private:
  Lease(std::string path, OwnDescriptor file, std::uint64_t incarnation) noexcept
      : path_(std::move(path)), file_(std::move(file)), incarnation_(incarnation) {}
  std::string path_;
  OwnDescriptor file_;
  std::uint64_t incarnation_;
};

// A lease that several hold together, and that is alive as long as one of them is: each has its file locked for reading. In a forked child as
// Lease.
class SharedLease {
 public:
  // A new one; `what` tells people whose it is, and does not begin with a digit.
  static Result<std::unique_ptr<SharedLease>> take(const Leases& leases, const std::string& what);
  // Holds the one of that incarnation as well, which may be dead; null if its file is gone.
  static std::unique_ptr<SharedLease> join(const Leases& leases, std::uint64_t incarnation);
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return incarnation_; }

 private:
  SharedLease(OwnDescriptor file, std::uint64_t incarnation) noexcept : file_(std::move(file)), incarnation_(incarnation) {}
  OwnDescriptor file_;
  std::uint64_t incarnation_;
};

}  // namespace arus::platform
