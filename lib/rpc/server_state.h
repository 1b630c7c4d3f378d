// The polling thread of a server: its clients' channels, the doorbells, dispatch to handlers or workers, draining.
//
// Which rings have something. With few clients the thread looks at the next word of each ring; that is fastest, and the clients need
// tell nothing. With many (kDirect) it sets `doorbell`, fences, looks at every ring once more, and from then on at a bitmap that clients
// write to after each request. A client commits, fences, loads `doorbell`: one of the two sees the other. What a client that dies between
// commit and doorbell leaves is found by the look at every ring before each sleep and once a second.
#pragma once

#include <arus/rpc_server.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "platform/clock.h"
#include "rpc/server_channel.h"
#include "rpc/service_directory.h"
#include "rpc/workers.h"

namespace arus::rpc::detail {

class ServerState {
 public:
  static Result<std::unique_ptr<ServerState>> make(std::shared_ptr<arus::detail::BusState> bus, std::string_view service,
                                                   const ServerConfig& config);
  ~ServerState();
  ServerState(const ServerState&) = delete;
  ServerState& operator=(const ServerState&) = delete;

  Result<void> add(std::string_view name, std::size_t request_size, std::size_t reply_size, const MethodConfig& config,
                   Handler handler);
  Result<void> start();
  Result<std::size_t> poll(std::chrono::nanoseconds timeout);
  Result<void> run(const std::stop_token& stop);
  void stop() noexcept;
  Result<void> drain();

  [[nodiscard]] const std::string& service() const noexcept { return core_->service; }
  [[nodiscard]] ServerStatistics statistics() const noexcept;

  // Runs the handler of an open call, on this thread; whatever it does, the call has been answered or deferred afterwards.
  // `clock`: the polling thread's; null on a worker.
  static void run_handler(ServerCall& call, Bytes body, PollClock* clock);
  static Responder defer(ServerCall& call);
  // Whether the handler of this call is throwing: then run_handler answers, and not ~Responder.
  static bool leave_to_handler(const ServerCall& call) noexcept;

 private:
  explicit ServerState(std::shared_ptr<ServerCore> core) noexcept : core_(std::move(core)), generation_(core_->bus->generation()) {}
  [[nodiscard]] bool ours() const noexcept { return platform::same_process(generation_); }
  [[nodiscard]] Result<void> usable() const;

  std::size_t look();
  std::size_t serve(ServerChannel& channel);
  void accept(ServerChannel& channel, ServerCall& call, Bytes body);
  [[gnu::noinline]] void refuse(ServerChannel& channel, ServerCall& call, Bytes body, std::int64_t now);
  [[gnu::noinline]] static void threw(ServerCall& call, bool answers_yet, const char* what);
  [[nodiscard]] bool any_doorbell() const noexcept;
  [[gnu::noinline]] std::size_t answer_doorbells();
  void attend(std::uint32_t client);
  void attach(std::uint32_t client);
  void detach(std::uint32_t client, SlotState leave) noexcept;
  void choose_way() noexcept;
  [[nodiscard]] bool any_ready() const noexcept;
  void sleep(std::int64_t ns) noexcept;
  Result<void> look_after(std::int64_t now);
  void finish_stage(std::int64_t patience);

  std::shared_ptr<ServerCore> core_;
  std::uint64_t generation_;  // of fork
  ServerName name_{};
  std::string directory_;  // empty: not started
  bool draining_ = false;
  bool over_ = false;
  PollClock clock_;
  std::unique_ptr<platform::Bell> bell_;
  std::atomic<bool> stopping_{false};
  std::vector<std::shared_ptr<ServerChannel>> channels_;  // by client slot; null: none
  std::size_t doorbell_words_ = 0;
  std::vector<ServerChannel*> attached_;
  std::vector<std::uint32_t> unfinished_;  // clients whose rings had more than one visit's worth (by doorbell)
  bool by_doorbell_ = false;
  bool sweep_ = false;  // look at every ring once
  std::uint32_t busy_ = 0;
  std::int64_t look_at_ = 0;
  std::unique_ptr<Workers> workers_;
};

}  // namespace arus::rpc::detail
