// The files of calls: made, checked, mapped. What each holds stands in layout.h.
#pragma once

#include <arus/result.h>

#include <cstdint>
#include <string>
#include <vector>

#include "platform/segment.h"
#include "ring/ring.h"
#include "rpc/layout.h"

namespace arus::rpc {

struct MethodSpec {
  std::string name;
  std::uint32_t request_size;
  std::uint32_t reply_size;
  std::uint32_t flags;
};

// A server's file.
class ServerFile {
 public:
  struct Spec {
    std::uint64_t incarnation;
    std::uint64_t number;
    std::uint32_t clients;
    std::uint32_t max_outstanding;
    std::uint32_t workers;
    const std::vector<MethodSpec>& methods;
  };
  static Result<ServerFile> create(const std::string& path, const Spec& spec, const platform::Ownership& ownership);
  // In stages, each with its own error. The header and the methods' names are copied: what is written over them later does no harm.
  static Result<ServerFile> open(const std::string& path, platform::Access access);

  [[nodiscard]] const ServerHeader& header() const noexcept { return header_; }
  [[nodiscard]] const std::vector<MethodSpec>& methods() const noexcept { return methods_; }
  [[nodiscard]] Attention& attention() const noexcept { return at<Attention>(kAttentionAt); }
  [[nodiscard]] Load& load() const noexcept { return at<Load>(kLoadAt); }
  [[nodiscard]] Doorbells& doorbells() const noexcept { return at<Doorbells>(kDoorbellsAt); }
  [[nodiscard]] ClientSlot& client(std::uint32_t slot) const noexcept {
    return at<ClientSlot>(kClientsAt + slot * sizeof(ClientSlot));
  }
  [[nodiscard]] MethodStatistics& statistics(std::uint32_t method) const noexcept {
    return at<MethodStatistics>(statistics_at(header_.clients, header_.methods) + method * sizeof(MethodStatistics));
  }

 private:
  template <class T>
  [[nodiscard]] T& at(std::uint64_t offset) const noexcept {
    return *reinterpret_cast<T*>(segment_.data() + offset);
  }
  platform::Segment segment_;
  ServerHeader header_{};
  std::vector<MethodSpec> methods_;
};

// A channel's file.
class ChannelFile {
 public:
  struct Spec {
    std::uint64_t server;
    std::uint64_t incarnation;
    std::uint64_t ring_bytes;
    std::uint32_t slots;
  };
  static Result<ChannelFile> create(const std::string& path, const Spec& spec, const platform::Ownership& ownership);
  // For the server; pages are there afterwards.
  static Result<ChannelFile> open(const std::string& path, std::uint64_t server, std::uint64_t incarnation);

  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::uint64_t ring_bytes() const noexcept { return ring_bytes_; }
  [[nodiscard]] ChannelLines& lines() const noexcept { return *reinterpret_cast<ChannelLines*>(segment_.data() + kLinesAt); }
  // slot < slots()
  [[nodiscard]] CallSlot& slot(std::uint32_t slot) const noexcept {
    return reinterpret_cast<CallSlot*>(segment_.data() + kCallSlotsAt)[slot];
  }
  [[nodiscard]] ring::Ring requests() const noexcept { return ring(0); }
  [[nodiscard]] ring::Ring replies() const noexcept { return ring(ring_bytes_); }

 private:
  [[nodiscard]] ring::Ring ring(std::uint64_t offset) const noexcept;
  void touch() const noexcept;
  platform::Segment segment_;
  std::uint64_t ring_bytes_ = 0;
  std::uint64_t salt_ = 0;
  std::uint32_t slots_ = 0;
};

}  // namespace arus::rpc
