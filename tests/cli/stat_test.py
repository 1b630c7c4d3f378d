"""arus stat and arus hz: counters, and how regularly records come."""

import os
import threading

from harness import CliTest, main, wait_until


class Stat(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")
        self.produce(["one", "two", "three"], "-p", "1")
        self.arus("consume", "t", "-g", "g", "-c", "2")

    def test_golden(self):
        self.assertGolden(self.arus("stat").out, """
topics/t/records_written 3
topics/t/bytes_written 192
topics/t/records 3
topics/t/bytes_used 192
topics/t/bytes_reserved <[0-9]+>
topics/t/producers 0
topics/t/readers 0
topics/t/partitions/0/start_offset 0
topics/t/partitions/0/end_offset 0
topics/t/partitions/0/bytes_written 0
topics/t/partitions/0/bytes_used 0
topics/t/partitions/0/producers 0
topics/t/partitions/0/oldest 0
topics/t/partitions/1/start_offset 0
topics/t/partitions/1/end_offset 3
topics/t/partitions/1/bytes_written 192
topics/t/partitions/1/bytes_used 192
topics/t/partitions/1/producers 0
topics/t/partitions/1/oldest <[0-9]{19}>
topics/t/groups/g/alive 0
topics/t/groups/g/evicted 0
topics/t/groups/g/holds_back 0
topics/t/groups/g/lag 1
topics/t/groups/g/lag_bytes 64
topics/t/groups/g/lost 0
topics/t/groups/g/partitions/0/committed 0
topics/t/groups/g/partitions/0/lag 0
topics/t/groups/g/partitions/0/lag_bytes 0
topics/t/groups/g/partitions/0/lost 0
topics/t/groups/g/partitions/1/committed 2
topics/t/groups/g/partitions/1/lag 1
topics/t/groups/g/partitions/1/lag_bytes 64
topics/t/groups/g/partitions/1/lost 0
""")

    def test_json(self):
        found = self.arus("stat", "--json").json
        self.assertEqual(list(found), ["bus", "time", "topics", "services"])
        self.assertEqual((found["bus"], found["services"]), (self.bus, []))
        topic = found["topics"][0]
        self.assertEqual(list(topic), ["name", "records_written", "bytes_written", "records", "bytes_used", "bytes_reserved", "producers",
                                       "readers", "partitions", "groups"])
        self.assertEqual(topic["partitions"][1]["end_offset"], 3)
        self.assertEqual(topic["groups"], [{"name": "g", "alive": 0, "evicted": 0, "holds_back": 0, "lag": 1, "lag_bytes": 64,
                                            "lost": 0, "partitions": [
            {"partition": 0, "committed": 0, "lag": 0, "lag_bytes": 0, "lost": 0},
            {"partition": 1, "committed": 2, "lag": 1, "lag_bytes": 64, "lost": 0}]}])

    def test_topics_are_chosen(self):
        self.topic("other", "--partition-bytes", "64K")
        self.assertNotIn("topics/t/", self.arus("stat", "other").out)
        self.assertIn("did you mean 'other'?", self.arus("stat", "othr", code=3).err)

    def test_what_cannot_be_read_does_not_hide_the_others(self):
        self.topic("other", "--partition-bytes", "64K")
        with open(os.path.join(self.bus, "topics", "t", "topic"), "r+b") as file:
            file.write(b"garbage!")
        found = self.arus("stat", code=7)
        self.assertIn("topics/other/records 0\n", found.out)
        self.assertIn("topics/t/error/code corrupt\n", found.out)
        self.assertIn("topic t: ", found.err)


class Hz(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")

    def measured(self, *options, lines=b"a:xx\nb:yyyy\n", code=0):
        """hz, while records come about every millisecond."""
        hz = self.start("hz", "t", *options)
        self.wait_for_readers(1)
        producer = self.start("produce", "t", "-K", ":")
        done = threading.Event()

        def feed():
            while not done.wait(0.001):
                producer.stdin.write(lines)
                producer.stdin.flush()

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            return self.finish(hz, code)
        finally:
            done.set()
            feeder.join()

    def test_text(self):
        lines = self.measured("--count", "200", "--interval", "100ms").lines
        self.assertRegex(lines[-1], r"\A\d+ records in [0-9.]+ s: [0-9.]+( k)?/s  period .* to .*, jitter .*  size 2 to 4 B, mean 3 B  .*B/s\Z")

    def test_json(self):
        found = self.measured("--count", "100", "--json").json
        self.assertEqual(list(found), ["topic", "records", "seconds", "rate", "bytes_per_second", "period", "size", "lost"])
        self.assertEqual((found["topic"], found["lost"]), ("t", 0))
        self.assertGreaterEqual(found["records"], 100)
        self.assertGreater(found["rate"], 0)
        for name in ("period", "size"):
            self.assertEqual(list(found[name]), ["min", "mean", "max", "deviation"])
        self.assertEqual((found["size"]["min"], found["size"]["max"]), (2, 4))
        self.assertLessEqual(found["period"]["min"], found["period"]["mean"])
        self.assertLessEqual(found["period"]["mean"], found["period"]["max"])

    def test_key(self):
        found = self.measured("--key", "b", "--count", "20", "--json").json
        self.assertEqual((found["size"]["min"], found["size"]["max"]), (4, 4))

    def test_nothing_comes(self):
        found = self.arus("hz", "t", "--duration", "200ms", "--json").json
        self.assertEqual((found["records"], found["rate"], found["period"], found["size"]), (0, 0, None, None))
        self.assertIn("0 records so far", self.arus("hz", "t", "--duration", "200ms", "--interval", "100ms").out)

    def test_unknown_topic(self):
        self.topic("weather", "--partition-bytes", "64K")
        self.assertIn("did you mean 'weather'?", self.arus("hz", "wether", code=3).err)


if __name__ == "__main__":
    main()
