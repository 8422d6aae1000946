"""RabbitMQ in all its ways: kinds of queues, logins, what breaks, and that nothing is lost by it."""

import json
import pathlib
import socket
import threading

import pytest

from lib.function import OK, Answer
from lib.machine import free_port
from lib.plugin import ids, numbered, with_message_ids
from lib.rabbitmq import PASSWORD, QUORUM
from lib.sluice import run_cli
from lib.waiting import stays, until

KINDS = {"classic": {}, "quorum": QUORUM}


def source(**options):
    return {"source": {"rabbitmq": options}}


@pytest.fixture(params=KINDS)
def queue(request, rabbit):
    return rabbit.queue(**KINDS[request.param])


# ---- the ordinary ----

def test_all_once(rabbit, queue, function, sluice, rabbit_mapping):
    rabbit.produce(queue, numbered(500))
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    function.wait_done(ids(500), 20)
    rabbit.wait_settled(queue)
    rabbit.produce(queue, numbered(50, prefix="late"))
    function.wait_done(ids(50, "late"), 20)
    rabbit.wait_settled(queue)
    assert set(function.seen.values()) == {1}
    order = [record.id for invocation in function.invocations for record in invocation.records
             if record.id.startswith("m-")]
    assert order == ids(500), "a queue is a lane, and a lane keeps its order"
    assert sluice.dead() == []


def test_several_queues(rabbit, function, sluice, rabbit_mapping):
    queues = [rabbit.queue(), rabbit.queue(**QUORUM), rabbit.queue(**{"x-max-priority": 5}),
              rabbit.queue(**{"x-single-active-consumer": True})]
    for number, queue in enumerate(queues):
        rabbit.produce(queue, numbered(100, prefix=f"q{number}"))
    sluice.mapping("m", rabbit_mapping(rabbit, queues))
    sluice.start()
    for number in range(4):
        function.wait_done(ids(100, f"q{number}"), 20)
    rabbit.wait_settled(*queues)
    assert status_of(sluice)["lanes"] == len(queues)


def status_of(sluice):
    return sluice.control("GET", "/v1/status")[1]["mappings"][0]


def test_what_a_message_carries(rabbit, function, sluice, rabbit_mapping):
    queue = rabbit.queue()
    rabbit.produce(queue, [{
        "value": b"\x00\xff not text", "message_id": "id-1", "content_type": "text/plain",
        "correlation_id": "c", "priority": 3, "timestamp": 1_700_000_000, "type": "kind",
        "headers": {"text": "hé", "number": 7, "nested": {"a": [1, {"b": None}]}, "yes": True,
                    "binary": b"\x00\x01"}}])
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    function.wait_invocations(1, 20)
    record = function.invocations[0].event()["records"][0]
    headers = {header["name"]: header["value"] for header in record["headers"]}
    assert record["source"] == queue and record["token"] == "id-1"
    assert record["timestamp"] == 1_700_000_000_000 and record["partition"] is None
    assert function.invocations[0].records[0].value == b"\x00\xff not text"
    assert headers["text"] == "hé" and headers["number"] == "7" and headers["yes"] == "true"
    assert json.loads(headers["nested"]) == {"a": [1, {"b": None}]}
    assert headers["amqp:contentType"] == "text/plain" and headers["amqp:correlationId"] == "c"
    assert headers["amqp:priority"] == "3" and headers["amqp:type"] == "kind"


def test_the_event_of_lambda(rabbit, function, sluice, rabbit_mapping):
    queues = [rabbit.queue(), rabbit.queue()]
    for queue in queues:
        rabbit.produce(queue, [{"value": b"\x00hi", "content_type": "text/plain",
                                "timestamp": 2021, "headers": {"h1": "val", "n": 10}}])
    sluice.mapping("m", rabbit_mapping(rabbit, queues, order="none", target={"format": "lambda"}))
    sluice.start()
    rabbit.wait_settled(*queues)
    found = {}
    for invocation in function.invocations:
        event = invocation.event()
        assert event["eventSource"] == "aws:rmq" and rabbit.address() in event["eventSourceArn"]
        for name, messages in event["rmqMessagesByQueue"].items():
            found.setdefault(name, []).extend(messages)
    assert set(found) == {f"{queue}::/" for queue in queues}
    for messages in found.values():
        assert messages == [{
            "basicProperties": {
                "contentType": "text/plain", "contentEncoding": None,
                "headers": {"h1": {"bytes": [118, 97, 108]}, "n": 10}, "deliveryMode": 2,
                "priority": None, "correlationId": None, "replyTo": None, "expiration": None,
                "messageId": None, "timestamp": "Jan 1, 1970, 12:33:41 AM", "type": None,
                "userId": None, "appId": None, "clusterId": None, "bodySize": 3},
            "redelivered": False, "data": "AGhp"}]


def test_sizes(rabbit, queue, function, sluice, rabbit_mapping):
    sizes = [0, 1, 131_064, 131_072, 1_048_576, 5_000_000]
    rabbit.produce(queue, [{"value": bytes(n % 251 for n in range(size))} for size in sizes])
    sluice.mapping("m", rabbit_mapping(rabbit, queue, batch={"size": 1},
                                       target={"format": "raw", "http": {"headers": {"X-Test-Format": "raw"}}}))
    sluice.start()
    function.wait_invocations(len(sizes), 30)
    assert [len(invocation.body) for invocation in function.invocations] == sizes
    assert all(invocation.body == bytes(n % 251 for n in range(len(invocation.body)))
               for invocation in function.invocations)
    rabbit.wait_settled(queue)


def test_out_of_order(rabbit, queue, function, sluice, rabbit_mapping):
    """What is done behind a slow message is acknowledged without it."""
    rabbit.produce(queue, numbered(100))
    slow = []

    def behave(invocation):
        if "m-0" in invocation.ids and not slow:
            slow.append(invocation)
            return Answer(200, delay=2)
        return OK
    function.behave = behave
    sluice.mapping("m", rabbit_mapping(rabbit, queue, order="none", batch={"size": 1}))
    sluice.start()
    function.wait_done(ids(100)[1:], 20)
    until(lambda: rabbit.unsettled(queue) == 1, 10, "acknowledgement of all others")
    rabbit.wait_settled(queue)
    assert set(function.seen.values()) == {1}


def test_a_bad_message_becomes_a_dead_letter(rabbit, queue, function, sluice, rabbit_mapping):
    rabbit.produce(queue, with_message_ids(numbered(50)))
    function.behave = lambda invocation: Answer(500) if "m-7" in invocation.ids else OK
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    function.wait_done([i for i in ids(50) if i != "m-7"], 30)
    letter, = sluice.wait_dead(1)
    rabbit.wait_settled(queue)
    assert letter["token"] == "m-7" and letter["source"] == queue
    function.behave = lambda invocation: OK
    sluice.terminate()
    assert sluice.dlq("replay", "--all", "--yes", "--config", sluice.config) is not None
    function.wait_done(["m-7"], 20)


# ---- tokens ----

def test_a_message_id_is_a_token(rabbit, queue, function, sluice, rabbit_mapping):
    rabbit.produce(queue, [*with_message_ids(numbered(20)), *with_message_ids(numbered(20))])
    sluice.mapping("m", rabbit_mapping(rabbit, queue, idempotency=None))
    sluice.start()
    rabbit.wait_settled(queue)
    assert function.seen == dict.fromkeys(ids(20), 1)


def test_without_message_id_nothing_is_taken_for_a_duplicate(rabbit, queue, function, sluice,
                                                             rabbit_mapping):
    sluice.mapping("m", rabbit_mapping(rabbit, queue, idempotency=None))
    for session in range(3):
        rabbit.produce(queue, [*numbered(100, prefix=f"s{session}"), {"value": "{\"id\":\"same\"}"}])
        sluice.start()
        function.wait_done(ids(100, f"s{session}"), 20)
        rabbit.wait_settled(queue)
        if session:
            sluice.kill9()
        else:
            sluice.terminate()
    assert function.seen["same"] == 3
    assert set(function.seen[i] for s in range(3) for i in ids(100, f"s{s}")) == {1}
    assert len({record.token for invocation in function.invocations
                for record in invocation.records}) == 303


def test_check_tells_about_tokens(rabbit, sluice, rabbit_mapping):
    sluice.mapping("m", rabbit_mapping(rabbit, "q", idempotency=None))
    done = run_cli("check", "--config", sluice.config)
    assert done.returncode == 0
    assert "header:NAME" in done.stdout + done.stderr
    sluice.mapping("m", rabbit_mapping(rabbit, "q", idempotency={"token": "position"}))
    done = run_cli("check", "--config", sluice.config)
    assert done.returncode == 78 and "gives a message another one each time" in done.stderr


# ---- what breaks ----

def test_stop_gives_back_what_was_not_invoked(rabbit, queue, function, sluice, rabbit_mapping):
    rabbit.produce(queue, with_message_ids(numbered(300)))
    function.behave = lambda invocation: Answer(200, delay=0.05)
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 50, 20, "some done")
    assert sluice.terminate() == 0
    assert set(function.seen.values()) == {1}
    assert rabbit.unsettled(queue) == 300 - len(function.done)
    sluice.start()
    function.wait_done(ids(300), 30)
    rabbit.wait_settled(queue)
    assert set(function.seen.values()) == {1}


def test_a_broker_killed_and_started_again(private_rabbit, function, sluice, rabbit_mapping):
    server = private_rabbit().start()
    queues = [server.queue(), server.queue(**QUORUM)]
    for number, queue in enumerate(queues):
        server.produce(queue, with_message_ids(numbered(2000, prefix=f"q{number}")))
    function.behave = lambda invocation: Answer(200, delay=0.005)
    sluice.mapping("m", rabbit_mapping(server, queues))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 300, 30, "some done")
    server.kill()
    until(lambda: status_of(sluice)["lanes"] == 0, 20, "loss of the lanes")
    server.start()
    for number in range(2):
        function.wait_done(ids(2000, f"q{number}"), 60)
    server.wait_settled(*queues)
    assert sluice.dead() == []


def test_a_broker_that_stands_still(private_rabbit, function, sluice, rabbit_mapping):
    server = private_rabbit().start()
    queue = server.queue()
    server.produce(queue, with_message_ids(numbered(10)))
    sluice.mapping("m", rabbit_mapping(server, queue, source(heartbeat="1s")))
    sluice.start()
    function.wait_done(ids(10), 20)
    server.freeze()
    sluice.wait_for_log("no sign of life|cannot be reached|no answer", 20)
    server.thaw()
    server.produce(queue, with_message_ids(numbered(10, prefix="after")))
    function.wait_done(ids(10, "after"), 30)
    server.wait_settled(queue)


def test_connections_cut(rabbit, queue, function, sluice, rabbit_mapping):
    rabbit.produce(queue, with_message_ids(numbered(500)))
    function.behave = lambda invocation: Answer(200, delay=0.01)
    mapping = f"cut-{queue}"  # others are connected to this broker too
    sluice.mapping(mapping, rabbit_mapping(rabbit, queue))
    sluice.start()
    for goal in (50, 150, 250):
        function.wait(lambda f: len(f.done) >= goal, 30, "some done")
        name = sluice_connection(rabbit, mapping)
        rabbit.close_connection(name)
    function.wait_done(ids(500), 60)
    rabbit.wait_settled(queue)


def sluice_connection(server, mapping):
    names = until(lambda: [name for name in server.connections() if f"-{mapping}-" in name], 20,
                  "a connection of sluice's")
    assert names[0].startswith(f"sluice-{mapping}-0@")
    return names[0]


def test_a_queue_deleted_and_made_again(rabbit, queue, function, sluice, rabbit_mapping):
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    rabbit.produce(queue, numbered(10))
    function.wait_done(ids(10), 20)
    rabbit.wait_settled(queue)
    rabbit.delete(queue)
    sluice.wait_for_log(f"queue {queue} does not exist", 20)
    rabbit.queue(queue)
    rabbit.produce(queue, numbered(10, prefix="again"))
    function.wait_done(ids(10, "again"), 40)


def test_a_queue_that_is_not_there_yet(rabbit, function, sluice, rabbit_mapping):
    queue = "not-there-yet"
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    sluice.wait_for_log("queue not-there-yet does not exist .* create it", 20)
    rabbit.queue(queue)
    rabbit.produce(queue, numbered(10))
    function.wait_done(ids(10), 40)


def test_a_stream_is_not_read_by_chance(rabbit, function, sluice, rabbit_mapping):
    """It would begin at its end with each connection, and so pass over messages. A message in a queue
    may say that it comes from one."""
    stream = rabbit.queue(**{"x-queue-type": "stream"})
    other = rabbit.queue()
    sluice.mapping("m", rabbit_mapping(rabbit, [stream, other]))
    sluice.start()
    until(lambda: status_of(sluice)["lanes"] == 2, 20, "both lanes")
    rabbit.produce(stream, numbered(5, prefix="stream"))
    sluice.wait_for_log(f"queue {stream} cannot be consumed: it is a stream", 20)
    rabbit.produce(other, [{**message, "headers": {"x-stream-offset": 2 ** 40}}
                           for message in numbered(5)])
    function.wait_done(ids(5), 20)
    rabbit.wait_settled(other)
    assert not sluice.find_events("source_state", text=f".*{other}.*")


def test_no_broker_at_the_start(private_rabbit, function, sluice, rabbit_mapping):
    server = private_rabbit()
    sluice.mapping("m", rabbit_mapping(server, "q"))
    sluice.start()
    sluice.wait_for_log("cannot be reached", 20)
    server.start()
    server.queue("q")
    server.produce("q", numbered(10))
    function.wait_done(ids(10), 60)


def test_credentials(rabbit, function, sluice, rabbit_mapping):
    queue = rabbit.queue()
    rabbit.produce(queue, numbered(5))
    rabbit.user("reader")
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(username="reader", password="wrong")))
    sluice.start()
    sluice.wait_for_log("refuses the credentials of user reader", 20)
    sluice.terminate()
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(username="reader", password=PASSWORD)))
    sluice.start()
    function.wait_done(ids(5), 20)
    assert PASSWORD not in "\n".join(sluice.lines)


def test_no_permission_to_read(rabbit, sluice, rabbit_mapping):
    queue = rabbit.queue()
    rabbit.user("outsider", read="nothing")
    sluice.mapping("m", rabbit_mapping(rabbit, queue,
                                       source(username="outsider", password=PASSWORD)))
    sluice.start()
    sluice.wait_for_log(f"refuses to let user outsider read queue {queue}", 20)


def test_a_vhost_of_its_own_by_url(rabbit, function, sluice, rabbit_mapping):
    rabbit.vhost("shop")
    rabbit.queue("q", vhost="shop")
    rabbit.produce("q", numbered(5), vhost="shop")
    sluice.mapping("m", rabbit_mapping(rabbit, "q", source(
        hosts=None, url=f"amqp://guest:guest@{rabbit.address()}/shop")))
    sluice.start()
    function.wait_done(ids(5), 20)


def test_a_missing_vhost(rabbit, sluice, rabbit_mapping):
    sluice.mapping("m", rabbit_mapping(rabbit, "q", source(vhost="nowhere")))
    sluice.start()
    sluice.wait_for_log("create the virtual host nowhere", 20)


def test_tls(rabbit, function, sluice, rabbit_mapping):
    queue = rabbit.queue()
    rabbit.produce(queue, numbered(5))
    tls = {"ca_file": str(rabbit.authority.ca)}
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(
        hosts=rabbit.address("TLS", "localhost"), tls=tls)))
    sluice.start()
    function.wait_done(ids(5), 20)


def test_tls_of_somebody_else(rabbit, sluice, rabbit_mapping):
    sluice.mapping("m", rabbit_mapping(rabbit, "q", source(
        hosts=rabbit.address("TLS", "localhost"), tls={"enabled": True})))
    sluice.start()
    sluice.wait_for_log("TLS fails: the certificate of localhost.* is not trusted", 20)


def test_another_host_of_the_cluster(rabbit, private_rabbit, function, sluice, rabbit_mapping):
    away = private_rabbit().address()
    queue = rabbit.queue()
    rabbit.produce(queue, numbered(5))
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(hosts=[away, rabbit.address()])))
    sluice.start()
    function.wait_done(ids(5), 20)


def test_external(private_rabbit, function, sluice, rabbit_mapping):
    """Who one is, the certificate says."""
    server = private_rabbit(plugins=["rabbitmq_auth_mechanism_ssl"], auth_mechanisms__2="EXTERNAL",
                            ssl_cert_login_from="common_name").start()
    server.user("client")
    queue = server.queue()
    server.produce(queue, numbered(5))
    tls = {"ca_file": str(server.authority.ca),
           "certificate_file": str(server.authority.path("client.crt")),
           "key_file": str(server.authority.path("client.key"))}
    sluice.mapping("m", rabbit_mapping(server, queue, source(
        hosts=server.address("TLS", "localhost"), tls=tls, mechanism="EXTERNAL")))
    sluice.start()
    function.wait_done(ids(5), 20)


@pytest.mark.parametrize("kind", KINDS)
def test_declare(rabbit, function, sluice, rabbit_mapping, kind):
    queue = f"declared-{kind}"
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(declare=kind)))
    code, text = check(sluice)
    assert code == 0 and f"queue {queue} does not exist and will be made" in text
    sluice.start()
    until(lambda: status_of(sluice)["lanes"] == 1, 20, "the lane")
    rabbit.queue(queue, **{"x-queue-type": kind})  # the same, or it is refused
    rabbit.produce(queue, numbered(5))
    function.wait_done(ids(5), 20)
    sluice.terminate()
    other = "classic" if kind == "quorum" else "quorum"
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(declare=other)))
    sluice.start()
    sluice.wait_for_log(f"queue {queue} cannot be consumed: PRECONDITION_FAILED.*x-queue-type", 20)


def test_the_brokers_memory_alarm_stops_nothing(private_rabbit, function, sluice, rabbit_mapping):
    server = private_rabbit().start()
    queue = server.queue()
    server.produce(queue, numbered(100))
    function.behave = lambda invocation: Answer(200, delay=0.1)
    sluice.mapping("m", rabbit_mapping(server, queue))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 10, 20, "some done")
    server.eval("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}), ok")
    function.wait_done(ids(100), 30)
    server.wait_settled(queue)


class Impostor:
    """Something else on the broker's port: says `words` to whoever connects, and no more."""

    def __init__(self, words):
        self.words = words
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                connection = self.listener.accept()[0]
                self.connections.append(connection)
                connection.sendall(self.words)
        except OSError:
            pass

    def close(self):
        for one in (self.listener, *self.connections):
            one.close()


@pytest.mark.parametrize("words", [
    b"", b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", b"AMQP\x00\x01\x00\x00",
    b"\x01\x00\x00\x00\x00\x00\x05\x00\x0a\x00\x0a\xff\xce",
    b"\x01\x00\x00\xff\xff\xff\xff" + bytes(1000)],
    ids=["silence", "http", "another version", "a frame cut short", "a frame of 4 GiB"])
def test_something_else_on_the_port(words, rabbit, sluice, rabbit_mapping):
    impostor = Impostor(words)
    try:
        sluice.mapping("m", rabbit_mapping(rabbit, "q", source(hosts=impostor.address,
                                                               connect_timeout="500ms")))
        sluice.start()
        sluice.wait_for_log(f"{impostor.address} (does not let us in|cannot be reached)", 20)
        until(lambda: len(impostor.connections) >= 2, 20, "another try")
        assert sluice.terminate() == 0
    finally:
        impostor.close()


@pytest.mark.parametrize("pollers", [1, 2])
def test_lag(rabbit, queue, function, sluice, rabbit_mapping, pollers):
    function.behave = lambda invocation: Answer(503)
    rabbit.produce(queue, numbered(300))
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(prefetch=20), pollers=pollers))
    sluice.start()
    # What one of them holds the other does not know of.
    until(lambda: 300 - 20 * (pollers - 1) <= (status_of(sluice)["lag"] or 0) <= 300, 20, "the lag")


def test_prefetch_bounds_what_is_held(rabbit, queue, function, sluice, rabbit_mapping):
    function.behave = lambda invocation: Answer(503)
    rabbit.produce(queue, numbered(300))
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(prefetch=20)))
    sluice.start()
    function.wait_invocations(1, 20)
    until(lambda: rabbit.ready(queue) == 280, 20, "what is ready")
    # A quorum queue that is slow to answer says 0.
    stays(lambda: rabbit.ready(queue) in (280, 0), 1, "280 stay ready")


def test_large_messages_do_not_fill_the_memory(rabbit, queue, function, sluice, rabbit_mapping):
    """The prefetch counts messages, the buffer bytes: 400 MB are fetched through 8 MiB."""
    rabbit.produce(queue, with_message_ids(numbered(200, size=2_000_000)))
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(prefetch=200), batch={"bytes": "4 MiB"},
                                       target={"http": {"concurrency": "1..2"}},
                                       buffer={"bytes": "8 MiB"}))
    sluice.start()
    sluice.wait_for_event("prefetch_reduced")
    function.wait_done(ids(200), 60)
    rabbit.wait_settled(queue)
    peak = memory_peak(sluice.pid)
    order = [record.id for invocation in function.invocations for record in invocation.records]
    assert list(dict.fromkeys(order)) == ids(200), "in order, whatever came twice"
    if b"libasan" in pathlib.Path(f"/proc/{sluice.pid}/maps").read_bytes():
        pytest.skip("the address sanitizer takes memory of its own")
    assert peak < 100 << 20, f"{peak >> 20} MiB"


def memory_peak(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def test_consumer_timeout(rabbit, queue, function, sluice, rabbit_mapping):
    """What is held nearly as long as the broker allows goes back and comes again."""
    rabbit.produce(queue, with_message_ids(numbered(20)))
    function.behave = lambda invocation: Answer(503)
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(consumer_timeout="3s")))
    sluice.start()
    sluice.wait_for_event("lane_given_back")
    function.wait_invocations(1, 20)
    function.behave = lambda invocation: OK
    function.wait_done(ids(20), 40)
    rabbit.wait_settled(queue)
    assert sluice.dead() == []


@pytest.mark.parametrize("arguments", [
    {}, QUORUM, {**QUORUM, "x-delivery-limit": 50}, {"x-single-active-consumer": True}],
    ids=["classic", "quorum", "delivery limit", "single active"])
def test_order_is_kept_when_a_queue_is_given_back(rabbit, function, sluice, rabbit_mapping,
                                                  arguments):
    """More wait behind what is given back; a quorum queue puts what is requeued at its end."""
    queue = rabbit.queue(**arguments)
    rabbit.produce(queue, with_message_ids(numbered(300)))
    done = []

    def behave(invocation):
        if not sluice.find_events("lane_given_back"):
            return Answer(503)
        done.extend(invocation.ids)
        return OK
    function.behave = behave
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(consumer_timeout="2s", prefetch=50)))
    sluice.start()
    function.wait_done(ids(300), 40)
    rabbit.wait_settled(queue)
    assert list(dict.fromkeys(done)) == ids(300)


def test_deliveries_that_the_broker_counted_are_attempts(rabbit, function, sluice, rabbit_mapping):
    queue = rabbit.queue(**QUORUM)
    rabbit.produce(queue, with_message_ids(numbered(1)))
    with rabbit.channel() as channel:
        for _ in range(2):
            method, _, _ = until(lambda: channel.basic_get(queue) if rabbit.ready(queue) else None,
                                 10, "the message")
            channel.basic_nack(method.delivery_tag, requeue=True)
    sluice.mapping("m", rabbit_mapping(rabbit, queue, retry={"attempts": 5}))
    sluice.start()
    function.wait_invocations(1, 20)
    assert function.invocations[0].records[0].attempt == 3
    rabbit.wait_settled(queue)


# ---- check --connect ----

def check(sluice):
    done = run_cli("check", "--connect", "--config", sluice.config)
    return done.returncode, done.stdout + done.stderr


def test_check_connect(rabbit, queue, function, sluice, rabbit_mapping):
    rabbit.produce(queue, numbered(3))
    sluice.mapping("m", rabbit_mapping(rabbit, [queue], retry={"age": "5m"}))
    code, text = check(sluice)
    assert code == 0 and f"connected to {rabbit.address()}" in text
    assert f"queue {queue} holds" in text and "consumer_timeout" not in text
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    code, text = check(sluice)
    assert code == 0 and "retried without end" in text and "consumer_timeout is 1800 s" in text
    assert rabbit.unsettled(queue) == 3


def test_check_connect_tells_what_is_wrong(rabbit, queue, private_rabbit, sluice, rabbit_mapping):
    sluice.mapping("m", rabbit_mapping(rabbit, ["not-there", queue]))
    code, text = check(sluice)
    assert code != 0 and "queue not-there does not exist" in text
    assert f"queue {queue} holds" in text, "the others are tried too"
    sluice.mapping("m", rabbit_mapping(rabbit, queue, source(password="wrong")))
    code, text = check(sluice)
    assert code != 0 and "refuses the credentials of user guest" in text
    away = private_rabbit()
    sluice.mapping("m", rabbit_mapping(away, queue))
    code, text = check(sluice)
    assert code != 0 and f"{away.address()} cannot be reached" in text
