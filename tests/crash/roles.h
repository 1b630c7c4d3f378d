// Who passes the kill points: a role is a process that does one thing, with all that must be there before it and beside it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "crash/world.h"

namespace arus::crash {

struct Role {
  std::string name;
  std::string family{};                                    // of roles that are expected to fare alike
  std::optional<TopicConfig> topic;                        // absent: the role is about a bus or a topic that is not there yet
  bool lossless = true;                                    // nothing may be lost
  std::function<void(World&)> before{};                    // completed before the victim starts: deaths that it comes upon
  bool reader_before = true;                               // a reader is there all the time, else it comes after the victim
  bool bystander = false;                                  // a producer that is registered all the time, and sends after the victim
  bool feeder = false;                                     // a producer that sends all the time
  bool sends = false;                                      // the victim has a sender's number, and its last record is looked at
  std::function<bool(std::string_view point)> concerns{};  // the points that are this role's to test; empty: all
  std::function<void(World&, std::uint32_t sender)> victim;
  std::function<void(World&)> after{};  // instead of sending and reading on: checks
};

std::vector<Role> roles();
void add_group_roles(std::vector<Role>& all);  // group_roles.cpp

}  // namespace arus::crash
