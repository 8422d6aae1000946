"""`sluice cost`: what mappings used, kept across restarts, and what that cost."""

import datetime
import json
import sqlite3

import pytest

from lib.function import Answer
from lib.plugin import ids, numbered
from lib.sluice import run_cli
from lib.waiting import until


def cost(sluice, *arguments):
    done = run_cli("cost", "--state", sluice.state, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def usage(sluice, *arguments):
    return json.loads(cost(sluice, "--json", *arguments))


def of(sluice, name, *arguments):
    return next((m for m in usage(sluice, *arguments)["mappings"] if m["name"] == name), None)


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def wait_messages(sluice, name, count):
    return until(lambda: (of(sluice, name) or {}).get("messages") == count and of(sluice, name), 20,
                 lambda: f"{count} messages in {usage(sluice)}")


def test_what_was_used_is_counted_and_priced(cluster, function, sluice, mapping_for):
    topic, other = cluster.topic(1), cluster.topic(1)
    sluice.settings(prices={"currency": "EUR", "invocation": 0.001, "second": 2, "message": "1e-4",
                            "gigabyte": 1000})
    sluice.mapping("orders", mapping_for(topic, batch={"size": 10}, retry={"attempts": 2}))
    sluice.mapping("idle", mapping_for(other))
    answers = iter([Answer(500), *[Answer(200, delay=0.2)] * 1000])
    function.behave = lambda i: next(answers)
    messages = [{**m, "key": "key"} for m in numbered(30)]
    cluster.produce(topic, messages)
    sluice.start()
    function.wait_done(ids(30), 20)
    found = wait_messages(sluice, "orders", 30)
    assert of(sluice, "idle") is None
    calls = function.invocations
    assert found["invocations"] == len(calls)
    assert found["received_bytes"] == sum(len(m["value"]) + 3 for m in messages)
    assert found["sent_bytes"] == sum(len(i.body) for i in calls)
    assert 0.2 * (len(calls) - 1) <= found["function_seconds"] < 20
    price = (found["invocations"] * 0.001 + found["function_seconds"] * 2 + 30 * 1e-4 +
             (found["received_bytes"] + found["sent_bytes"]) / 1e9 * 1000)
    assert found["cost"] == pytest.approx(price)
    assert found["cost_per_million_messages"] == pytest.approx(price / 30 * 1e6)
    assert found["cost_per_day"] >= price * 0.99  # today is not over
    [day] = found["days"]
    assert day["day"] == today() and day["cost"] == found["cost"]
    text = cost(sluice)
    head, row = text.splitlines()[:2]
    assert head.split() == ["MAPPING", "INVOCATIONS", "MESSAGES", "IN", "OUT", "SECONDS", "COST", "PER",
                            "DAY", "PER", "MILLION"]
    assert row.split()[:3] == ["orders", str(len(calls)), "30"] and "in EUR" in text
    assert today() in cost(sluice, "orders", "--since", "7d")


def test_it_stays_across_restarts_and_reloads(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    cluster.produce(topic, numbered(5))
    function.wait_done(ids(5), 20)
    wait_messages(sluice, "orders", 5)
    sluice.terminate()
    database = sqlite3.connect(sluice.state / "usage.db")
    assert database.execute("SELECT mapping, messages FROM usage").fetchall() == [("orders", 5)]
    # A day that was long ago, and one that is not.
    day, = database.execute("SELECT day FROM usage").fetchone()
    for ago, messages in ((10, 100), (40, 1000)):
        database.execute("INSERT INTO usage VALUES ('orders', ?, 1, ?, 1, 1, 1)", (day - ago, messages))
    database.commit()
    database.close()
    sluice.start()
    assert of(sluice, "orders")["messages"] == 105
    cluster.produce(topic, numbered(5, prefix="n"))
    function.wait_done(ids(5, "n"), 20)
    found = wait_messages(sluice, "orders", 110)
    assert found["cost"] is None and found["cost_per_day"] is None
    assert "prices" in cost(sluice)
    assert of(sluice, "orders", "--since", "60d")["messages"] == 1110
    assert of(sluice, "orders", "--since", today())["messages"] == 10
    assert usage(sluice, "orders", "--since", "2100-01-01")["mappings"] == []
    assert "nothing was used since 2100-01-01" in cost(sluice, "--since", "2100-01-01")
    # Prices of today are for what was used before, too; a mapping that is gone is still told.
    sluice.settings(prices={"message": "0.5"})
    (sluice.mappings / "orders.yaml").unlink()
    sluice.mapping("other", mapping_for(topic))
    assert sluice.control("POST", "/v1/reload")[1]["needs_restart"] == []
    until(lambda: of(sluice, "orders")["cost"] == 55, 10, "a cost")


def test_what_did_not_reach_the_function_costs_nothing(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic, target={"http": {"url": "http://127.0.0.1:1/f"}}))
    sluice.start()
    cluster.produce(topic, numbered(3))
    until(lambda: sluice.metric("sluice_invocations_refused_total") > 0, 20, "a refusal")
    found = until(lambda: of(sluice, "orders"), 20, "usage")
    assert found["received_bytes"] > 0
    assert (found["invocations"], found["messages"], found["function_seconds"]) == (0, 0, 0)


def test_a_record_that_cannot_be_kept_stops_nothing(cluster, function, sluice, mapping_for):
    sluice.state.mkdir()
    (sluice.state / "usage.db").mkdir()
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    assert "usage.db" in sluice.wait_for_event("usage_unwritten")["error"]
    cluster.produce(topic, numbered(5))
    function.wait_done(ids(5), 20)
    wait_messages(sluice, "orders", 5)
    (sluice.state / "usage.db").rmdir()
    assert sluice.terminate() == 0
    database = sqlite3.connect(sluice.state / "usage.db")
    assert database.execute("SELECT messages FROM usage").fetchall() == [(5,)]
    database.close()


def test_mistakes(sluice, cluster, mapping_for, function):
    sluice.mapping("orders", mapping_for(cluster.topic(1)))
    done = run_cli("cost", "--state", sluice.state)
    assert done.returncode == 69
    sluice.start()
    assert "nothing was used" in cost(sluice)
    for arguments, text in ((["--since", "soon"], "expected a time"), (["a", "b"], "one mapping")):
        done = run_cli("cost", "--state", sluice.state, *arguments)
        assert done.returncode == 64 and text in done.stderr
    assert sluice.control("GET", "/v1/usage?since=yesterday")[0] == 400
