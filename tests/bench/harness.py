"""What the benches share: nginx as the function, `sluice run`, a Kafka with messages."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
os.environ["SLUICE_BUILD"] = str(pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")).resolve())
sys.path.insert(0, str(HERE.parent / "integration"))

from lib.jars import kafka_jars  # noqa: E402
from lib.kafka import Kafka  # noqa: E402
from lib.machine import BUILD, free_port, stop_process  # noqa: E402
from lib.plugin import build_tool  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
NGINX = """worker_processes 1; daemon off; master_process off; pid {d}/pid; error_log {d}/error.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; client_max_body_size 64m; client_body_buffer_size 1m;
keepalive_requests 100000000; client_body_temp_path {d}/b; proxy_temp_path {d}/p;
fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }} }}
"""


def pause(seconds):
    """Between two looks at a figure that nothing announces."""
    threading.Event().wait(seconds)


class Nginx:
    def __init__(self, directory):
        self.port = free_port()
        directory.mkdir()
        (directory / "nginx.conf").write_text(NGINX.format(d=directory, port=self.port))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([program, "-p", directory, "-c", directory / "nginx.conf"],
                                        stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}/"


def cpu_us(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // TICKS


def peak_kib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


class Running:
    """One `sluice run`."""

    def __init__(self, directory, mappings):
        directory.mkdir(parents=True)
        self.socket = directory / "admin"
        (directory / "sluice.yaml").write_text(json.dumps(
            {"state_directory": str(directory / "state"), "listen": f"unix:{self.socket}"}))
        (directory / "mappings.d").mkdir()
        for number, mapping in enumerate(mappings):
            (directory / "mappings.d" / f"bench-{number}.yaml").write_text(json.dumps(mapping))
        self.process = subprocess.Popen(
            [BUILD / "sluice", "run", "--config", directory, "--log-level", "error"])
        self.pid = self.process.pid

    def metrics(self):
        # No program of its own for that: it would take its share of what is measured.
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return ""
            connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.makefile("rb").read().decode()

    @staticmethod
    def count(page, name):
        found = re.search(rf"^sluice_messages_{name}_total\{{.*\}} (\d+)", page, re.M)
        return int(found[1]) if found else 0

    def wait_running(self, mappings):
        """Until the sources of so many mappings deliver, would there be messages."""
        while self.process.poll() is None:
            if len(re.findall(r"^sluice_source_running\{.*\} 1", self.metrics(), re.M)) == mappings:
                return
            pause(0.2)
        raise SystemExit("sluice ended early")

    def look(self):
        """How many messages were done, and when that was: metrics are up to a quarter of a second old."""
        page = self.metrics()
        if self.count(page, "dead"):
            raise SystemExit("sluice gave messages up")
        age = re.search(r"^sluice_poller_turn_age_seconds\{.*\} (\S+)", page, re.M)
        return self.count(page, "done"), time.monotonic() - (float(age[1]) if age else 0)

    def wait_done(self, count):
        """The last look before so many were done, if there was one, and the first after."""
        before = None
        while self.process.poll() is None:
            found = self.look()
            if found[0] >= count:
                return before or found, found
            before = found
            pause(0.1)
        raise SystemExit("sluice ended early")


def measure_mapping(directory, mapping, messages):
    """`sluice run` with that mapping, from its first message that is done to the last."""
    running = Running(directory, [mapping])
    try:
        _, (first, begin) = running.wait_done(1)
        cpu = cpu_us(running.pid)
        # Not until the last is seen to be done, which is when the next metrics are made.
        (nearly, end), (last, _) = running.wait_done(messages)
        return {"rate": (nearly - first) / (end - begin),
                "cpu": (cpu_us(running.pid) - cpu) / (last - first),
                "rss": peak_kib(running.pid) / 1024}
    finally:
        stop_process(running.process, 30)


def kafka_source(kafka, topic, group):
    return {"kafka": {"brokers": kafka.address(), "topic": topic, "group": group}}


def start_kafka(directory):
    build_tool()
    broker = Kafka(directory, kafka_jars(), memory="1g", **{"log.segment.bytes": "268435456"})
    broker.start()
    return broker


def full_topic(kafka, messages, *order):
    """A topic of 4 partitions with so many messages of 1 KiB; with "mixed" their ids are in no order."""
    topic = kafka.topic(4)
    print(f"filling a topic with {messages:,} messages of 1 KiB", file=sys.stderr)
    subprocess.run([BUILD / "tests/bench_producer", kafka.address(), topic, "4", str(messages), "1024",
                    *order], check=True)
    return topic
