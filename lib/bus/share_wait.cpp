// A share consumer waits: for records, for what others put back, for room in the window; and looks after those that died meanwhile.
#include <algorithm>
#include <ctime>

#include "bus/share_state.h"
#include "platform/error.h"
#include "ring/repair.h"

namespace arus::detail {

using platform::fail;
using platform::kIdleSleep;
using platform::pass;
using std::chrono::nanoseconds;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;           // ns
constexpr std::int64_t kDoubtfulSleep = 2 * kMillisecond;  // somebody may die without waking anybody, or is stopped
constexpr std::int64_t kUntoldSleep = 5 * kMillisecond;    // among others, without a death watch
constexpr std::int64_t kSuspicious = 20 * kMillisecond;    // the lock of a lease is released a moment after its event
constexpr std::uint32_t kRoundsPerClock = 32;

}  // namespace

Result<bool> ShareState::wait(nanoseconds timeout) {
  if (timeout <= nanoseconds::zero()) {
    if (bell_->has_descriptor())
      if (auto good = look_after_all(platform::boot_time()); !good) return pass(good);
    return arm_descriptor();
  }
  const platform::Deadline deadline = platform::Deadline::after(timeout.count());
  const bool may_sleep = config_.wait.mode != Wait::Mode::spin;
  const std::int64_t sleep_from = platform::boot_time() + (config_.wait.mode == Wait::Mode::sleep ? 0 : config_.wait.spin.count());
  for (std::uint32_t round = 1;; ++round) {
    platform::pause();
    if (auto found = collect(); !found || *found) return found;
    if (round % kRoundsPerClock != 0 && config_.wait.mode != Wait::Mode::sleep) continue;
    if (woken_.exchange(false, std::memory_order_acq_rel)) return false;
    const std::int64_t now = platform::boot_time();
    if (auto good = look_after_all(now); !good) return pass(good);
    if (deadline.passed()) return arm_descriptor();
    if (may_sleep && now >= sleep_from) sleep(deadline.left());
  }
}

// As with a Consumer: before the caller goes away, ask for the next event and look once more.
Result<bool> ShareState::arm_descriptor() {
  if (!bell_->has_descriptor()) return false;
  bell_->drain();
  for (const Place& place : places_) place.shared.ring().data.arm(bell_->index());
  const bool doubtful = any_open_claim();  // before the look: what is claimed then, it may not find yet
  auto found = collect();
  if (found && !*found && doubtful && ring::outwait_stores([&] { return any_ready(); })) found = collect();
  if (found && *found) bell_->wake();
  return found;
}

bool ShareState::any_ready() const noexcept {
  return std::any_of(places_.begin(), places_.end(), [](const Place& place) { return place.shared.ready(); });
}

bool ShareState::any_open_claim() const noexcept {
  return std::any_of(places_.begin(), places_.end(), [](const Place& place) { return place.shared.open_claim(); });
}

bool ShareState::has_company() const noexcept {
  const std::uint64_t own = bus_->directory().incarnation();
  return std::any_of(subscriptions_.begin(), subscriptions_.end(), [&](const Subscription& one) {
    const group::Word* holders = one.file->holders();
    return std::any_of(holders, holders + group::kHolders, [&](const group::Word& holder) {
      const std::uint64_t incarnation = holder.load(std::memory_order_relaxed);
      return incarnation != platform::kNoIncarnation && incarnation != own;
    });
  });
}

// Once: the caller looks again. See ring/wake.h for the order.
void ShareState::sleep(std::int64_t ns) noexcept {
  const bool company = has_company();
  if (company && !watch_) watch_ = platform::DeathWatch::open(*bus_->directory().leases());
  const int beside = company && watch_ && bell_->descriptor() ? watch_->descriptor() : -1;
  if (beside >= 0) bell_->drain();
  const std::uint32_t rings = bell_->rings();
  bool doubtful = !unburied_.empty();
  for (const Place& place : places_) {
    place.shared.ring().data.arm(bell_->index());
    doubtful |= place.shared.open_claim() || !place.shared.fits();
  }
  if (any_ready() || woken_.load(std::memory_order_acquire)) return;
  if (doubtful && ring::outwait_stores([&] { return any_ready(); })) return;
  ns = std::min(ns, doubtful ? kDoubtfulSleep : kIdleSleep);
  if (company && beside < 0) ns = std::min(ns, kUntoldSleep);
  if (platform::boot_time() < suspicious_till_) ns = std::min(ns, kMillisecond);
  if (beside >= 0)
    bell_->sleep_beside(beside, ns);
  else
    bell_->sleep(rings, ns);
  look_at_ = 0;
}

// The claim that is next, if its owner died in it.
void ShareState::repair_what_is_in_the_way(Place& place) const {
  const std::uint64_t position = place.shared.end_position();
  if (!place.shared.fits() || !place.shared.open_claim()) {
    place.seen_open = 0;
    return;
  }
  if (std::exchange(place.seen_open, position) != position) return;  // give its owner until the next look
  const std::uint64_t own = bus_->directory().incarnation();
  if (place.open.ring.writable) {
    ring::recover(place.open.ring, position, own);
  } else if (auto writable = subscriptions_[place.subscription].topic->partition(place.partition, platform::Access::write);
             writable) {
    ring::recover(writable->ring, position, own);
  }  // else a producer has to
}

// Kept from poll to poll, so that one who only ever looks gets on as well.
Result<void> ShareState::look_after_all(std::int64_t now) {
  if (now < look_at_) return {};
  look_at_ = now + kMillisecond;
  for (Place& place : places_) repair_what_is_in_the_way(place);
  if (auto buried = bury_what_is_left(); !buried) return buried;
  look_after_members(now);
  if (now < gone_look_at_) return {};
  gone_look_at_ = now + kIdleSleep;
  for (Place& place : places_) place.shared.look_from_base();  // one who put something back may have died before telling
  for (const Subscription& one : subscriptions_) {
    if (auto there = one.topic->check(); !there) return there;
    if (one.file->removed())
      return fail(Errc::fenced, "share group '{}' was deleted; make a new consumer and subscribe again", config_.group);
  }
  return bus_->check();
}

void ShareState::look_after_members(std::int64_t now) {
  if (watch_ && watch_->heard()) suspicious_till_ = now + kSuspicious;
  if (now >= suspicious_till_ && now < ask_at_) return;
  ask_at_ = now + (watch_ || !has_company() ? kIdleSleep : kUntoldSleep);
  for (std::size_t i = 0; i < subscriptions_.size(); ++i) put_back_the_dead(i);
  if (!watch_ && has_company()) watch_ = platform::DeathWatch::open(*bus_->directory().leases());
}

Result<int> ShareState::descriptor() {
  if (auto good = usable(); !good) return pass(good);
  auto descriptor = bell_->descriptor();
  if (!descriptor) return descriptor;
  bell_->wake();  // readable at first: the first poll arms it
  if (!watch_) watch_ = platform::DeathWatch::open(*bus_->directory().leases());
  if (!descriptors_) {
    auto set = platform::DescriptorSet::make();
    if (!set) return pass(set);
    descriptors_ = std::move(*set);
    if (auto added = descriptors_->add(*descriptor); !added) return pass(added);
    if (watch_)
      if (auto added = descriptors_->add(watch_->descriptor()); !added) return pass(added);
  }
  return descriptors_->get();
}

void ShareState::wake() noexcept {
  woken_.store(true, std::memory_order_release);
  bell_->wake();
}

}  // namespace arus::detail
