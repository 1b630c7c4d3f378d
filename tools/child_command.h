// A command that gets records on its stdin: `arus consume --exec`.
//
// What the pipe has taken counts as delivered. When the command ends, what stands in the pipe unread is not lost: it is kept here until it
// has been read (FIONREAD tells), and the next start of the command gets it again, from the first record on that was not read whole.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "connect/backoff.h"

namespace arus::tool {

class ChildCommand {
 public:
  // Starts `command` in a shell. Each start gets `preamble` first. With `restart` it is started again whenever it ends, with pauses
  // that grow to half a minute. Throws a Failure.
  ChildCommand(std::string command, std::string preamble, bool restart);
  // Closes its stdin; does not wait.
  ~ChildCommand();
  ChildCommand(const ChildCommand&) = delete;
  ChildCommand& operator=(const ChildCommand&) = delete;

  // One more record, which the next deliver() writes.
  void add(std::string_view record);
  [[nodiscard]] std::size_t waiting() const noexcept { return kept_.size() - written_; }
  // Returns when the pipe has taken everything. Throws, with the rest not taken: OutputClosed when the command has ended well without
  // `restart`, a Failure when it ended badly, or when a stop was requested and it did not read on for kPatience.
  void deliver();
  // To be called now and then while there is nothing to deliver: notices that the command has ended, and acts as deliver() does.
  void look();
  // Delivers, closes its stdin and waits for its end. Throws as deliver() does, also when it left something unread.
  void finish();

 private:
  void start();
  void stop_writing();
  // Until the pipe has room, or (false) the command has ended. Throws when a stop is requested and neither comes.
  bool wait(bool for_room);
  // It has: waits for its status, finds what it left unread, and starts it again or throws.
  void ended();
  // Its exit code, or 128 plus the signal.
  int reap();
  void forget_what_was_read();
  // Forgets the records that lie within the first `read` bytes of kept_.
  void forget(std::size_t read);

  std::string command_;
  std::string preamble_;
  bool restart_;
  connect::Backoff backoff_{std::chrono::seconds(30)};
  pid_t pid_ = -1;
  int process_ = -1;  // pidfd
  int pipe_ = -1;
  std::size_t capacity_ = 0;  // of the pipe
  // Records that may still be unread, and behind them those that are not written yet. The first begins at 0.
  std::string kept_;
  std::deque<std::size_t> ends_;  // of the records in kept_
  std::size_t written_ = 0;       // bytes of kept_ that this start of the command was given
};

}  // namespace arus::tool
