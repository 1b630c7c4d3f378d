"""What the tests of the command share: a bus of its own for every test, ways to run `arus`, and GoogleTest's way of reporting,
which tools/test counts.

The program is $ARUS_COMMAND, the directory to work in $ARUS_TEST_DIR (see ../isolate)."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

ARUS = os.environ["ARUS_COMMAND"]
ROOT = os.environ["ARUS_TEST_DIR"]
SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))

# Generous: a machine under load must not fail a test. Nothing waits that long unless it hangs.
PATIENCE = 60


class Result:
    def __init__(self, code, out, err):
        self.code = code
        self.raw = out
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def objects(self):
        return [json.loads(line) for line in self.lines]


def wait_until(condition, what, patience=PATIENCE):
    limit = time.monotonic() + patience
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"waited {patience} s in vain until {what}")
        time.sleep(0.01)


class CliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = os.path.join(ROOT, self._testMethodName)
        os.makedirs(self.directory)
        self.bus = os.path.join(self.directory, "bus")
        self.started = []

    def tearDown(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass
        if os.path.isdir(os.path.join(self.bus, "tmp")):
            self.assertEqual(os.listdir(os.path.join(self.bus, "tmp")), [], "something half-created was left in the bus")
        shutil.rmtree(self.directory, ignore_errors=True)

    def environment(self):
        return dict(os.environ, ARUS_DIR=self.bus)

    def arus(self, *arguments, code=0, stdin=b"", command=(), **options):
        """Runs the command to its end and checks its exit code."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = subprocess.run([*command, ARUS, *map(str, arguments)], input=stdin, capture_output=True, timeout=PATIENCE,
                              env=self.environment(), check=False, **options)
        result = Result(done.returncode, done.stdout, done.stderr)
        if code is not None:
            self.assertEqual(result.code, code, f"exit code of arus {' '.join(map(str, arguments))}\n{result.out}{result.err}")
        if result.code != 0:
            self.assertRegex(result.err, r"\Aarus: ", "an error is told on stderr")
        return result

    def start(self, *arguments, command=(), **options):
        """Starts the command; it is killed when the test is over. Signals have their defaults, as on a terminal."""
        def defaults():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)

        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*command, ARUS, *map(str, arguments)], env=self.environment(), preexec_fn=defaults, **options)
        self.started.append(process)
        return process

    def finish(self, process, code=0, sends=None):
        """Waits for a started command, after sending it a signal if `sends` says so."""
        stdin = process.stdin
        if sends:
            process.send_signal(sends)
            process.stdin = None  # communicate() would close it: an end of its input, which may come to it before the signal
        out, err = process.communicate(timeout=PATIENCE)
        process.stdin = stdin
        result = Result(process.returncode, out or b"", err or b"")
        self.assertEqual(result.code, code, result.out + result.err)
        return result

    def topic(self, name="t", *options):
        return self.arus("topic", "create", name, *options)

    def produce(self, lines, *options, topic="t"):
        return self.arus("produce", topic, *options, stdin="".join(f"{line}\n" for line in lines))

    def values(self, *options, topic="t"):
        return self.arus("consume", topic, "-e", *options).lines

    def describe(self, topic="t"):
        return self.arus("topic", "describe", topic, "--json").json["topics"][0]

    def wait_for_readers(self, count, topic="t"):
        wait_until(lambda: self.describe(topic)["readers"] == count, f"{count} readers are attached to {topic}")

    def wait_for_group(self, name="g", partitions=1):
        """Until members read so many partitions, and producers wait for them. A reader is attached before: it has yet to be given its
        partitions then, and whoever is stopped there holds nobody back."""
        def read():
            groups = self.arus("group", "describe", "--json").json["groups"]
            found = [one for group in groups if group["name"] == name for one in group.get("partitions", [])]
            return sum(one["process"] is not None and one["status"] in ("holding", "lossy") for one in found) == partitions

        wait_until(read, f"members of group {name} read {partitions} partitions")

    def assertGolden(self, text, golden):
        """The text is the golden one; what differs from run to run stands there as <regular expression>."""
        parts = re.split(r"<(.*?)>", golden.lstrip("\n"))
        pattern = "".join(re.escape(part) if i % 2 == 0 else f"(?:{part})" for i, part in enumerate(parts))
        if not re.fullmatch(pattern, text):
            self.assertEqual(text, golden.lstrip("\n"))


class _GoogleTestResult(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.verdict = "      OK"
        print(f"[ RUN      ] {self.name(test)}", flush=True)

    def stopTest(self, test):
        print(f"[ {self.verdict:>8} ] {self.name(test)} ({int((time.monotonic() - self.began) * 1000)} ms)", flush=True)
        super().stopTest(test)

    @staticmethod
    def name(test):
        return test.id().replace("__main__.", "")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.verdict = " SKIPPED"
        print(f"skipped: {reason}")

    def failed(self, test, error):
        self.verdict = " FAILED "
        print(self._exc_info_to_string(error, test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print(f"with {subtest._subDescription()}:")
            self.failed(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.failed(test, err)


def main():
    names = sys.argv[1:]
    loader = unittest.defaultTestLoader
    module = sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = _GoogleTestResult()
    suite.run(result)
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and len(result.skipped) == result.testsRun else 0)
