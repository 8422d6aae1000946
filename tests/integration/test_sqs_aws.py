"""What only AWS itself does, and no look-alike: keys in all its ways, signatures and their time, errors,
checksums, and batches that are taken in part."""

import json

import pytest

from lib import http_queue
from lib.aws_keys import ROLE_ARN, AwsKeys
from lib.function import OK, Answer
from lib.plugin import ids
from lib.sigv4 import Key
from lib.sluice import merge, quick_rules, run_cli
from lib.sqs import ACCOUNT, KEY_ID, REGION, SECRET, Sqs, error
from lib.waiting import stays, until


@pytest.fixture
def server():
    server = Sqs()
    server.poll = 0.3
    yield server
    server.close()


@pytest.fixture
def services(server, sluice):
    """STS and the metadata services, whose keys are the only ones that `server` takes."""
    services = AwsKeys(server)
    sluice.environment.update({"AWS_ENDPOINT_URL_STS": services.origin,
                               "AWS_EC2_METADATA_SERVICE_ENDPOINT": services.origin + "/"})
    yield services
    services.close()


@pytest.fixture(autouse=True)
def bare(sluice, directory, monkeypatch):
    """Nothing of the machine's own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
                 "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL",
                 "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                 "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(directory / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")


@pytest.fixture
def mapping(function, server):
    """A working mapping of the queue `orders`, which `server` has, without keys."""
    server.queue()

    def make(changes=None, source=None, **sections):
        base = {"source": {"http": merge({
            "dialect": "sqs", "url": server.origin, "lease": "30s", "timeout": "5s",
            "poll": {"least": "50ms", "most": "500ms"}, "sqs": {"queue": "orders", "region": REGION}},
            source or {})}, "idempotency": {"token": "message_id"}}
        return merge(merge({**quick_rules(function), **base}, changes or {}), sections)
    return make


KEYS = {"sqs": {"access_key_id": KEY_ID, "secret_access_key": SECRET}}


def texts(count, prefix="m"):
    return [json.dumps({"id": f"{prefix}-{n}", "n": n}) for n in range(count)]


def lag_of(sluice):
    return sluice.control("GET", "/v1/mappings/m")[1]["lag"]


def refusals(server):
    return [request for request in server.requests if request.status == 403]


class Works:
    """Takes messages, once, and shows nothing of its secrets."""

    def __init__(self, server, function, sluice):
        self.server, self.function, self.sluice, self.rounds = server, function, sluice, 0

    def __call__(self, timeout=20):
        queue = self.server.queues["orders"]
        self.rounds += 1
        self.server.produce(queue, texts(5, f"r{self.rounds}"))
        self.function.wait_done(ids(5, f"r{self.rounds}"), timeout)
        self.server.wait_settled(queue)
        self.server.check()
        log = "\n".join(self.sluice.lines)
        for key in self.server.keys.values():
            assert key.secret not in log and (key.session or key.secret) not in log


@pytest.fixture
def works(server, function, sluice):
    return Works(server, function, sluice)


# ---- keys ----

def test_keys_in_the_mapping(server, sluice, mapping, works):
    server.keys = {"AKIA2": Key("another/secret", "session+/token==")}
    sluice.mapping("m", mapping(source={"sqs": {
        "access_key_id": "AKIA2", "secret_access_key": "another/secret",
        "session_token": "session+/token=="}}))
    sluice.start()
    works()
    assert not refusals(server)


def test_keys_in_the_environment(server, sluice, mapping, works):
    sluice.environment.update({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})
    sluice.mapping("m", mapping())
    sluice.start()
    works()
    assert not refusals(server)


def test_keys_of_a_profile(server, sluice, mapping, works, directory):
    """Also new ones, when the old ones are refused."""
    file = directory / "credentials"
    file.write_text(f"# ours\n[default]\naws_access_key_id = wrong\n\n[ other ]\n"
                    f"AWS_ACCESS_KEY_ID={KEY_ID}\naws_secret_access_key = {SECRET}  # a comment\n")
    (directory / "config").write_text(f"[profile other]\nregion = {REGION}\ns3 =\n  region = nowhere\n")
    sluice.mapping("m", mapping(source={"sqs": {"profile": "other", "region": None}}))
    sluice.start()
    works()
    server.keys = {"AKIANEW": Key("new/secret")}
    sluice.wait_for_event("source_state", state="unauthorised")
    file.write_text("[other]\naws_access_key_id = AKIANEW\naws_secret_access_key = new/secret\n")
    works(40)


def test_a_role_of_a_profile(server, services, sluice, mapping, works, directory):
    services.source_keys["AKIASOURCE"] = Key("source/secret")
    services.lifetime, services.external_id = 4, "tests & more"
    (directory / "credentials").write_text(
        "[base]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = source/secret\n")
    (directory / "config").write_text(
        f'[profile "role"]\nrole_arn = {ROLE_ARN}\nsource_profile = base\nexternal_id = tests & more\n')
    sluice.environment["AWS_PROFILE"] = "role"
    sluice.mapping("m", mapping())
    sluice.start()
    works()
    services.wait(lambda _: len(services.given) >= 3, 20, "keys renewed before they end")
    works()
    assert not refusals(server) and set(services.given) == {"AssumeRole"}
    services.check()


def test_a_web_identity(server, services, sluice, mapping, works, directory):
    """Its token is read anew each time, as it changes."""
    token = directory / "token"
    token.write_text(services.identity + "\n")
    services.lifetime = 4
    sluice.environment.update({"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE_ARN})
    sluice.mapping("m", mapping())
    sluice.start()
    works()
    services.identity = "e30.another.signature"
    token.write_text(services.identity)
    before = len(services.given)
    services.wait(lambda _: len(services.given) >= before + 2, 20, "keys renewed before they end")
    works()
    services.check()


def test_a_container(server, services, sluice, mapping, works, directory):
    """Which is not asked through a proxy."""
    token = directory / "token"
    token.write_text(services.container_token)
    services.lifetime = 4
    sluice.environment.update({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://localhost:{services.port}/container",
                               "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
                               "http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"})
    sluice.mapping("m", mapping())
    sluice.start()
    works()
    services.wait(lambda _: len(services.given) >= 3, 20, "keys renewed before they end")
    works()
    assert not refusals(server)
    services.check()


def test_an_instance(server, services, sluice, mapping, works):
    services.lifetime = 4
    sluice.mapping("m", mapping())
    sluice.start()
    works()
    services.wait(lambda _: len(services.given) >= 3, 20, "keys renewed before they end")
    works()
    assert not refusals(server)
    services.check()


def test_an_instance_without_a_role(services, sluice, mapping, works):
    services.role = ""
    sluice.mapping("m", mapping())
    sluice.start()
    told = sluice.wait_for_event("source_state", state="unauthorised")["text"]
    assert "instance profile" in told and "sqs.access_key_id" in told
    services.role = "sluice-tests"
    works(40)


def test_keys_do_while_new_ones_are_not_to_be_had(server, services, sluice, mapping, works):
    services.lifetime = 8
    sluice.mapping("m", mapping())
    sluice.start()
    works()
    services.behave = http_queue.instead(500)
    services.wait(lambda _: services.requests[-1].status == 500, 20, "a try to renew them")
    works(5)
    assert not sluice.find_events("source_state", state="unauthorised") and not refusals(server)


# ---- what AWS says ----

def test_a_clock_that_is_wrong(server, sluice, mapping, works):
    for ahead in (7200, -7200):
        server.ahead = ahead
        sluice.mapping("m", mapping(source=KEYS))
        sluice.start()
        works()
        told = sluice.wait_for_event("source_state", state="unauthorised")["text"]
        assert "clock" in told and "720" in told or "719" in told
        assert len(refusals(server)) <= 4
        server.requests.clear()
        sluice.terminate()


SAID = {
    "QueueDoesNotExist": (400, "missing", "sqs.queue"),
    "ThrottlingException": (400, "unreachable", "slows us down"),
    "RequestThrottled": (403, "unreachable", "slows us down"),
    "OverLimit": (403, "unreachable", "in flight"),
    "ExpiredTokenException": (403, "unauthorised", "sqs.session_token"),
    "InvalidClientTokenId": (403, "unauthorised", "give another one"),
    "SignatureDoesNotMatch": (403, "unauthorised", "sqs.secret_access_key"),
    "AccessDeniedException": (400, "unauthorised", "sqs:ReceiveMessage"),
    "InternalFailure": (500, "unreachable", "tried again"),
    "SomethingElse": (400, "failed", "SomethingElse"),
}


@pytest.mark.parametrize("code", SAID)
def test_what_it_says_to_receives(code, server, sluice, mapping, works):
    status, state, text = SAID[code]
    sluice.mapping("m", mapping(source=KEYS))
    sluice.start()
    works()
    server.behave = http_queue.only("ReceiveMessage", lambda *_: error(code, "Told by the test.", status))
    told = sluice.wait_for_event("source_state", state=state)["text"]
    assert code in told and text in told and "Told by the test." in told
    server.behave = lambda request, proceed: proceed()
    works(40)


@pytest.mark.parametrize("code", ["ThrottlingException", "ExpiredTokenException", "InternalFailure"])
def test_what_it_says_to_deletions(code, server, function, sluice, mapping):
    """They are made again: none is given up for what passes."""
    queue = server.queues.get("orders") or server.queue()
    sluice.mapping("m", mapping(source=KEYS))
    queue = server.queues["orders"]
    server.produce(queue, texts(20))
    server.behave = http_queue.only("DeleteMessageBatch", lambda *_: error(code, "Told by the test.",
                                                                           SAID[code][0]))
    sluice.start()
    function.wait_done(ids(20), 20)
    sluice.wait_for_event("source_state", state=SAID[code][1])
    server.behave = lambda request, proceed: proceed()
    server.wait_settled(queue, 40)
    assert set(function.seen.values()) == {1} and not sluice.find_events("settlement_refused")


def test_batches_that_are_taken_in_part(server, function, sluice, mapping):
    """What was not taken is asked for again, one by one; what never will be is told."""
    sluice.mapping("m", mapping(source=KEYS))
    queue = server.queues["orders"]
    server.produce(queue, texts(30))
    for number in (3, 4, 17):
        server.failing[queue.messages[number].id] = ["InternalError"] * 2
    gone = queue.messages[8]
    server.failing[gone.id] = ["ReceiptHandleIsInvalid"]
    sluice.start()
    function.wait_done(ids(30), 20)
    server.wait(lambda _: queue.left() == [gone], 20, lambda: f"deletion of all but one: {queue.left()}")
    assert gone.id in sluice.wait_for_event("settlement_refused")["text"]
    alone = [request for request in server.requests if request.name == "DeleteMessageBatch"
             and len(json.loads(request.body)["Entries"]) == 1]
    assert len(alone) >= 6 and set(function.seen.values()) == {1}
    server.check()


@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
def test_the_lag_is_counted(name, server, function, sluice, mapping):
    """Of both pollers, which tell the same; and rarely."""
    queue = server.queue(name)
    server.produce(queue, texts(40), "one" if queue.is_fifo else None)
    function.behave = lambda _: Answer(503)
    sluice.mapping("m", mapping(source={"sqs": {**KEYS["sqs"], "queue": name}}, pollers=2,
                                buffer={"messages": 10}))
    sluice.start()
    until(lambda: 20 <= (lag_of(sluice) or 0) <= 60, 20, "the lag")
    until(lambda: f'sluice_lag_messages{{mapping="m"}} {lag_of(sluice)}\n' in sluice.get("/metrics")[1], 10,
          "the same in the metrics")
    function.behave = lambda _: OK
    function.wait_done(ids(40), 20)
    server.wait_settled(queue)
    assert 1 <= server.count("GetQueueAttributes") <= 2
    server.check()


def test_the_lag_may_be_forbidden(server, function, sluice, mapping):
    queue = server.queues.get("orders") or server.queue()
    server.behave = http_queue.only("GetQueueAttributes", lambda *_: error(
        "AccessDeniedException", "not authorized to perform: sqs:getqueueattributes", 403))
    sluice.mapping("m", mapping(source=KEYS))
    sluice.start()
    server.produce(queue, texts(5))
    function.wait_done(ids(5), 20)
    assert "GetQueueAttributes" in sluice.wait_for_event("lag_unknown")["text"]
    server.wait_settled(queue)
    assert lag_of(sluice) is None and len(sluice.find_events("lag_unknown")) == 1
    assert sluice.control("GET", "/v1/mappings/m")[1]["state"] == "running"
    server.check()


@pytest.mark.parametrize("what", ["Body", "attributes"])
def test_a_message_that_was_changed_on_its_way(what, server, function, sluice, mapping):
    sluice.mapping("m", mapping(source={**KEYS, "lease": "1s"}))
    queue = server.queues["orders"]
    server.produce(queue, texts(1), attributes={"a": {"DataType": "Number", "StringValue": "1"}})

    def change(request, proceed):
        answer = proceed()
        old, new = (b'"n\\": 0', b'"n\\": 1') if what == "Body" else (b'"StringValue": "1"', b'"StringValue": "2"')
        assert b"Messages" not in answer.body or answer.body.replace(old, new) != answer.body
        answer.body = answer.body.replace(old, new)
        return answer
    server.behave = http_queue.only("ReceiveMessage", change)
    sluice.start()
    assert "MD5" in sluice.wait_for_event("source_state", state="failed")["text"]
    stays(lambda: not function.invocations and not queue.settled, 0.5, "it is not taken")
    server.behave = lambda request, proceed: proceed()
    function.wait_done(ids(1), 40)
    server.wait_settled(queue)


# ---- before it runs ----

MISTAKES = [
    ({"sqs": {"queue": None}}, "sqs.queue: is missing"),
    ({"sqs": {"queue": "a queue"}}, "expected a name of letters"),
    ({"sqs": {"queue": "x" * 81}}, "at most 80"),
    ({"sqs": {"queue": "https://sqs.eu-central-1.amazonaws.com/"}}, "without blanks"),
    ({"sqs": {"queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}}, "is in eu-west-1"),
    ({"sqs": {"region": None}}, "sqs.region: is missing"),
    ({"sqs": {"region": "Frankfurt"}}, "such as eu-central-1"),
    ({"sqs": {"account": "12"}}, "12 digits"),
    ({"sqs": {"secret_access_key": None}}, "sqs.secret_access_key: is missing"),
    ({"sqs": {"access_key_id": None}}, "sqs.access_key_id: is missing"),
    ({"sqs": {"profile": "p"}}, "sqs.profile: is not used"),
    ({"sqs": {"credentials": "instance"}}, "is not used where keys are got otherwise"),
    ({"sqs": {"access_key_id": None, "secret_access_key": None, "profile": "nowhere"}}, "no profile nowhere"),
    ({"sqs": {"access_key_id": None, "secret_access_key": None, "credentials": "environment"}}, "are not set"),
    ({"sqs": {"access_key_id": None, "secret_access_key": None, "credentials": "web_identity"}}, "are not set"),
    ({"token": "geheim"}, "sqs.secret_access_key"),
    ({"cloudflare": {"queue": "x"}}, "belongs to dialect: cloudflare"),
    ({"lease": "13h"}, "12h"),
    ({"sqs": {"wait": "21s"}}, "20s"),
]


@pytest.mark.parametrize("change, said", MISTAKES)
def test_mistakes(change, said, sluice, mapping):
    sluice.mapping("m", mapping({"source": {"http": change}}, source=KEYS))
    done = run_cli("check", "--config", sluice.config)
    assert said in done.stdout + done.stderr and done.returncode == 78
    assert SECRET not in done.stdout + done.stderr and "geheim" not in done.stdout + done.stderr


def test_what_a_queue_cannot_do(sluice, mapping):
    sluice.mapping("m", mapping(source=KEYS, order="key"))
    assert "messages of sqs have no keys" in run_cli("check", "--config", sluice.config).stderr
    sluice.mapping("m", mapping(source=merge(KEYS, {"sqs": {"queue": "orders.fifo"}}), order="key"))
    done = run_cli("check", "--config", sluice.config)
    assert done.returncode == 0 and "order" not in done.stderr
    sluice.mapping("m", mapping({"source": {"http": {
        "dialect": "cloudflare", "token": "t", "sqs": None,
        "cloudflare": {"account": "a" * 32, "queue": "b" * 32}}}}, target={"format": "lambda"}))
    done = run_cli("check", "--config", sluice.config)
    assert "which there is none of for cloudflare" in done.stderr and done.returncode == 78


def test_a_profile_that_needs_another_program(sluice, mapping, directory):
    (directory / "config").write_text("[profile p]\ncredential_process = /bin/keys\n")
    sluice.mapping("m", mapping(source={"sqs": {"profile": "p"}}))
    done = run_cli("check", "--config", sluice.config)
    assert f"{directory}/config: profile p has credential_process" in done.stderr and done.returncode == 78


def test_profiles_that_need_a_person(sluice, mapping, directory):
    """Also where nothing but the default profile speaks of keys, and where a role's keys are so."""
    (directory / "config").write_text(
        "[default]\nsso_session = corp\nsso_account_id = 1\nregion = eu-central-1\n"
        "[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\n")
    for profile in (None, "role"):
        sluice.mapping("m", mapping(source={"sqs": {"profile": profile}} if profile else None))
        done = run_cli("check", "--config", sluice.config)
        assert f"{directory}/config: profile default has sso_session" in done.stderr, done
        assert done.returncode == 78
        assert ("sqs.credentials" in done.stderr) == (profile is None)


def test_the_queue_of_another_account(server, sluice, mapping, works):
    sluice.mapping("m", mapping(source=merge(KEYS, {"sqs": {"account": ACCOUNT}})))
    sluice.start()
    works()
    asked = [json.loads(request.body) for request in server.requests if request.name == "GetQueueUrl"]
    assert asked == [{"QueueName": "orders", "QueueOwnerAWSAccountId": ACCOUNT}]
