"""Traces: a span for each invocation, to a strict receiver of OpenTelemetry's protocol."""

import json
import os

import pytest

from lib.function import OK, Answer, name_failed
from lib.otlp import Receiver
from lib.plugin import group_of, ids, numbered
from lib.sluice import run_cli
from lib.waiting import until


@pytest.fixture
def receiver():
    one = Receiver()
    yield one
    one.close()
    assert not one.complaints


def trace_of(number):
    return f"{number + 1:032x}", f"{number + 1:016x}"


def traced(messages, flags="01"):
    """The messages, each from a producer that tells of its span."""
    for number, message in enumerate(messages):
        trace, span = trace_of(number)
        yield {**message, "headers": [("traceparent", f"00-{trace}-{span}-{flags}")]}


def outgoing(invocation):
    version, trace, span, flags = invocation.headers["traceparent"].split("-")
    assert version == "00" and flags in ("00", "01")
    return trace, span, flags


def test_a_batch_is_linked_to_its_producers(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(1)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 100, "window": "1s"}))
    cluster.produce(topic, [*traced(numbered(5)), *numbered(2, prefix="untraced")])
    sluice.start()
    function.wait_done(ids(5) + ids(2, "untraced"), 20)
    spans = receiver.wait_spans(len(function.invocations))
    assert {(s.trace, s.id) for s in spans} == {outgoing(i)[:2] for i in function.invocations}
    assert sorted(link for span in spans for link in span.links) == [trace_of(n) for n in range(5)]
    first = spans[0]
    assert first.name == f"process {topic}" and first.kind == 5 and first.parent is None
    assert first.flags == 1 and not first.status and not first.links_dropped
    assert sum(s.attributes["messaging.batch.message_count"] for s in spans) == 7
    expected = {"messaging.system": "kafka", "messaging.operation.name": "process",
                "messaging.operation.type": "process", "messaging.destination.name": topic,
                "messaging.destination.partition.id": "0",
                "messaging.consumer.group.name": group_of(topic), "http.response.status_code": 200,
                "sluice.mapping": "orders", "sluice.outcome": "done", "sluice.attempt": 1}
    assert first.attributes.items() >= expected.items()
    assert first.resource["service.name"] == "sluice" and first.resource["service.version"]
    until(lambda: sluice.metric("sluice_spans_sent_total") == len(spans), 10, "they are counted")
    assert sluice.metric("sluice_spans_dropped_total") == 0


def test_the_trace_of_a_single_message_goes_on(cluster, function, sluice, mapping_for, receiver):
    """Its producer decides whether it is kept, not the sample."""
    topic = cluster.topic(1)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 0})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    kept, dropped, plain = numbered(3)
    (kept,), (dropped,) = traced([kept]), traced([dropped], flags="00")
    kept["headers"].append(("tracestate", "vendor=a,other=b"))
    cluster.produce(topic, [kept, dropped, plain])
    function.wait_done(ids(3), 20)
    first, second, third = sorted(function.invocations, key=lambda i: i.ids)
    [span] = receiver.wait_spans(1)
    trace, parent = trace_of(0)
    assert (span.trace, span.parent, span.links) == (trace, parent, [(trace, parent)])
    assert "messaging.batch.message_count" not in span.attributes
    assert outgoing(first) == (trace, span.id, "01")
    assert first.headers["tracestate"] == "vendor=a,other=b"
    assert outgoing(second)[::2] == (trace, "00") and outgoing(second)[1] not in (parent, span.id)
    assert "tracestate" not in second.headers
    assert outgoing(third)[2] == "00" and outgoing(third)[0] != trace
    sluice.terminate()
    assert len(receiver.spans) == 1


def test_what_went_wrong_is_told(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(1)
    answers = [Answer(500, "boom \x00\xff"), Answer(how="reset"), "named", OK]

    def behave(invocation):
        answer = answers.pop(0) if answers else OK
        return name_failed(["m-1"])(invocation) if answer == "named" else answer
    function.behave = behave
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 10, "window": "1s"},
                                         retry={"attempts": 9, "split": False},
                                         target={"report_failures": True}))
    cluster.produce(topic, numbered(2))
    sluice.start()
    function.wait_done(ids(2), 20)
    by_begin = sorted(receiver.wait_spans(4), key=lambda span: span.begin)
    failed, broken, named, done = (span.attributes for span in by_begin)
    assert failed["error.type"] == "500" and failed["sluice.outcome"] == "failed"
    assert by_begin[0].status["code"] == 2 and "boom" in by_begin[0].status["message"]
    assert broken["error.type"] == "failed" and "http.response.status_code" not in broken
    assert named["sluice.named"] == 1 and "error.type" not in named and not by_begin[2].status
    assert done["sluice.outcome"] == "done" and done["sluice.attempt"] == 4
    assert len({span.trace for span in by_begin}) == 4


def test_a_share_is_kept(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(4)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 0.3})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}, order="none"))
    cluster.produce(topic, numbered(400, partitions=4))
    sluice.start()
    function.wait_done(ids(400), 30)
    kept = {outgoing(i)[:2] for i in function.invocations if outgoing(i)[2] == "01"}
    assert 60 < len(kept) < 180
    assert {(s.trace, s.id) for s in receiver.wait_spans(len(kept))} == kept


def test_links_are_bounded(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(1)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 200, "window": "5s"}))
    cluster.produce(topic, traced(numbered(200)))
    sluice.start()
    function.wait_done(ids(200), 20)
    spans = receiver.wait_spans(len(function.invocations))
    assert sum(len(s.links) + s.links_dropped for s in spans) == 200
    assert max(len(s.links) for s in spans) == 128


BAD = [b"", b"00", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
       "00-" + "A" * 32 + "-" + "1" * 16 + "-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
       "00-" + "1" * 32 + "-" + "1" * 16 + "-01-more", "00-" + "1" * 32 + "x" + "1" * 16 + "-01",
       "00-" + "1" * 32 + "-" + "1" * 16 + "-\r\nX: y", b"\xff" * 55]


def test_bad_parents_count_as_none(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(1)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    good = "01-" + "2" * 32 + "-" + "3" * 16 + "-01-of-a-later-version"
    cluster.produce(topic, [{**message, "headers": [
        ("traceparent", value), ("tracestate", b"a=b\r\nX-Evil: 1")]}
        for message, value in zip(numbered(len(BAD) + 1), [*BAD, good])])
    sluice.start()
    function.wait_done(ids(len(BAD) + 1), 20)
    spans = receiver.wait_spans(len(BAD) + 1)
    assert [(s.parent, s.links) for s in spans if s.links] == [("3" * 16, [("2" * 32, "3" * 16)])]
    assert not any("x-evil" in i.headers or "tracestate" in i.headers for i in function.invocations)


def test_a_receiver_that_is_down_holds_up_nothing(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(4)
    receiver.stop()
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}, order="none"))
    cluster.produce(topic, numbered(4000, partitions=4))
    sluice.start()
    function.wait_done(ids(4000), 60)
    assert "refused" in sluice.wait_for_event("traces_failed")["error"]
    # Of those that came first a request is held; 2048 wait.
    until(lambda: sluice.metric("sluice_spans_dropped_total") >= 4000 - 2048 - 512, 20, "dropped")
    receiver.start()
    sluice.wait_for_event("traces_sent", 60)
    sent = until(lambda: sluice.metric("sluice_spans_sent_total") +
                 sluice.metric("sluice_spans_dropped_total") == 4000 and len(receiver.spans), 30, "all")
    assert 2048 <= sent <= 2048 + 512 and max(
        int(request["Content-Length"]) for request in receiver.requests) < 1 << 20


def test_answers_of_the_receiver(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(1)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1, "headers": {"X-Key": "k"}})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    answers = [(503, b"later", {"Retry-After": "1"}), (429, b"", {})]
    receiver.behave = lambda spans: answers.pop() if answers else None
    sluice.start()
    cluster.produce(topic, numbered(1))
    [span] = receiver.wait_spans(1)
    assert len(receiver.requests) == 3 and all(r["X-Key"] == "k" for r in receiver.requests)
    assert (span.trace, span.id) == outgoing(function.invocations[0])[:2]
    # Refused for good: dropped, counted and told, without what the answer says.
    receiver.behave = lambda spans: (401, b"who is token-123", {})
    cluster.produce(topic, numbered(1, prefix="n"))
    until(lambda: sluice.metric("sluice_spans_dropped_total") == 1, 20, "a dropped span")
    assert [e["error"] for e in sluice.find_events("traces_failed")][-1].endswith("answered 401")
    assert "token-123" not in "\n".join(sluice.lines)
    receiver.behave = lambda spans: (200, json.dumps({"partialSuccess": {
        "rejectedSpans": "1", "errorMessage": "no"}}).encode(), {})
    cluster.produce(topic, numbered(1, prefix="p"))
    until(lambda: sluice.metric("sluice_spans_dropped_total") == 2, 20, "a rejected span")
    assert sluice.metric("sluice_spans_sent_total") == 1


def test_what_is_left_is_sent_at_the_end(cluster, function, sluice, mapping_for, receiver):
    topic = cluster.topic(1)
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    cluster.produce(topic, numbered(20))
    sluice.start()
    function.wait_done(ids(20), 20)
    assert sluice.terminate() == 0
    assert len(receiver.spans) == 20


def test_from_rabbitmq(rabbit, function, sluice, rabbit_mapping, receiver):
    queue = rabbit.queue()
    sluice.settings(traces={"endpoint": receiver.url, "sample": 1})
    sluice.mapping("orders", rabbit_mapping(rabbit, queue))
    rabbit.produce(queue, [{"value": m["value"], "headers": {
        "traceparent": "00-{}-{}-01".format(*trace_of(n))}} for n, m in enumerate(numbered(3))])
    sluice.start()
    function.wait_done(ids(3), 20)
    spans = receiver.wait_spans(len(function.invocations))
    assert sorted(link for span in spans for link in span.links) == [trace_of(n) for n in range(3)]
    assert {s.attributes["messaging.system"] for s in spans} == {"rabbitmq"}
    assert {s.attributes["messaging.destination.name"] for s in spans} == {queue}


def test_off_unless_asked_for_and_mistakes(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    names = {open(f"/proc/{sluice.pid}/task/{task}/comm").read().strip()
             for task in os.listdir(f"/proc/{sluice.pid}/task")}
    assert "traces" not in names and "usage" in names
    cluster.produce(topic, numbered(1))
    function.wait_done(ids(1), 20)
    assert outgoing(function.invocations[0])[2] == "01"
    sluice.settings(traces={"endpoint": "http://127.0.0.1:4318/v1/traces"})
    assert sluice.control("POST", "/v1/reload")[1]["needs_restart"] == ["traces"]
    for traces, text in (({"endpoint": "ftp://x/"}, "traces.endpoint"), ({"sample": 2}, "traces.sample"),
                         ({"endpoint": "http://h/", "headers": {"a b": "c"}}, "traces.headers.a b"),
                         ({"headers": {"a": "c"}}, "no effect"),
                         ({"endpoint": "http://other/", "headers": {"a": "c"}}, "use https")):
        sluice.settings(traces=traces)
        done = run_cli("check", sluice.config)
        assert text in done.stdout + done.stderr, done.stderr
