"""Changed files are taken over while the service runs: all or nothing, and only where it must be."""

import os
import signal
import threading

import pytest

from lib.function import always
from lib.plugin import group_of, ids, numbered
from lib.sluice import run_cli
from lib.waiting import stays, until

BROKEN = "source: { kafka: { brokers: x, topic: y, group: z } }\ntarget: { htp: { url: 5 } }\n"


def reload(sluice):
    status, answer = sluice.control("POST", "/v1/reload")
    assert status == 200, answer
    return {name: answer[name] for name in ("added", "changed", "removed", "unchanged")}


def members(cluster, topic):
    """The group's members, each of which would get another id by joining anew."""
    return sorted((m["id"], m["partitions"]) for m in cluster.members(group_of(topic)))


def state_of(sluice, mapping):
    status, answer = sluice.control("GET", f"/v1/mappings/{mapping}")
    return answer["state"] if status == 200 else status


def wait_state(sluice, mapping, state, timeout=20):
    until(lambda: state_of(sluice, mapping) == state, timeout,
          lambda: f"{mapping} is {state} (it is {state_of(sluice, mapping)})")


@pytest.fixture
def running(cluster, function, sluice, mapping_for):
    """A running mapping `orders`; (topic, its file's content)."""
    topic = cluster.topic(2)
    content = mapping_for(topic)
    sluice.mapping("orders", content)
    cluster.produce(topic, numbered(20, prefix="first"))
    sluice.start()
    function.wait_done(ids(20, "first"), 20)
    wait_state(sluice, "orders", "running")
    return topic, content


def test_a_wrong_file_leaves_everything_as_it_was(cluster, function, sluice, mapping_for, running):
    topic, content = running
    before = members(cluster, topic)
    sluice.mapping("orders", {**content, "batch": {"size": 3}})  # good, and must not be taken
    sluice.mapping("broken", BROKEN)
    status, answer = sluice.control("POST", "/v1/reload")
    assert status == 422
    assert "nothing was changed" in answer["detail"]
    assert any("broken.yaml:2:" in p["place"] and "htp" in p["text"] for p in answer["problems"])
    assert sluice.wait_for_event("reload_refused")
    cluster.produce(topic, numbered(20, prefix="second"))
    function.wait_done(ids(20, "second"), 10)
    assert members(cluster, topic) == before
    assert not sluice.find_events("mapping_changed")
    assert state_of(sluice, "broken") == 404
    # The same by signal, told in the log.
    os.kill(sluice.pid, signal.SIGHUP)
    until(lambda: len(sluice.find_events("reload_refused")) == 2, 10, "the second refusal")
    assert sluice.find_events("reload_problem", level="error")
    assert members(cluster, topic) == before


def test_what_is_unchanged_does_not_notice(cluster, function, sluice, mapping_for, running):
    topic, _ = running
    before = members(cluster, topic)
    done = sluice.metric("sluice_messages_done_total", mapping="orders")
    connections = function.connections
    other = cluster.topic(1)
    cluster.produce(other, numbered(5, prefix="other"))
    assert reload(sluice) == {"added": 0, "changed": 0, "removed": 0, "unchanged": 1}
    sluice.mapping("other", mapping_for(other))
    assert reload(sluice) == {"added": 1, "changed": 0, "removed": 0, "unchanged": 1}
    function.wait_done(ids(5, "other"), 20)
    cluster.produce(topic, numbered(20, prefix="second"))
    function.wait_done(ids(20, "second"), 10)
    assert members(cluster, topic) == before
    assert sluice.metric("sluice_messages_done_total", mapping="orders") >= done
    assert function.connections - connections <= 2  # the new mapping's, and a second one at most
    assert set(function.seen.values()) == {1}


def test_a_changed_mapping_drains_and_starts_alone(cluster, make_function, function, sluice,
                                                   mapping_for, running):
    topic, content = running
    other = cluster.topic(1)
    sluice.mapping("other", mapping_for(other))
    reload(sluice)
    until(lambda: members(cluster, other), 20, "the other mapping in its group")
    wait_state(sluice, "other", "running")
    before = members(cluster, other)
    gate, begun = threading.Event(), threading.Event()

    def behave(_):
        begun.set()
        gate.wait(20)
        return always(200)(_)
    function.behave = behave
    cluster.produce(topic, numbered(1, prefix="flying"))
    assert begun.wait(20)
    second = make_function()
    sluice.mapping("orders", {**content, "target": {"http": {"url": second.url},
                                                    "format": "json"}})
    assert reload(sluice) == {"added": 0, "changed": 1, "removed": 0, "unchanged": 1}
    wait_state(sluice, "orders", "restarting")
    gate.set()
    wait_state(sluice, "orders", "running")
    cluster.produce(topic, numbered(20, prefix="second"))
    second.wait_done(ids(20, "second"), 20)
    assert function.seen["flying-0"] == 1 and "flying-0" not in second.seen
    assert set(second.seen.values()) == {1}
    assert members(cluster, other) == before
    cluster.wait_committed(group_of(topic), topic, 2)


def test_a_removed_mapping_drains_and_stops(cluster, function, sluice, mapping_for, running):
    topic, _ = running
    other = cluster.topic(1)
    sluice.mapping("other", mapping_for(other))
    reload(sluice)
    cluster.produce(other, numbered(5, prefix="other"))
    function.wait_done(ids(5, "other"), 20)
    (sluice.mappings / "orders.yaml").unlink()
    assert reload(sluice) == {"added": 0, "changed": 0, "removed": 1, "unchanged": 1}
    wait_state(sluice, "orders", 404)
    until(lambda: not members(cluster, topic), 20, "the group is empty")
    cluster.wait_committed(group_of(topic), topic, 2)
    assert sluice.metric("sluice_lanes", mapping="orders") == 0
    # And back again.
    sluice.mapping("orders", mapping_for(topic))
    assert reload(sluice)["added"] == 1
    cluster.produce(topic, numbered(20, prefix="second"))
    function.wait_done(ids(20, "second"), 20)
    assert set(function.seen.values()) == {1}


def test_secrets_and_certificates_are_read_again(cluster, function, sluice, mapping_for, directory):
    topic = cluster.topic(1)
    secret = directory / "token"
    secret.write_text("old-token\n")
    sluice.mapping("orders", mapping_for(topic, target={"http": {"auth": {"bearer": "TOKEN"}}}))
    path = sluice.mappings / "orders.yaml"
    path.write_text(path.read_text().replace('"TOKEN"', f"!file {secret}"))
    cluster.produce(topic, numbered(1, prefix="first"))
    sluice.start()
    function.wait_done(ids(1, "first"), 20)
    assert function.invocations[-1].headers["authorization"] == "Bearer old-token"
    assert reload(sluice)["unchanged"] == 1
    secret.write_text("new-token\n")
    assert reload(sluice)["changed"] == 1
    cluster.produce(topic, numbered(1, prefix="second"))
    function.wait_done(ids(1, "second"), 20)
    assert function.invocations[-1].headers["authorization"] == "Bearer new-token"
    assert not any("token" in line and ("old-" in line or "new-" in line) for line in sluice.lines)
    # A file that a path names counts with its content.
    ca = directory / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\none\n")
    sluice.mapping("orders", mapping_for(topic, target={"http": {"tls": {"ca_file": str(ca)}}}))
    reload(sluice)
    assert reload(sluice)["unchanged"] == 1
    ca.write_text("-----BEGIN CERTIFICATE-----\ntwo\n")
    assert reload(sluice)["changed"] == 1


def test_what_fails_while_it_is_made_changes_nothing(cluster, function, sluice, running, directory):
    topic, content = running
    before = members(cluster, topic)
    good = content["target"]["http"]
    no_pem = directory / "ca.pem"
    no_pem.write_text("this is no certificate\n")
    sluice.mapping("another", {**content, "target": {"http": {**good, "tls": {
        "ca_file": str(no_pem)}}}, "source": {"kafka": {**content["source"]["kafka"],
                                                        "group": "other"}}})
    sluice.mapping("orders", {**content, "batch": {"size": 3}})
    status, answer = sluice.control("POST", "/v1/reload")
    assert status == 422 and "ca.pem" in answer["detail"]
    assert members(cluster, topic) == before
    assert state_of(sluice, "orders") == "running"


def test_settings_that_need_a_restart_are_named(sluice, running):
    sluice.settings(store_size="2 GiB", log={"level": "debug"})
    status, answer = sluice.control("POST", "/v1/reload")
    assert (status, answer["needs_restart"], answer["unchanged"]) == (200, ["store_size"], 1)
    status, answer = sluice.control("POST", "/v1/reload")
    assert answer["needs_restart"] == ["store_size"]
    sluice.settings(log={"level": "info"})


def test_many_reloads_under_load_lose_and_double_nothing(cluster, function, sluice, mapping_for):
    count = 3000
    topic = cluster.topic(4)
    function.behave = always(200, delay=0.01)
    sluice.mapping("orders", mapping_for(topic))
    cluster.produce(topic, numbered(count, partitions=4))
    sluice.start()
    for round_number in range(4):
        wanted = count * (round_number + 1) // 6
        function.wait(lambda f: len(f.done) >= wanted, 40, f"{wanted} done")
        sluice.mapping("orders", mapping_for(topic, batch={"size": 11 + round_number}))
        assert reload(sluice)["changed"] == 1
        if round_number == 2:  # once more, while the last change is still on its way
            sluice.mapping("orders", mapping_for(topic, batch={"size": 20}))
            assert reload(sluice)["changed"] == 1
    function.wait_done(ids(count), 60)
    cluster.wait_committed(group_of(topic), topic, 4)
    assert set(function.seen.values()) == {1}


def test_pause_keeps_the_lanes_and_begins_nothing(cluster, function, sluice, running):
    topic, _ = running
    before = members(cluster, topic)
    assert sluice.control("POST", "/v1/mappings/orders/pause")[0] == 200
    wait_state(sluice, "orders", "paused")
    # The pause has reached the poller once it is a turn old; then nothing begins any more.
    invocations = len(function.invocations)
    cluster.produce(topic, numbered(10, prefix="second"))
    stays(lambda: len(function.invocations) == invocations, 2, "an invocation began")
    assert members(cluster, topic) == before
    assert reload(sluice)["unchanged"] == 1  # which ends no pause
    assert state_of(sluice, "orders") == "paused"
    assert sluice.control("POST", "/v1/mappings/orders/resume")[0] == 200
    function.wait_done(ids(10, "second"), 10)
    assert members(cluster, topic) == before


def test_drain_gives_the_lanes_back_until_resumed(cluster, function, sluice, running):
    topic, content = running
    assert sluice.control("POST", "/v1/mappings/orders/drain")[0] == 200
    wait_state(sluice, "orders", "drained")
    until(lambda: not members(cluster, topic), 20, "the group is empty")
    status, answer = sluice.control("POST", "/v1/mappings/orders/pause")
    assert status == 409 and "drained" in answer["detail"]
    sluice.mapping("orders", {**content, "batch": {"size": 7}})
    assert reload(sluice)["changed"] == 1  # taken over, and still drained
    wait_state(sluice, "orders", "drained")
    cluster.produce(topic, numbered(14, prefix="second", partitions=1))
    stays(lambda: not members(cluster, topic), 1, "it joined")
    assert sluice.control("POST", "/v1/mappings/orders/resume")[0] == 200
    function.wait_done(ids(14, "second"), 20)
    assert max(len(i.records) for i in function.invocations if i.ids[0].startswith("second")) <= 7
    assert set(function.seen.values()) == {1}


def test_the_commands_tell_what_came_of_them(cluster, function, sluice, running):
    topic, content = running

    def command(name, *arguments):
        done = run_cli(name, *arguments, "--state", sluice.state)
        return done.returncode, done.stdout, done.stderr
    assert command("reload") == (0, "0 changed, 0 added, 0 removed, 1 as they were\n", "")
    sluice.mapping("broken", BROKEN)
    code, output, errors = command("reload")
    assert (code, output) == (65, "")
    assert "nothing was changed" in errors and "broken.yaml:2:" in errors
    (sluice.mappings / "broken.yaml").unlink()
    sluice.settings(store_size="2 GiB")
    assert "store_size: takes effect when sluice is started again" in command("reload")[1]
    assert command("pause", "orders") == (0, "", "")
    assert state_of(sluice, "orders") == "paused"
    assert command("resume", "orders") == (0, "", "")
    assert state_of(sluice, "orders") == "running"
    assert command("drain", "orders") == (0, "", "")
    wait_state(sluice, "orders", "drained")
    assert command("pause", "nothing", "orders", "../x") == (
        65, "", "sluice pause: there is no mapping nothing\n"
        "sluice pause: orders is drained, which is more than paused; resume starts it\n"
        "sluice pause: there is no mapping ../x\n")
    assert command("resume")[0] == 64
    sluice.terminate()
    code, _, errors = command("resume", "orders")
    assert code == 69 and "no sluice is running" in errors
