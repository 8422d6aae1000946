"""`sluice set`: settings for the night, kept until the next reload."""

import json
import threading

from lib.function import always
from lib.machine import PATIENCE
from lib.plugin import ids, numbered
from lib.sluice import run_cli
from lib.waiting import until


def orders_of(sluice):
    return json.loads(run_cli("status", "--state", sluice.state, "--json").stdout)["mappings"][0]


def test_concurrency_is_lowered_until_the_next_reload(cluster, function, sluice, mapping_for):
    topic, gate = cluster.topic(1), threading.Event()

    def behave(invocation):
        gate.wait(60)
        return always(200)(invocation)
    function.behave = behave
    sluice.mapping("orders", mapping_for(topic, order="none", batch={"size": 1},
                                         target={"http": {"concurrency": "1..8"}}))
    sluice.start()
    done = run_cli("set", "orders", "concurrency=2", "--state", sluice.state)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    until(lambda: orders_of(sluice)["limit"] == 2, 20 * PATIENCE, "the limit")
    assert orders_of(sluice)["concurrency_set"] == 2
    text = run_cli("status", "orders", "--state", sluice.state).stdout
    assert "of 2 invocations in flight (concurrency set until the next reload)" in text
    cluster.produce(topic, numbered(20))
    until(lambda: orders_of(sluice)["unfinished"] == 20, 20 * PATIENCE, "all received")
    assert orders_of(sluice)["in_flight"] == 2
    # A drain and a resume do not undo it.
    gate.set()
    function.wait_done(ids(20), 20)
    for what in ("drain", "resume"):
        assert run_cli(what, "orders", "--state", sluice.state).returncode == 0
        until(lambda: orders_of(sluice)["state"] == {"drain": "drained", "resume": "running"}[what],
              20 * PATIENCE, what)
    assert orders_of(sluice)["limit"] == 2
    assert run_cli("reload", "--state", sluice.state).returncode == 0
    until(lambda: orders_of(sluice)["limit"] > 2, 20 * PATIENCE, "the limit of the file")
    assert orders_of(sluice)["concurrency_set"] is None


def test_what_cannot_be_set_is_refused(cluster, sluice, function, mapping_for):
    sluice.mapping("orders", mapping_for(cluster.topic(1),
                                         target={"http": {"concurrency": "1..8"}}))
    sluice.start()
    for setting, code, text in (("concurrency=9", 65, "found 9, expected 1 to 8"),
                                ("concurrency=0", 65, "found 0, expected 1 to 8"),
                                ("concurrency=x", 64, 'found "concurrency=x"'),
                                ("size=3", 64, 'found "size=3"')):
        done = run_cli("set", "orders", setting, "--state", sluice.state)
        assert done.returncode == code and text in done.stderr, done
    done = run_cli("set", "others", "concurrency=1", "--state", sluice.state)
    assert (done.returncode, done.stderr) == (65, "sluice set: there is no mapping others\n")
    status, answer = sluice.control("POST", "/v1/mappings/orders/set", {"concurrency": "2"})
    assert status == 400 and "whole number" in answer["detail"]
    assert orders_of(sluice)["concurrency_set"] is None
