"""arus tail: the newest records, laid out."""

import signal
import unittest
import shutil

from harness import ARUS, CliTest, main
from screen import Screen


class TailTest(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def tail(self, *options):
        return self.arus("tail", "t", *options).out


class Layout(TailTest):
    def test_json_values(self):
        self.produce(['k:{"v":21.5,"u":"C"}', 'k:{"a":[1,2,{"b":null}],"long":"' + "x" * 70 + '"}', "k:[]"], "-K", ":")
        self.assertGolden(self.tail(), """
t/0@0  <[0-9TZ:.-]+>  k
  { "v": 21.5, "u": "C" }
t/0@1  <[0-9TZ:.-]+>  k
  {
    "a": [1, 2, { "b": null }],
    "long": "<x{70}>"
  }
t/0@2  <[0-9TZ:.-]+>  k
  []
""")

    def test_text_binary_and_nothing(self):
        self.arus("produce", "t", "-D", ";", "-Z", "-K", ":", "-H", "unit=C", stdin=b"k:two\nlines;:x;k:\x00\x01abc\xff0123456789\x7f;k:;")
        self.assertGolden(self.tail(), """
t/0@0  <[0-9TZ:.-]+>  k  unit=C
  two
  lines
t/0@1  <[0-9TZ:.-]+>  unit=C
  x
t/0@2  <[0-9TZ:.-]+>  k  unit=C
  00000000  00 01 61 62 63 ff 30 31  32 33 34 35 36 37 38 39  |..abc.0123456789|
  00000010  7f                                                |.|
t/0@3  <[0-9TZ:.-]+>  k  unit=C
  (null: a tombstone)
""")

    def test_hex_on_demand_and_a_limit(self):
        self.produce(["hello" * 100])
        self.assertIn("  00000000  68 65 6c 6c 6f ", self.tail("--hex"))
        limited = self.tail("--bytes", "8")
        self.assertIn("  hellohel\n  (and 492 more bytes; --bytes shows more)\n", limited)
        self.assertIn("and 484 more bytes", self.tail("--hex", "--bytes", "16"))

    def test_control_characters_do_not_reach_the_terminal(self):
        self.arus("produce", "t", stdin=b"\x1b[31mred\n")
        self.assertNotIn("\x1b", self.tail())
        self.assertIn("1b 5b 33 31 6d", self.tail())


class Which(TailTest):
    def test_the_last_of_all_partitions_in_order_of_time(self):
        self.topic("p", "-p", "3", "--partition-bytes", "64K")
        for i in range(9):
            self.produce([i], "-p", str(i % 3), topic="p")
        values = [record["value"] for record in self.arus("tail", "p", "-n", "4", "--json").objects]
        self.assertEqual(values, ["5", "6", "7", "8"])
        self.assertEqual(len(self.arus("tail", "p", "--json").objects), 9)
        self.assertEqual(self.arus("tail", "p", "-n", "0").out, "")

    def test_empty(self):
        self.assertEqual(self.tail(), "")

    def test_follow(self):
        self.produce(["old"])
        tail = self.start("tail", "-f", "t")
        self.wait_for_readers(1)
        self.produce(["new"])
        text = b""
        while b"new" not in text:
            text += tail.stdout.readline()
        self.finish(tail, sends=signal.SIGINT)
        self.assertIn(b"old", text)

    def test_json_is_that_of_consume(self):
        self.produce(["a", "b"])
        self.assertEqual(self.tail("--json"), self.arus("consume", "t", "-e", "--json").out)

    def test_unknown_topic(self):
        self.topic("weather", "--partition-bytes", "64K")
        self.assertIn("did you mean 'weather'?", self.arus("tail", "wether", code=3).err)


class Colour(TailTest):
    def test_not_into_a_pipe(self):
        self.produce(['{"v":1}'])
        self.assertNotIn("\x1b", self.tail())
        self.assertIn("\x1b[36m1\x1b[0m", self.tail("--color", "always"))
        self.assertIn("pink", self.arus("tail", "t", "--color", "pink", code=2).err)

    @unittest.skipUnless(shutil.which("tmux"), "no tmux")
    def test_on_a_terminal(self):
        self.produce(['{"v":1}'])
        for columns, environment, coloured in ((80, {}, True), (81, {"NO_COLOR": "1"}, False)):
            screen = Screen(self.directory, [ARUS, "tail", "t"], columns, 24, {**self.environment(), **environment})
            try:
                screen.wait_for('"v": 1', "ended with 0")
                self.assertEqual("\x1b[36m1" in screen.tmux("capture-pane", "-p", "-e"), coloured)
            finally:
                screen.close()


if __name__ == "__main__":
    main()
