"""Members join and leave under load: nothing is lost."""

import json
import random

import pytest

from lib.function import always
from lib.machine import LONG
from lib.plugin import group_of, ids, numbered
from lib.waiting import until

COUNT = 20_000 if LONG else 4_000


@pytest.mark.parametrize("order", ["lane", "none"])
@pytest.mark.parametrize("assignment", ["eager", "cooperative"])
def test_members_join_and_leave_under_load(cluster, function, make_sluice, mapping_for, order,
                                           assignment):
    topic = cluster.topic(6)
    function.behave = always(200, delay=0.02)
    changes = {"source": {"kafka": {"assignment": assignment}}}
    members = [make_sluice() for _ in range(3)]
    for member in members:
        member.mapping("m", mapping_for(topic, changes, order=order, batch={"size": 20}))
    cluster.produce(topic, numbered(COUNT, partitions=6))
    members[0].start()
    function.wait(lambda f: len(f.done) >= COUNT // 10, 60, "a tenth")
    members[1].start()
    function.wait(lambda f: len(f.done) >= COUNT // 5, 60, "a fifth")
    members[2].start()
    function.wait(lambda f: len(f.done) >= COUNT // 3, 60, "a third")
    assert members[0].terminate(timeout=30) == 0
    function.wait(lambda f: len(f.done) >= COUNT // 2, 60, "a half")
    members[1].kill9()
    members[0].start()
    function.wait_done(ids(COUNT), 120)
    cluster.wait_committed(group_of(topic), topic, 6, timeout=60)
    doubled = sum(1 for count in function.done.values() if count > 1)
    # Without a shared store a killed or revoked member's last batches may come again elsewhere.
    # What it did since its last commit, so a second of work where nothing holds the work back.
    assert doubled <= (COUNT // 10 if order == "lane" else COUNT // 2), f"{doubled} done twice"


def test_a_member_that_leaves_cleanly_leaves_no_duplicates(cluster, function, make_sluice,
                                                           mapping_for):
    topic = cluster.topic(4)
    function.behave = always(200, delay=0.02)
    first, second = make_sluice(), make_sluice()
    for member in (first, second):
        member.mapping("m", mapping_for(topic, batch={"size": 20}))
    cluster.produce(topic, numbered(2000, partitions=4))
    first.start()
    function.wait(lambda f: len(f.done) >= 300, 30, "300 messages")
    assert first.terminate(timeout=30) == 0
    second.start()
    function.wait_done(ids(2000), 60)
    assert set(function.done.values()) == {1}


def test_partitions_that_come_back_are_not_done_again(cluster, function, make_sluice, mapping_for):
    """A second member takes half of the partitions and gives them back."""
    topic = cluster.topic(4)
    function.behave = always(200, delay=0.01)
    first, second = make_sluice(), make_sluice()
    for member in (first, second):
        member.mapping("m", mapping_for(topic, batch={"size": 10}))
    cluster.produce(topic, numbered(1000, prefix="a", partitions=4))
    first.start()
    function.wait(lambda f: len(f.done) >= 200, 30, "200 messages")
    second.start()
    until(lambda: [m["partitions"] for m in cluster.members(group_of(topic))] == [2, 2], 30,
          "two members", every=0.2)
    function.wait_done(ids(1000, "a"), 60)
    assert second.terminate(timeout=30) == 0
    cluster.produce(topic, numbered(400, prefix="b", partitions=4))
    function.wait_done(ids(400, "b"), 60)
    cluster.wait_committed(group_of(topic), topic, 4)
    twice = [name for name, count in function.done.items() if count > 1]
    # In-flight batches get a bounded time to finish when partitions are revoked: it is ample here.
    assert not twice, f"{len(twice)} done twice, e.g. {twice[:5]}"


def test_order_holds_across_a_rebalance(cluster, function, make_sluice, mapping_for):
    topic = cluster.topic(4)
    function.behave = always(200, delay=random.Random(1).random() / 50)
    first, second = make_sluice(), make_sluice()
    for member in (first, second):
        member.mapping("m", mapping_for(topic, batch={"size": 5}))
    cluster.produce(topic, numbered(2000, partitions=4))
    first.start()
    function.wait(lambda f: len(f.done) >= 400, 30, "400 messages")
    second.start()
    function.wait_done(ids(2000), 60)
    newest = {}
    for invocation in function.invocations:
        for record in invocation.records:
            number = json.loads(record.value)["n"]
            # A repeat starts again at an earlier point; a jump ahead would be an overtaking.
            assert number <= newest.get(record.partition, record.partition - 4) + 4
            newest[record.partition] = max(number, newest.get(record.partition, -1))
