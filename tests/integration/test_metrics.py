"""/metrics: well formed, true, bounded and cheap."""

import os
import pathlib
import re
import statistics
import subprocess
import time

import prometheus_client.openmetrics.parser
import pytest

from lib.function import OK, Answer
from lib.plugin import ids, numbered
from lib.prometheus import check
from lib.sluice import merge
from lib.waiting import until

def value(families, name, suffix="", **labels):
    """The one sample that has those labels."""
    found = [number for (sample, has), number in families[name].samples.items()
             if sample == name + suffix and labels.items() <= dict(has).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


@pytest.fixture
def metrics(sluice):
    def read():
        status, text = sluice.get("/metrics")
        assert status == 200
        return check(text)
    return read


def test_they_tell_what_happened(cluster, function, sluice, mapping_for, metrics):
    topic = cluster.topic(1)
    function.behave = lambda i: Answer(400, "no") if "bad-0" in i.ids else OK
    sluice.mapping("orders", mapping_for(topic, retry={"attempts": 2}))
    cluster.produce(topic, [*numbered(20, prefix="a"), *numbered(1, prefix="bad"),
                            *numbered(20, prefix="b")])
    sluice.start()
    function.wait_done(ids(20, "a") + ids(20, "b"), 20)
    sluice.wait_dead(1)
    until(lambda: value(metrics(), "sluice_messages_dead_total", mapping="orders") == 1 and
          value(metrics(), "sluice_lag_messages", mapping="orders") == 0, 10, "all in the metrics")
    found = metrics()
    assert value(found, "sluice_messages_received_total", mapping="orders") == 41
    assert value(found, "sluice_messages_done_total", mapping="orders") == 40
    calls = value(found, "sluice_invocations_total", mapping="orders")
    assert calls == len(function.invocations)
    assert value(found, "sluice_invocations_failed_total", mapping="orders") >= 2
    name = "sluice_invocation_duration_seconds"
    assert value(found, name, "_count", mapping="orders") == calls
    assert 0 < value(found, name, "_sum", mapping="orders") < 60
    assert value(found, "sluice_batch_messages", "_sum", mapping="orders") == \
        sum(len(i.records) for i in function.invocations)
    good = sum(1 for i in function.invocations if i.answer.success)
    assert value(found, "sluice_batch_age_seconds", "_count", mapping="orders") == good
    assert value(found, "sluice_breaker_state", mapping="orders", state="closed") == 1
    assert value(found, "sluice_breaker_state", mapping="orders", state="target_paused") == 0
    assert value(found, "sluice_mapping_health", mapping="orders") == 0
    assert value(found, "sluice_oldest_message_age_seconds", mapping="orders") == 0
    assert value(found, "sluice_held_bytes", mapping="orders") == 0
    assert value(found, "sluice_store_commit_duration_seconds", "_count") > 0
    assert value(found, "process_open_fds") > 5
    assert abs(value(found, "process_start_time_seconds") - time.time()) < 120
    assert 1e6 < value(found, "process_resident_memory_bytes") < 1e9
    assert value(found, "sluice_mapping_info", mapping="orders", connector="kafka") == 1


def test_the_oldest_message_has_an_age(cluster, function, sluice, mapping_for, metrics):
    topic = cluster.topic(1)
    function.behave = lambda i: Answer(503)
    sluice.mapping("orders", mapping_for(topic))
    cluster.produce(topic, numbered(3))
    sluice.start()
    until(lambda: value(metrics(), "sluice_breaker_state", mapping="orders",
                        state="target_unavailable") == 1, 20, "a target that is down")
    until(lambda: value(metrics(), "sluice_oldest_message_age_seconds", mapping="orders") > 1, 20,
          "an age above a second")
    found = metrics()
    assert value(found, "sluice_mapping_health", mapping="orders") == 1
    assert value(found, "sluice_held_bytes", mapping="orders") > 0
    function.behave = lambda i: OK
    sluice.control("POST", "/v1/mappings/orders/resume")
    function.wait_done(ids(3), 20)
    until(lambda: value(metrics(), "sluice_oldest_message_age_seconds", mapping="orders") == 0, 10,
          "no age")


def test_the_manual_names_them_all(cluster, function, sluice, mapping_for, metrics):
    sluice.mapping("orders", mapping_for(cluster.topic(1)))
    sluice.start()
    manual = (pathlib.Path(__file__).parents[2] / "src/sluice-metrics.7").read_text()
    named = dict(re.findall(r"^\.It Ic (\w+) No \((\w+)\)$", manual, re.MULTILINE))
    assert named == {family.name: family.kind for family in metrics().values()}


def test_promtool_has_no_objection(cluster, function, sluice, mapping_for):
    sluice.mapping("orders", mapping_for(cluster.topic(1)))
    sluice.start()
    done = subprocess.run(["promtool", "check", "metrics"], input=sluice.get("/metrics")[1],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, "")


def test_openmetrics_is_spoken_if_asked_for(cluster, function, sluice, mapping_for, metrics):
    topic = cluster.topic(1)
    sluice.mapping("orders", mapping_for(topic))
    cluster.produce(topic, numbered(5))
    sluice.start()
    function.wait_done(ids(5), 20)
    until(lambda: value(metrics(), "sluice_messages_done_total", mapping="orders") == 5, 10, "done")
    _, text = sluice.get("/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert text.endswith("\n# EOF\n")
    families = {family.name: family
                for family in prometheus_client.openmetrics.parser.text_string_to_metric_families(text)}
    plain = metrics()
    assert {name.removesuffix("_total") for name in plain} == set(families)
    [done] = families["sluice_messages_done"].samples
    assert (done.name, done.value) == ("sluice_messages_done_total", 5)
    assert families["sluice_invocation_duration_seconds"].unit == "seconds"
    assert families["sluice_held_bytes"].unit == "bytes"
    # A series is the same whichever way it came.
    assert {(s.name, tuple(sorted(s.labels.items()))) for f in families.values() for s in f.samples} \
        == {(name, tuple(sorted(labels))) for f in plain.values() for name, labels in f.samples}


def test_each_lane_lags_for_itself(cluster, function, sluice, mapping_for, metrics):
    topic = cluster.topic(2)
    function.behave = lambda i: Answer(503)
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    cluster.produce(topic, [{**message, "partition": 1} for message in numbered(5)])
    sluice.start()
    full, empty = ({"mapping": "orders", "lane": f"{topic}/{partition}"} for partition in (1, 0))
    until(lambda: len(metrics()["sluice_lane_lag_messages"].samples) == 2 and
          value(metrics(), "sluice_lane_lag_messages", **full) == 5, 20, "a lane that lags")
    until(lambda: value(metrics(), "sluice_lane_oldest_message_age_seconds", **full) > 1, 20, "age")
    found = metrics()
    assert value(found, "sluice_lane_lag_messages", **empty) == 0
    assert value(found, "sluice_lane_oldest_message_age_seconds", **empty) == 0
    until(lambda: value(metrics(), "sluice_invocations_refused_total", mapping="orders") > 0, 20,
          "refusals")
    function.behave = lambda i: OK
    sluice.control("POST", "/v1/mappings/orders/resume")
    function.wait_done(ids(5), 20)
    until(lambda: value(metrics(), "sluice_lane_lag_messages", **full) == 0, 10, "no lag")
    assert value(metrics(), "sluice_messages_settled_total", mapping="orders") == 5
    assert value(metrics(), "sluice_settlement_failures_total", mapping="orders") == 0


def lanes(families, name="sluice_lane_lag_messages"):
    """{lane: number}, of all mappings."""
    return {dict(labels)["lane"]: number for (_, labels), number in families[name].samples.items()}


@pytest.mark.parametrize("most", [3, 0])
def test_the_lanes_that_are_told_are_bounded(directory, function, sluice, idle_source, metrics, most):
    sluice.settings(connector_directory=str(directory / "plugins"), metrics={"lanes": most})
    sluice.mapping("m", {"source": {"wedge": {**idle_source["wedge"], "lanes": 7}},
                         "target": {"http": {"url": function.url}}})
    sluice.start()
    until(lambda: value(metrics(), "sluice_lanes", mapping="m") == 7, 20, "all lanes")
    first = lanes(metrics())
    names = {f'we\\\\dge\\n\\"{n:03}\\"': n for n in range(most)}
    assert first == ({**names, "other": 3 + 4 + 5 + 6} if most else {})
    assert value(metrics(), "sluice_lag_messages", mapping="m") == sum(range(7))
    # The same lanes keep their places when the mapping starts anew.
    sluice.mapping("m", {"source": {"wedge": {**idle_source["wedge"], "lanes": 5}},
                         "target": {"http": {"url": function.url}}})
    assert sluice.control("POST", "/v1/reload")[1]["changed"] == 1
    until(lambda: value(metrics(), "sluice_lanes", mapping="m") == 5, 20, "fewer lanes")
    assert lanes(metrics()) == ({**names, "other": 3 + 4} if most else {})


def test_a_slow_invocation_has_an_exemplar(cluster, function, sluice, mapping_for, metrics):
    topic = cluster.topic(1)
    trace = "0af7651916cd43dd8448eb211c80319c"
    sluice.mapping("orders", mapping_for(topic, batch={"size": 1}))
    sluice.start()
    cluster.produce(topic, [{**message, "headers": [
        ("traceparent", f"00-{trace}-b7ad6b7169203331-01")]} for message in numbered(1)])
    function.wait_done(ids(1), 20)
    name = "sluice_invocation_duration_seconds"
    until(lambda: value(metrics(), name, "_count", mapping="orders") == 1, 10, "one invocation")
    _, text = sluice.get("/metrics", Accept="application/openmetrics-text;version=1.0.0")
    family, = (family for family in prometheus_client.openmetrics.parser.
               text_string_to_metric_families(text) if family.name == name)
    examples = [sample.exemplar for sample in family.samples if sample.exemplar]
    assert [example.labels for example in examples] == [{"trace_id": trace}]
    assert 0 < examples[0].value < 60
    assert abs(float(examples[0].timestamp) - time.time()) < 60
    assert trace not in sluice.get("/metrics")[1]  # the other format has no place for it


@pytest.mark.parametrize("per_mapping", [1, 100])
def test_a_scrape_of_100_mappings_is_cheap_and_bounded(directory, function, sluice, idle_source,
                                                       per_mapping):
    base = {"source": {"wedge": {**idle_source["wedge"], "lanes": per_mapping}},
            "target": {"http": {"url": function.url}}}
    for number in range(100):
        sluice.mapping(f"m{number}", merge(base, {}))
    sluice.start()
    until(lambda: len(lanes_of(sluice)) == 100 * per_mapping, 20, "all lanes")
    costs_ms = []
    for _ in range(50):
        begin = cpu_ns(sluice.pid)
        status, text = sluice.get("/metrics")
        costs_ms.append((cpu_ns(sluice.pid) - begin) / 1e6)
        assert status == 200
    # The cheap ones tell what a scrape costs, the others what the machine's other work adds to it.
    each_ms = statistics.quantiles(costs_ms, n=10)[0]
    families = check(text)
    series = sum(len(family.samples) for family in families.values())
    assert series < 100 * (95 + 2 * per_mapping) + 50, f"{series} series"
    print(f"{each_ms:.2f} ms of CPU, {len(text)} bytes")
    if not os.environ.get("SLUICE_TEST_PATIENCE"):
        # CPU, as this is not alone on its machine.
        assert each_ms < (5 if per_mapping == 1 else 15)


def cpu_ns(pid):
    """What all threads of a process have run."""
    return sum(int(path.read_text().split()[0])
               for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def lanes_of(sluice):
    return re.findall(r"^sluice_lane_lag_messages\{", sluice.get("/metrics")[1], re.MULTILINE)
