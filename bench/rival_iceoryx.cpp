// Eclipse iceoryx, lossless: a publisher that waits for its subscriber, messages built in the loaned chunk and read where they lie; and
// its calls, likewise.
#include <algorithm>
#include <cstring>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_client.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_server.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <memory>
#include <optional>
#include <string>

#include "iceoryx_daemon.h"
#include "prefault.h"
#include "rival_kernel.h"
#include "suite_rivals.h"

namespace bench {

namespace {

namespace popo = iox::popo;

constexpr std::uint32_t kAlignment = 8;

// This process among those that the daemon knows. It has to be told when one ends: it aborts at its own end if one is missing.
struct Leave {
  void operator()(iox::runtime::PoshRuntime* runtime) const {
    using namespace iox::runtime;
    IpcMessage farewell;
    IpcMessage answer;
    farewell << IpcMessageTypeToString(IpcMessageType::TERMINATION) << runtime->getInstanceName();
    runtime->sendRequestToRouDi(farewell, answer);
  }
};
using Membership = std::unique_ptr<iox::runtime::PoshRuntime, Leave>;

Membership join(const std::string& runtime_name) {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kOff, iox::log::LogLevelOutput::kHideLogLevel);
  Membership member(&iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, runtime_name)));
  prefault_file(IceoryxDaemon::payload_file());
  return member;
}

template <class Loan>
void* value_of(Loan loan, const char* call) {
  if (loan.has_error()) fail("iceoryx: %s", call);
  return loan.value();
}

class Sender {
 public:
  explicit Sender(const char* topic)
      : publisher_(std::make_unique<popo::UntypedPublisher>(
            iox::capro::ServiceDescription("bench", "channel", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, topic)),
            options())) {}

  void wait_for_peer() const {
    while (!publisher_->hasSubscribers()) cpu_pause();
  }

  bool try_send(Bytes message) {
    void* const chunk = value_of(publisher_->loan(static_cast<std::uint32_t>(message.size()), kAlignment), "loan");
    std::memcpy(chunk, message.data(), message.size());
    publisher_->publish(chunk);
    return true;
  }

 private:
  static popo::PublisherOptions options() {
    popo::PublisherOptions options;
    options.subscriberTooSlowPolicy = popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    return options;
  }
  std::unique_ptr<popo::UntypedPublisher> publisher_;
};

template <Blocking kBlocking>
class Receiver {
 public:
  Receiver(const char* topic, const Shape& shape)
      : bytes_(shape.bytes),
        subscriber_(std::make_unique<popo::UntypedSubscriber>(
            iox::capro::ServiceDescription("bench", "channel", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, topic)),
            options(shape.slots))) {
    if constexpr (kBlocking == Blocking::no) return;
    waitset_ = std::make_unique<popo::WaitSet<>>();
    if (waitset_->attachState(*subscriber_, popo::SubscriberState::HAS_DATA).has_error()) fail("iceoryx: attachState");
  }

  void wait_for_peer() const {
    while (subscriber_->getSubscriptionState() != iox::SubscribeState::SUBSCRIBED) cpu_pause();
  }

  template <class Each>
  std::size_t poll(Each&& each) {
    if constexpr (kBlocking == Blocking::yes) waitset_->wait();
    const auto chunk = subscriber_->take();
    if (chunk.has_error()) {
      if (chunk.get_error() != popo::ChunkReceiveResult::NO_CHUNK_AVAILABLE) fail("iceoryx: take");
      cpu_pause();
      return 0;
    }
    each(Bytes(static_cast<const std::byte*>(chunk.value()), bytes_));
    subscriber_->release(chunk.value());
    return 1;
  }

 private:
  static popo::SubscriberOptions options(std::size_t slots) {
    popo::SubscriberOptions options;
    options.queueCapacity = std::min<std::uint64_t>(slots, options.queueCapacity);
    options.queueFullPolicy = popo::QueueFullPolicy::BLOCK_PRODUCER;
    return options;
  }
  std::size_t bytes_;
  std::unique_ptr<popo::UntypedSubscriber> subscriber_;
  std::unique_ptr<popo::WaitSet<>> waitset_;  // detaches first
};

// What fits into a subscriber's queue, and what both sides hold meanwhile.
std::size_t chunks(const Shape& shape) { return 2 * (std::min<std::size_t>(shape.slots, iox::MAX_SUBSCRIBER_QUEUE_CAPACITY) + 16); }

template <Blocking kBlocking>
class Iceoryx {
 public:
  explicit Iceoryx(const Shape& shape) : shape_(shape), daemon_(shape.bytes, chunks(shape)) {}

  // Has what its role needs; the rest is null.
  struct End {
    Membership member;
    std::optional<Sender> out;
    std::optional<Receiver<kBlocking>> in;
    bool try_send(Bytes message) { return out->try_send(message); }
    template <class Each>
    std::size_t poll(Each&& each) {
      return in->poll(std::forward<Each>(each));
    }
  };
  End sender() { return opened(0, kRequest, nullptr); }
  End receiver() { return opened(1, nullptr, kRequest); }
  End end(std::size_t role) { return opened(role, role == 0 ? kRequest : kReply, role == 0 ? kReply : kRequest); }

 private:
  static constexpr const char* kRequest = "request";
  static constexpr const char* kReply = "reply";

  End opened(std::size_t role, const char* to, const char* from) {
    End end{join(daemon_.runtime_name(role)), {}, {}};
    if (to != nullptr) end.out.emplace(to);
    if (from != nullptr) end.in.emplace(from, shape_);
    if (to != nullptr) end.out->wait_for_peer();
    if (from != nullptr) end.in->wait_for_peer();
    return end;
  }

  Shape shape_;
  IceoryxDaemon daemon_;
};

// Calls, spinning on both sides. The server's answer is the request, as arus's.
class IceoryxEcho {
 public:
  explicit IceoryxEcho(const Shape& shape) : bytes_(shape.bytes), daemon_(shape.bytes + kHeaders, kChunks) {}

  class End {
   public:
    End(Membership member, std::size_t role, std::size_t bytes) : member_(std::move(member)), bytes_(bytes) {
      const iox::capro::ServiceDescription service("bench", "calls", "echo");
      if (role == 0) {
        client_ = std::make_unique<popo::UntypedClient>(service);
        while (client_->getConnectionState() != iox::ConnectionState::CONNECTED) cpu_pause();
      } else {
        server_ = std::make_unique<popo::UntypedServer>(service);
        while (!server_->hasClients()) cpu_pause();
      }
    }

    bool try_send(Bytes message) {
      if (!client_) return true;  // it has answered in poll()
      void* const request = value_of(client_->loan(static_cast<std::uint32_t>(bytes_), kAlignment), "loan of a request");
      std::memcpy(request, message.data(), bytes_);
      if (client_->send(request).has_error()) fail("iceoryx: send of a request");
      return true;
    }

    template <class Each>
    std::size_t poll(Each&& each) {
      return client_ ? take_reply(each) : serve(each);
    }

   private:
    template <class Each>
    std::size_t take_reply(Each&& each) {
      const auto reply = client_->take();
      if (reply.has_error()) {
        cpu_pause();
        return 0;
      }
      each(Bytes(static_cast<const std::byte*>(reply.value()), bytes_));
      client_->releaseResponse(reply.value());
      return 1;
    }

    template <class Each>
    std::size_t serve(Each&& each) {
      const auto request = server_->take();
      if (request.has_error()) {
        cpu_pause();
        return 0;
      }
      const void* const body = request.value();
      each(Bytes(static_cast<const std::byte*>(body), bytes_));
      void* const reply = value_of(
          server_->loan(popo::RequestHeader::fromPayload(body), static_cast<std::uint32_t>(bytes_), kAlignment), "loan of a reply");
      std::memcpy(reply, body, bytes_);
      if (server_->send(reply).has_error()) fail("iceoryx: send of a reply");
      server_->releaseRequest(body);
      return 1;
    }

    Membership member_;
    std::size_t bytes_;
    std::unique_ptr<popo::UntypedClient> client_;
    std::unique_ptr<popo::UntypedServer> server_;
  };
  End end(std::size_t role) { return {join(daemon_.runtime_name(role)), role, bytes_}; }

 private:
  static constexpr std::size_t kHeaders = 128;  // a call has one of its own before its bytes
  static constexpr std::size_t kChunks = 256;
  std::size_t bytes_;
  IceoryxDaemon daemon_;
};

}  // namespace

void add_iceoryx(Suite& suite) {
  const std::string name = "iceoryx";
  add_round_trip<RoundTrip<Iceoryx<Blocking::no>>>(suite, name, "spin");
  add_round_trip<RoundTrip<Iceoryx<Blocking::yes>>>(suite, name, "sleep");
  add_one_way<OneWay<Iceoryx<Blocking::no>>>(suite, name);
  suite.push_back({rpc_echo_scenario(64, "spin"), contestant<RoundTrip<IceoryxEcho>>(name, {64}), rpc_echo_spinning()});
}

}  // namespace bench
