"""Completion in the shells, by running them."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from lib.sluice import PROGRAM, run_cli

SCRIPTS = pathlib.Path(__file__).parents[2] / "config/completion"


def in_bash(line):
    words = line.split(" ")
    script = f"""source {SCRIPTS}/sluice.bash
COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}
compopt() {{ echo "compopt $*"; }}
_sluice
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return ["bash", "--norc", "-c", script]


def in_zsh(line):
    words = line.split(" ")
    script = f"""words=({' '.join(repr(w) for w in words)}); CURRENT={len(words)}
_describe() {{ for c in $candidates; do [[ $c == ${{words[CURRENT]}}* ]] && print -r -- ${{c%%:*}}; done }}
_files() {{ print "compopt $*" }}
source {SCRIPTS}/_sluice"""
    return ["zsh", "-f", "-c", script]


def in_fish(line):
    return ["fish", "--no-config", "-c",
            f"source {SCRIPTS}/sluice.fish; complete -C {line!r} | string replace -r '\\t.*' ''"]


@pytest.fixture(params=[in_bash, in_zsh, in_fish])
def complete(request, directory):
    shell = request.param
    name = shell("")[0]
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")

    def run(line):
        environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
                       "HOME": str(directory), "STATE_DIRECTORY": str(directory)}
        environment.update(run.environment)
        done = subprocess.run(shell(line), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd=directory, env=environment, timeout=60)
        assert done.stderr == "", done.stderr
        return {word for word in done.stdout.split("\n") if word}
    run.environment = {}
    run.name = name
    return run


def test_commands_and_options(complete):
    assert complete("sluice sta") == {"status"}
    assert {"run", "check", "status", "reload", "pause", "help"} <= complete("sluice ")
    assert "complete" not in complete("sluice ")
    assert complete("sluice status --w") == {"--watch"}
    assert complete("sluice help rel") == {"reload"}
    assert complete("sluice nothing x") == set()
    assert complete("sluice connectors ka") == {"kafka"}


def test_subcommands(complete):
    assert complete("sluice dlq st") == {"stats"}
    assert "--json" in complete("sluice dlq --js")
    assert "--since" in complete("sluice dlq ls --si")
    assert complete("sluice dlq br") == {"browse"}
    assert "--timeout" in complete("sluice dlq browse --ti")


def test_values_of_options(complete):
    assert {"poison", "token_missing", "buried"} <= complete("sluice dlq ls --class ")
    assert complete("sluice dlq discard -c poi") == {"poison"}
    assert complete("sluice dlq stats --by ") == {"error", "class", "status", "mapping", "key", "hour"}
    assert complete("sluice dlq ls --sort o") == {"oldest"}
    assert "4xx" in complete("sluice dlq export --status ")


def test_alternatives(complete):
    assert complete("sluice token ") == {"show", "forget", "stats"}
    assert complete("sluice token fo") == {"forget"}


def test_files(complete, directory):
    (directory / "mine.yaml").write_text("")
    expected = "mine.yaml" if complete.name == "fish" else "compopt"
    assert any(expected in word for word in complete("sluice check mi"))
    assert any(expected in word for word in complete("sluice dlq import mi"))


def test_mappings_of_the_running_service(complete, cluster, sluice, mapping_for):
    sluice.mapping("orders", mapping_for(cluster.topic(1)))
    sluice.start()
    complete.environment["STATE_DIRECTORY"] = str(sluice.state)
    assert complete("sluice pause or") == {"orders"}
    assert complete("sluice tail --pay") == {"--payload"}
    assert complete("sluice tail --payload or") == {"orders"}
    assert complete("sluice token show or") == {"orders"}
    assert complete("sluice token show orders or") == set()
    assert complete("sluice dlq replay --to or") == {"orders"}  # none of its letters is there


def test_ids_and_mappings_without_a_service(complete, directory):
    """From the store of dead letters; what is in a reason does nothing to the shell or the terminal."""
    lines = [{"mapping": name, "lane": "t/0", "position": n, "token": f"t-{n}", "class": "attempts",
              "reason": "it's $(broken): \x1b[2J\tso", "died": f"2026-11-01T00:00:0{n}Z",
              "payload": "{}"} for n, name in enumerate(["orders", "orders", "mails"])]
    (directory / "letters").write_text("".join(json.dumps(line) + "\n" for line in lines))
    state = directory / "state"
    done = run_cli("dlq", "import", directory / "letters", "--state", state)
    assert done.returncode == 0, done.stderr
    listed = run_cli("dlq", "ls", "--json", "--state", state).stdout.splitlines()
    ids = {json.loads(line)["id"] for line in listed}
    complete.environment["STATE_DIRECTORY"] = str(state)
    assert complete("sluice dlq show ") == ids
    first = sorted(ids)[0]
    assert complete(f"sluice dlq replay {first[:25]}") == \
        {one for one in ids if one.startswith(first[:25])}
    assert complete("sluice dlq ls --mapping ") == {"orders", "mails"}
    assert complete("sluice dlq ls or") == {"orders"}
    assert complete("sluice pause or") == {"orders"}
    complete.environment["STATE_DIRECTORY"] = str(directory)
    assert complete("sluice dlq show ") == set()
    assert complete(f"sluice dlq show --state {state} ") == ids


def test_every_command_can_be_completed():
    for name in run_cli("complete", "--", "").stdout.splitlines():
        name = name.split("\t")[0]
        if name != "help":
            done = run_cli("complete", "--", name, "-")
            assert done.returncode == 0 and "--help\t" in done.stdout, name
