// Calls as a user makes them: blocking, asynchronous, typed, loaned, streamed, deferred, over several servers and processes.
#include "unit/rpc_support.h"

namespace arus::test {
namespace {

using rpc::Code;

auto echo = [](const rpc::Incoming& request) { return request.body(); };

TEST_F(RpcTest, EchoInAnotherProcess) {
  const std::string where = path();
  Child child([&](const Child::Side& side) {
    Bus own = must(Bus::open(where));
    rpc::Server server = must(own.server("test"));
    must(server.method("echo", echo));
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
}

}  // namespace
}  // namespace arus::test
