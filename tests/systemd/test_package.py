"""The Debian packages of each release: built on it, installed, upgraded, removed and purged on a bare one
that systemd boots. SLUICE_RELEASES="bookworm trixie" names them, the first if unset."""

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
from machine import ROOT, Machine, build_packages, with_version  # noqa: E402

NAMES = {"sluice", "sluice-kafka", "sluice-rabbitmq", "sluice-http", "sluice-dev"}


@pytest.fixture(scope="module", params=os.environ.get("SLUICE_RELEASES", "bookworm").split())
def release(request):
    return request.param


@pytest.fixture(scope="module")
def place(release):
    # Not below /tmp, which systemd-nspawn covers in the machine it makes.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-package-", dir="/var/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def packages(place, release):
    if os.geteuid() != 0 or not shutil.which("lintian") or not shutil.which("mmdebstrap"):
        pytest.fail("needs root, lintian and mmdebstrap: `make test-systemd` installs them")
    return build_packages(place / "build", release)


@pytest.fixture
def machine(place, release):
    machine = Machine(place, release, installed=False)
    shutil.copy("/etc/resolv.conf", machine.root / "etc/resolv.conf")
    try:
        machine.boot()
        yield machine
    finally:
        machine.close()


def contents(package):
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True,
                            stdout=subprocess.PIPE).stdout
    names = subprocess.run(["tar", "-t"], input=listed, check=True, stdout=subprocess.PIPE).stdout
    return {name.removeprefix(".") for name in names.decode().splitlines()
            if not name.endswith("/")}


def test_lintian_finds_no_error(packages):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on=error",
                           *map(str, packages.values())], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_everything_is_in_one_package(packages):
    assert set(packages) == NAMES
    inside = {name: contents(path) for name, path in packages.items()}
    everything = [path for paths in inside.values() for path in paths]
    assert len(everything) == len(set(everything))

    def has(package, *endings):
        for ending in endings:
            assert any(path.endswith(ending) for path in inside[package]), (package, ending)
    has("sluice", "/usr/bin/sluice", "/etc/sluice/sluice.yaml", "/sluice.service", "/sluice@.service",
        "/sluice.socket", "/sluice@.socket", "/sluice.catalog", "/sluice/sluice-mapping.schema.json",
        "/sluice/sluice.schema.json", "/sluice/sluice-openapi.yaml", "/sluice/sluice.rules.yaml",
        "/sluice/sluice-grafana.json", "/completions/sluice", "/vendor-completions/_sluice",
        "/vendor_completions.d/sluice.fish", "/sluice/examples/orders.yaml")
    for connector in ("kafka", "rabbitmq", "http"):
        has(f"sluice-{connector}", f"/connectors/sluice-{connector}.so", f"/man7/sluice-{connector}.7.gz")
    has("sluice-dev", "/include/sluice/connector.h", "/pkgconfig/sluice.pc")
    pages = {path.name for path in ROOT.glob("src/*.[157]")}
    assert pages <= {os.path.basename(path).removesuffix(".gz") for path in inside["sluice"]}


def test_the_life_of_a_package(cluster, function, machine, packages, mapping_for):
    machine.run("apt-get", "-qq", "update")

    def install(*paths):
        for path in paths:
            shutil.copy(path, machine.root / "root")
        machine.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y",
                    "--no-install-recommends", "install", *(f"/root/{path.name}" for path in paths))
    install(*packages.values())
    # Nothing to do yet: neither started nor failed.
    for unit in ("sluice", "sluice.socket"):
        assert machine.show(unit, "ActiveState") == "inactive"
    assert "kafka" in machine.run("sluice", "connectors")
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5, prefix="first"))
    machine.write("/etc/sluice/mappings.d/orders.yaml", json.dumps(mapping_for(topic)))
    machine.run("systemctl", "enable", "--now", "sluice.socket")
    machine.run("systemctl", "enable", "--now", "sluice")
    function.wait_done(ids(5, "first"), 20)
    machine.write("/etc/sluice/one/sluice.yaml", "{}\n")
    machine.write("/etc/sluice/one/mappings.d/orders.yaml", json.dumps(mapping_for(cluster.topic(1))))
    machine.run("systemctl", "enable", "--now", "sluice@one.socket", "sluice@one")
    settings = machine.root / "etc/sluice/sluice.yaml"
    settings.write_text(settings.read_text() + "# changed by the administrator\n")

    before = machine.show("sluice", "MainPID")
    instance = machine.show("sluice@one", "MainPID")
    listening_since = machine.show("sluice.socket", "ActiveEnterTimestampMonotonic")
    # An upgrade restarts it, and keeps what it has, how it was set up, and its sockets.
    install(*(with_version(path, "99.0") for path in packages.values()))
    assert "99.0" in machine.run("dpkg-query", "-W", "sluice")
    until(lambda: machine.show("sluice", "MainPID") not in (before, "0"), 20 * PATIENCE,
          "another process")
    until(lambda: machine.show("sluice@one", "MainPID") not in (instance, "0"), 20 * PATIENCE,
          "another process of the instance")
    assert machine.show("sluice.socket", "ActiveEnterTimestampMonotonic") == listening_since
    assert "changed by the administrator" in settings.read_text()
    cluster.produce(topic, numbered(5, prefix="second"))
    function.wait_done(ids(5, "second"), 20)
    assert set(function.seen.values()) == {1}

    machine.run("dpkg", "-r", *NAMES)
    for unit in ("sluice", "sluice.socket", "sluice@one", "sluice@one.socket"):
        assert machine.show(unit, "ActiveState") == "inactive"
    assert settings.exists()
    assert (machine.root / "etc/sluice/mappings.d/orders.yaml").exists()
    assert (machine.root / "var/lib/private/sluice/tokens.mdb").exists()
    machine.run("dpkg", "-P", *NAMES)
    for path in ("etc/sluice", "var/lib/private/sluice", "var/lib/sluice", "usr/lib/sluice",
                 "usr/share/sluice", "run/sluice-control.sock", "var/lib/private/sluice-one",
                 "var/lib/sluice-one", "run/sluice-one-control.sock"):
        assert not os.path.lexists(machine.root / path), path
