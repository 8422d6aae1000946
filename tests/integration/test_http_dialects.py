"""The dialects of the connector for HTTP queues, each against a strict
server of its API: what is ordinary, what breaks, and that nothing is lost by it."""

import json
import random

import pytest

from lib import http_queue
from lib.function import OK, Answer, poison
from lib.generic_queues import Pgmq
from lib.http_kinds import KINDS, called, http_mapping
from lib.plugin import ids
from lib.pubsub import PubSub, ServiceAccount
from lib.sluice import merge, run_cli
from lib.waiting import stays, until


# ---- one of each ----

@pytest.fixture
def make_kind():
    made = []

    def make(name, **options):
        made.append(KINDS[name](**options))
        return made[-1]

    yield make
    for kind in made:
        kind.server.close()


@pytest.fixture(params=KINDS)
def kind(request, make_kind):
    return make_kind(request.param)


@pytest.fixture
def mapping(function):
    """A working mapping of a Kind, with quick retries: mapping(kind, {changes})."""
    def make(kind, changes=None, source=None, **sections):
        return merge(merge(http_mapping(kind, function, source), changes or {}), sections)
    return make


def texts(count, prefix="m"):
    return [json.dumps({"id": f"{prefix}-{n}", "n": n}) for n in range(count)]


def state_of(sluice):
    """(state, reason) of the only mapping's source."""
    return sluice.control("GET", "/v1/status")[1]["mappings"][0]


# ---- the ordinary ----

def test_all_once(kind, function, sluice, mapping):
    kind.produce(texts(300))
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(300), 20)
    kind.server.wait_settled(kind.queue)
    kind.produce(texts(50, "late"))
    function.wait_done(ids(50, "late"), 20)
    kind.server.wait_settled(kind.queue)
    assert set(function.seen.values()) == {1}
    assert sorted(message.id for message in kind.queue.settled) == sorted(
        message.id for message in kind.queue.messages), "each acknowledged once"
    assert sluice.dead() == []
    kind.server.check()


def raw_bodies(function, count):
    function.wait_invocations(count, 20)
    return sorted(invocation.body for invocation in function.invocations)


def test_bodies_that_are_json(make_kind, function, sluice, mapping):
    """They reach the function as they were sent: spaces, digits, escapes, order."""
    kind = make_kind("pgmq")
    bodies = [b'{"b" : 1.50, "a":\t12345678901234567890123, "a": 2}', b'"\\u00e9 \\/"', b"1e400", b"null",
              b'[ ]', b'{"x": {"nested": [1, {"x": []}]}}']
    kind.server.produce(kind.queue, bodies)
    sluice.mapping("m", mapping(kind, batch={"size": 1}, target={
        "format": "raw", "http": {"headers": {"X-Test-Format": "raw"}}}))
    sluice.start()
    # A string is a text: what it says, without quotes.
    assert raw_bodies(function, len(bodies)) == sorted(
        "é /".encode() if body[:1] == b'"' else body for body in bodies)
    kind.server.wait_settled(kind.queue)


def test_what_a_message_carries(make_kind, function, sluice, mapping):
    cloud, google = make_kind("cloudflare"), make_kind("pubsub")
    cloud.server.produce(cloud.queue, ["a"], "text", **{"CF-sourceMessageSource": "dash"})
    google.server.produce(google.queue, ["b"], colour="grün", empty="")
    for name, kind in (("cloud", cloud), ("google", google)):
        sluice.mapping(name, mapping(kind))
    sluice.start()
    function.wait_invocations(2, 20)
    for invocation in function.invocations:
        record = invocation.event()["records"][0]
        kind = cloud if record["value"] == "a" else google
        message = kind.queue.messages[0]
        headers = {header["name"]: header["value"] for header in record["headers"]}
        assert record["token"] == message.id and record["timestamp"] == message.born_ms
        assert headers.items() >= message.attributes.items()


def test_servers_are_told_who_asks(make_kind, function, sluice, mapping):
    plain, named = make_kind("ironmq"), make_kind("pgmq")
    sluice.mapping("plain", mapping(plain))
    sluice.mapping("named", mapping(named, source={"generic": {"headers": {"user-agent": "orders/7"}}}))
    sluice.start()
    for kind, agent in ((plain, "sluice/"), (named, "orders/7")):
        kind.produce(texts(1))
        kind.server.wait_settled(kind.queue)
        assert all(request.headers["user-agent"].startswith(agent) for request in kind.server.requests)


def test_acknowledged_only_after_it_is_done(kind, function, sluice, mapping):
    kind.produce(texts(20))
    function.behave = lambda invocation: Answer(503)
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_invocations(3, 20)
    stays(lambda: not kind.queue.settled, 1, "nothing is acknowledged while the function is down")
    function.behave = lambda invocation: OK
    function.wait_done(ids(20), 30)
    kind.server.wait_settled(kind.queue)
    kind.server.check()


def test_a_dead_letter_is_acknowledged_too(kind, function, sluice, mapping):
    kind.produce(texts(30))
    function.behave = poison(["m-7"])
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(set(ids(30)) - {"m-7"}, 20)
    assert sluice.wait_dead(1)[0]["token"] == kind.queue.messages[7].id or kind.server.numbers
    kind.server.wait_settled(kind.queue)
    kind.server.check()


def test_attempts_of_others_count(kind, function, sluice, mapping):
    """A message that was delivered before, to whomever, tells so."""
    kind.produce(texts(1))
    with kind.server.changes:
        for _ in range(2):
            kind.queue.release(kind.queue.take(1, 30)[0].receipt, 0)
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(1), 20)
    assert function.invocations[0].records[0].attempt == 3


def test_given_back_at_the_end(kind, function, sluice, mapping):
    """What is not done when sluice stops comes again at once, not after its lease."""
    kind.produce(texts(20))
    function.behave = lambda invocation: Answer(how="hang")
    sluice.mapping("m", mapping(kind, target={"http": {"timeout": "60s", "concurrency": 1}},
                                drain="3s", source={"lease": "5m"}))
    sluice.start()
    function.wait_invocations(1, 20)
    sluice.terminate(30)
    assert not kind.queue.settled
    kind.server.wait(lambda server: not kind.queue.leased(), 5, "release of all")
    kind.server.check()


def test_more_than_an_answer_may_hold(make_kind, function, sluice, mapping):
    """Asked for fewer, the server's answers fit."""
    kind = make_kind("pubsub")
    kind.queue.deadline = 1
    kind.produce([json.dumps({"id": f"m-{n}", "pad": "x" * 50_000}) for n in range(100)])
    sluice.mapping("m", mapping(kind, source={"answer_bytes": "1 MiB"}))
    sluice.start()
    function.wait_done(ids(100), 40)
    kind.server.wait_settled(kind.queue)
    assert sluice.find_events("source_state", state="unreachable")
    kind.server.check()


# ---- ordering keys ----

def test_ordering_keys(make_kind, function, sluice, mapping):
    """In order within a key, under failures and across batches; other keys go on."""
    kind = make_kind("pubsub")
    queue = kind.server.subscription("ordered", ordered=True)
    dice = random.Random(11)
    keys = [f"k{number}" for number in range(5)]
    for number in range(200):
        key = keys[number % 5]
        kind.server.produce(queue, [json.dumps({"id": f"{key}-{number // 5}"})], key=key)

    function.behave = lambda _: Answer(500) if dice.random() < 0.2 else OK
    sluice.mapping("m", mapping(kind, source={"pubsub": {"subscription": "ordered"}}, order="lane", batch={"size": 4},
                                retry={"attempts": 50}))
    sluice.start()
    wanted = [f"{key}-{number}" for key in keys for number in range(40)]
    function.wait_done(wanted, 60)
    kind.server.wait_settled(queue, 30)
    for key in keys:
        done = [record.id for invocation in function.invocations if invocation.answer.success
                for record in invocation.records if record.id.startswith(f"{key}-")]
        assert done == [f"{key}-{number}" for number in range(40)]
    kind.server.check()


def test_a_bad_message_holds_back_its_key_only(make_kind, function, sluice, mapping):
    kind = make_kind("pubsub")
    queue = kind.server.subscription("ordered", ordered=True)
    for key in ("a", "b"):
        kind.server.produce(queue, texts(30, key), key=key)
    function.behave = lambda invocation: Answer(503) if any(
        name.startswith("a-") for name in invocation.ids) else OK
    sluice.mapping("m", mapping(kind, source={"pubsub": {"subscription": "ordered"}}, order="lane", batch={"size": 1}))
    sluice.start()
    until(lambda: "b-0" in function.done, 20, "work on the other key")
    assert not [name for name in function.done if name.startswith("a-")]
    function.behave = lambda invocation: OK
    function.wait_done(ids(30, "a") + ids(30, "b"), 30)


# ---- what breaks ----

BAD = {
    "truncated": (http_queue.truncated, "failed"),
    "cut": (http_queue.cut, "unreachable"),
    "html": (http_queue.html(), "failed"),
    "html 502": (http_queue.html(502), "unreachable|failed"),
    "error 500": (http_queue.instead(500, b'{"error": "oops"}'), "unreachable|failed"),
    "wrong types": (http_queue.wrong_types, "failed"),
    "redirect": (http_queue.redirect("http://127.0.0.1:9/elsewhere"), "failed"),
    "no body": (http_queue.instead(200, b""), "failed"),
    "reset": (http_queue.lost, "unreachable"),
}


@pytest.mark.parametrize("how", BAD)
def test_bad_answers_to_receive(kind, how, function, sluice, mapping):
    """A named state, growing pauses, nothing settled, no crash; and all is done afterwards."""
    misbehave, state = BAD[how]
    if how == "wrong types" and isinstance(kind.server, Pgmq):
        misbehave = http_queue.instead(200, b'{"messages": 7}')  # texts for numbers are fine there
    kind.produce(texts(20))
    kind.server.behave = misbehave
    sluice.mapping("m", mapping(kind, source={"lease": "2s"}))
    kind.queue.deadline = 2
    sluice.start()
    told = until(lambda: [event for event in sluice.find_events("source_state")
                          if event["state"] in state.split("|")], 20, sluice.tail)[0]["text"]
    assert len(told) > 20 and "tried again" in told or "correct" in told or "does not" in told
    before = kind.count(kind.receive)
    stays(lambda: kind.count(kind.receive) <= before + 15 and not kind.queue.settled
          and not function.invocations, 2, "pauses between tries, and nothing is settled")
    kind.server.behave = lambda request, proceed: proceed()
    function.wait_done(ids(20), 40)
    kind.server.wait_settled(kind.queue, 30)
    assert sluice.dead() == []


ERRORS_INSIDE = {
    "cloudflare": b'{"success": false, "errors": [{"code": 10013, "message": "internal trouble"}], '
                  b'"messages": [], "result": null}',
    "pubsub": b'{"error": {"code": 500, "message": "internal trouble", "status": "INTERNAL"}}',
}


@pytest.mark.parametrize("name", ERRORS_INSIDE)
def test_a_success_with_an_error_inside(make_kind, name, function, sluice, mapping):
    kind = make_kind(name)
    kind.produce(texts(10))
    sluice.mapping("m", mapping(kind, source={"lease": "2s"}))
    kind.server.behave = http_queue.instead(200, ERRORS_INSIDE[name])
    sluice.start()
    sluice.wait_for_log("internal trouble")
    # The same for acknowledgements: they are made again.
    kind.server.behave = http_queue.only(kind.ack, http_queue.instead(200, ERRORS_INSIDE[name]))
    function.wait_done(ids(10), 20)
    stays(lambda: not kind.queue.settled, 0.5, "nothing is acknowledged yet")
    kind.server.behave = lambda request, proceed: proceed()
    kind.server.wait_settled(kind.queue, 20)
    kind.server.check()


@pytest.mark.parametrize("how", ["error 500", "html", "lost", "cut"])
def test_bad_answers_to_acknowledgements(kind, how, function, sluice, mapping):
    """They are made again until one was taken, and no message is invoked twice by it."""
    misbehave = {**{name: pair[0] for name, pair in BAD.items()}, "lost": http_queue.lost}[how]
    kind.produce(texts(20))
    failed = []

    def behave(request, proceed):
        if kind.is_ack(request):
            if len(failed) < 3:
                failed.append(request)
                return misbehave(request, proceed)
        return proceed()
    kind.server.behave = behave
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(20), 20)
    kind.server.wait_settled(kind.queue, 30)
    # Where it was done before it went wrong, others may have gone with the first one.
    assert len(failed) >= 1 and set(function.seen.values()) == {1}
    assert len(failed) == 3 or how in ("lost", "cut")
    until(lambda: sluice.metric("sluice_settlement_failures_total") >= 1, 10, "they are counted")


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(kind, status, function, sluice, mapping):
    kind.produce(texts(5))
    slowed = []

    def behave(request, proceed):
        if not slowed:
            slowed.append(request)
            return http_queue.throttled(2, status)(request, proceed)
        return proceed()
    kind.server.behave = behave
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(5), 20)
    later = [request for request in kind.server.requests if request is not slowed[0]
             and called(request).endswith(kind.receive)]
    assert later[0].at - slowed[0].at >= 1.9


@pytest.mark.parametrize("name", ["cloudflare", "ironmq", "pgmq"])
def test_credentials_refused(make_kind, name, function, sluice, mapping):
    kind = make_kind(name)
    kind.produce(texts(5))
    right = kind.server.token if name == "cloudflare" else kind.server.secret
    setattr(kind.server, "token" if name == "cloudflare" else "secret", "another")
    sluice.mapping("m", mapping(kind))
    sluice.start()
    sluice.wait_for_event("source_state", state="unauthorised")
    assert right not in "\n".join(sluice.lines)
    setattr(kind.server, "token" if name == "cloudflare" else "secret", right)
    function.wait_done(ids(5), 40)
    kind.server.wait_settled(kind.queue)


@pytest.mark.parametrize("name", ["cloudflare", "pubsub", "ironmq", "pgmq"])
def test_no_such_queue(make_kind, name, function, sluice, mapping):
    kind = make_kind(name)
    places = kind.server.subscriptions if name == "pubsub" else kind.server.queues
    kept = dict(places)
    places.clear()
    kind.produce(texts(5))
    sluice.mapping("m", mapping(kind))
    sluice.start()
    sluice.wait_for_event("source_state", state="missing")
    places.update(kept)
    function.wait_done(ids(5), 40)


def test_killed(kind, function, sluice, mapping):
    """Killed again and again while it works: nothing is lost, and what was acknowledged before had its
    record, so that it is not repeated."""
    kind.produce(texts(400))
    kind.queue.deadline = 2
    sluice.mapping("m", mapping(kind, source={"lease": "2s"}, batch={"size": 5},
                                target={"http": {"concurrency": "1..4"}}))
    function.behave = lambda invocation: Answer(200, delay=0.02)
    settled = set()
    for already in (40, 120, 200):
        sluice.start()
        kind.server.wait(lambda _: len(kind.queue.settled) >= already, 30,  # noqa: B023
                         f"{already} acknowledged")
        sluice.kill9()
        settled |= {(json.loads(message.body)["id"]) for message in kind.queue.settled}
        function.wait(lambda f: not f.in_flight, 10, "end of what was in flight")
        seen = {name: function.seen[name] for name in settled}
    sluice.start()
    function.wait_done(ids(400), 60)
    kind.server.wait_settled(kind.queue, 60)
    assert {name: function.seen[name] for name in settled} == seen
    assert sluice.dead() == []


# ---- Google's tokens ----

@pytest.fixture
def with_account(make_kind, directory):
    """A Pub/Sub that wants tokens of a service account's, and the mapping's part for it."""
    kind = make_kind("pubsub", authentication="account")
    kind.server.account = ServiceAccount(directory, kind.server.token_uri)
    kind.source = merge(kind.source, {"pubsub": {"authentication": "key",
                                                 "key": kind.server.account.file.read_text()}})
    return kind


def test_a_service_account(with_account, function, sluice, mapping):
    kind = with_account
    kind.server.lifetime = 2
    kind.server.poll = 0.2
    kind.produce(texts(20))
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(20), 20)
    kind.server.wait(lambda server: server.tokens_given >= 3, 20, "tokens renewed before they end")
    kind.produce(texts(20, "late"))
    function.wait_done(ids(20, "late"), 20)
    kind.server.wait_settled(kind.queue)
    assert 401 not in {request.status for request in kind.server.requests}
    log = "\n".join(sluice.lines)
    assert not [token for token in kind.server.tokens if token in log] and "PRIVATE" not in log
    kind.server.check()


def test_a_token_that_is_refused_is_replaced(with_account, function, sluice, mapping):
    kind = with_account
    kind.server.poll = 0.2
    kind.produce(texts(5))
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(5), 20)
    with kind.server.changes:
        kind.server.tokens.clear()  # revoked
    kind.produce(texts(5, "late"))
    function.wait_done(ids(5, "late"), 30)
    kind.server.wait_settled(kind.queue)


def test_an_account_that_is_refused(with_account, function, sluice, mapping):
    kind = with_account
    kind.produce(texts(5))
    right, kind.server.account.email = kind.server.account.email, "another@example.com"
    sluice.mapping("m", mapping(kind))
    sluice.start()
    told = sluice.wait_for_event("source_state", state="unauthorised")["text"]
    assert "invalid_grant" in told and kind.server.token_uri in told
    kind.server.account.email = right
    function.wait_done(ids(5), 40)


def test_the_metadata_server(make_kind, function, sluice, mapping):
    kind = make_kind("pubsub", authentication="metadata")
    kind.produce(texts(5))
    sluice.environment["GCE_METADATA_HOST"] = f"127.0.0.1:{kind.server.port}"
    sluice.mapping("m", mapping(kind))
    sluice.start()
    function.wait_done(ids(5), 20)
    kind.server.wait_settled(kind.queue)
    kind.server.check()


def test_an_emulator(make_kind, function, sluice, mapping):
    kind = make_kind("pubsub")
    kind.produce(texts(5))
    sluice.environment["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{kind.server.port}"
    sluice.mapping("m", mapping(kind, source={"url": None, "pubsub": {"authentication": None}}))
    sluice.start()
    function.wait_done(ids(5), 20)
    kind.server.check()


# ---- before it runs ----

def check(sluice, mapping, *arguments):
    sluice.mapping("m", mapping)
    return run_cli("check", *arguments, "--config", sluice.config)


def test_check_connect(kind, sluice, mapping):
    kind.produce(texts(1))
    kind.server.poll = 0.2
    done = check(sluice, mapping(kind), "--connect")
    assert "given back" in done.stdout + done.stderr and done.returncode == 0
    assert not kind.queue.settled and not kind.queue.leased()
    places = kind.server.subscriptions if isinstance(kind.server, PubSub) else kind.server.queues
    places.clear()
    done = check(sluice, mapping(kind), "--connect")
    assert "404" in done.stdout + done.stderr or "does not exist" in done.stderr
    assert done.returncode != 0
    kind.server.close()
    done = check(sluice, mapping(kind), "--connect")
    assert done.returncode != 0 and kind.server.origin in done.stdout + done.stderr


MISTAKES = [
    ("cloudflare", {"cloudflare": {"queue": "orders"}}, "the queue's id"),
    ("cloudflare", {"cloudflare": {"account": None}}, "cloudflare.account: is missing"),
    ("cloudflare", {"token": None}, "token: is missing"),
    ("cloudflare", {"url": "api.cloudflare.com"}, "begins with https://"),
    ("cloudflare", {"pubsub": {"project": "p"}}, "belongs to dialect: pubsub"),
    ("cloudflare", {"poll": {"least": "10s", "most": "1s"}}, "less than poll.least"),
    ("pubsub", {"pubsub": {"subscription": "projects/p/subscriptions/s"}}, "the name alone"),
    ("pubsub", {"pubsub": {"key": "{}"}}, "is not used where pubsub.authentication is none"),
    ("pubsub", {"pubsub": {"authentication": "key"}}, "pubsub.key: is missing"),
    ("pubsub", {"pubsub": {"authentication": "key", "key": "geheim"}}, "no JSON object"),
    ("pubsub", {"lease": "11m"}, "at most 600 s"),
    ("ironmq", {"generic": {"id": "id"}}, "expected a JSON Pointer"),
    ("ironmq", {"generic": {"id": None}}, "generic.id: is missing"),
    ("ironmq", {"generic": {"body": None}}, "generic.body: is missing"),
    ("ironmq", {"generic": {"ack": {"url": None, "body": None}}}, "generic.ack.url: is missing"),
    ("ironmq", {"generic": {"ack": {"url": "http://h/x", "body": "{}"}}}, "names no message"),
    ("ironmq", {"generic": {"ack": {"body": '{"r": "{recipt}"}'}}}, "found {recipt}, expected {receipt}"),
    ("ironmq", {"generic": {"ack": {"body": '{"r": {receipt}'}}}, "is no JSON"),
    ("ironmq", {"generic": {"ack": {"url": "http://{receipt}/"}}}, "fixed host"),
    ("ironmq", {"generic": {"ack": {"body": '{"r": [{receipts}]}'}}}, "take one out"),
    ("ironmq", {"generic": {"receive": {"method": "GET"}}}, "a GET has no body"),
    ("ironmq", {"generic": {"publish": {"body": '{"b": 1}'}}}, "does not carry the payload"),
    ("ironmq", {"generic": {"extend": {"url": None}}}, "goes with generic.extend.url"),
    ("ironmq", {"generic": {"headers": {"Bad Name": "x"}}}, "the name of a header"),
    ("ironmq", {"generic": {"headers": {"Authorization": "none"}}}, "is used nowhere"),
    ("ironmq", {"token": None}, "{secret} stands for it"),
    ("ironmq", {"url": "http://127.0.0.1"}, "each call has a url of its own"),
]


@pytest.mark.parametrize("name, change, said", MISTAKES)
def test_mistakes(make_kind, name, change, said, sluice, mapping):
    kind = make_kind(name)
    done = check(sluice, mapping(kind, source=change))
    assert said in done.stdout + done.stderr and done.returncode == 78
    assert "geheim" not in done.stdout + done.stderr
