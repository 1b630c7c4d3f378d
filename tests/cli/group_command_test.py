"""arus group list | describe | reset | evict | delete, and members that share partitions."""

import os
import signal
import subprocess

from harness import CliTest, main, wait_until

SETTINGS = ["name", "generation", "delivery", "assignor", "evict_behind_records", "evict_behind_bytes", "stall_limit_ns", "grace_ns",
            "offsets_kept_ns", "empty_since", "members", "partitions"]
MEMBER = ["id", "instance", "process", "away", "topics", "partitions"]
PARTITION = ["topic", "partition", "committed", "end", "lag", "lag_bytes", "lost", "member", "process", "status", "holds_back"]

SHARED = ["topic", "partition", "settled_before", "end", "available", "acquired", "accepted", "rejected", "redelivered",
          "dead_lettered", "discarded", "lost"]


class GroupCommand(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")

    def group(self, name="g"):
        return self.arus("group", "describe", name, "--json").json["groups"][0]

    def committed(self):
        return [one["committed"] for one in self.group()["partitions"]]

    def member(self, *options):
        return self.start("consume", "t", "-g", "g", *options)

    def wait_for_readers(self, *counts):
        """Until the members read so many partitions each."""
        def shared():
            listed = self.arus("group", "list", "--json").json["groups"]
            return bool(listed) and sorted(one["partitions"] for one in listed[0]["members"]) == sorted(counts)
        wait_until(shared, f"members read {counts} partitions")
        self.wait_for_group("g", sum(counts))

    def test_shapes(self):
        self.produce(range(10))
        member = self.member("--instance", "left-hand")
        self.wait_for_readers(2)
        group = self.group()
        self.assertEqual(list(group), SETTINGS)
        self.assertEqual([list(one) for one in group["members"]], [MEMBER])
        self.assertEqual([list(one) for one in group["partitions"]], [PARTITION, PARTITION])
        self.assertEqual((group["delivery"], group["assignor"]), ("lossless", "sticky"))
        self.assertEqual(group["members"][0]["instance"], "left-hand")
        self.assertIn(f"pid {member.pid} ", group["partitions"][0]["process"])
        wait_until(lambda: sum(self.committed()) == 10, "all is settled")
        text = self.arus("group", "describe", "g").out
        for part in ("lossless: producers wait for it", "left-hand", "lossless", f"pid {member.pid} (arus)"):
            self.assertIn(part, text)
        self.assertRegex(self.arus("group", "list").out, r"\AGROUP +DELIVERY +MEMBERS .*\ng +lossless +1 +2 +0 +0 +live\n\Z")
        self.finish(member, sends=signal.SIGINT)

    def test_golden(self):
        for partition, count in (("0", 3), ("1", 2)):
            self.produce(range(count), "-p", partition)
        self.values("-g", "g")
        self.produce(["one more"], "-p", "1")
        self.assertGolden(self.arus("group", "list").out, """
GROUP  DELIVERY  MEMBERS  PARTITIONS  LAG  LOST  STATE
g      lossless        0           2    1     0  nobody reads
""")
        self.assertGolden(self.arus("group", "describe", "g").out, """
g
  delivery     lossless: producers wait for it; 10 s without a live member
  assignor     sticky
  offsets      kept for 7 d 0 h<( from .*)?| without members>
  generation   <\\d+>

  topic  partition  committed  end  lag  behind  lost  state     read by
  t              0          3    3    0     0 B     0  lossless  nobody
  t              1          2    3    1    64 B     0  lossless  nobody
""")

    def test_members_share_and_take_over(self):
        first = self.member()
        self.wait_for_readers(2)
        second = self.member()
        self.wait_for_readers(1, 1)
        second.kill()
        self.wait_for_readers(2)
        self.produce(range(50))
        wait_until(lambda: sum(self.committed()) == 50, "the first has read all")
        self.assertEqual(len(self.finish(first, sends=signal.SIGTERM).lines), 50)
        self.assertEqual(self.group()["members"], [])

    def test_an_instance_is_there_once(self):
        first = self.member("--instance", "one")
        self.wait_for_readers(2)
        error = self.arus("consume", "t", "-g", "g", "--instance", "one", code=6).err
        for part in ("'one'", f"pid {first.pid} ", "another instance name"):
            self.assertIn(part, error)
        error = self.arus("consume", "t", "-g", "g", "--lossy", code=6).err
        self.assertIn("delivery is lossy and not lossless", error)

    def test_reset(self):
        for partition in ("0", "1"):
            self.produce(range(10), "-p", partition)
        self.assertEqual(len(self.values("-g", "g")), 20)
        before = self.committed()
        shown = self.arus("group", "reset", "g", "--to-earliest")
        self.assertIn("--execute", shown.err)
        self.assertGolden(shown.out, f"""
TOPIC  PARTITION  FROM  TO  CHANGE
t              0  < *{before[0]}>   0  < *-{before[0]}>
t              1  < *{before[1]}>   0  < *-{before[1]}>
""")
        self.assertEqual(self.committed(), before, "a dry run changes nothing")
        done = self.arus("group", "reset", "g", "--to-earliest", "--execute", "--json").json
        self.assertEqual(done["moves"], [{"topic": "t", "partition": i, "from": before[i], "to": 0} for i in (0, 1)])
        self.assertEqual(self.committed(), [0, 0])
        self.assertEqual(len(self.values("-g", "g")), 20)
        self.arus("group", "reset", "g", "--by", "-1", "--partition", "1", "--execute")
        self.assertEqual(self.committed(), [before[0], before[1] - 1])
        self.arus("group", "reset", "g", "--to-offset", "3", "--execute")
        self.assertEqual(self.committed(), [3, 3])
        self.arus("group", "reset", "g", "--to-time", "-1h", "--execute")
        self.assertEqual(self.committed(), [0, 0])
        self.arus("group", "reset", "g", "--to-latest", "--execute")
        self.assertEqual(self.values("-g", "g"), [])

    def test_bad_resets(self):
        self.produce(range(4))
        self.values("-g", "g")
        self.assertIn("say where to", self.arus("group", "reset", "g", code=2).err)
        self.assertIn("exclude each other", self.arus("group", "reset", "g", "--to-latest", "--by", "1", code=2).err)
        self.assertIn("partitions 0 to 1, not 7", self.arus("group", "reset", "g", "--to-latest", "--partition", "7", code=2).err)
        self.assertIn("'x'", self.arus("group", "reset", "g", "--to-latest", "--topic", "x", code=3).err)
        self.assertIn("no group 'h'", self.arus("group", "reset", "h", "--to-latest", code=3).err)
        member = self.member()
        self.wait_for_readers(2)
        error = self.arus("group", "reset", "g", "--to-earliest", "--execute", code=6).err
        self.assertIn(f"pid {member.pid} ", error)
        self.assertIn("stop all members", error)

    def test_evict_lets_producers_go_on(self):
        member = self.member()
        self.wait_for_readers(2)
        member.send_signal(signal.SIGSTOP)
        value = "x" * 1000
        full = self.arus("produce", "t", "-p", "0", "--timeout", "200ms", stdin=f"{value}\n" * 100, code=None)
        self.assertNotEqual(full.code, 0)
        self.assertIn(f"pid {member.pid} ", full.err)
        self.assertTrue(self.group()["partitions"][0]["holds_back"])
        self.assertIn("HOLDS PRODUCERS BACK", self.arus("group", "describe", "g").out)
        self.assertIn("force", self.arus("group", "evict", "g", code=6).err)
        self.assertEqual(self.arus("group", "evict", "g", "--force", "--json").json["evicted"], 2)
        self.arus("produce", "t", "-p", "0", "--timeout", "20s", stdin=f"{value}\n" * 100)
        self.assertEqual(self.group()["partitions"][0]["status"], "evicted_by_hand")
        self.assertRegex(self.arus("group", "evict", "g", "--force").out,
                         r"\Agroup g holds no producer back any more: evicted from \d partitions?\n\Z")

    def test_share_groups(self):
        self.produce(range(10))
        reader = subprocess.Popen([os.path.join(os.environ["ARUS_HELPERS"], "idle_reader"), "share", "t"], env=self.environment())
        self.started.append(reader)

        def held():
            found = self.arus("group", "list", "--json").json["share_groups"]
            return bool(found) and sum(one["acquired"] for one in found[0]["partitions"]) == 10
        wait_until(held, "it has acquired all")
        everything = self.arus("group", "describe", "--json").json
        self.assertEqual(everything["groups"], [])
        shared = self.arus("group", "describe", "shared", "--json").json["share_groups"][0]
        self.assertEqual(shared, everything["share_groups"][0])
        self.assertEqual(list(shared), ["name", "max_deliveries", "dead_letter_topic", "grace_ns", "members", "partitions"])
        self.assertEqual(shared["members"], [{"topic": "t", "process": f"pid {reader.pid} (idle_reader)", "acquired": 10}])
        self.assertEqual([list(one) for one in shared["partitions"]], [SHARED] * 2)
        self.assertGolden(self.arus("group", "list").out, """
GROUP   DELIVERY  MEMBERS  PARTITIONS  LAG  LOST  STATE
shared  share           1           2   10     0  live
""")
        text = self.arus("group", "describe", "shared").out
        for part in ("share: each record to one member", "5 at most, then dropped", f"pid {reader.pid} (idle_reader)"):
            self.assertIn(part, text)
        self.assertIn("is a share group", self.arus("group", "evict", "shared", code=6).err)
        self.assertIn("is a share group", self.arus("group", "reset", "shared", "--to-latest", code=6).err)
        self.assertIn(f"pid {reader.pid} ", self.arus("group", "delete", "shared", code=6).err)
        reader.kill()
        reader.wait()
        self.assertEqual(self.arus("group", "delete", "shared").out, "deleted group shared\n")
        self.assertEqual(self.arus("group", "list", "--json").json["share_groups"], [])
        self.arus("group", "describe", "shared", code=3)
        self.arus("group", "delete", "shared", code=3)

    def test_delete(self):
        self.produce(range(4))
        self.values("-g", "g")
        member = self.member()
        self.wait_for_readers(2)
        self.assertIn(f"pid {member.pid} ", self.arus("group", "delete", "g", code=6).err)
        self.finish(member, sends=signal.SIGINT)
        self.assertEqual(self.arus("group", "delete", "g").out, "deleted group g\n")
        self.assertEqual(self.arus("group", "list", "--json").json["groups"], [])
        self.assertIn("no groups", self.arus("group", "list").err)
        self.assertEqual(len(self.values("-g", "g")), 4, "it begins anew")
        self.assertEqual(self.arus("group", "delete", "g", "--json").json, {"bus": self.bus, "deleted": ["g"]})


if __name__ == "__main__":
    main()
