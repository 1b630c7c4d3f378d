"""arus plan: what a topic would take."""

import os

from harness import CliTest, main

SHAPE = ["bus", "topics", "partitions", "partition_bytes", "record_bytes", "max_record_bytes", "records", "retained_seconds",
         "bytes_reserved", "bytes_total", "bytes_left", "fits"]


class Plan(CliTest):
    def plan(self, *options, code=0):
        return self.arus("plan", *options, "--json", code=code).json

    def test_golden(self):
        self.assertGolden(self.arus("plan", "-p", "4", "--partition-bytes", "64K", "--value-size", "200", "--rate", "100").out, """
partitions    4 of 64 KiB, 128 KiB with their tables
a record      256 B of the ring, for a key of 0 B and a value of 200 B; at most 31.8 KiB
it holds      1024 records, which come in 10.2 s
memory        512 KiB
left          <[0-9.]+ .iB> in <.*>: it fits

arus topic create NAME -p 4 --partition-bytes 65536
""")

    def test_json(self):
        found = self.plan("-p", "2", "--partition-bytes", "64K", "--topics", "3", "--rate", "1")
        self.assertEqual(list(found), SHAPE)
        self.assertEqual((found["topics"], found["partitions"], found["partition_bytes"], found["fits"]), (3, 2, 65536, True))
        self.assertEqual(found["bytes_total"], 3 * found["bytes_reserved"])
        self.assertEqual(found["retained_seconds"], found["records"])
        self.assertIsNone(self.plan()["retained_seconds"])

    def test_it_is_what_a_topic_takes(self):
        for options in (["-p", "3", "--partition-bytes", "256K"], ["--max-producers", "1000", "--partition-bytes", "64K"]):
            planned = self.plan(*options)
            self.assertFalse(os.path.exists(self.bus), "nothing is created")
            made = self.arus("topic", "create", "t", *options, "--json").json["topic"]
            self.assertEqual(planned["bytes_reserved"], made["bytes_reserved"])
            self.assertEqual(planned["max_record_bytes"], made["max_record_bytes"])
            self.arus("topic", "delete", "t")
            os.rename(self.bus, self.bus + "-done-" + options[0])

    def test_a_record_takes_what_is_planned(self):
        self.topic("t", "--partition-bytes", "64K")
        for key, value in ((0, 1), (0, 32), (0, 33), (5, 100), (100, 1000)):
            planned = self.plan("--value-size", value, "--key-size", key)["record_bytes"]
            before = self.describe()["state"][0]["bytes_written"]
            self.arus("produce", "t", *(["-K", ":"] if key else []), stdin="k" * key + (":" if key else "") + "v" * value + "\n")
            self.assertEqual(self.describe()["state"][0]["bytes_written"] - before, planned)

    def test_the_ring_for_a_retention(self):
        found = self.plan("-p", "4", "--value-size", "200", "--rate", "5000", "--retain", "10m")
        self.assertGreaterEqual(found["retained_seconds"], 600)
        self.assertLess(found["retained_seconds"], 1300)
        self.assertEqual(found["partition_bytes"] & (found["partition_bytes"] - 1), 0)

    def test_too_much(self):
        found = self.plan("--topics", "100000", "--partition-bytes", "1G", code=5)
        self.assertFalse(found["fits"])
        self.assertIn("does NOT fit", self.arus("plan", "--topics", "100000", "--partition-bytes", "1G", code=None).out)

    def test_what_cannot_be(self):
        for arguments, message, code in (
                (["--retain", "1h"], "--rate", 2),
                (["--retain", "1h", "--rate", "1", "--partition-bytes", "1M"], "either", 2),
                (["--retain", "30d", "--rate", "1000000"], "spread the records", 6),
                (["--partition-bytes", "100K"], "power of two", 2),
                (["--partition-bytes", "64K", "--value-size", "60K"], "do not fit", 2),
                (["--key-size", "70000"], "--key-size", 2),
                (["--topics", "0"], "--topics", 2),
                (["-p", "0"], "partitions", 2)):
            with self.subTest(arguments):
                self.assertIn(message, self.arus("plan", *arguments, code=code).err)


if __name__ == "__main__":
    main()
