"""Dead letters where things go wrong: a full disk, a damaged file, huge payloads."""

import contextlib
import json
import os
import pathlib
import subprocess

import pytest

from lib.function import OK, Answer
from lib.sluice import run_cli

MIB = 1 << 20


def letter(n, **changes):
    return {"mapping": "m", "connector": "kafka", "source": "t", "lane": f"t/{n % 3}",
            "partition": n % 3, "position": n, "token": f"t/{n % 3}/{n}", "class": "attempts",
            "status": 500, "reason": f"HTTP 500: order {n} failed", "attempt_count": 3,
            "died": f"2026-11-01T00:{n // 60:02}:{n % 60:02}.000000Z",
            "payload": json.dumps({"id": f"m-{n}"}), **changes}


@pytest.fixture
def imported(sluice, directory, mapping_for):
    def make(*lines, **changes):
        sluice.mapping("m", mapping_for("t", **changes))
        path = directory / "letters.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = run_cli("dlq", "import", path, "--state", sluice.state, timeout=60)
        assert done.returncode == 0, done.stderr
        return path
    return make


def replay(sluice, *arguments, code=0):
    done = run_cli("dlq", "replay", *arguments, "--config", sluice.config, "--yes", "--json",
                   timeout=60)
    assert done.returncode == code, f"{done.returncode}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def small_disk(path, size):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=False)


def fill(path):
    """Takes all the room that there is."""
    with open(path, "wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"\0" * 4096)


def test_the_disk_is_full_while_replaying(function, sluice, imported):
    """Letters stay until their token is recorded; with room again the same command ends it."""
    with small_disk(sluice.state, "8m"):
        imported(*(letter(n) for n in range(300)), batch={"size": 5})
        full = sluice.state / "filler"

        def behave(invocation):
            if len(function.invocations) == 5:
                fill(full)
            return Answer(200, delay=0.2) if full.exists() else OK  # so that not all are done before it is noticed
        function.behave = behave
        result = replay(sluice, "--all", "--wait", "1s", code=69)
        assert result["stopped"] == "unavailable" and len(function.seen) < 300
        full.unlink()
        left = len(sluice.dead())
        assert left >= 300 - len(function.seen)
        assert replay(sluice, "--all")["left"] == 0 and sluice.dead() == []
        tokens = {}
        for invocation in function.invocations:
            for record in invocation.records:
                tokens.setdefault(record.id, set()).add(record.token)
        assert len(tokens) == 300 and all(len(found) == 1 for found in tokens.values())


def test_the_disk_is_full_while_importing(sluice, directory):
    """It tells how many are there, and goes on from there with room again."""
    path = directory / "letters.jsonl"
    path.write_text("".join(json.dumps(letter(n, payload="x" * 8000)) + "\n" for n in range(600)))
    with small_disk(sluice.state, "3m"):
        done = run_cli("dlq", "import", path, "--state", sluice.state)
        assert done.returncode == 74 and "no space left" in done.stderr
        there = len(sluice.dead())
        assert f"{there} dead letters imported before that" in done.stderr and done.stdout == ""
        done = run_cli("dlq", "import", path, "--state", sluice.state, "--json")
        assert done.returncode == 74
        assert json.loads(done.stdout) == {"action": "import", "read": 600, "imported": 0}


def test_a_damaged_file(sluice, imported, directory):
    """What can be read is listed and exported, what not is told, and the rest goes into a new file."""
    imported(*(letter(n, payload="x" * 3000) for n in range(600)))
    data = sluice.state / "dead-letters.sqlite"
    with open(data, "r+b") as file:
        assert file.seek(0, os.SEEK_END) > 2 * MIB
        file.seek(MIB // 4096 * 4096)
        file.write(b"\xa5" * 20 * 4096)
    for command in ([], ["stats"]):
        done = run_cli("dlq", *command, "--state", sluice.state)
        assert done.returncode == 74 or command == []
        assert done.returncode == 0 or "`sluice dlq export`" in done.stderr
    done = run_cli("dlq", "export", "--state", sluice.state)
    assert done.returncode == 74
    assert "the file is damaged" in done.stderr and "cannot be read; what can be was" in done.stderr
    saved = [json.loads(line) for line in done.stdout.splitlines()]
    assert 500 < len(saved) < 600 and len({one["id"] for one in saved}) == len(saved)
    assert all(one["payload"] == "x" * 3000 for one in saved)
    done_list = run_cli("dlq", "ls", "--limit", "0", "--state", sluice.state)
    assert done_list.returncode == 74 and done_list.stdout.count("\n") > 500
    data.rename(directory / "damaged")
    for rest in sluice.state.glob("dead-letters.sqlite-*"):
        rest.unlink()
    (directory / "saved").write_text(done.stdout)
    done = run_cli("dlq", "import", directory / "saved", "--state", sluice.state)
    assert done.returncode == 0 and len(sluice.dead()) == len(saved)


def test_a_payload_of_16_mib(function, sluice, imported, directory, make_sluice):
    text = "é" * (8 * MIB - 20)
    payload = json.dumps({"id": "m-1", "text": text}, ensure_ascii=False)
    assert abs(len(payload.encode()) - 16 * MIB) < 100
    imported(letter(1, payload=payload), letter(2), target={"http": {"timeout": "30s"}})
    one = sluice.dlq("ls", "--token", "t/1/1")[0]["id"]
    shown = run_cli("dlq", "show", one, "--state", sluice.state).stdout
    assert len(shown) < MIB and "16" in shown
    raw = run_cli("dlq", "show", one, "--payload", "--state", sluice.state).stdout
    assert raw == payload
    edited = run_cli("dlq", "edit", one, "--set", "/n=1", "--yes", "--state", sluice.state)
    assert edited.returncode == 0, edited.stderr
    exported = run_cli("dlq", "export", "--state", sluice.state).stdout
    (directory / "exported").write_text(exported)
    other = make_sluice()
    done = run_cli("dlq", "import", directory / "exported", "--state", other.state)
    assert done.returncode == 0, done.stderr
    assert run_cli("dlq", "export", "--state", other.state).stdout == exported
    assert json.loads(exported.splitlines()[0])["original"] == payload
    assert replay(sluice, "--all")["done"] == 2
    record = max((record for invocation in function.invocations for record in invocation.records),
                 key=lambda record: len(record.value))
    assert json.loads(record.value) == {"id": "m-1", "text": text, "n": 1}


@pytest.mark.parametrize("line, why", [
    ('{"mapping": "m"', "column"), ("[]", "no JSON object"),
    (json.dumps({"mapping": "m", "lane": "t/0"}), '"class" is missing'),
    (json.dumps({**letter(1), "position": -1}), '"position"'),
    (json.dumps({**letter(1), "payload": {"base64": "!"}}), '"payload"'),
    (json.dumps({**letter(1), "timestamp_kind": "guessed"}), '"timestamp_kind"'),
])
def test_a_broken_line_of_an_import(sluice, directory, line, why):
    path = pathlib.Path(directory / "letters")
    path.write_text(json.dumps(letter(1)) + "\n\n" + line + "\n" + json.dumps(letter(2)) + "\n")
    done = run_cli("dlq", "import", path, "--state", sluice.state)
    assert done.returncode == 65
    assert f"{path}, line 3: " in done.stderr and why in done.stderr
    assert done.stderr.count("\n") == 1 and sluice.dead() == []


def test_the_beginning_of_several_ids(sluice, imported):
    imported(letter(1), letter(2), letter(3))
    ids = sorted(one["id"] for one in sluice.dead())
    shared = os.path.commonprefix(ids)
    for command in (["show"], ["edit", "--set", "/a=1", "--yes"], ["discard", "--yes"], ["export"],
                    ["replay", "--yes", "--config", str(sluice.config)]):
        place = [] if "--config" in command else ["--state", str(sluice.state)]
        done = run_cli("dlq", command[0], shared.lower(), *command[1:], *place)
        assert done.returncode == 65, (command, done)
        assert "is ambiguous" in done.stderr and all(one in done.stderr for one in ids)
    assert len(sluice.dead()) == 3 and all(one["edit_count"] == 0 for one in sluice.dead())
    assert run_cli("dlq", "show", ids[0], "--state", sluice.state).returncode == 0
