"""One mapping's misery is no other's: one in each kind of trouble, beside one that is well."""

import json
import statistics
import time

from lib.function import Answer
from lib.machine import PATIENCE, free_port
from lib.plugin import numbered
from lib.waiting import until

MESSAGES = 100


def latencies(cluster, topic, function, prefix):
    """Seconds from a message's production to its invocation, one after the other."""
    found = []
    for number in range(MESSAGES):
        name = f"{prefix}-{number}"
        begin = time.monotonic()
        cluster.produce(topic, [{"value": json.dumps({"id": name})}])
        function.wait(lambda f, name=name: name in f.done, 20, f"success of {name}")
        found.append(time.monotonic() - begin)
    return found


def test_each_kind_of_trouble_beside_a_healthy_mapping(
        cluster, rabbit, make_function, function, sluice, mapping_for, rabbit_mapping):
    healthy = cluster.topic(1)
    sluice.mapping("healthy", mapping_for(healthy, batch={"size": 1}))
    sluice.start()
    before = latencies(cluster, healthy, function, "before")

    def troubled(name, behave=None, changes=None, messages=2000):
        target = make_function()
        target.behave = behave or target.behave
        topic = cluster.topic(2)
        cluster.produce(topic, list(numbered(messages, prefix=name)))
        sluice.mapping(name, mapping_for(topic, {
            "target": {"http": {"url": target.url}}, **(changes or {})}))
        return target

    hanging = troubled("hangs", lambda invocation: Answer(how="hang"))
    failing = troubled("fails", lambda invocation: Answer(500))
    garbage = troubled("garbage", lambda invocation: Answer(how="garbage"))
    refused = troubled("unauthorised", lambda invocation: Answer(401))
    poison = troubled("poison", lambda invocation: Answer(400))
    dripping = troubled("drips", lambda invocation: Answer(200, body="x" * 200, how="drip"))
    slow = troubled("slow", lambda invocation: Answer(200, delay=2))
    closed = troubled("closed")
    closed.refuse()
    sluice.mapping("no-broker", mapping_for("t", {"source": {"kafka": {
        "brokers": f"127.0.0.1:{free_port()}", "group": "no-broker"}}}))
    sluice.mapping("no-topic", mapping_for("there-is-no-such-topic", {"source": {"kafka": {
        "group": "no-topic"}}}))
    sluice.mapping("no-queue", rabbit_mapping(rabbit, "there-is-no-such-queue"))
    sluice.mapping("no-rabbit", rabbit_mapping(rabbit, "q", {"source": {"rabbitmq": {
        "hosts": f"127.0.0.1:{free_port()}"}}}))
    assert sluice.control("POST", "/v1/reload")[0] == 200
    for target in (hanging, failing, garbage, refused, poison, dripping, slow):
        target.wait_invocations(1, 30)

    def states():
        return {mapping["name"]: (mapping["state"], mapping["health"])
                for mapping in sluice.control("GET", "/v1/status")[1]["mappings"]}
    bad = {"no-broker", "no-topic", "no-queue", "no-rabbit", "closed"}
    until(lambda: all(states()[name][1] != "good" for name in bad), 60 * PATIENCE,
          lambda: f"trouble to be seen: {states()}")
    cpu, begin = cpu_seconds(sluice.pid), time.monotonic()
    during = latencies(cluster, healthy, function, "during")
    spent = (cpu_seconds(sluice.pid) - cpu) / (time.monotonic() - begin)
    assert states()["healthy"][1] == "good"
    print(f"median {statistics.median(before) * 1000:.1f} ms before, "
          f"{statistics.median(during) * 1000:.1f} ms beside; worst {max(before) * 1000:.0f} and "
          f"{max(during) * 1000:.0f} ms; {spent:.2f} of a core")
    assert statistics.median(during) < 2 * statistics.median(before) + 0.02 * PATIENCE
    assert sorted(during)[int(MESSAGES * 0.95)] < 0.5 * PATIENCE


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100
