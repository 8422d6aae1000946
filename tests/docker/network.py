"""A network of its own, where every port is free and names are those of a compose file."""

import contextlib
import ctypes
import os
import socket
import subprocess

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000  # unshare(2)


def _call(name, *arguments):
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def own_network(directory, names):
    """What this thread starts has it: a loopback alone, to which the names lead. Gives the file of names."""
    hosts = directory / "hosts"
    hosts.write_text(" ".join(["127.0.0.1", "localhost", socket.gethostname(), *names]) + "\n")
    spaces = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("mnt", "net")]
    here = os.getcwd()
    _call("unshare", NEW_MOUNTS | NEW_NETWORK)
    try:
        for command in (["mount", "--make-rprivate", "/"], ["mount", "--bind", hosts, "/etc/hosts"],
                        ["ip", "link", "set", "lo", "up"]):
            subprocess.run(command, check=True)
        yield hosts
    finally:
        for space in spaces:
            _call("setns", space, 0)
            os.close(space)
        os.chdir(here)
