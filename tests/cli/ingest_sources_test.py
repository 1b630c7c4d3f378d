"""arus ingest tty (over a pseudo-terminal), udp and iio (a recorded /sys, a FIFO as the device)."""

import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import tty

from harness import CliTest, main, wait_until


class Source(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "--partition-bytes", "256K")

    def records(self, topic="t"):
        return self.arus("consume", topic, "-e", "--json").objects

    def pairs(self):
        return [(r["key"], r["value"]) for r in self.records()]

    def count(self, topic="t"):
        return sum(state["end_offset"] for state in self.describe(topic)["state"])

    def wait_for(self, count, topic="t"):
        wait_until(lambda: self.count(topic) >= count, f"{count} records are there")

    def summary(self, source, code=0):
        return self.finish(source, code=code, sends=signal.SIGTERM).json


class Tty(Source):
    def setUp(self):
        super().setUp()
        self.device = os.path.join(self.directory, "ttyS0")
        self.line = None
        self.plug_in()

    def tearDown(self):
        self.unplug()
        super().tearDown()

    def plug_in(self):
        """A pseudo-terminal; what is written to self.line comes out of self.device."""
        self.line, slave = pty.openpty()
        tty.setraw(slave)
        self.slave = slave
        os.symlink(os.ttyname(slave), self.device + ".new")
        os.rename(self.device + ".new", self.device)

    def unplug(self):
        if self.line is None:
            return
        os.close(self.slave)
        os.close(self.line)
        self.line = None

    def ingest(self, *options):
        source = self.start("ingest", "tty", self.device, "-t", "t", "--json", "--longest-backoff", "50ms", *options)
        # It has the line once it has set it up: raw, at the speed asked for.
        speed = options[options.index("--baud") + 1] if "--baud" in options else "115200"
        wanted = getattr(termios, "B" + speed)
        wait_until(lambda: termios.tcgetattr(self.slave)[5] == wanted, "the line has been set up")
        return source

    def test_lines(self):
        source = self.ingest("--key", "imu", "--baud", "9600")
        os.write(self.line, b"one\r\ntw")
        self.wait_for(1)
        os.write(self.line, b"o\nthree\n")
        self.wait_for(3)
        summary = self.summary(source)
        self.assertEqual(self.pairs(), [("imu", "one"), ("imu", "two"), ("imu", "three")])
        self.assertEqual((summary["received"], summary["records"]), (3, 3))
        self.assertEqual(list(summary["details"]), ["skipped_bytes", "overruns", "frame_errors", "parity_errors"])

    def test_csv(self):
        source = self.ingest("--format", "csv", "--columns", "id,v", "--key-column", "id")
        os.write(self.line, b"garbage\na,1\nb,2\n")
        self.wait_for(2)
        done = self.finish(source, code=8, sends=signal.SIGTERM)
        self.assertIn("line 1, column 1: expected 2 fields", done.err)
        self.assertEqual(self.pairs(), [("a", '{"v":1}'), ("b", '{"v":2}')])

    def test_frames(self):
        source = self.ingest("--frame", "4")
        os.write(self.line, b"abcdef")
        self.wait_for(1)
        os.write(self.line, b"gh\n\x04xx")  # no byte is special to a raw line
        self.wait_for(3)
        self.summary(source)
        self.assertEqual([value for _, value in self.pairs()], ["abcd", "efgh", "\n\x04xx"])

    def test_frames_with_sync(self):
        source = self.ingest("--frame", "4", "--sync", "\\x7eS")
        os.write(self.line, b"lost~Sab~Scd~~SefX~")
        self.wait_for(3)
        os.write(self.line, b"Sgh")
        self.wait_for(4)
        summary = self.summary(source)
        self.assertEqual([value for _, value in self.pairs()], ["~Sab", "~Scd", "~Sef", "~Sgh"])
        self.assertEqual(summary["details"]["skipped_bytes"], 6)

    def test_device_that_vanishes_and_comes_back(self):
        source = self.ingest()
        os.write(self.line, b"before\nhal")
        self.wait_for(1)
        self.unplug()
        os.unlink(self.device)
        self.assertIn(b"vanished", source.stderr.readline())
        self.plug_in()
        self.assertIn(b"is back", source.stderr.readline())
        wait_until(lambda: termios.tcgetattr(self.slave)[5] == termios.B115200, "the line has been set up")
        os.write(self.line, b"after\n")
        self.wait_for(2)
        summary = self.summary(source)
        self.assertEqual([value for _, value in self.pairs()], ["before", "after"])
        self.assertEqual((summary["reconnects"], summary["details"]["skipped_bytes"]), (1, 3))

    def test_without_reconnecting_it_ends(self):
        source = self.ingest("--no-reconnect")
        os.write(self.line, b"before\n")
        self.wait_for(1)
        self.unplug()
        out, err = source.communicate(timeout=60)
        self.assertEqual(source.returncode, 3)
        self.assertIn(b"vanished", err)
        self.assertEqual(json.loads(out.splitlines()[0])["records"], 1)

    def test_not_there(self):
        error = self.arus("ingest", "tty", os.path.join(self.directory, "none"), "-t", "t", "--no-reconnect", code=3).err
        self.assertIn(os.path.join(self.directory, "none"), error)
        source = self.start("ingest", "tty", os.path.join(self.directory, "none"), "-t", "t", "--json")
        self.assertIn(b"waiting for it to come back", source.stderr.readline())
        self.assertEqual(self.summary(source)["records"], 0)

    def test_wrong_options(self):
        plain = os.path.join(self.directory, "plain")
        with open(plain, "wb"):
            pass
        for options, message in (([plain], "is not a serial line"), ([self.device, "--baud", "12345"], "12345 baud"),
                                 ([self.device, "--line", "9X3"], "is not a serial mode"),
                                 ([self.device, "--frame", "2", "--sync", "ab"], "fewer than the frame's 2 bytes"),
                                 ([self.device, "--sync", "ab"], "--frame"), ([self.device, "--key-column", "a"], "lines have no fields")):
            self.assertIn(message, self.arus("ingest", "tty", *options, "-t", "t", code=2).err)


class Udp(Source):
    def listen(self, *options):
        source = self.start("ingest", "udp", "--listen", "0", "-t", "t", "--json", *options)
        self.port = int(source.stderr.readline().split()[-1])
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        return source

    def send(self, data):
        self.socket.sendto(data, ("127.0.0.1", self.port))

    def test_datagrams(self):
        source = self.listen("-K", ":", "--key-from-sender")
        for data in (b"imu-1:0.5", b"", b"none"):
            self.send(data)
        self.wait_for(3)
        summary = self.summary(source)
        me = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.assertEqual(self.pairs(), [("imu-1", "0.5"), (me, ""), (me, "none")])
        self.assertEqual((summary["received"], summary["records"], summary["details"]["datagrams"]), (3, 3, 3))

    def test_too_large(self):
        self.topic("small", "--partition-bytes", "64K")
        most = self.describe("small")["max_record_bytes"]
        source = self.start("ingest", "udp", "--listen", "127.0.0.1:0", "-t", "small", "--json")
        self.port = int(source.stderr.readline().split()[-1])
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.send(b"x" * (most + 1))
        self.send(b"y")
        self.wait_for(1, "small")
        done = self.finish(source, code=8, sends=signal.SIGTERM)
        self.assertIn(f"expected at most {most} bytes", done.err)
        self.assertEqual((done.json["records"], done.json["refused"]), (1, 1))

    def test_what_the_kernel_drops_is_counted(self):
        """While the source is stopped the kernel's queue overflows; the last datagram of all is among those that are lost."""
        source = self.listen("--receive-buffer", "16K")
        source.send_signal(signal.SIGSTOP)
        for i in range(2000):
            self.send(b"%d" % i)
        source.send_signal(signal.SIGCONT)
        wait_until(lambda: self.queued() == 0, "the queue is empty")
        summary = self.summary(source)
        self.assertGreater(summary["dropped"]["source"], 0)
        self.assertEqual(summary["records"] + summary["dropped"]["source"], 2000)
        self.assertEqual(self.count(), summary["records"])

    def queued(self):
        """Bytes that wait in the kernel for our port."""
        with open("/proc/net/udp", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1].endswith(f":{self.port:04X}"):
                    return int(fields[4].split(":")[1], 16)
        return 0

    def test_port_in_use(self):
        self.listen()
        error = self.arus("ingest", "udp", "--listen", str(self.port), "-t", "t", code=6).err
        self.assertIn(f"UDP 127.0.0.1:{self.port} is in use", error)

    def test_ipv6(self):
        if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("no IPv6")
        source = self.start("ingest", "udp", "--listen", "[::1]:0", "-t", "t", "--json", "--key-from-sender")
        first = source.stderr.readline()
        if b"is not an address of this host" in first:
            self.skipTest("no IPv6 on loopback")
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"six", ("::1", int(first.split()[-1])))
            self.wait_for(1)
            self.assertEqual(self.pairs(), [(f"[::1]:{sender.getsockname()[1]}", "six")])
        self.summary(source)

    def test_wrong_addresses(self):
        for listen, message in (("x", "is not an address"), ("host:1", "is not a numeric address"), ("127.0.0.1:99999", "is not an address")):
            self.assertIn(message, self.arus("ingest", "udp", "--listen", listen, "-t", "t", code=2).err)
        self.assertIn("not an address of this host", self.arus("ingest", "udp", "--listen", "192.0.2.1:1", "-t", "t", code=3).err)


class Iio(Source):
    """An accelerometer: x (le:s12/16>>4) and y (be:u16/16), a temperature that is not wanted, and a timestamp."""

    def setUp(self):
        super().setUp()
        self.sys = os.path.join(self.directory, "sys")
        self.dev = os.path.join(self.directory, "dev")
        os.makedirs(self.dev)
        self.node = os.path.join(self.sys, "bus", "iio", "devices", "iio:device3")
        elements = {"in_accel_x": ("0", "le:s12/16>>4"), "in_accel_y": ("1", "be:u16/16>>0"), "in_temp": ("2", "le:s16/16>>0"),
                    "in_timestamp": ("3", "le:s64/64>>0")}
        files = {"name": "acc", "in_accel_x_raw": "0", "in_accel_y_raw": "0", "in_accel_scale": "0.5", "in_temp_raw": "1",
                 "sampling_frequency": "100", "buffer/enable": "0", "buffer/length": "2"}
        for name, (index, kind) in elements.items():
            files.update({f"scan_elements/{name}_en": "0", f"scan_elements/{name}_index": index, f"scan_elements/{name}_type": kind})
        for name, text in files.items():
            path = os.path.join(self.node, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text + "\n")
        self.fifo = os.path.join(self.dev, "iio:device3")
        os.mkfifo(self.fifo)

    def attribute(self, name):
        with open(os.path.join(self.node, name), encoding="ascii") as file:
            return file.read().split()[0][0]  # a file that is written over keeps what was behind

    def ingest(self, *options):
        source = self.start("ingest", "iio", "acc", "-t", "t", "--json", "--sysfs-root", self.sys, "--dev-root", self.dev,
                            "--longest-backoff", "50ms", *options)
        return source, os.open(self.fifo, os.O_WRONLY)

    @staticmethod
    def scan(x, y, milliseconds):
        return struct.pack("<h", x << 4) + struct.pack(">H", y) + bytes(4) + struct.pack("<q", milliseconds * 10**6)

    def test_scans(self):
        source, device = self.ingest("--channels", "accel_*")
        whole = self.scan(-3, 4, 1000) + self.scan(2047, 65535, 1010)
        os.write(device, whole[:20])  # a scan and a part of the next
        self.wait_for(1)
        os.write(device, whole[20:])
        self.wait_for(2)
        self.assertEqual(self.attribute("buffer/enable"), "1")
        self.assertEqual([self.attribute(f"scan_elements/in_{name}_en") for name in ("accel_x", "accel_y", "temp", "timestamp")],
                         ["1", "1", "0", "1"])
        summary = self.summary(source)
        os.close(device)
        self.assertEqual([(r["key"], json.loads(r["value"]), r["timestamp"]) for r in self.records()],
                         [("acc", {"accel_x": -1.5, "accel_y": 2}, 10**9), ("acc", {"accel_x": 1023.5, "accel_y": 32767.5}, 1_010_000_000)])
        self.assertEqual((summary["records"], summary["dropped"]["source"]), (2, 0))
        self.assertEqual(summary["details"], {"scans": 2, "scan_bytes": 16, "cut_off_bytes": 0})
        self.assertEqual(self.attribute("buffer/enable"), "0", "the buffer is switched off")

    def test_missing_scans_are_counted_by_their_timestamps(self):
        source, device = self.ingest("--channels", "accel_*")
        for milliseconds in (0, 10, 50, 60):
            os.write(device, self.scan(1, 1, milliseconds))
        self.wait_for(4)
        self.assertEqual(self.summary(source)["dropped"]["source"], 3)
        os.close(device)

    def test_raw(self):
        source, device = self.ingest("--raw", "--channels", "accel_x")
        os.write(device, struct.pack("<h", 0x120) + bytes(6) + struct.pack("<q", 5))
        self.wait_for(1)
        self.summary(source)
        os.close(device)
        self.assertEqual(self.arus("consume", "t", "-e", "-f", "%s").raw, struct.pack("<h", 0x120) + bytes(6) + struct.pack("<q", 5))

    def test_device_that_vanishes_and_comes_back(self):
        source, device = self.ingest("--channels", "accel_*")
        os.write(device, self.scan(1, 1, 0) + b"cut")
        self.wait_for(1)
        away = self.node + ".away"
        os.rename(self.node, away)
        os.close(device)
        self.assertIn(b"acc has vanished", source.stderr.readline())
        os.rename(away, self.node)
        device = os.open(self.fifo, os.O_WRONLY)
        self.assertIn(b"acc is back", source.stderr.readline())
        os.write(device, self.scan(2, 2, 10**6))
        self.wait_for(2)
        summary = self.summary(source)
        os.close(device)
        self.assertEqual((summary["reconnects"], summary["details"]["cut_off_bytes"]), (1, 3))

    def test_mistakes(self):
        def error(*options, device="acc", code=2):
            return self.arus("ingest", "iio", device, "-t", "t", "--sysfs-root", self.sys, "--dev-root", self.dev, *options, code=code).err

        self.assertIn("has: iio:device3 (acc)", error(device="gyro", code=3))
        self.assertIn("has: accel_x, accel_y, temp", error("--channels", "pressure"))
        shutil.rmtree(os.path.join(self.node, "buffer"))
        self.assertIn("arus ingest host", error())


if __name__ == "__main__":
    main()
