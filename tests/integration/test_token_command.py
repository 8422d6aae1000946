"""`sluice token`: what is recorded of tokens, beside the running service."""

import json

from lib.plugin import numbered
from lib.sluice import run_cli


def token(sluice, *arguments, code=0):
    done = run_cli("token", *arguments, "--json", "--state", sluice.state)
    assert done.returncode == code, f"{done.returncode} {done.stdout} {done.stderr}"
    return json.loads(done.stdout) if done.stdout else None


def test_show_forget_and_stats(cluster, function, sluice, mapping_for):
    topic = cluster.topic(1)
    assert run_cli("token", "stats", "--state", sluice.state).returncode == 74
    cluster.produce(topic, numbered(3))
    sluice.mapping("m", mapping_for(topic, idempotency={"token": "/id"}))
    sluice.start()
    function.wait_done(["m-0", "m-1", "m-2"], 20)
    cluster.wait_committed(f"g-{topic}", topic, 1)
    shown = token(sluice, "show", "m", "m-1")
    assert shown["state"] == "recorded" and shown["message"] == f"{topic}/0/1"
    assert shown["recorded"] < shown["expires"]
    assert token(sluice, "show", "m", "other", code=1)["state"] == "unknown"
    assert token(sluice, "show", "nobody", "m-1", code=1)["state"] == "unknown"
    assert token(sluice, "stats")["tokens"] == 3

    assert run_cli("token", "forget", "m", "m-1", "--state", sluice.state).returncode == 64
    assert token(sluice, "forget", "m", "m-1", "--yes")["forgotten"] is True
    assert token(sluice, "forget", "m", "m-1", "--yes", code=1)["forgotten"] is False
    cluster.produce(topic, numbered(3))
    function.wait(lambda f: f.done.get("m-1") == 2, 20, "m-1 once more")
    cluster.wait_committed(f"g-{topic}", topic, 1)
    assert function.done == {"m-0": 1, "m-1": 2, "m-2": 1}
    for command in (["stats"], ["show", "m", "m-0"]):
        done = run_cli("token", *command, "--state", sluice.state)
        assert done.returncode == 0 and done.stdout.strip()
    assert run_cli("token", "shwo", "--state", sluice.state).returncode == 64
