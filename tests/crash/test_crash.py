"""kill -9 at random moments: nothing lost; what was recorded is not invoked again; what was in
flight comes again with the same token."""

import json
import os
import random
import threading
import time
from collections import defaultdict

import pytest

from lib.function import Answer
from lib.machine import LONG, PATIENCE
from lib.plugin import group_of, ids

MESSAGES, KILLS = (50_000, 100) if LONG else (20_000, 25)
PARTITIONS = 4
# Between a function's answer and the durable record lie one turn of the poller and one group commit:
# milliseconds on an idle machine.
UNRECORDED_S = 0.5 * PATIENCE


def message(n):
    return {"key": f"k{n % 997}", "partition": n % PARTITIONS,
            "value": json.dumps({"id": f"m-{n}", "n": n, "token": f"business-{n}"})}


def kill(sluice, function):
    """Returns once the function knows too: what it still answered was answered to nobody."""
    sluice.kill9()
    function.wait(lambda f: f.in_flight == 0, 10, "loss of the connections")


def dice_of_today():
    seed = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(10 ** 6))
    print(f"SLUICE_SEED={seed}")
    return random.Random(seed)


def kill_at_random(sluice, function, dice, messages, count, commits=lambda number: {}):
    """Starts and kills, and starts at last: [(when, invocations until then, commits just before)]."""
    kills = []
    step = messages * 0.9 / count
    sluice.start()
    for number in range(count):
        # At a random point of the work, plus a random moment: 0-20 ms.
        goal = int(step * number + dice.random() * step)
        function.wait(lambda f, goal=goal: len(f.done) >= goal, 120,
                      lambda goal=goal: f"{goal} messages done")
        threading.Event().wait(dice.random() * 0.02)
        committed = commits(number)
        kill(sluice, function)
        with function.changes:
            kills.append((time.monotonic(), len(function.invocations), committed))
        sluice.start()
    return kills


@pytest.mark.alone
@pytest.mark.parametrize("order", ["lane", "none"])
def test_kill_9_at_random_moments(cluster, function, sluice, mapping_for, order):
    dice = dice_of_today()
    topic = cluster.topic(PARTITIONS)
    group = group_of(topic)
    for begin in range(0, MESSAGES, 10_000):
        cluster.produce(topic, [message(n) for n in range(begin, min(begin + 10_000, MESSAGES))])
    # Slow enough that the kills fall among invocations.
    function.behave = lambda invocation: Answer(200, delay=dice.random() * 0.01)
    sluice.mapping("m", mapping_for(
        topic, {"source": {"kafka": {"instance_id": "crash"}}},
        order=order, batch={"size": 20, "window": "5ms"},
        idempotency={"token": "/token", "ttl": "1h"},
        target={"http": {"concurrency": "1..16"}}))

    kills = kill_at_random(
        sluice, function, dice, MESSAGES, KILLS,
        lambda number: cluster.committed(group, topic) if number % 5 == 0 else {})
    function.wait_done(ids(MESSAGES), 300)
    cluster.wait_committed(group, topic, PARTITIONS, timeout=120)
    # Some of them once more, as producers do: all are recorded now.
    before = dict(function.seen)
    cluster.produce(topic, [message(n) for n in range(0, MESSAGES, 50)])
    cluster.wait_committed(group, topic, PARTITIONS, timeout=120)

    check_nothing_committed_was_invoked_again(function, kills)
    check_same_token(function)
    again = sum(count - 1 for count in function.seen.values())
    age = age_of_unrecorded_successes(function, kills)
    print(f"{MESSAGES} messages, {KILLS} kills, {again / KILLS:.1f} invoked again a kill, "
          f"at most {age * 1000:.1f} ms after their success")
    assert age < UNRECORDED_S, "a success was not recorded for so long"
    assert sluice.dead() == []
    assert function.seen == before, "a duplicate of a recorded message was invoked"


def check_nothing_committed_was_invoked_again(function, kills):
    """What lay below a commit at a kill never comes after it."""
    for _, count, commits in kills:
        for invocation in function.invocations[count:]:
            for record in invocation.records:
                assert record.offset >= commits.get(record.partition, 0), \
                    f"{record} was committed before the kill and came again"


def age_of_unrecorded_successes(function, kills):
    """How long before a kill a message can have succeeded and be invoked again nevertheless."""
    succeeded = {}
    worst = 0
    times = [when for when, _, _ in kills]
    for invocation in function.invocations:
        for record in invocation.records:
            if record.id in succeeded:
                next_kill = next(when for when in times if when > succeeded[record.id])
                worst = max(worst, next_kill - succeeded[record.id])
        if invocation.end and invocation.answer.success:
            succeeded.update((record.id, invocation.end) for record in invocation.records)
    return worst


def check_same_token(function):
    tokens = defaultdict(set)
    for invocation in function.invocations:
        for record in invocation.records:
            tokens[record.id].add(record.token)
    assert all(len(found) == 1 for found in tokens.values())


@pytest.mark.alone
def test_duplicates_of_recorded_messages_after_a_kill(cluster, function, sluice, mapping_for):
    """Producers send everything twice; kills in between; each token succeeds exactly as often as
    it was in flight at a kill, plus once."""
    count = 10_000 if LONG else 3_000
    topic = cluster.topic(4)
    dice = random.Random(11)
    messages = [{"partition": n % 4, "value": json.dumps({"id": f"m-{n}", "token": f"b-{n}"})}
                for n in range(count)]
    function.behave = lambda invocation: Answer(200, delay=0.003)
    sluice.mapping("m", mapping_for(
        topic, {"source": {"kafka": {"instance_id": "crash"}}}, batch={"size": 10, "window": "5ms"},
        idempotency={"token": "/token", "ttl": "1h"}))
    cluster.produce(topic, messages)
    cluster.produce(topic, messages)
    sluice.start()
    kills = 10 if LONG else 5
    in_flight = set()
    for number in range(kills):
        goal = int(count * (number + dice.random()) / kills)
        function.wait(lambda f: len(f.done) >= min(goal, count - 1), 60, f"{goal} done")
        kill(sluice, function)
        with function.changes:
            now = time.monotonic()
            for invocation in function.invocations:
                if invocation.end is None or invocation.end > now - UNRECORDED_S:
                    in_flight.update(invocation.ids)
        sluice.start()
    function.wait_done(ids(count), 120)
    cluster.wait_committed(group_of(topic), topic, 4, timeout=60)
    twice = {name for name, times in function.done.items() if times > 1}
    assert twice <= in_flight, f"{len(twice - in_flight)} recorded messages were invoked again, " \
        f"e.g. {sorted(twice - in_flight)[:5]}"
