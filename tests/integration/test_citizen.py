"""A machine that misbehaves: nothing is lost, no processor is burnt, and work goes on by itself."""

import datetime
import http.server
import json
import os
import pathlib
import resource
import socket
import struct
import subprocess
import threading

import pytest

from lib.function import poison
from lib.plugin import ids, numbered
from lib.waiting import stays, until

TICKS = os.sysconf("SC_CLK_TCK")
TOOLS = pathlib.Path(__file__).parent / "tools"


def processor_seconds(sluice):
    fields = pathlib.Path(f"/proc/{sluice.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def does_not_spin(sluice, seconds=3):
    """At most a fifth of a processor, over that window."""
    before = processor_seconds(sluice)
    stays(lambda: processor_seconds(sluice) - before < seconds / 5, seconds, "little work")


# ---- clocks ----

@pytest.fixture
def clock(directory, sluice):
    """Sets by how many hours the wall clock of `sluice` is off: clock(5)."""
    library, file = directory / "clock.so", directory / "clock"
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-shared", "-fPIC", "-o", library,
                    TOOLS / "clock.c"], check=True)
    file.write_bytes(struct.pack("=q", 0))
    sluice.environment.update(LD_PRELOAD=str(library), SLUICE_TEST_CLOCK=str(file))

    def move(hours):
        with open(file, "r+b", buffering=0) as opened:
            opened.write(struct.pack("=q", hours * 3600))
    return move


def hours_off(sluice):
    """How far the time in the last line of the log is from the true one."""
    told = datetime.datetime.fromisoformat(sluice.events[-1]["time"].replace("Z", "+00:00"))
    return round((told - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 3600)


def test_a_clock_that_steps_by_hours(cluster, function, sluice, mapping_for, clock):
    topic = cluster.topic(1)
    function.behave = poison(["b-0", "c-0"], 400)
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    done = set()
    for prefix, hours in (("a", 0), ("b", 5), ("c", -5), ("d", 0)):
        clock(hours)
        cluster.produce(topic, numbered(10, prefix=prefix))
        done |= set(ids(10, prefix)) - {"b-0", "c-0"}
        function.wait_done(done, 20)
        if prefix in "bc":  # a retry and its patience, across the step
            sluice.wait_dead(1 if prefix == "b" else 2)
            assert hours_off(sluice) == hours, "the clock was really moved"
        does_not_spin(sluice)
    assert set(function.done.values()) == {1}


# ---- descriptors ----

def test_no_descriptor_is_left(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    sluice.wait_for_event("lanes_assigned")
    before = resource.prlimit(sluice.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(sluice.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    cluster.produce(topic, numbered(20))
    sluice.wait_for_event("target_down")
    does_not_spin(sluice)
    assert sluice.running and function.invocations == []
    resource.prlimit(sluice.pid, resource.RLIMIT_NOFILE, before)
    function.wait_done(ids(20), 40)
    assert sluice.dead() == []
    assert set(function.done.values()) == {1}


# ---- networks ----

class SixHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body.decode())
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class SixServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def test_a_function_with_ipv6_only(cluster, sluice, mapping_for):
    server = SixServer(("::1", 0), SixHandler)
    server.bodies = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        topic = cluster.topic(1)
        sluice.mapping("m", mapping_for(topic, target={
            "http": {"url": f"http://[::1]:{server.server_address[1]}/"}}))
        cluster.produce(topic, numbered(20))
        sluice.start()
        until(lambda: all(json.dumps(name) in "".join(server.bodies).replace("\\", "")
                          for name in ids(20)), 20, "all messages at the function")
        assert sluice.dead() == []
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
