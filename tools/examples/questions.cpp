#include <arus/arus.h>

#include <iostream>
#include <string>
#include <thread>

int main() {
  auto bus = arus::Bus::open().value();
  bus.open_or_create("questions").value();
  bus.open_or_create("answers").value();

  // The other side, elsewhere as a rule. Several of one group share the questions.
  const std::jthread other([bus](std::stop_token stop) {
    auto replier = arus::Replier::open(bus, {.requests = "questions"}).value();
    const auto reply = [](const arus::Record& question) -> arus::rpc::Outcome<std::string> {
      return std::to_string(arus::text(question.value()).size());
    };
    replier.run(stop, reply).value();
  });

  auto requester = arus::Requester::open(bus, {.requests = "questions", .replies = "answers"}).value();
  const auto answer = requester.request(arus::bytes("how long am I?"));
  std::cout << answer.value().value.value() << std::endl;
}
