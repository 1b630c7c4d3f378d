#include <arus/arus.h>

#include <iostream>

bool work(arus::Bytes job) { return arus::text(job) != "bad"; }

int main() {
  using std::chrono_literals::operator""s;
  auto bus = arus::Bus::open().value();
  bus.open_or_create("jobs").value();
  bus.open_or_create("jobs.dead").value();

  auto queue = bus.share_consumer({.group = "workers", .max_deliveries = 3, .dead_letter_topic = "jobs.dead"}).value();
  queue.subscribe({"jobs"}).value();
  for (;;) {
    auto batch = queue.poll(1s).value();
    if (batch.empty()) break;                    // nothing left for now
    for (const arus::SharedRecord& job : batch)  // held by this consumer alone
      if (work(job.value())) {
        std::cout << "done: " << arus::text(job.value()) << std::endl;
        queue.accept(job).value();
      } else {
        std::cout << "failed for the " << job.delivery_count() << ". time: " << arus::text(job.value()) << std::endl;
        queue.release(job).value();  // again, for whoever asks; reject(): not again
      }
  }
}
