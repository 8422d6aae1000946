"""A container of an image, without an engine."""

import os
import pathlib
import re
import signal
import subprocess

from image import CONTAINER
from lib.machine import PATIENCE
from lib.waiting import until


def as_user(name):
    # The container's own way to another user wants a home directory.
    return ["/usr/bin/setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]


class Container:
    """The image started by its own words. `options`: of systemd-nspawn."""

    def __init__(self, image, state, mappings=None, options=()):
        self.stage = image.stage
        settings = [f"--setenv={name}={value}" for name, value in self.stage.environment.items()]
        binds = [f"--bind={state}:/var/lib/sluice"]
        if mappings:
            binds.append(f"--bind-ro={mappings}:/etc/sluice/mappings.d")
        self.process = subprocess.Popen(
            [*CONTAINER, "--pipe", "--read-only", *binds, *options, *settings, "-D",
             self.stage.root, *as_user(self.stage.user), *self.stage.entrypoint,
             *self.stage.command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.first = until(self._find_first, 20 * PATIENCE, "the container's first process")

    def _find_first(self):
        assert self.process.poll() is None, self.process.stdout.read()
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "sluice":
                return int(child)
        return None

    def run(self, command):
        user = pathlib.Path(f"/proc/{self.first}/status").read_text()
        uid = re.search(r"^Uid:\s+(\d+)", user, re.M)[1]
        return subprocess.run(["nsenter", "-t", str(self.first), "-m", "-u", "-i", "-p", "-C", "-S", uid,
                               "-G", uid, "--", "/usr/bin/env", *[f"{n}={v}" for n, v in
                                                         self.stage.environment.items()],
                               "/bin/sh", "-c", command], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)

    def stop(self):
        """Its exit code and what it said, after the signal that an engine sends."""
        if self.process.poll() is None:
            os.kill(self.first, signal.SIGTERM)
        text, _ = self.process.communicate(timeout=60 * PATIENCE)
        return self.process.returncode, text
