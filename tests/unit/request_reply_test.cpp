// Requests and replies over ordinary topics, between several processes.
#include <map>
#include <thread>

#include "unit/rpc_support.h"

namespace arus::test {
namespace {

using rpc::Code;
using rpc::Outcome;
using rpc::Status;

Outcome<std::string> answer_of(const Record& request) { return "re: " + std::string(text(request.value())); }
std::string value_of(const Outcome<OwnedRecord>& reply) {
  return reply ? reply->value.value_or("null") : std::string(rpc::to_string(reply.error().code()));
}

class RequestReply : public ApiTest {
 protected:
  void SetUp() override {
    create("ask", {.partitions = 2});
    create("tell");
  }
  Requester requester(RequesterConfig config = {}) { return must(Requester::open(bus, filled(std::move(config)))); }
  Replier replier(ReplierConfig config = {}) {
    if (config.requests.empty()) config.requests = "ask";
    return must(Replier::open(bus, config));
  }
  static RequesterConfig filled(RequesterConfig config) {
    if (config.requests.empty()) config.requests = "ask";
    if (config.replies.empty()) config.replies = "tell";
    if (config.timeout == RequesterConfig{}.timeout) config.timeout = kSoon;
    return config;
  }
  // Until so many requests were taken.
  static void serve(Replier& replier, std::size_t count, const Replier::Handler& handler = answer_of) {
    const auto limit = std::chrono::steady_clock::now() + kSoon;
    for (std::size_t served = 0; served < count; served += must(replier.serve(100ms, handler)))
      ASSERT_LT(std::chrono::steady_clock::now(), limit);
  }
  void send(const std::string& value, std::vector<Header> headers) {
    Producer producer = must(must(bus.topic("ask")).producer());
    must(producer.send(bytes(value), {.headers = headers}));
  }
};

// A process that answers until it is killed.
class Answering {
 public:
  Answering(const std::string& path, Replier::Handler handler)
      : child_([&](const Child::Side& side) {
          const Bus bus = must(Bus::open(path));
          Replier replier = must(Replier::open(bus, {.requests = "ask"}));
          side.arrive();
          must(replier.run({}, handler));
        }) {
    EXPECT_TRUE(child_.await());
  }
  void kill() { child_.kill(); }

 private:
  Child child_;
};

TEST_F(RequestReply, ThereAndBackBetweenTwoProcesses) {
  const Answering server(path(), answer_of);
  Requester client = requester();
  const auto reply = client.request(bytes("hello"), {.key = bytes("k")});
  ASSERT_TRUE(reply.has_value()) << value_of(reply);
  EXPECT_EQ(reply->value, "re: hello");
  EXPECT_EQ(reply->key, "k");
  EXPECT_EQ(client.statistics().sent, 1u);
  EXPECT_EQ(client.statistics().in_flight, 0u);
}

TEST_F(RequestReply, ManyInFlightFromSeveralProcessesToSeveralProcesses) {
  create("many", {.partition_bytes = 1 << 20});  // room for all replies at once: nobody reads while requests are sent
  const Answering one(path(), answer_of);
  const Answering two(path(), answer_of);
  const auto ask = [this](const std::string& name) {
    const Bus own = must(Bus::open(path()));
    Requester client = must(Requester::open(own, filled({.replies = "many"})));
    std::vector<Pending> pending;
    for (int i = 0; i < 300; ++i) pending.push_back(must(client.request_async(bytes(name + std::to_string(i)))));
    for (int i = 299; i >= 0; --i)  // out of order
      EXPECT_EQ(value_of(pending[static_cast<std::size_t>(i)].get()), "re: " + name + std::to_string(i));
    EXPECT_EQ(client.statistics().late_replies, 0u);
    EXPECT_EQ(client.statistics().lost_replies, 0u);
  };
  Child other([&](const Child::Side&) { ask("b"); });
  ask("a");
  EXPECT_EQ(other.join(), 0);
}

// Killed while it works: every request has exactly one outcome, and a second reply is dropped.
TEST_F(RequestReply, ADeadRepliersRequestsGoToItsSuccessor) {
  Requester client = requester();
  std::vector<Pending> pending;
  for (int i = 0; i < 50; ++i) pending.push_back(must(client.request_async(bytes(std::to_string(i)))));
  {
    Child first([this](const Child::Side& side) {
      const Bus own = must(Bus::open(path()));
      Replier replier = must(Replier::open(own, {.requests = "ask"}));
      int handled = 0;
      must(replier.run({}, [&](const Record& request) {
        if (++handled == 10) side.arrive_and_wait();
        return answer_of(request);
      }));
    });
    ASSERT_TRUE(first.await());
    first.kill();
  }
  const Answering second(path(), answer_of);
  std::map<std::string, int> outcomes;
  for (Pending& one : pending) ++outcomes[value_of(one.get())];
  EXPECT_EQ(outcomes.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(outcomes["re: " + std::to_string(i)], 1) << i;
  EXPECT_LE(client.statistics().late_replies, 1u);  // of the one it was at
}

TEST_F(RequestReply, StatusesComeBack) {
  const Answering server(path(), [](const Record& request) -> Outcome<std::string> {
    if (text(request.value()) == "throw") throw std::runtime_error("it hurts");
    return tl::unexpected<Status>(Status(Code::not_found, "no such thing"));
  });
  Requester client = requester();
  EXPECT_TRUE(ends(client.request(bytes("throw")), Code::internal, {"it hurts"}));
  EXPECT_TRUE(ends(client.request(bytes("x")), Code::not_found, {"no such thing"}));
}

TEST_F(RequestReply, NobodyAnswersBeforeTheDeadline) {
  Requester client = requester();
  EXPECT_TRUE(ends(client.request(bytes("x"), {.timeout = 20ms}), Code::deadline_exceeded, {"'ask'"}));
  EXPECT_TRUE(ends(client.request(bytes("x"), {.timeout = 0ns}), Code::deadline_exceeded, {"past"}));
  // Who comes later leaves it alone.
  Replier server = replier();
  serve(server, 1, [](const Record&) -> Outcome<std::string> {
    ADD_FAILURE() << "an expired request was handled";
    return std::string();
  });
  EXPECT_EQ(server.statistics().expired, 1u);
  EXPECT_EQ(server.statistics().answered, 0u);
}

TEST_F(RequestReply, LateRepliesAreDroppedAndCounted) {
  Requester client = requester();
  Replier server = replier();
  Pending late = must(client.request_async(bytes("late"), {.timeout = 300ms}));
  serve(server, 1, [&](const Record& request) {
    EXPECT_GT(time_left(request), 0ns);
    EXPECT_FALSE(late.wait(0ns));
    EXPECT_TRUE(late.wait(kSoon));
    EXPECT_EQ(time_left(request), 0ns);
    return answer_of(request);
  });
  EXPECT_EQ(client.poll(0ns), 0u);
  EXPECT_EQ(client.statistics().late_replies, 1u);
  EXPECT_TRUE(ends(late.get(), Code::deadline_exceeded));
  EXPECT_TRUE(ends(late.get(), Code::failed_precondition, {"taken"}));
}

TEST_F(RequestReply, DroppedRequestsWaitForNothing) {
  Requester client = requester();
  Replier server = replier();
  { const Pending dropped = must(client.request_async(bytes("x"))); }
  EXPECT_EQ(client.statistics().in_flight, 0u);
  serve(server, 1);
  EXPECT_EQ(client.poll(0ns), 0u);
  EXPECT_EQ(client.statistics().late_replies, 1u);
}

TEST_F(RequestReply, APendingMayOutliveItsRequester) {
  auto client = std::make_unique<Requester>(requester());
  Pending pending = must(client->request_async(bytes("x")));
  client.reset();
  EXPECT_TRUE(pending.ready());
  EXPECT_TRUE(ends(pending.get(), Code::cancelled));
}

TEST_F(RequestReply, TheLimitOfRequestsInFlight) {
  Requester client = requester({.max_in_flight = 2});
  Replier server = replier();
  Pending one = must(client.request_async(bytes("1")));
  const Pending two = must(client.request_async(bytes("2")));
  EXPECT_TRUE(ends(client.request(bytes("3")), Code::resource_exhausted, {"2 requests"}));
  serve(server, 2);
  EXPECT_EQ(value_of(one.get()), "re: 1");
  EXPECT_TRUE(must(client.request_async(bytes("4"))).wait(0ns) == false);
}

// What a topic has recorded can be sent again: the requests are handled once more, to whoever reads the replies.
TEST_F(RequestReply, RecordedAndReplayed) {
  Requester client = requester();
  Replier server = replier();
  Pending first = must(client.request_async(bytes("one"), {.key = bytes("k")}));
  serve(server, 1);
  EXPECT_EQ(value_of(first.get()), "re: one");

  create("again");
  Consumer recorded = observe("ask");
  Producer replay = must(must(bus.topic("again")).producer());
  const Batch batch = must(recorded.poll(kSoon));
  for (const Record& record : batch) {
    const std::vector<Header> headers(record.headers().begin(), record.headers().end());
    must(replay.send(record.value(), {.key = record.key(), .headers = headers}));
  }
  Replier other = replier({.requests = "again"});
  serve(other, 1, [](const Record&) -> Outcome<std::string> { return std::string("another answer"); });
  Consumer replies = observe("tell");
  EXPECT_EQ(now(replies), "re: one another answer");
  EXPECT_EQ(client.poll(0ns), 0u);
  EXPECT_EQ(client.statistics().late_replies, 1u);
}

TEST_F(RequestReply, TopicsThatAreNotThere) {
  EXPECT_TRUE(fails(Requester::open(bus, {.requests = "none", .replies = "tell"}), Errc::not_found, {"'none'"}));
  EXPECT_TRUE(fails(Requester::open(bus, {.requests = "ask", .replies = "none"}), Errc::not_found, {"'none'"}));
  EXPECT_TRUE(fails(Requester::open(bus, {.requests = "ask", .replies = "tell", .max_in_flight = 0}), Errc::invalid_argument));
  EXPECT_TRUE(fails(Replier::open(bus, {.requests = "none"}), Errc::not_found, {"'none'"}));
  EXPECT_TRUE(fails(Replier::open(bus, {.requests = "ask", .group = ""}), Errc::invalid_argument, {"group"}));
}

TEST_F(RequestReply, RequestsThatCannotBe) {
  Requester client = requester();
  const std::vector<Header> headers{{"status", bytes("0")}};
  EXPECT_TRUE(ends(client.request(bytes("x"), {.headers = headers}), Code::invalid_argument, {"'status'"}));
  const std::string large(64 << 10, 'x');
  EXPECT_TRUE(ends(client.request(bytes(large)), Code::out_of_range));
  EXPECT_EQ(client.statistics().sent, 0u);
}

TEST_F(RequestReply, ReplyTooLargeForItsTopic) {
  const Answering server(path(), [](const Record&) -> Outcome<std::string> { return std::string(64 << 10, 'x'); });
  Requester client = requester();
  EXPECT_TRUE(ends(client.request(bytes("x")), Code::failed_precondition, {"does not fit"}));
}

TEST_F(RequestReply, WhatNobodyCouldAnswer) {
  Replier server = replier();
  send("plain", {});
  send("no id", {{"reply_to", bytes("tell")}});
  send("no topic", {{"correlation_id", bytes("1")}});
  send("unknown topic", {{"reply_to", bytes("nowhere")}, {"correlation_id", bytes("1")}});
  send("impossible topic", {{"reply_to", bytes("../../etc/passwd")}, {"correlation_id", bytes("1")}});
  send("null topic", {{"reply_to", kNull}, {"correlation_id", bytes("1")}});
  const std::string long_id(129, 'x');
  send("long id", {{"reply_to", bytes("tell")}, {"correlation_id", bytes(long_id)}});
  serve(server, 7, [](const Record& request) -> Outcome<std::string> {
    ADD_FAILURE() << text(request.value());
    return std::string();
  });
  EXPECT_EQ(server.statistics().unanswerable, 7u);
  // And goes on with the others.
  Requester client = requester();
  Pending pending = must(client.request_async(bytes("x")));
  serve(server, 1);
  EXPECT_EQ(value_of(pending.get()), "re: x");
}

TEST_F(RequestReply, ATimeoutThatIsNoNumber) {
  Replier server = replier();
  send("x", {{"reply_to", bytes("tell")}, {"correlation_id", bytes("1")}, {"timeout_ns", bytes("soon")}});
  serve(server, 1);
  Consumer replies = observe("tell");
  const Batch batch = must(replies.poll(kSoon));
  ASSERT_EQ(batch.size(), 1u);
  EXPECT_EQ(text(batch[0].headers().find("status").value()), "3");
  EXPECT_EQ(text(batch[0].headers().find("correlation_id").value()), "1");
}

TEST_F(RequestReply, RepliesOnlyWhereItMay) {
  create("private");
  Replier server = replier({.reply_topics = {"tell"}});
  Requester thief = requester({.replies = "private", .timeout = 10s});
  Requester client = requester();
  const Pending refused = must(thief.request_async(bytes("x")));
  Pending pending = must(client.request_async(bytes("y")));
  serve(server, 2);
  EXPECT_EQ(value_of(pending.get()), "re: y");
  EXPECT_EQ(server.statistics().unanswerable, 1u);
}

// Replies that a requester does not understand, or that are not its own.
TEST_F(RequestReply, ForeignReplies) {
  Requester client = requester();
  Pending pending = must(client.request_async(bytes("x")));
  Consumer requests = observe("ask");
  const Batch batch = must(requests.poll(kSoon));
  ASSERT_EQ(batch.size(), 1u);
  const std::string id(text(batch[0].headers().find("correlation_id").value()));
  Producer producer = must(must(bus.topic("tell")).producer());
  const auto reply = [&](const std::string& to, std::string_view status) {
    const std::vector<Header> headers{{"correlation_id", bytes(to)}, {"status", bytes(status)}};
    must(producer.send(bytes("?"), {.headers = headers}));
  };
  must(producer.send(bytes("without headers")));
  reply("somebody else's", "0");
  reply(id.substr(0, 17), "0");
  reply(id + "0", "0");
  reply(id, "99");
  reply(id, "0");
  EXPECT_TRUE(ends(pending.get(), Code::unknown));
  EXPECT_EQ(client.poll(0ns), 0u);
  EXPECT_EQ(client.statistics().late_replies, 3u);
}

TEST_F(RequestReply, ADeletedTopicEndsWhatWaitsForIt) {
  Requester client = requester();
  Pending pending = must(client.request_async(bytes("x")));
  must(bus.remove("tell"));
  EXPECT_TRUE(ends(pending.get(), Code::unavailable));
  Replier server = replier();
  serve(server, 1);
  EXPECT_EQ(server.statistics().unanswerable, 1u);
  must(bus.remove("ask"));
  EXPECT_TRUE(fails(server.serve(kSoon, answer_of), Errc::deleted, {"'ask'"}));
}

// A topic of replies that is removed and made anew while a replier has it open.
TEST_F(RequestReply, ATopicOfRepliesThatIsMadeAnew) {
  Replier server = replier();
  {
    Requester client = requester();
    Pending pending = must(client.request_async(bytes("x")));
    serve(server, 1);
    EXPECT_EQ(value_of(pending.get()), "re: x");
  }
  must(bus.remove("tell"));
  create("tell");
  Requester client = requester();
  Pending pending = must(client.request_async(bytes("y")));
  serve(server, 1);
  EXPECT_EQ(value_of(pending.get()), "re: y");
  EXPECT_EQ(server.statistics().undelivered, 0u);
}

// A reader that holds the replies' ring: the replier does not wait for ever, and says so.
TEST_F(RequestReply, AFullTopicOfReplies) {
  Consumer slow = join("tell", "slow");
  Replier server = replier({.reply_timeout = 20ms});
  Requester client = requester();
  std::vector<Pending> pending;
  for (int i = 0; i < 5; ++i) pending.push_back(must(client.request_async(bytes("x"))));
  serve(server, 5, [](const Record&) -> Outcome<std::string> { return std::string(20 << 10, 'x'); });
  EXPECT_GE(server.statistics().undelivered, 1u);
  EXPECT_EQ(server.statistics().answered + server.statistics().undelivered, 5u);
}

TEST_F(RequestReply, StopsWhenAsked) {
  Replier server = replier();
  std::jthread thread([&](const std::stop_token& stop) { EXPECT_TRUE(good(server.run(stop, answer_of))); });
  Requester client = requester();
  EXPECT_EQ(value_of(client.request(bytes("x"))), "re: x");
  thread.request_stop();
  thread.join();
}

TEST_F(RequestReply, InAForkedChild) {
  Requester client = requester();
  Replier server = replier();
  Pending pending = must(client.request_async(bytes("x")));
  EXPECT_EQ(in_child([&] {
              const auto outcome = client.request(bytes("y"));
              EXPECT_TRUE(ends(outcome, Code::failed_precondition));
              EXPECT_EQ(outcome.error().cause(), Errc::forked);
              EXPECT_TRUE(ends(pending.get(), Code::failed_precondition));
              EXPECT_TRUE(fails(server.serve(0ns, answer_of), Errc::forked));
            }),
            0);
  serve(server, 1);
  EXPECT_EQ(value_of(pending.get()), "re: x");
}

}  // namespace
}  // namespace arus::test
