#include "iceoryx_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "harness.h"

namespace bench {

namespace {

constexpr const char* kSocket = "/tmp/roudi";  // of the only daemon that a machine may have

void pause_briefly() {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
  ::nanosleep(&kPause, nullptr);
}

// Whether somebody listens at the daemon's socket.
bool answers() {
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, kSocket, sizeof address.sun_path - 1);
  const bool connected = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(descriptor);
  return connected;
}

}  // namespace

IceoryxDaemon::IceoryxDaemon(std::size_t bytes, std::size_t messages) : owner_(::getpid()) {
  if (answers()) throw LeftOut("iceoryx: an iox-roudi that is not ours is running");
  const std::size_t granule = 32;  // what a chunk's size has to be a multiple of
  std::ofstream(scratch_.path() + "/roudi.toml")
      << "[general]\nversion = 1\n[[segment]]\n[[segment.mempool]]\nsize = " << (bytes + granule - 1) / granule * granule
      << "\ncount = " << messages << "\n";
  start();
  try {
    wait_until_ready();
  } catch (...) {
    stop();
    throw;
  }
}

IceoryxDaemon::~IceoryxDaemon() {
  if (::getpid() == owner_) stop();
}

std::string IceoryxDaemon::runtime_name(std::size_t role) const {
  return std::filesystem::path(scratch_.path()).filename().string() + "-" + std::to_string(role);
}

std::string IceoryxDaemon::payload_file() {
  const group* const mine = ::getgrgid(::getegid());
  return std::string("/dev/shm/") + (mine == nullptr ? "iceoryx" : mine->gr_name);
}

void IceoryxDaemon::start() {
  const std::string config = scratch_.path() + "/roudi.toml";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw LeftOut(std::string("iceoryx: fork: ") + ::strerror(errno));
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // it removes its files
  if (::getppid() != parent) ::_exit(1);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  ::setpgid(0, 0);  // an interrupt from the terminal is for the suite, which ends it in its turn
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere, stream);
  ::execlp("iox-roudi", "iox-roudi", "-c", config.c_str(), "-m", "off", "-l", "off", "-k", "1", nullptr);
  ::_exit(127);
}

void IceoryxDaemon::wait_until_ready() {
  constexpr int kMostPauses = 10'000;
  for (int i = 0; i < kMostPauses; ++i) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      const bool missing = WIFEXITED(status) && WEXITSTATUS(status) == 127;
      throw LeftOut(missing ? "iceoryx: there is no iox-roudi (package iceoryx)" : "iceoryx: iox-roudi ended at once");
    }
    if (answers()) return;
    pause_briefly();
  }
  throw LeftOut("iceoryx: iox-roudi does not listen");
}

void IceoryxDaemon::stop() noexcept {
  constexpr int kMostPauses = 5'000;
  int status = 0;
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    int i = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (++i == kMostPauses) ::kill(pid_, SIGKILL);
      pause_briefly();
    }
    pid_ = -1;
  }
  std::error_code ignored;
  // A process leaves its own files when it ends as these here do, without tidying up; and the daemon aborts when one was killed.
  for (const std::size_t role : {0u, 1u}) {
    std::filesystem::remove("/tmp/" + runtime_name(role), ignored);
    std::filesystem::remove("/tmp/" + runtime_name(role) + ".lock", ignored);
  }
  if (status == 0) return;
  std::filesystem::remove(payload_file(), ignored);
  for (const char* const path : {kSocket, "/dev/shm/iceoryx_mgmt", "/tmp/roudi.lock", "/tmp/iox-unique-roudi.lock"})
    std::filesystem::remove(path, ignored);
}

}  // namespace bench
