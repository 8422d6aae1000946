"""Secrets and files: what others on the machine can see of them."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess

import pytest

from lib.cloudflare import ACCOUNT, Cloudflare
from lib.function import poison
from lib.machine import BUILD, free_port, stop_process
from lib.oidc import TokenEndpoint
from lib.otlp import Receiver
from lib.plugin import numbered
from lib.sluice import quick_rules, run_cli
from lib.sqs import REGION, Sqs
from lib.waiting import until

CANARY = "canary-7f3a91"
# How each secret of the test is given.
FIELDS = {"sasl": "!file", "oauth": "!file", "basic": "!file", "bearer": "!credential",
          "header": "!file", "key": "!file", "target_key": "!env", "rabbit": "!env",
          "rabbit_url": "!credential", "rabbit_key": "!file", "control": "!file",
          "place": "!file", "sqs": "!credential", "sqs_session": "!env", "cloudflare": "!file",
          "traces": "!credential"}
# Where they stand: all options that hold a secret, of sluice.yaml, mappings and all connectors.
SECRET_OPTIONS = {
    "service": {"control_http.token"},
    "mapping": {"target.http.auth.basic.password", "target.http.auth.bearer",
                "target.http.tls.key_password"},
    "kafka": {"sasl.password", "sasl.oauth.client_secret", "tls.key_password"},
    "rabbitmq": {"url", "password", "tls.key_password"},
    "http": {"token", "tls.key_password", "pubsub.key", "sqs.secret_access_key", "sqs.session_token"},
}


def canary(field):
    return f"{CANARY}-{field}"


@pytest.fixture
def secret(sluice):
    """Text in a mapping that stands for a secret, and the file that holds it."""
    def make(field, broker=None):
        path = sluice.directory / "secrets" / field
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"amqp://nobody:{canary(field)}@{broker}/" if broker else canary(field))
        path.chmod(0o600)
        sluice.environment["CREDENTIALS_DIRECTORY"] = str(path.parent)
        if FIELDS[field] == "!env":
            sluice.environment[f"SECRET_{field}"] = canary(field)
        return f"SECRET-{field}"
    return make


def write(sluice, name, text):
    """The mapping, with the files of the secrets in it by reference."""
    sluice.mapping(name, text)
    refer(sluice, sluice.mappings / f"{name}.yaml")


def refer(sluice, path):
    """Puts references where the file says SECRET-..."""
    content = path.read_text()
    for field, reference in FIELDS.items():
        place = {"!file": f"{sluice.directory}/secrets/{field}", "!env": f"SECRET_{field}",
                 "!credential": field}[reference]
        content = content.replace(f'"SECRET-{field}"', f"{reference} {place}")
    path.write_text(content)


def searched(sluice):
    """{where: bytes} of all that others may get to see."""
    found = {"log": "\n".join(sluice.lines).encode(), "metrics": sluice.get("/metrics")[1].encode()}
    with open(f"/proc/{sluice.pid}/cmdline", "rb") as file:
        found["cmdline"] = file.read()
    # What `!env` names is there because somebody put it there; nothing else may be.
    with open(f"/proc/{sluice.pid}/environ", "rb") as file:
        found["environ"] = b"\0".join(entry for entry in file.read().split(b"\0")
                                      if not entry.startswith(b"SECRET_"))
    for path in ("/livez", "/readyz"):
        found[path] = sluice.get(path)[1].encode()
    names = [path.stem for path in sluice.mappings.glob("*.yaml")]
    for path in ("/v1/status", *(f"/v1/mappings/{name}" for name in names)):
        status, answer = sluice.control("GET", path)
        assert status == 200, path
        found[path] = str(answer).encode()
    for path in sluice.state.rglob("*"):
        if path.is_file():
            found[str(path)] = path.read_bytes()
    letter = sluice.dead()[0]["id"]
    for arguments in (("check", "--explain", sluice.config), ("check", "--connect", sluice.config),
                      ("status", "--state", sluice.state),
                      ("status", "--json", "--state", sluice.state),
                      ("dlq", "ls", "--json", "--state", sluice.state),
                      ("dlq", "stats", "--state", sluice.state),
                      ("dlq", "show", letter, "--curl", "--state", sluice.state),
                      ("dlq", "show", letter, "--state", sluice.state),
                      ("dlq", "log", "--state", sluice.state)):
        done = run_cli(*arguments, timeout=60, env={**os.environ, **sluice.environment})
        found[" ".join(map(str, arguments))] = (done.stdout + done.stderr).encode()
    return found


def test_the_secrets_searched_for_are_all_there_are():
    def secrets(*arguments):
        listed = json.loads(run_cli(*arguments, "--json").stdout)
        options = listed if isinstance(listed, list) else listed["options"]
        return {option["name"] for option in options if option["type"] == "secret"}
    assert secrets("keys") == SECRET_OPTIONS["mapping"]
    assert secrets("keys", "--service") == SECRET_OPTIONS["service"]
    for connector in ("kafka", "rabbitmq", "http"):
        assert secrets("connectors", connector, "--connectors", BUILD / "connectors") == \
            SECRET_OPTIONS[connector]


def test_no_secret_is_seen_anywhere(cluster, rabbit, function, make_function, sluice, mapping_for,
                                    rabbit_mapping, secret):
    topic = cluster.topic(1)
    function.behave = poison(["m-0"], 400)
    endpoint = TokenEndpoint(cluster.issuer)
    aws, cloud, receiver = Sqs(), Cloudflare(), Receiver()
    try:
        def kafka(name, changes, **more):
            write(sluice, name, mapping_for(topic, {"source": {"kafka": {"group": f"{topic}-{name}",
                                                                        **changes}}, **more}))
        kafka("basic", {}, target={"http": {"auth": {"basic": {
            "username": "u", "password": secret("basic")}}, "headers": {
                "X-Api-Key": secret("header")}}})
        kafka("bearer", {}, target={"http": {"auth": {"bearer": secret("bearer")}}})
        kafka("login", {"brokers": cluster.address("SASL"), "sasl": {
            "mechanism": "PLAIN", "username": "alice", "password": secret("sasl")}})
        kafka("oidc", {"brokers": cluster.address("SASL"), "sasl": {
            "mechanism": "OAUTHBEARER", "oauth": {"token_url": endpoint.url, "client_id": "wrong",
                                                  "client_secret": secret("oauth")}}})
        kafka("key", {"brokers": cluster.address("MTLS"), "tls": {
            "ca_file": str(cluster.authority.ca),
            "certificate_file": cluster.authority.path("client.crt"),
            "key_file": cluster.authority.path("client.key"), "key_password": secret("key")}})
        secured = make_function(certificate=cluster.authority.path("server.pem"))
        kafka("target", {}, target={"http": {
            "url": secured.url, "tls": {
                "ca_file": str(cluster.authority.ca),
                "certificate_file": cluster.authority.path("client.crt"),
                "key_file": cluster.authority.path("client.key"),
                "key_password": secret("target_key")}}})
        queue = rabbit.queue()

        def queues(name, **source):
            write(sluice, name, rabbit_mapping(rabbit, queue, {"source": {"rabbitmq": source}}))
        queues("amqp", username="nobody", password=secret("rabbit"))
        queues("url", hosts=None, url=secret("rabbit_url", broker=rabbit.address()))
        queues("amqps", hosts=rabbit.address("TLS", "localhost"), username="nobody",
               tls={"ca_file": str(rabbit.authority.ca),
                    "certificate_file": rabbit.authority.path("client.crt"),
                    "key_file": rabbit.authority.path("client.key"),
                    "key_password": secret("rabbit_key")})

        def http(name, **source):
            write(sluice, name, {**quick_rules(function), "source": {"http": {"dialect": name, **source}}})
        http("sqs", url=aws.origin, sqs={
            "queue": aws.url(aws.queue()), "region": REGION, "access_key_id": "AKIDNOBODY",
            "secret_access_key": secret("sqs"), "session_token": secret("sqs_session")})
        http("cloudflare", url=cloud.api_url, token=secret("cloudflare"), cloudflare={
            "account": ACCOUNT, "queue": cloud.queue()[0]})
        kafka("letters", {}, dead_letter={"to": {"rabbitmq": {
            "hosts": rabbit.address(), "queue": "q", "username": "nobody",
            "password": secret("place")}}})
        cluster.produce(topic, numbered(3))
        port = free_port()
        # It refuses, and says all that it was told.
        receiver.behave = lambda spans: (401, json.dumps(receiver.requests[-1]).encode(), {})
        sluice.settings(log={"format": "json", "level": "debug"},
                        traces={"endpoint": receiver.url, "sample": 1,
                                "headers": {"Authorization": secret("traces")}},
                        control_http={"listen": f"127.0.0.1:{port}", "token": secret("control")})
        refer(sluice, sluice.config / "sluice.yaml")
        sluice.start()
        ways = [ask_control(port, token) for token in
                (canary("control"), canary("control")[:-1], "wrong", canary("control"))]
        assert [status for status, _ in ways] == [200, 401, 401, 200]
        # Of basic, bearer and key: the target refused them, so there are letters and failures.
        sluice.wait_dead(3)
        sluice.wait_for_log("login.*(authentic|refused|failed)")
        sluice.wait_for_log("oidc.*answers 401")
        for name in ("sqs", "cloudflare"):
            sluice.wait_for_event("source_state", mapping=name, state="unauthorised")
        for name in ("amqp", "url"):
            until(lambda: "refused" in str(sluice.control("GET", f"/v1/mappings/{name}")[1]), 20,
                  f"{name}: the broker's refusal")
        until(lambda: "refuses" in str(sluice.control("GET", "/v1/mappings/letters")[1]), 20,
              "letters: the refusal of their place")
        secured.wait_done(["m-0", "m-1", "m-2"], 20)
        # The secrets were really used, or there would be nothing to find.
        sent = {i.headers.get("authorization", "") for i in function.invocations}
        assert f"Bearer {canary('bearer')}" in sent and any(h.startswith("Basic ") for h in sent)
        assert canary("header") in {i.headers.get("x-api-key") for i in function.invocations}
        sluice.wait_for_event("traces_failed")
        assert receiver.requests[0]["Authorization"] == canary("traces")
        # A reload that is refused tells of the mistake, not of the values beside it.
        path = sluice.mappings / "bearer.yaml"
        good = path.read_text()
        path.write_text(good.replace('"order"', '"ordr"'))
        assert sluice.control("POST", "/v1/reload")[0] == 422
        path.write_text(good)
        answers = {f"control_http {i}": text for i, (_, text) in enumerate(ways)}
        for where, content in {**searched(sluice), **answers}.items():
            assert CANARY.encode() not in content, where
        assert {r.headers.get("x-amz-security-token") for r in aws.requests} == {canary("sqs_session")}
        assert f"Bearer {canary('cloudflare')}" in {r.headers["authorization"] for r in cloud.requests}
    finally:
        for server in (endpoint, aws, cloud, receiver):
            server.close()


def ask_control(port, token):
    """(status, all of the answer's bytes)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, str(response.headers).encode() + response.read()
    finally:
        connection.close()


def test_what_it_makes_is_for_its_own_user(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    function.behave = poison(["m-0"], 400)
    sluice.mapping("orders", mapping_for(topic))
    cluster.produce(topic, numbered(3))
    # As bad as it can be set up: nothing is taken away from what programs ask for.
    sluice.start(wrapper=("sh", "-c", 'umask 0; exec "$@"', "sh"))
    sluice.wait_dead(1)
    assert stat.S_IMODE(sluice.listener.stat().st_mode) == 0o660
    found = {}
    for path in (sluice.state, *sluice.state.rglob("*")):
        found[os.path.relpath(path, sluice.state)] = stat.S_IMODE(path.stat().st_mode)
    assert found.pop(".") & 0o007 == 0, "the state directory"
    assert found.pop("control.sock") == 0o660
    assert any("tokens" in name for name in found) and any("dead" in name for name in found)
    assert {name: mode for name, mode in found.items() if mode != 0o600} == {}


# ---- TLS ----

def test_certificates_that_are_not_checked_are_seen(cluster, function, sluice, mapping_for):
    """Whoever looks at the service is told, not only who wrote the file."""
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic, {
        "source": {"kafka": {"brokers": cluster.address("TLS"), "tls": {"verify": False}}},
        "target": {"http": {"tls": {"verify": False}}}}))
    done = run_cli("check", sluice.config)
    assert done.returncode == 0
    assert "source.kafka.tls.verify: false" in done.stdout + done.stderr
    assert "target.http.tls.verify: false" in done.stdout + done.stderr
    sluice.start()
    assert sluice.control("GET", "/v1/status")[1]["mappings"][0]["unverified"] == \
        ["source", "target"]
    text = run_cli("status", "m", "--state", sluice.state).stdout
    assert "the source's certificate is not checked" in text
    assert "the target's certificate is not checked" in text


@contextlib.contextmanager
def server_of(cluster, version):
    """The port of one that speaks that version of TLS only, and is no broker behind it."""
    port = free_port()
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", version, "-www",
         "-cipher", "ALL:@SECLEVEL=0", "-cert", cluster.authority.path("server.crt"),
         "-key", cluster.authority.path("server.key")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        until(lambda: is_open(port), 20, "the old server")
        yield port
    finally:
        stop_process(server)
        server.stdout.close()


def source_at(kind, port, ca):
    tls = {"ca_file": str(ca)}
    return {
        "kafka": {"kafka": {"brokers": f"localhost:{port}", "topic": "t", "group": "g", "tls": tls}},
        "rabbitmq": {"rabbitmq": {"hosts": f"localhost:{port}", "queue": "q", "tls": tls}},
        "http": {"http": {"dialect": "generic", "tls": tls, "generic": {
            "queue": "q", "receive": {"url": f"https://localhost:{port}/get"}, "list": "/messages",
            "id": "/id", "body": "/body", "receipt": "/receipt",
            "ack": {"url": f"https://localhost:{port}/ack/{{receipt}}"}}}},
    }[kind]


@pytest.mark.parametrize("kind", ["kafka", "rabbitmq", "http"])
def test_a_source_that_speaks_only_tls_1_1_is_not_spoken_to(cluster, function, sluice, kind):
    def check(version):
        with server_of(cluster, version) as port:
            name = version.strip("-").replace("_", "-")
            sluice.mapping(name, {
                "source": source_at(kind, port, cluster.authority.ca),
                "target": {"http": {"url": function.url}}, "idempotency": {"token": "hash"}})
            file = sluice.mappings / f"{name}.yaml"
            done = run_cli("check", "--connect", file, timeout=60)
            assert done.returncode != 0
            return done.stdout + done.stderr
    versions = ("-tls1_1", "-tls1_2")
    with concurrent.futures.ThreadPoolExecutor() as both:
        found = dict(zip(versions, both.map(check, versions)))
    # librabbitmq does not tell what went wrong with TLS, and librdkafka offers no cipher of 1.1.
    refusal = {"rabbitmq": "TLS fails", "kafka": "handshake failure", "http": "protocol version"}[kind]
    if kind == "kafka" and not re.search(refusal, found["-tls1_1"]):  # nor does librdkafka 2.8
        assert "no broker of" in found["-tls1_1"]
        return
    assert re.search(refusal, found["-tls1_1"]), found["-tls1_1"]
    # The same server with 1.2 is no broker either, but that is said after the handshake.
    assert not re.search(refusal, found["-tls1_2"]), found["-tls1_2"]


def test_a_function_that_speaks_only_tls_1_1_is_not_spoken_to(cluster, sluice, mapping_for):
    with server_of(cluster, "-tls1_1") as port:
        target = {"target": {"http": {"url": f"https://localhost:{port}/",
                                      "tls": {"ca_file": str(cluster.authority.ca)}}}}
        sluice.mapping("m", mapping_for(cluster.topic(1), target))
        done = run_cli("check", "--connect", sluice.config, timeout=60)
        assert done.returncode != 0
        assert re.search("protocol version", done.stdout + done.stderr), done.stdout + done.stderr
        topic = cluster.topic(1)
        cluster.produce(topic, numbered(1))
        sluice.mapping("m", mapping_for(topic, target))
        sluice.start()
        sluice.wait_for_log("protocol version")


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def test_no_property_undoes_what_tls_must_be(cluster, sluice, mapping_for):
    sluice.mapping("m", mapping_for(cluster.topic(1), {"source": {"kafka": {
        "tls": {"enabled": True}, "properties": {"ssl.cipher.suites": "ALL:@SECLEVEL=0"}}}}))
    done = run_cli("check", sluice.config)
    assert done.returncode == 78 and "ssl.cipher.suites" in done.stdout + done.stderr
