// Of ConsumerState: waiting for something to read, spinning and asleep, and what is looked after meanwhile.
#include <algorithm>
#include <ctime>
#include <utility>

#include "bus/consumer_state.h"
#include "platform/error.h"

namespace arus::detail {

using platform::fail;
using platform::kIdleSleep;
using platform::pass;
using std::chrono::nanoseconds;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;           // ns
constexpr std::int64_t kDoubtfulSleep = 2 * kMillisecond;  // behind an open claim: its owner may die without waking anybody
constexpr std::int64_t kBlindSleep = kMillisecond;         // without permission to be woken
constexpr std::int64_t kPendingSleep = 50 * kMillisecond;  // a reader that lets go may die before it tells

}  // namespace

ConsumerState::Look ConsumerState::wait(nanoseconds timeout) {
  if (timeout <= nanoseconds::zero()) {
    if (!bell_ || !bell_->has_descriptor()) return Look::nothing;
    if (membership_) membership_->listen();
    if (auto good = look_after_all(platform::boot_time()); !good) return failed(std::move(good.error()));
    return arm_descriptor();
  }
  const bool may_sleep = config_.wait.mode != Wait::Mode::spin;
  // Set at the first look at the clock: reading it costs as much as an answer takes to come.
  std::optional<platform::Deadline> deadline;
  std::int64_t sleep_from = 0;
  const std::uint32_t pauses = coalescing_.between_looks();
  for (std::uint32_t paused = 0;;) {
    // (Readers come and go with look_after_all().)
    if (may_await() && readers_.front().looks_at_latest()) {
      if (await()) return Look::something;
      platform::pause();
      paused = kPausesPerClock;
    } else {
      for (std::uint32_t i = 0; i < pauses; ++i) platform::pause();
      if (lone_ && readers_.size() == 1) readers_.front().expect_soon();
    }
    if (any_ready())
      if (const Look look = collect(); look != Look::nothing) return look;
    if ((paused += pauses) < kPausesPerClock && config_.wait.mode != Wait::Mode::sleep) continue;
    paused = 0;
    if (woken_.exchange(false, std::memory_order_acq_rel)) return Look::nothing;
    // Skipped claims move readers on although there is nothing to hand out; producers may be waiting for that room.
    if (auto settled = settle_if_automatic(); !settled) return failed(std::move(settled.error()));
    const std::int64_t now = platform::boot_time();
    if (auto good = look_after_all(now); !good) return failed(std::move(good.error()));
    if (!deadline) {
      deadline = platform::Deadline::after(timeout.count());
      sleep_from = now + (config_.wait.mode == Wait::Mode::sleep ? 0 : config_.wait.spin.count());
    } else if (deadline->passed()) {
      return arm_descriptor();
    }
    if (may_sleep && now >= sleep_from) sleep(deadline->left());
  }
}

// Behind a descriptor nobody polls until it is readable: so before the caller goes away, ask for the next event and look once more.
ConsumerState::Look ConsumerState::arm_descriptor() {
  if (!bell_ || !bell_->has_descriptor()) return Look::nothing;
  bell_->drain();
  for (const PartitionReader& reader : readers_)
    if (!reader.paused) reader.arm(bell_->index());
  if (membership_) membership_->file().changes().arm(bell_->index());
  if (must_rebalance())
    if (auto moved = rebalance(); !moved) return failed(std::move(moved.error()));
  const bool doubtful = any_open_claim();  // before the look: what is claimed then, it may not find yet
  Look look = collect();
  if (look == Look::nothing && doubtful && ring::outwait_stores([&] { return any_ready(); })) look = collect();
  // Stays readable until a poll has found nothing, and while somebody may be dying.
  if (look == Look::something || (membership_ && membership_->is_suspicious(platform::boot_time()))) bell_->wake();
  return look;
}

bool ConsumerState::any_ready() const noexcept {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const PartitionReader& reader) { return !reader.paused && reader.ready(); });
}

bool ConsumerState::any_open_claim() const noexcept {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const PartitionReader& reader) { return !reader.paused && reader.open_claim(); });
}

// Once: the caller looks again. See ring/wake.h for the order.
void ConsumerState::sleep(std::int64_t ns) noexcept {
  bool heard = bell_ != nullptr;
  // Among other members: on descriptors, one of which tells of deaths.
  const int beside =
      heard && membership_ && membership_->has_company() && bell_->descriptor() ? membership_->watch_descriptor() : -1;
  if (beside >= 0) bell_->drain();
  const std::uint32_t rings = heard ? bell_->rings() : 0;
  bool doubtful = false;
  for (const PartitionReader& reader : readers_) {
    if (reader.paused) continue;
    if (heard && !reader.arm(bell_->index())) heard = false;
    doubtful |= reader.open_claim();
  }
  if (membership_ && heard) membership_->file().changes().arm(bell_->index());
  if (any_ready() || may_take_something() || woken_.load(std::memory_order_acquire)) return;
  if (doubtful && ring::outwait_stores([&] { return any_ready(); })) return;
  if (membership_) ns = std::min(ns, membership_->longest_sleep(platform::boot_time()));
  if (!pending_.empty()) ns = std::min(ns, kPendingSleep);
  if (heard && beside >= 0) {
    bell_->sleep_beside(beside, std::min(ns, doubtful ? kDoubtfulSleep : kIdleSleep));
    look_at_ = 0;
    membership_->listen();
  } else if (heard) {
    bell_->sleep(rings, std::min(ns, doubtful ? kDoubtfulSleep : kIdleSleep));
  } else {
    const timespec nap{0, static_cast<long>(std::min(ns, kBlindSleep))};
    nanosleep(&nap, nullptr);
  }
}

// Kept from poll to poll, so that one who only ever looks, or waits for less than a sleep, gets on as well.
Result<void> ConsumerState::look_after_all(std::int64_t now) {
  if (now < look_at_) return {};
  look_at_ = now + kMillisecond;
  for (PartitionReader& reader : readers_)
    if (!reader.paused) reader.look_after();
  if (membership_) {
    if (auto looked = membership_->look_after(now); !looked) {
      if (looked.error().code() == Errc::fenced) return leave_fenced(looked.error());
      return looked;
    }
    if (must_rebalance())
      if (auto moved = rebalance(); !moved) return moved;
  }
  if (now >= gone_look_at_) {
    gone_look_at_ = now + kIdleSleep;
    if (pattern_) {
      if (auto good = bus_->check(); !good) return good;
      return follow_pattern();
    }
    for (const Subscription& subscription : subscriptions_)
      if (auto there = subscription.topic->check(); !there) return there;
    return bus_->check();
  }
  return {};
}

Result<int> ConsumerState::descriptor() {
  if (auto good = usable(); !good) return pass(good);
  const auto deaf = std::find_if(readers_.begin(), readers_.end(),
                                 [](const PartitionReader& reader) { return reader.topic().waits() == nullptr; });
  if (!bell_ || deaf != readers_.end())
    return fail(Errc::permission_denied,
                "a descriptor needs write permission to {}, so that producers can wake this process; poll with a timeout instead",
                bell_ ? log::waits_path(deaf->topic().directory()) : bus_->directory().path());
  auto descriptor = bell_->descriptor();
  if (!descriptor) return descriptor;
  bell_->wake();  // readable at first: the first poll arms it
  if (config_.group.empty()) return descriptor;
  // In a group the deaths of other members are something to poll for.
  if (!descriptors_) {
    auto set = platform::DescriptorSet::make();
    if (!set) return pass(set);
    descriptors_ = std::move(*set);
    if (auto added = descriptors_->add(*descriptor); !added) return pass(added);
  }
  if (membership_ && membership_->watch_descriptor() >= 0)
    if (auto added = descriptors_->add(membership_->watch_descriptor()); !added) return pass(added);
  return descriptors_->get();
}

void ConsumerState::wake() noexcept {
  woken_.store(true, std::memory_order_release);
  if (bell_) bell_->wake();
}

}  // namespace arus::detail
