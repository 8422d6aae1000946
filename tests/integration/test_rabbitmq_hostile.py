"""A broker that breaks AMQP's rules: a named state, a pause, another try; nothing is settled that was not
done, and nothing crashes."""

import contextlib
import socket
import struct

import pytest

from lib.amqp_server import (CANCEL, CHANNEL_CLOSE, CLOSE, MOST, AmqpServer, body, deliver, frame, header,
                             long, message, method, short)
from lib.function import OK, Answer
from lib.machine import PATIENCE
from lib.sluice import run_cli
from lib.waiting import until


def nested(kind, depth):
    """A table's bytes with `depth` tables or arrays within each other."""
    inside = b""
    for _ in range(depth):
        inside = (b"\x01aF" if kind == "F" else b"A") + long(inside)
    return b"\x01x" + inside if kind == "A" else inside




DEEP_TABLE = nested("F", (MOST - 100) // 7)
DEEP_ARRAY = nested("A", (MOST - 100) // 5)


# What it says once it is consumed, and what sluice then says of it.
WORDS = {
    "a frame cut short": (lambda tag: deliver(1, consumer=tag)[:20], "lost: "),
    "a message cut short": (lambda tag: message(1, b"0123456789", consumer=tag)[:-8], "lost: "),
    "no end of a frame": (lambda tag: frame(1, 1, b"\x00\x3c\x00\x3c", end=b"\x00"), "lost: "),
    "a frame of 4 GiB": (lambda tag: b"\x01\x00\x01\xff\xff\xff\xff" + bytes(100), "lost: "),
    "a frame above the limit": (lambda tag: frame(1, 1, bytes(MOST + 1)), "lost: "),
    "an unknown method": (lambda tag: method(1, (99, 99)), "lost: "),
    "a channel never opened": (lambda tag: message(1, channel=9, consumer=tag), "was not opened"),
    "a consumer that is not": (lambda tag: message(1, consumer="somebody"), "consumer that there is not"),
    "a header alone": (lambda tag: header(2), "belongs to no delivery"),
    "a body alone": (lambda tag: body(b"{}"), "belongs to no header"),
    "two headers": (lambda tag: deliver(1, consumer=tag) + header(2) * 2, "belongs to no delivery"),
    "another class": (lambda tag: deliver(1, consumer=tag) + header(2, klass=61), "lost: "),
    "a delivery within another": (lambda tag: deliver(1, consumer=tag) * 2, "within another"),
    "a body too long": (lambda tag: deliver(1, consumer=tag) + header(1) + body(b"{}"), "belongs to no header"),
    "a message of 16 EiB": (lambda tag: deliver(1, consumer=tag) + header(2**64 - 1), "larger than 512 MiB"),
    "a tag left out": (lambda tag: message(2, consumer=tag), "skipped a delivery tag"),
    "a tag twice": (lambda tag: message(1, consumer=tag) * 2, "skipped a delivery tag"),
    "a table cut short": (lambda tag: deliver(1, consumer=tag) + header(0, b"\x05abc"), "lost: "),
    "a table longer than its frame": (lambda tag: deliver(1, consumer=tag) + frame(2, 1, struct.pack(
        ">HHQHI", 60, 0, 0, 0x2000, 10_000_000)), "lost: "),
    "a field of unknown type": (lambda tag: deliver(1, consumer=tag) + header(0, b"\x01aQ\x00"), "lost: "),
    "a string longer than its table": (lambda tag: deliver(1, consumer=tag) + header(
        0, b"\x01aS\xff\xff\xff\xff"), "lost: "),
    "flags without end": (lambda tag: deliver(1, consumer=tag) + header(0, b"", flags=0xffff), "lost: "),
    "the channel closed": (lambda tag: method(1, CHANNEL_CLOSE, struct.pack(">H", 406)
                                              + short("x" * 255) + bytes(4)), "cannot be consumed: x"),
    "the connection closed": (lambda tag: method(0, CLOSE, struct.pack(">H", 320)
                                                 + short("bye\n") + bytes(4)), "lost: bye "),
}


@pytest.fixture
def broker():
    """broker(...) makes an AmqpServer."""
    with contextlib.ExitStack() as stack:
        yield lambda *a, **k: stack.enter_context(contextlib.closing(AmqpServer(*a, **k)))


class At:
    """What rabbit_mapping needs of a server."""

    def __init__(self, server):
        self.server = server

    def address(self):
        return self.server.address


def mapping_of(rabbit_mapping, server, **options):
    return rabbit_mapping(At(server), "q", {"source": {"rabbitmq": {"connect_timeout": "2s",
                                                                     "heartbeat": "1s", **options}}})


def wait_said(sluice, text, **fields):
    until(lambda: any(text in event["text"] for event in sluice.find_events("source_state", **fields)),
          30, lambda: f"{text!r}; said: {sluice.find_events('source_state', **fields)}")


def test_words(broker, function, sluice, rabbit_mapping):
    """All of them at once, each to a mapping of its own; one more has a broker that is well."""
    servers = {}
    for number, (name, (words, _)) in enumerate(WORDS.items()):
        servers[name] = broker(words)
        sluice.mapping(f"m{number:02}", mapping_of(rabbit_mapping, servers[name]))
    well = broker(lambda tag: message(1, b'{"id": "well"}', consumer=tag))
    sluice.mapping("well", mapping_of(rabbit_mapping, well))
    sluice.start()
    for number, (name, (_, said)) in enumerate(WORDS.items()):
        wait_said(sluice, said, mapping=f"m{number:02}")
        until(lambda: servers[name].connections >= 2 or name == "the channel closed", 20,
              f"another try: {name}")
        assert not servers[name].settled, name
    function.wait_done(["well"], 20)
    until(lambda: len(well.settled) == 1, 20 * PATIENCE, "its acknowledgement")
    assert sluice.terminate() == 0


@pytest.mark.parametrize("table", [DEEP_TABLE, DEEP_ARRAY, b"\x01aF" + long(DEEP_TABLE[:-9])],
                         ids=["tables", "arrays", "cut"])
def test_headers_as_deep_as_a_frame_allows(broker, function, sluice, rabbit_mapping, table):
    server = broker(lambda tag: deliver(1, consumer=tag) + header(2, table) + body(b"{}"))
    sluice.mapping("m", mapping_of(rabbit_mapping, server))
    sluice.start()
    until(lambda: function.invocations or server.connections >= 2, 20, "an end of it")
    assert sluice.running
    assert len(server.settled) <= len(function.invocations)
    assert sluice.terminate() == 0


@pytest.mark.parametrize("table", [DEEP_TABLE, DEEP_ARRAY, b"\x05abc", b"\x01aS\xff\xff\xff\xff"],
                         ids=["tables", "arrays", "cut", "longer"])
def test_what_the_server_says_of_itself(broker, sluice, rabbit_mapping, table):
    server = broker(start=table)
    sluice.mapping("m", mapping_of(rabbit_mapping, server))
    done = run_cli("check", "--connect", "--config", sluice.config)
    assert done.returncode >= 0, "it ended by a signal"
    sluice.start()
    until(lambda: sluice.find_events("source_state"), 20, "a state")
    assert sluice.terminate() == 0


def test_a_broker_that_reads_no_more(broker, function, sluice, rabbit_mapping):
    """Its heartbeats come, but what is acknowledged fills the socket."""
    def words(tag):
        return b"".join(message(n, b'{"id": "m-%d"}' % n, consumer=tag) for n in range(1, 20_001))

    function.behave = lambda invocation: Answer(200, delay=60) if "m-1" in invocation.ids else OK
    server = broker(words, then="deaf", heartbeat=1, receive_buffer=2048)
    sluice.mapping("m", mapping_of(rabbit_mapping, server) | {"order": "none"})
    sluice.start()
    wait_said(sluice, "lost: a socket error")
    until(lambda: server.connections >= 2, 20, "another try")
    assert sluice.terminate() == 0


def test_a_stream_is_probed_by_a_broker_that_errs(broker, sluice, rabbit_mapping):
    """Answers that were not asked for lead nowhere."""
    server = broker(lambda tag: method(1, (60, 31), short(tag)) * 3 + method(1, CANCEL, short(tag) + b"\x00"))
    sluice.mapping("m", mapping_of(rabbit_mapping, server, stream_offset="first"))
    sluice.start()
    sluice.wait_for_event("consumer_cancelled")
    assert sluice.terminate() == 0


LOOK = b"sluice-look"  # the consumer that looks where a stream ends


def of_stream(tag, number, offset, channel):
    """A delivery of a stream: {"id": "s-OFFSET"} at `offset`."""
    table = short("x-stream-offset") + b"l" + struct.pack(">q", offset)
    return message(number, b'{"id": "s-%d"}' % offset, consumer=tag, table=table, channel=channel)


@pytest.mark.parametrize("way", ["behind", "nothing"])
def test_a_stream_is_asked_for_again(broker, function, sluice, rabbit_mapping, way):
    """RabbitMQ may begin behind the offset that it was asked for, or wait with it until the stream grows:
    what it left out was not removed, and comes when it is asked again."""
    consumed = []

    def words(tag):
        if tag == LOOK:
            return b""
        # The first time three messages. Once they are done, and the connection cut: a probe, which is
        # shown the end, and a consumer that is to begin at offset 2; the next of these two are right.
        consumed.append(tag)
        turn = len(consumed)
        if turn == 1:
            return b"".join(of_stream(tag, n + 1, n, 1) for n in range(3))
        channel = server.asked_on
        if turn % 2 == 0:
            return of_stream(tag, 1, 5, channel)
        if turn > 3:
            return b"".join(of_stream(tag, n, n, channel) for n in range(2, 6))
        return of_stream(tag, 2, 5, channel) if way == "behind" else b""

    server = broker(words)
    mapping = rabbit_mapping(At(server), "q", {"source": {"rabbitmq": {
        "connect_timeout": "2s", "heartbeat": "60s", "stream_offset": "first"}}})
    del mapping["idempotency"]
    sluice.mapping("m", mapping)
    sluice.start()
    function.wait_done(["s-0", "s-1", "s-2"], 20)
    until(lambda: sluice.metric("sluice_messages_settled_total", mapping="m") == 3, 10, "the settlement of three")
    server.open[0].shutdown(socket.SHUT_RDWR)
    function.wait_done(["s-3", "s-4", "s-5"], 20)
    assert set(function.seen.values()) == {1}
    assert not sluice.find_events("stream_cut")
    assert sluice.terminate() == 0
