"""What the service manager is told, by a socket that is what systemd's is."""

import os
import socket
import threading

import pytest

from lib.function import always
from lib.machine import PATIENCE
from lib.plugin import ids, numbered
from lib.waiting import Changes, stays, until

class Manager:
    """Collects what is sent to $NOTIFY_SOCKET, as dicts."""

    def __init__(self, name):
        self.name = str(name)
        self.changes = Changes()
        self.messages = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.name.replace("@", "\0", 1))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            text = self._socket.recv(65536).decode()
            message = dict(line.split("=", 1) for line in text.split("\n"))
            with self.changes:
                self.messages.append(message)

    def find(self, **fields):
        with self.changes:
            return [m for m in self.messages if fields.items() <= m.items()]

    def wait(self, predicate, what, after=0):
        """The first message beyond `after` that the predicate is true of."""
        return self.changes.wait(
            lambda: next((m for m in self.messages[after:] if predicate(m)), None), 20 * PATIENCE,
            lambda: f"{what} in {self.messages[-10:]}")


@pytest.fixture(params=["path", "abstract"])
def manager(request, directory, sluice):
    name = directory / "notify" if request.param == "path" else f"@sluice-test-{directory.name}"
    manager = Manager(name)
    sluice.environment["NOTIFY_SOCKET"] = manager.name
    return manager


def test_a_life(cluster, function, sluice, mapping_for, manager):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic))
    cluster.produce(topic, numbered(10))
    sluice.start()
    manager.wait(lambda m: m.get("READY") == "1", "READY")
    function.wait_done(ids(10), 20)
    manager.wait(lambda m: m.get("STATUS", "").startswith("1 of 1 mappings good"), "a good STATUS")
    count = len(manager.messages)
    status, _ = sluice.control("POST", "/v1/reload")
    assert status == 200
    reloading = manager.wait(lambda m: m.get("RELOADING") == "1", "RELOADING", count)
    assert int(reloading["MONOTONIC_USEC"]) > 0
    manager.wait(lambda m: m.get("READY") == "1", "READY after the reload", count)
    function.behave = always(401)
    cluster.produce(topic, numbered(1, prefix="more"))
    manager.wait(lambda m: "orders: target_paused, the function answered 401" in
                 m.get("STATUS", ""), "the trouble in STATUS")
    assert not manager.find(WATCHDOG="1")  # nobody asked for it
    count = len(manager.messages)
    assert sluice.terminate() == 0
    manager.wait(lambda m: m.get("STOPPING") == "1", "STOPPING", count)


def test_a_long_drain_asks_for_more_time(cluster, function, sluice, mapping_for, manager):
    topic = cluster.topic(1)
    gate, begun = threading.Event(), threading.Event()

    def behave(invocation):
        begun.set()
        gate.wait(20)
        return always(200)(invocation)
    function.behave = behave
    sluice.mapping("orders", mapping_for(topic, drain="30s", target={"http": {"timeout": "20s"}}))
    cluster.produce(topic, numbered(1))
    sluice.start()
    assert begun.wait(20)
    os.kill(sluice.pid, 15)
    until(lambda: len([m for m in manager.messages if "EXTEND_TIMEOUT_USEC" in m]) >= 3, 10,
          "asked for more time again and again")
    gate.set()
    assert sluice.wait_exit() == 0
    function.wait_done(ids(1), 1)


@pytest.fixture
def wedged(directory, sluice, function, idle_source):
    """A mapping whose thread hangs while the returned file exists."""
    sluice.mapping("orders", {"source": idle_source, "target": {"http": {"url": function.url}}})
    return directory / "wedge"


def test_the_watchdog_is_fed_only_while_threads_turn(sluice, manager, wedged):
    sluice.environment["WATCHDOG_USEC"] = "6000000"
    sluice.start()
    until(lambda: len(manager.find(WATCHDOG="1")) >= 3, 20, "fed three times")
    wedged.touch()
    event = sluice.wait_for_event("watchdog_starved", stuck="orders")
    assert "p0-orders: " in event["threads"] and "recorder: " in event["threads"]
    fed = len(manager.find(WATCHDOG="1"))
    stays(lambda: len(manager.find(WATCHDOG="1")) == fed, 4, "fed though a thread is stuck")
    wedged.unlink()
    until(lambda: len(manager.find(WATCHDOG="1")) > fed, 20, "fed again")
    assert sluice.terminate() == 0


def test_a_thread_stuck_from_the_start_is_not_ready(sluice, manager, wedged):
    wedged.touch()
    sluice.environment["WATCHDOG_USEC"] = "6000000"
    sluice.start(ready=False)
    sluice.wait_for_event("watchdog_starved")
    assert not manager.find(READY="1")
    wedged.unlink()
    manager.wait(lambda m: m.get("READY") == "1", "READY")
