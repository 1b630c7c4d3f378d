"""arus rpc: serving with shell commands, calling, and what can be seen of both."""

import json
import os
import signal
import subprocess
import unittest

from harness import ARUS, CliTest, main, wait_until

SERVICE = os.path.join(os.environ["ARUS_HELPERS"], "rpc_service")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
PATIENT = ["--deadline", "60s", "--connect-timeout", "60s"]
METHOD = ["name", "request_bytes", "reply_bytes", "idempotent", "streaming", "calls", "ended", "p50_ns", "p99_ns"]
SERVER = ["process", "state", "outstanding", "max_outstanding", "clients", "workers", "started", "methods"]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class RpcTest(CliTest):
    def serve(self, *arguments, service="s", method="m"):
        """A server whose method is the command, from when it can be called."""
        process = self.start("rpc", "serve", service, method, *arguments, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.live_servers(service) > self.served(service), "the service can be called")
        self.count[service] = self.served(service) + 1
        return process

    def setUp(self):
        super().setUp()
        self.count = {}

    def served(self, service):
        return self.count.get(service, 0)

    def live_servers(self, service):
        found = self.arus("rpc", "list", "--json", code=None)
        services = found.json["services"] if found.code == 0 else []
        return sum(one["servers"] for one in services if one["name"] == service)

    def call(self, *arguments, service="s", method="m", **options):
        return self.arus("rpc", "call", service, method, *PATIENT, *arguments, **options)

    def begin(self, *arguments, service="s", method="m"):
        return self.start("rpc", "call", service, method, *PATIENT, *arguments)

    def path(self, name):
        return os.path.join(self.directory, name)

    def pid_in(self, name):
        path = self.path(name)
        wait_until(lambda: os.path.exists(path) and open(path, encoding="ascii").read().endswith("\n"), f"{name} is written")
        with open(path, encoding="ascii") as file:
            return int(file.read())

    def describe_service(self, service="s"):
        return self.arus("rpc", "describe", service, "--json").json["services"][0]

    def helper(self):
        process = subprocess.Popen([SERVICE], env=self.environment())
        self.started.append(process)
        wait_until(lambda: self.live_servers("helper") == 1, "the helper serves")
        return process


class Call(RpcTest):
    def test_body_from_argument_and_stdin(self):
        self.serve("--", "tr", "a-z", "A-Z")
        self.assertEqual(self.call("hello").out, "HELLO")
        self.assertEqual(self.call(stdin="from stdin\n").out, "FROM STDIN\n")
        self.assertEqual(self.call("-", stdin="as well").out, "AS WELL")
        self.assertEqual(self.call("").out, "")
        self.assertEqual(self.call("--", "-minus").out, "-MINUS")

    def test_one_word_is_for_the_shell(self):
        self.serve("--", "read x; echo $((x * x))")
        self.assertEqual(self.call("7").out, "49\n")

    def test_any_bytes(self):
        self.serve("--", "cat")
        every = bytes(range(256))
        self.assertEqual(self.call(stdin=every).raw, every)
        seen = self.call("--json", stdin=every).json
        self.assertEqual(list(seen), ["service", "method", "status", "reply", "reply_encoding", "bytes", "seconds"])
        self.assertEqual((seen["reply_encoding"], seen["bytes"]), ("base64", 256))
        self.assertTrue(seen["reply"].startswith("AAECAwQF"))

    def test_large(self):
        self.serve("--", "cat")
        large = os.urandom(3 << 20)
        self.assertEqual(self.call("--ring-bytes", "8M", stdin=large).raw, large)

    def test_json(self):
        self.serve("--", "cat")
        seen = self.call("grüße", "--json").json
        self.assertEqual(list(seen), ["service", "method", "status", "reply", "bytes", "seconds"])
        self.assertEqual((seen["service"], seen["method"], seen["status"], seen["reply"], seen["bytes"]), ("s", "m", "ok", "grüße", 7))
        self.assertGreater(seen["seconds"], 0)

    def test_waits_for_a_server(self):
        caller = self.begin("early")
        caller.stdin.close()
        caller.stdin = None
        self.serve("--", "cat")
        self.assertEqual(self.finish(caller).out, "early")

    def test_typed_and_streaming(self):
        self.helper()
        self.assertEqual(self.call(service="helper", method="twice", stdin=(21).to_bytes(4, "little")).raw, (42).to_bytes(8, "little"))
        self.assertEqual(self.call("3", service="helper", method="count").lines, ["1", "2", "3"])
        self.assertEqual(self.call("0", service="helper", method="count").out, "")
        seen = self.call("2", "--json", service="helper", method="count").objects
        self.assertEqual(seen[:2], [{"service": "helper", "method": "count", "number": i, "reply": str(i + 1), "bytes": 1} for i in (0, 1)])
        self.assertEqual((seen[2]["status"], seen[2]["replies"]), ("ok", 2))
        self.assertIn("below zero", self.call("-1", service="helper", method="count", code=31).err)
        many = self.call("20000", service="helper", method="count").lines
        self.assertEqual(many, [str(i + 1) for i in range(20000)])


class Statuses(RpcTest):
    """Every way in which a call can end badly has an exit code of its own and says why."""

    def ended(self, name, code, *arguments, says=(), **options):
        result = self.call(*arguments, code=code, **options)
        self.assertRegex(result.err, rf"ended with {name}\b")
        for words in says:
            self.assertIn(words, result.err)
        as_json = self.call(*arguments, "--json", code=code, **options).json
        self.assertEqual((as_json["error"]["code"], as_json["error"]["exit"]), (name, code))

    def test_by_the_exit_code_of_the_command(self):
        self.serve("--", "read code; echo because >&2; exit $code")
        for number, name in enumerate(("cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
                                       "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range",
                                       "unimplemented", "internal", "unavailable", "data_loss", "unauthenticated"), 1):
            with self.subTest(name):
                result = self.call(f"{20 + number}\n", code=20 + number)
                self.assertIn(f"ended with {name}: because", result.err)
        self.ended("unknown", 22, "3\n", says=["because"])
        self.ended("unknown", 22, "37\n", says=["because"])
        self.ended("unknown", 22, "20\n", says=["because"])

    def test_a_silent_one(self):
        self.serve("--", "exit 3")
        self.ended("unknown", 22, "", says=["exited with 3"])

    def test_killed(self):
        self.serve("--", "kill -9 $$")
        self.ended("internal", 33, "", says=["signal 9"])

    def test_what_cannot_be_run(self):
        self.serve("--", "/no/such/program", "x")
        self.ended("internal", 33, "", says=["cannot be run", "No such file"])
        self.serve("--", "/no/such/program", service="shell")
        self.ended("unknown", 22, "", service="shell", says=["/no/such/program"])

    def test_reply_too_large(self):
        self.serve("--", "head", "-c", "1M", "/dev/zero")
        self.ended("failed_precondition", 29, "", says=["1048576 bytes", "ring_bytes"])
        self.serve("--", "yes", service="endless")
        self.ended("failed_precondition", 29, "", service="endless", says=["more than 32 MiB"])

    def test_unknown_names(self):
        self.serve("--", "cat", service="weather", method="latest")
        self.ended("unimplemented", 32, "", service="weather", method="lastet", says=["did you mean 'latest'?"])
        error = self.arus("rpc", "call", "waether", "latest", "", code=25).err
        self.assertIn("ended with not_found", error)
        self.assertIn("did you mean 'weather'?", error)
        self.assertIn("did you mean 'weather'?", self.arus("rpc", "describe", "waether", code=3).err)
        self.assertIn("did you mean 'weather'?", self.arus("rpc", "stat", "waether", "--interval", "100ms", code=3).err)

    def test_nobody_serves_any_more(self):
        self.finish(self.serve("--", "cat"), sends=signal.SIGTERM)
        self.assertIn("ended with unavailable", self.arus("rpc", "call", "s", "m", "", "--connect-timeout", "100ms", code=34).err)

    def test_deadline_in_the_past(self):
        self.serve("--", "cat")
        self.assertIn("past", self.arus("rpc", "call", "s", "m", "", "--deadline", "0", code=24).err)

    def test_wrong_size_for_a_type(self):
        self.helper()
        self.ended("invalid_argument", 23, "12345", service="helper", method="twice", says=["4 bytes", "5"])

    def test_a_handler_that_throws(self):
        self.helper()
        self.ended("internal", 33, "", service="helper", method="throws", says=["as it should"])

    def test_a_command_that_does_not_read(self):
        self.serve("--", "echo done")
        self.assertEqual(self.call(stdin=b"x" * (1 << 20)).out, "done\n")

    def test_a_command_that_closes_its_output_early(self):
        self.serve("--", "echo early; exec >&-; exit 30")
        self.ended("aborted", 30, "")


class Serve(RpcTest):
    def test_environment(self):
        self.serve("--", 'echo "$ARUS_RPC_SERVICE $ARUS_RPC_METHOD $ARUS_RPC_SECONDS"')
        service, method, seconds = self.call("").out.split()
        self.assertEqual((service, method), ("s", "m"))
        self.assertGreater(float(seconds), 1)

    def test_several_at_once(self):
        os.mkfifo(self.path("meeting"))
        self.serve("-j", "2", "--", f'read way; case $way in in) cat {self.path("meeting")};; out) echo hello >{self.path("meeting")};; esac')
        first = self.begin("in\n")
        self.call("out\n")
        self.assertEqual(self.finish(first).out, "hello\n")

    def test_calls_wait_in_the_queue_up_to_its_limit(self):
        self.serve("-j", "1", "--queue", "1", "--", f'echo $$ >>{self.path("began")}; read x <{self.path("gate")}; cat')
        os.mkfifo(self.path("gate"))
        first = self.begin("one")
        wait_until(lambda: os.path.exists(self.path("began")), "the first one runs")
        second = self.begin("two")
        wait_until(lambda: self.describe_service()["servers"][0]["outstanding"] == 2, "the second one waits")
        self.assertIn("ended with resource_exhausted", self.call("three", code=28).err)
        for _ in range(2):
            with open(self.path("gate"), "w", encoding="ascii") as gate:
                gate.write("go\n")
            wait_until(lambda: first.poll() is not None, "the first one is done")
        self.assertEqual(self.finish(first).out, "one")
        self.assertEqual(self.finish(second).out, "two")

    def test_the_deadline_kills_the_command_and_what_it_started(self):
        self.serve("--", f'sleep 1000 & echo $! >{self.path("child")}; echo $$ >{self.path("shell")}; wait')
        self.arus("rpc", "call", "s", "m", "", "--deadline", "1s", "--connect-timeout", "60s", code=24)
        for name in ("child", "shell"):
            pid = self.pid_in(name)
            wait_until(lambda: not is_alive(pid), f"{name} is dead")
        wait_until(lambda: self.describe_service()["servers"][0]["outstanding"] == 0, "the call is over")
        # What the server saw first: that the time was up, or that the caller had gone.
        ended = self.describe_service()["servers"][0]["methods"][0]["ended"]
        self.assertIn(ended, ({"deadline_exceeded": 1}, {"cancelled": 1}))

    def test_one_that_ignores_sigterm(self):
        self.serve("--", f'trap "" TERM; echo $$ >{self.path("pid")}; while :; do sleep 1; done')
        self.arus("rpc", "call", "s", "m", "", "--deadline", "1s", "--connect-timeout", "60s", code=24)
        pid = self.pid_in("pid")
        wait_until(lambda: not is_alive(pid), "it is dead")

    def test_an_interrupted_caller_cancels(self):
        self.serve("--", f'echo $$ >{self.path("pid")}; exec sleep 1000')
        caller = self.begin("")
        pid = self.pid_in("pid")
        self.finish(caller, code=130, sends=signal.SIGINT)
        wait_until(lambda: not is_alive(pid), "the command is dead")
        wait_until(lambda: self.describe_service()["servers"][0]["outstanding"] == 0, "the call is over")

    def test_a_killed_caller(self):
        self.serve("--", f'echo $$ >{self.path("pid")}; exec sleep 1000')
        caller = self.begin("")
        pid = self.pid_in("pid")
        caller.kill()
        wait_until(lambda: not is_alive(pid), "the command is dead")

    def test_a_killed_server(self):
        server = self.serve("--", f'echo $$ >{self.path("pid")}; exec sleep 1000')
        caller = self.begin("")
        pid = self.pid_in("pid")
        server.kill()
        self.assertIn("ended with unavailable", self.finish(caller, code=34).err)
        wait_until(lambda: not is_alive(pid), "the command is dead")

    def test_stop_drains(self):
        os.mkfifo(self.path("gate"))
        server = self.serve("--drain", "60s", "--json", "--", f'echo $$ >{self.path("pid")}; cat {self.path("gate")}')
        caller = self.begin("")
        self.pid_in("pid")
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: self.describe_service()["servers"][0]["state"] == "draining", "it drains")
        self.assertIn("ended with unavailable", self.arus("rpc", "call", "s", "m", "", code=34).err)
        with open(self.path("gate"), "w", encoding="ascii") as gate:
            gate.write("the reply")
        self.assertEqual(self.finish(caller).out, "the reply")
        report = self.finish(server).json
        self.assertEqual(list(report), ["service", "method", "calls", "refused", "dropped", "seconds"])
        self.assertEqual((report["service"], report["method"], report["dropped"]), ("s", "m", 0))
        self.assertEqual(self.live_servers("s"), 0)

    def test_drain_does_not_wait_for_ever(self):
        server = self.serve("--drain", "100ms", "--", f'echo $$ >{self.path("pid")}; exec sleep 1000')
        caller = self.begin("")
        pid = self.pid_in("pid")
        self.finish(server, sends=signal.SIGTERM)
        self.assertIn("ended with unavailable", self.finish(caller, code=34).err)
        self.assertFalse(is_alive(pid))

    def test_what_it_says(self):
        server = self.serve("--", "echo oops >&2; cat")
        self.call("")
        said = self.finish(server, sends=signal.SIGINT)
        self.assertEqual(said.out, "")
        self.assertGolden(said.err, """
arus: serving m of s on <.*>/bus, <[0-9]+> at once; Ctrl-C ends it
oops
arus: 1 call in <[0-9.]+> s; 0 refused, 0 replies that nobody waited for
""")
        quiet = self.serve("-q", "--", "cat", service="quiet")
        self.assertEqual(self.finish(quiet, sends=signal.SIGTERM).err, "")

    def test_calls_are_spread_over_servers(self):
        for name in ("one", "two"):
            os.mkfifo(self.path(name))
            self.serve("--idempotent", "--", f'echo {name}; cat {self.path(name)}')
        first = self.begin("")
        wait_until(lambda: self.outstanding() == [0, 1], "one server has a call")
        second = self.begin("")
        wait_until(lambda: self.outstanding() == [1, 1], "the other one has the next")
        for name in ("one", "two"):
            with open(self.path(name), "w", encoding="ascii"):
                pass
        self.assertEqual({self.finish(first).out, self.finish(second).out}, {"one\n", "two\n"})

    def outstanding(self):
        return sorted(server["outstanding"] for server in self.describe_service()["servers"])


class Seen(RpcTest):
    def test_list(self):
        self.arus("bus", "create")
        self.assertEqual(self.arus("rpc", "list").out, f"no services on {self.bus}\n")
        self.assertEqual(self.arus("rpc", "list", "--json").json, {"bus": self.bus, "services": []})
        self.serve("--", "cat")
        self.call("")
        self.helper()
        self.assertGolden(self.arus("rpc", "list").out, """
SERVICE  SERVERS  CLIENTS  IN FLIGHT  CALLS  METHODS
helper         1        0          0      0  count, never, throws, twice
s              1        <[01]>          0      1  m
""")
        listed = self.arus("rpc", "list", "--json").json["services"]
        self.assertEqual(list(listed[0]), ["name", "servers", "clients", "outstanding", "calls", "methods"])
        self.assertEqual(listed[1]["methods"], ["m"])

    def test_describe(self):
        self.helper()
        self.call(service="helper", method="twice", stdin=b"1234")
        self.call("12", service="helper", method="twice", code=23)
        self.call("", service="helper", method="throws", code=33)
        self.assertGolden(self.arus("rpc", "describe", "helper").out, """
helper
  pid <[0-9]+> (rpc_service), serving, for <.*>; <[01]> client<s?>, 0 of at most 1024 calls in flight, no workers
    method  request  reply  calls<\\s+>p50<\\s+>p99  kind        errors
    twice       4 B    8 B      1<\\s+[0-9.]+ .?s\\s+[0-9.]+ .?s>  -           -
    count       any    any      0<\\s+>-<\\s+>-  streaming   -
    never       any    any      0<\\s+>-<\\s+>-  -           -
    throws      any    any      1<\\s+[0-9.]+ .?s\\s+[0-9.]+ .?s>  idempotent  internal 1
""")
        found = self.describe_service("helper")
        self.assertEqual(list(found["servers"][0]), SERVER)
        self.assertEqual([list(method) for method in found["servers"][0]["methods"]], [METHOD] * 4)
        twice, count, _, throws = found["servers"][0]["methods"]
        self.assertEqual((twice["request_bytes"], twice["reply_bytes"], twice["ended"]), (4, 8, {"ok": 1}))
        self.assertGreater(twice["p50_ns"], 0)
        self.assertEqual((count["request_bytes"], count["streaming"], count["p99_ns"]), (None, True, None))
        self.assertEqual((throws["idempotent"], throws["ended"]), (True, {"internal": 1}))

    def test_describe_shows_what_can_be_read(self):
        self.serve("--", "cat")
        found = self.arus("rpc", "describe", "s", "none", "--json", code=3).json["services"]
        self.assertEqual([one["name"] for one in found], ["s", "none"])
        self.assertEqual(found[1]["error"]["code"], "not_found")

    def test_calls_in_flight(self):
        self.helper()
        caller = self.begin("", service="helper", method="never")
        wait_until(lambda: self.describe_service("helper")["servers"][0]["outstanding"] == 1, "the call is in flight")
        self.assertEqual(self.arus("rpc", "list", "--json").json["services"][0]["clients"], 1)
        seen = self.arus("rpc", "stat", "--json", "--interval", "100ms").json
        self.assertEqual({method["outstanding"] for method in seen["methods"]}, {1})
        self.finish(caller, code=143, sends=signal.SIGTERM)

    def test_stat(self):
        self.serve("--", "cat")
        self.call("")
        self.call("", method="none", code=32)
        self.assertGolden(self.arus("rpc", "stat", "--interval", "100ms").out, """
SERVICE  METHOD  CALLS/S  IN FLIGHT<\\s+>P50<\\s+>P99  CALLS  SERVER<\\s+>ERRORS
s        m             0          0<\\s+[0-9.]+ .?s\\s+[0-9.]+ .?s>      1  pid <[0-9]+> (arus)<\\s+>-
""")
        seen = self.arus("rpc", "stat", "s", "--interval", "100ms", "-c", "2", "--json").objects
        self.assertEqual(len(seen), 2)
        self.assertEqual(list(seen[0]), ["bus", "time", "seconds", "methods"])
        self.assertEqual(list(seen[0]["methods"][0]), ["service", "server", "calls_per_second", "outstanding", *METHOD])

    def test_stat_sees_calls_as_they_come(self):
        self.helper()
        watcher = self.start("rpc", "stat", "--json", "--interval", "100ms", "-c", "0")
        rate = 0
        while rate == 0:
            self.call(service="helper", method="twice", stdin=b"1234")
            rate = json.loads(watcher.stdout.readline())["methods"][0]["calls_per_second"]
        self.finish(watcher, sends=signal.SIGINT)

    def test_a_dead_server(self):
        server = self.serve("--", "cat")
        server.kill()
        server.wait()
        wait_until(lambda: self.live_servers("s") == 0, "it counts as dead")
        for found in self.describe_service()["servers"]:
            self.assertEqual(found["state"], "dead")
        self.assertEqual(self.arus("rpc", "stat", "--interval", "100ms").out, f"no live servers on {self.bus}\n")


class Help(CliTest):
    def test_every_command_explains_itself(self):
        for command in (["rpc"], ["rpc", "list"], ["rpc", "describe"], ["rpc", "stat"], ["rpc", "call"], ["rpc", "serve"]):
            with self.subTest(command):
                text = self.arus(*command, "--help").out
                self.assertIn(f"Usage: arus {' '.join(command)}", text)
                for line in text.splitlines():
                    self.assertLessEqual(len(line), 110, line)
                if len(command) == 2:
                    self.assertRegex(text, r"\nExamples:\n  (arus|head) ")
                    self.assertIn("JSON", text)


class Usage(RpcTest):
    def test_wrong_arguments(self):
        for arguments, words in ((["rpc"], "arus rpc --help"), (["rpc", "call"], "SERVICE"), (["rpc", "call", "s"], "METHOD"),
                                 (["rpc", "call", "s", "m", "x", "y"], "arus rpc call --help"), (["rpc", "describe"], "SERVICE"),
                                 (["rpc", "call", "s", "m", "x", "--deadline", "soon"], "'soon' is not a duration"),
                                 (["rpc", "call", "s", "m", "x", "--connect-timeout", "-1"], "is not a duration"),
                                 (["rpc", "call", "s", "m", "x", "--ring-bytes", "big"], "'big' is not a size"),
                                 (["rpc", "serve", "s", "m"], "COMMAND"), (["rpc", "serve", "s", "m", "-j", "0", "--", "cat"], "--jobs"),
                                 (["rpc", "serve", "s", "m", "-j", "257", "--", "cat"], "--jobs"),
                                 (["rpc", "serve", "s", "m", "--queue", "-1", "--", "cat"], "--queue"),
                                 (["rpc", "serve", "s", "m", "--mode", "rwx", "--", "cat"], "is not a mode"),
                                 (["rpc", "stat", "--interval", "often"], "is not a duration"), (["rpc", "stat", "-c", "x"], "--count")):
            with self.subTest(arguments):
                self.assertIn(words, self.arus(*arguments, code=2).err)
        self.assertFalse(os.path.exists(self.bus))

    def test_names_that_cannot_be(self):
        self.arus("bus", "create")
        self.assertIn("a/b", self.arus("rpc", "call", "a/b", "m", "x", code=2).err)
        self.assertIn("a/b", self.arus("rpc", "serve", "a/b", "m", "--", "cat", code=2).err)
        self.assertIn("a/b", self.arus("rpc", "serve", "s", "a/b", "--", "cat", code=2).err)
        self.assertIn("a/b", self.arus("rpc", "describe", "a/b", code=2).err)
        self.assertEqual(self.live_servers("s"), 0)

    def test_a_ring_that_cannot_be(self):
        self.arus("bus", "create")
        self.assertIn("power of two", self.arus("rpc", "call", "s", "m", "x", "--ring-bytes", "300000", code=2).err)
        self.assertIn("ring_bytes", self.arus("rpc", "call", "s", "m", "x", "--ring-bytes", "1G", code=2).err)
        self.serve("--", "cat")
        self.assertEqual(self.call("x", "--ring-bytes", "1").out, "x")

    def test_a_request_that_no_ring_takes(self):
        self.serve("--", "cat")
        with open(self.path("zeros"), "wb") as file:
            file.truncate(33 << 20)
        with open(self.path("zeros"), "rb") as file:
            done = subprocess.run([ARUS, "rpc", "call", "s", "m"], stdin=file, capture_output=True, env=self.environment(), check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"32 MiB", done.stderr)

    def test_no_bus(self):
        for command in (["rpc", "list"], ["rpc", "describe", "s"], ["rpc", "stat"], ["rpc", "call", "s", "m", "x"]):
            self.assertIn(f"no bus at {self.bus}", self.arus(*command, code=3).err)
        self.assertFalse(os.path.exists(self.bus))

    @unittest.skipUnless(os.getuid() == 0, "only root can become another user")
    def test_permission(self):
        self.arus("bus", "create", "--mode", "1777")
        self.serve("--", "cat")
        for directory in (self.directory, os.path.dirname(self.directory)):
            os.chmod(directory, 0o711)
        done = self.arus("rpc", "call", "s", "m", "x", command=NOBODY, code=None)
        self.assertEqual(done.code, 27)
        self.assertIn("permission_denied", done.err)

    def test_interrupted_while_it_reads(self):
        self.serve("--", "cat")
        caller = self.begin()
        wait_until(lambda: os.path.exists(f"/proc/{caller.pid}/fd/0"), "it runs")
        self.finish_reading(caller)

    def finish_reading(self, caller):
        wait_until(lambda: len(os.listdir(f"/proc/{caller.pid}/task")) >= 2, "its thread for signals is there")
        caller.send_signal(signal.SIGINT)
        wait_until(lambda: caller.poll() is not None, "it ends")
        self.assertEqual(caller.returncode, 130)


if __name__ == "__main__":
    main()
