"""arus topic create | list | describe | delete."""

import os
import stat

from harness import CliTest, main

SETTINGS = {"name", "partitions", "partition_bytes", "producers", "back_pressure", "schema", "record_size", "max_producers",
            "max_groups", "mode", "group", "max_record_bytes", "bytes_reserved", "bytes_used", "records", "readers", "state", "groups"}


class Create(CliTest):
    def test_makes_the_bus_and_the_topic(self):
        self.assertGolden(self.topic("weather", "-p", "4", "--partition-bytes", "64K").out,
                          f"created topic weather on {self.bus}: 4 partitions of 64 KiB, largest record <[0-9.]+ KiB>, "
                          "<[0-9.]+ KiB> reserved\n")
        self.assertEqual(self.arus("topic", "list", "--json").json["topics"][0]["name"], "weather")

    def test_json(self):
        created = self.arus("topic", "create", "t", "--partition-bytes", "64K", "--json").json
        self.assertEqual(list(created), ["bus", "created", "topic"])
        self.assertEqual((created["bus"], created["created"]), (self.bus, True))
        self.assertEqual(set(created["topic"]), SETTINGS)

    def test_every_setting_is_kept(self):
        self.topic("t", "-p", "2", "--partition-bytes", "0.25M", "--single-producer", "--no-back-pressure", "--schema", "Frame/2",
                   "--record-size", "48", "--max-producers", "7", "--max-groups", "3", "--mode", "0640", "--group", str(os.getgid()))
        found = self.describe()
        expected = {"partitions": 2, "partition_bytes": 262144, "producers": "single", "back_pressure": False, "schema": "Frame/2",
                    "record_size": 48, "max_producers": 7, "max_groups": 3, "mode": "0640"}
        self.assertEqual({name: found[name] for name in expected}, expected)
        mode = os.stat(os.path.join(self.bus, "topics", "t", "0")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o640)

    def test_twice_is_refused_unless_it_may_exist(self):
        self.topic("t", "--partition-bytes", "64K")
        error = self.arus("topic", "create", "t", "--partition-bytes", "64K", code=6).err
        self.assertIn("exists already", error)
        again = self.arus("topic", "create", "t", "--partition-bytes", "64K", "--if-not-exists")
        self.assertTrue(again.out.startswith("already there: topic t on "), again.out)
        self.assertFalse(self.arus("topic", "create", "t", "--partition-bytes", "64K", "--if-not-exists", "--json").json["created"])
        other = self.arus("topic", "create", "t", "--partition-bytes", "64K", "-p", "2", "--if-not-exists", code=6).err
        self.assertRegex(other, "partitions.*(1.*2|2.*1)")

    def test_wrong_arguments_do_nothing(self):
        for arguments, message in [
                (["a/b"], "character 2"),
                ([".."], "cannot be a topic"),
                (["x" * 250], "249"),
                (["t", "--partition-bytes", "1000"], "65536"),
                (["t", "--partition-bytes", "100K"], "power of two"),
                (["t", "--partition-bytes", "8Q"], "--partition-bytes: '8Q' is not a size"),
                (["t", "--partition-bytes", ""], "is not a size"),
                (["t", "--partition-bytes", "-8M"], "is not a size"),
                (["t", "-p", "0"], "partitions"),
                (["t", "-p", "many"], "many"),
                (["t", "--mode", "0999"], "--mode: '0999' is not a mode"),
                (["t", "--max-producers", "100000"], "4000"),
                (["t", "--group", "no-such-group"], "no-such-group"),
                (["t", "--colour", "red"], "--colour"),
                ([], "NAME"),
                (["t", "u"], "u")]:
            with self.subTest(arguments):
                # A group is looked up in the system's files, and is not found there.
                error = self.arus("topic", "create", *arguments, code=None)
                self.assertIn(error.code, (2, 3), error.err)
                self.assertIn(message, error.err)
                self.assertFalse(os.path.exists(os.path.join(self.bus, "topics", "t")))

    def test_errors_as_json(self):
        failed = self.arus("topic", "create", "a/b", "--json", code=2)
        self.assertEqual(list(failed.json), ["error"])
        self.assertEqual(list(failed.json["error"]), ["code", "message", "exit"])
        self.assertEqual((failed.json["error"]["code"], failed.json["error"]["exit"]), ("invalid_argument", 2))
        self.assertEqual(failed.err, f"arus: {failed.json['error']['message']}\n")

    def test_bus_of_the_command_line_comes_before_the_environment(self):
        other = os.path.join(self.directory, "other")
        for place in (["--bus", other, "topic", "create", "a"], ["topic", "create", "b", "--bus", other]):
            self.arus(*place, "--partition-bytes", "64K")
        self.assertEqual(sorted(os.listdir(os.path.join(other, "topics"))), ["a", "b"])
        self.assertFalse(os.path.exists(self.bus))


class List(CliTest):
    def test_golden(self):
        self.topic("weather", "-p", "4", "--partition-bytes", "64K")
        self.topic("log", "--partition-bytes", "1M")
        self.produce(["one", "two"], topic="log")
        self.assertGolden(self.arus("topic", "list").out, """
TOPIC    PARTITIONS  RECORDS  USED<  +>RESERVED  READERS  GROUPS
log               1        2  64 B<  +[0-9.]+ MiB>        0       0
weather           4        0   0 B<  +[0-9.]+ KiB>        0       0
""")

    def test_json(self):
        self.topic("a", "--partition-bytes", "64K")
        listed = self.arus("topic", "list", "--json").json
        self.assertEqual(list(listed), ["bus", "topics"])
        self.assertEqual(set(listed["topics"][0]), SETTINGS)

    def test_empty(self):
        self.topic()
        self.arus("topic", "delete", "t")
        listed = self.arus("topic", "list")
        self.assertEqual(listed.out, "")
        self.assertIn("no topics on", listed.err)
        self.assertEqual(self.arus("topic", "list", "--json").json, {"bus": self.bus, "topics": []})

    def test_does_not_make_a_bus(self):
        error = self.arus("topic", "list", code=3).err
        self.assertIn(self.bus, error)
        self.assertIn("--bus", error)
        self.assertFalse(os.path.exists(self.bus))


class Describe(CliTest):
    def test_golden(self):
        self.topic("t", "-p", "2", "--partition-bytes", "64K")
        self.produce(["one", "two", "three"], "-p", "1")
        self.values("-g", "g")
        self.assertGolden(self.arus("topic", "describe", "t").out, """
t
  partitions   2 of 64 KiB, <[0-9]+> KiB reserved
  records      3; at most <[0-9.]+> KiB each
  schema       any
  producers    many, at most <[0-9]+> per partition
  delivery     lossless groups hold producers back; at most 16 groups
  files        mode 0600
  readers      0 live

  partition  start  end  records   used  full  producers  oldest
          0      0    0        0    0 B   0 %          0  -
          1      0    3        3  192 B   0 %          0  <[0-9.]+ m?s> ago

  group  partition  committed  lag  state
  g              0          0    0  no live reader
  g              1          3    0  no live reader
""")

    def test_json(self):
        self.topic("t", "-p", "2", "--partition-bytes", "64K")
        self.produce(["one", "two", "three"], "-p", "1")
        self.values("-g", "g", "-c", "2")
        found = self.describe()
        self.assertEqual(set(found), SETTINGS)
        self.assertEqual(found["records"], 3)
        empty, used = found["state"]
        self.assertEqual(empty, {"partition": 0, "start_offset": 0, "end_offset": 0, "bytes_used": 0, "bytes_written": 0, "producers": 0,
                                 "oldest": None})
        self.assertGreater(used.pop("oldest"), 1_600_000_000_000_000_000)
        self.assertEqual(used, {"partition": 1, "start_offset": 0, "end_offset": 3, "bytes_used": 192, "bytes_written": 192,
                                "producers": 0})
        self.assertEqual(found["groups"], [{"name": "g", "alive": False, "evicted": False, "committed": [0, 2], "lag": [0, 1]}])

    def test_live_endpoints_are_counted(self):
        self.topic("t", "--partition-bytes", "64K")
        producer = self.start("produce", "t")
        consumer = self.start("consume", "t", "-g", "g")
        self.wait_for_group()
        self.assertEqual(self.describe()["groups"][0]["alive"], True)
        producer.stdin.write(b"x\n")
        producer.stdin.flush()
        self.assertEqual(consumer.stdout.readline(), b"x\n")
        self.assertEqual(self.describe()["state"][0]["producers"], 1)
        self.assertIn("live", self.arus("topic", "describe", "t").out)

    def test_unknown_topics_do_not_hide_the_others(self):
        self.topic("weather", "--partition-bytes", "64K")
        both = self.arus("topic", "describe", "wether", "weather", code=3)
        self.assertIn("did you mean 'weather'?", both.err)
        self.assertTrue(both.out.startswith("weather\n"), both.out)
        broken, whole = self.arus("topic", "describe", "wether", "weather", "--json", code=3).json["topics"]
        self.assertEqual((broken["name"], broken["error"]["code"]), ("wether", "not_found"))
        self.assertEqual(whole["name"], "weather")


class Delete(CliTest):
    def test_several(self):
        for name in ("a", "b", "c"):
            self.topic(name, "--partition-bytes", "64K")
        self.assertEqual(self.arus("topic", "delete", "a", "b").out, "deleted topic a\ndeleted topic b\n")
        self.assertEqual(self.arus("topic", "delete", "c", "--json").json, {"bus": self.bus, "deleted": ["c"]})
        self.assertEqual(os.listdir(os.path.join(self.bus, "topics")), [])

    def test_unknown_topic_with_the_nearest_name(self):
        for name in ("weather", "traffic"):
            self.topic(name, "--partition-bytes", "64K")
        for typed, meant in (("wether", "weather"), ("wheater", "weather"), ("Weather", "weather"), ("traf", "traffic")):
            self.assertIn(f"did you mean '{meant}'?", self.arus("topic", "delete", typed, code=3).err)
        self.assertIn("there are traffic, weather", self.arus("topic", "delete", "quite-another", code=3).err)
        self.assertIn("NAME", self.arus("topic", "delete", code=2).err)


if __name__ == "__main__":
    main()
