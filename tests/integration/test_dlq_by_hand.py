"""`sluice dlq` as a person uses it at night: what is typed, wrongly too, and what is answered. No broker."""

import base64
import datetime
import json
import os
import shlex
import signal
import subprocess

import pytest

from lib.function import poison
from lib.machine import BUILD, PATIENCE
from lib.sluice import PROGRAM, quick_rules, run_cli
from lib.terminal import on_terminal


def letter(n, **changes):
    return {"mapping": "orders", "connector": "kafka", "source": "orders", "lane": f"orders/{n % 3}",
            "partition": n % 3, "position": n, "token": f"o-{n}", "class": "attempts", "status": 500,
            "reason": f"the function answered 500: no VAT rate for CH (order o-{n})", "attempt_count": 3,
            "died": f"2026-11-01T00:{n // 60:02}:{n % 60:02}.000000Z",
            "payload": json.dumps({"id": f"o-{n}", "quantity": "two"}), **changes}


@pytest.fixture
def store(directory):
    """Makes a store of these letters, and returns what runs `sluice dlq` on it."""
    def make(*letters):
        path = directory / "letters.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in letters))

        def dlq(*arguments, **options):
            return run_cli("dlq", *arguments, "--state", directory / "state", **options)

        def lines(*arguments):
            done = dlq(*arguments, "--json")
            assert done.returncode == 0, done.stderr
            return [json.loads(line) for line in done.stdout.splitlines()]

        dlq.lines = lines
        dlq.command = lambda *arguments: [PROGRAM, "dlq", *arguments, "--state", directory / "state"]
        done = dlq("import", path)
        assert done.returncode == 0, done.stderr
        return dlq
    return make


# ---- what is found ----

def test_keys_that_are_no_text_are_told_apart(store):
    binary = [b"\0\xffa\x1b[2J", b"\0\xffb", b"\0\xffb", b"hex:61"]
    dlq = store(letter(0), letter(1, key="c-1"), letter(2, key="(no key)"),
                *(letter(10 + n, key={"base64": base64.b64encode(key).decode()})
                  for n, key in enumerate(binary)))
    groups = {json.dumps(one["key"]): one["count"] for one in dlq.lines("stats", "--by", "key")}
    assert groups == {"null": 1, '"c-1"': 1, '"(no key)"': 1, '"hex:61"': 1,
                      '{"base64": "AP9hG1sySg=="}': 1, '{"base64": "AP9i"}': 2}
    shown = dlq("stats", "--by", "key").stdout
    assert "hex:00ff611b5b324a\n" in shown and "hex:00ff62\n" in shown
    assert "hex:6865783a3631\n" in shown  # as --key takes it
    assert len(dlq.lines("ls", "--key", "hex:00FF62")) == 2
    assert len(dlq.lines("ls", "--key", "hex:6865783a3631")) == 1


# ---- how it is shown ----

@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("mappings", [["orders"], ["orders", "shipments-of-the-north"]])
def test_what_went_wrong_is_seen_however_narrow_the_terminal(store, columns, mappings):
    dlq = store(*(letter(n, mapping=mapping, lane=f"{mapping}/0") for mapping in mappings for n in range(3)),
                letter(7, reason="connection reset by peer, as nobody listens there", status=None))
    for command, words in ((["ls"], "no VAT rate"), (["ls", "orders"], "no VAT rate"), (["stats"], "no VAT r"),
                           (["stats", "--by", "mapping"], "orders"), ([], "no V")):
        code, seen = on_terminal(dlq.command(*command), columns=columns)
        assert code == 0 and words in seen, seen
        lines = seen.partition("Next:")[0].splitlines()
        assert all(len(line.rstrip()) <= columns for line in lines if command or line[:1] == " "), seen
        if command[:1] == ["ls"]:
            for one in dlq.lines(*command):
                assert one["id"] in seen and (not one["status"] or "500" in seen)
            assert len(mappings) == 1 or command == ["ls", "orders"] or "shipments-of" in seen
        elif command == ["stats"] and columns >= 80:
            assert dlq.lines("stats")[0]["example"] in seen
    piped = dlq("ls").stdout  # there the whole text
    assert piped.count("the function answered 500: no VAT rate for CH (order o-0)\n") == len(mappings)


def test_hours_are_local_as_all_times_for_people(store):
    dlq = store(letter(0))
    environment = {**os.environ, "TZ": "XXX-5:30"}
    shown = dlq("stats", "--by", "hour", env=environment).stdout.splitlines()
    assert shown[1].endswith("  2026-11-01 05:30") and "2026-11-01 05:30:00 (" in \
        dlq("show", "0", env=environment).stdout
    assert dlq.lines("stats", "--by", "hour")[0]["hour"] == "2026-11-01T00:00Z"


def test_the_summary_counts_all(store):
    dlq = store(*(letter(n, reason=reason) for n, reason in enumerate("aabbccdde")))
    shown = dlq().stdout
    assert "           2  a\n           2  b\n           2  c\n           3  others\n" in shown
    assert "others" not in store(letter(0))("ls").stdout


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_log_tells_which_on_narrow_terminals(store, columns):
    dlq = store(letter(0))
    assert dlq("discard", "--mapping", "orders", "--class", "attempts", "--yes").returncode == 0
    code, seen = on_terminal(dlq.command("log", "-n", "1"), columns=columns)
    assert code == 0 and "--mapping orders --class attempts" in seen, seen
    assert all(len(line) <= columns for line in seen.splitlines())


# ---- import and export ----

@pytest.mark.parametrize("changes, words", [
    ({"class": "poisoned"}, 'line 2: "class" is "poisoned", expected attempts, poison, '),
    ({"died": "yesterday"}, 'line 2: "died" is "yesterday", expected a time such as '),
    ({"mapping": None}, 'line 2: "mapping" is missing, expected text'),
    ({"position": -1}, 'line 2: "position" is -1, expected a whole number'),
    ({"payload": {"base64": "!"}}, 'line 2: "payload" is {"base64":"!"}, expected text, '),
    ({"reason": ["\x1b[2J" * 100]}, 'line 2: "reason" is ["\\u001B[2J\\u001B[2J'),
])
def test_a_broken_line_tells_what_was_found(store, directory, changes, words):
    dlq = store(letter(0))
    lines = json.dumps(letter(1)) + "\n" + json.dumps(letter(2, **changes)) + "\n"
    done = dlq("import", "/dev/stdin", input=lines)
    assert done.returncode == 65 and words in done.stderr, done.stderr
    assert len(done.stderr) < 400 and "nothing was imported" in done.stderr
    assert dlq("import", "-", input=lines).stderr.startswith(
        "sluice dlq import: standard input, line 2: ")


def test_a_file_that_cannot_be_read_is_not_an_empty_one(store, directory):
    done = store(letter(0))("import", directory)
    assert done.returncode == 66 and f"{directory}: Is a directory" in done.stderr


# ---- replay ----

@pytest.fixture
def replay(store, directory, function):
    """Makes letters whose mapping invokes `function`, and returns what runs `sluice dlq replay` with it."""
    def make(*letters):
        config = directory / "config/mappings.d"
        config.mkdir(parents=True)
        (config / "orders.yaml").write_text(json.dumps({
            **quick_rules(function), "source": {"kafka": {"brokers": "127.0.0.1:1", "topic": "orders",
                                                          "group": "g"}},
            "idempotency": {"token": "/id"}}))
        (config.parent / "sluice.yaml").write_text(json.dumps(
            {"connector_directory": str(BUILD / "connectors")}))
        dlq = store(*letters)
        options = ("--config", config.parent)

        def run(*arguments):
            return dlq("replay", *arguments, *options)
        run.command = lambda *arguments: dlq.command("replay", *arguments, *options)
        run.dlq = dlq
        return run
    return make


def test_one_first_and_then_no(replay, function):
    run = replay(*(letter(n) for n in range(5)))
    code, seen = on_terminal(run.command("--all", "--one-first"), (r"other 4\? \[y/N\] ", "n\n"))
    assert code == 75 and "is done." in seen and "\n1 replayed, 4 left.\n" in seen
    assert "Nothing was done" not in seen
    code, seen = on_terminal(run.command("--all", "--one-first", "--json"), (r"other 3\? \[y/N\] ", "n\n"))
    told = json.loads(next(line for line in seen.splitlines() if line.startswith("{")))
    assert code == 75 and (told["done"], told["left"], told["stopped"]) == (1, 3, "interrupted")


def test_one_first_sends_none_where_nobody_can_be_asked(replay, function):
    run = replay(*(letter(n) for n in range(5)))
    done = run("--all", "--one-first")
    assert done.returncode == 64 and "--yes" in done.stderr and not function.invocations


def test_one_first_without_asking_stops_where_the_first_fails(replay, function):
    function.behave = poison(["o-0"])
    run = replay(*(letter(n) for n in range(5)))
    done = run("--all", "--one-first", "--yes")
    assert done.returncode == 2 and "0 replayed, 1 died again" in done.stdout and "4 left" in done.stdout
    assert "Stopped, as the first died again." in done.stderr and list(function.seen) == ["o-0"]
    told = json.loads(run("--all", "--one-first", "--yes", "--json").stdout)
    assert (told["died"], told["left"], told["stopped"]) == (1, 4, "failures")


# ---- edit ----

def test_one_edited_in_an_editor_for_scripts_and_tried(store, directory):
    dlq = store(letter(0), letter(1))
    (directory / "editor").write_text("#!/bin/sh\nsed -i 's/\"two\"/2/' \"$1\"\n")
    (directory / "editor").chmod(0o755)
    environment = {**os.environ, "EDITOR": str(directory / "editor")}
    one = dlq.lines("ls")[0]["id"]
    done = dlq("edit", one, "--dry-run", env=environment)
    assert done.returncode == 0 and "1 dead letter would be edited." in done.stdout
    for changed, options in ((1, ["--dry-run"]), (1, ["--yes"]), (0, ["--yes"])):
        done = dlq("edit", one, "--json", *options, env=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"action": "edit", "edited": changed, "unchanged": 1 - changed,
                                           "failed": 0, "dry_run": "--dry-run" in options}
    assert json.loads(dlq.lines("show", one)[0]["payload"])["quantity"] == 2


def test_a_difference_that_is_too_long_says_so(store, directory):
    dlq = store(letter(0, payload="x" * 1_200_000), letter(1))
    (directory / "editor").write_text("#!/bin/sh\nprintf y >> \"$1\"\n")
    (directory / "editor").chmod(0o755)
    environment = {**os.environ, "EDITOR": str(directory / "editor")}
    ids = [one["id"] for one in dlq.lines("ls", "--sort", "oldest")]
    done = dlq("edit", ids[0], "--dry-run", env=environment)
    assert done.returncode == 0 and "\n  ... and more\n1 dead letter would" in done.stdout
    done = dlq("edit", ids[1], "--dry-run", env={**environment, "TMPDIR": str(directory / "nowhere")})
    assert done.returncode == 73 and f"{directory}/nowhere" in done.stderr, done.stderr


def test_an_edit_of_many_shows_how_far_it_is(store):
    dlq = store(*(letter(n) for n in range(1100)))
    code, seen = on_terminal(dlq.command("edit", "--all", "--set", "/quantity=2", "--yes"))
    assert code == 0 and "\r500 of 1,100 edited\r" in seen and "\r1,100 dead letters edited.\n" in seen
    assert {(one["edit_count"], json.loads(one["payload"])["quantity"]) for one in dlq.lines("export")} == {(1, 2)}
    code, seen = on_terminal(dlq.command("edit", "--all", "--set", "/quantity=3", "--yes", "--json"))
    assert code == 0 and json.loads(seen)["edited"] == 1100
    done = dlq("edit", "--all", "--set", "/quantity=4", "--yes")
    assert done.returncode == 0 and done.stderr == ""
    assert [act["count"] for act in dlq.lines("log")][:3] == [1100, 1100, 1100]


def test_an_id_given_twice_is_edited_once(store):
    dlq = store(letter(0), letter(1))
    one = dlq.lines("ls")[0]["id"]
    done = dlq("edit", one, one, "--set", "/quantity=2", "--yes")
    assert done.returncode == 0 and "\n1 dead letter edited, 1 had the value already.\n" in done.stdout
    assert [letter["edit_count"] for letter in dlq.lines("ls")] == [1, 0]


# ---- filters ----

CONTRADICTIONS = [
    (["--class", "poison", "--class", "named"], "--class twice; a letter has one: give the command for each"),
    (["-m", "orders", "--mapping=returns"], "--mapping twice"),
    (["--error", "a", "--error", "b"], "--error twice"),
    (["--replayed", "--never-replayed"], "either --replayed or --never-replayed, not both"),
    (["--since", "1m", "--until", "2h"], "--since is not before --until"),
    (["--until", "2026-11-01", "--since", "2026-11-01"], "--since is not before --until"),
]


@pytest.mark.parametrize("command, options, words", [
    (command, options, words) for command in (["ls"], ["discard", "--yes"], ["browse", "orders"])
    for options, words in CONTRADICTIONS if command[0] != "browse" or "-m" not in options])
def test_filters_that_contradict_each_other(store, command, options, words):
    dlq = store(letter(0), letter(1))
    done = dlq(*command, *options)
    assert done.returncode == 64 and words in done.stderr, done.stderr
    assert len(dlq.lines("ls")) == 2


def test_times_as_they_are_printed_and_said(store):
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=90)
    dlq = store(letter(0), letter(1, died=at.strftime("%Y-%m-%dT%H:%M:%S.250000Z")))
    newest, oldest = dlq.lines("ls")
    assert [one["id"] for one in dlq.lines("ls", "--since", newest["died"])] == [newest["id"]]
    assert [one["id"] for one in dlq.lines("ls", "--until", newest["died"])] == [oldest["id"]]
    for since, count in (("2026-11-01T01:00:00+01:00", 2), ("2026-11-01T00:00:00-00:01", 1),
                         ("2026-11-01T00:00:00.0+00:00", 2), ("2026-11-01T00:00:00.000001Z", 1)):
        assert len(dlq.lines("ls", "--since", since)) == count, since
    hour = datetime.datetime.now() - datetime.timedelta(hours=2)
    assert len(dlq.lines("ls", "--since", hour.strftime("%H:%M"))) == 1
    later = datetime.datetime.now() + datetime.timedelta(hours=1)  # yesterday, as it is not yet
    assert len(dlq.lines("ls", "--since", later.strftime("%H:%M"))) == 1
    for wrong in ("25:00", "2026-11-01T00:00:00.Z", "2026-11-01T00:00:00+1", "2026-11-01.5", "12:00Z x"):
        assert dlq("ls", "--since", wrong).returncode == 64, wrong


@pytest.mark.parametrize("command", [["ls"], ["stats"], ["discard", "--yes"], ["edit", "--set", "/a=1", "--yes"]])
def test_a_mapping_that_has_none_is_told_beside_those_that_have(store, command):
    dlq = store(letter(0), letter(1, mapping="returns"), letter(2, mapping="ship\x1b[2Jments"))
    code = 1 if "--yes" in command else 0
    done = dlq(*command, "--mapping", "ordesr")
    assert done.returncode == code and done.stdout == "No dead letters match.\n" \
        "None is of mapping ordesr; did you mean orders?\n"
    done = dlq(*command, "--mapping", "x")
    assert done.returncode == code
    assert "None is of mapping x, but of orders, returns, ship\\x1b[2Jments.\n" in done.stdout
    assert dlq(*command, "--mapping", "orders", "--class", "buried").stdout == "No dead letters match.\n"
    assert dlq(*command, "--mapping", "x", "--json").stdout == ""


def test_an_export_of_nothing_says_so(store):
    done = store(letter(0))("export", "--mapping", "returns")
    assert done.returncode == 1 and done.stdout == "" and "no dead letters match" in done.stderr


def test_dry_run_says_that_a_mapping_is_not_there(replay, function):
    run = replay(letter(0), letter(1, mapping="gone"))
    for options, name in (([], "gone"), (["--to", "nosuch"], "nosuch")):
        done = run("--all", "--dry-run", *options)
        assert done.returncode == 78 and "would go to" not in done.stdout
        assert f"there is no mapping {name} in the configuration" in done.stderr
        assert run("--all", "--yes", *options).returncode == 78
        assert run("--all", "--dry-run", "--json", *options).returncode == 78
    assert run("--mapping", "orders", "--dry-run").returncode == 0
    assert run("--all", "--dry-run", "--to", "orders").returncode == 0


def test_two_replays_without_a_service(replay, function):
    """The second says what is in its way."""
    run = replay(*(letter(n) for n in range(20)))
    with subprocess.Popen([*map(str, run.command("--all", "--yes", "--rate", "5"))],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        function.wait_invocations(1, 20)
        second = run("--all", "--yes")
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60 * PATIENCE)
    assert second.returncode == 75
    assert "another replay, or a service without control socket, works on " in second.stderr
    assert f"process {first.pid}" in second.stderr and "wait until it has ended" in second.stderr


def test_what_to_type_next_works_as_it_stands(store, directory):
    dlq = store(letter(0))
    commands = dlq().stdout.partition("Next:\n")[2].splitlines()
    assert len(commands) == 4
    for command in commands[:3]:
        words = shlex.split(command)
        assert words[:2] == ["sluice", "dlq"] and run_cli(*words[1:]).returncode == 0, command
    elsewhere = directory / "it's here"
    (directory / "state").rename(elsewhere)
    words = shlex.split(run_cli("dlq", "--state", elsewhere).stdout.partition("Next:\n")[2].splitlines()[0])
    assert run_cli(*words[1:]).returncode == 0
    environment = {**os.environ, "STATE_DIRECTORY": str(elsewhere)}
    assert "--state" not in run_cli("dlq", env=environment).stdout


def test_follow_says_what_it_waits_for(store, directory):
    dlq = store(letter(0))
    code, seen = on_terminal(dlq.command("follow", "--since", "2026-11-01"), ("VAT.*\n", "\x03"))
    assert code == 0 and f"following dead letters in {directory}/state; Ctrl-C ends it" in seen
    line = next(line for line in seen.splitlines() if "VAT" in line)
    assert len(line) <= 80 and dlq.lines("ls")[0]["id"] in line
    command = [PROGRAM, "dlq", "follow", "--state", directory / "nowhere"]
    code, seen = on_terminal(command, ("--state names another", "\x03"))
    assert code == 0 and f"there is no directory {directory}/nowhere" in seen


def test_other_commands_where_there_is_nothing(directory):
    nowhere = directory / "nowhere"
    done = run_cli("parked", "ls", "--state", nowhere)
    assert done.returncode == 0 and f"there is no directory {nowhere}; --state names another" in done.stdout
    done = run_cli("parked", "ls", "--state", directory)
    assert done.stdout == "Nothing is parked.\n"


# ---- show ----

@pytest.mark.parametrize("options", [["--json", "--payload"], ["--curl", "--json"], ["--curl", "--headers"]])
def test_show_does_not_choose_between_forms(store, options):
    done = store(letter(0))("show", "0", *options)
    assert done.returncode == 64 and done.stdout == "" and "--json, --curl, or" in done.stderr


def test_show_raw_says_where_it_stops(store):
    dlq = store(letter(0, payload="x" * 100_000))
    one = dlq.lines("ls")[0]["id"]
    for options in ([], ["--raw"]):
        assert "34464 bytes more (--payload prints all)" in dlq("show", one, *options).stdout, options


def test_the_progress_stays_on_one_line(replay, function):
    function.refuse()
    run = replay(*(letter(n) for n in range(3)))
    _, seen = on_terminal(run.command("--all", "--yes"), (r"(waiting: (.|\n)*){3}", "\x03"), columns=70)
    redrawn = [line for line in seen.replace("\r", "\n").splitlines()
               if "waiting: " in line and "^C" not in line]
    assert len(redrawn) >= 2 and all(len(line) < 70 for line in redrawn), seen


def test_who_may_not_read_is_told_so(store, directory):
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    store(letter(0))
    (directory / "state/tokens.mdb").write_bytes(b"")
    (directory / "state/parked.sqlite").write_bytes(b"")
    for command in (["dlq"], ["token", "stats"], ["parked", "ls"]):
        done = run_cli(*command, "--state", directory / "state", user=65534)
        assert done.returncode == 77 and "Permission denied" in done.stderr, (command, done)


def test_words_that_mean_nothing_are_refused(store):
    dlq = store(letter(0))
    done = dlq("log", "orders")
    assert done.returncode == 64 and "takes no orders" not in done.stderr and '"orders"' in done.stderr
    done = dlq("show", "orders")
    assert done.returncode == 64 and "is no id" in done.stderr and "--mapping" not in done.stderr
    assert "a mapping is chosen by --mapping" in dlq("export", "orders").stderr
