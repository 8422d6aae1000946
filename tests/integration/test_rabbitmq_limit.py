"""Quorum queues drop what was delivered too often. Whatever is down, and however often sluice is stopped or
killed meanwhile, no message is lost by that."""

import contextlib
import json
import struct

import pytest

from lib.amqp_server import ACK, AmqpServer, long, message, short
from lib.function import OK, Answer
from lib.plugin import ids, numbered, with_message_ids
from lib.rabbitmq import QUORUM
from lib.sluice import run_cli
from lib.waiting import until
from test_park import parked, wait_parked

LIMIT = 3


def limited(rabbit, limit=LIMIT):
    """A queue, and the one where the broker puts what it drops."""
    dropped = rabbit.queue()
    return rabbit.queue(**QUORUM, **{"x-delivery-limit": limit, "x-dead-letter-exchange": "",
                                     "x-dead-letter-routing-key": dropped}), dropped


def source(**options):
    return {"source": {"rabbitmq": options}}


def wait_held(sluice, rabbit, queue, count):
    """Each message is here: parked, or delivered and not settled."""
    def here():
        try:
            kept = parked(sluice)["count"]
        except OSError:  # it is just starting
            return False
        return not rabbit.ready(queue) and kept + rabbit.unsettled(queue) >= count
    until(here, 30, lambda: f"{count} messages that are parked or held\n{sluice.tail()}", every=0.05)


def play(rabbit, function, sluice, rabbit_mapping, mapping, turns=8, limit=LIMIT):
    queue, dropped = limited(rabbit)
    rabbit.produce(queue, with_message_ids(numbered(60)))
    sluice.mapping("m", rabbit_mapping(rabbit, queue, {**mapping, **source(delivery_limit=limit)}))
    for turn in range(turns):
        sluice.start()
        wait_held(sluice, rabbit, queue, 60)
        if turn % 3:
            sluice.kill9()
        else:
            sluice.terminate()
    assert rabbit.ready(dropped) == 0, "the broker dropped them"
    return queue, dropped


@pytest.mark.parametrize("order", ["lane", "none"])
@pytest.mark.parametrize("outage", ["refuses", "503", "500", "hangs"])
def test_no_outage_makes_the_broker_drop_messages(rabbit, function, sluice, rabbit_mapping, order, outage):
    answers = {"503": Answer(503), "500": Answer(500), "hangs": Answer(delay=60)}
    if outage == "refuses":
        function.refuse()
    else:
        function.behave = lambda invocation: answers[outage]
    done = []

    def behave(invocation):
        done.extend(invocation.ids)
        return OK
    queue, dropped = play(rabbit, function, sluice, rabbit_mapping, {"order": order})
    function.behave = behave
    if outage == "refuses":
        function.listen()
    sluice.start()
    function.wait_done(ids(60), 40)
    rabbit.wait_settled(queue)
    wait_parked(sluice, 0)
    assert sluice.dead() == [] and rabbit.ready(dropped) == 0
    if order == "lane":
        assert list(dict.fromkeys(done)) == ids(60)


def test_what_comes_later_waits_in_its_lane(rabbit, function, sluice, rabbit_mapping):
    """With order: lane only what is endangered leaves the queue, and the rest is behind it."""
    function.refuse()
    queue, _ = play(rabbit, function, sluice, rabbit_mapping, {"order": "lane"}, turns=3)
    rabbit.produce(queue, with_message_ids(numbered(20, prefix="late")))
    sluice.start()
    wait_held(sluice, rabbit, queue, 80)
    assert parked(sluice)["count"] == 60 and rabbit.unsettled(queue) == 20
    order = []
    function.behave = lambda invocation: order.extend(invocation.ids) or OK
    function.listen()
    function.wait_done([*ids(60), *ids(20, "late")], 30)
    rabbit.wait_settled(queue)
    assert list(dict.fromkeys(order)) == [*ids(60), *ids(20, "late")]


def test_the_limit_of_a_queue_that_is_declared_here_is_known(rabbit, function, sluice, rabbit_mapping):
    name = f"{rabbit.queue()}-made"
    function.refuse()
    options = {"declare": "quorum", "arguments": {"x-delivery-limit": "3"}}
    sluice.mapping("m", rabbit_mapping(rabbit, name, source(**options)))
    sluice.start()
    sluice.wait_for_event("source_state", state="running")
    rabbit.produce(name, numbered(5))
    wait_held(sluice, rabbit, name, 5)
    assert parked(sluice)["count"] == 0
    sluice.kill9()
    sluice.start()
    wait_parked(sluice, 5)
    rabbit.wait_settled(name)
    function.listen()
    function.wait_done(ids(5), 20)


@pytest.mark.parametrize("limit, words", [
    (1, "raise it to 3 or more"), (3, "parked here when it was delivered 1 time before"),
    (20, "delivered 15 times before"), (None, "say so with source.rabbitmq.delivery_limit"), (-1, "")])
def test_check_tells_of_the_limit(rabbit, sluice, rabbit_mapping, limit, words):
    options = {} if limit is None else {"delivery_limit": limit}
    sluice.mapping("m", rabbit_mapping(rabbit, rabbit.queue(), source(**options)))
    done = run_cli("check", "--connect", "--config", sluice.config)
    assert done.returncode == 0 and words in done.stdout + done.stderr
    assert words or "delivery limit" not in done.stdout + done.stderr


@pytest.mark.parametrize("product, version, counts, parks", [
    ("RabbitMQ", "4.0.5", [14, 15], [15]), ("RabbitMQ", "3.13.7", [15, 40], []),
    ("LavinMQ", "4.1.0", [15], []), ("", "", [15], [])])
def test_the_brokers_version_tells_the_limit(function, sluice, rabbit_mapping, product, version, counts, parks):
    def text(name, value):
        return short(name) + b"S" + long(value.encode())

    def words(tag):
        return b"".join(message(number + 1, json.dumps({"id": str(count)}).encode(), consumer=tag,
                                table=short("x-delivery-count") + b"l" + struct.pack(">q", count))
                        for number, count in enumerate(counts))
    function.refuse()
    start = text("product", product) + text("version", version) if product else b""
    with contextlib.closing(AmqpServer(words, start=start)) as server:
        sluice.mapping("m", rabbit_mapping(At(server.address), "q", {"order": "none"}))
        sluice.start()
        until(lambda: sluice.control("GET", "/v1/mappings/m")[1]["counts"]["received"] == len(counts), 20, "all messages")
        wait_parked(sluice, len(parks))
        until(lambda: len(server.settled) == len(parks), 20, "their acknowledgements")
        assert [(name, struct.unpack(">Q", rest[:8])[0]) for name, rest in server.settled] == [
            (ACK, counts.index(count) + 1) for count in parks]


class At:
    """What rabbit_mapping needs of a server."""

    def __init__(self, address):
        self.address = lambda: address
