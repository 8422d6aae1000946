"""The Debian packages: built, installed, upgraded, removed and purged on a bare Debian that systemd
boots."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from lib.machine import PATIENCE
from lib.plugin import ids, numbered
from lib.waiting import until

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from machine import Machine, build_packages  # noqa: E402


@pytest.fixture(scope="module")
def place():
    # Not below /tmp, which systemd-nspawn covers in the machine it makes.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-package-", dir="/var/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def packages(place):
    if not shutil.which("dpkg-buildpackage"):
        pytest.fail("needs dpkg-buildpackage: `make test-systemd` installs it")
    return build_packages(place / "build")


@pytest.fixture
def machine(place):
    machine = Machine(place, os.environ.get("SLUICE_RELEASES", "bookworm").split()[0],
                      installed=False)
    try:
        machine.boot()
        yield machine
    finally:
        machine.close()


def test_lintian_finds_no_error(packages):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on=error",
                           *map(str, packages.values())], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_the_life_of_a_package(cluster, function, machine, packages, mapping_for):
    def dpkg(*arguments):
        return machine.run("dpkg", *arguments)

    assert set(packages) == {"sluice", "sluice-kafka", "sluice-rabbitmq", "sluice-http",
                             "sluice-dev"}
    for path in packages.values():
        shutil.copy(path, machine.root / "root")
    debs = [f"/root/{packages[name].name}" for name in ("sluice", "sluice-kafka")]
    dpkg("-i", *debs)
    # Nothing to do yet: neither started nor failed.
    assert machine.show("sluice", "ActiveState") == "inactive"
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5, prefix="first"))
    machine.write("/etc/sluice/mappings.d/orders.yaml", json.dumps(mapping_for(topic)))
    machine.run("systemctl", "enable", "--now", "sluice")
    function.wait_done(ids(5, "first"), 20)
    settings = machine.root / "etc/sluice/sluice.yaml"
    settings.write_text(settings.read_text() + "# changed by the administrator\n")

    before = machine.show("sluice", "MainPID")
    dpkg("-i", *debs)  # an upgrade restarts it, and keeps what it has and how it was set up
    until(lambda: machine.show("sluice", "MainPID") not in (before, "0"), 20 * PATIENCE,
          "another process")
    assert "changed by the administrator" in settings.read_text()
    cluster.produce(topic, numbered(5, prefix="second"))
    function.wait_done(ids(5, "second"), 20)
    assert set(function.seen.values()) == {1}

    dpkg("-r", "sluice-kafka", "sluice")
    assert machine.show("sluice", "ActiveState") == "inactive"
    assert settings.exists()
    assert (machine.root / "etc/sluice/mappings.d/orders.yaml").exists()
    assert (machine.root / "var/lib/private/sluice/tokens.mdb").exists()
    dpkg("-P", "sluice-kafka", "sluice")
    for path in ("etc/sluice", "var/lib/private/sluice", "var/lib/sluice", "usr/lib/sluice",
                 "usr/share/sluice"):
        assert not os.path.lexists(machine.root / path), path
