"""Dead letters hold the whole story, and `sluice dlq` tells it."""

import json
import subprocess

import pytest

from lib.function import Answer, OK, always, poison
from lib.plugin import group_of, ids, numbered
from lib.sluice import PROGRAM, run_cli


@pytest.fixture
def one_dead(cluster, function, sluice, mapping_for):
    """A sluice that has given up one message of three."""
    topic = cluster.topic(1)
    function.behave = lambda invocation: \
        Answer(500, b'{"errorMessage": "cannot divide by zero", "at": 17}') \
        if "m-1" in invocation.ids else OK
    cluster.produce(topic, [
        {"key": f"key-{n}", "value": json.dumps({"id": f"m-{n}"}), "timestamp": 1545084650987,
         "headers": [("trace", "t1"), ("trace", b"\xff")]} for n in range(3)])
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1},
                                         idempotency={"token": "key"}))
    sluice.start()
    function.wait_done(["m-0", "m-2"], 20)
    sluice.wait_dead(1)
    cluster.wait_committed(group_of(topic), topic, 1)
    sluice.topic = topic
    return sluice


def test_a_dead_letter_tells_the_whole_story(one_dead):
    letter = one_dead.dead()[0]
    assert letter["mapping"] == "orders"
    assert letter["class"] == "attempts"
    assert letter["status"] == 500
    assert letter["source"] == one_dead.topic
    assert (letter["partition"], letter["position"]) == (0, 1)
    full = one_dead.dlq("show", letter["id"])
    full = full[0] if isinstance(full, list) else full
    text = json.dumps(full)
    assert "cannot divide by zero" in text
    assert "key-1" in text
    # Three attempts, and perhaps one more after the witness succeeded, to be sure.
    assert len(full["attempts"]) in (3, 4)
    assert {attempt["status"] for attempt in full["attempts"]} == {500}
    assert "t1" in text
    assert "m-1" in text


def test_dlq_stats_counts(one_dead):
    for field, value in (("mapping", "orders"), ("status", "500"), ("class", "attempts")):
        group = one_dead.dlq("stats", "--by", field)
        assert str(group[field]) == value and group["count"] == 1


def test_dlq_for_people(one_dead):
    for command in (["ls"], ["stats"], ["show", one_dead.dead()[0]["id"]]):
        done = run_cli("dlq", *command, "--state", one_dead.state)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    done = run_cli("dlq", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--state", one_dead.state)
    assert done.returncode != 0 and "01ARZ3NDEKTSV4RRFFQ69G5FAV" in done.stderr


def test_dead_letters_outlive_a_restart_and_are_not_doubled(cluster, function, one_dead):
    before = one_dead.dead()
    assert one_dead.terminate() == 0
    # The very same message again, as after a crash between writing and committing.
    cluster.tool.call("set_committed", group=group_of(one_dead.topic), topic=one_dead.topic,
                      offsets={"0": 1})
    cluster.produce(one_dead.topic, [{"key": "w", "value": '{"id": "witness"}'}])
    one_dead.start()
    function.wait_done(["witness"], 20)
    cluster.wait_committed(group_of(one_dead.topic), one_dead.topic, 1)
    after = one_dead.dead()
    assert len(before) == len(after) == 1


def test_the_message_is_not_settled_while_its_letter_cannot_be_written(cluster, function, sluice,
                                                                       mapping_for):
    """The store is locked by someone else: the lane waits, loudly, and goes on afterwards."""
    import sqlite3
    topic = cluster.topic(1)
    function.behave = poison(["m-1"])
    cluster.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    store = next(iter(sluice.state.glob("dead-letters*.sqlite")), None)
    if store is None:
        pytest.skip("the store is made with the first letter")
    with sqlite3.connect(store, isolation_level=None) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        sluice.wait_for_log(r"dead.letter.*(lock|busy|cannot|fail)|locked|busy", 60)
        assert cluster.committed(group_of(topic), topic).get(0, 0) <= 1
        blocker.execute("ROLLBACK")
    sluice.wait_dead(1, 60)
    function.wait_done(["m-0", "m-2"], 30)
    cluster.wait_committed(group_of(topic), topic, 1, timeout=60)


def test_too_large_for_the_target(cluster, function, sluice, mapping_for):
    """413 for one message alone: it will never be smaller."""
    topic = cluster.topic(1)
    cluster.produce(topic, [*numbered(5), {"value": json.dumps({"id": "big", "pad": "x" * 50_000})},
                            *numbered(5, prefix="after")])
    function.behave = lambda invocation: \
        always(413)(invocation) if len(invocation.body) > 40_000 else OK
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done([*ids(5), *ids(5, "after")], 20)
    letter = sluice.wait_dead(1)[0]
    assert letter["status"] == 413
    cluster.wait_committed(group_of(topic), topic, 1)


def test_a_store_that_is_not_made_yet_is_no_error(tmp_path):
    """As the service leaves it between making the file and its tables."""
    (tmp_path / "dead-letters.sqlite").touch()
    (tmp_path / "parked.sqlite").touch()
    for command in (["dlq"], ["dlq", "ls"], ["dlq", "stats"], ["parked", "ls"]):
        shown = run_cli(*command, "--state", tmp_path)
        assert (shown.returncode, shown.stderr) == (0, "")
    (tmp_path / "tokens.mdb").touch()
    assert run_cli("token", "stats", "--state", tmp_path).stderr == \
        f"sluice token: {tmp_path}/tokens.mdb: no service has recorded tokens there yet\n"
    assert run_cli("dlq", "replay", "--yes", "--state", tmp_path).returncode == \
        run_cli("dlq", "replay", "--yes", "--state", tmp_path / "missing").returncode


def test_follow_shows_letters_as_they_are_written(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(["m-1", "m-3"])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}))
    follow = subprocess.Popen([PROGRAM, "dlq", "follow", "m", "--json", "--limit", "2", "--state",
                               sluice.state], stdout=subprocess.PIPE, text=True)
    sluice.start()
    cluster.produce(topic, numbered(5))
    output, _ = follow.communicate(timeout=60)
    assert follow.returncode == 0
    assert [json.loads(line)["position"] for line in output.splitlines()] == [1, 3]


def test_a_full_store_makes_the_lane_wait(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison([f"m-{n}" for n in range(0, 20, 2)])
    cluster.produce(topic, numbered(20))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"max_count": 3}))
    sluice.start()
    event = sluice.wait_for_event("dead_letters_stuck", 30)
    assert "dead_letter.max_count" in event["error"]
    kept = len(sluice.dead())
    assert 3 <= kept < 10
    assert cluster.committed(group_of(topic), topic).get(0, 0) < 20
    done = run_cli("dlq", "discard", "--all", "--yes", "--state", sluice.state)
    assert done.returncode == 0, done.stderr
    sluice.wait_for_event("dead_letters_written", 30)


def test_a_full_store_drops_the_oldest(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison([f"m-{n}" for n in range(0, 20, 2)])
    cluster.produce(topic, numbered(20))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1},
                                    dead_letter={"max_count": 3, "on_full": "drop_oldest"}))
    sluice.start()
    function.wait_done([f"m-{n}" for n in range(1, 20, 2)], 60)
    cluster.wait_committed(group_of(topic), topic, 1)
    left = sluice.dead()
    assert len(left) == 3 and left[0]["position"] == 18
    assert sluice.find_events("dead_letters_dropped")
