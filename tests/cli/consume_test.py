"""arus consume: what is printed, where it begins, when it ends. (Groups: group_test.py; --stats: stats_test.py)"""

import base64
import json
import os
import signal
import subprocess
import time

from harness import ARUS, CliTest, main

SHAPE = ["topic", "partition", "offset", "timestamp", "key", "value", "headers"]


class Offsets(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")
        self.produce(range(10))

    def test_beginning_is_the_default(self):
        everything = [str(i) for i in range(10)]
        for options in ([], ["-o", "beginning"], ["-o", "earliest"], ["-o", "0"], ["-o0"], ["-o", "-10"], ["-o", "-1000"]):
            self.assertEqual(self.values(*options), everything, options)

    def test_number_and_last(self):
        self.assertEqual(self.values("-o", "7"), ["7", "8", "9"])
        self.assertEqual(self.values("-o", "-2"), ["8", "9"])
        self.assertEqual(self.values("--offset=-2"), ["8", "9"])
        self.assertEqual(self.values("-o-2"), ["8", "9"])

    def test_end(self):
        for where in ("end", "latest", "10", "-0"):
            self.assertEqual(self.values("-o", where), [], where)
        consumer = self.start("consume", "t", "-o", "end")
        self.wait_for_readers(1)
        self.produce(["new"])
        self.assertEqual(consumer.stdout.readline(), b"new\n")

    def test_not_yet_there(self):
        self.assertIn("10", self.arus("consume", "t", "-o", "11", "-e", code=2).err)

    def test_time(self):
        time.sleep(0.05)
        now = time.time()
        self.produce(["later"])
        milliseconds = int(now * 1000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{milliseconds % 1000:03}"
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f".{milliseconds % 1000:03}"
        east = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now + 5400)) + f".{milliseconds % 1000:03}+01:30"
        for where in (f"@{milliseconds}", f"s@{milliseconds}", f"@{stamp}Z", f"@{local}", f"@{east}"):
            self.assertEqual(self.values("-o", where), ["later"], where)
        self.assertEqual(len(self.values("-o", "@-1h")), 11)
        self.assertEqual(len(self.values("-o", "@2001-02-03")), 11)
        self.assertEqual(self.values("-o", "@2200-01-01T00:00Z"), [])

    def test_malformed(self):
        for where in ("", "x", "1x", "--1", "1.5", "99999999999999999999", "@", "@tomorrow", "@2024-13-01", "@2024-01-01T25:00",
                      "@2024-01-01T00:00:00+99", "@99999999999999", "@-5x", "s@"):
            error = self.arus("consume", "t", f"--offset={where}", "-e", code=2).err
            self.assertRegex(error, "is not an offset|is not a time|is not a duration", where)

    def test_overwritten_ones_are_reported(self):
        self.produce(["x" * 200] * 1000)
        done = self.arus("consume", "t", "-o", "3", "-e")
        start = self.describe()["state"][0]["start_offset"]
        self.assertGreater(start, 10)
        self.assertEqual(len(done.lines), 1010 - start)
        self.assertIn(f"arus: t partition 0: lost, overwritten before they were read: offsets [3, {start}), {start - 3} records", done.err)
        self.assertEqual(self.arus("consume", "t", "-o", "3", "-e", "-q").err, "")
        self.assertEqual(self.arus("consume", "t", "-o", "3", "-e", "--json").objects[0],
                         {"gap": "lost", "topic": "t", "partition": 0, "from": 3, "to": start})
        # From the beginning nothing is missing: that is where it begins.
        self.assertEqual(self.arus("consume", "t", "-e").err, "")


class Formats(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")

    def test_every_field(self):
        self.arus("produce", "t", "-p", "1", "-K:", "-H", "a=1", "-H", "b=2", stdin="key:value\n")
        record = self.arus("consume", "t", "-e", "--json").json
        ns = record["timestamp"]
        text = self.arus("consume", "t", "-e", "-f", "%t|%p|%o|%k|%K|%s|%S|%T|%N|%h|%%|%I\\n").out
        iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"
        self.assertEqual(text, f"t|1|0|key|3|value|5|{ns // 10**6}|{ns}|a=1,b=2|%|{iso}\n")
        self.assertEqual(self.arus("consume", "t", "-e", "-f", "%R%s").raw, b"\0\0\0\x05value")

    def test_escapes(self):
        self.produce(["x"])
        self.assertEqual(self.arus("consume", "t", "-e", "-f", r"\t%s\n\r\\\0\x41\x0aF\101%%").raw, b"\tx\n\r\\\0A\nFA%")

    def test_delimiters(self):
        self.arus("produce", "t", "-K:", stdin="a:1\n")
        self.arus("produce", "t", stdin="2\n")
        self.assertEqual(sorted(self.values("-K", " => ")), [" => 2", "a => 1"])
        self.assertEqual(self.arus("consume", "t", "-e", "-K%\\t", "-D", "\\0", "-c", "1").raw[-1:], b"\0")

    def test_null(self):
        self.arus("produce", "t", "-Z", stdin="\n")
        self.assertEqual(self.arus("consume", "t", "-e", "-f", "%k/%K/%s/%S\n").out, "/-1//-1\n")
        self.assertEqual(self.arus("consume", "t", "-e", "-Z", "-f", "%k/%s\n").out, "NULL/NULL\n")

    def test_json(self):
        self.arus("produce", "t", "-p", "1", "-K:", "-H", "h=\"\\", stdin='k\u00e9y:"quoted"\\ \t\x01 \u20ac \U0001f600\n'.encode())
        record = self.arus("consume", "t", "-e", "--json").json
        self.assertEqual(list(record), SHAPE)
        self.assertLess(abs(record.pop("timestamp") / 1e9 - time.time()), 60)
        self.assertEqual(record, {"topic": "t", "partition": 1, "offset": 0, "key": "k\u00e9y",
                                  "value": '"quoted"\\ \t\x01 \u20ac \U0001f600', "headers": [{"name": "h", "value": "\"\\"}]})

    def test_json_of_other_bytes(self):
        for value in (b"\xff", b"\xc3", b"ab\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", bytes(range(1, 10)) + b"\xfe"):
            self.arus("produce", "t", "-p", "0", "-K", "=", stdin=value + b"=" + value + b"\n")
            record = self.arus("consume", "t", "-p", "0", "-o", "-1", "-e", "--json").json
            self.assertEqual((record["key_encoding"], record["value_encoding"]), ("base64", "base64"))
            self.assertEqual(base64.b64decode(record["value"]), value)
            self.assertEqual(base64.b64decode(record["key"]), value)

    def test_wrong_formats(self):
        for option, message in (("%x", "'%x' is not a field"), ("%", "'%' is not a field"), ("\\xg", "is not a byte"),
                                ("\\777", "is not a byte")):
            self.assertIn(message, self.arus("consume", "t", "-e", "-f", option, code=2).err)
        self.assertIn("excludes", self.arus("consume", "t", "-f", "%s", "-K:", code=2).err)


class Ends(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")
        for partition in (0, 1):
            self.produce([f"{partition}-{i}" for i in range(5)], "-p", str(partition))

    def test_count(self):
        self.assertEqual(len(self.arus("consume", "t", "-c", "3").lines), 3)
        self.assertEqual(self.arus("consume", "t", "-c", "0").lines, [])
        self.assertEqual(len(self.arus("consume", "t", "-c", "100", "-e").lines), 10)

    def test_partitions(self):
        self.assertEqual(self.values("-p", "1"), [f"1-{i}" for i in range(5)])
        self.assertEqual(len(self.values("-p", "1", "-p", "0")), 10)
        self.assertIn("no partition 2; its partitions are 0 to 1", self.arus("consume", "t", "-p", "2", code=3).err)

    def test_several_topics(self):
        self.topic("u", "--partition-bytes", "64K")
        self.produce(["other"], topic="u")
        lines = self.arus("consume", "t", "u", "-e", "-f", "%t %s\\n").lines
        self.assertEqual(len(lines), 11)
        self.assertIn("u other", lines)

    def test_end_of_an_empty_topic(self):
        self.topic("empty", "--partition-bytes", "64K")
        self.assertEqual(self.values(topic="empty"), [])

    def test_idle(self):
        began = time.monotonic()
        self.assertEqual(len(self.arus("consume", "t", "--idle", "300ms").lines), 10)
        self.assertGreater(time.monotonic() - began, 0.3)

    def test_signals_end_it_well(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            consumer = self.start("consume", "t")
            for _ in range(10):
                consumer.stdout.readline()
            done = self.finish(consumer, code=0, sends=number)
            self.assertEqual((done.out, done.err), ("", ""))

    def test_reader_that_goes_is_no_error(self):
        # While records come, and while none do.
        self.produce(["x" * 100] * 300, "-p", "0")
        for topic in ("t", "idle"):
            if topic == "idle":
                self.topic("idle", "--partition-bytes", "64K")
            consumer = self.start("consume", topic)
            if topic == "t":
                consumer.stdout.readline()
            consumer.stdout.close()
            consumer.stdout = None
            self.assertEqual(consumer.wait(timeout=30), 0)
            self.assertEqual(consumer.stderr.read(), b"")

    def test_full_output(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([ARUS, "consume", "t", "-e"], stdout=full, stderr=subprocess.PIPE, env=self.environment(), check=False)
        self.assertEqual(done.returncode, 5)
        self.assertIn(b"arus: cannot write the output", done.stderr)

    def test_topic_deleted_meanwhile(self):
        consumer = self.start("consume", "t", "--json")
        for _ in range(10):
            consumer.stdout.readline()
        self.arus("topic", "delete", "t")
        done = self.finish(consumer, code=9)
        self.assertIn("deleted", done.err)
        self.assertEqual(done.json["error"]["code"], "deleted")

    def test_ways_to_wait(self):
        for way in ("spin", "spin-then-sleep", "sleep"):
            consumer = self.start("consume", "t", "-o", "end", "-c", "1", "--wait", way)
            self.wait_for_readers(1)
            self.produce([way])
            self.assertEqual(self.finish(consumer).out, f"{way}\n")
        self.assertIn("--wait: 'nap'", self.arus("consume", "t", "--wait", "nap", code=2).err)

    def test_idle_consumer_sleeps(self):
        consumer = self.start("consume", "t", "--wait", "sleep")
        for _ in range(10):
            consumer.stdout.readline()
        time.sleep(0.3)

        def wakeups():
            total = 0
            for thread in os.listdir(f"/proc/{consumer.pid}/task"):
                with open(f"/proc/{consumer.pid}/task/{thread}/status", encoding="ascii") as status:
                    total += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))
            return total

        before = wakeups()
        time.sleep(3)
        self.assertLessEqual(wakeups() - before, 6)  # the wait of a second and its own look, per second


class Holes(CliTest):
    """Offsets that were claimed and never committed."""

    def helper(self, *arguments, **options):
        program = os.path.join(os.environ["ARUS_HELPERS"], "abort_loan")
        process = subprocess.Popen([program, *arguments], env=self.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def test_are_reported_and_nothing_is_lost(self):
        self.helper("t").wait()
        done = self.arus("consume", "t", "-e")
        self.assertEqual(done.lines, ["before", "after"])
        self.assertRegex(done.err, r"arus: t partition 0: never committed .*nothing was lost.*: offsets \[1, 2\), 1 record\n")
        self.assertEqual([next(iter(line)) for line in self.arus("consume", "t", "-e", "--json").objects].count("gap"), 1)
        self.assertIn({"gap": "uncommitted", "topic": "t", "partition": 0, "from": 1, "to": 2},
                      self.arus("consume", "t", "-e", "--json").objects)

    def test_of_a_killed_producer(self):
        producer = self.helper("t", "hold")
        producer.stdout.readline()
        producer.kill()
        producer.wait()
        self.produce(["after"])
        done = self.arus("consume", "t", "-e")
        self.assertEqual(done.lines, ["before", "after"])
        self.assertIn("[1, 2)", done.err)

    def test_open_claim_is_not_waited_for_at_the_end(self):
        producer = self.helper("t", "hold")
        producer.stdout.readline()
        done = self.arus("consume", "t", "-e")
        self.assertEqual(done.lines, ["before"])
        self.assertIn("[1, 2) are claimed by a producer and not committed yet", done.err)


class Lapped(CliTest):
    def test_observer_that_was_stopped_accounts_for_everything(self):
        self.topic("t", "--partition-bytes", "64K")
        observer = self.start("consume", "t", "--json", "-o", "beginning")
        self.wait_for_readers(1)
        observer.send_signal(signal.SIGSTOP)
        self.produce([f"{i:06}" for i in range(20_000)])
        observer.send_signal(signal.SIGCONT)
        self.produce(["last"])
        seen, missing = [], []
        while not seen or seen[-1]["value"] != "last":
            line = json.loads(observer.stdout.readline())
            (missing if "gap" in line else seen).append(line)
        lost = sum(gap["to"] - gap["from"] for gap in missing)
        self.assertGreater(lost, 0)
        self.assertEqual(len(seen) + lost, 20_001)
        offsets = {offset for gap in missing for offset in range(gap["from"], gap["to"])} | {record["offset"] for record in seen}
        self.assertEqual(offsets, set(range(20_001)))
        for record in seen[:-1]:
            self.assertEqual(int(record["value"]), record["offset"])
        self.finish(observer, sends=signal.SIGTERM)


if __name__ == "__main__":
    main()
