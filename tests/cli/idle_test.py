"""What it costs when nothing happens: CPU time of `arus top` and wake-ups of consumers that sleep, over $ARUS_IDLE_SECONDS.

Checked is what does not depend on the machine or its load: how often a sleeping consumer wakes. The CPU times are printed."""

import os
import shutil
import subprocess
import time
import unittest

from harness import ARUS, CliTest, main, wait_until
from screen import Screen

READER = os.path.join(os.environ["ARUS_HELPERS"], "idle_reader")
SECONDS = float(os.environ.get("ARUS_IDLE_SECONDS", "20"))


class Cost:
    """CPU time and voluntary switches of all threads of a process, since it was made."""

    def __init__(self, pid):
        self.pid = pid
        self.began = time.monotonic()
        self.cpu, self.switches = self.read()

    def read(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        switches = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/status", encoding="ascii") as file:
                switches += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), switches

    def rates(self):
        """(percent of a core, wake-ups per second)"""
        cpu, switches = self.read()
        seconds = time.monotonic() - self.began
        return 100 * (cpu - self.cpu) / seconds, (switches - self.switches) / seconds


class Idle(CliTest):
    def setUp(self):
        super().setUp()
        for number in range(10):
            self.topic(f"t{number}", "-p", "4", "--partition-bytes", "64K")

    def test_sleeping_consumers(self):
        consumers = {"observer": [["t0"]], "observer of ten topics": [[f"t{number}" for number in range(10)]],
                     "only member of a group": [["t1", "-g", "one"]],
                     "two members of a group": [["t2", "-g", "two"], ["t2", "-g", "two"]]}
        running = {name: [self.start("consume", *command) for command in commands] for name, commands in consumers.items()}
        running["server"] = [self.start("rpc", "serve", "idle", "cat", "--", "cat")]
        for name in ("pattern", "share"):
            running[name] = [subprocess.Popen([READER, name], env=self.environment())]
            self.started += running[name]

        def shared_out():
            members = [member for group in self.arus("group", "list", "--json").json["groups"] for member in group["members"]]
            return sorted(member["partitions"] for member in members) == [2, 2, 4, 20]

        wait_until(shared_out, "the members read their partitions")
        time.sleep(5)  # members have shared out their partitions, and nobody spins any more
        costs = {name: [Cost(process.pid) for process in processes] for name, processes in running.items()}
        time.sleep(SECONDS)
        measured_wakes = []
        for name, measured in costs.items():
            for cost in measured:
                percent, wakes = cost.rates()
                print(f"idle {name}: {percent:.2f} % of a core, {wakes:.2f} wake-ups per second", flush=True)
                measured_wakes.append((name, wakes))
        for name, wakes in measured_wakes:
            self.assertLessEqual(wakes, 1.5, name)

    @unittest.skipUnless(shutil.which("tmux"), "no tmux")
    def test_top(self):
        for columns, rows in ((80, 24), (200, 50)):
            screen = Screen(self.directory, [ARUS, "top"], columns, rows, self.environment())
            try:
                screen.wait_for("TOPIC", "t9")
                wait_until(lambda s=screen: "sorted by name" in s.text(), "it is drawn")
                cost = Cost(screen.pid())
                time.sleep(SECONDS)
                percent, wakes = cost.rates()
                print(f"idle top at {columns}x{rows}: {percent:.2f} % of a core, {wakes:.2f} wake-ups per second", flush=True)
            finally:
                screen.close()


if __name__ == "__main__":
    main()
