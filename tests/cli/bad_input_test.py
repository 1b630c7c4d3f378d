"""Buses and topics as they should not be: every one gives an error that names the thing and a way out, and nobody crashes."""

import os
import shutil
import signal
import subprocess
import unittest

from harness import ARUS, CliTest, ROOT, main, wait_until

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Missing(CliTest):
    def test_bus(self):
        for command in (["topic", "list"], ["topic", "describe", "t"], ["topic", "delete", "t"], ["produce", "t"], ["consume", "t"],
                        ["ingest", "host", "--topic", "t"]):
            error = self.arus(*command, code=3).err
            self.assertIn(f"no bus at {self.bus}", error)
            self.assertIn("arus topic create", error)
            self.assertFalse(os.path.exists(self.bus))

    def test_directory_that_is_no_bus(self):
        os.makedirs(self.bus)
        with open(os.path.join(self.bus, "precious"), "w", encoding="ascii") as file:
            file.write("mine")
        self.assertIn(self.bus, self.arus("topic", "list", code=3).err)

    def test_bus_that_is_a_file(self):
        with open(self.bus, "wb"):
            pass
        for command in (["topic", "list"], ["topic", "create", "t"]):
            self.assertIn(self.bus, self.arus(*command, code=None).err)

    def test_parent_that_does_not_exist(self):
        nowhere = os.path.join(self.directory, "no", "where")
        error = self.arus("--bus", nowhere, "topic", "create", "t", code=3).err
        self.assertIn(nowhere, error)

    def test_topic(self):
        self.topic("weather", "--partition-bytes", "64K")
        for command in (["produce"], ["consume"], ["topic", "describe"], ["topic", "delete"]):
            self.assertIn("did you mean 'weather'?", self.arus(*command, "waether", code=3).err)


class Deleted(CliTest):
    def test_bus_underneath(self):
        self.topic("t", "--partition-bytes", "64K")
        self.produce(["one"])
        consumer = self.start("consume", "t")
        reader = self.start("consume", "t", "-g", "g")
        producer = self.start("produce", "t")
        self.assertEqual(consumer.stdout.readline(), b"one\n")
        self.assertEqual(reader.stdout.readline(), b"one\n")
        wait_until(lambda: self.describe()["state"][0]["producers"] == 1, "the producer has registered")
        shutil.rmtree(self.bus)
        self.assertIn("deleted", self.finish(consumer, code=9).err)
        self.assertIn("deleted", self.finish(reader, code=9).err)

        # A producer has nobody to ask on its way; it is told when it looks for room at the latest.
        def told():
            try:
                producer.stdin.write(b"x" * 1000 + b"\n")
                producer.stdin.flush()
            except BrokenPipeError:
                pass
            return producer.poll() is not None

        wait_until(told, "the producer ends")
        self.assertEqual(producer.returncode, 9)
        self.assertIn(b"deleted", producer.stderr.read())

    def test_topic_that_is_made_anew(self):
        self.topic("t", "--partition-bytes", "64K")
        consumer = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        self.arus("topic", "delete", "t")
        self.topic("t", "--partition-bytes", "64K")
        self.produce(["of the new one"])
        done = self.finish(consumer, code=9)
        self.assertEqual(done.out, "")
        self.assertEqual(self.values(), ["of the new one"])


class Damaged(CliTest):
    """Files of a topic that nobody has open, damaged in various ways."""

    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")
        self.topic("whole", "--partition-bytes", "64K")
        self.produce(["one", "two"])
        self.values("-g", "g")

    def file(self, name):
        return os.path.join(self.bus, "topics", "t", name)

    def overwrite(self, path, at, data):
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(data)

    def uses(self):
        """Every way to come across the file: exit code and stderr of each. Nobody may hang or die."""
        done = []
        for command in (["consume", "t", "-e"], ["consume", "t", "-g", "g", "-e"], ["produce", "t", "--timeout", "500ms"],
                        ["topic", "describe", "t"]):
            result = self.arus(*command, stdin="three\n", code=None)
            self.assertGreaterEqual(result.code, 0, f"{command} died of signal {-result.code}")
            done.append(result)
        self.assertEqual(self.values(topic="whole"), [])
        return done

    def assertOneNames(self, results, path, code=7):
        named = [result for result in results if result.code == code and path in result.err]
        self.assertTrue(named, f"nobody names {path}: {[(result.code, result.err) for result in results]}")

    def test_noise(self):
        for name in ("topic", "groups", "waits", "0"):
            with self.subTest(name):
                with open(self.file(name), "rb") as file:
                    before = file.read()
                self.overwrite(self.file(name), 0, os.urandom(len(before)))
                self.assertOneNames(self.uses(), self.file(name))
                self.overwrite(self.file(name), 0, before)
        self.assertEqual(self.values()[:2], ["one", "two"])

    def test_noise_in_the_ring(self):
        for _ in range(3):
            with open(self.file("0"), "rb") as file:
                before = file.read()
            self.overwrite(self.file("0"), len(before) - 65536, os.urandom(65536))
            for result in self.uses():
                self.assertIn(result.code, (0, 7, 10), result.err)
            self.overwrite(self.file("0"), 0, before)

    def test_truncated(self):
        for name in ("topic", "groups", "waits", "0"):
            size = os.path.getsize(self.file(name))
            for left in (size - 1, size // 2, 10, 0):
                with self.subTest(f"{name} with {left} bytes"):
                    with open(self.file(name), "rb") as file:
                        before = file.read()
                    os.truncate(self.file(name), left)
                    self.assertOneNames(self.uses(), self.file(name))
                    with open(self.file(name), "wb") as file:
                        file.write(before)

    def test_another_version(self):
        for name in ("topic", "groups", "waits", "0"):
            with self.subTest(name):
                with open(self.file(name), "rb") as file:
                    before = file.read(12)
                self.overwrite(self.file(name), 8, (77).to_bytes(4, "little"))
                results = self.uses()
                self.assertOneNames(results, self.file(name))
                self.assertTrue(any("77" in result.err and "version" in result.err for result in results), [r.err for r in results])
                self.overwrite(self.file(name), 0, before)

    def test_missing(self):
        for name in ("topic", "groups", "waits", "0"):
            with self.subTest(name):
                os.rename(self.file(name), self.file("away"))
                results = self.uses()
                self.assertTrue(any(result.code != 0 for result in results))
                os.rename(self.file("away"), self.file(name))

    def test_list_shows_the_others(self):
        self.overwrite(self.file("topic"), 0, os.urandom(64))
        listed = self.arus("topic", "list", code=7)
        self.assertIn("whole", listed.out)
        self.assertIn(self.file("topic"), listed.err)
        damaged, whole = self.arus("topic", "list", "--json", code=7).json["topics"]
        self.assertEqual((damaged["name"], damaged["error"]["code"]), ("t", "corrupt"))
        self.assertEqual(whole["name"], "whole")

    def test_damaged_topic_can_be_deleted(self):
        self.overwrite(self.file("topic"), 0, os.urandom(64))
        self.overwrite(self.file("0"), 0, os.urandom(4096))
        self.arus("topic", "delete", "t")
        self.topic("t", "--partition-bytes", "64K")

    def test_bus_files(self):
        for name in ("bus", "bells"):
            for damage in ("noise", "truncated", "version"):
                with self.subTest(f"{name}: {damage}"):
                    path = os.path.join(self.bus, name)
                    with open(path, "rb") as file:
                        before = file.read()
                    if damage == "noise":
                        self.overwrite(path, 0, os.urandom(len(before)))
                    elif damage == "version":
                        self.overwrite(path, 8, (77).to_bytes(4, "little"))
                    else:
                        os.truncate(path, len(before) // 2)
                    self.assertIn(path, self.arus("topic", "list", code=7).err)
                    with open(path, "wb") as file:
                        file.write(before)


@unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
class Permissions(CliTest):
    """The bus is root's; the others are nobody."""

    def setUp(self):
        super().setUp()
        os.chmod(ROOT, 0o755)
        os.chmod(self.directory, 0o755)
        able = subprocess.run([*NOBODY, ARUS, "--version"], capture_output=True, check=False)
        if able.returncode != 0:
            self.skipTest(f"nobody cannot run {ARUS}: {able.stderr.decode().strip()}")

    def tearDown(self):
        os.chmod(ROOT, 0o700)
        super().tearDown()

    def as_nobody(self, *arguments, **options):
        return self.arus(*arguments, command=NOBODY, cwd="/", **options)

    def test_private_bus(self):
        self.topic("t", "--partition-bytes", "64K")
        for command in (["topic", "list"], ["topic", "create", "u"], ["consume", "t"], ["produce", "t"]):
            error = self.as_nobody(*command, code=4).err
            self.assertIn(self.bus, error)
            self.assertIn("root", error)
        failed = self.as_nobody("topic", "list", "--json", code=4)
        self.assertEqual(failed.json["error"]["code"], "permission_denied")

    def test_who_may_only_read_observes(self):
        self.arus("bus", "create", "--mode", "0755")
        self.topic("t", "--partition-bytes", "64K", "--mode", "0644")
        self.produce(["one"])
        self.assertEqual(self.as_nobody("consume", "t", "-e").out, "one\n")
        self.assertEqual(self.as_nobody("topic", "describe", "t", "--json").json["topics"][0]["records"], 1)
        for command in (["produce", "t"], ["topic", "create", "u"], ["topic", "delete", "t"]):
            self.assertIn(self.bus, self.as_nobody(*command, stdin="x\n", code=4).err)
        self.assertEqual(self.values(), ["one"])

    def test_observer_without_any_right_to_write_sees_what_comes(self):
        self.arus("bus", "create", "--mode", "0755")
        self.topic("t", "--partition-bytes", "64K", "--mode", "0644")
        observer = self.start("consume", "t", command=NOBODY, cwd="/")
        self.produce(["one"])
        self.assertEqual(observer.stdout.readline(), b"one\n")
        self.produce(["two"])
        self.assertEqual(observer.stdout.readline(), b"two\n")
        self.finish(observer, sends=signal.SIGTERM)

    def test_open_bus_is_shared(self):
        self.arus("bus", "create", "--mode", "01777")
        self.topic("t", "--partition-bytes", "64K", "--mode", "0666")
        self.as_nobody("produce", "t", stdin="from nobody\n")
        self.assertEqual(self.as_nobody("consume", "t", "-g", "g", "-e").out, "from nobody\n")
        self.assertEqual(self.values("-g", "root"), ["from nobody"])
        self.as_nobody("topic", "create", "mine", "--partition-bytes", "64K")
        self.assertIn("mine", self.arus("topic", "list").out)

    def test_topic_of_somebody_else_on_a_shared_bus(self):
        self.arus("bus", "create", "--mode", "01777")
        self.topic("t", "--partition-bytes", "64K")
        for command in (["consume", "t"], ["produce", "t"], ["topic", "delete", "t"]):
            self.assertIn("topics/t", self.as_nobody(*command, stdin="x\n", code=4).err)


class Full(CliTest):
    """A file system of its own that is too small."""

    def mount(self, size):
        self.place = os.path.join(self.directory, "small")
        os.makedirs(self.place)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "arus-test", self.place], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
        self.bus = os.path.join(self.place, "bus")

    def tearDown(self):
        if os.path.ismount(self.place):
            subprocess.run(["umount", "-l", self.place], check=True)
        super().tearDown()

    def test_topic_that_does_not_fit(self):
        self.mount("4m")
        failed = self.arus("topic", "create", "t", code=5)
        self.assertRegex(failed.err, r"needs \d+ bytes.* has \d+ left")
        self.assertEqual(self.arus("topic", "create", "t", "--json", code=5).json["error"]["code"], "no_space")
        self.assertEqual(self.arus("topic", "list", "--json").json["topics"], [])
        self.assertEqual(os.listdir(os.path.join(self.bus, "tmp")), [])
        self.topic("t", "--partition-bytes", "1M")
        self.produce(["it works"])
        self.assertEqual(self.values(), ["it works"])

    def test_second_topic_that_does_not_fit_beside_the_first(self):
        self.mount("4m")
        self.topic("t", "--partition-bytes", "2M")
        self.arus("topic", "create", "u", "--partition-bytes", "2M", code=5)
        self.produce(["the first goes on"])
        self.assertEqual(self.values(), ["the first goes on"])

    def test_no_room_for_a_bus(self):
        self.mount("16k")
        failed = self.arus("topic", "create", "t", code=5)
        self.assertIn(self.bus, failed.err)
        self.arus("topic", "list", code=3)

    def test_burst_that_does_not_fit(self):
        self.mount("4m")
        self.assertIn("bytes", self.arus("bench", "throughput", "--seconds", "100ms", code=5).err)
        self.assertEqual(self.arus("topic", "list", "--json").json["topics"], [])


if __name__ == "__main__":
    main()
