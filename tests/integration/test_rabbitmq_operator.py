"""RabbitMQ's kinds of queues, and what its operators do while sluice reads from it."""

import pytest

from lib.function import OK, Answer
from lib.plugin import ids, numbered, with_message_ids
from lib.rabbitmq import PASSWORD, QUORUM
from lib.sluice import run_cli
from lib.waiting import until

KINDS = {"classic": {}, "quorum": QUORUM}


def source(**options):
    return {"source": {"rabbitmq": options}}


def status_of(sluice):
    return sluice.control("GET", "/v1/status")[1]["mappings"][0]


# ---- the operator's side ----

def test_credentials_taken_away_while_it_runs(rabbit, function, sluice, rabbit_mapping):
    """The user's connections are closed by the operator; nothing is lost until the user is back."""
    queue, user = rabbit.queue(), f"user-{rabbit.queue()}"
    rabbit.user(user)
    rabbit.produce(queue, with_message_ids(numbered(200)))
    function.behave = lambda invocation: Answer(200, delay=0.02)
    sluice.mapping(user, rabbit_mapping(rabbit, queue, source(username=user, password=PASSWORD)))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 20, 20, "some done")
    rabbit.eval(f'rabbit_auth_backend_internal:delete_user(<<"{user}">>, <<"tests">>), '
                f'rabbit_networking:close_all_user_connections(<<"{user}">>, <<"gone">>), ok')
    sluice.wait_for_log(f"refuses the credentials of user {user}", 30)
    assert status_of(sluice)["state"] != "running"
    rabbit.user(user)
    function.wait_done(ids(200), 40)
    rabbit.wait_settled(queue)
    assert PASSWORD not in "\n".join(sluice.lines)


def test_a_consumer_timeout_shorter_than_told(private_rabbit, function, sluice, rabbit_mapping):
    """The broker closes the channel; that is told, and nothing is lost. Told of it, sluice gives back in
    time, and the channel is never closed."""
    server = private_rabbit(consumer_timeout="2500").start()
    server.eval("application:set_env(rabbit, channel_tick_interval, 200), ok")
    queue = server.queue()
    server.produce(queue, with_message_ids(numbered(20)))
    function.behave = lambda invocation: Answer(503)
    sluice.mapping("m", rabbit_mapping(server, queue))
    sluice.start()
    sluice.wait_for_event("channel_closed", timeout=30)
    sluice.wait_for_log("delivery acknowledgement on channel .* timed out", 10)
    sluice.terminate()
    before = len(sluice.find_events("channel_closed"))
    sluice.mapping("m", rabbit_mapping(server, queue, source(consumer_timeout="2500ms")))
    sluice.start()
    until(lambda: len(sluice.find_events("lane_given_back")) >= 2, 30, "two rounds")
    function.behave = lambda invocation: OK
    function.wait_done(ids(20), 40)
    server.wait_settled(queue)
    assert len(sluice.find_events("channel_closed")) == before


# ---- kinds of queues ----

def test_the_highest_priority_first(rabbit, function, sluice, rabbit_mapping):
    queue = rabbit.queue(**{"x-max-priority": 5})
    rabbit.produce(queue, [{**message, "priority": number % 6}
                           for number, message in enumerate(numbered(60))])
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    function.wait_done(ids(60), 20)
    rabbit.wait_settled(queue)
    order = [int(record.id[2:]) % 6 for invocation in function.invocations
             for record in invocation.records]
    assert order == sorted(order, reverse=True)


def test_the_consumer_of_the_higher_priority_gets_all(rabbit, make_function, make_sluice, rabbit_mapping):
    queue = rabbit.queue()
    functions = [make_function(), make_function()]
    for number, function in enumerate(functions):
        sluice = make_sluice()
        sluice.mapping("m", rabbit_mapping(rabbit, queue, source(priority=number),
                                           target={"http": {"url": function.url}}))
        sluice.start()
        sluice.wait_for_event("source_state", state="running")
    rabbit.produce(queue, numbered(20))
    functions[1].wait_done(ids(20), 20)
    assert not functions[0].invocations


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["terminate", "kill9"])
def test_a_single_active_consumer_is_followed(rabbit, function, make_sluice, rabbit_mapping, kind, end):
    """Another sluice takes over where the first one was, in order."""
    queue = rabbit.queue(**KINDS[kind], **{"x-single-active-consumer": True})
    rabbit.produce(queue, with_message_ids(numbered(300)))
    function.behave = lambda invocation: Answer(200, delay=0.03)
    sluices = [make_sluice(), make_sluice()]
    for sluice in sluices:
        sluice.mapping("m", rabbit_mapping(rabbit, queue, source(prefetch=50), batch={"size": 5}))
        sluice.start()
        sluice.wait_for_event("source_state", state="running")
    function.wait(lambda f: len(f.done) >= 40, 30, "some done")
    assert sluices[1].metric("sluice_messages_done_total", mapping="m") == 0, "it waits"
    getattr(sluices[0], end)()
    function.wait_done(ids(300), 60)
    rabbit.wait_settled(queue)
    order = [record.id for invocation in function.invocations for record in invocation.records]
    assert list(dict.fromkeys(order)) == ids(300)
    assert len(order) <= 350, "at most what the first one held comes again"


def test_declare_with_arguments(rabbit, function, sluice, rabbit_mapping):
    arguments = {"x-single-active-consumer": True, "x-max-length": 1000,
                 "x-overflow": "reject-publish"}
    sluice.mapping("m", rabbit_mapping(rabbit, "declared-so", source(declare="quorum",
                                                                     arguments=arguments)))
    sluice.start()
    sluice.wait_for_event("source_state", state="running")
    rabbit.queue("declared-so", **QUORUM, **arguments)  # the same, or it is refused
    rabbit.produce("declared-so", numbered(5))
    function.wait_done(ids(5), 20)


@pytest.mark.parametrize("options, expected", [
    ({"arguments": {"x-max-length": 5}}, "goes with declare"),
    ({"declare": "quorum", "arguments": {"x-queue-type": "classic"}}, "is said by declare")])
def test_mistakes_of_declare(rabbit, sluice, rabbit_mapping, options, expected):
    sluice.mapping("m", rabbit_mapping(rabbit, "q", source(**options)))
    done = run_cli("check", "--config", sluice.config)
    assert done.returncode == 78 and expected in done.stderr
