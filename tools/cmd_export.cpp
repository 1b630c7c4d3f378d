// arus export prometheus: the bus's numbers for a Prometheus server to fetch.
//
// Each fetch is one look at the bus, from read-only mappings that are kept in between. One function below per kind of thing adds its
// families of metrics.
#include <netdb.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>

#include "command.h"
#include "sampler.h"
#include "stop.h"
#include "terminal.h"

namespace arus::tool {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Families = std::vector<MetricFamily>;

// One metric of several things.
class Family {
 public:
  Family(Families& families, std::string name, std::string help, MetricType type)
      : families_(families), family_{std::move(name), std::move(help), type, {}} {}
  ~Family() {
    if (!family_.metric.empty()) families_.push_back(std::move(family_));
  }
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  template <class Number>
  void add(Labels labels, Number value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    family_.metric.push_back(std::move(metric));
  }

 private:
  Families& families_;
  MetricFamily family_;
};

constexpr auto kGauge = MetricType::Gauge;
constexpr auto kCounter = MetricType::Counter;

void add_bus(Families& families, bool up, const std::string& directory) {
  Family(families, "arus_up", "Whether the bus can be read", kGauge).add({}, up ? 1 : 0);
  struct statvfs space {};
  if (!up || statvfs(directory.c_str(), &space) != 0) return;
  Family(families, "arus_filesystem_free_bytes", "Left on the file system of the bus", kGauge)
      .add({}, space.f_bavail * space.f_frsize);
}

void add_topics(Families& families, const BusSample& sample) {
  Family up(families, "arus_topic_up", "Whether the topic can be read", kGauge);
  Family readers(families, "arus_topic_readers", "Live consumers that made themselves known", kGauge);
  Family reserved(families, "arus_topic_reserved_bytes", "Memory of the topic's partitions", kGauge);
  for (const auto& topic : sample.topics) {
    const Labels labels{{"topic", topic.name}};
    up.add(labels, topic.error ? 0 : 1);
    if (topic.error) continue;
    readers.add(labels, topic.info.readers);
    reserved.add(labels, topic.info.bytes_reserved);
  }
}

void add_partitions(Families& families, const BusSample& sample) {
  Family records(families, "arus_partition_records_total", "Offsets given out: the end offset", kCounter);
  Family start(families, "arus_partition_start_offset", "Offset of the oldest record that is still there", kGauge);
  Family written(families, "arus_partition_written_bytes_total", "What records took in the ring since it was made", kCounter);
  Family used(families, "arus_partition_used_bytes", "Of the ring", kGauge);
  Family size(families, "arus_partition_ring_bytes", "Size of the ring", kGauge);
  Family producers(families, "arus_partition_producers", "Registered and alive", kGauge);
  Family oldest(families, "arus_partition_oldest_timestamp_seconds", "Timestamp of the oldest record", kGauge);
  for (const auto& topic : sample.topics) {
    for (const auto& partition : topic.info.partitions) {
      const Labels labels{{"topic", topic.name}, {"partition", std::to_string(partition.partition)}};
      records.add(labels, partition.end_offset);
      start.add(labels, partition.start_offset);
      written.add(labels, partition.bytes_written);
      used.add(labels, partition.bytes_used);
      size.add(labels, topic.info.config.partition_bytes);
      producers.add(labels, partition.producers);
      if (partition.oldest != 0) oldest.add(labels, static_cast<double>(partition.oldest) / 1e9);
    }
  }
}

void add_groups(Families& families, const BusSample& sample) {
  Family alive(families, "arus_group_alive", "Whether a live process reads under the name", kGauge);
  Family evicted(families, "arus_group_evicted", "Whether it holds nobody back any more and has lost records", kGauge);
  Family holds_back(families, "arus_group_holds_back", "Whether producers wait for it, or are about to", kGauge);
  Family committed(families, "arus_group_committed_offset", "Where a successor starts", kGauge);
  Family lag(families, "arus_group_lag_records", "Records behind the end", kGauge);
  for (const auto& topic : sample.topics) {
    for (const auto& group : topic.groups) {
      const Labels labels{{"topic", topic.name}, {"group", group.info.name}};
      alive.add(labels, group.info.alive ? 1 : 0);
      evicted.add(labels, group.info.evicted ? 1 : 0);
      holds_back.add(labels, group.holds_back ? 1 : 0);
      const auto add_each = [&](Family& family, const std::vector<std::uint64_t>& values) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          Labels with_partition = labels;
          with_partition.push_back({"partition", std::to_string(i)});
          family.add(std::move(with_partition), values[i]);
        }
      };
      add_each(committed, group.info.committed);
      add_each(lag, group.info.lag);
    }
  }
}

void add_services(Families& families, const Bus& bus) {
  Family alive(families, "arus_rpc_server_alive", "Whether the server's process lives", kGauge);
  Family outstanding(families, "arus_rpc_outstanding_calls", "Calls begun and not answered", kGauge);
  Family clients(families, "arus_rpc_clients", "Connected to the server", kGauge);
  Family calls(families, "arus_rpc_calls_total", "Calls ended, by their status", kCounter);
  Family latency(families, "arus_rpc_latency_seconds", "From the client's send to the reply, since the server's start", kGauge);
  for (const auto& name : bus.services().value_or(std::vector<std::string>{})) {
    const auto info = bus.service(name);
    if (!info) continue;  // it went meanwhile
    for (const auto& server : info->servers) {
      const Labels labels{{"service", name}, {"server", server.process}};
      alive.add(labels, server.alive ? 1 : 0);
      outstanding.add(labels, server.outstanding);
      clients.add(labels, server.clients);
      for (const auto& method : server.methods) {
        Labels of_method = labels;
        of_method.push_back({"method", method.name});
        const auto add = [&](Family& family, const char* label, std::string_view value, auto number) {
          Labels all = of_method;
          all.push_back({label, std::string(value)});
          family.add(std::move(all), number);
        };
        for (std::size_t code = 0; code < method.ended.size(); ++code) {
          if (method.ended[code] > 0) add(calls, "code", to_string(static_cast<rpc::Code>(code)), method.ended[code]);
        }
        add(latency, "quantile", "0.5", std::chrono::duration<double>(method.p50).count());
        add(latency, "quantile", "0.99", std::chrono::duration<double>(method.p99).count());
      }
    }
  }
}

// Called by the server's threads. A bus that is gone is opened anew when it is there again.
class Collector : public prometheus::Collectable {
 public:
  explicit Collector(const Command& command) : command_(command) { open(); }

  [[nodiscard]] Families Collect() const override {
    const std::lock_guard lock(mutex_);
    Families families;
    try {
      if (!sampler_) open();
      const BusSample sample = sampler_->look();
      add_bus(families, true, sample.bus);
      add_topics(families, sample);
      add_partitions(families, sample);
      add_groups(families, sample);
      add_services(families, *bus_);
    } catch (const Failure& failure) {
      if (sampler_) warn(failure.message());
      sampler_.reset();
      families.clear();
      add_bus(families, false, "");
    }
    return families;
  }

 private:
  void open() const {
    bus_ = open_bus(command_);
    sampler_ = std::make_unique<Sampler>(*bus_);
  }

  const Command& command_;
  mutable std::mutex mutex_;
  mutable std::optional<Bus> bus_;
  mutable std::unique_ptr<Sampler> sampler_;
};

struct Options {
  std::string listen = "127.0.0.1:9917";
  std::string path = "/metrics";
  bool once = false;
};

struct Endpoint {
  std::string address;
  std::string port;
};

Endpoint parse_endpoint(const std::string& text) {
  const auto colon = text.rfind(':');
  Endpoint endpoint{colon == std::string::npos ? "127.0.0.1" : text.substr(0, colon),
                    text.substr(colon == std::string::npos ? 0 : colon + 1)};
  if (endpoint.address.starts_with('[') && endpoint.address.ends_with(']')) {
    endpoint.address = endpoint.address.substr(1, endpoint.address.size() - 2);
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(endpoint.port.data(), endpoint.port.data() + endpoint.port.size(), port);
  if (error != std::errc() || end != endpoint.port.data() + endpoint.port.size() || endpoint.address.empty()) {
    throw usage_error(fmt::format("--listen: '{}' is not an address; expected PORT, ADDRESS:PORT or [ADDRESS]:PORT", text));
  }
  return endpoint;
}

// The HTTP server does not say why it cannot listen; we try it ourselves first.
void check_endpoint(const Endpoint& endpoint, const std::string& text) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = getaddrinfo(endpoint.address.c_str(), endpoint.port.c_str(), &hints, &found); code != 0) {
    throw usage_error(fmt::format("--listen: '{}' is not a numeric address: {}", text, gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const int probe = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool bound = bind(probe, found->ai_addr, found->ai_addrlen) == 0 && listen(probe, 1) == 0;
  const int error = errno;
  close(probe);
  if (bound) return;
  const ExitCode exit_code = error == EADDRINUSE ? ExitCode::refused : error == EACCES ? ExitCode::permission : ExitCode::failed;
  throw Failure(exit_code, "system",
                fmt::format("cannot listen on {}: {}; --listen chooses another address", text, std::strerror(error)));
}

ExitCode print_once(const Command& command) {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, Collector(command).Collect());
  emit("{}", text.str());
  return ExitCode::ok;
}

ExitCode serve(const Command& command, const Options& options) {
  const Endpoint endpoint = parse_endpoint(options.listen);
  const bool v6 = endpoint.address.find(':') != std::string::npos;
  const std::string address = v6 ? "[" + endpoint.address + "]" : endpoint.address;
  const auto collector = std::make_shared<Collector>(command);
  check_endpoint(endpoint, options.listen);
  std::optional<prometheus::Exposer> exposer;
  try {
    exposer.emplace(address + ":" + endpoint.port, 1);
  } catch (const std::exception& error) {
    throw Failure(ExitCode::failed, "system", fmt::format("cannot serve on {}: {}", options.listen, error.what()));
  }
  exposer->RegisterCollectable(collector, options.path);
  const std::string url = fmt::format("http://{}:{}{}", address, exposer->GetListeningPorts().front(), options.path);
  if (command.json) {
    emit("{}\n", dump({{"url", url}}));
  } else {
    warn(fmt::format("serving {}", url));
  }
  while (!Stop::sleep_until(std::chrono::steady_clock::now() + std::chrono::hours(24))) {
  }
  return ExitCode::ok;
}

constexpr const char* kDetails =
    R"(Serves topics, partitions, groups and RPC services until it is stopped. It only looks when it is asked, from
read-only mappings, and disturbs nobody. It listens to this host alone unless --listen says otherwise:
there is no password. A bus that is deleted counts as arus_up 0 until it is there again.

Metrics, with their labels:
  arus_up, arus_filesystem_free_bytes
  arus_topic_{up,readers,reserved_bytes}{topic}
  arus_partition_{records_total,start_offset,written_bytes_total,used_bytes,ring_bytes,producers,
    oldest_timestamp_seconds}{topic,partition}
  arus_group_{alive,evicted,holds_back}{topic,group}
  arus_group_{committed_offset,lag_records}{topic,group,partition}
  arus_rpc_{server_alive,outstanding_calls,clients}{service,server}
  arus_rpc_calls_total{service,server,method,code}
  arus_rpc_latency_seconds{service,server,method,quantile}

Examples:
  arus export prometheus
  arus export prometheus --listen 0.0.0.0:9917
  arus export prometheus --once > /var/lib/node_exporter/arus.prom

JSON, when it listens: {"url"})";

}  // namespace

void add_export_command(CLI::App& app, Command& command) {
  CLI::App* parent = add_subcommand(app, "export", "Give the bus's numbers to a monitoring system", "");
  parent->require_subcommand(1);
  CLI::App* prometheus = add_subcommand(*parent, "prometheus", "Serve metrics for Prometheus", kDetails);
  auto options = std::make_shared<Options>();
  prometheus->add_option("--listen", options->listen, "Port, and address; port 0: any free one")
      ->type_name("[ADDRESS:]PORT")
      ->capture_default_str();
  prometheus->add_option("--path", options->path, "Of the metrics")->type_name("PATH")->capture_default_str();
  prometheus->add_flag("--once", options->once, "Print the metrics and exit");
  prometheus->callback([&command, options] {
    parse_endpoint(options->listen);
    if (!options->path.starts_with('/')) throw usage_error("--path: expected a path such as /metrics");
    command.run = [&command, options] { return options->once ? print_once(command) : serve(command, *options); };
  });
}

}  // namespace arus::tool
