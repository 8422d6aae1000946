"""What is kept in order, also while invocations fail and are tried again."""

import json
from collections import defaultdict

import pytest

from lib.function import Answer, OK, always, at_random
from lib.plugin import group_of, ids, numbered


def number(record):
    return json.loads(record.value)["n"]


def check_order(function, group):
    """Within a group (`group(record)`), first deliveries come in order, no invocation overlaps
    another of the same group, and none starts before all earlier messages were done."""
    done = defaultdict(int)     # group -> next number that may be delivered
    expected = defaultdict(list)
    busy = defaultdict(float)   # group -> until when its last invocation ran
    for invocation in function.invocations:
        for record in invocation.records:
            expected[group(record)].append(number(record))
    order = {name: sorted(set(numbers)) for name, numbers in expected.items()}
    for invocation in function.invocations:
        mine = defaultdict(list)
        for record in invocation.records:
            mine[group(record)].append(number(record))
        for name, numbers in mine.items():
            assert invocation.begin >= busy[name], f"{name}: two invocations at once"
            busy[name] = invocation.end or float("inf")
            first = order[name].index(numbers[0])
            assert order[name][first:first + len(numbers)] == numbers, f"{name}: {numbers}"
            assert first <= done[name], f"{name}: {numbers[0]} overtook {order[name][done[name]]}"
            if 200 <= invocation.answer.status < 300:
                done[name] = max(done[name], first + len(numbers))


def partition(record):
    return record.partition


def key(record):
    return record.key


@pytest.mark.parametrize("split", [True, False])
def test_lane_order_with_random_failures(cluster, function, sluice, mapping_for, split):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(1000, partitions=4))
    function.behave = at_random(0.3, seed=1)
    sluice.mapping("m", mapping_for(topic, batch={"size": 10},
                                    retry={"split": split, "attempts": 12}))
    sluice.start()
    function.wait_done(ids(1000), 60)
    check_order(function, partition)
    assert sluice.dead() == []
    cluster.wait_committed(group_of(topic), topic, 4)


def test_key_order_with_random_failures(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(1000, keys=25))
    function.behave = at_random(0.3, seed=2)
    sluice.mapping("m", mapping_for(topic, order="key", batch={"size": 10},
                                    retry={"attempts": 12}))
    sluice.start()
    function.wait_done(ids(1000), 60)
    check_order(function, key)
    assert sluice.dead() == []
    cluster.wait_committed(group_of(topic), topic, 4)


def test_no_order_with_random_failures(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(1000))
    function.behave = at_random(0.3, seed=3)
    sluice.mapping("m", mapping_for(topic, order="none", batch={"size": 1},
                                    retry={"attempts": 12}))
    sluice.start()
    function.wait_done(ids(1000), 60)
    assert sluice.dead() == []
    cluster.wait_committed(group_of(topic), topic, 4)


def test_keys_run_in_parallel_within_a_partition(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(60, keys=6))
    function.behave = always(200, delay=0.05)
    sluice.mapping("m", mapping_for(topic, order="key", batch={"size": 1}))
    sluice.start()
    function.wait_done(ids(60), 30)
    check_order(function, key)
    assert function.most_in_flight >= 2


def test_messages_without_key_in_key_order(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(100))
    sluice.mapping("m", mapping_for(topic, order="key"))
    sluice.start()
    function.wait_done(ids(100), 20)
    cluster.wait_committed(group_of(topic), topic, 2)


def test_lane_order_runs_one_batch_at_a_time(cluster, function, sluice, mapping_for):
    topic = cluster.topic(3)
    cluster.produce(topic, numbered(300, partitions=3))
    function.behave = always(200, delay=0.02)
    sluice.mapping("m", mapping_for(topic, batch={"size": 10}))
    sluice.start()
    function.wait_done(ids(300), 30)
    check_order(function, partition)
    assert function.most_in_flight <= 3


def test_a_slow_message_delays_neither_others_nor_their_record(cluster, function, sluice,
                                                               mapping_for):
    """Out-of-order completion: what was done above a message in flight is not done again."""
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(200))
    function.behave = lambda invocation: \
        Answer(how="hang") if "m-0" in invocation.ids else OK
    sluice.mapping("m", mapping_for(topic, order="none", batch={"size": 1}, drain="1s",
                                    target={"http": {"timeout": "60s"}}))
    sluice.start()
    function.wait_done(ids(200)[1:], 30)
    assert cluster.committed(group_of(topic), topic).get(0, 0) == 0
    sluice.terminate(timeout=60)
    function.behave = always(200)
    sluice.start()
    function.wait_done(ids(200), 20)
    assert all(count == 1 for name, count in function.seen.items() if name != "m-0")
    cluster.wait_committed(group_of(topic), topic, 1)
