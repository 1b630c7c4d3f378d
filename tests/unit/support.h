// What the unit tests share: a directory of one's own, results that must be good or bad in a certain way, and child processes.
#pragma once

#include <arus/result.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace arus::test {

// An empty directory on tmpfs, removed with everything in it. Of the process that made it: a forked child leaves it alone.
class Directory {
 public:
  Directory() : maker_(getpid()) {
    const char* root = std::getenv("ARUS_TEST_DIR");
    const bool own = root != nullptr && *root != '\0';
    if (own) chmod(root, 0711);  // so that a test may become another user
    path_ = std::string(own ? root : "/dev/shm") + "/arus-unit.XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
  }
  ~Directory() {
    std::error_code ignored;
    if (getpid() == maker_) std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::string operator/(std::string_view name) const { return path_ + '/' + std::string(name); }

 private:
  std::string path_;
  pid_t maker_;
};

// The value; an error ends the test with its message.
template <class T>
T must(tl::expected<T, Error> result) {
  if (!result)
    throw std::runtime_error(std::string(to_string(result.error().code())) + ": " + std::string(result.error().message()));
  return std::move(*result);
}

// EXPECT_TRUE(fails(bus.topic("x"), Errc::not_found, {"'x'", "arus topic create"})): the code, and words that the message contains.
template <class T>
testing::AssertionResult fails(const tl::expected<T, Error>& result, Errc code,
                               std::initializer_list<std::string_view> words = {}) {
  if (result) return testing::AssertionFailure() << "no error, expected " << to_string(code);
  const Error& error = result.error();
  if (error.code() != code)
    return testing::AssertionFailure() << to_string(error.code()) << " (" << error.message() << "), expected " << to_string(code);
  for (const std::string_view word : words)
    if (error.message().find(word) == std::string_view::npos)
      return testing::AssertionFailure() << "the message '" << error.message() << "' does not say '" << word << "'";
  return testing::AssertionSuccess() << "it is " << to_string(code) << ": " << error.message();
}
template <class T>
testing::AssertionResult good(const tl::expected<T, Error>& result) {
  if (result) return testing::AssertionSuccess();
  return testing::AssertionFailure() << to_string(result.error().code()) << ": " << result.error().message();
}

// A forked child. It can say that it has come to a point, wait there, and be killed, stopped or joined. What EXPECT_… finds in the
// child is printed there and fails the test here: join() gives 0 if all was well.
class Child {
 public:
  class Side {  // what the child sees
   public:
    // To the parent's await().
    void arrive() const { [[maybe_unused]] const auto written = write(out_, "x", 1); }
    // Until the parent's go_on(), or its end.
    void wait() const {
      char byte = 0;
      [[maybe_unused]] const auto got = read(in_, &byte, 1);
    }
    void arrive_and_wait() const {
      arrive();
      wait();
    }

   private:
    friend class Child;
    int in_ = -1;
    int out_ = -1;
  };

  template <class Body>
  explicit Child(Body body) {
    std::array<int, 2> down{};
    std::array<int, 2> up{};
    if (pipe(down.data()) != 0 || pipe(up.data()) != 0) throw std::runtime_error("pipe");
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      close(down[1]);
      close(up[0]);
      Side side;
      side.in_ = down[0];
      side.out_ = up[1];
      try {
        body(side);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "in the child: " << error.what();
      }
      std::fflush(nullptr);
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    close(down[0]);
    close(up[1]);
    to_ = down[1];
    from_ = up[0];
  }
  ~Child() {
    kill();
    close(to_);
    close(from_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // Until the child arrives somewhere; false if it died before.
  [[nodiscard]] bool await() const {
    char byte = 0;
    return read(from_, &byte, 1) == 1;
  }
  void go_on() const { [[maybe_unused]] const auto written = write(to_, "x", 1); }
  void stop() const { ::kill(pid_, SIGSTOP); }
  void resume() const { ::kill(pid_, SIGCONT); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::kill(pid_, SIGCONT);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // Its exit code; 128 + n if signal n killed it.
  int join() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
  int to_ = -1;
  int from_ = -1;
};

// Runs `body` in a child to its end: 0 if it found nothing wrong.
template <class Body>
int in_child(Body body) {
  return Child([&](const Child::Side&) { body(); }).join();
}

// For a child: a small tmpfs at `path` that nobody else sees and that goes with the child. False where that is not permitted.
inline bool mount_own_tmpfs(const std::string& path, const char* options) {
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", path.c_str(), "tmpfs", 0, options) == 0;
}
inline constexpr int kNotPermitted = 77;  // exit code of a child that could not mount

inline constexpr unsigned kNobody = 65534;
// Runs `body` in a child without privileges; only for root.
template <class Body>
int as_nobody(Body body) {
  return in_child([&] {
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) throw std::runtime_error("cannot become nobody");
    body();
  });
}

inline bool readable(int descriptor, int milliseconds) {
  pollfd one{descriptor, POLLIN, 0};
  return ::poll(&one, 1, milliseconds) == 1;
}

}  // namespace arus::test
