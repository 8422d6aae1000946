"""Sluice as a service of a real systemd, on a bare Debian: `make test-systemd`.

SLUICE_RELEASES="bookworm trixie" names the Debians, the first if unset."""

import http.client
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading

import pytest

from lib.function import Answer, always
from lib.machine import PATIENCE
from lib.plugin import build_connector, group_of, ids, numbered
from lib.waiting import until

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from machine import Machine  # noqa: E402

MAPPING = "/etc/sluice/mappings.d/orders.yaml"


@pytest.fixture(scope="module", params=os.environ.get("SLUICE_RELEASES", "bookworm").split())
def booted(request):
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn") or not shutil.which("mmdebstrap"):
        pytest.fail("needs root, systemd-nspawn and mmdebstrap: `make test-systemd` installs them")
    # Not below /tmp, which systemd-nspawn covers in the machine it makes.
    directory = tempfile.mkdtemp(prefix="sluice-systemd-", dir="/var/tmp")
    machine = Machine(directory, request.param)
    build_connector("wedge", machine.root / "usr/lib/sluice/connectors")
    try:
        machine.boot()
        yield machine
    finally:
        machine.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def machine(booted):
    """The machine with sluice stopped, without mappings and without state."""
    yield booted
    booted.run("systemctl", "stop", "sluice", check=False)
    booted.run("systemctl", "reset-failed", check=False)
    booted.drop_in("")
    shutil.rmtree(booted.root / "etc/sluice/mappings.d")
    (booted.root / "etc/sluice/mappings.d").mkdir()
    shutil.rmtree(booted.root / "var/lib/private/sluice", ignore_errors=True)
    booted.run("journalctl", "--rotate", check=False)
    booted.run("journalctl", "--vacuum-time=1ms", check=False)


def wait_status(machine, pattern):
    until(lambda: pattern in machine.show("sluice", "StatusText"), 20 * PATIENCE,
          lambda: f"{pattern} in {machine.show('sluice', 'StatusText')}")


def test_start_consume_reload_stop(cluster, function, machine, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(20, prefix="first"))
    content = mapping_for(topic)
    machine.write(MAPPING, json.dumps(content))
    machine.run("systemctl", "start", "sluice")  # returns once it is ready
    assert machine.show("sluice", "ActiveState") == "active"
    function.wait_done(ids(20, "first"), 20)
    wait_status(machine, "1 of 1 mappings good")
    code, text = machine.run("sluice", "status", with_code=True)
    assert code == 0 and "running" in text
    # The user is one that systemd made for it, and what it keeps is for nobody else.
    pid = machine.show("sluice", "MainPID")
    assert int(machine.run("stat", "-c", "%u", f"/proc/{pid}")) > 60000
    assert machine.run("stat", "-c", "%a", "/var/lib/private/sluice").strip() == "700"

    machine.write(MAPPING, json.dumps({**content, "batch": {"size": 3}}))
    machine.run("systemctl", "reload", "sluice")
    assert "event=mapping_changed mapping=orders" in machine.journal()
    machine.write("/etc/sluice/mappings.d/bad.yaml", "target: 5\n")
    code, _ = machine.run("systemctl", "reload", "sluice", with_code=True)
    assert code != 0
    assert "bad.yaml:1:" in machine.journal() and "nothing was changed" in machine.journal()
    assert machine.show("sluice", "ActiveState") == "active"
    assert machine.show("sluice", "MainPID") == pid
    cluster.produce(topic, numbered(9, prefix="second"))
    function.wait_done(ids(9, "second"), 20)

    begun, gate = threading.Event(), threading.Event()

    def behave(invocation):
        begun.set()
        gate.wait(20)
        return always(200)(invocation)
    function.behave = behave
    cluster.produce(topic, numbered(1, prefix="last"))
    assert begun.wait(20)
    machine.run("systemctl", "stop", "--no-block", "sluice")
    until(lambda: machine.show("sluice", "ActiveState") == "deactivating", 20, "it stops")
    gate.set()
    until(lambda: machine.show("sluice", "ActiveState") == "inactive", 20, "it has stopped")
    function.wait_done(ids(1, "last"), 1)
    assert machine.show("sluice", "Result") == "success"
    cluster.wait_committed(group_of(topic), topic, 2)


def test_the_journal_is_asked_by_field(cluster, function, machine, mapping_for):
    topic, other = cluster.topic(1), cluster.topic(1)
    function.behave = lambda i: Answer(400, "no") if "bad-0" in i.ids else always(200)(i)
    machine.write(MAPPING, json.dumps(mapping_for(topic, retry={"attempts": 1})))
    machine.write(MAPPING.replace("orders", "others"), json.dumps(mapping_for(other)))
    machine.run("systemctl", "start", "sluice")
    cluster.produce(topic, [*numbered(3, prefix="a"), *numbered(1, prefix="bad"),
                            *numbered(3, prefix="b")])
    function.wait_done([*ids(3, "a"), *ids(3, "b")], 30)

    def found(*matches):
        text = machine.run("journalctl", "-o", "json", "--no-pager", *matches)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    until(lambda: found("SLUICE_EVENT=dead_letter", "MAPPING=orders"), 20 * PATIENCE, "the entry")
    [entry] = found("SLUICE_EVENT=dead_letter", "MAPPING=orders")
    assert entry["_SYSTEMD_UNIT"] == "sluice.service" and entry["PRIORITY"] == "3"
    assert entry["SLUICE_POSITION"] == "3" and "answered 400" in entry["SLUICE_ERROR"]
    assert entry["SYSLOG_IDENTIFIER"] == "sluice"
    assert not found("SLUICE_EVENT=dead_letter", "MAPPING=others")
    assert found("SLUICE_EVENT=mapping_started", "MAPPING=others")
    machine.run("journalctl", "--update-catalog")
    explained = machine.run("journalctl", "-x", "--no-pager", "SLUICE_EVENT=dead_letter")
    assert "A message of mapping orders was given up" in explained
    assert "sluice dlq replay" in explained and "@" not in explained.split("Subject:")[1]


def test_credentials_are_read(cluster, function, machine, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    machine.write("/etc/credstore/sluice.token", "s3cret\n")
    machine.drop_in("[Service]\nLoadCredential=token:/etc/credstore/sluice.token\n")
    text = json.dumps(mapping_for(topic, target={"http": {"auth": {"bearer": "TOKEN"}}}))
    machine.write(MAPPING, text.replace('"TOKEN"', "!credential token"))
    machine.run("systemctl", "start", "sluice")
    function.wait_done(ids(1), 20)
    assert function.invocations[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in machine.journal()


def test_a_killed_service_comes_back_with_its_state(cluster, function, machine, mapping_for):
    topic = cluster.topic(1)
    machine.write(MAPPING, json.dumps(mapping_for(topic, idempotency={"token": "/id"})))
    cluster.produce(topic, numbered(10))
    machine.run("systemctl", "start", "sluice")
    function.wait_done(ids(10), 20)
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "sluice")
    until(lambda: machine.show("sluice", "NRestarts") == "1" and
          machine.show("sluice", "ActiveState") == "active", 20 * PATIENCE, "it was started again")
    cluster.produce(topic, [*numbered(10), *numbered(1, prefix="new")])  # the same ones again
    function.wait_done(ids(1, "new"), 30)
    assert set(function.seen.values()) == {1}


def test_a_thread_that_hangs_gets_it_restarted(function, machine):
    machine.drop_in("[Service]\nWatchdogSec=6s\n")
    machine.write(MAPPING, json.dumps({"source": {"wedge": {"wedge": "/etc/sluice/hang"}},
                                       "target": {"http": {"url": function.url}}}))
    machine.run("systemctl", "start", "sluice")
    machine.write("/etc/sluice/hang", "")
    try:
        until(lambda: "event=watchdog_starved stuck=orders" in machine.journal(), 30 * PATIENCE,
              "the log tells which thread hangs")
        until(lambda: "Watchdog timeout" in machine.journal(), 30 * PATIENCE, "systemd noticed")
    finally:
        (machine.root / "etc/sluice/hang").unlink()
    until(lambda: machine.show("sluice", "NRestarts") != "0" and
          machine.show("sluice", "ActiveState") == "active", 30 * PATIENCE, "it was started again")


def test_a_wrong_file_is_not_tried_again(machine):
    machine.write(MAPPING, "target: 5\n")
    code, _ = machine.run("systemctl", "start", "sluice", with_code=True)
    assert code != 0
    assert machine.show("sluice", "ExecMainStatus") == "78"
    assert machine.show("sluice", "NRestarts") == "0"
    assert machine.show("sluice", "ActiveState") == "failed"
    assert "orders.yaml:1:" in machine.journal()


def test_nobody_is_refused_while_it_restarts(function, machine):
    machine.write(MAPPING, json.dumps({"source": {"wedge": {"wedge": "/etc/sluice/hang"}},
                                       "target": {"http": {"url": function.url}}}))
    machine.run("systemctl", "start", "sluice.socket")
    found, end = [], threading.Event()

    def ask():
        while not end.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", 9090, timeout=30)
            try:
                connection.request("GET", "/livez")
                found.append(connection.getresponse().status)
            except ConnectionRefusedError:
                found.append("refused")
            except OSError:
                found.append("cut off")  # accepted by the old one at its very end
            finally:
                connection.close()
    asker = threading.Thread(target=ask)
    try:
        asker.start()  # who connects starts the service
        until(lambda: 200 in found, 20 * PATIENCE, "an answer")
        for _ in range(3):
            before, count = machine.show("sluice", "MainPID"), len(found)
            machine.run("systemctl", "restart", "sluice")
            assert machine.show("sluice", "MainPID") != before
            until(lambda: len(found) > count + 5, 20 * PATIENCE, "answers after the restart")
            code, text = machine.run("sluice", "status", with_code=True)
            assert code == 0, text
        machine.run("systemctl", "reload", "sluice")  # by a socket that is closed to the service's user
        assert not (machine.root / "run/sluice/control.sock").exists()
    finally:
        end.set()
        asker.join()
        machine.run("systemctl", "stop", "sluice.socket", "sluice")
    assert set(found) <= {200, 503, "cut off"} and found.count("cut off") <= 3
    assert not (machine.root / "run/sluice-control.sock").exists()


def test_dead_letters_are_replayed_by_the_running_service(cluster, function, machine, mapping_for):
    topic = cluster.topic(1)
    function.behave = lambda i: Answer(400, "no") if "m-0" in i.ids else always(200)(i)
    machine.write(MAPPING, json.dumps(mapping_for(topic, retry={"attempts": 1})))
    machine.run("systemctl", "start", "sluice")
    cluster.produce(topic, numbered(3))
    function.wait_done(["m-1", "m-2"], 30)
    until(lambda: "{" in machine.run("sluice", "dlq", "ls", "--json", check=False), 20 * PATIENCE,
          "the dead letter")
    function.behave = always(200)
    code, text = machine.run("sluice", "dlq", "replay", "--mapping", "orders", "--yes", with_code=True)
    assert code == 0, text
    function.wait_done(ids(3), 20)


def test_instances_stand_beside_each_other(cluster, function, machine, mapping_for):
    for name in ("one", "two"):
        topic = cluster.topic(1)
        cluster.produce(topic, numbered(1, prefix=name))
        machine.write(f"/etc/sluice/{name}/sluice.yaml", "{}\n")
        machine.write(f"/etc/sluice/{name}/mappings.d/orders.yaml", json.dumps(mapping_for(topic)))
    try:
        code, _ = machine.run("systemctl", "start", "sluice@one", "sluice@two", with_code=True)
        assert code == 0, machine.journal("sluice@one")
        function.wait_done(["one-0", "two-0"], 20)
        code, _ = machine.run("sluice", "status", "--socket", "/run/sluice-two/control.sock",
                              with_code=True)
        assert code == 0
        machine.run("systemctl", "reload", "sluice@one")
        machine.run("systemctl", "stop", "sluice@one")
        machine.run("systemctl", "start", "sluice@one.socket")
        # Who asks starts the instance, which may be connecting still.
        _, text = machine.run("sluice", "status", "--socket", "/run/sluice-one-control.sock",
                              with_code=True)
        assert "orders" in text, text
        # A reload that comes while it starts is one with the start; one that comes then is its own.
        until(lambda: machine.show("sluice@one", "ActiveState") == "active", 20 * PATIENCE, "the start")
        machine.run("systemctl", "reload", "sluice@one")
        entries = machine.run("journalctl", "SLUICE_EVENT=reloaded", "_SYSTEMD_UNIT=sluice@one.service",
                              "--no-pager", "-o", "cat")
        assert len(entries.splitlines()) == 2, entries
    finally:
        machine.run("systemctl", "stop", "sluice@one.socket", "sluice@one", "sluice@two")
        assert not (machine.root / "run/sluice-one-control.sock").exists()
        for name in ("one", "two"):
            shutil.rmtree(machine.root / "etc/sluice" / name)
            shutil.rmtree(machine.root / f"var/lib/private/sluice-{name}", ignore_errors=True)
