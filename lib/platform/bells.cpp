#include "platform/bells.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>

#include "platform/file.h"
#include "platform/fork.h"
#include "platform/futex.h"

namespace arus::platform {

struct Bells::Header {
  static constexpr std::uint64_t kMagic = 0x4C4C454253555241;  // "ARUSBELL"
  static constexpr std::uint32_t kVersion = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t count;
};

Result<void> Bells::create(const std::string& path, std::uint32_t count, const Ownership& ownership) {
  auto segment = Segment::create(path, sizeof(Line) * (std::size_t{count} + 1), ownership);
  if (!segment) return pass(segment);
  const Header header{Header::kMagic, Header::kVersion, count};
  std::memcpy(segment->data(), &header, sizeof header);
  return {};
}

Result<std::shared_ptr<Bells>> Bells::open(const std::string& path, std::string fifos, std::shared_ptr<Leases> leases) {
  auto segment = Segment::open(path, Access::write);
  if (!segment) return pass(segment);
  Header header{};
  if (segment->size() < sizeof(Line)) return fail(Errc::corrupt, "{} is too short for a header; it was truncated", path);
  std::memcpy(&header, segment->data(), sizeof header);
  if (header.magic != Header::kMagic) return fail(Errc::corrupt, "{}: the magic number is not that of arus bells", path);
  if (header.version != Header::kVersion)
    return fail(Errc::version_mismatch, "{} has layout version {}, this library reads {}", path, header.version, Header::kVersion);
  if (segment->size() != sizeof(Line) * (std::size_t{header.count} + 1))
    return fail(Errc::corrupt, "{}: {} bells do not fit its {} bytes; it was truncated or overwritten", path, header.count,
                segment->size());
  return std::shared_ptr<Bells>(new Bells(std::move(*segment), std::move(fifos), std::move(leases), header.count));
}

Bells::Bells(Segment segment, std::string fifos, std::shared_ptr<Leases> leases, std::uint32_t count)
    : segment_(std::move(segment)), fifos_(std::move(fifos)), leases_(std::move(leases)), count_(count) {}

Bells::Line& Bells::line(std::uint32_t index) const noexcept {
  return reinterpret_cast<Line*>(segment_.data())[std::size_t{index} + 1];
}

std::string Bells::fifo_path(std::uint32_t index, std::uint64_t fifo) const { return format("{}/{}-{:016x}", fifos_, index, fifo); }

void Bells::ring(std::uint32_t index) noexcept {
  if (index >= count_) return;
  Line& bell = line(index);
  bell.rings.fetch_add(1, std::memory_order_acq_rel);
  futex_wake_all(&bell.rings);
  if (const std::uint64_t fifo = bell.fifo.load(std::memory_order_acquire); fifo != 0) ring_fifo(index, fifo);
}

void Bells::ring_fifo(std::uint32_t index, std::uint64_t fifo) noexcept try {
  const std::lock_guard lock(mutex_);
  if (opened_.size() <= index) opened_.resize(std::size_t{index} + 1);
  Opened& opened = opened_[index];
  if (opened.fifo != fifo) {
    // Read and write: opening does not wait for a reader, and a reader that died raises no SIGPIPE.
    const int file = ::open(fifo_path(index, fifo).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return;  // its owner is gone
    opened = {fifo, Descriptor(file)};
  }
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = write(opened.file.get(), &byte, 1);  // a full FIFO is readable already
} catch (...) {                                                                 // out of memory: the waiter's sleep is bounded
}

// A FIFO is made by the owner of its bell, so one that was seen before its bell was found without a live owner is nobody's any more. Its
// name is never used again, and the next owner's word is left alone.
Result<std::uint64_t> Bells::abandoned_fifos(bool remove) {
  auto names = list_directory(fifos_);
  if (!names) return pass(names);
  std::uint64_t abandoned = 0;
  for (const std::string& name : *names) {
    std::uint32_t index = 0;
    std::uint64_t fifo = 0;
    const char* const end = name.data() + name.size();
    const auto number = std::from_chars(name.data(), end, index);
    if (number.ec != std::errc() || number.ptr == end || *number.ptr != '-' || index >= count_) continue;
    if (const auto word = std::from_chars(number.ptr + 1, end, fifo, 16); word.ec != std::errc() || word.ptr != end) continue;
    Line& bell = line(index);
    const std::uint64_t owner = bell.incarnation.load(std::memory_order_acquire);
    if (owner != kNoIncarnation && !leases_->dead(owner)) continue;
    ++abandoned;
    if (!remove) continue;
    bell.fifo.compare_exchange_strong(fifo, 0, std::memory_order_acq_rel);
    unlink((fifos_ + '/' + name).c_str());
  }
  return abandoned;
}

Result<std::unique_ptr<Bell>> Bell::take(std::shared_ptr<Bells> bells, std::uint64_t incarnation) {
  const std::uint64_t generation = fork_generation();
  for (const bool take_over : {false, true}) {
    std::uint64_t alive = kNoIncarnation;  // neighbours often belong to one process: ask once
    for (std::uint32_t i = 0; i < bells->count_; ++i) {
      Bells::Line& line = bells->line(i);
      std::uint64_t owner = line.incarnation.load(std::memory_order_acquire);
      if (owner != kNoIncarnation && (!take_over || owner == alive || owner == incarnation)) continue;
      if (owner != kNoIncarnation && !bells->leases_->dead(owner)) {
        alive = owner;
        continue;
      }
      if (!line.incarnation.compare_exchange_strong(owner, incarnation, std::memory_order_acq_rel)) continue;
      if (const std::uint64_t fifo = line.fifo.exchange(0, std::memory_order_acq_rel); fifo != 0)
        unlink(bells->fifo_path(i, fifo).c_str());
      return std::unique_ptr<Bell>(new Bell(std::move(bells), i, incarnation, generation));
    }
  }
  return fail(Errc::limit_reached, "all {} sleepers of {} are in use; create the bus with more (BusConfig::sleepers)",
              bells->count_, bells->segment_.path());
}

Bell::~Bell() {
  if (!same_process(generation_)) {
    fifo_.release();
    return;
  }
  Bells::Line& line = bells_->line(index_);
  if (const std::uint64_t fifo = line.fifo.exchange(0, std::memory_order_acq_rel); fifo != 0) try {
      unlink(bells_->fifo_path(index_, fifo).c_str());
    } catch (...) {  // out of memory: the next owner of the bell no longer knows it, abandoned_fifos() does
    }
  std::uint64_t mine = incarnation_;
  line.incarnation.compare_exchange_strong(mine, kNoIncarnation, std::memory_order_acq_rel);
}

std::uint32_t Bell::rings() const noexcept { return bells_->line(index_).rings.load(std::memory_order_acquire); }

void Bell::sleep(std::uint32_t rings, std::int64_t ns) const noexcept { futex_wait(&bells_->line(index_).rings, rings, ns); }

void Bell::sleep_beside(int other, std::int64_t ns) const noexcept {
  std::array<pollfd, 2> wanted{pollfd{fifo_.get(), POLLIN, 0}, pollfd{other, POLLIN, 0}};
  const timespec limit{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  ppoll(wanted.data(), wanted.size(), &limit, nullptr);
}

void Bell::wake() const noexcept { bells_->ring(index_); }

Result<int> Bell::descriptor() {
  if (fifo_.valid()) return fifo_.get();
  const std::uint64_t fifo = random_word();
  const std::string path = bells_->fifo_path(index_, fifo);
  // Whoever writes to the topic must be able to open it (for both, see ring_fifo); what they can do with it is wake us, or not.
  if (mkfifo(path.c_str(), 0600) != 0 || chmod(path.c_str(), 0666) != 0) return fail_system(errno, "create FIFO", path);
  auto file = open_file(path, O_RDWR | O_NONBLOCK);
  if (!file) {
    unlink(path.c_str());
    return pass(file);
  }
  fifo_ = std::move(*file);
  bells_->line(index_).fifo.store(fifo, std::memory_order_release);
  return fifo_.get();
}

void Bell::drain() const noexcept {
  std::array<char, 256> buffer{};
  while (read(fifo_.get(), buffer.data(), buffer.size()) == static_cast<ssize_t>(buffer.size())) {
  }
}

}  // namespace arus::platform
