"""Secrets and files: what others on the machine can see of them."""

import json
import os
import re
import socket
import stat
import subprocess

import pytest

from lib.function import poison
from lib.machine import BUILD, free_port, stop_process
from lib.oidc import TokenEndpoint
from lib.plugin import numbered
from lib.sluice import run_cli
from lib.waiting import until

CANARY = "canary-7f3a91"
# How each secret of the test is given.
FIELDS = {"sasl": "!file", "oauth": "!file", "basic": "!file", "bearer": "!credential",
          "header": "!file", "key": "!file", "target_key": "!env", "rabbit": "!env",
          "rabbit_url": "!credential", "rabbit_key": "!file"}
# Where they stand: all options that hold a secret, of mappings and of both connectors.
SECRET_OPTIONS = {
    "mapping": {"target.http.auth.basic.password", "target.http.auth.bearer",
                "target.http.tls.key_password"},
    "kafka": {"sasl.password", "sasl.oauth.client_secret", "tls.key_password"},
    "rabbitmq": {"url", "password", "tls.key_password"},
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
    path = sluice.mappings / f"{name}.yaml"
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
    for connector in ("kafka", "rabbitmq"):
        assert secrets("connectors", connector, "--connectors", BUILD / "connectors") == \
            SECRET_OPTIONS[connector]


def test_no_secret_is_seen_anywhere(cluster, rabbit, function, make_function, sluice, mapping_for,
                                    rabbit_mapping, secret):
    topic = cluster.topic(1)
    function.behave = poison(["m-0"], 400)
    endpoint = TokenEndpoint(cluster.issuer)
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
        cluster.produce(topic, numbered(3))
        sluice.settings(log={"format": "json", "level": "debug"})
        sluice.start()
        # Of basic, bearer and key: the target refused them, so there are letters and failures.
        sluice.wait_dead(3)
        sluice.wait_for_log("login.*(authentic|refused|failed)")
        sluice.wait_for_log("oidc.*answers 401")
        for name in ("amqp", "url"):
            until(lambda: "refused" in str(sluice.control("GET", f"/v1/mappings/{name}")[1]), 20,
                  f"{name}: the broker's refusal")
        secured.wait_done(["m-0", "m-1", "m-2"], 20)
        # The secrets were really used, or there would be nothing to find.
        sent = {i.headers.get("authorization", "") for i in function.invocations}
        assert f"Bearer {canary('bearer')}" in sent and any(h.startswith("Basic ") for h in sent)
        assert canary("header") in {i.headers.get("x-api-key") for i in function.invocations}
        # A reload that is refused tells of the mistake, not of the values beside it.
        path = sluice.mappings / "bearer.yaml"
        good = path.read_text()
        path.write_text(good.replace('"order"', '"ordr"'))
        assert sluice.control("POST", "/v1/reload")[0] == 422
        path.write_text(good)
        for where, content in searched(sluice).items():
            assert CANARY.encode() not in content, where
    finally:
        endpoint.close()


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


def test_a_function_that_speaks_only_tls_1_1_is_not_spoken_to(cluster, sluice, mapping_for,
                                                              directory):
    port = free_port()
    old = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_1", "-www",
         "-cipher", "ALL:@SECLEVEL=0", "-cert", cluster.authority.path("server.crt"),
         "-key", cluster.authority.path("server.key")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_open(port), 20, "the old server")
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
    finally:
        stop_process(old)


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
