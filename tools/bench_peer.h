// The other processes of a measurement, and what it makes on the bus for as long as it runs.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "arus/bus.h"

namespace arus::tool {

// The first two CPUs we may run on; empty when there is only one.
std::vector<int> choose_cpus();
// While it lives, this thread is bound to cpus[which]; to none if there are none.
class Pinned {
 public:
  Pinned(const std::vector<int>& cpus, std::size_t which);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
};
std::string cpu_text(const std::vector<int>& cpus);

// A child process that runs `work` once it is told to, with a pipe for what it has to say. To be made before the bus is opened. It dies with this
// process, and with this object.
class Peer {
 public:
  explicit Peer(const std::function<void(Peer&)>& work);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Parent: lets it begin.
  void go();
  // Child: what the parent hears.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void tell(const T& what) { write_all(to_parent_[1], &what, sizeof what); }
  // Parent: waits for what the child tells. Throws Stopped when we are to stop, and a Failure when the child died.
  template <class T>
  requires std::is_trivially_copyable_v<T> T hear() {
    T what{};
    read_all(&what, sizeof what);
    return what;
  }
  // Parent: waits until the child has ended, after the last it told.
  void wait();
  struct Stopped {};

 private:
  static void write_all(int descriptor, const void* data, std::size_t size);
  // False: the child closed its end.
  bool read_some(char*& to, std::size_t& size);
  void read_all(void* data, std::size_t size);

  std::array<int, 2> to_child_{-1, -1};
  std::array<int, 2> to_parent_{-1, -1};
  pid_t child_ = -1;
};

// Of this process and measurement alone.
std::string scratch_name(std::string_view part);

// What a measurement makes on the bus, gone with this object. To be made before the peers, so that it goes after them.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // `groups`: those that will read it.
  Topic make_topic(const Bus& bus, const std::string& name, const TopicConfig& config, const std::vector<std::string>& groups);
  // A service leaves its name on the bus when its servers have gone.
  void will_serve(const Bus& bus, const std::string& service);

 private:
  std::optional<Bus> bus_;
  std::vector<std::string> topics_;
  std::vector<std::string> groups_;
  std::string service_path_;
};

}  // namespace arus::tool
