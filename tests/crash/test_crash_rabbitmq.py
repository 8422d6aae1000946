"""kill -9 of sluice and of RabbitMQ at random moments: nothing lost; what was recorded is not invoked
again; what was in flight comes again with the same token."""

import pytest

from lib.function import Answer
from lib.machine import LONG
from lib.plugin import ids, numbered, with_message_ids
from lib.rabbitmq import QUORUM, STREAM
from test_crash import (UNRECORDED_S, age_of_unrecorded_successes, check_same_token, dice_of_today,
                        kill, kill_at_random)

MESSAGES, KILLS = (20_000, 60) if LONG else (4_000, 12)


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("order", ["lane", "none"])
def test_kill_9_at_random_moments(rabbit, function, sluice, rabbit_mapping, kind, order):
    dice = dice_of_today()
    queue = rabbit.queue(**(QUORUM if kind == "quorum" else {}))
    rabbit.produce(queue, with_message_ids(numbered(MESSAGES)))
    # Slow enough that the kills fall among invocations.
    function.behave = lambda invocation: Answer(200, delay=dice.random() * 0.01)
    sluice.mapping("m", rabbit_mapping(rabbit, queue, order=order,
                                       batch={"size": 20, "window": "5ms"}))
    kills = kill_at_random(sluice, function, dice, MESSAGES, KILLS)
    function.wait_done(ids(MESSAGES), 120)
    rabbit.wait_settled(queue, timeout=60)
    check_same_token(function)
    assert age_of_unrecorded_successes(function, kills) < UNRECORDED_S
    assert sluice.dead() == []


@pytest.mark.alone
@pytest.mark.parametrize("order", ["lane", "none"])
def test_kill_9_on_a_stream(rabbit, function, sluice, rabbit_mapping, order):
    """Its place is nowhere but in sluice's store."""
    dice = dice_of_today()
    stream = rabbit.queue(**STREAM)
    rabbit.produce(stream, numbered(MESSAGES))
    function.behave = lambda invocation: Answer(200, delay=dice.random() * 0.01)
    mapping = rabbit_mapping(rabbit, stream, {"source": {"rabbitmq": {"stream_offset": "first"}}},
                             order=order, batch={"size": 20, "window": "5ms"})
    del mapping["idempotency"]
    sluice.mapping("m", mapping)
    kills = kill_at_random(sluice, function, dice, MESSAGES, KILLS)
    function.wait_done(ids(MESSAGES), 120)
    check_same_token(function)
    assert age_of_unrecorded_successes(function, kills) < UNRECORDED_S
    assert sluice.terminate() == 0
    before = len(function.invocations)
    rabbit.produce(stream, numbered(1, prefix="last"))
    sluice.start()
    function.wait_done(["last-0"], 20)
    assert [invocation.ids for invocation in function.invocations[before:]] == [["last-0"]]
    assert sluice.dead() == []


@pytest.mark.alone
def test_kill_9_of_both(private_rabbit, function, sluice, rabbit_mapping):
    dice = dice_of_today()
    server = private_rabbit().start()
    queues = [server.queue(), server.queue(**QUORUM)]
    count = MESSAGES // 2
    for number, queue in enumerate(queues):
        server.produce(queue, with_message_ids(numbered(count, prefix=f"q{number}")))
    function.behave = lambda invocation: Answer(200, delay=dice.random() * 0.02)
    sluice.mapping("m", rabbit_mapping(server, queues, order="none"))
    sluice.start()
    for number in range(10 if LONG else 3):
        goal = int(count * (number + dice.random()) / (10 if LONG else 3))
        function.wait(lambda f: len(f.done) >= goal, 120, lambda: f"{goal} messages done")
        server.kill()
        if dice.random() < 0.5:
            kill(sluice, function)
            sluice.start()
        server.start()
    for number in range(2):
        function.wait_done(ids(count, f"q{number}"), 120)
    server.wait_settled(*queues, timeout=60)
    check_same_token(function)
    assert sluice.dead() == []
