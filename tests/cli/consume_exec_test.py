"""arus consume into CSV, and into a command's stdin."""

import csv
import io
import os
import signal
import time

from harness import CliTest, main, wait_until


class Csv(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def rows(self, *options):
        return list(csv.reader(io.StringIO(self.arus("consume", "t", "-e", "--csv", *options).out, newline="")))

    def test_default_columns(self):
        self.arus("produce", "t", "-K:", stdin="oslo:21.5\n")
        record = self.arus("consume", "t", "-e", "--json").json
        self.assertEqual(self.rows(), [["topic", "partition", "offset", "timestamp", "key", "value"],
                                       ["t", "0", "0", str(record["timestamp"]), "oslo", "21.5"]])

    def test_every_byte_survives(self):
        values = ['a,b', 'say "x"', "two\rlines", "", "plain", ' "'] + ['"', '""', ","]
        self.arus("produce", "t", "-D", "\\0", stdin="\0".join(values) + "\0")
        self.assertEqual([row[0] for row in self.rows("--columns", "value")[1:]], values)

    def test_null_and_empty(self):
        self.arus("produce", "t", "-Z", "-K:", stdin=":\n")
        self.arus("produce", "t", "-K:", stdin=":\n")
        self.assertEqual(self.arus("consume", "t", "-e", "--csv", "--columns", "key,value").out, 'key,value\n,\n"",""\n')

    def test_members_and_time(self):
        self.arus("produce", "t", "-H", "a=1", "-H", "b=2", stdin='{"v":21.50,"n":"x,y","o":{"p":1},"z":null,"t":true}\n[1]\nplain\n')
        rows = self.rows("--columns", ".v,.n,.o,.z,.t,headers,time")
        self.assertEqual(rows[0], ["v", "n", "o", "z", "t", "headers", "time"])
        self.assertEqual(rows[1][:6], ["21.5", "x,y", '{"p":1}', "", "true", "a=1,b=2"])
        self.assertRegex(rows[1][6], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        self.assertEqual(rows[2][:5], [""] * 5)

    def test_what_it_prints_can_be_read_again(self):
        self.arus("produce", "t", "-K:", stdin='a:1,2\nb:"q"\n')
        self.topic("u", "--partition-bytes", "64K")
        self.arus("ingest", "stdin", "-t", "u", "--format", "csv", "--key-column", "key", "--value-column", "value", "--time-column",
                  "timestamp", stdin=self.arus("consume", "t", "-e", "--csv").out)
        self.assertEqual([(r["key"], r["value"], r["timestamp"]) for r in self.arus("consume", "u", "-e", "--json").objects],
                         [(r["key"], r["value"], r["timestamp"]) for r in self.arus("consume", "t", "-e", "--json").objects])

    def test_wrong_options(self):
        for options, message in ((["--csv", "--columns", "colour"], "'colour' is not a column"), (["--columns", "key"], "--csv"),
                                 (["--csv", "-f", "%s"], "excludes"), (["--csv", "--json"], "exclude"), (["--restart"], "--exec")):
            self.assertIn(message, self.arus("consume", "t", "-e", *options, code=2).err, options)


class Exec(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "256K")
        self.out = os.path.join(self.directory, "out")

    def read(self):
        try:
            with open(self.out, encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def committed(self, group="g"):
        return next((sum(g["committed"]) for g in self.describe()["groups"] if g["name"] == group), 0)

    def test_records_go_to_its_stdin(self):
        self.produce(range(1000))
        done = self.arus("consume", "t", "-e", "-g", "g", "--exec", f"cat > {self.out}; echo read everything")
        self.assertEqual(done.out, "read everything\n")
        self.assertEqual(self.read(), [str(i) for i in range(1000)])
        self.assertEqual(self.committed(), 1000)

    def test_formats(self):
        self.arus("produce", "t", "-K:", stdin="a:1\n")
        self.arus("consume", "t", "-e", "--exec", f"cat > {self.out}", "-f", "%k=%s;\\n")
        self.assertEqual(self.read(), ["a=1;"])
        self.arus("consume", "t", "-e", "--exec", f"cat > {self.out}", "--csv", "--columns", "key,value")
        self.assertEqual(self.read(), ["key,value", "a,1"])
        self.arus("consume", "t", "-e", "--exec", f"cat > {self.out}", "--json")
        self.assertIn('"key":"a"', self.read()[0])

    def test_signals_have_their_defaults_for_it(self):
        done = self.arus("consume", "t", "-e", "--exec", "grep -E 'Sig(Blk|Ign)' /proc/self/status; cat")
        self.assertEqual([int(line.split()[1], 16) & ~(1 << 31) for line in done.lines[:1]], [0])

    def test_command_that_ends_badly(self):
        self.produce(range(10))
        failed = self.arus("consume", "t", "-g", "g", "--exec", "head -n 3; exit 7", code=1)
        self.assertIn("ended with exit code 7", failed.err)
        self.assertIn("--restart", failed.err)
        failed = self.arus("consume", "t", "-e", "--exec", "exec 2> /dev/null; no-such-command", code=1)
        self.assertIn("exit code 127", failed.err)
        failed = self.arus("consume", "t", "-e", "--exec", "dd bs=2 count=3 status=none; exit 7", code=1)
        self.assertEqual(failed.lines, ["0", "1", "2"])
        self.assertIn("left 7 records unread", failed.err)

    def test_command_that_ends_well(self):
        self.produce(range(1000))
        done = self.arus("consume", "t", "-g", "g", "--exec", "head -n 3")
        self.assertEqual(done.lines, ["0", "1", "2"])
        # While nothing comes it is noticed as well.
        self.arus("consume", "t", "-o", "end", "--exec", "exit 0")

    def test_nothing_is_settled_that_the_pipe_has_not_taken(self):
        lines = [f"{i:0100}" for i in range(1500)]
        consumer = self.start("consume", "t", "-g", "g", "--exec", "sleep 1000", stdin=None)
        self.wait_for_group()
        self.produce(lines)
        pipe = 65536
        wait_until(lambda: self.committed() > 0, "it has settled something")
        time.sleep(0.5)
        self.assertLessEqual(self.committed() * 101, pipe, "at most what stands in the pipe")
        consumer.kill()
        consumer.wait()
        self.kill_sleepers()
        before = self.committed()
        self.arus("consume", "t", "-e", "-g", "g", "--exec", f"cat > {self.out}")
        self.assertEqual(self.read(), lines[before:], "the next reader gets everything that was not settled")

    def kill_sleepers(self):
        """The command of a consumer that was killed stays; it would only end with its input."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    mine = f"ARUS_DIR={self.bus}".encode() in file.read().split(b"\0")
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if mine and b"sleep" in file.read():
                        os.kill(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass

    def test_restart_gives_what_was_not_read(self):
        """Each start reads some lines to the byte (dd does not read ahead) and ends; nobody misses or repeats a line."""
        lines = [f"{i:09}" for i in range(60)]
        self.produce(lines)
        consumer = self.start("consume", "t", "-g", "g", "--restart", "--exec", f"dd bs=10 count=20 status=none >> {self.out}; exit 3")
        wait_until(lambda: len(self.read()) >= 60, "all have been read, by three starts")
        self.assertEqual(self.read(), lines)
        error = consumer.stderr.readline().decode()
        self.assertIn("ended with exit code 3; starting it again", error)
        consumer.kill()

    def test_line_that_was_read_in_part_is_given_again(self):
        self.produce(["first", "second", "third"])
        consumer = self.start("consume", "t", "--restart", "--exec",
                              f"if [ -e {self.out} ]; then cat >> {self.out}; else dd bs=1 count=9 status=none of={self.out}; echo >> {self.out}; fi")
        wait_until(lambda: self.read() == ["first", "sec", "second", "third"], "the second start has the rest")
        self.finish(consumer, sends=signal.SIGTERM)

    def test_header_for_each_start(self):
        self.produce(["1", "2"])
        consumer = self.start("consume", "t", "--restart", "--csv", "--columns", "value", "--exec",
                              f"if [ -e {self.out} ]; then cat >> {self.out}; else dd bs=8 count=1 status=none of={self.out}; fi")
        wait_until(lambda: self.read() == ["value", "1", "value", "2"], "both starts had a header")
        self.finish(consumer, sends=signal.SIGTERM)

    def test_sigterm_gives_it_everything_and_waits_for_its_end(self):
        consumer = self.start("consume", "t", "-g", "g", "--exec", f"cat > {self.out}; sleep 0.3; echo last words >> {self.out}")
        self.wait_for_group()
        self.produce(range(100))
        wait_until(lambda: len(self.read()) == 100, "it has read them")
        self.finish(consumer, sends=signal.SIGTERM)
        self.assertEqual(self.read()[-1], "last words")
        self.assertEqual(self.committed(), 100)


if __name__ == "__main__":
    main()
