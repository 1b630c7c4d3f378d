"""arus bench: quick measurements. That they measure right cannot be tested here; that they are whole and leave nothing, can."""

import html.parser
import os
import re
import shutil
import signal
import unittest

from harness import CliTest, main, wait_until

LATENCIES = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"]
TIME = "[0-9.]+ [num]?s"
PERCENTILES = f"p50 <{TIME}>, p90 <{TIME}>, p99 <{TIME}>, p99.9 <{TIME}>, p99.99 <{TIME}>, max <{TIME}>"
COUNT = "<[0-9.]+( [kM])?>"
CPUS = "<CPUs \\d+ and \\d+|one CPU>"
SHORT = ["--seconds", "100ms"]
MEASUREMENTS = ("latency", "throughput", "load", "rpc", "fanout")


class BenchTest(CliTest):
    def tearDown(self):
        self.assertNothingIsLeft()
        super().tearDown()

    def entries(self, directory):
        path = os.path.join(self.bus, directory)
        return os.listdir(path) if os.path.isdir(path) else []

    def assertNothingIsLeft(self):
        for directory, stays in (("topics", []), ("services", []), ("groups", ["lock"]), ("fifos", [])):
            self.assertLessEqual(set(self.entries(directory)), set(stays), directory)


class Bench(BenchTest):
    def bench(self, *arguments):
        return self.arus("bench", *arguments, *SHORT, "--json").json

    def assertLatencies(self, found):
        self.assertEqual(list(found)[-7:], LATENCIES + ["curve"])
        percentiles = [found[name] for name in LATENCIES]
        self.assertEqual(percentiles, sorted(percentiles))
        self.assertGreater(percentiles[0], 0)
        for column in zip(*found["curve"]):
            self.assertEqual(list(column), sorted(column))
        self.assertEqual(found["curve"][0][0], 0)
        self.assertLess(found["curve"][-1][0], 1)

    def assertThroughput(self, found):
        self.assertGreater(found["messages"], 0)
        self.assertEqual((found["lost"], found["out_of_order"]), (0, 0))
        self.assertAlmostEqual(found["messages"] / found["seconds"], found["messages_per_second"], delta=1)

    SHAPE = ["messages", "seconds", "messages_per_second", "bytes_per_second", "message_bytes", "batch", "lost", "out_of_order", "cpus"]

    def test_throughput(self):
        for options in ([], ["--batch", "1", "--size", "8"], ["--size", "4096"], ["--size", "4194304"]):
            found = self.bench("throughput", *options)
            self.assertEqual(list(found), ["bench", *self.SHAPE])
            self.assertThroughput(found)

    def test_throughput_by_size(self):
        found = self.bench("throughput", "--sizes", "64,4K,1M", "--batch", "16")
        self.assertEqual(list(found), ["bench", "sizes"])
        self.assertEqual([(one["message_bytes"], one["batch"]) for one in found["sizes"]], [(64, 16), (4096, 16), (1 << 20, 1)])
        for one in found["sizes"]:
            self.assertEqual(list(one), self.SHAPE)
            self.assertThroughput(one)

    def test_latency(self):
        for way in ("spin", "spin-then-sleep", "sleep"):
            found = self.bench("latency", "--wait", way)
            self.assertEqual(list(found)[:4], ["bench", "round_trips", "message_bytes", "cpus"])
            self.assertLatencies(found)

    def test_load(self):
        found = self.bench("load", "--rate", "20000", "--size", "8", "--wait", "sleep")
        self.assertEqual(list(found)[:-7], ["bench", "rate", "achieved_per_second", "messages", "message_bytes", "late", "lost",
                                            "out_of_order", "cpus"])
        self.assertEqual((found["messages"], found["message_bytes"], found["lost"], found["out_of_order"]), (2000, 16, 0, 0))
        self.assertLatencies(found)

    def test_rpc(self):
        for way in ("spin-then-sleep", "sleep"):
            found = self.bench("rpc", "--wait", way, "--size", "1000")
            self.assertEqual(list(found)[:-7], ["bench", "calls", "calls_per_second", "message_bytes", "cpus"])
            self.assertLatencies(found)

    def test_fanout(self):
        found = self.bench("fanout", "--consumers", "3")
        self.assertEqual(list(found), ["bench", "consumers", "messages", "message_bytes", "batch", "messages_per_second",
                                       "bytes_per_second", "readers"])
        self.assertEqual(len(found["readers"]), 3)
        for reader in found["readers"]:
            self.assertEqual(list(reader), ["messages", "messages_per_second", "lost", "out_of_order"])
            self.assertEqual((reader["messages"], reader["lost"], reader["out_of_order"]), (found["messages"], 0, 0))
            self.assertGreaterEqual(reader["messages_per_second"], found["messages_per_second"])

    def test_all(self):
        found = self.bench("all", "--sizes", "64,1K", "--rate", "1000")
        self.assertEqual(list(found), ["bench", "results"])
        self.assertEqual([one["bench"] for one in found["results"]], list(MEASUREMENTS))
        cpus = [one["cpus"] for one in found["results"] if "cpus" in one] + [one["cpus"] for one in found["results"][1]["sizes"]]
        self.assertEqual(cpus, cpus[:1] * 5, "each has the CPUs of the first")

    def test_text(self):
        text = self.arus("bench", "all", "--sizes", "64", *SHORT).out
        self.assertGolden(text, f"""
round trip  {PERCENTILES}
            {COUNT} of 64 B on {CPUS}
throughput  {COUNT} messages/s, <[0-9.]+ [KMG]?i?B>/s: 64 B each, in batches of 32
            {COUNT} messages on {CPUS}, 0 lost, 0 out of order
load        {PERCENTILES}
            {COUNT} messages of 64 B, {COUNT}/s of 100 k/s wanted, {COUNT} sent late, on {CPUS}, 0 lost, 0 out of order
call        {PERCENTILES}
            {COUNT} calls of 64 B, {COUNT}/s one after the other, on {CPUS}
fan-out     {COUNT} messages/s, <[0-9.]+ [KMG]?i?B>/s to each of 2 consumers: 64 B each, in batches of 32
            {COUNT} messages, 0 lost, 0 out of order
""")

    def test_interrupted(self):
        for which in MEASUREMENTS:
            with self.subTest(which):
                bench = self.start("bench", which, "--seconds", "1h")
                wait_until(lambda w=which: self.entries("services" if w == "rpc" else "topics"), "it has begun")
                self.finish(bench, code=130, sends=signal.SIGINT)
                self.assertNothingIsLeft()

    def test_wrong_arguments(self):
        self.assertIn("--size", self.arus("bench", "throughput", "--size", "7", code=2).err)
        self.assertIn("--batch", self.arus("bench", "throughput", "--batch", "0", code=2).err)
        self.assertIn("65536", self.arus("bench", "throughput", "--partition-bytes", "1K", code=2).err)
        self.assertIn("--sizes", self.arus("bench", "throughput", "--sizes", "64,8M", code=2).err)
        self.assertIn("--sizes", self.arus("bench", "throughput", "--sizes", "64,,1K", code=2).err)
        self.assertIn("--rate", self.arus("bench", "load", "--rate", "0", code=2).err)
        self.assertIn("--consumers", self.arus("bench", "fanout", "--consumers", "0", code=2).err)
        self.arus("bench", code=2)


class Page(html.parser.HTMLParser):
    """Which tags a page has, how often, its text, and what it would load from elsewhere."""

    def __init__(self, path):
        super().__init__()
        self.count, self.words, self.loaded, self.open = {}, [], [], []
        with open(path, encoding="utf-8") as file:
            self.feed(file.read())
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loaded += [value for name, value in attrs
                        if name in ("src", "href", "xlink:href") and not value.startswith("#")]

    def handle_data(self, data):
        self.words += data.split()


class Report(BenchTest):
    def path(self):
        return os.path.join(self.directory, "report.html")

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_page(self):
        self.arus("bench", "all", "--sizes", "64,1K", "--html", self.path(), *SHORT)
        page = Page(self.path())
        self.assertEqual((page.count["svg"], page.loaded), (2, []))
        for words in ("arus bench all --sizes 64,1K --html", "Kernel Linux", "round trip, 64 B", "100 k messages/s, 64 B",
                      "call, 64 B", "share of messages", "took at most", "99 %", "size of a message", "GB/s", "million messages/s",
                      "64 B", "1 KiB"):
            self.assertIn(words, page.text)
        with open(self.path(), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("prefers-color-scheme: dark", text)
        # What gnuplot draws in black, which the page's style turns into the colour of its text.
        self.assertEqual(set(re.findall(r'<g [^>]*fill="(.*?)"[^>]*>\s*<text', text)), {"black"})

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_each_measurement_has_a_page(self):
        for which, charts in (("latency", 1), ("throughput", 0), ("load", 1), ("rpc", 1), ("fanout", 0)):
            self.arus("bench", which, "--html", self.path(), *SHORT)
            self.assertEqual(Page(self.path()).count.get("svg", 0), charts, which)

    def test_without_gnuplot(self):
        error = self.arus("bench", "latency", "--seconds", "1h", "--html", self.path(), command=["/usr/bin/env", "PATH=/nowhere"], code=3)
        self.assertIn("apt-get install gnuplot-nox", error.err)
        self.assertFalse(os.path.exists(self.path()))
        self.assertFalse(os.path.exists(self.bus), "it is told before anything is measured")

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_a_page_that_cannot_be_written(self):
        error = self.arus("bench", "latency", "--seconds", "1h", "--html", os.path.join(self.directory, "none", "r.html"), code=1)
        self.assertIn("none/r.html", error.err)


if __name__ == "__main__":
    main()
