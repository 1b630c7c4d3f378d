"""arus doctor: what it says about buses that are well and buses that are not, and what it repairs."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

from harness import ARUS, CliTest, main, wait_until

HELPERS = os.environ["ARUS_HELPERS"]
SEVERITIES = ["ok", "note", "warning", "error"]


class DoctorTest(CliTest):
    """The machine is one of files, so that only the bus can be wrong."""

    def setUp(self):
        super().setUp()
        self.root = os.path.join(self.directory, "root")
        self.machine("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
        self.machine("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size advise [never] deny force\n")

    def machine(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    def doctor(self, *options, code=None):
        """What it found about everything but space and cores, which are this machine's."""
        done = self.arus("doctor", "--root", self.root, "--json", *options, code=None)
        found = json.loads(done.out)
        found["findings"] = [finding for finding in found["findings"] if finding["code"] not in ("space", "cores")]
        found["exit"] = done.code
        if code is not None:
            self.assertEqual(done.code, code, done.out)
        return found

    def codes(self, found, least="note"):
        return [finding["code"] for finding in found["findings"] if SEVERITIES.index(finding["severity"]) >= SEVERITIES.index(least)]

    def arus(self, *arguments, code=0, **options):  # its exit code is a result, not an error
        if arguments[0] != "doctor":
            return super().arus(*arguments, code=code, **options)
        done = subprocess.run([ARUS, *arguments], capture_output=True, timeout=60, env=self.environment(), check=False, **options)

        class Done:
            out, err = done.stdout.decode(), done.stderr.decode()
        Done.code = done.returncode
        if code is not None:
            self.assertEqual(done.returncode, code, Done.out + Done.err)
        return Done

    def finding(self, found, code):
        matching = [finding for finding in found["findings"] if finding["code"] == code]
        self.assertEqual(len(matching), 1, found["findings"])
        return matching[0]

    def leave_open(self, topic="t"):
        """A producer that holds the record at offset 1 open."""
        holder = subprocess.Popen([os.path.join(HELPERS, "abort_loan"), topic, "hold"], env=self.environment(), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self.started.append(holder)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        return holder


class Well(DoctorTest):
    def test_golden(self):
        self.topic("t", "--partition-bytes", "64K")
        self.produce(["one"])
        self.start("produce", "t")
        wait_until(lambda: self.describe()["state"][0]["producers"] == 1, "the producer is attached")
        lines = self.arus("doctor", "--root", self.root, code=None).out.splitlines()
        lines = [line for line in lines if not re.match(r"\w+ +(space|cores|memory)|         ->", line)]
        self.assertGolden("\n".join(lines[:5]), f"""
bus {self.bus}
ok       bus: <.*> may read and write it (mode 0700, owner <.*>)
ok       bus: it is one that this version reads
ok       t: 1 record, 0/s, 1 producer, 0 readers
ok       clock: the clock source is tsc""")
        self.assertIn("nothing is wrong", lines[-1])

    def test_json(self):
        self.topic("t", "--partition-bytes", "64K")
        producer = self.start("produce", "t")
        wait_until(lambda: self.describe()["state"][0]["producers"] == 1, "the producer is attached")
        found = self.doctor(code=0)
        self.assertEqual(list(found), ["bus", "worst", "findings", "processes", "exit"])
        for finding in found["findings"]:
            self.assertEqual(list(finding), ["severity", "code", "subject", "message", "remedy", "repaired"])
            self.assertIn(finding["severity"], SEVERITIES)
        process = found["processes"][0]
        self.assertEqual(list(process), ["pid", "command", "user", "alive", "stopped", "age_seconds", "writes"])
        self.assertEqual((process["pid"], process["command"], process["alive"], process["stopped"], process["writes"]),
                         (producer.pid, "arus", True, False, ["t"]))

    def test_quiet(self):
        self.topic("t", "--partition-bytes", "64K")
        self.assertNotIn("ok  ", self.arus("doctor", "-q", "--root", self.root, code=None).out)


class Directory(DoctorTest):
    def test_no_bus(self):
        found = self.doctor(code=3)
        self.assertEqual(found["worst"], "error")
        self.assertIn(self.bus, self.finding(found, "bus")["message"])
        self.assertIn("--bus", self.finding(found, "bus")["remedy"])
        self.assertFalse(os.path.exists(self.bus))
        os.mkdir(self.bus)
        self.assertIn("not a bus", self.finding(self.doctor(code=3), "bus")["message"])

    def test_permissions(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        self.topic("t", "--partition-bytes", "64K")

        def other():
            os.setgid(65534)
            os.setuid(65534)

        refused = json.loads(self.arus("doctor", "--json", code=4, preexec_fn=other).out)
        self.assertIn("may not be entered by nobody (mode 0700, owner root)", self.finding(refused, "permission")["message"])
        for directory in ("", "leases", "topics", "topics/t", "tmp"):
            os.chmod(os.path.join(self.bus, directory), 0o755)
        os.chmod(os.path.join(self.bus, "bus"), 0o644)
        observed = json.loads(self.arus("doctor", "--json", code=None, preexec_fn=other).out)
        messages = [finding["message"] for finding in observed["findings"] if finding["code"] == "permission"]
        self.assertTrue(any("may only observe" in message for message in messages), messages)
        self.assertTrue(any("may not read its file" in message for message in messages), messages)
        os.chmod(self.bus, 0o777)
        self.assertIn("anybody may delete the bus", json.dumps(self.doctor(code=11)))

    def test_foreign_files(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give files away")
        self.topic("t", "--partition-bytes", "64K")
        os.chown(os.path.join(self.bus, "topics", "t", "0"), 65534, -1)
        self.assertIn("user nobody", self.finding(self.doctor(), "foreign_files")["message"])

    def test_damaged_and_of_another_version(self):
        for name in ("broken", "new", "t"):
            self.topic(name, "--partition-bytes", "64K")
        with open(os.path.join(self.bus, "topics", "broken", "0"), "r+b") as file:
            file.write(b"garbage!")
        with open(os.path.join(self.bus, "topics", "new", "topic"), "r+b") as file:
            file.seek(8)
            file.write(b"\x63")
        found = self.doctor(code=7)
        self.assertIn("arus topic delete broken", self.finding(found, "corrupt")["remedy"])
        self.assertIn("version 99", self.finding(found, "version_mismatch")["message"])
        self.assertIn("topic", self.codes(found, "ok"), "the third is well")

    def test_schema(self):
        self.topic("t", "--partition-bytes", "64K", "--schema", "Frame/1")
        self.assertEqual(self.codes(self.doctor("--schema", "Frame/1"), "warning"), [])
        self.assertIn("'Frame/1' and not 'Frame/2'", self.finding(self.doctor("--schema", "Frame/2", code=12), "schema")["message"])


class Processes(DoctorTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def test_the_dead_are_named(self):
        reader = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        reader.kill()
        reader.wait()
        found = self.doctor()
        self.assertIn(f"pid {reader.pid} (arus), dead", self.finding(found, "dead_process")["message"])
        self.assertTrue(self.finding(found, "dead_process")["repaired"])
        self.assertNotIn("dead_process", self.codes(self.doctor()))

    def test_the_stopped_are_named(self):
        reader = self.start("consume", "t")
        self.wait_for_readers(1)
        os.kill(reader.pid, signal.SIGSTOP)
        wait_until(lambda: self.doctor()["processes"][0]["stopped"], "it is stopped")
        stopped = self.finding(self.doctor(code=11), "stopped_process")
        self.assertIn(f"pid {reader.pid} (arus), attached for", stopped["message"])
        self.assertIn(f"kill -CONT {reader.pid}", stopped["remedy"])

    def test_scratch_of_the_dead(self):
        os.mkdir(os.path.join(self.bus, "tmp", f"{0xdeaddeaddead:016x}-{1:016x}"))
        self.assertIn("scratch", self.codes(self.doctor()))
        self.assertEqual(os.listdir(os.path.join(self.bus, "tmp")), [])

    def test_a_record_held_open(self):
        holder = self.leave_open()
        found = self.finding(self.doctor(code=11), "open_claim")
        self.assertEqual((found["severity"], found["subject"]), ("warning", "t"))
        self.assertIn(f"offset 1 of partition 0 is held open by pid {holder.pid}", found["message"])
        os.kill(holder.pid, signal.SIGSTOP)
        wait_until(lambda: self.doctor()["worst"] == "error", "it is stopped")
        found = self.finding(self.doctor(code=12), "open_claim")
        self.assertIn("which is stopped: readers wait there", found["message"])
        self.assertIn(f"kill -CONT {holder.pid}", found["remedy"])

    def test_a_record_left_open_is_repaired(self):
        holder = self.leave_open()
        holder.kill()
        holder.wait()
        found = self.doctor(code=11)
        self.assertIn(f"left open by pid {holder.pid} (abort_loan), dead", self.finding(found, "dead_claim")["message"])
        self.assertIn("dead_claim", self.codes(self.doctor(code=11)), "without --repair it stays")
        repaired = self.finding(self.doctor("--repair", code=0), "dead_claim")
        self.assertEqual((repaired["repaired"], repaired["message"]), (True, "1 record left open by producers that died; settled"))
        self.assertNotIn("dead_claim", self.codes(self.doctor("--repair", code=0)), "a second time there is nothing to do")
        self.produce(["after"])
        self.assertEqual(self.values(), ["before", "after"])

    def test_repairs_at_once(self):
        for _ in range(3):
            holder = self.leave_open()
            holder.kill()
            holder.wait()
        doctors = [self.start("doctor", "--repair", "--json", "--root", self.root) for _ in range(4)]
        for doctor in doctors:
            self.finish(doctor)
        self.assertNotIn("dead_claim", self.codes(self.doctor()))


class KilledRepair(DoctorTest):
    """A repair that is killed at some moment: nothing is lost, and the next one finishes."""

    TOPICS = [f"t{number}" for number in range(6)]
    ROUNDS = 12

    def setUp(self):
        super().setUp()
        for topic in self.TOPICS:
            self.topic(topic, "--partition-bytes", "64K")
            self.produce(["first"], topic=topic)

    def leave_dead(self):
        """In each topic a record that a dead producer left open; and a group with two dead members."""
        holders = [self.leave_open(topic) for topic in self.TOPICS for _ in range(2)]
        members = [self.start("consume", *self.TOPICS, "-g", "g", stdout=subprocess.DEVNULL) for _ in range(2)]
        wait_until(lambda: len(self.members()) == 2, "both are members")
        for process in holders + members:
            process.kill()
            process.wait()

    def members(self):
        groups = self.arus("group", "list", "--json").json["groups"]
        return groups[0]["members"] if groups else []

    def test_killed_at_any_moment(self):
        chance = random.Random(20)
        began = time.monotonic()
        self.doctor("--repair")
        whole = time.monotonic() - began
        unfinished = 0
        for number in range(self.ROUNDS):
            self.leave_dead()
            victim = self.start("doctor", "--repair", "--json", "--root", self.root)
            # Most while it repairs, which is at its beginning; and none before it has opened the bus.
            while victim.poll() is None and not self.lease_of(victim):
                pass
            if number % 3 > 0:
                time.sleep(chance.uniform(0, 0.003 if number % 3 == 1 else whole))
            victim.kill()
            victim.wait()
            second = self.doctor("--repair")
            unfinished += any(finding["repaired"] and finding["code"] in ("dead_claim", "dead_member") for finding in second["findings"])
            third = self.doctor("--repair")
            for code in ("dead_claim", "dead_member", "open_claim", "repair", "corrupt"):
                self.assertNotIn(code, self.codes(third), third)
            for topic in self.TOPICS:
                self.produce(["after"], topic=topic)
                self.assertEqual(self.values("-q", topic=topic), ["first"] + ["before", "before", "after"] * (number + 1), topic)
        print(f"{unfinished} of {self.ROUNDS} were killed before they had finished", flush=True)

    def lease_of(self, process):
        for name in os.listdir(os.path.join(self.bus, "leases")):
            try:
                with open(os.path.join(self.bus, "leases", name), encoding="ascii") as file:
                    if file.read().startswith(f"{process.pid} "):
                        return True
            except FileNotFoundError:
                pass
        return False


class Groups(DoctorTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def fill(self):
        self.arus("produce", "t", "--timeout", "100ms", stdin="x\n" * 20000, code=None)

    def test_a_stopped_reader_holds_producers_back(self):
        reader = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        os.kill(reader.pid, signal.SIGSTOP)
        self.fill()
        found = self.finding(self.doctor(code=12), "holds_back")
        self.assertEqual(found["subject"], "t/g")
        self.assertIn(f"and pid {reader.pid} (arus) is stopped", found["message"])
        os.kill(reader.pid, signal.SIGCONT)
        wait_until(lambda: "holds_back" not in self.codes(self.doctor()), "it reads on")

    def test_a_stopped_member_of_a_share_group_holds_producers_back(self):
        member = subprocess.Popen([os.path.join(HELPERS, "idle_reader"), "share", "t"], env=self.environment())
        self.started.append(member)
        wait_until(lambda: self.arus("group", "list", "--json", code=None).out.find(f"pid {member.pid} ") > 0, "it is a member")
        os.kill(member.pid, signal.SIGSTOP)
        self.fill()
        found = self.finding(self.doctor(code=12), "holds_back")
        self.assertEqual(found["subject"], "t/shared")
        self.assertIn(f"and pid {member.pid} (idle_reader) is stopped", found["message"])
        self.assertIn("goes to the other members", found["remedy"])

    def test_dead_members_are_taken_out(self):
        reader = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        reader.kill()
        reader.wait()
        self.assertIn("1 member of the group died", self.finding(self.doctor(), "dead_member")["message"])
        self.assertTrue(self.finding(self.doctor("--repair"), "dead_member")["repaired"])
        self.assertNotIn("dead_member", self.codes(self.doctor()))

    def test_doorbells_of_the_dead(self):
        fifos = os.path.join(self.bus, "fifos")
        members = [self.start("consume", "t", "-g", "g") for _ in range(3)]  # with company they sleep on descriptors
        wait_until(lambda: len(os.listdir(fifos)) == 3, "all have a doorbell")
        for member in members[:2]:
            member.kill()
            member.wait()
        self.assertIn("2 doorbells", self.finding(self.doctor(), "dead_fifo")["message"])
        self.assertEqual(len(os.listdir(fifos)), 3)
        self.assertTrue(self.finding(self.doctor("--repair"), "dead_fifo")["repaired"])
        self.assertEqual(len(os.listdir(fifos)), 1, "the live one's stays")
        self.assertNotIn("dead_fifo", self.codes(self.doctor("--repair")))
        self.finish(members[2], sends=signal.SIGTERM)

    def test_nobody_reads(self):
        self.produce(["one", "two"])
        self.arus("consume", "t", "-g", "g", "-c", "1")
        self.assertIn("1 record behind", self.finding(self.doctor(), "no_reader")["message"])

    def test_limits(self):
        self.topic("small", "--partition-bytes", "64K", "--max-producers", "1", "--max-groups", "1")
        self.start("produce", "small")
        wait_until(lambda: self.describe("small")["state"][0]["producers"] == 1, "the producer is attached")
        self.arus("consume", "small", "-g", "g", "-e")
        limits = [finding["message"] for finding in self.doctor(code=11)["findings"] if finding["code"] == "limit"]
        self.assertEqual(len(limits), 2, limits)


class Machine(DoctorTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "64K")

    def test_clock_source(self):
        self.machine("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
        self.assertIn("hpet", self.finding(self.doctor(code=11), "clock_source")["message"])

    def test_huge_pages(self):
        self.assertIn("never", self.finding(self.doctor(), "huge_pages")["message"])

    def test_memory(self):
        self.machine("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n")
        kind = subprocess.run(["stat", "-f", "-c", "%T", self.bus], capture_output=True, check=True).stdout.strip()
        self.assertEqual("memory" in self.codes(self.doctor()), kind == b"tmpfs")

    def test_remove_ipc(self):
        if os.geteuid() != 0 or not self.bus.startswith("/dev/shm/"):
            self.skipTest("needs root and /dev/shm")
        os.makedirs(os.path.join(self.root, "run/systemd/system"))
        self.assertNotIn("remove_ipc", self.codes(self.doctor(), "ok"), "root's files are left alone")
        os.chown(self.bus, 12345, -1)
        found = self.finding(self.doctor(code=11), "remove_ipc")
        self.assertIn("when user 12345 logs out", found["message"])
        self.machine("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\nRemoveIPC = no\n")
        self.assertEqual(self.finding(self.doctor(), "remove_ipc")["severity"], "ok")
        self.machine("usr/lib/systemd/logind.conf.d/50-x.conf", "[Login]\nRemoveIPC=yes\n")
        self.assertEqual(self.finding(self.doctor(), "remove_ipc")["severity"], "warning")
        self.machine("var/lib/systemd/linger/12345", "")
        self.assertEqual(self.finding(self.doctor(), "remove_ipc")["severity"], "ok")

    def test_space(self):
        mount = os.path.join(self.directory, "small")
        os.mkdir(mount)
        script = f'mount -t tmpfs -o size=2m none "{mount}" && exec "$@"'
        command = ["unshare", "-m", "bash", "-c", script, "bash", ARUS]
        if subprocess.run([*command[:-1], "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("cannot mount here")
        done = subprocess.run([*command, "--bus", os.path.join(mount, "bus"), "doctor", "--json"], capture_output=True, check=False)
        found = json.loads(done.stdout)
        space = [finding for finding in found["findings"] if finding["code"] == "space"][0]
        self.assertEqual(space["severity"], "warning")
        self.assertIn("2 MiB left", space["message"])
        shutil.rmtree(mount, ignore_errors=True)


if __name__ == "__main__":
    main()
