// One case of a crash test: a bus with one topic, the ledger, and what its processes do.
#pragma once

#include <arus/arus.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crash/ledger.h"
#include "crash/process.h"
#include "ring/ring.h"

namespace arus::crash {

enum class Act : std::uint8_t { send, batch, loan, burst };  // burst: values alone of one size
inline constexpr std::string_view kTopic = "weather";
inline constexpr std::string_view kGroup = "alerts";

// Flags of the ledger.
enum Flag : std::uint32_t {
  kTarget,               // readers read to this offset and end; 0: not known yet
  kGo,                   // bystanders send
  kProbe,                // bystanders send as long as they find room, without waiting
  kReady,                // counts those who have registered and wait for kGo
  kReading,              // and the next three: how often that reader has subscribed
  kFree = kReading + 4,  // from here on: a scenario's own
};

// An empty directory for a case, below $ARUS_TEST_DIR or /dev/shm; removed with its content.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string bus() const { return path_ + "/bus"; }

 private:
  std::string path_;
};

class World {
 public:
  // Makes the bus, and the topic unless `config` is null.
  explicit World(const TopicConfig* config, std::uint32_t senders = 16, std::uint64_t offsets = 1u << 16);

  [[nodiscard]] const Ledger& ledger() const { return *ledger_; }
  [[nodiscard]] const std::string& directory() const { return directory_.path(); }
  [[nodiscard]] std::string bus_directory() const { return directory_.bus(); }
  // Processes of a scenario's own, which last as long as the case.
  std::vector<Process> beside;
  // In the calling process: opens the bus anew.
  [[nodiscard]] Bus open() const { return Bus::open(bus_directory()).value(); }
  // A number for a producer's life.
  std::uint32_t new_sender() { return next_sender_++; }

  // What processes do. Each opens the bus for itself.
  struct Sending {
    std::uint32_t sender;
    std::uint64_t count;
    Act act = Act::send;
    std::chrono::microseconds pause_every_8th{0};  // lets readers fall asleep, so that there is somebody to wake
    std::chrono::milliseconds patience{20'000};
    std::size_t largest_value = 0;  // 0: as suits the act
  };
  void send(const Sending& sending) const;
  void send(Producer& producer, const Sending& sending) const;
  // Registers, then waits for kGo; meanwhile, when kProbe is set, sends until it is refused (see Ledger::Sender::refusal).
  void stand_by(const Sending& sending) const;
  // Reads as `reader`, until `enough` or to kTarget. Group or observer.
  void read(std::uint32_t reader, ConsumerConfig config, const std::function<bool(const Auditor&)>& enough = {}) const;

  [[nodiscard]] std::uint64_t end_offset() const;
  // Every claim in the ring is settled or can be settled, which changes nothing the second time; its records join up to its tail.
  void check_ring() const;

 private:
  Directory directory_;
  std::unique_ptr<Ledger> ledger_;
  std::uint32_t next_sender_ = 0;
};

// The partition's ring, as an endpoint would see it; for the tests that look at the bytes.
class OpenRing {
 public:
  explicit OpenRing(const std::string& bus_directory);
  ~OpenRing();
  OpenRing(const OpenRing&) = delete;
  OpenRing& operator=(const OpenRing&) = delete;
  [[nodiscard]] const ring::Ring& operator*() const;
  [[nodiscard]] const ring::Ring* operator->() const { return &**this; }
  [[nodiscard]] std::uint64_t incarnation() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

ConsumerConfig grouped(std::string_view group = kGroup);
ConsumerConfig observing();

}  // namespace arus::crash
