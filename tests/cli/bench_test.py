"""arus bench: a quick measurement. That it measures right cannot be tested here; that it is whole and leaves nothing, can."""

import os
import signal

from harness import CliTest, main, wait_until


class Bench(CliTest):
    def topics(self):
        return os.listdir(os.path.join(self.bus, "topics"))

    def test_throughput(self):
        for options in ([], ["--batch", "1", "--size", "8"], ["--size", "4096"]):
            found = self.arus("bench", "throughput", "--seconds", "200ms", "--json", *options).json
            self.assertEqual(list(found), ["bench", "messages", "seconds", "messages_per_second", "bytes_per_second", "message_bytes",
                                           "batch", "lost", "out_of_order", "cpus"])
            self.assertGreater(found["messages"], 0)
            self.assertEqual((found["lost"], found["out_of_order"]), (0, 0))
            self.assertAlmostEqual(found["messages"] / found["seconds"], found["messages_per_second"], delta=1)
        self.assertEqual(self.topics(), [])

    def test_latency(self):
        for way in ("spin", "spin-then-sleep", "sleep"):
            found = self.arus("bench", "latency", "--seconds", "200ms", "--wait", way, "--json").json
            self.assertEqual(list(found), ["bench", "round_trips", "message_bytes", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns", "cpus"])
            percentiles = [found[name] for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")]
            self.assertEqual(percentiles, sorted(percentiles))
            self.assertGreater(percentiles[0], 0)
        self.assertEqual(self.topics(), [])

    def test_text(self):
        self.assertGolden(self.arus("bench", "throughput", "--seconds", "100ms").out, """
throughput  <[0-9.]+( [kM])?> messages/s, <[0-9.]+ [KMG]iB>/s: 64 B each, in batches of 32
            <[0-9.]+( [kM])?> messages on <CPUs \\d+ and \\d+|one CPU>, 0 lost, 0 out of order
""")
        self.assertGolden(self.arus("bench", "latency", "--seconds", "100ms").out, """
round trip  p50 <[0-9.]+ [num]?s>, p90 <[0-9.]+ [num]?s>, p99 <[0-9.]+ [num]?s>, p99.9 <[0-9.]+ [num]?s>, max <[0-9.]+ [num]?s>
            <[0-9.]+( [kM])?> of 64 B on <CPUs \\d+ and \\d+|one CPU>
""")

    def test_interrupted(self):
        for which in ("throughput", "latency"):
            bench = self.start("bench", which, "--seconds", "1h")
            wait_until(lambda: os.path.isdir(self.bus + "/topics") and self.topics(), "it has begun")
            self.finish(bench, code=130, sends=signal.SIGINT)
            self.assertEqual(self.topics(), [])

    def test_wrong_arguments(self):
        self.assertIn("--size", self.arus("bench", "throughput", "--size", "7", code=2).err)
        self.assertIn("--batch", self.arus("bench", "throughput", "--batch", "0", code=2).err)
        self.assertIn("65536", self.arus("bench", "throughput", "--partition-bytes", "1K", code=2).err)
        self.arus("bench", code=2)


if __name__ == "__main__":
    main()
