"""tools/demo: what it promises, that it fits where it says, and that it leaves nothing behind however it ends."""

import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from harness import ARUS, SOURCE, main, wait_until

DEMO = [os.path.join(SOURCE, "tools", "demo"), "--arus", ARUS, "--no-install"]
NAMESPACE = ["unshare", "--mount", "--propagation", "private"]


def processes_of(bus):
    """Everything that still runs with the demo's bus in its environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if f"ARUS_DIR={bus}\0".encode() in file.read() + b"\0":
                    found.append(pid)
        except OSError:
            pass
    return found


class Demo(unittest.TestCase):
    def start(self, *arguments, command=(), **options):
        def defaults():
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        environment = {name: value for name, value in os.environ.items() if name != "ARUS_DIR"}
        return subprocess.Popen([*command, *DEMO, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=environment, preexec_fn=defaults, start_new_session=True, **options)

    def bus_in(self, text):
        return re.search(r"^Bus: (\S+)", text, re.MULTILINE).group(1)

    def assertNothingLeft(self, bus):
        self.assertFalse(os.path.exists(os.path.dirname(bus)), f"{bus} was left behind")
        wait_until(lambda: not processes_of(bus), "no process is left")

    def test_whole(self):
        demo = self.start("--seconds", "8")
        text = demo.communicate(timeout=120)[0].decode()
        self.assertEqual(demo.returncode, 0, text)
        self.assertNothingLeft(self.bus_in(text))
        summary = text[text.index("\nSummary\n"):]
        produced = int(re.search(r"produced +(\d+) records of \d+ sensors in [0-9.]+ s, 0 dropped", summary).group(1))
        self.assertGreater(produced, 100)
        self.assertRegex(summary, rf"consumed +{produced} records in group 'demo', 0 missing")
        observed, lost = map(int, re.search(r"observed +(\d+) records read-only, (\d+) lost", summary).groups())
        self.assertEqual(observed + lost, produced)
        self.assertRegex(summary, r"throughput +[0-9.]+( [kM])? messages/s")
        self.assertRegex(summary, r"round trip +p50 [0-9.]+ [nu]s")
        self.assertRegex(text, r"KEY +COUNT +RATE/s +MIN +MEAN +MAX +LAST +UNIT\n")
        self.assertIn("consumed = produced, no gaps", summary)

    def interrupt(self, after, number):
        demo = self.start("--seconds", "8")
        first = demo.stdout.readline().decode()
        time.sleep(after)
        demo.send_signal(number)
        began = time.monotonic()
        text = first + demo.communicate(timeout=60)[0].decode()
        self.assertEqual(demo.returncode, 128 + number, text)
        self.assertLess(time.monotonic() - began, 30)
        self.assertNothingLeft(self.bus_in(text))

    def test_interrupted(self):
        for after, number in ((0, signal.SIGINT), (0.2, signal.SIGTERM), (1, signal.SIGHUP), (2, signal.SIGINT), (4, signal.SIGTERM),
                              (5.5, signal.SIGINT)):
            with self.subTest(f"{number.name} after {after} s"):
                self.interrupt(after, number)

    def test_ctrl_c_reaches_everybody(self):
        demo = self.start("--seconds", "8")
        first = demo.stdout.readline().decode()
        time.sleep(1.5)
        os.killpg(demo.pid, signal.SIGINT)
        text = first + demo.communicate(timeout=60)[0].decode()
        self.assertEqual(demo.returncode, 130, text)
        self.assertNothingLeft(self.bus_in(text))

    def start_with_memory(self, size, *arguments, also=""):
        """Runs it where /dev/shm is a tmpfs of this size."""
        if ARUS.startswith("/dev/shm/"):
            self.skipTest("the mount would hide the program itself")
        able = shutil.which("unshare") and subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "none", "/dev/shm"], capture_output=True,
                                                          check=False)
        if not able or able.returncode != 0:
            self.skipTest("cannot mount a /dev/shm of its own")
        script = f'mount -t tmpfs -o size={size} none /dev/shm && {also} exec "$@"'
        return self.start(*arguments, command=[*NAMESPACE, "sh", "-c", script, "sh"])

    def test_fits_into_64_mib(self):
        demo = self.start_with_memory("64m", "--seconds", "8")
        text = demo.communicate(timeout=120)[0].decode()
        self.assertEqual(demo.returncode, 0, text)
        self.assertTrue(self.bus_in(text).startswith("/dev/shm/"), text)
        self.assertIn("consumed = produced, no gaps", text)

    def test_falls_back_to_disk(self):
        demo = self.start_with_memory("8m", "--seconds", "8")
        text = demo.communicate(timeout=120)[0].decode()
        self.assertEqual(demo.returncode, 0, text)
        self.assertFalse(self.bus_in(text).startswith("/dev/shm/"), text)
        self.assertNothingLeft(self.bus_in(text))

    def test_too_little_space_is_said_at_once(self):
        demo = self.start_with_memory("8m", also="TMPDIR=/dev/shm")
        text = demo.communicate(timeout=60)[0].decode()
        self.assertEqual(demo.returncode, 1, text)
        self.assertRegex(text, r"has \d+ MiB left and \d+ are needed")

    def test_wrong_arguments(self):
        for arguments in (["--seconds", "3"], ["--seconds", "x"], ["--seconds"], ["--loud"], ["--arus", "/nonexistent"]):
            demo = self.start(*arguments)
            text = demo.communicate(timeout=60)[0].decode()
            self.assertEqual(demo.returncode, 1, text)
            self.assertTrue(text.startswith("demo: "), text)


if __name__ == "__main__":
    main()
