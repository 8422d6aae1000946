"""kill -9 while dead letters are published back to where they came from: each is in the store or at its
source at any moment, and the same command goes on."""

import json
import subprocess
import threading

import pytest

from lib.machine import PATIENCE
from lib.rabbitmq import QUORUM
from lib.sluice import PROGRAM, run_cli
from lib.waiting import until
from test_crash import dice_of_today

COUNT, KILLS = 6000, 6


def letter(n, connector, source):
    lane = {"kafka": f"{source}/0", "rabbitmq": source}[connector]
    return {"mapping": "m", "connector": connector, "source": source, "lane": lane, "partition": 0,
            "position": n, "token": f"token-{n}", "class": "attempts", "status": 500, "reason": "HTTP 500",
            "attempt_count": 3, "died": f"2026-11-01T00:00:00.{n:06}Z", "key": f"k{n % 7}",
            "payload": json.dumps({"id": f"m-{n}", "pad": "x" * 300})}


@pytest.fixture
def load(sluice, directory):
    def make(connector, source, mapping):
        sluice.mapping("m", mapping)
        lines = directory / "letters.jsonl"
        lines.write_text("".join(json.dumps(letter(n, connector, source)) + "\n" for n in range(COUNT)))
        done = run_cli("dlq", "import", lines, "--state", sluice.state)
        assert done.returncode == 0, done.stderr
        return sluice
    return make


def replay(sluice):
    return [PROGRAM, "dlq", "replay", "--to-source", "--all", "--yes", "--json", "--config", sluice.config]


def kill_at_random(sluice, kill, check):
    """How many kills came in the middle: a rate makes it last long enough."""
    dice, kills = dice_of_today(), 0
    for _ in range(KILLS):
        before = len(sluice.dead())
        process = subprocess.Popen([*replay(sluice), "--rate", "4000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        until(lambda: len(sluice.dead()) < before or process.poll() is not None, 60 * PATIENCE,
              "the first letters", every=0.002)
        threading.Event().wait(dice.random() * 0.03)
        kill(process)
        process.wait()
        left = {one["token"] for one in sluice.dead()}
        kills += 0 < len(left) < before
        check(left)
    return kills


def finish(sluice):
    done = subprocess.run(replay(sluice), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, timeout=120 * PATIENCE)
    assert done.returncode in (0, 1), done  # 1: none were left
    assert sluice.dead() == []


@pytest.mark.parametrize("through", ["command", "service"])
def test_kafka(cluster, function, load, mapping_for, through):
    topic = cluster.topic(1)
    sluice = load("kafka", topic, mapping_for(topic))
    ids = {f"m-{n}" for n in range(COUNT)}

    def published():
        return [json.loads(one["value"])["id"] for one in cluster.letters(topic)
                if "sluice-replayed" in one["headers"]]

    def check(left):
        lost = ids - set(published()) - {token.replace("token", "m") for token in left}
        assert not lost, f"{len(lost)} lost, such as {sorted(lost)[:3]}"

    def kill(process):
        if through == "service":
            sluice.kill9()
            process.wait(60 * PATIENCE)
            sluice.start()
        else:
            process.kill()
    if through == "service":
        sluice.start()
    assert kill_at_random(sluice, kill, check), "nothing was killed in the middle"
    finish(sluice)
    check(set())
    if through == "service":
        function.wait_done(ids, 60)


def test_rabbitmq(rabbit, load, rabbit_mapping):
    queue = rabbit.queue(**QUORUM)
    sluice = load("rabbitmq", queue, rabbit_mapping(rabbit, queue))
    assert kill_at_random(sluice, lambda process: process.kill(), lambda left: None), \
        "nothing was killed in the middle"
    finish(sluice)
    found = [(json.loads(value)["id"], properties.headers["sluice-replayed"])
             for value, properties in rabbit.take(queue)]
    assert {one for one, _ in found} == {f"m-{n}" for n in range(COUNT)}
    assert len(set(found)) == COUNT  # whoever comes twice has the same mark
