"""arus consume --stats: numbers per key."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from harness import CliTest, main

KEY = ["key", "count", "rate", "numbers", "min", "mean", "max", "last", "unit"]


class Stats(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")

    def keyed(self, lines, *options):
        self.produce(lines, "-K:", *options)

    def summary(self, *options):
        return self.arus("consume", "t", "-e", "--stats", "--json", *options).json

    def test_golden(self):
        self.keyed(["a:1", "a:3", 'b:{"v":20.5,"u":"Cel"}', "c:text", 'big:{"v":16000000000,"u":"B"}'])
        self.produce(["7"])
        self.assertGolden(self.arus("consume", "t", "-e", "--stats").out, """
KEY       COUNT< +>RATE/s< +>MIN  MEAN   MAX  LAST  UNIT
(no key)      1< +[0-9.]+ +>7     7     7     7
a             2< +[0-9.]+ +>1     2     3     3
b             1< +[0-9.]+ +>20.5  20.5  20.5  20.5  Cel
big           1< +[0-9.]+ +>16 G  16 G  16 G  16 G  B
c             1< +[0-9.]+ +>-     -     -     -
6 records in <[0-9.]+> s, <[0-9.]+( [kMG])?>/s, 5 keys, lost 0, uncommitted 0
""")

    def test_json(self):
        self.keyed(["a:1", "a:2.5", "a:-4", 'b:{"v":1e3,"u":"Pa"}'])
        found = self.summary()
        self.assertEqual(list(found), ["records", "bytes", "seconds", "rate", "gaps", "keys"])
        self.assertEqual((found["records"], found["gaps"]), (4, {"lost": 0, "uncommitted": 0}))
        a, b = found["keys"]
        self.assertEqual(list(a), KEY)
        self.assertGreater(a.pop("rate"), 0)
        self.assertAlmostEqual(a.pop("mean"), -0.5 / 3)
        self.assertEqual(a, {"key": "a", "count": 3, "numbers": 3, "min": -4, "max": 2.5, "last": -4, "unit": ""})
        self.assertEqual((b["mean"], b["unit"]), (1000, "Pa"))

    def test_what_is_a_number(self):
        for value, numbers in (("1", 1), (" +1.5e3 ", 1), ("-0", 1), ("", 0), ("x", 0), ("1x", 0), ("nan", 0), ("inf", 0),
                               ('{"v":"2.5"}', 1), ('{"v":true}', 1), ('{"v":null}', 0), ('{"v":[1]}', 0), ('{"w":1}', 0),
                               ('{"v":1', 0), ("{", 0), ("[1]", 0)):
            with self.subTest(value):
                self.arus("topic", "delete", "t")
                self.topic("t", "--partition-bytes", "64K")
                self.produce([value])
                self.assertEqual(self.summary()["keys"][0]["numbers"], numbers)

    def test_another_field(self):
        self.keyed(['a:{"temp":4,"v":9}'])
        self.assertEqual(self.summary("--field", "temp")["keys"][0]["mean"], 4)

    def test_keys_that_are_no_text_and_do_not_repeat(self):
        self.arus("produce", "t", "-K:", stdin=b"\xff\xfe:1\n" + b"x" * 300 + b":2\n")
        self.assertEqual(sum(key["count"] for key in self.summary()["keys"]), 2)
        self.arus("consume", "t", "-e", "--stats")

        self.topic("many", "--partition-bytes", "16M")
        self.produce([f"{i}:1" for i in range(12_000)], "-K:", topic="many")
        found = self.arus("consume", "many", "-e", "--stats", "--json").json
        self.assertEqual(found["records"], 12_000)
        self.assertLess(len(found["keys"]), 11_000)
        self.assertIn("(other keys)", [key["key"] for key in found["keys"]])

    def test_gaps_are_counted(self):
        self.produce([f"{i:04}" for i in range(3000)], "-p", "0")
        start = self.describe()["state"][0]["start_offset"]
        self.assertGreater(start, 0)
        found = self.summary("-o", "0")
        self.assertEqual(found["gaps"]["lost"], start)
        self.assertEqual(found["records"] + found["gaps"]["lost"], 3000)

    def test_summary_file(self):
        self.keyed(["a:1"])
        path = os.path.join(self.directory, "summary")
        shown = self.arus("consume", "t", "-e", "--stats", "--summary", path)
        self.assertTrue(shown.out.startswith("KEY"), shown.out)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["records"], 1)
        self.assertIn("nowhere/x", self.arus("consume", "t", "-e", "--stats", "--summary", "/nowhere/x", code=1).err)

    def test_shows_tables_while_it_runs_and_a_last_one(self):
        self.keyed(["a:1"])
        reader = self.start("consume", "t", "--stats", "--interval", "100ms", "-g", "g")
        for _ in range(2):
            self.assertTrue(reader.stdout.readline().startswith(b"KEY"))
            self.assertTrue(reader.stdout.readline().startswith(b"a "))
            self.assertIn(b"1 key", reader.stdout.readline())
            self.assertEqual(reader.stdout.readline(), b"\n")
        last = self.finish(reader, sends=signal.SIGTERM).lines
        self.assertTrue(last[-1].startswith("1 record in"), last)
        self.assertEqual(self.describe()["groups"][0]["lag"], [0, 0])

    def test_redraws_in_place_on_a_terminal(self):
        self.keyed([f"key{i:02}:{i}" for i in range(50)])
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        reader = self.start("consume", "t", "--stats", "--interval", "100ms", stdout=slave, stderr=slave)
        os.close(slave)
        text = b""
        limit = time.monotonic() + 30
        while text.count(b"records in") < 4 and time.monotonic() < limit:
            if select.select([master], [], [], 1)[0]:
                text += os.read(master, 65536)
        reader.send_signal(signal.SIGINT)
        self.assertEqual(reader.wait(timeout=30), 0)
        os.close(master)
        shown = text.decode()
        redraws = re.findall(r"\x1b\[(\d+)A", shown)
        self.assertGreaterEqual(len(redraws), 2, shown)
        self.assertLess(int(redraws[0]), 24, "the table fits on the screen")
        self.assertIn("more keys", shown)
        for line in re.sub(r"\x1b\[[0-9]*[AKJ]", "", shown).split("\r\n"):
            self.assertLessEqual(len(line), 60, line)

    def test_wrong_options(self):
        self.assertIn("requires", self.arus("consume", "t", "--interval", "1s", code=2).err)
        self.assertIn("excludes", self.arus("consume", "t", "--stats", "-f", "%s", code=2).err)


if __name__ == "__main__":
    main()
