// What goes wrong, each with its own status, and the server goes on serving the others: what callers pass, what handlers do, what
// hostile or broken clients write, forks, permissions.
#include <fstream>

#include "rpc/client_state.h"
#include "unit/rpc_support.h"

namespace arus::test {
namespace {

using rpc::Code;

struct Query {
  std::uint32_t sensor;
};
struct Reading {
  double celsius;
};

class RpcBadInputTest : public RpcTest {
 protected:
  RpcBadInputTest() : serving_(made()) {}

  rpc::Server made() {
    rpc::Server server = must(bus.server("test", {.drain = 50ms}));
    must(server.method("echo", [](const rpc::Incoming& request) { return request.body(); }));
    must(server.method<Query, Reading>("latest", [](const Query&) { return Reading{21.5}; }));
    must(server.method("throws", [](const rpc::Incoming&) -> Bytes { throw std::runtime_error("the sensor is on fire"); }));
    must(server.method("throws-a-number", [](const rpc::Incoming&) -> Bytes { throw 5; }));
    must(server.method("throws-deferred", [](const rpc::Incoming&, rpc::Responder) { throw std::runtime_error("too late"); }));
    must(server.method("drops", [](const rpc::Incoming&, rpc::Responder) {}));
    must(server.method("large", [](const rpc::Incoming&) { return std::string(200'000, 'x'); }));
    must(server.method("fails", [](const rpc::Incoming&) -> rpc::Outcome<Bytes> {
      return tl::unexpected(rpc::Status(Code::unauthenticated, "who are you?"));
    }));
    must(server.method("keeps", [this](const rpc::Incoming&, rpc::Responder responder) {
      const std::lock_guard lock(mutex_);
      kept_.push_back(std::move(responder));
    }));
    must(server.method(
        "stream", [](const rpc::Incoming&, rpc::Responder responder) { static_cast<void>(responder.finish(bytes("only one"))); },
        {.streaming = true}));
    return server;
  }
  // The server serves others.
  void expect_service() {
    rpc::Client other = connect();
    EXPECT_EQ(text_of(other.call("echo", bytes("served"))), "served");
  }
  std::size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }

  std::mutex mutex_;
  std::vector<rpc::Responder> kept_;
  Serving serving_;
};

TEST_F(RpcBadInputTest, WhatCallersPass) {
  rpc::Client client = connect();
  EXPECT_TRUE(ends(connect({}, "nobody").call("echo", kNull), Code::not_found, {"'nobody'"}));
  EXPECT_TRUE(fails(bus.client("no/such"), Errc::invalid_argument, {"'no/such'"}));
  EXPECT_TRUE(ends(client.call("absent", kNull), Code::unimplemented, {"'absent'", "'test'"}));
  EXPECT_TRUE(ends(client.call("", kNull), Code::unimplemented));
  EXPECT_TRUE(ends(client.call(std::string(1000, 'm'), kNull), Code::unimplemented));
  const std::vector<std::byte> large(client.max_request_bytes() + 1);
  EXPECT_TRUE(ends(client.call("echo", Bytes(large)), Code::out_of_range, {std::to_string(large.size()), "ring_bytes"}));
  EXPECT_TRUE(ends(client.loan("echo", large.size()), Code::out_of_range));
  EXPECT_TRUE(ends(client.call("latest", bytes("five!")), Code::invalid_argument, {" 5", " 4", "'latest'"}));
  EXPECT_TRUE(ends(client.call<std::uint8_t>("latest", Query{1}), Code::invalid_argument, {" 8", " 1"}));
  EXPECT_TRUE(ends(client.call("echo", kNull, {.timeout = 0ns}), Code::deadline_exceeded, {"past"}));
  EXPECT_TRUE(ends(client.call("echo", kNull, {.timeout = -5s}), Code::deadline_exceeded, {"past"}));
  EXPECT_TRUE(ends(client.call("stream", kNull), Code::invalid_argument, {"stream()"}));
  expect_service();
}

TEST_F(RpcBadInputTest, WhatHandlersDo) {
  rpc::Client client = connect();
  EXPECT_TRUE(ends(client.call("throws", kNull), Code::internal, {"the sensor is on fire", "'throws'"}));
  EXPECT_TRUE(ends(client.call("throws-a-number", kNull), Code::internal));
  EXPECT_TRUE(ends(client.call("throws-deferred", kNull), Code::internal, {"too late"}));
  EXPECT_TRUE(ends(client.call("drops", kNull), Code::internal, {"dropped"}));
  EXPECT_TRUE(ends(client.call("large", kNull), Code::failed_precondition, {"200000", "ring_bytes"}));
  EXPECT_TRUE(ends(client.call("fails", kNull), Code::unauthenticated, {"who are you?"}));
  EXPECT_EQ(client.statistics().in_flight, 0u);
  expect_service();
}

TEST_F(RpcBadInputTest, ADeadlineEndsTheCallAndTheReplyIsLate) {
  rpc::Client client = connect();
  EXPECT_TRUE(ends(client.call("keeps", kNull, {.timeout = 5ms}), Code::deadline_exceeded, {"'keeps'"}));
  ASSERT_EQ(kept(), 1u);
  EXPECT_TRUE(kept_[0].cancelled());
  EXPECT_EQ(kept_[0].time_left(), 0ns);
  EXPECT_TRUE(ends(kept_[0].finish(bytes("too late")), Code::cancelled));
  while (client.statistics().in_flight != 0) client.poll(1ms);
  EXPECT_EQ(client.statistics().late_replies, 1u);
  EXPECT_EQ(text_of(client.call("echo", bytes("on"))), "on");
}

TEST_F(RpcBadInputTest, CancellationReachesTheServer) {
  rpc::Client client = connect();
  rpc::Call call = client.call_async("keeps", kNull);
  while (kept() == 0) client.poll(1ms);
  EXPECT_FALSE(kept_[0].cancelled());
  call.cancel();
  EXPECT_TRUE(ends(call.get(), Code::cancelled));
  EXPECT_TRUE(kept_[0].cancelled());
  EXPECT_TRUE(ends(kept_[0].finish(kNull), Code::cancelled));
  EXPECT_GE(serving_.server.statistics().dropped, 1u);
  { rpc::Call dropped = client.call_async("keeps", kNull); }
  EXPECT_EQ(text_of(client.call("echo", bytes("on"))), "on");
}

TEST_F(RpcBadInputTest, TheLimitOfCallsInFlight) {
  rpc::Client client = connect({.max_in_flight = 2});
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 3; ++i) calls.push_back(client.call_async("keeps", kNull));
  EXPECT_TRUE(ends(calls[2].get(), Code::resource_exhausted, {"max_in_flight"}));
  while (kept() < 2) client.poll(1ms);
  for (rpc::Responder& responder : kept_) must(responder.finish());
  for (int i = 0; i < 2; ++i) must(calls[static_cast<std::size_t>(i)].get());
}

TEST_F(RpcBadInputTest, AReplyToAClientThatIsGone) {
  std::optional<rpc::Client> client = connect();
  std::optional<rpc::Call> call = client->call_async("keeps", kNull);
  while (kept() == 0) client->poll(1ms);
  call.reset();
  client.reset();
  expect_service();  // by now it has seen that
  EXPECT_TRUE(kept_[0].cancelled());
  EXPECT_TRUE(ends(kept_[0].finish(kNull), Code::cancelled, {"gone"}));
}

TEST_F(RpcBadInputTest, AResponderAnswersOnce) {
  rpc::Client client = connect();
  rpc::Call call = client.call_async("keeps", kNull);
  while (kept() == 0) client.poll(1ms);
  must(kept_[0].finish(bytes("once")));
  EXPECT_TRUE(ends(kept_[0].finish(bytes("twice")), Code::failed_precondition));
  EXPECT_TRUE(ends(kept_[0].try_write(bytes("thrice")), Code::failed_precondition));
  EXPECT_EQ(text_of(call.get()), "once");
  EXPECT_TRUE(ends(call.get(), Code::failed_precondition));
}

TEST_F(RpcBadInputTest, TheAdmissionLimit) {
  std::vector<rpc::Responder> held;
  rpc::Server server = must(bus.server("small", {.max_clients = 2, .max_outstanding = 3}));
  must(server.method("hold", [&](const rpc::Incoming&, rpc::Responder responder) { held.push_back(std::move(responder)); }));
  must(server.start());
  rpc::Client client = connect({}, "small");
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(client.call_async("hold", kNull));
  while (held.size() < 3 || server.statistics().refused < 2) must(server.poll(1ms));
  EXPECT_TRUE(ends(calls[3].get(), Code::resource_exhausted, {" 3 "}));
  EXPECT_TRUE(ends(calls[4].get(), Code::resource_exhausted));
  for (rpc::Responder& responder : held) must(responder.finish());
  for (int i = 0; i < 3; ++i) must(calls[static_cast<std::size_t>(i)].get());
  rpc::Client second = connect({}, "small");
  rpc::Client third = connect({}, "small");
  EXPECT_TRUE(ends(third.call("hold", kNull), Code::resource_exhausted, {" 2 ", "max_clients"}));
}

// Its replies fill its own ring; each call it has open can still be ended.
TEST_F(RpcBadInputTest, AClientThatNeverReadsItsReplies) {
  rpc::Server server = must(bus.server("slow", {.reply_patience = 5ms}));
  must(server.method("big", [](const rpc::Incoming&) { return std::string(4000, 'x'); }));
  must(server.start());
  rpc::Client client = connect({.ring_bytes = 64 << 10}, "slow");
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 50; ++i) calls.push_back(client.call_async("big", kNull));
  rpc::Client other = connect({}, "slow");
  rpc::Call another = other.call_async("big", kNull);
  while (server.statistics().calls < 51) must(server.poll(1ms));
  EXPECT_EQ(text_of(another.get()).size(), 4000u);
  int replies = 0;
  int exhausted = 0;
  for (rpc::Call& call : calls) {
    auto outcome = call.get();
    if (outcome)
      ++replies;
    else if (ends(outcome, Code::resource_exhausted))
      ++exhausted;
  }
  EXPECT_EQ(replies + exhausted, 50);
  EXPECT_GT(replies, 5);
  EXPECT_GT(exhausted, 5);
}

TEST_F(RpcBadInputTest, Configurations) {
  EXPECT_TRUE(fails(bus.client("test", {.max_in_flight = 0}), Errc::invalid_argument, {"max_in_flight"}));
  EXPECT_TRUE(fails(bus.client("test", {.ring_bytes = 100'000}), Errc::invalid_argument, {"power of two", "65536"}));
  EXPECT_TRUE(fails(bus.client("test", {.ring_bytes = 1}), Errc::invalid_argument, {"ring_bytes"}));
  EXPECT_TRUE(fails(bus.server("test", {.max_clients = 5000}), Errc::invalid_argument, {"max_clients"}));
  EXPECT_TRUE(fails(bus.server("test", {.mode = 07777}), Errc::invalid_argument, {"mode"}));
  EXPECT_TRUE(fails(bus.server(""), Errc::invalid_argument));
  rpc::Server server = must(bus.server("late"));
  const auto nothing = [](const rpc::Incoming&) { return Bytes(); };
  must(server.method("a", nothing));
  EXPECT_TRUE(fails(server.method("a", nothing), Errc::already_exists, {"'a'"}));
  EXPECT_TRUE(fails(server.method("a/b", nothing), Errc::invalid_argument, {"'a/b'"}));
  must(server.start());
  EXPECT_TRUE(fails(server.method("b", nothing), Errc::invalid_argument, {"before start()"}));
  must(server.drain());
  EXPECT_TRUE(fails(server.poll(0ns), Errc::deleted));
}

TEST_F(RpcBadInputTest, AForkedChildIsTold) {
  rpc::Client client = connect();
  rpc::Reply reply = must(client.call("echo", bytes("parent's")));
  rpc::Call call = client.call_async("echo", bytes("mine"));
  EXPECT_EQ(in_child([&] {
              const auto outcome = client.call("echo", kNull);
              EXPECT_TRUE(ends(outcome, Code::failed_precondition));
              EXPECT_EQ(outcome.error().cause(), Errc::forked);
              EXPECT_EQ(call.get().error().cause(), Errc::forked);
              EXPECT_TRUE(fails(serving_.server.poll(0ns), Errc::forked));
              const rpc::Reply end_here = std::move(reply);
              const rpc::Client and_here = std::move(client);
            }),
            0);
  EXPECT_EQ(text(reply.body()), "parent's");
  EXPECT_EQ(text_of(call.get()), "mine");
  EXPECT_EQ(text_of(client.call("echo", bytes("on"))), "on");
}

// ---- what a hostile client writes: its own channel is closed, and others are served ------------------------------------------------

class RpcHostileTest : public RpcBadInputTest {
 protected:
  RpcHostileTest() {
    bus_state_ = std::make_shared<arus::detail::BusState>(must(log::BusDirectory::open(path())));
    const auto servers = must(rpc::list_servers(bus_state_->directory(), "test"));
    server_ = servers.at(0);
    hostile_ = must(rpc::detail::ClientChannel::connect(bus_state_, "test", server_, {}));
  }
  ~RpcHostileTest() override { hostile_->close(); }
  void send(const rpc::CallHeader& header, std::size_t size = 8) {
    rpc::LaneWriter::Claim claim;
    ASSERT_TRUE(hostile_->claim(size, claim));
    hostile_->commit(claim, header, size, platform::boot_time());
  }
  Code answer() {
    rpc::Received received;
    for (;;) {
      const auto found = hostile_->look(received);
      if (found == ring::Found::record) break;
      if (found == ring::Found::corrupt) return Code::data_loss;
      std::this_thread::yield();
    }
    hostile_->hold(received);
    hostile_->release(received.position);
    return static_cast<Code>(received.call.code);
  }
  void expect_refused() {
    while (!hostile_->refused()) std::this_thread::yield();
    expect_service();
  }
  static rpc::CallHeader header(std::uint32_t slot = 0) {
    return {.id = 1 << 16 | slot, .deadline = kForever.count(), .method = 0, .code = 0, .flags = 0, .reserved = 0};
  }

  std::shared_ptr<arus::detail::BusState> bus_state_;
  rpc::ServerName server_{};
  std::unique_ptr<rpc::detail::ClientChannel> hostile_;
};

TEST_F(RpcHostileTest, AMethodNumberBeyondTheTable) {
  rpc::CallHeader call = header();
  call.method = 0x7fffffff;
  send(call);
  EXPECT_EQ(answer(), Code::unimplemented);
  expect_service();
}

TEST_F(RpcHostileTest, AWrongSizeForATypedMethod) {
  rpc::CallHeader call = header();
  call.method = 1;
  send(call, 100);
  EXPECT_EQ(answer(), Code::invalid_argument);
  expect_service();
}

TEST_F(RpcHostileTest, ADeadlineThatIsPast) {
  rpc::CallHeader call = header();
  call.deadline = 1;
  send(call);
  EXPECT_EQ(answer(), Code::deadline_exceeded);
  expect_service();
}

TEST_F(RpcHostileTest, ASlotBeyondTheTable) {
  send(header(0xffff));
  expect_refused();
}

TEST_F(RpcHostileTest, ASlotWhoseCallIsOpen) {
  rpc::CallHeader call = header();
  call.method = 8;  // "keeps"
  ASSERT_EQ(must(bus.service("test")).servers[0].methods[8].name, "keeps");
  send(call);
  while (kept() == 0) std::this_thread::yield();
  call.id += 1 << 16;
  send(call);
  expect_refused();
}

TEST_F(RpcHostileTest, RecordsThatCannotBe) {
  const ring::Ring ring = hostile_->request_ring();
  const std::uint64_t at = ring.cells;
  ring.at(at).h3.store(~0ull);
  ring.set_mark(at, ring::State::committed, 0, 1);
  hostile_->ring_doorbell();
  expect_refused();
}

TEST_F(RpcHostileTest, APackedRecord) {
  const ring::Ring ring = hostile_->request_ring();
  const std::uint64_t at = ring.cells;
  ring.at(at).h3.store(ring::Lengths{16, sizeof(rpc::CallHeader), 0, ring::Lengths::kPacked}.word());
  ring.set_mark(at, ring::State::committed, 0, 100);
  hostile_->ring_doorbell();
  expect_refused();
}

TEST_F(RpcHostileTest, AnExtentBeyondTheRing) {
  const ring::Ring ring = hostile_->request_ring();
  ring.set_mark(ring.cells, ring::State::committed, 0, ring.cells);
  hostile_->ring_doorbell();
  expect_refused();
}

TEST_F(RpcHostileTest, PaddingInTheMiddle) {
  const ring::Ring ring = hostile_->request_ring();
  ring.set_mark(ring.cells, ring::State::skip, 0, 2);
  hostile_->ring_doorbell();
  expect_refused();
}

TEST_F(RpcHostileTest, AChannelThatIsNoChannel) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{1} << 20}) {
    auto file = must(rpc::ServerFile::open(rpc::server_file_path(rpc::server_path(bus_state_->directory(), "test", server_)),
                                           platform::Access::write));
    rpc::ClientSlot& slot = file.client(5);
    slot.incarnation.store(bus_state_->directory().incarnation());
    slot.channel.store(0xabcdef);
    std::ofstream(rpc::server_path(bus_state_->directory(), "test", server_) + "/0000000000abcdef") << std::string(size, '\x7f');
    slot.state.store(static_cast<std::uint64_t>(rpc::SlotState::offered));
    file.doorbells().bits[0].fetch_or(1u << 5);
    platform::fence_full();
    rpc::wake(file.attention().sleeper, [this]() -> platform::Bells& { return *bus_state_->directory().bells(); });
    while (slot.state.load() != static_cast<std::uint64_t>(rpc::SlotState::refused)) std::this_thread::yield();
    expect_service();
    slot.state.store(static_cast<std::uint64_t>(rpc::SlotState::free));
  }
}

TEST_F(RpcHostileTest, AServersFileThatWasOverwritten) {
  const std::string file = rpc::server_file_path(rpc::server_path(bus_state_->directory(), "test", server_));
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(70).write("\xff\xff", 2);
  rpc::Client client = connect();
  const auto outcome = client.call("echo", kNull);
  EXPECT_TRUE(ends(outcome, Code::data_loss, {"server"}));
  EXPECT_EQ(outcome.error().cause(), Errc::corrupt);
}

}  // namespace
}  // namespace arus::test
