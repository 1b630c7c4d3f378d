"""Bash completion: sourced in bash, and asked what it would offer."""

import os
import subprocess

from harness import ARUS, SOURCE, CliTest, main

SCRIPT = os.path.join(SOURCE, "tools", "completion.bash")


class Completion(CliTest):
    def offers(self, *words):
        """What is offered for the last word."""
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _arus; '
                  '((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", SCRIPT, ARUS, *words], capture_output=True, check=True,
                              timeout=60, env=self.environment())
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode().split()

    def test_it_is_registered(self):
        done = subprocess.run(["bash", "--norc", "-c", f'source "{SCRIPT}"; complete -p arus'], capture_output=True, check=True)
        self.assertEqual(done.stdout.decode().strip(), "complete -F _arus arus")

    def test_subcommands(self):
        self.assertLessEqual({"topic", "produce", "consume", "top", "doctor", "plan", "tail", "stat", "hz"}, set(self.offers("")))
        self.assertEqual(self.offers("do"), ["doctor"])
        self.assertEqual(self.offers("topic", "de"), ["delete", "describe"])
        self.assertEqual(self.offers("--bus", "/tmp", "topic", "li"), ["list"])
        self.assertEqual(self.offers("bench", ""), ["all", "fanout", "latency", "load", "rpc", "throughput"])

    def test_options(self):
        self.assertEqual(self.offers("doctor", "--re"), ["--repair"])
        self.assertEqual(self.offers("consume", "--stat"), ["--stats"])
        self.assertLessEqual({"--bus", "--json", "--help", "-n", "--count", "-f", "--follow"}, set(self.offers("tail", "-")))
        self.assertEqual(self.offers("consume", "x", "-c", ""), [])

    def test_values(self):
        self.assertEqual(self.offers("tail", "--color", "a"), ["always", "auto"])
        self.assertEqual(self.offers("consume", "--wait", "spin"), ["spin", "spin-then-sleep"])
        self.assertEqual(self.offers("bench", "load", "--wait", "sl"), ["sleep"])
        with open(os.path.join(self.directory, "page.html"), "w", encoding="ascii"):
            self.assertEqual(self.offers("bench", "all", "--html", self.directory + "/pa"), [self.directory + "/page.html"])
        self.assertEqual(self.offers("--bus", self.directory[:-1]), [self.directory])

    def test_topics_and_groups(self):
        for name in ("weather", "wind", "frames"):
            self.topic(name, "--partition-bytes", "64K")
        self.produce(["x"], topic="wind")
        self.arus("consume", "wind", "-g", "alerts", "-e")
        self.assertEqual(self.offers("consume", "w"), ["weather", "wind"])
        self.assertEqual(self.offers("topic", "delete", ""), ["frames", "weather", "wind"])
        self.assertEqual(self.offers("topic", "create", ""), [])
        self.assertEqual(self.offers("--bus", self.directory, "consume", ""), [])
        self.assertEqual(self.offers("consume", "wind", "-g", "a"), ["alerts"])
        self.assertEqual(self.offers("group", "describe", ""), ["alerts"])
        self.assertEqual(self.offers("group", "reset", "al"), ["alerts"])

    def test_services(self):
        self.start("rpc", "serve", "weather", "m", "--", "cat", stdin=subprocess.DEVNULL)
        self.arus("rpc", "call", "weather", "m", "x", "--connect-timeout", "60s", "--deadline", "60s")
        self.assertEqual(self.offers("rpc", "describe", "we"), ["weather"])


if __name__ == "__main__":
    main()
