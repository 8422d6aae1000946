"""`sluice dlq replay --to-source`: published back to where it came from, marked, and gone when that is
confirmed."""

import json

import pytest

from lib.function import OK, poison
from lib.plugin import group_of, numbered
from lib.sluice import run_cli
from lib.waiting import until

BAD = [f"m-{n}" for n in range(0, 20, 4)]


def replay(sluice, *arguments, code=0):
    done = run_cli("dlq", "replay", "--to-source", *arguments, "--yes", "--json", "--config",
                   sluice.config, "--state", sluice.state, timeout=60)
    assert done.returncode == code, done
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def dead_of_kafka(cluster, function, sluice, mapping_for):
    """Five dead letters of twenty messages; the function is mended."""
    topic = cluster.topic(2)
    function.behave = poison(BAD)
    cluster.produce(topic, [{**message, "headers": [("trace", "t"), ("raw", b"\x00\xff")]}
                            for message in numbered(20, keys=3)])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    sluice.wait_dead(len(BAD))
    cluster.wait_committed(group_of(topic), topic, 2)
    function.behave = lambda invocation: OK
    sluice.topic = topic
    return sluice


@pytest.mark.parametrize("through", ["service", "command"])
def test_back_to_the_topic(cluster, function, dead_of_kafka, through):
    sluice = dead_of_kafka
    letters = {letter["position"]: letter for letter in sluice.dead()}
    if through == "command":
        assert sluice.terminate() == 0
    plan = run_cli("dlq", "replay", "--to-source", "--all", "--dry-run", "--config", sluice.config,
                   "--state", sluice.state)
    assert plan.returncode == 0
    assert f"5 dead letters of m would be published back to kafka {sluice.topic} at " in plan.stdout
    assert len(sluice.dead()) == 5
    result = replay(sluice, "--all")
    assert (result["done"], result["died"], result["left"]) == (5, 0, 0)
    assert result["through"] == through
    assert sluice.dead() == []
    if through == "command":
        sluice.start()
    function.wait_done(BAD, 20)
    cluster.wait_committed(group_of(sluice.topic), sluice.topic, 2)
    again = [letter for letter in cluster.letters(sluice.topic)
             if "sluice-replayed" in letter["headers"]]
    assert {letter["headers"]["sluice-replayed"] for letter in again} == \
        {letter["id"] for letter in letters.values()}
    for letter in again:
        number = json.loads(letter["value"])["n"]
        assert letter["key"] == f"k{number % 3}"
        assert letter["headers"]["trace"] == "t" and letter["headers"]["raw"] == {"hex": "00ff"}
        assert set(letter["headers"]) == {"trace", "raw", "sluice-replayed"}
    log = run_cli("dlq", "log", "--json", "--state", sluice.state).stdout
    assert '"replay"' in log and "--to-source" in log


def test_back_to_the_queue(rabbit, function, sluice, rabbit_mapping):
    queue = rabbit.queue()
    function.behave = poison(["m-1"])
    rabbit.produce(queue, [{"value": json.dumps({"id": f"m-{n}"}), "message_id": f"id-{n}",
                            "content_type": "text/x", "priority": 2, "headers": {"n": n}}
                           for n in range(3)])
    sluice.mapping("m", rabbit_mapping(rabbit, queue, batch={"size": 1}))
    sluice.start()
    letter, = sluice.wait_dead(1)
    rabbit.wait_settled(queue)
    assert sluice.terminate() == 0
    assert replay(sluice, letter["id"])["done"] == 1
    assert sluice.dead() == []
    (value, properties), = rabbit.take(queue)
    assert value == b'{"id": "m-1"}'
    assert properties.headers == {"n": 1, "sluice-replayed": letter["id"]}
    assert (properties.message_id, properties.content_type, properties.priority) == \
        ("id-1", "text/x", 2)
    assert properties.delivery_mode == 2


def test_an_edited_letter_and_a_rate(cluster, function, dead_of_kafka):
    sluice = dead_of_kafka
    done = run_cli("dlq", "edit", "--all", "--set", '/extra="x"', "--yes", "--state", sluice.state)
    assert done.returncode == 0, done
    result = replay(sluice, "--all", "--rate", "20", "--limit", "3")
    assert (result["done"], len(sluice.dead())) == (3, 2)
    until(lambda: sum(record.get("extra") == "x" for invocation in function.invocations
                      for record in map(lambda r: json.loads(r.value), invocation.records)) == 3,
          20, "the edited payloads")


def test_the_source_is_away(private_broker, function, sluice, mapping_for):
    """Nothing leaves the store before it is confirmed, and the command says why it stops."""
    broker = private_broker().start()
    topic = broker.topic(1)
    function.behave = poison(["m-1"])
    broker.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, {"source": {"kafka": {
        "brokers": broker.address(), "properties": {"reconnect.backoff.max.ms": 500}}}},
        batch={"size": 1}))
    sluice.start()
    sluice.wait_dead(1)
    broker.wait_committed(group_of(topic), topic, 1)
    assert sluice.terminate() == 0
    broker.kill()
    result = replay(sluice, "--all", "--wait", "1s", code=69)
    assert (result["done"], result["left"], result["stopped"]) == (0, 1, "unavailable")
    assert len(sluice.dead()) == 1
    broker.start()
    assert replay(sluice, "--all")["done"] == 1
    assert sluice.dead() == []


def test_what_does_not_go_together(dead_of_kafka):
    for options in (["--to", "m"], ["--force"], ["--concurrency", "2"]):
        done = run_cli("dlq", "replay", "--to-source", "--all", *options, "--state",
                       dead_of_kafka.state)
        assert done.returncode == 64 and "invokes nothing" in done.stderr, done
