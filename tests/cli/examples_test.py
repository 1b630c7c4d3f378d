"""The programs in tools/examples do what they say, and the README quotes them word for word."""

import os
import re
import subprocess
import unittest

from harness import SOURCE, CliTest, main, wait_until

PROGRAMS = os.environ["ARUS_EXAMPLES"]
README = os.path.join(SOURCE, "README.md")


def example(name):
    with open(os.path.join(SOURCE, "tools", "examples", f"{name}.cpp"), encoding="utf-8") as file:
        return file.read()


class Programs(CliTest):
    def program(self, name):
        return os.path.join(PROGRAMS, f"example_{name}")

    def run_example(self, name, *arguments):
        done = subprocess.run([self.program(name), *arguments], env=self.environment(), capture_output=True, timeout=60, check=True)
        return done.stdout.decode()

    def test_quickstart(self):
        consumer = subprocess.Popen([self.program("quickstart_consumer")], env=self.environment(), stdout=subprocess.PIPE)
        self.started.append(consumer)
        self.run_example("quickstart_producer")
        lines = [consumer.stdout.readline().decode() for _ in range(10)]
        for i, line in enumerate(lines):
            self.assertRegex(line, rf"\Astation-7: {20 + i % 5} \(partition \d, offset {i}\)\n\Z")

    def test_loan(self):
        self.assertEqual(self.run_example("loan"), "frame 1, first pixel 128\n")

    def test_weather_station(self):
        self.start("ingest", "host", "--topic", "host", "--create", "--rate", "20", "--filter", "load.*", stdout=subprocess.DEVNULL)
        wait_until(lambda: self.arus("consume", "host", "-e", code=None).out != "", "there are readings")
        self.started.append(subprocess.Popen([self.program("weather_station")], env=self.environment()))
        first = self.arus("rpc", "call", "weather", "latest", "load.1m", "--connect-timeout", "60s", "--deadline", "60s").out
        self.assertRegex(first, r'\A\{"v":[0-9.e+-]+\}\Z')
        lines = self.run_example("weather_client", "load.1m", "load.5m", "nothing").splitlines()
        self.assertEqual(len(lines), 3)
        for name, line in zip(("load.1m", "load.5m"), lines):
            self.assertRegex(line, rf'\A{name}: \{{"v":[0-9.e+-]+\}}\Z')
        self.assertEqual(lines[2], "nothing: not_found, no reading of that sensor")

    def test_questions(self):
        self.assertEqual(self.run_example("questions"), "14\n")

    def test_group_member(self):
        self.topic("weather", "-p", "2")
        self.produce(range(10), topic="weather")
        lines = self.run_example("group_member").splitlines()
        self.assertEqual(lines[:2], ["reads weather/0", "reads weather/1"])
        self.assertEqual(sorted(int(line.split()[1]) for line in lines[2:]), list(range(10)))

    def test_worker(self):
        self.topic("jobs")
        self.topic("jobs.dead")
        self.produce(["1", "bad", "2"], topic="jobs")
        lines = self.run_example("worker").splitlines()
        self.assertEqual(lines[:3], ["done: 1", "failed for the 1. time: bad", "done: 2"])
        self.assertEqual(lines[3:], ["failed for the 2. time: bad", "failed for the 3. time: bad"])
        self.assertEqual(self.values(topic="jobs.dead"), ["bad"])

    def test_rpc(self):
        self.started.append(subprocess.Popen([self.program("rpc_server")], env=self.environment()))
        self.assertEqual(self.run_example("rpc_client").splitlines(),
                         ["sensor 7: 27", "not_found: sensors are numbered 0 to 9", "sensor 1: 21", "20.5", "20.7", "20.6"])


class Readme(unittest.TestCase):
    """Every ```cpp block of the README is one of tools/examples, without its blank first and last lines."""

    def test_quotes_the_examples(self):
        if not os.path.exists(README):
            self.skipTest("there is no README.md yet")
        with open(README, encoding="utf-8") as file:
            blocks = re.findall(r"^```cpp\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
        names = ("quickstart_producer", "quickstart_consumer", "loan", "group_member", "worker", "rpc_server", "rpc_client")
        examples = {name: example(name).strip() for name in names}
        for block in blocks:
            self.assertIn(block.strip(), examples.values(), "this block of README.md is none of tools/examples")
        for name in ("quickstart_producer", "quickstart_consumer"):
            self.assertIn(examples[name], [block.strip() for block in blocks], f"README.md does not show {name}.cpp")


if __name__ == "__main__":
    main()
