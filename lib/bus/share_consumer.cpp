// Subscribing, taking and settling; the waiting stands in share_wait.cpp.
#include <arus/share.h>

#include <algorithm>
#include <bit>

#include "bus/record_access.h"
#include "bus/share_state.h"
#include "group/group_file.h"
#include "platform/error.h"
#include "platform/kill_point.h"

namespace arus {

using platform::fail;
using platform::pass;
using std::memory_order_acquire;
using std::memory_order_relaxed;

namespace detail {
namespace {

constexpr std::int64_t kPatience = 2'000'000'000;  // ns
constexpr std::uint32_t kRejected = 0xffff;        // deliveries of a record that was rejected and is still to be buried
static_assert(kRejected > group::kMostDeliveries);

}  // namespace

// ---- coming and going ------------------------------------------------------------------------------------------------------------

ShareState::ShareState(std::shared_ptr<BusState> bus, const ShareConfig& config) : bus_(std::move(bus)), config_(config) {
  records_.reserve(config_.max_records);
}

Result<std::unique_ptr<ShareState>> ShareState::make(std::shared_ptr<BusState> bus, const ShareConfig& config) {
  constexpr std::uint32_t kMost = 1u << 16;
  if (auto good = group::GroupFile::check_name(config.group); !good) return pass(good);
  if (config.max_records == 0 || config.max_records > kMost || config.max_acquired == 0 || config.max_acquired > kMost)
    return fail(Errc::invalid_argument, "max_records is {} and max_acquired {}; both must be 1 to {}", config.max_records,
                config.max_acquired, kMost);
  if (config.max_deliveries == 0 || config.max_deliveries > group::kMostDeliveries)
    return fail(Errc::invalid_argument, "max_deliveries is {}; it must be 1 to {}", config.max_deliveries, group::kMostDeliveries);
  if (config.window < group::kSmallestWindow || config.window > group::kLargestWindow || !std::has_single_bit(config.window))
    return fail(Errc::invalid_argument, "window is {}; it must be a power of two from {} to {}", config.window,
                group::kSmallestWindow, group::kLargestWindow);
  if (config.grace < std::chrono::nanoseconds::zero())
    return fail(Errc::invalid_argument, "grace of share group '{}' must not be negative; it is {} ns", config.group,
                config.grace.count());
  log::BusDirectory& directory = bus->directory();
  if (auto able = directory.need_lease("working in a share group"); !able) return pass(able);
  std::unique_ptr<ShareState> state(new ShareState(std::move(bus), config));
  if (!config.dead_letter_topic.empty()) {
    auto topic = TopicState::open(state->bus_, config.dead_letter_topic);
    if (!topic) return pass(topic);
    auto producer = ProducerState::make(*topic, {});
    if (!producer) return pass(producer);
    state->dead_letters_ = std::move(*producer);
  }
  auto bell = platform::Bell::take(directory.bells(), directory.incarnation());
  if (!bell) return pass(bell);
  state->bell_ = std::move(*bell);
  return state;
}

ShareState::~ShareState() {
  if (!bus_->ours()) return;
  for (std::size_t i = 0; i < subscriptions_.size(); ++i) leave(i);
}

Result<void> ShareState::usable() const {
  if (!bus_->ours()) [[unlikely]]
    return fail(Errc::forked, "this share consumer belongs to the parent process; open the bus anew in the child");
  return {};
}

Result<void> ShareState::subscribe(const std::vector<std::string>& topics) {
  if (auto good = usable(); !good) return good;
  const std::size_t before = subscriptions_.size();
  for (const std::string& name : topics) {
    const auto same = [&](const Subscription& one) { return one.topic->name() == name; };
    if (std::any_of(subscriptions_.begin(), subscriptions_.end(), same)) continue;
    if (auto attached = attach(name); !attached) {
      for (std::size_t i = before; i < subscriptions_.size(); ++i) leave(i);
      while (!places_.empty() && places_.back().subscription >= before) places_.pop_back();
      subscriptions_.resize(before);
      return attached;
    }
  }
  ask_at_ = 0;
  return {};
}

Result<void> ShareState::attach(const std::string& name) {
  auto topic = TopicState::open(bus_, name);
  if (!topic) return pass(topic);
  const TopicConfig& config = (*topic)->config();
  const log::BusDirectory& directory = bus_->directory();
  if (!config.back_pressure)
    return fail(
        Errc::forbidden,
        "topic '{}' permits no back-pressure, which a share group needs; create it with back-pressure, or read it as an observer",
        name);
  if (!(*topic)->waits())
    return fail(Errc::permission_denied, "{}: a member of a share group must be able to write it",
                log::waits_path((*topic)->directory()));
  if (name == config_.dead_letter_topic)
    return fail(Errc::invalid_argument, "topic '{}' is the dead-letter topic of share group '{}'; it cannot be read by it", name,
                config_.group);
  if (dead_letters_) {
    const std::size_t needed = ring::most_bytes(config.partition_bytes >> ring::kCellShift);
    const std::uint32_t size = dead_letters_->topic().config().record_size;
    if (dead_letters_->max_record_bytes() < needed || (size != 0 && size != config.record_size))
      return fail(
          Errc::invalid_argument,
          "records of topic '{}' do not always fit into the dead-letter topic '{}'; make it with partitions of at least {} bytes, "
          "and with the same record size or none",
          name, config_.dead_letter_topic, config.partition_bytes);
  }
  auto table = (*topic)->groups(platform::Access::write);
  if (!table) return pass(table);
  const log::Id& id = (*topic)->id();
  auto lock = group::ShareFile::lock(directory, config_.group, id, kPatience);
  if (!lock) return pass(lock);
  auto index = (*table)->find_or_add(config_.group, group::GroupTable::Kind::share);
  if (!index) return pass(index);
  const auto cells = static_cast<std::uint32_t>(std::min<std::uint64_t>(config.partition_bytes >> ring::kCellShift, 1u << 31));
  auto file = group::ShareFile::open_or_create(directory, id, config.partitions,
                                               {.group = config_.group,
                                                .dead_letter_topic = config_.dead_letter_topic,
                                                .window = std::min(config_.window, cells),
                                                .most_deliveries = config_.max_deliveries,
                                                .grace_ns = config_.grace.count()});
  if (!file) return pass(file);
  (*file)->note_lock_holder(directory.incarnation());
  auto reader = (*topic)->waits()->add_reader(directory.incarnation(), *directory.leases());
  if (!reader) return pass(reader);
  subscriptions_.push_back({.topic = *topic, .table = *table, .file = *file, .lease = nullptr, .slot = kNoSlot, .reader = *reader});
  const std::size_t number = subscriptions_.size() - 1;
  for (std::uint32_t i = 0; i < config.partitions; ++i) {
    auto open = (*topic)->partition(i, platform::Access::read);
    if (!open) return pass(open);
    group::SharedPartition shared(open->ring, (*table)->cursors(i)[*index], (*file)->window(i), (*file)->spec().window,
                                  (*file)->holders());
    places_.push_back({.subscription = number, .partition = i, .open = std::move(*open), .shared = shared});
  }
  auto lease = (*file)->hold_lease(*directory.leases());
  if (!lease) return pass(lease);
  subscriptions_.back().lease = std::move(*lease);
  put_back_the_dead(number);
  auto slot = (*file)->take_slot(directory.incarnation());
  if (!slot) return pass(slot);
  subscriptions_.back().slot = *slot;
  for (Place& place : places_) {
    if (place.subscription != number) continue;
    // What an eviction cost the group is counted; this consumer has not lost anything.
    if (auto ordered = reorder_locked(place); !ordered && ordered.error().code() != Errc::evicted) return ordered;
  }
  (*file)->note_lock_holder(platform::kNoIncarnation);
  return {};
}

void ShareState::leave(std::size_t number) noexcept {
  Subscription& subscription = subscriptions_[number];
  const std::uint64_t incarnation = bus_->directory().incarnation();
  if (subscription.slot != kNoSlot) {
    for (Place& place : places_)
      if (place.subscription == number) place.shared.put_back_all(subscription.slot, incarnation);
    std::uint64_t mine = incarnation;
    subscription.file->holders()[subscription.slot].compare_exchange_strong(mine, platform::kNoIncarnation,
                                                                            std::memory_order_acq_rel);
    ARUS_KILL_POINT("S-left");
  }
  subscription.topic->waits()->remove_reader(subscription.reader, incarnation);
}

// ---- owner, order, the dead ------------------------------------------------------------------------------------------------------

Result<void> ShareState::reorder(Place& place) {
  const Subscription& subscription = subscriptions_[place.subscription];
  const log::BusDirectory& directory = bus_->directory();
  if (subscription.file->removed())
    return fail(Errc::fenced, "share group '{}' was deleted; make a new consumer and subscribe again", config_.group);
  auto lock = group::ShareFile::lock(directory, config_.group, subscription.topic->id(), 0);
  if (!lock) return pass(lock);
  if (subscription.file->removed()) return reorder(place);
  if (place.shared.fits() && !place.shared.is_ownerless(*directory.leases())) return {};
  subscription.file->note_lock_holder(directory.incarnation());
  auto ordered = reorder_locked(place);
  subscription.file->note_lock_holder(platform::kNoIncarnation);
  return ordered;
}

Result<void> ShareState::reorder_locked(Place& place) {
  const Subscription& subscription = subscriptions_[place.subscription];
  group::Policy policy;
  policy.grace_ns = subscription.file->spec().grace_ns;
  group::SharedPartition::Lost lost{};
  auto ordered = place.shared.reorder(subscription.lease->incarnation(), subscription.slot + 1, policy, config_.start, lost);
  if (!ordered) return pass(ordered);
  if (!*ordered) return {};
  return fail(Errc::evicted,
              "share group '{}' was evicted from partition {} of topic '{}'; it goes on at offset {}, and lost {} records from "
              "offset {} on",
              config_.group, place.partition, subscription.topic->name(), lost.to, lost.records, lost.from);
}

void ShareState::put_back_the_dead(std::size_t number) {
  const Subscription& subscription = subscriptions_[number];
  const platform::Leases& leases = *bus_->directory().leases();
  const std::uint64_t own = bus_->directory().incarnation();
  for (std::uint32_t i = 0; i < group::kHolders; ++i) {
    group::Word& holder = subscription.file->holders()[i];
    std::uint64_t incarnation = holder.load(memory_order_acquire);
    if (incarnation == platform::kNoIncarnation || incarnation == own || !leases.dead(incarnation)) continue;
    for (Place& place : places_)
      if (place.subscription == number) place.shared.put_back_all(i, incarnation);
    ARUS_KILL_POINT("S-freed");
    holder.compare_exchange_strong(incarnation, platform::kNoIncarnation, std::memory_order_acq_rel);
  }
}

// ---- taking ----------------------------------------------------------------------------------------------------------------------

Result<bool> ShareState::take_from(Place& place) {
  const Subscription& subscription = subscriptions_[place.subscription];
  const std::uint32_t most = subscription.file->spec().most_deliveries;
  const auto number = static_cast<std::uint32_t>(&place - places_.data());
  bool took = false;
  place.shared.advance();
  for (int unfit = 0; records_.size() < config_.max_records && held_ < config_.max_acquired;) {
    group::Acquired acquired{};
    switch (place.shared.acquire(subscription.slot, most, acquired)) {
      case group::SharedPartition::Found::record: {
        SharedRecord record;
        RecordAccess::fill(record, acquired.view, acquired.view.data + ring::kRecordHeader, &subscription.topic->name(),
                           place.partition);
        record.place_ = number;
        record.sequence_ = acquired.sequence;
        record.word_ = acquired.word.word;
        record.deliveries_ = acquired.word.deliveries();
        if (!acquired.is_worn_out) [[likely]] {
          records_.push_back(record);
          ++held_;
          took = true;
        } else if (auto buried = bury(record, record.deliveries_ == kRejected); !buried) {
          unburied_.push_back(record);
          if (buried.error().code() != Errc::full) return pass(buried);
        }
        continue;
      }
      case group::SharedPartition::Found::nothing: break;
      case group::SharedPartition::Found::unfit:
        if (place.shared.ring().deleted()) break;
        if (place.shared.fits() && ++unfit < 100) continue;
        if (auto ordered = reorder(place); ordered) {
          if (++unfit < 100) continue;
        } else if (ordered.error().code() != Errc::in_use) {  // else somebody else is at it
          count_held();
          return pass(ordered);
        }
        break;
      case group::SharedPartition::Found::corrupt:
        return fail(Errc::corrupt,
                    "partition {} of topic '{}', or what share group '{}' knows of it, has impossible content; delete the group",
                    place.partition, subscription.topic->name(), config_.group);
    }
    break;
  }
  if (!took && place.shared.ring().deleted()) return fail(Errc::deleted, "topic '{}' was deleted", subscription.topic->name());
  return took;
}

// One look at every partition. An error counts when there is nothing else to report.
Result<bool> ShareState::collect() {
  Result<bool> result = false;
  const std::size_t count = places_.size();
  for (std::size_t i = 0; i < count; ++i) {
    auto took = take_from(places_[(next_ + i) % count]);
    if (!took && took.error().code() == Errc::evicted)
      evicted_ = took.error();  // told with the next poll that has nothing better to tell
    else if (!took)
      result = std::move(took);
  }
  if (!records_.empty() || evicted_) return true;
  return result;
}

Result<ShareBatch> ShareState::poll(std::chrono::nanoseconds timeout) {
  if (auto good = usable(); !good) return pass(good);
  records_.clear();
  if (held_ >= config_.max_acquired) count_held();
  if (held_ >= config_.max_acquired)
    return fail(Errc::limit_reached,
                "this consumer of share group '{}' holds {} records, its max_acquired; accept, release or reject some",
                config_.group, held_);
  if (auto good = look_after_all(stamper_.now()); !good) return pass(good);
  auto found = collect();
  next_ = next_ + 1 < places_.size() ? next_ + 1 : 0;
  if (found && !*found) found = wait(timeout);
  if (!found) return pass(found);
  if (records_.empty() && evicted_) return tl::unexpected<Error>(*std::exchange(evicted_, std::nullopt));
  ShareBatch batch;
  batch.records_ = records_;
  return batch;
}

// ---- settling ----------------------------------------------------------------------------------------------------------------------

// The caller may settle while the group is evicted: what was lost is nobody's any more.
void ShareState::count_held() noexcept {
  std::size_t count = 0;
  for (const Place& place : places_) count += place.shared.count_held(subscriptions_[place.subscription].slot);
  held_ = count - std::min(count, unburied_.size());
}

Result<ShareState::Place*> ShareState::find(const SharedRecord& record) {
  if (auto good = usable(); !good) return pass(good);
  // Of this consumer if it names this consumer's topic, and not only one of the same name.
  if (record.place_ < places_.size()) {
    Place& place = places_[record.place_];
    if (record.topic().data() == subscriptions_[place.subscription].topic->name().data()) return &place;
  }
  return fail(Errc::invalid_argument, "the record does not come from this share consumer");
}

tl::unexpected<Error> ShareState::not_held(const SharedRecord& record) {
  count_held();
  const Place& place = places_[record.place_];
  if (place.shared.is_gone(record.sequence_))
    return fail(Errc::evicted,
                "offset {} of partition {} of topic '{}' was lost: share group '{}' was evicted while this consumer held it",
                record.offset(), record.partition(), record.topic(), config_.group);
  return fail(Errc::invalid_argument, "this consumer does not hold offset {} of partition {} of topic '{}' (any more)",
              record.offset(), record.partition(), record.topic());
}

Result<void> ShareState::accept(std::span<const SharedRecord> records) {
  Result<void> result{};
  Place* last = nullptr;
  for (const SharedRecord& record : records) {
    auto place = find(record);
    if (!place) {
      result = pass(place);
      continue;
    }
    if (last != nullptr && last != *place) last->shared.advance();
    last = *place;
    if (last->shared.settle(record.sequence_, {record.word_})) {
      last->shared.window().accepted.fetch_add(1, memory_order_relaxed);
      --held_;
    } else {
      result = not_held(record);
    }
  }
  if (last != nullptr) last->shared.advance();
  return result;
}

Result<void> ShareState::release(const SharedRecord& record) {
  auto place = find(record);
  if (!place) return pass(place);
  if (!(*place)->shared.put_back(record.sequence_, {record.word_}, record.deliveries_)) return not_held(record);
  --held_;
  return {};
}

Result<void> ShareState::reject(const SharedRecord& record) {
  auto place = find(record);
  if (!place) return pass(place);
  if (!(*place)->shared.holds(record.sequence_, {record.word_})) return not_held(record);
  auto buried = bury(record, true);
  if (!buried && buried.error().code() != Errc::full) return buried;
  // Whoever comes by buries it when there is room, also if this process is gone by then.
  if (!buried && !(*place)->shared.put_back(record.sequence_, {record.word_}, kRejected)) return not_held(record);
  --held_;
  return {};
}

// First the copy, then the original: a crash in between leaves two copies, and never none. `full`: there is no room for it now.
Result<void> ShareState::bury(const SharedRecord& record, bool rejected) {
  group::SharedPartition& shared = places_[record.place_].shared;
  group::ShareWindow& window = shared.window();
  if (!shared.holds(record.sequence_, {record.word_})) return {};  // evicted: its bytes may be others' by now
  if (dead_letters_) {
    using std::to_string;
    const std::string partition = to_string(record.partition());
    const std::string offset = to_string(record.offset());
    const std::string deliveries = to_string(record.deliveries_);
    std::vector<Header> headers;
    for (const Header header : record.headers()) headers.push_back(header);
    const std::size_t own = headers.size();
    headers.insert(headers.end(), {{"dead-letter.topic", bytes(record.topic())},
                                   {"dead-letter.partition", bytes(partition)},
                                   {"dead-letter.offset", bytes(offset)},
                                   {"dead-letter.group", bytes(config_.group)},
                                   {"dead-letter.reason", bytes(rejected ? "rejected" : "deliveries")}});
    if (record.deliveries_ != kRejected) headers.push_back({"dead-letter.deliveries", bytes(deliveries)});
    Envelope envelope{.key = record.key(), .headers = headers, .timestamp = record.timestamp()};
    auto placed = dead_letters_->send(record.value(), envelope, std::chrono::nanoseconds::zero());
    if (!placed && (placed.error().code() == Errc::too_large || placed.error().code() == Errc::invalid_argument)) {
      headers.resize(own);
      envelope.headers = headers;
      placed = dead_letters_->send(record.value(), envelope, std::chrono::nanoseconds::zero());
    }
    if (!placed) return pass(placed);
    ARUS_KILL_POINT("S-buried");
  }
  if (!shared.settle(record.sequence_, {record.word_})) return {};
  (dead_letters_ ? window.dead_lettered : window.discarded).fetch_add(1, memory_order_relaxed);
  if (rejected) window.rejected.fetch_add(1, memory_order_relaxed);
  shared.advance();
  return {};
}

Result<void> ShareState::bury_what_is_left() {
  while (!unburied_.empty()) {
    const SharedRecord& one = unburied_.back();
    auto buried = bury(one, one.deliveries_ == kRejected);
    if (!buried) return buried.error().code() == Errc::full ? Result<void>{} : buried;
    unburied_.pop_back();
  }
  return {};
}

}  // namespace detail

// ---- the public handle -----------------------------------------------------------------------------------------------------------

ShareConsumer::ShareConsumer(std::unique_ptr<detail::ShareState> state) noexcept : state_(std::move(state)) {}
ShareConsumer::ShareConsumer(ShareConsumer&&) noexcept = default;
ShareConsumer& ShareConsumer::operator=(ShareConsumer&&) noexcept = default;
ShareConsumer::~ShareConsumer() = default;

Result<void> ShareConsumer::subscribe(const std::vector<std::string>& topics) { return state_->subscribe(topics); }
SharePolled ShareConsumer::poll(std::chrono::nanoseconds timeout) { return state_->poll(timeout); }
Result<void> ShareConsumer::accept(const SharedRecord& record) { return state_->accept({&record, 1}); }
Result<void> ShareConsumer::accept(const ShareBatch& batch) { return state_->accept({batch.begin(), batch.size()}); }
Result<void> ShareConsumer::release(const SharedRecord& record) { return state_->release(record); }
Result<void> ShareConsumer::reject(const SharedRecord& record) { return state_->reject(record); }
std::size_t ShareConsumer::acquired() const noexcept { return state_->held(); }
Result<int> ShareConsumer::descriptor() { return state_->descriptor(); }
void ShareConsumer::wake() const noexcept { state_->wake(); }

}  // namespace arus
