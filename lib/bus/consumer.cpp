#include <arus/consumer.h>

#include <algorithm>
#include <utility>

#include "bus/consumer_state.h"
#include "platform/clock.h"
#include "platform/error.h"

namespace arus {

using platform::fail;
using platform::pass;
using std::chrono::nanoseconds;

namespace detail {
namespace {

constexpr std::uint32_t kLooksPerClock = 32;  // of polls, each of which takes longer than a pause

Coalescing::Waited pause(std::uint32_t pauses) noexcept {
  const std::uint64_t from = platform::ticks();
  for (std::uint32_t i = 0; i < pauses; ++i) platform::pause();
  const std::uint64_t until = platform::ticks();
  const std::uint64_t factor = platform::ticks_to_ns();
  if (factor == 0 || until - from >= 1u << 30) return {pauses * Coalescing::kUsualPause, 0};
  return {std::max<std::uint64_t>((until - from) * factor >> 32, 1),
          static_cast<std::uint64_t>(static_cast<double>(until) * static_cast<double>(factor) * 0x1p-32)};
}

}  // namespace

ConsumerState::ConsumerState(std::shared_ptr<BusState> bus, ConsumerConfig config)
    : bus_(std::move(bus)), config_(std::move(config)), buffer_(config_.max_records), coalescing_(config_.wait.coalesce) {}

Result<std::unique_ptr<ConsumerState>> ConsumerState::make(std::shared_ptr<BusState> bus, const ConsumerConfig& config) {
  if (config.max_records == 0 || config.max_records > 1u << 20)
    return fail(Errc::invalid_argument, "max_records is {}; it must be 1 to {}", config.max_records, 1u << 20);
  if (!config.group.empty())
    if (auto good = group::GroupFile::check_name(config.group); !good) return pass(good);
  for (const nanoseconds duration : {config.grace, config.stall_limit, config.offsets_kept})
    if (duration < nanoseconds::zero())
      return fail(Errc::invalid_argument, "grace, stall_limit and offsets_kept of group '{}' must not be negative; one is {} ns",
                  config.group, duration.count());
  if (config.evict_behind_records != 0 && config.evict_behind_bytes != 0)
    return fail(Errc::invalid_argument, "group '{}' has both evict_behind_records and evict_behind_bytes; choose one",
                config.group);
  log::BusDirectory& directory = bus->directory();
  if (!config.group.empty())
    if (auto able = directory.need_lease("reading in a group"); !able) return pass(able);
  std::unique_ptr<ConsumerState> state(new ConsumerState(std::move(bus), config));
  if (directory.bells()) {
    auto bell = platform::Bell::take(directory.bells(), directory.incarnation());
    if (!bell) return pass(bell);
    state->bell_ = std::move(*bell);
  }
  return state;
}

ConsumerState::~ConsumerState() {
  if (!bus_->ours()) return;
  if (membership_) {
    membership_->leave();
    for (PartitionReader& reader : readers_) reader.let_go(membership_->incarnation_for(reader.topic().name(), reader.partition()));
    for (const Subscription& one : subscriptions_) renounce(one);
    membership_->tell();
  } else {
    for (PartitionReader& reader : readers_) reader.let_go(platform::kNoIncarnation);
  }
  readers_.clear();
  for (Subscription& subscription : subscriptions_) detach(subscription);
}

Result<void> ConsumerState::usable() const {
  if (!bus_->ours()) [[unlikely]]
    return fail(Errc::forked, "this consumer belongs to the parent process; open the bus anew in the child");
  return {};
}

// ---- subscribing ----------------------------------------------------------------------------------------------------------------

Result<ConsumerState::Subscription> ConsumerState::attach(const std::string& name, const std::vector<std::uint32_t>* partitions,
                                                          bool counted, std::vector<PartitionReader>& readers) {
  auto topic = TopicState::open(bus_, name);
  if (!topic) return pass(topic);
  const log::BusDirectory& directory = bus_->directory();
  Subscription subscription;
  subscription.topic = *topic;
  subscription.whole = partitions == nullptr;
  if (!config_.group.empty()) {
    if (!(*topic)->config().back_pressure && config_.delivery == Delivery::lossless)
      return fail(
          Errc::forbidden,
          "topic '{}' permits no back-pressure, and group '{}' is lossless; make the group lossy (Delivery::lossy), observe the "
          "topic (no group), or create it with back-pressure",
          name, config_.group);
    auto table = (*topic)->groups(platform::Access::write);
    if (!table) return pass(table);
    auto group = (*table)->find_or_add(config_.group);
    if (!group) return pass(group);
    subscription.table = *table;
    subscription.group = *group;
  }
  std::vector<std::uint32_t> all;
  if (partitions == nullptr && !subscription.table)  // a group shares them out
    for (std::uint32_t i = 0; i < (*topic)->config().partitions; ++i) all.push_back(i);
  for (const std::uint32_t partition : partitions != nullptr ? *partitions : all) {
    auto reader = subscription.table ? PartitionReader::join(*topic, partition, reading(subscription))
                                     : PartitionReader::observe(*topic, partition, config_.start, config_.in_place);
    if (!reader) {
      detach(subscription);
      return pass(reader);
    }
    readers.push_back(std::move(*reader));
  }
  if (!counted && (*topic)->waits() && directory.incarnation() != platform::kNoIncarnation) {
    auto place = (*topic)->waits()->add_reader(directory.incarnation(), *directory.leases());
    if (!place) {
      detach(subscription);
      return pass(place);
    }
    subscription.place = *place;
    subscription.counted = true;
  }
  return subscription;
}

void ConsumerState::detach(Subscription& subscription) noexcept {
  if (subscription.counted) subscription.topic->waits()->remove_reader(subscription.place, bus_->directory().incarnation());
}

// A failed call leaves nothing of what it has begun.
void ConsumerState::undo(std::vector<Subscription>& subscriptions, std::vector<PartitionReader>& readers) noexcept {
  for (PartitionReader& reader : readers) {
    reader.give_up();
    reader.let_go(platform::kNoIncarnation);
  }
  readers.clear();
  for (Subscription& one : subscriptions) detach(one);
}

Result<void> ConsumerState::subscribe(const std::vector<std::string>& topics) {
  if (auto good = usable(); !good) return good;
  if (pattern_)
    return fail(Errc::invalid_argument, "this consumer follows a pattern; unsubscribe from its topics, or make another consumer");
  return subscribe_all(topics);
}

Result<void> ConsumerState::subscribe_all(const std::vector<std::string>& topics) {
  for (const Subscription& one : subscriptions_)
    if (const std::string& name = one.topic->name(); !one.whole && std::find(topics.begin(), topics.end(), name) != topics.end())
      return fail(Errc::invalid_argument,
                  "single partitions of topic '{}' are assigned to this consumer; unsubscribe from it first", name);
  std::vector<Subscription> subscriptions;
  std::vector<PartitionReader> readers;
  for (const std::string& name : topics) {
    const auto same = [&](const Subscription& one) { return one.topic->name() == name; };
    if (std::any_of(subscriptions_.begin(), subscriptions_.end(), same) ||
        std::any_of(subscriptions.begin(), subscriptions.end(), same))
      continue;
    auto subscription = attach(name, nullptr, false, readers);
    if (!subscription) {
      undo(subscriptions, readers);
      return pass(subscription);
    }
    subscriptions.push_back(std::move(*subscription));
  }
  const std::size_t before = subscriptions_.size();
  std::move(subscriptions.begin(), subscriptions.end(), std::back_inserter(subscriptions_));
  std::move(readers.begin(), readers.end(), std::back_inserter(readers_));
  if (config_.group.empty()) return {};
  auto joined = join_group();
  if (!joined) {
    // Back to what it was; readers of what was subscribed to before go on.
    std::vector<std::string> names;
    for (std::size_t i = before; i < subscriptions_.size(); ++i) names.push_back(subscriptions_[i].topic->name());
    for (PartitionReader& reader : readers_)
      if (std::find(names.begin(), names.end(), reader.topic().name()) != names.end()) reader.give_up();
    for (const std::string& name : names) [[maybe_unused]] auto left = unsubscribe(name);
  }
  return joined;
}

Result<void> ConsumerState::subscribe_pattern(std::string_view pattern) {
  if (auto good = usable(); !good) return good;
  if (!subscriptions_.empty())
    return fail(Errc::invalid_argument, "this consumer reads topics by name; unsubscribe from them, or make another consumer");
  auto compiled = platform::Pattern::compile(pattern);
  if (!compiled) return pass(compiled);
  pattern_ = std::move(*compiled);
  if (!config_.group.empty())
    if (auto joined = join_group(); !joined) {
      pattern_.reset();
      return joined;
    }
  return follow_pattern();
}

// What has been made or deleted since the last look.
Result<void> ConsumerState::follow_pattern() {
  auto topics = bus_->directory().topics();
  if (!topics) return pass(topics);
  std::erase_if(*topics, [&](const std::string& name) { return !pattern_->matches(name); });
  const auto is_there = [&](const Subscription& one) {
    return std::find(topics->begin(), topics->end(), one.topic->name()) != topics->end() && one.topic->check();
  };
  std::vector<std::string> gone;
  for (const Subscription& one : subscriptions_)
    if (!is_there(one)) gone.push_back(one.topic->name());
  for (const std::string& name : gone)
    if (auto left = unsubscribe(name); !left) return left;
  for (const std::string& name : *topics) {
    auto added = subscribe_all({name});
    if (!added && added.error().code() != Errc::not_found && added.error().code() != Errc::deleted) return added;
  }
  return {};
}

Result<void> ConsumerState::assign(const std::vector<TopicPartition>& partitions) {
  if (auto good = usable(); !good) return good;
  if (membership_ && !shared_topics().empty())
    return fail(Errc::invalid_argument, "this consumer shares topics with its group ('{}'); unsubscribe from them before assign",
                config_.group);
  std::vector<Subscription> subscriptions;
  std::vector<PartitionReader> readers;
  for (const TopicPartition& one : partitions) {
    const auto same = [&](const PartitionReader& reader) {
      return reader.partition() == one.partition && reader.topic().name() == one.topic;
    };
    if (find(one.topic, one.partition) || std::any_of(readers.begin(), readers.end(), same)) continue;
    const auto counts = [&](const Subscription& made) { return made.counted && made.topic->name() == one.topic; };
    const bool counted = std::any_of(subscriptions_.begin(), subscriptions_.end(), counts) ||
                         std::any_of(subscriptions.begin(), subscriptions.end(), counts);
    const std::vector<std::uint32_t> just_this{one.partition};
    auto subscription = attach(one.topic, &just_this, counted, readers);
    if (!subscription) {
      undo(subscriptions, readers);
      return pass(subscription);
    }
    subscriptions.push_back(std::move(*subscription));
  }
  std::move(subscriptions.begin(), subscriptions.end(), std::back_inserter(subscriptions_));
  std::move(readers.begin(), readers.end(), std::back_inserter(readers_));
  return {};
}

Result<void> ConsumerState::unsubscribe(std::string_view topic) {
  if (auto good = usable(); !good) return good;
  buffer_.clear();
  in_place_.clear();
  next_ = 0;
  const auto same = [&](const Subscription& one) { return one.topic->name() == topic; };
  if (std::none_of(subscriptions_.begin(), subscriptions_.end(), same))
    return fail(Errc::not_found, "this consumer is not subscribed to topic '{}'", topic);
  std::vector<TopicPartition> gone;
  for (const PartitionReader& reader : readers_)
    if (membership_ && reader.topic().name() == topic) gone.push_back({reader.topic().name(), reader.partition()});
  Result<void> told = tell(listener_.revoked, gone);
  pending_.clear();  // found again by the next poll; those of this topic must not outlive its table
  std::vector<Subscription> left;
  for (Subscription& one : subscriptions_) {
    if (!same(one)) continue;
    detach(one);
    left.push_back(std::move(one));
  }
  std::erase_if(subscriptions_, [](const Subscription& one) { return one.topic == nullptr; });
  const bool leaves = membership_ && shared_topics().empty() && !pattern_;
  if (leaves)
    membership_->leave();
  else if (membership_)
    if (auto changed = membership_->subscribe(shared_topics()); !changed) told = changed;
  for (PartitionReader& reader : readers_)
    if (reader.topic().name() == topic)
      reader.let_go(membership_ ? membership_->incarnation_for(reader.topic().name(), reader.partition())
                                : platform::kNoIncarnation);
  std::erase_if(readers_, [&](const PartitionReader& reader) { return reader.topic().name() == topic; });
  for (const Subscription& one : left) renounce(one);
  if (membership_) membership_->tell();
  if (leaves) membership_.reset();
  return told;
}

std::vector<TopicPartition> ConsumerState::assignment() const {
  std::vector<TopicPartition> all;
  for (const PartitionReader& reader : readers_) all.push_back({reader.topic().name(), reader.partition()});
  return all;
}

Result<PartitionReader*> ConsumerState::find(std::string_view topic, std::uint32_t partition) {
  if (auto good = usable(); !good) return pass(good);
  for (PartitionReader& reader : readers_)
    if (reader.partition() == partition && reader.topic().name() == topic) return &reader;
  return fail(Errc::not_found, "this consumer does not read partition {} of topic '{}'", partition, topic);
}

Result<void> ConsumerState::seek(std::string_view topic, std::uint32_t partition, Start to) {
  auto reader = find(topic, partition);
  if (!reader) return pass(reader);
  buffer_.clear();
  in_place_.clear();
  return (*reader)->seek(to);
}

// ---- polling --------------------------------------------------------------------------------------------------------------------

Result<void> ConsumerState::settle() {
  buffer_.clear();
  in_place_.clear();
  Result<void> result{};
  for (PartitionReader& reader : readers_)
    if (auto settled = reader.settle(); !settled) result = settled;
  return result;
}

// What a poll does for those who commit themselves: only look.
Result<void> ConsumerState::settle_if_automatic() {
  if (config_.auto_commit) return settle();
  Result<void> result{};
  for (PartitionReader& reader : readers_)
    if (auto noticed = reader.notice_eviction(); !noticed) result = noticed;
  return result;
}

Result<void> ConsumerState::commit() {
  if (auto good = usable(); !good) return good;
  return settle();
}

Result<void> ConsumerState::commit(std::string_view topic, std::uint32_t partition, std::uint64_t offset) {
  if (config_.group.empty())
    return fail(Errc::invalid_argument, "an observer has nothing to commit; name a group in ConsumerConfig");
  auto reader = find(topic, partition);
  if (!reader) return pass(reader);
  return (*reader)->settle_before(offset);
}

// One look at every reader. An error counts when there is nothing else to report.
ConsumerState::Look ConsumerState::collect() {
  Look look = Look::nothing;
  PartitionReader* const readers = readers_.data();
  const std::size_t count = readers_.size();
  const bool hastes = coalescing_.hastes();
  std::size_t at = next_ < count ? next_ : 0;
  for (std::size_t left = count; left != 0; --left) {
    PartitionReader& reader = readers[at];
    if (++at >= count) at = 0;
    if (reader.paused) [[unlikely]]
      continue;
    if (const std::size_t records =
            reader.take_plain(buffer_.vacant(), hastes ? PartitionReader::kNowhere : reader.behind_producers());
        records != 0) {
      buffer_.added(records);
      if (buffer_.full()) break;
    } else if (!reader.is_quiet()) [[unlikely]] {
      take_slowly(reader, look);
      if (buffer_.full()) break;
    }
  }
  return buffer_.empty() ? look : Look::something;
}

void ConsumerState::take_slowly(PartitionReader& reader, Look& look) {
  const std::size_t before = buffer_.records().size();
  auto took = reader.take(buffer_);
  if (reader.is_observed_in_place() && buffer_.records().size() != before)
    in_place_.push_back({static_cast<std::size_t>(&reader - readers_.data()), reader.taken_from()});
  if (took && *took) {
    if (look == Look::nothing) look = Look::something;
  } else if (took && reader.deleted() && pattern_) {
    gone_look_at_ = look_at_ = 0;  // it leaves with the next look
  } else if (took && reader.deleted()) {
    took = fail(Errc::deleted, "topic '{}' was deleted", reader.topic().name());
  }
  if (!took) look = failed(std::move(took.error()));
}

Batch ConsumerState::batch() const noexcept {
  Batch batch;
  batch.records_ = buffer_.records();
  batch.gaps_ = buffer_.gaps();
  batch.in_place_of_ = config_.in_place ? this : nullptr;
  return batch;
}

// One after the other with nothing behind it is how questions and answers come. After such a record the next one is handed out as soon as it is
// there: a look at what comes behind it would first fetch a cache line that nobody has written yet.
Polled ConsumerState::poll(nanoseconds timeout) {
  if (!bus_->ours()) [[unlikely]]
    return pass(usable());
  buffer_.clear();
  if (!in_place_.empty()) in_place_.clear();
  if (!settle_plainly()) [[unlikely]]
    if (auto settled = settle_if_automatic(); !settled) return pass(settled);
  if (membership_ && (membership_->changed() || !pending_.empty()) && may_take_something()) [[unlikely]]
    if (auto moved = rebalance(); !moved) return pass(moved);
  if (++looks_ % kLooksPerClock == 0) [[unlikely]]
    if (auto good = look_after_all(platform::boot_time()); !good) return pass(good);
  const std::uint32_t pauses = timeout > nanoseconds::zero() ? coalescing_.before_look() : 0;
  const Coalescing::Waited waited = pauses != 0 ? pause(pauses) : Coalescing::Waited{};
  const bool awaits = timeout > nanoseconds::zero() && may_await();
  if (awaits && readers_.front().looks_at_latest() && !readers_.front().comes_at_once() && await()) return batch();
  Look look = collect();
  if (++next_ >= readers_.size()) next_ = 0;
  const bool waits = look == Look::nothing;
  // What was behind a record that was taken alone shows now.
  std::size_t carried = std::exchange(cut_, false) ? 1 : 0;
  if (waits) {
    if (carried != 0) coalescing_.had(std::exchange(carried, 0), false, {}, false);
    if (awaits && await()) [[likely]]
      return batch();
    if (lone_) buffer_.limit(1);
    look = wait(timeout);
  }
  if (look == Look::failed) [[unlikely]]
    return tl::unexpected(std::move(*error_));
  const std::size_t count = buffer_.records().size();
  const std::size_t size = count != 0 ? buffer_.records().back().value().size() : 0;
  cut_ = waits && lone_ && count != 0;
  lone_ = waits && count == 1;
  if (!cut_) coalescing_.had(carried + count, carried + count >= config_.max_records, waited, waits, size);
  return batch();
}

bool ConsumerState::intact() const noexcept {
  return std::all_of(in_place_.begin(), in_place_.end(),
                     [&](const InPlace& begin) { return readers_[begin.reader].intact_since(begin.position); });
}

}  // namespace detail

// ---- the public handles --------------------------------------------------------------------------------------------------------

bool Batch::intact() const noexcept { return in_place_of_ == nullptr || in_place_of_->intact(); }

Consumer::Consumer(std::unique_ptr<detail::ConsumerState> state) noexcept : state_(std::move(state)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&&) noexcept = default;
Consumer::~Consumer() = default;

Result<void> Consumer::subscribe(const std::vector<std::string>& topics) { return state_->subscribe(topics); }
Result<void> Consumer::assign(const std::vector<TopicPartition>& partitions) { return state_->assign(partitions); }
Result<void> Consumer::unsubscribe(std::string_view topic) { return state_->unsubscribe(topic); }
Polled Consumer::poll(nanoseconds timeout) { return state_->poll(timeout); }
Result<void> Consumer::subscribe_pattern(std::string_view pattern) { return state_->subscribe_pattern(pattern); }
Result<void> Consumer::commit() { return state_->commit(); }
Result<void> Consumer::commit(const Record& record) {
  return state_->commit(record.topic(), record.partition(), record.offset() + 1);
}
Result<void> Consumer::commit(std::string_view topic, std::uint32_t partition, std::uint64_t offset) {
  return state_->commit(topic, partition, offset);
}
std::vector<TopicPartition> Consumer::assignment() const { return state_->assignment(); }
void Consumer::on_assignment(AssignmentListener listener) { state_->on_assignment(std::move(listener)); }
Result<int> Consumer::descriptor() { return state_->descriptor(); }
void Consumer::wake() const noexcept { state_->wake(); }
Result<void> Consumer::seek(std::string_view topic, std::uint32_t partition, Start to) {
  return state_->seek(topic, partition, to);
}

Result<std::uint64_t> Consumer::position(std::string_view topic, std::uint32_t partition) const {
  auto reader = state_->find(topic, partition);
  if (!reader) return pass(reader);
  return (*reader)->next_offset();
}
Result<std::uint64_t> Consumer::lag(std::string_view topic, std::uint32_t partition) const {
  auto reader = state_->find(topic, partition);
  if (!reader) return pass(reader);
  return (*reader)->lag();
}
Result<void> Consumer::pause(std::string_view topic, std::uint32_t partition) {
  auto reader = state_->find(topic, partition);
  if (!reader) return pass(reader);
  (*reader)->paused = true;
  return {};
}
Result<void> Consumer::resume(std::string_view topic, std::uint32_t partition) {
  auto reader = state_->find(topic, partition);
  if (!reader) return pass(reader);
  (*reader)->paused = false;
  return {};
}

}  // namespace arus
