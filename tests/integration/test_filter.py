"""Filters: what a mapping takes, what it leaves out, and what it cannot tell."""

from lib.plugin import group_of, numbered
from lib.waiting import until

EVEN = [{"value": {"n": [n for n in range(0, 100, 2)]}}]


def test_left_out_is_settled_and_not_invoked(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(100))
    sluice.mapping("m", mapping_for(topic, filter=EVEN))
    sluice.start()
    wanted = {f"m-{n}" for n in range(0, 100, 2)}
    function.wait_done(wanted, 20)
    cluster.wait_committed(group_of(topic), topic, 2)
    assert set(function.done) == wanted
    until(lambda: [sluice.metric(f"sluice_messages_{what}_total", mapping="m")
                   for what in ("filtered", "done")] == [50, 50], 10, "both counts")
    assert not sluice.dead()


def test_kept_as_dead_letters(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(4))
    sluice.mapping("m", mapping_for(topic, filter=EVEN, on_filtered="dead_letter"))
    sluice.start()
    function.wait_done({"m-0", "m-2"}, 20)
    letters = sluice.wait_dead(2)
    assert {letter["position"] for letter in letters} == {1, 3}
    assert {letter["class"] for letter in letters} == {"filtered"}
    cluster.wait_committed(group_of(topic), topic, 1)


def test_what_cannot_be_told_is_kept(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [*numbered(1), {"value": "no JSON at all"}, *list(numbered(3))[2:]])
    sluice.mapping("m", mapping_for(topic, filter=EVEN))
    sluice.start()
    function.wait_done({"m-0", "m-2"}, 20)
    (letter,) = sluice.wait_dead(1)
    assert letter["position"] == 1 and letter["class"] == "filtered"
    assert "not JSON" in letter["reason"]
    cluster.wait_committed(group_of(topic), topic, 1)


def test_a_changed_filter_is_taken_over(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, filter=EVEN))
    sluice.start()
    cluster.produce(topic, numbered(2))
    function.wait_done({"m-0"}, 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    sluice.mapping("m", mapping_for(topic, filter={"value": {"n": [{"numeric": [">=", 3]}]}}))
    status, answer = sluice.control("POST", "/v1/reload")
    assert status == 200 and answer["changed"] == 1, answer
    sluice.wait_alive()
    cluster.produce(topic, list(numbered(5))[2:])
    function.wait_done({"m-0", "m-3", "m-4"}, 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert set(function.done) == {"m-0", "m-3", "m-4"}
