"""Batches close on count, bytes or window, whichever comes first."""

import json

import pytest

from lib.plugin import group_of, ids, numbered


def sizes(function):
    return [len(invocation.records) for invocation in function.invocations]


def test_by_count(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(100))
    sluice.mapping("m", mapping_for(topic, batch={"size": 20, "window": "30s"}))
    sluice.start()
    function.wait_done(ids(100), 20)
    assert sizes(function) == [20] * 5


def test_by_window(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, batch={"size": 1000, "window": "300ms"}))
    sluice.start()
    cluster.produce(topic, numbered(7))
    function.wait_done(ids(7), 20)
    assert sum(sizes(function)) == 7 and len(sizes(function)) <= 2
    cluster.wait_committed(group_of(topic), topic, 1)


def test_by_bytes(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(40, size=1000))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1000, "bytes": "10 KiB",
                                                  "window": "500ms"}))
    sluice.start()
    function.wait_done(ids(40), 20)
    for invocation in function.invocations:
        assert sum(len(json.dumps(json.loads(r.value))) for r in invocation.records) <= 10 * 1024
    assert max(sizes(function)) >= 9, "batches are much smaller than they may be"


def test_a_message_larger_than_a_batch_goes_alone(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    big = json.dumps({"id": "big", "pad": "x" * 300_000})
    cluster.produce(topic, [*numbered(5, prefix="a"), {"value": big}, *numbered(5, prefix="b")])
    sluice.mapping("m", mapping_for(topic, batch={"size": 100, "bytes": "64 KiB",
                                                  "window": "200ms"}))
    sluice.start()
    function.wait_done([*ids(5, "a"), "big", *ids(5, "b")], 20)
    assert ["big"] in [invocation.ids for invocation in function.invocations]


def test_no_window_does_not_wait(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, batch={"size": 1000, "window": 0}))
    sluice.start()
    cluster.produce(topic, numbered(1, prefix="warm"))
    function.wait_done(["warm-0"], 20)
    cluster.produce(topic, numbered(1))
    function.wait_done(ids(1), 2)


def test_batch_of_one(cluster, function, sluice, mapping_for):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(200))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    function.wait_done(ids(200), 20)
    assert set(sizes(function)) == {1}


@pytest.mark.parametrize("order", ["lane", "key"])
def test_ordered_batches_hold_one_lane(cluster, function, sluice, mapping_for, order):
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(400, keys=20, partitions=4))
    sluice.mapping("m", mapping_for(topic, order=order, batch={"size": 50}))
    sluice.start()
    function.wait_done(ids(400), 20)
    if order == "lane":
        for invocation in function.invocations:
            assert len({r.partition for r in invocation.records}) == 1


def test_in_flight_is_bounded(cluster, function, sluice, mapping_for):
    from lib.function import always
    topic = cluster.topic(4)
    cluster.produce(topic, numbered(200))
    function.behave = always(200, delay=0.05)
    sluice.mapping("m", mapping_for(topic, order="none", batch={"size": 1},
                                    target={"http": {"concurrency": "1..5"}}))
    sluice.start()
    function.wait_done(ids(200), 30)
    assert 2 <= function.most_in_flight <= 5
