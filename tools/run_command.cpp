#include "run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <utility>

namespace arus::tool {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLookMs = 20;
constexpr std::chrono::seconds kPatience{1};  // from SIGTERM to SIGKILL
constexpr std::size_t kComplaint = 1000;

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }
  void close() noexcept {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }
  // -1 when it is closed; poll(2) passes over it then.
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] bool open() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

struct Pipe {
  Descriptor out;
  Descriptor in;

  [[nodiscard]] bool make() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    out = Descriptor(ends[0]);
    in = Descriptor(ends[1]);
    return true;
  }
};

void do_not_block(const Descriptor& descriptor) noexcept {
  fcntl(descriptor.number(), F_SETFL, fcntl(descriptor.number(), F_GETFL) | O_NONBLOCK);
}

// In the child, between fork and exec: nothing but system calls. Does not return.
[[noreturn]] void become(char* const* words, char* const* environment, int in, int out, int err, int failure) noexcept {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  std::signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
    execvpe(words[0], words, environment);
  const int error = errno;
  [[maybe_unused]] const auto written = write(failure, &error, sizeof error);
  _exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  return result;
}

std::string trimmed(std::string text) {
  const auto begin = text.find_first_not_of("\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of("\r\n") + 1 - begin);
}

class Child {
 public:
  // errno, if it cannot be started.
  int start(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
    std::vector<std::string> words = command;
    if (words.size() == 1) words = {"sh", "-c", command.front()};
    std::vector<char*> arguments = pointers(words);
    arguments.push_back(nullptr);
    std::vector<char*> variables = pointers(environment);
    for (char** one = environ; *one != nullptr; ++one) variables.push_back(*one);
    variables.push_back(nullptr);

    Pipe to;
    Pipe from;
    Pipe complaints;
    Pipe failure;
    if (!to.make() || !from.make() || !complaints.make() || !failure.make()) return errno;
    pid_ = fork();
    if (pid_ < 0) return errno;
    if (pid_ == 0) {
      become(arguments.data(), variables.data(), to.out.number(), from.in.number(), complaints.in.number(), failure.in.number());
    }
    setpgid(pid_, pid_);  // whoever comes first
    failure.in.close();
    int error = 0;
    ssize_t got = 0;
    while ((got = read(failure.out.number(), &error, sizeof error)) < 0 && errno == EINTR) {
    }
    if (got == sizeof error) {
      reap();
      return error;
    }
    in_ = std::move(to.in);
    out_ = std::move(from.out);
    err_ = std::move(complaints.out);
    for (const auto* one : {&in_, &out_, &err_}) do_not_block(*one);
    process_ = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    return 0;
  }

  CommandResult run(std::string_view input, std::size_t most_output, const std::function<bool()>& give_up) {
    CommandResult result;
    std::optional<CommandResult::End> why;
    bool exited = false;
    if (input.empty()) in_.close();
    while (!exited || (out_.open() && !why)) {
      std::array<pollfd, 4> events{{{in_.number(), POLLOUT, 0},
                                    {out_.number(), POLLIN, 0},
                                    {err_.number(), POLLIN, 0},
                                    {exited ? -1 : process_.number(), POLLIN, 0}}};
      poll(events.data(), events.size(), kLookMs);
      if (events[0].revents != 0) feed(input);
      if (events[1].revents != 0) take(out_, result.output);
      if (events[2].revents != 0) hear(result.complaint);
      exited = exited || ended();
      if (result.output.size() > most_output && !why) end_because(CommandResult::End::too_much, why);
      if (!why && give_up()) end_because(CommandResult::End::given_up, why);
      if (why && Clock::now() >= kill_at_) kill(-pid_, SIGKILL);
    }
    hear(result.complaint);
    result.complaint = trimmed(std::move(result.complaint));
    const int status = reap();
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    result.end = why ? *why : WIFEXITED(status) ? CommandResult::End::exited : CommandResult::End::signalled;
    return result;
  }

 private:
  void end_because(CommandResult::End end, std::optional<CommandResult::End>& why) {
    why = end;
    kill_at_ = Clock::now() + kPatience;
    kill(-pid_, SIGTERM);
    in_.close();
  }

  // It stays a zombie until reap(), so that its number and its group's are not given to others.
  [[nodiscard]] bool ended() const noexcept {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid_;
  }

  int reap() const noexcept {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }

  // What it does not want to read is not its fault.
  void feed(std::string_view& input) {
    const ssize_t written = write(in_.number(), input.data(), input.size());
    if (written > 0) input.remove_prefix(static_cast<std::size_t>(written));
    if (input.empty() || (written < 0 && errno != EAGAIN && errno != EINTR)) in_.close();
  }

  // What there is now.
  static void take(Descriptor& from, std::string& into) {
    std::array<char, 64 << 10> buffer;
    const ssize_t got = read(from.number(), buffer.data(), buffer.size());
    if (got > 0) into.append(buffer.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) from.close();
  }

  void hear(std::string& complaint) {
    if (!err_.open()) return;
    std::string heard;
    take(err_, heard);
    [[maybe_unused]] const auto written = write(STDERR_FILENO, heard.data(), heard.size());
    complaint += heard;
    if (complaint.size() > kComplaint) complaint.erase(0, complaint.size() - kComplaint);
  }

  pid_t pid_ = -1;
  Descriptor in_;
  Descriptor out_;
  Descriptor err_;
  Descriptor process_;
  Clock::time_point kill_at_;
};

}  // namespace

CommandResult run_command(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                          std::string_view input, std::size_t most_output, const std::function<bool()>& give_up) {
  Child child;
  if (const int error = child.start(command, environment); error != 0)
    return {.end = CommandResult::End::not_started, .code = error, .output = {}, .complaint = {}};
  return child.run(input, most_output, give_up);
}

}  // namespace arus::tool
