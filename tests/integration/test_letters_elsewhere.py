"""Dead letters to a topic or a queue, also of another system: whole, confirmed before the source is
settled, and the lane waits while the place is away."""

import json

import pytest

from lib.function import OK, Answer, poison
from lib.http_kinds import KINDS, http_mapping
from lib.http_queue import Answer as HttpAnswer
from lib.plugin import group_of, ids, numbered, with_message_ids
from lib.sluice import run_cli
from lib.waiting import stays, until


def to_kafka(cluster, topic, **options):
    return {"kafka": {"brokers": cluster.address(), "topic": topic, **options}}


def to_rabbitmq(server, **options):
    return {"rabbitmq": {"hosts": server.address(), "connect_timeout": "2s", "heartbeat": "2s",
                         **options}}


def state_of(sluice, name="m"):
    return sluice.control("GET", f"/v1/mappings/{name}")[1]


def wait_stuck(sluice, words, timeout=30):
    found = {}

    def stuck():
        found.update(state_of(sluice))
        return found["state"] == "waiting_for_store" and words in found["reason"]
    until(stuck, timeout, lambda: f"a mapping that waits for its place ({found})")
    return found


def wait_place(sluice, timeout=10, **wanted):
    """What the status says of the place, once it says that too."""
    found = {}

    def fits():
        found.update(state_of(sluice)["dead_letter_to"])
        return wanted.items() <= found.items()
    until(fits, timeout, lambda: f"{wanted} of the place ({found})")
    return found


def wait_letters(read, count, timeout=30):
    found = []

    def there():
        found[:] = read()
        return len(found) >= count
    until(there, timeout, lambda: f"{count} dead letters, found {found}", every=0.2)
    return found


BINARY = [{"key": b"k\x00\xff", "value": json.dumps({"id": "m-0"}),
           "headers": [("trace", "t1"), ("raw", b"\x00\xff")], "timestamp": 1_700_000_000_000}]


def test_of_a_topic_in_another_topic(cluster, function, sluice, mapping_for):
    topic, letters = cluster.topic(1), cluster.topic(1)
    function.behave = lambda invocation: \
        Answer(500, b"no such customer") if {"m-0", "m-3"} & set(invocation.ids) else OK
    cluster.produce(topic, [*BINARY, *list(numbered(5))[1:]])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": letters, "headers": ["kafka-connect", "spring"]}))
    sluice.start()
    function.wait_done(["m-1", "m-2", "m-4"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    first, second = cluster.letters(letters)
    assert first["key"] == {"hex": "6b00ff"} and first["value"] == BINARY[0]["value"]
    headers = first["headers"]
    assert headers["trace"] == "t1" and headers["raw"] == {"hex": "00ff"}
    assert headers["sluice-mapping"] == "m" and headers["sluice-class"] == "attempts"
    assert headers["sluice-source"] == topic and headers["sluice-position"] == "0"
    assert headers["sluice-partition"] == "0" and headers["sluice-status"] == "500"
    assert headers["sluice-timestamp"] == "2023-11-14T22:13:20.000Z"
    assert "no such customer" in headers["sluice-error"] + headers["sluice-response"]
    assert headers["sluice-token"] == f"{topic}/0/0" and len(headers["sluice-id"]) == 26
    assert headers["__connect.errors.topic"] == topic
    assert headers["__connect.errors.offset"] == "0"
    assert headers["kafka_dlt-original-offset"] == "\0" * 8
    assert second["headers"]["sluice-position"] == "3"
    assert sluice.dead() == []
    place = wait_place(sluice, published=2)
    assert place.pop("since") is not None
    assert place == {"place": f"kafka {letters}", "state": "running", "reason": None, "published": 2,
                     "kept": 0, "failures": 0, "waiting": 0, "last_error": None, "last_error_at": None}
    _, metrics = sluice.get("/metrics")
    assert 'sluice_dead_letters_published_total{mapping="m"} 2' in metrics
    assert 'sluice_dead_letters_waiting{mapping="m"} 0' in metrics


def test_of_a_topic_in_a_queue(cluster, rabbit, function, sluice, mapping_for):
    topic, queue = cluster.topic(1), rabbit.queue()
    function.behave = poison(["m-0"])
    cluster.produce(topic, [*BINARY, *list(numbered(3))[1:]])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": to_rabbitmq(rabbit, queue=queue), "headers": ["rabbitmq", "cloudevents"]}))
    sluice.start()
    function.wait_done(["m-1", "m-2"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    (value, properties), = rabbit.take(queue)
    assert value.decode() == BINARY[0]["value"] and properties.delivery_mode == 2
    headers = properties.headers
    assert headers["trace"] == "t1" and headers["sluice-source"] == topic
    assert headers["x-first-death-queue"] == topic
    assert headers["x-death"][0]["queue"] == topic and headers["x-death"][0]["count"] == 1
    assert headers["cloudEvents:type"] == "sluice.dead_letter"
    assert sluice.dead() == []


def test_of_a_queue_in_a_topic_and_in_an_exchange(cluster, rabbit, function, sluice,
                                                  rabbit_mapping):
    queue, bound, letters = rabbit.queue(), rabbit.queue(), cluster.topic(1)
    exchange = f"x-{bound}"
    with rabbit.channel() as channel:
        channel.exchange_declare(exchange, "direct", durable=True)
        channel.queue_bind(bound, exchange, "dead")
    function.behave = poison(["m-1"])
    for name, to in (("one", to_kafka(cluster, letters)),
                     ("two", to_rabbitmq(rabbit, exchange=exchange, routing_key="dead"))):
        sluice.mapping(name, rabbit_mapping(rabbit, queue, dead_letter={"to": to}, batch={"size": 1}))
        rabbit.produce(queue, [{"value": json.dumps({"id": f"m-{n}"}), "message_id": f"m-{n}",
                                "headers": {"n": n}, "content_type": "text/x"} for n in range(3)])
        sluice.start()
        function.wait_done(["m-0", "m-2"], 20)
        rabbit.wait_settled(queue)
        sluice.terminate()
        (sluice.mappings / f"{name}.yaml").unlink()
    letter, = cluster.letters(letters)
    assert letter["value"] == '{"id": "m-1"}' and letter["headers"]["sluice-token"] == "m-1"
    assert letter["headers"]["n"] == "1" and letter["headers"]["amqp:contentType"] == "text/x"
    (value, properties), = rabbit.take(bound)
    assert value == b'{"id": "m-1"}' and properties.headers["n"] == 1
    assert properties.content_type == "text/x" and properties.message_id == "m-1"


def test_as_the_record_of_aws(cluster, function, sluice, mapping_for):
    topic, letters = cluster.topic(1), cluster.topic(1)
    function.behave = poison(["m-1"], 400)
    cluster.produce(topic, numbered(3, keys=3))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1},
                                    target={"http": {"url": function.url + "?code=secret"}},
                                    dead_letter={"to": letters, "format": "aws"}))
    sluice.start()
    function.wait_done(["m-0", "m-2"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    letter, = cluster.letters(letters)
    record = json.loads(letter["value"])
    assert letter["key"] == "k1"
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["functionArn"] == function.url
    assert record["responseContext"]["statusCode"] == 400
    assert record["KafkaBatchInfo"]["recordInfo"]["offset"] == "1"
    event, = record["payload"]["records"][f"{topic}-0"]
    assert event["offset"] == 1 and event["topic"] == topic


def test_collected_again_and_replayed(cluster, rabbit, function, sluice, mapping_for, rabbit_mapping):
    """What was published can be had back: with its place, key and headers, and replayed."""
    topic, queue = cluster.topic(1), rabbit.queue()
    function.behave = poison(["m-0"])
    cluster.produce(topic, [*BINARY, *list(numbered(2))[1:]])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": to_rabbitmq(rabbit, queue=queue), "headers": ["rabbitmq", "spring"]}))
    sluice.mapping("c", {**rabbit_mapping(rabbit, queue), "receive": "dead_letters"})
    sluice.start()
    letter, = sluice.wait_dead(1)
    assert (letter["mapping"], letter["source"], letter["position"]) == ("c", topic, 0)
    assert letter["status"] == 500 and letter["class"] == "attempts"
    full = sluice.dlq("show", letter["id"])
    assert full["key"] == {"base64": "awD/"}
    assert {"trace", "raw"} <= {header["name"] for header in full["headers"]}
    assert not any(header["name"].startswith("sluice-") for header in full["headers"])
    function.behave = lambda invocation: OK
    done = run_cli("dlq", "replay", letter["id"], "--config", sluice.config, "--yes", timeout=60)
    assert done.returncode == 0, done
    function.wait_done(["m-0"], 20)


@pytest.mark.parametrize("way", ["kafka to rabbitmq", "rabbitmq to kafka"])
def test_in_aws_s_format_collected_again_and_replayed(cluster, rabbit, function, sluice, mapping_for,
                                                      rabbit_mapping, way):
    """The function gets the message as it was, not the record of its failure."""
    topic, queue, ended = cluster.topic(1), rabbit.queue(), cluster.topic(1)
    function.behave = poison(["m-1"])
    if way == "kafka to rabbitmq":
        ended = rabbit.queue()
        mapping = mapping_for(topic, batch={"size": 1}, dead_letter={
            "to": to_rabbitmq(rabbit, queue=ended), "format": "aws"})
        collects = rabbit_mapping(rabbit, ended)
        cluster.produce(topic, numbered(3, keys=3))
    else:
        mapping = rabbit_mapping(rabbit, queue, batch={"size": 1}, dead_letter={
            "to": to_kafka(cluster, ended), "format": "aws"})
        collects = mapping_for(ended)
        rabbit.produce(queue, [{"value": f'{{"id": "m-{n}"}}\n', "message_id": f"m-{n}",
                                "headers": {"n": n, "raw": b"\x00\xff"}} for n in range(3)])
    sluice.mapping("m", mapping)
    sluice.mapping("c", {**collects, "receive": "dead_letters"})
    sluice.start()
    letter, = sluice.wait_dead(1)
    first = next(invocation.event()["records"][0] for invocation in function.invocations
                 if invocation.ids == ["m-1"])
    function.behave = lambda invocation: OK
    done = run_cli("dlq", "replay", letter["id"], "--config", sluice.config, "--yes", timeout=60)
    assert done.returncode == 0, done
    function.wait_done(ids(3), 20)
    again = function.invocations[-1].event()["records"][0]
    same = ("token", "source", "partition", "position", "timestamp", "key", "value", "headers")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}


# ---- the place is away ----

def test_the_lane_waits_while_the_kafka_of_the_place_is_down(cluster, private_broker, function,
                                                             sluice, mapping_for):
    place = private_broker().start()
    topic, letters = cluster.topic(1), place.topic(1)
    function.behave = poison(["m-2"])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": to_kafka(place, letters, properties={"reconnect.backoff.max.ms": 500})}))
    sluice.start()
    cluster.produce(topic, numbered(2))
    function.wait_done(ids(2), 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    place.kill()
    cluster.produce(topic, list(numbered(5))[2:])
    function.wait_done(["m-3", "m-4"], 20)
    found = wait_stuck(sluice, letters)
    assert found["health"] == "bad" and "dead letters cannot be written" in found["reason"]
    event = sluice.wait_for_event("dead_letters_stuck", 10)
    assert letters in event["place"]
    stays(lambda: cluster.committed(group_of(topic), topic)[0] == 2, 1, "nothing is committed")
    _, metrics = sluice.get("/metrics")
    assert 'sluice_dead_letters_waiting{mapping="m"} 1' in metrics
    assert 'sluice_store_stuck{mapping="m"} 1' in metrics
    place.start()
    cluster.wait_committed(group_of(topic), topic, 1, timeout=60)
    sluice.wait_for_event("dead_letters_written", 10)
    assert [letter["headers"]["sluice-position"] for letter in place.letters(letters)] == ["2"]
    until(lambda: state_of(sluice)["state"] == "running", 10, "a mapping that runs again")


def test_a_queue_that_is_not_there(cluster, rabbit, function, sluice, mapping_for):
    """Unroutable: the letter is not lost, and goes there once the queue is made."""
    topic, queue = cluster.topic(1), f"{cluster.topic(1)}-dead"
    function.behave = poison(["m-1"])
    cluster.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": to_rabbitmq(rabbit, queue=queue)}))
    sluice.start()
    function.wait_done(["m-0", "m-2"], 20)
    found = wait_stuck(sluice, f"queue {queue}")
    assert "does not exist" in found["reason"]
    stays(lambda: cluster.committed(group_of(topic), topic).get(0, 0) <= 1, 1,
          "the letter's message is not committed")
    rabbit.queue(queue)
    cluster.wait_committed(group_of(topic), topic, 1, timeout=60)
    assert [value for value, _ in rabbit.take(queue)] == [list(numbered(3))[1]["value"].encode()]


def test_a_full_memory_of_the_broker_stops_letters_and_not_the_queue(private_rabbit, function,
                                                                     sluice, rabbit_mapping):
    """One broker for both: its alarm keeps letters waiting while messages are consumed."""
    server = private_rabbit().start()
    queue, letters = server.queue(), server.queue()
    function.behave = poison(["m-1"])
    sluice.mapping("m", rabbit_mapping(server, queue, batch={"size": 1}, order="none",
                                       dead_letter={"to": letters}))
    server.produce(queue, with_message_ids(numbered(1)))
    server.produce(queue, with_message_ids(list(numbered(40))[1:]))
    server.eval("vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1000}), ok")
    sluice.start()
    function.wait_done([f"m-{n}" for n in range(40) if n != 1], 30)
    wait_stuck(sluice, "takes no messages")
    until(lambda: server.unsettled(queue) == 1, 20, "all others settled")
    server.eval("vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1000000000}), ok")
    server.wait_settled(queue, timeout=40)
    assert len(server.take(letters)) == 1


def test_killed_between_writing_and_settling(cluster, rabbit, function, sluice, mapping_for):
    """At least once, whatever the moment: each bad message is in the queue, none is lost."""
    topic, queue = cluster.topic(4), rabbit.queue()
    bad = [f"m-{n}" for n in range(0, 400, 5)]
    function.behave = poison(bad)
    cluster.produce(topic, numbered(400, partitions=4))
    sluice.mapping("m", mapping_for(topic, batch={"size": 10}, order="none", retry={"attempts": 1},
                                    dead_letter={"to": to_rabbitmq(rabbit, queue=queue)}))
    for number in range(2):
        sluice.start()
        until(lambda: rabbit.ready(queue) > 10 * (number + 1), 30, "letters", every=0.02)
        sluice.kill9()
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 4, timeout=60)
    found = [json.loads(value)["id"] for value, _ in rabbit.take(queue)]
    assert set(found) == set(bad)
    assert sluice.dead() == []


def test_what_is_too_large_for_the_place_is_kept_here(cluster, function, sluice, mapping_for):
    topic, letters = cluster.topic(1), cluster.topic(1)
    large = json.dumps({"id": "m-1", "pad": "x" * 3000})
    function.behave = poison(["m-1"])
    cluster.produce(topic, [{"value": '{"id": "m-0"}'}, {"key": "k", "value": large},
                            {"value": '{"id": "m-2"}'}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": to_kafka(cluster, letters, properties={"message.max.bytes": 2000})}))
    sluice.start()
    function.wait_done(["m-0", "m-2"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    kept, = sluice.dead()
    pointer, = cluster.letters(letters)
    assert pointer["value"] in ("", None) and pointer["headers"]["sluice-id"] == kept["id"]
    assert pointer["headers"]["sluice-payload-kept"] and pointer["headers"]["sluice-position"] == "1"
    assert sluice.find_events("dead_letter_kept")
    _, metrics = sluice.get("/metrics")
    assert 'sluice_dead_letters_kept_total{mapping="m"} 1' in metrics
    done = run_cli("dlq", "show", kept["id"], "--payload", "--state", sluice.state)
    assert done.stdout.strip() == large


# ---- its line in the status ----

def shown(sluice, *arguments):
    return run_cli("status", "--state", sluice.state, *arguments).stdout


def test_the_status_tells_how_the_place_is(cluster, private_broker, function, sluice, mapping_for):
    """Also while no letter waits: the next one would."""
    place = private_broker().start()
    topic, letters = cluster.topic(1), place.topic(1)
    function.behave = poison(["m-0", "n-0"])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={
        "to": to_kafka(place, letters, properties={"reconnect.backoff.max.ms": 500})}))
    sluice.start()
    first = wait_place(sluice, 20, state="running")  # before anything was published
    assert (first["published"], first["last_error"]) == (0, None)
    cluster.produce(topic, numbered(2))
    wait_place(sluice, published=1)
    assert f"  letters to kafka {letters}, running since " in shown(sluice, "m")
    assert "             1 written, 0 waiting\n" in shown(sluice, "m")
    assert letters not in shown(sluice)

    place.kill()
    away = wait_place(sluice, 20, state="unreachable")
    assert away["since"] > first["since"] and place.address() in away["reason"]
    assert away["waiting"] == 0 and state_of(sluice)["health"] == "good"
    assert f"kafka {letters}, is unreachable since " in shown(sluice)
    cluster.produce(topic, numbered(2, prefix="n"))
    wait_place(sluice, 30, waiting=1)
    wait_stuck(sluice, letters)
    text = shown(sluice, "m")
    assert f"  letters to kafka {letters}, unreachable since " in text and place.address() in text
    assert "1 written, 1 waiting" in text

    place.start()
    back = wait_place(sluice, 60, state="running", published=2, waiting=0)
    assert back["since"] > away["since"] and back["reason"] is None
    assert back["last_error"] and back["last_error_at"] >= away["since"]
    text = shown(sluice, "m")
    assert "2 written, 0 waiting" in text and " ago: " in text
    assert json.loads(shown(sluice, "m", "--json"))["dead_letter_to"] == back


def test_the_status_of_a_place_that_comes_back_before_it_is_needed(cluster, private_rabbit, private_broker,
                                                                   function, sluice, mapping_for):
    server, place = private_rabbit().start(), private_broker().start()
    topic, queue, letters = cluster.topic(1), server.queue(), place.topic(1)
    for name, to in (("r", to_rabbitmq(server, queue=queue)),
                     ("k", to_kafka(place, letters, properties={"reconnect.backoff.max.ms": 500}))):
        mapping = mapping_for(topic, dead_letter={"to": to})
        mapping["source"]["kafka"]["group"] += name
        sluice.mapping(name, mapping)
    sluice.start()

    def states():
        return [state_of(sluice, name)["dead_letter_to"]["state"] for name in "rk"]
    until(lambda: states() == ["running"] * 2, 20, lambda: f"both places ({states()})")
    server.kill()
    place.kill()
    until(lambda: states() == ["unreachable"] * 2, 20, lambda: f"no place ({states()})")
    server.start()
    place.start()
    until(lambda: states() == ["running"] * 2, 60, lambda: f"both again ({states()})")


# ---- the configuration ----

@pytest.mark.parametrize("to, words", [
    ("{topic}", "which the mapping takes its messages from"),
    ({"kafka": {"topic": "x"}}, "dead_letter.to.kafka.brokers: missing"),
    ({"kafka": {"brokers": "b:9092", "topic": "x", "group": "g"}},
     "dead_letter.to.kafka.group: has no use"),
    ({"rabbitmq": {"hosts": "b"}}, "dead_letter.to.rabbitmq.queue: is missing"),
    ({"rabbitmq": {"hosts": "b", "queue": "q", "exchange": "x"}}, "say one of them"),
    ({"kafak": {}}, 'did you mean "kafka"?'),
    ({}, "expected the name of one connector"),
])
def test_mistakes(cluster, sluice, mapping_for, to, words):
    topic = cluster.topic(1)
    to = to.format(topic=topic) if isinstance(to, str) else to
    sluice.mapping("m", mapping_for(topic, dead_letter={"to": to}))
    done = run_cli("check", sluice.config)
    assert done.returncode == 78 and words in done.stdout + done.stderr


def test_an_http_queue_is_not_its_own_place(cluster, function, sluice, make_kind):
    """Nor is another queue at the same address taken for it."""
    for name, other in (("sqs", "orders-dead"), ("cloudflare", "f" * 32)):
        kind = make_kind(name)
        mapping = http_mapping(kind, function)
        here = dict(kind.source[name])
        for place, code in ((here, 78), ({**here, "queue": other}, 0)):
            to = {"http": {**kind.source, name: place}}
            sluice.mapping("m", {**mapping, "dead_letter": {"to": to, "format": "aws"}})
            done = run_cli("check", sluice.config)
            assert done.returncode == code, (place, done)
            assert (code == 78) == ("is what the mapping takes its messages from" in done.stderr)
        sluice.mapping("m", {**mapping, "dead_letter": {"to": here["queue"].rsplit("/", 1)[-1]}})
        done = run_cli("check", sluice.config)
        assert done.returncode == 78 and "takes its messages from" in done.stderr, done


def test_check_connect_tries_the_place(cluster, rabbit, sluice, mapping_for):
    topic, letters = cluster.topic(1), cluster.topic(1)
    for to, code, words in (
            (letters, 0, f"dead_letter.to: topic {letters} has 1 partitions"),
            ("no-such-topic", 69, "dead_letter.to: topic no-such-topic does not exist"),
            (to_rabbitmq(rabbit, queue="no-such-queue"), 69, "queue no-such-queue does not exist"),
            (to_rabbitmq(rabbit, queue=rabbit.queue()), 0, "dead_letter.to: queue"),
            (to_rabbitmq(rabbit, exchange="amq.direct"), 0, "exchange amq.direct is there"),
            (to_rabbitmq(rabbit, exchange="nowhere"), 69, "exchange nowhere")):
        sluice.mapping("m", mapping_for(topic, dead_letter={"to": to}))
        done = run_cli("check", "--connect", sluice.config, timeout=60)
        assert done.returncode == code and words in done.stdout + done.stderr, (to, done)


def test_a_change_of_the_place_restarts_the_mapping(cluster, function, sluice, mapping_for):
    topic, one, other = cluster.topic(1), cluster.topic(1), cluster.topic(1)
    function.behave = poison(["m-0", "n-0"])
    cluster.produce(topic, numbered(2))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": one}))
    sluice.start()
    wait_letters(lambda: cluster.letters(one), 1)
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": other}))
    assert sluice.control("POST", "/v1/reload")[0] == 200
    cluster.produce(topic, numbered(2, prefix="n"))
    wait_letters(lambda: cluster.letters(other), 1)
    assert len(cluster.letters(one)) == 1


# ---- queues with an HTTP API ----

@pytest.fixture
def make_kind():
    made = []

    def make(name):
        made.append(KINDS[name]())
        return made[-1]

    yield make
    for kind in made:
        kind.server.close()


def as_place(kind):
    """What a place needs of the options that a source has."""
    place = {name: dict(value) if isinstance(value, dict) else value
             for name, value in kind.source.items()}
    if "pubsub" in place:
        del place["pubsub"]["subscription"]
    if "generic" in place:
        place["generic"] = {name: value for name, value in place["generic"].items()
                            if name in ("headers", "publish", "check")}
    return {"http": place}


@pytest.mark.parametrize("name", KINDS)
def test_of_a_topic_in_a_queue_with_an_http_api(cluster, function, sluice, mapping_for, make_kind,
                                               name):
    kind, topic = make_kind(name), cluster.topic(1)
    function.behave = poison(["m-1"])
    cluster.produce(topic, [{"key": "k", "value": json.dumps({"id": f"m-{n}"})} for n in range(3)])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind)}))
    done = run_cli("check", "--connect", sluice.config, timeout=30)
    assert done.returncode == 0 and "dead_letter.to: " in done.stdout, done
    sluice.start()
    function.wait_done(["m-0", "m-2"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    message, = kind.queue.messages
    body = message.body if isinstance(message.body, str) else message.body.decode()
    assert json.loads(body) == {"id": "m-1"}
    if name == "pubsub":
        assert message.attributes["sluice-mapping"] == "m"
    assert sluice.dead() == []


HEADERLESS = ("cloudflare", "ironmq", "pgmq")


@pytest.mark.parametrize("name", HEADERLESS)
def test_in_a_queue_without_headers_and_back(cluster, function, sluice, mapping_for, make_kind, name):
    """In AWS's format nothing is lost: the function gets the same message again."""
    kind, topic = make_kind(name), cluster.topic(1)
    bad = f"{topic}/0/0"
    function.behave = poison([bad])
    cluster.produce(topic, [{"key": b"k\x00\xff", "value": b"\x00\xfe{}", "timestamp": 1_700_000_000_000,
                             "headers": [("trace", "t1"), ("raw", b"\x00\xff")]},
                            {"value": '{"id": "m-1"}'}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind),
                                                                          "format": "aws"}))
    sluice.mapping("c", {**http_mapping(kind, function), "receive": "dead_letters"})
    done = run_cli("check", sluice.config)
    assert done.returncode == 0 and "headers" not in done.stdout + done.stderr, done
    sluice.start()
    letter, = sluice.wait_dead(1)
    assert (letter["mapping"], letter["source"], letter["position"]) == ("c", topic, 0)
    assert (letter["status"], letter["class"]) == (500, "attempts")
    first = next(invocation.event()["records"][0] for invocation in function.invocations
                 if invocation.ids == [bad])
    function.behave = lambda invocation: OK
    done = run_cli("dlq", "replay", letter["id"], "--config", sluice.config, "--yes", timeout=60)
    assert done.returncode == 0, done
    again = function.invocations[-1].event()["records"][0]
    same = ("token", "source", "partition", "position", "timestamp", "key", "value", "headers")
    assert {key: again[key] for key in same} == {key: first[key] for key in same}


@pytest.mark.parametrize("name", KINDS)
def test_check_warns_of_a_place_without_headers(cluster, function, sluice, mapping_for, make_kind, name):
    place = as_place(make_kind(name))
    for more, lost in (({}, True), ({"format": "message"}, True), ({"format": "aws"}, False)):
        sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": place, **more}))
        done = run_cli("check", sluice.config)
        assert done.returncode == 0, done
        warned = "would be lost: set dead_letter.format: aws" in done.stderr
        assert warned == (lost and name in HEADERLESS), done
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={
        "to": place, "format": "aws", "headers": ["spring"]}))
    warned = "dead_letter.headers: has no effect" in run_cli("check", sluice.config).stderr
    assert warned == (name in HEADERLESS)


def check_place(sluice, mapping_for, cluster, place):
    """What `check --connect` says of the place, as a pair of ok and text."""
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": place}))
    done = run_cli("check", "--connect", "--json", "--timeout", "3s", sluice.config, timeout=30)
    tried = [each for each in json.loads(done.stdout)["tried"]
             if each["text"].startswith("dead_letter.to: ")]
    assert len(tried) == 1, done
    assert tried[0]["mapping"] == "m" and tried[0]["file"].endswith("mappings.d/m.yaml")
    assert done.returncode == (0 if tried[0]["ok"] else 69)
    return tried[0]["ok"], tried[0]["text"]


def changed(place, dialect, **options):
    http = {**place["http"], **{name: value for name, value in options.items() if name == "token"}}
    http[dialect] = {**http[dialect], **{name: value for name, value in options.items()
                                         if name != "token"}}
    return {"http": http}


WRONG_QUEUES = {
    "sqs": (lambda place: changed(place, "sqs", queue=place["http"]["sqs"]["queue"] + "-not"),
            "the queue does not exist: check sqs.queue"),
    "cloudflare": (lambda place: changed(place, "cloudflare", queue="f" * 32),
                   f"queue {'f' * 32} does not exist: check cloudflare.account and cloudflare.queue"),
    "pubsub": (lambda place: changed(place, "pubsub", topic="nothing"),
               "topic nothing does not exist: create it, or correct pubsub.project and pubsub.topic"),
    "ironmq": (lambda place: changed(place, "generic", check={
        "url": place["http"]["generic"]["check"]["url"] + "-not"}),
        "answers 404: check the address and the queue's name"),
}
REFUSED = {
    "sqs": (lambda place: changed(place, "sqs", secret_access_key="wrong"), "check sqs.secret_access_key"),
    "cloudflare": (lambda place: changed(place, "cloudflare", token="wrong"),
                   "the token needs the permission Queues: Edit"),
    "ironmq": (lambda place: changed(place, "generic", token="wrong"), "answers 401: check the credentials"),
    "pgmq": (lambda place: changed(place, "generic", token="wrong"), "answers 401: check the credentials"),
}


@pytest.mark.parametrize("name", KINDS)
def test_check_connect_looks_at_a_queue_with_an_http_api(cluster, sluice, mapping_for, make_kind, name):
    """It finds what is wrong, and neither publishes nor takes anything."""
    kind = make_kind(name)
    place = as_place(kind)
    kind.produce(["{}"])
    named = (place["http"].get(place["http"]["dialect"], {}).get("queue") or "").rsplit("/", 1)[-1]
    ok, text = check_place(sluice, mapping_for, cluster, place)
    assert ok and ("is there" in text or "answers" in text), text
    if name in WRONG_QUEUES:
        change, words = WRONG_QUEUES[name]
        ok, text = check_place(sluice, mapping_for, cluster, change(place))
        assert not ok and words in text, text
    if name in REFUSED:
        change, words = REFUSED[name]
        ok, text = check_place(sluice, mapping_for, cluster, change(place))
        assert not ok and words in text and named in text, text
    message, = kind.queue.messages
    assert message.attempts == 0 and not message.settled
    kind.server.check()
    kind.server.close()
    ok, text = check_place(sluice, mapping_for, cluster, place)
    assert not ok and str(kind.server.port) in text, text
    assert ": check the address, the network and the server" in text and named in text, text
    done = run_cli("check", "--connect", "--timeout", "3s", sluice.config, timeout=30)
    assert f"({sluice.mappings / 'm.yaml'})" in done.stderr


def test_check_connect_of_who_may_publish(cluster, sluice, mapping_for, make_kind):
    """To look at a queue is another right than to publish to it: nobody needs both."""
    kind = make_kind("sqs")
    denied = {"__type": "com.amazon.coral.service#AccessDeniedException",
              "Message": "not authorized to perform: sqs:getqueueattributes"}
    kind.server.behave = lambda request, proceed: HttpAnswer(400, denied)
    ok, text = check_place(sluice, mapping_for, cluster, as_place(kind))
    assert ok and "cannot be told without publishing" in text, text

    pubsub = make_kind("pubsub")
    place = as_place(pubsub)
    pubsub.server.authentication = "of Google"  # whose API knows permissions
    pubsub.server._authenticate = lambda request: None
    ok, text = check_place(sluice, mapping_for, cluster, place)
    assert ok and "topic orders may be published to" in text, text
    pubsub.server.may_publish = False
    ok, text = check_place(sluice, mapping_for, cluster, place)
    assert not ok and "grant it the role Pub/Sub Publisher" in text, text
    assert pubsub.queue.messages == []


def test_check_connect_of_a_queue_beside_the_source(cluster, function, sluice, make_kind):
    """dead_letter.to: NAME is looked at, and not the source's own queue."""
    kind = make_kind("sqs")
    kind.server.queue("orders-dead")
    mapping = http_mapping(kind, function)
    for name, code, words in (("orders-dead", 0, "dead_letter.to: queue orders-dead is there"),
                              ("orders-gone", 69, "the queue does not exist")):
        sluice.mapping("m", {**mapping, "dead_letter": {"to": name}})
        done = run_cli("check", "--connect", sluice.config, timeout=30)
        assert done.returncode == code and words in done.stdout + done.stderr, done


def test_what_an_http_api_cannot_carry_is_kept_here(cluster, function, sluice, mapping_for, make_kind):
    """SQS takes text: a payload that is none stays whole in the state directory."""
    kind, topic = make_kind("sqs"), cluster.topic(1)
    function.behave = lambda invocation: \
        OK if "m-1" in invocation.ids else Answer(400, b"what is this?")
    cluster.produce(topic, [{"value": b"\x00\xff\x00"}, {"value": '{"id": "m-1"}'}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind)}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 1)
    letter, = sluice.dead()
    assert letter["position"] == 0
    assert sluice.find_events("dead_letter_kept")


@pytest.mark.parametrize("name", ["sqs", "cloudflare", "pubsub"])
def test_what_is_too_large_for_an_http_api_is_kept_here(cluster, function, sluice, mapping_for, make_kind,
                                                        name):
    """Each says so in its own way, with 400 and not with 413; others go on meanwhile."""
    kind, topic = make_kind(name), cluster.topic(1)
    kind.server.most = 5000
    function.behave = poison(["m-1", "m-2"])
    cluster.produce(topic, [{"value": '{"id": "m-0"}'},
                            {"value": json.dumps({"id": "m-1", "pad": "x" * 8000})},
                            {"value": '{"id": "m-2"}'}, {"value": '{"id": "m-3"}'}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind)}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 1)
    kept, = sluice.dead()
    assert kept["position"] == 1
    assert sluice.find_events("dead_letter_kept")
    bodies = [str(message.body) for message in kind.queue.messages]
    assert len(bodies) == 2 and sum("m-2" in body for body in bodies) == 1  # and word of the one kept
    if name == "cloudflare":  # which knows no headers
        word, = [json.loads(message.body) for message in kind.queue.messages if "m-2" not in str(message.body)]
        assert word["sluice-id"] == kept["id"] and word["sluice-payload-kept"]
        assert word["sluice-mapping"] == "m" and word["sluice-position"] == "1" and "500" in word["sluice-error"]
    kind.server.check()


def test_word_of_what_is_kept_is_understood(cluster, function, sluice, mapping_for, make_kind):
    """Also where it comes without headers: it is no message."""
    kind, topic = make_kind("cloudflare"), cluster.topic(1)
    kind.server.most = 5000
    function.behave = poison(["m-1"])
    cluster.produce(topic, [{"value": '{"id": "m-0"}'},
                            {"key": "k", "value": json.dumps({"id": "m-1", "pad": "x" * 8000})},
                            {"value": '{"id": "m-2"}'}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind),
                                                                          "format": "aws"}))
    sluice.mapping("c", {**http_mapping(kind, function), "receive": "dead_letters"})
    sluice.start()
    letters = {letter["mapping"]: letter for letter in sluice.wait_dead(2)}
    kept, word = letters["m"], letters["c"]
    assert "; its payload is kept on host " in word["reason"] and word["reason"].endswith(f" as {kept['id']}")
    for name in ("class", "status", "source", "partition", "position", "token"):
        assert word[name] == kept[name], name
    whole = sluice.dlq("show", word["id"])
    assert whole["payload"] is None and whole["key"] == "k" and whole["headers"] == []


@pytest.mark.parametrize("answer", [b"\xff" * 3000, "x".encode() + "ü".encode() * 2000], ids=["binary", "text"])
def test_what_is_for_people_is_cut_where_attributes_are_short(cluster, function, sluice, mapping_for, make_kind,
                                                             answer):
    """Attributes of Pub/Sub are texts of at most 1 KiB; what belongs to the message itself must be whole."""
    kind, topic = make_kind("pubsub"), cluster.topic(1)
    function.behave = lambda invocation: OK if "m-3" in invocation.ids else Answer(400, answer)
    cluster.produce(topic, [{"value": '{"id": "m-0"}', "headers": [("colour", "red")]},
                            {"value": '{"id": "m-1"}', "headers": [("long", "x" * 1025)]},
                            {"value": '{"id": "m-2"}', "headers": [("google", "x")]}, {"value": '{"id": "m-3"}'}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind)}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 1)
    message, = [one for one in kind.queue.messages if "sluice-payload-kept" not in one.attributes]
    assert message.body == b'{"id": "m-0"}' and message.attributes["colour"] == "red"
    assert len(kind.queue.messages) == 3  # and word of those that were kept
    response = message.attributes.get("sluice-response", "")
    assert response == answer.decode(errors="ignore")[:len(response)] and len(response.encode()) in (0, 1023)
    assert {letter["position"] for letter in sluice.dead()} == {1, 2}
    kind.server.check()


def test_an_http_api_that_is_away(cluster, function, sluice, mapping_for, make_kind):
    kind, topic = make_kind("cloudflare"), cluster.topic(1)
    function.behave = poison(["m-1"])
    api, kind.server.behave = kind.server.behave, lambda request, proceed: HttpAnswer(503)
    cluster.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, batch={"size": 1}, dead_letter={"to": as_place(kind)}))
    sluice.start()
    function.wait_done(["m-0", "m-2"], 20)
    assert "503" in wait_stuck(sluice, "dead letters cannot be written")["reason"]
    place = wait_place(sluice, state="unreachable", waiting=1)
    assert "503" in place["reason"] and "503" in place["last_error"]
    kind.server.behave = api
    cluster.wait_committed(group_of(topic), topic, 1)
    assert len(kind.queue.messages) == 1
