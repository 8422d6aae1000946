"""RabbitMQ's streams: the broker forgets nothing and remembers no reader, so sluice keeps the place."""

import contextlib
import datetime
import json

import pytest

from lib.function import OK, Answer
from lib.machine import LONG
from lib.plugin import ids, merge, numbered
from lib.proxy import Proxy
from lib.rabbitmq import STREAM
from lib.sluice import run_cli
from lib.waiting import stays, until


@pytest.fixture
def stream(rabbit):
    return rabbit.queue(**STREAM)


@pytest.fixture
def stream_mapping(rabbit, rabbit_mapping):
    """As rabbit_mapping, with positions as tokens: stream_mapping(stream, offset, ...)."""
    def make(stream, offset="first", server=rabbit, **sections):
        source = {"rabbitmq": {"stream_offset": offset}}
        mapping = rabbit_mapping(server, stream, merge({"source": source}, sections))
        del mapping["idempotency"]
        return mapping
    return make


def order_of(function):
    return [record.id for invocation in function.invocations for record in invocation.records]


def test_all_once_through_restarts(rabbit, stream, function, sluice, stream_mapping):
    sluice.mapping("m", stream_mapping(stream))
    for number, end in enumerate((sluice.terminate, sluice.kill9, sluice.terminate)):
        rabbit.produce(stream, numbered(300, prefix=f"s{number}"))
        sluice.start()
        function.wait_done(ids(300, f"s{number}"), 20)
        until(lambda: sluice.metric("sluice_messages_done_total", mapping="m") == 300, 10, "records")
        end()
    assert order_of(function) == [i for number in range(3) for i in ids(300, f"s{number}")]
    record = function.invocations[0].event()["records"][0]
    assert record["token"].endswith(f"{stream}/0") and record["source"] == stream


def test_what_was_done_behind_a_gap_is_not_invoked_again(rabbit, stream, function, sluice,
                                                         stream_mapping):
    rabbit.produce(stream, numbered(100))
    function.behave = lambda invocation: Answer(503, delay=60) if "m-3" in invocation.ids else OK
    sluice.mapping("m", stream_mapping(stream, order="none", batch={"size": 1}))
    sluice.start()
    others = set(ids(100)) - {"m-3"}
    function.wait_done(others, 20)
    until(lambda: sluice.metric("sluice_messages_done_total", mapping="m") == 99, 10, "records")
    sluice.kill9()
    function.behave = lambda invocation: OK
    sluice.start()
    function.wait_done(["m-3"], 20)
    rabbit.produce(stream, numbered(10, prefix="later"))
    function.wait_done(ids(10, "later"), 20)
    assert {function.seen[i] for i in others} == {1}


@pytest.mark.parametrize("offset, expected", [
    ("first", [*ids(50), "b-0", *ids(5, "c")]), ("last", ["b-0", *ids(5, "c")]),
    ("next", ids(5, "c")), ("50", ["b-0", *ids(5, "c")])])
def test_where_it_begins(rabbit, stream, function, sluice, stream_mapping, offset, expected):
    """Only the first time: after that it goes on."""
    rabbit.produce(stream, numbered(50))
    rabbit.produce(stream, numbered(1, prefix="b"))
    sluice.mapping("m", stream_mapping(stream, offset))
    sluice.start()
    sluice.wait_for_event("source_state", state="running")
    rabbit.produce(stream, numbered(5, prefix="c"))
    function.wait_done(expected, 20)
    assert order_of(function) == expected
    sluice.kill9()
    rabbit.produce(stream, numbered(5, prefix="away"))
    sluice.start()
    function.wait_done(ids(5, "away"), 20)
    assert order_of(function)[-5:] == ids(5, "away")


def test_it_begins_at_a_time(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(5))
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    sluice.mapping("later", stream_mapping(stream, f"{now + hour:%Y-%m-%dT%H:%M:%SZ}"))
    sluice.mapping("m", stream_mapping(stream, f"{now - hour:%Y-%m-%dT%H:%M:%SZ}"))
    sluice.start()
    function.wait_done(ids(5), 20)
    assert set(function.seen.values()) == {1}


def lag_of(sluice):
    return sluice.control("GET", "/v1/mappings/m")[1]["lag"]


def test_lag(rabbit, stream, function, sluice, stream_mapping):
    """Also of what is beyond the prefetch, and after a restart."""
    rabbit.produce(stream, numbered(500))
    function.behave = lambda _: Answer(503)
    sluice.mapping("m", stream_mapping(stream, source={"rabbitmq": {"prefetch": 20}}))
    sluice.start()
    until(lambda: lag_of(sluice) == 500, 20, "the lag")
    assert 'sluice_lag_messages{mapping="m"} 500\n' in sluice.get("/metrics")[1]
    function.behave = lambda _: OK
    function.wait_done(ids(500), 20)
    until(lambda: lag_of(sluice) == 0, 20, "no lag")
    sluice.terminate()
    rabbit.produce(stream, numbered(30, prefix="away"))
    function.behave = lambda _: Answer(503)
    sluice.start()
    until(lambda: lag_of(sluice) == 30, 20, "the lag")


@pytest.mark.skipif(not LONG, reason="30 s between looks: SLUICE_LONG=1")
def test_lag_grows(rabbit, stream, function, sluice, stream_mapping):
    """Of two streams in turn, on one channel."""
    other = rabbit.queue(**STREAM)
    for queue in (stream, other):
        rabbit.produce(queue, numbered(100))
    function.behave = lambda _: Answer(503)
    sluice.mapping("m", stream_mapping(stream, source={"rabbitmq": {"prefetch": 10, "queue": [stream, other]}}))
    sluice.start()
    until(lambda: lag_of(sluice) == 200, 60, "the lag")
    for count in (1, 2, 3):
        rabbit.produce(other, numbered(100))
        until(lambda: lag_of(sluice) == 200 + 100 * count, 60, "more of it")  # noqa: B023
    function.behave = lambda _: OK
    until(lambda: lag_of(sluice) == 0, 60, "no lag")


@pytest.fixture
def wire(rabbit):
    """A way to the broker that counts what it sends."""
    with contextlib.closing(Proxy(rabbit.ports["AMQP"])) as proxy:
        proxy.address = lambda: f"127.0.0.1:{proxy.port}"
        yield proxy


def large(count, size=200_000):
    return [{"value": json.dumps({"id": f"m-{number}", "pad": "x" * size})} for number in range(count)]


def test_lag_costs_nothing_where_all_was_read(rabbit, stream, function, sluice, stream_mapping, wire):
    rabbit.produce(stream, large(50))
    sluice.mapping("m", stream_mapping(stream, server=wire))
    for turn in range(2):
        sluice.start()
        function.wait_done(ids(50), 30)
        until(lambda: lag_of(sluice) == 0, 20, "no lag")
        sluice.terminate()
        # A start reads the last chunk once, to see where the stream ends before it goes on.
        assert wire.sent < (turn + 1.3) * 50 * 200_000
        assert function.invocations and set(function.seen.values()) == {1}


@pytest.mark.skipif(not LONG, reason="30 s between looks: SLUICE_LONG=1")
def test_lag_of_large_chunks_is_looked_at_more_seldom(rabbit, stream, function, sluice, stream_mapping, wire):
    rabbit.produce(stream, large(50))
    function.behave = lambda _: Answer(503)
    sluice.mapping("m", stream_mapping(stream, server=wire, source={"rabbitmq": {"prefetch": 1}}))
    sluice.start()
    until(lambda: lag_of(sluice) == 50, 20, "the lag")
    sent = wire.sent
    stays(lambda: wire.sent < sent + 1_000_000, 45, "no other look")


def test_lag_of_a_stream_that_is_empty(rabbit, stream, function, sluice, stream_mapping):
    sluice.mapping("m", stream_mapping(stream))
    sluice.start()
    sluice.wait_for_event("source_state", state="running")
    stays(lambda: lag_of(sluice) in (None, 0), 1, "no lag")
    rabbit.produce(stream, numbered(3))
    function.wait_done(ids(3), 20)
    until(lambda: lag_of(sluice) == 0, 20, "no lag")


def test_next_is_decided_once(rabbit, stream, function, sluice, stream_mapping):
    """What came first is not done yet when sluice is killed; it is not passed over."""
    function.behave = lambda invocation: Answer(503)
    sluice.mapping("m", stream_mapping(stream, "next"))
    sluice.start()
    sluice.wait_for_event("source_state", state="running")
    rabbit.produce(stream, numbered(10))
    function.wait_invocations(1, 20)
    sluice.kill9()
    rabbit.produce(stream, numbered(10, prefix="away"))
    function.behave = lambda invocation: OK
    sluice.start()
    function.wait_done([*ids(10), *ids(10, "away")], 20)


def test_a_stream_made_anew(rabbit, stream, function, sluice, stream_mapping):
    """The broker would deliver nothing until it is as long as the old one was."""
    rabbit.produce(stream, numbered(100))
    sluice.mapping("m", stream_mapping(stream))
    sluice.start()
    function.wait_done(ids(100), 20)
    rabbit.delete(stream)
    sluice.wait_for_log(f"queue {stream} does not exist", 20)
    rabbit.queue(stream, **STREAM)
    rabbit.produce(stream, numbered(10, prefix="anew"))
    function.wait_done(ids(10, "anew"), 40)
    assert sluice.find_events("stream_made_anew")
    rabbit.produce(stream, numbered(10, prefix="more"))
    function.wait_done(ids(10, "more"), 20)
    assert set(function.seen.values()) == {1}


def test_a_stream_made_anew_and_empty(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(20))
    sluice.mapping("m", stream_mapping(stream))
    sluice.start()
    function.wait_done(ids(20), 20)
    sluice.terminate()
    rabbit.delete(stream)
    rabbit.queue(stream, **STREAM)
    after = len(sluice.lines)
    sluice.start()
    sluice.wait_for_log('"state":"running"', 20, after)
    rabbit.produce(stream, numbered(5, prefix="anew"))
    function.wait_done(ids(5, "anew"), 20)


def test_what_retention_removed_is_told(rabbit, function, sluice, stream_mapping):
    stream = rabbit.queue(**STREAM, **{"x-max-length-bytes": 100_000,
                                       "x-stream-max-segment-size-bytes": 50_000})
    sluice.mapping("m", stream_mapping(stream))
    sluice.start()
    rabbit.produce(stream, numbered(5))
    function.wait_done(ids(5), 20)
    until(lambda: sluice.metric("sluice_messages_done_total", mapping="m") == 5, 10, "records")
    sluice.terminate()
    for round_ in range(20):
        rabbit.produce(stream, numbered(100, prefix=f"r{round_}", size=1000))
    sluice.start()
    sluice.wait_for_event("stream_cut")
    function.wait_done(["r19-99"], 20)


def test_connections_cut_and_broker_killed(private_rabbit, function, sluice, stream_mapping):
    server = private_rabbit().start()
    stream = server.queue(**STREAM)
    server.produce(stream, numbered(1000))
    function.behave = lambda invocation: Answer(200, delay=0.005)
    sluice.mapping("m", stream_mapping(stream, server=server))
    sluice.start()
    for goal in (100, 300):
        function.wait(lambda f: len(f.done) >= goal, 30, "some done")
        name, = until(server.connections, 20, "a connection")
        server.close_connection(name)
    function.wait(lambda f: len(f.done) >= 500, 30, "some done")
    server.kill()
    server.start()
    function.wait_done(ids(1000), 60)
    assert list(dict.fromkeys(order_of(function))) == ids(1000)


def test_large_messages(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(60, size=1_000_000))
    sluice.mapping("m", stream_mapping(stream, batch={"bytes": "2 MiB"}, buffer={"bytes": "4 MiB"}))
    sluice.start()
    sluice.wait_for_event("prefetch_reduced")
    function.wait_done(ids(60), 60)
    assert order_of(function) == ids(60)


def test_the_event_of_lambda(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, [{"value": b"\x00hi", "headers": {"h": "v"}}])
    sluice.mapping("m", stream_mapping(stream, target={"format": "lambda"}))
    sluice.start()
    function.wait_invocations(1, 20)
    event = function.invocations[0].event()
    message, = event["rmqMessagesByQueue"][f"{stream}::/"]
    assert event["eventSource"] == "aws:rmq" and message["data"] == "AGhp"
    assert message["basicProperties"]["headers"] == {"h": {"bytes": [118]}, "x-stream-offset": 0}
    assert message["redelivered"] is False


def test_a_bad_message_becomes_a_dead_letter(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(30))
    function.behave = lambda invocation: Answer(500) if "m-7" in invocation.ids else OK
    sluice.mapping("m", stream_mapping(stream))
    sluice.start()
    function.wait_done(set(ids(30)) - {"m-7"}, 30)
    letter, = sluice.wait_dead(1)
    assert letter["source"] == stream and letter["position"] == 7
    sluice.kill9()
    sluice.start()
    rabbit.produce(stream, numbered(1, prefix="later"))
    function.wait_done(["later-0"], 20)
    assert len(sluice.dead()) == 1


def test_two_mappings_read_all(rabbit, stream, make_function, sluice, stream_mapping):
    functions = [make_function(), make_function()]
    for number, function in enumerate(functions):
        sluice.mapping(f"m{number}",
                       stream_mapping(stream, target={"http": {"url": function.url}}))
    rabbit.produce(stream, numbered(50))
    sluice.start()
    for function in functions:
        function.wait_done(ids(50), 20)


def test_declare(rabbit, function, sluice, stream_mapping):
    sluice.mapping("m", stream_mapping("declared-stream", source={"rabbitmq": {"declare": "stream"}}))
    sluice.start()
    sluice.wait_for_event("source_state", state="running")
    rabbit.queue("declared-stream", **STREAM)
    rabbit.produce("declared-stream", numbered(5))
    function.wait_done(ids(5), 20)


def test_a_queue_is_no_stream(rabbit, function, sluice, stream_mapping):
    queue = rabbit.queue()
    rabbit.produce(queue, numbered(5))
    sluice.mapping("m", stream_mapping(queue))
    sluice.start()
    sluice.wait_for_log(f"queue {queue} cannot be consumed: it is no stream", 20)
    assert rabbit.unsettled(queue) == 5 and not function.invocations


@pytest.mark.parametrize("changes, expected", [
    ({"pollers": 2}, "each would take all"),
    ({"source": {"rabbitmq": {"stream_offset": "yesterday"}}}, "expected first, last, next"),
    ({"source": {"rabbitmq": {"declare": "quorum"}}}, "stream_offset is for streams"),
    ({"source": {"rabbitmq": {"declare": "stream", "stream_offset": None}}}, "where to begin it")])
def test_mistakes(sluice, stream_mapping, changes, expected):
    sluice.mapping("m", stream_mapping("s", **changes))
    done = run_cli("check", "--config", sluice.config)
    assert done.returncode == 78 and expected in done.stderr


def test_explain(sluice, stream_mapping):
    sluice.mapping("m", stream_mapping("s"))
    done = run_cli("check", "--explain", "--config", sluice.config)
    assert done.returncode == 0 and "position" in done.stdout
    assert "message_id" not in done.stdout + done.stderr, "a position is a name that lasts"


def test_check_connect(rabbit, stream, sluice, stream_mapping):
    rabbit.produce(stream, numbered(3))
    sluice.mapping("m", stream_mapping(stream, retry={"age": "5m"}))
    done = run_cli("check", "--connect", "--json", "--config", sluice.config)
    assert done.returncode == 0 and stream in json.dumps(done.stdout)


def test_a_long_retry_is_parked(rabbit, stream, function, sluice, stream_mapping):
    """The place goes on without it; it comes back with its token, after a kill too."""
    def parked():
        try:
            return sluice.control("GET", "/v1/mappings/m")[1]["parked"]["count"]
        except OSError:  # it is just starting
            return None

    rabbit.produce(stream, numbered(10))
    function.behave = lambda invocation: (Answer(500, headers={"Retry-After": "2"})
                                          if "m-3" in invocation.ids else OK)
    sluice.mapping("m", stream_mapping(stream, order="none", batch={"size": 1},
                                       retry={"park_after": "1s", "attempts": 5}))
    sluice.start()
    function.wait_done(set(ids(10)) - {"m-3"}, 20)
    until(lambda: parked() == 1, 20, "m-3 in the park")
    until(lambda: sluice.metric("sluice_messages_done_total", mapping="m") == 9, 10, "records")
    sluice.kill9()
    sluice.start()
    until(lambda: parked() == 1, 20, "m-3 still in the park")
    function.behave = lambda invocation: OK
    function.wait_done(["m-3"], 20)
    until(lambda: parked() == 0, 20, "an empty park")
    assert set(function.done.values()) == {1}
    assert len({record.token for invocation in function.invocations
                for record in invocation.records if record.id == "m-3"}) == 1


def test_a_reload_at_work(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(500))
    function.behave = lambda invocation: Answer(200, delay=0.01)
    sluice.mapping("m", stream_mapping(stream))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 100, 20, "some done")
    sluice.mapping("m", stream_mapping(stream, "last", batch={"size": 7}))
    assert sluice.control("POST", "/v1/reload")[1]["changed"] == 1
    function.wait_done(ids(500), 30)
    assert order_of(function) == ids(500)


def test_a_stop_while_something_is_in_flight(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(300))
    function.behave = lambda invocation: Answer(200, delay=0.05)
    sluice.mapping("m", stream_mapping(stream))
    for goal in (50, 120):
        sluice.start()
        function.wait(lambda f: len(f.done) >= goal, 20, "some done")
        assert sluice.terminate() == 0
    sluice.start()
    function.wait_done(ids(300), 30)
    assert order_of(function) == ids(300)


def test_a_dead_letter_is_replayed(rabbit, stream, function, sluice, stream_mapping):
    rabbit.produce(stream, numbered(10))
    function.behave = lambda invocation: Answer(422) if "m-7" in invocation.ids else OK
    sluice.mapping("m", stream_mapping(stream, batch={"size": 1}))
    sluice.start()
    letter, = sluice.wait_dead(1)
    function.behave = lambda invocation: OK
    sluice.terminate()
    sluice.dlq("replay", "--all", "--yes", "--config", sluice.config)
    function.wait_done(ids(10), 20)
    tokens = {record.token for invocation in function.invocations
              for record in invocation.records if record.id == "m-7"}
    assert tokens == {letter["token"]}
