"""Sockets that a service manager made: they are used, and listen on while sluice is away."""

import http.client
import os
import socket
import stat
import threading

import pytest

from lib.machine import free_port
from lib.sluice import run_cli
from lib.waiting import stays, until


@pytest.fixture
def idle(sluice, function, idle_source):
    sluice.mapping("orders", {"source": idle_source, "target": {"http": {"url": function.url}}})
    return sluice


class Manager:
    """Makes the sockets and hands them over, as systemd does."""

    def __init__(self, sluice):
        self.sluice, self.sockets, self.names = sluice, [], []
        self.connectors = sluice._settings["connector_directory"]

    def tcp(self, name):
        made = socket.create_server(("127.0.0.1", free_port()))
        self.sockets.append(made)
        self.names.append(name)
        return made.getsockname()[1]

    def unix(self, path, name):
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(path))
        os.chmod(path, 0o660)
        made.listen()
        self.sockets.append(made)
        self.names.append(name)

    def start(self, ready=True):
        numbers = [made.fileno() for made in self.sockets]
        moves = " ".join(f"{3 + i}<&{number}" for i, number in enumerate(numbers))
        script = (f"exec {moves}; LISTEN_PID=$$ LISTEN_FDS={len(numbers)} "
                  f"LISTEN_FDNAMES={':'.join(self.names)} exec \"$@\"")
        self.sluice.start(ready=ready, wrapper=("bash", "-c", script, "bash"), pass_fds=numbers)

    def close(self):
        for made in self.sockets:
            made.close()


@pytest.fixture
def manager(idle):
    made = Manager(idle)
    yield made
    made.close()


def get(port, path="/livez", timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_nobody_is_refused_while_it_restarts(idle, manager, directory):
    port = manager.tcp("sluice.socket")
    manager.unix(directory / "kept.sock", "sluice.socket")
    idle.settings(listen=f"127.0.0.1:{port}", connector_directory=manager.connectors)
    manager.start(ready=False)
    until(lambda: get(port) == 200, 20, "metrics at the socket that was there")
    status = ("status", "--socket", directory / "kept.sock")
    assert run_cli(*status).returncode == 0
    assert not (idle.state / "control.sock").exists()
    assert idle.terminate() == 0
    assert stat.S_ISSOCK((directory / "kept.sock").stat().st_mode)
    # Asked while nothing runs: the answer comes once something does.
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(get(port))),
               threading.Thread(target=lambda: answers.append(run_cli(*status).returncode))]
    for thread in waiting:
        thread.start()
    stays(lambda: not answers, 0.5, "no answer, and no refusal")
    manager.start(ready=False)
    for thread in waiting:
        thread.join(30)
    assert 200 in answers and {0, 1} & set(answers)  # 1: not yet connected to its source


def test_names_say_what_a_socket_is_for(idle, manager, directory):
    port, orders = manager.tcp("listen"), manager.tcp("control_http")
    manager.unix(directory / "c.sock", "control")
    idle.settings(listen=None, connector_directory=manager.connectors,
                  control_http={"listen": "127.0.0.1:1", "token": "0123456789abcdef"})
    manager.start(ready=False)
    until(lambda: get(port) == 200, 20, "liveness")
    assert get(orders, "/v1/status") == 401
    done = run_cli("status", "--control", f"http://127.0.0.1:{orders}",
                   env={**os.environ, "SLUICE_CONTROL_TOKEN": "0123456789abcdef"})
    assert done.returncode == 0, done.stderr
    assert run_cli("status", "--socket", directory / "c.sock").returncode == 0
    assert idle.find_events("socket_unused") == []


def test_one_that_nothing_is_for_is_told(idle, manager):
    port = manager.tcp("sluice.socket")
    idle.settings(connector_directory=manager.connectors)
    manager.start()
    assert f"127.0.0.1:{port}" in idle.wait_for_event("socket_unused")["address"]


def test_one_that_other_machines_reach_is_refused(idle, manager):
    made = socket.create_server(("0.0.0.0", free_port()))
    manager.sockets.append(made)
    manager.names.append("listen")
    manager.start(ready=False)
    assert idle.wait_exit() == 69
    assert "other machines" in "\n".join(idle.lines)


def test_an_instance_finds_the_socket_kept_for_it(idle, manager, directory):
    manager.unix(directory / "sluice-one-control.sock", "sluice@one.socket")
    manager.start()
    # As a unit's ExecReload= is run.
    unit = {**os.environ, "RUNTIME_DIRECTORY": str(directory / "sluice-one")}
    done = run_cli("reload", env=unit)
    assert done.returncode == 0, done.stderr
    idle.wait_for_event("reloaded")
    (directory / "sluice-two").mkdir()
    done = run_cli("reload", env={**unit, "RUNTIME_DIRECTORY": str(directory / "sluice-two"),
                                  "STATE_DIRECTORY": str(directory / "two")})
    assert done.returncode == 69 and str(directory / "two") in done.stderr, done.stderr
