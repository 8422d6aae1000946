"""Idempotency tokens: where they come from, and what a duplicate, a conflict or none means."""

import hashlib
import json

import pytest

from lib.function import Answer, OK, always
from lib.plugin import group_of, ids, numbered
from lib.waiting import stays, until


def message(name, key=None, headers=None, **fields):
    found = {"key": key, "value": json.dumps({"id": name, **fields})}
    if headers:
        found["headers"] = headers
    return found


DUPLICATES = {  # token rule: two messages that it takes for the same, and one that differs
    "key": (dict(key="a", value='{"id": "x"}'), dict(key="a", value='{"id": "x"}'),
            dict(key="b", value='{"id": "y"}')),
    "/order/id": (dict(value='{"id": "x", "order": {"id": 7}}'),
                  dict(value='{"id": "x", "order": {"id": 7}}'),
                  dict(value='{"id": "y", "order": {"id": 8}}')),
    "/a~1b/0": (dict(value='{"id": "x", "a/b": ["one"]}'), dict(value='{"id": "x", "a/b": ["one"]}'),
                dict(value='{"id": "y", "a/b": ["two"]}')),
    "hash": (dict(key="1", value='{"id": "x"}'), dict(key="2", value='{"id": "x"}'),
             dict(key="3", value='{"id": "y"}')),
    "header:request-id": (
        dict(value='{"id": "x"}', headers=[("request-id", "r1"), ("request-id", "r9")]),
        dict(value='{"id": "x"}', headers=[("request-id", "r1")]),
        dict(value='{"id": "y"}', headers=[("request-id", "r2")])),
}


@pytest.mark.parametrize("rule", DUPLICATES)
def test_a_duplicate_is_settled_without_invoking(cluster, function, sluice, mapping_for, rule):
    first, second, other = DUPLICATES[rule]
    topic = cluster.topic(1)
    cluster.produce(topic, [first])
    sluice.mapping("m", mapping_for(topic, idempotency={"token": rule, "ttl": "1h"}))
    sluice.start()
    function.wait_done(["x"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    cluster.produce(topic, [second, other])
    function.wait_done(["y"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert function.seen == {"x": 1, "y": 1}
    assert sluice.dead() == []
    tokens = [i.records[0].token for i in function.invocations]
    assert len(set(tokens)) == 2


def test_the_token_is_what_the_rule_names(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [message("m-0", order={"id": "A-17"})])
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "/order/id"}, batch={"size": 1}))
    sluice.start()
    function.wait_done(["m-0"], 20)
    assert function.invocations[0].records[0].token == "A-17"
    assert "A-17" in function.invocations[0].token


def test_the_hash_is_of_the_payload(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [message("m-0")])
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "hash"}))
    sluice.start()
    function.wait_done(["m-0"], 20)
    digest = hashlib.sha256(json.dumps({"id": "m-0"}).encode()).hexdigest()
    assert digest in function.invocations[0].records[0].token


@pytest.mark.parametrize("order", ["lane", "none"])
def test_duplicates_in_flight_wait_for_the_outcome(cluster, function, sluice, mapping_for, order):
    topic = cluster.topic(2)
    function.behave = always(200, delay=0.5)
    cluster.produce(topic, [dict(message("x", key="k"), partition=p) for p in (0, 1, 0, 1, 0)])
    sluice.mapping("m", mapping_for(topic, order=order, batch={"size": 1},
                                    idempotency={"token": "key"}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 2)
    assert function.seen == {"x": 1}


def test_a_duplicate_of_a_failing_message_takes_its_place(cluster, function, sluice, mapping_for):
    """The first copy fails for a while; whichever copy comes, it runs until one succeeded."""
    topic = cluster.topic(2)
    bad = iter([Answer(500)] * 4)
    function.behave = lambda invocation: next(bad, OK)
    cluster.produce(topic, [dict(message("x", key="k"), partition=p) for p in (0, 1)])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, idempotency={"token": "key"},
                                    retry={"attempts": 9}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 2)
    assert function.done == {"x": 1}
    assert sluice.dead() == []


def test_duplicates_within_one_batch(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [message(f"m-{n % 10}", key=f"k{n % 10}") for n in range(100)])
    sluice.mapping("m", mapping_for(topic, batch={"size": 100, "window": "500ms"},
                                    idempotency={"token": "key"}))
    sluice.start()
    function.wait_done(ids(10), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert set(function.seen.values()) == {1}


def test_recorded_tokens_survive_a_restart(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [message(f"m-{n}", key=f"k{n}") for n in range(50)])
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "key", "ttl": "1h"}))
    sluice.start()
    function.wait_done(ids(50), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    sluice.kill9()
    cluster.produce(topic, [message(f"m-{n}", key=f"k{n}") for n in range(60)])
    sluice.start()
    function.wait_done(ids(60), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert set(function.seen.values()) == {1}


def test_a_token_expires(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "key", "ttl": "3s"},
                                    target={"http": {"timeout": "2s"}}))
    sluice.start()
    cluster.produce(topic, [message("x", key="k")])
    function.wait_done(["x"], 20)
    cluster.produce(topic, [message("x", key="k")])
    cluster.wait_committed(group_of(topic), topic, 1)
    assert function.seen == {"x": 1}

    def again():
        cluster.produce(topic, [message("x", key="k")])
        cluster.wait_committed(group_of(topic), topic, 1)
        return function.seen["x"] == 2
    until(again, 30, "invocation after the ttl", every=1)


@pytest.mark.parametrize("choice", ["dead_letter", "invoke", "drop"])
def test_the_same_token_with_another_payload(cluster, function, sluice, mapping_for, choice):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "key", "on_conflict": choice}))
    cluster.produce(topic, [message("first", key="k")])
    sluice.start()
    function.wait_done(["first"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    cluster.produce(topic, [message("second", key="k"), message("last", key="z")])
    function.wait_done(["last"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert ("second" in function.seen) == (choice == "invoke")
    dead = sluice.dead()
    assert [letter["class"] for letter in dead] == \
        (["token_conflict"] if choice == "dead_letter" else [])


@pytest.mark.parametrize("rule,lacking", [
    ("key", dict(value='{"id": "x"}')),
    ("/order/id", dict(value='{"id": "x"}')),
    ("/order/id", dict(value='{"id": "x", "order": {"id": null}}')),
    ("/order/id", dict(value="this is not JSON")),
    ("/order/id", dict(value='{"id": "x", "order": {"id": ')),
    ("/order/id", dict(value=None)),
    ("/order/id", dict(value=b"\xff\xfe\x00")),
    ("header:request-id", dict(value='{"id": "x"}', headers=[("other", "1")])),
    ("hash", dict(value=None)),
])
@pytest.mark.parametrize("choice", ["dead_letter", "position"])
def test_no_token_where_one_is_needed(cluster, function, sluice, mapping_for, rule, lacking,
                                      choice):
    topic = cluster.topic(1)
    good = dict(key="g", headers=[("request-id", "r")], value='{"id": "good", "order": {"id": 1}}')
    cluster.produce(topic, [lacking, good])
    sluice.mapping("m", mapping_for(topic, idempotency={"token": rule, "on_missing": choice}))
    sluice.start()
    function.wait_done(["good"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    delivered = [r for i in function.invocations for r in i.records if r.id != "good"]
    if rule == "hash":  # a tombstone may have the hash of nothing
        return
    if choice == "position":
        assert len(delivered) == 1 and sluice.dead() == []
    else:
        assert delivered == []
        assert [letter["class"] for letter in sluice.dead()] == ["token_missing"]


def test_positions_above_the_watermark_survive_a_kill(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(200))
    function.behave = lambda invocation: \
        Answer(how="hang") if "m-3" in invocation.ids else OK
    sluice.mapping("m", mapping_for(topic, order="none", batch={"size": 1},
                                    target={"http": {"timeout": "60s"}}))
    sluice.start()
    others = set(ids(200)) - {"m-3"}
    function.wait_done(others, 30)
    # Durable once the store's writer has committed; its group commit takes milliseconds.
    stays(lambda: True, 1.0, "time for the group commit")
    sluice.kill9()
    function.behave = always(200)
    sluice.start()
    function.wait_done(["m-3"], 30)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert {function.seen[name] for name in others} == {1}
    first, second = [i.records[0].token for i in function.invocations if i.ids == ["m-3"]]
    assert first == second


def test_replaying_the_topic_from_the_start_invokes_nothing(cluster, function, sluice,
                                                            mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, [message(f"m-{n}", key=f"k{n}") for n in range(100)])
    changes = {"idempotency": {"token": "key", "ttl": "1h"}}
    sluice.mapping("m", mapping_for(topic, changes))
    sluice.start()
    function.wait_done(ids(100), 20)
    cluster.wait_committed(group_of(topic), topic, 2)
    assert sluice.terminate() == 0
    cluster.tool.call("set_committed", group=group_of(topic), topic=topic,
                      offsets={"0": 0, "1": 0})
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 2)
    assert set(function.seen.values()) == {1}
