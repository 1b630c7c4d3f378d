"""arus top: on a terminal, driven by keys, and for scripts."""

import os
import shutil
import signal
import subprocess
import threading
import unittest

from harness import ARUS, CliTest, main, wait_until
from screen import Screen

TOPIC = ["name", "partitions", "records", "records_per_second", "bytes_per_second", "bytes_used", "bytes_reserved", "fill",
         "retained_seconds", "producers", "readers", "held_by"]
GROUP = ["topic", "name", "alive", "evicted", "lag", "lag_bytes", "lost", "readers", "lag_per_second", "records_per_second", "holds_back"]


class TopTest(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("weather", "-p", "2", "--partition-bytes", "64K")
        self.topic("frames", "--partition-bytes", "64K")
        self.produce([f"k{i}:{i}" for i in range(100)], "-K", ":", topic="weather")
        self.arus("consume", "weather", "-g", "alerts", "-c", "20")

    def serve(self, name, calls):
        server = subprocess.Popen([os.path.join(os.environ["ARUS_HELPERS"], "echo_service"), name, str(calls)], env=self.environment(),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(server)
        return server

    def hold_back(self):
        """A group whose reader is stopped, and a full ring behind it."""
        reader = self.start("consume", "frames", "-g", "slow")
        self.wait_for_group("slow")
        os.kill(reader.pid, signal.SIGSTOP)
        self.arus("produce", "frames", "--timeout", "100ms", stdin="x\n" * 20000, code=None)
        return reader


class Once(TopTest):
    def test_text(self):
        self.assertGolden(self.arus("top", "--once", "--interval", "100ms").out, """
arus top  <[0-9:]{8}>Z  2 topics  0 rec/s  0 B/s  <.*>/bus
TOPIC                        PARTITIONS   RECORDS   REC/S  BYTES/S FILL  KEPT   P/C     LAG HELD BY
frames                                1         0       0        0   0%     -   0/0       - -
weather                               2       100       0        0   <[0-9]>%  <[0-9.]+[sm]>   0/0      80 -

GROUP                                   TOPIC                                         LAG   TREND/S   READ/S STATE
alerts                                  weather                                        80         =        0 no reader
""")

    def test_json(self):
        found = self.arus("top", "--once", "--json", "--interval", "100ms").json
        self.assertEqual(list(found), ["bus", "time", "seconds", "topics", "groups", "services"])
        self.assertEqual([list(topic) for topic in found["topics"]], [TOPIC, TOPIC])
        frames, weather = found["topics"]
        self.assertEqual((frames["name"], frames["records"], frames["retained_seconds"]), ("frames", 0, None))
        self.assertEqual((weather["name"], weather["records"], weather["held_by"]), ("weather", 100, []))
        self.assertGreater(weather["retained_seconds"], 0)
        self.assertGreaterEqual(found["seconds"], 0.1)
        self.assertEqual([list(group) for group in found["groups"]], [GROUP])
        self.assertEqual((found["groups"][0]["name"], found["groups"][0]["lag"]), ("alerts", 80))

    def test_rates(self):
        producer = self.start("produce", "frames")
        consumer = self.start("consume", "frames")
        done = threading.Event()

        def feed():
            # The next one only when this one has come: lines that are read at once are sent as one record, which takes less room.
            while not done.wait(0.001):
                producer.stdin.write(b"x\n")
                producer.stdin.flush()
                consumer.stdout.readline()

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        try:
            wait_until(lambda: self.describe("frames")["records"] > 0, "records flow")
            found = self.arus("top", "frames", "--once", "--json", "--interval", "300ms").json
        finally:
            done.set()
            feeder.join(60)
        self.assertFalse(feeder.is_alive(), "the last line has come")
        seen = found["topics"][0]
        self.assertEqual(seen["producers"], 1)
        self.assertGreater(seen["records_per_second"], 0)
        # One may come between looking at the one and at the other, at either end.
        records = seen["records_per_second"] * found["seconds"]
        self.assertAlmostEqual(seen["bytes_per_second"] * found["seconds"] / 64, records, delta=max(2, records / 64))

    def test_topics_are_chosen(self):
        found = self.arus("top", "frames", "--once", "--json", "--interval", "100ms").json
        self.assertEqual([topic["name"] for topic in found["topics"]], ["frames"])
        self.assertIn("did you mean 'frames'?", self.arus("top", "frame", "--once", code=3).err)

    def test_who_holds_producers_back(self):
        self.hold_back()
        found = self.arus("top", "--once", "--json", "--interval", "100ms").json
        self.assertEqual(found["topics"][0]["held_by"], ["slow"])
        self.assertIn("HOLDS BACK", self.arus("top", "--once", "--interval", "100ms").out)

    def test_services(self):
        server = self.serve("weatherd", 100)
        self.assertEqual(server.stdout.readline(), b"called\n")
        service = self.arus("top", "--once", "--json", "--interval", "100ms").json["services"][0]
        self.assertEqual(list(service), ["name", "servers", "outstanding", "calls", "failed", "calls_per_second", "failed_per_second",
                                         "p50_ns", "p99_ns"])
        self.assertEqual((service["name"], service["servers"], service["calls"], service["failed"]), ("weatherd", 1, 100, 0))
        self.assertGreater(service["p50_ns"], 0)
        self.assertIn("\nweatherd ", self.arus("top", "--once", "--interval", "100ms").out)
        self.assertRegex(self.arus("stat").out, r"\nservices/weatherd/servers/pid \d+ \(echo_service\)/methods/echo/ended/ok 100\n")
        server.kill()
        server.wait()
        doctor = subprocess.run([ARUS, "doctor", "--json"], capture_output=True, check=False, timeout=60, env=self.environment())
        self.assertIn(b"no_server", doctor.stdout)

    def test_what_cannot_be_read_does_not_hide_the_others(self):
        with open(os.path.join(self.bus, "topics", "frames", "topic"), "r+b") as file:
            file.write(b"garbage!")
        frames, weather = self.arus("top", "--once", "--json", "--interval", "100ms").json["topics"]
        self.assertEqual(list(frames), ["name", "error"])
        self.assertEqual(frames["error"]["code"], "corrupt")
        self.assertEqual(weather["records"], 100)

    def test_no_bus(self):
        shutil.rmtree(self.bus)
        self.assertIn(self.bus, self.arus("top", "--once", code=3).err)


@unittest.skipUnless(shutil.which("tmux"), "no tmux")
class OnATerminal(TopTest):
    def setUp(self):
        super().setUp()
        self.screen = None

    def tearDown(self):
        if self.screen:
            self.screen.close()
        super().tearDown()

    def open(self, columns=80, rows=24, *arguments):
        self.screen = Screen(self.directory, [ARUS, "top", "--interval", "200ms", *arguments], columns, rows, self.environment())
        self.screen.wait_for("TOPIC", "weather")
        return self.screen

    def assertEnded(self, code=0):
        self.screen.wait_for(f"ended with {code}", "echo", gone=["-echo", "q quit"])

    def test_small_screen(self):
        screen = self.open(80, 24)
        lines = screen.lines
        self.assertEqual(len(lines), 24)
        self.assertTrue(lines[0].startswith("arus top  "), lines[0])
        self.assertGolden("\n".join(line.rstrip() for line in lines[1:8]), """
sorted by name
TOPIC                REC/S  BYTES/S FILL  KEPT   P/C     LAG HELD BY
frames                   0        0   0%     -   0/0       - -
weather                  0        0   <[0-9]>%  <[0-9. ]+[sm]>   0/0      80 -

GROUP               TOPIC                     LAG   TREND/S   READ/S STATE
alerts              weather                    80         =        0 no reader""")
        self.assertEqual(lines[23].rstrip(), "q quit  Up/Dn select  Enter topic  s sort  r reverse  / filter  p pause  h help")
        self.assertLessEqual(max(map(len, lines)), 80)
        screen.press("q")
        self.assertEnded()

    def test_large_screen(self):
        lines = self.open(200, 50).lines
        self.assertEqual(len(lines), 50)
        self.assertIn("PARTITIONS", lines[2])
        self.assertIn("q quit", lines[49])

    def test_resize(self):
        screen = self.open(80, 24)
        screen.resize(200, 50)
        screen.wait_for("PARTITIONS")
        wait_until(lambda: "q quit" in screen.lines[49], "the last line is the help line")
        screen.resize(60, 10)
        screen.wait_for("TOPIC", gone=["PARTITIONS"])
        wait_until(lambda: "q quit" in screen.lines[9], "the last line is the help line")
        screen.resize(10, 3)
        screen.resize(80, 24)
        screen.wait_for("weather", "q quit")

    def test_drill_down_and_back(self):
        screen = self.open()
        screen.press("Down", "Enter")
        screen.wait_for("topic weather", "PARTITION", "2 partitions of 64 KiB", "COMMITTED", "alerts")
        screen.press("Escape")
        screen.wait_for("BYTES/S", "frames", gone=["COMMITTED"])
        screen.press("k", "Enter")
        screen.wait_for("topic frames", "1 partition of 64 KiB")
        screen.press("BSpace")
        screen.wait_for("weather")

    def test_sort_and_reverse(self):
        screen = self.open()
        order = lambda: [line.split()[0] for line in screen.lines[3:5]]
        self.assertEqual(order(), ["frames", "weather"])
        screen.press("s", "s", "s")
        screen.wait_for("sorted by fill")
        self.assertEqual(order(), ["weather", "frames"])
        screen.press("r")
        screen.wait_for("sorted by fill, reversed")
        self.assertEqual(order(), ["frames", "weather"])

    def test_filter(self):
        screen = self.open()
        screen.press("/", "F", "r", "a")
        screen.wait_for("filter: Fra_", "frames", gone=["weather"])
        screen.press("x")
        screen.wait_for("no topic matches the filter")
        screen.press("BSpace", "Enter")
        screen.wait_for("filter: Fra", "frames", gone=["weather", "Fra_"])
        screen.press("Escape")
        screen.wait_for("weather", gone=["filter:"])

    def test_help_and_pause(self):
        screen = self.open()
        screen.press("h")
        screen.wait_for("HELD BY", "any key goes back")
        screen.press("x")
        screen.wait_for("weather")
        screen.press("p")
        screen.wait_for("PAUSED")
        screen.press("p")
        screen.wait_for("weather", gone=["PAUSED"])

    def test_what_changes_is_shown(self):
        screen = self.open()
        self.produce(range(10), topic="frames")
        self.topic("later", "--partition-bytes", "64K")
        screen.wait_for("later", "3 topics")
        self.arus("topic", "delete", "weather")
        screen.wait_for("2 topics", gone=["weather"])
        reader = self.hold_back()
        screen.wait_for("HOLDS BACK", "! group slow holds back the producers of frames")
        os.kill(reader.pid, signal.SIGCONT)
        screen.wait_for("frames", gone=["HOLDS BACK"])

    def test_the_terminal_is_restored(self):
        for number, how in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, "C-c", "q")):
            with self.subTest(how):
                screen = self.open(80 + number)
                screen.wait_for("q quit")
                if isinstance(how, str):
                    screen.press(how)
                else:
                    os.kill(screen.pid(), how)
                self.assertEnded(0)
                screen.close()

    def test_stopped_and_continued(self):
        self.screen = screen = Screen(self.directory, ["bash", "--norc", "--noprofile", "-i"], 81, 24, self.environment())
        screen.press(f"PS1='ready> '; {ARUS} top", "Enter")
        for how in ("C-z", signal.SIGTSTP, "C-z"):
            screen.wait_for("TOPIC", "weather", "q quit")
            if isinstance(how, str):
                screen.press(how)
            else:
                shell = screen.pid()
                with open(f"/proc/{shell}/task/{shell}/children", encoding="ascii") as children:
                    os.kill(int(children.read()), how)
            screen.wait_for("Stopped", "ready>", gone=["q quit"])
            screen.press("stty -a | grep -o -- '-*icanon'; jobs | wc -l", "Enter")
            screen.wait_for("\nicanon", "\n1\n")
            screen.press("fg", "Enter")
        screen.wait_for("TOPIC", "weather", "q quit")
        screen.resize(200, 40)
        screen.wait_for("PARTITIONS")
        screen.press("q")
        screen.wait_for("ready>", gone=["q quit"])
        screen.press("exit", "Enter")
        self.assertEnded(0)

    def test_the_terminal_is_restored_after_a_crash(self):
        for number, how in enumerate((signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)):
            with self.subTest(how):
                screen = self.open(90 + number)
                screen.wait_for("q quit")
                os.kill(screen.pid(), how)
                self.assertEnded(128 + how)
                screen.close()

    def test_a_bus_that_is_deleted_meanwhile(self):
        screen = self.open()
        shutil.rmtree(self.bus)
        screen.wait_for("arus: the bus", "was deleted")
        self.assertEnded(9)

    def test_an_unknown_terminal(self):
        self.screen = Screen(self.directory, ["env", "TERM=nonsense", ARUS, "top"], 80, 24, self.environment())
        self.screen.wait_for("the terminal 'nonsense' is not known here", "--once", "ended with 1")


if __name__ == "__main__":
    main()
