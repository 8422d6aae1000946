"""Blame needs evidence: an outage of any kind costs no message; a poison message costs its attempts
and nothing else."""

import json
import threading
import time

import pytest

from lib.function import OK, Answer, always, poison
from lib.machine import LONG
from lib.plugin import group_of, ids, numbered
from lib.waiting import stays

OUTAGE_S = 40 if LONG else 4


class Outage:
    """Answers well, until `begin`; then as `answer` says, until `end`."""

    def __init__(self, function, answer):
        self.function = function
        self.answer = answer
        self.broken = False
        function.behave = lambda invocation: self.answer if self.broken else OK

    def begin(self):
        self.broken = True
        if self.answer is None:
            self.function.refuse()

    def end(self):
        self.broken = False
        if self.answer is None:
            self.function.listen()


OUTAGES = {
    "refused": None,
    "reset": Answer(how="reset"),
    "hanging": Answer(how="hang"),
    "closed-midway": Answer(200, b'{"batchItemFailures": []}', how="cut"),
    "garbage": Answer(how="garbage"),
    "500": Answer(500, b"boom"),
    "502": Answer(502, b"bad gateway"),
    "503": Answer(503, b"later"),
    "429-retry-after": Answer(429, b"slow down", headers={"Retry-After": "1"}),
    "401": Answer(401, b"who are you"),
    "403": Answer(403, b"not you"),
    "404": Answer(404, b"no such function"),
    "400": Answer(400, b"bad request"),
    "422": Answer(422, b"unprocessable"),
    "malformed": Answer(200, b'{"batchItemFailures": [', success=False),
}

@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_costs_no_message(cluster, function, sluice, mapping_for, kind):
    topic = cluster.topic(4)
    outage = Outage(function, OUTAGES[kind])
    sluice.mapping("m", mapping_for(
        topic, target={"http": {"timeout": "500ms", "connect_timeout": "400ms"}, "report_failures": True},
        retry={"attempts": 2, "backoff": "10ms..200ms", "probe": "200ms..1s"}))
    cluster.produce(topic, numbered(200, prefix="before", partitions=4))
    sluice.start()
    function.wait_done(ids(200, "before"), 20)
    outage.begin()
    cluster.produce(topic, numbered(400, prefix="during", partitions=4))
    stays(lambda: not sluice.dead() and not any(i.startswith("during") for i in function.done),
          OUTAGE_S, "a message was given up, or delivered, during the outage", every=0.5)
    probes = len(function.invocations) - len(function.done) // 10
    print(f"{probes} invocations during the outage")
    assert probes <= 100 * OUTAGE_S, "probing is not restrained"
    outage.end()
    cluster.produce(topic, numbered(200, prefix="after", partitions=4))
    function.wait_done([*ids(400, "during"), *ids(200, "after")], 90 if LONG else 30)
    cluster.wait_committed(group_of(topic), topic, 4)
    assert sluice.dead() == []


@pytest.mark.parametrize("kind", ["refused", "503", "500", "401"])
def test_an_outage_from_the_start(cluster, function, sluice, mapping_for, kind):
    """The target never worked since sluice started: no evidence against any message."""
    topic = cluster.topic(2)
    outage = Outage(function, OUTAGES[kind])
    outage.begin()
    cluster.produce(topic, numbered(100, partitions=2))
    sluice.mapping("m", mapping_for(
        topic, retry={"attempts": 2, "backoff": "10ms..200ms", "probe": "200ms..1s"}))
    sluice.start()
    stays(lambda: not sluice.dead(), 3, "a message was given up", every=0.3)
    assert cluster.committed(group_of(topic), topic) in ({}, {0: 0, 1: 0}, {0: 0}, {1: 0})
    outage.end()
    function.wait_done(ids(100), 60)
    assert sluice.dead() == []


@pytest.mark.parametrize("status", [400, 404, 401])
def test_an_answer_for_all_is_named_and_nothing_given_up(cluster, function, sluice, mapping_for,
                                                         status):
    topic = cluster.topic(4)
    function.behave = always(status, body=b"it is all wrong")
    cluster.produce(topic, numbered(100, partitions=4))
    sluice.mapping("m", mapping_for(topic, retry={"attempts": 2, "backoff": "10ms..100ms"}))
    sluice.start()
    sluice.wait_for_log(rf"\b{status}\b", 20)
    stays(lambda: not sluice.dead(), OUTAGE_S, "a message was given up", every=0.5)
    assert len(function.invocations) < 1000, "probing is not restrained"


def test_pausing_is_restrained_and_visible(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    function.behave = always(401)
    cluster.produce(topic, numbered(400, partitions=4))
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_invocations(1, 20)
    assert "401" in sluice.wait_for_event("target_paused", 20, mapping="m")["error"]
    stays(lambda: len(function.invocations) <= 20, 5, "invocations go on although it is paused")


@pytest.mark.parametrize("status", [500, 400])
@pytest.mark.parametrize("size", [100, 1])
@pytest.mark.parametrize("partitions", [4, 1])
def test_one_poison_message_in_a_thousand(cluster, function, sluice, mapping_for, partitions, size,
                                          status):
    topic = cluster.topic(partitions)
    function.behave = poison(["m-500"], status)
    cluster.produce(topic, numbered(1000, partitions=partitions))
    sluice.mapping("m", mapping_for(topic, batch={"size": size},
                                    retry={"attempts": 3, "backoff": "10ms..100ms",
                                           "patience": "1h"}))
    sluice.start()
    function.wait_done(set(ids(1000)) - {"m-500"}, 60)
    dead = sluice.wait_dead(1, 10)
    cluster.wait_committed(group_of(topic), topic, partitions)
    assert len(sluice.dead()) == 1
    letter = dead[0]
    assert letter["mapping"] == "m" and letter["status"] == status
    assert letter["partition"] == 500 % partitions and letter["position"] == 500 // partitions
    alone = [i for i in function.invocations if i.ids == ["m-500"]]
    assert 1 <= len(alone) <= 4, "it cost more than its attempts"
    again = sum(count - 1 for name, count in function.seen.items() if name != "m-500")
    assert again <= 2 * size + 16, f"{again} repeated deliveries of good messages"


@pytest.mark.parametrize("size", [100, 1])
def test_two_poison_messages_side_by_side(cluster, function, sluice, mapping_for, size):
    topic = cluster.topic(1)
    function.behave = poison(["m-150", "m-151"])
    cluster.produce(topic, numbered(400))
    sluice.mapping("m", mapping_for(topic, batch={"size": size}, retry={"patience": "1h"}))
    sluice.start()
    function.wait_done(set(ids(400)) - {"m-150", "m-151"}, 60)
    sluice.wait_dead(2, 10)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert sorted(letter["position"] for letter in sluice.dead()) == [150, 151]


def test_several_poison_messages_spread_out(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    bad = [f"m-{n}" for n in range(0, 2000, 100)]
    function.behave = poison(bad)
    cluster.produce(topic, numbered(2000, partitions=4))
    sluice.mapping("m", mapping_for(topic, batch={"size": 50}, retry={"patience": "1h"}))
    sluice.start()
    function.wait_done(set(ids(2000)) - set(bad), 90)
    sluice.wait_dead(len(bad), 20)
    cluster.wait_committed(group_of(topic), topic, 4)
    assert len(sluice.dead()) == len(bad)


def test_a_poison_message_alone_in_the_topic(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(["m-0"])
    cluster.produce(topic, numbered(1))
    sluice.mapping("m", mapping_for(topic, retry={"attempts": 2, "backoff": "10ms..100ms",
                                                  "patience": "2s"}))
    begin = time.monotonic()
    sluice.start()
    letter = sluice.wait_dead(1, 20)[0]
    assert time.monotonic() - begin >= 2, "given up before its patience ended"
    assert letter["class"] == "patience"
    cluster.wait_committed(group_of(topic), topic, 1)


def test_a_poison_message_at_the_end_waits_for_a_witness(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(["m-99"])
    cluster.produce(topic, numbered(100))
    sluice.mapping("m", mapping_for(topic, retry={"attempts": 2, "patience": "1h"}))
    sluice.start()
    function.wait_done(ids(99), 20)
    # The target did other work before m-99 failed alone, and m-99 fails on: nothing after it.
    stays(lambda: len(sluice.dead()) <= 1, 1, "more was given up")
    cluster.produce(topic, numbered(1, prefix="later"))
    function.wait_done(["later-0"], 20)
    sluice.wait_dead(1, 10)
    cluster.wait_committed(group_of(topic), topic, 1)


def test_patience_zero_counts_every_failure(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = always(500)
    cluster.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1},
                                    retry={"attempts": 2, "backoff": "10ms..50ms", "patience": 0}))
    sluice.start()
    sluice.wait_dead(3, 30)
    cluster.wait_committed(group_of(topic), topic, 1)


def test_a_poison_message_during_random_failures(cluster, function, sluice, mapping_for):
    import random
    dice = random.Random(7)
    topic = cluster.topic(2)
    bad = Answer(500, b"boom")
    function.behave = lambda invocation: \
        bad if "m-300" in invocation.ids or dice.random() < 0.2 else OK
    cluster.produce(topic, numbered(600, partitions=2))
    sluice.mapping("m", mapping_for(topic, retry={"attempts": 6, "patience": "1h"}))
    sluice.start()
    function.wait_done(set(ids(600)) - {"m-300"}, 60)
    sluice.wait_dead(1, 20)
    cluster.wait_committed(group_of(topic), topic, 2)
    assert [letter["position"] for letter in sluice.dead()] == [150]


def test_retry_after_is_a_floor(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    answers = iter([always(429, headers={"Retry-After": "2"}), always(200)])
    function.behave = lambda invocation: next(answers, always(200))(invocation)
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(1), 20)
    first, second = function.invocations
    assert second.begin - first.begin >= 1.9


def test_throttling_costs_no_attempt(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(20))
    count = iter(range(10 ** 9))
    function.behave = lambda invocation: \
        always(429)(invocation) if next(count) < 10 else OK
    sluice.mapping("m", mapping_for(topic, retry={"attempts": 1}))
    sluice.start()
    function.wait_done(ids(20), 60)
    assert sluice.dead() == []


def test_age_bounds_retrying(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    function.behave = always(503)
    sluice.mapping("m", mapping_for(topic, retry={"age": "2s", "backoff": "10ms..200ms"}))
    sluice.start()
    assert sluice.wait_dead(1, 30)[0]["class"] == "age"
    cluster.wait_committed(group_of(topic), topic, 1)


def test_no_request_is_sent_twice_behind_our_back(cluster, function, sluice, mapping_for):
    """A kept-alive connection that dies before the answer: libcurl would silently send again."""
    topic = cluster.topic(1)
    closing = threading.Event()
    closing.set()

    def behave(invocation):
        if "m-5" in invocation.ids and closing.is_set():
            closing.clear()
            return Answer(how="reset")
        return OK
    function.behave = behave
    cluster.produce(topic, numbered(10))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, retry={"backoff": "300ms..400ms"}))
    sluice.start()
    function.wait_done(ids(10), 20)
    twice = [i for i in function.invocations if "m-5" in i.ids]
    assert len(twice) == 2
    assert [i.records[0].attempt for i in twice] == [1, 2], "sent again without being counted"


def test_redirects_are_not_followed(cluster, make_function, sluice, mapping_for):
    function, elsewhere = make_function(), make_function()
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    function.behave = always(307, headers={"Location": elsewhere.url})
    sluice.mapping("m", mapping_for(topic, target={"http": {"url": function.url}}))
    sluice.start()
    function.wait_invocations(2, 20)
    assert elsewhere.invocations == [] and elsewhere.connections == 0
    assert sluice.dead() == []


def test_an_outage_longer_than_max_poll_interval_keeps_the_group(cluster, function, sluice,
                                                                 mapping_for):
    topic = cluster.topic(2)
    group = group_of(topic)
    interval_s = 20 if LONG else 10
    sluice.mapping("m", mapping_for(topic, {"source": {"kafka": {"properties": {
        "max.poll.interval.ms": str(interval_s * 1000)}}}}))
    cluster.produce(topic, numbered(20, prefix="before", partitions=2))
    sluice.start()
    function.wait_done(ids(20, "before"), 20)
    members = json.dumps(cluster.members(group))
    function.refuse()
    cluster.produce(topic, numbered(200, partitions=2))
    stays(lambda: json.dumps(cluster.members(group)) == members, interval_s * 1.6,
          lambda: f"the group changed: {members} -> {cluster.members(group)}", every=0.5)
    function.listen()
    function.wait_done(ids(200), 30)
    assert json.dumps(cluster.members(group)) == members
    assert sluice.dead() == []
