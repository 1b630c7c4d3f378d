"""arus export prometheus: what a Prometheus server fetches."""

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

from harness import CliTest, main


class Export(CliTest):
    def setUp(self):
        super().setUp()
        self.topic("t", "-p", "2", "--partition-bytes", "64K")
        self.arus("produce", "t", "-p", "1", stdin="one\ntwo\n")
        self.arus("consume", "t", "-g", "g", "-e")
        self.arus("produce", "t", "-p", "1", stdin="three\n")

    def parse(self, text):
        """{name{labels}: value}, and every family has its type and help before its first line."""
        values, known = {}, {}
        for line in text.splitlines():
            if line.startswith("#"):
                _, what, name, rest = line.split(" ", 3)
                known.setdefault(name, {})[what] = rest
                continue
            name, value = line.rsplit(" ", 1)
            if name.startswith("exposer_"):  # the HTTP server's own
                continue
            family = known[name.split("{")[0]]
            self.assertEqual(set(family), {"HELP", "TYPE"}, name)
            self.assertEqual(family["TYPE"], "counter" if name.split("{")[0].endswith("_total") else "gauge", name)
            values[name] = float(value)
        return values

    def serve(self, *options):
        server = self.start("export", "prometheus", "--listen", "0", "--json", *options)
        self.url = json.loads(server.stdout.readline())["url"]
        return server

    def fetch(self):
        with urllib.request.urlopen(self.url, timeout=60) as answer:
            return self.parse(answer.read().decode())

    def check(self, values):
        self.assertEqual(values["arus_up"], 1)
        self.assertGreater(values["arus_filesystem_free_bytes"], 0)
        self.assertEqual(values['arus_topic_up{topic="t"}'], 1)
        self.assertEqual(values['arus_topic_readers{topic="t"}'], 0)
        self.assertEqual(values['arus_partition_records_total{topic="t",partition="1"}'], 3)
        self.assertEqual(values['arus_partition_records_total{topic="t",partition="0"}'], 0)
        self.assertEqual(values['arus_partition_ring_bytes{topic="t",partition="0"}'], 65536)
        self.assertGreater(values['arus_partition_used_bytes{topic="t",partition="1"}'], 0)
        self.assertGreater(values['arus_partition_oldest_timestamp_seconds{topic="t",partition="1"}'], 1.7e9)
        self.assertNotIn('arus_partition_oldest_timestamp_seconds{topic="t",partition="0"}', values)
        self.assertEqual(values['arus_group_alive{topic="t",group="g"}'], 0)
        self.assertEqual(values['arus_group_evicted{topic="t",group="g"}'], 0)
        self.assertEqual(values['arus_group_committed_offset{topic="t",group="g",partition="1"}'], 2)
        self.assertEqual(values['arus_group_lag_records{topic="t",group="g",partition="1"}'], 1)

    def test_once(self):
        self.check(self.parse(self.arus("export", "prometheus", "--once").out))

    def test_served(self):
        server = self.serve()
        self.check(self.fetch())
        self.arus("produce", "t", "-p", "1", stdin="four\n")
        self.topic("later", "--partition-bytes", "64K")
        values = self.fetch()
        self.assertEqual(values['arus_partition_records_total{topic="t",partition="1"}'], 4)
        self.assertEqual(values['arus_topic_up{topic="later"}'], 1)
        self.arus("topic", "delete", "later")
        self.assertNotIn('arus_topic_up{topic="later"}', self.fetch())
        self.finish(server, sends=signal.SIGTERM)

    def test_services(self):
        service = subprocess.Popen([os.path.join(os.environ["ARUS_HELPERS"], "rpc_service")], env=self.environment())
        self.started.append(service)
        patient = ["--deadline", "60s", "--connect-timeout", "60s"]
        for _ in range(3):
            self.arus("rpc", "call", "helper", "count", "2", *patient)
        self.arus("rpc", "call", "helper", "throws", "", *patient, code=20 + 13)
        self.arus("rpc", "call", "helper", "count", "--", "-1", code=20 + 11)
        server = self.serve()
        values = self.fetch()
        where = f'service="helper",server="pid {service.pid} (rpc_service)"'
        self.assertEqual(values[f"arus_rpc_server_alive{{{where}}}"], 1)
        self.assertEqual(values[f"arus_rpc_outstanding_calls{{{where}}}"], 0)
        self.assertGreaterEqual(values[f"arus_rpc_clients{{{where}}}"], 0)
        calls = {name: value for name, value in values.items() if name.startswith("arus_rpc_calls_total")}
        self.assertEqual(calls, {f'arus_rpc_calls_total{{{where},method="{method}",code="{code}"}}': count
                                 for method, code, count in (("count", "ok", 3), ("count", "out_of_range", 1), ("throws", "internal", 1))})
        for method in ("twice", "count", "never", "throws"):
            half, most = (values[f'arus_rpc_latency_seconds{{{where},method="{method}",quantile="{q}"}}'] for q in ("0.5", "0.99"))
            self.assertLessEqual(half, most)
            self.assertEqual(most > 0, method in ("count", "throws"), method)
        self.arus("rpc", "call", "helper", "count", "1", *patient)
        self.assertEqual(self.fetch()[f'arus_rpc_calls_total{{{where},method="count",code="ok"}}'], 4)
        service.kill()
        service.wait()
        self.assertEqual(self.fetch().get(f"arus_rpc_server_alive{{{where}}}", 0), 0)
        self.finish(server, sends=signal.SIGTERM)

    def test_only_this_host_by_default(self):
        server = self.serve()
        self.assertTrue(self.url.startswith("http://127.0.0.1:"), self.url)
        self.assertTrue(self.url.endswith("/metrics"), self.url)
        self.finish(server, sends=signal.SIGTERM)

    def test_path(self):
        server = self.serve("--path", "/bus")
        self.fetch()
        self.url = self.url.replace("/bus", "/metrics")
        with self.assertRaises(urllib.error.HTTPError):
            self.fetch()
        self.finish(server, sends=signal.SIGINT)

    def test_topic_that_is_damaged(self):
        with open(f"{self.bus}/topics/t/topic", "r+b") as file:
            file.write(b"\0" * 64)
        self.topic("whole", "--partition-bytes", "64K")
        values = self.parse(self.arus("export", "prometheus", "--once").out)
        self.assertEqual((values['arus_topic_up{topic="t"}'], values['arus_topic_up{topic="whole"}']), (0, 1))

    def test_bus_that_is_deleted_and_made_again(self):
        server = self.serve()
        shutil.rmtree(self.bus)
        self.assertEqual(self.fetch(), {"arus_up": 0})
        self.topic("t", "-p", "2", "--partition-bytes", "64K")
        values = self.fetch()
        self.assertEqual((values["arus_up"], values['arus_partition_records_total{topic="t",partition="1"}']), (1, 0))
        self.finish(server, sends=signal.SIGTERM)

    def test_mistakes(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            place = f"127.0.0.1:{other.getsockname()[1]}"
            self.assertIn(f"cannot listen on {place}: Address already in use",
                          self.arus("export", "prometheus", "--listen", place, code=6).err)
        for listen in ("x", "localhost:1", "127.0.0.1:99999", ":"):
            self.assertIn("is not a", self.arus("export", "prometheus", "--listen", listen, code=2).err)
        self.assertIn("expected a path", self.arus("export", "prometheus", "--path", "metrics", code=2).err)
        self.assertIn("no bus at", self.arus("--bus", self.directory + "/none", "export", "prometheus", "--once", code=3).err)


if __name__ == "__main__":
    main()
