// Reading topics.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arus/config.h"
#include "arus/record.h"
#include "arus/result.h"

namespace arus {

namespace detail {
class BusState;
class ConsumerState;
}  // namespace detail

// What one poll found: records in order per partition, and what is missing between them. Valid until the next poll, seek,
// commit or unsubscribe of its consumer, or the consumer's end.
class Batch {
 public:
  Batch() noexcept = default;
  [[nodiscard]] const Record* begin() const noexcept { return records_.data(); }
  [[nodiscard]] const Record* end() const noexcept { return records_.data() + records_.size(); }

  [[nodiscard]] std::size_t size() const noexcept { return records_.size(); }
  [[nodiscard]] bool empty() const noexcept { return records_.empty(); }
  [[nodiscard]] const Record& operator[](std::size_t i) const noexcept { return records_[i]; }
  // What will not be delivered, each before the batch's records of higher offsets.
  [[nodiscard]] std::span<const Gap> gaps() const noexcept { return gaps_; }
  // Observers that read in place: whether every record of the batch was still whole when this was called. Always true for others.
  [[nodiscard]] bool intact() const noexcept;

 private:
  friend class detail::ConsumerState;
  std::span<const Record> records_;
  std::span<const Gap> gaps_;
  const detail::ConsumerState* in_place_of_ = nullptr;
};

// What poll() returns: a Result<Batch> whose value() and * on a temporary hand the batch out by value, and not as a reference into
// what is about to go. So `for (const Record& record : consumer.poll(1s).value())` is safe, which in C++20 it would not be otherwise.
class Polled : public Result<Batch> {
 public:
  using Result<Batch>::Result;
  Polled(Result<Batch> result) noexcept : Result<Batch>(std::move(result)) {}
  [[nodiscard]] const Batch& value() const& { return Result<Batch>::value(); }
  [[nodiscard]] Batch value() && { return Result<Batch>::value(); }
  [[nodiscard]] const Batch& operator*() const& noexcept { return Result<Batch>::operator*(); }
  [[nodiscard]] Batch operator*() && noexcept { return Result<Batch>::operator*(); }
};

struct TopicPartition {
  std::string topic;
  std::uint32_t partition;
};

// What a member is told when partitions come and go; called inside subscribe(), unsubscribe() and poll(), by their thread.
struct AssignmentListener {
  // They are this consumer's from here on.
  std::function<void(std::span<const TopicPartition>)> assigned{};
  // They are about to go to another member: the last moment to commit() what was done with them. Not called for what a member loses with
  // its process, or when it is fenced.
  std::function<void(std::span<const TopicPartition>)> revoked{};
};

// Reads one or several topics. Move-only; belongs to one thread at a time.
//
// As an observer (no group): lossy, exact. What it lost is in Batch::gaps(). Needs read permission only; without write
// permission to the topic's wait flags it sleeps in steps of a millisecond.
// In a group: the members share the partitions of the topics they subscribe to; each partition is read by one of them. When members come
// and go, only the partitions that move stop, from when their reader lets them go (at its next poll) or is dead until the next one
// takes them; a member must therefore keep polling. A record is settled by the next poll, unless auto_commit is off, or by commit():
// then producers may overwrite it, and a successor starts behind it. A member that dies before that leaves its last batch to the
// successor: at least once.
//
// Crash: see above; a dead member's partitions are taken over as soon as another one looks. Stopped: a member keeps its partitions for
// as long as its process lives, and a lossless group that has no stall limit holds producers back meanwhile. Fork: every call in the
// child answers `forked`.
class Consumer {
 public:
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();

  // Adds topics. On an error none is added. In a group: takes part in sharing them out, and takes what is free at once; the rest comes with
  // later polls. Errors: `not_found`, `permission_denied`, `forbidden` (a lossless group on a topic without back-pressure), `in_use` (the
  // instance name belongs to a live process), `config_mismatch` (other live members of the group have other settings),
  // `limit_reached`, `out_of_range`.
  Result<void> subscribe(const std::vector<std::string>& topics);
  // All topics of the bus whose whole name matches an extended regular expression, also those that are made later (noticed within two seconds);
  // deleted ones leave by themselves.
  Result<void> subscribe_pattern(std::string_view pattern);
  // The same as subscribe() for single partitions, which do not take part in sharing out. In a group: `in_use` if another member reads one.
  Result<void> assign(const std::vector<TopicPartition>& partitions);
  Result<void> unsubscribe(std::string_view topic);

  // What it reads now.
  [[nodiscard]] std::vector<TopicPartition> assignment() const;
  void on_assignment(AssignmentListener listener);

  // Waits until there is something, at most for `timeout` (zero: look once); an empty batch without gaps means that time is up.
  // Errors: `deleted` (a topic of it), `corrupt`, `evicted` (once; the next poll goes on, with the gap if there is one), `fenced` (not a
  // member any more, subscribed to nothing), `out_of_range` (OnLost::fail), `forked`.
  Polled poll(std::chrono::nanoseconds timeout);

  // Groups: settles everything handed out so far, now. The views of the last batch end with it. Errors: `evicted`, `fenced`.
  Result<void> commit();
  // Settles a record and what came before it in its partition; their views end with it.
  Result<void> commit(const Record& record);
  // Settles what comes before `offset`, which must have been handed out.
  Result<void> commit(std::string_view topic, std::uint32_t partition, std::uint64_t offset);

  // The offset that is delivered next. / End offset minus position.
  [[nodiscard]] Result<std::uint64_t> position(std::string_view topic, std::uint32_t partition) const;
  [[nodiscard]] Result<std::uint64_t> lag(std::string_view topic, std::uint32_t partition) const;
  Result<void> seek(std::string_view topic, std::uint32_t partition, Start to);
  // A paused partition stays subscribed and keeps its position.
  Result<void> pause(std::string_view topic, std::uint32_t partition);
  Result<void> resume(std::string_view topic, std::uint32_t partition);

  // A descriptor that becomes readable when there is something to poll: for epoll, poll, select. Valid as long as the consumer.
  // Contract: after it was readable, call poll(0) until it returns nothing; only then is it armed again. Call it once a second in any
  // case: a producer that dies between its commit and its ring, or inside a claim, rings for nobody, and the look repairs it. Errors:
  // `permission_denied` for an observer that may not write to the bus directory.
  Result<int> descriptor();

  // Makes a poll() that waits in another thread return at once with what there is. The one call another thread may make.
  void wake() const noexcept;

 private:
  friend class Bus;
  explicit Consumer(std::unique_ptr<detail::ConsumerState> state) noexcept;
  std::unique_ptr<detail::ConsumerState> state_;
};

}  // namespace arus
