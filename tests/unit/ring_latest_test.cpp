// What a producer tells of its last record, word by word: what it says, when it says that a record is elsewhere, and what others say there.
#include <array>

#include "ring_support.h"

namespace arus::test {
namespace {

using ring::Appender;
using ring::Claimed;
using ring::Latest;

class RingLatest : public testing::Test {
 protected:
  static Claimed claim(Appender& appender, std::uint64_t cells = 1) {
    Claimed claimed{};
    EXPECT_TRUE(appender.claim_quietly(cells, 1, claimed) || appender.insist(cells, 1, claimed));
    return claimed;
  }
  static void send(Appender& appender, const Claimed& claimed, std::string_view value) {
    appender.commit_and_tell(claimed, 7, reinterpret_cast<const std::byte*>(value.data()), value.size());
  }
  static Claimed send(Appender& appender, std::string_view value) {
    const Claimed claimed = claim(appender, Latest::cells_of(value.size()));
    send(appender, claimed, value);
    return claimed;
  }
  static std::string value(const Latest& latest) {
    return {reinterpret_cast<const char*>(latest.value.data()), latest.what & 0xfff};
  }

  RawRing raw_;
};

TEST_F(RingLatest, SaysWhatTheLogHas) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  const Latest& latest = raw_.ring.latest[appender.id()];
  EXPECT_EQ(latest.position, 0u);
  for (const std::size_t size : {0u, 1u, 31u, 32u, 33u, 64u, 95u, 96u}) {
    const std::string wanted(size, static_cast<char>('a' + size % 26));
    const Claimed claimed = send(appender, wanted);
    EXPECT_EQ(latest.position, claimed.position + 1);
    EXPECT_EQ(latest.what >> 12, claimed.offset);
    EXPECT_EQ(latest.timestamp, 7u);
    EXPECT_EQ(value(latest), wanted);
    EXPECT_EQ(raw_.look(claimed.position), Found::record);
  }
}

TEST_F(RingLatest, SaysOnceThatARecordIsElsewhere) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  const Latest& latest = raw_.ring.latest[appender.id()];
  appender.commit(claim(appender));
  EXPECT_EQ(latest.position, 0u) << "nobody waits here yet";
  send(appender, "told");
  const Claimed large = send(appender, std::string(97, 'x'));
  EXPECT_EQ(latest.position, large.position + 1);
  EXPECT_EQ(latest.what, Latest::kElsewhere);
  appender.commit(claim(appender));
  EXPECT_EQ(latest.position, large.position + 1) << "who waited here does not any more";
  send(appender, "told");
  const Claimed aborted = claim(appender);
  appender.abort(aborted);
  EXPECT_EQ(latest.position, aborted.position + 1);
  EXPECT_EQ(latest.what, Latest::kElsewhere);
  send(appender, "told");
  const Claimed padded = claim(appender, 2);  // a value that does not need it all
  send(appender, padded, "small");
  EXPECT_EQ(latest.position, padded.position + 1);
  EXPECT_EQ(latest.what, Latest::kElsewhere);
}

TEST_F(RingLatest, NeverGoesBack) {
  Appender appender = must(Appender::enlist(raw_.ring, raw_.alive()));
  const Latest& latest = raw_.ring.latest[appender.id()];
  Claimed first = claim(appender);
  appender.keep_open(first);
  Claimed second = claim(appender);
  appender.keep_open(second);
  send(appender, second, "second");
  EXPECT_EQ(latest.position, second.position + 1);
  send(appender, first, "first");
  EXPECT_EQ(latest.position, second.position + 1);
  EXPECT_EQ(value(latest), "second");
}

TEST_F(RingLatest, OthersSayThatTheyCameBehind) {
  Appender one = must(Appender::enlist(raw_.ring, raw_.alive()));
  Appender other = must(Appender::enlist(raw_.ring, raw_.alive()));
  const Latest& of_one = raw_.ring.latest[one.id()];
  const Latest& of_other = raw_.ring.latest[other.id()];
  send(one, "a");
  send(one, "b");
  EXPECT_EQ(of_one.passed, 0u);
  const Claimed behind = send(other, "c");
  EXPECT_EQ(of_one.passed, behind.position + 1);
  EXPECT_EQ(of_one.position, behind.position) << "b, one cell before";
  other.commit(claim(other));
  EXPECT_EQ(of_one.passed, behind.position + 1) << "that one is behind its own";
  const Claimed again = send(one, "d");
  EXPECT_EQ(of_other.passed, again.position + 1);
}

// Producers in later slots have none.
TEST(RingLatestOfMany, IsForTheFirstProducers) {
  RawRing raw(false, 70);
  ASSERT_EQ(raw.ring.latest_count, ring::kMostLatest);
  constexpr std::array<std::byte, 1> kValue{};
  std::vector<Appender> appenders;
  for (int i = 0; i < 70; ++i) appenders.push_back(must(Appender::enlist(raw.ring, raw.alive())));
  for (Appender& appender : appenders) {
    Claimed claimed{};
    ASSERT_TRUE(appender.insist(1, 1, claimed));
    appender.commit_and_tell(claimed, 7, kValue.data(), 1);
    EXPECT_EQ(raw.look(claimed.position), Found::record);
    if (appender.id() < raw.ring.latest_count) {
      EXPECT_EQ(raw.ring.latest[appender.id()].position, claimed.position + 1);
    }
  }
}

}  // namespace
}  // namespace arus::test
