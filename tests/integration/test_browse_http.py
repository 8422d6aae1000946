"""`sluice dlq browse` of HTTP queues: messages are received, hidden while they are read, and given back."""

import json
import signal
import subprocess
import types

import pytest

from lib.http_kinds import KINDS, http_mapping, pubsub, sqs
from lib.machine import PATIENCE
from lib.plugin import ids
from lib.sluice import PROGRAM, merge, run_cli
from lib.sqs_servers import ElasticMq, Moto, shared_sqs
from lib.waiting import until


def texts(count, prefix="m"):
    return [json.dumps({"id": f"{prefix}-{n}", "n": n}) for n in range(count)]


def browse(sluice, *arguments, code=0):
    done = run_cli("dlq", "browse", "m", "--config", sluice.config, *arguments, timeout=60)
    assert done.returncode == code, done
    return done


def found(sluice, *arguments, **options):
    return [json.loads(line) for line in browse(sluice, "--json", *arguments, **options).stdout.splitlines()]


def shown(letters):
    return {json.loads(letter["payload"])["id"] for letter in letters}


@pytest.fixture
def kind_of():
    """Starts a strict server; its complaints are the test's."""
    started = []

    def make(kind, **options):
        started.append(kind(**options))
        return started[-1]
    yield make
    for kind in started:
        kind.server.check()
        kind.server.close()


@pytest.fixture
def looks(sluice, function):
    def make(kind, **sections):
        sluice.mapping("m", merge({**http_mapping(kind, function), "receive": "dead_letters"}, sections))
    return make


def free(kind):
    """Messages that anybody may have now."""
    with kind.server.changes:
        return len(kind.queue.left()) - len(kind.queue.leased())


def named(server, url):
    """A queue of another people's server, as far as http_mapping looks at it."""
    return types.SimpleNamespace(source=server.source(url))


def looks_at(sluice, function, server, url):
    sluice.mapping("m", {**http_mapping(named(server, url), function), "receive": "dead_letters"})


@pytest.mark.parametrize("server", [ElasticMq, Moto], ids=["elasticmq", "moto"])
def test_a_queue_of_sqs_is_as_before(server, sluice, function):
    server = shared_sqs(server)
    url = server.queue()
    looks_at(sluice, function, server, url)
    assert browse(sluice).stdout == "No dead letters match.\n"  # nothing to take: nothing to ask
    server.produce(url, texts(35))
    done = browse(sluice, code=64)
    assert "about 35 messages" in done.stderr and "one receive more" in done.stderr
    assert "--yes" in done.stderr and "redrive" not in done.stderr
    assert server.left(url)[:2] == [35, 0]
    assert shown(found(sluice, "--yes")) == set(ids(35))
    assert server.left(url)[:2] == [35, 0]  # visible again, at once
    again = found(sluice, "--yes", "--limit", "0")
    assert shown(again) == set(ids(35)) and {one["place"]["delivery_count"] for one in again} == {1}
    assert len(found(sluice, "--yes", "--limit", "7")) == 7
    assert shown(found(sluice, "--yes", "--where", "{id: [m-7]}")) == {"m-7"}
    assert server.left(url)[:2] == [35, 0]


@pytest.mark.parametrize("server", [ElasticMq, Moto], ids=["elasticmq", "moto"])
def test_a_redrive_policy_is_told(server, sluice, function):
    server = shared_sqs(server)
    last = server.queue()
    arn = server.call("GetQueueAttributes", QueueUrl=last, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    url = server.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 7}))
    looks_at(sluice, function, server, url)
    server.produce(url, texts(3))
    done = browse(sluice, "--yes", code=64)
    assert "more than 7 times" in done.stderr and last.rsplit("/", 1)[1] in done.stderr
    assert "--count-deliveries" in done.stderr
    assert shown(found(sluice, "--yes", "--count-deliveries")) == set(ids(3))


def test_who_may_not_ask_for_attributes(kind_of, looks, sluice):
    kind = kind_of(sqs)
    kind.produce(texts(2))
    looks(kind)
    kind.server.may_get = False
    done = browse(sluice, "--yes", code=64)
    assert "is not known" in done.stderr and "--count-deliveries" in done.stderr
    assert shown(found(sluice, "--yes", "--count-deliveries")) == set(ids(2))
    assert free(kind) == 2


def test_a_fifo_queue(sluice, function):
    server = shared_sqs(ElasticMq)
    url = server.queue(fifo=True)
    looks_at(sluice, function, server, url)
    server.produce(url, texts(6), group=lambda body: f"g{json.loads(body)['n'] % 2}")
    done = browse(sluice, "--yes", "--json")
    assert "message group" in done.stderr
    lanes = {json.loads(line)["place"]["lane"] for line in done.stdout.splitlines()}
    assert {lane.rsplit("/", 1)[1] for lane in lanes} == {"g0", "g1"}
    order = [json.loads(message["Body"])["n"] for _ in range(6) for message in server.receive(url)
             if not server.call("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])]
    assert [n for n in order if n % 2] == [1, 3, 5] and [n for n in order if not n % 2] == [0, 2, 4]


def test_another_queue_as_the_place_of_dead_letters(sluice, function):
    server = shared_sqs(ElasticMq)
    source, place = server.queue(), server.queue()
    sluice.mapping("m", {**http_mapping(named(server, source), function),
                         "dead_letter": {"to": place.rsplit("/", 1)[1]}})
    server.produce(source, texts(2, "source"))
    server.produce(place, texts(3))
    letters = found(sluice, "--yes")
    assert shown(letters) == set(ids(3))
    assert {letter["place"]["lane"] for letter in letters} == {place.rsplit("/", 1)[1]}
    assert server.left(source)[:2] == [2, 0] and server.left(place)[:2] == [3, 0]


@pytest.mark.parametrize("kind", [sqs, pubsub])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_one_that_is_ended_in_the_middle_loses_nothing(kind_of, looks, sluice, kind, end):
    kind = kind_of(kind)
    kind.server.poll = 0.1
    kind.produce(texts(3000))
    looks(kind)
    process = subprocess.Popen([PROGRAM, "dlq", "browse", "m", "--config", sluice.config, "--yes", "--json",
                                "--count-deliveries", "--limit", "0", "--timeout", "2s"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: free(kind) < 3000, 20, "messages that are taken", every=0.005)
    process.send_signal(end)
    output, _ = process.communicate(timeout=30 * PATIENCE)
    if end == signal.SIGINT:
        assert process.returncode in (75, 0), output  # it may have been at its end
        assert free(kind) == 3000
    until(lambda: free(kind) == 3000, 40, "all that was taken", every=0.1)  # by its lease, if it was killed
    with kind.server.changes:
        assert not kind.queue.settled


def test_a_subscription_of_pubsub(kind_of, looks, sluice):
    kind = kind_of(pubsub)
    kind.produce(texts(20))
    looks(kind)
    done = browse(sluice, "--yes", code=64)
    assert "after about 5" in done.stderr and "--count-deliveries" in done.stderr
    letters = found(sluice, "--yes", "--count-deliveries")
    assert shown(letters) == set(ids(20)) and free(kind) == 20
    kind.queue.counts = False
    assert shown(found(sluice, "--yes")) == set(ids(20)) and free(kind) == 20
    kind.server.may_get = False
    assert "is not known" in browse(sluice, "--yes", code=64).stderr


def test_a_topic_of_pubsub_keeps_nothing(kind_of, rabbit, sluice, rabbit_mapping):
    kind = kind_of(pubsub)
    sluice.mapping("m", rabbit_mapping(rabbit, rabbit.queue(), {"dead_letter": {"to": {"http": {
        "dialect": "pubsub", "url": kind.server.origin, "pubsub": {
            "project": kind.source["pubsub"]["project"], "topic": "orders", "authentication": "none"}}}}}))
    assert "subscriptions keep the messages" in browse(sluice, "--yes", code=69).stderr


@pytest.mark.parametrize("name", ["cloudflare", "ironmq", "pgmq"])
def test_what_cannot_be_looked_into(kind_of, looks, sluice, name):
    kind = kind_of(KINDS[name])
    kind.produce(texts(1))
    looks(kind)
    assert "receive: dead_letters" in browse(sluice, "--yes", code=65).stderr
    assert free(kind) == 1
