#include <arus/bus.h>

#include "bus/consumer_state.h"
#include "bus/state.h"
#include "group/group_file.h"
#include "platform/error.h"
#include "platform/segment.h"

namespace arus {

using platform::fail;
using platform::pass;

namespace {

std::string resolve(std::string_view directory) {
  std::string path = directory.empty() ? log::default_bus_directory() : std::string(directory);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Result<std::shared_ptr<detail::BusState>> attach(const std::string& directory) {
  auto opened = log::BusDirectory::open(directory);
  if (!opened) return pass(opened);
  return std::make_shared<detail::BusState>(std::move(*opened));
}

// Everything of a topic, in a directory that nobody sees yet.
Result<void> build(const std::string& directory, const log::TopicIdentity& identity, const platform::Ownership& ownership,
                   std::uint32_t bells) {
  const TopicConfig& config = identity.config;
  for (std::uint32_t i = 0; i < config.partitions; ++i) {
    const log::PartitionSpec spec{.topic_id = identity.id,
                                  .partition = i,
                                  .ring_bytes = config.partition_bytes,
                                  .slots = config.max_producers,
                                  .single_producer = config.producers == Producers::single};
    if (auto made = log::create_partition(log::partition_path(directory, i), spec, ownership); !made) return made;
    ARUS_KILL_POINT("T-partition");
  }
  const platform::Ownership shared = log::widened(ownership);
  if (auto made = log::Waits::create(log::waits_path(directory), config.partitions, bells, shared); !made) return made;
  if (auto made = group::GroupTable::create(log::groups_path(directory), config.max_groups, config.partitions, shared); !made)
    return made;
  return log::write_identity(log::identity_path(directory), identity, ownership);
}

// What all files of a topic take together.
std::uint64_t bytes_of(const TopicConfig& config) {
  return config.partitions * log::partition_file_bytes(config.partition_bytes, config.max_producers);
}

}  // namespace

Result<Bus> Bus::open(std::string_view directory) {
  if (directory.empty()) return open_or_create();
  auto state = attach(resolve(directory));
  if (!state) return pass(state);
  return Bus(std::move(*state));
}

Result<Bus> Bus::create(const BusConfig& config) {
  const std::string directory = resolve(config.directory);
  if (auto made = log::create_bus(directory, config, true); !made) return pass(made);
  return open(directory);
}

Result<Bus> Bus::open_or_create(const BusConfig& config) {
  const std::string directory = resolve(config.directory);
  auto state = attach(directory);
  if (state) return Bus(std::move(*state));
  if (state.error().code() != Errc::not_found) return pass(state);
  if (auto made = log::create_bus(directory, config, false); !made) return pass(made);
  return open(directory);
}

const std::string& Bus::directory() const noexcept { return state_->directory().path(); }

Result<Topic> Bus::create(std::string_view topic, const TopicConfig& config) {
  if (auto good = log::check_topic_name(topic); !good) return pass(good);
  if (auto good = log::check_config(config); !good) return pass(good);
  if (auto good = state_->check(); !good) return pass(good);
  log::BusDirectory& directory = state_->directory();
  if (platform::exists(directory.topic_path(topic)))
    return fail(Errc::already_exists, "topic '{}' exists already in {}; open it, or use open_or_create", topic, directory.path());
  auto group = platform::group_id(config.group);
  if (!group) return pass(group);
  if (!directory.bells()) return pass(directory.need_lease("creating a topic"));
  const std::uint64_t need = bytes_of(config);
  if (const std::uint64_t have = platform::space_left(directory.path()); have < need)
    return fail(
        Errc::no_space,
        "topic '{}' needs {} bytes ({} partitions of {}) and {} has {} left; free some, choose smaller partitions, or another "
        "directory",
        topic, need, config.partitions, config.partition_bytes, directory.path(), have);
  const log::TopicIdentity identity{{platform::random_word(), platform::random_word()}, platform::wall_time(), config};
  const platform::Ownership ownership{.mode = config.mode, .group_id = *group};
  auto done = directory.publish(topic, ownership, [&](const std::string& scratch) {
    return build(scratch, identity, ownership, directory.bells()->count());
  });
  if (!done) return pass(done);
  return this->topic(topic);
}

Result<Topic> Bus::topic(std::string_view name) {
  auto state = detail::TopicState::open(state_, name);
  if (!state) return pass(state);
  return Topic(std::move(*state));
}

Result<Topic> Bus::open_or_create(std::string_view topic, const TopicConfig& config) {
  if (auto good = log::check_config(config); !good) return pass(good);
  for (;;) {
    auto found = this->topic(topic);
    if (found) {
      if (const std::string differs = log::difference(config, found->config()); !differs.empty())
        return fail(Errc::config_mismatch, "topic '{}' exists with another configuration: {}", topic, differs);
      return found;
    }
    if (found.error().code() != Errc::not_found) return found;
    auto made = create(topic, config);
    if (made || made.error().code() != Errc::already_exists) return made;  // else somebody was faster: look at theirs
  }
}

Result<std::vector<std::string>> Bus::topics() const {
  if (auto good = state_->check(); !good) return pass(good);
  return state_->directory().topics();
}

Result<void> Bus::remove(std::string_view topic) {
  if (auto good = log::check_topic_name(topic); !good) return good;
  if (auto good = state_->check(); !good) return good;
  return state_->directory().remove_topic(topic);
}

Result<Consumer> Bus::consumer(const ConsumerConfig& config) {
  if (auto good = state_->check(); !good) return pass(good);
  auto consumer = detail::ConsumerState::make(state_, config);
  if (!consumer) return pass(consumer);
  return Consumer(std::move(*consumer));
}

Result<std::vector<std::string>> Bus::groups() const {
  if (auto good = state_->check(); !good) return pass(good);
  return group::GroupFile::list(state_->directory());
}

Result<Group> Bus::group(std::string_view name) {
  if (auto good = state_->check(); !good) return pass(good);
  const auto found = group::GroupFile::read(state_->directory(), std::string(name));
  if (!found && found.error().code() == Errc::not_found) return pass(found);  // a damaged one can still be deleted
  return Group(state_, std::string(name));
}

}  // namespace arus
