"""Partial batch responses, and answers that cannot be trusted: they fail the batch, never pass it."""

import json

import pytest

from lib.function import OK, Answer, always, name_failed
from lib.plugin import group_of, ids, numbered
from lib.waiting import stays


@pytest.mark.parametrize("form", ["json", "lambda"])
def test_only_named_messages_are_tried_again(cluster, function, sluice, mapping_for, form):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(20))
    once = {"m-3", "m-7"}

    def behave(invocation):
        failing = once.intersection(invocation.ids)
        once.difference_update(failing)
        return name_failed(failing)(invocation)
    function.behave = behave
    sluice.mapping("m", mapping_for(topic, order="none", batch={"size": 20, "window": "1s"},
                                    target={"format": form, "report_failures": True}))
    sluice.start()
    function.wait_done(ids(20), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert {name for name, count in function.seen.items() if count > 1} == {"m-3", "m-7"}
    assert set(function.done.values()) == {1}
    assert sluice.dead() == []


@pytest.mark.parametrize("form", ["json", "lambda"])
def test_a_named_message_is_given_up_after_its_attempts(cluster, function, sluice, mapping_for,
                                                        form):
    """The function named it: no witness is needed."""
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(10))
    function.behave = name_failed(["m-4"])
    sluice.mapping("m", mapping_for(topic, batch={"size": 10, "window": "1s"},
                                    retry={"attempts": 3, "patience": "1h"},
                                    target={"format": form, "report_failures": True}))
    sluice.start()
    letter = sluice.wait_dead(1, 20)[0]
    assert letter["class"] == "named" and letter["position"] == 4
    cluster.wait_committed(group_of(topic), topic, 1)
    assert function.seen["m-4"] == 3
    assert len(sluice.dead()) == 1


def test_lane_order_with_partial_failures(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(60))
    failing = {"m-5": 2, "m-6": 1, "m-31": 3}

    def behave(invocation):
        bad = [name for name in invocation.ids if failing.get(name, 0) > 0]
        for name in bad:
            failing[name] -= 1
        return name_failed(bad)(invocation)
    function.behave = behave
    sluice.mapping("m", mapping_for(topic, batch={"size": 10}, retry={"attempts": 9},
                                    target={"report_failures": True}))
    sluice.start()
    function.wait_done(ids(60), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert sluice.dead() == []


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"[]", b'""', b'{"batchItemFailures": []}',
                                  b'{"batchItemFailures": null}'])
def test_answers_that_mean_all_is_well(cluster, function, sluice, mapping_for, body):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    function.behave = always(200, body=body)
    sluice.mapping("m", mapping_for(topic, target={"report_failures": True}))
    sluice.start()
    function.wait_done(ids(5), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert set(function.seen.values()) == {1}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_success(cluster, function, sluice, mapping_for, status):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    function.behave = always(status)
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(5), 20)
    cluster.wait_committed(group_of(topic), topic, 1)


def failures(*names):
    return json.dumps({"batchItemFailures": [{"itemIdentifier": name} for name in names]}).encode()


BAD = {
    "not JSON": b"<html>ok</html>",
    "cut off": b'{"batchItemFailures": [{"itemIdent',
    "unknown id": failures("nobody-knows-me"),
    "wrong type": b'{"batchItemFailures": "m-1"}',
    "wrong item": b'{"batchItemFailures": [17]}',
    "no identifier": b'{"batchItemFailures": [{}]}',
    "null identifier": failures(None),
    "empty identifier": failures(""),
    "other keys only": b'{"batchItemFailure": []}',
    "unknown place": failures({"partition": "elsewhere-0", "offset": 1}),
    "doubled key": b'{"batchItemFailures": [], "batchItemFailures": []}',
    "not UTF-8": b'{"batchItemFailures": [], "x": "\xff"}',
    "deep": b"[" * 100_000,
    "huge": b'{"batchItemFailures": [], "pad": "' + b"x" * 20_000_000 + b'"}',
}


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_makes_no_sense_fails_the_batch(cluster, function, sluice, mapping_for,
                                                       name):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    bad = Answer(200, BAD[name])
    function.behave = lambda invocation: bad
    sluice.mapping("m", mapping_for(topic, batch={"size": 5, "window": "1s"},
                                    target={"report_failures": True}))
    sluice.start()
    function.wait_invocations(3, 30)
    sluice.wait_for_log("answer|response|reply|report|batchItemFailures|malformed", 10)
    assert cluster.committed(group_of(topic), topic).get(0, 0) == 0
    assert sluice.dead() == []
    function.behave = lambda invocation: OK
    function.wait_done(ids(5), 30)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert sluice.dead() == []


def test_doubled_ids_fail_the_batch(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))

    def behave(invocation):
        return Answer(200, failures(invocation.records[0].token, invocation.records[0].token))
    function.behave = behave
    sluice.mapping("m", mapping_for(topic, batch={"size": 5, "window": "1s"},
                                    target={"report_failures": True}))
    sluice.start()
    function.wait_invocations(2, 20)
    assert cluster.committed(group_of(topic), topic).get(0, 0) == 0
    function.behave = lambda invocation: OK
    function.wait_done(ids(5), 20)
    assert sluice.dead() == []


def test_without_report_failures_the_body_does_not_matter(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    function.behave = always(200, body=b"<html>fine</html>")
    sluice.mapping("m", mapping_for(topic, target={"report_failures": False}))
    sluice.start()
    function.wait_done(ids(5), 20)
    cluster.wait_committed(group_of(topic), topic, 1)


def test_a_slow_body_runs_into_the_timeout(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    function.behave = always(200, body=b'{"batchItemFailures": []}' + b" " * 200, how="drip")
    sluice.mapping("m", mapping_for(topic, target={"http": {"timeout": "500ms", "connect_timeout": "400ms"},
                                                   "report_failures": True}))
    sluice.start()
    function.wait_invocations(2, 20)
    assert cluster.committed(group_of(topic), topic).get(0, 0) == 0
    function.behave = lambda invocation: OK
    function.wait_done(ids(5), 20)
    assert sluice.dead() == []


def test_lambda_function_error_header_is_a_failure(cluster, function, sluice, mapping_for):
    """The Lambda Invoke API answers 200 with X-Amz-Function-Error when the function threw."""
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    function.behave = always(200, body=b'{"errorMessage": "x"}',
                             headers={"X-Amz-Function-Error": "Unhandled"})
    sluice.mapping("m", mapping_for(topic, target={"format": "lambda"}))
    sluice.start()
    function.wait_invocations(2, 20)
    stays(lambda: cluster.committed(group_of(topic), topic).get(0, 0) == 0, 0.5, "committed")
    function.behave = lambda invocation: OK
    function.wait_done(ids(5), 20)
