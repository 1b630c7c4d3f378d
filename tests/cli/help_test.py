"""The command line itself: help, version, wrong usage, and how failures are told."""

import os
import re
import subprocess

from harness import ARUS, CliTest, main

COMMANDS = [["topic"], ["topic", "create"], ["topic", "list"], ["topic", "describe"], ["topic", "delete"], ["produce"], ["consume"],
            ["ingest"], ["ingest", "host"], ["ingest", "stdin"], ["ingest", "file"], ["ingest", "tty"],
            ["ingest", "udp"], ["ingest", "iio"], ["ingest", "mqtt"], ["export"], ["export", "prometheus"],
            ["bench"], ["bench", "throughput"], ["bench", "latency"], ["bench", "load"], ["bench", "rpc"], ["bench", "fanout"],
            ["bench", "all"], ["group"], ["group", "list"], ["group", "describe"], ["group", "reset"], ["group", "evict"],
            ["group", "delete"], ["rpc"], ["rpc", "list"], ["rpc", "describe"], ["rpc", "call"], ["rpc", "serve"], ["rpc", "stat"],
            ["bus"], ["bus", "create"], ["top"], ["stat"], ["hz"], ["tail"], ["doctor"], ["plan"]]


class Help(CliTest):
    def test_version(self):
        self.assertRegex(self.arus("--version").out, r"\Aarus \d+\.\d+\.\d+\n\Z")

    def test_top(self):
        text = self.arus("--help").out
        for command in ("topic", "produce", "consume", "ingest", "bench"):
            self.assertIn(f"\n  {command} ", text)
        for number in range(13):
            self.assertRegex(text, rf"\b{number}  \w")
        # Without anything it says the same; that is a wrong usage all the same.
        shown = subprocess.run([ARUS], capture_output=True, env=self.environment(), check=False)
        self.assertEqual((shown.returncode, shown.stdout.decode()), (2, text))

    def test_these_are_all(self):
        def commands(path):
            text = self.arus(*path, "--help").out
            section = text.partition("Subcommands:\n")[2].partition("\n\n")[0]
            for name in re.findall(r"^  ([a-z][a-z-]*) ", section, re.MULTILINE):
                yield [*path, name]
                yield from commands([*path, name])

        self.assertEqual(sorted(commands([])), sorted(COMMANDS))

    def test_every_command_explains_itself(self):
        for command in COMMANDS:
            with self.subTest(command):
                for flag in ("--help", "-h"):
                    text = self.arus(*command, flag).out
                self.assertIn(f"Usage: arus {' '.join(command)}", text)
                self.assertIn("--json", text)
                for line in text.splitlines():
                    self.assertLessEqual(len(line), 110, line)

    def test_commands_give_examples_and_the_shape_of_their_json(self):
        for command in COMMANDS:
            if any(other[:-1] == command for other in COMMANDS):
                continue  # it only has subcommands
            with self.subTest(command):
                text = self.arus(*command, "--help").out
                self.assertRegex(text, r"\nExamples?:\n  \S")
                self.assertRegex(text, r"\nJSON[^\n]*:\s")

    def test_help_does_nothing(self):
        self.arus("topic", "create", "t", "--help")
        self.assertFalse(os.path.exists(self.bus))


class Usage(CliTest):
    def test_wrong_arguments_point_to_the_help(self):
        for arguments, help_of in ((["explode"], "arus"), (["topic"], "arus topic"), (["topic", "make"], "arus topic"),
                                   (["consume", "--sideways"], "arus consume"), (["produce", "a", "b"], "arus produce"),
                                   (["ingest"], "arus ingest"), (["--bus"], "arus")):
            error = self.arus(*arguments, code=2).err
            self.assertIn(f"see {help_of} --help", error, arguments)

    def test_as_json(self):
        failed = self.arus("--json", "consume", "t", "--sideways", code=2)
        self.assertEqual(failed.json["error"]["exit"], 2)

    def test_json_may_stand_anywhere(self):
        self.topic("t", "--partition-bytes", "64K")
        for arguments in (["--json", "topic", "list"], ["topic", "--json", "list"], ["topic", "list", "--json"]):
            self.assertEqual(self.arus(*arguments).json["topics"][0]["name"], "t")


class Bus(CliTest):
    def test_create(self):
        self.assertEqual(self.arus("bus", "create", "--mode", "0750").out, f"created bus {self.bus}\n")
        self.assertEqual(os.stat(self.bus).st_mode & 0o7777, 0o750)
        self.assertIn(self.bus, self.arus("bus", "create", code=6).err)
        other = os.path.join(self.directory, "other")
        self.assertEqual(self.arus("bus", "create", "--bus", other, "--json").json, {"bus": other, "created": True})

    def test_wrong_arguments(self):
        self.assertIn("is not a mode", self.arus("bus", "create", "--mode", "rwx", code=2).err)
        self.assertIn("4032", self.arus("bus", "create", "--sleepers", "100000", code=2).err)
        self.assertFalse(os.path.exists(self.bus))


if __name__ == "__main__":
    main()
