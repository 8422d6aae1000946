"""What sluice does with messages, whatever they come from: the same cases for every kind of source. The
first line of each case is its row in connectors/README.md, which `tests/integration/features` writes."""

import json

import pytest

from lib.function import OK, Answer, name_failed, poison
from lib.plugin import ids
from lib.sources import SOURCES, abilities
from lib.sluice import run_cli
from lib.waiting import stays, until

RAW = {"format": "raw", "http": {"headers": {"X-Test-Format": "raw"}}}


def needs(*abilities):
    """For cases that only some kinds of source can have."""
    return pytest.mark.needs(*abilities)


def pytest_generate_tests(metafunc):
    if "source" in metafunc.fixturenames:
        wanted = {ability for mark in metafunc.definition.iter_markers("needs") for ability in mark.args}
        metafunc.parametrize("source", [name for name in SOURCES if wanted <= abilities(name)],
                             indirect=True)


@pytest.fixture
def source(request):
    kind, server = SOURCES[request.param]
    made = kind(*([request.getfixturevalue(server)] if server else []))
    if "sluice" in request.fixturenames:
        made.state = request.getfixturevalue("sluice").state
    yield made
    made.close()


@pytest.fixture
def proxy(source):
    made = source.through_proxy()
    yield made
    made.close()


def messages(count, prefix="m", size=0, **more):
    """With ids PREFIX-0, PREFIX-1, ... as JSON, of one lane where the source has lanes."""
    for n in range(count):
        value = json.dumps({"id": f"{prefix}-{n}", "n": n, "pad": "x" * size})
        yield {"value": value, "message_id": f"{prefix}-{n}", **more}


@pytest.fixture
def produce(source):
    def some(count, prefix="m", **more):
        source.produce(list(messages(count, prefix, key=source.lane_key, **more)))
    return some


def tokens_of(function):
    """id -> the tokens that came with it."""
    found = {}
    for invocation in function.invocations:
        for record in invocation.records:
            found.setdefault(record.id, set()).add(record.token)
    return found


def slow(seconds):
    return lambda _: Answer(200, delay=seconds)


# ---- receiving ----

def test_all_once(source, produce, function, sluice):
    """Every message is invoked once and settled"""
    produce(150)
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    function.wait_done(ids(150), 20)
    produce(20, "late")
    function.wait_done(ids(20, "late"), 20)
    source.wait_settled()
    assert set(function.seen.values()) == {1}
    assert sluice.dead() == []


@needs("bytes")
def test_payloads_unchanged(source, function, sluice):
    """Payloads arrive byte by byte: empty, large, NULs, any Unicode"""
    sent = ["plain", "ünï \u2028 \U0001f600", *(["\u0000"] if source.takes_nul else []), "line\r\nline\t\"quoted\" \\ /", '{"a" : 1.50}',
            "x" * source.largest, *([""] if source.takes_empty else [])]
    source.produce([{"value": text} for text in sent])
    sluice.mapping("m", source.mapping(function, batch={"size": 1}, target=RAW))
    sluice.start()
    function.wait_invocations(len(sent), 20)
    assert sorted(i.body for i in function.invocations) == sorted(text.encode() for text in sent)
    source.wait_settled()


@needs("binary")
def test_binary_payloads_unchanged(source, function, sluice):
    """Payloads that are not text arrive byte by byte"""
    sent = [b"\xff\xfe\x00\x01", bytes(range(256)), b"\x00", "é".encode("latin-1")]
    source.produce([{"value": data} for data in sent])
    sluice.mapping("m", source.mapping(function, batch={"size": 1}, target=RAW))
    sluice.start()
    function.wait_invocations(len(sent), 20)
    assert sorted(i.body for i in function.invocations) == sorted(sent)
    source.wait_settled()


@needs("headers")
def test_headers(source, produce, function, sluice):
    """Headers reach the function"""
    sent = {"colour": "grün", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    if source.takes_empty:
        sent["x-empty"] = ""
    produce(1, headers=sent)
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    function.wait_done(ids(1), 20)
    found = {header["name"]: header["value"]
             for header in function.invocations[0].event()["records"][0]["headers"]}
    assert found.items() >= sent.items()


@needs("lambda")
def test_event_of_lambda(source, produce, function, sluice):
    """`format: lambda` writes AWS's event"""
    produce(3)
    sluice.mapping("m", source.mapping(function, target={"format": "lambda"}))
    sluice.start()
    source.wait_settled()
    event = function.invocations[0].event()
    assert source.aws_event in json.dumps(event)


def test_filter(source, produce, function, sluice):
    """Filters leave out, and what they leave out is settled"""
    produce(40)
    sluice.mapping("m", source.mapping(function, filter=[{"value": {"n": list(range(0, 40, 2))}}]))
    sluice.start()
    function.wait_done(ids(40)[::2], 20)
    source.wait_settled()
    assert set(function.seen) == set(ids(40)[::2])


# ---- batches and order ----

def sizes(function):
    return [len(invocation.records) for invocation in function.invocations]


def test_batches_by_count(source, produce, function, sluice):
    """Batches close on a count"""
    produce(60)
    size = source.batch_most
    sluice.mapping("m", source.mapping(function, batch={"size": size, "window": "30s"}))
    sluice.start()
    function.wait_done(ids(60), 20)
    assert sizes(function) == [size] * (60 // size)


def test_batches_by_window(source, produce, function, sluice):
    """Batches close after a window"""
    produce(7)
    sluice.mapping("m", source.mapping(function, batch={"size": 1000, "window": "400ms"}))
    sluice.start()
    function.wait_done(ids(7), 20)
    assert sum(sizes(function)) == 7 and len(sizes(function)) <= 2


def test_batches_by_bytes(source, produce, function, sluice):
    """Batches close on bytes"""
    produce(30, size=1000)
    sluice.mapping("m", source.mapping(function, batch={"size": 1000, "bytes": "10 KiB",
                                                        "window": "500ms"}))
    sluice.start()
    function.wait_done(ids(30), 20)
    assert max(sizes(function)) <= 10 and sum(sizes(function)) == 30
    assert max(sizes(function)) >= 8, "batches are much smaller than they may be"


@needs("order")
def test_order(source, produce, function, sluice):
    """Order within a lane is kept while invocations fail"""
    produce(150)
    turns = iter(range(10 ** 6))
    function.behave = lambda _: Answer(500) if next(turns) % 4 == 1 else OK
    sluice.mapping("m", source.mapping(function, batch={"size": 8}, retry={"attempts": 50}))
    sluice.start()
    function.wait_done(ids(150), 40)
    source.wait_settled()
    done = [name for invocation in function.invocations if invocation.answer.success
            for name in invocation.ids]
    assert done == ids(150)


def test_out_of_order(source, produce, function, sluice):
    """A slow message holds up no other; those done stay done through a restart"""
    if source.locks_lane:
        source.produce([{**message, "key": message["message_id"]} for message in messages(40)])
    else:
        produce(40)
    function.behave = lambda i: Answer(how="hang") if "m-0" in i.ids else OK
    sluice.mapping("m", source.mapping(function, order="none", batch={"size": 1}, drain="500ms",
                                       target={"http": {"timeout": "60s"}}))
    sluice.start()
    function.wait_done(ids(40)[1:], 20)
    assert source.left() >= 1
    sluice.terminate()
    function.behave = lambda _: OK
    sluice.start()
    function.wait_done(ids(40), 20)
    source.wait_settled()
    assert all(count == 1 for name, count in function.seen.items() if name != "m-0")


# ---- failures ----

def test_partial_response(source, produce, function, sluice):
    """A partial response repeats only what it names"""
    produce(10)
    first = name_failed({"m-3"})

    def behave(invocation):
        function.behave = lambda _: OK
        return first(invocation)
    function.behave = behave
    sluice.mapping("m", source.mapping(function, batch={"size": 10, "window": "1s"},
                                       target={"report_failures": True}))
    sluice.start()
    function.wait_done(ids(10), 20)
    source.wait_settled()
    assert function.seen == {name: 1 + (name == "m-3") for name in ids(10)}


def test_poison(source, produce, function, sluice):
    """A bad message in a batch is found, and becomes a dead letter alone"""
    produce(40)
    function.behave = poison(["m-7"])
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    function.wait_done(set(ids(40)) - {"m-7"}, 30)
    letter, = sluice.wait_dead(1, 30)
    assert "m-7" in json.dumps(sluice.dlq("show", letter["id"]))
    source.wait_settled()


def test_replay(source, produce, function, sluice):
    """Dead letters are replayed with the same token"""
    produce(12)
    function.behave = poison(["m-5"])
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    sluice.wait_dead(1, 30)
    function.behave = lambda _: OK
    done = run_cli("dlq", "replay", "--all", "--yes", "--config", sluice.config)
    assert done.returncode == 0, done.stderr
    function.wait_done(["m-5"], 20)
    assert len(tokens_of(function)["m-5"]) == 1
    until(lambda: sluice.dead() == [], 10, "the letter's end")


def test_letters_elsewhere(source, produce, cluster, function, sluice):
    """Dead letters go to another system, whole, before the message is settled"""
    produce(12)
    letters = cluster.topic(1)
    function.behave = poison(["m-5"])
    sluice.mapping("m", source.mapping(function, dead_letter={
        "to": {"kafka": {"brokers": cluster.address(), "topic": letters}}}))
    sluice.start()
    function.wait_done(set(ids(12)) - {"m-5"}, 30)
    source.wait_settled()
    letter, = cluster.letters(letters)
    assert json.loads(letter["value"])["id"] == "m-5"
    assert letter["headers"]["sluice-mapping"] == "m" and letter["headers"]["sluice-token"]
    assert sluice.dead() == []


def test_back_to_the_source(source, produce, function, sluice):
    """Dead letters are published back to their source"""
    produce(12)
    function.behave = poison(["m-5"])
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    sluice.wait_dead(1, 30)
    function.behave = lambda _: OK
    done = run_cli("dlq", "replay", "--to-source", "--all", "--yes", "--config", sluice.config)
    assert done.returncode == 0, done.stderr
    assert sluice.dead() == []
    function.wait_done(["m-5"], 20)
    source.wait_settled()


def test_retry_after(source, produce, function, sluice):
    """A retry waits as long as the function asks for"""
    produce(1)

    def behave(_):
        function.behave = lambda _: OK
        return Answer(500, headers={"Retry-After": "1"})
    function.behave = behave
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    function.wait_done(ids(1), 20)
    first, second = function.invocations
    assert second.begin - first.end >= 0.95
    source.wait_settled()


def test_parked(source, produce, function, sluice):
    """A long retry is parked: settled at its source, kept through `kill -9`, and back with its token"""
    def parked():
        try:
            return sluice.control("GET", "/v1/mappings/m")[1]["parked"]["count"]
        except OSError:  # it is just starting
            return None

    def behave(invocation):
        return Answer(500, headers={"Retry-After": "2"}) if "m-3" in invocation.ids else OK
    produce(10)
    function.behave = behave
    sluice.mapping("m", source.mapping(function, order="none", batch={"size": 1},
                                       retry={"park_after": "1s", "attempts": 5}))
    sluice.start()
    function.wait_done([name for name in ids(10) if name != "m-3"], 20)
    source.wait_settled()
    until(lambda: parked() == 1, 20, "m-3 in the park")
    assert "m-3" not in function.done
    sluice.kill9()
    sluice.start()
    until(lambda: parked() == 1, 20, "m-3 still in the park")
    function.behave = lambda _: OK
    function.wait_done(["m-3"], 20)
    until(lambda: parked() == 0, 20, "an empty park")
    assert set(function.done.values()) == {1}
    assert len(tokens_of(function)["m-3"]) == 1
    attempts = [record.attempt for invocation in function.invocations
                for record in invocation.records if record.id == "m-3"]
    assert attempts[-1] == attempts[0] + len(attempts) - 1, "counted over the restart"
    assert sluice.dead() == []


def test_target_down(source, produce, function, sluice):
    """A target that is down costs neither messages nor attempts, with the buffer full"""
    function.refuse()
    produce(100)
    sluice.mapping("m", source.mapping(function, buffer={"messages": 20}, batch={"size": 5}))
    sluice.start()
    sluice.wait_for_event("target_down")
    stays(lambda: sluice.running, 1, "sluice runs")
    function.listen()
    function.wait_done(ids(100), 40)
    source.wait_settled()
    assert sluice.dead() == []


@needs("extends")
def test_long_invocation(source, produce, function, sluice):
    """What is worked on for long is not given to anybody else"""
    produce(5)
    function.behave = slow(3)
    sluice.mapping("m", source.mapping(function, source.short_hold, batch={"size": 5, "window": "1s"},
                                       target={"http": {"timeout": "20s"}}))
    sluice.start()
    function.wait_done(ids(5), 20)
    source.wait_settled()
    assert set(function.seen.values()) == {1}


@needs("counts")
def test_attempts_across_restarts(source, produce, function, sluice):
    """Attempts go on counting after a crash"""
    produce(1)
    function.behave = lambda _: Answer(how="hang")
    sluice.mapping("m", source.mapping(function, source.short_hold))
    sluice.start()
    function.wait_invocations(1, 20)
    sluice.kill9()
    function.behave = lambda _: OK
    sluice.start()
    function.wait_done(ids(1), 20)
    assert function.invocations[-1].records[0].attempt >= 2
    source.wait_settled()


# ---- once ----

def test_duplicates(source, produce, function, sluice):
    """A token that was recorded is not invoked again"""
    produce(10)
    sluice.mapping("m", source.mapping(function, idempotency={"token": "/id", "ttl": "1h"}))
    sluice.start()
    function.wait_done(ids(10), 20)
    produce(10)
    produce(1, "last")
    function.wait_done(ids(1, "last"), 20)
    source.wait_settled()
    assert set(function.seen.values()) == {1}


def test_killed(source, produce, function, sluice):
    """`kill -9` loses nothing, and what was in flight comes again with its token"""
    produce(200)
    function.behave = slow(0.2)
    sluice.mapping("m", source.mapping(function, source.short_hold, batch={"size": 5},
                                       target={"http": {"concurrency": "1..4"}}))
    repeats = before = 0  # how many may come again at most: what was invoked and not settled
    for goal in (40, 100):
        sluice.start()
        function.wait(lambda f: len(f.done) >= goal, 30, f"{goal} done")  # noqa: B023
        settled = sluice.metric("sluice_messages_settled_total") - \
            sluice.metric("sluice_messages_duplicate_total")
        sluice.kill9()
        function.wait(lambda f: not f.in_flight, 10, "end of what was in flight")
        seen = sum(function.seen.values())
        repeats += seen - before - settled
        before = seen
    sluice.start()
    function.wait_done(ids(200), 40)
    source.wait_settled(40)
    assert sluice.dead() == []
    assert all(len(found) == 1 for found in tokens_of(function).values())
    assert sum(count - 1 for count in function.seen.values()) <= repeats < before


@needs("shared")
def test_two_instances(source, produce, function, make_sluice):
    """Two instances share a source, and one goes on for the other"""
    produce(200)
    function.behave = slow(0.02)
    sluices = [make_sluice(), make_sluice()]
    for sluice in sluices:
        sluice.mapping("m", source.mapping(function, source.short_hold, batch={"size": 5},
                                           target={"http": {"concurrency": 1}}))
        sluice.start()
    function.wait(lambda f: len(f.done) >= 40, 30, "some done")
    sluices[0].kill9()
    function.wait_done(ids(200), 40)
    source.wait_settled(40)


# ---- operation ----

def test_stop(source, produce, function, sluice):
    """A stop finishes what is in flight and gives back the rest"""
    produce(100)
    function.behave = slow(0.5)
    sluice.mapping("m", source.mapping(function, target={"http": {"concurrency": 2}}))
    sluice.start()
    function.wait_invocations(1, 20)
    assert sluice.terminate() == 0
    assert function.in_flight == 0 and function.done
    assert source.left() == 100 - len(function.done)
    function.behave = lambda _: OK
    sluice.start()
    function.wait_done(ids(100), 20)
    source.wait_settled()
    assert set(function.seen.values()) == {1}


def test_pause(source, produce, function, sluice):
    """`sluice pause` and `resume`"""
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    produce(5, "before")
    function.wait_done(ids(5, "before"), 20)
    for word in ("pause", "resume"):
        done = run_cli(word, "m", "--state", sluice.state)
        assert done.returncode == 0, done.stderr
        if word == "pause":
            produce(5)
            stays(lambda: "m-0" not in function.seen, 0.5, "no invocation while paused")
    function.wait_done(ids(5), 20)
    source.wait_settled()


def test_reload(source, produce, function, sluice):
    """A reload changes a mapping at work, and nothing is lost or repeated"""
    produce(100)
    function.behave = slow(0.05)
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    function.wait(lambda f: len(f.done) >= 20, 20, "some done")
    sluice.mapping("m", source.mapping(function, batch={"size": 3}))
    done = run_cli("reload", "--state", sluice.state)
    assert done.returncode == 0, done.stderr
    produce(20, "late")
    function.wait_done(ids(100) + ids(20, "late"), 40)
    source.wait_settled()
    assert set(function.seen.values()) == {1}
    assert len(function.invocations[-1].records) <= 3


# ---- the server ----

def test_server_away(source, produce, proxy, function, sluice):
    """A server that goes and comes back is told and waited for"""
    produce(20)
    sluice.mapping("m", source.mapping(function))
    sluice.start()
    function.wait_done(ids(20), 20)
    source.wait_settled()
    proxy.refuse()
    sluice.wait_for_event("source_state", 40, state="unreachable")
    produce(20, "late")
    proxy.listen()
    function.wait_done(ids(20, "late"), 40)
    source.wait_settled()
    assert set(function.seen.values()) == {1}


def test_connections_cut(source, produce, proxy, function, sluice):
    """Connections cut within an answer lose nothing"""
    sluice.mapping("m", source.mapping(function, source.short_hold))
    sluice.start()
    for turn in range(3):
        proxy.cut_after(4000 + 777 * turn)
        produce(20, f"t{turn}", size=500)
        function.wait_done(ids(20, f"t{turn}"), 40)
        assert proxy.broken == turn + 1
    source.wait_settled(40)
    assert sluice.dead() == []
