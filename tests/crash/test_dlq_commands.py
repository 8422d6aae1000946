"""kill -9 while people's commands change dead letters: what was done and what the log says agree, and
the same command goes on."""

import json
import random
import subprocess
import threading

import pytest

from lib.machine import PATIENCE
from lib.sluice import PROGRAM, run_cli
from lib.waiting import until

COUNT = 6000


def letter(n):
    return {"mapping": "m", "connector": "kafka", "source": "t", "lane": f"t/{n % 5}",
            "partition": n % 5, "position": n, "token": f"t/{n % 5}/{n}", "class": "attempts",
            "status": 500, "reason": "HTTP 500", "attempt_count": 3,
            "died": f"2026-11-01T00:00:00.{n:06}Z", "payload": json.dumps({"id": n, "pad": "x" * 500})}


@pytest.fixture
def state(directory):
    lines = directory / "letters.jsonl"
    lines.write_text("".join(json.dumps(letter(n)) + "\n" for n in range(COUNT)))
    return directory


def dlq(state, *arguments, code=0):
    done = run_cli("dlq", *arguments, "--state", state / "state", timeout=120)
    assert done.returncode == code, f"{done.returncode} {done.stderr}"
    return done.stdout


def objects(state, *arguments):
    return [json.loads(line) for line in dlq(state, *arguments, "--json").splitlines()]


def count(state):
    return sum(group["count"] for group in objects(state, "stats", "--by", "mapping"))


def logged(state, action):
    return sum(act["count"] for act in objects(state, "log", "-n", "0") if act["action"] == action)


def killed(state, *arguments, dice, began):
    """Runs it, kills it at a random moment after `began()`; whether it was killed in time."""
    process = subprocess.Popen([PROGRAM, "dlq", *arguments, "--state", state / "state"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    until(lambda: began() or process.poll() is not None, 60 * PATIENCE, "the first letters",
          every=0.002)
    threading.Event().wait(dice.random() * 0.03)
    process.kill()
    return process.wait() != 0


def test_import_discard_and_edit(state):
    dice = random.Random()
    kills = 0
    dlq(state, "import", state / "letters.jsonl")
    dlq(state, "discard", "--all", "--yes")
    for _ in range(4):
        kills += killed(state, "import", state / "letters.jsonl", dice=dice,
                        began=lambda: count(state) > 0)
        assert count(state) + COUNT == logged(state, "import")
    dlq(state, "import", state / "letters.jsonl")
    assert count(state) == COUNT and logged(state, "import") == 2 * COUNT
    for n in range(4):
        kills += killed(state, "edit", "--all", "--set", f"/round={n}", "--yes", dice=dice,
                        began=lambda before=logged(state, "edit"): logged(state, "edit") > before)
        letters = objects(state, "ls", "-n", "0")
        assert sum(one["edit_count"] for one in letters) == logged(state, "edit")
    left = COUNT
    for _ in range(4):
        kills += killed(state, "discard", "--all", "--yes", dice=dice,
                        began=lambda before=left: count(state) < before)
        left = count(state)
        assert COUNT - left == logged(state, "discard") - COUNT
    assert kills, "nothing was killed in time"
    if left:
        dlq(state, "discard", "--all", "--yes")
    assert count(state) == 0 and logged(state, "discard") == 2 * COUNT
