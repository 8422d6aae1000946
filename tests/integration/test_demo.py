"""`sluice demo` shows the main job without a broker, and comes out as it says."""

import os
import pathlib
import signal
import subprocess

import pytest

from lib.machine import BUILD, PATIENCE
from lib.sluice import PROGRAM, run_cli
from lib.waiting import until

REFUSED = ("A-1137", "A-1291")


@pytest.fixture
def quiet(tmp_path):
    """An environment in which temporary files end up in the test's own directory."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


def test_all_orders_are_done_but_the_two_that_are_refused(tmp_path):
    directory = tmp_path / "demo"
    done = run_cli("demo", "--keep", directory)  # within 30 s
    assert done.returncode == 0, done.stdout + done.stderr
    assert "398 of 400 orders done" in done.stdout
    assert "each exactly once" in done.stdout
    assert "2 dead letters" in done.stdout
    for name in REFUSED:
        assert f"  {name}  the function answered 400: {name}" in done.stdout
    assert "\033" not in done.stdout, "escape sequences in a pipe"

    # The commands it proposes run as they stand, from where the demo ran.
    commands = done.stdout.split("Try next:\n")[1].splitlines()
    assert len(commands) == 3
    for command in commands:
        tried = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=10 * PATIENCE)
        assert tried.returncode == 0, f"{command}: {tried.stdout}"
        assert "orders" in tried.stdout


def test_a_second_demo_in_the_same_directory_begins_anew(tmp_path):
    for _ in range(2):
        done = run_cli("demo", "--keep", tmp_path / "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "398 of 400 orders done" in done.stdout


def test_a_directory_that_is_not_a_demo_is_left_alone(tmp_path):
    (tmp_path / "state").mkdir()
    precious = tmp_path / "state" / "precious"
    precious.write_text("mine")
    done = run_cli("demo", "--keep", tmp_path)
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr
    assert precious.read_text() == "mine"


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def gone(pid):
    """Ended, or a zombie whose new parent has not looked yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(tmp_path, quiet, sent):
    demo = subprocess.Popen([PROGRAM, "demo"], env=quiet, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    until(lambda: len(children(demo.pid)) == 2, 20, "Kafka and sluice run")
    started = children(demo.pid)
    demo.send_signal(sent)
    demo.communicate(timeout=20 * PATIENCE)
    assert demo.returncode == (130 if sent == signal.SIGINT else -sent)
    until(lambda: all(gone(pid) for pid in started), 60, "the end of both")
    if sent == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def test_the_helper_is_missing(tmp_path):
    program = tmp_path / "sluice"
    program.write_bytes(PROGRAM.read_bytes())
    program.chmod(0o755)
    done = subprocess.run([program, "demo"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=20 * PATIENCE,
                          env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode != 0
    assert "sluice-demo-kafka" in done.stderr
    assert (BUILD / "sluice-demo-kafka").exists()
