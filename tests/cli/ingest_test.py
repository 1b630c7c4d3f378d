"""arus ingest host: sensors become records. (What the sensors are is tested in tests/unit; here it is how they get into a topic.)"""

import json
import os
import shutil
import signal
import time

from harness import SOURCE, CliTest, main, wait_until

RECORDED = os.path.join(SOURCE, "tests", "unit", "data", "host", "t0")
SUMMARY = ["topic", "rounds", "late_rounds", "records", "dropped", "sensor_failures", "malformed_lines", "seconds"]
MACHINE = ["--proc-root", os.path.join(RECORDED, "proc"), "--sysfs-root", os.path.join(RECORDED, "sys")]


class Ingest(CliTest):
    def ingest(self, *options, code=0):
        return self.arus("ingest", "host", "--topic", "t", *MACHINE, *options, code=code)

    def records(self):
        return self.arus("consume", "t", "-e", "--json").objects

    def test_recorded_machine(self):
        self.topic("t", "-p", "4", "--partition-bytes", "256K")
        before = time.time()
        summary = self.ingest("--count", "3", "--rate", "100", "--json").json
        self.assertEqual(list(summary), SUMMARY)
        self.assertEqual((summary["topic"], summary["rounds"], summary["dropped"]), ("t", 3, 0))
        records = self.records()
        self.assertEqual(len(records), summary["records"])
        sensors = {}
        for record in records:
            value = json.loads(record["value"])
            self.assertLessEqual(set(value), {"v", "u"})
            self.assertIsInstance(value["v"], (int, float))
            self.assertGreater(record["timestamp"] / 1e9, before - 1)
            sensors.setdefault(record["key"], []).append(record)
        self.assertIn("load.1m", sensors)
        self.assertTrue(any(name.startswith("hwmon.") for name in sensors), sensors.keys())
        self.assertTrue(any(name.startswith("iio.") for name in sensors), sensors.keys())
        for rounds in sensors.values():
            self.assertEqual(len({record["partition"] for record in rounds}), 1)
            self.assertEqual([record["timestamp"] for record in rounds], sorted(record["timestamp"] for record in rounds))
        # All of one round carry the time of the round.
        self.assertEqual(len({record["timestamp"] for record in records}), 3)
        self.assertNotIn("u", json.loads(sensors["load.1m"][0]["value"]))
        self.assertEqual(json.loads(sensors["mem.total"][0]["value"])["u"], "B")

    def test_list(self):
        shown = self.arus("ingest", "host", "--list", *MACHINE).lines
        self.assertRegex(shown[0], r"SENSOR +UNIT +STATE +SOURCE +DESCRIPTION")
        sensors = self.arus("ingest", "host", "--list", "--json", *MACHINE).json["sensors"]
        self.assertEqual(len(sensors), len(shown) - 1)
        self.assertEqual(list(sensors[0]), ["name", "unit", "state", "source", "description"])

    def test_filter_and_exclude(self):
        self.topic("t", "--partition-bytes", "256K")
        self.ingest("--count", "1", "--filter", "load.*", "--filter", "mem.*", "--exclude", "*.15m")
        names = {record["key"] for record in self.records()}
        self.assertIn("load.1m", names)
        self.assertIn("mem.free", names)
        self.assertNotIn("load.15m", names)
        self.assertTrue(all(name.startswith(("load.", "mem.")) for name in names), names)

    def test_creates_bus_and_topic_if_told(self):
        self.assertIn(self.bus, self.ingest("--count", "1", code=3).err)
        self.ingest("--count", "1", "--create", "-p", "2", "--partition-bytes", "128K")
        found = self.describe()
        self.assertEqual((found["partitions"], found["partition_bytes"]), (2, 131072))
        self.ingest("--count", "1", "--create", "-p", "2", "--partition-bytes", "128K")
        self.assertIn("partitions", self.ingest("--count", "1", "--create", "-p", "3", "--partition-bytes", "128K", code=6).err)
        self.assertIn("--create", self.ingest("--count", "1", "-p", "3", code=2).err)

    def test_unknown_topic(self):
        self.topic("host", "--partition-bytes", "64K")
        self.assertIn("did you mean 'host'?", self.arus("ingest", "host", "--topic", "hots", "--count", "1", code=3).err)
        self.assertIn("--topic", self.arus("ingest", "host", code=2).err)

    def test_duration_and_rate(self):
        self.topic("t", "--partition-bytes", "256K")
        summary = self.ingest("--duration", "500ms", "--rate", "20", "--filter", "load.*", "--json").json
        self.assertGreaterEqual(summary["seconds"], 0.45)
        self.assertLessEqual(summary["rounds"], 11)
        self.assertGreaterEqual(summary["rounds"] + summary["late_rounds"], 9)

    def test_the_human_summary(self):
        self.topic("t", "--partition-bytes", "256K")
        self.assertGolden(self.ingest("--count", "2", "--rate", "100", "--filter", "load.*").out,
                          "6 records of 3 sensors in 2 rounds and <[0-9.]+> s; 0 dropped, <[0-9]+> failed readings, <[0-9]+> rounds left out\n")

    def test_sigterm_ends_it_with_a_summary(self):
        self.topic("t", "--partition-bytes", "256K")
        for number in (signal.SIGTERM, signal.SIGINT):
            before = self.describe()["state"][0]["end_offset"]
            source = self.start("ingest", "host", "--topic", "t", "--rate", "50", "--filter", "load.*", "--json", *MACHINE)
            wait_until(lambda start=before: self.describe()["state"][0]["end_offset"] > start + 3, "it has sent something")
            summary = self.finish(source, sends=number).json
            self.assertEqual(summary["records"], self.describe()["state"][0]["end_offset"] - before)

    def stopped_group(self):
        """A lossless reader that holds the ring back."""
        self.printed = os.path.join(self.directory, "printed")
        with open(self.printed, "wb") as file:
            reader = self.start("consume", "t", "-g", "slow", stdout=file)
        self.wait_for_group("slow")
        reader.send_signal(signal.SIGSTOP)
        return reader

    def lines_printed(self):
        with open(self.printed, "rb") as file:
            return file.read().count(b"\n")

    def test_drops_are_counted_and_nothing_else_is_lost(self):
        self.topic("t", "--partition-bytes", "64K")
        reader = self.stopped_group()
        done = self.ingest("--count", "300", "--rate", "2000", "--filter", "load.*", "--filter", "mem.*", "--json")
        summary = done.json
        self.assertGreater(summary["dropped"], 0)
        self.assertEqual(summary["records"], self.describe()["state"][0]["end_offset"])
        self.assertEqual((summary["records"] + summary["dropped"]) % summary["rounds"], 0)
        self.assertIn("dropped so far", done.err)
        reader.send_signal(signal.SIGCONT)
        wait_until(lambda: self.lines_printed() == summary["records"], "everything that was accepted has been read")

    def test_block_waits(self):
        self.topic("t", "--partition-bytes", "64K")
        reader = self.stopped_group()
        source = self.start("ingest", "host", "--topic", "t", "--rate", "2000", "--count", "300", "--block", "--filter", "load.*",
                            "--filter", "mem.*", "--json", *MACHINE)
        wait_until(lambda: self.describe()["bytes_used"] > 60_000, "the ring is full")
        reader.send_signal(signal.SIGCONT)
        summary = self.finish(source).json
        self.assertEqual((summary["rounds"], summary["dropped"]), (300, 0))
        wait_until(lambda: self.lines_printed() == summary["records"], "everything has been read")

    def test_sensor_that_vanishes_is_reported(self):
        copy = os.path.join(self.directory, "machine")
        shutil.copytree(RECORDED, copy, symlinks=True)
        self.topic("t", "--partition-bytes", "1M")
        source = self.start("ingest", "host", "--topic", "t", "--rate", "50", "--filter", "load.*", "--filter", "hwmon.*", "--json",
                            "--proc-root", os.path.join(copy, "proc"), "--sysfs-root", os.path.join(copy, "sys"))
        wait_until(lambda: self.describe()["records"] > 100, "it samples")
        shutil.rmtree(os.path.join(copy, "sys"))
        self.assertRegex(source.stderr.readline().decode(), "arus: sensor hwmon.* (vanished|resting)")
        before = self.describe()["records"]
        wait_until(lambda: self.describe()["records"] > before + 20, "the others go on")
        self.finish(source, sends=signal.SIGTERM)

    def test_topic_deleted_meanwhile(self):
        self.topic("t", "--partition-bytes", "256K")
        source = self.start("ingest", "host", "--topic", "t", "--rate", "100", "--filter", "load.*", "--json", *MACHINE)
        wait_until(lambda: self.describe()["records"] > 3, "it samples")
        self.arus("topic", "delete", "t")
        done = self.finish(source, code=9)
        summary, error = done.objects
        self.assertGreater(summary["records"], 3)
        self.assertEqual(error["error"]["code"], "deleted")

    def test_this_machine(self):
        self.topic("t", "--partition-bytes", "1M")
        self.arus("ingest", "host", "--topic", "t", "--count", "3", "--rate", "10")
        names = {record["key"] for record in self.records()}
        self.assertLessEqual({"cpu.busy", "mem.total", "load.1m"}, names)


if __name__ == "__main__":
    main()
