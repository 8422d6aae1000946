"""The JSON Schema of the files, by an independent validator: it accepts what `sluice check` accepts, and
refuses what that refuses for being no such key or value."""

import copy
import json
import pathlib

import jsonschema
import pytest
import yaml

from lib.machine import BUILD
from lib.sluice import run_cli

CONFIG = pathlib.Path(__file__).parents[2] / "config"
SAMPLES = [CONFIG / "sluice.yaml", *sorted((CONFIG / "mappings.d").glob("*.yaml"))]
GOOD = {
    "source": {"kafka": {"brokers": "k:9092", "topic": "orders", "group": "g",
                         "sasl": {"mechanism": "PLAIN", "username": "u", "password": "p"}}},
    "batch": {"size": 50, "bytes": "512 KiB", "window": "100ms"},
    "order": "key",
    "idempotency": {"token": "/order/id", "ttl": "12h"},
    "target": {"http": {"url": "http://localhost/x", "timeout": "30s", "concurrency": "1..32",
                        "headers": {"X-One": "1"}}, "format": "json"},
    "retry": {"attempts": 3, "backoff": "1s..10s", "age": "6h", "split": True},
    "dead_letter": {"store": "local", "keep": "7d"},
    "pollers": 2,
}
ALSO_GOOD = [("batch.size", 1), ("batch.bytes", 4096), ("batch.bytes", "1.5 MiB"),
             ("batch.window", 0), ("target.http.concurrency", 8), ("retry.backoff", "1s"),
             ("retry.age", "0s"), ("retry.park_after", "never"), ("retry.park_after", "5m"),
             ("source.kafka.topic", ["a", "b"]), ("order", "none"),
             ("dead_letter.to", "letters"), ("dead_letter.headers", ["spring"]),
             ("dead_letter.to", {"kafka": {"brokers": "k:9092", "topic": "letters"}}),
             ("dead_letter.to", {"rabbitmq": {"hosts": "h", "exchange": "x", "routing_key": "k"}}),
             ("source.kafka.properties", {"client.rack": "a"}), ("pollers", 1)]
BROKEN = [(key, value) for key, values in {
    "ordr": ["key"], "batches": [{}], "zzz": [1],
    "order": ["keys", "Lane", ["key"], {"key": 1}, 1],
    "batch": [5, [1]], "batch.sise": [5],
    "batch.size": [0, 10001, "many", 1.5, [1], True, {}],
    "batch.bytes": ["1 XB", "much", -1, True, ["1 KiB"]],
    "batch.window": ["5 parsecs", 200, "-1s", [], "1s 5", True],
    "idempotency.on_missing": ["drop", 0], "idempotency.ttl": ["forever", 5],
    "target.http.concurrency": ["1...2", "a..b", -1, {"least": 1}],
    "target.http.headers": ["X: 1", ["X"]], "target.http.timeout": ["soon"],
    "target.format": ["xml"], "target.report_failures": ["sometimes", 2],
    "target.http.urll": ["http://x"],
    "retry.attempts": [0, "3x"], "retry.backoff": ["1s-5s", 5], "retry.split": ["half"],
    "retry.park_after": ["always", 5],
    "dead_letter.to": [["kafka"], {"kafak": {}}, {"kafka": {"topic": "t"}},
                       {"kafka": {"brokers": "b", "topic": "t", "group": "g"}}],
    "dead_letter.format": ["json"],
    "dead_letter.store": ["remote"], "dead_letter.keep": ["7 dogs"],
    "pollers": [0, 65, "two"], "source.kafka.topci": ["orders"],
    "source.kafka.start_": ["latest"], "source.kafka.sasl.mechanism": ["MD5"],
}.items() for value in values]


ONE = {"value": {"status": ["paid"]}}
GOOD_FILTERS = [
    ONE, [ONE], [ONE, {"key": ["a"]}], {"value": ["x", 1, True, None]},
    {"value": {"a": {"b": [{"exists": False}]}, "a.b": [1]}},
    {"headers": {"X": [{"prefix": "a"}], "$or": [{"a": [1]}, {"b": [2]}]}, "source": ["t"],
     "partition": [1, {"numeric": [">", 1]}], "timestamp": [{"numeric": [">=", 1, "<", 5.5]}]},
    {"$or": [ONE, {"key": [{"suffix": {"equals-ignore-case": ".PNG"}}]}]},
    {"value": {"$or": [{"a": [1]}, {"b": [{"cidr": "10.0.0.0/8"}, {"cidr": "fe80::/10"}]}]}},
    {"value": {"a": [{"numeric": ["<", 5, ">", 1]}, {"numeric": ["=", 3]}]}},
    {"value": {"a": [{"wildcard": "a*b\\*c\\\\"}, {"equals-ignore-case": "x"}]}},
    {"value": {"a": [{"anything-but": "x"}, {"anything-but": ["x", 5, {"prefix": "y"}]},
                     {"anything-but": {"suffix": ["a", {"equals-ignore-case": "b"}]}},
                     {"anything-but": {"numeric": [">", 5]}},
                     {"anything-but": {"wildcard": ["a*", "b*"]}}]}},
]
BROKEN_FILTERS = [
    5, "paid", [], {}, [5], [[ONE]], {"body": ["x"]}, {"value": "paid"}, {"value": {}},
    {"value": {"status": "paid"}}, {"value": {"status": []}}, {"value": {"status": [["paid"]]}},
    {"value": {"status": [{}]}}, {"value": {"status": [{"prefix": "a", "suffix": "b"}]}},
    {"value": {"status": [{"starts-with": "a"}]}}, {"value": {"a": [{"exists": "yes"}]}},
    {"value": {"a": [{"prefix": 5}]}}, {"value": {"a": [{"suffix": {"ignore-case": "x"}}]}},
    {"value": {"a": [{"numeric": [">"]}]}}, {"value": {"a": [{"numeric": ["=", 1, "<", 2]}]}},
    {"value": {"a": [{"numeric": [">", 1, ">", 2]}]}}, {"value": {"a": [{"numeric": ["!=", 1]}]}},
    {"value": {"a": [{"numeric": [">", "1"]}]}}, {"value": {"a": [{"wildcard": "a**"}]}},
    {"value": {"a": [{"wildcard": "a\\b"}]}}, {"value": {"a": [{"cidr": "10.0.0.0"}]}},
    {"value": {"a": [{"anything-but": []}]}}, {"value": {"a": [{"anything-but": {"exists": True}}]}},
    {"headers": ["x"]}, {"headers": {"X": {"y": ["z"]}}}, {"partition": 3}, {"source": {"a": ["b"]}},
    {"$or": [ONE]}, {"value": {"$or": {"a": [1]}}}, {"value": {"$or": [["x"], ["y"]]}},
]


def put(key, value):
    content = copy.deepcopy(GOOD)
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return content


class Loader(yaml.SafeLoader):
    """Knows references to values that stand elsewhere, as texts."""


for tag in ("!credential", "!file", "!env"):
    Loader.add_constructor(tag, lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def validators():
    made = []
    for arguments in ((), ("--service",)):
        done = run_cli("schema", "--connectors", BUILD / "connectors", *arguments)
        assert done.returncode == 0, done.stderr
        schema = json.loads(done.stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        made.append(jsonschema.Draft202012Validator(schema))
    return made


def checks(directory, content):
    file = directory / "orders.yaml"
    file.write_text(json.dumps(content))
    return run_cli("check", "--connectors", BUILD / "connectors", file)


def test_samples_are_valid(validators):
    mapping, service = validators
    assert len(SAMPLES) >= 5
    for sample in SAMPLES:
        content = yaml.load(sample.read_text(), Loader)
        (service if sample.name == "sluice.yaml" else mapping).validate(content)


@pytest.mark.parametrize("key, value", ALSO_GOOD, ids=str)
def test_what_check_accepts_is_valid(directory, validators, key, value):
    done = checks(directory, put(key, value))
    assert done.returncode == 0, done.stdout + done.stderr
    validators[0].validate(put(key, value))


def test_what_check_refuses_is_not(directory, validators):
    assert len(BROKEN) >= 50
    validators[0].validate(GOOD)
    assert checks(directory, GOOD).returncode == 0
    wrong = []
    for key, value in BROKEN:
        if checks(directory, put(key, value)).returncode == 0:
            wrong.append(("check accepts", key, value))
        if validators[0].is_valid(put(key, value)):
            wrong.append(("the schema accepts", key, value))
    assert not wrong


def test_the_inside_of_a_filter(directory, validators):
    for pattern in GOOD_FILTERS:
        done = checks(directory, put("filter", pattern))
        assert done.returncode == 0, (pattern, done.stdout + done.stderr)
        validators[0].validate(put("filter", pattern))
        validators[1].validate({"defaults": {"filter": pattern}})
    wrong = [("check accepts", pattern) for pattern in BROKEN_FILTERS
             if checks(directory, put("filter", pattern)).returncode == 0]
    wrong += [("the schema accepts", pattern) for pattern in BROKEN_FILTERS
              if validators[0].is_valid(put("filter", pattern))
              or validators[1].is_valid({"defaults": {"filter": pattern}})]
    assert not wrong


def test_defaults_may_be_incomplete_but_not_wrong(validators):
    service = validators[1]
    service.validate({"defaults": {"retry": {"attempts": 5},
                                   "source": {"kafka": {"brokers": "k:9092"}}}})
    assert not service.is_valid({"defaults": {"retry": {"attempt": 5}}})
    assert not service.is_valid({"state_dir": "/x"})
    assert not service.is_valid({"log": {"level": "loud"}})
