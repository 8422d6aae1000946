"""`sluice status`: how the running service is, for people, scripts and monitoring."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

from lib.function import always, poison
from lib.machine import PATIENCE
from lib.plugin import ids, numbered
from lib.sluice import PROGRAM, run_cli
from lib.waiting import Changes, until


def status(sluice, *arguments):
    done = run_cli("status", "--state", sluice.state, *arguments)
    return done.returncode, done.stdout + done.stderr


def wait_status(sluice, pattern, *arguments):
    """The first output that matches."""
    def found():
        code, text = status(sluice, *arguments)
        return re.search(pattern, text) and (code, text)
    return until(found, 20 * PATIENCE,
                 lambda: f"/{pattern}/ in\n{status(sluice, *arguments)[1]}", every=0.2)


def test_a_healthy_service(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(20))
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(20), 20)
    code, text = wait_status(sluice, r"orders +running +0 ")
    assert code == 0
    head, columns, row = text.splitlines()
    assert re.fullmatch(r"sluice \S+, up \d+s: 1 mapping, 1 good", head)
    assert columns.split() == ["MAPPING", "STATE", "LAG", "OLDEST", "IN/s", "DONE/s", "FLYING",
                               "DEAD"]
    code, text = status(sluice, "orders")
    assert code == 0
    assert "20 received, 20 done, 0 duplicates, 0 dead letters" in text
    code, text = status(sluice, "--json")
    assert code == 0 and json.loads(text)["mappings"][0]["counts"]["done"] == 20
    code, text = status(sluice, "nothing")
    assert (code, text) == (65, "sluice status: there is no mapping nothing\n")


def test_what_is_wrong_is_told_with_its_reason(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = always(401, body="who are \x1b[31myou")
    cluster.produce(topic, numbered(10))
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    code, text = wait_status(sluice, "target paused")
    assert code == 2
    assert "1 bad" in text and "answered 401: who are" in text and "since " in text
    assert "\x1b" not in text
    code, text = wait_status(sluice, r"lag +10 messages, the oldest \d+s old", "orders")
    assert code == 2
    assert re.search(r"error +\d+s ago, 1 times: the function answered 401", text)
    assert re.search(r"breaker +target paused since \S+, \d+s ago, next probe in [12]?\ds\n", text), text
    sluice.control("POST", "/v1/mappings/orders/pause")
    function.behave = always(200)
    code, text = status(sluice)
    assert code == 1 and "paused" in text and "by an operator since" in text
    sluice.control("POST", "/v1/mappings/orders/resume")
    function.wait_done(ids(10), 20)  # at once, not after the 30 s of a paused mapping
    code, text = wait_status(sluice, r"orders +running")
    assert code == 0


def test_the_lanes_furthest_behind_are_named(cluster, function, sluice, mapping_for):
    topic = cluster.topic(5)
    function.behave = always(503)
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    sluice.mapping("one", mapping_for(cluster.topic(1)))
    sluice.start()
    counts = {0: 2, 1: 9, 2: 4, 3: 7}
    cluster.produce(topic, [{**message, "partition": partition}
                            for partition, count in counts.items() for message in numbered(count)])
    code, text = wait_status(sluice, rf"behind +{topic}/1: 9 .*\n +{topic}/3: 7 .*\n +{topic}/2: 4 ",
                             "orders")
    lanes = re.findall(rf"{topic}/(\d): (\d) messages behind, the oldest \d+s old", text)
    assert lanes == [("1", "9"), ("3", "7"), ("2", "4")]
    assert "behind" not in status(sluice, "one")[1]
    mapping = json.loads(status(sluice, "--json", "orders")[1])
    assert [(lane["lane"], lane["lag"]) for lane in mapping["lanes_behind"]] == \
        [(f"{topic}/1", 9), (f"{topic}/3", 7), (f"{topic}/2", 4)]


def test_no_service(sluice):
    code, text = status(sluice)
    assert code == 69 and "no sluice is running" in text


class Terminal:
    """A program on a pseudo terminal of 80x24."""

    def __init__(self, *arguments):
        self.master, self.slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.slave)
        self.changes = Changes()
        self.output = b""
        self.process = subprocess.Popen(
            [PROGRAM, *map(str, arguments)], stdin=self.slave, stdout=self.slave,
            stderr=self.slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": ""})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                return
            with self.changes:
                self.output += piece

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, pattern, after=0):
        """Until the bytes beyond `after` match; returns the match."""
        return self.changes.wait(lambda: re.search(pattern, self.output[after:], re.DOTALL),
                                 20 * PATIENCE, lambda: f"{pattern} in {self.output[-2000:]}")

    def pages(self):
        """What was drawn, page by page, as lists of lines without escape sequences."""
        return [re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", page).replace(b"\r", b"").split(b"\n")
                for page in self.output.split(b"\x1b[H")[2:]]

    def end(self):
        code = self.process.wait(20 * PATIENCE)
        after = termios.tcgetattr(self.slave)
        os.close(self.slave)
        self.reader.join(20 * PATIENCE)  # with the last of the slave's holders gone, it has read all
        return code, after == self.before


def test_watch_fits_the_terminal_and_leaves_it_clean(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = always(500, body="no " * 100)
    cluster.produce(topic, numbered(5))
    sluice.mapping("orders", mapping_for(topic))
    for number in range(30):  # more than fit, all without work
        sluice.mapping(f"idle-{number}-with-a-long-name",
                       mapping_for(topic, {"source": {"kafka": {"group": f"{topic}{number}"}}},
                                   batch={"size": 1}))
    sluice.start()
    terminal = Terminal("status", "--watch", "--state", sluice.state)
    terminal.wait(rb"q quits")
    before = len(terminal.output)
    terminal.resize(10, 40)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.wait(rb"q quits", before + 1)
    terminal.wait(rb"more, no worse", before + 1)
    os.write(terminal.master, b"q")
    code, clean = terminal.end()
    assert code in (0, 1, 2) and clean
    assert terminal.output.endswith(b"\x1b[?25h\x1b[?1049l")
    pages = terminal.pages()
    assert max(len(page) for page in pages) <= 24
    assert max(len(line) for page in pages for line in page) <= 80
    assert len(pages[-1]) <= 10 and max(map(len, pages[-1][:-1])) <= 40


def test_watch_leaves_the_terminal_clean_when_it_is_killed(cluster, function, sluice, mapping_for):
    sluice.mapping("orders", mapping_for(cluster.topic(1)))
    sluice.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        terminal = Terminal("status", "orders", "--watch", "--state", sluice.state)
        terminal.wait(rb"state .*q quits")
        terminal.process.send_signal(number)
        code, clean = terminal.end()
        assert code in (0, 1) and clean
        assert terminal.output.endswith(b"\x1b[?25h\x1b[?1049l")


def test_watch_goes_on_while_the_service_is_away(cluster, function, sluice, mapping_for):
    sluice.mapping("orders", mapping_for(cluster.topic(1)))
    sluice.start()
    terminal = Terminal("status", "--watch", "--state", sluice.state)
    terminal.wait(rb"orders .*q quits")
    sluice.terminate()
    terminal.wait(rb"no sluice is running")
    before = len(terminal.output)
    sluice.start()
    terminal.wait(rb"orders .*q quits", before)
    os.write(terminal.master, b"q")
    assert terminal.end()[1]


# Sets the title, clears, writes over the line, as C0, as C1 in UTF-8 and as C1 bytes.
EVIL = b"evil\x1b]0;title\x07\x1b[2Jgone\rover\n\xc2\x9b31m\x9b2J\x7f"


def orders_to(output):
    """What in a terminal's output only a message or an answer can have brought there."""
    return re.findall(rb"\x1b\]|\x07|\x1b\[2Jgone|\xc2[\x80-\x9f]|\x9b|\x7f", output)


def test_watch_shows_no_order_of_a_function_to_the_terminal(cluster, function, sluice,
                                                            mapping_for):
    topic = cluster.topic(1)
    function.behave = always(401, body=EVIL)
    cluster.produce(topic, numbered(3))
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    for arguments in ((), ("orders",)):
        terminal = Terminal("status", *arguments, "--watch", "--state", sluice.state)
        terminal.wait(rb"evil.*q quits")
        os.write(terminal.master, b"q")
        terminal.end()
        assert orders_to(terminal.output) == []


def test_a_replay_shows_no_order_of_a_function_to_the_terminal(cluster, function, sluice,
                                                               mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(ids(3), 400)
    cluster.produce(topic, numbered(4))
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    sluice.wait_dead(3)
    function.behave = always(503, body=EVIL)
    terminal = Terminal("dlq", "replay", "--all", "--yes", "--config", sluice.config)
    terminal.wait(rb"waiting: .*evil")
    function.behave = always(200)
    terminal.wait(rb"3 replayed")
    terminal.end()
    assert orders_to(terminal.output) == []


def test_watch_needs_a_terminal(sluice):
    code, text = status(sluice, "--watch")
    assert code == 64 and "needs a terminal" in text
