"""A machine that misbehaves: nothing is lost, no processor is burnt, and work goes on by itself."""

import contextlib
import datetime
import http.server
import json
import os
import pathlib
import re
import resource
import socket
import struct
import subprocess
import threading

import pytest

from lib.function import poison
from lib.machine import PATIENCE, has_ipv6
from lib.plugin import group_of, ids, numbered
from lib.proxy import Proxy
from lib.sluice import run_cli
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
    assert "too many open files" in sluice.wait_for_event("target_down")["error"]
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


def test_a_broker_with_ipv6_only(cluster, function, sluice, mapping_for):
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, {"source": {"kafka": {"brokers": cluster.address("SIX")}}}))
    cluster.produce(topic, numbered(20))
    done = run_cli("check", "--connect", sluice.config, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    sluice.start()
    function.wait_done(ids(20), 20)
    cluster.wait_committed(group_of(topic), topic, 1)


@pytest.fixture
def names(directory):
    """A name service of its own for a sluice: what to start it with, and what sets the names."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("needs root, and mount namespaces")
    hosts, switch = directory / "hosts", directory / "nsswitch.conf"
    switch.write_text("hosts: files\n")

    def set_names(*entries):
        hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *entries)))
    set_names()
    script = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'
    return ("unshare", "-m", "sh", "-c", script, "sh", hosts, switch), set_names


def state_of(sluice, name="m"):
    mapping = sluice.control("GET", f"/v1/mappings/{name}")[1]
    return mapping["state"], mapping["reason"] or ""


def test_a_broker_whose_name_goes_away_and_comes_back(cluster, function, sluice, mapping_for, names):
    wrapper, set_names = names
    topic = cluster.topic(1)
    address = cluster.address("NAMED")
    proxy = Proxy(cluster.ports["NAMED"], cluster.ports["NAMEDPROXY"])
    try:
        sluice.mapping("m", mapping_for(topic, {"source": {"kafka": {"brokers": address}}}))
        cluster.produce(topic, numbered(5, prefix="a"))
        sluice.start(wrapper=wrapper)  # not known yet
        until(lambda: "resolve" in state_of(sluice)[1], 30 * PATIENCE,
              lambda: f"a reason that tells of names, not {state_of(sluice)}")
        assert state_of(sluice)[0] == "source_unreachable"
        set_names(address.split(":")[0])
        function.wait_done(ids(5, "a"), 40)
        proxy.refuse()
        until(lambda: "refused" in state_of(sluice)[1], 30 * PATIENCE,
              lambda: f"a reason that tells of a closed port, not {state_of(sluice)}")
        set_names()
        until(lambda: "resolve" in state_of(sluice)[1], 30 * PATIENCE,
              lambda: f"a reason that tells of names, not {state_of(sluice)}")
        does_not_spin(sluice)
        cluster.produce(topic, numbered(5, prefix="b"))
        proxy.listen()
        set_names(address.split(":")[0])
        function.wait_done(ids(5, "b"), 40)
        until(lambda: state_of(sluice)[0] == "running", 20 * PATIENCE, "it runs again")
        cluster.wait_committed(group_of(topic), topic, 1)
        assert set(function.seen.values()) == {1} and sluice.dead() == []
    finally:
        proxy.close()


# ---- disks ----

def waits_for_the_store(cluster, function, sluice, topic, reason):
    """While nothing can be written: a state that says so, no work, and nothing settled."""
    cluster.produce(topic, [{"key": f"b{n}", "value": json.dumps({"id": f"b-{n}"})}
                            for n in range(300)])
    until(lambda: state_of(sluice)[0] == "waiting_for_store", 20 * PATIENCE,
          lambda: f"it waits for the store, not {state_of(sluice)}")
    assert reason in state_of(sluice)[1].lower(), state_of(sluice)
    # What little found room may have been settled, and is committed within a second, as often as writing is
    # tried; from now on nothing is.
    until(lambda: len(sluice.find_events("record_failed")) > 3, 20 * PATIENCE, "it tries to write")
    before = cluster.committed(group_of(topic), topic)
    assert before[0] < 320
    assert sluice.get("/livez")[0] == 200
    assert run_cli("status", "--state", sluice.state).returncode == 2
    does_not_spin(sluice)
    assert cluster.committed(group_of(topic), topic) == before


def goes_on(cluster, function, sluice, topic):
    function.wait_done(ids(300, "b"), 40)
    cluster.wait_committed(group_of(topic), topic, 1)
    until(lambda: state_of(sluice)[0] == "running", 20 * PATIENCE, "it runs again")
    assert set(function.seen.values()) == {1} and sluice.dead() == []


def begin_with_tokens(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "key", "ttl": "1h"}))
    sluice.start()
    cluster.produce(topic, [{"key": f"a{n}", "value": json.dumps({"id": f"a-{n}"})}
                            for n in range(20)])
    function.wait_done(ids(20, "a"), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    return topic


def test_a_disk_that_fills_up_and_is_cleared(cluster, function, sluice, mapping_for):
    sluice.state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", sluice.state]
    if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs root, and to be allowed to mount")
    try:
        topic = begin_with_tokens(cluster, function, sluice, mapping_for)
        filler = sluice.state / "filler"
        with open(filler, "wb", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(b"\0" * 4096)
        waits_for_the_store(cluster, function, sluice, topic, "no space left")
        filler.unlink()
        goes_on(cluster, function, sluice, topic)
        assert sluice.terminate() == 0
    finally:
        sluice.close()
        subprocess.run(["umount", "-l", sluice.state], check=False)


def test_a_state_directory_that_becomes_read_only(cluster, function, sluice, mapping_for, directory):
    library, marker = directory / "readonly.so", pathlib.Path(f"{sluice.state}.readonly")
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-shared", "-fPIC", "-o", library,
                    TOOLS / "readonly.c", "-ldl"], check=True)
    sluice.environment.update(LD_PRELOAD=str(library), SLUICE_TEST_READONLY=str(sluice.state))
    topic = begin_with_tokens(cluster, function, sluice, mapping_for)
    marker.touch()
    waits_for_the_store(cluster, function, sluice, topic, "read-only")
    marker.unlink()
    goes_on(cluster, function, sluice, topic)


# ---- memory ----

@pytest.fixture
def memory_limit(directory):
    """Limits a process to so many MiB; gives what its cgroup counted: (failures to get more, kills)."""
    v2 = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
    own = next(line.split(":")[2] for line in pathlib.Path("/proc/self/cgroup").read_text().split("\n")
               if (line.startswith("0:") if v2 else ":memory:" in line))
    base = pathlib.Path(f"/sys/fs/cgroup{'' if v2 else '/memory'}{own}")
    group = base / f"sluice-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no memory cgroup can be made here")

    def limit(pid, mebibytes):
        try:
            (group / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(mebibytes << 20))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            pytest.skip("no memory cgroup can be used here")

    def kills():
        events = (group / ("memory.events" if v2 else "memory.oom_control")).read_text()
        return int(dict(line.split() for line in events.splitlines()).get("oom_kill", 0))
    limit.kills = kills
    yield limit
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            (base / "cgroup.procs").write_text(pid)
        group.rmdir()


def test_a_memory_limit_is_kept_whatever_waits(cluster, function, sluice, mapping_for, memory_limit):
    """What `buffer` bounds is all that grows while a function is down and a topic is full."""
    topic, count = cluster.topic(4), 12_000
    function.refuse()
    sluice.mapping("m", mapping_for(topic, {
        "buffer": {"bytes": "8 MiB", "messages": 4000}}, batch={"size": 100}))
    cluster.produce(topic, list(numbered(count, size=8000)))  # 96 MB
    sluice.start()
    memory_limit(sluice.pid, 64)
    sluice.wait_for_event("target_down")
    until(lambda: sluice.metric("sluice_held_bytes") > 6 << 20, 30 * PATIENCE, "a full buffer")
    does_not_spin(sluice)
    function.listen()
    until(lambda: len(function.done) == count, 60 * PATIENCE, lambda: f"{len(function.done)} done")
    cluster.wait_committed(group_of(topic), topic, 4)
    peak = pathlib.Path(f"/proc/{sluice.pid}/status").read_text()
    print(re.search(r"VmHWM:.*", peak)[0])
    assert memory_limit.kills() == 0 and sluice.running


def test_messages_of_all_mappings_share_the_memory(cluster, make_function, sluice, mapping_for):
    """Mappings whose functions are down fill what `memory` allows and no more, whatever their own
    buffers allow; those that find no room say so; and one that works goes on beside them."""
    limit, count, size, most = 16 << 20, 4000, 16_000, 0
    broken, good = make_function(), make_function()
    broken.refuse()
    sluice.settings(memory="16 MiB")
    for n in range(4):
        topic = cluster.topic(1)
        cluster.produce(topic, list(numbered(count // 4, prefix=f"b{n}", size=size)))  # 64 MB in all
        sluice.mapping(f"broken{n}", mapping_for(topic, batch={"size": 100},
                                                 target={"http": {"url": broken.url}}))
    topic = cluster.topic(1)
    good.behave = poison(["g0-3"])  # which waits for its retry while the others go on
    sluice.mapping("good", mapping_for(topic, order="none", target={"http": {"url": good.url}},
                                       retry={"attempts": 100, "backoff": "2s..2s"}))
    sluice.start()

    def held():
        nonlocal most
        memory = sluice.control("GET", "/v1/status")[1]["memory"]
        assert memory["limit"] == limit
        most = max(most, memory["held"])
        return memory["held"]
    until(lambda: held() > limit * 0.7, 30 * PATIENCE, lambda: f"memory in use, not {held()}")
    assert "memory" in sluice.wait_for_event("memory_short", 10 * PATIENCE)["effect"]
    does_not_spin(sluice)
    for part in range(5):
        cluster.produce(topic, list(numbered(100, prefix=f"g{part}", size=size)))
        good.wait_done(set(ids(100, prefix=f"g{part}")) - {"g0-3"}, 20 * PATIENCE)
        held()
    broken.listen()
    until(lambda: held() >= 0 and len(broken.done) == count, 60 * PATIENCE,
          lambda: f"all done, not {len(broken.done)}")
    until(lambda: held() < 2 * size, 10 * PATIENCE, lambda: f"memory given back, not {held()}")
    assert most < limit * 1.5


def test_the_memory_that_messages_take_is_changed_by_a_reload(cluster, sluice, mapping_for):
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    sluice.start()
    assert 0 < sluice.control("GET", "/v1/status")[1]["memory"]["limit"] < 1 << 50
    sluice.settings(memory="32 MiB")
    status, answer = sluice.control("POST", "/v1/reload")
    assert (status, answer["needs_restart"]) == (200, [])
    assert sluice.control("GET", "/v1/status")[1]["memory"]["limit"] == 32 << 20
