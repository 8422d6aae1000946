"""`sluice dlq replay`: dead letters through their mapping again, each processed exactly once."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from lib.function import Answer, OK, poison
from lib.machine import PATIENCE
from lib.plugin import group_of, ids, numbered, with_message_ids
from lib.rabbitmq import QUORUM
from lib.sluice import PROGRAM, run_cli


def command(sluice, *arguments):
    return ["dlq", *arguments, "--config", sluice.config]


def replay(sluice, *arguments, code=0):
    """`sluice dlq replay ARGUMENTS --yes --json`: its closing object."""
    done = run_cli(*command(sluice, "replay", *arguments), "--yes", "--json", timeout=120)
    assert done.returncode == code, f"{done.returncode}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


def letter(n, mapping="m", lane="t/0", **changes):
    """A line as `export` writes it."""
    payload = json.dumps({"id": f"m-{n}", "n": n})
    return {"mapping": mapping, "connector": "kafka", "source": "t", "lane": lane, "partition": 0,
            "position": n, "token": f"{lane}/{n}", "class": "attempts", "status": 500,
            "reason": f"HTTP 500: order {n} failed", "attempt_count": 3,
            "died": f"2026-11-01T00:{n // 60 % 60:02}:{n % 60:02}.{n // 3600:06}Z",
            "key": f"k{n % 7}", "payload": payload, **changes}


@pytest.fixture
def letters(sluice, directory, mapping_for):
    """Makes a store of letters of mapping m, without a broker's help: letters(letter(1), ...)."""
    def make(*lines, **changes):
        sluice.mapping("m", mapping_for("t", **changes))
        path = directory / "letters.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = run_cli("dlq", "import", path, "--state", sluice.state)
        assert done.returncode == 0, done.stderr
        return sluice
    return make


def tokens(function):
    """id -> the tokens that came with it."""
    found = {}
    for invocation in function.invocations:
        for record in invocation.records:
            found.setdefault(record.id, set()).add(record.token)
    return found


def test_a_nights_incident(cluster, function, sluice, mapping_for):
    """The function breaks for a subset; one letter is edited, all are replayed after it is mended."""
    topic = cluster.topic(2)
    bad = [f"m-{n}" for n in range(0, 60, 5)]
    function.behave = poison(bad)
    cluster.produce(topic, numbered(60, keys=7))
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "/id"}))
    sluice.start()
    sluice.wait_dead(len(bad), 60)
    cluster.wait_committed(group_of(topic), topic, 2)
    before = tokens(function)
    assert sluice.terminate() == 0

    group = sluice.dlq("stats", "--by", "error")
    assert group["count"] == len(bad)
    edited = sluice.dead()[0]
    done = run_cli("dlq", "edit", edited["id"], "--set", "/mended=true", "--yes", "--state",
                   sluice.state)
    assert done.returncode == 0, done.stderr
    function.behave = lambda invocation: OK
    result = replay(sluice, "--mapping", "m", "--status", "5xx")
    assert (result["done"], result["died"], result["left"]) == (len(bad), 0, 0)
    assert sluice.dead() == []
    assert function.done == {i: 1 for i in ids(60)}
    assert tokens(function) == before
    # Nothing comes again, from the topic or from the store.
    sluice.start()
    cluster.produce(topic, [{"value": '{"id": "last"}'}])
    function.wait_done(["last"], 20)
    assert all(count == 1 for count in function.done.values())
    log = run_cli("dlq", "log", "--json", "--state", sluice.state).stdout
    acts = [json.loads(line) for line in log.splitlines()]
    assert [(a["action"], a["count"]) for a in acts] == [("replay", len(bad)), ("edit", 1)]
    assert acts[0]["uid"] == os.getuid() and "--status 5xx" in acts[0]["detail"]


def test_a_nights_incident_on_rabbitmq(rabbit, function, sluice, rabbit_mapping):
    """The same on a quorum queue, with the service running; letters that nobody vouches for wait."""
    queue = rabbit.queue(**QUORUM)
    bad = {f"m-{n}" for n in range(0, 60, 5)}
    function.behave = poison(bad)
    rabbit.produce(queue, with_message_ids(numbered(60)))
    sluice.mapping("m", rabbit_mapping(rabbit, queue))
    sluice.start()
    function.wait_done(set(ids(60)) - bad, 30)
    sluice.wait_dead(1, 30)
    before = tokens(function)
    edited = sluice.dead()[0]
    done = run_cli("dlq", "edit", edited["id"], "--set", "/mended=true", "--yes", "--state",
                   sluice.state)
    assert done.returncode == 0, done.stderr
    function.behave = lambda invocation: OK
    rabbit.wait_settled(queue)
    assert replay(sluice, "--mapping", "m")["left"] == 0
    assert sluice.dead() == [] and function.done == {i: 1 for i in ids(60)}
    assert tokens(function) == before == {i: {i} for i in ids(60)}


def without_attempts(event):
    """Attempts are counted anew in a replay."""
    for record in event["records"] if isinstance(event.get("records"), list) else ():
        record.pop("attempt")
    return event


def replay_and_compare(function, sluice):
    """A message dies, is replayed, and the function gets the very same event."""
    sluice.start()
    dead = sluice.wait_dead(1)
    assert sluice.terminate() == 0
    first = function.invocations[0]
    function.behave = lambda invocation: OK
    assert replay(sluice, "--all")["done"] == 1
    again = function.invocations[-1]
    assert again is not first and again.token == first.token
    event = without_attempts(first.event())
    assert without_attempts(again.event()) == event
    return dead[0], event


def test_the_event_of_kafka_is_the_same_again(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1, message_timestamp_type="LogAppendTime")
    function.behave = lambda invocation: Answer(422)
    cluster.produce(topic, [{"key": "k", "value": "v", "headers": [["h", b"\x00\xff"]]}])
    sluice.mapping("m", mapping_for(topic, target={"format": "lambda"}, retry={"patience": "0s"}))
    letter_, event = replay_and_compare(function, sluice)
    assert event["records"][f"{topic}-0"][0]["timestampType"] == "LOG_APPEND_TIME"
    assert letter_["timestamp_kind"] == "appended"


@pytest.mark.parametrize("form", ["lambda", "json"])
def test_the_event_of_rabbitmq_is_the_same_again(rabbit, function, sluice, rabbit_mapping, form):
    queue = rabbit.queue(**QUORUM)
    with rabbit.channel() as channel: # delivered once before, to nobody
        rabbit.produce(queue, [{"value": b"\x00v", "message_id": "id-7", "type": "order",
                                "timestamp": 2021, "headers": {"n": 7, "t": {"a": [1, None]}}}])
        assert channel.basic_get(queue)[0]
    function.behave = lambda invocation: Answer(422)
    sluice.mapping("m", rabbit_mapping(rabbit, queue, target={"format": form},
                                       retry={"patience": "0s"}))
    letter_, event = replay_and_compare(function, sluice)
    assert letter_["delivery_count"] == 1
    if form == "lambda":
        message = event["rmqMessagesByQueue"][f"{queue}::/"][0]
        assert message["redelivered"] and message["basicProperties"]["messageId"] == "id-7"


def test_what_names_a_message_is_shown_and_taken_along(letters, function, directory, make_sluice):
    sluice = letters(letter(1, message_id="id-1", identity={"base64": "AP8="}, delivery_count=2,
                            timestamp_kind="appended", produced="2026-11-01T00:00:00.000000Z"))
    one = sluice.dead()[0]["id"]
    shown = run_cli("dlq", "show", one, "--state", sluice.state).stdout
    for line in ("appended   2026-11-01", "message id id-1", "identity   \\x00\\xff",
                 "delivered  2 times before"):
        assert line in shown, shown
    exported = run_cli("dlq", "export", "--state", sluice.state).stdout
    (directory / "exported").write_text(exported)
    other = make_sluice()
    run_cli("dlq", "import", directory / "exported", "--state", other.state)
    assert run_cli("dlq", "export", "--state", other.state).stdout == exported
    found = json.loads(exported)
    assert found["message_id"] == "id-1" and found["identity"] == {"base64": "AP8="}
    assert found["delivery_count"] == 2 and found["timestamp_kind"] == "appended"


def test_a_token_recorded_meanwhile_makes_it_a_no_op(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(["m-1"])
    cluster.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "/id"}))
    sluice.start()
    sluice.wait_dead(1)
    function.behave = lambda invocation: OK
    cluster.produce(topic, list(numbered(3))[1:2])  # somebody sent it again
    function.wait_done(["m-1"], 20)
    cluster.wait_committed(group_of(topic), topic, 1)
    planned = run_cli(*command(sluice, "replay", "--all", "--dry-run"))  # beside the service
    assert "1 of them would leave without being sent" in planned.stdout
    assert sluice.terminate() == 0
    count = len(function.invocations)
    result = replay(sluice, "--all")
    assert (result["already"], result["done"]) == (1, 0)
    assert len(function.invocations) == count and sluice.dead() == []


def test_one_that_dies_again_keeps_its_story(letters, function):
    sluice = letters(*(letter(n) for n in range(4)))
    function.behave = poison(["m-2"], 422)
    result = replay(sluice, "--all", code=2)
    assert (result["done"], result["died"]) == (3, 1)
    left = sluice.dead()
    assert [one["position"] for one in left] == [2]
    assert left[0]["replay_count"] == 1 and left[0]["attempt_count"] > 3
    assert left[0]["died"] == "2026-11-01T00:00:02.000000Z"
    story = sluice.dlq("show", left[0]["id"])
    assert story["status"] == 422 and {a["status"] for a in story["attempts"]} == {422}
    # Again, only what never died in a replay: nothing is left to do.
    assert replay(sluice, "--never-replayed", code=1) == {}
    function.behave = lambda invocation: OK
    assert replay(sluice, "--replayed")["done"] == 1
    assert all(len(found) == 1 for found in tokens(function).values())


@pytest.mark.parametrize("order", ["lane", "key", "none"])
def test_order_is_the_mappings_own(letters, function, order):
    lines = [letter(n, lane=f"t/{n % 3}") for n in range(90)]
    random.Random(1).shuffle(lines)
    sluice = letters(*lines, order=order)
    assert replay(sluice, "--all")["done"] == 90
    done = [record for invocation in function.invocations for record in invocation.records]
    if order == "lane":
        for lane in range(3):
            of_lane = [json.loads(r.value)["n"] for r in done
                       if json.loads(r.value)["n"] % 3 == lane]
            assert of_lane == sorted(of_lane)
    if order == "key":
        for key in range(21):
            of_key = [json.loads(r.value)["n"] for r in done
                      if json.loads(r.value)["n"] % 21 == key]
            assert of_key == sorted(of_key)


def test_through_another_mapping_and_with_a_new_token(letters, function, make_function,
                                                      mapping_for):
    other = make_function()
    sluice = letters(letter(1), letter(2), letter(3))
    sluice.mapping("repaired", mapping_for("t2", target={"http": {"url": other.url}}))
    assert replay(sluice, "--all", "--limit", "1", "--to", "repaired")["done"] == 1
    assert tokens(other) == {"m-1": {"t/0/1"}} and not function.invocations
    assert replay(sluice, "--all", "--limit", "1", "--force")["done"] == 1
    assert tokens(function) == {"m-2": {"t/0/2~1"}}
    done = run_cli(*command(sluice, "replay", "--all", "--to", "nobody", "--yes"))
    assert done.returncode == 78 and "no mapping nobody" in done.stderr
    assert len(sluice.dead()) == 1


def test_it_stops_when_most_fail_or_the_target_is_down(letters, function):
    sluice = letters(*(letter(n) for n in range(300)), batch={"size": 1})
    function.behave = lambda invocation: Answer(422)
    result = replay(sluice, "--all", "--concurrency", "1", code=2)
    assert result["stopped"] == "failures"
    assert 10 <= result["died"] < 60 and len(sluice.dead()) == 300
    function.refuse()
    result = replay(sluice, "--all", "--wait", "1s", code=69)
    assert result["stopped"] == "unavailable" and result["died"] == 0
    assert len(sluice.dead()) == 300
    function.listen()
    function.behave = lambda invocation: OK
    assert replay(sluice, "--all")["done"] == 300


@pytest.mark.parametrize("options", [("--error", "order [0-9]*[05] failed"), ("--where", "{n: [0, 5, 10, 15]}"),
                                     ("-e", "order", "-w", "{n: [0, 5, 10, 15]}")])
def test_what_the_reason_and_the_payload_choose(letters, function, mapping_for, options):
    """Of all mappings, whose letters are chosen one mapping after the other."""
    sluice = letters(*(letter(n, mapping="m" if n % 2 else "other") for n in range(20)))
    sluice.mapping("other", mapping_for("others"))
    result = replay(sluice, *options)
    assert (result["selected"], result["done"], result["left"]) == (4, 4, 0)
    assert function.done == {f"m-{n}": 1 for n in (0, 5, 10, 15)} and len(sluice.dead()) == 16


def test_dry_run_rate_and_one_first(letters, function):
    sluice = letters(*(letter(n) for n in range(30)), batch={"size": 1})
    done = run_cli(*command(sluice, "replay", "--mapping", "m", "--dry-run"))
    assert done.returncode == 0
    assert f"30 dead letters of m would go to {function.url}" in done.stdout
    assert "with the tokens they had" in done.stdout and not function.invocations
    assert run_cli(*command(sluice, "replay", "--mapping", "m")).returncode == 64  # nobody to ask
    function.behave = poison(["m-0"], 422)
    result = replay(sluice, "--all", "--limit", "11", "--rate", "10", "--one-first", code=2)
    assert (result["done"], result["died"], result["left"]) == (0, 1, 10)
    begin = time.monotonic()
    result = replay(sluice, "--all", "--limit", "11", "--rate", "10", code=2)
    assert (result["done"], result["died"]) == (10, 1)
    assert time.monotonic() - begin > 0.8
    assert len(sluice.dead()) == 20
    first = sluice.dead()[-1]["id"]
    assert replay(sluice, first, code=2)["died"] == 1
    assert replay(sluice, "--token", "t/0/0", code=2)["died"] == 1
    assert sluice.dead()[-1]["replay_count"] == 4


def test_killed_in_the_middle_and_begun_again(letters, function):
    """kill -9 at random moments: nothing lost, nothing sent with another token."""
    seed = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(10 ** 6))
    print(f"SLUICE_SEED={seed}")
    dice = random.Random(seed)
    count = 1500
    sluice = letters(*(letter(n, lane=f"t/{n % 4}") for n in range(count)), batch={"size": 5})
    function.behave = lambda invocation: Answer(200, delay=dice.random() * 0.01)
    for _ in range(12):
        goal = len(function.invocations) + dice.randrange(1, 25)
        process = subprocess.Popen(
            [PROGRAM, *command(sluice, "replay", "--all", "--yes", "--force")],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        function.wait_invocations(goal, 30)
        process.kill()
        process.communicate()
        function.wait(lambda f: f.in_flight == 0, 10, "loss of the connections")
        assert len(sluice.dead()) >= count - len(function.seen)
    result = replay(sluice, "--all")
    assert result["died"] == 0 and sluice.dead() == []
    function.wait_done(ids(count), 10)
    assert all(len(found) == 1 for found in tokens(function).values())
    assert {next(iter(found))[-2:] for found in tokens(function).values()} == {"~1"}


def test_interrupted_and_begun_again(letters, function):
    sluice = letters(*(letter(n) for n in range(400)), batch={"size": 1}, order="none")
    function.behave = lambda invocation: Answer(200, delay=0.01)
    process = subprocess.Popen([PROGRAM, *command(sluice, "replay", "--all", "--yes", "--json")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    function.wait_invocations(20, 20)
    second = run_cli(*command(sluice, "replay", "--all", "--yes"))
    assert second.returncode == 75 and "another replay" in second.stderr
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30 * PATIENCE)
    assert process.returncode == 75, errors
    result = json.loads(output)
    assert result["stopped"] == "interrupted" and result["left"] > 0
    assert len(sluice.dead()) == result["left"]
    assert replay(sluice, "--all")["done"] == result["left"]
    assert set(function.done.values()) == {1} and len(function.done) == 400


@pytest.mark.parametrize("payload", ['{"id": "m-1", "text": "it\'s $HOME"}',
                                     '{"id": "m-1", "text": "caf\u00e9 \u001b[2J"}'])
def test_curl_repeats_the_call_by_hand(letters, function, payload):
    sluice = letters(letter(1, payload=payload, headers=[{"name": "trace", "value": "t1"}]),
                     target={"http": {"headers": {"X-Api-Key": "sesame"}}})
    one = sluice.dead()[0]["id"]
    shown = run_cli("dlq", "show", one, "--curl", "--config", sluice.config)
    assert shown.returncode == 0, shown.stderr
    assert "sesame" not in shown.stdout and "\x1b" not in shown.stdout
    done = subprocess.run(["sh", "-c", shown.stdout], stdout=subprocess.PIPE, text=True, timeout=30,
                          env={**os.environ, "X_API_KEY": "sesame"}, check=True)
    assert " 200 " in done.stdout
    assert replay(sluice, one)["done"] == 1
    by_hand, by_replay = function.invocations
    assert by_hand.body == by_replay.body and by_hand.token == by_replay.token
    assert by_hand.headers["x-api-key"] == by_replay.headers["x-api-key"]
