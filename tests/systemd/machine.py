"""A bare Debian that systemd boots, with sluice installed in it: a container of systemd-nspawn that
shares this machine's network, so that brokers and functions of the tests are reached."""

import os
import pathlib
import shutil
import subprocess

from lib.machine import BUILD, PATIENCE, cache_directory
from lib.waiting import until

ROOT = pathlib.Path(__file__).parents[2]
LIBRARIES = {
    "bookworm": ("librdkafka1 librabbitmq4 libcurl4 libjansson4 libyajl2 libyaml-0-2 liblmdb0 libsqlite3-0 "
                 "libmicrohttpd12 libxxhash0 libssl3"),
    "trixie": ("librdkafka1 librabbitmq4 libcurl4t64 libjansson4 libyajl2 libyaml-0-2 liblmdb0 libsqlite3-0 "
               "libmicrohttpd12t64 libxxhash0 libssl3t64"),
}


def base_root(release):
    """The packed root directory of a Debian with systemd and our libraries; made once (a minute)."""
    packed = cache_directory() / f"{release}.tar"
    if not packed.exists():
        part = packed.with_suffix(f".{os.getpid()}.tar")
        include = ",".join(["systemd", "systemd-sysv", "dbus", *LIBRARIES[release].split()])
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root",
                        f"--include={include}", release, part], check=True)
        part.rename(packed)
    return packed


def build_packages(directory):
    """Builds the Debian packages from what git knows of the tree; {package: path of its .deb}."""
    source = pathlib.Path(directory) / "source"
    source.mkdir(parents=True)
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], check=True,
                           stdout=subprocess.PIPE).stdout
    pack = subprocess.Popen(["tar", "-C", ROOT, "-cf", "-", "-T", "-"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    unpack = subprocess.Popen(["tar", "-C", source, "-xf", "-"], stdin=pack.stdout)
    pack.stdin.write(files)
    pack.stdin.close()
    assert (unpack.wait(), pack.wait()) == (0, 0)
    done = subprocess.run(["dpkg-buildpackage", "-b", "-us", "-uc"], cwd=source, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck noautodbgsym parallel=2",
                               "MAKEFLAGS": ""})
    assert done.returncode == 0, done.stdout[-4000:]
    return {path.name.split("_")[0]: path for path in source.parent.glob("*.deb")}


class Machine:
    """`installed`: with sluice in it, by `make install`."""

    def __init__(self, directory, release, installed=True):
        self.root = pathlib.Path(directory) / "root"
        self.root.mkdir()
        subprocess.run(["tar", "-xf", base_root(release), "-C", self.root], check=True)
        if installed:
            subprocess.run(["make", "-s", "-C", ROOT, "install",
                            f"B={os.path.relpath(BUILD, ROOT)}", f"DESTDIR={self.root}",
                            "PREFIX=/usr"], check=True, stdout=subprocess.DEVNULL)
        self._log = open(pathlib.Path(directory) / "console", "wb")
        self._process = None
        self._leader = None

    def boot(self):
        self._process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no",
             "--keep-unit", f"--machine=sluice-{os.getpid()}"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._leader = until(self._find_leader, 20 * PATIENCE, "the machine's first process")
        until(lambda: self.run("systemctl", "is-system-running", check=False).strip() in
              ("running", "degraded"), 60 * PATIENCE, "systemd has booted")

    def _find_leader(self):
        """The child of systemd-nspawn, once it is the machine's init."""
        assert self._process.poll() is None, "systemd-nspawn ended"
        path = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        for child in pathlib.Path(path).read_text().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return None

    def run(self, *command, check=True, with_code=False):
        """What the command in the machine prints; (code, text) if asked for."""
        done = subprocess.run(["nsenter", "-t", self._leader, "-m", "-u", "-i", "-p", "-C", "--",
                               *map(str, command)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=90 * PATIENCE, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                                                          "LC_ALL": "C.UTF-8"})
        if with_code:
            return done.returncode, done.stdout
        assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def show(self, unit, field):
        return self.run("systemctl", "show", unit, "--value", "-p", field).strip()

    def journal(self, unit="sluice"):
        return self.run("journalctl", "-u", unit, "--no-pager", "-o", "cat")

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def drop_in(self, text, unit="sluice.service"):
        """Sets what is changed of the unit; "" for nothing."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    def close(self):
        if self._process and self._process.poll() is None:
            self.run("systemctl", "poweroff", "--no-block", check=False)
            try:
                self._process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        shutil.rmtree(self.root, ignore_errors=True)
