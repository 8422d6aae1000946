"""The dialect sqs against two other people's servers, each of which forgives other mistakes, and its
credentials against strict servers of AWS's ways to them."""

import json
import random

import pytest

from lib.function import OK, Answer, poison
from lib.plugin import ids
from lib.sluice import merge, quick_rules, run_cli
from lib.sqs_servers import ElasticMq, Moto, shared_sqs
from lib.waiting import until


@pytest.fixture(params=[ElasticMq, Moto], ids=["elasticmq", "moto"])
def server(request):
    return shared_sqs(request.param)


@pytest.fixture
def mapping(function):
    """A working mapping of a queue, with quick retries: mapping(server, url, {changes})."""
    def make(server, url, changes=None, source=None, **sections):
        base = {"source": {"http": merge({"lease": "30s", "timeout": "5s", "sqs": {"wait": "1s"},
                                          "poll": {"least": "50ms", "most": "500ms"}},
                                         merge(server.source(url), source or {}))},
                "idempotency": {"token": "message_id"}}
        return merge(merge({**quick_rules(function), **base}, changes or {}), sections)
    return make


def texts(count, prefix="m"):
    return [json.dumps({"id": f"{prefix}-{n}", "n": n}) for n in range(count)]


def lag_of(sluice):
    return sluice.control("GET", "/v1/mappings/m")[1]["lag"]


def done_of(function, prefix):
    return [record.id for invocation in function.invocations if invocation.answer.success
            for record in invocation.records if record.id.startswith(f"{prefix}-")]


def dead_of(function, sluice, count):
    letters = sluice.wait_dead(count)
    names = {record.token: record.id for invocation in function.invocations
             for record in invocation.records}
    return {names[letter["token"]] for letter in letters}


# ---- standard queues ----

def test_all_once(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(300))
    sluice.mapping("m", mapping(server, url))
    sluice.start()
    function.wait_done(ids(300), 30)
    server.wait_settled(url)
    server.produce(url, texts(20, "late"))
    function.wait_done(ids(20, "late"), 20)
    server.wait_settled(url)
    assert set(function.seen.values()) == {1} and sluice.dead() == []


def test_the_queue_by_its_url(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(5))
    sluice.mapping("m", mapping(server, url, source={"sqs": {"queue": url}}))
    sluice.start()
    function.wait_done(ids(5), 20)
    server.wait_settled(url)


def test_what_a_message_carries(server, function, sluice, mapping):
    url = server.queue()
    body = "ünï \u2028 \U0001f600\t\r\n\"\\/"
    server.send(url, body, MessageAttributes={
        "colour": {"DataType": "String", "StringValue": "grün"},
        "count": {"DataType": "Number.int", "StringValue": "7"},
        "raw": {"DataType": "Binary", "BinaryValue": "AP/+"}})
    sluice.mapping("m", mapping(server, url))
    sluice.start()
    function.wait_invocations(1, 20)
    record = function.invocations[0].event()["records"][0]
    headers = [(header["name"], header["value"]) for header in record["headers"]]
    named = dict(headers)
    assert record["value"] == body
    assert named["colour"] == "grün" and named["count"] == "7" and named["raw"] == {"base64": "AP/+"}
    assert headers[headers.index(("count", "7")) + 1] == ("sqs:dataType", "Number.int")
    assert named["sqs:ApproximateReceiveCount"] == "1"
    assert int(named["sqs:SentTimestamp"]) == record["timestamp"]
    assert named["sqs:queueArn"].endswith(":" + url.rsplit("/", 1)[1])
    server.wait_settled(url)


def test_a_message_of_a_mebibyte(server, function, sluice, mapping):
    url = server.queue()
    body = json.dumps({"id": "m-0", "pad": "x" * 250_000})
    server.send(url, body)
    sluice.mapping("m", mapping(server, url))
    sluice.start()
    function.wait_done(ids(1), 20)
    assert len(function.invocations[0].body) > 250_000
    server.wait_settled(url)


def test_attempts_of_others_count(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(1))
    for _ in range(2):
        taken = until(lambda: server.receive(url, VisibilityTimeout=30), 10, "the message")
        server.call("ChangeMessageVisibility", QueueUrl=url, VisibilityTimeout=0,
                    ReceiptHandle=taken[0]["ReceiptHandle"])
    sluice.mapping("m", mapping(server, url))
    sluice.start()
    function.wait_done(ids(1), 20)
    assert function.invocations[0].records[0].attempt == 3


def test_visibility_is_extended(server, function, sluice, mapping):
    """Work that takes longer than the visibility that was asked for is given to nobody else."""
    url = server.queue()
    server.produce(url, texts(5))
    function.behave = lambda invocation: Answer(200, delay=5)
    sluice.mapping("m", mapping(server, url, source={"lease": "2s"}, target={"http": {"timeout": "20s"}}))
    sluice.start()
    function.wait_done(ids(5), 30)
    server.wait_settled(url)
    assert set(function.seen.values()) == {1}


def test_poison(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(30))
    function.behave = poison(["m-7"])
    sluice.mapping("m", mapping(server, url))
    sluice.start()
    function.wait_done(set(ids(30)) - {"m-7"}, 20)
    assert dead_of(function, sluice, 1) == {"m-7"}
    server.wait_settled(url)


def test_partial_responses(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(30))
    failed = {"m-3", "m-11"}

    def behave(invocation):
        names = [record.token for record in invocation.records if record.id in failed]
        return Answer(200, json.dumps({"batchItemFailures": [{"itemIdentifier": n} for n in names]}))
    function.behave = behave
    sluice.mapping("m", mapping(server, url, target={"report_failures": True}))
    sluice.start()
    assert dead_of(function, sluice, 2) == failed
    server.wait_settled(url)


def test_the_event_of_lambda(server, function, sluice, mapping):
    """AWS's aws:sqs, to the letter; failures are named by messageId."""
    url = server.queue()
    sent = server.send(url, "body \U0001f600", MessageAttributes={
        "count": {"DataType": "Number", "StringValue": "6"},
        "raw": {"DataType": "Binary", "BinaryValue": "AQI="}})
    server.send(url, "plain")

    def behave(invocation):
        failed = [record["messageId"] for record in invocation.event()["Records"]
                  if record["body"] == "plain"]
        return Answer(200, json.dumps({"batchItemFailures": [{"itemIdentifier": name} for name in failed]}))
    function.behave = behave
    sluice.mapping("m", mapping(server, url, target={"format": "lambda", "report_failures": True}))
    sluice.start()
    letter, = sluice.wait_dead(1)
    server.wait_settled(url)
    records = {record["body"]: record for invocation in function.invocations
               for record in invocation.event()["Records"]}
    record, plain = records["body \U0001f600"], records["plain"]
    assert letter["token"] == plain["messageId"]
    assert list(record) == ["messageId", "receiptHandle", "body", "attributes", "messageAttributes",
                            "md5OfMessageAttributes", "md5OfBody", "eventSource", "eventSourceARN", "awsRegion"]
    assert record["messageId"] == sent["MessageId"] and record["md5OfBody"] == sent["MD5OfMessageBody"]
    assert record["md5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert {"ApproximateReceiveCount", "SentTimestamp", "SenderId",
            "ApproximateFirstReceiveTimestamp"} <= set(record["attributes"])
    assert all(isinstance(value, str) for value in record["attributes"].values())
    assert record["messageAttributes"] == {
        "count": {"stringValue": "6", "stringListValues": [], "binaryListValues": [], "dataType": "Number"},
        "raw": {"binaryValue": "AQI=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"}}
    assert record["eventSource"] == "aws:sqs" and record["awsRegion"] == server.region
    assert record["eventSourceARN"].endswith(":" + url.rsplit("/", 1)[1])
    assert set(plain) == set(record) - {"md5OfMessageAttributes"} and plain["messageAttributes"] == {}


def test_restart_and_given_back(server, function, sluice, mapping):
    """What is not done when sluice stops comes again at once, not after its visibility timeout."""
    url = server.queue()
    server.produce(url, texts(60))
    function.behave = lambda invocation: Answer(how="hang")
    sluice.mapping("m", mapping(server, url, source={"lease": "5m"}, drain="2s",
                                target={"http": {"timeout": "60s", "concurrency": 1}}))
    sluice.start()
    function.wait_invocations(1, 20)
    sluice.terminate(30)
    until(lambda: server.left(url)[:2] == [60, 0], 10, lambda: f"all are there: {server.left(url)}")
    function.behave = lambda invocation: OK
    sluice.start()
    function.wait_done(ids(60), 30)
    server.wait_settled(url)


def test_killed(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(200))
    function.behave = lambda invocation: Answer(200, delay=0.02)
    sluice.mapping("m", mapping(server, url, source={"lease": "2s"}, batch={"size": 5},
                                target={"http": {"concurrency": "1..4"}}))
    for already in (30, 100):
        sluice.start()
        function.wait(lambda f, n=already: len(f.done) >= n, 30, f"{already} done")
        sluice.kill9()
        function.wait(lambda f: not f.in_flight, 10, "end of what was in flight")
    sluice.start()
    function.wait_done(ids(200), 60)
    server.wait_settled(url, 40)
    assert sluice.dead() == []


def test_a_queue_that_is_deleted_and_made_again(server, function, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(5))
    sluice.mapping("m", mapping(server, url))
    sluice.start()
    function.wait_done(ids(5), 20)
    server.wait_settled(url)
    server.call("DeleteQueue", QueueUrl=url)
    told = sluice.wait_for_event("source_state", state="missing")["text"]
    assert "does not exist" in told and "sqs.queue" in told
    server.queue(url.rsplit("/", 1)[1])
    server.produce(url, texts(5, "late"))
    function.wait_done(ids(5, "late"), 40)
    server.wait_settled(url)


# ---- FIFO queues ----

def test_order_of_groups_under_retry(server, function, sluice, mapping):
    url = server.queue(fifo=True)
    groups = [f"g{number}" for number in range(4)]
    server.produce(url, [json.dumps({"id": f"{group}-{n}"}) for n in range(25) for group in groups],
                   group=lambda body: json.loads(body)["id"].split("-")[0])
    dice = random.Random(11)
    function.behave = lambda _: Answer(500) if dice.random() < 0.2 else OK
    sluice.mapping("m", mapping(server, url, batch={"size": 4}, retry={"attempts": 50}))
    sluice.start()
    function.wait_done([f"{group}-{n}" for group in groups for n in range(25)], 60)
    server.wait_settled(url, 30)
    for group in groups:
        assert done_of(function, group) == [f"{group}-{n}" for n in range(25)]


def test_a_bad_message_holds_back_its_group_only(server, function, sluice, mapping):
    url = server.queue(fifo=True)
    for group in ("a", "b"):
        server.produce(url, texts(8, group), group=group)
    function.behave = lambda invocation: Answer(503) if any(
        name.startswith("a-") for name in invocation.ids) else OK
    sluice.mapping("m", mapping(server, url, batch={"size": 1}))
    sluice.start()
    until(lambda: "b-0" in function.done, 20, "work on the other group")
    assert not [name for name in function.done if name.startswith("a-")]
    function.behave = lambda invocation: OK
    function.wait_done(ids(8, "a") + ids(8, "b"), 30)
    server.wait_settled(url)
    assert done_of(function, "a") == ids(8, "a") and done_of(function, "b") == ids(8, "b")


# ---- before it runs ----

def check(sluice, mapping, *arguments):
    sluice.mapping("m", mapping)
    return run_cli("check", *arguments, "--config", sluice.config)


def test_lag(server, function, sluice, mapping):
    url = server.queue()
    function.behave = lambda _: Answer(503)
    server.produce(url, texts(60))
    sluice.mapping("m", mapping(server, url, buffer={"messages": 10}, batch={"size": 1}))
    sluice.start()
    # Receives may be under way while it is counted.
    until(lambda: 40 <= (lag_of(sluice) or 0) <= 80, 20, "the lag")
    function.behave = lambda _: OK
    server.wait_settled(url)
    until(lambda: (lag_of(sluice) or 0) <= 20, 20, "less of it")


def test_a_dead_letter_that_is_too_large(rabbit, server, function, sluice, rabbit_mapping):
    """Each server says in words of its own that a message is too long: it stays here, the queue gets word of it,
    and what comes after is not held up."""
    url, queue = server.queue(), rabbit.queue()
    function.behave = poison(["m-0", "m-1"])
    large = json.dumps({"id": "m-0", "pad": "x" * (1 << 20)})
    rabbit.produce(queue, [{"message_id": f"m-{n}", "value": value}
                           for n, value in enumerate([large, '{"id": "m-1"}', '{"id": "m-2"}'])])
    sluice.mapping("m", rabbit_mapping(rabbit, queue, batch={"size": 1}, order="none",
                                       retry={"patience": "500ms"},
                                       dead_letter={"to": {"http": server.source(url)}}))
    sluice.start()
    rabbit.wait_settled(queue)
    kept, = sluice.dead()
    assert kept["position"] == 1
    letters = {letter["Body"]: letter["MessageAttributes"] for letter in server.receive(url)}
    assert set(letters) == {"{}", '{"id": "m-1"}'}
    assert kept["id"] in json.dumps(letters["{}"]) and "sluice.empty" in letters["{}"]


def test_check_connect(server, sluice, mapping):
    url = server.queue()
    server.produce(url, texts(1))
    done = check(sluice, mapping(server, url), "--connect")
    assert "given back" in done.stdout + done.stderr and done.returncode == 0
    until(lambda: server.left(url)[:2] == [1, 0], 10, "it is there")
    server.call("DeleteQueue", QueueUrl=url)
    done = check(sluice, mapping(server, url), "--connect")
    assert "does not exist" in done.stdout + done.stderr and done.returncode != 0


def test_check_connect_of_a_place(server, sluice, mapping):
    url, place = server.queue(), server.queue()
    options = server.source(place)
    for queue, code, words in ((options["sqs"]["queue"], 0, "is there"), ("no-such-queue", 69, "does not exist")):
        to = {"http": {**options, "sqs": {**options["sqs"], "queue": queue}}}
        done = check(sluice, mapping(server, url, dead_letter={"to": to}), "--connect")
        told = [line for line in (done.stdout + done.stderr).splitlines() if "dead_letter.to: " in line]
        assert done.returncode == code and words in told[0], done
    assert server.left(place) == [0, 0, 0]
