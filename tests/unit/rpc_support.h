// A bus of one's own with a server on another thread or in another process, for tests of calls.
#pragma once

#include <atomic>
#include <thread>

#include "unit/api_support.h"

namespace arus::test {

// The value; a status ends the test with its message.
template <class T>
T must(tl::expected<T, rpc::Status> outcome) {
  if (!outcome)
    throw std::runtime_error(std::string(rpc::to_string(outcome.error().code())) + ": " + std::string(outcome.error().message()));
  return std::move(*outcome);
}

// EXPECT_TRUE(ends(client.call("x", …), rpc::Code::unimplemented, {"'x'"})): the code, and words that the message contains.
template <class T>
testing::AssertionResult ends(const tl::expected<T, rpc::Status>& outcome, rpc::Code code,
                              std::initializer_list<std::string_view> words = {}) {
  if (outcome) return testing::AssertionFailure() << "a reply, expected " << rpc::to_string(code);
  const rpc::Status& status = outcome.error();
  if (status.code() != code)
    return testing::AssertionFailure() << rpc::to_string(status.code()) << " (" << status.message() << "), expected "
                                       << rpc::to_string(code);
  for (const std::string_view word : words)
    if (status.message().find(word) == std::string_view::npos)
      return testing::AssertionFailure() << "the message '" << status.message() << "' does not say '" << word << "'";
  return testing::AssertionSuccess() << "it is " << rpc::to_string(code) << ": " << status.message();
}

// A server whose method "echo" answers with the request.
inline const auto echo = [](const rpc::Incoming& request) { return request.body(); };

inline rpc::Server echoing(Bus& bus, const rpc::ServerConfig& config = {}) {
  rpc::Server server = must(bus.server("test", config));
  must(server.method("echo", echo));
  return server;
}

// A server that runs on a thread of its own until the end of the test.
class Serving {
 public:
  explicit Serving(rpc::Server made) : server(std::move(made)) {
    must(server.start());
    thread_ = std::jthread([this](const std::stop_token& stop) { ended_ = server.run(stop); });
  }
  // Stops and drains.
  Result<void> end() {
    thread_.request_stop();
    thread_.join();
    return ended_;
  }

  rpc::Server server;

 private:
  Result<void> ended_{};
  std::jthread thread_;
};

class RpcTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return directory_ / "bus"; }
  rpc::Client connect(rpc::ClientConfig config = {}, std::string_view service = "test") {
    if (config.timeout == rpc::ClientConfig{}.timeout) config.timeout = kSoon;
    return must(bus.client(service, config));
  }

  Directory directory_;
  Bus bus = must(Bus::create({.directory = path()}));
};

inline std::string text_of(const rpc::Outcome<rpc::Reply>& outcome) {
  return outcome ? std::string(text(outcome->body())) : std::string(rpc::to_string(outcome.error().code()));
}

}  // namespace arus::test
