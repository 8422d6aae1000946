"""Long retries are parked: what is kept, in which order it comes back, and what bounds it. That it works on
every connector: test_every_connector.py."""

import json
import sqlite3
import threading

import pytest

from lib.function import OK, Answer
from lib.plugin import group_of, ids, numbered
from lib.sluice import PROGRAM, run_cli
from lib.terminal import on_terminal
from lib.waiting import stays, until
from test_kafka_source import attempt

PARK = {"order": "none", "batch": {"size": 1}, "retry": {"park_after": "1s", "attempts": 5}}


class Failing:
    """Answers 500 with Retry-After for messages until they are let go."""

    def __init__(self, function, names, after=2):
        self.names, self.after, self.lock = set(names), after, threading.Lock()
        function.behave = self

    def __call__(self, invocation):
        with self.lock:
            if self.names & set(invocation.ids):
                return Answer(500, b"not now", {"Retry-After": str(self.after)})
        return OK

    def let_go(self, *names):
        with self.lock:
            self.names -= set(names)


def parked(sluice, mapping="m"):
    return sluice.control("GET", f"/v1/mappings/{mapping}")[1]["parked"]


def wait_parked(sluice, count, mapping="m"):
    def found():
        try:
            return parked(sluice, mapping)["count"] == count
        except OSError:  # it is just starting
            return False
    until(found, 20, lambda: f"{count} parked\n{sluice.tail()}")


def tokens_of(function, name):
    with function.changes:
        return [record.token for invocation in function.invocations
                for record in invocation.records if record.id == name]


# ---- what is kept ----

def test_rabbitmq_without_message_ids(rabbit, function, sluice, rabbit_mapping):
    """What nothing names keeps the text of its token too, though that is no record of it."""
    queue = rabbit.queue()
    rabbit.produce(queue, numbered(3))
    failing = Failing(function, ["m-1"])
    sluice.mapping("m", rabbit_mapping(rabbit, queue, PARK))
    sluice.start()
    wait_parked(sluice, 1)
    rabbit.wait_settled(queue)
    sluice.kill9()
    sluice.start()
    failing.let_go("m-1")
    function.wait_done(ids(3), 20)
    wait_parked(sluice, 0)
    assert len(set(tokens_of(function, "m-1"))) == 1


def test_all_of_a_message_comes_back(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [{"key": b"k\xff\x00", "value": b"\x00\xfe{}", "timestamp": 1545084650987,
                             "headers": [("a", "1"), ("a", b"\xff\x00"), ("none", None)]},
                            {"key": None, "value": None}])
    failing = Failing(function, [f"{topic}/0/0", f"{topic}/0/1"])
    sluice.mapping("m", mapping_for(topic, PARK))
    sluice.start()
    wait_parked(sluice, 2)
    sluice.kill9()
    sluice.start()
    failing.let_go(*failing.names)
    function.wait_done([f"{topic}/0/0", f"{topic}/0/1"], 20)
    wait_parked(sluice, 0)
    events = {}
    for invocation in function.invocations:
        record = invocation.event()["records"][0]
        record.pop("attempt")
        events.setdefault(record["position"], []).append(record)
    for found in events.values():
        assert len(found) >= 2 and all(record == found[0] for record in found)


def test_its_dead_letter_tells_of_all_attempts(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    Failing(function, ["m-0"], after=2)
    sluice.mapping("m", mapping_for(topic, PARK, retry={"attempts": 2, "patience": "0s"}))
    sluice.start()
    letter = sluice.wait_dead(1)[0]
    wait_parked(sluice, 0)
    assert (letter["class"], letter["attempt_count"], letter["position"]) == ("attempts", 2, 0)
    full = sluice.dlq("show", letter["id"])
    full = full[0] if isinstance(full, list) else full
    assert [attempt["status"] for attempt in full["attempts"]] == [500, 500]
    assert letter["token"] == f"{topic}/0/0"


def test_another_message_at_its_place_is_no_copy_of_it(cluster, function, sluice, mapping_for):
    """The topic is made anew while a message is parked: what has its offset now may even look like it."""
    topic = cluster.topic(1)
    function.behave = lambda invocation: \
        Answer(500, b"not now", {"Retry-After": "600"}) if invocation.records[0].key == b"old" else OK
    cluster.produce(topic, [{"key": "old", "value": json.dumps({"id": "m-0"})}])
    sluice.mapping("m", mapping_for(topic, PARK))
    sluice.start()
    wait_parked(sluice, 1)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert sluice.terminate() == 0
    cluster.tool.call("delete_topic", topic=topic)
    until(lambda: attempt(lambda: cluster.topic(1, name=topic)), 20, "the topic made anew", every=0.2)
    cluster.tool.close()  # the next one does not remember the old topic
    cluster.produce(topic, [{"key": "new", "value": json.dumps({"id": "m-0"})}])
    sluice.start()
    function.wait_done(["m-0"], 60)
    assert parked(sluice)["count"] == 1


def damage(path, filler):
    """Cuts the chain of pages of the large payload in a store that nobody has open."""
    with sqlite3.connect(path) as database:
        size = database.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    page = next(at for at in range(0, len(content), size)
                if content[at + 4:at + size] == filler * (size - 4))
    content[page:page + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(content)


def park_two_and_damage_one(cluster, sluice, topic, mapping):
    """The row of m-0 cannot be read, that of m-1 can, and sluice has ended."""
    cluster.produce(topic, [{"value": json.dumps({"id": "m-0", "pad": "x" * 60000})}])
    sluice.mapping("m", mapping)
    sluice.start()
    wait_parked(sluice, 1)
    cluster.produce(topic, [{"value": json.dumps({"id": "m-1"})}])
    wait_parked(sluice, 2)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert sluice.terminate() == 0
    damage(sluice.state / "parked.sqlite", b"x")


def test_one_that_cannot_be_read_holds_up_no_other(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    failing = Failing(function, ["m-0", "m-1"], after=3)
    park_two_and_damage_one(cluster, sluice, topic, mapping_for(topic, PARK))
    failing.let_go("m-1")
    sluice.start()
    function.wait_done(["m-1"], 20)
    sluice.wait_for_event("parked_unreadable")
    wait_parked(sluice, 1)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_bury_tells_what_cannot_be_read(cluster, function, sluice, mapping_for, elsewhere):
    """It is not one that waits for its place, and holds up no other."""
    topic, letters = cluster.topic(1), cluster.topic(1)
    Failing(function, ["m-0", "m-1"], after=3600)
    park_two_and_damage_one(cluster, sluice, topic, mapping_for(
        topic, PARK, **({"dead_letter": {"to": letters}} if elsewhere else {})))
    sluice.start()
    wait_parked(sluice, 2)
    done = bury(sluice)
    assert done.returncode == 74 and done.stdout == "m: 1 buried\n", done
    assert "1 stays parked, as the store cannot be read: " in done.stderr
    assert "the file is damaged" in done.stderr and ".recover" in done.stderr and "place" not in done.stderr
    buried = cluster.letters(letters) if elsewhere else sluice.dead()
    assert len(buried) == 1
    done = bury(sluice, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 74 and (answer["count"], answer["waiting"], answer["unreadable"]) == (0, 0, 1)
    assert "damaged" in answer["error"] and answer["reason"] is None
    assert parked(sluice)["count"] == 1


# ---- order ----

def keyed(*pairs):
    return [{"key": key, "value": json.dumps({"id": name})} for name, key in pairs]


def test_later_ones_of_its_key_queue_behind_it(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    failing = Failing(function, ["a0"])
    cluster.produce(topic, keyed(("a0", "a"), ("b0", "b"), ("a1", "a"), ("b1", "b")))
    sluice.mapping("m", mapping_for(topic, PARK, order="key"))
    sluice.start()
    function.wait_done(["b0", "b1"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    wait_parked(sluice, 2)
    sluice.kill9()
    sluice.start()
    cluster.produce(topic, keyed(("a2", "a"), ("b2", "b")))
    function.wait_done(["b2"], 20)
    wait_parked(sluice, 3)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert {"a1", "a2"}.isdisjoint(function.seen)
    failing.let_go("a0")
    function.wait_done(["a0", "a1", "a2"], 20)
    wait_parked(sluice, 0)
    cluster.produce(topic, keyed(("a3", "a")))
    function.wait_done(["a3"], 20)
    order = [name for invocation in function.invocations if invocation.answer.success
             for name in invocation.ids if name[0] == "a"]
    assert order == ["a0", "a1", "a2", "a3"]


def test_later_ones_queue_behind_rows_of_an_older_sluice(cluster, function, sluice, mapping_for):
    """Where half of the keys had a number with the bit that now says that a row is of a whole lane."""
    topic = cluster.topic(1)
    failing = Failing(function, ["a0"], after=3600)
    cluster.produce(topic, keyed(("a0", "a"), ("a1", "a")))
    sluice.mapping("m", mapping_for(topic, PARK, order="key"))
    sluice.start()
    wait_parked(sluice, 2)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert sluice.terminate() == 0
    with sqlite3.connect(sluice.state / "parked.sqlite") as database:
        database.execute("UPDATE parked SET queue = queue | ?", (-2**63,))
    database.close()
    sluice.start()
    cluster.produce(topic, keyed(("a2", "a"), ("b0", "b")))
    function.wait_done(["b0"], 20)
    wait_parked(sluice, 3)
    assert "a2" not in function.seen
    failing.let_go("a0")
    assert run_cli("parked", "retry", "m", "--state", sluice.state).returncode == 0
    function.wait_done(["a0", "a1", "a2"], 20)
    order = [name for invocation in function.invocations if invocation.answer.success
             for name in invocation.ids if name[0] == "a"]
    assert order == ["a0", "a1", "a2"]


def test_with_order_lane_nothing_is_parked(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    failing = Failing(function, ["m-0"])
    cluster.produce(topic, numbered(2))
    sluice.mapping("m", mapping_for(topic, PARK, order="lane"))
    sluice.start()
    function.wait_invocations(1, 20)
    stays(lambda: parked(sluice)["count"] == 0 and "m-1" not in function.seen, 1,
          "the lane waits")
    failing.let_go("m-0")
    function.wait_done(ids(2), 20)


# ---- bounds, outages, operators ----

def test_a_full_park_is_a_state(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    failing = Failing(function, ["m-0", "m-1"], after=3)
    cluster.produce(topic, numbered(3, size=600_000))
    sluice.mapping("m", mapping_for(topic, PARK, retry={"park_bytes": "1 MiB"},
                                    source={"kafka": {"fetch_bytes": None}}))
    sluice.start()
    sluice.wait_for_event("park_full")
    function.wait_done(["m-2"], 20)
    status = sluice.control("GET", "/v1/mappings/m")[1]
    assert (status["state"], status["health"]) == ("park_full", "degraded")
    assert status["parked"]["full"] and status["parked"]["count"] == 1
    assert sluice.metric("sluice_park_full", mapping="m") == 1
    assert "full" in run_cli("status", "m", "--state", sluice.state).stdout
    failing.let_go("m-0", "m-1")
    function.wait_done(ids(3), 20)
    wait_parked(sluice, 0)
    cluster.wait_committed(group_of(topic), topic, 1)
    until(lambda: sluice.control("GET", "/v1/mappings/m")[1]["state"] == "running", 10, "running")


def test_an_outage_parks_nobody(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = lambda invocation: Answer(503, headers={"Retry-After": "2"})
    cluster.produce(topic, numbered(50))
    sluice.mapping("m", mapping_for(topic, PARK))
    sluice.start()
    sluice.wait_for_event("target_down")
    stays(lambda: parked(sluice)["count"] == 0, 1, "nothing is parked")
    function.behave = lambda invocation: OK
    function.wait_done(ids(50), 30)
    assert sluice.metric("sluice_messages_parked_total", mapping="m") == 0


def test_counted_and_told(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    failing = Failing(function, ["m-0"], after=3600)
    cluster.produce(topic, numbered(2))
    sluice.mapping("m", mapping_for(topic, PARK))
    sluice.start()
    wait_parked(sluice, 1)
    until(lambda: parked(sluice)["due"], 5, "its row is written")
    found = parked(sluice)
    assert found["bytes"] > 1024 and found["due"] and not found["full"]
    assert sluice.metric("sluice_parked_messages", mapping="m") == 1
    assert sluice.metric("sluice_parked_bytes", mapping="m") == found["bytes"]
    assert sluice.metric("sluice_parked_overdue_seconds", mapping="m") == 0
    until(lambda: sluice.metric("sluice_messages_parked_total", mapping="m") == 1, 5, "it is counted")
    text = run_cli("status", "m", "--state", sluice.state).stdout
    assert "parked     1 messages" in text and "the next is due in 59m" in text
    assert "Nothing" in run_cli("parked", "ls", "other", "--state", sluice.state).stdout
    done = run_cli("parked", "ls", "m", "--json", "--state", sluice.state)
    [row] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (row["mapping"], row["position"], row["attempts"], row["status"]) == ("m", 0, 1, 500)
    assert row["token"] == f"{topic}/0/0" and row["error"] and row["due"] > row["parked"]
    text = run_cli("parked", "ls", "--state", sluice.state).stdout
    assert f"{topic}/0/0"[:20] in text and "59m" in text
    _, text = on_terminal([PROGRAM, "parked", "ls", "--state", sluice.state])
    heads, line = text.splitlines()
    assert len(line) <= 80 and heads.index("ERROR") <= 60 and line.endswith("not now")
    failing.let_go("m-0")
    assert "m: 1 due now" in run_cli("parked", "retry", "m", "--state", sluice.state).stdout
    function.wait_done(["m-0"], 20)
    wait_parked(sluice, 0)
    assert run_cli("parked", "retry", "none", "--state", sluice.state).returncode == 65
    for wrong in ([], ["lss"], ["retry"], ["ls", "a", "b"], ["bury", "m"]):
        assert run_cli("parked", *wrong, "--state", sluice.state).returncode == 64, wrong


def test_positions_of_64_bits_are_listed(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    Failing(function, ["m-0"], after=3600)
    cluster.produce(topic, numbered(1))
    sluice.mapping("m", mapping_for(topic, PARK))
    sluice.start()
    wait_parked(sluice, 1)
    until(lambda: parked(sluice)["due"], 5, "its row is written")
    assert sluice.terminate() == 0
    with sqlite3.connect(sluice.state / "parked.sqlite") as database:
        database.execute("UPDATE parked SET position = -2")
    database.close()
    done = run_cli("parked", "ls", "--json", "--state", sluice.state)
    assert json.loads(done.stdout)["position"] == str(2**64 - 2), "as in `dlq ls --json`"


def test_a_reload_and_a_removal_keep_them(cluster, function, sluice, mapping_for):
    topics = [cluster.topic(1), cluster.topic(1)]
    failing = Failing(function, ["m-0", "other-0"], after=3)
    cluster.produce(topics[0], numbered(1))
    cluster.produce(topics[1], numbered(1, prefix="other"))
    sluice.mapping("m", mapping_for(topics[0], PARK))
    sluice.mapping("gone", mapping_for(topics[1], PARK))
    sluice.start()
    wait_parked(sluice, 1)
    wait_parked(sluice, 1, "gone")
    sluice.mapping("m", mapping_for(topics[0], PARK, batch={"window": "30ms"}))
    content = (sluice.mappings / "gone.yaml").read_text()
    (sluice.mappings / "gone.yaml").unlink()
    assert sluice.control("POST", "/v1/reload")[0] == 200
    sluice.wait_for_event("mapping_stopped", mapping="gone")
    failing.let_go("m-0")
    function.wait_done(["m-0"], 20)
    left = sluice.control("GET", "/v1/status")[1]["parked_without_mapping"]
    assert [(entry["mapping"], entry["count"]) for entry in left] == [("gone", 1)]
    assert sluice.terminate() == 0
    sluice.start()
    sluice.wait_for_event("parked_without_mapping", mapping="gone", messages=1)
    assert "1 messages of gone are parked" in run_cli("status", "--state", sluice.state).stdout
    failing.let_go("other-0")
    (sluice.mappings / "gone.yaml").write_text(content)
    assert sluice.control("POST", "/v1/reload")[0] == 200
    function.wait_done(["other-0"], 20)
    wait_parked(sluice, 0, "gone")
    assert function.done["m-0"] == function.done["other-0"] == 1


def test_a_stop_in_the_middle_of_a_retry_keeps_it(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    failing = Failing(function, ["m-0"])
    cluster.produce(topic, numbered(1))
    sluice.mapping("m", mapping_for(topic, PARK, drain="10s"))
    sluice.start()
    wait_parked(sluice, 1)
    slow = threading.Event()

    def behave(invocation):
        slow.set()
        return Answer(200, delay=2)
    failing.let_go("m-0")
    function.behave = behave
    assert slow.wait(20)
    assert sluice.terminate() == 0  # what is in flight lands, and is recorded
    assert function.done == {"m-0": 1}
    rows = sqlite3.connect(sluice.state / "parked.sqlite").execute(
        "SELECT count(*) FROM parked").fetchone()
    assert rows == (0,)


def test_buried_by_hand(cluster, function, sluice, mapping_for):
    """Also of a mapping that is gone; with all that queues behind them, and their story."""
    topic = cluster.topic(1)
    failing = Failing(function, ["a0", "b0"], after=3600)
    cluster.produce(topic, keyed(("a0", "a"), ("a1", "a"), ("b0", "b")))
    sluice.mapping("m", mapping_for(topic, PARK, order="key"))
    sluice.mapping("stays", mapping_for(cluster.topic(1)))
    sluice.start()
    wait_parked(sluice, 3)
    cluster.wait_committed(group_of(topic), topic, 1)
    until(lambda: parked(sluice)["due"], 5, "rows are written")
    (sluice.mappings / "m.yaml").rename(sluice.directory / "m.yaml")
    assert sluice.control("POST", "/v1/reload")[0] == 200
    until(lambda: len(sluice.control("GET", "/v1/status")[1]["mappings"]) == 1, 20, "the end of m")
    done = run_cli("parked", "bury", "m", "--yes", "--state", sluice.state)
    assert "m: 3 buried" in done.stdout, done
    letters = sorted(sluice.dead(), key=lambda letter: letter["position"])
    assert [(letter["class"], letter["attempt_count"]) for letter in letters] == [
        ("buried", 1), ("buried", 0), ("buried", 1)]
    assert "500" in json.dumps(sluice.dlq("show", letters[0]["id"]))
    assert sluice.control("GET", "/v1/status")[1]["parked_without_mapping"] == []
    (sluice.directory / "m.yaml").rename(sluice.mappings / "m.yaml")
    assert sluice.control("POST", "/v1/reload")[0] == 200
    failing.let_go("a0", "b0")
    done = run_cli("dlq", "replay", "--all", "--yes", "--state", sluice.state, "--config",
                   sluice.config)
    assert done.returncode == 0, done
    function.wait_done(["a0", "a1", "b0"], 20)


def bury(sluice, *arguments):
    return run_cli("parked", "bury", "m", "--yes", "--state", sluice.state, *arguments, timeout=60)


def three_parked(cluster, function, sluice, mapping_for, to, **changes):
    topic = cluster.topic(1)
    failing = Failing(function, ["a0", "b0"], after=3600)
    sluice.mapping("m", mapping_for(topic, PARK, order="key", dead_letter={"to": to, **changes}))
    sluice.start()
    cluster.produce(topic, keyed(("a0", "a"), ("a1", "a"), ("b0", "b")))
    wait_parked(sluice, 3)
    cluster.wait_committed(group_of(topic), topic, 1)
    until(lambda: parked(sluice)["due"], 5, "rows are written")
    return failing


def places(cluster, letters):
    return [letter["headers"]["sluice-position"] for letter in cluster.letters(letters)]


def test_buried_to_where_dead_letters_go(cluster, function, sluice, mapping_for):
    """As other dead letters do, with their story; nothing of them stays here."""
    letters = cluster.topic(1)
    three_parked(cluster, function, sluice, mapping_for, letters)
    done = bury(sluice)
    assert done.returncode == 0 and "m: 3 buried" in done.stdout, done
    found = cluster.letters(letters)
    assert sorted(places(cluster, letters)) == ["0", "1", "2"]
    assert [letter["headers"]["sluice-class"] for letter in found] == ["buried"] * 3
    first, = (letter for letter in found if letter["headers"]["sluice-position"] == "0")
    assert first["key"] == "a" and json.loads(first["value"])["id"] == "a0"
    assert "buried while it was parked; last: " in first["headers"]["sluice-error"]
    assert first["headers"]["sluice-attempts"] == "1" and len(first["headers"]["sluice-id"]) == 26
    assert sluice.dead() == [] and parked(sluice)["count"] == 0
    assert bury(sluice).stdout == "m: 0 buried\n"
    state = sluice.control("GET", "/v1/mappings/m")[1]
    assert state["dead_letter_to"]["published"] == 3
    sluice.terminate()
    assert sqlite3.connect(sluice.state / "parked.sqlite").execute(
        "SELECT count(*) FROM parked").fetchone() == (0,)


def test_what_is_buried_waits_for_its_place(cluster, private_broker, function, sluice, mapping_for):
    """It stays parked until it is there: also through a kill, after which it is as if nobody had asked."""
    place = private_broker().start()
    letters = place.topic(1)
    to = {"kafka": {"brokers": place.address(), "topic": letters,
                    "properties": {"reconnect.backoff.max.ms": 500}}}
    failing = three_parked(cluster, function, sluice, mapping_for, to)
    place.kill()
    done = bury(sluice, "--json")
    assert done.returncode == 69, done
    answer = json.loads(done.stdout)
    assert (answer["count"], answer["waiting"]) == (0, 3) and letters in answer["reason"]
    done = bury(sluice)
    assert done.returncode == 69 and "3 wait for their place" in done.stderr, done
    assert sluice.dead() == [] and parked(sluice)["count"] == 3
    assert sluice.control("GET", "/v1/mappings/m")[1]["dead_letter_to"]["waiting"] == 3
    sluice.kill9()
    sluice.start()
    wait_parked(sluice, 3)
    bury(sluice, "--json")
    place.start()
    wait_parked(sluice, 0)
    assert sorted(places(place, letters)) == ["0", "1", "2"]
    assert sluice.dead() == []
    assert bury(sluice).stdout == "m: 3 buried\n"  # nobody was told yet
    assert bury(sluice).stdout == "m: 0 buried\n"
    failing.let_go("a0", "b0")


def test_killed_while_burying(cluster, function, sluice, mapping_for):
    """Nothing is lost whatever the moment; what was published and not yet taken out comes twice at most for
    each kill."""
    letters, topic, count = cluster.topic(1), cluster.topic(1), 240  # of which three orders bury 64 each
    Failing(function, ids(count), after=3600)
    sluice.mapping("m", mapping_for(topic, PARK, dead_letter={"to": letters}))
    sluice.start()
    cluster.produce(topic, [message for pair in zip(numbered(count), numbered(count, prefix="well"))
                            for message in pair])  # so that the function is not to blame
    wait_parked(sluice, count)
    cluster.wait_committed(group_of(topic), topic, 1)
    until(lambda: parked(sluice)["due"], 5, "rows are written")
    for number in range(3):
        sluice.control("POST", "/v1/mappings/m/parked/bury")
        until(lambda: len(cluster.letters(letters)) > number * 10, 20, "letters at the place", every=0.01)
        sluice.kill9()
        sluice.start()
        until(lambda: parked(sluice)["count"], 20, "what is parked")
    done = bury(sluice)
    assert done.returncode == 0, done
    found = [json.loads(letter["value"])["id"] for letter in cluster.letters(letters)]
    assert set(found) == set(ids(count)) and parked(sluice)["count"] == 0
    assert max(found.count(name) for name in set(found)) <= 4
    assert sluice.dead() == []


def test_buried_while_its_mapping_is_drained(cluster, function, sluice, mapping_for):
    letters = cluster.topic(1)
    three_parked(cluster, function, sluice, mapping_for, letters)
    sluice.control("POST", "/v1/mappings/m/drain")
    until(lambda: sluice.control("GET", "/v1/mappings/m")[1]["state"] == "drained", 20, "drained")
    done = bury(sluice)
    assert done.returncode == 65 and "sluice resume m" in done.stderr, done
    assert sluice.control("POST", "/v1/mappings/m/parked/bury")[0] == 409
    sluice.control("POST", "/v1/mappings/m/resume")
    sluice.control("POST", "/v1/mappings/m/pause")
    assert "m: 3 buried" in bury(sluice).stdout
    assert len(cluster.letters(letters)) == 3
