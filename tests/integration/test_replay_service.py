"""`sluice dlq replay` where the service runs: the replay runs in it, beside all else."""

import json
import os
import random
import signal
import subprocess

import pytest

from lib.function import Answer, OK, poison
from lib.machine import PATIENCE
from lib.plugin import group_of, ids, numbered
from lib.sluice import PROGRAM, run_cli
from lib.waiting import until
from test_replay import command, letter, replay, tokens

SLOW = 0.01


@pytest.fixture
def served(sluice, directory, idle_source, function):
    """A running service with letters of mapping m: served(letter(1), ..., key=value of the mapping)."""
    def mapping(**changes):
        sluice.mapping("m", {
            "source": idle_source, "batch": {"size": 1, "window": "1ms"}, "order": "none",
            "target": {"http": {"url": function.url, "concurrency": "1..8"}, "format": "json"},
            "retry": {"attempts": 2, "backoff": "10ms..20ms"}, **changes})

    def make(*lines, **changes):
        mapping(**changes)
        path = directory / "letters.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = run_cli("dlq", "import", path, "--state", sluice.state)
        assert done.returncode == 0, done.stderr
        return sluice.start()
    make.mapping = mapping
    return make


def begin(sluice, *arguments):
    return subprocess.Popen([PROGRAM, *command(sluice, "replay", *arguments, "--yes", "--json")],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process, code=0):
    output, errors = process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == code, f"{process.returncode}: {output} {errors}"
    return json.loads(output.splitlines()[-1])


def shown(sluice, number):
    status, answer = sluice.control("GET", f"/v1/replays/{number}")
    assert status == 200, answer
    return answer


def wait_ended(sluice, number):
    return until(lambda: shown(sluice, number)["state"] == "ended" and shown(sluice, number), 30,
                 f"the end of replay {number}")


def test_a_nights_incident_without_stopping_the_service(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    bad = [f"m-{n}" for n in range(0, 60, 5)]
    function.behave = poison(bad)
    cluster.produce(topic, numbered(60, keys=7))
    sluice.mapping("m", mapping_for(topic))
    sluice.start()
    sluice.wait_dead(len(bad), 60)
    cluster.wait_committed(group_of(topic), topic, 2)
    before = tokens(function)
    function.behave = lambda invocation: OK
    cluster.produce(topic, [{"value": json.dumps({"id": f"new-{n}"})} for n in range(40)])
    result = replay(sluice, "--mapping", "m", "--status", "5xx")
    assert result["through"] == "service"
    assert (result["done"], result["died"], result["left"]) == (len(bad), 0, 0)
    function.wait_done([f"new-{n}" for n in range(40)], 20)
    assert sluice.dead() == []
    assert all(count == 1 for count in function.done.values()) and len(function.done) == 100
    assert {i: tokens(function)[i] for i in ids(60)} == before
    log = run_cli("dlq", "log", "--json", "--state", sluice.state).stdout
    act = json.loads(log.splitlines()[0])
    assert (act["action"], act["count"], act["uid"]) == ("replay", len(bad), os.getuid())
    assert "--status 5xx" in act["detail"] and act["detail"].startswith("m: ")


def test_metrics_tell_of_replays(served, function):
    sluice = served(*(letter(n) for n in range(5)))
    assert sluice.metric("sluice_replayed_letters_total") == 0
    function.behave = poison(["m-2"], 422)
    assert replay(sluice, "--all", code=2)["died"] == 1
    found = {outcome: sluice.metric("sluice_replayed_letters_total", outcome=outcome)
             for outcome in ("done", "already", "died", "gone", "changed")}
    assert found == {"done": 4, "already": 0, "died": 1, "gone": 0, "changed": 0}
    assert sluice.metric("sluice_replays_running") == 0
    function.behave = lambda invocation: Answer(200, delay=2)
    process = begin(sluice, "--all")
    until(lambda: sluice.metric("sluice_replays_running") == 1, 10, "a replay in the metrics")
    assert end(process)["done"] == 1
    assert sluice.metric("sluice_replayed_letters_total", outcome="done") == 5


def test_it_says_which_way_it_goes(served, function):
    sluice = served(letter(1), letter(2), letter(3))
    there = run_cli(*command(sluice, "replay", "-n", "1", "--all", "--yes"))
    assert there.returncode == 0 and f"The service (pid {sluice.pid}) replays" in there.stderr
    assert sluice.terminate() == 0
    here = run_cli(*command(sluice, "replay", "-n", "1", "--all", "--yes"))
    assert here.returncode == 0 and "this process replays" in here.stderr
    none = run_cli(*command(sluice, "replay", "--all", "--yes", "--detach"))
    assert none.returncode == 69 and "no service runs" in none.stderr
    assert len(sluice.dead()) == 1 and len(function.invocations) == 2


def test_two_at_once_send_each_letter_once(served, function):
    count = 300
    sluice = served(*(letter(n, lane=f"t/{n % 3}") for n in range(count)))
    function.behave = lambda invocation: Answer(200, delay=SLOW)
    processes = [begin(sluice, "--all") for _ in range(3)]
    function.wait_invocations(5, 20)
    forced = run_cli(*command(sluice, "replay", "--all", "--force", "--yes"))
    assert forced.returncode == 75 and "while another replay runs" in forced.stderr
    results = [end(process) for process in processes]
    assert sum(r["done"] for r in results) == count
    assert all(r["died"] == r["left"] == r["changed"] == 0 for r in results)
    assert sluice.dead() == []
    assert all(invocations == 1 for invocations in function.seen.values())
    assert len(function.seen) == count


def test_interrupted_detached_and_attached(served, function):
    count = 400
    sluice = served(*(letter(n) for n in range(count)), target={
        "http": {"url": function.url, "concurrency": 2}, "format": "json"})
    function.behave = lambda invocation: Answer(200, delay=SLOW)
    process = begin(sluice, "--all")
    function.wait_invocations(20, 20)
    process.send_signal(signal.SIGINT)
    result = end(process, 75)
    assert result["stopped"] == "interrupted" and 0 < result["left"] < count
    told = run_cli(*command(sluice, "replay", "--attach", "1")).stderr
    assert "the same command" not in told and "begin the replay again" in told
    assert len(sluice.dead()) == result["left"]
    # Killed, it leaves the replay to the service.
    process = begin(sluice, "--all", "--rate", "100")
    number = 2
    until(lambda: sluice.control("GET", f"/v1/replays/{number}")[0] == 200, 10, "its beginning")
    process.kill()
    process.communicate()
    attached = begin(sluice, "--attach", str(number))
    assert end(attached)["done"] == result["left"]
    assert sluice.dead() == [] and set(function.done.values()) == {1}
    assert wait_ended(sluice, number)["uid"] == os.getuid()
    unknown = run_cli(*command(sluice, "replay", "--attach", "77"))
    assert unknown.returncode == 65 and "no replay 77" in unknown.stderr
    assert "  2  ended" in unknown.stderr and "--all --rate 100" in unknown.stderr


def test_the_service_killed_in_the_middle(served, function):
    """kill -9 of the service at random moments: nothing lost, nothing sent with another token."""
    seed = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(10 ** 6))
    print(f"SLUICE_SEED={seed}")
    dice = random.Random(seed)
    count = 800
    sluice = served(*(letter(n, lane=f"t/{n % 4}") for n in range(count)),
                    batch={"size": 5, "window": "1ms"})
    function.behave = lambda invocation: Answer(200, delay=dice.random() * SLOW)
    for _ in range(6):
        goal = len(function.invocations) + dice.randrange(1, 20)
        process = begin(sluice, "--all", "--force")
        function.wait_invocations(goal, 30)
        sluice.kill9()
        assert end(process, 75)["stopped"] == "stopped_there"
        function.wait(lambda f: f.in_flight == 0, 10, "loss of the connections")
        assert len(sluice.dead()) >= count - len(function.seen)
        sluice.start()
    result = replay(sluice, "--all")
    assert result["died"] == 0 and sluice.dead() == []
    function.wait_done(ids(count), 10)
    assert all(len(found) == 1 for found in tokens(function).values())
    assert {next(iter(found))[-2:] for found in tokens(function).values()} == {"~1"}


def test_a_stop_of_the_service_lets_what_is_in_flight_land(served, function):
    sluice = served(*(letter(n) for n in range(300)))
    function.behave = lambda invocation: Answer(200, delay=SLOW)
    process = begin(sluice, "--all")
    function.wait_invocations(20, 20)
    assert sluice.terminate() == 0
    result = end(process, 75)
    assert result["stopped"] == "stopped_there"
    left = sluice.dead()
    assert len(left) == 300 - len(function.done) and len(left) > 0
    assert all(function.seen[i] == function.done[i] == 1 for i in function.done)


@pytest.mark.parametrize("what", ["changed", "removed"])
def test_a_reload_does_not_disturb_it(served, function, sluice, what):
    count = 200
    served(*(letter(n) for n in range(count)), target={
        "http": {"url": function.url, "concurrency": 2}, "format": "json"})
    function.behave = lambda invocation: Answer(200, delay=SLOW)
    process = begin(sluice, "--all")
    function.wait_invocations(20, 20)
    if what == "changed":
        served.mapping(drain="7s")
    else:
        (sluice.mappings / "other.yaml").write_text((sluice.mappings / "m.yaml").read_text())
        (sluice.mappings / "m.yaml").unlink()
    assert sluice.control("POST", "/v1/reload")[0] == 200
    if what == "removed":
        assert sluice.control("GET", "/v1/mappings/m")[1]["state"] == "removing"
        served.mapping()
        assert sluice.control("POST", "/v1/reload")[0] == 200
    second = begin(sluice, "--all")  # through what runs now, with the same claims
    results = [end(process), end(second)]
    assert sum(r["done"] for r in results) == count and sluice.dead() == []
    assert all(invocations == 1 for invocations in function.seen.values())
    until(lambda: sluice.control("GET", "/v1/mappings/m")[1]["state"] == "running", 10, "m runs")


def test_edit_and_discard_beside_it(served, function):
    count = 200
    sluice = served(*(letter(n) for n in range(count)), target={
        "http": {"url": function.url, "concurrency": 1}, "format": "json"})
    function.behave = lambda invocation: Answer(200, delay=SLOW)
    all_ids = {one["position"]: one["id"] for one in sluice.dead()}
    process = begin(sluice, "--all")
    function.wait_invocations(10, 20)
    edit = run_cli("dlq", "edit", all_ids[count - 1], "--set", "/mended=true", "--yes", "--state",
                   sluice.state)
    discard = run_cli("dlq", "discard", all_ids[count - 2], "--yes", "--state", sluice.state)
    assert (edit.returncode, discard.returncode) == (0, 0), edit.stderr + discard.stderr
    result = end(process)
    assert (result["done"], result["gone"], result["left"]) == (count - 1, 1, 0)
    assert f"m-{count - 2}" not in function.seen
    last = function.invocations[-1].records[0]
    assert json.loads(last.value)["mended"] is True and sluice.dead() == []


def test_show_tells_whether_the_mapping_changed_since(served, function):
    sluice = served(letter(1))
    revision = sluice.control("GET", "/v1/mappings/m")[1]["revision"]
    sluice.kill9()
    served(letter(2, revision=revision), letter(3, revision="0123456789abcdef"))
    shown = {one["position"]: run_cli("dlq", "show", one["id"], "--state", sluice.state).stdout
             for one in sluice.dead()}
    assert f"revision   {revision}, as it is now" in shown[2]
    assert f"revision   0123456789abcdef; now it is {revision}" in shown[3]
    assert sluice.terminate() == 0
    done = run_cli("dlq", "show", sluice.dead()[0]["id"], "--state", sluice.state)
    assert "as it is now" not in done.stdout and "now it is" not in done.stdout


def test_failures_and_a_target_that_is_down(served, function):
    sluice = served(*(letter(n) for n in range(100)))
    function.behave = lambda invocation: Answer(422)
    assert replay(sluice, "--all", "--concurrency", "1", code=2)["stopped"] == "failures"
    function.refuse()
    result = replay(sluice, "--all", "--wait", "1s", code=69)
    assert result["stopped"] == "unavailable" and result["died"] == 0
    function.listen()
    function.behave = lambda invocation: OK
    done = run_cli(*command(sluice, "replay", "--all", "--to", "nobody", "--yes"))
    assert done.returncode == 78 and "no mapping nobody" in done.stderr
    assert replay(sluice, "--all", "--one-first")["done"] == 100


@pytest.mark.parametrize("body, detail", [
    ({}, "which letters?"),
    ([], "which letters?"),
    ({"query": {}, "rat": 5}, "rat: there is no such member"),
    ({"query": {"mappings": "m"}}, "mappings: there is no such member"),
    ({"query": {}, "rate": -1}, "rate: a number from 0"),
    ({"query": {}, "force": 1}, "force: true or false"),
    ({"query": {"sort": "best"}}, "sort: one of its words"),
    ({"query": {"key": {"base64": "?"}}}, "key: a string or"),
    ({"ids": []}, "ids: a list"),
    ({"ids": ["01K"]}, "ids: whole ids"),
])
def test_orders_that_are_refused(served, body, detail):
    sluice = served(letter(1))
    status, answer = sluice.control("POST", "/v1/replays", body)
    assert status == 422 and detail in answer["detail"]
    assert sluice.control("GET", "/v1/replays")[1] == {"replays": []}
    assert len(sluice.dead()) == 1
