// A group's files: names of any bytes, changes under the lock, and what a crash between two steps of a change leaves.
#include "group/group_file.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "log/bus_directory.h"
#include "support.h"

namespace arus::test {
namespace {

using group::GroupFile;
using group::GroupState;

class GroupFiles : public testing::Test {
 protected:
  GroupFiles() { must(log::create_bus(path(), {}, true)); }
  [[nodiscard]] std::string path() const { return directory_ / "bus"; }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(bus().groups_path())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  [[nodiscard]] std::string file(std::string_view name) const { return bus().groups_path() + '/' + std::string(name); }
  [[nodiscard]] const log::BusDirectory& bus() const {
    if (!bus_) bus_ = must(log::BusDirectory::open(path()));
    return *bus_;
  }
  static Result<bool> nothing(GroupState&) { return true; }
  // What a crash after the rename leaves: a state of which nobody was told.
  void replace_untold(const std::string& name, const std::function<void(GroupState&)>& change) const {
    GroupState state = must(GroupFile::read(bus(), name));
    change(state);
    std::ofstream(file(name + ".state"), std::ios::binary) << group::encode(state);
  }

 private:
  Directory directory_;
  mutable std::unique_ptr<log::BusDirectory> bus_;
};

TEST_F(GroupFiles, AreMadeAndFoundAndRemoved) {
  EXPECT_TRUE(fails(GroupFile::open(bus(), "g"), Errc::not_found, {"'g'", "arus group list"}));
  EXPECT_TRUE(fails(GroupFile::read(bus(), "g"), Errc::not_found, {"'g'"}));
  group::Policy policy;
  policy.grace_ns = 77;
  const auto made = must(GroupFile::open_or_create(bus(), "g", policy));
  EXPECT_EQ(files(), (std::vector<std::string>{"g.pulse", "g.state", "lock"}));
  EXPECT_EQ(must(GroupFile::read(bus(), "g")).policy.grace_ns, 77);
  const auto again = must(GroupFile::open_or_create(bus(), "g", {}));
  EXPECT_EQ(must(again->read()).policy.grace_ns, 77) << "it was there";
  EXPECT_EQ(must(GroupFile::list(bus())), (std::vector<std::string>{"g"}));
  must(GroupFile::remove(bus(), "g", [](const GroupState&) { return Result<void>{}; }));
  EXPECT_EQ(files(), (std::vector<std::string>{"lock"}));
  EXPECT_TRUE(fails(again->change(nothing), Errc::not_found));
  EXPECT_TRUE(fails(GroupFile::remove(bus(), "g", [](const GroupState&) { return Result<void>{}; }), Errc::not_found));
}

TEST_F(GroupFiles, NamesMayHaveAnyBytes) {
  std::set<std::string> names{
      "plain", ".hidden", "..", ".", "a/b", "../../etc/passwd", "lock", "x.state", "x", "x.pulse", "x.state.new", "with space",
      "100%",  "%41",     "A",  "a", "ü",   "\x01\xff",         "-",    "x\n"};
  names.insert(std::string(255, 'n'));
  names.insert(std::string(254, 'n') + 'm');
  names.insert(std::string(255, '/'));
  names.insert(std::string(254, '/') + '%');
  for (const std::string& name : names) {
    const auto file = must(GroupFile::open_or_create(bus(), name, {}));
    must(file->change([](GroupState& state) -> Result<bool> {
      state.empty_since = static_cast<std::int64_t>(state.name.size());
      return true;
    }));
  }
  EXPECT_EQ(must(GroupFile::list(bus())), std::vector<std::string>(names.begin(), names.end()));
  EXPECT_EQ(files().size(), 2 * names.size() + 1) << "two each, and the lock; all of them here";
  for (const std::string& name : names) {
    const GroupState state = must(GroupFile::read(bus(), name));
    EXPECT_EQ(state.name, name);
    EXPECT_EQ(state.empty_since, static_cast<std::int64_t>(name.size()));
  }
  EXPECT_TRUE(fails(GroupFile::open_or_create(bus(), "", {}), Errc::invalid_argument, {"1 to 255"}));
  EXPECT_TRUE(fails(GroupFile::open_or_create(bus(), std::string(256, 'n'), {}), Errc::invalid_argument, {"255", "256"}));
  // A topic's table of groups ends names with it.
  EXPECT_TRUE(fails(GroupFile::open_or_create(bus(), std::string("a\0b", 3), {}), Errc::invalid_argument, {"zero byte"}));
}

TEST_F(GroupFiles, AChangeRaisesTheGeneration) {
  const auto one = must(GroupFile::open_or_create(bus(), "g", {}));
  const auto other = must(GroupFile::open(bus(), "g"));
  const std::uint64_t before = other->generation();
  must(one->change([](GroupState& state) -> Result<bool> {
    state.empty_since = 5;
    return true;
  }));
  EXPECT_EQ(other->generation(), before + 1);
  EXPECT_EQ(must(other->read()).generation, before + 1);
  EXPECT_EQ(must(other->read()).empty_since, 5);
  must(one->change([](GroupState& state) -> Result<bool> {
    state.empty_since = 6;
    return false;
  }));
  EXPECT_EQ(other->generation(), before + 1) << "an edit that says no changes nothing";
  EXPECT_TRUE(fails(one->change([](GroupState&) -> Result<bool> { return platform::fail(Errc::in_use, "no"); }), Errc::in_use));
  EXPECT_EQ(must(other->read()).empty_since, 5);
  must(other->change(nothing));
  EXPECT_EQ(one->generation(), before + 2) << "the lock was given back";
}

TEST_F(GroupFiles, AStateThatNobodyWasToldOfIsGoneOnFrom) {
  const auto one = must(GroupFile::open_or_create(bus(), "g", {}));
  must(one->change(nothing));
  replace_untold("g", [](GroupState& state) {
    state.generation = 40;
    state.empty_since = 9;
  });
  EXPECT_LT(one->generation(), 40u);
  EXPECT_EQ(must(one->read()).empty_since, 9);
  must(one->change(nothing));
  EXPECT_EQ(one->generation(), 41u);
  EXPECT_EQ(must(one->read()).empty_since, 9);
  // The other way round, which a reboot may leave: what was told is not told again.
  replace_untold("g", [](GroupState& state) { state.generation = 3; });
  must(one->change(nothing));
  EXPECT_EQ(one->generation(), 42u);
  EXPECT_EQ(must(one->read()).generation, 42u);
}

TEST_F(GroupFiles, LeftoversOfACrashAreWrittenOver) {
  std::ofstream(file("g.pulse.new")) << "half";
  std::ofstream(file("g.state.new")) << "half";
  std::ofstream(file("g.pulse")) << "of a creator that died before it wrote the state";
  const auto one = must(GroupFile::open_or_create(bus(), "g", {}));
  std::ofstream(file("g.state.new")) << "half";
  must(one->change(nothing));
  EXPECT_EQ(files(), (std::vector<std::string>{"g.pulse", "g.state", "lock"}));
}

TEST_F(GroupFiles, WhoHoldsTheLockIsNamed) {
  must(GroupFile::open_or_create(bus(), "g", {}));
  Child child([&](const Child::Side& side) {
    const auto own = must(log::BusDirectory::open(path()));
    must(must(GroupFile::open(*own, "g"))->change([&](GroupState&) -> Result<bool> {
      side.arrive_and_wait();
      return true;
    }));
  });
  ASSERT_TRUE(child.await());
  child.stop();
  const auto file = must(GroupFile::open(bus(), "g"));
  EXPECT_TRUE(fails(file->change(nothing, 5'000'000), Errc::timed_out, {"'g'", "pid " + std::to_string(child.pid()), "stopped"}));
  const auto neighbour = must(GroupFile::open_or_create(bus(), "h", {}));
  EXPECT_TRUE(good(neighbour->change(nothing))) << "another group has another lock";
  child.kill();
  EXPECT_TRUE(good(file->change(nothing))) << "the kernel gives it back";
}

TEST_F(GroupFiles, WhatIsBrokenIsNamed) {
  must(GroupFile::open_or_create(bus(), "g", {}));
  const auto contents = [](const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  };
  const std::string state = contents(file("g.state"));
  const std::string pulse = contents(file("g.pulse"));
  const auto put = [&](const std::string& name, const std::string& bytes) {
    std::filesystem::remove(file(name));  // nobody's mapping is truncated
    std::ofstream(file(name), std::ios::binary) << bytes;
  };
  put("g.state", state.substr(0, 30));
  EXPECT_TRUE(fails(GroupFile::read(bus(), "g"), Errc::corrupt, {"g.state", "arus group delete"}));
  EXPECT_TRUE(fails(must(GroupFile::open(bus(), "g"))->change(nothing), Errc::corrupt, {"g.state"}));
  EXPECT_EQ(must(GroupFile::list(bus())), (std::vector<std::string>{"g"})) << "shown, so that it can be deleted";
  put("g.state", state);
  for (const std::size_t size : {std::size_t{0}, std::size_t{8}, pulse.size() - 8}) {
    put("g.pulse", pulse.substr(0, size));
    EXPECT_FALSE(GroupFile::open(bus(), "g")) << size;
  }
  std::string other = pulse;
  other[0] = 'X';
  put("g.pulse", other);
  EXPECT_TRUE(fails(GroupFile::open(bus(), "g"), Errc::corrupt, {"g.pulse", "magic"}));
  other = pulse;
  other[8] = 9;
  put("g.pulse", other);
  EXPECT_TRUE(fails(GroupFile::open(bus(), "g"), Errc::version_mismatch, {"g.pulse", "9"}));
  put("g.pulse", pulse);
  EXPECT_TRUE(good(GroupFile::open(bus(), "g")));
}

TEST_F(GroupFiles, DeparturesAreNotedAndForgotten) {
  const auto one = must(GroupFile::open_or_create(bus(), "g", {}));
  EXPECT_FALSE(one->has_departed(7));
  one->note_departure(7);
  one->note_departure(7);
  EXPECT_TRUE(one->has_departed(7));
  EXPECT_FALSE(one->has_departed(8));
  one->forget_departure(7);
  EXPECT_FALSE(one->has_departed(7));
}

// Several at once: each change sees the one before.
TEST_F(GroupFiles, ChangesOfSeveralProcessesFollowEachOther) {
  must(GroupFile::open_or_create(bus(), "g", {}));
  constexpr int kEach = 50;
  const auto change = [&] {
    const auto own = must(log::BusDirectory::open(path()));
    const auto file = must(GroupFile::open_or_create(*own, "g", {}));
    for (int i = 0; i < kEach; ++i)
      must(file->change(
          [](GroupState& state) -> Result<bool> {
            ++state.empty_since;
            return true;
          },
          20'000'000'000));
  };
  Child first([&](const Child::Side&) { change(); });
  Child second([&](const Child::Side&) { change(); });
  EXPECT_EQ(first.join(), 0);
  EXPECT_EQ(second.join(), 0);
  const GroupState state = must(GroupFile::read(bus(), "g"));
  EXPECT_EQ(state.empty_since, 2 * kEach);
  EXPECT_EQ(state.generation, static_cast<std::uint64_t>(2 * kEach));
}

}  // namespace
}  // namespace arus::test
