"""arus ingest mqtt, against a real mosquitto on loopback; and simulated sensors over UDP and MQTT at once.

The sensors run for $ARUS_SENSOR_SECONDS."""

import json
import os
import signal
import subprocess
import time
import unittest

from broker import PROGRAM, Broker, free_port
from harness import CliTest, main, wait_until

SENSORS = os.path.join(os.environ["ARUS_HELPERS"], "sensors")
SECONDS = int(os.environ.get("ARUS_SENSOR_SECONDS", "4"))


@unittest.skipIf(PROGRAM is None, "no mosquitto here")
class MqttTest(CliTest):
    def setUp(self):
        super().setUp()
        self.brokers = []
        self.topic("t", "--partition-bytes", "1M")

    def tearDown(self):
        for broker in self.brokers:
            broker.stop()
        super().tearDown()

    def broker(self, *settings, port=None, start=True):
        broker = Broker(self.directory, settings, port)
        self.brokers.append(broker)
        return broker.start() if start else broker

    def ingest(self, broker, *options, filters=("#",), topic="t"):
        subscriptions = [word for one in filters for word in ("--subscribe", one)]
        return self.start("ingest", "mqtt", "--broker", f"127.0.0.1:{broker.port}", "-t", topic, "--json", "--longest-backoff", "100ms",
                          *subscriptions, *options)

    def publish(self, broker, seconds=0.0, sensors=1, rate=100, quality=1):
        """Simulated sensors; how many messages they sent."""
        done = subprocess.run([SENSORS, "0", str(broker.port), str(sensors), str(rate), str(seconds), str(quality)], capture_output=True,
                              timeout=120, check=True)
        return json.loads(done.stdout)["mqtt"]

    def subscribed(self, broker, *options, topic="t", **more):
        """A source that gets what is published from now on, and has stored all that was published before."""
        source = self.ingest(broker, *options, topic=topic, **more)
        before = self.count(topic)
        wait_until(lambda: (self.publish(broker, seconds=0.01), self.count(topic))[1] > before, "the source has subscribed")
        # The broker keeps the order: when the second sample of this run is there, everything is.
        seconds = self.values(topic=topic).count("1")
        self.publish(broker, seconds=0.02)
        wait_until(lambda: self.values(topic=topic).count("1") > seconds, "what was published so far is stored")
        return source

    def count(self, topic="t"):
        return sum(state["end_offset"] for state in self.describe(topic)["state"])

    def records(self):
        return self.arus("consume", "t", "-e", "--json").objects


class Delivery(MqttTest):
    def test_topic_is_the_key(self):
        broker = self.broker()
        source = self.subscribed(broker, "--qos", "1")
        before = self.count()
        sent = self.publish(broker, seconds=0.1, sensors=3)
        wait_until(lambda: self.count() == before + sent, "everything has come")
        summary = self.finish(source, sends=signal.SIGTERM).json
        self.assertEqual(summary["records"], before + sent)
        self.assertEqual(list(summary["details"]), ["messages", "broker_dropped"])
        records = self.records()[before:]
        for sensor in range(3):
            values = [record["value"] for record in records if record["key"] == f"sensors/s{sensor}"]
            self.assertEqual(values, [str(i) for i in range(10)])

    def test_filters(self):
        broker = self.broker()
        source = self.subscribed(broker, filters=("sensors/s0", "other/+"))
        before = self.count()
        sent = self.publish(broker, seconds=0.1, sensors=3)
        wait_until(lambda: self.count() == before + sent // 3, "what was subscribed to has come")
        self.finish(source, sends=signal.SIGTERM)
        self.assertEqual({record["key"] for record in self.records()}, {"sensors/s0"})

    def test_persistent_session_keeps_what_comes_while_we_are_away(self):
        broker = self.broker()
        options = ("--qos", "1", "--persistent", "--client-id", "arus-test")
        self.finish(self.subscribed(broker, *options), sends=signal.SIGTERM)
        before = self.count()
        sent = self.publish(broker, seconds=1)
        source = self.ingest(broker, *options)
        wait_until(lambda: self.count() == before + sent, "what came meanwhile is delivered")
        self.finish(source, sends=signal.SIGTERM)

    def test_message_that_is_too_large(self):
        self.topic("small", "--partition-bytes", "64K", "--record-size", "2")
        broker = self.broker()
        source = self.ingest(broker, topic="small")
        # Numbers of two digits fit, those of one do not.
        wait_until(lambda: (self.publish(broker, seconds=0.12), self.count("small"))[1] > 0, "some have come")
        done = self.finish(source, code=8, sends=signal.SIGTERM)
        self.assertGreater(done.json["refused"], 0)
        self.assertEqual(done.json["records"], self.count("small"))
        self.assertEqual(done.json["received"], done.json["records"] + done.json["refused"])


class Trouble(MqttTest):
    def test_broker_that_is_down(self):
        port = free_port()
        failed = self.arus("ingest", "mqtt", "--broker", f"127.0.0.1:{port}", "--subscribe", "#", "-t", "t", "--no-reconnect", code=1)
        self.assertIn(f"the broker at mqtt://127.0.0.1:{port} cannot be reached", failed.err)
        self.assertIn("refused", failed.err)

    def test_it_waits_for_a_broker(self):
        broker = self.broker(start=False)
        source = self.ingest(broker)
        self.assertIn(b"cannot be reached: Connection refused; trying again", source.stderr.readline())
        broker.start()
        wait_until(lambda: (self.publish(broker, seconds=0.01), self.count())[1] > 0, "it is connected")
        summary = self.finish(source, sends=signal.SIGTERM).json
        self.assertEqual(summary["reconnects"], 0)

    def test_broker_that_restarts(self):
        broker = self.broker()
        source = self.subscribed(broker, "--qos", "1")
        before = self.count()
        broker.stop()
        self.assertIn(b"is away", source.stderr.readline())
        broker.start()
        self.assertIn(b"connected again", source.stderr.readline())
        wait_until(lambda: (self.publish(broker, seconds=0.01), self.count())[1] > before, "it has subscribed again")
        summary = self.finish(source, sends=signal.SIGTERM).json
        self.assertEqual((summary["reconnects"], summary["records"]), (1, self.count()))

    def test_broker_that_goes_for_good(self):
        broker = self.broker()
        source = self.subscribed(broker, "--no-reconnect")
        before = self.count()
        broker.stop()
        out, err = source.communicate(timeout=60)
        self.assertEqual(source.returncode, 1)
        self.assertIn(b"is away", err)
        self.assertEqual(json.loads(out.splitlines()[0])["records"], before)

    def test_broker_that_refuses_us(self):
        broker = self.broker("allow_anonymous false")
        failed = self.arus("ingest", "mqtt", "--broker", f"127.0.0.1:{broker.port}", "--subscribe", "#", "-t", "t", code=4)
        self.assertIn("refuses the connection", failed.err)

    def test_mistakes(self):
        for options, message in ((["--subscribe", "a/#/b"], "'a/#/b' is not an MQTT topic filter"),
                                 (["--subscribe", "#", "--broker", "host:x"], "is not a port"),
                                 (["--subscribe", "#", "--persistent"], "--client-id"), ([], "--subscribe"),
                                 (["--subscribe", "#", "--qos", "3"], "--qos")):
            self.assertIn(message, self.arus("ingest", "mqtt", "-t", "t", *options, code=2).err)


class Sensors(MqttTest):
    """24 sensors at 1 kHz send every sample over UDP and over MQTT: what was sent is stored, or reported as dropped."""

    def queued(self, port):
        with open("/proc/net/udp", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1].endswith(f":{port:04X}"):
                    return int(fields[4].split(":")[1], 16)
        return 0

    def test_sent_is_stored_or_reported(self):
        for name in ("udp", "mqtt"):
            self.topic(name, "-p", "4", "--partition-bytes", "1M")
        broker = self.broker()
        from_mqtt = self.subscribed(broker, "--qos", "1", topic="mqtt", filters=("sensors/#",))
        from_udp = self.start("ingest", "udp", "--listen", "0", "-t", "udp", "--json", "-K", ":")
        port = int(from_udp.stderr.readline().split()[-1])
        before = self.count("mqtt")
        # A lossless reader of each checks order and completeness.
        readers = {}
        for name in ("udp", "mqtt"):
            with open(os.path.join(self.directory, name), "wb") as file:
                readers[name] = self.start("consume", name, "-g", "all", "-o", "end", "-f", "%k %s\\n", "-q", stdout=file)
        self.wait_for_group("all", 8)
        done = subprocess.run([SENSORS, str(port), str(broker.port), "24", "1000", str(SECONDS)], capture_output=True,
                              timeout=4 * SECONDS + 120, check=True)
        sent = json.loads(done.stdout)
        print(f"sent {sent}", flush=True)
        wait_until(lambda: self.count("mqtt") == before + sent["mqtt"], "all that the broker has accepted is stored", 120)
        wait_until(lambda: self.queued(port) == 0, "the kernel's queue is empty")
        udp = self.finish(from_udp, sends=signal.SIGTERM).json
        mqtt = self.finish(from_mqtt, sends=signal.SIGTERM).json
        print(f"udp  {udp}\nmqtt {mqtt}", flush=True)
        self.assertEqual(sent["udp"], 24 * 1000 * SECONDS)
        self.assertEqual(sent["udp"], udp["records"] + sum(udp["dropped"].values()) + udp["refused"])
        self.assertEqual(before + sent["mqtt"], mqtt["records"] + sum(mqtt["dropped"].values()) + mqtt["refused"])
        self.assertEqual(mqtt["details"]["broker_dropped"], 0)
        for name, earlier, stored in (("udp", 0, udp["records"]), ("mqtt", before, mqtt["records"])):
            self.assertEqual(self.count(name), stored)
            wait_until(lambda n=name, s=stored - earlier: self.lines(n) == s, f"the reader of {name} has everything", 120)
            self.finish(readers[name], sends=signal.SIGTERM)
            self.check_order(name)

    def lines(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))

    def check_order(self, name):
        """Each sensor's numbers rise by one; over UDP some may be missing."""
        last = {}
        with open(os.path.join(self.directory, name), encoding="ascii") as file:
            for line in file:
                key, number = line.split()
                number = int(number)
                if name == "mqtt":
                    self.assertEqual(number, last.get(key, -1) + 1, key)
                else:
                    self.assertGreater(number, last.get(key, -1), key)
                last[key] = number
        self.assertEqual(len(last), 24)


if __name__ == "__main__":
    main()
