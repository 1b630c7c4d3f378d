// A group's state as bytes: laid out exactly, and refused when it is anything else; and who shares what with whom.
#include "group/group_state.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "group/assignor.h"
#include "log/checksum.h"
#include "support.h"

namespace arus::test {
namespace {

using group::GroupState;
using group::Member;
using group::Target;

GroupState example() {
  GroupState state;
  state.generation = 7;
  state.name = "alerts";
  state.policy = {.delivery = Delivery::lossy,
                  .assignor = Assignor::range,
                  .records_behind = 1,
                  .bytes_behind = 2,
                  .stall_ns = 3,
                  .grace_ns = 4,
                  .kept_ns = 5};
  state.empty_since = 6;
  state.members = {{.id = 0x11, .incarnation = 0x22, .instance = "one", .away_since = 9, .topics = {"a", "bc"}},
                   {.id = 0x33, .incarnation = 0x44, .instance = "", .away_since = 0, .topics = {}}};
  state.targets = {{.topic = "a", .topic_id = {0x55, 0x66}, .members = {0x11, 0}}};
  return state;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}
// With a checksum that fits.
std::string sealed(std::string_view body) {
  const std::uint64_t sum = log::checksum(body.data(), body.size());
  const auto size = static_cast<std::uint32_t>(24 + body.size());
  const std::uint32_t version = 1;
  std::string all = "ARUSGRP:";
  all.append(reinterpret_cast<const char*>(&version), 4);
  all.append(reinterpret_cast<const char*>(&size), 4);
  all.append(reinterpret_cast<const char*>(&sum), 8);
  return all + std::string(body);
}

TEST(GroupState, IsLaidOutExactly) {
  const std::string bytes = group::encode(example());
  const std::string body =
      "0700000000000000"  // generation
      "06000000"
      "616c65727473"  // name
      "01"
      "00"  // lossy, range
      "0100000000000000"
      "0200000000000000"  // limits
      "0300000000000000"
      "0400000000000000"
      "0500000000000000"
      "0600000000000000"  // empty since
      "02000000"          // members
      "1100000000000000"
      "2200000000000000"
      "03000000"
      "6f6e65"
      "0900000000000000"
      "02000000"
      "01000000"
      "61"
      "02000000"
      "6263"
      "3300000000000000"
      "4400000000000000"
      "00000000"
      "0000000000000000"
      "00000000"
      "01000000"  // targets
      "01000000"
      "61"
      "5500000000000000"
      "6600000000000000"
      "02000000"
      "1100000000000000"
      "0000000000000000";
  EXPECT_EQ(hex(bytes.substr(24)), body);
  EXPECT_EQ(hex(bytes.substr(0, 12)), hex("ARUSGRP:") + "01000000");
  EXPECT_EQ(bytes, sealed(bytes.substr(24)));
}

TEST(GroupState, ComesBackAsItWas) {
  const std::string bytes = group::encode(example());
  const GroupState state = must(group::decode(bytes, "x"));
  EXPECT_EQ(group::encode(state), bytes);
  EXPECT_EQ(state.name, "alerts");
  EXPECT_EQ(state.members[0].topics, (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(state.member(0x33)->incarnation, 0x44u);
  EXPECT_EQ(state.member(0x34), nullptr);
  EXPECT_EQ(state.target("a")->members, (std::vector<std::uint64_t>{0x11, 0}));
  EXPECT_EQ(state.target("b"), nullptr);
  EXPECT_EQ(state.policy.difference(example().policy), "");
}

TEST(GroupState, EveryTruncationIsCorrupt) {
  const std::string bytes = group::encode(example());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(fails(group::decode(std::span(bytes.data(), size), "file-x"), Errc::corrupt, {"file-x", "truncated"})) << size;
  // Also where the checksum fits what is left.
  const std::string body = bytes.substr(24);
  for (std::size_t size = 0; size < body.size(); ++size)
    EXPECT_TRUE(fails(group::decode(sealed(body.substr(0, size)), "file-x"), Errc::corrupt, {"file-x"})) << size;
  EXPECT_TRUE(fails(group::decode(sealed(body + "x"), "file-x"), Errc::corrupt)) << "something behind the end";
}

TEST(GroupState, EveryChangedByteIsNoticed) {
  const std::string bytes = group::encode(example());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    EXPECT_TRUE(fails(group::decode(changed, "x"), i >= 8 && i < 12 ? Errc::version_mismatch : Errc::corrupt)) << i;
  }
}

TEST(GroupState, ImpossibleContentIsCorrupt) {
  const auto with = [](const std::function<void(GroupState&)>& change) {
    GroupState state = example();
    change(state);
    return group::decode(group::encode(state), "x");
  };
  EXPECT_TRUE(good(with([](GroupState&) {})));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.policy.delivery = static_cast<Delivery>(2); }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.policy.assignor = static_cast<Assignor>(2); }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.policy.grace_ns = -1; }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.policy.stall_ns = -1; }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.policy.kept_ns = -1; }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.empty_since = -1; }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.members[0].away_since = -1; }), Errc::corrupt));
  EXPECT_TRUE(fails(with([](GroupState& state) { state.members[0].id = 0; }), Errc::corrupt)) << "0 is nobody";
  EXPECT_TRUE(fails(with([](GroupState& state) { state.members[0].id = state.members[1].id; }), Errc::corrupt)) << "twice";
}

// Whatever the bytes: an answer. What is taken for a state can be shared out.
TEST(GroupState, NoiseIsSurvived) {
  std::mt19937_64 random(5);
  const std::string body = group::encode(example()).substr(24);
  std::size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string noisy = body;
    if (i % 4 == 0) {
      noisy.resize(random() % 300);
      for (char& c : noisy) c = static_cast<char>(random() % (i % 8 == 0 ? 4 : 256));
    } else {
      for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes)
        noisy[random() % noisy.size()] = static_cast<char>(random() % 3 == 0 ? random() : random() % 3);
    }
    auto state = group::decode(sealed(noisy), "x");
    if (!state) {
      ASSERT_EQ(state.error().code(), Errc::corrupt);
      continue;
    }
    ++taken;
    ASSERT_EQ(group::encode(*state).substr(24), noisy);
    group::assign(*state);
  }
  EXPECT_GT(taken, 100u) << "or nothing was tried";
}

TEST(GroupState, PoliciesThatDifferSayInWhat) {
  const group::Policy policy = example().policy;
  const auto with = [&](const std::function<void(group::Policy&)>& change) {
    group::Policy other = policy;
    change(other);
    return policy.difference(other);
  };
  EXPECT_EQ(with([](group::Policy&) {}), "");
  EXPECT_EQ(with([](group::Policy& one) { one.delivery = Delivery::lossless; }), "delivery is lossy and not lossless");
  EXPECT_EQ(with([](group::Policy& one) { one.assignor = Assignor::sticky; }), "assignor is range and not sticky");
  EXPECT_EQ(with([](group::Policy& one) { one.records_behind = 8; }), "evict_behind_records is 1 and not 8");
  EXPECT_EQ(with([](group::Policy& one) { one.bytes_behind = 8; }), "evict_behind_bytes is 2 and not 8");
  EXPECT_EQ(with([](group::Policy& one) { one.stall_ns = 8; }), "stall_limit in ns is 3 and not 8");
  EXPECT_EQ(with([](group::Policy& one) { one.grace_ns = 8; }), "grace in ns is 4 and not 8");
  EXPECT_EQ(with([](group::Policy& one) { one.kept_ns = 8; }), "offsets_kept in ns is 5 and not 8");
}

// ---- sharing out -----------------------------------------------------------------------------------------------------------------

GroupState group_of(Assignor assignor, const std::vector<std::vector<std::string>>& subscriptions,
                    const std::vector<std::pair<std::string, std::size_t>>& topics) {
  GroupState state;
  state.policy.assignor = assignor;
  for (std::size_t i = 0; i < subscriptions.size(); ++i)
    state.members.push_back({.id = i + 1, .incarnation = 2, .instance = "", .away_since = 0, .topics = subscriptions[i]});
  for (const auto& [name, partitions] : topics)
    state.targets.push_back({.topic = name, .topic_id = {}, .members = std::vector<std::uint64_t>(partitions)});
  return state;
}
// "a:1,1,2 b:2,0"
std::string shares(const GroupState& state) {
  std::string text;
  for (const Target& target : state.targets) {
    text += (text.empty() ? "" : " ") + target.topic + ':';
    for (std::size_t i = 0; i < target.members.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(target.members[i]);
  }
  return text;
}
std::string shared(GroupState state) {
  group::assign(state);
  return shares(state);
}

// The examples of Kafka's RangeAssignor (its documentation), and their borders.
TEST(Range, AsKafkaDoes) {
  const std::vector<std::string> both{"t0", "t1"};
  EXPECT_EQ(shared(group_of(Assignor::range, {both, both}, {{"t0", 3}, {"t1", 3}})), "t0:1,1,2 t1:1,1,2");
  EXPECT_EQ(shared(group_of(Assignor::range, {both, both, both}, {{"t0", 2}, {"t1", 2}})), "t0:1,2 t1:1,2");
  EXPECT_EQ(shared(group_of(Assignor::range, {{"t0"}, both, both}, {{"t0", 3}, {"t1", 3}})), "t0:1,2,3 t1:2,2,3");
  EXPECT_EQ(shared(group_of(Assignor::range, {both}, {{"t0", 3}})), "t0:1,1,1");
  EXPECT_EQ(shared(group_of(Assignor::range, {{"t0"}, {"t0"}, {"t0"}}, {{"t0", 7}})), "t0:1,1,1,2,2,3,3");
  EXPECT_EQ(shared(group_of(Assignor::range, {{"t0"}}, {{"t0", 1}, {"t1", 2}})), "t0:1 t1:0,0") << "nobody wants t1";
  EXPECT_EQ(shared(group_of(Assignor::range, {}, {{"t0", 1}})), "t0:0");
}

// The examples of Kafka's StickyAssignor (its documentation).
TEST(Sticky, AsKafkaDoes) {
  const std::vector<std::string> all{"t0", "t1", "t2", "t3"};
  GroupState even = group_of(Assignor::sticky, {all, all, all}, {{"t0", 2}, {"t1", 2}, {"t2", 2}, {"t3", 2}});
  group::assign(even);
  EXPECT_EQ(shares(even), "t0:1,2 t1:3,1 t2:2,3 t3:1,2");
  even.members.erase(even.members.begin() + 1);
  group::assign(even);
  EXPECT_EQ(shares(even), "t0:1,3 t1:3,1 t2:1,3 t3:1,3") << "only what was the second one's has moved";

  GroupState uneven = group_of(Assignor::sticky, {{"t0"}, {"t0", "t1"}, {"t0", "t1", "t2"}}, {{"t0", 1}, {"t1", 2}, {"t2", 3}});
  group::assign(uneven);
  EXPECT_EQ(shares(uneven), "t0:1 t1:2,2 t2:3,3,3");
  uneven.members.erase(uneven.members.begin());
  group::assign(uneven);
  EXPECT_EQ(shares(uneven), "t0:2 t1:2,2 t2:3,3,3");
}

using Shares = std::map<std::pair<std::string, std::size_t>, std::uint64_t>;
Shares flat(const GroupState& state) {
  Shares all;
  for (const Target& target : state.targets)
    for (std::size_t i = 0; i < target.members.size(); ++i) all[{target.topic, i}] = target.members[i];
  return all;
}
std::map<std::uint64_t, std::size_t> loads(const GroupState& state) {
  std::map<std::uint64_t, std::size_t> all;
  for (const Member& member : state.members) all[member.id] = 0;
  for (const auto& [partition, member] : flat(state))
    if (member != 0) ++all[member];
  return all;
}
// Every partition that somebody wants is one's who wants it.
void expect_complete(const GroupState& state) {
  for (const Target& target : state.targets) {
    const bool wanted =
        std::any_of(state.members.begin(), state.members.end(), [&](const Member& m) { return m.wants(target.topic); });
    for (const std::uint64_t id : target.members) {
      if (!wanted) {
        ASSERT_EQ(id, 0u);
      } else {
        ASSERT_NE(state.member(id), nullptr) << shares(state);
        ASSERT_TRUE(state.member(id)->wants(target.topic));
      }
    }
  }
}
// Nobody has two more than somebody else who could have one of them.
void expect_balanced(const GroupState& state) {
  auto load = loads(state);
  for (const Target& target : state.targets)
    for (const std::uint64_t id : target.members)
      for (const Member& other : state.members)
        if (id != 0 && other.wants(target.topic)) {
          ASSERT_LT(load[id], load[other.id] + 2) << shares(state);
        }
}

class Sharing {
 public:
  Sharing(std::uint64_t seed, Assignor assignor, bool all_alike) : random_(seed), all_alike_(all_alike) {
    state.policy.assignor = assignor;
    const std::size_t topics = 1 + random_() % 5;
    for (std::size_t i = 0; i < topics; ++i)
      state.targets.push_back(
          {.topic = "t" + std::to_string(i), .topic_id = {}, .members = std::vector<std::uint64_t>(1 + random_() % 12)});
  }
  std::uint64_t join() {
    Member member{.id = ++last_, .incarnation = 2, .instance = "", .away_since = 0, .topics = {}};
    for (const Target& target : state.targets)
      if (all_alike_ || random_() % 2 == 0) member.topics.push_back(target.topic);
    state.members.push_back(member);
    return member.id;
  }
  std::uint64_t leave() {
    const std::size_t which = random_() % state.members.size();
    const std::uint64_t id = state.members[which].id;
    state.members.erase(state.members.begin() + static_cast<std::ptrdiff_t>(which));
    return id;
  }
  bool likely() { return random_() % 2 == 0; }
  GroupState state;

 private:
  std::mt19937_64 random_;
  bool all_alike_;
  std::uint64_t last_ = 0;
};

class Assigning : public testing::TestWithParam<std::tuple<Assignor, bool>> {};

TEST_P(Assigning, IsCompleteAndBalancedAndMovesLittle) {
  const auto [assignor, all_alike] = GetParam();
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Sharing sharing(seed, assignor, all_alike);
    for (int step = 0; step < 25; ++step) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", step " + std::to_string(step));
      const Shares before = flat(sharing.state);
      const bool joins = sharing.state.members.empty() || sharing.likely();
      const std::uint64_t who = joins ? sharing.join() : sharing.leave();
      group::assign(sharing.state);
      expect_complete(sharing.state);
      const Shares after = flat(sharing.state);
      group::assign(sharing.state);
      ASSERT_EQ(flat(sharing.state), after) << "nothing has changed since";
      if (testing::Test::HasFatalFailure()) return;
      if (assignor != Assignor::sticky) continue;
      expect_balanced(sharing.state);
      if (testing::Test::HasFatalFailure()) return;
      for (const auto& [partition, member] : after) {
        const std::uint64_t last = before.at(partition);
        if (last == member || last == 0) continue;
        // One who joins takes from others, and nobody else does; where all want the same, only what one who leaves had changes hands.
        if (joins && all_alike) {
          ASSERT_EQ(member, who);
        } else if (all_alike) {
          ASSERT_EQ(last, who);
        }
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, Assigning, testing::Combine(testing::Values(Assignor::range, Assignor::sticky), testing::Bool()));

// Members of equal subscriptions read the same partitions of topics that are cut alike: equal keys meet.
TEST(Range, CutsTopicsOfEqualCountsAlike) {
  for (std::size_t members = 1; members < 7; ++members)
    for (std::size_t partitions = 1; partitions < 15; ++partitions) {
      GroupState state = group_of(Assignor::range, std::vector<std::vector<std::string>>(members, {"a", "b"}),
                                  {{"a", partitions}, {"b", partitions}});
      group::assign(state);
      EXPECT_EQ(state.targets[0].members, state.targets[1].members);
      EXPECT_TRUE(std::is_sorted(state.targets[0].members.begin(), state.targets[0].members.end())) << "neighbours";
      auto load = loads(state);
      const auto [least, most] =
          std::minmax_element(load.begin(), load.end(), [](auto& a, auto& b) { return a.second < b.second; });
      EXPECT_LE(most->second - least->second, 2u) << "one of each topic";
    }
}

// A member that is away, or that will never come back, is treated as any other: who takes it out decides.
TEST(Sticky, KeepsThePartOfOneWhoIsAway) {
  GroupState state = group_of(Assignor::sticky, {{"t"}, {"t"}}, {{"t", 4}});
  group::assign(state);
  const Shares before = flat(state);
  state.members[0].away_since = 1;
  group::assign(state);
  EXPECT_EQ(flat(state), before);
}

}  // namespace
}  // namespace arus::test
