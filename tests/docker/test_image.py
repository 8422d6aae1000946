"""The image: built by its Dockerfile, then started from its root directory as an engine would: as its
user, read-only, as process 1."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest
import yaml

from image import CONTAINER, ROOT, Image
from lib.machine import PATIENCE
from lib.plugin import group_of, ids, numbered
from lib.waiting import until


@pytest.fixture(scope="module", params=os.environ.get("SLUICE_RELEASES", "bookworm").split())
def image(request):
    if os.getuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("needs root and mmdebstrap: `make test-docker` installs it")
    # Not below /tmp, which systemd-nspawn covers in the machine it makes.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-image-", dir="/var/tmp"))
    yield Image(ROOT / "docker/Dockerfile", directory, "demo", DEBIAN=request.param)
    shutil.rmtree(directory, ignore_errors=True)


def as_user(name):
    # The container's own way to another user wants a home directory.
    return ["/usr/bin/setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]


class Container:
    def __init__(self, image, state, mappings=None):
        self.stage = image.stage
        settings = [f"--setenv={name}={value}" for name, value in self.stage.environment.items()]
        binds = [f"--bind={state}:/var/lib/sluice"]
        if mappings:
            binds.append(f"--bind-ro={mappings}:/etc/sluice/mappings.d")
        self.process = subprocess.Popen(
            [*CONTAINER, "--pipe", "--read-only", *binds, *settings, "-D",
             self.stage.root, *as_user(self.stage.user), *self.stage.entrypoint,
             *self.stage.command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.first = until(self._find_first, 20 * PATIENCE, "the container's first process")

    def _find_first(self):
        assert self.process.poll() is None, self.process.stdout.read()
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "sluice":
                return int(child)
        return None

    def run(self, command):
        user = pathlib.Path(f"/proc/{self.first}/status").read_text()
        uid = re.search(r"^Uid:\s+(\d+)", user, re.M)[1]
        return subprocess.run(["nsenter", "-t", str(self.first), "-m", "-u", "-i", "-p", "-C", "-S", uid,
                               "-G", uid, "--", "/usr/bin/env", *[f"{n}={v}" for n, v in
                                                         self.stage.environment.items()],
                               "/bin/sh", "-c", command], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)

    def stop(self):
        """Its exit code and what it said, after the signal that an engine sends."""
        if self.process.poll() is None:
            os.kill(self.first, signal.SIGTERM)
        text, _ = self.process.communicate(timeout=60 * PATIENCE)
        return self.process.returncode, text


@pytest.fixture
def state(image):
    path = pathlib.Path(tempfile.mkdtemp(prefix="state-", dir=image.directory))
    os.chown(path, 64000, 64000)
    path.chmod(0o700)
    return path


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


def test_compose_names_what_there_is():
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    build = compose["services"]["sluice"]["build"]
    assert (ROOT / "docker" / build["context"] / build["dockerfile"]).exists()
    assert f"AS {build['target']}\n" in (ROOT / "docker/Dockerfile").read_text()
    for path in (ROOT / "docker/demo/mappings.d").glob("*.yaml"):
        mapping = yaml.safe_load(path.read_text())
        (source,) = mapping["source"].values()
        servers = source.get("brokers") or source.get("hosts") or source["url"].split("//")[1]
        assert servers.split(":")[0] in compose["services"], path
        assert re.match(r"http://(\w+):", mapping["target"]["http"]["url"])[1] in compose["services"]
