// abort_loan TOPIC [hold]: sends "before", gives up a loan, sends "after": offset 1 of the partition is uncommitted.
// With `hold` it keeps the loan open until its stdin ends, and says "held" when it has it.
#include <arus/arus.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  auto bus = arus::Bus::open().value();
  auto producer = bus.topic(argv[1]).value().producer().value();
  producer.send(arus::bytes("before")).value();
  {
    auto loan = producer.loan(8).value();
    if (argc > 2) {
      std::puts("held");
      std::fflush(stdout);
      while (std::getchar() != EOF) {
      }
    }
  }
  producer.send(arus::bytes("after")).value();
}
