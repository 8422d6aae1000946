"""`sluice dlq browse` of RabbitMQ: streams by offsets, queues by taking messages and giving them back."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import time
import uuid

import pytest

from lib.machine import PATIENCE
from lib.plugin import ids, numbered
from lib.rabbitmq import PASSWORD, QUORUM, STREAM
from lib.sluice import PROGRAM, run_cli
from lib.waiting import until
from test_letters_elsewhere import to_rabbitmq

LIMITED = {"x-max-length": 1000, "x-dead-letter-exchange": "amq.fanout", "x-overflow": "reject-publish"}


@pytest.fixture
def looks(rabbit, sluice, rabbit_mapping):
    """Mappings that collect from a queue, or from a stream, by the name of `browse`."""
    def make(queue, stream=False, name="m", server=rabbit, **source):
        if stream:
            source["stream_offset"] = "first"
        mapping = rabbit_mapping(server, queue, {"source": {"rabbitmq": source}, "receive": "dead_letters"})
        if stream:
            del mapping["idempotency"]
        sluice.mapping(name, mapping)
    return make


def browse(sluice, *arguments, code=0, name="m"):
    done = run_cli("dlq", "browse", name, "--config", sluice.config, *arguments, timeout=60)
    assert done.returncode == code, done
    return done


def found(sluice, *arguments, **options):
    return [json.loads(line) for line in browse(sluice, "--json", *arguments, **options).stdout.splitlines()]


def shown(letters):
    return [json.loads(letter["payload"])["id"] for letter in letters]


def taken(rabbit, queue):
    """All that a queue has, in order, with whether each was delivered before."""
    messages = []
    with rabbit.channel() as channel:
        while True:
            method, _, value = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return messages
            messages.append((json.loads(value)["id"], method.redelivered))


@contextlib.contextmanager
def started(sluice, *arguments):
    """A browse that has printed nothing yet, as it takes long."""
    process = subprocess.Popen([PROGRAM, "dlq", "browse", "m", "--config", sluice.config, *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# ---- streams ----

def test_a_stream_is_read_by_offsets(rabbit, sluice, looks):
    stream = rabbit.queue(**STREAM)
    looks(stream, stream=True)
    assert browse(sluice).stdout == "No dead letters match.\n"
    rabbit.produce(stream, numbered(1500))
    page = found(sluice)
    assert shown(page) == ids(1500)[:-51:-1]  # the newest first
    assert page[0]["place"]["lane"] == stream and page[0]["place"]["position"] == 1499
    everything = found(sluice, "--limit", "0")
    assert shown(everything) == ids(1500)
    assert shown(found(sluice, "--where", "{id: [m-7]}")) == ["m-7"]
    assert shown(found(sluice, "--sort", "oldest", "--limit", "2")) == ["m-0", "m-1"]
    assert rabbit.stream_end(stream) == 1500
    now = int(time.time())
    rabbit.produce(stream, [{"value": '{"id": "timed"}', "timestamp": now}])
    assert shown(found(sluice, "--since", "1h")) == ["timed"]  # of the others nobody tells when


def test_a_stream_that_grows_does_not_keep_it_from_ending(rabbit, sluice, looks):
    stream = rabbit.queue(**STREAM)
    looks(stream, stream=True)
    for number in range(1, 6):
        rabbit.produce(stream, numbered(300, prefix=f"s{number}"))
        assert len(found(sluice, "--limit", "0")) == 300 * number


def test_what_became_of_letters_in_a_stream(rabbit, sluice, looks):
    stream = rabbit.queue(**STREAM)
    looks(stream, stream=True, name="c")
    sluice.start()
    rabbit.produce(stream, numbered(4))
    letters = sluice.wait_dead(4)
    first = next(one for one in letters if one["position"] == 0)
    done = run_cli("dlq", "discard", first["id"], "--yes", "--state", sluice.state)
    assert done.returncode == 0, done
    became = {one["place"]["position"]: one["collected"]["state"] for one in found(sluice, name="c")}
    assert became == {0: "discarded", 1: "here", 2: "here", 3: "here"}


def test_a_stream_as_the_place_of_another_source(cluster, rabbit, sluice, mapping_for):
    stream = rabbit.queue(**STREAM)
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": to_rabbitmq(rabbit, queue=stream)}))
    rabbit.produce(stream, numbered(5))
    assert shown(found(sluice)) == ids(5)[::-1]


def test_a_queue_is_no_stream(rabbit, sluice, looks):
    queue = rabbit.queue()
    rabbit.produce(queue, numbered(1))
    looks(queue, stream=True)
    assert "no stream" in browse(sluice, code=69).stderr
    assert taken(rabbit, queue) == [("m-0", False)]


# ---- queues ----

@pytest.mark.parametrize("arguments", [{}, LIMITED], ids=["plain", "limited"])
def test_a_classic_queue_is_as_before(rabbit, sluice, looks, arguments):
    """In its order, marked as redelivered, and only where that was allowed."""
    queue = rabbit.queue(**arguments)
    looks(queue)
    assert browse(sluice).stdout == "No dead letters match.\n"  # nothing to take: nothing to ask
    rabbit.produce(queue, numbered(100))
    done = browse(sluice, code=64)
    assert f"classic queue {queue} holds 100 messages" in done.stderr and "--yes" in done.stderr
    assert "delivery limit" not in done.stderr and done.stdout == ""
    page = browse(sluice, "--yes", "--json", "--limit", "20")
    assert shown(map(json.loads, page.stdout.splitlines())) == ids(20)[::-1]
    assert "20 messages were looked at, about 80 wait behind them" in page.stderr
    assert shown(found(sluice, "--yes", "--limit", "0", "--sort", "oldest")) == ids(100)
    assert shown(found(sluice, "--yes", "--where", "{id: [m-70, m-99]}")) == ["m-99", "m-70"]
    assert taken(rabbit, queue) == [(i, True) for i in ids(100)]


def test_queues_that_do_not_last_are_classic(rabbit, sluice, looks):
    with rabbit.channel() as channel:
        name = f"q-{uuid.uuid4().hex[:12]}"
        channel.queue_declare(name, auto_delete=True, arguments={"x-max-length": 9})
        rabbit.produce(name, numbered(2))
        looks(name)
        assert f"classic queue {name} holds 2" in browse(sluice, code=64).stderr
        assert shown(found(sluice, "--yes")) == ["m-1", "m-0"]


def test_several_queues(rabbit, sluice, looks):
    """Each is asked about, and a page is of all."""
    queues = [rabbit.queue(), rabbit.queue()]
    looks(queues)
    for number, queue in enumerate(queues):
        rabbit.produce(queue, numbered(3, prefix=f"q{number}"))
    done = browse(sluice, "--yes", "--json", "--limit", "0")
    assert all(f"queue {queue} holds 3" in done.stderr for queue in queues)
    assert {json.loads(line)["place"]["lane"] for line in done.stdout.splitlines()} == set(queues)
    assert len(done.stdout.splitlines()) == 6


@pytest.mark.parametrize("answer, code", [("n", 75), ("y", 0)])
def test_a_person_is_asked(rabbit, sluice, looks, answer, code):
    queue = rabbit.queue()
    looks(queue)
    rabbit.produce(queue, numbered(3))
    person, terminal = pty.openpty()
    try:
        process = subprocess.Popen([PROGRAM, "dlq", "browse", "m", "--config", sluice.config, "--json"],
                                   stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, text=True)
        said = ""
        while "[y/N]" not in said:
            said += os.read(person, 4096).decode()
        assert "redelivered" in said and rabbit.ready(queue) == 3
        os.write(person, f"{answer}\n".encode())
        output, _ = process.communicate(timeout=20 * PATIENCE)
    finally:
        os.close(terminal)
        os.close(person)
    assert process.returncode == code and len(output.splitlines()) == (3 if answer == "y" else 0)
    assert taken(rabbit, queue) == [(i, answer == "y") for i in ids(3)]


@pytest.mark.parametrize("arguments", [{}, LIMITED], ids=["plain", "limited"])
def test_a_quorum_queue_counts(rabbit, sluice, looks, arguments):
    queue = rabbit.queue(**QUORUM, **arguments)
    looks(queue)
    rabbit.produce(queue, numbered(30))
    done = browse(sluice, "--yes", code=64)
    assert f"quorum queue {queue} holds 30 messages" in done.stderr
    assert "delivery limit" in done.stderr and "--count-deliveries" in done.stderr
    assert browse(sluice, "--count-deliveries", code=64).stdout == ""  # nobody to ask
    for look in range(3):
        letters = found(sluice, "--yes", "--count-deliveries", "--sort", "oldest", "--limit", "0")
        assert shown(letters) == ids(30)
        assert {letter["place"]["delivery_count"] for letter in letters} == {look}
    assert [i for i, _ in taken(rabbit, queue)] == ids(30)


def test_many_deliveries_are_told(rabbit, sluice, looks):
    queue = rabbit.queue(**QUORUM)
    looks(queue)
    rabbit.produce(queue, numbered(1))
    for _ in range(12):
        done = browse(sluice, "--yes", "--count-deliveries")
    assert "delivered 11 times before this look" in done.stderr


def test_who_may_not_declare_is_told_the_worst(rabbit, sluice, looks):
    queue = rabbit.queue()
    rabbit.user("onlooker", write="none")
    rabbit.eval('rabbit_auth_backend_internal:set_permissions(<<"onlooker">>, <<"/">>, <<"none">>, '
                '<<"none">>, <<".*">>, <<"tests">>)')
    looks(queue, username="onlooker", password=PASSWORD)
    rabbit.produce(queue, numbered(3))
    assert "type cannot be found out" in browse(sluice, "--yes", code=64).stderr
    assert shown(found(sluice, "--yes", "--count-deliveries")) == ids(3)[::-1]


def test_others_that_receive(rabbit, sluice, looks):
    """A consumer's own messages are not taken, and it gets the rest after the look."""
    queue = rabbit.queue()
    looks(queue)
    rabbit.produce(queue, numbered(10))
    with rabbit.channel() as channel:
        channel.basic_qos(prefetch_count=2)
        consumer = channel.consume(queue)
        held = [next(consumer) for _ in range(2)]
        done = browse(sluice, "--yes", "--json", "--sort", "oldest")
        assert "has 1 consumers" in done.stderr
        assert shown(map(json.loads, done.stdout.splitlines())) == ids(10)[2:]
        for method, _, _ in held:
            channel.basic_ack(method.delivery_tag)
        rest = [json.loads(next(consumer)[2])["id"] for _ in range(2)]
        assert rest == ["m-2", "m-3"]
        channel.cancel()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("kind", [{}, QUORUM], ids=["classic", "quorum"])
def test_one_that_is_ended_in_the_middle_loses_nothing(rabbit, sluice, looks, kind, end):
    queue = rabbit.queue(**kind)
    looks(queue)
    rabbit.produce(queue, numbered(9000))
    with started(sluice, "--yes", "--count-deliveries", "--limit", "0") as process:
        until(lambda: rabbit.ready(queue) < 9000, 20, "messages that are taken", every=0.01)
        process.send_signal(end)
        output, _ = process.communicate(timeout=20 * PATIENCE)
        assert process.returncode == (75 if end == signal.SIGINT else -end)
    until(lambda: rabbit.ready(queue) == 9000, 20, "all that was taken")
    assert [i for i, _ in taken(rabbit, queue)] == ids(9000)
    if end == signal.SIGINT:
        assert output.count("\n") < 9000


def test_what_is_held_is_bounded_in_bytes(rabbit, sluice, looks):
    queue = rabbit.queue()
    looks(queue)
    rabbit.produce(queue, numbered(80, size=1 << 20))
    done = browse(sluice, "--yes", "--json", "--limit", "0")
    assert len(done.stdout.splitlines()) == 32 and "wait behind them" in done.stderr
    assert [i for i, _ in taken(rabbit, queue)] == ids(80)


def test_what_refuses_to_be_looked_into(cluster, rabbit, sluice, mapping_for, looks):
    alone = rabbit.queue(**QUORUM, **{"x-single-active-consumer": True})
    rabbit.produce(alone, numbered(2))
    looks(alone)
    with rabbit.channel() as channel:
        channel.basic_qos(prefetch_count=1)
        consumer = channel.consume(alone)
        next(consumer)
        assert "single active consumer" in browse(sluice, "--yes", "--count-deliveries", code=69).stderr
        channel.cancel()
    until(lambda: rabbit.ready(alone) == 2, 20, "what was held")
    assert shown(found(sluice, "--yes", "--count-deliveries")) == ["m-1", "m-0"]
    looks("no-such-queue")
    assert "queue no-such-queue does not exist" in browse(sluice, "--yes", code=69).stderr
    sluice.mapping("e", mapping_for(cluster.topic(1), dead_letter={
        "to": to_rabbitmq(rabbit, exchange="amq.fanout")}))
    assert "exchange amq.fanout keeps no messages" in browse(sluice, name="e", code=69).stderr
    with rabbit.channel() as channel:
        channel.queue_declare("mine", exclusive=True)
        looks("mine")
        assert "exclusive" in browse(sluice, "--yes", code=69).stderr
