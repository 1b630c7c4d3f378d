"""arus produce: lines become records."""

import json
import os
import signal
import time

from harness import CliTest, main, wait_until

SHAPE = ["topic", "records", "bytes", "refused", "unsent", "seconds"]


class Lines(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def records(self, *options):
        return self.arus("consume", "t", "-e", "--json", *options).objects

    def test_one_record_each_in_order(self):
        done = self.produce(["one", "two", "three"])
        self.assertEqual((done.out, done.err), ("", ""))
        self.assertEqual(self.values(), ["one", "two", "three"])
        self.assertEqual([record["offset"] for record in self.records()], [0, 1, 2])

    def test_json_summary(self):
        summary = self.produce(["one", "three"], "--json").json
        self.assertEqual(list(summary), SHAPE)
        self.assertGreater(summary.pop("seconds"), 0)
        self.assertEqual(summary, {"topic": "t", "records": 2, "bytes": 8, "refused": 0, "unsent": 0})

    def test_last_line_needs_no_end_and_empty_lines_count(self):
        self.arus("produce", "t", stdin="a\n\nb")
        self.assertEqual([record["value"] for record in self.records()], ["a", "", "b"])
        self.arus("produce", "t", stdin="")
        self.assertEqual(len(self.records()), 3)

    def test_keys(self):
        self.arus("produce", "t", "-K", ":", "-k", "default", stdin="k:v\n:empty key\nno delimiter\nk:v:w\n")
        self.assertEqual([(record["key"], record["value"]) for record in self.records()],
                         [("k", "v"), ("", "empty key"), ("default", "no delimiter"), ("k", "v:w")])

    def test_attached_and_escaped_delimiters(self):
        self.arus("produce", "t", "-K:", "-D\\0", stdin=b"a:1\0b:2\n\0")
        self.arus("produce", "t", "-K\\t", "-D", "--\\x0a", stdin=b"c\t3--\nd\t4-\n--\n")
        self.assertEqual([(record["key"], record["value"]) for record in self.records()],
                         [("a", "1"), ("b", "2\n"), ("c", "3"), ("d", "4-\n")])

    def test_null(self):
        self.arus("produce", "t", "-Z", "-K:", stdin="tombstone:\n:no key\n")
        self.assertEqual([(record["key"], record["value"]) for record in self.records()], [("tombstone", None), (None, "no key")])

    def test_headers(self):
        self.produce(["x"], "-H", "host=web-1", "-H", "expr=a=b", "-H", "empty=", "-H", "null")
        self.assertEqual(self.records()[0]["headers"],
                         [{"name": "host", "value": "web-1"}, {"name": "expr", "value": "a=b"}, {"name": "empty", "value": ""},
                          {"name": "null", "value": None}])

    def test_any_bytes(self):
        self.arus("produce", "t", stdin=b"\xff\x00\xfe\r\n")
        self.assertEqual(self.arus("consume", "t", "-e").raw, b"\xff\x00\xfe\r\n")

    def test_keyed_records_stay_in_one_partition_and_others_may_be_chosen(self):
        self.topic("four", "-p", "4", "--partition-bytes", "64K")
        self.arus("produce", "four", "-K:", stdin="".join(f"key{i % 7}:{i}\n" for i in range(70)))
        places = {}
        for record in self.arus("consume", "four", "-e", "--json").objects:
            places.setdefault(record["key"], set()).add(record["partition"])
        self.assertEqual(len(places), 7)
        self.assertTrue(all(len(partitions) == 1 for partitions in places.values()), places)
        self.assertGreater(len(set.union(*places.values())), 1)
        self.produce(["here"], "-p", "3", "-k", "key0", topic="four")
        self.assertEqual(self.values("-p", "3", "-o", "-1", topic="four"), ["here"])

    def test_count(self):
        self.produce(["one", "two", "three"], "-c", "2")
        self.assertEqual(self.values(), ["one", "two"])

    def test_each_line_goes_when_it_is_complete(self):
        producer = self.start("produce", "t")
        consumer = self.start("consume", "t")
        for text in (b"first", b"second"):
            producer.stdin.write(text[:2])
            producer.stdin.flush()
            producer.stdin.write(text[2:] + b"\n")
            producer.stdin.flush()
            self.assertEqual(consumer.stdout.readline(), text + b"\n")

    def test_rate(self):
        began = time.monotonic()
        self.produce(range(21), "--rate", "50")
        self.assertGreater(time.monotonic() - began, 0.38)
        self.assertEqual(len(self.values()), 21)

    def test_many_lines(self):
        self.topic("big", "--partition-bytes", "16M")
        lines = [f"{i} " + "x" * (i % 50) for i in range(100_000)]
        self.produce(lines, topic="big")
        self.assertEqual(self.values(topic="big"), lines)


class Refused(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def test_too_large_lines_are_named_and_the_others_go_on(self):
        for size in (40_000, 1_000_000):  # above a record's maximum, and above the buffer
            done = self.arus("produce", "t", "--json", stdin="one\n" + "x" * size + "\nthree\n", code=8)
            self.assertRegex(done.err, r"arus: line 2: .*\d+ bytes")
            self.assertIn("1 of 3 lines refused", done.err)
            summary = done.json
            self.assertEqual((summary["records"], summary["refused"]), (2, 1))
            self.assertEqual(self.values("-o", "-2"), ["one", "three"])

    def test_the_largest_line_fits(self):
        largest = self.describe()["max_record_bytes"]
        self.arus("produce", "t", stdin="x" * largest + "\n")
        self.assertEqual(self.arus("produce", "t", stdin="x" * (largest + 1), code=8).out, "")
        self.assertEqual([len(value) for value in self.values()], [largest])

    def test_values_of_another_size(self):
        self.topic("fixed", "--partition-bytes", "64K", "--record-size", "4")
        done = self.arus("produce", "fixed", stdin="four\nthree\n1234\n", code=8)
        self.assertRegex(done.err, "line 2: .*4 bytes.*5")
        self.assertEqual(self.values(topic="fixed"), ["four", "1234"])

    def test_many_refusals_are_counted_not_listed(self):
        self.topic("fixed", "--partition-bytes", "64K", "--record-size", "4")
        done = self.arus("produce", "fixed", stdin="no\n" * 1000 + "four\n", code=8)
        self.assertLess(len(done.err.splitlines()), 20)
        self.assertIn("1000 of 1001 lines refused", done.err)

    def test_wrong_arguments(self):
        for arguments, code, message in [
                (["t", "-H", "=value"], 2, "has no name"),
                (["t", "-D", ""], 2, "-D: a line must end with something"),
                (["t", "-K", "\\xZZ"], 2, "is not a byte"),
                (["t", "-p", "9"], 2, "partition"),
                (["t", "-p", "-1"], 2, "-p"),
                (["t", "--rate", "0"], 2, "--rate: '0' is not a rate"),
                (["t", "--timeout", "soon"], 2, "--timeout: 'soon' is not a duration"),
                (["t", "--schema", "Frame"], 6, "Frame"),
                (["a/b"], 2, "character 2"),
                (["u"], 3, "no topic 'u' on the bus"),
                ([], 2, "TOPIC")]:
            with self.subTest(arguments):
                self.assertIn(message, self.arus("produce", *arguments, stdin="x\n", code=code).err)
        self.assertEqual(self.values(), [])

    def test_no_bus(self):
        nowhere = os.path.join(self.directory, "nowhere")
        self.assertIn(nowhere, self.arus("--bus", nowhere, "produce", "t", code=3).err)
        self.assertFalse(os.path.exists(nowhere))

    def test_second_producer_of_a_single_producer_topic(self):
        self.topic("single", "--partition-bytes", "64K", "--single-producer")
        first = self.start("produce", "single")
        wait_until(lambda: self.describe("single")["state"][0]["producers"] == 1, "the first has registered")
        self.assertIn("arus", self.arus("produce", "single", stdin="x\n", code=6).err)
        first.stdin.write(b"mine\n")
        self.finish(first)
        self.produce(["yours"], topic="single")
        self.assertEqual(self.values(topic="single"), ["mine", "yours"])


class Full(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")
        self.produce(["first"])
        # A lossless reader that lives and reads nothing.
        self.reader = self.start("consume", "t", "-g", "slow")
        self.reader.stdout.readline()
        self.reader.send_signal(signal.SIGSTOP)
        # More than the ring holds; what it does not hold fits into the pipe, so that writing them does not block the test.
        self.lines = [f"{i:04} " + "x" * 200 for i in range(400)]

    def test_waits_until_there_is_room(self):
        producer = self.start("produce", "t", "--json")
        producer.stdin.write("".join(f"{line}\n" for line in self.lines).encode())
        producer.stdin.flush()
        wait_until(lambda: self.describe()["bytes_used"] > 60_000, "the ring is full")
        self.reader.send_signal(signal.SIGCONT)
        got = [self.reader.stdout.readline().decode().rstrip("\n") for _ in self.lines]
        self.assertEqual(got, self.lines)
        summary = self.finish(producer).json
        self.assertEqual((summary["records"], summary["unsent"]), (400, 0))

    def test_timeout_names_who_holds_it_back(self):
        done = self.arus("produce", "t", "--timeout", "300ms", "--json", stdin="\n".join(self.lines), code=10)
        self.assertIn("slow", done.err)
        summary, error = done.objects
        self.assertIn(f"line {summary['records'] + 1}: ", done.err)
        self.assertGreater(summary["unsent"], 0)
        self.assertEqual(error["error"]["code"], "timed_out")

    def test_says_whom_it_waits_for(self):
        producer = self.start("produce", "t")
        producer.stdin.write("".join(f"{line}\n" for line in self.lines).encode())
        producer.stdin.flush()
        told = producer.stderr.readline().decode()
        self.assertIn("waiting", told)
        self.assertIn("slow", told)
        self.finish(producer, code=130, sends=signal.SIGINT)

    def test_interrupted_reports_what_was_not_sent(self):
        producer = self.start("produce", "t", "--json")
        producer.stdin.write("".join(f"{line}\n" for line in self.lines).encode())
        producer.stdin.flush()
        wait_until(lambda: self.describe()["bytes_used"] > 60_000, "the ring is full")
        done = self.finish(producer, code=143, sends=signal.SIGTERM)
        self.assertIn("read but not sent", done.err)
        self.assertEqual(done.json["records"] + 1, self.describe()["records"])


class Ended(CliTest):
    def test_interrupt_at_an_idle_stdin(self):
        self.topic("t", "--partition-bytes", "64K")
        producer = self.start("produce", "t", "--json")
        producer.stdin.write(b"one\n")
        producer.stdin.flush()
        wait_until(lambda: self.describe()["records"] == 1, "the line was sent")
        done = self.finish(producer, code=130, sends=signal.SIGINT)
        self.assertEqual(json.loads(done.out)["records"], 1)

    def test_topic_deleted_meanwhile(self):
        self.topic("t", "--partition-bytes", "64K")
        producer = self.start("produce", "t")
        producer.stdin.write(b"one\n")
        producer.stdin.flush()
        wait_until(lambda: self.describe()["records"] == 1, "the line was sent")
        self.arus("topic", "delete", "t")
        producer.stdin.write(b"two\n")
        done = self.finish(producer, code=9)
        self.assertIn("line 2", done.err)
        self.assertIn("deleted", done.err)


if __name__ == "__main__":
    main()
