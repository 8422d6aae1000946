"""`sluice check`, `connectors` and the rest of the command line, without a broker where possible."""

import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from lib.kafka import PASSWORD
from lib.machine import free_port
from lib.oidc import CLIENT, SECRET, TokenEndpoint
from lib.plugin import numbered
from lib.sluice import PROGRAM, run_cli

GOOD = """\
source:
  kafka:
    brokers: 127.0.0.1:9092
    topic: orders
    group: sluice-orders
    start: earliest
batch: { size: 100, bytes: 1 MiB, window: 200ms }
order: key
idempotency: { token: /order/id, ttl: 24h, on_missing: dead_letter }
target:
  http: { url: "http://127.0.0.1:8080/orders", timeout: 30s, concurrency: 1..32 }
  format: lambda
retry: { attempts: 5, backoff: 200ms..30s, age: 6h, patience: 2m, split: true }
dead_letter: { store: local, keep: 30d }
"""


@pytest.fixture
def check(sluice):
    def run(text, *arguments, name="orders"):
        sluice.mapping(name, text)
        return run_cli("check", *arguments, sluice.config)
    return run


def test_the_mapping_of_the_manual_is_good(check):
    done = check(GOOD)
    assert done.returncode == 0, done.stderr


def test_a_single_file_can_be_checked(sluice):
    sluice.mapping("orders", GOOD)
    done = run_cli("check", sluice.mappings / "orders.yaml")
    assert done.returncode == 0, done.stderr


def test_json_is_accepted(check, mapping_for):
    assert check(json.dumps(mapping_for("t"))).returncode == 0


MISTAKES = {  # what is replaced in GOOD, by what; place of the error; words it must hold
    "unknown key": ("order: key", "ordr: key", 8, ["ordr", "order"]),
    "unknown nested key": ("size: 100", "sise: 100", 7, ["sise", "size"]),
    "unknown option of the source": ("topic: orders", "topci: orders", 4, ["topci", "topic"]),
    "wrong enum": ("order: key", "order: keys", 8, ["keys", "lane", "none"]),
    "wrong unit": ("window: 200ms", "window: 200 parsecs", 7, ["parsecs"]),
    "number without unit": ("window: 200ms", "window: 200", 7, ["200", "ms"]),
    "size out of range": ("size: 100", "size: 0", 7, ["0", "1", "10000"]),
    "size too large": ("size: 100", "size: 1000000", 7, ["10000"]),
    "not a number": ("size: 100", "size: many", 7, ["many"]),
    "list for a text": ("order: key", "order: [key]", 8, ["order"]),
    "text for a map": ("batch: { size: 100, bytes: 1 MiB, window: 200ms }", "batch: big", 7,
                       ["batch"]),
    "bad URL": ('url: "http://127.0.0.1:8080/orders"', 'url: "gopher://x"', 11, ["gopher", "http"]),
    "bad token rule": ("token: /order/id", "token: oder", 9, ["oder", "position"]),
    "bad range": ("concurrency: 1..32", "concurrency: 32..1", 11, ["32..1"]),
    "age shorter than the window": ("age: 6h", "age: 100ms", 13, ["age", "window"]),
    "doubled key": ("order: key", "order: key\norder: lane", 9, ["order"]),
    "anchor bomb": ("order: key", "a: &a [x]\nb: *a\norder: key", None, []),
    "no source": ("source:\n", "sauce:\n", None, ["source"]),
    "no brokers": ("    brokers: 127.0.0.1:9092\n", "", None, ["brokers"]),
    "promise-breaking property": ("    topic: orders\n",
                                  "    topic: orders\n    properties: {enable.auto.commit: 'true'}\n",
                                  5, ["enable.auto.commit"]),
    "unknown property": ("    topic: orders\n",
                         "    topic: orders\n    properties: {no.such.thing: '1'}\n", 5,
                         ["no.such.thing"]),
    "missing credential file": ("    topic: orders\n",
                                "    topic: orders\n    sasl: {mechanism: PLAIN, username: a, "
                                "password: !file /no/such/file}\n", 5, ["/no/such/file"]),
    "missing environment": ("    topic: orders\n",
                            "    topic: orders\n    sasl: {mechanism: PLAIN, username: a, "
                            "password: !env NO_SUCH_VARIABLE}\n", 5, ["NO_SUCH_VARIABLE"]),
    "tab": ("order: key", "\torder: key", 8, []),
    "unclosed bracket": ("order: key", "order: [key", None, []),
    "bad UTF-8 escape": ("order: key", 'order: "\\xZZ"', 8, []),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_named_with_its_place(check, name):
    found, put, line, words = MISTAKES[name]
    assert found in GOOD
    done = check(GOOD.replace(found, put, 1))
    text = done.stdout + done.stderr
    assert done.returncode > 0, f"accepted: {text}"
    assert done.returncode < 128, f"crashed: {done.returncode}"
    assert "orders.yaml" in text
    if line:
        assert re.search(rf"orders\.yaml:{line}:\d+", text), text
    for word in words:
        assert word in text, f"{word!r} is not in:\n{text}"


def test_all_mistakes_are_told_at_once(check):
    done = check(GOOD.replace("order: key", "order: kei").replace("size: 100", "size: -1"))
    assert "kei" in done.stderr + done.stdout and "-1" in done.stderr + done.stdout


@pytest.mark.parametrize("text", ["", "[]", "17", "null", "\0\0", "- a\n- b\n", "{" * 10_000,
                                  "\xff\xfe", "a: " + "x" * 1_000_000, "? [complex]\n: key\n",
                                  "&a [*a]", "!!binary x", "%YAML 3.0\n---\n"],
                         ids=lambda text: repr(text[:12]))
def test_rubbish_is_refused_without_a_crash(check, text):
    done = check(text)
    assert 0 < done.returncode < 128, done.stderr
    assert "orders.yaml" in done.stdout + done.stderr


def test_yaml_1_2_scalars_stay_strings(check):
    assert check(GOOD.replace("topic: orders", "topic: no")).returncode == 0
    assert check(GOOD.replace("topic: orders", "topic: on")).returncode == 0


def test_two_mappings_with_one_group_are_refused(sluice):
    sluice.mapping("one", GOOD)
    sluice.mapping("two", GOOD)
    done = run_cli("check", sluice.config)
    text = done.stdout + done.stderr
    assert done.returncode > 0
    assert "one" in text and "two" in text and "sluice-orders" in text


def test_defaults_are_inherited(sluice):
    sluice.settings(defaults={"retry": {"attempts": 17}})
    sluice.mapping("orders", GOOD.replace("attempts: 5, ", ""))
    done = run_cli("check", "--explain", sluice.config)
    assert done.returncode == 0, done.stderr
    assert "17" in done.stdout


def test_explain_speaks_in_sentences(check):
    done = check(GOOD, "--explain")
    assert done.returncode == 0, done.stderr
    for word in ("orders", "down", "duplicate"):
        assert word in done.stdout.lower()


def test_secrets_appear_nowhere(sluice):
    secret = sluice.directory / "secret"
    secret.write_text(PASSWORD)
    sluice.mapping("orders", GOOD.replace(
        "    topic: orders\n", "    topic: orders\n    sasl: {mechanism: PLAIN, username: a, "
        f"password: !file {secret}}}\n"))
    for arguments in (["--explain"], []):
        done = run_cli("check", *arguments, sluice.config)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr


def test_a_secret_that_others_can_change_is_refused(sluice):
    secret = sluice.directory / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o602)
    sluice.mapping("orders", GOOD.replace(
        "    topic: orders\n", "    topic: orders\n    sasl: {mechanism: PLAIN, username: a, "
        f"password: !file {secret}}}\n"))
    done = run_cli("check", sluice.config)
    assert done.returncode == 78
    assert f"run chmod o-w {secret}" in done.stderr + done.stdout
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("by_link", [False, True])
def test_a_directory_above_that_others_can_change_is_refused(sluice, tmp_path, by_link):
    """Whoever can write there can put another directory in the place of ours."""
    above = sluice.directory / "above"
    (above / "config").mkdir(parents=True)
    (above / "config/orders.yaml").write_text(GOOD)
    path = above / "config"
    if by_link:
        path = sluice.directory / "link"
        path.symlink_to(above / "config")
    assert run_cli("check", path / "orders.yaml").returncode == 0
    above.chmod(0o777)
    done = run_cli("check", path / "orders.yaml")
    assert done.returncode == 78
    assert f"run chmod o-w {above}" in done.stdout + done.stderr
    above.chmod(0o1777)
    assert run_cli("check", path / "orders.yaml").returncode == 0


@pytest.mark.parametrize("side", ["source", "target"])
def test_certificates_that_others_can_change_are_refused(sluice, mapping_for, cluster, side):
    tls = {name: str(sluice.directory / name) for name in ("ca_file", "certificate_file", "key_file")}
    for path in tls.values():
        pathlib.Path(path).write_text("x")
    sluice.mapping("m", mapping_for("t", {"source": {"kafka": {"tls": tls}}} if side == "source"
                                    else {"target": {"http": {"tls": tls, "url": "https://a/"}}}))
    done = run_cli("check", sluice.config)
    assert done.returncode == 0 and "a private key, can be read by everybody" in \
        done.stdout + done.stderr
    for path in tls.values():
        os.chmod(path, 0o606)
        done = run_cli("check", sluice.config)
        assert done.returncode == 78
        assert f"run chmod o-w {path}" in done.stdout + done.stderr
        os.chmod(path, 0o600)
    assert "warning" not in run_cli("check", sluice.config).stderr


def test_a_secret_from_a_pipe(sluice):
    sluice.mapping("orders", GOOD.replace(
        "    topic: orders\n", "    topic: orders\n    sasl: {mechanism: PLAIN, username: a, "
        "password: !file /dev/stdin}\n"))
    done = subprocess.run([PROGRAM, "check", sluice.config], input="secret", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert done.returncode == 0, done.stdout


def test_connect_tries_broker_and_function(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic))
    done = run_cli("check", "--connect", sluice.config, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(r.value for i in function.invocations for r in i.records), "it sent a message"
    assert cluster.committed(f"g-{topic}", topic) == {}


@pytest.mark.parametrize("what", ["broker", "topic", "function", "login"])
def test_connect_says_what_is_wrong(cluster, function, sluice, mapping_for, what):
    topic = cluster.topic(1)
    port = free_port()
    changes, word = {
        "broker": ({"source": {"kafka": {"brokers": f"127.0.0.1:{port}"}}}, str(port)),
        "topic": ({"source": {"kafka": {"topic": "no-such-topic"}}}, "no-such-topic"),
        "function": ({"target": {"http": {"url": f"http://127.0.0.1:{port}/f"}}}, str(port)),
        "login": ({"source": {"kafka": {
            "brokers": cluster.address("SASL"),
            "sasl": {"mechanism": "PLAIN", "username": "alice", "password": "nope"}}}}, "assword"),
    }[what]
    sluice.mapping("m", mapping_for(topic, changes))
    begin = time.monotonic()
    done = run_cli("check", "--connect", sluice.config, timeout=90)
    assert 0 < done.returncode < 128
    assert word in done.stdout + done.stderr
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("way", ["plain", "plain-tls", "tls", "mtls", "oauth"])
def test_connect_logs_in(cluster, function, sluice, mapping_for, way):
    plain = {"mechanism": "PLAIN", "username": "alice", "password": PASSWORD}
    trust = {"ca_file": str(cluster.authority.ca)}
    endpoint = TokenEndpoint(cluster.issuer)
    listener, options = {
        "plain": ("SASL", {"sasl": plain}),
        "plain-tls": ("SASLTLS", {"sasl": plain, "tls": trust}),
        "tls": ("TLS", {"tls": trust}),
        "mtls": ("MTLS", {"tls": {**trust, "certificate_file": cluster.authority.path("client.crt"),
                                  "key_file": cluster.authority.path("client.key")}}),
        "oauth": ("SASL", {"sasl": {"mechanism": "OAUTHBEARER", "oauth": {
            "token_url": endpoint.url, "client_id": CLIENT, "client_secret": SECRET}}}),
    }[way]
    try:
        sluice.mapping("m", mapping_for(cluster.topic(1), {"source": {"kafka": {
            "brokers": cluster.address(listener), **options}}}))
        done = run_cli("check", "--connect", sluice.config, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr and SECRET not in done.stdout + done.stderr
    finally:
        endpoint.close()


def test_connectors_lists_options(sluice):
    done = run_cli("connectors", "kafka")
    if done.returncode != 0:
        pytest.skip(done.stderr)
    for word in ("brokers", "topic", "group", "start", "earliest", "sasl"):
        assert word in done.stdout
    assert "kafka" in run_cli("connectors").stdout


def test_version_and_help():
    assert re.search(r"\d+\.\d+", run_cli("version").stdout)
    done = run_cli("version", "--verbose")
    assert done.returncode == 0
    for library in ("libcurl", "OpenSSL", "jansson", "libmicrohttpd", "libyaml", "LMDB", "SQLite",
                    "xxHash", "yajl", "librdkafka"):
        assert re.search(rf"{library}.?\d+\.\d+", done.stdout), library
    for arguments in (["--help"], ["help"], ["run", "--help"], ["check", "--help"],
                      ["dlq", "--help"]):
        done = run_cli(*arguments)
        assert done.returncode == 0 and "sluice" in done.stdout, arguments
    assert run_cli("no-such-command").returncode == 64
    assert run_cli("run", "--no-such-option").returncode == 64


def test_samples_are_good():
    from lib.machine import ROOT
    samples = [ROOT / "config/sluice.yaml", *(ROOT / "config/mappings.d").glob("*.yaml")]
    assert samples, "no samples in config/"
    for sample in (s for s in samples if s.name != "sluice.yaml"):
        text = sample.read_text()
        if "!credential" in text or "!env" in text or "!file" in text:
            continue  # secrets that are not here
        done = run_cli("check", sample)
        assert done.returncode == 0, f"{sample}: {done.stdout}{done.stderr}"


def test_run_says_what_it_does(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(1))
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    function.wait_done(["m-0"], 20)
    for event in sluice.find_events():
        assert {"time", "level", "event"} <= set(event), event
    assert sluice.terminate() == 0


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_log_formats(cluster, function, sluice, mapping_for, form):
    sluice.settings(log={"format": form})
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    sluice.start()
    sluice.terminate()
    for line in sluice.lines:
        if form == "json":
            assert isinstance(json.loads(line), dict)
        else:
            assert re.search(r"\blevel=\w+", line) and "event=" in line, line
