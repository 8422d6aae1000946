"""The connector of connectors/example, built as somebody else would, outside of the tree."""

import json
import os
import random
import shutil
import subprocess

import pytest

from lib.function import Answer
from lib.machine import ROOT
from lib.plugin import ids
from lib.sluice import run_cli
from lib.waiting import until


@pytest.fixture
def plugins(directory):
    """Headers and pkg-config file installed, the connector compiled against them."""
    prefix = directory / "usr"
    subprocess.run(["make", "-s", "-C", ROOT, "install-dev", f"PREFIX={prefix}"], check=True,
                   env={**os.environ, "MAKEFLAGS": ""})
    shutil.copytree(ROOT / "connectors/example", directory / "example")
    subprocess.run(["make", "-s", "-C", directory / "example", "CFLAGS=-Wall -Wextra -Werror -O1"],
                   check=True, env={**os.environ, "MAKEFLAGS": "",
                                    "PKG_CONFIG_PATH": str(prefix / "share/pkgconfig")})
    return directory / "example"


@pytest.fixture
def spool(directory, plugins, sluice, function):
    """A spool directory with a mapping that reads it."""
    path = directory / "spool"
    path.mkdir()
    sluice.settings(connector_directory=str(plugins))
    sluice.mapping("m", {
        "source": {"spool": {"directory": str(path)}},
        "batch": {"size": 10, "window": "5ms"},
        "target": {"http": {"url": function.url, "timeout": "5s"}},
        "retry": {"attempts": 3, "backoff": "10ms..100ms"}})
    return path


def drop(spool, name, text):
    """As writers do: complete before it has its name."""
    part = spool / f"{name}.tmp"
    part.write_text(text)
    part.rename(spool / name)


def drop_numbered(spool, count, prefix="m"):
    for number in range(count):
        drop(spool, f"{prefix}-{number:04}", json.dumps({"id": f"{prefix}-{number}"}))


def waiting(spool):
    return sorted(path.name for path in spool.iterdir() if path.name != "done")


def wait_empty(spool):
    until(lambda: waiting(spool) == [], 20, lambda: f"an empty spool, found {waiting(spool)[:5]}")


def test_files_are_messages(spool, function, sluice):
    drop_numbered(spool, 50)
    (spool / ".hidden").write_text("no")
    (spool / "part.tmp").write_text("not yet")
    (spool / "subdirectory").mkdir()
    sluice.start()
    function.wait_done(ids(50), 20)
    drop_numbered(spool, 50, "late")
    function.wait_done(ids(50, "late"), 20)
    until(lambda: waiting(spool) == [".hidden", "part.tmp", "subdirectory"], 20, "the others alone")
    assert len(list((spool / "done").iterdir())) == 100
    assert set(function.seen.values()) == {1}
    record = function.invocations[0].event()["records"][0]
    headers = {header["name"]: header["value"] for header in record["headers"]}
    assert headers["file"].startswith("m-") and int(headers["modified"]) > 1_700_000_000
    drop(spool, "m-0000", '{"id": "again"}')  # another file of a name that was there
    function.wait_done(["again"], 20)
    wait_gone = spool / "m-0000"
    until(lambda: not wait_gone.exists(), 20, "its move")


def test_kill_9_loses_no_file(spool, function, sluice):
    dice = random.Random(7)
    drop_numbered(spool, 1500)
    function.behave = lambda invocation: Answer(200, delay=dice.random() * 0.01)
    sluice.start()
    for goal in (200, 500, 700, 1000, 1300):
        function.wait(lambda f, goal=goal: len(f.done) >= goal, 60, f"{goal} done")
        sluice.kill9()
        sluice.start()
    function.wait_done(ids(1500), 60)
    wait_empty(spool)
    assert len(list((spool / "done").iterdir())) == 1500
    tokens = {}
    for invocation in function.invocations:
        for record in invocation.records:
            assert tokens.setdefault(record.id, record.token) == record.token
    assert sluice.dead() == []


def test_what_was_done_is_not_invoked_again(spool, function, sluice):
    """Files that could not be moved come again after a crash, and are known by their identity."""
    (spool / "done").write_text("in the way")
    drop_numbered(spool, 10)
    sluice.start()
    function.wait_done(ids(10), 20)
    sluice.wait_for_log("cannot move finished files")
    sluice.kill9()
    (spool / "done").unlink()
    sluice.start()
    wait_empty(spool)
    assert function.seen == dict.fromkeys(ids(10), 1)
    assert sluice.metric("sluice_messages_duplicate_total") == 10


def test_a_bad_file_becomes_a_dead_letter(spool, function, sluice):
    drop_numbered(spool, 20)
    function.behave = lambda invocation: Answer(400 if "m-3" in invocation.ids else 200)
    sluice.start()
    letter, = sluice.wait_dead(1)
    wait_empty(spool)
    assert json.loads(run_cli("dlq", "show", letter["id"], "--payload", "--state",
                              sluice.state).stdout) == {"id": "m-3"}


def test_a_directory_that_goes_and_comes_back(spool, function, sluice):
    spool.rmdir()
    sluice.start()
    sluice.wait_for_log("cannot read the directory")
    spool.mkdir()
    drop_numbered(spool, 5)
    function.wait_done(ids(5), 20)
    wait_empty(spool)
    before = len(sluice.lines)
    spool.rename(spool.with_name("elsewhere"))
    sluice.wait_for_log("cannot read the directory", after=before)
    spool.mkdir()
    drop_numbered(spool, 5, "back")
    function.wait_done(ids(5, "back"), 20)


def test_check_and_stop(spool, function, sluice):
    assert run_cli("check", "--connect", sluice.config).returncode == 0
    drop_numbered(spool, 30)
    function.behave = lambda invocation: Answer(200, delay=0.2)
    sluice.start()
    function.wait_invocations(1, 20)
    assert sluice.terminate() == 0
    assert set(waiting(spool)) | {path.name for path in (spool / "done").iterdir()} == \
        {f"m-{number:04}" for number in range(30)}
    sluice.start()
    function.wait_done(ids(30), 20)
    assert set(function.seen.values()) == {1}
