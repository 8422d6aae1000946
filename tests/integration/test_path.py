"""The thin whole path: topic -> batch -> function -> commit."""

import json
import threading

import pytest

from lib.function import OK, always
from lib.plugin import group_of, ids, numbered
from lib.waiting import until


def test_every_message_is_delivered_once_and_committed(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(1000, keys=50))
    sluice.mapping("orders", mapping_for(topic, batch={"size": 50}))
    sluice.start()
    function.wait_done(ids(1000), 30)
    cluster.wait_committed(group_of(topic), topic, 4)
    assert sluice.terminate() == 0
    assert set(function.seen.values()) == {1}
    assert sluice.dead() == []


def test_messages_that_come_later_are_delivered(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    cluster.produce(topic, numbered(10, prefix="first"))
    function.wait_done(ids(10, "first"), 20)
    cluster.produce(topic, numbered(10, prefix="second"))
    function.wait_done(ids(10, "second"), 5)
    cluster.wait_committed(group_of(topic), topic, 2)


@pytest.mark.parametrize("seconds", [1, 7])  # a rebalance would not wait for 7
def test_a_stop_finishes_what_is_in_flight(cluster, function, sluice, mapping_for, seconds):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(10))
    gate = threading.Event()
    function.behave = lambda invocation: (gate.set(), always(200, delay=seconds)(invocation))[1]
    sluice.mapping("orders", mapping_for(topic, batch={"size": 5},
                                          target={"http": {"timeout": "20s"}}))
    sluice.start()
    assert gate.wait(20)
    assert sluice.terminate() == 0
    finished = dict(function.done)
    assert finished, "the invocation in flight was dropped"
    assert set(function.seen) == set(finished)
    # What was done is committed: a second run sees the rest only.
    function.behave = always(200)
    sluice.start()
    function.wait_done(ids(10), 20)
    assert set(function.seen.values()) == {1}


def test_restart_continues_where_it_stopped(cluster, function, sluice, mapping_for):
    topic = cluster.topic(3)
    sluice.mapping("orders", mapping_for(topic))
    cluster.produce(topic, numbered(300, prefix="a"))
    sluice.start()
    function.wait_done(ids(300, "a"), 20)
    assert sluice.terminate() == 0
    cluster.produce(topic, numbered(300, prefix="b"))
    sluice.start()
    function.wait_done(ids(300, "b"), 20)
    assert set(function.seen.values()) == {1}


def test_several_mappings_run_side_by_side(cluster, make_function, sluice, mapping_for):
    functions = [make_function() for _ in range(3)]
    for number, function in enumerate(functions):
        topic = cluster.topic(2)
        cluster.produce(topic, numbered(100, prefix=f"mapping{number}"))
        sluice.mapping(f"m{number}", mapping_for(topic, target={"http": {"url": function.url}}))
    sluice.start()
    for number, function in enumerate(functions):
        function.wait_done(ids(100, f"mapping{number}"), 20)
        assert set(function.seen) == set(ids(100, f"mapping{number}"))


def test_several_pollers_share_the_partitions(cluster, function, sluice, mapping_for):
    topic = cluster.topic(8)
    cluster.produce(topic, numbered(800, partitions=8))
    sluice.mapping("orders", mapping_for(topic, pollers=3))
    sluice.start()
    function.wait_done(ids(800), 30)
    until(lambda: sorted(m["partitions"] for m in cluster.members(group_of(topic))) == [2, 3, 3],
          20, "three members sharing eight partitions")
    cluster.wait_committed(group_of(topic), topic, 8)


def test_the_request_carries_token_attempt_mapping_and_trace(cluster, function, sluice,
                                                             mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [{"key": "k", "value": '{"id": "m-0"}'}])
    answers = iter([always(500), always(200)])
    function.behave = lambda invocation: next(answers, always(200))(invocation)
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    function.wait_done(["m-0"], 20)
    first, second = function.invocations
    assert first.headers[":method"] == "POST" and first.headers[":path"] == "/function"
    assert first.headers["content-type"] == "application/json"
    assert first.token and first.token == second.token
    assert first.records[0].token and first.records[0].token == second.records[0].token
    assert [i.records[0].attempt for i in (first, second)] == [1, 2]
    attempts = [[value for name, value in i.headers.items() if "attempt" in name]
                for i in (first, second)]
    assert attempts == [["1"], ["2"]]
    assert any(value == "orders" for name, value in first.headers.items() if "mapping" in name)
    version, trace, span, flags = first.headers["traceparent"].split("-")
    assert (version, len(trace), len(span), len(flags)) == ("00", 32, 16, 2)


def test_lambda_format_is_the_event_of_aws(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [
        {"key": b"\x00\xff", "value": b"\x01\x02", "headers": [("trace", b"ab"), ("trace", b"\xff")],
         "timestamp": 1545084650987},
        {"key": None, "value": None}])
    sluice.mapping("orders", mapping_for(topic, target={"format": "lambda"},
                                         batch={"size": 2, "window": "3s"}))
    sluice.start()
    function.wait_invocations(1, 20)
    event = function.invocations[0].event()
    assert event["eventSource"] == "SelfManagedKafka"
    assert event["bootstrapServers"] == cluster.address()
    assert list(event["records"]) == [f"{topic}-0"]
    first, second = event["records"][f"{topic}-0"]
    assert first["topic"] == topic and first["partition"] == 0 and first["offset"] == 0
    assert first["timestamp"] == 1545084650987 and first["timestampType"] == "CREATE_TIME"
    assert first["key"] == "AP8=" and first["value"] == "AQI="
    names = [name for header in first["headers"] for name in header]
    assert names == ["trace", "trace"]
    values = [bytes(b & 255 for b in value) for header in first["headers"]
              for value in header.values()]
    assert values == [b"ab", b"\xff"]
    assert second["offset"] == 1 and second.get("key") is None and second.get("value") is None
    assert not second.get("headers")


def test_raw_format_is_the_payload_byte_for_byte(cluster, function, sluice, mapping_for):
    payloads = [b"\x00\x01\xfe binary", b'{"json": 1}', b"", b"x" * 200_000]
    topic = cluster.topic(1)
    cluster.produce(topic, [{"value": payload} for payload in payloads])
    sluice.mapping("orders", mapping_for(topic, target={"format": "raw"}, batch={"size": 1}))
    sluice.start()
    function.wait_invocations(4, 20)
    assert [i.body for i in function.invocations] == payloads
    assert function.invocations[1].headers["content-type"] == "application/json"
    assert function.invocations[0].headers["content-type"] == "application/octet-stream"
    cluster.wait_committed(group_of(topic), topic, 1)


def test_json_format_embeds_json_text_and_bytes(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [
        {"key": "k1", "value": '{"a": [1, 2.50, "é"]}'}, {"key": None, "value": "plain text"},
        {"key": b"\xff", "value": b"\xff\x00"}, {"key": "", "value": None},
        {"key": None, "value": '"a\\u0000b"', "headers": [("h", "text"), ("h", b"\xfe")]}])
    sluice.mapping("orders", mapping_for(topic, batch={"size": 5, "window": "3s"}))
    sluice.start()
    function.wait_invocations(1, 20)
    event = function.invocations[0].event()
    assert event["mapping"] == "orders"
    records = event["records"]
    assert [r["value"] for r in records] == [
        {"a": [1, 2.5, "é"]}, "plain text", {"base64": "/wA="}, None, "a\0b"]
    assert [r["key"] for r in records] == ["k1", None, {"base64": "/w=="}, "", None]
    assert [r["position"] for r in records] == [0, 1, 2, 3, 4]
    assert b"2.50" in function.invocations[0].body, "numbers are passed on as written"
    assert "text" in json.dumps(records[4]["headers"])


def test_metrics_and_health(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(25))
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(25), 20)
    until(lambda: sluice.get("/readyz")[0] == 200, 10, "/readyz")
    assert sluice.get("/livez")[0] == 200
    assert sluice.get("/nonsense")[0] == 404
    assert all(name.startswith("sluice_") for name, _ in sluice.metrics()
               if not name.startswith("process_"))
    assert sluice.metrics(), "no metrics"


def test_large_backlog_keeps_memory_bounded(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(30_000, size=1024, partitions=4))
    held = threading.Event()

    def behave(invocation):
        return OK if held.is_set() else always(503)(invocation)
    function.behave = behave
    sluice.mapping("orders", mapping_for(topic, batch={"size": 100}))
    sluice.start()
    function.wait_invocations(3, 20)
    held.set()
    function.wait_done(ids(30_000), 90)
    with open(f"/proc/{sluice.pid}/maps") as maps:
        if "libasan" in maps.read():
            pytest.skip("the address sanitizer takes memory of its own")
    with open(f"/proc/{sluice.pid}/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 128 * 1024, f"{peak} KiB"
