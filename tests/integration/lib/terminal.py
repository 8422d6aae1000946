"""A program on a terminal, and the person before it."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

from lib.machine import PATIENCE
from lib.waiting import Timeout


def on_terminal(arguments, *dialogue, columns=80, timeout=30, environment=None):
    """Runs the command on a terminal of so many columns. `dialogue`: pairs of what to wait for (a regular
    expression) and what to type then. Returns the exit code and what the terminal was sent, without
    colours and with plain ends of lines."""
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.execve(arguments[0], [str(word) for word in arguments],
                      {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(environment or {}),
                       "COLUMNS": str(columns)})
        finally:
            os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    steps, seen, read = list(dialogue), b"", 0
    end = time.monotonic() + timeout * PATIENCE
    try:
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                raise Timeout(f"end of {arguments} did not happen within {timeout} s\n{seen.decode()}")
            try:
                block = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                block = b""
            if not block:
                break
            seen += block
            while steps and (match := re.search(steps[0][0].encode(), seen[read:])):
                read += match.end()
                os.write(terminal, steps.pop(0)[1].encode())
    except Timeout:
        os.kill(process, 9)
        raise
    finally:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        os.close(terminal)
    assert not steps, f"never said: {steps[0][0]}\n{seen.decode()}"
    return code, re.sub(r"\x1b\[[0-9;]*[mK]", "", seen.decode()).replace("\r\n", "\n")
