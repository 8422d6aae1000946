"""Each bad input gets a clear answer, and nothing is lost."""

import os
import shutil
import subprocess
import json

import pytest

from lib.function import OK
from lib.machine import BUILD, ROOT
from lib.plugin import group_of, ids, numbered
from lib.sluice import run_cli


def fails(sluice, *words, seconds=20):
    """Starts sluice and checks that it refuses to run, naming these."""
    sluice.start(ready=False)
    code = sluice.wait_exit(seconds)
    text = sluice.tail()
    assert code not in (0, None) and code > 0, f"exit code {code}\n{text}"
    for word in words:
        assert word.lower() in text.lower(), f"{word!r} is not in:\n{text}"
    return text


def as_nobody():
    """The command prefix that drops root's rights, as root may write anywhere."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv")
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def reachable_by_nobody(path):
    for part in (path, *path.parents):
        if part.stat().st_uid == os.geteuid() and str(part).startswith("/tmp/"):
            part.chmod(0o755)


def test_state_directory_that_cannot_be_written(cluster, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic))
    sluice.state.mkdir()
    sluice.state.chmod(0o555)
    # The build may be where only root comes.
    plugins = shutil.copytree(BUILD / "connectors", sluice.directory / "connectors")
    sluice.settings(listen=None, connector_directory=str(plugins))
    reachable_by_nobody(sluice.directory)
    if subprocess.run([*as_nobody(), BUILD / "sluice", "version"], stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("the build directory cannot be read without root's rights")
    sluice.start(ready=False, wrapper=as_nobody())
    assert sluice.wait_exit() > 0
    assert str(sluice.state) in sluice.tail()


def test_state_directory_in_use(cluster, function, make_sluice, mapping_for):
    first, second = make_sluice(), make_sluice()
    for one in (first, second):
        one.mapping("m", mapping_for(cluster.topic(1)))
    first.start()
    second.settings(state_directory=str(first.state))
    fails(second, str(first.state), str(first.pid))
    assert first.running


def test_state_directory_is_a_file(cluster, sluice, mapping_for):
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    sluice.state.write_text("I am a file")
    fails(sluice, str(sluice.state))


def test_state_of_a_newer_version(cluster, function, sluice, mapping_for):
    import sqlite3
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    sluice.start()
    sluice.terminate()
    store = next(sluice.state.glob("dead-letters*.sqlite"))
    with sqlite3.connect(store) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute(f"PRAGMA user_version = {version + 1000}")
    database.close()
    fails(sluice, "newer", store.name)


@pytest.mark.parametrize("name", ["dead-letters.sqlite", "tokens"])
def test_damaged_state(cluster, function, sluice, mapping_for, name):
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    sluice.start()
    sluice.terminate()
    victims = [path for path in sluice.state.rglob("*") if path.is_file() and name in str(path)
               and "lock" not in path.name]
    if not victims:
        pytest.skip(f"no {name} in the state directory")
    for victim in victims:
        victim.write_bytes(b"this is no database " * 1000)
    fails(sluice, str(sluice.state))


def test_no_connector_of_that_name(cluster, sluice, mapping_for):
    sluice.mapping("m", {**mapping_for(cluster.topic(1)), "source": {"kafak": {}}})
    fails(sluice, "m.yaml", "kafak", "kafka")


def plugin_directory(sluice):
    home = sluice.directory / "connectors"
    home.mkdir()
    sluice.settings(connector_directory=str(home))
    return home


def test_connector_directory_that_is_empty(cluster, sluice, mapping_for):
    home = plugin_directory(sluice)
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    fails(sluice, "kafka", str(home))


def test_plugin_that_is_no_library(cluster, sluice, mapping_for):
    home = plugin_directory(sluice)
    (home / "sluice-kafka.so").write_text("I am no library")
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    fails(sluice, str(home / "sluice-kafka.so"))


def build_plugin(home, source):
    (home / "p.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT / "include", "-o",
                    home / "sluice-kafka.so", home / "p.c"], check=True)


def test_plugin_without_our_symbol(cluster, sluice, mapping_for):
    home = plugin_directory(sluice)
    build_plugin(home, "int something_else(void) { return 0; }")
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    fails(sluice, str(home / "sluice-kafka.so"), "sluice_connector")


def test_plugin_for_another_abi(cluster, sluice, mapping_for):
    home = plugin_directory(sluice)
    build_plugin(home, """
        #include <sluice/connector.h>
        static const struct sluice_option options[] = {{0}};
        static const struct sluice_connector descriptor = {
            .magic = SLUICE_ABI_MAGIC, .struct_size = sizeof descriptor, .abi_major = 7,
            .name = "kafka", .version = "1", .description = "x", .options = options};
        SLUICE_CONNECTOR(descriptor)""")
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    fails(sluice, str(home / "sluice-kafka.so"), "7", "1")


def test_plugin_that_is_not_one(cluster, sluice, mapping_for):
    home = plugin_directory(sluice)
    build_plugin(home, """
        static const char text[4096] = "nothing of the kind";
        __attribute__((visibility("default"))) const void *sluice_connector(void) { return text; }
        """)
    sluice.mapping("m", mapping_for(cluster.topic(1)))
    fails(sluice, str(home / "sluice-kafka.so"))


def test_full_disk(cluster, function, sluice, mapping_for):
    """A small file system for the state: nothing is settled while nothing can be recorded."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    sluice.state.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", sluice.state],
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        topic = cluster.topic(1)
        sluice.mapping("m", mapping_for(topic, batch={"size": 50},
                                        idempotency={"token": "key", "ttl": "1h"}))
        sluice.start()
        cluster.produce(topic, [{"key": f"a{n}", "value": json.dumps({"id": f"a-{n}"})}
                                for n in range(100)])
        function.wait_done(ids(100, "a"), 20)
        cluster.wait_committed(group_of(topic), topic, 1)
        filler = sluice.state / "filler"
        with open(filler, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"\0" * 4096)
            except OSError:
                pass
        committed = cluster.committed(group_of(topic), topic)
        cluster.produce(topic, [{"key": f"b{n}" + "x" * 200, "value": json.dumps({"id": f"b-{n}"})}
                                for n in range(20_000)])
        sluice.wait_for_log(r"full|space|cannot|fail", 30)
        assert sluice.running
        during = cluster.committed(group_of(topic), topic)
        assert during[0] - committed[0] < 20_000
        filler.unlink()
        # 4 MiB do not hold 20,000 tokens for long either: what matters is that it lives and waits.
        assert sluice.running
        cluster.tool.call("version")
    finally:
        sluice.kill9() if sluice.running else None
        subprocess.run(["umount", "-l", sluice.state], check=False)


def test_target_with_an_untrusted_certificate(cluster, make_function, sluice, mapping_for):
    """Unreachable, and no message's fault; with the authority trusted, all is delivered."""
    function = make_function(certificate=cluster.authority.path("server.pem"))
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    sluice.mapping("m", mapping_for(topic, target={"http": {"url": function.url}}))
    sluice.start()
    sluice.wait_for_log(r"certificate", 20)
    assert sluice.dead() == [] and function.invocations == []
    sluice.terminate()
    sluice.mapping("m", mapping_for(topic, target={"http": {
        "url": function.url, "tls": {"ca_file": str(cluster.authority.ca)}}}))
    sluice.start()
    function.wait_done(ids(5), 20)


def test_target_that_speaks_no_tls(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    sluice.mapping("m", mapping_for(topic, target={"http": {
        "url": function.url.replace("http://", "https://")}}))
    sluice.start()
    sluice.wait_for_event("target_down", 20)
    assert sluice.dead() == []


def test_target_name_that_does_not_resolve(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    cluster.produce(topic, numbered(5))
    sluice.mapping("m", mapping_for(topic, target={"http": {
        "url": "http://no-such-host.invalid/f"}}))
    sluice.start()
    sluice.wait_for_log(r"no-such-host\.invalid", 30)
    assert sluice.dead() == [] and sluice.running


def test_no_configuration_at_all(directory):
    done = run_cli("run", "--config", directory / "nowhere")
    assert done.returncode > 0 and str(directory / "nowhere") in done.stderr


def test_mistakes_are_named_before_anything_runs(cluster, function, sluice, mapping_for):
    good = cluster.topic(1)
    cluster.produce(good, numbered(3))
    sluice.mapping("good", mapping_for(good))
    sluice.mapping("bad", "source: {kafka: {brokers: x:1, topic: t, group: g}}\nbatches: {}\n")
    fails(sluice, "bad.yaml:2", "batches", "batch")
    function.behave = lambda invocation: OK
    assert function.invocations == []
