// Calls in flight: several at a time, taken in any order, given up, told to callbacks and coroutines; replies that are kept.
#include <coroutine>
#include <mutex>
#include <utility>

#include "unit/rpc_support.h"

namespace arus::test {
namespace {

using rpc::Code;

TEST_F(RpcTest, ManyInFlightComplete) {
  Serving serving(echoing(bus));
  rpc::Client client = connect();
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(client.call_async("echo", bytes(std::to_string(i))));
  EXPECT_EQ(client.statistics().in_flight + 0u, 100u);
  for (int i = 99; i >= 0; --i) EXPECT_EQ(text_of(calls[static_cast<std::size_t>(i)].get()), std::to_string(i));
}

TEST_F(RpcTest, RepliesOutOfOrderFindTheirCalls) {
  std::vector<std::pair<std::string, rpc::Responder>> kept;
  std::mutex mutex;
  rpc::Server server = must(bus.server("test"));
  must(server.method("keep", [&](const rpc::Incoming& request, rpc::Responder responder) {
    const std::lock_guard lock(mutex);
    kept.emplace_back(text(request.body()), std::move(responder));
  }));
  must(server.method("flush", [&](const rpc::Incoming&) {
    const std::lock_guard lock(mutex);
    for (auto i = kept.rbegin(); i != kept.rend(); ++i) must(i->second.finish(bytes(i->first)));
    kept.clear();
    return Bytes();
  }));
  Serving serving(std::move(server));
  rpc::Client client = connect();
  std::vector<rpc::Call> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(client.call_async("keep", bytes(std::to_string(i))));
  EXPECT_FALSE(calls[0].ready());
  must(client.call("flush", kNull));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(text_of(calls[static_cast<std::size_t>(i)].get()), std::to_string(i));
}

// Else a client that keeps calls in flight would wait for a further reply with each that it takes.
TEST_F(RpcTest, WhatIsThereIsTakenWithoutALookForMore) {
  bool heard = false;
  std::vector<rpc::Responder> kept;
  rpc::Server server = must(bus.server("test"));
  must(server.method("keep", [&](const rpc::Incoming&, rpc::Responder responder) { kept.push_back(std::move(responder)); }));
  must(server.start());
  rpc::Client client = connect();
  rpc::Call first = client.call_async("keep", kNull);
  client.call_async("keep", kNull).then([&](const rpc::Outcome<rpc::Reply>& outcome) { heard = outcome.has_value(); });
  for (int i = 0; i < 100 && kept.size() != 2; ++i) must(server.poll(100ms));
  ASSERT_EQ(kept.size(), 2u);
  must(kept[0].finish(bytes("first")));
  ASSERT_TRUE(first.wait(kSoon));
  must(kept[1].finish(bytes("second")));
  EXPECT_EQ(text_of(first.get()), "first");
  EXPECT_FALSE(heard);
  client.poll(1s);
  EXPECT_TRUE(heard);
}

// … and one that waits for an ended one looks at the others: what they do may be what it waits for.
TEST_F(RpcTest, WaitingForWhatIsThereLooksForMore) {
  bool heard = false;
  Serving serving(echoing(bus));
  rpc::Client client = connect();
  rpc::Call first = client.call_async("echo", bytes("first"));
  ASSERT_TRUE(first.wait(kSoon));
  client.call_async("echo", bytes("second")).then([&](const rpc::Outcome<rpc::Reply>& outcome) { heard = outcome.has_value(); });
  for (int i = 0; i < 10'000 && !heard; ++i) {
    EXPECT_TRUE(first.wait(1ms));
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_TRUE(heard);
}

// The slot of a call that was given up is free again when the server has answered it, though nobody waits for that.
TEST_F(RpcTest, CallsThatAreGivenUpDoNotUseUpTheSlots) {
  Serving serving(echoing(bus));
  rpc::Client client = connect({.max_in_flight = 2});
  int begun = 0;
  for (int i = 0; i < 10'000 && begun < 20; ++i) {
    rpc::Call call = client.call_async("echo", bytes("x"));
    call.cancel();
    const auto outcome = call.get();
    ASSERT_FALSE(outcome);
    if (outcome.error().code() == Code::cancelled)
      ++begun;
    else
      std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(begun, 20);
}

TEST_F(RpcTest, RepliesThatAreKeptStayIntact) {
  Serving serving(echoing(bus));
  rpc::Client client = connect({.ring_bytes = 64 << 10});
  std::vector<rpc::Reply> kept;
  for (int i = 0; i < 40; ++i) kept.push_back(must(client.call("echo", bytes("kept " + std::to_string(i)))));
  for (int i = 0; i < 400; ++i) must(client.call("echo", bytes(std::string(50, 'x'))));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(text(kept[static_cast<std::size_t>(i)].body()), "kept " + std::to_string(i));
}

TEST_F(RpcTest, AReplyOutlivesItsClient) {
  Serving serving(echoing(bus));
  std::optional<rpc::Reply> kept;
  {
    rpc::Client client = connect();
    kept = must(client.call("echo", bytes("still there")));
  }
  EXPECT_EQ(text(kept->body()), "still there");
}

TEST_F(RpcTest, ACallOutlivesItsClientAsCancelled) {
  Serving serving(echoing(bus));
  std::optional<rpc::Call> call;
  bool told = false;
  {
    rpc::Client client = connect();
    call.emplace(client.call_async("echo", bytes("x")));
    client.call_async("echo", bytes("y")).then([&](rpc::Outcome<rpc::Reply> outcome) { told = outcome || !outcome; });
  }
  EXPECT_TRUE(told);
  EXPECT_TRUE(ends(call->get(), Code::cancelled));
}

TEST_F(RpcTest, Callbacks) {
  Serving serving(echoing(bus));
  rpc::Client client = connect();
  std::string heard;
  for (const char* word : {"a", "b", "c"})
    client.call_async("echo", bytes(word)).then([&](rpc::Outcome<rpc::Reply> outcome) { heard += text_of(outcome); });
  client.call_async("no such", kNull).then([&](rpc::Outcome<rpc::Reply> outcome) { heard += text_of(outcome); });
  EXPECT_EQ(heard, "unimplemented");
  while (heard.size() < 16) client.poll(1s);
  EXPECT_EQ(heard, "unimplementedabc");
}

// The least that a coroutine needs.
struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Task ask_twice(rpc::Client& client, std::string& heard) {
  heard += text_of(co_await client.call_async("echo", bytes("first ")));
  heard += text_of(co_await client.call_async("echo", bytes("second")));
}

TEST_F(RpcTest, Coroutines) {
  Serving serving(echoing(bus));
  rpc::Client client = connect();
  std::string heard;
  ask_twice(client, heard);
  while (heard != "first second") client.poll(1s);
}

}  // namespace
}  // namespace arus::test
