// arus rpc call: one call of a method, its reply on stdout, its status in the exit code.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "cmd_rpc.h"
#include "parse.h"
#include "stop.h"
#include "terminal.h"
#include "text.h"

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kSlice{100};  // between looks at whether we are to stop
constexpr std::size_t kMostBody = 32u << 20;      // no ring takes more
constexpr std::uint64_t kSmallestRing = 64u << 10;
constexpr std::uint64_t kLargestRing = 64u << 20;

struct Options {
  std::string service;
  std::string method;
  std::optional<std::string> body;
  std::chrono::nanoseconds deadline = std::chrono::seconds(1);
  std::chrono::nanoseconds wait{0};
  std::uint64_t ring_bytes = rpc::ClientConfig{}.ring_bytes;
};

// Up to its end, or a stop.
std::string read_stdin() {
  if (is_terminal(STDIN_FILENO)) warn("reading the request from the terminal; Ctrl-D ends it");
  std::string body;
  std::array<char, 64 << 10> buffer{};
  while (body.size() <= kMostBody) {
    std::array<pollfd, 2> events{{{STDIN_FILENO, POLLIN, 0}, {Stop::descriptor(), POLLIN, 0}}};
    if (poll(events.data(), events.size(), -1) < 0 && errno != EINTR) break;
    if (Stop::requested()) break;
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got == 0) return body;
    if (got > 0) body.append(buffer.data(), static_cast<std::size_t>(got));
    if (got < 0 && errno != EINTR && errno != EAGAIN)
      throw Failure(ExitCode::failed, "system", fmt::format("cannot read the request from stdin: {}", std::strerror(errno)));
  }
  if (!Stop::requested()) throw usage_error("the request on stdin has more than 32 MiB, which no ring takes");
  return body;
}

// What there is instead of a service or method that is not there; else nothing.
std::string remedy(const Bus& bus, const Options& options, rpc::Code code) {
  const auto info = bus.service(options.service);
  if (!info && info.error().code() == Errc::not_found && code == rpc::Code::not_found)
    return remedy_for(options.service, bus.services(), "nobody has served anything on this bus yet");
  if (!info || code != rpc::Code::unimplemented) return {};
  std::set<std::string> names;
  for (const auto& server : info->servers) {
    for (const auto& method : server.methods) names.insert(method.name);
  }
  return remedy_for(options.method, std::vector<std::string>(names.begin(), names.end()), "it has none");
}

Failure failure_of(const Bus& bus, const Options& options, const rpc::Status& status) {
  const std::string_view name = to_string(status.code());
  std::string message = fmt::format("{} of {} ended with {}", options.method, options.service, name);
  if (!status.message().empty() && status.message() != name) message += fmt::format(": {}", status.message());
  if (const std::string way_out = remedy(bus, options, status.code()); !way_out.empty()) message += "; " + way_out;
  return {static_cast<ExitCode>(exit_code_of(status.code())), name, std::move(message)};
}

bool is_streaming(const Bus& bus, const Options& options) {
  const auto info = bus.service(options.service);
  if (!info) return false;  // the call will tell
  for (const auto& server : info->servers) {
    for (const auto& method : server.methods) {
      if (server.alive && method.name == options.method) return method.streaming;
    }
  }
  return false;
}

class Calling {
 public:
  Calling(const Command& command, const Options& options)
      : command_(command), options_(options), until_(Clock::now() + options.wait), bus_(wait_for_bus()) {}

  ExitCode run() {
    const std::string body = options_.body ? *options_.body : read_stdin();
    if (Stop::requested()) return unless_stopped(ExitCode::ok);
    // A ring takes a little less than half of it at once.
    const std::uint64_t needed = std::clamp<std::uint64_t>(std::bit_ceil(2 * body.size() + 4096), kSmallestRing, kLargestRing);
    rpc::Client client = must(bus_.client(
        options_.service, {.timeout = options_.deadline, .max_in_flight = 1, .ring_bytes = std::max(options_.ring_bytes, needed)}));
    if (!wait_for_server(client)) return unless_stopped(ExitCode::ok);
    began_ = Clock::now();
    return is_streaming(bus_, options_) ? stream(client, bytes(body)) : call(client, bytes(body));
  }

 private:
  // It comes with its first server.
  [[nodiscard]] Bus wait_for_bus() const {
    while (Clock::now() < until_ && !Stop::requested()) {
      auto bus = Bus::open(command_.bus);
      if (bus) return *std::move(bus);
      if (bus.error().code() != Errc::not_found) break;
      Stop::sleep_until(std::min(until_, Clock::now() + std::chrono::milliseconds(10)));
    }
    return open_bus(command_);
  }

  // False when it was stopped. Whether there is a server then, the call will tell.
  bool wait_for_server(rpc::Client& client) const {
    while (!Stop::requested()) {
      const auto left = std::min<std::chrono::nanoseconds>(until_ - Clock::now(), kSlice);
      if (left <= std::chrono::nanoseconds::zero() || client.wait_for_server(left)) return true;
    }
    return false;
  }

  template <class Waiting>
  static bool wait(Waiting& waiting) {
    while (!waiting.wait(kSlice)) {
      if (!Stop::requested()) continue;
      waiting.cancel();
      return false;
    }
    return true;
  }

  ExitCode call(rpc::Client& client, Bytes body) {
    rpc::Call call = client.call_async(options_.method, body);
    if (!wait(call)) return unless_stopped(ExitCode::ok);
    const auto reply = call.get();
    if (!reply) throw failure_of(bus_, options_, reply.error());
    if (command_.json) {
      Json json = head();
      json["status"] = "ok";
      add_reply(json, reply->body());
      json["seconds"] = seconds();
      emit("{}\n", dump(json));
    } else {
      const std::string_view out = text(reply->body());
      emit("{}{}", out, is_terminal(STDOUT_FILENO) && !out.ends_with('\n') ? "\n" : "");
    }
    return ExitCode::ok;
  }

  // Each reply as soon as it is there.
  ExitCode stream(rpc::Client& client, Bytes body) {
    rpc::Stream stream = client.stream(options_.method, body);
    for (std::uint64_t count = 0;; ++count) {
      if (!wait(stream)) return unless_stopped(ExitCode::ok);
      const auto reply = stream.next();
      if (!reply) throw failure_of(bus_, options_, reply.error());
      if (!*reply) {
        Json json = head();
        json["status"] = "ok";
        json["replies"] = count;
        json["seconds"] = seconds();
        if (command_.json) emit("{}\n", dump(json));
        return ExitCode::ok;
      }
      if (command_.json) {
        Json json = head();
        json["number"] = count;
        add_reply(json, (*reply)->body());
        emit("{}\n", dump(json));
      } else {
        emit("{}\n", text((*reply)->body()));
      }
    }
  }

  [[nodiscard]] Json head() const { return {{"service", options_.service}, {"method", options_.method}}; }
  [[nodiscard]] double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

  static void add_reply(Json& json, Bytes body) {
    if (is_utf8(text(body))) {
      json["reply"] = text(body);
    } else {
      fmt::memory_buffer encoded;
      append_base64(encoded, text(body));
      json["reply"] = fmt::to_string(encoded);
      json["reply_encoding"] = "base64";
    }
    json["bytes"] = body.size();
  }

  const Command& command_;
  const Options& options_;
  Clock::time_point until_;
  Bus bus_;
  Clock::time_point began_;
};

constexpr const char* kDetails =
    R"(The reply goes to stdout as it is, with a line feed behind it on a terminal; the replies of a streaming method
each on a line, as they come. Interrupted, it cancels the call.

Examples:
  arus rpc call weather latest load.1m
  head -c 1M photo.jpg | arus rpc call images scale --deadline 10s >small.jpg
  arus rpc call math square 7 --connect-timeout 5s --json | jq -r .reply

JSON: {service,method,"status":"ok",reply,reply_encoding ("base64", or absent),bytes,seconds}; of a streaming
  method one {service,method,number,reply,bytes} a line, then {service,method,"status":"ok",replies,seconds}

Exit codes: as in arus --help; of a call that ended with a status 20 + its number in gRPC, and the JSON of the
error has its name:
  21 cancelled           26 already_exists       31 out_of_range     36 unauthenticated
  22 unknown             27 permission_denied    32 unimplemented
  23 invalid_argument    28 resource_exhausted   33 internal
  24 deadline_exceeded   29 failed_precondition  34 unavailable
  25 not_found           30 aborted              35 data_loss)";

}  // namespace

void add_rpc_call_command(CLI::App& rpc, Command& command) {
  CLI::App* call = add_subcommand(rpc, "call", "Call a method and print its reply", kDetails);
  auto options = std::make_shared<Options>();
  call->add_option("SERVICE", options->service, "Service")->required();
  call->add_option("METHOD", options->method, "Method")->required();
  add_parsed(call, "BODY", "The request (default, or -: stdin up to its end)", "TEXT", [options](const std::string& text) {
    if (text != "-") options->body = text;
  });
  add_parsed(call, "--deadline", "How long the call may take [1s]", "DURATION",
             [options](const std::string& text) { options->deadline = parse_duration(text, "--deadline"); });
  add_parsed(call, "--connect-timeout", "How long to wait for a server before that [0s]", "DURATION",
             [options](const std::string& text) { options->wait = parse_duration(text, "--connect-timeout"); });
  add_parsed(call, "--ring-bytes", "Shared memory for replies, a power of two: more than twice the largest [256K]", "SIZE",
             [options](const std::string& text) { options->ring_bytes = parse_size(text, "--ring-bytes"); });
  call->callback([&command, options] { command.run = [&command, options] { return Calling(command, *options).run(); }; });
}

}  // namespace arus::tool
