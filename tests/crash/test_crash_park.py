"""kill -9 while messages are parked, come back and are parked again: nothing lost, each with one token,
none invoked again once it was recorded, keys in order."""

import json
import threading

import pytest

from lib.function import Answer
from lib.machine import LONG
from lib.plugin import group_of, ids
from test_crash import (UNRECORDED_S, age_of_unrecorded_successes, check_same_token, dice_of_today,
                        kill_at_random)

MESSAGES, KILLS, KEYS = (6_000, 60, 200) if LONG else (600, 8, 60)


class SometimesLater:
    """Some messages fail once or twice and ask for a second or two."""

    def __init__(self, dice):
        self.failures = {name: dice.choice([1, 1, 2]) for name in ids(MESSAGES)
                         if dice.random() < 0.1}
        self.dice, self.lock = dice, threading.Lock()

    def __call__(self, invocation):
        with self.lock:
            bad = [name for name in invocation.ids if self.failures.get(name)]
            if len(invocation.ids) == 1:
                for name in bad:
                    self.failures[name] -= 1
            delay = self.dice.random() * 0.01
        if bad:
            return Answer(500, headers={"Retry-After": "2"}, delay=delay)
        return Answer(200, delay=delay)


def check_order(function):
    """First successes of the messages of a key are in order."""
    first = {}
    for invocation in function.invocations:
        if invocation.end and invocation.answer.success:
            for record in invocation.records:
                first.setdefault(record.id, invocation.end)
    for key in range(KEYS):
        times = [first[f"m-{n}"] for n in range(key, MESSAGES, KEYS)]
        assert times == sorted(times), f"key {key} is out of order"


@pytest.mark.alone
@pytest.mark.parametrize("order, token", [("key", "position"), ("none", "/token")])
def test_kill_9_of_parked_messages(cluster, function, sluice, mapping_for, order, token):
    dice = dice_of_today()
    topic = cluster.topic(4)
    cluster.produce(topic, [{"key": f"k{n % KEYS}", "partition": n % KEYS % 4,
                             "value": json.dumps({"id": f"m-{n}", "token": f"b-{n}"})}
                            for n in range(MESSAGES)])
    function.behave = SometimesLater(dice)
    sluice.mapping("m", mapping_for(
        topic, {"source": {"kafka": {"instance_id": "crash"}}}, order=order,
        idempotency={"token": token, "ttl": "1h"}, batch={"size": 5, "window": "5ms"},
        retry={"attempts": 6, "park_after": "1s"}))
    parked = []

    def note_parked(number):
        parked.append(sluice.metric("sluice_parked_messages", mapping="m"))
        return {}
    kills = kill_at_random(sluice, function, dice, MESSAGES, KILLS, note_parked)
    function.wait_done(ids(MESSAGES), 120)
    cluster.wait_committed(group_of(topic), topic, 4, timeout=60)
    assert max(parked) > 0
    check_same_token(function)
    assert age_of_unrecorded_successes(function, kills) < UNRECORDED_S
    if order == "key":
        check_order(function)
    assert sluice.dead() == []
    assert sluice.control("GET", "/v1/mappings/m")[1]["parked"]["count"] == 0
