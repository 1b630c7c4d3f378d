// What can be seen of services from outside: nothing is written, and nothing is trusted.
#include <arus/bus.h>

#include <algorithm>

#include "bus/state.h"
#include "platform/error.h"
#include "rpc/files.h"
#include "rpc/service_directory.h"
#include "rpc/statistics.h"

namespace arus {

using platform::fail;
using platform::pass;

namespace {

using rpc::LatencyHistogram;

std::chrono::nanoseconds quantile(const std::array<std::uint64_t, LatencyHistogram::kBuckets>& counts, double part) {
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts) total += count;
  const auto rank = static_cast<std::uint64_t>(static_cast<double>(total) * part);
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < counts.size(); ++bucket) {
    seen += counts[bucket];
    if (seen > rank) return std::chrono::nanoseconds(rpc::latency_limit(bucket));
  }
  return std::chrono::nanoseconds(0);
}

rpc::MethodInfo describe(const rpc::MethodSpec& spec, const rpc::MethodStatistics& statistics) {
  rpc::MethodInfo info{};
  info.name = spec.name;
  info.request_size = spec.request_size;
  info.reply_size = spec.reply_size;
  info.idempotent = (spec.flags & rpc::kIdempotent) != 0;
  info.streaming = (spec.flags & rpc::kStreaming) != 0;
  for (std::size_t i = 0; i < rpc::kCodes; ++i) info.ended[i] = statistics.ended[i].load(std::memory_order_relaxed);
  std::array<std::uint64_t, LatencyHistogram::kBuckets> counts{};
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = statistics.latency.counts[i].load(std::memory_order_relaxed);
  info.p50 = quantile(counts, 0.5);
  info.p99 = quantile(counts, 0.99);
  return info;
}

}  // namespace

Result<std::vector<std::string>> Bus::services() const {
  if (auto good = state_->check(); !good) return pass(good);
  return rpc::list_services(state_->directory());
}

Result<rpc::ServiceInfo> Bus::service(std::string_view name) const {
  if (auto good = rpc::check_name("a service", name, 249); !good) return pass(good);
  if (auto good = state_->check(); !good) return pass(good);
  const log::BusDirectory& directory = state_->directory();
  auto names = rpc::list_servers(directory, name);
  if (!names && names.error().code() == Errc::not_found)
    return fail(Errc::not_found, "there is no service '{}' in {}; `arus rpc list` shows what there is", name, directory.path());
  if (!names) return pass(names);
  rpc::ServiceInfo info{.name = std::string(name), .servers = {}};
  for (const rpc::ServerName& server : *names) {
    auto file = rpc::ServerFile::open(rpc::server_file_path(rpc::server_path(directory, name, server)), platform::Access::read);
    if (!file && file.error().code() == Errc::not_found) continue;  // it went away just now
    if (!file) return pass(file);
    rpc::ServerInfo one{};
    one.process = directory.leases()->describe(server.incarnation);
    one.alive = !directory.leases()->dead(server.incarnation);
    one.draining = file->attention().stage.load(std::memory_order_acquire) != static_cast<std::uint64_t>(rpc::ServerStage::serving);
    one.outstanding = static_cast<std::uint32_t>(file->load().outstanding.load(std::memory_order_relaxed));
    one.max_outstanding = file->header().max_outstanding;
    for (std::uint32_t i = 0; i < file->header().clients; ++i)
      one.clients += file->client(i).incarnation.load(std::memory_order_relaxed) != platform::kNoIncarnation ? 1 : 0;
    one.workers = file->header().workers;
    one.started = file->header().started;
    for (std::uint32_t i = 0; i < file->header().methods; ++i)
      one.methods.push_back(describe(file->methods()[i], file->statistics(i)));
    info.servers.push_back(std::move(one));
  }
  std::sort(info.servers.begin(), info.servers.end(), [](const auto& a, const auto& b) { return a.started < b.started; });
  return info;
}

}  // namespace arus
