"""`sluice tail`: a live sample of messages and what becomes of them."""

import json
import os
import pty
import re
import signal
import subprocess
import threading

import pytest

from lib.function import OK, Answer, name_failed
from lib.machine import PATIENCE
from lib.plugin import ids, numbered
from lib.sluice import PROGRAM, run_cli
from lib.waiting import Changes, until


class Tail:
    """A running `sluice tail`, with the lines that it printed."""

    def __init__(self, sluice, *arguments):
        self.changes, self.lines = Changes(), []
        self._terminal, stderr = pty.openpty()
        self.process = subprocess.Popen(
            [PROGRAM, "tail", "--state", sluice.state, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, text=True)
        os.close(stderr)
        # It says so once it has looked: the sample is taken from then on.
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(self._terminal, 1000)
        assert said == b"watching orders; Ctrl-C ends it\r\n"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changes:
                self.lines.append(line.rstrip("\n"))
        self.process.stdout.close()

    def wait(self, condition, what, timeout=20):
        return self.changes.wait(lambda: condition(self.lines), timeout * PATIENCE,
                                 lambda: what + "\n" + "\n".join(self.lines))

    def end(self, how=signal.SIGINT):
        """(exit code, stderr)"""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(20)
        self._reader.join(10)
        try:
            return code, os.read(self._terminal, 1000).decode()
        except OSError:  # EIO: there was nothing, and nobody has the other end any more
            return code, ""
        finally:
            os.close(self._terminal)


@pytest.fixture
def tail(sluice):
    running = []

    def begin(*arguments):
        running.append(Tail(sluice, *arguments))
        return running[-1]
    yield begin
    for one in running:
        one.process.kill()
        one.process.wait()


def entries(lines):
    return [json.loads(line) for line in lines]


def test_each_message_with_its_outcome(cluster, function, sluice, mapping_for, tail):
    topic = cluster.topic(1)
    function.behave = lambda i: Answer(400, "no \x1b[31mway") if "bad-0" in i.ids else OK
    sluice.mapping("orders", mapping_for(topic, retry={"attempts": 2}, filter=[{"value": {"n": [
        {"numeric": ["<", 5]}]}}], batch={"size": 1}))
    sluice.start()
    every, failures = tail("orders", "--json"), tail("orders", "--json", "--failed")
    cluster.produce(topic, [{**m, "key": "k"} for m in [
        *numbered(8, prefix="a"), *numbered(1, prefix="bad"), *numbered(1, prefix="b")]])
    function.wait_done(ids(5, "a") + ids(1, "b"), 20)
    sluice.wait_dead(1)
    every.wait(lambda lines: {e["outcome"] for e in entries(lines)} >= {"done", "filtered", "poison", "dead"},
               "all outcomes")
    seen = entries(every.lines)
    done = [e for e in seen if e["outcome"] == "done"]
    assert [e["position"] for e in done] == [0, 1, 2, 3, 4, 9]
    assert all(e["lane"] == f"{topic}/0" and e["key"] == "k" and not e["failed"] and
               e["invocation"]["status"] == 200 and 0 < e["invocation"]["seconds"] < 20
               and "payload" not in e and e["error"] is None for e in done)
    assert [e["position"] for e in seen if e["outcome"] == "filtered"] == [5, 6, 7]
    failed = failures.wait(lambda lines: any(e["outcome"] == "dead" for e in entries(lines)) and
                           entries(lines), "the dead letter")
    assert {e["position"] for e in failed} == {8} and all(e["failed"] for e in failed)
    poisoned = next(e for e in failed if e["outcome"] == "poison")
    assert poisoned["invocation"]["status"] == 400 and "answered 400: no" in poisoned["error"]
    assert every.end() == (0, "") and failures.end(signal.SIGTERM) == (0, "")


def test_for_people(cluster, function, sluice, mapping_for, tail):
    """Nothing of a message or an answer reaches the terminal as an order."""
    topic = cluster.topic(1)
    function.behave = lambda i: Answer(500, "\x1b]0;owned\x07")
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    shown = tail("orders", "--payload", "--limit", 2)
    cluster.produce(topic, [{"key": "k\x1b[2J", "value": "\x1b[31m\u202ered\u009b5m", "headers": []}])
    shown.wait(lambda lines: len(lines) >= 4, "two attempts")
    assert shown.end() == (0, "")
    text = "\n".join(shown.lines)
    assert not set(text) & {"\x1b", "\x07", "\u202e", "\u009b"}
    assert r"k\x1b[2J" in text and r"\x1b[31m" in text and "failed" in text
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  failed ", line) for line in shown.lines[::2])
    assert f"{topic}/0/0" in text and "attempt 2" in text and "500" in text


def test_binary_and_long_payloads(cluster, function, sluice, mapping_for, tail):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic, batch={"size": 10, "window": "300ms"}))
    sluice.start()
    shown = tail("orders", "--payload", "--json", "--limit", 3)
    cluster.produce(topic, [{"value": b"\xff\x00"}, {"value": "é" * 5000}, {"value": None}])
    shown.wait(lambda lines: len(lines) == 3, "three")
    assert shown.process.wait(20) == 0
    binary, long, null = entries(shown.lines)
    assert binary["payload"] == {"base64": "/wA="} and binary["size"] == 2
    assert long["payload"] == "é" * 2048 and long["size"] == 10000
    assert null["payload"] is None
    assert binary["invocation"]["messages"] == 3


def test_what_the_function_named(cluster, function, sluice, mapping_for, tail):
    topic = cluster.topic(1)
    function.behave = name_failed(["m-1"])
    sluice.mapping("orders", mapping_for(topic, retry={"attempts": 2}, batch={"size": 10, "window": "1s"},
                                         target={"report_failures": True}))
    sluice.start()
    shown = tail("orders", "--failed", "--json")
    cluster.produce(topic, numbered(3))
    sluice.wait_dead(1)
    failed = shown.wait(lambda lines: any(e["outcome"] == "dead" for e in entries(lines)) and
                        entries(lines), "the dead letter")
    assert {e["position"] for e in failed} == {1} and failed[0]["outcome"] == "named"


def test_a_flood_is_sampled_and_slows_nothing(cluster, function, sluice, mapping_for, tail):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(20000))
    function.behave = lambda i: Answer(503)
    sluice.mapping("orders", mapping_for(topic, batch={"size": 100}))
    sluice.start()
    until(lambda: sluice.metric("sluice_breaker_state", state="target_unavailable") == 1, 20, "down")
    shown = tail("orders", "--json", "--payload")
    function.behave = lambda i: OK
    sluice.control("POST", "/v1/mappings/orders/resume")
    function.wait_done(ids(20000), 60)

    def told(lines):
        found = entries(lines)
        dropped = sum(e.get("dropped", 0) for e in found)
        done = sum(e.get("outcome") == "done" for e in found)
        return done + dropped >= 20000 and (done, dropped)
    done, dropped = shown.wait(told, "all of them, shown or counted")
    assert done < 20000 / 2 and dropped > 1000


def test_a_reload_is_survived_and_mistakes_are_told(cluster, function, sluice, mapping_for, tail):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic))
    done = run_cli("tail", "orders", "--state", sluice.state)
    assert done.returncode == 69 and "no sluice is running" in done.stderr
    sluice.start()
    for arguments, code, text in (([], 64, "which mapping?"), (["nothing"], 65, "no mapping nothing"),
                                  (["orders", "--limit", "0"], 64, "whole number"),
                                  (["../x"], 65, "no mapping")):
        done = run_cli("tail", *arguments, "--state", sluice.state)
        assert done.returncode == code and text in done.stderr, done.stderr
    assert sluice.control("GET", "/v1/mappings/orders/tail?after=x")[0] == 400
    shown = tail("orders", "--json")
    sluice.mapping("orders", mapping_for(topic, batch={"size": 7}))
    assert sluice.control("POST", "/v1/reload")[1]["changed"] == 1
    cluster.produce(topic, numbered(1))
    shown.wait(lambda lines: lines, "a message after a reload")
    sluice.terminate()
    shown.wait(lambda _: shown.process.poll() is not None, "its end")
    code, text = shown.end()
    # Between two looks, or within one: then the answer broke off.
    assert code in (69, 76) and text.startswith("sluice tail: ")
