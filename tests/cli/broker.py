"""A mosquitto of one's own on loopback, for tests of MQTT."""

import os
import shutil
import socket
import subprocess
import time

PROGRAM = shutil.which("mosquitto") or ("/usr/sbin/mosquitto" if os.path.exists("/usr/sbin/mosquitto") else None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Keeps every message that a client is too slow for. `settings`: more lines of its configuration."""

    def __init__(self, directory, settings=(), port=None):
        self.port = port or free_port()
        self.directory = directory
        self.settings = settings
        self.process = None

    def start(self):
        path = os.path.join(self.directory, f"mosquitto-{self.port}.conf")
        with open(path, "w", encoding="ascii") as file:
            for line in (f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root", "max_queued_messages 0",
                         "max_inflight_messages 0", "sys_interval 1", "log_type error", *self.settings):
                file.write(line + "\n")
        self.process = subprocess.Popen([PROGRAM, "-c", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                if time.monotonic() > limit or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
