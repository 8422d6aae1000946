"""sluice itself: the built program, run in a directory of its own."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from lib.machine import BUILD, PATIENCE
from lib.waiting import Changes, Timeout, until

PROGRAM = BUILD / "sluice"


def merge(base, changes):
    """A deep copy of `base` with `changes` laid over it; None removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def quick_rules(function):
    """What the mappings of all sources have in common."""
    return {
        "batch": {"size": 10, "window": "20ms"},
        "target": {"http": {"url": function.url, "timeout": "5s", "connect_timeout": "1s",
                            "concurrency": "1..8"},
                   "format": "json"},
        "retry": {"attempts": 3, "backoff": "10ms..100ms", "patience": "1m"},
    }


def run_cli(*arguments, timeout=30, **options):
    """Runs `sluice ARGUMENTS` to its end; returns a CompletedProcess with text output."""
    return subprocess.run([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          timeout=timeout * PATIENCE, **({"stdin": subprocess.DEVNULL, **options} if "input" not in options else options))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


def _ask(socket_path, method, path, body=None, headers=None):
    connection = _UnixConnection(socket_path)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Sluice:
    """One directory with configuration and state, and at most one running sluice on it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.config = self.directory / "config"
        self.mappings = self.config / "mappings.d"
        self.state = self.directory / "state"
        self.listener = self.directory / "listen"
        self.mappings.mkdir(parents=True, exist_ok=True)
        self.changes = Changes()
        self.lines = []    # what it wrote, all runs together
        self.events = []   # the lines that were JSON, as dicts
        self.starts = 0
        self._process = None
        self._reader = None
        self.environment = {}
        self.settings()

    # -- configuration --

    def settings(self, **changes):
        """Writes sluice.yaml."""
        self._settings = merge({
            "state_directory": str(self.state),
            "listen": f"unix:{self.listener}",
            "log": {"format": "json", "level": "info"},
            "connector_directory": str(BUILD / "connectors"),
        }, changes)
        (self.config / "sluice.yaml").write_text(json.dumps(self._settings, indent=2))

    def mapping(self, name, content):
        """Writes a mapping: text as it is, a dict as JSON (which is YAML)."""
        text = content if isinstance(content, str) else json.dumps(content, indent=2)
        (self.mappings / f"{name}.yaml").write_text(text)

    # -- process --

    def start(self, ready=True, wrapper=(), pass_fds=()):
        assert not self.running, "it runs already"
        self._process = subprocess.Popen(
            [*wrapper, PROGRAM, "run", "--config", self.config], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.directory, pass_fds=pass_fds,
            env={**os.environ, **self.environment})
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,),
                                        daemon=True)
        self._reader.start()
        self.starts += 1
        if ready:
            self.wait_alive()
        return self

    def _read(self, stream):
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            with self.changes:
                self.lines.append(line)
                if isinstance(event, dict):
                    self.events.append(event)
        stream.close()

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    def _gone(self, code):
        self._reader.join(10)
        self._process = None
        return code

    def wait_exit(self, timeout=20):
        """Waits until it ends by itself and returns its exit code."""
        try:
            return self._gone(self._process.wait(timeout * PATIENCE))
        except subprocess.TimeoutExpired:
            raise Timeout(f"exit of sluice did not happen within {timeout} s\n{self.tail()}") \
                from None

    def terminate(self, timeout=20):
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def kill9(self):
        self._process.kill()
        self._process.wait()
        return self._gone(-9)

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def close(self):
        """End of the test: it must still run, or have been ended by the test."""
        if not self._process:
            return
        code = self._process.poll()
        self._process.kill()
        self._process.wait()
        self._gone(code)
        assert code is None, f"sluice ended by itself with {code}\n{self.tail()}"

    def tail(self, count=30):
        with self.changes:
            return "\n".join(self.lines[-count:])

    # -- log --

    def find_events(self, event=None, **fields):
        """Log lines with that event name (a regular expression) and those fields."""
        with self.changes:
            return [e for e in self.events
                    if (event is None or re.fullmatch(event, str(e.get("event"))))
                    and all(e.get(name) == value for name, value in fields.items())]

    def wait_for_event(self, event, timeout=20, **fields):
        return self.changes.wait(lambda: (self.find_events(event, **fields) or [None])[0],
                                 timeout * PATIENCE,
                                 lambda: f"log event {event} {fields}\n{self.tail()}")

    def wait_for_log(self, pattern, timeout=20, after=0):
        """Waits for a line (beyond the first `after`) that matches the regular expression."""
        expression = re.compile(pattern, re.IGNORECASE)

        def found():
            return next((line for line in self.lines[after:] if expression.search(line)), None)
        return self.changes.wait(found, timeout * PATIENCE,
                                 lambda: f"log line /{pattern}/\n{self.tail()}")

    # -- HTTP listener --

    def get(self, path, **headers):
        """(status, body) of the listener."""
        return _ask(self.listener, "GET", path, headers=headers)

    def control(self, method, path, body=None):
        """(status, JSON) of the control socket."""
        status, text = _ask(self.state / "control.sock", method, path,
                            None if body is None else json.dumps(body))
        return status, json.loads(text)

    def wait_alive(self, timeout=15):
        def alive():
            if not self.running:
                raise AssertionError(f"sluice ended with {self._process.poll()}\n{self.tail()}")
            try:
                return self.get("/livez")[0] == 200
            except OSError:
                return False
        until(alive, timeout * PATIENCE, lambda: f"/livez of sluice\n{self.tail()}", every=0.02)

    def metrics(self):
        """{(name, (("label", "value"), ...)): number}"""
        found = {}
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(r'([a-z_0-9]+)(?:\{(.*)\})? ([-+.0-9eEInfNa]+)', line)
            if match:
                labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")))
                found[match[1], labels] = float(match[3])
        return found

    def metric(self, name, **labels):
        """Sum over all series of that name which have those labels."""
        return sum(value for (metric, has), value in self.metrics().items()
                   if metric == name and labels.items() <= dict(has).items())

    # -- dead letters --

    def dlq(self, *arguments):
        """`sluice dlq ARGUMENTS --json`, parsed: a list for `ls`, one thing for `show`."""
        done = run_cli("dlq", *arguments, "--json", "--state", self.state)
        assert done.returncode == 0, f"dlq {arguments}: {done.returncode} {done.stderr}"
        if arguments[0] == "ls": # a line for each, so that other programs can stop early
            return [json.loads(line) for line in done.stdout.splitlines()]
        return json.loads(done.stdout)

    def dead(self):
        """All dead letters; [] also while the store has not been made yet."""
        if not list(self.state.glob("dead-letters*")):
            return []
        return self.dlq("ls", "--limit", "10000")

    def wait_dead(self, count, timeout=20):
        found = []

        def enough():
            found[:] = self.dead()
            return len(found) >= count
        until(enough, timeout * PATIENCE,
              lambda: f"{count} dead letters ({len(found)} there)\n{self.tail()}", every=0.1)
        return found


def has_program():
    return PROGRAM.exists() and shutil.which(PROGRAM) is not None


def elapsed(begin):
    return time.monotonic() - begin
