"""arus ingest stdin and file: lines, CSV and NDJSON become records, and what is malformed is told by line and column."""

import json
import os
import signal
import time

from harness import CliTest, main, wait_until

SUMMARY = ["source", "topic", "received", "records", "bytes", "refused", "dropped", "reconnects", "details", "seconds"]
DAY = "2024-05-01T00:00:0"
DAY_S = 1714521600


class Text(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "256K")

    def ingest(self, text, *options, code=0, topic="t"):
        return self.arus("ingest", "stdin", "-t", topic, *options, stdin=text, code=code)

    def file(self, text, name="input"):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def records(self):
        """Key, value and timestamp of everything in the topic."""
        return [(r["key"], r["value"], r["timestamp"]) for r in self.arus("consume", "t", "-e", "--json").objects]

    def pairs(self):
        return [(key, value) for key, value, _ in self.records()]


class Lines(Text):
    def test_lines(self):
        self.ingest("one\n\ntwo\r\nthree")
        self.assertEqual(self.pairs(), [(None, "one"), (None, ""), (None, "two"), (None, "three")])

    def test_keys(self):
        self.ingest("a:1\n2\n:3\n", "-K", ":", "--key", "fixed")
        self.assertEqual(self.pairs(), [("a", "1"), ("fixed", "2"), ("", "3")])

    def test_summary(self):
        summary = self.ingest("one\ntwo\n", "--json").json
        self.assertEqual(list(summary), SUMMARY)
        self.assertEqual((summary["source"], summary["received"], summary["records"], summary["bytes"]), ("stdin", 2, 2, 6))
        self.assertEqual(summary["dropped"], {"source": 0, "ring": 0, "unsent": 0})
        self.assertGolden(self.ingest("one\n").out, "1 record, 3 B in <[0-9.]+> s; 0 refused, 0 dropped by the full ring, "
                                                    "0 lost before they came, 0 unsent; 0 reconnections\n")

    def test_line_that_is_too_long(self):
        most = self.describe()["max_record_bytes"]
        done = self.ingest("first\n" + "x" * (3 * most) + "\nlast\n", "--json", code=8)
        self.assertRegex(done.err, rf"line 2, column 1: expected at most {most} bytes, the line has {3 * most}")
        self.assertEqual((done.json["records"], done.json["refused"]), (2, 1))
        self.assertEqual([value for _, value in self.pairs()], ["first", "last"])

    def test_count(self):
        self.ingest("1\n2\n3\n", "--count", "2")
        self.assertEqual(len(self.pairs()), 2)

    def test_a_line_is_sent_when_it_is_complete(self):
        source = self.start("ingest", "stdin", "-t", "t", "--json")
        source.stdin.write(b"one\ntw")
        source.stdin.flush()
        wait_until(lambda: self.describe()["records"] == 1, "the first line has been sent")
        source.stdin.write(b"o\n")
        source.stdin.flush()
        wait_until(lambda: self.describe()["records"] == 2, "the second line has been sent")
        self.assertEqual(self.finish(source, sends=signal.SIGTERM).json["records"], 2)

    def test_creates_the_topic(self):
        self.ingest("x\n", "--create", "-p", "2", "--partition-bytes", "64K", topic="new")
        self.assertEqual(self.describe("new")["partitions"], 2)
        self.assertIn("did you mean 'new'?", self.ingest("x\n", topic="nwe", code=3).err)


class Csv(Text):
    def csv(self, text, *options, code=0):
        return self.ingest(text, "--format", "csv", *options, code=code)

    def test_key_and_time_by_name(self):
        self.csv(f"time,station,v,note\n{DAY}0Z,oslo,21.5,\"a \"\"q\"\", b\"\n{DAY_S + 1}.25,bergen,,x\r\n"
                 f"{DAY}2Z,\"o,1\",-3e2,\"two\nlines\"\n", "--key-column", "station", "--time-column", "time")
        self.assertEqual([(key, json.loads(value), time) for key, value, time in self.records()], [
            ("oslo", {"v": 21.5, "note": 'a "q", b'}, DAY_S * 10**9),
            ("bergen", {"v": None, "note": "x"}, DAY_S * 10**9 + 1_250_000_000),
            ("o,1", {"v": -300, "note": "two\nlines"}, (DAY_S + 2) * 10**9)])

    def test_one_column_as_the_value(self):
        self.csv("a;b\n1;\"x;y\"\n2;z\n", "--separator", ";", "--key-column", "a", "--value-column", "b")
        self.assertEqual(self.pairs(), [("1", "x;y"), ("2", "z")])

    def test_columns_without_a_header(self):
        self.csv("1\t2\n", "--separator", "\\t", "--columns", "a,b", "--key-column", "a")
        self.assertEqual(self.pairs(), [("1", '{"b":2}')])

    def test_numbers_and_text(self):
        self.csv('a,b,c,d,e\n007,1.50,"1",0x10,\n')
        self.assertEqual(self.pairs()[0][1], '{"a":"007","b":1.50,"c":"1","d":"0x10","e":null}')

    def test_byte_order_mark_and_blank_lines(self):
        self.csv("\ufeffa,b\n\n1,2\n\r\n3,4", "--key-column", "a")
        self.assertEqual(self.pairs(), [("1", '{"b":2}'), ("3", '{"b":4}')])

    def test_malformed_rows_are_told_and_the_rest_goes_on(self):
        done = self.csv("time,key,v\n"            # 1
                        f"{DAY}1Z,a,1\n"          # 2
                        f"{DAY}2Z,a\n"            # 3
                        "yesterday,a,3\n"         # 4
                        f"{DAY}4Z,\"a\"b,4\n"     # 5
                        f"{DAY}5Z,a\"b,5\n"       # 6
                        f"{DAY}6Z,a,\"6\n"        # 7: nobody closes it
                        f"{DAY}7Z,a,7\n"
                        f"{DAY}8Z,a,8\n", "--key-column", "key", "--time-column", "time", "--json", code=8)
        for line in ("line 3, column 22: expected 3 fields as in the header, and not 2",
                     "line 4, column 1: expected a time (ISO 8601, or a number since 1970) and not 'yesterday'",
                     "line 5, column 25: expected ',' or the end of the line behind the closing quote",
                     "line 6, column 23: expected no quote in a field that does not begin with one",
                     "line 7, column 24: expected the quote that opens here to be closed"):
            self.assertIn(line, done.err)
        self.assertEqual((done.json["records"], done.json["refused"]), (3, 5))
        self.assertEqual([json.loads(value)["v"] for _, value in self.pairs()], [1, 7, 8])

    def test_many_malformed_rows_are_counted(self):
        done = self.csv("a,b\n" + "1\n" * 1000 + "1,2\n", "--json", code=8)
        self.assertEqual((done.json["records"], done.json["refused"]), (1, 1000))
        self.assertLess(len(done.err.splitlines()), 20)

    def test_wrong_header(self):
        self.assertIn("there is no column 'place' for the key; the header has a, b",
                      self.csv("a,b\n1,2\n", "--key-column", "place", code=2).err)
        self.assertIn("two columns 'a'", self.csv("a,a\n1,2\n", code=2).err)
        self.assertIn("the header in line 1, column 2", self.csv("a\"b,c\n1,2\n", code=2).err)
        self.assertEqual(self.pairs(), [])

    def test_not_utf8(self):
        done = self.arus("ingest", "stdin", "-t", "t", "--format", "csv", stdin=b"a,b\n1,\xff\n2,3\n", code=8)
        self.assertIn("line 2, column 3: expected UTF-8", done.err)
        self.assertEqual(len(self.pairs()), 1)


class Ndjson(Text):
    def test_members_by_name(self):
        self.ingest(f'{{"k":"a\\n","t":{DAY_S}.125,"v":1}}\n\n{{"k":7,"t":"{DAY}1Z","v":{{"x":2}}}}\n', "--format", "ndjson",
                    "--key-column", "k", "--time-column", "t")
        self.assertEqual(self.records(), [("a\n", f'{{"k":"a\\n","t":{DAY_S}.125,"v":1}}', DAY_S * 10**9 + 125_000_000),
                                          ("7", f'{{"k":7,"t":"{DAY}1Z","v":{{"x":2}}}}', (DAY_S + 1) * 10**9)])

    def test_value_by_name(self):
        self.ingest('{"k":"a","v":"text"}\n{"k":"b","v":1.50}\n', "--format", "ndjson", "--key-column", "k", "--value-column", "v")
        self.assertEqual(self.pairs(), [("a", "text"), ("b", "1.50")])

    def test_anything_goes_without_names(self):
        self.ingest('[1]\n2\nnull\n', "--format", "ndjson")
        self.assertEqual([value for _, value in self.pairs()], ["[1]", "2", "null"])

    def test_malformed(self):
        done = self.ingest('{"k":"a"}\n{"k":\n[1]\n{"v":1}\n{"k":{"x":1}}\n{"k":"b"} x\n{"k":"c"}\n', "--format", "ndjson",
                           "--key-column", "k", "--json", code=8)
        for line in ("line 2, column 6: syntax error", "line 3, column 1: expected a JSON object",
                     "line 4, column 1: expected a member 'k' that is not null",
                     "line 5, column 1: expected a string or a number as member 'k'", "line 6, column 11: syntax error"):
            self.assertIn(line, done.err)
        self.assertEqual((done.json["records"], done.json["refused"]), (2, 5))

    def test_time_units(self):
        for unit, number in (("s", "1.5"), ("ms", "1500"), ("us", "1500000"), ("ns", "1500000000")):
            self.ingest(f'{{"t":{number}}}\n', "--format", "ndjson", "--time-column", "t", "--time-unit", unit)
        self.assertEqual({time for _, _, time in self.records()}, {1_500_000_000})
        # Without a unit it is guessed.
        for number in (DAY_S, DAY_S * 10**3, DAY_S * 10**6, DAY_S * 10**9):
            self.ingest(f'{{"t":{number}}}\n', "--format", "ndjson", "--time-column", "t")
        self.assertEqual({time for _, _, time in self.records()[4:]}, {DAY_S * 10**9})

    def test_what_consume_prints_can_be_read_again(self):
        self.arus("produce", "t", "-K:", stdin="a:1\nb:2\n")
        printed = self.arus("consume", "t", "-e", "--json").out
        self.topic("u", "--partition-bytes", "64K")
        self.ingest(printed, "--format", "ndjson", "--key-column", "key", "--value-column", "value", "--time-column", "timestamp",
                    "--time-unit", "ns", topic="u")
        again = self.arus("consume", "u", "-e", "--json").objects
        self.assertEqual([(r["key"], r["value"], r["timestamp"]) for r in again], self.records())


class File(Text):
    def read(self, path, *options, code=0):
        return self.arus("ingest", "file", path, "-t", "t", *options, code=code)

    def test_format_follows_from_the_name(self):
        self.read(self.file("a,b\n1,2\n", "x.csv"), "--key-column", "a")
        self.read(self.file('{"a":1}\n', "x.ndjson"), "--key-column", "a")
        self.read(self.file("a,b\n", "x.txt"))
        self.read(self.file("a,b\n", "y.csv"), "--format", "lines")
        self.assertEqual(self.pairs(), [("1", '{"b":2}'), ("1", '{"a":1}'), (None, "a,b"), (None, "a,b")])

    def test_missing(self):
        missing = os.path.join(self.directory, "none.csv")
        self.assertIn(missing, self.read(missing, code=3).err)

    def test_rate(self):
        began = time.monotonic()
        self.read(self.file("x\n" * 20), "--rate", "40")
        self.assertGreaterEqual(time.monotonic() - began, 0.45)  # the first goes at once
        self.assertEqual(len(self.pairs()), 20)

    def test_replay(self):
        rows = "".join(f"{DAY_S + i * 0.2:.1f},{i}\n" for i in range(6))
        began = time.monotonic()
        self.read(self.file("t,v\n" + rows, "x.csv"), "--time-column", "t", "--replay", "2")
        self.assertGreaterEqual(time.monotonic() - began, 0.45)
        self.assertEqual([time for _, _, time in self.records()], [DAY_S * 10**9 + i * 200_000_000 for i in range(6)])
        self.assertIn("--time-column", self.read(self.file("a,b\n", "x.csv"), "--replay", "1", code=2).err)

    def test_stop_in_the_middle_of_a_replay(self):
        path = self.file("t,v\n0,first\n1,second\n1000000,last\n", "x.csv")
        source = self.start("ingest", "file", path, "-t", "t", "--time-column", "t", "--replay", "100", "--json")
        wait_until(lambda: self.describe()["records"] == 2, "two have been sent")
        summary = self.finish(source, sends=signal.SIGTERM).json
        self.assertEqual((summary["records"], summary["received"], summary["dropped"]["unsent"]), (2, 2, 0))

    def test_duration_ends_a_slow_file(self):
        summary = self.read(self.file("x\n" * 20), "--rate", "0.5", "--duration", "200ms", "--json").json
        self.assertEqual(summary["records"], 1)

    def test_stamp_now(self):
        before = time.time()
        self.read(self.file("t,v\n0,1\n", "x.csv"), "--time-column", "t", "--stamp-now")
        self.assertGreaterEqual(self.records()[0][2] / 1e9, before - 1)


class FullRing(Text):
    """A lossless reader that is stopped holds the ring back."""

    def setUp(self):
        super().setUp()
        self.topic("small", "--partition-bytes", "64K")
        self.printed = os.path.join(self.directory, "printed")
        with open(self.printed, "wb") as file:
            self.reader = self.start("consume", "small", "-g", "slow", stdout=file)
        self.wait_for_group("slow")
        self.reader.send_signal(signal.SIGSTOP)

    def lines_printed(self):
        with open(self.printed, "rb") as file:
            return file.read().decode().splitlines()

    def test_wait_holds_the_source_back(self):
        path = self.file("".join(f"{i:0100}\n" for i in range(3000)))
        source = self.start("ingest", "file", path, "-t", "small", "--json")
        wait_until(lambda: self.describe("small")["bytes_used"] > 50_000, "the ring is full")
        self.assertIsNone(source.poll())
        self.reader.send_signal(signal.SIGCONT)
        summary = self.finish(source).json
        self.assertEqual((summary["records"], summary["dropped"]["ring"]), (3000, 0))
        wait_until(lambda: len(self.lines_printed()) == 3000, "everything has been read")
        self.assertEqual(self.lines_printed(), [f"{i:0100}" for i in range(3000)])

    def test_newest_drops_the_oldest_of_the_backlog(self):
        source = self.start("ingest", "stdin", "-t", "small", "--when-full", "newest", "--backlog", "100", "--json")
        source.stdin.write("".join(f"{i:0100}\n" for i in range(3000)).encode())
        source.stdin.flush()
        wait_until(lambda: self.describe("small")["bytes_used"] > 50_000, "the ring is full")
        stored = self.describe("small")["records"]
        time.sleep(0.3)  # it goes on reading
        self.reader.send_signal(signal.SIGCONT)
        summary = self.finish(source).json
        self.assertGreater(summary["dropped"]["ring"], 0)
        self.assertEqual(summary["received"], 3000)
        self.assertEqual(summary["records"] + summary["dropped"]["ring"], 3000)
        wait_until(lambda: len(self.lines_printed()) == summary["records"], "everything that was accepted has been read")
        lines = [int(line) for line in self.lines_printed()]
        self.assertEqual(lines, sorted(lines))
        self.assertEqual(lines[:stored], list(range(stored)))
        self.assertEqual(lines[-100:], list(range(2900, 3000)), "the newest are there")

    def test_stop_while_it_is_held_back(self):
        path = self.file("".join(f"{i:0100}\n" for i in range(3000)))
        with open(path, "rb") as file:
            source = self.start("ingest", "stdin", "-t", "small", "--json", stdin=file)
        wait_until(lambda: self.describe("small")["bytes_used"] > 50_000, "the ring is full")
        source.send_signal(signal.SIGTERM)
        summary = self.finish(source, code=8).json
        self.assertEqual(summary["records"], self.describe("small")["state"][0]["end_offset"])
        self.assertGreater(summary["dropped"]["unsent"], 0)
        self.assertEqual(summary["records"] + summary["dropped"]["unsent"], summary["received"])


class Usage(Text):
    def test_wrong_options(self):
        for options, message in ((["--format", "xml"], "lines, csv, ndjson"), (["--key-column", "a"], "lines have no fields"),
                                 (["--format", "csv", "-K", ":"], "a key delimiter is for lines"),
                                 (["--format", "csv", "--separator", "ab"], "one character"),
                                 (["--time-unit", "h"], "s, ms, us, ns"), (["--when-full", "panic"], "neither wait nor newest"),
                                 (["--rate", "1", "--replay", "1"], "excludes")):
            self.assertIn(message, self.ingest("x\n", *options, code=2).err, options)


if __name__ == "__main__":
    main()
