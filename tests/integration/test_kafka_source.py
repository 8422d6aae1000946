"""Kafka in all its ways: where to start, how to log in, what lies in a log, and what breaks."""

import json
import socket
import threading
import time

import pytest

from lib.function import OK, always
from lib.jars import OLD_KAFKA, kafka_jars
from lib.kafka import PASSWORD, ToolError
from lib.machine import LONG, free_port
from lib.oidc import CLIENT, SECRET, TokenEndpoint
from lib.plugin import group_of, ids, numbered
from lib.waiting import stays, until


def source(**options):
    return {"source": {"kafka": options}}


# ---- where to start ----

def test_start_earliest(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(20))
    sluice.mapping("m", mapping_for(topic, source(start="earliest")))
    sluice.start()
    function.wait_done(ids(20), 20)


def test_start_latest(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(20, prefix="old"))
    sluice.mapping("m", mapping_for(topic, source(start="latest")))
    sluice.start()
    until(lambda: any(m["partitions"] for m in cluster.members(group_of(topic))), 20, "assignment")
    # The end is looked up after the assignment: send until one arrives.
    sent = []

    def arrives():
        sent.append(f"new-{len(sent)}")
        cluster.produce(topic, [{"value": json.dumps({"id": sent[-1]})}])
        return any(name in function.done for name in sent)
    until(arrives, 20, "delivery of new messages", every=0.2)
    function.wait_done([sent[-1]], 10)
    assert not any(name.startswith("old") for name in function.seen)


def test_start_at_a_timestamp(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    base = 1_700_000_000_000  # 2023-11-14T22:13:20Z
    cluster.produce(topic, [{"value": json.dumps({"id": f"m-{n}"}), "timestamp": base + n * 1000,
                             "partition": n % 2} for n in range(60)])
    sluice.mapping("m", mapping_for(topic, source(start="2023-11-14T22:13:50Z")))
    sluice.start()
    function.wait_done(ids(60)[30:], 20)
    cluster.produce(topic, numbered(2, prefix="end", partitions=2))
    function.wait_done(ids(2, "end"), 20)
    assert not set(ids(30)) & set(function.seen)


def test_a_committed_offset_wins_over_start(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(20))
    cluster.tool.call("set_committed", group=group_of(topic), topic=topic, offsets={"0": 15})
    sluice.mapping("m", mapping_for(topic, source(start="earliest")))
    sluice.start()
    function.wait_done(ids(20)[15:], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert len(function.seen) == 5


def test_a_list_of_topics(cluster, function, sluice, mapping_for):
    topics = [cluster.topic(2) for _ in range(3)]
    for number, topic in enumerate(topics):
        cluster.produce(topic, numbered(30, prefix=f"topic{number}"))
    sluice.mapping("m", mapping_for(topics[0], source(topic=topics)))
    sluice.start()
    for number, topic in enumerate(topics):
        function.wait_done(ids(30, f"topic{number}"), 20)
        cluster.wait_committed(group_of(topics[0]), topic, 2)
    assert {r.topic for i in function.invocations for r in i.records} == set(topics)


# ---- logging in ----

def login(cluster, listener, **options):
    changes = {"brokers": cluster.address(listener)}
    if "TLS" in listener:
        changes["tls"] = {"ca_file": str(cluster.authority.ca)}
    for name, value in options.items():
        changes[name] = {**changes.get(name, {}), **value}
    return source(**changes)


def works(cluster, function, sluice, mapping):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(50))
    sluice.mapping("m", mapping(topic))
    sluice.start()
    function.wait_done(ids(50), 30)
    cluster.wait_committed(group_of(topic), topic, 2)
    assert sluice.terminate() == 0
    assert not any(PASSWORD in line or SECRET in line for line in sluice.lines), "secret in the log"


@pytest.mark.parametrize("listener", ["SASL", "SASLTLS"])
def test_sasl_plain(cluster, function, sluice, mapping_for, listener):
    sluice.environment["KAFKA_PASSWORD"] = PASSWORD
    changes = login(cluster, listener,
                    sasl={"mechanism": "PLAIN", "username": "alice", "password": "@@"})
    works(cluster, function, sluice, lambda topic: json.dumps(
        mapping_for(topic, changes), indent=1).replace('"@@"', "!env KAFKA_PASSWORD"))


@pytest.fixture
def scram_cluster(cluster, private_broker):
    """librdkafka before 2.6.1 (Debian 12) sends a client nonce that Kafka 4 refuses."""
    if cluster.tool.call("version")["number"] >= 0x02060100:
        return cluster
    return private_broker(jars=kafka_jars(OLD_KAFKA)).start()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_scram(scram_cluster, function, sluice, mapping_for, mechanism):
    secret = sluice.directory / "password"
    secret.write_text(PASSWORD + "\n")
    changes = login(scram_cluster, "SASL",
                    sasl={"mechanism": mechanism, "username": "alice", "password": "@@"})
    works(scram_cluster, function, sluice, lambda topic: json.dumps(
        mapping_for(topic, changes), indent=1).replace('"@@"', f"!file {secret}"))


def test_oauthbearer_fetches_and_renews_its_token(cluster, function, sluice, mapping_for):
    endpoint = TokenEndpoint(cluster.issuer, lifetime=10)
    try:
        changes = login(cluster, "SASL", sasl={
            "mechanism": "OAUTHBEARER",
            "oauth": {"token_url": endpoint.url, "client_id": CLIENT, "client_secret": SECRET}})
        topic = cluster.topic(1)
        sluice.mapping("m", mapping_for(topic, changes))
        cluster.produce(topic, numbered(10, prefix="a"))
        sluice.start()
        function.wait_done(ids(10, "a"), 30)
        until(lambda: len(endpoint.requests) >= 2, 30, "renewal of the token")
        cluster.produce(topic, numbered(10, prefix="b"))
        function.wait_done(ids(10, "b"), 30)
        assert not any(SECRET in line for line in sluice.lines)
    finally:
        endpoint.close()


def test_oauthbearer_endpoint_that_refuses_at_first(cluster, function, sluice, mapping_for):
    endpoint = TokenEndpoint(cluster.issuer)
    endpoint.refuse = True
    try:
        changes = login(cluster, "SASL", sasl={
            "mechanism": "OAUTHBEARER",
            "oauth": {"token_url": endpoint.url, "client_id": CLIENT, "client_secret": SECRET}})
        topic = cluster.topic(1)
        sluice.mapping("m", mapping_for(topic, changes))
        cluster.produce(topic, numbered(10))
        sluice.start()
        sluice.wait_for_log(r"token|oauth|unauthori[sz]ed", 30)
        endpoint.refuse = False
        function.wait_done(ids(10), 60)
    finally:
        endpoint.close()


def test_tls(cluster, function, sluice, mapping_for):
    works(cluster, function, sluice, lambda topic: mapping_for(topic, login(cluster, "TLS")))


def test_mutual_tls(cluster, function, sluice, mapping_for):
    works(cluster, function, sluice, lambda topic: mapping_for(topic, login(
        cluster, "MTLS", tls={"certificate_file": cluster.authority.path("client.crt"),
                              "key_file": cluster.authority.path("client.key")})))


def test_an_untrusted_certificate_is_refused(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    sluice.mapping("m", mapping_for(topic, source(brokers=cluster.address("TLS"),
                                                  tls={"enabled": True})))
    sluice.start()
    sluice.wait_for_log(r"certificate|ssl|tls", 30)
    assert function.invocations == []


def test_a_wrong_password_is_a_named_state(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    sluice.mapping("m", mapping_for(topic, login(cluster, "SASL", sasl={
        "mechanism": "PLAIN", "username": "alice", "password": "wrong-secret"})))
    sluice.start()
    sluice.wait_for_log(r"unauthori[sz]ed|authenticat|refused", 30)
    assert function.invocations == [] and sluice.running
    assert not any("wrong-secret" in line for line in sluice.lines)


def test_refused_authorisation_then_allowed(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    sluice.mapping("m", mapping_for(topic, login(cluster, "SASL", sasl={
        "mechanism": "PLAIN", "username": "bob", "password": PASSWORD})))
    sluice.start()
    sluice.wait_for_log(r"authori[sz]", 30)
    cluster.tool.call("allow", user="User:bob", topic=topic)
    cluster.tool.call("allow", user="User:bob", group=group_of(topic))
    function.wait_done(ids(5), 60)


# ---- groups ----

def test_static_membership_survives_a_restart_without_rebalance(cluster, function, sluice,
                                                                mapping_for):
    topic = cluster.topic(2)
    sluice.mapping("m", mapping_for(topic, source(instance_id="sluice-a")))
    cluster.produce(topic, numbered(10, prefix="a", partitions=2))
    sluice.start()
    function.wait_done(ids(10, "a"), 20)
    before = cluster.members(group_of(topic))
    assert before[0]["instance"], before
    assert sluice.terminate() == 0
    assert cluster.members(group_of(topic)) == before, "it left the group"
    cluster.produce(topic, numbered(10, prefix="b", partitions=2))
    sluice.start()
    function.wait_done(ids(10, "b"), 20)
    assert [m["instance"] for m in cluster.members(group_of(topic))] == [before[0]["instance"]]


def test_cooperative_assignment(cluster, function, make_sluice, mapping_for):
    topic = cluster.topic(4)
    first, second = make_sluice(), make_sluice()
    for one in (first, second):
        one.mapping("m", mapping_for(topic, source(assignment="cooperative")))
    cluster.produce(topic, numbered(100, prefix="a", partitions=4))
    first.start()
    function.wait_done(ids(100, "a"), 30)
    second.start()
    until(lambda: [m["partitions"] for m in cluster.members(group_of(topic))] == [2, 2], 30,
          lambda: f"two members: {cluster.members(group_of(topic))}", every=0.2)
    cluster.produce(topic, numbered(400, prefix="b", partitions=4))
    function.wait_done(ids(400, "b"), 30)
    cluster.wait_committed(group_of(topic), topic, 4)


# ---- what lies in a log ----

def test_tombstones_null_keys_and_headers(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [
        {"key": None, "value": None}, {"key": "k", "value": None}, {"key": None, "value": "v"},
        {"key": "", "value": ""}, {"key": b"\x00\xff", "value": b"\xff\x00\x80"},
        {"key": "h", "value": "v",
         "headers": [("a", "1"), ("a", "2"), ("b", b"\xff\x00"), ("c", None), ("", "")]}])
    sluice.mapping("m", mapping_for(topic, batch={"size": 6, "window": "2s"},
                                    target={"format": "lambda"}))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 1)
    records = [r for i in function.invocations for r in i.records]
    assert [(r.key, r.value) for r in records[:5]] == [
        (None, None), (b"k", None), (None, b"v"), (b"", b""), (b"\x00\xff", b"\xff\x00\x80")]
    headers = records[5].headers
    assert headers[:3] == [("a", b"1"), ("a", b"2"), ("b", b"\xff\x00")]
    assert [name for name, _ in headers] == ["a", "a", "b", "c", ""]


def test_aborted_transactions_in_between(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.tool.call("transactions", id=f"tx-{topic}")
    expected = []
    for number in range(20):
        commit = number % 3 != 0
        cluster.transaction(topic, numbered(10, prefix=f"tx{number}", partitions=2), commit)
        if commit:
            expected += ids(10, f"tx{number}")
        if number % 5 == 0:
            cluster.produce(topic, numbered(2, prefix=f"plain{number}", partitions=2))
            expected += ids(2, f"plain{number}")
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done(expected, 30)
    assert set(function.seen) == set(expected)
    # The last offset of each partition is a control message: what can be committed is known only
    # to the consumer, so look that nothing comes again.
    assert sluice.terminate() == 0
    cluster.produce(topic, numbered(2, prefix="end", partitions=2))
    sluice.start()
    function.wait_done(ids(2, "end"), 20)
    assert set(function.seen.values()) == {1}
    cluster.wait_committed(group_of(topic), topic, 2)


def test_holes_of_compaction(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1, cleanup_policy="compact", segment_ms="100",
                          min_cleanable_dirty_ratio="0.001", delete_retention_ms="0")
    for round_ in range(4):
        cluster.produce(topic, [{"key": f"k{n}", "value": json.dumps({"id": f"{round_}-{n}"})}
                                for n in range(50) if round_ == 0 or n % (round_ + 1) == 0])
    end = cluster.watermarks(topic, 1)[0][1]

    rolled = []

    def compacted():
        rolled.append(cluster.produce(topic, [{"key": "roll",
                                               "value": json.dumps({"id": f"r{len(rolled)}"})}]))
        return sum(1 for record in cluster.read(topic) if record[1] < end) <= end - 30
    until(compacted, 60, "compaction", every=0.5)
    left = cluster.read(topic)
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done([json.loads(value)["id"] for _, _, _, value in left
                        if '"r' not in value], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    assert set(function.seen.values()) == {1}


def test_offset_out_of_range_is_told_and_continues(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(100))
    cluster.tool.call("set_committed", group=group_of(topic), topic=topic, offsets={"0": 5})
    cluster.tool.call("delete_records", topic=topic, offsets={"0": 60})
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(100)[60:], 20)
    sluice.wait_for_log(r"range|deleted|expired|gone|no longer|retention|lost", 10)
    cluster.wait_committed(group_of(topic), topic, 1)


QUICK = {"properties": {"topic.metadata.refresh.interval.ms": "2000"}}


def assigned(cluster, topic, partitions):
    until(lambda: sum(m["partitions"] for m in cluster.members(group_of(topic))) == partitions, 30,
          "assignment", every=0.2)


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_topic_that_is_made_anew_while_it_is_read(cluster, function, sluice, mapping_for, start):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(100, prefix="a"))
    if start == "latest":
        cluster.tool.call("set_committed", group=group_of(topic), topic=topic, offsets={"0": 0})
    sluice.mapping("m", mapping_for(topic, source(start=start, **QUICK)))
    sluice.start()
    function.wait_done(ids(100, "a"), 30)
    cluster.wait_committed(group_of(topic), topic, 1)
    cluster.tool.call("delete_topic", topic=topic)

    def made():
        cluster.topic(1, name=topic)
        return True
    until(lambda: attempt(made), 20, "the topic made anew", every=0.2)
    cluster.tool.close()  # the next one does not remember the old topic
    cluster.produce(topic, numbered(20, prefix="b"))
    function.wait_done(ids(20, "b"), 60)
    cluster.wait_committed(group_of(topic), topic, 1, timeout=30)
    assert sluice.terminate() == 0
    cluster.produce(topic, numbered(130, prefix="c"))
    sluice.start()
    function.wait_done(ids(130, "c"), 30)
    assert {function.seen[name] for name in ids(20, "b")} == {1}


def attempt(action):
    try:
        return action()
    except ToolError:
        return False


def test_a_partition_that_comes_later_is_read_from_its_beginning(cluster, function, sluice,
                                                                 mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(10, prefix="old"))
    sluice.mapping("m", mapping_for(topic, source(start="latest", **QUICK)))
    sluice.start()
    cluster.wait_committed(group_of(topic), topic, 1)
    cluster.tool.call("create_partitions", topic=topic, partitions=2)
    cluster.tool.close()  # the next one knows the new partition
    cluster.produce(topic, [{"value": json.dumps({"id": f"new-{n}"}), "partition": 1}
                            for n in range(10)])
    function.wait_done(ids(10, "new"), 60)
    assert not any(name.startswith("old") for name in function.seen)


def test_a_topic_that_is_made_later(cluster, function, sluice, mapping_for):
    topic = f"late-{time.monotonic_ns()}"
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    sluice.wait_for_log(f"{topic}.*(exist|missing|unknown)|(exist|missing|unknown).*{topic}", 30)
    assert sluice.running
    cluster.topic(2, name=topic)
    cluster.produce(topic, numbered(10))
    function.wait_done(ids(10), 60)
    cluster.wait_committed(group_of(topic), topic, 2)


def test_a_message_of_a_megabyte(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, [{"value": json.dumps({"id": f"m-{n}", "pad": "x" * 900_000})}
                            for n in range(5)])
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(5), 30)
    cluster.wait_committed(group_of(topic), topic, 1)


# ---- what breaks ----

def test_broker_down_at_the_start(private_broker, function, sluice, mapping_for):
    broker = private_broker().start()
    topic = broker.topic(2)
    broker.produce(topic, numbered(50))
    broker.kill()
    sluice.mapping("m", mapping_for(topic, source(brokers=broker.address())))
    sluice.start()
    sluice.wait_for_log(r"unreachable|no broker|refused|cannot reach|connect", 30)
    assert sluice.get("/readyz")[0] != 200
    broker.start()
    function.wait_done(ids(50), 60)
    broker.wait_committed(group_of(topic), topic, 2)


def test_broker_killed_and_restarted_under_load(private_broker, function, sluice, mapping_for):
    broker = private_broker().start()
    topic = broker.topic(4)
    function.behave = always(200, delay=0.01)
    broker.produce(topic, numbered(3000, partitions=4))
    sluice.mapping("m", mapping_for(topic, source(brokers=broker.address())))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 500, 30, "500 messages done")
    broker.kill()
    broker.start()
    broker.produce(topic, numbered(200, prefix="after", partitions=4))
    function.wait_done([*ids(3000), *ids(200, "after")], 90)
    broker.wait_committed(group_of(topic), topic, 4, timeout=60)
    # Delivered again only by redelivery after the lost session, never if it was recorded.
    assert set(function.done.values()) == {1}
    assert sluice.dead() == []


def test_broker_frozen_for_a_while(private_broker, function, sluice, mapping_for):
    broker = private_broker().start()
    topic = broker.topic(2)
    sluice.mapping("m", mapping_for(topic, source(brokers=broker.address())))
    broker.produce(topic, numbered(500, partitions=2))
    function.behave = always(200, delay=0.02)
    sluice.start()
    function.wait(lambda f: len(f.done) >= 100, 30, "100 messages done")
    broker.freeze()
    stays(lambda: sluice.running and sluice.get("/livez")[0] == 200, 30 if LONG else 8,
          "sluice is not alive beside a frozen broker")
    broker.thaw()
    broker.produce(topic, numbered(100, prefix="after", partitions=2))
    function.wait_done([*ids(500), *ids(100, "after")], 90)
    broker.wait_committed(group_of(topic), topic, 2, timeout=60)
    assert set(function.done.values()) == {1}


def test_stop_while_the_broker_is_down(private_broker, function, sluice, mapping_for):
    """What was done and could not be committed is not done again: its positions are recorded."""
    broker = private_broker().start()
    topic = broker.topic(1)
    broker.produce(topic, numbered(100))
    function.behave = lambda invocation: OK
    sluice.mapping("m", mapping_for(topic, source(brokers=broker.address())))
    sluice.start()
    function.wait_done(ids(100), 30)
    broker.kill()
    assert sluice.terminate(timeout=60) is not None
    broker.start()
    broker.produce(topic, numbered(10, prefix="after"))
    sluice.start()
    function.wait_done(ids(10, "after"), 60)
    assert set(function.seen.values()) == {1}


class Babbler:
    """A server that answers every connection with the same bytes."""

    def __init__(self, text):
        self.port = free_port()
        self._text = text
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(self._text)
                    connection.settimeout(0.2)
                    while connection.recv(4096):
                        connection.sendall(self._text)
                except OSError:
                    pass

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.mark.parametrize("text", [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x01",
    b"\x7f\xff\xff\xff" + b"\xff" * 64, b"\xff" * 4096, b"\x15\x03\x01\x00\x02\x02\x50", b""],
    ids=["http", "short", "huge-length", "ones", "tls-alert", "nothing"])
def test_a_broker_that_speaks_garbage(function, sluice, mapping_for, text):
    babbler = Babbler(text)
    try:
        sluice.mapping("m", mapping_for("t", source(brokers=f"127.0.0.1:{babbler.port}")))
        sluice.start()
        sluice.wait_for_log(r"broker|unreachable|127\.0\.0\.1", 30)
        stays(lambda: sluice.running and sluice.get("/livez")[0] == 200, 2, "sluice is not alive")
        assert function.invocations == []
        assert sluice.terminate(timeout=30) == 0
    finally:
        babbler.close()


def test_a_second_consumer_with_the_same_instance_is_named(cluster, function, make_sluice,
                                                           mapping_for):
    """Fencing is fatal for a librdkafka handle: it is made anew, with back-off."""
    topic = cluster.topic(1)
    first, second = make_sluice(), make_sluice()
    for one in (first, second):
        one.mapping("m", mapping_for(topic, source(instance_id="twin")))
    cluster.produce(topic, numbered(10, prefix="a"))
    first.start()
    function.wait_done(ids(10, "a"), 20)
    second.start()
    first.wait_for_log(r"fenced|instance", 30)
    assert first.running
    assert second.terminate() is not None
    cluster.produce(topic, numbered(10, prefix="b"))
    function.wait_done(ids(10, "b"), 60)
