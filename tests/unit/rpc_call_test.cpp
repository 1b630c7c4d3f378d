// Calls as a user makes them: blocking, typed, loaned, streamed, deferred, over several servers and processes. (In flight: rpc_async_test.cpp)
#include <condition_variable>
#include <mutex>

#include "unit/rpc_support.h"

namespace arus::test {
namespace {

using rpc::Code;

TEST_F(RpcTest, EchoInAnotherProcess) {
  const std::string where = path();
  Child child([&](const Child::Side& side) {
    Bus own = must(Bus::open(where));
    rpc::Server server = echoing(own);
    must(server.start());
    side.arrive();
    must(server.run());
  });
  ASSERT_TRUE(child.await());
  rpc::Client client = connect();
  for (int i = 0; i < 1000; ++i) {
    const std::string word = "word " + std::to_string(i);
    EXPECT_EQ(text_of(client.call("echo", bytes(word))), word);
  }
  EXPECT_EQ(client.statistics().in_flight, 0u);
  EXPECT_EQ(client.statistics().calls, 1000u);
}

TEST_F(RpcTest, EveryWayOfWaitingGetsItsReply) {
  for (const Wait wait : {Wait::spinning(), Wait{}, Wait::sleeping()}) {
    Serving serving(echoing(bus, {.wait = wait}));
    rpc::Client client = connect({.wait = wait});
    for (int i = 0; i < 200; ++i) EXPECT_EQ(text_of(client.call("echo", bytes("x"))), "x");
  }
}

TEST_F(RpcTest, BodiesOfAllSizesThroughManyLapsOfTheRing) {
  Serving serving(echoing(bus));
  rpc::Client client = connect({.ring_bytes = 64 << 10});
  std::string body;
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::size_t size = i % 50 == 0 ? client.max_request_bytes() : i * 37 % 3000;
    body.assign(size, static_cast<char>('a' + i % 26));
    const auto reply = client.call("echo", bytes(body));
    ASSERT_TRUE(reply) << reply.error().message();
    ASSERT_EQ(text(reply->body()), body) << "call " << i;
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(reply->body().data()) % 16, 0u);
  }
}

// What lies in the ring as payload must not pass for a record, whatever it is: here it is records of the very ring.
TEST_F(RpcTest, PayloadThatLooksLikeRecordsIsPayload) {
  Serving serving(echoing(bus));
  rpc::Client client = connect({.ring_bytes = 64 << 10});
  std::vector<std::byte> body(4096);
  for (std::size_t i = 0; i < 200; ++i) {
    const auto reply = client.call("echo", Bytes(body));
    ASSERT_TRUE(reply) << reply.error().message();
    ASSERT_TRUE(std::equal(body.begin(), body.end(), reply->body().begin()));
    // The cache lines before the reply's body are its header and what came before it.
    const std::byte* before = reply->body().data() - 64;
    for (std::size_t at = 0; at < body.size(); at += 64) std::memcpy(&body[at], before, 64);
  }
}

struct Query {
  std::uint32_t sensor;
  std::uint32_t unused;
};
struct Reading {
  double celsius;
  std::uint64_t number;
};

TEST_F(RpcTest, TypedCalls) {
  rpc::Server server = must(bus.server("test"));
  must(server.method<Query, Reading>("latest", [](const Query& query) { return Reading{query.sensor / 2.0, query.sensor}; }));
  must(server.method<Query, Reading>("checked", [](const Query& query, const rpc::Incoming& request) -> rpc::Outcome<Reading> {
    if (query.sensor > 10) return tl::unexpected(rpc::Status(Code::not_found, "no sensor of that number"));
    EXPECT_EQ(request.method(), "checked");
    EXPECT_GT(request.time_left(), 0ns);
    return Reading{1.5, 7};
  }));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  EXPECT_EQ(must(client.call<Reading>("latest", Query{43, 0})).celsius, 21.5);
  EXPECT_EQ(must(client.call<Reading>("checked", Query{4, 0})).number, 7u);
  EXPECT_TRUE(ends(client.call<Reading>("checked", Query{11, 0}), Code::not_found, {"no sensor of that number"}));
}

TEST_F(RpcTest, ARequestIsBuiltInTheRing) {
  Serving serving(echoing(bus));
  rpc::Client client = connect();
  auto request = must(client.loan("echo", sizeof(Reading)));
  EXPECT_TRUE(ends(client.call("echo", kNull), Code::failed_precondition, {"being built"}));
  request.as<Reading>() = {20.5, 3};
  rpc::Call call = request.send();
  EXPECT_EQ(must(call.get()).as<Reading>()->celsius, 20.5);
  {
    auto dropped = must(client.loan("echo", 100));
    std::memset(dropped.data().data(), 0xff, 100);
  }
  EXPECT_EQ(text_of(client.call("echo", bytes("after"))), "after");
  EXPECT_EQ(client.statistics().in_flight, 0u);
}

TEST_F(RpcTest, DeferredRepliesFromAnotherThread) {
  std::vector<std::jthread> threads;
  rpc::Server server = must(bus.server("test"));
  must(server.method("later", [&](const rpc::Incoming& request, rpc::Responder responder) {
    threads.emplace_back([body = std::string(text(request.body())), responder = std::move(responder)]() mutable {
      std::this_thread::sleep_for(1ms);
      must(responder.finish(bytes(body)));
    });
  }));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(client.call_async("later", bytes(std::to_string(i))));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(text_of(calls[static_cast<std::size_t>(i)].get()), std::to_string(i));
  must(serving.end());
}

TEST_F(RpcTest, WorkersRunHandlersSideBySide) {
  std::mutex mutex;
  std::condition_variable both;
  int inside = 0;
  rpc::Server server = must(bus.server("test", {.workers = 2}));
  must(server.method("meet", [&](const rpc::Incoming& request) {
    std::unique_lock lock(mutex);
    ++inside;
    both.notify_all();
    EXPECT_TRUE(both.wait_for(lock, kSoon, [&] { return inside >= 2; }));
    return std::string(text(request.body()));
  }));
  must(server.method("echo", echo));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  rpc::Call one = client.call_async("meet", bytes("one"));
  rpc::Call two = client.call_async("meet", bytes("two"));
  EXPECT_EQ(text_of(one.get()), "one");
  EXPECT_EQ(text_of(two.get()), "two");
  for (int i = 0; i < 500; ++i) EXPECT_EQ(text_of(client.call("echo", bytes(std::to_string(i)))), std::to_string(i));
  const auto statistics = serving.server.statistics();
  EXPECT_EQ(statistics.outstanding, 0u);
}

// ---- streams --------------------------------------------------------------------------------------------------------------------

rpc::Server counting(Bus& bus, const rpc::ServerConfig& config = {}) {
  rpc::Server server = echoing(bus, config);
  must(server.method("count",
                     [](const rpc::Incoming& request, rpc::Responder responder) {
                       const std::uint64_t upto = *request.as<std::uint64_t>();
                       for (std::uint64_t i = 0; i < upto; ++i)
                         if (!responder.write(bytes_of(i))) return;
                       static_cast<void>(responder.finish());
                     },
                     {.streaming = true}));
  return server;
}

TEST_F(RpcTest, AStreamComesInOrderAndEnds) {
  for (const std::uint32_t workers : {0u, 2u}) {
    Serving serving(counting(bus, {.workers = workers, .reply_patience = kSoon}));
    rpc::Client client = connect({.ring_bytes = 64 << 10});
    for (const std::uint64_t upto : {0ull, 1ull, 20'000ull}) {
      rpc::Stream stream = client.stream("count", bytes_of(upto));
      std::uint64_t next = 0;
      for (;;) {
        auto reply = must(stream.next());
        if (!reply) break;
        ASSERT_EQ(reply->as<std::uint64_t>(), next++);
      }
      EXPECT_EQ(next, upto);
      EXPECT_FALSE(must(stream.next()));
    }
    EXPECT_EQ(client.statistics().in_flight, 0u);
  }
}

TEST_F(RpcTest, AStreamThatIsNotReadLeavesRoomForOtherCalls) {
  Serving serving(counting(bus, {.workers = 2, .reply_patience = kSoon}));
  rpc::Client client = connect({.ring_bytes = 64 << 10});
  const std::uint64_t upto = 5000;
  rpc::Stream stream = client.stream("count", bytes_of(upto));
  EXPECT_TRUE(stream.wait(kSoon));
  const std::string kilobyte(1000, 'x');
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(text_of(client.call("echo", bytes(kilobyte))) == kilobyte) << "call " << i;
  std::uint64_t next = 0;
  while (auto reply = must(stream.next())) ASSERT_EQ(reply->as<std::uint64_t>(), next++);
  EXPECT_EQ(next, upto);
}

TEST_F(RpcTest, AStreamThatNobodyReadsEndsWithResourceExhausted) {
  std::atomic<bool> told{false};
  rpc::Server server = echoing(bus, {.workers = 1, .reply_patience = 5ms});
  must(server.method("endless",
                     [&](const rpc::Incoming&, rpc::Responder responder) {
                       for (;;)
                         if (const auto written = responder.write(bytes("again")); !written) {
                           told = written.error().code() == Code::resource_exhausted;
                           return;
                         }
                     },
                     {.streaming = true}));
  Serving serving(std::move(server));
  rpc::Client client = connect({.ring_bytes = 64 << 10});
  rpc::Stream stream = client.stream("endless", kNull);
  while (!told) std::this_thread::sleep_for(1ms);
  rpc::Client another = connect();
  EXPECT_EQ(text_of(another.call("echo", bytes("served"))), "served");
  for (;;) {
    auto reply = stream.next();
    if (reply) {
      ASSERT_TRUE(*reply) << "a stream that was cut short must not look like one that ended";
      continue;
    }
    EXPECT_TRUE(ends(reply, Code::resource_exhausted));
    break;
  }
}

TEST_F(RpcTest, AStreamThatIsDroppedIsCancelledAtTheServer) {
  std::atomic<bool> cancelled{false};
  rpc::Server server = echoing(bus, {.workers = 1, .reply_patience = kSoon});
  must(server.method("endless",
                     [&](const rpc::Incoming&, rpc::Responder responder) {
                       for (;;)
                         if (const auto written = responder.write(bytes("again")); !written) {
                           cancelled = written.error().code() == Code::cancelled;
                           return;
                         }
                     },
                     {.streaming = true}));
  Serving serving(std::move(server));
  rpc::Client client = connect({.ring_bytes = 64 << 10});
  {
    rpc::Stream stream = client.stream("endless", kNull);
    EXPECT_TRUE(must(stream.next()));
  }
  EXPECT_EQ(text_of(client.call("echo", bytes("x"))), "x");
  while (!cancelled) client.poll(1ms);
  while (client.statistics().in_flight != 0) client.poll(1ms);
  EXPECT_GT(client.statistics().late_replies, 0u);
}

// ---- several servers ------------------------------------------------------------------------------------------------------------

TEST_F(RpcTest, CallsGoToTheServerWithTheFewestOutstanding) {
  std::mutex mutex;
  std::vector<rpc::Responder> held;
  const auto made = [&](const std::string& name) {
    rpc::Server server = must(bus.server("test"));
    must(server.method("name", [name](const rpc::Incoming&) { return name; }));
    must(server.method("hold", [&](const rpc::Incoming&, rpc::Responder responder) {
      const std::lock_guard lock(mutex);
      held.push_back(std::move(responder));
    }));
    return server;
  };
  Serving one(made("one"));
  Serving two(made("two"));
  rpc::Client client = connect();
  EXPECT_EQ(client.statistics().servers, 2u);
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 10; ++i) {
    calls.push_back(client.call_async("hold", kNull));
    while (one.server.statistics().outstanding + two.server.statistics().outstanding <= static_cast<std::uint32_t>(i))
      std::this_thread::yield();
  }
  EXPECT_EQ(one.server.statistics().outstanding, 5u);
  EXPECT_EQ(two.server.statistics().outstanding, 5u);
  // With nothing outstanding both get some.
  for (std::size_t finished = 0; finished < calls.size();) {  // the last handler may not have kept its call yet
    const std::lock_guard lock(mutex);
    for (rpc::Responder& responder : held) must(responder.finish());
    finished += held.size();
    held.clear();
  }
  for (rpc::Call& call : calls) must(call.get());
  int first = 0;
  for (int i = 0; i < 100; ++i) first += text_of(client.call("name", kNull)) == "one" ? 1 : 0;
  EXPECT_GT(first, 0);
  EXPECT_LT(first, 100);
}

TEST_F(RpcTest, AServerThatStopsHandsItsCallsOver) {
  Serving one(echoing(bus));
  std::optional<Serving> two(std::in_place, echoing(bus));
  rpc::Client client = connect();
  ASSERT_EQ(client.statistics().servers, 2u);
  std::atomic<bool> go_on{true};
  std::jthread stopper([&] {
    std::this_thread::sleep_for(5ms);
    must(two->end());
    go_on = false;
  });
  int calls = 0;
  for (; go_on; ++calls) ASSERT_EQ(text_of(client.call("echo", bytes("x"))), "x") << "call " << calls;
  for (int i = 0; i < 10; ++i) ASSERT_EQ(text_of(client.call("echo", bytes("x"))), "x");
  EXPECT_EQ(client.statistics().servers, 1u);
}

TEST_F(RpcTest, DrainingLetsOutstandingCallsEnd) {
  std::atomic<bool> begun{false};
  std::atomic<bool> finish{false};
  rpc::Server server = must(bus.server("test", {.workers = 1}));
  must(server.method("slow", [&](const rpc::Incoming&) {
    begun = true;
    while (!finish) std::this_thread::sleep_for(1ms);
    return std::string("done");
  }));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  rpc::Call slow = client.call_async("slow", kNull);
  while (!begun) client.poll(1ms);
  std::jthread stopper([&] { must(serving.end()); });
  // Refused, from some moment on, while the other one is still running.
  for (;;) {
    auto refused = client.call("slow", kNull, {.timeout = 5ms});
    ASSERT_FALSE(refused);
    if (refused.error().code() == Code::unavailable) break;
    ASSERT_TRUE(ends(refused, Code::deadline_exceeded));
  }
  finish = true;
  EXPECT_EQ(text_of(slow.get()), "done");
}

TEST_F(RpcTest, AServerThatIsDroppedEndsItsCalls) {
  std::mutex mutex;
  std::vector<rpc::Responder> held;
  std::optional<rpc::Server> server = must(bus.server("test"));
  must(server->method("hold", [&](const rpc::Incoming&, rpc::Responder responder) {
    const std::lock_guard lock(mutex);
    held.push_back(std::move(responder));
  }));
  must(server->start());
  rpc::Client client = connect();
  rpc::Call held_call = client.call_async("hold", kNull);
  while (must(server->poll(1ms)) == 0) {
  }
  rpc::Call never_taken = client.call_async("hold", kNull);
  server.reset();
  EXPECT_TRUE(ends(held_call.get(), Code::unavailable));
  EXPECT_TRUE(ends(never_taken.get(), Code::unavailable));
  EXPECT_TRUE(ends(held[0].finish(), Code::cancelled));
  EXPECT_TRUE(ends(client.call("hold", kNull), Code::unavailable, {"no server of service 'test' is alive"}));
  Serving another(echoing(bus));
  EXPECT_EQ(text_of(client.call("echo", bytes("back"))), "back");
}

TEST_F(RpcTest, ManyClientsOfOneServer) {
  Serving serving(echoing(bus));
  std::vector<rpc::Client> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(connect({.max_in_flight = 16, .ring_bytes = 64 << 10}));
  for (int round = 0; round < 20; ++round) {
    std::vector<rpc::Call> calls;
    for (rpc::Client& client : clients)
      for (int i = 0; i < 5; ++i) calls.push_back(client.call_async("echo", bytes(std::to_string(calls.size()))));
    for (std::size_t i = 0; i < calls.size(); ++i) ASSERT_EQ(text_of(calls[i].get()), std::to_string(i));
  }
  clients.clear();
  while (serving.server.statistics().clients != 0) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(text_of(connect().call("echo", bytes("x"))), "x");
}

// ---- what can be seen -----------------------------------------------------------------------------------------------------------

TEST_F(RpcTest, ServicesCanBeListedAndDescribed) {
  EXPECT_TRUE(must(bus.services()).empty());
  EXPECT_TRUE(fails(bus.service("test"), Errc::not_found, {"'test'"}));
  rpc::Server server = echoing(bus, {.max_outstanding = 7});
  must(server.method<Query, Reading>("latest", [](const Query&) { return Reading{}; }, {.idempotent = true}));
  must(server.method("bad", [](const rpc::Incoming&) -> Bytes { throw std::runtime_error("no"); }));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  for (int i = 0; i < 10; ++i) must(client.call("echo", kNull));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ends(client.call("bad", kNull), Code::internal));
  EXPECT_EQ(must(bus.services()), std::vector<std::string>{"test"});
  must(serving.end());  // the last count comes after the last reply
  Serving again(echoing(bus));
  const rpc::ServiceInfo info = must(bus.service("test"));
  ASSERT_EQ(info.servers.size(), 1u);
  EXPECT_TRUE(info.servers[0].alive);
  EXPECT_NE(info.servers[0].process.find("pid "), std::string::npos);
}

TEST_F(RpcTest, EndedCallsAreCounted) {
  rpc::Server server = echoing(bus, {.max_outstanding = 7});
  must(server.method<Query, Reading>("latest", [](const Query&) { return Reading{}; }, {.idempotent = true}));
  must(server.method("bad", [](const rpc::Incoming&) -> Bytes { throw std::runtime_error("no"); }));
  must(server.start());
  rpc::Client client = connect();
  const auto call = [&](const char* method) {
    rpc::Call one = client.call_async(method, kNull);
    while (must(server.poll(1ms)) == 0) {
    }
    return one.get();
  };
  for (int i = 0; i < 10; ++i) must(call("echo"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ends(call("bad"), Code::internal));
  const rpc::ServerInfo one = must(bus.service("test")).servers.at(0);
  EXPECT_EQ(one.max_outstanding, 7u);
  EXPECT_EQ(one.clients, 1u);
  EXPECT_EQ(one.outstanding, 0u);
  ASSERT_EQ(one.methods.size(), 3u);
  EXPECT_EQ(one.methods[0].ended[0], 10u);
  EXPECT_GT(one.methods[0].p50, 0ns);
  EXPECT_GE(one.methods[0].p99, one.methods[0].p50);
  EXPECT_EQ(one.methods[1].name, "latest");
  EXPECT_EQ(one.methods[1].request_size, sizeof(Query));
  EXPECT_EQ(one.methods[1].reply_size, sizeof(Reading));
  EXPECT_TRUE(one.methods[1].idempotent);
  EXPECT_EQ(one.methods[2].ended[static_cast<std::size_t>(Code::internal)], 3u);
  EXPECT_EQ(server.statistics().calls, 13u);
}

TEST_F(RpcTest, TimesOfCallsCountTheirHandlers) {
  rpc::Server server = must(bus.server("test"));
  must(server.method("slow", [](const rpc::Incoming& request) {
    std::this_thread::sleep_for(3ms);
    return request.body();
  }));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  for (int i = 0; i < 3; ++i) must(client.call("slow", kNull));
  rpc::MethodInfo slow;
  do {  // the last count comes after the last reply
    slow = must(bus.service("test")).servers.at(0).methods.at(0);
  } while (slow.ended[0] < 3);
  EXPECT_GE(slow.p50, 3ms);  // an upper bound of what it was: that cannot be less than the sleep
}

TEST_F(RpcTest, NothingIsLeftBehind) {
  {
    Serving serving(echoing(bus));
    rpc::Client client = connect();
    must(client.call("echo", kNull));
    must(serving.end());
  }
  EXPECT_TRUE(std::filesystem::is_empty(path() + "/services/test"));
  EXPECT_TRUE(std::filesystem::is_empty(path() + "/tmp"));
}

}  // namespace
}  // namespace arus::test
