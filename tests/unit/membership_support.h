// Members of a group, each with a bus of its own, for tests of what they share.
#pragma once

#include <algorithm>
#include <functional>
#include <set>

#include "unit/api_support.h"

namespace arus::test {

class ApiMembership : public ApiTest {
 protected:
  static ConsumerConfig config(std::string instance = {}) {
    return {.group = "g", .start = Start::earliest, .wait = Wait::sleeping(), .instance = std::move(instance)};
  }
  // With a bus, and so a life, of its own.
  Consumer member(const std::vector<std::string>& topics, const ConsumerConfig& with = config()) {
    Consumer consumer = must(must(Bus::open(path())).consumer(with));
    must(consumer.subscribe(topics));
    return consumer;
  }
  // A member in another process; it polls until it is told to go on, or dies.
  void member_elsewhere(const Child::Side& side, const std::vector<std::string>& topics, const ConsumerConfig& with = config()) {
    Consumer consumer = member(topics, with);
    while (consumer.assignment().empty()) must(consumer.poll(1ms));
    side.arrive_and_wait();
  }
  void send(std::uint32_t partition, const std::string& value, const std::string& topic = "t") {
    must(must(must(bus.topic(topic)).producer({.partition = partition})).send(bytes(value), {.partition = partition}));
  }
  // Polls them all in turn until it is so. What they are handed in the meantime is kept in `heard`.
  testing::AssertionResult until(const std::vector<Consumer*>& consumers, const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + kSoon;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return testing::AssertionFailure() << "not in time";
      for (Consumer* consumer : consumers)
        for (const Record& record : must(consumer->poll(1ms))) heard += std::string(text(record.value())) + ' ';
    }
    return testing::AssertionSuccess();
  }
  // "t:0 t:1"
  static std::string reads(const Consumer& consumer) {
    std::vector<std::string> all;
    for (const TopicPartition& one : consumer.assignment()) all.push_back(one.topic + ':' + std::to_string(one.partition));
    std::sort(all.begin(), all.end());
    std::string line;
    for (const std::string& one : all) line += (line.empty() ? "" : " ") + one;
    return line;
  }
  // Each partition is read by one of them, by as many each as it says.
  static bool shared(const std::vector<const Consumer*>& consumers, const std::vector<std::size_t>& counts) {
    std::multiset<std::string> all;
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      if (consumers[i]->assignment().size() != counts[i]) return false;
      for (const TopicPartition& one : consumers[i]->assignment()) all.insert(one.topic + ':' + std::to_string(one.partition));
    }
    const std::set<std::string> different(all.begin(), all.end());
    EXPECT_EQ(different.size(), all.size()) << "a partition that two read";
    return true;
  }
  std::string heard;
};

}  // namespace arus::test
