"""Processes, ports and directories of the machine the tests run on."""

import fcntl
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD") or ROOT / "build").resolve()
LONG = bool(os.environ.get("SLUICE_LONG"))

# Slower machines and sanitizer builds wait longer; nothing waits if all is well.
PATIENCE = float(os.environ.get("SLUICE_TEST_PATIENCE") or 1)


_ports_held = []  # locks on the ports this process was given, kept to its end


def _hold_port(port):
    """Whether the port is now ours among all test processes of this machine: a server binds it only
    a while later, and must be able to come back on it."""
    directory = pathlib.Path(tempfile.gettempdir()) / f"sluice-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    lock = os.open(directory / str(port), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    _ports_held.append(lock)
    return True


def free_port():
    """A free port below the kernel's ephemeral range (32768-60999), out of which an outgoing
    connection could take it while a server that shall come back on it is down."""
    for _ in range(200):
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _hold_port(port):
                return port
    raise OSError("no free port between 20000 and 32000")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def cache_directory():
    """Where downloads stay between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        home = os.path.expanduser("~")
        base = f"{home}/.cache" if os.access(home, os.W_OK) else str(ROOT / "build")
    return pathlib.Path(base) / "sluice-tests"


def java():
    found = shutil.which("java")
    if not found:
        raise FileNotFoundError("no java: run `tests/dependencies test`")
    return found


def stop_process(process, seconds=10):
    """SIGTERM, then SIGKILL; a stopped (SIGSTOP) process is woken first."""
    if process.poll() is not None:
        return process.returncode
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def tail(path, lines=40):
    try:
        text = pathlib.Path(path).read_text(errors="replace")
    except OSError as error:
        return str(error)
    return "\n".join(text.splitlines()[-lines:])
