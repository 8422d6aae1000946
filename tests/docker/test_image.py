"""The image: built by its Dockerfile, then started from its root directory as an engine would: as its
user, read-only, as process 1."""

import json
import re

from container import Container
from lib.machine import PATIENCE
from lib.plugin import group_of, ids, numbered
from lib.waiting import until


def test_runs_as_its_user_with_a_read_only_root(image, state, cluster, function, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    mappings = image.directory / "mappings"
    mappings.mkdir()
    (mappings / "orders.yaml").write_text(json.dumps(mapping_for(topic)))
    container = Container(image, state, mappings)
    try:
        function.wait_done(ids(5), 30)
        assert container.run("id -u").stdout.strip() == "64000"
        assert container.run("touch /etc/sluice/x").returncode != 0
        healthy = container.run(container.stage.health)
        assert healthy.returncode == 0, healthy.stdout
        told = json.loads(container.run("sluice status --json").stdout)
        assert told["mappings"][0]["name"] == "orders"
        cluster.wait_committed(group_of(topic), topic, 1)
    finally:
        code, text = container.stop()
    assert code == 0, text
    assert (state / "tokens.mdb").exists()
    # Nothing answers any more, and that is told.
    assert not (state / "control.sock").exists()


def test_the_demo_has_mappings_that_wait_for_their_brokers(image, state):
    container = Container(image, state)
    try:
        until(lambda: container.run(container.stage.health).returncode == 0, 30 * PATIENCE,
              "a good health check, whatever the brokers do")
        told = json.loads(container.run("sluice status --json").stdout)
        assert {m["name"] for m in told["mappings"]} == {"kafka-orders", "rabbitmq-orders",
                                                         "sqs-orders"}
    finally:
        code, text = container.stop()
    assert code == 0, text


def test_has_no_build_tools(image):
    for name in ("gcc", "make", "cc1"):
        assert not list(image.stage.root.glob(f"usr/bin/{name}*")), name
    packages = (image.stage.root / "var/lib/dpkg/status").read_text()
    assert not re.search(r"^Package: \S+-dev$", packages, re.M)
