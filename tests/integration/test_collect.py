"""`receive: dead_letters`: what something else gave up on is collected, understood and replayed."""

import json

import pytest

from lib.function import OK
from lib.plugin import group_of, ids, numbered, with_message_ids
from lib.rabbitmq import QUORUM
from lib.sluice import merge, quick_rules, run_cli
from lib.sqs_servers import ElasticMq, shared_sqs
from lib.waiting import until

COLLECT = {"receive": "dead_letters"}


def replay(sluice, *arguments):
    done = run_cli("dlq", "replay", *arguments, "--config", sluice.config, "--yes", "--json",
                   timeout=60)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def spring(n, partition=3):
    """A record as Spring's DeadLetterPublishingRecoverer writes it."""
    return {"key": f"k{n}", "value": json.dumps({"id": f"m-{n}"}), "headers": [
        ["own", b"kept"], ["kafka_dlt-original-topic", b"orders"],
        ["kafka_dlt-original-partition", partition.to_bytes(4, "big")],
        ["kafka_dlt-original-offset", (1500 + n).to_bytes(8, "big")],
        ["kafka_dlt-original-timestamp", (1_700_000_000_000 + n).to_bytes(8, "big")],
        ["kafka_dlt-original-timestamp-type", b"CreateTime"],
        ["kafka_dlt-original-consumer-group", b"billing"],
        ["kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"],
        ["kafka_dlt-exception-message", f"order {n} has no customer".encode()],
        ["kafka_dlt-exception-stacktrace", b"java.lang.IllegalStateException\n\tat shop.Billing"]]}


def test_a_topic_of_spring_kafka(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, [spring(n) for n in range(30)])
    cluster.produce(topic, [{"value": '{"id": "plain"}'}])
    sluice.mapping("orders-dlt", mapping_for(topic, COLLECT))
    sluice.start()
    letters = sluice.wait_dead(31)
    cluster.wait_committed(group_of(topic), topic, 2)
    assert sluice.terminate() == 0
    assert not function.invocations, "dead letters wait for somebody to replay them"
    known = {one["position"]: one for one in letters if one["source"] == "orders"}
    assert set(known) == {1500 + n for n in range(30)}
    one = sluice.dlq("show", known[1507]["id"])
    assert (one["lane"], one["partition"], one["token"]) == ("orders/3", 3, "orders/3/1507")
    assert one["class"] == "foreign" and one["produced"] == "2023-11-14T22:13:20.007000Z"
    assert one["reason"] == "Spring Kafka, group billing: java.lang.IllegalStateException: " \
                            "order 7 has no customer"
    assert one["response"].startswith("java.lang.IllegalStateException\n\tat shop")
    plain = next(one for one in letters if one["source"] == topic)
    assert "nothing in it tells why" in plain["reason"] and plain["token"].startswith(topic)
    groups = run_cli("dlq", "stats", "--by", "error", "--json", "--state", sluice.state).stdout
    assert sorted(json.loads(line)["count"] for line in groups.splitlines()) == [1, 30]

    function.behave = lambda invocation: OK
    assert replay(sluice, "--class", "foreign", "--limit", "20")["done"] == 20
    assert replay(sluice, "--all")["done"] == 11
    records = {record["token"]: record for invocation in function.invocations
               for record in invocation.event()["records"]}
    seventh = records["orders/3/1507"]
    assert (seventh["source"], seventh["partition"], seventh["position"]) == ("orders", 3, 1507)
    assert seventh["key"] == "k7" and seventh["value"] == {"id": "m-7"}
    assert {"name": "own", "value": "kept"} in seventh["headers"]
    assert set(function.done.values()) == {1} and len(function.done) == 31
    # What was replayed does not come again, though the topic still has it.
    sluice.start()
    cluster.produce(topic, [spring(99)])
    assert [one["position"] for one in sluice.wait_dead(1)] == [1599]
    assert len(cluster.read(topic)) == 32


def test_letters_of_another_sluice(cluster, function, sluice, mapping_for):
    """The story is taken off again: what is replayed is the message as it was."""
    topic = cluster.topic(1)
    cluster.produce(topic, [{"key": "k", "value": '{"id": "m-1"}', "headers": [
        ["own", b"kept"], ["sluice-id", b"01M8H13YK4JFMZ4TSX2JQNBHQY"], ["sluice-mapping", b"orders"],
        ["sluice-class", b"poison"], ["sluice-error", b"the function answered 422: no currency"],
        ["sluice-status", b"422"], ["sluice-attempts", b"2"], ["sluice-token", b"o-17"],
        ["sluice-connector", b"kafka"], ["sluice-source", b"orders"], ["sluice-partition", b"3"],
        ["sluice-position", b"1507"], ["sluice-timestamp", b"2026-11-01T08:00:00.123Z"],
        ["sluice-last-failure", b"2026-11-01T08:00:09.500Z"]]}])
    sluice.mapping("m", mapping_for(topic, COLLECT, target={"format": "lambda"}))
    sluice.start()
    one = sluice.wait_dead(1)[0]
    assert (one["lane"], one["position"], one["token"]) == ("orders/3", 1507, "o-17")
    assert (one["class"], one["status"], one["attempt_count"]) == ("poison", 422, 2)
    assert one["reason"] == "the function answered 422: no currency"
    assert one["last_attempt"] == "2026-11-01T08:00:09.500000Z"
    assert replay(sluice, "--all")["done"] == 1
    assert function.invocations[0].event()["records"] == {"orders-3": [
        {"topic": "orders", "partition": 3, "offset": 1507, "timestamp": 1793520000123,
         "timestampType": "CREATE_TIME", "key": "aw==", "value": "eyJpZCI6ICJtLTEifQ==",
         "headers": [{"own": [107, 101, 112, 116]}]}]}
    assert function.invocations[0].token == '"o-17"'


def test_the_same_letter_twice(cluster, sluice, mapping_for):
    """Two groups collect the same topic: as after a crash before the commit, none is doubled."""
    topic = cluster.topic(1)
    cluster.produce(topic, [spring(n) for n in range(5)])
    for group in ("g1", "g2"):
        sluice.mapping("m", mapping_for(topic, COLLECT, source={"kafka": {"group": f"{topic}-{group}"}}))
        sluice.start()
        cluster.wait_committed(f"{topic}-{group}", topic, 1)
        assert sluice.terminate() == 0
        assert len(sluice.dead()) == 5


def test_records_of_kafka_connect_and_aws(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    connect = {"value": b"\x00no JSON", "key": "k", "headers": [
        ["__connect.errors.topic", b"shipments"], ["__connect.errors.partition", b"0"],
        ["__connect.errors.offset", b"12"], ["__connect.errors.stage", b"VALUE_CONVERTER"],
        ["__connect.errors.connector.name", b"s3-sink"],
        ["__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"],
        ["__connect.errors.exception.message", b"\x1b[2J no JSON"]]}
    aws = {"key": "k1", "value": json.dumps({
        "version": "1.0", "timestamp": "2026-11-01T00:38:06.021Z",
        "requestContext": {"requestId": "r", "functionArn": "arn:f", "condition": "RetriesExhausted",
                           "approximateInvokeCount": 4},
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "KafkaBatchInfo": {"batchSize": 1, "recordInfo": {"offset": "15", "timestamp": "1"}},
        "payload": {"eventSource": "aws:kafka", "records": {"returns-1": [
            {"topic": "returns", "partition": 1, "offset": 15, "timestamp": 1545084650987,
             "timestampType": "CREATE_TIME", "key": "azE=", "value": "eyJpZCI6ICJtLTEifQ==",
             "headers": [{"h": [104, -61, -85]}]}]}}})}
    cluster.produce(topic, [connect, aws])
    sluice.mapping("m", mapping_for(topic, COLLECT, target={"format": "lambda"}))
    sluice.start()
    letters = {one["source"]: one for one in sluice.wait_dead(2)}
    assert letters["shipments"]["lane"] == "shipments/0" and letters["shipments"]["position"] == 12
    one = letters["returns"]
    assert (one["lane"], one["position"], one["attempt_count"]) == ("returns/1", 15, 4)
    assert one["last_attempt"] == "2026-11-01T00:38:06.021000Z"
    shown = run_cli("dlq", "show", letters["shipments"]["id"], "--state", sluice.state).stdout
    assert "Kafka Connect s3-sink, VALUE_CONVERTER: org.apache" in shown and "\x1b" not in shown
    shown = run_cli("dlq", "show", one["id"], "--state", sluice.state).stdout
    assert "Attempts: 4, told by who gave it up" in shown
    # The service replays too.
    assert replay(sluice, "--all")["done"] == 2
    events = [invocation.event()["records"] for invocation in function.invocations]
    records = {name: records for event in events for name, records in event.items()}
    assert records["returns-1"] == [
        {"topic": "returns", "partition": 1, "offset": 15, "timestamp": 1545084650987,
         "timestampType": "CREATE_TIME", "key": "azE=", "value": "eyJpZCI6ICJtLTEifQ==",
         "headers": [{"h": [104, -61, -85]}]}]
    assert records["shipments-0"][0]["value"] == "AG5vIEpTT04="


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_what_rabbitmq_gave_up_on(rabbit, function, sluice, rabbit_mapping, kind):
    dead = rabbit.queue(**(QUORUM if kind == "quorum" else {}))
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = rabbit.queue(**arguments, **({**QUORUM, "x-delivery-limit": 1} if kind == "quorum" else {}))
    rabbit.produce(queue, [{"value": '{"id": "m-0"}', "message_id": "id-0", "headers": {"own": 1}}])
    with rabbit.channel() as channel:
        def refused():
            method = channel.basic_get(queue)[0]
            if method:
                channel.basic_nack(method.delivery_tag, requeue=kind == "quorum")
            return rabbit.ready(dead) == 1
        until(refused, 20, "the message among the dead letters", every=0.05)
    sluice.mapping("m", rabbit_mapping(rabbit, dead, COLLECT))
    sluice.start()
    one = sluice.wait_dead(1)[0]
    rabbit.wait_settled(dead)
    reason = "delivery_limit" if kind == "quorum" else "rejected"
    assert one["reason"] == f"RabbitMQ: {reason} from queue {queue}, routing key {queue}"
    assert (one["source"], one["lane"], one["token"]) == (queue, queue, "id-0")
    assert one["class"] == "foreign" and one["attempt_count"] == 1 and one["last_attempt"]
    assert not function.invocations
    assert replay(sluice, one["id"])["done"] == 1
    record = function.invocations[0].event()["records"][0]
    assert record["source"] == queue and record["value"] == {"id": "m-0"}
    assert {"name": "own", "value": "1"} in record["headers"]


def test_a_queue_of_a_redrive_policy(function, sluice):
    """Amazon SQS gives up on what was received too often; from there it is replayed."""
    server = shared_sqs(ElasticMq)
    dead = server.queue()
    arn = server.call("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    queue = server.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn["QueueArn"],
                                                   "maxReceiveCount": "1"}))
    server.send(queue, '{"id": "m-0"}')
    until(lambda: (server.receive(queue, VisibilityTimeout=0), server.left(dead)[0])[1], 20,
          "the message among the dead letters", every=0.1)
    sluice.mapping("m", merge(quick_rules(function), {
        **COLLECT, "idempotency": {"token": "message_id"},
        "source": {"http": merge({"lease": "30s", "poll": {"least": "50ms", "most": "500ms"}},
                                 server.source(dead))}}))
    sluice.start()
    one = sluice.wait_dead(1)[0]
    server.wait_settled(dead)
    name = queue.rsplit("/", 1)[1]
    assert one["source"] == name and one["class"] == "foreign" and not function.invocations
    assert one["reason"] == \
        f"Amazon SQS: received as often as the redrive policy allows from queue {name}"
    assert replay(sluice, "--all")["done"] == 1
    assert function.done == {"m-0": 1}


def test_killed_while_collecting(cluster, function, sluice, mapping_for):
    """Nothing is lost, and nothing is there twice."""
    topic = cluster.topic(2)
    cluster.produce(topic, [spring(n, partition=n % 2) for n in range(4000)])
    sluice.mapping("m", mapping_for(topic, COLLECT))
    for kill in range(4):
        sluice.start()
        sluice.wait_dead(kill * 300 + 1)
        sluice.kill9()
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 2)
    positions = [one["position"] for one in sluice.dead()]
    assert len(positions) == 4000 and set(positions) == {1500 + n for n in range(4000)}


def test_killed_with_a_queue(rabbit, function, sluice, rabbit_mapping):
    """RabbitMQ delivers again what was not acknowledged: a letter may be there twice, and is processed
    once."""
    queue = rabbit.queue(**QUORUM)
    rabbit.produce(queue, with_message_ids(numbered(1500)))
    sluice.mapping("m", rabbit_mapping(rabbit, queue, COLLECT))
    for kill in range(2):
        sluice.start()
        sluice.wait_dead(kill * 200 + 1)
        sluice.kill9()
    sluice.start()
    rabbit.wait_settled(queue)
    assert {one["token"] for one in sluice.dead()} == set(ids(1500))
    result = replay(sluice, "--all")
    assert result["done"] == 1500 and result["left"] == 0
    assert function.done == {i: 1 for i in ids(1500)}


def test_filters_and_tokens_are_the_mappings_own(cluster, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [spring(n) for n in range(4)])
    sluice.mapping("m", mapping_for(topic, COLLECT, idempotency={"token": "/id"},
                                    filter={"value": {"id": [{"anything-but": ["m-2"]}]}}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 1)
    assert {one["token"] for one in sluice.wait_dead(3)} == {"m-0", "m-1", "m-3"}


def test_nothing_is_settled_before_it_is_kept(cluster, sluice, mapping_for):
    """At the limit of its letters the mapping waits; there is more room after some are gone."""
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(10))
    sluice.mapping("m", mapping_for(topic, COLLECT, dead_letter={"max_count": 1, "on_full": "wait"},
                                    buffer={"messages": 10}))
    sluice.start()
    kept = len(sluice.wait_dead(10))
    cluster.produce(topic, numbered(1, prefix="late"))
    sluice.wait_for_event("dead_letters_stuck")
    assert cluster.committed(group_of(topic), topic).get(0, 0) <= kept == 10
    done = run_cli("dlq", "discard", "--all", "--yes", "--state", sluice.state)
    assert done.returncode == 0
    cluster.wait_committed(group_of(topic), topic, 1)
