"""arus consume -g: lossless reading under a name."""

import os
import signal

from harness import CliTest, main, wait_until


class Groups(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def committed(self, name="g"):
        return {group["name"]: group["committed"][0] for group in self.describe()["groups"]}.get(name)

    def test_goes_on_where_it_stopped(self):
        self.produce(range(5))
        self.assertEqual(self.values("-g", "g"), ["0", "1", "2", "3", "4"])
        self.assertEqual(self.values("-g", "g"), [])
        self.produce(range(5, 8))
        self.assertEqual(self.values("-g", "g"), ["5", "6", "7"])
        self.assertEqual(self.values("-g", "another"), [str(i) for i in range(8)])

    def test_start_counts_only_for_a_new_name(self):
        self.produce(range(5))
        self.assertEqual(self.values("-g", "g", "-o", "3"), ["3", "4"])
        self.assertEqual(self.values("-g", "g", "-o", "beginning"), [])

    def test_count_takes_exactly_so_many(self):
        self.produce(range(700))
        for first in range(0, 700, 100):
            self.assertEqual(self.arus("consume", "t", "-g", "g", "-c", "100").lines, [str(i) for i in range(first, first + 100)])
            self.assertEqual(self.committed(), first + 100)

    def test_interrupted_reader_has_committed_what_it_printed(self):
        for first, number in ((0, signal.SIGINT), (100, signal.SIGTERM)):
            lines = [str(i) for i in range(first, first + 100)]
            self.produce(lines)
            reader = self.start("consume", "t", "-g", "g")
            wait_until(lambda last=first + 100: self.committed() == last, "everything is settled")
            self.assertEqual(self.finish(reader, sends=number).lines, lines)
        self.assertEqual(self.values("-g", "g"), [])

    def test_killed_reader_loses_nothing(self):
        self.produce(range(200))
        reader = self.start("consume", "t", "-g", "g")
        printed = [reader.stdout.readline().decode().strip() for _ in range(50)]
        reader.kill()
        printed += [line.decode().strip() for line in reader.stdout.readlines()]
        reader.wait()
        successor = self.values("-g", "g")
        self.assertEqual(successor, [str(i) for i in range(200 - len(successor), 200)])
        self.assertGreaterEqual(len(printed) + len(successor), 200)

    def test_what_nobody_reads_is_not_settled(self):
        # The pipe holds 64 KiB and the rest waits: nothing of it may count as read when its reader goes away.
        self.topic("big", "--partition-bytes", "1M")
        self.produce([f"{i:05} " + "x" * 200 for i in range(2000)], topic="big")
        reader = self.start("consume", "big", "-g", "g")
        seen = [reader.stdout.readline() for _ in range(10)]
        self.assertEqual(seen[9][:5], b"00009")
        reader.stdout.close()
        reader.stdout = None
        self.assertEqual(reader.wait(timeout=30), 0)
        rest = self.arus("consume", "big", "-g", "g", "-e").lines
        self.assertEqual(rest[-1][:5], "01999")
        self.assertLess(int(rest[0][:5]), 1000)

    def test_a_second_member_of_one_partition_finds_nothing_to_do(self):
        reader = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        self.assertEqual(self.values("-g", "g"), [])
        self.produce(["a"])
        self.assertEqual(reader.stdout.readline(), b"a\n")
        reader.kill()
        reader.wait()
        self.produce(["b"])
        self.assertEqual(self.values("-g", "g")[-1], "b")

    def test_producers_wait_for_it(self):
        reader = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        numbers = os.path.join(self.directory, "numbers")
        with open(numbers, "w", encoding="ascii") as file:
            file.writelines(f"{i}\n" for i in range(20_000))
        with open(numbers, "rb") as file:
            producer = self.start("produce", "t", stdin=file)
        got = [reader.stdout.readline().decode().strip() for _ in range(20_000)]
        self.assertEqual(got, [str(i) for i in range(20_000)])
        self.finish(producer)

    def test_not_on_a_topic_without_back_pressure(self):
        self.topic("free", "--partition-bytes", "64K", "--no-back-pressure")
        self.assertIn("back", self.arus("consume", "free", "-g", "g", "-e", code=6).err)

    def test_not_for_single_partitions(self):
        self.assertIn("excludes", self.arus("consume", "t", "-g", "g", "-p", "0", code=2).err)

    def test_json_and_end(self):
        self.produce(["a"])
        self.assertEqual([record["value"] for record in self.arus("consume", "t", "-g", "g", "-e", "--json").objects], ["a"])


if __name__ == "__main__":
    main()
